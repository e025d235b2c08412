//! Why. No step without a cause.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::model::{Generation, Slot};

/// One difference between the spec that runs and the one that should.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct FieldDiff {
    /// Which field, e.g. `image`, `file /etc/keystone/keystone.conf`, `env OS_DEBUG`.
    pub field: String,
    /// What it was; none when it was not there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<String>,
    /// What it will be; none when it will not be there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub to: Option<String>,
    /// Whether the two values tell a person anything (digests and environments do not).
    pub show: bool,
}

impl fmt::Display for FieldDiff {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { field, from, to, show } = self;
        match (from, to) {
            (Some(from), Some(to)) if *show => write!(f, "{field} {from} -> {to}"),
            (None, Some(to)) if *show => write!(f, "{field} added ({to})"),
            (Some(from), None) if *show => write!(f, "{field} removed (was {from})"),
            (Some(_), None) => write!(f, "{field} removed"),
            (None, Some(_)) => write!(f, "{field} added"),
            (Some(_) | None, _) => write!(f, "{field} changed"),
        }
    }
}

/// Why a step is there.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "why")]
pub enum Cause {
    /// The slot has no container.
    NoContainer,
    /// The slot's container is not what the profile asks for.
    Changed {
        /// In what; never empty.
        diffs: Vec<FieldDiff>,
    },
    /// It is what the profile asks for, but does not run.
    Stopped {
        /// Exit code.
        code: Option<i64>,
        /// Killed for memory.
        oom: bool,
        /// The engine's own words.
        error: Option<String>,
    },
    /// It runs and its check fails.
    Unhealthy,
    /// It dies again and again.
    Restarting {
        /// How often it did.
        count: u64,
        /// Last exit code.
        code: Option<i64>,
    },
    /// It is frozen.
    Paused,
    /// The engine cannot run it any more.
    Dead,
    /// A kept older container is exactly what the profile asks for.
    Kept {
        /// The generation that made it.
        generation: Generation,
    },
    /// Its successor serves, and somebody may go back to it.
    StandsBy,
    /// An interrupted run started it and nobody waited for it.
    Unproven {
        /// The generation that made it.
        generation: Generation,
    },
    /// Another one starts after it, and the engine has not said yet that it is healthy.
    NeededBy {
        /// Which.
        slot: Slot,
    },
    /// An interrupted run left it, never started.
    Leftover {
        /// The generation that made it.
        generation: Generation,
    },
    /// Its successor serves.
    Superseded {
        /// The generation that made it.
        generation: Generation,
    },
    /// The profile does not have it any more.
    NotDesired,
    /// The task has never run.
    NeverRan,
    /// What triggers the task has changed since it last ran.
    Triggered {
        /// In what.
        diffs: Vec<FieldDiff>,
    },
    /// The task failed when it last ran.
    TaskFailed {
        /// Exit code.
        code: Option<i64>,
        /// The generation that made it.
        generation: Generation,
    },
    /// A killed deployer left the task running.
    TaskRunning {
        /// The generation that made it.
        generation: Generation,
    },
    /// The task fills a volume that is new.
    NewVolume {
        /// Engine name.
        volume: String,
    },
    /// There is no such volume yet.
    NoVolume,
    /// What is registered in Keystone is not what the profile asks for.
    Identity {
        /// Whether anything was registered before.
        first: bool,
    },
    /// What the cloud offers is not what the profile asks for.
    Offer {
        /// Whether anything was made before.
        first: bool,
        /// What the profile asks for, by name.
        what: String,
    },
    /// Something changes: the history must say so.
    History,
    /// The containers of the set change: they become old or new together.
    Together,
    /// An operator asked for it.
    Asked {
        /// For what, e.g. `stop`, `destroy`.
        what: String,
    },
    /// The data that it uses becomes that of a restore point.
    Restored {
        /// Which.
        point: String,
    },
    /// The set failed: it returns to what it was.
    SetFailed,
}

fn join(diffs: &[FieldDiff]) -> String {
    diffs.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ")
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoContainer => f.write_str("no container yet"),
            Self::Changed { diffs } => f.write_str(&join(diffs)),
            Self::Stopped { code, oom, error } => {
                match code {
                    Some(code) => write!(f, "has ended with exit code {code}")?,
                    None => f.write_str("does not run")?,
                }
                if *oom {
                    f.write_str(" (killed for memory)")?;
                }
                match error {
                    Some(error) if !error.is_empty() => write!(f, " ({error})"),
                    Some(_) | None => Ok(()),
                }
            }
            Self::Unhealthy => f.write_str("runs, but its check fails"),
            Self::Restarting { count, code } => {
                write!(f, "dies again and again ({count} restarts")?;
                match code {
                    Some(code) => write!(f, ", last exit code {code})"),
                    None => f.write_str(")"),
                }
            }
            Self::Paused => f.write_str("is paused"),
            Self::Dead => f.write_str("is dead: the engine cannot run it any more"),
            Self::Kept { generation } => {
                write!(f, "the kept container of generation {generation} is what the profile asks for")
            }
            Self::StandsBy => f.write_str("kept so that it works at once on a way back"),
            Self::Unproven { generation } => {
                write!(f, "started by the interrupted generation {generation}, not yet proven healthy")
            }
            Self::NeededBy { slot } => write!(f, "{slot} starts after it"),
            Self::Leftover { generation } => {
                write!(f, "left by the interrupted generation {generation}, never started")
            }
            Self::Superseded { generation } => {
                write!(f, "of generation {generation}, its successor serves")
            }
            Self::NotDesired => f.write_str("not in the profile any more"),
            Self::NeverRan => f.write_str("has never run"),
            Self::Triggered { diffs } => write!(f, "due again: {}", join(diffs)),
            Self::TaskFailed { code, generation } => match code {
                Some(code) => write!(f, "failed in generation {generation} with exit code {code}"),
                None => write!(f, "failed in generation {generation}"),
            },
            Self::TaskRunning { generation } => {
                write!(f, "still runs since the interrupted generation {generation}")
            }
            Self::NewVolume { volume } => write!(f, "its volume {volume} is new"),
            Self::NoVolume => f.write_str("no volume yet"),
            Self::Identity { first: true } => f.write_str("nothing registered yet"),
            Self::Identity { first: false } => f.write_str("catalogue, projects, roles or users changed"),
            Self::Offer { first: true, what } => write!(f, "the cloud is to offer {what}"),
            Self::Offer { first: false, what } => write!(f, "what the cloud offers has changed: {what}"),
            Self::History => f.write_str("kept in the history"),
            Self::Together => f.write_str("the set becomes new as a whole"),
            Self::Asked { what } => write!(f, "asked to {what}"),
            Self::Restored { point } => write!(f, "its data becomes that of {point}"),
            Self::SetFailed => f.write_str("the set failed and returns to what it was"),
        }
    }
}
