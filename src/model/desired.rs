//! The resolved profile: everything that should exist.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::cloud::Cloud;
use super::{ContainerSpec, DeploymentName, HostName, ReleaseName, Secret, SetName, Slot, VolumeName};

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
    /// Users (in the default domain), by name.
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
    /// Project its roles are on.
    pub project: String,
    /// Roles.
    pub roles: BTreeSet<String>,
}
