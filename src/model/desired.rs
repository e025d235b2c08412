//! The resolved profile: everything that should exist.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use serde::{Deserialize, Serialize};

use super::cloud::Cloud;
use super::spec::Side;
use super::{
    ContainerSpec, DeploymentName, HostName, ReleaseName, Secret, ServiceName, SetName, Slot, SpecHash,
    VolumeName,
};

/// One Docker Engine endpoint.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HostSpec {
    /// `unix:///path` or `tcp://host:port`.
    pub engine: String,
    /// Directory with `ca.pem`, `cert.pem`, `key.pem` for `tcp`.
    pub tls: Option<String>,
    /// The address its services bind and are reached at.
    pub address: String,
}

/// Everything that should exist, fully resolved.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Desired {
    /// Deployment.
    pub deployment: DeploymentName,
    /// Series.
    pub release: ReleaseName,
    /// Hosts.
    pub hosts: BTreeMap<HostName, HostSpec>,
    /// Sets in the order in which they are launched.
    pub sets: Vec<SetName>,
    /// Containers and tasks by slot.
    pub containers: BTreeMap<Slot, ContainerSpec>,
    /// The same containers on their spare ports, where they have such: either form is what the profile says.
    pub spares: BTreeMap<Slot, ContainerSpec>,
    /// Where requests to a container come from, by its slot.
    pub routes: BTreeMap<Slot, Vec<Route>>,
    /// Slots that are swapped only after others of their service were; on the way back the others come after them.
    pub swaps: BTreeMap<Slot, BTreeSet<Slot>>,
    /// Services whose containers do not change together with OpenStack's release.
    pub apart: BTreeSet<ServiceName>,
    /// Services that carry what users' servers stand on, and use none of the cloud's data: they run on while that is restored.
    pub data_plane: BTreeSet<ServiceName>,
    /// The containers that balance requests, each with the command in it that opens and drains a server.
    pub balancers: BTreeMap<Slot, Vec<String>>,
    /// Volumes by host.
    pub volumes: BTreeSet<(HostName, VolumeName)>,
    /// What must exist in Keystone.
    pub identity: IdentitySpec,
    /// What the cloud offers from the first day.
    pub cloud: Cloud,
    /// Digest of the PID-1 binary: part of every container's identity.
    pub init_digest: String,
    /// Digest of the profile and everything it was resolved from, for the generation's record.
    pub profile_digest: String,
}

impl Desired {
    /// Returns what should be in a slot, on this side of its ports.
    pub fn form(&self, slot: &Slot, side: Side) -> Option<&ContainerSpec> {
        match side {
            Side::Main => self.containers.get(slot),
            Side::Spare => self.spares.get(slot),
        }
    }

    /// Returns what should be in a slot, by its hash.
    pub fn by_hash(&self, slot: &Slot, hash: &SpecHash) -> Option<(Side, &ContainerSpec)> {
        [Side::Main, Side::Spare].into_iter().find_map(|side| {
            let spec = self.form(slot, side)?;
            (spec.record(&self.init_digest).hash() == *hash).then_some((side, spec))
        })
    }
}

/// One port of a container, as the balancers know it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Route {
    /// `BACKEND/SERVER` of the main port.
    pub main: String,
    /// That of the spare port.
    pub spare: String,
    /// Whether the balancers ask it for an answer, and do not only look whether somebody listens there: a frozen process does.
    pub asked: bool,
}

impl Route {
    /// Returns the server of one side.
    pub fn server(&self, side: Side) -> &str {
        match side {
            Side::Main => &self.main,
            Side::Spare => &self.spare,
        }
    }
}

/// What must exist in Keystone: the catalogue, and the users of services.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct IdentitySpec {
    /// Present when the profile has an identity service.
    pub access: Option<IdentityAccess>,
    /// Region.
    pub region: String,
    /// Projects (in the default domain), by name.
    pub projects: BTreeSet<String>,
    /// Roles, by name.
    pub roles: BTreeSet<String>,
    /// Catalogue, by service name.
    pub services: BTreeMap<String, CatalogueService>,
    /// Users, by name: no two domains have one of the same name.
    pub users: BTreeMap<String, IdentityUser>,
}

/// How Mastic itself reaches Keystone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IdentityAccess {
    /// Base URL with `/v3`.
    pub url: String,
    /// Administrator.
    pub user: String,
    /// Project.
    pub project: String,
    /// Password.
    pub password: Secret,
    /// The slots that must be healthy before it can be asked.
    pub after: BTreeSet<Slot>,
}

/// One catalogue entry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CatalogueService {
    /// e.g. `identity`.
    pub kind: String,
    /// One line.
    pub description: String,
    /// Interface (`public`, `internal`, `admin`) to URL.
    pub endpoints: BTreeMap<String, String>,
}

/// One user.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IdentityUser {
    /// Password.
    pub password: Secret,
    /// Where it is, and what its roles are on.
    pub home: UserHome,
    /// Roles.
    pub roles: BTreeSet<String>,
}

/// Where a user is, and what its roles are on.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum UserHome {
    /// In the default domain, with roles on this project of it.
    Project(String),
    /// In this domain, with roles on all of it.
    Domain(String),
}

impl fmt::Display for UserHome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Project(project) => write!(f, "project {project}"),
            Self::Domain(domain) => write!(f, "domain {domain}"),
        }
    }
}
