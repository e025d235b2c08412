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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{DeploymentName, Observed, ReleaseName};
    use crate::plan::{Cause, Options, Target, Undo, Volumes, destroy};

    /// A plan of nothing but these steps: (number, what it stands on, set, action), all of one host.
    fn plan(steps: Vec<(u32, &[u32], Option<&str>, Action)>) -> Plan {
        let observed = Observed {
            deployment: DeploymentName::new("aio").unwrap(),
            taken_at: String::new(),
            hosts: BTreeMap::new(),
            last_generation: 0,
            ledger: None,
        };
        let release = ReleaseName::new("2026.1").unwrap();
        let mut plan = destroy(&observed, release, &Volumes::Keep, &Options::default());
        plan.steps = steps
            .into_iter()
            .map(|(id, deps, set, action)| Step {
                id: StepId(id),
                deps: deps.iter().copied().map(StepId).collect(),
                host: Some(HostName::new("a").unwrap()),
                slot: None,
                set: set.map(|set| SetName::new(set).unwrap()),
                action,
                cause: Cause::Asked { what: "test".to_owned() },
                undo: Undo::Nothing,
            })
            .collect();
        plan
    }

    fn start() -> Action {
        Action::StartContainer { container: Target::Made { name: "x".to_owned() }, thaw: false }
    }

    fn wait() -> Action {
        Action::AwaitHealthy { container: Target::Made { name: "x".to_owned() }, check: None }
    }

    fn begun(progress: &mut Progress<'_>, now: Instant) -> Vec<u32> {
        progress.begin(now).iter().map(|step| step.id.0).collect()
    }

    fn ended(step: u32, good: bool) -> Ended {
        let result = if good { Ok(()) } else { Err(StepError { message: "no".to_owned() }) };
        Ended { step: StepId(step), from: 0.0, to: 1.0, result }
    }

    #[test]
    fn an_engine_must_have_four_calls_at_once_and_what_most_waits_for_first() {
        let mut steps: Vec<_> = (1..=6).map(|id| (id, [].as_slice(), None, start())).collect();
        steps.push((7, &[6], None, wait()));
        let plan = plan(steps);
        let now = Instant::now();
        let mut progress = Progress::new(&plan, now);
        assert_eq!(begun(&mut progress, now), [6, 1, 2, 3]);
        assert!(begun(&mut progress, now).is_empty());
        progress.end(ended(6, true), now);
        // A wait costs the engine nothing: it begins beside the four.
        assert_eq!(begun(&mut progress, now), [7, 4]);
    }

    #[test]
    fn nothing_of_a_set_that_failed_must_begin_nor_what_stands_on_it() {
        let plan = plan(vec![
            (1, &[], Some("database"), start()),
            (2, &[], Some("database"), wait()),
            (3, &[1], Some("api"), start()),
            (4, &[2], None, start()),
            (5, &[], Some("api"), start()),
        ]);
        let now = Instant::now();
        let mut progress = Progress::new(&plan, now);
        assert_eq!(begun(&mut progress, now).len(), 3);
        progress.end(ended(1, false), now);
        progress.end(ended(2, true), now);
        progress.end(ended(5, true), now);
        assert_eq!(begun(&mut progress, now), [4]);
        assert_eq!(progress.left().map(|step| step.id.0).collect::<Vec<_>>(), [3]);
        assert_eq!(progress.failed_sets().map(SetName::as_str).collect::<Vec<_>>(), ["database"]);
        let failures = progress.take_failures();
        assert!(failures.len() == 1 && failures[0].ends_with(": no"), "{failures:?}");
        assert!(progress.take_failures().is_empty());
        assert_eq!(progress.into_reports().len(), 3);
    }

    #[test]
    fn the_time_that_a_step_may_take_by_what_it_is_must_be_no_lack_of_progress() {
        let stop = Action::StopContainer {
            container: Target::Made { name: "x".to_owned() },
            grace: 90,
            freeze: false,
        };
        let plan = plan(vec![(1, &[], None, stop), (2, &[], None, start())]);
        let now = Instant::now();
        let mut progress = Progress::new(&plan, now);
        assert_eq!(progress.idle_since(), now);
        assert_eq!(begun(&mut progress, now).len(), 2);
        assert_eq!(progress.idle_since(), now + Duration::from_secs(90));
        let later = now + Duration::from_secs(3);
        progress.end(ended(1, true), later);
        assert_eq!(progress.idle_since(), later);
        // What failed is no progress.
        progress.end(ended(2, false), later + Duration::from_secs(1));
        assert_eq!(progress.idle_since(), later);
    }
}
