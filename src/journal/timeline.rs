//! A run as bars on an axis of time: when each step was done, what it waited for, and the chain that made the run as long as it was.
//!
//! Made from a journal alone, so that it can be made of any run afterwards.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use serde::Serialize;

use super::entry::{Entry, Event, PlannedStep};
use crate::model::{Generation, HostName, SetName};
use crate::plan::StepId;

/// Shorter pauses are our own doing, and not worth a word.
const PAUSE: f64 = 0.1;

/// How a step ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum End {
    /// Done.
    Done,
    /// Failed, and why.
    Failed(String),
    /// The run was cut off in the middle of it.
    Open,
}

/// One step that was begun.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Bar {
    /// Its number.
    pub id: StepId,
    /// e.g. `await healthy`.
    pub verb: String,
    /// What it acts on.
    pub object: String,
    /// Why it was done.
    pub cause: String,
    /// What it waited for while it was done.
    pub until: Option<String>,
    /// Seconds after the run's begin.
    pub began: f64,
    /// Seconds after the run's begin.
    pub ended: f64,
    /// How it ended.
    pub end: End,
    /// Whether the run would have been shorter without it.
    pub critical: bool,
}

/// A time in which a container could not go on.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Wait {
    /// Seconds after the run's begin.
    pub from: f64,
    /// Seconds after the run's begin.
    pub to: f64,
    /// For what, in words.
    pub what: String,
}

/// All that was done for one container or task, or for the deployment as a whole.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Lane {
    /// Container or task; else what the steps do.
    pub name: String,
    /// Its host.
    pub host: Option<HostName>,
    /// Its set.
    pub set: Option<SetName>,
    /// By begin.
    pub bars: Vec<Bar>,
    /// Between them.
    pub waits: Vec<Wait>,
}

/// One step of the chain.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Link {
    /// The step.
    pub id: StepId,
    /// Its lane's name.
    pub lane: String,
    /// e.g. `await healthy`.
    pub verb: String,
    /// What it waited for while it was done.
    pub until: Option<String>,
    /// Seconds after the run's begin.
    pub began: f64,
    /// Seconds that it took.
    pub took: f64,
    /// Seconds between its predecessor's end and its begin: the engine was busy with others.
    pub queued: f64,
}

/// A call that took something back.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Undone {
    /// What was done.
    pub action: String,
    /// Seconds after the run's begin.
    pub began: f64,
    /// Seconds after the run's begin.
    pub ended: f64,
    /// Why it failed, if it did.
    pub failed: Option<String>,
}

/// A run.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Timeline {
    /// Its name.
    pub run: String,
    /// Whose.
    pub deployment: String,
    /// `deploy`, `stop`, ...
    pub purpose: String,
    /// The generation it made.
    pub generation: Option<u64>,
    /// When it began.
    pub began_at: Timestamp,
    /// How long it took, or until its journal ends.
    pub seconds: f64,
    /// How it ended; none when it was cut off.
    pub outcome: Option<String>,
    /// Steps that were planned.
    pub planned: usize,
    /// What was done, set by set, each in the order in which work on it began.
    pub lanes: Vec<Lane>,
    /// The chain that made the run as long as it was, from its begin.
    pub chain: Vec<Link>,
    /// What was taken back.
    pub undone: Vec<Undone>,
}

/// Why a journal gives no timeline.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NoTimeline {
    /// It is empty, damaged, or of another version.
    #[error("the journal does not say what was planned: it is damaged, or of an older version")]
    NoPlan,
}

#[derive(Clone, Debug)]
struct Done {
    began: f64,
    ended: f64,
    end: End,
}

