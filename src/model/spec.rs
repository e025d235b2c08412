//! One container, fully resolved and immutable.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::{
    CheckSpec, ContainerName, HostName, PinnedImage, ServiceName, SetName, Slot, TaskPhase, VolumeName,
};

/// Where PID 1 lies in every container: it is uploaded together with the config, so that any image will do.
pub const INIT_PATH: &str = "/mastic-init";

/// While this file of a container is not empty, a program that stands by does not begin its work ([`Cutover::StandsBy`]).
pub const STAND_BY_PATH: &str = "/etc/mastic/stand-by";

/// What such a program writes once only its work is left to begin; in memory, so that it is gone with the container's end.
pub const STANDING_BY_PATH: &str = "/tmp/standing-by";

/// Changes whenever the meaning of a field changes, so that no old hash can equal a new one by accident.
const SPEC_SCHEMA: u32 = 2;

/// SHA-256 over the canonical JSON of a spec, 64 hex digits.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct SpecHash(String);

impl SpecHash {
    /// Hashes canonical bytes.
    pub fn of(bytes: &[u8]) -> Self {
        Self(hex(&Sha256::digest(bytes)))
    }

    /// Reads a label's value.
    pub fn from_label(value: &str) -> Option<Self> {
        (value.len() == 64 && value.bytes().all(|b| b.is_ascii_hexdigit())).then(|| Self(value.to_owned()))
    }

    /// Returns the first twelve digits.
    pub fn short(&self) -> &str {
        self.0.get(..12).unwrap_or(&self.0)
    }
}

impl fmt::Display for SpecHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Returns lower-case hex.
pub fn hex(bytes: &[u8]) -> String {
    use fmt::Write as _;
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// A config file that is uploaded into the container after create and before start.
#[derive(Clone, PartialEq, Eq)]
pub struct FileSpec {
    /// Absolute path in the container.
    pub path: String,
    /// Numeric owner.
    pub uid: u32,
    /// Numeric group.
    pub gid: u32,
    /// Permission bits, e.g. 0o640.
    pub mode: u32,
    /// The bytes. May hold secrets: never shown, logged or serialized; its digest stands for it.
    pub content: Vec<u8>,
    /// Which template or override it came from, for people.
    pub origin: String,
    /// Whether any secret went into it.
    pub sensitive: bool,
}

impl FileSpec {
    /// Returns the SHA-256 of the content, hex.
    pub fn digest(&self) -> String {
        hex(&Sha256::digest(&self.content))
    }
}

impl fmt::Debug for FileSpec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FileSpec")
            .field("path", &self.path)
            .field("digest", &self.digest())
            .field("bytes", &self.content.len())
            .finish_non_exhaustive()
    }
}

/// How one slot is swapped for its successor.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Cutover {
    /// Start new, wait healthy, drain old, stop old.
    Overlap,
    /// Stop old, start new, wait healthy.
    Exclusive,
    /// The same; and its program can be begun and stand by, short of its work, while [`STAND_BY_PATH`] is not empty.
    StandsBy,
    /// Member by member of a cluster, each in sync before the next.
    Rolling,
}

/// What a spec is for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Role {
    /// A long-running container.
    Service {
        /// How it is replaced.
        cutover: Cutover,
    },
    /// A one-shot container that must exit with 0. Kept afterwards as evidence; run again only when its trigger changes.
    Task {
        /// When it runs.
        phase: TaskPhase,
        /// What makes it run again.
        trigger: TaskTrigger,
        /// Seconds it may take.
        deadline: u32,
    },
}

/// What makes a task run again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum TaskTrigger {
    /// Never again in this deployment.
    Once,
    /// A new image or another command.
    #[default]
    Image,
    /// Any change of its spec, config files included.
    Spec,
}

/// Where a mount comes from.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum MountSource {
    /// A named volume of this deployment.
    Volume(VolumeName),
    /// A path of the host.
    Bind {
        /// Absolute path on the host.
        path: String,
        /// `private`, `rshared`, `rslave`, ...
        propagation: Option<String>,
    },
    /// Memory.
    Tmpfs {
        /// Mount options, e.g. `size=16m,mode=1777`.
        options: String,
    },
}

/// One mount.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct MountSpec {
    /// What.
    pub source: MountSource,
    /// Absolute path in the container.
    pub target: String,
    /// Read-only.
    pub read_only: bool,
}

