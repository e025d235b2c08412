//! One container or task on one host, as the engine is told.

use std::collections::BTreeMap;

use super::check::service::numeric;
use super::check::words::{size, target_problem};
use super::container::{
    Bind, Container, File, LimitsDocument, Merge, Network, PrivilegesDocument, Propagation, Task, Tmpfs,
    Volume,
};
use super::diagnostic::Diagnostic;
use super::files::{self, Room};
use super::service::ProxyMode;
use super::{BACKEND_PATH, CA_PATH, backend_secret};
use crate::model::spec::{Limits, MountSource, MountSpec, Privileges, StopSpec, is_own_cgroup};
use crate::model::{CheckSpec, ContainerSpec, Role, SecretName, Slot};
use crate::template;

/// Seconds a task has to end after TERM, when it is cancelled.
const TASK_GRACE: u32 = 30;

/// What a container and a task have in common, once a task has taken over what it is `like`.
struct Common<'a> {
    /// `containers` or `tasks`, for positions.
    group: &'static str,
    role: Role,
    init: &'a [String],
    leaves: Option<&'a str>,
    command: &'a [String],
    user: &'a str,
    working_dir: &'a str,
    environment: Vec<(&'a str, &'a str, Vec<String>)>,
    files: Vec<(File, Vec<String>)>,
    volumes: &'a [Volume],
    binds: &'a [Bind],
    binds_place: Vec<String>,
    tmpfs: &'a [Tmpfs],
    network: Network,
    privileges: &'a PrivilegesDocument,
    limits: &'a LimitsDocument,
    limits_place: Vec<String>,
    check: Option<&'a CheckSpec>,
    stop: StopSpec,
}

fn path(parts: &[&str]) -> Vec<String> {
    parts.iter().map(|part| (*part).to_owned()).collect()
}

fn placed(files: &[File], base: &[&str]) -> Vec<(File, Vec<String>)> {
    files
        .iter()
        .enumerate()
        .map(|(index, file)| (file.clone(), path(&[base, &[&index.to_string()]].concat())))
        .collect()
}

/// Resolves a container.
pub(super) fn container(
    room: &Room<'_>,
    container: &Container,
    out: &mut Vec<Diagnostic>,
) -> Option<ContainerSpec> {
    let name = room.name.as_str();
    let base = ["containers", name];
    let at = |key: &str| path(&[base[0], base[1], key]);
    let environment = |key: &str| path(&[base[0], base[1], "environment", key]);
    build(
        room,
        Common {
            group: "containers",
            role: Role::Service { cutover: container.cutover },
            init: &container.init,
            leaves: container.leaves.as_deref(),
            command: &container.command,
            user: &container.user,
            working_dir: &container.working_dir,
            environment: container
                .environment
                .iter()
                .map(|(k, v)| (k.as_str(), v.as_str(), environment(k)))
                .collect(),
            files: with_certificates(room, container, placed(&container.files, &[base[0], base[1], "files"])),
            volumes: &container.volumes,
            binds: &container.binds,
            binds_place: at("binds"),
            tmpfs: &container.tmpfs,
            network: container.network,
            privileges: &container.privileges,
            limits: &container.limits,
            limits_place: at("limits"),
            check: container.check.as_ref(),
            stop: StopSpec { signal: container.stop.signal.clone(), grace: container.stop.grace },
        },
        out,
    )
}

/// Adds what a container behind the proxy needs to speak TLS, and to have its health looked at over it.
fn with_certificates(
    room: &Room<'_>,
    container: &Container,
    mut files: Vec<(File, Vec<String>)>,
) -> Vec<(File, Vec<String>)> {
    let fronted =
        room.loaded.service.proxy.iter().any(|p| p.mode == ProxyMode::Http && p.backends == *room.name);
    if !fronted || !room.profile.document.backend.tls {
        return files;
    }
    let owner = numeric(&room.loaded.service, &container.user).map(|(uid, gid)| format!("{uid}:{gid}"));
    let wanted = [
        (CA_PATH, SecretName::new("tls_ca_cert").ok(), "0644", Some("0:0".to_owned())),
        (BACKEND_PATH, backend_secret(&room.unit.service), "0400", owner),
    ];
    for (path, secret, mode, owner) in wanted {
        if !files.iter().any(|(file, _)| file.path == path) {
            let file = File {
                path: path.to_owned(),
                template: None,
                content_secret: secret,
                owner,
                mode: mode.to_owned(),
                merge: Merge::None,
                when: None,
            };
            // Where the proxy entry stands is why the file is there.
            files.push((file, vec!["proxy".to_owned()]));
        }
    }
    files
}

