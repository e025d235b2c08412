//! From what the engine tells to our values. Pure.

use std::collections::BTreeMap;

use bollard::models::{
    ContainerInspectResponse, ContainerStateStatusEnum, ContainerStatsResponse, EventMessage,
    HealthStatusEnum, ImageInspect, SystemInfo,
};

use crate::engine::{EngineEvent, EngineInfo};
use crate::model::{ContainerId, ContainerState, Health, ImageId, Labels, ObservedContainer, ObservedImage};

pub(super) fn container(response: ContainerInspectResponse) -> ObservedContainer {
    let state = response.state.unwrap_or_default();
    let status = match state.status {
        Some(ContainerStateStatusEnum::RUNNING | ContainerStateStatusEnum::STOPPING) => {
            ContainerState::Running
        }
        Some(ContainerStateStatusEnum::PAUSED) => ContainerState::Paused,
        Some(ContainerStateStatusEnum::RESTARTING) => ContainerState::Restarting,
        Some(ContainerStateStatusEnum::REMOVING) => ContainerState::Removing,
        Some(ContainerStateStatusEnum::EXITED) => ContainerState::Exited,
        Some(ContainerStateStatusEnum::DEAD) => ContainerState::Dead,
        Some(ContainerStateStatusEnum::CREATED | ContainerStateStatusEnum::EMPTY) | None => {
            ContainerState::Created
        }
    };
    let seen = state.health.as_ref();
    let failed = seen.and_then(|health| health.failing_streak).unwrap_or_default() > 0;
    let health = match seen.and_then(|health| health.status) {
        Some(HealthStatusEnum::STARTING) => Health::Starting,
        // Where no check has failed it is merely not known: the engine says this of what it has frozen, and of what it has thawed until
        // the next check (moby's `Health.CloseMonitorChannel`).
        Some(HealthStatusEnum::UNHEALTHY) if !failed => Health::Starting,
        Some(HealthStatusEnum::HEALTHY) => Health::Healthy,
        Some(HealthStatusEnum::UNHEALTHY) => Health::Unhealthy,
        Some(HealthStatusEnum::NONE | HealthStatusEnum::EMPTY) | None => Health::None,
    };
    let ended = matches!(status, ContainerState::Exited | ContainerState::Dead | ContainerState::Restarting);
    let labels: BTreeMap<String, String> =
        response.config.and_then(|config| config.labels).unwrap_or_default().into_iter().collect();
    ObservedContainer {
        id: ContainerId(response.id.unwrap_or_default()),
        name: response.name.unwrap_or_default().trim_start_matches('/').to_owned(),
        slot_labels: Labels::parse(&labels),
        labels,
        state: status,
        health,
        exit_code: state.exit_code.filter(|_| ended),
        error: state.error.filter(|text| !text.is_empty()),
        oom_killed: state.oom_killed.unwrap_or_default(),
        restart_count: response.restart_count.and_then(|count| u64::try_from(count).ok()).unwrap_or_default(),
        image: ImageId(response.image.unwrap_or_default()),
        created_at: response.created.map(|at| rfc3339(at.unix_timestamp_nanos())).unwrap_or_default(),
        started_at: moment(state.started_at),
        finished_at: moment(state.finished_at),
    }
}

/// The engine writes the year 1 for never.
fn moment(text: Option<String>) -> String {
    text.filter(|text| !text.starts_with("0001-")).unwrap_or_default()
}

fn rfc3339(nanos: i128) -> String {
    jiff::Timestamp::from_nanosecond(nanos).map(|at| at.to_string()).unwrap_or_default()
}

pub(super) fn image(response: ImageInspect) -> ObservedImage {
    let labels = response.config.and_then(|config| config.labels).unwrap_or_default();
    let mut tags = response.repo_tags.unwrap_or_default();
    tags.retain(|tag| tag != "<none>:<none>");
    tags.sort();
    ObservedImage {
        id: ImageId(response.id.unwrap_or_default()),
        tags,
        labels: labels.into_iter().collect(),
        size: response.size.and_then(|size| u64::try_from(size).ok()).unwrap_or_default(),
        created_at: response.created.map(|at| rfc3339(at.unix_timestamp_nanos())).unwrap_or_default(),
        repo_digests: response.repo_digests.unwrap_or_default(),
        layers: response.root_fs.and_then(|root| root.layers).unwrap_or_default(),
    }
}

pub(super) fn event(message: EventMessage) -> Option<EngineEvent> {
    let actor = message.actor?;
    let attributes = actor.attributes.unwrap_or_default();
    Some(EngineEvent {
        id: ContainerId(actor.id?),
        action: message.action?,
        exit_code: attributes.get("exitCode").and_then(|code| code.parse().ok()),
        time_nanos: message.time_nano.unwrap_or_default(),
    })
}

/// Memory that its processes hold. Not the page cache: the kernel takes that back, and charges a file that many containers share to
/// whichever of them read it first. None where nothing runs.
pub(super) fn memory(response: &ContainerStatsResponse) -> Option<u64> {
    let memory = response.memory_stats.as_ref()?;
    let usage = memory.usage.filter(|usage| *usage > 0)?;
    // The first is what cgroup v1 calls it, the second v2. Files in memory (tmpfs) are in neither.
    let stat = |name: &str| -> u64 {
        let stats = memory.stats.as_ref();
        stats
            .and_then(|stats| stats.get(&format!("total_{name}")).or_else(|| stats.get(name)))
            .copied()
            .unwrap_or_default()
    };
    Some(usage.saturating_sub(stat("inactive_file") + stat("active_file")))
}

pub(super) fn info(response: SystemInfo, api_version: String) -> EngineInfo {
    let number = |value: Option<i64>| value.and_then(|value| u64::try_from(value).ok()).unwrap_or_default();
    let bounds = [
        ("memory", response.memory_limit),
        ("processes", response.pids_limit),
        ("CPU time", response.cpu_cfs_quota),
    ];
    EngineInfo {
        time: response.system_time.unwrap_or_default(),
        // An engine that does not say is taken to be able.
        unbounded: bounds
            .into_iter()
            .filter(|(_, can)| *can == Some(false))
            .map(|(what, _)| what.to_owned())
            .collect(),
        version: response.server_version.unwrap_or_default(),
        api_version,
        id: response.id.unwrap_or_default(),
        name: response.name.unwrap_or_default(),
        storage_driver: response.driver.unwrap_or_default(),
        cgroup_version: response.cgroup_version.map(|version| version.to_string()).unwrap_or_default(),
        cpus: number(response.ncpu),
        memory: number(response.mem_total),
        data_root: response.docker_root_dir.unwrap_or_default(),
        live_restore: response.live_restore_enabled.unwrap_or_default(),
        security_options: response.security_options.unwrap_or_default(),
        kernel: response.kernel_version.unwrap_or_default(),
    }
}