/// Everything beyond an unprivileged container, by name. Reasons stand in service.yaml.
#[derive(Clone, Debug, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Privileges {
    /// Capabilities without `CAP_`, upper case. All others are dropped.
    pub capabilities: BTreeSet<String>,
    /// Whether processes may gain privileges (setuid, file capabilities); false sets `no-new-privileges`.
    pub new_privileges: bool,
    /// `--security-opt` values, e.g. `systempaths=unconfined`, `label=...`, `apparmor=...`.
    pub security_opts: BTreeSet<String>,
    /// Host devices, e.g. `/dev/net/tun`.
    pub devices: BTreeSet<String>,
    /// Share the host's PID namespace.
    pub host_pid: bool,
    /// Share the host's IPC namespace.
    pub host_ipc: bool,
    /// Share the host's cgroup namespace: where cgroups are of version 2, a container has its own otherwise.
    // Left out where it is not asked for: a new field alone must not change the hash of every container.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub host_cgroups: bool,
}

/// Bounds.
#[derive(Clone, Debug, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Limits {
    /// Bytes of memory; 0 is none.
    #[serde(default)]
    pub memory: u64,
    /// Thousandths of a CPU; 0 is none.
    #[serde(default)]
    pub milli_cpus: u64,
    /// Processes; 0 is none.
    #[serde(default)]
    pub pids: u64,
    /// Open files; 0 leaves the engine's default.
    #[serde(default)]
    pub nofile: u64,
    /// Share of the CPUs where they do not suffice, beside 1024 of any other container; 0 leaves the engine's default, which is that.
    // Left out where it is not asked for: a new field alone must not change the hash of every container.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub cpu_shares: u64,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde's signature")]
fn is_zero(number: &u64) -> bool {
    *number == 0
}

/// Which of its two sets of ports an overlapping container listens on, so that a successor serves beside its predecessor.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Side {
    /// The ports of `service.yaml`.
    #[default]
    Main,
    /// The spare ones.
    Spare,
}

impl Side {
    /// Returns the label's value.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Main => "main",
            Self::Spare => "spare",
        }
    }

    /// Returns whether it is [`Side::Main`].
    pub fn is_main(&self) -> bool {
        *self == Self::Main
    }
}

/// How it ends.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StopSpec {
    /// Signal name, e.g. `SIGTERM`.
    pub signal: String,
    /// Seconds until KILL. Exceeds the service's own graceful timeout.
    pub grace: u32,
}

/// One container, resolved: everything the engine is told, and nothing else.
///
/// `slot.host`, `service`, `set` and `after` say where it belongs and are not part of its hash.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ContainerSpec {
    /// Host and container name.
    pub slot: Slot,
    /// The service it belongs to.
    pub service: ServiceName,
    /// The set it belongs to.
    pub set: SetName,
    /// Service or task.
    pub role: Role,
    /// The image, pinned.
    pub image: PinnedImage,
    /// Options of `mastic-init` before `--`, e.g. `--grace 10`, `--single-child`.
    pub init_args: Vec<String>,
    /// Cgroup of the host, below each hierarchy, in which what it starts lives on after it.
    pub leaves: Option<String>,
    /// The main process: argv after `--`.
    pub command: Vec<String>,
    /// `uid:gid` it runs as; `0:0` is root.
    pub user: (u32, u32),
    /// Working directory; empty for the image's.
    pub working_dir: String,
    /// Environment. Never a secret.
    pub environment: BTreeMap<String, String>,
    /// Config files, by path.
    pub files: Vec<FileSpec>,
    /// Mounts, by target.
    pub mounts: Vec<MountSpec>,
    /// `true` for the host's network (the default of Mastic's services), else none at all.
    pub host_network: bool,
    /// Everything special.
    pub privileges: Privileges,
    /// Bounds.
    pub limits: Limits,
    /// Health.
    pub check: Option<CheckSpec>,
    /// Stop.
    pub stop: StopSpec,
    /// Containers and tasks of this deployment that must be healthy, or done, before this one starts.
    pub after: BTreeSet<Slot>,
}

