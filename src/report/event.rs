//! The events.

use std::fmt::Debug;
use std::time::Duration;

use crate::model::HostName;

/// Identifies one piece of long work within a run (a plan step's id, an image's name, ...).
pub type TaskKey = String;

/// What happened. Texts are complete, without secrets, and hold no colour codes.
#[derive(Clone, Debug)]
pub enum Event {
    /// A phase of a command begins (`building images`, `deploying`); `total` is the number of tasks if known.
    Phase {
        /// What begins.
        title: String,
        /// How many tasks it has.
        total: Option<usize>,
    },
    /// Work begins.
    Started {
        /// Which.
        key: TaskKey,
        /// On which host, if on one.
        host: Option<HostName>,
        /// One line, e.g. `start keystone-api`.
        title: String,
    },
    /// Work goes on; `message` is what it does or waits for now.
    Progress {
        /// Which.
        key: TaskKey,
        /// What it does or waits for.
        message: String,
        /// Done and total in the same unit, if known.
        amount: Option<(u64, u64)>,
    },
    /// A line of output of the work (a build's or a task's log).
    Output {
        /// Which.
        key: TaskKey,
        /// The line.
        line: String,
    },
    /// Work ended.
    Finished {
        /// Which.
        key: TaskKey,
        /// How.
        outcome: Outcome,
        /// How long it took.
        took: Duration,
    },
    /// Something a person should know.
    Note {
        /// One line.
        message: String,
    },
    /// Something a person should worry about.
    Warning {
        /// One line.
        message: String,
    },
}

/// How a piece of work ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Done.
    Done,
    /// Nothing had to be done, and why.
    Unchanged(String),
    /// Failed, and why: possibly several lines (log tail, check output).
    Failed(String),
    /// Undone after a failure elsewhere.
    Undone,
    /// Not begun since something before it failed or the run was interrupted.
    Cancelled,
}

/// Listens to events. Implementations must be quick and must not fail.
pub trait Reporter: Send + Sync + Debug {
    /// Takes one event.
    fn on(&self, event: Event);
}

/// Drops every event.
#[derive(Clone, Copy, Debug, Default)]
pub struct Silent;

impl Reporter for Silent {
    fn on(&self, _: Event) {}
}