/// Resolves a task with the container it is like.
pub(super) fn task(room: &Room<'_>, task: &Task, out: &mut Vec<Diagnostic>) -> Option<ContainerSpec> {
    let name = room.name.as_str();
    let like =
        task.like.as_ref().and_then(|like| Some((like.as_str(), room.loaded.service.containers.get(like)?)));
    // What the task gives itself stands under its own name; what it takes over, under the container's.
    let own = |key: &str| path(&["tasks", name, key]);
    let taken = |key: &str| path(&["containers", like.map_or(name, |(n, _)| n), key]);
    let mut environment: BTreeMap<&str, (&str, Vec<String>)> = BTreeMap::new();
    for (group, unit, map) in like.iter().map(|(n, c)| ("containers", *n, &c.environment)).chain([(
        "tasks",
        name,
        &task.environment,
    )]) {
        for (key, value) in map {
            environment.insert(key, (value, path(&[group, unit, "environment", key])));
        }
    }
    let mut files = match (&task.files, like) {
        (Some(files), _) => placed(files, &["tasks", name, "files"]),
        (None, Some((other, container))) => placed(&container.files, &["containers", other, "files"]),
        (None, None) => Vec::new(),
    };
    files.extend(placed(&task.more_files, &["tasks", name, "more_files"]));
    let (no_privileges, no_limits) = (PrivilegesDocument::default(), LimitsDocument::default());
    build(
        room,
        Common {
            group: "tasks",
            role: Role::Task { phase: task.phase, trigger: task.trigger, deadline: task.deadline },
            init: &task.init,
            leaves: None,
            command: &task.command,
            user: task.user.as_deref().or(like.map(|(_, c)| c.user.as_str()))?,
            working_dir: task
                .working_dir
                .as_deref()
                .or(like.map(|(_, c)| c.working_dir.as_str()))
                .unwrap_or(""),
            environment: environment.into_iter().map(|(key, (value, place))| (key, value, place)).collect(),
            files,
            volumes: task.volumes.as_deref().or(like.map(|(_, c)| c.volumes.as_slice())).unwrap_or_default(),
            binds: task.binds.as_deref().or(like.map(|(_, c)| c.binds.as_slice())).unwrap_or_default(),
            binds_place: if task.binds.is_some() { own("binds") } else { taken("binds") },
            tmpfs: task.tmpfs.as_deref().or(like.map(|(_, c)| c.tmpfs.as_slice())).unwrap_or_default(),
            network: task.network.or(like.map(|(_, c)| c.network)).unwrap_or_default(),
            privileges: task
                .privileges
                .as_ref()
                .or(like.map(|(_, c)| &c.privileges))
                .unwrap_or(&no_privileges),
            limits: task.limits.as_ref().or(like.map(|(_, c)| &c.limits)).unwrap_or(&no_limits),
            limits_place: if task.limits.is_some() { own("limits") } else { taken("limits") },
            check: None,
            stop: StopSpec { signal: "SIGTERM".to_owned(), grace: TASK_GRACE },
        },
        out,
    )
}

fn build(room: &Room<'_>, common: Common<'_>, out: &mut Vec<Diagnostic>) -> Option<ContainerSpec> {
    let name = room.name.as_str();
    let group = common.group;
    let image = room.inputs.images.get(&room.unit.image).cloned();
    if image.is_none() {
        out.push(
            room.loaded
                .doc
                .wrong_key(
                    "missing-image",
                    &[group, name, "image"],
                    format!("there is no image `{}` yet", room.profile.image_reference(&room.unit.image)),
                )
                .help("`mastic build` makes it"),
        );
    }
    let user = numeric(&room.loaded.service, common.user)?;
    let leaves = common.leaves.and_then(|cgroup| left_cgroup(room, cgroup, &[group, name, "leaves"], out));
    let mut text = |value: &str, place: Vec<String>| string(room, value, &place, out);
    let init_args = common
        .init
        .iter()
        .enumerate()
        .filter_map(|(index, argument)| text(argument, path(&[group, name, "init", &index.to_string()])))
        .collect();
    let command = common
        .command
        .iter()
        .enumerate()
        .filter_map(|(index, argument)| text(argument, path(&[group, name, "command", &index.to_string()])))
        .collect();
    let environment = common
        .environment
        .iter()
        .filter_map(|(key, value, place)| Some(((*key).to_owned(), text(value, place.clone())?)))
        .collect();
    let memory = match &common.limits.memory {
        None => 0,
        Some(memory) => {
            let place: Vec<String> =
                common.limits_place.iter().cloned().chain(["memory".to_owned()]).collect();
            let rendered = text(memory, place.clone())?;
            size(&rendered).or_else(|| {
                let place: Vec<&str> = place.iter().map(String::as_str).collect();
                out.push(
                    room.loaded
                        .doc
                        .wrong_value("bad-format", &place, format!("`{rendered}` is not a size"))
                        .help("bytes, or a number with k, m or g: 512m"),
                );
                None
            })?
        }
    };
    let mounts = mounts(room, &common, out);
    let check = common.check.and_then(|check| check_spec(room, check, out));
    let files = files::render(room, &common.files, user.1, out);
    let keys = |map: &BTreeMap<String, String>| map.keys().cloned().collect();
    let granted = common.privileges;
    Some(ContainerSpec {
        slot: Slot { host: room.host.clone(), container: room.name.clone() },
        service: room.unit.service.clone(),
        set: room.unit.set.clone(),
        role: common.role,
        image: image?,
        init_args,
        leaves,
        command,
        user,
        working_dir: common.working_dir.to_owned(),
        environment,
        files,
        mounts,
        host_network: common.network == Network::Host,
        privileges: Privileges {
            capabilities: keys(&granted.capabilities),
            new_privileges: granted.new_privileges.is_some(),
            security_opts: keys(&granted.security_opts),
            devices: keys(&granted.devices),
            host_pid: granted.host_pid.is_some(),
            host_ipc: granted.host_ipc.is_some(),
            host_cgroups: granted.host_cgroups.is_some(),
        },
        limits: Limits {
            memory,
            milli_cpus: common.limits.milli_cpus,
            pids: common.limits.pids,
            nofile: common.limits.nofile,
            cpu_shares: common.limits.cpu_shares,
        },
        check,
        stop: common.stop,
        after: std::collections::BTreeSet::new(),
    })
}

