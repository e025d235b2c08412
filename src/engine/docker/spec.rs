//! From our container spec to what the engine is told. Pure; nothing here is ever privileged.

use std::collections::{BTreeSet, HashMap};

use bollard::models::{
    ContainerCreateBody, DeviceMapping, HealthConfig, HostConfig, HostConfigCgroupnsModeEnum,
    HostConfigLogConfig, Mount, MountType, ResourcesUlimits, RestartPolicy, RestartPolicyNameEnum,
};

use crate::engine::CreateRequest;
use crate::model::spec::{INIT_PATH, Limits, MountSource, MountSpec, Privileges};
use crate::model::{CheckSpec, ContainerSpec};

/// Consecutive failures that make a container unhealthy.
const RETRIES: i64 = 3;
const SECOND: i64 = 1_000_000_000;

/// Returns the body of the create request.
pub(super) fn body(request: &CreateRequest<'_>) -> ContainerCreateBody {
    match request {
        CreateRequest::Spec { name: _, spec, deployment, labels, beside } => {
            let mut host_config = host_config(spec, deployment.as_str());
            if let Some(other) = beside {
                host_config.network_mode = Some(format!("container:{other}"));
            }
            ContainerCreateBody {
                labels: Some(labels.clone().into_iter().collect()),
                host_config: Some(host_config),
                ..of_spec(spec)
            }
        }
        CreateRequest::Inert { image, labels, volume, .. } => ContainerCreateBody {
            image: Some(image.clone()),
            // Never started, but the engine wants to know what it would run.
            cmd: Some(vec!["/inert".to_owned()]),
            labels: Some(labels.clone().into_iter().collect()),
            host_config: Some(HostConfig {
                network_mode: Some("none".to_owned()),
                mounts: volume.as_ref().map(|(volume, target)| vec![volume_mount(volume, target, false)]),
                ..HostConfig::default()
            }),
            ..ContainerCreateBody::default()
        },
    }
}

fn of_spec(spec: &ContainerSpec) -> ContainerCreateBody {
    let entrypoint = std::iter::once(INIT_PATH.to_owned())
        .chain(spec.init_args.iter().cloned())
        .chain(std::iter::once("--".to_owned()));
    ContainerCreateBody {
        image: Some(spec.image.id.0.clone()),
        entrypoint: Some(entrypoint.collect()),
        cmd: Some(spec.command.clone()),
        user: Some(format!("{}:{}", spec.user.0, spec.user.1)),
        working_dir: (!spec.working_dir.is_empty()).then(|| spec.working_dir.clone()),
        env: Some(spec.environment.iter().map(|(key, value)| format!("{key}={value}")).collect()),
        healthcheck: Some(spec.check.as_ref().map_or_else(no_check, check)),
        stop_signal: Some(spec.stop.signal.clone()),
        stop_timeout: Some(spec.stop.grace.into()),
        ..ContainerCreateBody::default()
    }
}

/// Turns off a check that the image may bring.
fn no_check() -> HealthConfig {
    HealthConfig { test: Some(vec!["NONE".to_owned()]), ..HealthConfig::default() }
}

fn check(check: &CheckSpec) -> HealthConfig {
    let seconds = |seconds: u32| Some(i64::from(seconds.max(1)) * SECOND);
    HealthConfig {
        test: Some(std::iter::once("CMD".to_owned()).chain(check.argv(None)).collect()),
        interval: seconds(check.interval),
        // The check gives up by itself; the engine's limit is for one that hangs all the same.
        timeout: seconds(check.timeout + 2),
        retries: Some(RETRIES),
        start_period: seconds(check.deadline),
        start_interval: None,
    }
}

/// Splits `systempaths=unconfined` off. It is a word of Docker's command line only: the engine takes an empty list of what is hidden
/// and what is read-only in `/proc` and `/sys`; no list is its own.
fn paths(security_opts: &BTreeSet<String>) -> (Vec<String>, Option<Vec<String>>) {
    let mut rest = security_opts.clone();
    let all = rest.remove("systempaths=unconfined");
    (rest.into_iter().collect(), all.then(Vec::new))
}

