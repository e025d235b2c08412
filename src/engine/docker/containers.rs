//! Containers and volumes.

use std::collections::BTreeMap;
use std::time::Duration;

use bollard::errors::Error;
use bollard::models::{ContainerUpdateBody, VolumeCreateRequest};
use bollard::query_parameters::{
    CreateContainerOptions, DownloadFromContainerOptions, InspectContainerOptions, KillContainerOptions,
    ListContainersOptions, ListVolumesOptions, RemoveContainerOptions, StartContainerOptions, StatsOptions,
    StopContainerOptions, UploadToContainerOptions, WaitContainerOptions,
};
use bytes::{Bytes, BytesMut};
use futures::{StreamExt as _, TryStreamExt as _, stream};

use super::{AT_ONCE, DockerEngine, LONG, inspect, or_gone, spec};
use crate::engine::{CreateRequest, EngineErrorKind, EngineResult};
use crate::model::{ContainerId, ContainerState, DeploymentName, ObservedContainer, ObservedVolume, labels};

/// What a stop may take beyond its grace, on a busy machine.
const MARGIN: Duration = Duration::from_mins(1);

impl DockerEngine {
    /// Lists, then looks at each. One that vanishes in between was not there.
    pub(super) async fn list_containers(
        &self,
        deployment: &DeploymentName,
    ) -> EngineResult<Vec<ObservedContainer>> {
        let ours = format!("{}={deployment}", labels::DEPLOYMENT);
        let options = ListContainersOptions {
            all: true,
            filters: Some(spec::filters(&[("label", vec![ours])])),
            ..ListContainersOptions::default()
        };
        let listed = self
            .docker
            .list_containers(Some(options))
            .await
            .map_err(self.failed(format!("list the containers of {deployment}")))?;
        let ids: Vec<String> = listed.into_iter().filter_map(|summary| summary.id).collect();
        let mut found: Vec<ObservedContainer> = stream::iter(ids)
            .map(async |id| or_gone(self.inspect_container(&id).await.map(Some), None))
            .buffer_unordered(AT_ONCE)
            .try_filter_map(async |found| Ok(found))
            .try_collect()
            .await?;
        found.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(found)
    }

    pub(super) async fn inspect_container(&self, id: &str) -> EngineResult<ObservedContainer> {
        let response = self
            .docker
            .inspect_container(id, None::<InspectContainerOptions>)
            .await
            .map_err(self.failed(format!("inspect container {id}")))?;
        let seen = inspect::container(response);
        self.remember(&seen.id, &seen.name);
        Ok(seen)
    }

    pub(super) async fn create_container(&self, request: &CreateRequest<'_>) -> EngineResult<ContainerId> {
        let (CreateRequest::Spec { name, .. } | CreateRequest::Inert { name, .. }) = request;
        let options =
            CreateContainerOptions { name: Some(name.clone()), ..CreateContainerOptions::default() };
        let created = self
            .docker
            .create_container(Some(options), spec::body(request))
            .await
            .map_err(self.failed(format!("create container {name}")))?;
        let id = ContainerId(created.id);
        self.remember(&id, name);
        Ok(id)
    }

    pub(super) async fn upload_archive(&self, id: &ContainerId, archive: Bytes) -> EngineResult<()> {
        let options = UploadToContainerOptions {
            path: "/".to_owned(),
            // A file must not silently replace a directory that the image has.
            no_overwrite_dir_non_dir: Some("true".to_owned()),
            copy_uidgid: None,
        };
        self.docker
            .upload_to_container(&id.0, Some(options), bollard::body_full(archive))
            .await
            .map_err(self.failed(format!("upload files into container {}", self.name(id))))
    }

    pub(super) async fn download_archive(&self, id: &ContainerId, path: &str) -> EngineResult<Bytes> {
        let options = DownloadFromContainerOptions { path: path.to_owned() };
        let operation = format!("download {path} from container {}", self.name(id));
        let archive = self.docker.download_from_container(&id.0, Some(options));
        let join = async |mut whole: BytesMut, part: Bytes| {
            whole.extend_from_slice(&part);
            Ok(whole)
        };
        archive.try_fold(BytesMut::new(), join).await.map(BytesMut::freeze).map_err(self.failed(operation))
    }

    pub(super) async fn start_container(&self, id: &ContainerId) -> EngineResult<()> {
        let operation = format!("start container {}", self.name(id));
        let started = self.docker.start_container(&id.0, None::<StartContainerOptions>).await;
        started.map_err(self.failed(operation)).map_err(|mut error| {
            // The runtime's failures come as 400 on some versions and as 500 on others: they are not our request's.
            if error.kind == EngineErrorKind::BadRequest {
                error.kind = EngineErrorKind::Failed;
            }
            error
        })
    }

