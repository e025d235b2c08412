//! Logs and events: requests that are answered bit by bit.

use bollard::query_parameters::{EventsOptions, LogsOptions};
use futures::StreamExt as _;
use futures::stream::BoxStream;

use super::{DockerEngine, errors, exec, inspect, spec};
use crate::engine::{EngineEvent, EngineResult, LogOptions, OutputChunk};
use crate::model::{ContainerId, DeploymentName, labels};

/// What happens to a container itself. Others (an exec for each health check, each uploaded archive) are noise, and
/// name argument vectors.
const ACTIONS: [&str; 14] = [
    "create",
    "start",
    "restart",
    "die",
    "oom",
    "kill",
    "stop",
    "health_status",
    "destroy",
    "pause",
    "unpause",
    "rename",
    "resize",
    "update",
];

impl DockerEngine {
    pub(super) fn read_log(
        &self,
        id: &ContainerId,
        options: &LogOptions,
    ) -> BoxStream<'static, EngineResult<OutputChunk>> {
        let seconds = |at: Option<i64>| at.and_then(|at| i32::try_from(at).ok()).unwrap_or_default();
        let query = LogsOptions {
            follow: options.follow,
            stdout: true,
            stderr: true,
            since: seconds(options.since),
            until: seconds(options.until),
            timestamps: options.timestamps,
            tail: options.tail.map_or_else(|| "all".to_owned(), |lines| lines.to_string()),
        };
        let operation = format!("read the log of container {}", self.name(id));
        let endpoint = self.endpoint.clone();
        self.docker
            .logs(&id.0, Some(query))
            .map(move |part| match part {
                Ok(part) => exec::chunk(part).map(Ok),
                Err(error) => Some(Err(errors::situate(&operation, &endpoint, &error))),
            })
            .filter_map(std::future::ready)
            .boxed()
    }

    pub(super) fn follow_events(
        &self,
        deployment: &DeploymentName,
    ) -> BoxStream<'static, EngineResult<EngineEvent>> {
        // "From now on" begins with this call, although the request leaves when the stream is polled first: the engine
        // keeps its last events. (Another machine's clock may be off by a little: events are hints, and whoever needs
        // certainty looks once more after subscribing.)
        let now = jiff::Timestamp::now();
        let ours = format!("{}={deployment}", labels::DEPLOYMENT);
        let filters = spec::filters(&[
            ("type", vec!["container".to_owned()]),
            ("label", vec![ours]),
            ("event", ACTIONS.map(str::to_owned).to_vec()),
        ]);
        let query = EventsOptions {
            since: Some(format!("{}.{:09}", now.as_second(), now.subsec_nanosecond())),
            until: None,
            filters: Some(filters),
        };
        let operation = format!("follow the events of {deployment}");
        let endpoint = self.endpoint.clone();
        self.docker
            .events(Some(query))
            .map(move |message| match message {
                Ok(message) => inspect::event(message).map(Ok),
                Err(error) => Some(Err(errors::situate(&operation, &endpoint, &error))),
            })
            .filter_map(std::future::ready)
            .boxed()
    }
}
