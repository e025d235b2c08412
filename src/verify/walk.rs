//! Walks the steps: each as soon as what it stands on has passed, independent ones at once.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use futures::StreamExt as _;
use futures::future::BoxFuture;
use futures::stream::FuturesUnordered;
use tokio_util::sync::CancellationToken;

use super::report::{StepReport, Verdict};
use super::steps::StepId;
use crate::report::event::Outcome;
use crate::report::{Event, Reporter};

/// Why a step failed: complete, possibly several lines, without secrets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure(pub String);

impl<E: std::error::Error> From<E> for Failure {
    fn from(error: E) -> Self {
        let mut text = error.to_string();
        let mut source = error.source();
        while let Some(cause) = source {
            let cause_text = cause.to_string();
            if !text.contains(&cause_text) {
                text.push_str(": ");
                text.push_str(&cause_text);
            }
            source = cause.source();
        }
        Self(text)
    }
}

/// What a step saw, in a line.
pub type ActResult = Result<String, Failure>;

/// What carries steps out.
pub trait Actor: Sync {
    /// Carries one out.
    fn act(&self, step: StepId) -> BoxFuture<'_, ActResult>;

    /// What a step that is out of time was waiting for.
    fn last_seen(&self, step: StepId) -> Option<String>;
}

/// Walks all steps, and returns a report of each, in their order. Cancelled: steps in flight are dropped where they are.
pub async fn walk(
    steps: &[StepId],
    actor: &dyn Actor,
    reporter: &dyn Reporter,
    cancel: &CancellationToken,
) -> Vec<StepReport> {
    let chosen: BTreeSet<StepId> = steps.iter().copied().collect();
    let mut done: BTreeMap<StepId, (Verdict, Duration)> = BTreeMap::new();
    let mut begun: BTreeMap<StepId, Instant> = BTreeMap::new();
    let mut running = FuturesUnordered::new();
    loop {
        // Marking one as skipped may settle others: until nothing moves.
        let mut moved = !cancel.is_cancelled();
        while moved {
            moved = false;
            for step in steps.iter().copied() {
                if done.contains_key(&step) || begun.contains_key(&step) {
                    continue;
                }
                match readiness(step, &chosen, &done) {
                    Readiness::Ready => {
                        reporter.on(Event::Started {
                            key: step.name().to_owned(),
                            host: None,
                            title: format!("{step}: {}", step.title()),
                        });
                        begun.insert(step, Instant::now());
                        running.push(Box::pin(carry_out(actor, step)));
                    }
                    Readiness::Never(because) => {
                        done.insert(step, (Verdict::Skipped(because), Duration::ZERO));
                        moved = true;
                    }
                    Readiness::Waiting => {}
                }
            }
        }
        if running.is_empty() || cancel.is_cancelled() {
            break;
        }
        tokio::select! {
            () = cancel.cancelled() => {}
            Some((step, verdict)) = running.next() => {
                let took = begun.get(&step).map(Instant::elapsed).unwrap_or_default();
                let outcome = match &verdict {
                    Verdict::Passed(_) => Outcome::Done,
                    Verdict::Failed(why) => Outcome::Failed(why.clone()),
                    Verdict::Skipped(why) => Outcome::Unchanged(why.clone()),
                    Verdict::Cancelled => Outcome::Cancelled,
                };
                reporter.on(Event::Finished { key: step.name().to_owned(), outcome, took });
                done.insert(step, (verdict, took));
            }
        }
    }
    drop(running);
    steps
        .iter()
        .map(|step| {
            let (verdict, took) = done.remove(step).unwrap_or_else(|| {
                let took = begun.get(step).map(Instant::elapsed);
                if let Some(took) = took {
                    let outcome = Outcome::Cancelled;
                    reporter.on(Event::Finished { key: step.name().to_owned(), outcome, took });
                }
                (Verdict::Cancelled, took.unwrap_or_default())
            });
            StepReport { step: *step, verdict, took }
        })
        .collect()
}

enum Readiness {
    Ready,
    Waiting,
    Never(String),
}

/// Steps that the cloud cannot have (or nobody wants) are not waited for: whoever needs them for real has the same needs.
fn readiness(
    step: StepId,
    chosen: &BTreeSet<StepId>,
    done: &BTreeMap<StepId, (Verdict, Duration)>,
) -> Readiness {
    let mut waiting = false;
    for before in step.after().iter().filter(|before| chosen.contains(before)) {
        match done.get(before) {
            Some((Verdict::Passed(_), _)) => {}
            Some((Verdict::Failed(_), _)) => return Readiness::Never(format!("{before} failed")),
            Some((Verdict::Skipped(why), _)) => return Readiness::Never(why.clone()),
            Some((Verdict::Cancelled, _)) | None => waiting = true,
        }
    }
    if waiting { Readiness::Waiting } else { Readiness::Ready }
}

