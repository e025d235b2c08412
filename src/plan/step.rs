//! One step is one engine call; its data is exactly what that call needs.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::cause::Cause;
use crate::model::spec::Side;
use crate::model::{CheckSpec, ContainerId, ContainerState, HostName, SetName, Slot, SpecHash};

/// Number of a step within its plan; steps are numbered in an order that respects their dependencies.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct StepId(pub u32);

impl fmt::Display for StepId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "#{}", self.0)
    }
}

/// Which container a step acts on. The engine name is unique on its host and never reused.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Target {
    /// It was there when the plan was made.
    Existing {
        /// Engine id.
        id: ContainerId,
        /// Engine name.
        name: String,
    },
    /// An earlier step of this plan makes it; its id is known only then.
    Made {
        /// Engine name.
        name: String,
    },
}

impl Target {
    /// Returns the engine name.
    pub fn name(&self) -> &str {
        match self {
            Self::Existing { name, .. } | Self::Made { name } => name,
        }
    }

    /// Returns the engine id, if it was known when the plan was made.
    pub fn id(&self) -> Option<&ContainerId> {
        match self {
            Self::Existing { id, .. } => Some(id),
            Self::Made { .. } => None,
        }
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Which exit codes of a task are good.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ExitRule {
    /// Only 0.
    Success,
    /// Any: its work is superseded, it only must not be disturbed.
    Any,
}

/// Which of the two writes of a generation's record.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Mark {
    /// Before anything else: the run has begun.
    Begin,
    /// After everything else, however it went: the outcome.
    End,
}

/// What a step does.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "do")]
pub enum Action {
    /// Writes the generation's record into the ledger of a host.
    WriteGeneration {
        /// Begin or end.
        mark: Mark,
    },
    /// Creates a volume.
    CreateVolume {
        /// Engine name.
        volume: String,
    },
    /// Creates a container.
    CreateContainer {
        /// Engine name: the atomic claim.
        name: String,
        /// Which spec (the executor refuses another).
        spec: SpecHash,
    },
    /// Puts PID 1 and the config files into a container that has not been started.
    UploadConfig {
        /// Into which.
        container: Target,
        /// Of which ports its config is.
        #[serde(default, skip_serializing_if = "Side::is_main")]
        side: Side,
        /// How many config files.
        files: usize,
    },
    /// Starts a container, or lets a frozen one go on.
    StartContainer {
        /// Which.
        container: Target,
        /// Whether it is frozen.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        thaw: bool,
    },
    /// Waits until a container passes its check.
    AwaitHealthy {
        /// Which.
        container: Target,
        /// Its check; without one, that it runs.
        check: Option<CheckSpec>,
    },
    /// Requires that a container which has just become healthy stays so: neither ends nor is started again meanwhile.
    AwaitSteady {
        /// Which.
        container: Target,
        /// For how many seconds.
        seconds: u32,
        /// Its check, which must pass once more at the end.
        check: Option<CheckSpec>,
    },
    /// Waits until a task has ended.
    AwaitExit {
        /// Which.
        container: Target,
        /// Seconds it may take.
        deadline: u32,
        /// Which exit codes are good.
        accept: ExitRule,
    },
    /// Lets a balancer send requests to a server again, as soon as that listens.
    OpenServer {
        /// The balancer.
        balancer: Target,
        /// `BACKEND/SERVER`.
        server: String,
    },
    /// Lets a balancer send no more requests to a server, and waits until those under way are answered.
    DrainServer {
        /// The balancer.
        balancer: Target,
        /// `BACKEND/SERVER`.
        server: String,
        /// Seconds to wait for requests under way; those that take longer are left to the container's own stop.
        grace: u32,
    },
    /// Stops a container and keeps it.
    StopContainer {
        /// Which.
        container: Target,
        /// Seconds until it is killed.
        grace: u32,
        /// Whether its processes are frozen instead, so that it serves again at once where somebody goes back to it. One that has
        /// not answered all its requests by then is stopped.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        freeze: bool,
    },
    /// Begins the program of a container that has stopped and is kept, up to its work, and freezes it there: it works at once where
    /// somebody goes back to it. One that does not come to that is stopped again.
    StandBy {
        /// Which.
        container: Target,
        /// Seconds until it is killed, where it is stopped.
        grace: u32,
    },
    /// Ends what a container has left running on its host, outside of its own cgroups: servers, what serves networks.
    EndLeft {
        /// By which it was left; it has stopped.
        container: Target,
        /// Where it is: the path of a cgroup, below each hierarchy.
        cgroup: String,
    },
    /// Removes a container, running or not.
    RemoveContainer {
        /// Which.
        container: Target,
    },
    /// Removes a volume with its data.
    RemoveVolume {
        /// Engine name.
        volume: String,
    },
    /// Makes the catalogue, projects, roles and users in Keystone what they should be.
    Register {
        /// Digest of what should be.
        identity: String,
    },
    /// Makes the flavors and networks of the profile, once every service serves.
    Furnish {
        /// Digest of what should be.
        cloud: String,
    },
    /// A point of no call: all successors of a set exist, with their config. Nothing is stopped before it.
    Staged,
    /// A point of no call: every container of a set serves and every task is done. From here the set is new, and is
    /// not undone any more; what it replaced may go.
    Proven,
}

impl Action {
    /// Returns the call that makes a container work, which was seen in this state.
    pub fn start(container: Target, seen: Option<ContainerState>) -> Self {
        Self::StartContainer { container, thaw: seen == Some(ContainerState::Paused) }
    }

