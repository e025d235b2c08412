//! Collects steps under names, then numbers them: the same steps get the same numbers in whatever order they came.

use std::collections::{BTreeMap, BTreeSet};

use super::cause::Cause;
use super::step::{Action, Step, StepId, Undo};
use crate::model::{HostName, SetName, Slot};

/// The name of a step while the plan is made; its order is the order in which independent steps are numbered.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Key {
    /// First by class.
    pub class: Class,
    /// Then by the set's place in the launch order.
    pub rank: usize,
    /// Then by slot.
    pub slot: Option<Slot>,
    /// Then by what is done to it.
    pub act: Act,
    /// Then by engine name (container, volume) or host.
    pub name: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Class {
    Begin,
    Volume,
    Discard,
    Stage,
    Work,
    Retire,
    End,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Act {
    Mark,
    Create,
    Upload,
    Await,
    Open,
    Stop,
    Start,
    Ready,
    Steady,
    Drain,
    Register,
    Furnish,
    Proven,
    StandBy,
    Remove,
    Volume,
}

/// One step without its number.
#[derive(Debug)]
pub(super) struct Draft {
    pub deps: BTreeSet<Key>,
    pub host: Option<HostName>,
    pub slot: Option<Slot>,
    pub set: Option<SetName>,
    pub action: Action,
    pub cause: Cause,
    pub undo: Undo,
}

/// The steps so far.
#[derive(Debug, Default)]
pub(super) struct Drafts(BTreeMap<Key, Draft>);

impl Drafts {
    /// Adds a step under its name.
    pub(super) fn add(&mut self, key: Key, draft: Draft) {
        self.0.insert(key, draft);
    }

    /// Adds a dependency; both ends may still be missing. One that stays missing is ignored by [`Drafts::number`].
    pub(super) fn depend(&mut self, key: &Key, on: Key) {
        if let Some(draft) = self.0.get_mut(key) {
            draft.deps.insert(on);
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Returns the steps of one class and slot.
    pub(super) fn of_slot(&self, class: Class, rank: usize, slot: &Slot) -> impl Iterator<Item = &Key> {
        let first = Key { class, rank, slot: Some(slot.clone()), act: Act::Mark, name: String::new() };
        let slot = slot.clone();
        self.0
            .range(first..)
            .map(|(key, _)| key)
            .take_while(move |key| key.class == class && key.rank == rank && key.slot.as_ref() == Some(&slot))
    }

    pub(super) fn keys(&self) -> impl Iterator<Item = &Key> {
        self.0.keys()
    }

    /// Numbers the steps so that every dependency has a smaller number, and drops dependencies that follow from others.
    ///
    /// Returns the slots on a cycle when there is one.
    pub(super) fn number(self) -> Result<Vec<Step>, Vec<Slot>> {
        let Self(mut drafts) = self;
        let known: BTreeSet<Key> = drafts.keys().cloned().collect();
        let mut waiting: BTreeMap<Key, usize> = BTreeMap::new();
        let mut dependents: BTreeMap<Key, Vec<Key>> = BTreeMap::new();
        for (key, draft) in &mut drafts {
            draft.deps.retain(|dep| known.contains(dep) && dep != key);
            waiting.insert(key.clone(), draft.deps.len());
            for dep in &draft.deps {
                dependents.entry(dep.clone()).or_default().push(key.clone());
            }
        }
        let mut ready: BTreeSet<Key> =
            waiting.iter().filter(|(_, count)| **count == 0).map(|(key, _)| key.clone()).collect();
        let mut numbers: BTreeMap<Key, u32> = BTreeMap::new();
        let mut above = Ancestors::default();
        let mut steps = Vec::with_capacity(drafts.len());
        while let Some(key) = ready.pop_first() {
            let Some(draft) = drafts.remove(&key) else { continue };
            let number = u32::try_from(steps.len()).unwrap_or(u32::MAX).saturating_add(1);
            for dependent in dependents.remove(&key).unwrap_or_default() {
                if let Some(count) = waiting.get_mut(&dependent) {
                    *count = count.saturating_sub(1);
                    if *count == 0 {
                        ready.insert(dependent);
                    }
                }
            }
            numbers.insert(key, number);
            let Draft { deps, host, slot, set, action, cause, undo } = draft;
            let deps: BTreeSet<u32> = deps.iter().filter_map(|dep| numbers.get(dep).copied()).collect();
            let deps = above.push(deps).into_iter().map(StepId).collect();
            steps.push(Step { id: StepId(number), deps, host, slot, set, action, cause, undo });
        }
        if drafts.is_empty() {
            return Ok(steps);
        }
        let slots: BTreeSet<Slot> = drafts.into_values().filter_map(|draft| draft.slot).collect();
        Err(slots.into_iter().collect())
    }
}

/// For each step the bit set of all steps above it: enough to drop the edges that say nothing new.
#[derive(Debug, Default)]
struct Ancestors(Vec<Vec<u64>>);

impl Ancestors {
    /// Takes the next step's dependencies and returns those that do not follow from the others.
    fn push(&mut self, deps: BTreeSet<u32>) -> Vec<u32> {
        let words = self.0.len() / 64 + 1;
        let mut all = vec![0_u64; words];
        let mut kept = Vec::new();
        // From the youngest down: an older one that is above a younger one is already in `all`.
        for dep in deps.into_iter().rev() {
            let index = dep.saturating_sub(1) as usize;
            let (word, bit) = (index / 64, index % 64);
            if all.get(word).is_some_and(|w| w & (1 << bit) != 0) {
                continue;
            }
            kept.push(dep);
            if let Some(above) = self.0.get(index) {
                for (to, from) in all.iter_mut().zip(above) {
                    *to |= from;
                }
            }
            if let Some(w) = all.get_mut(word) {
                *w |= 1 << bit;
            }
        }
        self.0.push(all);
        kept.reverse();
        kept
    }
}
