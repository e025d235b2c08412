//! Returns a set to what it was: what this run made goes, what served before serves again.

use std::collections::BTreeMap;

use super::perform::{Work, fail};
use super::report::SetOutcome;
use super::run::stopping;
use super::{ExecuteError, StepError};
use crate::journal::Event as JournalEvent;
use crate::model::{HostName, SetName};
use crate::plan::{Action, Change, Plan, SlotPlan};
use crate::report::event::Outcome as EventOutcome;
use crate::report::{Event, Reporter};
use crate::store::journal_file::Journal;

/// Unwinds sets, the last launched first, but for the slots that stay as they are. Goes on after a failure: what can be saved
/// is saved.
pub(super) async fn unwind(
    work: &Work<'_>,
    journal: &Journal,
    sets: &[SetName],
    stays: &(dyn Fn(&SlotPlan) -> bool + Sync),
) -> Result<(BTreeMap<SetName, SetOutcome>, Vec<String>), ExecuteError> {
    let mut outcomes = BTreeMap::new();
    let mut failures = Vec::new();
    for set in sets {
        let moved = |slot: &&SlotPlan| slot.set == *set && slot.change != Change::Keep && stays(slot);
        let partly = work.plan.slots.iter().any(|slot| moved(&slot));
        outcomes.insert(set.clone(), if partly { SetOutcome::Partly } else { SetOutcome::Restored });
    }
    // What was made goes first, everywhere: a successor may hold the port that its predecessor needs.
    for slot in slots_of(work.plan, sets).rev().filter(|slot| !slot.overlaps && !stays(slot)) {
        let actions = away(work, slot).into_iter().map(|action| (slot.slot.host.clone(), action));
        run(work, journal, slot, actions, &mut outcomes, &mut failures).await?;
    }
    for slot in slots_of(work.plan, sets).filter(|slot| !stays(slot)) {
        let mut actions: Vec<(HostName, Action)> = Vec::new();
        let host = || slot.slot.host.clone();
        if let Some(fallback) = slot.fallback.as_ref().filter(|f| f.restart) {
            actions.push((
                host(),
                Action::StartContainer { container: fallback.container.clone(), thaw: false },
            ));
            if fallback.check.is_some() {
                let (container, check) = (fallback.container.clone(), fallback.check.clone());
                actions.push((host(), Action::AwaitHealthy { container, check }));
            }
        }
        if slot.overlaps {
            // As it came, the other way round: both serve, then the successor is drained and goes.
            actions.splice(0..0, swapped(work.plan, slot, true));
            actions.extend(swapped(work.plan, slot, false));
            actions.extend(away(work, slot).into_iter().map(|action| (host(), action)));
        }
        run(work, journal, slot, actions, &mut outcomes, &mut failures).await?;
    }
    Ok((outcomes, failures))
}

/// What takes a slot's successor away.
fn away(work: &Work<'_>, slot: &SlotPlan) -> Vec<Action> {
    let mut actions = Vec::new();
    let returns = slot.fallback.as_ref().is_some_and(|fallback| fallback.restart);
    if let Some(successor) = slot.successor.as_ref().filter(|_| slot.discard || returns) {
        let grace = work.desired.form(&slot.slot, slot.side).map_or(10, |spec| spec.stop.grace);
        actions.push(Action::StopContainer { container: successor.clone(), grace, freeze: false });
        // A kept older one was there before this run: it stops again, and stays.
        if slot.discard {
            actions.push(Action::RemoveContainer { container: successor.clone() });
        }
    }
    actions
}

/// What the plan tells the balancers about a slot, turned round: with `open`, the drained servers are opened; without, the
/// opened ones are drained.
fn swapped(plan: &Plan, slot: &SlotPlan, open: bool) -> Vec<(HostName, Action)> {
    let of_slot = plan.steps.iter().filter(|step| step.slot.as_ref() == Some(&slot.slot));
    let graces = of_slot.clone().filter_map(|step| match step.action {
        Action::DrainServer { grace, .. } => Some(grace),
        _ => None,
    });
    let grace = graces.max().unwrap_or_default();
    of_slot
        .filter_map(|step| {
            let action = match step.action.clone() {
                Action::DrainServer { balancer, server, .. } if open => {
                    Action::OpenServer { balancer, server }
                }
                Action::OpenServer { balancer, server } if !open => {
                    Action::DrainServer { balancer, server, grace }
                }
                _ => return None,
            };
            Some((step.host.clone()?, action))
        })
        .collect()
}

/// Returns the changed slots of some sets, in launch order.
fn slots_of<'p>(plan: &'p Plan, sets: &[SetName]) -> impl DoubleEndedIterator<Item = &'p SlotPlan> {
    plan.slots.iter().filter(|slot| sets.contains(&slot.set)).collect::<Vec<_>>().into_iter()
}

async fn run(
    work: &Work<'_>,
    journal: &Journal,
    slot: &SlotPlan,
    actions: impl IntoIterator<Item = (HostName, Action)>,
    outcomes: &mut BTreeMap<SetName, SetOutcome>,
    failures: &mut Vec<String>,
) -> Result<(), ExecuteError> {
    for (host, action) in actions {
        let title = format!("undo: {action}");
        let stops = stopping(&host, &action);
        journal.append(JournalEvent::UndoBegan { action: action.to_string(), stops }).await?;
        let began = tokio::time::Instant::now();
        let result = one(work, slot, &host, &action).await;
        let failed = result.as_ref().err().map(|e| e.message.clone());
        journal.append(JournalEvent::UndoDone { action: action.to_string(), failed: failed.clone() }).await?;
        let outcome = match &failed {
            None => EventOutcome::Undone,
            Some(reason) => EventOutcome::Failed(reason.clone()),
        };
        let reporter: &dyn Reporter = work.environment.reporter.as_ref();
        reporter.on(Event::Started { key: title.clone(), host: Some(host), title: action.to_string() });
        reporter.on(Event::Finished { key: title, outcome, took: began.elapsed() });
        if let Some(reason) = failed {
            outcomes.insert(slot.set.clone(), SetOutcome::Broken);
            failures.push(format!("undo of {}: {reason}", slot.slot));
            break;
        }
    }
    Ok(())
}

/// One call of an undo; a successor that was never made needs none.
async fn one(work: &Work<'_>, slot: &SlotPlan, host: &HostName, action: &Action) -> Result<(), StepError> {
    let engine = work.engine(host)?;
    let mut action = action.clone();
    if let Some(target) = action.target().cloned() {
        match engine.container(target.id().map_or(target.name(), |id| id.0.as_str())).await {
            Ok(there) => {
                // One that dies and comes back by its policy must be stopped too.
                if matches!(action, Action::StopContainer { .. }) && !there.state.is_live() {
                    return Ok(());
                }
                // Whether this run had frozen it by then.
                if let Action::StartContainer { container, .. } = &action {
                    action = Action::start(container.clone(), Some(there.state));
                }
            }
            Err(error) if error.kind == crate::engine::EngineErrorKind::NotFound => {
                return match action {
                    Action::StopContainer { .. } | Action::RemoveContainer { .. } => Ok(()),
                    _ => Err(fail(format!("{target} is gone"))),
                };
            }
            // The engine may be coming back: the call itself will tell.
            Err(_) => {}
        }
    }
    work.act(engine.as_ref(), host, Some(&slot.slot), &action, &|_| {}).await
}
