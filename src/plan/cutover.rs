//! How one slot is swapped for its successor, and how members of one container on several hosts follow each other.
//!
//! Exclusive: stop the old, start the new, wait. Overlap: start the new beside the old, on its other ports or, where it has
//! none (the balancer itself), by taking over the old one's listening sockets; wait; drain the old; stop it.

use std::collections::BTreeMap;

use super::build::Work;
use super::decide::Decision;
use super::document::Change;
use super::draft::Key;
use super::scene::Scene;
use crate::model::spec::{Cutover, Side};
use crate::model::{ContainerName, ContainerSpec, ContainerState, Role, SetName, Slot, SpecHash, TaskPhase};

/// Returns the form of a container that a plan works with: what runs, if that is as it should be on either ports; else the one
/// that can serve beside what runs.
pub(super) fn form<'a>(scene: &Scene<'a>, spec: &'a ContainerSpec) -> (Side, &'a ContainerSpec, SpecHash) {
    let hash = |spec: &ContainerSpec| spec.record(&scene.desired.init_digest).hash();
    let main = (Side::Main, spec, hash(spec));
    let Some(spare) = scene.desired.spares.get(&spec.slot) else { return main };
    let spare = (Side::Spare, spare, hash(spare));
    let usable = || scene.seen(&spec.slot).iter().filter(|seen| !seen.is_rubbish());
    // A stopped one cannot take over from one that lives on its ports.
    let taken = |side: Side| usable().any(|seen| seen.works() && seen.labels.side == side);
    let fits = |live: bool| {
        usable().filter(|seen| seen.works() == live && (live || !taken(seen.labels.side))).find_map(|seen| {
            [&main, &spare].into_iter().find(|(_, _, hash)| seen.labels.spec_hash == *hash).map(|form| form.0)
        })
    };
    let back_to = scene.back_to();
    let kept = || {
        let generation = back_to?;
        let kept = usable().find(|seen| seen.generation() <= generation)?;
        // Where something newer has come to serve on the same ports, one that is the same but for its ports can serve beside it.
        let in_the_way = usable().any(|seen| {
            seen.works() && seen.generation() > generation && seen.labels.side == kept.labels.side
        });
        let same =
            [&main, &spare].iter().any(|form| form.0 == kept.labels.side && form.2 == kept.labels.spec_hash);
        Some(if in_the_way && same { other(kept.labels.side) } else { kept.labels.side })
    };
    let beside = || usable().find(|seen| seen.works()).map(|seen| other(seen.labels.side));
    match kept().or_else(|| fits(true)).or_else(|| fits(false)).or_else(beside).unwrap_or_default() {
        Side::Main => main,
        Side::Spare => spare,
    }
}

/// Returns the other ports.
pub(super) fn other(side: Side) -> Side {
    match side {
        Side::Main => Side::Spare,
        Side::Spare => Side::Main,
    }
}

/// Returns whether a container can serve while its predecessor still does.
pub(super) fn overlaps(scene: &Scene<'_>, spec: &ContainerSpec, side: Side, decision: &Decision<'_>) -> bool {
    let declared = spec.role == Role::Service { cutover: Cutover::Overlap };
    let swapped = matches!(decision.change, Change::Replace | Change::Start | Change::Prove);
    let takes_over = !scene.desired.spares.contains_key(&spec.slot);
    // One that is paused or dies again and again has nothing to hand over.
    let beside = |seen: &super::scene::Seen<'_>| {
        seen.container.state == ContainerState::Running && (takes_over || seen.labels.side != side)
    };
    // Data is not changed under something that serves.
    let apart = scene.settles(&spec.service) && scene.is_last(&spec.slot);
    declared
        && swapped
        && scene.returning.is_none()
        && !apart
        && !decision.stop.is_empty()
        && decision.stop.iter().all(beside)
}

