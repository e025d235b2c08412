//! `service.yaml`: the whole knowledge of a service.
//!
//! These types are the schema, like those of the profile. Strings marked as templates are rendered with the context of
//! `docs/reference/templates.md`.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::container::{Container, File, Task};
use crate::model::{ContainerName, SecretKind, SecretName, ServiceName};

/// One service: its containers, tasks, settings, secrets, ports, accounts and endpoints.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(title = "Mastic service")]
pub struct Service {
    /// Its name: that of its folder.
    pub service: ServiceName,
    /// One line about it.
    pub summary: String,
    /// Services that must be in the profile, and whose containers must be healthy (and tasks done) before this one starts.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub requires: Vec<ServiceName>,
    /// Its containers change in an upgrade of their own (`mastic upgrade --service`), never together with OpenStack's release: their
    /// change is felt by all others.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub own_upgrade: bool,
    /// It carries what users' servers stand on (guests, the switch) and uses none of the databases: it runs on while a restore point
    /// becomes the data.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub data_plane: bool,
    /// Services that come first where they are in the profile.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub wants: Vec<ServiceName>,
    /// Lists of all services that its templates may open, with the secrets in them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub sees: Vec<Sees>,
    /// Users and groups of its images, as `uid:gid`. `root` is known.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(with = "BTreeMap<String, UserPattern>")]
    pub users: BTreeMap<String, String>,
    /// Settings that a profile may change.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub variables: BTreeMap<String, Variable>,
    /// Secrets, generated once per deployment.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(extend("x-keys" = "secret name"))]
    pub secrets: BTreeMap<SecretName, SecretRequest>,
    /// Ports it listens on, checked for clashes on each host.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub ports: BTreeMap<String, Port>,
    /// Databases with their accounts; made by the database service's own task.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub databases: Vec<Database>,
    /// What the proxy fronts.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub proxy: Vec<Proxy>,
    /// What must exist in Keystone.
    #[serde(default)]
    pub identity: Identity,
    /// Config files for oslo.config, by template: before anything is stopped or started, the image that is about to read one must
    /// know every option in it.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub validate: BTreeMap<String, Validate>,
    /// Long-running containers.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(extend("x-keys" = "container name"))]
    pub containers: BTreeMap<ContainerName, Container>,
    /// One-shot containers.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(extend("x-keys" = "container name"))]
    pub tasks: BTreeMap<ContainerName, Task>,
}

impl Service {
    /// Returns every file of every container and task.
    pub fn all_files(&self) -> impl Iterator<Item = &File> {
        let containers = self.containers.values().flat_map(|container| &container.files);
        let tasks = self.tasks.values().flat_map(|task| task.files.iter().flatten().chain(&task.more_files));
        containers.chain(tasks)
    }
}

/// Lists of all services which a service may open with their secrets.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Sees {
    /// `databases` with their passwords: for the database server, which makes the accounts.
    Databases,
    /// `proxies`: for the proxy. Its hosts are where the front ports listen.
    Proxies,
}

/// Stands for `uid:gid` in the schema.
#[derive(Debug, JsonSchema)]
#[schemars(transparent)]
pub struct UserPattern(
    #[schemars(regex(pattern = r"^[0-9]{1,6}:[0-9]{1,6}$"), extend("x-format" = "uid:gid"))] pub String,
);

/// One setting.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Variable {
    /// What it is for, in one line.
    pub help: String,
    /// Type.
    #[serde(rename = "type")]
    pub kind: VariableType,
    /// Value where the profile gives none. Without it, the profile must give one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub default: Option<serde_json::Value>,
    /// Least number.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub min: Option<f64>,
    /// Largest number.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max: Option<f64>,
    /// The only values allowed (for a list: of its items).
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub choices: Vec<String>,
}

/// Type of a setting.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum VariableType {
    /// Text.
    String,
    /// Whole number.
    Integer,
    /// Number.
    Number,
    /// `true` or `false`.
    Boolean,
    /// List of text.
    List,
}

/// One secret.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SecretRequest {
    /// How it is made.
    pub kind: SecretKind,
    /// Whether services that require or want this one may use it too.
    #[serde(default)]
    pub shared: bool,
}

