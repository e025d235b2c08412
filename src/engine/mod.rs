//! The engine boundary, in our words.
//!
//! One method is one request; none decides anything. `docker/` is the only folder that names bollard; `sim/` is a
//! complete engine in memory, with faults. Both pass the same conformance suite (`tests/conformance`).

pub mod archive;
pub mod docker;
pub mod endpoint;
pub mod sim;

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use futures::stream::BoxStream;

use crate::model::{
    ContainerId, ContainerSpec, DeploymentName, ImageId, ObservedContainer, ObservedImage, ObservedVolume,
};

/// What an engine answered, or did not.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{operation} on {endpoint}: {message}")]
pub struct EngineError {
    /// What was tried, e.g. `create container aio-keystone-3`.
    pub operation: String,
    /// Which engine.
    pub endpoint: String,
    /// Of which kind.
    pub kind: EngineErrorKind,
    /// The engine's own words, as a sentence a person can use.
    pub message: String,
}

/// Kinds that callers tell apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EngineErrorKind {
    /// 404.
    NotFound,
    /// 409: a name is taken, or the state forbids it.
    Conflict,
    /// 401, 403, or a TLS refusal.
    Unauthorized,
    /// Asked, not answered in time.
    Timeout,
    /// Nobody listens, or the connection broke: whether the request was carried out is unknown.
    Unreachable,
    /// `no space left on device`.
    NoSpace,
    /// The engine tried and failed (5xx, or an error inside a stream).
    Failed,
    /// Our own request was bad (400).
    BadRequest,
}

/// Result of an engine request.
pub type EngineResult<T> = Result<T, EngineError>;

/// What an engine says of itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EngineInfo {
    /// e.g. `20.10.24`.
    pub version: String,
    /// Negotiated API version, e.g. `1.41`.
    pub api_version: String,
    /// The engine's own id.
    pub id: String,
    /// Host name.
    pub name: String,
    /// e.g. `overlay2`.
    pub storage_driver: String,
    /// `1` or `2`.
    pub cgroup_version: String,
    /// CPUs.
    pub cpus: u64,
    /// Bytes of memory.
    pub memory: u64,
    /// Where its data lies.
    pub data_root: String,
    /// Whether containers survive its restart.
    pub live_restore: bool,
    /// e.g. `name=seccomp,profile=default`.
    pub security_options: Vec<String>,
    /// Kernel release.
    pub kernel: String,
    /// The engine's clock, RFC 3339; empty where it tells none.
    pub time: String,
    /// What its kernel cannot bound, e.g. `memory`: limits of containers on these have no effect.
    pub unbounded: Vec<String>,
}

/// Asks for one container.
#[derive(Clone, Debug)]
pub enum CreateRequest<'a> {
    /// A container or task of a slot.
    Spec {
        /// Engine name (unique on the host: it is the atomic claim).
        name: String,
        /// What.
        spec: &'a ContainerSpec,
        /// Prefix for volume names: the deployment.
        deployment: &'a DeploymentName,
        /// All labels.
        labels: BTreeMap<String, String>,
        /// Whose network it shares, instead of what the spec says.
        beside: Option<ContainerId>,
    },
    /// A container that is never started: the lock, the ledger.
    Inert {
        /// Engine name.
        name: String,
        /// Image id or reference.
        image: String,
        /// All labels.
        labels: BTreeMap<String, String>,
        /// Engine volume name and the path it is mounted at.
        volume: Option<(String, String)>,
    },
}

/// Which log lines.
#[derive(Clone, Debug, Default)]
pub struct LogOptions {
    /// Go on as lines come.
    pub follow: bool,
    /// Only the last N lines.
    pub tail: Option<u64>,
    /// Seconds since the epoch.
    pub since: Option<i64>,
    /// Seconds since the epoch.
    pub until: Option<i64>,
    /// Prefix each line with the engine's RFC 3339 time.
    pub timestamps: bool,
}

/// Bytes of one of the two streams.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OutputChunk {
    /// Whether it is standard error.
    pub stderr: bool,
    /// The bytes, not necessarily whole lines.
    pub bytes: Bytes,
}

/// Runs a program in a running container.
#[derive(Clone, Debug, Default)]
pub struct ExecRequest {
    /// argv. Never a secret.
    pub command: Vec<String>,
    /// `uid:gid`; none for the container's own user.
    pub user: Option<String>,
    /// Environment. Never a secret.
    pub environment: Vec<String>,
    /// Standard input, whole.
    pub stdin: Option<Bytes>,
    /// Working directory.
    pub working_dir: Option<String>,
}

