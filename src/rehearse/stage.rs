//! The containers of a rehearsal: made, started, listened to, removed.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use futures::StreamExt as _;

use super::{Place, RehearseError};
use crate::build::INIT_BINARY;
use crate::engine::{CreateRequest, Engine, EngineResult, ExecRequest, LogOptions, archive};
use crate::model::labels::{self, LabelRole};
use crate::model::{ContainerId, ContainerSpec, DeploymentName, Role, VolumeName};
use crate::schema::{self, Schema};

/// Lines of a failed container's log that are shown.
const TAIL: u64 = 40;

fn prefix(deployment: &DeploymentName) -> String {
    format!("{deployment}.rehearse-")
}

/// Removes what rehearsals have left: their containers, and the volumes of their copies. No other runs: it would hold the
/// deployment's lock.
pub async fn sweep(engine: &dyn Engine, deployment: &DeploymentName) -> EngineResult<()> {
    for container in engine.containers(deployment).await? {
        let role = container.labels.get(labels::ROLE).and_then(|role| LabelRole::parse(role));
        if role == Some(LabelRole::Tool) && container.name.starts_with(&prefix(deployment)) {
            engine.remove(&container.id, true).await?;
        }
    }
    for volume in engine.volumes(deployment).await?.iter().filter(|volume| volume.is_tool()) {
        engine.remove_volume(&volume.name).await?;
    }
    Ok(())
}

pub(super) struct Stage<'a> {
    place: &'a Place,
    /// One name is never used twice.
    process: u32,
}

impl<'a> Stage<'a> {
    pub(super) fn new(place: &'a Place) -> Self {
        Self { place, process: std::process::id() }
    }

    fn labels(&self) -> BTreeMap<String, String> {
        [
            (labels::DEPLOYMENT.to_owned(), self.place.deployment.to_string()),
            (labels::ROLE.to_owned(), LabelRole::Tool.as_str().to_owned()),
        ]
        .into()
    }

    pub(super) async fn make_volume(&self, volume: &VolumeName) -> EngineResult<()> {
        let mut labels = self.labels();
        labels.insert(labels::VOLUME.to_owned(), volume.to_string());
        let name = format!("{}_{volume}", self.place.deployment);
        self.place.engine.create_volume(&name, &labels).await
    }

    /// Makes a container with its config in it, alone or in the network of another, and starts it.
    async fn start(
        &self,
        spec: &ContainerSpec,
        beside: Option<&ContainerId>,
    ) -> Result<ContainerId, RehearseError> {
        if self.place.cancel.is_cancelled() {
            return Err(RehearseError::Interrupted);
        }
        let engine = self.place.engine.as_ref();
        let name = format!("{}{}-{}", prefix(&self.place.deployment), spec.slot.container, self.process);
        let request = CreateRequest::Spec {
            name: name.clone(),
            spec,
            deployment: &self.place.deployment,
            labels: self.labels(),
            beside: beside.cloned(),
        };
        let id = engine.create(&request).await?;
        let config = archive::config(&spec.files, INIT_BINARY).map_err(|e| RehearseError::Config(name, e))?;
        engine.upload(&id, config).await?;
        engine.start(&id).await?;
        Ok(id)
    }

    /// Runs a task to its end, and returns the seconds that it took. Where it fails, or is not done in its time, with its own words.
    pub(super) async fn once(
        &self,
        spec: &ContainerSpec,
        beside: Option<&ContainerId>,
    ) -> Result<f64, RehearseError> {
        let id = self.start(spec, beside).await?;
        let (engine, began) = (self.place.engine.as_ref(), Instant::now());
        let deadline = match spec.role {
            Role::Task { deadline, .. } => deadline,
            Role::Service { .. } => u32::MAX,
        };
        let name = &spec.slot.container;
        let limit = Duration::from_secs(deadline.into());
        let waited = tokio::select! {
            waited = tokio::time::timeout(limit, engine.wait(&id)) => waited,
            () = self.place.cancel.cancelled() => return Err(RehearseError::Interrupted),
        };
        let seconds = began.elapsed().as_secs_f64();
        let Ok(waited) = waited else {
            let tail = self.tail(&id).await;
            return Err(RehearseError::Copy(format!(
                "{name} was not done within {deadline} s, its deadline{tail}"
            )));
        };
        waited?;
        let there = engine.container(&id.0).await?;
        if there.exit_code != Some(0) || there.error.is_some() {
            let code = there.exit_code.map(|code| format!(" with code {code}")).unwrap_or_default();
            let memory = if there.oom_killed { ", killed for want of memory" } else { "" };
            let error = there.error.map(|error| format!(" ({error})")).unwrap_or_default();
            let said = self.place.redactor.redact(&error).into_owned();
            let tail = self.tail(&id).await;
            return Err(RehearseError::Copy(format!("{name} ended{code}{memory}{said}{tail}")));
        }
        engine.remove(&id, true).await?;
        Ok(seconds)
    }

    /// Starts the server of the copy.
    pub(super) async fn serve(&self, spec: &ContainerSpec) -> Result<ContainerId, RehearseError> {
        let mut serves = spec.clone();
        serves.command.push("serve".to_owned());
        self.start(&serves, None).await
    }

    /// Asks the server of the copy what it has; waits for it where it has only just begun.
    pub(super) async fn schema(
        &self,
        server: &ContainerId,
        spec: &ContainerSpec,
    ) -> Result<Schema, RehearseError> {
        let engine = self.place.engine.as_ref();
        let command = spec.command.iter().cloned().chain(["schema".to_owned()]).collect();
        let request = ExecRequest { command, ..ExecRequest::default() };
        let name = &spec.slot.container;
        let outcome = tokio::select! {
            outcome = engine.exec(server, &request) => outcome,
            ended = engine.wait(server) => {
                ended?;
                return Err(RehearseError::Copy(format!("{name} ended{}", self.tail(server).await)));
            }
            () = self.place.cancel.cancelled() => return Err(RehearseError::Interrupted),
        }?;
        if outcome.code != 0 {
            let said = self.place.redactor.redact_bytes(&outcome.stderr);
            let tail = self.tail(server).await;
            return Err(RehearseError::Copy(format!(
                "{name} does not say what it has: {}{tail}",
                said.trim()
            )));
        }
        Ok(schema::read(&String::from_utf8_lossy(&outcome.stdout))?)
    }

    /// Returns the last lines of a container's log, ready to be appended to a message.
    async fn tail(&self, id: &ContainerId) -> String {
        let options = LogOptions { tail: Some(TAIL), ..LogOptions::default() };
        let mut bytes = Vec::new();
        let mut chunks = self.place.engine.logs(id, &options);
        while let Some(Ok(chunk)) = chunks.next().await {
            bytes.extend_from_slice(&chunk.bytes);
        }
        let text = self.place.redactor.redact_bytes(&bytes);
        if text.trim().is_empty() {
            return "; its log is empty".to_owned();
        }
        let lines: Vec<String> = text.lines().map(|line| format!("  | {line}")).collect();
        format!("; its last lines:\n{}", lines.join("\n"))
    }
}
