//! The walk over the graph.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::time::Duration;

use futures::StreamExt;
use futures::future::BoxFuture;
use futures::stream::FuturesUnordered;
use rand::Rng as _;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::keeping::PREPARING;
use super::perform::{Work, fail};
use super::report::{Outcome, RunReport, SetOutcome, StepReport, longest_chain};
use super::unwind::unwind;
use super::{Environment, ExecuteError, StepError};
use crate::engine::EngineErrorKind;
use crate::journal::entry::{JOURNAL_VERSION, PlannedStep, Stopping};
use crate::journal::record::RECORD_VERSION;
use crate::journal::{Event as JournalEvent, GenerationRecord, RecordOutcome, SlotRecord};
use crate::model::{ContainerState, Desired, HostName, Role, RunId, SetName, TaskPhase};
use crate::plan::{Action, Change, Mark, Plan, Purpose, SlotPlan, Step, StepId};
use crate::report::Event;
use crate::report::event::Outcome as EventOutcome;
use crate::store::journal_file::Journal;

/// Calls to one engine at a time. Waits do not count: they cost the engine nothing.
const PER_HOST: usize = 4;

/// Carries out a plan that was verified and agreed to, with the deployment's lock held.
pub async fn run(
    environment: &Environment,
    plan: &Plan,
    desired: &Desired,
) -> Result<RunReport, ExecuteError> {
    if let Some(host) = plan.hosts.iter().find(|host| !environment.engines.contains_key(*host)) {
        return Err(ExecuteError::UnknownHost(host.clone()));
    }
    let run = run_id()?;
    let journal = Journal::create(&environment.state, run.as_str())?;
    journal
        .append(JournalEvent::RunBegan {
            version: JOURNAL_VERSION,
            run: run.clone(),
            deployment: plan.deployment.clone(),
            purpose: plan.purpose.as_str().to_owned(),
            generation: plan.generation,
            steps: plan.steps.len(),
            plan: plan.steps.iter().map(PlannedStep::of).collect(),
        })
        .await?;
    let work = Work::new(environment, plan, desired, run.clone());
    let walk = Walk {
        work: &work,
        journal: &journal,
        began: Instant::now(),
        ranks: ranks(plan),
        stalled: CancellationToken::new(),
    };
    let report = walk.all(run).await?;
    let outcome = serde_json::to_value(report.outcome).ok().and_then(|v| v.as_str().map(str::to_owned));
    journal.append(JournalEvent::RunEnded { outcome: outcome.unwrap_or_default() }).await?;
    Ok(report)
}

