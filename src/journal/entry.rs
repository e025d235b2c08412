//! The intent log of one run: what was about to be done, and how it went. It serves recovery, not debugging.

use serde::{Deserialize, Serialize};

use crate::model::{ContainerName, DeploymentName, Generation, HostName, RunId, SetName};
use crate::plan::{Action, Step, StepId};

/// Changes whenever an entry written by one version could be misread by another.
pub const JOURNAL_VERSION: u32 = 1;

/// One line of the journal.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// RFC 3339.
    pub at: String,
    /// What.
    #[serde(flatten)]
    pub event: Event,
}

/// What is planned, for whoever looks at the run afterwards.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PlannedStep {
    /// Its number.
    pub id: StepId,
    /// What must be done before it.
    pub deps: Vec<StepId>,
    /// The engine it goes to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub host: Option<HostName>,
    /// The container or task it is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub container: Option<ContainerName>,
    /// Its set.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub set: Option<SetName>,
    /// The verb, e.g. `await healthy`.
    pub verb: String,
    /// What it acts on, as the engine calls it.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub object: String,
    /// Why.
    pub cause: String,
    /// What it waits for, e.g. the target of a check.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<String>,
}

impl PlannedStep {
    /// Writes a step down.
    pub fn of(step: &Step) -> Self {
        let until = match &step.action {
            Action::AwaitHealthy { check: Some(check), .. }
            | Action::AwaitSteady { check: Some(check), .. } => Some(check.targets.join(", ")),
            Action::AwaitExit { .. } => Some("its end".to_owned()),
            _ => None,
        };
        Self {
            id: step.id,
            deps: step.deps.clone(),
            host: step.host.clone(),
            container: step.slot.as_ref().map(|slot| slot.container.clone()),
            set: step.set.clone(),
            verb: step.action.verb().to_owned(),
            object: step.action.object().to_owned(),
            cause: step.cause.to_string(),
            until,
        }
    }
}

/// What an entry says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "event")]
pub enum Event {
    /// The first line.
    RunBegan {
        /// [`JOURNAL_VERSION`].
        version: u32,
        /// The run.
        run: RunId,
        /// Whose.
        deployment: DeploymentName,
        /// `deploy`, `stop`, ...
        purpose: String,
        /// The generation it makes.
        generation: Option<Generation>,
        /// How many steps it has.
        steps: usize,
        /// Which: what a timeline needs to explain what waited for what. Missing in older journals.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        plan: Vec<PlannedStep>,
    },
    /// A call is about to be made: from here its outcome is in doubt until the next line about it.
    StepBegan {
        /// Which.
        step: StepId,
        /// As text, for people.
        action: String,
        /// What it tells to end: such a call goes on when its caller is gone.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        stops: Option<Stopping>,
    },
    /// It was done.
    StepDone {
        /// Which.
        step: StepId,
    },
    /// It failed.
    StepFailed {
        /// Which.
        step: StepId,
        /// Why, without secrets.
        reason: String,
    },
    /// A call that takes something back is about to be made.
    UndoBegan {
        /// As text, for people.
        action: String,
        /// What it tells to end.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        stops: Option<Stopping>,
    },
    /// It was made.
    UndoDone {
        /// As text, for people.
        action: String,
        /// Why it failed, if it did.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        failed: Option<String>,
    },
    /// The last line.
    RunEnded {
        /// `done`, `undone`, ...
        outcome: String,
    },
    /// Added by a later run: it found that this one had not come to its end, and has told the operator.
    RunSettled,
}

/// A container that is told to end. It may still run when nobody waits for that any more.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stopping {
    /// On which host.
    pub host: HostName,
    /// Its name on the host's engine.
    pub container: String,
}

/// What is known of a step.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum StepState {
    /// Not begun.
    #[default]
    Pending,
    /// Begun, not ended: only the engine knows whether it was done.
    InDoubt,
    /// Done.
    Done,
    /// Failed.
    Failed,
}

/// An entry that cannot follow what was before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("step {step}: {what} cannot follow {state:?}")]
pub struct IllegalEntry {
    /// Which step.
    pub step: StepId,
    /// What it was.
    pub state: StepState,
    /// What was said of it.
    pub what: &'static str,
}

impl StepState {
    /// Returns the state after an event of this step.
    pub fn next(self, step: StepId, event: &Event) -> Result<Self, IllegalEntry> {
        let (next, what) = match (self, event) {
            (Self::Pending, Event::StepBegan { .. }) => return Ok(Self::InDoubt),
            (Self::InDoubt, Event::StepDone { .. }) => return Ok(Self::Done),
            (Self::InDoubt, Event::StepFailed { .. }) => return Ok(Self::Failed),
            (state, Event::StepBegan { .. }) => (state, "begin"),
            (state, Event::StepDone { .. }) => (state, "done"),
            (state, Event::StepFailed { .. }) => (state, "failed"),
            (state, _) => (state, "an event of no step"),
        };
        Err(IllegalEntry { step, state: next, what })
    }
}