    pub(super) async fn stop_container(&self, id: &ContainerId, grace: Duration) -> EngineResult<()> {
        let has_ended = |state: ContainerState| !state.is_live();
        let outcome = self.stop_once(id, grace).await;
        match self.unless(id, outcome, has_ended).await {
            // One that dies and comes back has no process at moments, and an engine that wants to stop it just then fails.
            Err(error) if refused(error.kind) => {
                let outcome = self.stop_once(id, grace).await;
                self.unless(id, outcome, has_ended).await
            }
            other => other,
        }
    }

    async fn stop_once(&self, id: &ContainerId, grace: Duration) -> EngineResult<()> {
        let seconds = i32::try_from(grace.as_secs()).unwrap_or(i32::MAX);
        let options = StopContainerOptions { t: Some(seconds), signal: None };
        self.patient(grace.saturating_add(MARGIN))
            .stop_container(&id.0, Some(options))
            .await
            .map_err(self.failed(format!("stop container {}", self.name(id))))
    }

    pub(super) async fn freeze_container(&self, id: &ContainerId) -> EngineResult<()> {
        let operation = format!("freeze container {}", self.name(id));
        let frozen = self.docker.pause_container(&id.0).await.map_err(self.failed(operation));
        self.unless(id, frozen, |state| matches!(state, ContainerState::Paused | ContainerState::Exited))
            .await
    }

    pub(super) async fn thaw_container(&self, id: &ContainerId) -> EngineResult<()> {
        let operation = format!("thaw container {}", self.name(id));
        let thawed = self.docker.unpause_container(&id.0).await.map_err(self.failed(operation));
        self.unless(id, thawed, |state| state == ContainerState::Running).await
    }

    /// A refusal is none where the container is already as it was asked to be: engines differ in what they call that.
    async fn unless(
        &self,
        id: &ContainerId,
        outcome: EngineResult<()>,
        fits: impl Fn(ContainerState) -> bool + Send,
    ) -> EngineResult<()> {
        match outcome {
            Err(error) if refused(error.kind) => {
                if fits(self.inspect_container(&id.0).await?.state) {
                    Ok(())
                } else {
                    Err(error)
                }
            }
            other => other,
        }
    }

    pub(super) async fn set_restarts(&self, id: &ContainerId, by_itself: bool) -> EngineResult<()> {
        let policy = spec::restart_policy(by_itself);
        let update = ContainerUpdateBody { restart_policy: Some(policy), ..ContainerUpdateBody::default() };
        self.docker
            .update_container(&id.0, update)
            .await
            .map_err(self.failed(format!("set the restart policy of container {}", self.name(id))))
    }

    pub(super) async fn kill_container(&self, id: &ContainerId, signal: &str) -> EngineResult<()> {
        let options = KillContainerOptions { signal: signal.to_owned() };
        self.docker
            .kill_container(&id.0, Some(options))
            .await
            .map_err(self.failed(format!("send {signal} to container {}", self.name(id))))
    }

    pub(super) async fn remove_container(&self, id: &ContainerId, force: bool) -> EngineResult<()> {
        let options = RemoveContainerOptions { v: true, force, link: false };
        let operation = format!("remove container {}", self.name(id));
        let removed = self.patient(LONG).remove_container(&id.0, Some(options)).await;
        match removed.map_err(self.failed(operation)) {
            // Somebody else's removal is under way: it is gone when that is done.
            Err(error) if error.message.contains("already in progress") => {
                or_gone(self.wait_container(id, "removed").await.map(|_| ()), ())
            }
            other => or_gone(other, ()),
        }
    }

    pub(super) async fn wait_container(&self, id: &ContainerId, condition: &str) -> EngineResult<i64> {
        let options = WaitContainerOptions { condition: condition.to_owned() };
        let operation = format!("wait for container {}", self.name(id));
        // The headers come at once, the body when it is over: no time limit is needed, nor would one be right.
        match self.docker.wait_container(&id.0, Some(options)).next().await {
            Some(Ok(response)) => Ok(response.status_code),
            // A code other than 0 is an answer, not an error.
            Some(Err(Error::DockerContainerWaitError { error, code })) if error.is_empty() => Ok(code),
            Some(Err(error)) => Err(self.failed(operation)(error)),
            None => Err(self.error(
                &operation,
                EngineErrorKind::Unreachable,
                "the connection broke while the container was running",
            )),
        }
    }

    pub(super) async fn memory_of(&self, id: &ContainerId) -> EngineResult<u64> {
        let operation = format!("ask for the memory of container {}", self.name(id));
        let options = StatsOptions { stream: false, one_shot: true };
        let stats = self.docker.stats(&id.0, Some(options)).next().await;
        let stats = stats.transpose().map_err(self.failed(operation.clone()))?;
        let not_running = || {
            self.error(
                &operation,
                EngineErrorKind::Conflict,
                format!("container {} is not running", self.name(id)),
            )
        };
        stats.as_ref().and_then(inspect::memory).ok_or_else(not_running)
    }

