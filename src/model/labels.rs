//! The label schema: what Mastic writes on every container, volume and image, in both directions.
//!
//! The engine is the state: what these labels say is all that a second machine needs to know.

use std::collections::BTreeMap;

use super::spec::{Cutover, Role, Side, SpecRecord};
use super::{
    ContainerName, DeploymentName, Generation, HostName, ReleaseName, RunId, ServiceName, SetName, SpecHash,
};

/// Deployment name; the scope of every list call.
pub const DEPLOYMENT: &str = "mastic.deployment";
/// `service`, `task`, `lock`, `ledger` or `tool`.
pub const ROLE: &str = "mastic.role";
/// Host name as the profile calls it.
pub const HOST: &str = "mastic.host";
/// Container set.
pub const SET: &str = "mastic.set";
/// Service.
pub const SERVICE: &str = "mastic.service";
/// Container name within the deployment: with the host, the slot.
pub const CONTAINER: &str = "mastic.container";
/// The generation that made it.
pub const GENERATION: &str = "mastic.generation";
/// Hash of the spec (for a task: of its trigger).
pub const SPEC_HASH: &str = "mastic.spec-hash";
/// The spec itself as canonical JSON, with digests instead of file contents: later plans show field-level diffs from it.
pub const SPEC: &str = "mastic.spec";
/// OpenStack series.
pub const RELEASE: &str = "mastic.release";
/// `spare` on a container that listens on its spare ports; nothing on others.
pub const SIDE: &str = "mastic.side";
/// The run that made it.
pub const RUN: &str = "mastic.run";
/// Task phase.
pub const PHASE: &str = "mastic.phase";
/// On images: hash of everything that went into the build.
pub const INPUT_HASH: &str = "mastic.input-hash";
/// On images: the short hash of each part of the input, as a JSON object: says later which part has changed.
pub const INPUTS: &str = "mastic.inputs";
/// On images: the ids of the images it was built from, as a JSON object.
pub const PARENTS: &str = "mastic.parents";
/// On images: the folder under `images/`.
pub const IMAGE: &str = "mastic.image";
/// On volumes: the name without the deployment's prefix.
pub const VOLUME: &str = "mastic.volume";

/// What a labelled container is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum LabelRole {
    /// A long-running container in a slot.
    Service,
    /// A one-shot container; kept after success as the evidence that it ran.
    Task,
    /// The deployment's lock.
    Lock,
    /// The never-started container through which generation records are read and written.
    Ledger,
    /// What a command runs for itself and removes at its end; one that is left is rubbish.
    Tool,
}

impl LabelRole {
    /// Returns the label's value.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Service => "service",
            Self::Task => "task",
            Self::Lock => "lock",
            Self::Ledger => "ledger",
            Self::Tool => "tool",
        }
    }

    /// Reads a label's value.
    pub fn parse(value: &str) -> Option<Self> {
        [Self::Service, Self::Task, Self::Lock, Self::Ledger, Self::Tool]
            .into_iter()
            .find(|role| role.as_str() == value)
    }
}

/// The labels of one container in a slot, parsed once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Labels {
    /// Deployment.
    pub deployment: DeploymentName,
    /// Service or task.
    pub role: LabelRole,
    /// Host as the profile called it when the container was made.
    pub host: HostName,
    /// Container set.
    pub set: SetName,
    /// Service.
    pub service: ServiceName,
    /// Container name.
    pub container: ContainerName,
    /// Generation that made it.
    pub generation: Generation,
    /// Spec hash, or a task's trigger hash.
    pub spec_hash: SpecHash,
    /// Canonical JSON of the spec.
    pub spec: String,
    /// Series.
    pub release: ReleaseName,
    /// Run that made it.
    pub run: RunId,
    /// Which of its ports it listens on.
    pub side: Side,
}

impl Labels {
    /// Returns whether the container was made to stand by where that is asked for; one whose label cannot be read was not.
    pub fn stands_by(&self) -> bool {
        serde_json::from_str(&self.spec)
            .is_ok_and(|spec: SpecRecord| spec.role == Role::Service { cutover: Cutover::StandsBy })
    }

    /// Returns the labels as the engine stores them.
    pub fn to_map(&self) -> BTreeMap<String, String> {
        let Self {
            deployment,
            role,
            host,
            set,
            service,
            container,
            generation,
            spec_hash,
            spec,
            release,
            run,
            side,
        } = self;
        let side = (*side == Side::Spare).then(|| (SIDE, side.as_str().to_owned()));
        [
            (DEPLOYMENT, deployment.to_string()),
            (ROLE, role.as_str().to_owned()),
            (HOST, host.to_string()),
            (SET, set.to_string()),
            (SERVICE, service.to_string()),
            (CONTAINER, container.to_string()),
            (GENERATION, generation.to_string()),
            (SPEC_HASH, spec_hash.to_string()),
            (SPEC, spec.clone()),
            (RELEASE, release.to_string()),
            (RUN, run.to_string()),
        ]
        .into_iter()
        .chain(side)
        .map(|(key, value)| (key.to_owned(), value))
        .collect()
    }

    /// Reads the labels of a slot's container; `None` for anything else (lock, ledger, foreign or damaged).
    pub fn parse(map: &BTreeMap<String, String>) -> Option<Self> {
        let get = |key: &str| map.get(key).cloned();
        let role = LabelRole::parse(&get(ROLE)?)?;
        if !matches!(role, LabelRole::Service | LabelRole::Task) {
            return None;
        }
        Some(Self {
            deployment: get(DEPLOYMENT)?.parse().ok()?,
            role,
            host: get(HOST)?.parse().ok()?,
            set: get(SET)?.parse().ok()?,
            service: get(SERVICE)?.parse().ok()?,
            container: get(CONTAINER)?.parse().ok()?,
            generation: Generation::new(get(GENERATION)?.parse().ok()?)?,
            spec_hash: SpecHash::from_label(&get(SPEC_HASH)?)?,
            spec: get(SPEC)?,
            release: get(RELEASE)?.parse().ok()?,
            run: get(RUN)?.parse().ok()?,
            side: match get(SIDE).as_deref() {
                None => Side::Main,
                Some("spare") => Side::Spare,
                Some(_) => return None,
            },
        })
    }
}
