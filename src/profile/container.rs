//! `service.yaml`: containers and one-shot tasks.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::model::spec::{Cutover, TaskTrigger};
use crate::model::{
    CheckSpec, ContainerName, ImageName, SecretName, ServiceName, SetName, TaskPhase, VolumeName,
};

/// On which of its set's hosts something runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Placement {
    /// On each.
    All,
    /// On the first only.
    First,
}

/// One long-running container.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Container {
    /// What it does, in one line.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub summary: String,
    /// The set it belongs to by default.
    pub set: SetName,
    /// Image: a folder under `images/`.
    pub image: ImageName,
    /// Main process and arguments. Each is a template; secrets are refused.
    pub command: Vec<String>,
    /// Name out of `users`, or `uid:gid`.
    pub user: String,
    /// Options of `mastic-init` before `--`. Each is a template; secrets are refused.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub init: Vec<String>,
    /// Cgroup of the host, below each hierarchy, in which what it starts lives on after it: processes, and what they have of
    /// `/run/netns`. `destroy --volumes all` ends them. It begins with `mastic`. A template; secrets are refused.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub leaves: Option<String>,
    /// Working directory.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub working_dir: String,
    /// Environment. Values are templates; secrets are refused.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub environment: BTreeMap<String, String>,
    /// Config files.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub files: Vec<File>,
    /// Named volumes.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub volumes: Vec<Volume>,
    /// Paths of the host.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub binds: Vec<Bind>,
    /// Directories in memory.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tmpfs: Vec<Tmpfs>,
    /// How it proves that it serves. Targets are templates.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub check: Option<CheckSpec>,
    /// How it ends.
    #[serde(default)]
    pub stop: Stop,
    /// How it is replaced.
    pub cutover: Cutover,
    /// For what balances requests: a command in it. With `open BACKEND/SERVER` it sends requests there again, as soon as that
    /// listens; with `drain BACKEND/SERVER SECONDS` it sends none any more, and ends when those under way are answered.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub balances: Vec<String>,
    /// Network.
    #[serde(default)]
    pub network: Network,
    /// Everything beyond an unprivileged container, each with its reason.
    #[serde(default)]
    pub privileges: PrivilegesDocument,
    /// Bounds.
    #[serde(default)]
    pub limits: LimitsDocument,
    /// The services among `requires` and `wants` that come first; without it, all of them. A schema needs the database, not the
    /// whole cloud below its service.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub needs: Option<Vec<ServiceName>>,
    /// Containers and tasks (of any service) that must be healthy, or done, before it starts.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub after: Vec<ContainerName>,
    /// Containers of this service that change to another release first, since they understand both; on the way back they come last.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub swap_after: Vec<ContainerName>,
    /// On which hosts of its set it runs.
    #[serde(default = "default_all")]
    pub hosts: Placement,
    /// Condition, as a template expression, e.g. `var.cinder_backend == "lvm"`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub when: Option<String>,
}

/// One one-shot container: it must exit with 0.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Task {
    /// What it does, in one line.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub summary: String,
    /// When it runs.
    pub phase: TaskPhase,
    /// What makes it run again.
    #[serde(default)]
    pub trigger: TaskTrigger,
    /// Container of this service whose set, image, user, environment, files, mounts, working directory and limits it takes, where
    /// it gives none of its own. Privileges it takes as well.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub like: Option<ContainerName>,
    /// Set; needed without `like`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub set: Option<SetName>,
    /// Image; needed without `like`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub image: Option<ImageName>,
    /// Process and arguments. Each is a template; secrets are refused.
    pub command: Vec<String>,
    /// Name out of `users`, or `uid:gid`; needed without `like`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user: Option<String>,
    /// Options of `mastic-init` before `--`: templates, as above. Not taken from `like`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub init: Vec<String>,
    /// Working directory.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub working_dir: Option<String>,
    /// Environment, added to that of `like`.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub environment: BTreeMap<String, String>,
    /// Config files, instead of those of `like`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub files: Option<Vec<File>>,
    /// Config files besides those of `like`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub more_files: Vec<File>,
    /// Named volumes, instead of those of `like`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub volumes: Option<Vec<Volume>>,
    /// Paths of the host, instead of those of `like`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub binds: Option<Vec<Bind>>,
    /// Directories in memory, instead of those of `like`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tmpfs: Option<Vec<Tmpfs>>,
    /// Network, instead of that of `like`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub network: Option<Network>,
    /// Privileges, instead of those of `like`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub privileges: Option<PrivilegesDocument>,
    /// Bounds, instead of those of `like`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limits: Option<LimitsDocument>,
    /// The services among `requires` and `wants` that come first; without it, all of them. A schema needs the database, not the
    /// whole cloud below its service.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub needs: Option<Vec<ServiceName>>,
    /// Containers and tasks (of any service) that come first, besides those of `requires` and `wants`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub after: Vec<ContainerName>,
    /// Containers of this service that wait for it. Without it: all of them, for `bootstrap` and `expand`. An empty list: none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub before: Option<Vec<ContainerName>>,
    /// Seconds it may take.
    #[serde(default = "default_task_deadline")]
    #[schemars(range(min = 1, max = 86400))]
    pub deadline: u32,
    /// On which hosts of its set it runs.
    #[serde(default = "default_first")]
    pub hosts: Placement,
    /// Condition, as a template expression.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub when: Option<String>,
}