/// A name that sorts by time and that no other run has.
fn run_id() -> Result<RunId, ExecuteError> {
    // Names sort by time, and two runs may begin within a second: what was told of earlier ones is read in that order.
    let time = jiff::Timestamp::now().strftime("%Y%m%dt%H%M%S%3f").to_string();
    let salt: u32 = rand::rng().random();
    Ok(RunId::new(format!("{time}-{salt:08x}"))?)
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

struct Walk<'w, 'a> {
    work: &'w Work<'a>,
    journal: &'w Journal,
    began: Instant,
    ranks: HashMap<StepId, u32>,
    /// Cancelled: nothing has come to its end for too long, and nothing is waited for any more.
    stalled: CancellationToken,
}

/// Returns what an act tells to end, for the journal.
pub(super) fn stopping(host: &HostName, action: &Action) -> Option<Stopping> {
    match action {
        Action::StopContainer { container, .. } => {
            Some(Stopping { host: host.clone(), container: container.name().to_owned() })
        }
        _ => None,
    }
}

/// Returns the host whose engine a step keeps busy.
fn engine_called(step: &Step) -> Option<&HostName> {
    let free = step.action.is_wait() || matches!(step.action, Action::Staged | Action::Proven);
    step.host.as_ref().filter(|_| !free)
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

/// What is known while the walk goes on.
struct Progress {
    /// When a step last came to its end.
    last: Instant,
    /// When the steps under way will have had the time that they may take by what they are.
    granted: HashMap<StepId, Instant>,
    /// Calls under way, by host.
    calls: BTreeMap<HostName, usize>,
    done: BTreeSet<StepId>,
    begun: BTreeSet<StepId>,
    reports: HashMap<u32, StepReport>,
    failures: Vec<String>,
    failed_sets: BTreeSet<SetName>,
    /// A step without a set failed: nothing that depends on it can be done.
    failed_steps: BTreeSet<StepId>,
}

impl Progress {
    fn new() -> Self {
        Self {
            last: Instant::now(),
            granted: HashMap::new(),
            calls: BTreeMap::new(),
            done: BTreeSet::new(),
            begun: BTreeSet::new(),
            reports: HashMap::new(),
            failures: Vec::new(),
            failed_sets: BTreeSet::new(),
            failed_steps: BTreeSet::new(),
        }
    }

    /// Returns since when something should have come to its end.
    fn idle_since(&self) -> Instant {
        self.granted.values().copied().fold(self.last, Instant::max)
    }
}

type Ended = (StepId, f64, f64, Result<(), StepError>);

impl Walk<'_, '_> {
    async fn all(&self, run: RunId) -> Result<RunReport, ExecuteError> {
        let plan = self.work.plan;
        let environment = self.work.environment;
        let reporter = environment.reporter.as_ref();
        let title = format!("{} {}", plan.purpose.as_str(), plan.deployment);
        reporter.on(Event::Phase { title, total: Some(plan.steps.len()) });
        let record = self.record(&run);

        let mut progress = Progress::new();
        let mut running: FuturesUnordered<BoxFuture<'_, Result<Ended, ExecuteError>>> =
            FuturesUnordered::new();
        let mut interrupted = false;
        loop {
            if !interrupted {
                let mut ready: Vec<&Step> =
                    plan.steps.iter().filter(|step| Self::may_begin(step, &progress)).collect();
                ready.sort_by_key(|step| std::cmp::Reverse(self.ranks.get(&step.id)));
                for step in ready {
                    if let Some(host) = engine_called(step) {
                        let calls = progress.calls.entry(host.clone()).or_default();
                        if *calls >= PER_HOST {
                            continue;
                        }
                        *calls += 1;
                    }
                    progress.begun.insert(step.id);
                    progress.granted.insert(step.id, Instant::now() + own_time(&step.action));
                    running.push(Box::pin(self.one(step, record.as_ref())));
                }
                // Steps without a call are done at once and may free others; `running` yields them next.
            }
            if running.is_empty() {
                break;
            }
            let ended = tokio::select! {
                ended = running.next() => ended,
                () = environment.cancel.cancelled(), if !interrupted => {
                    interrupted = true;
                    continue;
                }
                () = tokio::time::sleep_until(progress.idle_since() + environment.progress_deadline),
                    if !self.stalled.is_cancelled() =>
                {
                    self.stalled.cancel();
                    continue;
                }
            };
            let Some(ended) = ended else { break };
            self.note(ended?, &mut progress);
        }

        drop(running);
        let unfinished = self.unfinished(&progress);
        let mut sets: BTreeMap<SetName, SetOutcome> = self
            .work
            .plan
            .changing_sets()
            .into_iter()
            .map(|set| {
                let outcome = if unfinished.contains(&set) { SetOutcome::Untouched } else { SetOutcome::New };
                (set, outcome)
            })
            .collect();
        let mut failures = std::mem::take(&mut progress.failures);
        let wrong = !failures.is_empty() || interrupted;
        let (mut broken, mut returned) = (false, false);
        if wrong {
            let touched: Vec<SetName> =
                unfinished.iter().filter(|set| self.touched(set, &progress)).cloned().collect();
            if touched.is_empty() {
                // Every set that was touched is new: nothing was undone, only cleaning up failed.
                broken = progress.failed_sets.iter().any(|set| !unfinished.contains(set))
                    || self.failed_to_furnish(&progress);
                returned = unfinished.len() == sets.len() && self.returns().await;
            } else if self.returns().await {
                reporter.on(Event::Phase { title: "returning to what was".to_owned(), total: None });
                let stays = |slot: &SlotPlan| self.stays(slot, &progress);
                let (undone, more) = unwind(self.work, self.journal, &touched, &stays).await?;
                broken = !more.is_empty();
                returned = !broken;
                sets.extend(undone);
                failures.extend(more);
            } else {
                // Such is not taken back. A person's own interruption is no failure: the next run finishes it.
                broken = !interrupted;
                let left = if interrupted { SetOutcome::Unfinished } else { SetOutcome::Broken };
                sets.extend(touched.into_iter().map(|set| (set, left)));
            }
        }
        let outcome = match (wrong, broken, interrupted) {
            (false, _, _) => Outcome::Done,
            (true, true, _) => Outcome::Failed,
            (true, false, true) => Outcome::Interrupted,
            (true, false, false) => Outcome::Undone,
        };
        if wrong {
            self.cancelled(&progress);
        }
        let record = record.map(|record| if returned { Self::as_before(record) } else { record });
        self.end(record, outcome, &mut progress, &mut failures).await?;
        let (longest_chain_seconds, chain) = longest_chain(plan, &progress.reports);
        let mut steps: Vec<StepReport> = progress.reports.into_values().collect();
        steps.sort_by_key(|step| step.id);
        Ok(RunReport {
            version: 1,
            run: Some(run),
            purpose: plan.purpose.as_str().to_owned(),
            generation: plan.generation,
            outcome,
            seconds: self.began.elapsed().as_secs_f64(),
            longest_chain_seconds,
            longest_chain: chain,
            sets,
            steps,
            availability: environment.watch.as_ref().map(|watch| watch.seen()).unwrap_or_default(),
            failures,
        })
    }

    /// A step begins when all before it is done, and neither its set nor anything it stands on has failed.
    fn may_begin(step: &Step, progress: &Progress) -> bool {
        !progress.begun.contains(&step.id)
            && !matches!(step.action, Action::WriteGeneration { mark: Mark::End })
            && step.set.as_ref().is_none_or(|set| !progress.failed_sets.contains(set))
            && step.deps.iter().all(|dep| progress.done.contains(dep))
    }

    /// One step: written down, done, written down.
    async fn one(&self, step: &Step, record: Option<&GenerationRecord>) -> Result<Ended, ExecuteError> {
        let silent = matches!(step.action, Action::Staged | Action::Proven);
        if silent {
            let now = self.began.elapsed().as_secs_f64();
            return Ok((step.id, now, now, Ok(())));
        }
        let began = self.began.elapsed();
        let environment = self.work.environment;
        let reporter = environment.reporter.as_ref();
        let key = step.id.to_string();
        let stops = step.host.as_ref().and_then(|host| stopping(host, &step.action));
        let event = JournalEvent::StepBegan { step: step.id, action: step.action.to_string(), stops };
        if step.action.is_wait() {
            // It changes nothing: nothing is lost when nobody can read later that it had begun.
            self.journal.note(event)?;
        } else {
            self.journal.append(event).await?;
        }
        reporter.on(Event::Started {
            key: key.clone(),
            host: step.host.clone(),
            title: step.action.to_string(),
        });
        let note = |message: String| reporter.on(Event::Progress { key: key.clone(), message, amount: None });
        let act = self.work.perform(step, record, &note);
        let result = if step.action.is_wait() {
            // A wait changes nothing: it may be left at any moment.
            tokio::select! {
                result = act => result,
                () = environment.cancel.cancelled() => Err(StepError { message: "interrupted".to_owned() }),
                () = self.stalled.cancelled() => {
                    let seconds = environment.progress_deadline.as_secs();
                    Err(fail(format!("given up: nothing has come to its end for {seconds} s (--progress-deadline)")))
                }
            }
        } else {
            act.await
        };
        let ended = self.began.elapsed();
        match &result {
            // On the disk before the next step's announcement is.
            Ok(()) => self.journal.note(JournalEvent::StepDone { step: step.id })?,
            Err(error) => {
                let reason = error.message.clone();
                self.journal.append(JournalEvent::StepFailed { step: step.id, reason }).await?;
            }
        }
        let outcome = match &result {
            Ok(()) => EventOutcome::Done,
            Err(error) => EventOutcome::Failed(error.message.clone()),
        };
        reporter.on(Event::Finished { key, outcome, took: ended.saturating_sub(began) });
        Ok((step.id, began.as_secs_f64(), ended.as_secs_f64(), result))
    }

    /// Takes the end of a step into account.
    fn note(&self, (id, began, ended, result): Ended, progress: &mut Progress) {
        let Some(step) = self.work.plan.step(id) else { return };
        if let Some(calls) = engine_called(step).and_then(|host| progress.calls.get_mut(host)) {
            *calls = calls.saturating_sub(1);
        }
        let outcome = if result.is_ok() { "done" } else { "failed" };
        let deps = step.deps.iter().map(|dep| dep.0).collect();
        let title = step.action.to_string();
        progress.reports.insert(id.0, StepReport { id: id.0, title, deps, began, ended, outcome });
        progress.granted.remove(&id);
        match result {
            Ok(()) => {
                progress.last = Instant::now();
                progress.done.insert(id);
            }
            Err(error) => {
                progress.failed_steps.insert(id);
                progress.failed_sets.extend(step.set.clone());
                let place = step.slot.as_ref().map(|slot| format!("{slot}: ")).unwrap_or_default();
                progress.failures.push(format!("{place}{}: {}", step.action, error.message));
            }
        }
    }

    /// Returns the sets that are not proven, the last launched first.
    fn unfinished(&self, progress: &Progress) -> Vec<SetName> {
        let plan = self.work.plan;
        let mut sets: Vec<SetName> = plan
            .changing_sets()
            .into_iter()
            .filter(|set| {
                let mut proofs = plan
                    .steps
                    .iter()
                    .filter(|s| s.set.as_ref() == Some(set) && s.action == Action::Proven)
                    .peekable();
                if proofs.peek().is_some() {
                    return proofs.any(|s| !progress.done.contains(&s.id));
                }
                // A set that is only cleaned up or removed is finished when all its steps are done.
                plan.steps.iter().any(|s| s.set.as_ref() == Some(set) && !progress.done.contains(&s.id))
            })
            .collect();
        sets.reverse();
        sets
    }

    /// Whether a failure is taken back. What is destroyed is gone, and what has started may as well go on; and newer containers do
    /// not start on older data.
    async fn returns(&self) -> bool {
        match self.work.plan.purpose {
            Purpose::Return { .. } => self.data_is_as_it_was().await,
            Purpose::Deploy | Purpose::Upgrade | Purpose::Rollback | Purpose::Commit | Purpose::Stop => true,
            Purpose::Backup | Purpose::Rehearse | Purpose::Restore => true,
            Purpose::Start | Purpose::Destroy { .. } => false,
        }
    }

    /// Whether no restore task of this plan may have changed anything, as far as the hosts can tell.
    async fn data_is_as_it_was(&self) -> bool {
        let restores = |slot: &&SlotPlan| {
            let spec = self.work.desired.containers.get(&slot.slot);
            matches!(spec.map(|spec| &spec.role), Some(Role::Task { phase: TaskPhase::Restore, .. }))
        };
        let mut any = false;
        for slot in self.work.plan.slots.iter().filter(restores) {
            let Some(successor) = slot.successor.as_ref().filter(|_| slot.change != Change::Keep) else {
                continue;
            };
            any = true;
            let Ok(engine) = self.work.engine(&slot.slot.host) else { return false };
            match engine.container(successor.id().map_or(successor.name(), |id| id.0.as_str())).await {
                Ok(there) => match (there.state, there.exit_code) {
                    (ContainerState::Created, _) => {}
                    // It says so where it has left all as it was; one that was killed says nothing.
                    (ContainerState::Exited, Some(1..=127)) => {}
                    _ => return false,
                },
                Err(error) if error.kind == EngineErrorKind::NotFound => {}
                Err(_) => return false,
            }
        }
        // None is left to run: the data was restored before.
        any
    }

    /// Between releases what is proven stays, and what was not begun is left alone: a service has parts in several sets, and an
    /// older part may not start any more beside a newer one, nor serve it. Otherwise a set returns as a whole.
    fn stays(&self, slot: &SlotPlan, progress: &Progress) -> bool {
        if !matches!(self.work.plan.purpose, Purpose::Upgrade | Purpose::Rollback) {
            return false;
        }
        let steps = || {
            self.work.plan.steps.iter().filter(|step| {
                step.slot.as_ref() == Some(&slot.slot)
                    && !matches!(step.action, Action::RemoveContainer { .. })
            })
        };
        let begun = steps().any(|step| progress.begun.contains(&step.id));
        !begun || steps().all(|step| progress.done.contains(&step.id))
    }

    /// Returns whether any call was made for a set.
    fn touched(&self, set: &SetName, progress: &Progress) -> bool {
        self.work.plan.steps.iter().any(|step| {
            step.set.as_ref() == Some(set)
                && progress.begun.contains(&step.id)
                && !matches!(step.action, Action::Staged | Action::Proven)
        })
    }

    /// Flavors and networks belong to no set: nothing is undone for them, and nothing was.
    fn failed_to_furnish(&self, progress: &Progress) -> bool {
        let steps = self.work.plan.steps.iter();
        steps
            .filter(|step| matches!(step.action, Action::Furnish { .. }))
            .any(|step| progress.failed_steps.contains(&step.id))
    }

    fn cancelled(&self, progress: &Progress) {
        let reporter = self.work.environment.reporter.as_ref();
        for step in self.work.plan.steps.iter().filter(|step| !progress.begun.contains(&step.id)) {
            let key = step.id.to_string();
            reporter.on(Event::Started {
                key: key.clone(),
                host: step.host.clone(),
                title: step.action.to_string(),
            });
            reporter.on(Event::Finished { key, outcome: EventOutcome::Cancelled, took: Duration::ZERO });
        }
    }

    /// The history's first line about this generation; none when the plan makes none.
    fn record(&self, run: &RunId) -> Option<GenerationRecord> {
        let (plan, desired) = (self.work.plan, self.work.desired);
        let generation = plan.generation?;
        let slots = plan
            .slots
            .iter()
            .filter_map(|slot| {
                let record = desired.form(&slot.slot, slot.side)?.record(&desired.init_digest);
                let name = slot.successor.as_ref().map(|s| s.name().to_owned()).unwrap_or_default();
                let generation = slot.to.or(slot.from).unwrap_or(generation);
                let change = slot.change.as_str().to_owned();
                let spec_hash = record.hash();
                Some((
                    slot.slot.to_string(),
                    SlotRecord { name, generation, change, spec_hash, spec: record },
                ))
            })
            .collect();
        Some(GenerationRecord {
            version: RECORD_VERSION,
            generation,
            deployment: plan.deployment.clone(),
            release: plan.release.clone(),
            purpose: plan.purpose.as_str().to_owned(),
            run: run.clone(),
            began_at: now(),
            ended_at: None,
            seconds: None,
            outcome: RecordOutcome::Running,
            operator: self.work.environment.operator.clone(),
            message: self.work.environment.message.clone(),
            profile: desired.profile_digest.clone(),
            identity: None,
            secrets: self.work.environment.secrets.clone(),
            cloud: None,
            held: plan.holding.clone(),
            returning: plan.returning().cloned(),
            availability: BTreeMap::new(),
            slots,
            removed: plan
                .slots
                .iter()
                .filter(|slot| slot.change == Change::Remove)
                .map(|slot| slot.slot.to_string())
                .collect(),
        })
    }

    /// A return to an older release that was taken back: what served before serves.
    fn as_before(mut record: GenerationRecord) -> GenerationRecord {
        if let Some(to) = record.returning.take() {
            record.release = to.from;
        }
        record
    }

    /// The history's last line about this generation: written however the run went.
    async fn end(
        &self,
        record: Option<GenerationRecord>,
        outcome: Outcome,
        progress: &mut Progress,
        failures: &mut Vec<String>,
    ) -> Result<(), ExecuteError> {
        let Some(mut record) = record else { return Ok(()) };
        record.availability =
            self.work.environment.watch.as_ref().map(|watch| watch.seen()).unwrap_or_default();
        record.ended_at = Some(now());
        record.seconds = Some(self.began.elapsed().as_secs_f64());
        record.outcome = match outcome {
            Outcome::Done | Outcome::Nothing => RecordOutcome::Done,
            Outcome::Undone => RecordOutcome::Undone,
            Outcome::Failed => RecordOutcome::Failed,
            Outcome::Interrupted => RecordOutcome::Interrupted,
        };
        // Only a step that was carried out has told Keystone anything; before it, what was told earlier still holds.
        let told = self.work.plan.steps.iter().find_map(|step| match &step.action {
            Action::Register { identity } if progress.done.contains(&step.id) => Some(identity.clone()),
            _ => None,
        });
        record.identity = told.or_else(|| self.work.plan.registered.clone());
        let made = self.work.plan.steps.iter().find_map(|step| match &step.action {
            Action::Furnish { cloud } if progress.done.contains(&step.id) => Some(cloud.clone()),
            _ => None,
        });
        record.cloud = made.or_else(|| self.work.plan.furnished.clone());
        if outcome == Outcome::Done {
            record.held.clone_from(&self.work.plan.held);
        } else {
            // What was not carried out is not what is there.
            record.slots.retain(|_, slot| slot.change == Change::Keep.as_str());
        }
        let ends: Vec<&Step> = self
            .work
            .plan
            .steps
            .iter()
            .filter(|step| matches!(step.action, Action::WriteGeneration { mark: Mark::End }))
            .collect();
        for step in ends {
            progress.begun.insert(step.id);
            let ended = self.one(step, Some(&record)).await?;
            if let (_, _, _, Err(error)) = &ended {
                failures.push(format!("{}: {}", step.action, error.message));
            }
            self.note(ended, progress);
        }
        Ok(())
    }
}

fn now() -> String {
    jiff::Timestamp::now().round(jiff::Unit::Second).map(|t| t.to_string()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn runs_must_sort_by_time_within_a_second_too() {
        let names: Vec<String> = (0..40)
            .map(|_| {
                std::thread::sleep(Duration::from_millis(2));
                run_id().unwrap().to_string()
            })
            .collect();
        assert!(names.is_sorted(), "{names:?}");
    }
}
