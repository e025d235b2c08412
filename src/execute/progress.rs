//! How far a run has come: what may begin, what has ended, and what that means for each set. Asks no engine.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::time::Duration;

use tokio::time::Instant;

use super::StepError;
use super::keeping::PREPARING;
use super::report::StepReport;
use crate::model::{HostName, SetName};
use crate::plan::{Action, Mark, Plan, Purpose, SlotPlan, Step, StepId};

/// Calls to one engine at a time. Waits do not count: they cost the engine nothing.
const PER_HOST: usize = 4;

/// A step that came to its end; times in seconds since the run began.
pub(super) struct Ended {
    pub step: StepId,
    pub from: f64,
    pub to: f64,
    pub result: Result<(), StepError>,
}

/// What is known while the walk over a plan goes on.
pub(super) struct Progress<'p> {
    plan: &'p Plan,
    ranks: HashMap<StepId, u32>,
    /// When a step last came to its end.
    last: Instant,
    /// When the steps under way will have had the time that they may take by what they are.
    granted: HashMap<StepId, Instant>,
    /// Calls under way, by host.
    calls: BTreeMap<HostName, usize>,
    done: BTreeSet<StepId>,
    begun: BTreeSet<StepId>,
    reports: BTreeMap<u32, StepReport>,
    failures: Vec<String>,
    failed_sets: BTreeSet<SetName>,
    /// A step without a set failed: nothing that depends on it can be done.
    failed_steps: BTreeSet<StepId>,
}

impl<'p> Progress<'p> {
    pub fn new(plan: &'p Plan, now: Instant) -> Self {
        Self {
            plan,
            ranks: ranks(plan),
            last: now,
            granted: HashMap::new(),
            calls: BTreeMap::new(),
            done: BTreeSet::new(),
            begun: BTreeSet::new(),
            reports: BTreeMap::new(),
            failures: Vec::new(),
            failed_sets: BTreeSet::new(),
            failed_steps: BTreeSet::new(),
        }
    }

    /// Returns what begins now, the most urgent first, and counts it as begun.
    pub fn begin(&mut self, now: Instant) -> Vec<&'p Step> {
        let mut ready: Vec<&'p Step> = self.plan.steps.iter().filter(|step| self.may_begin(step)).collect();
        ready.sort_by_key(|step| std::cmp::Reverse(self.ranks.get(&step.id)));
        ready.retain(|step| {
            if let Some(host) = engine_called(step) {
                let calls = self.calls.entry(host.clone()).or_default();
                if *calls >= PER_HOST {
                    return false;
                }
                *calls += 1;
            }
            self.begun.insert(step.id);
            self.granted.insert(step.id, now + own_time(&step.action));
            true
        });
        ready
    }

    /// Returns what is done last, however the run went, and counts it as begun.
    pub fn begin_last(&mut self) -> Vec<&'p Step> {
        let last: Vec<&'p Step> = self.plan.steps.iter().filter(|step| is_last(step)).collect();
        self.begun.extend(last.iter().map(|step| step.id));
        last
    }

    /// A step begins when all before it is done, and neither its set nor anything it stands on has failed.
    fn may_begin(&self, step: &Step) -> bool {
        !self.begun.contains(&step.id)
            && !is_last(step)
            && step.set.as_ref().is_none_or(|set| !self.failed_sets.contains(set))
            && step.deps.iter().all(|dep| self.done.contains(dep))
    }

    /// Takes the end of a step into account.
    pub fn end(&mut self, Ended { step: id, from: began, to: ended, result }: Ended, now: Instant) {
        let Some(step) = self.plan.step(id) else { return };
        if let Some(calls) = engine_called(step).and_then(|host| self.calls.get_mut(host)) {
            *calls = calls.saturating_sub(1);
        }
        let outcome = if result.is_ok() { "done" } else { "failed" };
        let deps = step.deps.iter().map(|dep| dep.0).collect();
        let title = step.action.to_string();
        self.reports.insert(id.0, StepReport { id: id.0, title, deps, began, ended, outcome });
        self.granted.remove(&id);
        match result {
            Ok(()) => {
                self.last = now;
                self.done.insert(id);
            }
            Err(error) => {
                self.failed_steps.insert(id);
                self.failed_sets.extend(step.set.clone());
                let place = step.slot.as_ref().map(|slot| format!("{slot}: ")).unwrap_or_default();
                self.failures.push(format!("{place}{}: {}", step.action, error.message));
            }
        }
    }

    /// Returns since when something should have come to its end.
    pub fn idle_since(&self) -> Instant {
        self.granted.values().copied().fold(self.last, Instant::max)
    }

    /// Returns what did not begin.
    pub fn left(&self) -> impl Iterator<Item = &'p Step> {
        self.plan.steps.iter().filter(|step| !self.begun.contains(&step.id))
    }

    /// Returns the sets that are not proven, the last launched first.
    pub fn unfinished(&self) -> Vec<SetName> {
        let mut sets: Vec<SetName> = self
            .plan
            .changing_sets()
            .into_iter()
            .filter(|set| {
                let mut proofs = self.steps_of(set).filter(|step| step.action == Action::Proven).peekable();
                if proofs.peek().is_some() {
                    return proofs.any(|step| !self.done.contains(&step.id));
                }
                // A set that is only cleaned up or removed is finished when all its steps are done.
                self.steps_of(set).any(|step| !self.done.contains(&step.id))
            })
            .collect();
        sets.reverse();
        sets
    }

    /// Returns whether any call was made for a set.
    pub fn is_touched(&self, set: &SetName) -> bool {
        self.steps_of(set).any(|step| self.begun.contains(&step.id) && !is_silent(step))
    }

    /// Returns the sets of which a step failed.
    pub fn failed_sets(&self) -> impl Iterator<Item = &SetName> {
        self.failed_sets.iter()
    }

    /// Returns whether flavors and networks could not be made. They belong to no set: nothing is undone for them, and nothing was.
    pub fn has_failed_to_furnish(&self) -> bool {
        let mut steps = self.plan.steps.iter();
        steps
            .any(|step| matches!(step.action, Action::Furnish { .. }) && self.failed_steps.contains(&step.id))
    }

    /// Between releases what is proven stays, and what was not begun is left alone: a service has parts in several sets, and an
    /// older part may not start any more beside a newer one, nor serve it. Otherwise a set returns as a whole.
    pub fn stays(&self, slot: &SlotPlan) -> bool {
        if !matches!(self.plan.purpose, Purpose::Upgrade | Purpose::Rollback) {
            return false;
        }
        let mut steps = self.plan.steps.iter().filter(|step| {
            step.slot.as_ref() == Some(&slot.slot) && !matches!(step.action, Action::RemoveContainer { .. })
        });
        let begun = steps.clone().any(|step| self.begun.contains(&step.id));
        !begun || steps.all(|step| self.done.contains(&step.id))
    }

    /// Returns the digest of what Keystone was told in this run. Only a step that was carried out has told it anything.
    pub fn told(&self) -> Option<&'p String> {
        self.carried_out().find_map(|step| match &step.action {
            Action::Register { identity } => Some(identity),
            _ => None,
        })
    }

    /// Returns the digest of the flavors and networks that this run made.
    pub fn furnished(&self) -> Option<&'p String> {
        self.carried_out().find_map(|step| match &step.action {
            Action::Furnish { cloud } => Some(cloud),
            _ => None,
        })
    }

    /// Returns what failed so far, each with its reason, and forgets it.
    pub fn take_failures(&mut self) -> Vec<String> {
        std::mem::take(&mut self.failures)
    }

    /// Returns what came to its end, by the plan's order.
    pub fn into_reports(self) -> BTreeMap<u32, StepReport> {
        self.reports
    }

    fn carried_out(&self) -> impl Iterator<Item = &'p Step> {
        self.plan.steps.iter().filter(|step| self.done.contains(&step.id))
    }

    fn steps_of(&self, set: &SetName) -> impl Iterator<Item = &'p Step> {
        self.plan.steps.iter().filter(move |step| step.set.as_ref() == Some(set))
    }
}

