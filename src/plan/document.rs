//! The plan itself: a value that can be read, written, checked and carried out.

use std::collections::BTreeSet;
use std::fmt;

use serde::{Deserialize, Serialize};

use super::cause::Cause;
use super::hazard::{Accept, Blocker, Hazard, HazardKind};
use super::options::{Selection, Volumes};
use super::step::{Action, Step, StepId, Target};
use crate::model::spec::Side;
use crate::model::{
    CheckSpec, DeploymentName, Generation, Held, HostName, PinnedImage, ReleaseName, Returning, ServiceName,
    SetName, Slot,
};

/// Changes whenever a plan written by one version could be misread by another.
pub const PLAN_VERSION: u32 = 1;

/// What a plan is for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "kind")]
pub enum Purpose {
    /// Make it what the profile says.
    Deploy,
    /// The same with another release, and keep what served before.
    Upgrade,
    /// Return to what an upgrade has kept.
    Rollback,
    /// Finish an upgrade: what only the older release needed goes.
    Commit,
    /// Make a restore point.
    Backup,
    /// Try whether a restore point can be restored.
    Rehearse,
    /// Make a restore point the data.
    Restore,
    /// Return to a release that was committed over, with the data of a restore point.
    Return {
        /// To what.
        to: Returning,
    },
    /// Stop all, keep all.
    Stop,
    /// Start what was stopped.
    Start,
    /// Remove it.
    Destroy {
        /// Which volumes go too.
        volumes: Volumes,
    },
}

impl Purpose {
    /// Returns whether it makes the cloud what a profile says, of whatever release.
    pub fn reconciles(&self) -> bool {
        match self {
            Self::Deploy | Self::Upgrade | Self::Rollback | Self::Commit => true,
            Self::Backup | Self::Rehearse | Self::Restore | Self::Return { .. } => true,
            Self::Stop | Self::Start | Self::Destroy { .. } => false,
        }
    }

    /// Returns whether it runs tasks and leaves everything else as it is.
    pub fn is_tasks_alone(&self) -> bool {
        matches!(self, Self::Backup | Self::Rehearse | Self::Restore)
    }

    /// Returns the verb.
    pub fn as_str(&self) -> &'static str {
        match self {
            Self::Deploy => "deploy",
            Self::Upgrade => "upgrade",
            Self::Rollback | Self::Return { .. } => "rollback",
            Self::Commit => "commit",
            Self::Backup => "backup",
            Self::Rehearse => "rehearse",
            Self::Restore => "restore",
            Self::Stop => "stop",
            Self::Start => "start",
            Self::Destroy { .. } => "destroy",
        }
    }
}

/// What happens to one slot.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Change {
    /// Nothing.
    Keep,
    /// It gets its first container.
    Create,
    /// It gets another container.
    Replace,
    /// Its container is started.
    Start,
    /// Its container is stopped and started.
    Restart,
    /// Its container is waited for.
    Prove,
    /// Its task runs.
    Run,
    /// Its running task is waited for.
    Await,
    /// Its container is stopped and kept.
    Stop,
    /// It goes.
    Remove,
    /// Only what an earlier run left behind goes.
    Clean,
}

impl Change {
    /// Returns the verb.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Keep => "keep",
            Self::Create => "create",
            Self::Replace => "replace",
            Self::Start => "start",
            Self::Restart => "restart",
            Self::Prove => "prove",
            Self::Run => "run",
            Self::Await => "await",
            Self::Stop => "stop",
            Self::Remove => "remove",
            Self::Clean => "clean",
        }
    }
}

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// The container a slot returns to when its set fails.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fallback {
    /// Which.
    pub container: Target,
    /// Whether it served before, or an interrupted run stopped it: then it must run again after an undo.
    pub restart: bool,
    /// The check it was made with; none where it was not healthy before either.
    pub check: Option<CheckSpec>,
}