/// What a finished exec left.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExecOutcome {
    /// Exit code.
    pub code: i64,
    /// Standard output.
    pub stdout: Vec<u8>,
    /// Standard error.
    pub stderr: Vec<u8>,
}

/// Bytes into a running program.
pub type InputStream = std::pin::Pin<Box<dyn tokio::io::AsyncWrite + Send>>;

/// An exec with a terminal or streams attached.
pub struct InteractiveExec {
    /// What it prints.
    pub output: BoxStream<'static, EngineResult<OutputChunk>>,
    /// What is typed.
    pub input: InputStream,
    /// For [`Engine::exec_resize`] and [`Engine::exec_exit_code`].
    pub id: String,
}

impl Debug for InteractiveExec {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("InteractiveExec").field("id", &self.id).finish_non_exhaustive()
    }
}

/// Something happened to a container of the deployment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EngineEvent {
    /// Which.
    pub id: ContainerId,
    /// `start`, `die`, `oom`, `health_status: healthy`, `destroy`, ...
    pub action: String,
    /// Exit code for `die`.
    pub exit_code: Option<i64>,
    /// Nanoseconds since the epoch.
    pub time_nanos: i64,
}

/// One image build, through BuildKit.
#[derive(Clone, Debug)]
pub struct BuildRequest {
    /// Tag(s) to give, e.g. `mastic/keystone:2026.1`.
    pub tags: Vec<String>,
    /// The context as a tar archive, Dockerfile included.
    pub context: Bytes,
    /// Path of the Dockerfile in the context.
    pub dockerfile: String,
    /// Build arguments. Never a secret.
    pub args: BTreeMap<String, String>,
    /// Labels.
    pub labels: BTreeMap<String, String>,
    /// Network mode of `RUN` (`host` where the bridge has no way out).
    pub network: Option<String>,
    /// Forget cached layers.
    pub no_cache: bool,
}

/// What a build tells while it runs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum BuildEvent {
    /// A vertex began, ended, or was cached: its name as BuildKit gives it.
    Vertex {
        /// BuildKit's digest of the vertex.
        digest: String,
        /// e.g. `[stage 2/5] RUN ...`.
        name: String,
        /// Ended.
        completed: bool,
        /// Taken from the cache.
        cached: bool,
        /// Why it failed.
        error: Option<String>,
    },
    /// Output of a vertex.
    Log {
        /// Which vertex.
        digest: String,
        /// Raw bytes.
        bytes: Bytes,
    },
    /// The image is there.
    Done(ImageId),
}

/// How far a pull or a push is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PullProgress {
    /// Layer id.
    pub layer: String,
    /// e.g. `Downloading`.
    pub status: String,
    /// Done and total bytes.
    pub bytes: Option<(u64, u64)>,
}

/// Connects to an engine as a profile names it: `engine`, and `tls` for another machine.
pub async fn connect(engine: &str, tls: Option<&str>) -> EngineResult<std::sync::Arc<dyn Engine>> {
    let endpoint = endpoint::Endpoint::parse(engine, tls).map_err(|error| EngineError {
        operation: "connect".to_owned(),
        endpoint: engine.to_owned(),
        kind: EngineErrorKind::BadRequest,
        message: error.to_string(),
    })?;
    Ok(std::sync::Arc::new(docker::DockerEngine::connect(&endpoint).await?))
}

/// What we ask of a container engine.
///
/// Every method names the container, image or volume in its error's `operation`.
#[async_trait]
pub trait Engine: Send + Sync + Debug {
    /// Returns the endpoint as the profile gives it, for messages.
    fn endpoint(&self) -> &str;

    /// Says what the engine is; the cheapest proof that it answers.
    async fn info(&self) -> EngineResult<EngineInfo>;