fn host_config(spec: &ContainerSpec, deployment: &str) -> HostConfig {
    let Privileges { capabilities, new_privileges, security_opts, devices, host_pid, host_ipc, host_cgroups } =
        &spec.privileges;
    let Limits { memory, milli_cpus, pids, nofile, cpu_shares } = &spec.limits;
    let number = |value: u64| (value > 0).then(|| i64::try_from(value).unwrap_or(i64::MAX));
    let no_new_privileges = (!new_privileges).then(|| "no-new-privileges".to_owned());
    let (security_opts, all_paths) = paths(security_opts);
    HostConfig {
        privileged: Some(false),
        network_mode: Some(if spec.host_network { "host" } else { "none" }.to_owned()),
        cap_drop: Some(vec!["ALL".to_owned()]),
        cap_add: Some(capabilities.iter().cloned().collect()),
        security_opt: Some(no_new_privileges.into_iter().chain(security_opts).collect()),
        masked_paths: all_paths.clone(),
        readonly_paths: all_paths,
        devices: Some(devices.iter().map(|device| self::device(device)).collect()),
        pid_mode: host_pid.then(|| "host".to_owned()),
        ipc_mode: host_ipc.then(|| "host".to_owned()),
        cgroupns_mode: host_cgroups.then_some(HostConfigCgroupnsModeEnum::HOST),
        memory: number(*memory),
        nano_cpus: number(milli_cpus.saturating_mul(1_000_000)),
        pids_limit: number(*pids),
        cpu_shares: number(*cpu_shares),
        ulimits: number(*nofile).map(|limit| {
            vec![ResourcesUlimits { name: Some("nofile".to_owned()), soft: Some(limit), hard: Some(limit) }]
        }),
        binds: Some(spec.mounts.iter().filter_map(bind).collect()),
        mounts: Some(spec.mounts.iter().filter_map(|mount| named(mount, deployment)).collect()),
        tmpfs: Some(spec.mounts.iter().filter_map(tmpfs).collect()),
        restart_policy: Some(restart_policy(!spec.is_task())),
        log_config: Some(HostConfigLogConfig {
            typ: Some("json-file".to_owned()),
            config: Some(
                [("max-size", "10m"), ("max-file", "3")]
                    .map(|(key, value)| (key.to_owned(), value.to_owned()))
                    .into(),
            ),
        }),
        ..HostConfig::default()
    }
}

/// `/dev/x`, `/dev/x:/dev/y` or `/dev/x:/dev/y:rwm`.
fn device(text: &str) -> DeviceMapping {
    let mut parts = text.splitn(3, ':');
    let host = parts.next().unwrap_or_default().to_owned();
    let inside = parts.next().map_or_else(|| host.clone(), str::to_owned);
    DeviceMapping {
        path_on_host: Some(host),
        path_in_container: Some(inside),
        cgroup_permissions: Some(parts.next().unwrap_or("rwm").to_owned()),
    }
}

/// Binds are written the old way since only that makes a missing directory on the host, and there is no other way to
/// make one: a host needs an engine and nothing else.
fn bind(mount: &MountSpec) -> Option<String> {
    let MountSource::Bind { path, propagation } = &mount.source else { return None };
    let access = if mount.read_only { "ro" } else { "rw" };
    let options = propagation.iter().fold(access.to_owned(), |options, more| format!("{options},{more}"));
    Some(format!("{path}:{}:{options}", mount.target))
}

fn named(mount: &MountSpec, deployment: &str) -> Option<Mount> {
    let MountSource::Volume(volume) = &mount.source else { return None };
    Some(volume_mount(&format!("{deployment}_{volume}"), &mount.target, mount.read_only))
}

fn volume_mount(volume: &str, target: &str, read_only: bool) -> Mount {
    Mount {
        typ: Some(MountType::VOLUME),
        source: Some(volume.to_owned()),
        target: Some(target.to_owned()),
        read_only: Some(read_only),
        ..Mount::default()
    }
}

fn tmpfs(mount: &MountSpec) -> Option<(String, String)> {
    let MountSource::Tmpfs { options } = &mount.source else { return None };
    let access = mount.read_only.then_some("ro");
    let options: Vec<&str> =
        access.into_iter().chain((!options.is_empty()).then_some(options.as_str())).collect();
    Some((mount.target.clone(), options.join(",")))
}

/// Filters of list calls and of the event stream.
pub(super) fn filters(pairs: &[(&str, Vec<String>)]) -> HashMap<String, Vec<String>> {
    pairs.iter().map(|(key, values)| ((*key).to_owned(), values.clone())).collect()
}

/// Returns the policy of a container that the engine starts by itself, or does not.
pub(super) fn restart_policy(by_itself: bool) -> RestartPolicy {
    let name = if by_itself { RestartPolicyNameEnum::UNLESS_STOPPED } else { RestartPolicyNameEnum::NO };
    RestartPolicy { name: Some(name), maximum_retry_count: None }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn system_paths_must_reach_the_engine_as_lists() {
        let options = ["label=type:spc_t", "systempaths=unconfined"].map(str::to_owned);
        let (rest, paths) = paths(&BTreeSet::from(options));
        assert_eq!((rest, paths), (vec!["label=type:spc_t".to_owned()], Some(Vec::new())));
        assert_eq!(super::paths(&BTreeSet::new()), (Vec::new(), None));
    }
}
