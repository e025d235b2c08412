//! The return to an older release with the data of a restore point: what stops for it, what of the past still counts, who waits
//! for whom. All that uses the data stops, the data changes, the older release starts on it.

use std::collections::{BTreeMap, BTreeSet};

use super::build::{Builder, Work};
use super::document::Change;
use super::draft::{Act, Class, Key};
use super::scene::{Scene, Seen};
use crate::model::{ContainerSpec, ContainerState, Role, ServiceName, Slot, TaskPhase};

/// Returns whether every restore task of this return has ended well: the data is that of the point.
pub(super) fn is_restored(scene: &Scene<'_>) -> bool {
    let Some(to) = scene.returning else { return false };
    let done = |spec: &ContainerSpec| {
        let hash = spec.record(&scene.desired.init_digest).hash();
        scene.seen(&spec.slot).iter().any(|seen| {
            seen.generation() >= to.began
                && seen.labels.spec_hash == hash
                && seen.container.state == ContainerState::Exited
                && seen.container.exit_code == Some(0)
        })
    };
    let mut restores = scene.desired.containers.values().filter(|spec| restores(spec)).peekable();
    restores.peek().is_some() && restores.all(done)
}

fn restores(spec: &ContainerSpec) -> bool {
    matches!(spec.role, Role::Task { phase: TaskPhase::Restore, .. })
}

/// Returns whether a container stops until the data is that of the point.
pub(super) fn pauses(scene: &Scene<'_>, spec: &ContainerSpec) -> bool {
    scene.returning.is_some()
        && !scene.restored
        && !spec.is_task()
        && !scene.desired.data_plane.contains(&spec.service)
}

/// Returns whether what a task has done is still there: what was done to the data before it was restored is not.
pub(super) fn counts(scene: &Scene<'_>, spec: &ContainerSpec, seen: &Seen<'_>) -> bool {
    scene.returning.is_none_or(|to| seen.generation() >= to.began || !works_on_data(scene, spec))
}

/// Whether a task starts, directly or not, after a service that has restore points; or is what restores them.
fn works_on_data(scene: &Scene<'_>, spec: &ContainerSpec) -> bool {
    let all = &scene.desired.containers;
    let kept: BTreeSet<&ServiceName> =
        all.values().filter(|spec| restores(spec)).map(|spec| &spec.service).collect();
    let mut queue: Vec<&Slot> = spec.after.iter().collect();
    let mut seen = BTreeSet::new();
    while let Some(slot) = queue.pop() {
        let Some(spec) = all.get(slot).filter(|_| seen.insert(slot)) else { continue };
        if !spec.is_task() && kept.contains(&spec.service) {
            return true;
        }
        queue.extend(&spec.after);
    }
    restores(spec)
}

impl Builder<'_, '_> {
    /// Nothing stops before all that follows is made. What needs others stops before them, then the data changes, then the older
    /// release starts.
    pub(super) fn restore_order(&mut self, work: &BTreeMap<Slot, Work<'_>>) {
        if self.scene.returning.is_none() || self.scene.restored {
            return;
        }
        let spec = |slot: &Slot| self.scene.desired.containers.get(slot);
        let apart = |item: &Work<'_>| self.scene.desired.data_plane.contains(&item.service);
        let phase = |slot: &Slot| match spec(slot).map(|spec| &spec.role) {
            Some(Role::Task { phase, .. }) => Some(*phase),
            Some(Role::Service { .. }) | None => None,
        };
        let of_class = |class: Class, act: Act| -> Vec<Key> {
            self.drafts.keys().filter(|key| key.class == class && key.act == act).cloned().collect()
        };
        let uploads = of_class(Class::Stage, Act::Upload);
        let outlast = of_class(Class::Work, Act::Await);
        let pausing: Vec<(&Slot, &Work<'_>)> = work.iter().filter(|(_, item)| !apart(item)).collect();
        let stops: BTreeMap<&Slot, Vec<Key>> = pausing
            .iter()
            .map(|(slot, item)| (*slot, self.slot_keys(&item.set, slot, &[Act::Stop])))
            .collect();
        let mut pairs: Vec<(Key, Key)> = Vec::new();
        for (slot, keys) in &stops {
            let users =
                stops.iter().filter(|(other, _)| spec(other).is_some_and(|o| o.after.contains(*slot)));
            let before: Vec<&Key> = users.flat_map(|(_, keys)| keys).chain(&uploads).collect();
            pairs.extend(keys.iter().flat_map(|key| before.iter().map(|on| (key.clone(), (*on).clone()))));
        }
        let due = |item: &Work<'_>| matches!(item.decision.change, Change::Run | Change::Await);
        for (restore, item) in
            work.iter().filter(|(slot, item)| phase(slot) == Some(TaskPhase::Restore) && due(item))
        {
            for start in self.slot_keys(&item.set, restore, &[Act::Start]) {
                let all = stops.values().flatten().chain(&outlast);
                pairs.extend(
                    all.filter(|key| key.slot.as_ref() != Some(restore))
                        .map(|on| (start.clone(), on.clone())),
                );
            }
            let Some(done) = self.ready_key(work, restore) else { continue };
            for (slot, other) in &pausing {
                let before =
                    matches!(phase(slot), Some(TaskPhase::Validate | TaskPhase::Backup | TaskPhase::Restore));
                if before {
                    continue;
                }
                let starts = self.slot_keys(&other.set, slot, &[Act::Start]);
                pairs.extend(starts.into_iter().map(|start| (start, done.clone())));
            }
        }
        for (key, on) in pairs {
            self.drafts.depend(&key, on);
        }
    }
}
