//! One service.yaml by itself.

use std::collections::{BTreeMap, BTreeSet};

use super::words::{CAPABILITIES, TARGETS};
use crate::model::words::nearest;
use crate::model::{ContainerName, ServiceName};
use crate::profile::container::{Bind, File, PrivilegesDocument, Tmpfs, Volume};
use crate::profile::diagnostic::{Diagnostic, listed};
use crate::profile::library::{Library, TEMPLATES};
use crate::profile::source::{Source, Span};
use crate::profile::tree::Doc;
use crate::profile::{Loaded, Service, TLS_SECRETS};

type Out<'a> = &'a mut Vec<Diagnostic>;

/// Checks everything that needs no other service.
pub(in crate::profile) fn check(loaded: &Loaded, library: &Library, out: Out<'_>) {
    let Loaded { service, doc } = loaded;
    let mut used_templates = BTreeSet::new();
    for (name, container) in &service.containers {
        let place = ["containers", name.as_str()];
        let sub = |rest: &str| [place[0], place[1], rest].map(str::to_owned).to_vec();
        user(loaded, &container.user, &sub("user"), Some(&container.privileges), out);
        files(loaded, library, &container.files, &sub("files"), &mut used_templates, out);
        mounts(loaded, &place, &container.volumes, &container.binds, &container.tmpfs, &container.files, out);
        privileges(doc, &container.privileges, &sub("privileges"), out);
        check_targets(doc, container.check.as_ref().map(|c| c.targets.as_slice()), &sub("check"), out);
        environment(doc, &container.environment, &sub("environment"), out);
        let leaves = container.privileges.host_pid.is_some()
            && container.binds.iter().any(|bind| bind.path == "/sys/fs/cgroup");
        if container.leaves.is_some() && !leaves {
            out.push(
                doc.wrong_key(
                    "leaves-nothing",
                    &[place[0], place[1], "leaves"],
                    format!("nothing that `{name}` starts can live on after it"),
                )
                .help("it needs `privileges: {host_pid: ...}`, and `/sys/fs/cgroup` in `binds`"),
            );
        }
        if service.tasks.contains_key(name) {
            out.push(
                doc.wrong_key(
                    "name-twice",
                    &["tasks", name.as_str()],
                    format!("`{name}` is a container already"),
                )
                .help("containers and tasks share one set of names"),
            );
        }
    }
    for (name, task) in &service.tasks {
        let place = ["tasks", name.as_str()];
        let sub = |rest: &str| [place[0], place[1], rest].map(str::to_owned).to_vec();
        let like = task.like.as_ref().and_then(|like| service.containers.get(like));
        if let Some(name) = task.like.as_ref().filter(|_| like.is_none()) {
            unknown_container(service, doc, name, &sub("like"), out);
        }
        if task.like.is_none() {
            for (key, given) in
                [("set", task.set.is_some()), ("image", task.image.is_some()), ("user", task.user.is_some())]
            {
                if !given {
                    out.push(
                        doc.wrong_key(
                            "missing-key",
                            &place,
                            format!("`{name}` has neither `like` nor `{key}`"),
                        )
                        .help(format!("add `like:` with a container of this service, or `{key}:`")),
                    );
                }
            }
        }
        let granted = task.privileges.as_ref().or(like.map(|like| &like.privileges));
        if let Some(name) = &task.user {
            user(loaded, name, &sub("user"), granted, out);
        }
        let own_files = task.files.as_deref().unwrap_or_default();
        files(loaded, library, own_files, &sub("files"), &mut used_templates, out);
        files(loaded, library, &task.more_files, &sub("more_files"), &mut used_templates, out);
        let all_files: Vec<File> = match (&task.files, like) {
            (None, Some(like)) => like.files.iter().chain(&task.more_files).cloned().collect(),
            (_, _) => own_files.iter().chain(&task.more_files).cloned().collect(),
        };
        mounts(
            loaded,
            &place,
            task.volumes.as_deref().unwrap_or_default(),
            task.binds.as_deref().unwrap_or_default(),
            task.tmpfs.as_deref().unwrap_or_default(),
            &all_files,
            out,
        );
        if let Some(granted) = &task.privileges {
            privileges(doc, granted, &sub("privileges"), out);
        }
        environment(doc, &task.environment, &sub("environment"), out);
        for (index, other) in task.before.iter().flatten().enumerate() {
            if !service.containers.contains_key(other) {
                let mut path = sub("before");
                path.push(index.to_string());
                unknown_container(service, doc, other, &path, out);
            }
        }
        if task.command.is_empty() {
            out.push(doc.wrong_key(
                "no-command",
                &[place[0], place[1], "command"],
                format!("`{name}` has nothing to run"),
            ));
        }
    }
    needs(loaded, out);
    validate(loaded, out);
    unreferenced(service, library, &used_templates, out);
    accounts(loaded, out);
    for name in service.users.keys() {
        if name.is_empty() || !name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_') {
            out.push(doc.wrong_key(
                "bad-name",
                &["users", name],
                format!("`{name}` is not the name of a user"),
            ));
        }
    }
    for (index, other) in service.requires.iter().enumerate() {
        if *other == service.service {
            out.push(doc.wrong_value(
                "cycle",
                &["requires", &index.to_string()],
                format!("`{other}` requires itself"),
            ));
        }
    }
}