/// One file that is put into a container before it starts. Exactly one of `template`, `content_secret` is given.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct File {
    /// Template in this service's folder; also the name of its overrides.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub template: Option<String>,
    /// Secret whose text is the whole file.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub content_secret: Option<SecretName>,
    /// Absolute path in the container.
    #[schemars(regex(pattern = r"^/"), extend("x-format" = "absolute path"))]
    pub path: String,
    /// Permission bits, octal and quoted: "0640".
    #[serde(default = "default_mode")]
    #[schemars(regex(pattern = r"^0?[0-7]{3,4}$"), extend("x-format" = "mode"))]
    pub mode: String,
    /// `USER:GROUP`, names out of `users` or numbers. Without it: `root:` and the container's group.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub owner: Option<String>,
    /// What a file of the same name under the profile's overrides does.
    #[serde(default)]
    pub merge: Merge,
    /// Condition, as a template expression.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub when: Option<String>,
}

/// What an override does to a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Merge {
    /// No override is taken.
    #[default]
    None,
    /// Its options replace those of the file, as oslo.config reads them.
    Ini,
    /// It is the whole file.
    Replace,
}

/// One named volume. It is kept until it is removed by name.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Volume {
    /// Name.
    pub name: VolumeName,
    /// Absolute path in the container.
    #[schemars(regex(pattern = r"^/"), extend("x-format" = "absolute path"))]
    pub path: String,
    /// Read-only.
    #[serde(default)]
    pub read_only: bool,
}

/// One path of the host.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Bind {
    /// Absolute path on the host. A template.
    pub path: String,
    /// Absolute path in the container; without it, the same.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub target: Option<String>,
    /// Read-only.
    #[serde(default)]
    pub read_only: bool,
    /// Mount propagation.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub propagation: Option<Propagation>,
    /// Why it is needed.
    pub reason: String,
}

/// Mount propagation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Propagation {
    /// None.
    Private,
    /// Mounts show on both sides.
    Rshared,
    /// Mounts of the host show in the container.
    Rslave,
}

/// One directory in memory.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Tmpfs {
    /// Absolute path in the container.
    #[schemars(regex(pattern = r"^/"), extend("x-format" = "absolute path"))]
    pub path: String,
    /// Mount options, e.g. `size=16m,mode=1777`.
    #[serde(default)]
    pub options: String,
}

/// How a container ends.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Stop {
    /// Signal name.
    #[serde(default = "default_signal")]
    #[schemars(regex(pattern = r"^SIG[A-Z0-9+-]+$"), extend("x-format" = "signal"))]
    pub signal: String,
    /// Seconds until KILL. Must exceed the service's own graceful timeout.
    #[serde(default = "default_grace")]
    #[schemars(range(min = 1, max = 3600))]
    pub grace: u32,
}

/// Network of a container.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Network {
    /// The host's.
    #[default]
    Host,
    /// None at all.
    None,
}

/// Everything beyond an unprivileged container. Each has its reason as its value; `mastic privileges` lists them.
#[derive(Clone, Debug, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct PrivilegesDocument {
    /// Capability (without `CAP_`) to its reason. All others are dropped.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub capabilities: BTreeMap<String, String>,
    /// Why it runs as root: needed where `user` is root.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub root: Option<String>,
    /// Why its processes may gain privileges (setuid, file capabilities); without it `no-new-privileges` is set.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub new_privileges: Option<String>,
    /// Security option, e.g. `systempaths=unconfined` or `label=type:spc_t`, to its reason.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub security_opts: BTreeMap<String, String>,
    /// Host device, e.g. `/dev/net/tun`, to its reason.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub devices: BTreeMap<String, String>,
    /// Why it shares the host's PID namespace.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub host_pid: Option<String>,
    /// Why it shares the host's IPC namespace.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub host_ipc: Option<String>,
    /// Why it shares the host's cgroup namespace (hosts with cgroups of version 1 have no other).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub host_cgroups: Option<String>,
}

/// Bounds of a container.
#[derive(Clone, Debug, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct LimitsDocument {
    /// Memory: bytes, or with `k`, `m`, `g`. A template, e.g. `{{ var.mariadb_memory }}`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub memory: Option<String>,
    /// Thousandths of a CPU.
    #[serde(default)]
    pub milli_cpus: u64,
    /// Processes and threads.
    #[serde(default)]
    pub pids: u64,
    /// Open files.
    #[serde(default)]
    pub nofile: u64,
    /// Share of the CPUs where they do not suffice, beside 1024 of any other container: more for what all others wait for.
    #[serde(default)]
    pub cpu_shares: u64,
}

impl Default for Stop {
    fn default() -> Self {
        Self { signal: default_signal(), grace: default_grace() }
    }
}

fn default_signal() -> String {
    "SIGTERM".to_owned()
}

fn default_grace() -> u32 {
    30
}

fn default_mode() -> String {
    "0640".to_owned()
}

fn default_task_deadline() -> u32 {
    300
}

fn default_all() -> Placement {
    Placement::All
}

fn default_first() -> Placement {
    Placement::First
}