/// Reads a journal. Lines that make no sense are passed over: what can be told is told.
pub fn timeline(text: &[u8]) -> Result<Timeline, NoTimeline> {
    let entries: Vec<(Timestamp, Event)> = text
        .split(|b| *b == b'\n')
        .filter_map(|line| serde_json::from_slice::<Entry>(line).ok())
        .filter_map(|entry| Some((entry.at.parse().ok()?, entry.event)))
        .collect();
    let head = entries.iter().find_map(|(at, event)| match event {
        Event::RunBegan { run, deployment, purpose, generation, plan, .. } if !plan.is_empty() => {
            Some((*at, run, deployment, purpose, generation, plan))
        }
        _ => None,
    });
    let Some((began_at, run, deployment, purpose, generation, plan)) = head else {
        return Err(NoTimeline::NoPlan);
    };
    let after = |at: Timestamp| at.duration_since(began_at).as_secs_f64().max(0.0);
    // A later run's note that it told of this one is no part of it.
    let own = || entries.iter().filter(|(_, event)| *event != Event::RunSettled);
    let seconds = own().next_back().map_or(0.0, |(at, _)| after(*at));
    let mut steps: BTreeMap<StepId, Done> = BTreeMap::new();
    let mut undone: Vec<Undone> = Vec::new();
    let mut outcome = None;
    for (at, event) in own() {
        let at = after(*at);
        let mut ends = |step: &StepId, end: End| {
            if let Some(done) = steps.get_mut(step) {
                (done.ended, done.end) = (at, end);
            }
        };
        match event {
            Event::StepBegan { step, .. } => {
                steps.insert(*step, Done { began: at, ended: seconds, end: End::Open });
            }
            Event::StepDone { step } => ends(step, End::Done),
            Event::StepFailed { step, reason } => ends(step, End::Failed(reason.clone())),
            Event::UndoBegan { action, .. } => {
                undone.push(Undone { action: action.clone(), began: at, ended: seconds, failed: None });
            }
            Event::UndoDone { action, failed } => {
                if let Some(open) = undone.iter_mut().rev().find(|undo| undo.action == *action) {
                    (open.ended, open.failed) = (at, failed.clone());
                }
            }
            Event::RunEnded { outcome: ended } => outcome = Some(ended.clone()),
            Event::RunBegan { .. } | Event::RunSettled => {}
        }
    }
    let facts = Facts::new(plan, steps);
    let mut chain = facts.chain();
    took_back(&mut chain, &undone);
    let critical: BTreeSet<StepId> = chain.iter().map(|link| link.id).collect();
    Ok(Timeline {
        run: run.to_string(),
        deployment: deployment.to_string(),
        purpose: purpose.clone(),
        generation: generation.map(Generation::get),
        began_at,
        seconds,
        outcome,
        planned: plan.len(),
        lanes: facts.lanes(&critical),
        chain,
        undone,
    })
}

/// The plan with its times.
struct Facts<'a> {
    plan: BTreeMap<StepId, &'a PlannedStep>,
    steps: BTreeMap<StepId, Done>,
    /// When each step could begin, and what ended last before it. Points of no call pass on what they wait for.
    ready: BTreeMap<StepId, (f64, Option<StepId>)>,
}

impl<'a> Facts<'a> {
    fn new(plan: &'a [PlannedStep], steps: BTreeMap<StepId, Done>) -> Self {
        let mut facts =
            Self { plan: plan.iter().map(|step| (step.id, step)).collect(), steps, ready: BTreeMap::new() };
        // A step stands after all that it waits for.
        for step in plan {
            let last = step
                .deps
                .iter()
                .map(|dep| match (facts.steps.get(dep), facts.ready.get(dep)) {
                    (Some(done), _) => (done.ended, Some(*dep)),
                    (None, Some(passed)) => *passed,
                    (None, None) => (0.0, None),
                })
                .max_by(|a, b| a.0.total_cmp(&b.0));
            facts.ready.insert(step.id, last.unwrap_or((0.0, None)));
        }
        facts
    }

    fn lane_name(step: &PlannedStep) -> String {
        step.container.as_ref().map_or_else(|| step.verb.clone(), ToString::to_string)
    }

    /// From the step that ended last back to the begin, each time to what ended last before it.
    fn chain(&self) -> Vec<Link> {
        let last = self.steps.iter().max_by(|a, b| a.1.ended.total_cmp(&b.1.ended).then(a.0.cmp(b.0)));
        let mut at = last.map(|(id, _)| *id);
        let mut chain = Vec::new();
        while let Some(id) = at {
            let (Some(step), Some(done), Some((ready, before))) =
                (self.plan.get(&id), self.steps.get(&id), self.ready.get(&id))
            else {
                break;
            };
            chain.push(Link {
                id,
                lane: Self::lane_name(step),
                verb: step.verb.clone(),
                until: step.until.clone(),
                began: done.began,
                took: done.ended - done.began,
                queued: (done.began - ready).max(0.0),
            });
            at = *before;
        }
        chain.reverse();
        chain
    }

