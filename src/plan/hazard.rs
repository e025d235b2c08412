//! What a person should know before a plan is carried out, as data: the core never asks.

use std::collections::BTreeSet;
use std::fmt;

use serde::{Deserialize, Serialize};

use crate::model::{Generation, HostName, ImageId, ReleaseName, ServiceName, SetName, Slot};

/// Kinds of hazards, as they are accepted on the command line.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum HazardKind {
    /// A service does not answer for a while.
    Outage,
    /// A container goes that the profile does not have any more.
    Removal,
    /// A task cannot be undone.
    Irreversible,
    /// A volume goes with its data, or what was written since a restore point.
    DataLoss,
    /// A container starts after another one that is neither there nor selected.
    MissingDependency,
}

impl HazardKind {
    /// All kinds.
    pub const ALL: [Self; 5] =
        [Self::Outage, Self::Removal, Self::Irreversible, Self::DataLoss, Self::MissingDependency];

    /// Returns the word used in options and JSON.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Outage => "outage",
            Self::Removal => "removal",
            Self::Irreversible => "irreversible",
            Self::DataLoss => "data-loss",
            Self::MissingDependency => "missing-dependency",
        }
    }

    /// Returns whether a person must say yes to it; the others are only told.
    pub fn needs_consent(self) -> bool {
        match self {
            Self::Outage | Self::MissingDependency => false,
            Self::Removal | Self::Irreversible | Self::DataLoss => true,
        }
    }
}

impl fmt::Display for HazardKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// One hazard.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Hazard {
    /// Of which kind.
    pub kind: HazardKind,
    /// Where.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub slot: Option<Slot>,
    /// The volume's engine name, for [`HazardKind::DataLoss`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub volume: Option<String>,
    /// One sentence.
    pub text: String,
}

impl fmt::Display for Hazard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.kind, self.text)
    }
}

/// What keeps a plan from being carried out at all.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "kind")]
pub enum Blocker {
    /// A host of the profile was not observed.
    HostNotObserved {
        /// Which.
        host: HostName,
    },
    /// An image is not on the host that needs it.
    ImageMissing {
        /// Where.
        host: HostName,
        /// Reference, for people.
        reference: String,
        /// Content address.
        id: ImageId,
    },
    /// `--set` names a set that neither the profile nor the hosts have.
    UnknownSet {
        /// Which.
        set: SetName,
    },
    /// `--service` names a service that neither the profile nor the hosts have.
    UnknownService {
        /// Which.
        service: ServiceName,
    },
    /// A volume that is to go by name does not exist.
    UnknownVolume {
        /// Which.
        volume: String,
    },
    /// There is nothing to upgrade.
    NothingDeployed,
    /// There is nothing to take back or to commit.
    NothingHeld,
    /// An upgrade is neither committed nor taken back, and another one is asked for.
    StillHeld {
        /// What it keeps.
        held: ReleaseName,
        /// What it leads to.
        serves: ReleaseName,
    },
    /// An upgrade has reached a part of the cloud only, and is to be committed.
    NotReached {
        /// What it keeps.
        held: ReleaseName,
        /// What it leads to.
        to: Option<ReleaseName>,
    },
    /// An upgrade is to be taken back, and its commit has begun: what the older release needs may be gone.
    CommitBegun {
        /// The first task of the commit that ran.
        task: Slot,
        /// What it makes impossible to go back to.
        held: ReleaseName,
    },
    /// A return to an older release has not come to its end, and something else is asked for.
    Returning {
        /// To which release.
        release: ReleaseName,
        /// To which generation.
        generation: Generation,
    },
    /// A return to another release is asked for, and that one serves.
    Serves {
        /// Which.
        release: ReleaseName,
    },
    /// What an upgrade leaves as it is, and what it changes needs, does not run.
    Down {
        /// Which.
        slot: Slot,
    },
    /// Containers wait for each other.
    Cycle {
        /// The slots on the cycle.
        slots: Vec<Slot>,
    },
}

impl fmt::Display for Blocker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::HostNotObserved { host } => write!(f, "host {host} was not observed"),
            Self::ImageMissing { host, reference, id } => {
                write!(f, "image {reference} ({}) is not on host {host}", id.short())
            }
            Self::UnknownSet { set } => write!(f, "there is no set `{set}`"),
            Self::UnknownService { service } => write!(f, "there is no service `{service}`"),
            Self::UnknownVolume { volume } => write!(f, "there is no volume `{volume}`"),
            Self::NothingDeployed => f.write_str("nothing is deployed: `mastic deploy`"),
            Self::NothingHeld => f.write_str("no upgrade is open: nothing older is kept"),
            Self::StillHeld { held, serves } => {
                write!(
                    f,
                    "the upgrade from {held} to {serves} is open: `mastic commit` or `mastic rollback` first"
                )
            }
            Self::NotReached { held, to } => {
                let to = to.as_ref().map(|to| format!(" to {to}")).unwrap_or_default();
                write!(
                    f,
                    "the upgrade from {held}{to} has reached a part of the cloud only: `mastic resume` or `mastic abort` first"
                )
            }
            Self::CommitBegun { task, held } => write!(
                f,
                "the commit has begun, {task} has run: {held} cannot be relied on to serve this data any more; `mastic commit` finishes it"
            ),
            Self::Returning { release, generation } => {
                write!(
                    f,
                    "the return to {release} (generation {generation}) and its data has not come to its end: `mastic rollback --restore` goes on with it"
                )
            }
            Self::Serves { release } => write!(f, "{release} serves already"),
            Self::Down { slot } => {
                write!(f, "{slot} does not run, and an upgrade leaves it as it is: `mastic start` first")
            }
            Self::Cycle { slots } => {
                let names: Vec<_> = slots.iter().map(ToString::to_string).collect();
                write!(f, "these wait for each other: {}", names.join(", "))
            }
        }
    }
}

/// Which hazards a person has said yes to.
#[derive(Clone, Debug, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Accept {
    /// None of those that need it.
    #[default]
    Nothing,
    /// These kinds.
    Kinds(BTreeSet<HazardKind>),
    /// All in this plan.
    Everything,
}

impl Accept {
    /// Returns whether a hazard of this kind may be carried out.
    pub fn allows(&self, kind: HazardKind) -> bool {
        !kind.needs_consent()
            || match self {
                Self::Nothing => false,
                Self::Kinds(kinds) => kinds.contains(&kind),
                Self::Everything => true,
            }
    }
}