    /// Returns the verb.
    pub fn verb(&self) -> &'static str {
        match self {
            Self::WriteGeneration { mark: Mark::Begin } => "begin generation",
            Self::WriteGeneration { mark: Mark::End } => "end generation",
            Self::CreateVolume { .. } => "create volume",
            Self::CreateContainer { .. } => "create",
            Self::UploadConfig { .. } => "upload config",
            Self::StartContainer { thaw: true, .. } => "thaw",
            Self::StartContainer { .. } => "start",
            Self::AwaitHealthy { .. } => "await healthy",
            Self::AwaitSteady { .. } => "await steady",
            Self::AwaitExit { .. } => "await exit",
            Self::OpenServer { .. } => "open",
            Self::DrainServer { .. } => "drain",
            Self::StopContainer { freeze: true, .. } => "freeze",
            Self::StopContainer { .. } => "stop",
            Self::StandBy { .. } => "stand by",
            Self::EndLeft { .. } => "end what runs in",
            Self::RemoveContainer { .. } => "remove",
            Self::RemoveVolume { .. } => "remove volume",
            Self::Register { .. } => "register",
            Self::Furnish { .. } => "furnish",
            Self::Staged => "staged",
            Self::Proven => "proven",
        }
    }

    /// Returns what it acts on, as the engine calls it; empty when that is the set, the host or Keystone.
    pub fn object(&self) -> &str {
        match self {
            Self::CreateVolume { volume } | Self::RemoveVolume { volume } => volume,
            Self::CreateContainer { name, .. } => name,
            Self::EndLeft { cgroup, .. } => cgroup,
            Self::UploadConfig { container, .. }
            | Self::StartContainer { container, .. }
            | Self::AwaitHealthy { container, .. }
            | Self::AwaitSteady { container, .. }
            | Self::AwaitExit { container, .. }
            | Self::StopContainer { container, .. }
            | Self::StandBy { container, .. }
            | Self::RemoveContainer { container } => container.name(),
            Self::OpenServer { server, .. } | Self::DrainServer { server, .. } => server,
            Self::Register { .. } => "identity",
            Self::Furnish { .. } => "the cloud",
            Self::WriteGeneration { .. } | Self::Staged | Self::Proven => "",
        }
    }

    /// Returns the container it acts on, if it acts on one that exists by then. A balancer is only spoken to.
    pub fn target(&self) -> Option<&Target> {
        match self {
            Self::UploadConfig { container, .. }
            | Self::StartContainer { container, .. }
            | Self::AwaitHealthy { container, .. }
            | Self::AwaitSteady { container, .. }
            | Self::AwaitExit { container, .. }
            | Self::StopContainer { container, .. }
            | Self::StandBy { container, .. }
            | Self::EndLeft { container, .. }
            | Self::RemoveContainer { container } => Some(container),
            Self::WriteGeneration { .. }
            | Self::CreateVolume { .. }
            | Self::CreateContainer { .. }
            | Self::OpenServer { .. }
            | Self::DrainServer { .. }
            | Self::RemoveVolume { .. }
            | Self::Register { .. }
            | Self::Furnish { .. }
            | Self::Staged
            | Self::Proven => None,
        }
    }

    /// Returns whether it only waits: nothing changes by it, and it may be left at any moment.
    pub fn is_wait(&self) -> bool {
        matches!(self, Self::AwaitHealthy { .. } | Self::AwaitSteady { .. } | Self::AwaitExit { .. })
    }
}

impl fmt::Display for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.object() {
            "" => f.write_str(self.verb()),
            object => write!(f, "{} {object}", self.verb()),
        }
    }
}

/// How a step is taken back.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Undo {
    /// By this.
    Step(Action),
    /// There is nothing to take back.
    Nothing,
    /// It cannot be, since.
    Impossible(String),
}

/// One node of the plan.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Step {
    /// Its number.
    pub id: StepId,
    /// What must be done before it; always smaller numbers.
    pub deps: Vec<StepId>,
    /// The engine it goes to; none for steps without a call and for Keystone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub host: Option<HostName>,
    /// The slot it belongs to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub slot: Option<Slot>,
    /// The set that is undone when it fails.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub set: Option<SetName>,
    /// What.
    pub action: Action,
    /// Why.
    pub cause: Cause,
    /// The way back.
    pub undo: Undo,
}
