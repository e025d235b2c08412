//! The intent log of one run: what was about to be done, and how it went. It serves recovery, not debugging.

use serde::{Deserialize, Serialize};

use crate::model::{DeploymentName, Generation, HostName, RunId};
use crate::plan::StepId;

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