async fn carry_out(actor: &dyn Actor, step: StepId) -> (StepId, Verdict) {
    let verdict = match tokio::time::timeout(step.deadline(), actor.act(step)).await {
        Ok(Ok(seen)) => Verdict::Passed(seen),
        Ok(Err(Failure(why))) => Verdict::Failed(why),
        Err(_) => Verdict::Failed(out_of_time(actor, step, step.deadline()).0),
    };
    (step, verdict)
}

/// What is said of a step that took longer than it may: what it was waiting for is the half of its cause.
pub(super) fn out_of_time(actor: &dyn Actor, step: StepId, limit: Duration) -> Failure {
    let seen = actor.last_seen(step).unwrap_or_else(|| "nothing".to_owned());
    Failure(format!("not done after {} s; last seen: {seen}", limit.as_secs()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::Silent;
    use std::sync::Mutex;

    #[derive(Default)]
    struct Scripted {
        fails: BTreeSet<StepId>,
        hangs: BTreeSet<StepId>,
        log: Mutex<Vec<String>>,
    }

    impl Actor for Scripted {
        fn act(&self, step: StepId) -> BoxFuture<'_, ActResult> {
            Box::pin(async move {
                self.log.lock().unwrap().push(format!("+{step}"));
                if self.hangs.contains(&step) {
                    std::future::pending::<()>().await;
                }
                tokio::time::sleep(Duration::from_millis(10)).await;
                self.log.lock().unwrap().push(format!("-{step}"));
                if self.fails.contains(&step) { Err(Failure("broken".to_owned())) } else { Ok(String::new()) }
            })
        }

        fn last_seen(&self, _: StepId) -> Option<String> {
            Some("BUILD".to_owned())
        }
    }

    async fn run(actor: &Scripted) -> String {
        let reports = walk(StepId::ALL, actor, &Silent, &CancellationToken::new()).await;
        assert_eq!(reports.iter().map(|report| report.step).collect::<Vec<_>>(), StepId::ALL);
        let bad = reports.iter().filter(|report| !matches!(report.verdict, Verdict::Passed(_)));
        bad.map(|report| format!("{} {}: {}", report.step, report.verdict.word(), report.verdict.detail()))
            .collect::<Vec<_>>()
            .join("\n")
    }

    #[tokio::test(start_paused = true)]
    async fn steps_must_follow_what_they_stand_on_and_independent_ones_must_run_at_once() {
        let actor = Scripted::default();
        assert_eq!(run(&actor).await, "");
        let log = actor.log.into_inner().unwrap();
        let at = |entry: &str| log.iter().position(|line| line == entry).unwrap();
        for step in StepId::ALL {
            for before in step.after() {
                assert!(at(&format!("-{before}")) < at(&format!("+{step}")), "{step}");
            }
        }
        assert!(at("+volume") < at("-image") && at("+image") < at("-volume"), "{log:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn a_failure_must_skip_what_stands_on_it_and_nothing_else() {
        let actor = Scripted { fails: [StepId::Console].into(), ..Scripted::default() };
        insta::assert_snapshot!(run(&actor).await, @r"
        console failed: broken
        dhcp skipped: console failed
        metadata skipped: console failed
        blocked skipped: console failed
        ping skipped: console failed
        http skipped: console failed
        attach skipped: console failed
        detach skipped: console failed
        reread skipped: console failed
        snapshot skipped: console failed
        backup skipped: console failed
        ");
    }

    #[tokio::test(start_paused = true)]
    async fn what_hangs_must_end_at_its_deadline_with_what_was_last_seen() {
        let actor = Scripted { hangs: [StepId::Object].into(), ..Scripted::default() };
        assert_eq!(run(&actor).await, "object failed: not done after 60 s; last seen: BUILD");
    }

    #[tokio::test(start_paused = true)]
    async fn an_interrupted_run_must_begin_nothing_more_and_say_what_was_not_done() {
        let actor = Scripted { hangs: [StepId::Token].into(), ..Scripted::default() };
        let cancel = CancellationToken::new();
        let stop = async {
            tokio::time::sleep(Duration::from_secs(1)).await;
            cancel.cancel();
        };
        let steps = [StepId::Project, StepId::Token, StepId::Refusals];
        let (reports, ()) = tokio::join!(walk(&steps, &actor, &Silent, &cancel), stop);
        let words: Vec<_> = reports.iter().map(|report| report.verdict.word()).collect();
        assert_eq!(words, ["passed", "cancelled", "cancelled"]);
        assert_eq!(*actor.log.lock().unwrap(), ["+project", "-project", "+token"]);
    }
}