/// One port. Its number is the variable `NAME_port` (and `NAME_spare_port`).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Port {
    /// Number where the profile gives none.
    #[schemars(range(min = 1, max = 65535))]
    pub default: u16,
    /// Second number, for the successor of a container that overlaps with its predecessor.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 65535))]
    pub spare: Option<u16>,
    /// The container that listens on it; without it, all hosts of the service count.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub container: Option<ContainerName>,
    /// What listens there, in one line.
    #[serde(default)]
    pub help: String,
}

/// One database and its account.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Database {
    /// Database.
    pub name: String,
    /// Account, with all rights on it.
    pub user: String,
    /// Secret of this service.
    pub password: SecretName,
}

/// What a look at a config file must know besides the options that the image lists.
#[derive(Clone, Debug, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Validate {
    /// Sections with names of the deployment's own, each with the section whose options it takes, e.g. `nfs: backend_defaults`.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub like: BTreeMap<String, String>,
    /// Options that the program reads and does not list, as `[section] option`, each with its reason. `[section] *` is all of a
    /// section.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub except: BTreeMap<String, String>,
}

/// One front port of the proxy. Its number is the variable `NAME_proxy_port`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Proxy {
    /// Name, unique among all services.
    pub name: String,
    /// Port that clients use.
    #[schemars(range(min = 1, max = 65535))]
    pub port: u16,
    /// Container of this service that serves it.
    pub backends: ContainerName,
    /// Port (by name) that it serves it on.
    pub backend_port: String,
    /// Protocol.
    #[serde(default)]
    pub mode: ProxyMode,
    /// For `http`: path asked by the proxy's health check.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub check: Option<String>,
    /// Whether each connection costs it a process: then it is asked for its health, and while changes go on for its availability, once
    /// in seconds instead of many times a second.
    #[serde(default)]
    pub costly: bool,
    /// Whether clients from outside may use it.
    #[serde(default)]
    pub public: bool,
    /// Condition, as a template expression, e.g. `var.nova_metadata`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub when: Option<String>,
}

/// Protocol of a proxy entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum ProxyMode {
    /// HTTP.
    #[default]
    Http,
    /// Any TCP.
    Tcp,
}

/// What must exist in Keystone.
#[derive(Clone, Debug, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Identity {
    /// How Mastic itself reaches Keystone: given by keystone's own service.yaml only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub access: Option<IdentityAccessDocument>,
    /// Projects.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub projects: Vec<String>,
    /// Roles (those of users are made anyway).
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub roles: Vec<String>,
    /// Catalogue entries.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub services: Vec<CatalogueEntry>,
    /// Users.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub users: Vec<IdentityUserDocument>,
}

/// How Mastic itself reaches Keystone.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct IdentityAccessDocument {
    /// Proxy entry.
    pub proxy: String,
    /// Path of the API, e.g. `/v3`.
    #[serde(default)]
    pub path: String,
    /// Administrator.
    pub user: String,
    /// Project.
    pub project: String,
    /// Secret with the password.
    pub password: SecretName,
}

/// One catalogue entry.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct CatalogueEntry {
    /// Name.
    pub name: String,
    /// Type, e.g. `identity`.
    #[serde(rename = "type")]
    pub kind: String,
    /// One line.
    #[serde(default)]
    pub description: String,
    /// Where it is.
    pub endpoint: Endpoint,
    /// Condition, as a template expression.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub when: Option<String>,
}

/// The URL of a catalogue entry: that of a proxy entry with a path.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Endpoint {
    /// Proxy entry of this service.
    pub proxy: String,
    /// Path, e.g. `/v3` or `/v1/%(project_id)s`.
    #[serde(default)]
    pub path: String,
}

/// One user of a service.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct IdentityUserDocument {
    /// Name.
    pub name: String,
    /// Secret of this service.
    pub password: SecretName,
    /// Project of its roles; `service` without it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub project: Option<String>,
    /// Domain that it is in and has its roles on, instead of a project of the default domain. It is made where it is missing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub domain: Option<String>,
    /// Roles.
    pub roles: Vec<String>,
    /// Condition, as a template expression.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub when: Option<String>,
}
