//! What binds slots to each other: who waits for whom, on the way forth and on the way back.

use std::collections::BTreeMap;

use super::build::{Builder, Work};
use super::cutover;
use super::document::{Change, Purpose};
use super::draft::{Act, Class, Key};
use super::returning;
use crate::model::{ContainerSpec, Role, Slot, TaskPhase};

impl Builder<'_, '_> {
    /// In a commit, what was kept goes only once all that only it needed is gone well: until then the upgrade is open.
    pub(super) fn last_of_all(&mut self, work: &BTreeMap<Slot, Work<'_>>) {
        if self.scene.options.purpose != Purpose::Commit {
            return;
        }
        let runs = work.iter().filter(|(_, item)| item.decision.change == Change::Run);
        let done: Vec<Key> = runs.filter_map(|(slot, _)| self.ready_key(work, slot)).collect();
        let going: Vec<Key> = self.drafts.keys().filter(|key| key.class == Class::Retire).cloned().collect();
        for key in &going {
            for ready in &done {
                self.drafts.depend(key, ready.clone());
            }
        }
    }

    /// A project changes to another release part by part: first what understands both, on the way back that last.
    pub(super) fn swap_order(&mut self, work: &BTreeMap<Slot, Work<'_>>) {
        if self.scene.returning.is_some() {
            return;
        }
        let swapped =
            |slot: &Slot| work.get(slot).filter(|item| !item.decision.stop.is_empty() && item.spec.is_some());
        for (slot, item) in work {
            if swapped(slot).is_none() {
                continue;
            }
            let first: Vec<Slot> = self.scene.swapped_after(slot).into_iter().cloned().collect();
            for other in first {
                let Some(other_item) = swapped(&other) else { continue };
                let (early, late) = if self.scene.returns() {
                    ((slot, item), (&other, other_item))
                } else {
                    ((&other, other_item), (slot, item))
                };
                let mut before = self.slot_keys(&early.1.set, early.0, &[Act::Stop, Act::Steady]);
                before.extend(self.ready_key(work, early.0));
                for key in self.slot_keys(&late.1.set, late.0, &[Act::Stop, Act::Start]) {
                    for earlier in &before {
                        self.drafts.depend(&key, earlier.clone());
                    }
                }
            }
        }
    }

    /// Where an older release must find its data changed: before it starts, and, what the newer one writes until its end, between
    /// that and the start of the last that is older.
    pub(super) fn ways_back(&mut self, work: &BTreeMap<Slot, Work<'_>>) {
        for way in cutover::ways_back(work, |slot: &Slot, work| self.ready_key(work, slot)) {
            let begin = self.slot_keys(&way.set, &way.task, &[Act::Start]);
            let any_last = way.others.iter().any(|(slot, _)| self.scene.is_last(slot));
            for (slot, set) in &way.others {
                if way.settles {
                    for stop in self.slot_keys(set, slot, &[Act::Stop]) {
                        for key in &begin {
                            self.drafts.depend(key, stop.clone());
                        }
                    }
                }
                if way.settles && any_last && !self.scene.is_last(slot) {
                    continue;
                }
                // What comes before the end of the newer ones is done while they serve.
                let waiting: &[Act] = if way.settles { &[Act::Start] } else { &[Act::Start, Act::Stop] };
                for key in self.slot_keys(set, slot, waiting) {
                    self.drafts.depend(&key, way.done.clone());
                }
            }
        }
    }

    /// A container starts, and its predecessor stops, only after what it needs serves.
    pub(super) fn launch_order(&mut self, work: &BTreeMap<Slot, Work<'_>>) {
        for (slot, item) in work {
            let Some((spec, _)) = &item.spec else { continue };
            // Whether a release can take over is asked of what is there now, before any of it changes.
            // And the copy that it could return to is one of that, too.
            if matches!(spec.role, Role::Task { phase: TaskPhase::Check | TaskPhase::Backup, .. }) {
                continue;
            }
            for after in &spec.after {
                let Some(ready) = self.ready_key(work, after) else { continue };
                // See `swap_order`.
                let swapped = work.get(after).is_some_and(|other| !other.decision.stop.is_empty());
                if swapped && self.scene.returns() && self.scene.kin(slot, after) {
                    continue;
                }
                let acts = self.acts_after(spec);
                // Where no balancer parts the two, a first question may reach the one that is ending (an agent waited its minute).
                let desired = self.scene.desired;
                let shares = work.get(after).filter(|other| {
                    other.overlaps
                        && !desired.routes.contains_key(after)
                        && !desired.balancers.contains_key(after)
                });
                let ends =
                    shares.map(|other| self.slot_keys(&other.set, after, &[Act::Stop])).unwrap_or_default();
                for key in self.slot_keys(&item.set, slot, acts) {
                    for earlier in ends.iter().chain([&ready]) {
                        self.drafts.depend(&key, earlier.clone());
                    }
                }
            }
        }
    }

    /// What a slot does only after what it starts after is ready.
    pub(super) fn acts_after(&self, spec: &ContainerSpec) -> &'static [Act] {
        // Where the data changes, what uses it stops before what has it does.
        if returning::pauses(self.scene, spec) { &[Act::Start] } else { &[Act::Stop, Act::Start] }
    }

    /// Removed slots: stopped before a slot that is new on the same host starts, since that may want the same port;
    /// where nothing is new, only after everything else serves.
    pub(super) fn removals(&mut self, work: &BTreeMap<Slot, Work<'_>>) {
        let all_ready: Vec<Key> = work.keys().filter_map(|slot| self.ready_key(work, slot)).collect();
        for (slot, item) in work.iter().filter(|(_, item)| item.spec.is_none()) {
            let stops = self.slot_keys(&item.set, slot, &[Act::Stop]);
            let newcomers: Vec<(&Slot, &Work<'_>)> = work
                .iter()
                .filter(|(other, w)| other.host == slot.host && w.decision.change == Change::Create)
                .collect();
            for stop in &stops {
                for (other, newcomer) in &newcomers {
                    let name = self.successor_name(other, &newcomer.decision);
                    let upload = self.key(Class::Stage, &newcomer.set, other, Act::Upload, &name);
                    let start = self.key(Class::Work, &newcomer.set, other, Act::Start, &name);
                    self.drafts.depend(stop, upload);
                    self.drafts.depend(&start, stop.clone());
                }
                if newcomers.is_empty() && self.scene.returning.is_none() {
                    for ready in &all_ready {
                        self.drafts.depend(stop, ready.clone());
                    }
                }
            }
            let retire = item
                .decision
                .retire
                .iter()
                .map(|seen| self.key(Class::Retire, &item.set, slot, Act::Remove, &seen.container.name));
            for retire in retire.collect::<Vec<_>>() {
                for key in self.slot_keys(&item.set, slot, &[Act::Stop, Act::Await]) {
                    self.drafts.depend(&retire, key);
                }
            }
        }
    }
}