/// `needs` chooses among `requires` and `wants`.
fn needs(loaded: &Loaded, out: Out<'_>) {
    let Loaded { service, doc } = loaded;
    let containers = service.containers.iter().map(|(name, c)| ("containers", name, &c.needs));
    let tasks = service.tasks.iter().map(|(name, t)| ("tasks", name, &t.needs));
    let known = || service.requires.iter().chain(&service.wants);
    for (group, name, needs) in containers.chain(tasks) {
        for (index, other) in needs.iter().flatten().enumerate() {
            if !known().any(|one| one == other) {
                let place = [group, name.as_str(), "needs", &index.to_string()];
                out.push(
                    doc.wrong_value(
                        "unneeded",
                        &place,
                        format!("`{}` neither requires nor wants `{other}`", service.service),
                    )
                    .near(nearest(other.as_str(), known().map(ServiceName::as_str)), || {
                        Some("add it to `requires` or `wants`".to_owned())
                    }),
                );
            }
        }
    }
}

/// `validate` names templates that containers use, and gives reasons.
fn validate(loaded: &Loaded, out: Out<'_>) {
    let Loaded { service, doc } = loaded;
    let files = || service.containers.values().flat_map(|c| &c.files).filter_map(|f| f.template.as_deref());
    for (template, rules) in &service.validate {
        if !files().any(|name| name == template) {
            let known: BTreeSet<&str> = files().collect();
            out.push(
                doc.wrong_key(
                    "unknown-template",
                    &["validate", template],
                    format!("no container of `{}` has a file of the template `{template}`", service.service),
                )
                .near(nearest(template, known.iter().copied()), || {
                    Some(format!("there are {}", listed(known.iter().copied())))
                }),
            );
        }
        for (option, why) in &rules.except {
            let place = ["validate", template, "except", option];
            let named = option.strip_prefix('[').and_then(|rest| rest.split_once("] "));
            if named.is_none_or(|(section, key)| section.is_empty() || key.trim().is_empty()) {
                out.push(
                    doc.wrong_key("bad-format", &place, format!("`{option}` is not an option"))
                        .help("for example \"[database] connection\", or \"[app] *\" for all of a section"),
                );
            }
            reason(doc, why, &place, out);
        }
    }
}

fn refs(path: &[String]) -> Vec<&str> {
    path.iter().map(String::as_str).collect()
}

fn unknown_container(service: &Service, doc: &Doc, name: &ContainerName, path: &[String], out: Out<'_>) {
    let names = || service.containers.keys().map(ContainerName::as_str);
    out.push(
        doc.wrong_value("unknown-container", &refs(path), format!("this service has no container `{name}`"))
            .near(nearest(name.as_str(), names()), || {
                Some(format!("its containers are {}", listed(names())))
            }),
    );
}

/// Returns the numeric user and group of a name or `uid:gid`.
pub(in crate::profile) fn numeric(service: &Service, name: &str) -> Option<(u32, u32)> {
    if let Some((uid, gid)) = name.split_once(':') {
        return Some((uid.parse().ok()?, gid.parse().ok()?));
    }
    match service.users.get(name) {
        Some(text) => {
            text.split_once(':').and_then(|(uid, gid)| Some((uid.parse().ok()?, gid.parse().ok()?)))
        }
        None if name == "root" => Some((0, 0)),
        None => None,
    }
}