    /// Lists this deployment's containers in any state, by name, each inspected.
    async fn containers(&self, deployment: &DeploymentName) -> EngineResult<Vec<ObservedContainer>>;
    /// Inspects one container by id or name.
    async fn container(&self, id: &str) -> EngineResult<ObservedContainer>;
    /// Creates a container; a taken name is [`EngineErrorKind::Conflict`], a missing image `NotFound`.
    async fn create(&self, request: &CreateRequest<'_>) -> EngineResult<ContainerId>;
    /// Unpacks a tar archive at `/` of a container, running or not; owners and modes are kept.
    async fn upload(&self, id: &ContainerId, archive: Bytes) -> EngineResult<()>;
    /// Packs a path of a container, running or not, as a tar archive.
    async fn download(&self, id: &ContainerId, path: &str) -> EngineResult<Bytes>;
    /// Starts it; already running is not an error.
    async fn start(&self, id: &ContainerId) -> EngineResult<()>;
    /// Sends its stop signal, waits `grace`, then kills; not running is not an error.
    async fn stop(&self, id: &ContainerId, grace: Duration) -> EngineResult<()>;
    /// Stops the clock of its processes where they are: they keep their memory and their connections and use no processor. Frozen or
    /// ended already is not an error.
    async fn freeze(&self, id: &ContainerId) -> EngineResult<()>;
    /// Lets frozen processes go on; running already is not an error.
    async fn thaw(&self, id: &ContainerId) -> EngineResult<()>;
    /// Says whether the engine starts it by itself: after its end, and when the machine comes up.
    async fn restarts(&self, id: &ContainerId, by_itself: bool) -> EngineResult<()>;
    /// Sends a signal.
    async fn kill(&self, id: &ContainerId, signal: &str) -> EngineResult<()>;
    /// Removes it with its anonymous volumes; `force` kills it first. Already gone is not an error.
    async fn remove(&self, id: &ContainerId, force: bool) -> EngineResult<()>;
    /// Waits until it is not running, and returns its exit code.
    async fn wait(&self, id: &ContainerId) -> EngineResult<i64>;
    /// Runs a program in it to its end.
    async fn exec(&self, id: &ContainerId, request: &ExecRequest) -> EngineResult<ExecOutcome>;
    /// Runs a program in it with streams attached.
    async fn exec_interactive(
        &self,
        id: &ContainerId,
        request: &ExecRequest,
        tty: bool,
    ) -> EngineResult<InteractiveExec>;
    /// Tells the terminal's size.
    async fn exec_resize(&self, exec: &str, rows: u16, columns: u16) -> EngineResult<()>;
    /// Returns the exit code of an ended exec.
    async fn exec_exit_code(&self, exec: &str) -> EngineResult<i64>;
    /// Reads its log.
    fn logs(&self, id: &ContainerId, options: &LogOptions) -> BoxStream<'static, EngineResult<OutputChunk>>;
    /// Follows what happens to this deployment's containers from this call on. Events are hints: look once more after
    /// the stream has begun, since an engine's clock may differ from ours.
    fn events(&self, deployment: &DeploymentName) -> BoxStream<'static, EngineResult<EngineEvent>>;
    /// Returns current memory use in bytes by container id, for running containers.
    async fn memory(&self, id: &ContainerId) -> EngineResult<u64>;

    /// Lists this deployment's volumes, by name.
    async fn volumes(&self, deployment: &DeploymentName) -> EngineResult<Vec<ObservedVolume>>;
    /// Creates a volume, or returns the one of that name.
    async fn create_volume(&self, name: &str, labels: &BTreeMap<String, String>) -> EngineResult<()>;
    /// Removes a volume; in use is a conflict, already gone is not an error.
    async fn remove_volume(&self, name: &str) -> EngineResult<()>;

    /// Lists all images.
    async fn images(&self) -> EngineResult<Vec<ObservedImage>>;
    /// Lists the ids of all images: cheaper than looking at each.
    async fn image_ids(&self) -> EngineResult<Vec<ImageId>> {
        Ok(self.images().await?.into_iter().map(|image| image.id).collect())
    }
    /// Inspects an image by id or reference; `None` when there is none.
    async fn image(&self, reference: &str) -> EngineResult<Option<ObservedImage>>;
    /// Pulls an image from its registry.
    fn pull(&self, reference: &str) -> BoxStream<'static, EngineResult<PullProgress>>;
    /// Pushes an image to the registry that its reference names.
    fn push(&self, reference: &str) -> BoxStream<'static, EngineResult<PullProgress>>;
    /// Returns the bytes of each layer of an image, bottom first, in the order of [`ObservedImage::layers`].
    async fn layer_sizes(&self, image: &ObservedImage) -> EngineResult<Vec<u64>>;
    /// Makes an image from a root file system.
    async fn import_image(
        &self,
        reference: &str,
        root: BoxStream<'static, Result<Bytes, std::io::Error>>,
        labels: &BTreeMap<String, String>,
    ) -> EngineResult<ImageId>;
    /// Gives an image another name.
    async fn tag(&self, image: &str, reference: &str) -> EngineResult<()>;
    /// Removes a tag, and the image with its last one; already gone is not an error.
    async fn remove_image(&self, reference: &str) -> EngineResult<()>;
    /// Builds an image. The stream ends with [`BuildEvent::Done`] or an error.
    fn build(&self, request: BuildRequest) -> BoxStream<'static, EngineResult<BuildEvent>>;
    /// Connection-level reachability for tests and bootstrap: a ping with a deadline.
    async fn ping(&self, deadline: Duration) -> EngineResult<()>;
}
