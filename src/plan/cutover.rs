//! How one slot is swapped for its successor, and how members of one container on several hosts follow each other.
//!
//! Exclusive is what [`super::build`] draws: stop old, start new, wait. Overlap (start new, wait, drain, stop old) needs
//! a second port and a load balancer that is told; until a spec gives those, an overlapping slot is swapped as an
//! exclusive one, host after host, so that the others go on answering.

use std::collections::BTreeMap;

use super::build::Work;
use super::document::Change;
use super::draft::Key;
use super::scene::Scene;
use crate::model::spec::Cutover;
use crate::model::{ContainerName, Role, SetName, Slot, TaskPhase};

/// Returns for each slot of a rolling swap the step that it waits for: its predecessor's readiness.
pub(super) fn bind<'w, 'a>(
    scene: &Scene<'_>,
    work: &'w BTreeMap<Slot, Work<'a>>,
    ready: impl Fn(&Slot, &'w BTreeMap<Slot, Work<'a>>) -> Option<Key>,
) -> Vec<(Slot, SetName, Key)> {
    let mut members: BTreeMap<&ContainerName, Vec<&Slot>> = BTreeMap::new();
    for (slot, item) in work {
        let Some((spec, _)) = &item.spec else { continue };
        let rolls = match &spec.role {
            Role::Service { cutover: Cutover::Overlap | Cutover::Rolling } => true,
            Role::Service { cutover: Cutover::Exclusive } | Role::Task { .. } => false,
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

/// Nothing starts or stops before all config that is about to be used has been read by the images that will use it. Returns for
/// each slot the looks that it waits for.
pub(super) fn validate_first<'w, 'a>(
    work: &'w BTreeMap<Slot, Work<'a>>,
    ready: impl Fn(&Slot, &'w BTreeMap<Slot, Work<'a>>) -> Option<Key>,
) -> Vec<(Slot, SetName, Key)> {
    let looks = |item: &Work<'_>| {
        let role = item.spec.as_ref().map(|(spec, _)| &spec.role);
        matches!(role, Some(Role::Task { phase: TaskPhase::Validate, .. }))
    };
    let first: Vec<Key> =
        work.iter().filter(|(_, item)| looks(item)).filter_map(|(slot, _)| ready(slot, work)).collect();
    work.iter()
        .filter(|(_, item)| !looks(item))
        .flat_map(|(slot, item)| first.iter().map(|look| (slot.clone(), item.set.clone(), look.clone())))
        .collect()
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