/// Returns the numeric owner and group of a file.
pub(in crate::profile) fn owner(service: &Service, text: &str) -> Option<(u32, u32)> {
    let (user, group) = text.split_once(':')?;
    let one = |name: &str, pick: fn((u32, u32)) -> u32| {
        name.parse().ok().or_else(|| numeric(service, name).map(pick))
    };
    Some((one(user, |ids| ids.0)?, one(group, |ids| ids.1)?))
}

fn user(loaded: &Loaded, name: &str, path: &[String], granted: Option<&PrivilegesDocument>, out: Out<'_>) {
    let Loaded { service, doc } = loaded;
    match numeric(service, name) {
        None => {
            let names = || service.users.keys().map(String::as_str).chain(["root"]);
            out.push(
                doc.wrong_value("unknown-user", &refs(path), format!("`{name}` is not in `users`"))
                    .near(nearest(name, names()), || {
                        Some("add it to `users:` with its uid:gid, or give the numbers".to_owned())
                    }),
            );
        }
        Some((0, _)) if granted.is_none_or(|p| p.root.is_none()) => out.push(
            doc.wrong_value("root-without-reason", &refs(path), "it runs as root, and no reason is given")
                .help("run it as a user of its own, or say why not: `privileges: {root: \"...\"}`"),
        ),
        Some(_) => {}
    }
}

fn files(
    loaded: &Loaded,
    library: &Library,
    files: &[File],
    path: &[String],
    used: &mut BTreeSet<String>,
    out: Out<'_>,
) {
    let Loaded { service, doc } = loaded;
    for (index, file) in files.iter().enumerate() {
        let index = index.to_string();
        let mut place = refs(path);
        place.push(&index);
        let at = |key: &'static str| place.iter().copied().chain([key]).collect::<Vec<_>>();
        match (&file.template, &file.content_secret) {
            (Some(template), None) => {
                used.insert(template.clone());
                if library.get(&format!("{TEMPLATES}{}/{template}", service.service)).is_none() {
                    let prefix = format!("{TEMPLATES}{}/", service.service);
                    let there: Vec<&str> = library
                        .under(&prefix)
                        .map(|(rest, _)| rest)
                        .filter(|n| *n != "service.yaml")
                        .collect();
                    out.push(
                        doc.wrong_value(
                            "unknown-template",
                            &at("template"),
                            format!("the folder `{prefix}` has no file `{template}`"),
                        )
                        .near(nearest(template, there.iter().copied()), || {
                            Some(format!("it has {}", listed(there.iter().copied())))
                        }),
                    );
                }
            }
            (None, Some(_)) => {
                if file.merge != crate::profile::container::Merge::None {
                    out.push(
                        doc.wrong_value(
                            "bad-merge",
                            &at("merge"),
                            "a file that is a secret takes no overrides",
                        )
                        .help("remove `merge`"),
                    );
                }
            }
            (Some(_), Some(_)) | (None, None) => out.push(
                doc.wrong_value(
                    "bad-file",
                    &place,
                    format!("`{}` must have one of `template` and `content_secret`", file.path),
                )
                .help("`template: FILE` is a file of this folder, `content_secret: NAME` a secret"),
            ),
        }
        if let Some(text) = file.owner.as_ref().filter(|text| owner(service, text).is_none()) {
            out.push(
                doc.wrong_value(
                    "unknown-user",
                    &at("owner"),
                    format!("`{text}` is not USER:GROUP with names of `users`"),
                )
                .help("for example `root:root`, or numbers such as `0:0`"),
            );
        }
    }
}

