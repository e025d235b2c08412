//! The record of a generation: what a deployment consisted of, kept on its hosts.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use serde::{Deserialize, Serialize};

use crate::model::spec::SpecRecord;
use crate::model::{
    Availability, DeploymentName, Generation, Held, LedgerSummary, ReleaseName, Returning, RunId, SpecHash,
};

/// Changes whenever a record written by one version could be misread by another.
pub const RECORD_VERSION: u32 = 1;

/// How a run ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum RecordOutcome {
    /// It has begun; if nobody runs it any more, it was killed.
    Running,
    /// Everything was done.
    Done,
    /// It failed, and what it touched was returned to what it was.
    Undone,
    /// It failed, and something could not be returned.
    Failed,
    /// A person interrupted it.
    Interrupted,
}

impl fmt::Display for RecordOutcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Running => "running",
            Self::Done => "done",
            Self::Undone => "undone",
            Self::Failed => "failed",
            Self::Interrupted => "interrupted",
        })
    }
}

/// What is in one slot.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SlotRecord {
    /// The container's engine name.
    pub name: String,
    /// The generation that made it.
    pub generation: Generation,
    /// What was done with the slot: `create`, `replace`, `keep`, ...
    pub change: String,
    /// The spec's hash.
    pub spec_hash: SpecHash,
    /// The spec, digests instead of contents.
    pub spec: SpecRecord,
}

/// One generation. Holds no secret: config files are digests.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct GenerationRecord {
    /// [`RECORD_VERSION`].
    pub version: u32,
    /// Its number.
    pub generation: Generation,
    /// Whose.
    pub deployment: DeploymentName,
    /// Series.
    pub release: ReleaseName,
    /// What it was for: `deploy`, `upgrade`, `rollback`, ... Records of the first versions do not say.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub purpose: String,
    /// The run that made it.
    pub run: RunId,
    /// RFC 3339.
    pub began_at: String,
    /// RFC 3339.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ended_at: Option<String>,
    /// Seconds it took.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seconds: Option<f64>,
    /// How it ended.
    pub outcome: RecordOutcome,
    /// `user@host`.
    pub operator: String,
    /// Why, in the operator's words.
    pub message: String,
    /// Digest of the profile and everything it was resolved from.
    pub profile: String,
    /// Digest of the identity that was registered in Keystone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub identity: Option<String>,
    /// Fingerprint of the secrets that it was made with (`store::secrets`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secrets: Option<String>,
    /// Digest of the flavors and networks that were made.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cloud: Option<String>,
    /// What an upgrade keeps from then on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub held: Option<Held>,
    /// The return to an older release, and to its data, that it was.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub returning: Option<Returning>,
    /// What a client saw of each API meanwhile, where one looked.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub availability: BTreeMap<String, Availability>,
    /// Slots by `host/container`, kept ones too.
    pub slots: BTreeMap<String, SlotRecord>,
    /// Slots that went with it.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub removed: BTreeSet<String>,
}

impl GenerationRecord {
    /// Returns the canonical JSON.
    pub fn json(&self) -> String {
        // Plain structs, strings and ordered maps always serialize.
        serde_json::to_string_pretty(self).unwrap_or_default()
    }

    /// Reads a record; `None` when it is damaged or of a later format.
    pub fn parse(text: &[u8]) -> Option<Self> {
        let record: Self = serde_json::from_slice(text).ok()?;
        (record.version == RECORD_VERSION).then_some(record)
    }

    /// Returns what a plan needs to know of it.
    pub fn summary(&self) -> LedgerSummary {
        LedgerSummary {
            number: self.generation.get(),
            finished: matches!(self.outcome, RecordOutcome::Done | RecordOutcome::Undone),
            identity: self.identity.clone(),
            secrets: self.secrets.clone(),
            cloud: self.cloud.clone(),
            release: self.release.clone(),
            held: self.held.clone(),
            returning: self.returning.clone().filter(|_| self.outcome != RecordOutcome::Done),
        }
    }

    /// Returns how long it took, for people.
    pub fn took(&self) -> String {
        self.seconds.map(|s| format!("{s:.1} s")).unwrap_or_default()
    }

    /// Returns how many requests failed of how many, for people; empty where nobody looked.
    pub fn failed(&self) -> String {
        if self.availability.is_empty() {
            return String::new();
        }
        let sum = |of: fn(&Availability) -> u64| self.availability.values().map(of).sum::<u64>();
        format!("{} of {}", sum(|seen| seen.failed), sum(|seen| seen.requests))
    }

    /// Returns what it did, for people: `2 replace, 9 keep`.
    pub fn changes(&self) -> String {
        let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
        for slot in self.slots.values() {
            *counts.entry(slot.change.as_str()).or_default() += 1;
        }
        let mut parts: Vec<String> =
            counts.iter().filter(|(change, _)| **change != "keep").map(|(c, n)| format!("{n} {c}")).collect();
        parts.extend(counts.get("keep").map(|n| format!("{n} keep")));
        parts.join(", ")
    }
}
