//! What an operator chose for one plan.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use super::document::Purpose;
use super::hazard::Accept;
use crate::model::{Generation, Observed, ReleaseName, Returning, ServiceName, SetName, TaskPhase};

/// Which part of the deployment a plan may touch. Empty sets mean everything.
#[derive(Clone, Debug, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Selection {
    /// Only these sets.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub sets: BTreeSet<SetName>,
    /// Only these services.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub services: BTreeSet<ServiceName>,
}

impl Selection {
    /// Returns whether a container of this set and service may be touched.
    pub fn has(&self, set: &SetName, service: &ServiceName) -> bool {
        self.is_everything() || self.sets.contains(set) || self.services.contains(service)
    }

    /// Returns whether nothing was chosen, hence everything.
    pub fn is_everything(&self) -> bool {
        self.sets.is_empty() && self.services.is_empty()
    }
}

/// Options of [`super::reconcile`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Options {
    /// Which part.
    pub selection: Selection,
    /// Which hazards are accepted beforehand (`--yes`, `--accept`).
    pub accept: Accept,
    /// Deploy, upgrade, rollback or commit.
    pub purpose: Purpose,
    /// Tasks of which phases run: an upgrade's later phases are not a deploy's.
    pub phases: BTreeSet<TaskPhase>,
    /// Seconds for which a newer container must stay well in an upgrade before its predecessor goes, and before what comes after it.
    pub soak: u32,
    /// Seconds within which a newer container must pass its check, instead of its check's own.
    pub healthy_deadline: Option<u32>,
    /// Whether what is kept beside its successor is frozen, not stopped: it serves again at once, and keeps its memory.
    pub freeze: bool,
}

/// Seconds for which a newer container must stay well, where nobody says otherwise.
pub const SOAK: u32 = 5;

impl Options {
    /// Returns the options of an upgrade.
    pub fn upgrade() -> Self {
        let mut options = Self { purpose: Purpose::Upgrade, soak: SOAK, ..Self::default() };
        options.phases.extend([TaskPhase::Check, TaskPhase::Backup]);
        options
    }

    /// Returns the options of a plan that runs the tasks of one phase and leaves everything else as it is.
    pub fn tasks(purpose: Purpose, phase: TaskPhase) -> Self {
        Self { purpose, phases: [phase].into(), ..Self::default() }
    }

    /// Returns the options of the way back. No migration of the older release may ever meet the newer schema.
    pub fn rollback() -> Self {
        Self {
            purpose: Purpose::Rollback,
            phases: [TaskPhase::Return, TaskPhase::Settle].into(),
            ..Self::default()
        }
    }

    /// Returns the options of a return to a generation of another release, with the data of a restore point: one that is under way
    /// goes on. The older release's own tasks run on that data as in a deploy.
    pub fn return_to(
        observed: &Observed,
        generation: Generation,
        release: &ReleaseName,
        point: &str,
    ) -> Self {
        let ledger = observed.ledger.as_ref();
        let open = ledger.and_then(|ledger| ledger.returning.clone());
        let same = open.filter(|open| open.generation == generation && open.point == point);
        let to = same.unwrap_or_else(|| Returning {
            generation,
            release: release.clone(),
            point: point.to_owned(),
            began: Generation::new(observed.last_generation.saturating_add(1)).unwrap_or(Generation::FIRST),
            from: ledger.map_or(release, |ledger| &ledger.release).clone(),
        });
        let mut options = Self { purpose: Purpose::Return { to }, ..Self::default() };
        options.phases.extend([TaskPhase::Backup, TaskPhase::Restore]);
        options
    }

    /// Returns the options of the end of an upgrade.
    pub fn commit() -> Self {
        let mut options = Self { purpose: Purpose::Commit, ..Self::default() };
        options.phases.extend([TaskPhase::Contract, TaskPhase::OnlineMigrations]);
        options
    }
}

impl Default for Options {
    fn default() -> Self {
        Self {
            selection: Selection::default(),
            accept: Accept::default(),
            purpose: Purpose::Deploy,
            phases: [TaskPhase::Validate, TaskPhase::Bootstrap, TaskPhase::Expand].into(),
            soak: 0,
            healthy_deadline: None,
            freeze: true,
        }
    }
}

/// Which volumes a destroy takes along.
#[derive(Clone, Debug, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Volumes {
    /// None.
    #[default]
    Keep,
    /// Those whose names (without the deployment's prefix) are here.
    Named(BTreeSet<String>),
    /// All of this deployment, history included.
    All,
}
