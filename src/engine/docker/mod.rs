//! The real engine: Docker 20.10 and later, through bollard. This folder is the only place that names bollard.
//!
//! One method is one request. A request that is in flight when the engine restarts fails as `Unreachable`; the next one
//! connects again. Nothing polls: waits, logs and events are requests that the engine answers when there is something.

mod build;
mod connect;
mod containers;
mod errors;
mod exec;
mod images;
mod inspect;
mod spec;
mod streams;

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use bollard::Docker;
use bytes::Bytes;
use futures::stream::BoxStream;

use super::endpoint::Endpoint;
use super::{
    BuildEvent, BuildRequest, CreateRequest, Engine, EngineError, EngineErrorKind, EngineEvent, EngineInfo,
    EngineResult, ExecOutcome, ExecRequest, InteractiveExec, LogOptions, OutputChunk, PullProgress,
};
use crate::model::{ContainerId, DeploymentName, ImageId, ObservedContainer, ObservedImage, ObservedVolume};

/// Requests that a list makes at once to look at each of its items.
const AT_ONCE: usize = 16;

/// Time that a request may take whose answer comes only once all is done: imports, builds, removals of large volumes.
const LONG: Duration = Duration::from_hours(6);

/// A connected engine.
#[derive(Clone)]
pub struct DockerEngine {
    docker: Docker,
    endpoint: String,
    /// Names of containers that were created or seen: errors name a container as people know it.
    names: Arc<Mutex<HashMap<ContainerId, String>>>,
}

impl fmt::Debug for DockerEngine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DockerEngine").field("endpoint", &self.endpoint).finish_non_exhaustive()
    }
}

impl DockerEngine {
    /// Connects and agrees on the API version.
    pub async fn connect(endpoint: &Endpoint) -> EngineResult<Self> {
        Ok(Self {
            docker: connect::connect(endpoint).await?,
            endpoint: endpoint.to_string(),
            names: Arc::default(),
        })
    }

    /// Returns a function that gives an error its subject.
    fn failed(&self, operation: impl Into<String>) -> impl FnOnce(bollard::errors::Error) -> EngineError {
        let (operation, endpoint) = (operation.into(), self.endpoint.clone());
        move |error| errors::situate(&operation, &endpoint, &error)
    }

    fn error(&self, operation: &str, kind: EngineErrorKind, message: impl Into<String>) -> EngineError {
        EngineError {
            operation: operation.to_owned(),
            endpoint: self.endpoint.clone(),
            kind,
            message: message.into(),
        }
    }

    fn remember(&self, id: &ContainerId, name: &str) {
        self.names.lock().unwrap_or_else(PoisonError::into_inner).insert(id.clone(), name.to_owned());
    }

    /// Returns a container's name, or its short id where the name was never seen.
    fn name(&self, id: &ContainerId) -> String {
        let names = self.names.lock().unwrap_or_else(PoisonError::into_inner);
        names.get(id).map_or_else(|| id.short(), String::as_str).to_owned()
    }

    /// Returns the connection for a request that may take this long.
    fn patient(&self, limit: Duration) -> Docker {
        self.docker.clone().with_timeout(limit)
    }
}

/// Takes "it is not there" for an answer.
fn or_gone<T>(result: EngineResult<T>, gone: T) -> EngineResult<T> {
    match result {
        Err(error) if error.kind == EngineErrorKind::NotFound => Ok(gone),
        other => other,
    }
}

#[async_trait]
impl Engine for DockerEngine {
    fn endpoint(&self) -> &str {
        &self.endpoint
    }

    async fn info(&self) -> EngineResult<EngineInfo> {
        let info = self.docker.info().await.map_err(self.failed("ask for the engine's properties"))?;
        let version = self.docker.client_version();
        Ok(inspect::info(info, format!("{}.{}", version.major_version, version.minor_version)))
    }

    async fn containers(&self, deployment: &DeploymentName) -> EngineResult<Vec<ObservedContainer>> {
        self.list_containers(deployment).await
    }

    async fn container(&self, id: &str) -> EngineResult<ObservedContainer> {
        self.inspect_container(id).await
    }

    async fn create(&self, request: &CreateRequest<'_>) -> EngineResult<ContainerId> {
        self.create_container(request).await
    }

    async fn upload(&self, id: &ContainerId, archive: Bytes) -> EngineResult<()> {
        self.upload_archive(id, archive).await
    }

    async fn download(&self, id: &ContainerId, path: &str) -> EngineResult<Bytes> {
        self.download_archive(id, path).await
    }

    async fn start(&self, id: &ContainerId) -> EngineResult<()> {
        self.start_container(id).await
    }