/// Returns for each slot of a rolling swap the step that it waits for: its predecessor's readiness.
pub(super) fn bind<'w, 'a>(
    scene: &Scene<'_>,
    work: &'w BTreeMap<Slot, Work<'a>>,
    ready: impl Fn(&Slot, &'w BTreeMap<Slot, Work<'a>>) -> Option<Key>,
) -> Vec<(Slot, SetName, Key)> {
    let mut members: BTreeMap<&ContainerName, Vec<&Slot>> = BTreeMap::new();
    if scene.returning.is_some() {
        return Vec::new();
    }
    for (slot, item) in work {
        let Some((spec, _)) = &item.spec else { continue };
        let rolls = match &spec.role {
            Role::Service { cutover: Cutover::Overlap | Cutover::Rolling } => true,
            Role::Service { cutover: Cutover::Exclusive | Cutover::StandsBy } | Role::Task { .. } => false,
        };
        let swapped = matches!(item.decision.change, Change::Replace | Change::Restart)
            || (item.decision.change == Change::Start && !item.decision.stop.is_empty());
        if rolls && swapped {
            members.entry(&slot.container).or_default().push(slot);
        }
    }
    let mut bound = Vec::new();
    for slots in members.values() {
        for pair in slots.windows(2) {
            if let [first, second] = pair
                && !reaches(scene, second, first)
                && let (Some(item), Some(key)) = (work.get(second), ready(first, work))
            {
                bound.push(((*second).clone(), item.set.clone(), key));
            }
        }
    }
    bound
}

/// Nothing starts or stops before all config that is about to be used has been read by the images that will use it, nor, in an
/// upgrade, before each service has said whether its new release can take over, and a restore point was made. Returns for each slot the looks that it waits for.
pub(super) fn look_first<'w, 'a>(
    work: &'w BTreeMap<Slot, Work<'a>>,
    ready: impl Fn(&Slot, &'w BTreeMap<Slot, Work<'a>>) -> Option<Key>,
) -> Vec<(Slot, SetName, Key)> {
    let place = |item: &Work<'_>| match item.spec.as_ref().map(|(spec, _)| &spec.role) {
        Some(Role::Task { phase: TaskPhase::Validate, .. }) => 0,
        Some(Role::Task { phase: TaskPhase::Check, .. }) => 1,
        Some(Role::Task { phase: TaskPhase::Backup, .. }) => 2,
        Some(_) | None => 3,
    };
    let looks: Vec<(u8, Key)> = work
        .iter()
        .filter(|(_, item)| place(item) < 3)
        .filter_map(|(slot, item)| Some((place(item), ready(slot, work)?)))
        .collect();
    work.iter()
        .flat_map(|(slot, item)| {
            let earlier = looks.iter().filter(|(first, _)| *first < place(item));
            earlier.map(|(_, look)| (slot.clone(), item.set.clone(), look.clone()))
        })
        .collect()
}

/// Returns the tasks of the way back that run in this plan.
pub(super) fn ways_back<'w, 'a>(
    work: &'w BTreeMap<Slot, Work<'a>>,
    ready: impl Fn(&Slot, &'w BTreeMap<Slot, Work<'a>>) -> Option<Key>,
) -> Vec<Returning> {
    let phase = |item: &Work<'_>| match item.spec.as_ref().map(|(spec, _)| &spec.role) {
        Some(Role::Task { phase, .. }) if matches!(phase, TaskPhase::Return | TaskPhase::Settle) => {
            Some(*phase)
        }
        _ => None,
    };
    work.iter()
        .filter(|(_, item)| item.decision.change == Change::Run)
        .filter_map(|(task, item)| {
            let settles = phase(item)? == TaskPhase::Settle;
            let others =
                work.iter().filter(|(_, other)| other.service == item.service && phase(other).is_none());
            let others = others.map(|(slot, other)| (slot.clone(), other.set.clone())).collect();
            let (task, set, done) = (task.clone(), item.set.clone(), ready(task, work)?);
            Some(Returning { task, set, settles, done, others })
        })
        .collect()
}

/// One task of the way back, and the slots of its service.
#[derive(Debug)]
pub(super) struct Returning {
    pub(super) task: Slot,
    pub(super) set: SetName,
    /// Whether it waits until nothing of the newer release runs.
    pub(super) settles: bool,
    pub(super) done: Key,
    pub(super) others: Vec<(Slot, SetName)>,
}

/// Returns whether `from` is among what `to` waits for, in which case the launch order already says who is first.
fn reaches(scene: &Scene<'_>, from: &Slot, to: &Slot) -> bool {
    let mut queue = vec![to];
    let mut seen = std::collections::BTreeSet::new();
    while let Some(slot) = queue.pop() {
        if slot == from {
            return true;
        }
        if seen.insert(slot)
            && let Some(spec) = scene.desired.containers.get(slot)
        {
            queue.extend(&spec.after);
        }
    }
    false
}