/// The hashed part of a spec; also what the `mastic.spec` label holds.
///
/// `files` maps each path to `digest:uid:gid:mode`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SpecRecord {
    /// [`SPEC_SCHEMA`].
    pub schema: u32,
    /// Service or task.
    pub role: Role,
    /// Tag and id.
    pub image: PinnedImage,
    /// Digest of the PID-1 binary and its options.
    pub init: Vec<String>,
    /// Cgroup in which what it starts lives on.
    // Left out where there is none: a new field alone must not change the hash of every container.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub leaves: Option<String>,
    /// argv.
    pub command: Vec<String>,
    /// `uid:gid`.
    pub user: String,
    /// Working directory.
    pub working_dir: String,
    /// Environment.
    pub environment: BTreeMap<String, String>,
    /// Path to `digest:uid:gid:mode`.
    pub files: BTreeMap<String, String>,
    /// Mounts.
    pub mounts: Vec<MountSpec>,
    /// `host` or `none`.
    pub network: String,
    /// Privileges.
    pub privileges: Privileges,
    /// Limits.
    pub limits: Limits,
    /// Check.
    pub check: Option<CheckSpec>,
    /// Stop.
    pub stop: StopSpec,
}

/// Where the host's namespaces of networks are.
pub const NAMESPACES: &str = "/run/netns";

/// Returns the capabilities, with their reasons, of what ends the processes of a cgroup; and where `namespaces` are theirs, these, too.
pub fn ending_capabilities(namespaces: bool) -> Vec<(&'static str, &'static str)> {
    let mut all = vec![
        ("KILL", "To end processes of any user"),
        ("DAC_OVERRIDE", "Nobody may write the root of a hierarchy, from which a cgroup is removed"),
    ];
    if namespaces {
        all.push(("SYS_PTRACE", "To see in which network a process of another user is"));
        all.push(("SYS_ADMIN", "To take that network's mount away"));
    }
    all
}

/// Returns whether a cgroup of the host may be ended with all that is in it: one of Mastic's, below the root. Anything else would
/// end somebody else's processes, or all of the host's.
pub fn is_own_cgroup(cgroup: &str) -> bool {
    cgroup.starts_with("mastic") && cgroup.split('/').all(|part| !matches!(part, "" | "." | ".."))
}

impl ContainerSpec {
    /// Returns the record that is hashed and stored; `init_digest` is the digest of the PID-1 binary.
    ///
    /// Every field is named here on purpose: a new field must decide whether it is part of a container's identity.
    pub fn record(&self, init_digest: &str) -> SpecRecord {
        let Self {
            slot: _,
            service: _,
            set: _,
            role,
            image,
            init_args,
            leaves,
            command,
            user: (uid, gid),
            working_dir,
            environment,
            files,
            mounts,
            host_network,
            privileges,
            limits,
            check,
            stop,
            after: _,
        } = self;
        SpecRecord {
            schema: SPEC_SCHEMA,
            role: role.clone(),
            image: image.clone(),
            init: std::iter::once(init_digest.to_owned()).chain(init_args.iter().cloned()).collect(),
            leaves: leaves.clone(),
            command: command.clone(),
            user: format!("{uid}:{gid}"),
            working_dir: working_dir.clone(),
            environment: environment.clone(),
            files: files
                .iter()
                .map(|f| (f.path.clone(), format!("{}:{}:{}:{:04o}", f.digest(), f.uid, f.gid, f.mode)))
                .collect(),
            mounts: mounts.clone(),
            network: if *host_network { "host" } else { "none" }.to_owned(),
            privileges: privileges.clone(),
            limits: limits.clone(),
            check: check.clone(),
            stop: stop.clone(),
        }
    }

    /// Returns whether this is a one-shot task.
    pub fn is_task(&self) -> bool {
        matches!(self.role, Role::Task { .. })
    }

    /// Returns the host.
    pub fn host(&self) -> &HostName {
        &self.slot.host
    }

    /// Returns the container name.
    pub fn name(&self) -> &ContainerName {
        &self.slot.container
    }
}

impl SpecRecord {
    /// Returns the canonical JSON: same spec, same bytes.
    pub fn canonical(&self) -> String {
        // Serializing plain structs, strings and ordered maps cannot fail.
        serde_json::to_string(self).unwrap_or_default()
    }

    /// Returns the identity of the container: for a task, of what triggers it.
    pub fn hash(&self) -> SpecHash {
        // The id is the image; what it was called when it was pinned is not. An image that two releases share is one.
        let mut identity = self.clone();
        identity.image.reference.clear();
        match &self.role {
            Role::Service { .. } => SpecHash::of(identity.canonical().as_bytes()),
            Role::Task { trigger, phase, .. } => match trigger {
                TaskTrigger::Spec => SpecHash::of(identity.canonical().as_bytes()),
                TaskTrigger::Image => SpecHash::of(
                    format!("{}\0{}\0{}", phase.as_str(), self.image.id, self.command.join("\0")).as_bytes(),
                ),
                TaskTrigger::Once => SpecHash::of(b"once"),
            },
        }
    }
}