    async fn stop(&self, id: &ContainerId, grace: Duration) -> EngineResult<()> {
        self.stop_container(id, grace).await
    }

    async fn freeze(&self, id: &ContainerId) -> EngineResult<()> {
        self.freeze_container(id).await
    }

    async fn thaw(&self, id: &ContainerId) -> EngineResult<()> {
        self.thaw_container(id).await
    }

    async fn restarts(&self, id: &ContainerId, by_itself: bool) -> EngineResult<()> {
        self.set_restarts(id, by_itself).await
    }

    async fn kill(&self, id: &ContainerId, signal: &str) -> EngineResult<()> {
        self.kill_container(id, signal).await
    }

    async fn remove(&self, id: &ContainerId, force: bool) -> EngineResult<()> {
        self.remove_container(id, force).await
    }

    async fn wait(&self, id: &ContainerId) -> EngineResult<i64> {
        self.wait_container(id, "not-running").await
    }

    async fn exec(&self, id: &ContainerId, request: &ExecRequest) -> EngineResult<ExecOutcome> {
        self.run_exec(id, request).await
    }

    async fn exec_interactive(
        &self,
        id: &ContainerId,
        request: &ExecRequest,
        tty: bool,
    ) -> EngineResult<InteractiveExec> {
        self.attach_exec(id, request, tty).await
    }

    async fn exec_resize(&self, exec: &str, rows: u16, columns: u16) -> EngineResult<()> {
        self.resize_exec(exec, rows, columns).await
    }

    async fn exec_exit_code(&self, exec: &str) -> EngineResult<i64> {
        self.exec_code(exec).await
    }

    fn logs(&self, id: &ContainerId, options: &LogOptions) -> BoxStream<'static, EngineResult<OutputChunk>> {
        self.read_log(id, options)
    }

    fn events(&self, deployment: &DeploymentName) -> BoxStream<'static, EngineResult<EngineEvent>> {
        self.follow_events(deployment)
    }

    async fn memory(&self, id: &ContainerId) -> EngineResult<u64> {
        self.memory_of(id).await
    }

    async fn volumes(&self, deployment: &DeploymentName) -> EngineResult<Vec<ObservedVolume>> {
        self.list_volumes(deployment).await
    }

    async fn create_volume(&self, name: &str, labels: &BTreeMap<String, String>) -> EngineResult<()> {
        self.make_volume(name, labels).await
    }

    async fn remove_volume(&self, name: &str) -> EngineResult<()> {
        let options = None::<bollard::query_parameters::RemoveVolumeOptions>;
        let operation = format!("remove volume {name}");
        or_gone(self.patient(LONG).remove_volume(name, options).await.map_err(self.failed(operation)), ())
    }

    async fn images(&self) -> EngineResult<Vec<ObservedImage>> {
        self.list_images().await
    }

    async fn image_ids(&self) -> EngineResult<Vec<ImageId>> {
        self.list_image_ids().await
    }

    async fn image(&self, reference: &str) -> EngineResult<Option<ObservedImage>> {
        self.inspect_image(reference).await
    }

    fn pull(&self, reference: &str) -> BoxStream<'static, EngineResult<PullProgress>> {
        self.pull_image(reference)
    }

    fn push(&self, reference: &str) -> BoxStream<'static, EngineResult<PullProgress>> {
        self.push_image(reference)
    }

    async fn layer_sizes(&self, image: &ObservedImage) -> EngineResult<Vec<u64>> {
        self.image_layer_sizes(image).await
    }

    async fn import_image(
        &self,
        reference: &str,
        root: BoxStream<'static, Result<Bytes, std::io::Error>>,
        labels: &BTreeMap<String, String>,
    ) -> EngineResult<ImageId> {
        self.import_root(reference, root, labels).await
    }

    async fn tag(&self, image: &str, reference: &str) -> EngineResult<()> {
        self.tag_image(image, reference).await
    }

    async fn remove_image(&self, reference: &str) -> EngineResult<()> {
        self.delete_image(reference).await
    }

    fn build(&self, request: BuildRequest) -> BoxStream<'static, EngineResult<BuildEvent>> {
        build::build(self.patient(LONG), self.endpoint.clone(), request)
    }

    async fn ping(&self, deadline: Duration) -> EngineResult<()> {
        let late = || self.error("ping", EngineErrorKind::Timeout, format!("no answer in {deadline:?}"));
        match tokio::time::timeout(deadline, self.docker.ping()).await {
            Ok(answer) => answer.map(|_| ()).map_err(self.failed("ping")),
            Err(_) => Err(late()),
        }
    }
}
