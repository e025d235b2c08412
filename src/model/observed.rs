//! A snapshot of all hosts at one moment: plain values.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};

use super::labels::{self, LabelRole};
use super::{DeploymentName, Held, HostName, ImageId, Labels, ReleaseName, Returning};

/// An engine's id of a container.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ContainerId(pub String);

impl ContainerId {
    /// Returns the first twelve digits.
    pub fn short(&self) -> &str {
        self.0.get(..12).unwrap_or(&self.0)
    }
}

impl fmt::Display for ContainerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// What the engine says a container is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ContainerState {
    /// Made, never started.
    Created,
    /// Its process runs.
    Running,
    /// Frozen.
    Paused,
    /// Dying and coming back by its restart policy.
    Restarting,
    /// Being removed.
    Removing,
    /// Ran and ended.
    Exited,
    /// Could not be cleaned up by the engine.
    Dead,
}

impl ContainerState {
    /// Returns whether its process lives, in whatever shape.
    pub fn is_live(self) -> bool {
        self.works() || self == Self::Paused
    }

    /// Returns whether it works, or tries to: a frozen one does not.
    pub fn works(self) -> bool {
        matches!(self, Self::Running | Self::Restarting)
    }
}

/// The engine's own health verdict.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Health {
    /// No check is defined.
    None,
    /// Started, not checked yet.
    Starting,
    /// Last check passed.
    Healthy,
    /// The last checks failed.
    Unhealthy,
}

/// One container of this deployment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ObservedContainer {
    /// Engine id.
    pub id: ContainerId,
    /// Engine name, without the leading slash.
    pub name: String,
    /// All labels.
    pub labels: BTreeMap<String, String>,
    /// The parsed labels, where it is a slot's container.
    pub slot_labels: Option<Labels>,
    /// Engine state.
    pub state: ContainerState,
    /// Engine health.
    pub health: Health,
    /// Exit code, once it has ended.
    pub exit_code: Option<i64>,
    /// The engine's own error text, e.g. when the start failed.
    pub error: Option<String>,
    /// Killed by the kernel for memory.
    pub oom_killed: bool,
    /// Times the engine restarted it.
    pub restart_count: u64,
    /// Image id it was created from.
    pub image: ImageId,
    /// RFC 3339.
    pub created_at: String,
    /// RFC 3339; empty if never.
    pub started_at: String,
    /// RFC 3339; empty if never.
    pub finished_at: String,
}

/// One volume of this deployment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ObservedVolume {
    /// Engine name.
    pub name: String,
    /// Labels.
    pub labels: BTreeMap<String, String>,
}

impl ObservedVolume {
    /// Returns whether a command made it for itself, and is dead, or removes it at its end.
    pub fn is_tool(&self) -> bool {
        self.labels.get(labels::ROLE).and_then(|role| LabelRole::parse(role)) == Some(LabelRole::Tool)
    }
}

/// One image, by tag.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ObservedImage {
    /// Content address.
    pub id: ImageId,
    /// All tags.
    pub tags: Vec<String>,
    /// Labels.
    pub labels: BTreeMap<String, String>,
    /// Bytes, shared layers included.
    pub size: u64,
    /// RFC 3339.
    pub created_at: String,
    /// Registry digests (`name@sha256:...`).
    pub repo_digests: Vec<String>,
    /// Layer digests, bottom first.
    pub layers: Vec<String>,
}

/// What one host runs of this deployment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ObservedHost {
    /// Containers with this deployment's label, by name.
    pub containers: Vec<ObservedContainer>,
    /// Volumes with this deployment's label, by name.
    pub volumes: Vec<ObservedVolume>,
    /// Ids of all images present.
    pub images: Vec<ImageId>,
}

/// All hosts at one moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Observed {
    /// Whose.
    pub deployment: DeploymentName,
    /// RFC 3339.
    pub taken_at: String,
    /// By host.
    pub hosts: BTreeMap<HostName, ObservedHost>,
    /// The youngest generation known from labels and the ledger.
    pub last_generation: u64,
    /// What the ledger says of its youngest generation; none where there is no ledger (yet).
    pub ledger: Option<LedgerSummary>,
}

impl Observed {
    /// Returns whether an upgrade is open.
    pub fn is_upgrading(&self) -> bool {
        self.ledger.as_ref().is_some_and(|ledger| ledger.held.is_some())
    }

    /// Returns whether a younger container is in the same slot.
    pub fn is_superseded(&self, labels: &Labels) -> bool {
        let there = self.hosts.get(&labels.host).map(|host| host.containers.as_slice()).unwrap_or_default();
        let mut slots = there.iter().filter_map(|container| container.slot_labels.as_ref());
        slots.any(|other| other.container == labels.container && other.generation > labels.generation)
    }
}

/// What a plan needs to know of the youngest generation's record (`store::ledger` reads it).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LedgerSummary {
    /// Its number.
    pub number: u64,
    /// Whether its run came to its end, good or bad, and left nothing unproven. When not, containers that are still
    /// starting are unproven, since nobody waited for them.
    pub finished: bool,
    /// Digest of the identity that was last registered in Keystone.
    pub identity: Option<String>,
    /// Fingerprint of the secrets it was made with: another machine may have others, or none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secrets: Option<String>,
    /// Digest of the flavors and networks that were last made.
    pub cloud: Option<String>,
    /// The release that it was of.
    pub release: ReleaseName,
    /// What an upgrade keeps.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub held: Option<Held>,
    /// The return to an older release that has not come to its end.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub returning: Option<Returning>,
}
