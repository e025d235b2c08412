//! Generations and slots.

use std::fmt;
use std::num::NonZeroU64;

use serde::{Deserialize, Serialize};

use super::{ContainerName, HostName, ReleaseName};

/// A deployment-wide number, one for each applied plan, never reused; larger is younger.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Generation(NonZeroU64);

impl Generation {
    /// The first generation of a deployment.
    pub const FIRST: Self = Self(NonZeroU64::MIN);

    /// Returns the generation with this number; zero is none.
    pub fn new(number: u64) -> Option<Self> {
        NonZeroU64::new(number).map(Self)
    }

    /// Returns the number.
    pub fn get(self) -> u64 {
        self.0.get()
    }

    /// Returns the next younger generation.
    pub fn next(self) -> Self {
        Self(self.0.saturating_add(1))
    }
}

impl fmt::Display for Generation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// What an upgrade keeps of the release before it, until it is committed or taken back.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Held {
    /// The youngest generation of that release: its containers, and those of generations before it, are kept.
    pub generation: Generation,
    /// The release.
    pub release: ReleaseName,
    /// Since when, RFC 3339.
    pub since: String,
    /// The release that the upgrade leads to; none in records of before this was written down.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub to: Option<ReleaseName>,
    /// Whether only a part of the cloud is of that release: the upgrade goes on or is taken back, and is not committed.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub partial: bool,
}

/// A return to a release that was committed over, with the data of a restore point: from its first step until its end.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Returning {
    /// The generation that is to serve again.
    pub generation: Generation,
    /// Its release.
    pub release: ReleaseName,
    /// The restore point whose data it gets.
    pub point: String,
    /// The generation that began the return: what ran on the data before says nothing of what it is afterwards.
    pub began: Generation,
    /// The release that served until then.
    pub from: ReleaseName,
}

/// "Container X on host Y": at most one container is active in it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Slot {
    /// The engine it lives on.
    pub host: HostName,
    /// The container's name within the deployment.
    pub container: ContainerName,
}

impl fmt::Display for Slot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.host, self.container)
    }
}