/// Checks that nothing lies on the same path twice.
fn mounts(
    loaded: &Loaded,
    place: &[&str; 2],
    volumes: &[Volume],
    binds: &[Bind],
    tmpfs: &[Tmpfs],
    files: &[File],
    out: Out<'_>,
) {
    let doc = &loaded.doc;
    let mut taken: BTreeSet<&str> = BTreeSet::new();
    let mut targets: Vec<(&str, &str, usize, &'static str)> = Vec::new();
    targets.extend(volumes.iter().enumerate().map(|(i, v)| (v.path.as_str(), "volumes", i, "path")));
    targets.extend(
        binds.iter().enumerate().map(|(i, b)| (b.target.as_deref().unwrap_or(&b.path), "binds", i, "path")),
    );
    targets.extend(tmpfs.iter().enumerate().map(|(i, t)| (t.path.as_str(), "tmpfs", i, "path")));
    // Files with conditions may take turns on one path.
    targets.extend(
        files
            .iter()
            .enumerate()
            .filter(|(_, f)| f.when.is_none())
            .map(|(i, f)| (f.path.as_str(), "files", i, "path")),
    );
    for (target, group, index, key) in targets {
        let path = [place[0], place[1], group, &index.to_string(), key].map(str::to_owned);
        if !taken.insert(target) {
            out.push(doc.wrong_value(
                "path-twice",
                &refs(&path),
                format!("`{target}` is used twice in `{}`", place[1]),
            ));
        } else if matches!(target, "/" | "/proc" | "/sys" | "/mastic-init") {
            out.push(doc.wrong_value(
                "bad-path",
                &refs(&path),
                format!("nothing may be put over `{target}`"),
            ));
        }
    }
    for (index, bind) in binds.iter().enumerate() {
        reason(doc, &bind.reason, &[place[0], place[1], "binds", &index.to_string(), "reason"], out);
    }
}

fn reason(doc: &Doc, text: &str, path: &[&str], out: Out<'_>) {
    if text.trim().is_empty() {
        out.push(
            doc.wrong_value("no-reason", path, "the reason is empty")
                .help("say in one line what does not work without it"),
        );
    }
}

fn privileges(doc: &Doc, granted: &PrivilegesDocument, path: &[String], out: Out<'_>) {
    let base = refs(path);
    let at = |rest: &[&'static str]| base.iter().copied().chain(rest.iter().copied()).collect::<Vec<_>>();
    for (name, why) in &granted.capabilities {
        let place: Vec<&str> = base.iter().copied().chain(["capabilities", name.as_str()]).collect();
        if !CAPABILITIES.contains(&name.as_str()) {
            let bare = name.to_uppercase();
            let bare = bare.strip_prefix("CAP_").unwrap_or(&bare);
            out.push(
                doc.wrong_key("unknown-capability", &place, format!("`{name}` is not a capability"))
                    .near(nearest(bare, CAPABILITIES), || {
                        Some("the names of capabilities(7), without `CAP_`".to_owned())
                    }),
            );
        }
        reason(doc, why, &place, out);
    }
    for (group, map) in [("security_opts", &granted.security_opts), ("devices", &granted.devices)] {
        for (name, why) in map {
            let place: Vec<&str> = base.iter().copied().chain([group, name.as_str()]).collect();
            if group == "devices" && !name.starts_with("/dev/") {
                out.push(doc.wrong_key(
                    "bad-device",
                    &place,
                    format!("`{name}` is not a device below /dev/"),
                ));
            }
            reason(doc, why, &place, out);
        }
    }
    for (key, why) in [
        ("root", &granted.root),
        ("new_privileges", &granted.new_privileges),
        ("host_pid", &granted.host_pid),
        ("host_ipc", &granted.host_ipc),
        ("host_cgroups", &granted.host_cgroups),
    ] {
        if let Some(why) = why {
            reason(doc, why, &at(&[key]), out);
        }
    }
}

fn check_targets(doc: &Doc, targets: Option<&[String]>, path: &[String], out: Out<'_>) {
    let Some(targets) = targets else { return };
    let mut place = refs(path);
    place.push("targets");
    if targets.is_empty() {
        out.push(
            doc.wrong_value("no-target", &place, "a check without a target proves nothing")
                .help("add one, or remove `check`"),
        );
    }
    for (index, target) in targets.iter().enumerate() {
        // What a template begins with is judged when it is rendered.
        if !target.starts_with("{{") && !TARGETS.iter().any(|kind| target.starts_with(kind)) {
            let index = index.to_string();
            let kind = target.split_once(':').map_or(target.as_str(), |(kind, _)| kind);
            let near = nearest(kind, TARGETS.iter().map(|t| t.trim_end_matches(['/', ':'])));
            let path: Vec<&str> = place.iter().copied().chain([index.as_str()]).collect();
            out.push(
                doc.wrong_value(
                    "bad-target",
                    &path,
                    format!("`{target}` is no kind of check that mastic-init knows"),
                )
                .near(near, || Some(format!("it knows {}", listed(TARGETS)))),
            );
        }
    }
}

fn environment(doc: &Doc, environment: &BTreeMap<String, String>, path: &[String], out: Out<'_>) {
    for name in environment.keys() {
        if name.is_empty()
            || name.starts_with(|c: char| c.is_ascii_digit())
            || !name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_')
        {
            let mut place = refs(path);
            place.push(name);
            out.push(doc.wrong_key(
                "bad-name",
                &place,
                format!("`{name}` is not the name of an environment variable"),
            ));
        }
    }
}

fn unreferenced(service: &Service, library: &Library, used: &BTreeSet<String>, out: Out<'_>) {
    let prefix = format!("{TEMPLATES}{}/", service.service);
    for (name, file) in library.under(&prefix) {
        if name != "service.yaml" && name != "README.md" && !used.contains(name) {
            let text = String::from_utf8_lossy(&file.bytes);
            let source = Source::new(file.origin.clone(), text);
            out.push(
                Diagnostic::new(
                    "unused-template",
                    &source,
                    Span::START,
                    format!("no file of `{}` uses the template `{name}`", service.service),
                )
                .near(None, || Some("name it in `files`, or remove it".to_owned())),
            );
        }
    }
}

/// Databases, proxy entries and identity: names within the service.
fn accounts(loaded: &Loaded, out: Out<'_>) {
    let Loaded { service, doc } = loaded;
    let secret = |name: &str, path: &[&str], out: &mut Vec<Diagnostic>| {
        let names = || service.secrets.keys().map(crate::model::name::SecretName::as_str);
        if !names().any(|known| known == name) && !TLS_SECRETS.contains(&name) {
            out.push(
                doc.wrong_value("unknown-secret", path, format!("this service declares no secret `{name}`"))
                    .near(nearest(name, names()), || {
                        Some(format!("add it under `secrets:`: `{name}: {{kind: password}}`"))
                    }),
            );
        }
    };
    for (index, database) in service.databases.iter().enumerate() {
        secret(database.password.as_str(), &["databases", &index.to_string(), "password"], out);
        for (key, text) in [("name", &database.name), ("user", &database.user)] {
            if text.is_empty() || !text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_') {
                out.push(
                    doc.wrong_value(
                        "bad-name",
                        &["databases", &index.to_string(), key],
                        format!("`{text}` is not a name of a database or account"),
                    )
                    .help("letters, digits and `_`"),
                );
            }
        }
    }
    for (index, proxy) in service.proxy.iter().enumerate() {
        let at = index.to_string();
        if !service.containers.contains_key(&proxy.backends) {
            unknown_container(
                service,
                doc,
                &proxy.backends,
                &["proxy", &at, "backends"].map(str::to_owned),
                out,
            );
        }
        let ports = || service.ports.keys().map(String::as_str);
        if !service.ports.contains_key(&proxy.backend_port) {
            out.push(
                doc.wrong_value(
                    "unknown-port",
                    &["proxy", &at, "backend_port"],
                    format!("this service has no port `{}`", proxy.backend_port),
                )
                .near(nearest(&proxy.backend_port, ports()), || {
                    Some(format!("its ports are {}", listed(ports())))
                }),
            );
        }
    }
    for (name, port) in &service.ports {
        if let Some(container) = port.container.as_ref().filter(|c| !service.containers.contains_key(*c)) {
            unknown_container(service, doc, container, &["ports", name, "container"].map(str::to_owned), out);
        }
    }
    for (index, user) in service.identity.users.iter().enumerate() {
        let index = index.to_string();
        secret(user.password.as_str(), &["identity", "users", &index, "password"], out);
        if user.project.is_some() && user.domain.is_some() {
            out.push(
                doc.wrong_key(
                    "project-and-domain",
                    &["identity", "users", &index, "domain"],
                    "a user has its roles on a project or on a domain, not on both",
                )
                .help("leave one of the two out"),
            );
        }
    }
    if let Some(access) = &service.identity.access {
        secret(access.password.as_str(), &["identity", "access", "password"], out);
    }
}