/// Renders a cgroup that may be ended.
fn left_cgroup(room: &Room<'_>, text: &str, place: &[&str], out: &mut Vec<Diagnostic>) -> Option<String> {
    let cgroup = string(room, text, &path(place), out)?;
    if !is_own_cgroup(&cgroup) {
        let doc = &room.loaded.doc;
        out.push(
            doc.wrong_value("bad-format", place, format!("`{cgroup}` is not a cgroup of Mastic's")).help(
                "all that is in it is ended: `mastic-...` or `mastic/...`, without `.`, `..` or empty parts",
            ),
        );
    }
    Some(cgroup)
}

/// Renders a string of service.yaml. Secrets are refused: it ends up where others can read it.
fn string(room: &Room<'_>, text: &str, place: &[String], out: &mut Vec<Diagnostic>) -> Option<String> {
    if !text.contains('{') {
        return Some(text.to_owned());
    }
    let mut functions = room.shared.functions(room.profile, &room.unit.service, room.inputs);
    functions.no_secrets = true;
    match template::render(text, room.values, &functions) {
        Ok(rendered) => Some(rendered.text),
        Err(error) => {
            let place: Vec<&str> = place.iter().map(String::as_str).collect();
            out.push(
                room.loaded
                    .doc
                    .wrong_value("template", &place, format!("the text does not render: {}", error.message))
                    .help(format!("rendered for `{}` on host `{}`", room.name, room.host)),
            );
            None
        }
    }
}

fn check_spec(room: &Room<'_>, check: &CheckSpec, out: &mut Vec<Diagnostic>) -> Option<CheckSpec> {
    let name = room.name.as_str();
    let mut targets = Vec::new();
    for (index, target) in check.targets.iter().enumerate() {
        let place = path(&["containers", name, "check", "targets", &index.to_string()]);
        let target = string(room, target, &place, out)?;
        if let Some(problem) = target_problem(&target) {
            let place: Vec<&str> = place.iter().map(String::as_str).collect();
            out.push(room.loaded.doc.wrong_value("bad-target", &place, format!("`{target}` {problem}")));
        }
        targets.push(target);
    }
    let host = match &check.host {
        Some(host) => Some(string(room, host, &path(&["containers", name, "check", "host"]), out)?),
        None => None,
    };
    // Our own authority's certificates are meant, where nothing else is said.
    let own = targets.iter().any(|target| target.starts_with("https://")).then(|| CA_PATH.to_owned());
    Some(CheckSpec { targets, host, ca: check.ca.clone().or(own), ..check.clone() })
}

fn mounts(room: &Room<'_>, common: &Common<'_>, out: &mut Vec<Diagnostic>) -> Vec<MountSpec> {
    let mut mounts: Vec<MountSpec> = common
        .volumes
        .iter()
        .map(|volume| MountSpec {
            source: MountSource::Volume(volume.name.clone()),
            target: volume.path.clone(),
            read_only: volume.read_only,
        })
        .collect();
    for (index, bind) in common.binds.iter().enumerate() {
        let place: Vec<String> =
            common.binds_place.iter().cloned().chain([index.to_string(), "path".to_owned()]).collect();
        let Some(source) = string(room, &bind.path, &place, out) else { continue };
        if !source.starts_with('/') {
            let place: Vec<&str> = place.iter().map(String::as_str).collect();
            out.push(room.loaded.doc.wrong_value(
                "bad-format",
                &place,
                format!("`{source}` is not an absolute path of the host"),
            ));
        }
        let propagation = bind.propagation.map(|propagation| match propagation {
            Propagation::Private => "private",
            Propagation::Rshared => "rshared",
            Propagation::Rslave => "rslave",
        });
        mounts.push(MountSpec {
            target: bind.target.clone().unwrap_or_else(|| source.clone()),
            source: MountSource::Bind { path: source, propagation: propagation.map(str::to_owned) },
            read_only: bind.read_only,
        });
    }
    mounts.extend(common.tmpfs.iter().map(|tmpfs| MountSpec {
        source: MountSource::Tmpfs { options: tmpfs.options.clone() },
        target: tmpfs.path.clone(),
        read_only: false,
    }));
    mounts.sort_by(|a, b| a.target.cmp(&b.target));
    mounts
}