/// Whether a step is a point in the plan, which needs nobody.
pub(super) fn is_silent(step: &Step) -> bool {
    matches!(step.action, Action::Staged | Action::Proven)
}

fn is_last(step: &Step) -> bool {
    matches!(step.action, Action::WriteGeneration { mark: Mark::End })
}

/// Returns the host whose engine a step keeps busy.
fn engine_called(step: &Step) -> Option<&HostName> {
    step.host.as_ref().filter(|_| !step.action.is_wait() && !is_silent(step))
}

/// Returns how long a step may take by what it is: a task's deadline, the time to end, or to answer what is under way. Such time is
/// no lack of progress.
fn own_time(action: &Action) -> Duration {
    let seconds = match action {
        Action::AwaitExit { deadline, .. } => *deadline,
        Action::AwaitSteady { seconds, .. } => *seconds,
        Action::StopContainer { grace, .. } | Action::DrainServer { grace, .. } => *grace,
        Action::StandBy { grace, .. } => grace.saturating_add(PREPARING),
        _ => 0,
    };
    Duration::from_secs(seconds.into())
}

/// Returns how much comes after each step: the weight of the longest chain that begins with it.
///
/// Where calls queue for an engine, those that the rest waits for go first: a run is as long as its longest chain. The weights
/// are rough (a wait takes seconds, a start tenths of one, all else less); only their order matters.
fn ranks(plan: &Plan) -> HashMap<StepId, u32> {
    let mut ranks: HashMap<StepId, u32> = HashMap::new();
    // A step stands after all that it depends on.
    for step in plan.steps.iter().rev() {
        let weight = match &step.action {
            Action::AwaitHealthy { .. } | Action::AwaitExit { .. } | Action::Register { .. } => 20,
            Action::AwaitSteady { .. } => 5,
            Action::StartContainer { .. } | Action::StopContainer { .. } => 3,
            _ => 1,
        };
        let own = ranks.get(&step.id).copied().unwrap_or(0) + weight;
        ranks.insert(step.id, own);
        for dep in &step.deps {
            let after = ranks.entry(*dep).or_default();
            *after = own.max(*after);
        }
    }
    ranks
}