    fn lanes(&self, critical: &BTreeSet<StepId>) -> Vec<Lane> {
        type Name<'b> = (Option<&'b HostName>, Option<&'b SetName>, String);
        let mut lanes: BTreeMap<Name<'_>, Vec<(&PlannedStep, &Done)>> = BTreeMap::new();
        for (id, done) in &self.steps {
            let Some(step) = self.plan.get(id) else { continue };
            // What belongs to no container is one lane for each kind of act.
            let set = step.set.as_ref().filter(|_| step.container.is_some());
            lanes.entry((step.host.as_ref(), set, Self::lane_name(step))).or_default().push((step, done));
        }
        let mut lanes: Vec<(f64, Lane)> = lanes
            .into_iter()
            .map(|((host, set, name), mut steps)| {
                steps.sort_by(|a, b| a.1.began.total_cmp(&b.1.began).then(a.0.id.cmp(&b.0.id)));
                let waits = if set.is_some() { self.waits(&steps) } else { Vec::new() };
                let bars: Vec<Bar> = steps.iter().map(|(step, done)| bar(step, done, critical)).collect();
                (work_began(&bars), Lane { name, host: host.cloned(), set: set.cloned(), bars, waits })
            })
            .collect();
        // A set is where its first container begins to serve; looks at its config come long before.
        let mut sets: BTreeMap<Option<SetName>, (Option<f64>, f64)> = BTreeMap::new();
        for (began, lane) in &lanes {
            let serves = lane.bars.iter().filter(|bar| bar.verb == "await healthy").map(|bar| bar.began);
            let first = sets.entry(lane.set.clone()).or_insert((None, f64::MAX));
            *first = (serves.chain(first.0).reduce(f64::min), first.1.min(*began));
        }
        lanes.sort_by(|(began, lane), (other_began, other)| {
            let first = |lane: &Lane| {
                sets.get(&lane.set).map_or(f64::MAX, |(serves, began)| serves.unwrap_or(*began))
            };
            (lane.set.is_none().cmp(&other.set.is_none()))
                .then(first(lane).total_cmp(&first(other)))
                .then(lane.set.cmp(&other.set))
                .then(began.total_cmp(other_began))
                .then_with(|| (&lane.name, &lane.host).cmp(&(&other.name, &other.host)))
        });
        lanes.into_iter().map(|(_, lane)| lane).collect()
    }

    /// The pauses between a lane's steps, and what each was for.
    fn waits(&self, steps: &[(&PlannedStep, &Done)]) -> Vec<Wait> {
        let mut waits = Vec::new();
        let mut free: Option<f64> = None;
        for (step, done) in steps {
            if let Some(free) = free.filter(|free| done.began - free >= PAUSE) {
                let (ready, last) = self.ready.get(&step.id).copied().unwrap_or((free, None));
                let ready = ready.clamp(free, done.began);
                if ready - free >= PAUSE
                    && let Some(step) = last.and_then(|last| self.plan.get(&last))
                {
                    let what = format!("waits for {}: {}", Self::lane_name(step), step.verb);
                    waits.push(Wait { from: free, to: ready, what });
                }
                if done.began - ready >= PAUSE {
                    let what = "waits for the engine, which is busy with others".to_owned();
                    waits.push(Wait { from: ready, to: done.began, what });
                }
            }
            free = Some(free.map_or(done.ended, |free| free.max(done.ended)));
        }
        waits
    }
}

/// What was taken back came between the last step of the plan and the end of the history: it is no time of a busy engine.
fn took_back(chain: &mut Vec<Link>, undone: &[Undone]) {
    let (Some(first), Some(last)) = (undone.first(), undone.last()) else { return };
    let Some(index) = chain.iter().position(|link| link.began >= last.ended) else { return };
    if let Some(link) = chain.get_mut(index) {
        link.queued = link.queued.min(link.began - last.ended);
    }
    let before = chain.get(index.wrapping_sub(1)).map_or(0.0, |link| link.began + link.took);
    let link = Link {
        id: StepId(0),
        lane: format!("{} calls that take back what was done", undone.len()),
        verb: format!("{} calls that take back what was done", undone.len()),
        until: None,
        began: first.began,
        took: last.ended - first.began,
        queued: (first.began - before).max(0.0),
    };
    chain.insert(index, link);
}

/// When a lane's own work began: to make a container and its config is work for the engine alone, and done for all at once.
fn work_began(bars: &[Bar]) -> f64 {
    let prepared = |bar: &&Bar| !matches!(bar.verb.as_str(), "create" | "upload config");
    bars.iter().find(prepared).or(bars.first()).map_or(0.0, |bar| bar.began)
}

fn bar(step: &PlannedStep, done: &Done, critical: &BTreeSet<StepId>) -> Bar {
    Bar {
        id: step.id,
        verb: step.verb.clone(),
        object: step.object.clone(),
        cause: step.cause.clone(),
        until: step.until.clone(),
        began: done.began,
        ended: done.ended,
        end: done.end.clone(),
        critical: critical.contains(&step.id),
    }
}

#[cfg(test)]
#[path = "timeline_tests.rs"]
mod tests;
