//! One image build through BuildKit, as a stream of our own events.
//!
//! BuildKit talks back over a session: bollard serves it while the stream is read, so dropping the stream cancels the
//! build. Each build has a session of its own, so several may run at once.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};

use bollard::Docker;
use bollard::models::{BuildInfo, BuildInfoAux};
use bollard::query_parameters::{
    BuildImageOptions, BuildImageOptionsBuilder, BuilderVersion, TagImageOptions,
};
use futures::StreamExt;
use futures::stream::{self, BoxStream};
use tokio::sync::mpsc;

use super::errors::situate;
use super::images::split_tag;
use crate::engine::{BuildEvent, BuildRequest, EngineError, EngineErrorKind, EngineResult};
use crate::model::ImageId;

/// Makes session names unique within the process.
static SESSIONS: AtomicU64 = AtomicU64::new(0);

/// Builds, tags, and ends with [`BuildEvent::Done`] or an error.
pub(super) fn build(
    docker: Docker,
    endpoint: String,
    request: BuildRequest,
) -> BoxStream<'static, EngineResult<BuildEvent>> {
    // The stream of bollard borrows its client: a task owns both, and ends when nobody listens any more.
    let (events, received) = mpsc::channel(256);
    let task = tokio::spawn(async move {
        tokio::select! {
            () = run(&docker, &endpoint, request, &events) => {}
            () = events.closed() => {}
        }
    });
    let guard = AbortOnDrop(task);
    stream::unfold((received, guard), |(mut received, guard)| async move {
        received.recv().await.map(|event| (event, (received, guard)))
    })
    .boxed()
}

/// Ends the build when the stream is dropped.
struct AbortOnDrop(tokio::task::JoinHandle<()>);

impl Drop for AbortOnDrop {
    fn drop(&mut self) {
        self.0.abort();
    }
}

type Events = mpsc::Sender<EngineResult<BuildEvent>>;

async fn run(docker: &Docker, endpoint: &str, request: BuildRequest, events: &Events) {
    let subject = request.tags.first().cloned().unwrap_or_else(|| "image".to_owned());
    let operation = format!("build {subject}");
    let result = drive(docker, endpoint, &operation, request, events).await;
    // Nobody listens any more when this fails.
    let _ = events.send(result.map(BuildEvent::Done)).await;
}

async fn drive(
    docker: &Docker,
    endpoint: &str,
    operation: &str,
    request: BuildRequest,
    events: &Events,
) -> EngineResult<ImageId> {
    let options = options(&request);
    let tags = request.tags;
    let mut stream = docker.build_image(options, None, Some(bollard::body_full(request.context)));
    let mut image = None;
    while let Some(info) = stream.next().await {
        let info = info.map_err(|error| situate(operation, endpoint, &error))?;
        for event in events_of(info, &mut image) {
            if events.send(Ok(event)).await.is_err() {
                break;
            }
        }
    }
    let image = image.ok_or_else(|| EngineError {
        operation: operation.to_owned(),
        endpoint: endpoint.to_owned(),
        kind: EngineErrorKind::Failed,
        message: "the build ended without an image".to_owned(),
    })?;
    for tag in tags.iter().skip(1) {
        let (repo, tag_name) = split_tag(tag);
        let options = TagImageOptions { repo: Some(repo), tag: Some(tag_name) };
        docker
            .tag_image(&image.0, Some(options))
            .await
            .map_err(|error| situate(&format!("tag {tag}"), endpoint, &error))?;
    }
    Ok(image)
}

fn options(request: &BuildRequest) -> BuildImageOptions {
    // Another machine's process may have the same number, on an engine that serves both.
    let now = jiff::Timestamp::now().as_nanosecond();
    let session = format!("mastic-{}-{now}-{}", std::process::id(), SESSIONS.fetch_add(1, Ordering::Relaxed));
    let map = |from: &std::collections::BTreeMap<String, String>| -> HashMap<String, String> {
        from.iter().map(|(k, v)| (k.clone(), v.clone())).collect()
    };
    let mut builder = BuildImageOptionsBuilder::new()
        .dockerfile(&request.dockerfile)
        .version(BuilderVersion::BuilderBuildKit)
        .session(&session)
        .nocache(request.no_cache)
        .buildargs(&map(&request.args))
        .labels(&map(&request.labels));
    if let Some(tag) = request.tags.first() {
        builder = builder.t(tag);
    }
    if let Some(network) = &request.network {
        builder = builder.networkmode(network);
    }
    builder.build()
}

/// Translates one message; the image's id comes in one of its own.
fn events_of(info: BuildInfo, image: &mut Option<ImageId>) -> Vec<BuildEvent> {
    match info.aux {
        Some(BuildInfoAux::Default(id)) => {
            if let Some(id) = id.id {
                *image = Some(ImageId(id));
            }
            Vec::new()
        }
        Some(BuildInfoAux::BuildKit(status)) => {
            let vertices = status.vertexes.into_iter().map(|vertex| BuildEvent::Vertex {
                digest: vertex.digest,
                name: vertex.name,
                completed: vertex.completed.is_some(),
                cached: vertex.cached,
                error: Some(vertex.error).filter(|e| !e.is_empty()),
            });
            let logs = status
                .logs
                .into_iter()
                .map(|log| BuildEvent::Log { digest: log.vertex, bytes: log.msg.into() });
            vertices.chain(logs).collect()
        }
        None => Vec::new(),
    }
}