/// What happens to one slot, and how it goes back.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SlotPlan {
    /// Which.
    pub slot: Slot,
    /// Its set.
    pub set: SetName,
    /// Its service.
    pub service: ServiceName,
    /// Whether it is a one-shot task.
    pub task: bool,
    /// What happens.
    pub change: Change,
    /// Why; none only for [`Change::Keep`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cause: Option<Cause>,
    /// The generation of the container that is there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<Generation>,
    /// The generation of the container that will be there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub to: Option<Generation>,
    /// The image, pinned by its id, of the container that is made.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub image: Option<PinnedImage>,
    /// Of which ports the container is that serves in the end.
    #[serde(default, skip_serializing_if = "Side::is_main")]
    pub side: Side,
    /// Whether it serves beside its predecessor before that is stopped.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub overlaps: bool,
    /// The container that serves in the end.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub successor: Option<Target>,
    /// Whether an undo removes the successor: it was made by this run, or by the interrupted one that this run ends.
    pub discard: bool,
    /// The container it goes back to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fallback: Option<Fallback>,
}

/// A DAG of single engine calls, each with its cause and its way back.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Plan {
    /// [`PLAN_VERSION`].
    pub version: u32,
    /// What for.
    pub purpose: Purpose,
    /// Whose.
    pub deployment: DeploymentName,
    /// Series.
    pub release: ReleaseName,
    /// The generation it makes; none when it makes none.
    pub generation: Option<Generation>,
    /// The youngest generation that was there.
    pub previous: u64,
    /// When the hosts were observed, RFC 3339.
    pub observed_at: String,
    /// What was selected.
    pub selection: Selection,
    /// Digest of everything that should be, the config files included.
    pub desired: String,
    /// Digest of what Keystone was told before; it stays true when this plan does not tell it anything.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub registered: Option<String>,
    /// Digest of the flavors and networks that were made before; the same holds for it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub furnished: Option<String>,
    /// What an upgrade keeps while this plan is carried out, and where it fails.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub holding: Option<Held>,
    /// What is kept once it was carried out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub held: Option<Held>,
    /// Digest of what the hosts had in the slots and volumes that this plan touches.
    pub observed: String,
    /// Hosts, by name.
    pub hosts: Vec<HostName>,
    /// Slots in launch order: kept ones too.
    pub slots: Vec<SlotPlan>,
    /// Steps, by number.
    pub steps: Vec<Step>,
    /// What a person should know.
    pub hazards: Vec<Hazard>,
    /// Kinds of hazards that were accepted.
    pub accepted: Accept,
    /// What keeps it from being carried out.
    pub blockers: Vec<Blocker>,
}

impl Plan {
    /// Returns the return to an older release and its data that it is.
    pub fn returning(&self) -> Option<&Returning> {
        match &self.purpose {
            Purpose::Return { to } => Some(to),
            _ => None,
        }
    }

    /// Returns whether there is nothing to do.
    pub fn is_empty(&self) -> bool {
        self.steps.is_empty()
    }

    /// Returns the hazards that need a yes and have none.
    pub fn unaccepted(&self) -> Vec<&Hazard> {
        self.hazards.iter().filter(|h| !self.accepted.allows(h.kind)).collect()
    }

    /// Returns the kinds of hazards that need a yes and have none.
    pub fn unaccepted_kinds(&self) -> BTreeSet<HazardKind> {
        self.unaccepted().into_iter().map(|h| h.kind).collect()
    }

    /// Returns the plan with a person's yes.
    pub fn accept(mut self, accept: Accept) -> Self {
        self.accepted = accept;
        self
    }

    /// Returns a step by number.
    pub fn step(&self, id: StepId) -> Option<&Step> {
        // Steps are numbered from 1 without gaps; a damaged file is told by `verify`.
        let index = usize::try_from(id.0).ok()?.checked_sub(1)?;
        self.steps.get(index).filter(|step| step.id == id)
    }

    /// Returns the sets that change, in launch order.
    pub fn changing_sets(&self) -> Vec<SetName> {
        let mut sets = Vec::new();
        for slot in &self.slots {
            if slot.change != Change::Keep && !sets.contains(&slot.set) {
                sets.push(slot.set.clone());
            }
        }
        for step in &self.steps {
            if let Some(set) = &step.set
                && !sets.contains(set)
            {
                sets.push(set.clone());
            }
        }
        sets
    }

    /// Returns how many steps are engine calls that change something.
    pub fn calls(&self) -> usize {
        self.steps.iter().filter(|s| !matches!(s.action, Action::Staged | Action::Proven)).count()
    }
}
