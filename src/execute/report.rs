//! What a run did, and how long each part took.

use std::collections::{BTreeMap, HashMap};

use serde::Serialize;

use crate::model::{Availability, Generation, RunId, SetName};
use crate::plan::{Action, Plan};

/// How a run ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Outcome {
    /// Everything was done.
    Done,
    /// There was nothing to do.
    Nothing,
    /// It failed, and every unfinished set was returned to what it was.
    Undone,
    /// It failed, and something could not be returned.
    Failed,
    /// A person interrupted it; unfinished sets were returned to what they were, or left where such is not taken back.
    Interrupted,
}

/// How a set ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum SetOutcome {
    /// It is what was planned.
    New,
    /// It was returned to what it was.
    Restored,
    /// What failed was returned to what it was; the rest is what was planned.
    Partly,
    /// It could not be returned.
    Broken,
    /// What was asked of it is done in part, and such a thing is not taken back: a removal, a start.
    Unfinished,
    /// It was not touched.
    Untouched,
}

/// How a step went.
#[derive(Clone, Debug, Serialize)]
pub struct StepReport {
    /// Its number.
    pub id: u32,
    /// What, as text.
    pub title: String,
    /// What it waited for.
    pub deps: Vec<u32>,
    /// Seconds after the run's begin.
    pub began: f64,
    /// Seconds after the run's begin.
    pub ended: f64,
    /// `done` or `failed`.
    pub outcome: &'static str,
}

/// What a run did.
#[derive(Clone, Debug, Serialize)]
pub struct RunReport {
    /// Of this document's shape.
    pub version: u32,
    /// The run; none when there was nothing to do.
    pub run: Option<RunId>,
    /// `deploy`, `stop`, ...
    pub purpose: String,
    /// The generation it made.
    pub generation: Option<Generation>,
    /// How it ended.
    pub outcome: Outcome,
    /// How long it took.
    pub seconds: f64,
    /// The longest chain of the containers' own times (start, until healthy, until ended): no run can be quicker.
    pub longest_chain_seconds: f64,
    /// The steps of that chain.
    pub longest_chain: Vec<String>,
    /// By set.
    pub sets: BTreeMap<SetName, SetOutcome>,
    /// In the order of the plan.
    pub steps: Vec<StepReport>,
    /// What a client saw of each API meanwhile, where one looked.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub availability: BTreeMap<String, Availability>,
    /// What went wrong: each complete, without secrets.
    pub failures: Vec<String>,
}

impl RunReport {
    /// Returns the report as JSON.
    pub fn json(&self) -> String {
        // Plain structs, strings and finite numbers always serialize.
        serde_json::to_string_pretty(self).unwrap_or_default()
    }

    /// Returns one line for people.
    pub fn summary(&self) -> String {
        let generation = self.generation.map(|g| format!("generation {g}, ")).unwrap_or_default();
        format!(
            "done: {generation}{} steps in {:.1} s (the containers' own longest chain is {:.1} s)",
            self.steps.len(),
            self.seconds,
            self.longest_chain_seconds
        )
    }

    /// Returns what a client saw, as rows of a table with a head; none where nobody looked.
    pub fn availability_rows(&self) -> Vec<Vec<String>> {
        if self.availability.is_empty() {
            return Vec::new();
        }
        let head = ["API", "REQUESTS", "FAILED", "LONGEST GAP", "P50", "P99", "FIRST FAILURE"];
        let rows = self.availability.iter().map(|(name, seen)| {
            vec![
                name.clone(),
                seen.requests.to_string(),
                seen.failed.to_string(),
                format!("{:.1} s", seen.longest_gap_seconds),
                format!("{:.0} ms", seen.p50_ms),
                format!("{:.0} ms", seen.p99_ms),
                seen.first_failure.clone().unwrap_or_default(),
            ]
        });
        std::iter::once(head.map(str::to_owned).to_vec()).chain(rows).collect()
    }

    /// Returns what went wrong, and what state things are in, for people.
    pub fn failure(&self) -> String {
        let mut lines: Vec<String> = Vec::new();
        lines.push(match self.outcome {
            Outcome::Interrupted => "interrupted".to_owned(),
            Outcome::Done | Outcome::Nothing => "done".to_owned(),
            Outcome::Undone | Outcome::Failed => format!("{} failed", self.purpose),
        });
        lines.extend(self.failures.iter().cloned());
        for (set, outcome) in &self.sets {
            lines.push(match outcome {
                SetOutcome::New => format!("set {set}: is what was planned"),
                SetOutcome::Restored => format!("set {set}: was returned to what it was"),
                SetOutcome::Partly => {
                    format!(
                        "set {set}: what failed was returned to what it was, the rest is what was planned"
                    )
                }
                SetOutcome::Broken => format!("set {set}: COULD NOT be returned to what it was"),
                SetOutcome::Unfinished => format!("set {set}: {} is not finished", self.purpose),
                SetOutcome::Untouched => format!("set {set}: was not touched"),
            });
        }
        lines.join("\n")
    }
}

/// Returns the report of a plan with nothing in it, as JSON.
pub fn empty_report(plan: &Plan) -> String {
    RunReport {
        version: 1,
        run: None,
        purpose: plan.purpose.as_str().to_owned(),
        generation: None,
        outcome: Outcome::Nothing,
        seconds: 0.0,
        longest_chain_seconds: 0.0,
        longest_chain: Vec::new(),
        sets: BTreeMap::new(),
        steps: Vec::new(),
        availability: BTreeMap::new(),
        failures: Vec::new(),
    }
    .json()
}

/// Returns the longest chain of the containers' own times: seconds, and its steps.
///
/// A step's own time is how long it took once everything before it was done. Only starting, becoming healthy and running
/// to the end are a container's own; all else is ours, and counts as nothing.
pub(super) fn longest_chain(plan: &Plan, steps: &BTreeMap<u32, StepReport>) -> (f64, Vec<String>) {
    let mut best: HashMap<u32, (f64, Option<u32>)> = HashMap::new();
    for step in &plan.steps {
        let own = match &step.action {
            Action::StartContainer { .. }
            | Action::AwaitHealthy { .. }
            | Action::AwaitSteady { .. }
            | Action::AwaitExit { .. } => steps.get(&step.id.0).map_or(0.0, |s| s.ended - s.began),
            _ => 0.0,
        };
        let before = step
            .deps
            .iter()
            .filter_map(|dep| best.get(&dep.0).map(|(seconds, _)| (*seconds, dep.0)))
            .max_by(|a, b| a.0.total_cmp(&b.0));
        best.insert(step.id.0, (own + before.map_or(0.0, |b| b.0), before.map(|b| b.1)));
    }
    let Some((mut at, total)) =
        best.iter().max_by(|a, b| a.1.0.total_cmp(&b.1.0).then(b.0.cmp(a.0))).map(|(id, (s, _))| (*id, *s))
    else {
        return (0.0, Vec::new());
    };
    let mut chain = Vec::new();
    loop {
        let previous = best.get(&at).and_then(|(_, previous)| *previous);
        let own =
            best.get(&at).map_or(0.0, |b| b.0) - previous.and_then(|p| best.get(&p)).map_or(0.0, |b| b.0);
        if own > 0.0
            && let Some(step) = steps.get(&at)
        {
            chain.push(format!("{} ({own:.2} s)", step.title));
        }
        match previous {
            Some(previous) => at = previous,
            None => break,
        }
    }
    chain.reverse();
    (total, chain)
}
