//! Which slots go together where only a part of a cloud changes its release.

use std::collections::{BTreeMap, BTreeSet};

use super::build::Work;
use super::decide;
use super::document::{Change, Purpose};
use super::scene::Scene;
use super::{cutover, options::Options};
use crate::model::{ContainerSpec, Desired, Held, Observed, Role, ServiceName, Slot, TaskPhase};

/// Returns the slots of the chosen part with all that cannot be parted from it; none where everything is meant, or where a part
/// stands for itself since no release changes.
pub(super) fn of<'a>(
    desired: &'a Desired,
    observed: &Observed,
    options: &Options,
) -> Option<BTreeSet<&'a Slot>> {
    let back = match options.purpose {
        Purpose::Upgrade => false,
        Purpose::Rollback => true,
        Purpose::Deploy
        | Purpose::Commit
        | Purpose::Backup
        | Purpose::Rehearse
        | Purpose::Restore
        | Purpose::Return { .. }
        | Purpose::Stop
        | Purpose::Start
        | Purpose::Destroy { .. } => return None,
    };
    if options.selection.is_everything() {
        if back || desired.apart.is_empty() || !changes_release(desired, observed) {
            return None;
        }
        let with = desired
            .containers
            .values()
            .filter(|spec| spec.is_task() || !desired.apart.contains(&spec.service));
        return Some(with.map(|spec| &spec.slot).collect());
    }
    let services: Vec<(&Slot, &ContainerSpec)> =
        desired.containers.iter().filter(|(_, spec)| !spec.is_task()).collect();
    let mut taken: BTreeSet<&Slot> = services
        .iter()
        .filter(|(_, spec)| options.selection.has(&spec.set, &spec.service))
        .map(|(slot, _)| *slot)
        .collect();
    loop {
        let more: Vec<&Slot> = services
            .iter()
            .filter(|(slot, _)| !taken.contains(*slot))
            .filter(|(_, spec)| {
                let others = taken.iter().filter_map(|slot| desired.containers.get(*slot));
                others.filter(|other| kin(spec, other)).any(|other| {
                    if back {
                        comes_after(desired, spec, &other.slot) || returns_as_one(desired, spec)
                    } else {
                        comes_after(desired, other, &spec.slot)
                    }
                })
            })
            .map(|(slot, _)| *slot)
            .collect();
        if more.is_empty() {
            break;
        }
        taken.extend(more);
    }
    let tasks: Vec<&Slot> = desired
        .containers
        .iter()
        .filter(|(_, spec)| match spec.role {
            Role::Service { .. } => false,
            // The copy is of everything, whatever changes after it.
            Role::Task { phase: TaskPhase::Backup, .. } => true,
            Role::Task { .. } => {
                services.iter().any(|(slot, other)| taken.contains(*slot) && other.service == spec.service)
            }
        })
        .map(|(slot, _)| slot)
        .collect();
    taken.extend(tasks);
    Some(taken)
}

/// Whether an upgrade leads to another release, or would if it went on.
fn changes_release(desired: &Desired, observed: &Observed) -> bool {
    observed.ledger.as_ref().is_some_and(|ledger| {
        let from = ledger.held.as_ref().map_or(&ledger.release, |held| &held.release);
        *from != desired.release
    })
}

/// Whether two are programs of one project, which mind each other's releases: services know each other by their APIs alone.
pub(super) fn kin(one: &ContainerSpec, other: &ContainerSpec) -> bool {
    one.service == other.service || one.image.id == other.image.id
}

/// Whether a container changes to another release after a slot.
fn comes_after(desired: &Desired, spec: &ContainerSpec, slot: &Slot) -> bool {
    spec.after.contains(slot) || desired.swaps.get(&spec.slot).is_some_and(|before| before.contains(slot))
}

/// Whether a service's data is brought into the older form between its newer and its older containers: then none of these may be
/// there beside those.
fn returns_as_one(desired: &Desired, spec: &ContainerSpec) -> bool {
    desired.containers.values().any(|task| {
        task.service == spec.service && matches!(task.role, Role::Task { phase: TaskPhase::Settle, .. })
    })
}

/// Whether something comes before an upgrade's first change, and only for the sake of that.
pub(super) fn precedes(item: &Work<'_>) -> bool {
    let phase = item.spec.as_ref().map(|(spec, _)| &spec.role);
    matches!(phase, Some(Role::Task { phase: TaskPhase::Check | TaskPhase::Backup, .. }))
}

/// Whether something brings what a service has written into the form of its older containers, and only for the sake of their start.
pub(super) fn prepares_way_back(item: &Work<'_>) -> bool {
    let phase = item.spec.as_ref().map(|(spec, _)| &spec.role);
    let way_back = matches!(phase, Some(Role::Task { phase: TaskPhase::Return | TaskPhase::Settle, .. }));
    // One that runs is waited for, whoever began it.
    way_back && item.decision.change == Change::Run
}

/// Returns the services of which some container gives way to another: one that has to prove itself, or begins again, is what has
/// served, and finds its data as it left it.
pub(super) fn changing_services(work: &BTreeMap<Slot, Work<'_>>) -> BTreeSet<ServiceName> {
    let changes = |item: &&Work<'_>| {
        let is_task = item.spec.as_ref().is_some_and(|(spec, _)| spec.is_task());
        !is_task
            && !matches!(item.decision.change, Change::Keep | Change::Clean | Change::Prove | Change::Restart)
    };
    work.values().filter(changes).map(|item| item.service.clone()).collect()
}

/// Whether an upgrade that nobody has begun would lead to the same release and change nothing.
pub(super) fn is_idle(scene: &Scene<'_>, work: &BTreeMap<Slot, Work<'_>>) -> bool {
    let begun = scene.observed.ledger.as_ref().is_some_and(|ledger| ledger.held.is_some());
    scene.options.purpose == Purpose::Upgrade
        && !begun
        && !changes_release(scene.desired, scene.observed)
        && work.values().all(|item| precedes(item) || item.decision.change == Change::Keep)
}

/// Returns what is kept once a plan is carried out.
pub(super) fn held_afterwards(scene: &Scene<'_>) -> Option<Held> {
    let (Purpose::Upgrade | Purpose::Rollback) = scene.options.purpose else { return scene.held.clone() };
    let held = scene.holding.clone()?;
    let back = scene.options.purpose == Purpose::Rollback;
    let apart = |spec: &ContainerSpec| {
        scene.desired.apart.contains(&spec.service) && changes_release(scene.desired, scene.observed)
    };
    let rest = scene
        .desired
        .containers
        .iter()
        .filter(|(slot, spec)| !spec.is_task() && !scene.takes(slot) && (back || !apart(spec)));
    let partial = rest.into_iter().any(|(slot, spec)| {
        if back {
            return scene.seen(slot).iter().any(|seen| seen.works() && seen.generation() > held.generation);
        }
        let (side, spec, hash) = cutover::form(scene, spec);
        matches!(decide::service(scene, spec, side, &hash).change, Change::Create | Change::Replace)
    });
    match (back, partial) {
        (true, false) => None,
        (true, true) | (false, _) => Some(Held { partial, ..held }),
    }
}
