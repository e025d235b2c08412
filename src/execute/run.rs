//! The walk over the graph.

use std::collections::BTreeMap;
use std::time::Duration;

use futures::StreamExt;
use futures::future::BoxFuture;
use futures::stream::FuturesUnordered;
use rand::Rng as _;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::perform::{Work, fail};
use super::progress::{Ended, Progress, is_silent};
use super::report::{Outcome, RunReport, SetOutcome, longest_chain};
use super::unwind::unwind;
use super::{Environment, ExecuteError, StepError, generation};
use crate::engine::EngineErrorKind;
use crate::journal::entry::{JOURNAL_VERSION, PlannedStep, Stopping};
use crate::journal::{Event as JournalEvent, GenerationRecord};
use crate::model::{ContainerState, Desired, HostName, Role, RunId, SetName, TaskPhase};
use crate::plan::{Action, Change, Plan, Purpose, SlotPlan, Step};
use crate::report::Event;
use crate::report::event::Outcome as EventOutcome;
use crate::store::journal_file::Journal;

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
    let walk =
        Walk { work: &work, journal: &journal, began: Instant::now(), stalled: CancellationToken::new() };
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

struct Walk<'w, 'a> {
    work: &'w Work<'a>,
    journal: &'w Journal,
    began: Instant,
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

impl Walk<'_, '_> {
    async fn all(&self, run: RunId) -> Result<RunReport, ExecuteError> {
        let plan = self.work.plan;
        let environment = self.work.environment;
        let reporter = environment.reporter.as_ref();
        let title = format!("{} {}", plan.purpose.as_str(), plan.deployment);
        reporter.on(Event::Phase { title, total: Some(plan.steps.len()) });
        let record = generation::begun(self.work, &run);

        let mut progress = Progress::new(plan, Instant::now());
        let mut running: FuturesUnordered<BoxFuture<'_, Result<Ended, ExecuteError>>> =
            FuturesUnordered::new();
        let mut interrupted = false;
        loop {
            if !interrupted {
                for step in progress.begin(Instant::now()) {
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
            progress.end(ended?, Instant::now());
        }

        drop(running);
        let unfinished = progress.unfinished();
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
        let mut failures = progress.take_failures();
        let wrong = !failures.is_empty() || interrupted;
        let (mut broken, mut returned) = (false, false);
        if wrong {
            let touched: Vec<SetName> =
                unfinished.iter().filter(|set| progress.is_touched(set)).cloned().collect();
            if touched.is_empty() {
                // Every set that was touched is new: nothing was undone, only cleaning up failed.
                broken = progress.failed_sets().any(|set| !unfinished.contains(set))
                    || progress.has_failed_to_furnish();
                returned = unfinished.len() == sets.len() && self.returns().await;
            } else if self.returns().await {
                reporter.on(Event::Phase { title: "returning to what was".to_owned(), total: None });
                let stays = |slot: &SlotPlan| progress.stays(slot);
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
        let record = record.map(|record| if returned { generation::as_before(record) } else { record });
        failures.extend(self.end(record, outcome, &mut progress).await?);
        let reports = progress.into_reports();
        let (longest_chain_seconds, chain) = longest_chain(plan, &reports);
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
            steps: reports.into_values().collect(),
            availability: environment.watch.as_ref().map(|watch| watch.seen()).unwrap_or_default(),
            failures,
        })
    }

    /// One step: written down, done, written down.
    async fn one(&self, step: &Step, record: Option<&GenerationRecord>) -> Result<Ended, ExecuteError> {
        if is_silent(step) {
            let now = self.began.elapsed().as_secs_f64();
            return Ok(Ended { step: step.id, from: now, to: now, result: Ok(()) });
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
        Ok(Ended { step: step.id, from: began.as_secs_f64(), to: ended.as_secs_f64(), result })
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

    fn cancelled(&self, progress: &Progress<'_>) {
        let reporter = self.work.environment.reporter.as_ref();
        for step in progress.left() {
            let key = step.id.to_string();
            reporter.on(Event::Started {
                key: key.clone(),
                host: step.host.clone(),
                title: step.action.to_string(),
            });
            reporter.on(Event::Finished { key, outcome: EventOutcome::Cancelled, took: Duration::ZERO });
        }
    }

    /// The history's last line about this generation: written however the run went. Returns what failed in that.
    async fn end(
        &self,
        record: Option<GenerationRecord>,
        outcome: Outcome,
        progress: &mut Progress<'_>,
    ) -> Result<Vec<String>, ExecuteError> {
        let Some(record) = record else { return Ok(Vec::new()) };
        let record =
            generation::ended(record, self.work, progress, outcome, self.began.elapsed().as_secs_f64());
        for step in progress.begin_last() {
            let ended = self.one(step, Some(&record)).await?;
            progress.end(ended, Instant::now());
        }
        Ok(progress.take_failures())
    }
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