    pub(super) async fn list_volumes(
        &self,
        deployment: &DeploymentName,
    ) -> EngineResult<Vec<ObservedVolume>> {
        let ours = format!("{}={deployment}", labels::DEPLOYMENT);
        let options = ListVolumesOptions { filters: Some(spec::filters(&[("label", vec![ours])])) };
        let listed = self
            .docker
            .list_volumes(Some(options))
            .await
            .map_err(self.failed(format!("list the volumes of {deployment}")))?;
        let volumes = listed.volumes.unwrap_or_default().into_iter();
        let mut found: Vec<ObservedVolume> = volumes
            .map(|volume| ObservedVolume { name: volume.name, labels: volume.labels.into_iter().collect() })
            .collect();
        found.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(found)
    }

    pub(super) async fn make_volume(
        &self,
        name: &str,
        labels: &BTreeMap<String, String>,
    ) -> EngineResult<()> {
        let request = VolumeCreateRequest {
            name: Some(name.to_owned()),
            labels: Some(labels.clone().into_iter().collect()),
            ..VolumeCreateRequest::default()
        };
        let made = self.docker.create_volume(request).await;
        made.map(|_| ()).map_err(self.failed(format!("create volume {name}")))
    }
}

/// Whether an engine was there, and did not do it.
fn refused(kind: EngineErrorKind) -> bool {
    matches!(kind, EngineErrorKind::Conflict | EngineErrorKind::Failed)
}

#[cfg(test)]
mod tests {
    use std::io::{BufRead as _, BufReader, Write as _};
    use std::os::unix::net::UnixListener;
    use std::sync::{Arc, Mutex};

    use serde_json::json;

    use super::*;
    use crate::engine::endpoint::Endpoint;

    /// An engine with one container, of which each attempt to stop it has the next of these outcomes: the status, and how the
    /// container is afterwards. Counts the attempts.
    async fn engine(
        outcomes: &'static [(u16, &'static str)],
    ) -> (tempfile::TempDir, DockerEngine, Arc<Mutex<usize>>) {
        let folder = tempfile::tempdir().unwrap();
        let socket = folder.path().join("engine.sock");
        let listener = UnixListener::bind(&socket).unwrap();
        let attempts = Arc::new(Mutex::new(0));
        let counted = attempts.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let mut stream = BufReader::new(stream.unwrap());
                let (mut request, mut line) = (String::new(), String::new());
                stream.read_line(&mut request).unwrap();
                while stream.read_line(&mut line).unwrap() > 2 {
                    line.clear();
                }
                let mut attempts = counted.lock().unwrap();
                let (status, body) = if request.contains("/stop") {
                    *attempts += 1;
                    let status = outcomes[*attempts - 1].0;
                    (
                        status,
                        if status < 400 {
                            None
                        } else {
                            Some(json!({"message": "Container c is not running"}))
                        },
                    )
                } else if request.contains("/json") {
                    let state = json!({"Status": outcomes[*attempts - 1].1, "ExitCode": 137});
                    (200, Some(json!({"Id": "c", "Name": "/c", "State": state, "Config": {}})))
                } else {
                    (200, Some(json!({"ApiVersion": "1.41", "Version": "20.10.24"})))
                };
                let body = body.map(|body| body.to_string()).unwrap_or_default();
                let head = format!(
                    "HTTP/1.1 {status} x\r\nContent-Type: application/json\r\nConnection: close\r\nContent-Length: {}\r\n\r\n",
                    body.len()
                );
                stream.get_mut().write_all((head + &body).as_bytes()).unwrap();
            }
        });
        let endpoint = Endpoint::parse(&format!("unix://{}", socket.display()), None).unwrap();
        (folder, DockerEngine::connect(&endpoint).await.unwrap(), attempts)
    }

    #[tokio::test]
    async fn a_stop_that_fails_must_be_none_where_the_container_has_ended_and_else_be_tried_once_more() {
        let id = ContainerId("c".to_owned());
        for (outcomes, good, wanted) in [
            ([(204, "exited"), (500, "")].as_slice(), true, 1),
            (&[(500, "exited"), (500, "")], true, 1),
            (&[(500, "restarting"), (204, "exited")], true, 2),
            (&[(500, "restarting"), (500, "exited")], true, 2),
            (&[(500, "running"), (500, "running")], false, 2),
        ] {
            let (_folder, engine, attempts) = engine(outcomes).await;
            let outcome = engine.stop_container(&id, Duration::from_secs(1)).await;
            assert_eq!(outcome.is_ok(), good, "{outcomes:?}: {outcome:?}");
            assert_eq!(*attempts.lock().unwrap(), wanted, "{outcomes:?}");
        }
    }
}
