//! Looks at config files before they are used: for each image of a service one task that no service.yaml has.
//!
//! The task holds the rendered files of all containers of its service and image on its host, and the program that compares
//! them with what the image lists (`images/python/lib/oslo-options`). It can read files and do nothing else: no network, no mount,
//! no privilege. That it comes before everything else is the plan's rule, not a matter of who waits for whom.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::json;

use super::container::File;
use super::diagnostic::Diagnostic;
use super::layout::Unit;
use super::{Inputs, Loaded, Profile};
use crate::model::spec::{Limits, Privileges, StopSpec, TaskTrigger};
use crate::model::{
    ContainerName, ContainerSpec, FileSpec, HostName, ImageName, Role, ServiceName, Slot, TaskPhase,
};

/// The program: also part of the images, which make their lists with it.
const PROGRAM: &str = include_str!("../../images/python/lib/oslo-options");
/// Where all of it lies.
const ROOM: &str = "/etc/mastic/validate";
/// Seconds: where the image brings no list, one is made, which loads the whole service.
const DEADLINE: u32 = 120;
/// A list that must be made takes most of this.
const MEMORY: u64 = 1 << 30;

/// Returns the files of a container that are looked at, with their templates.
fn files<'a>(loaded: &'a Loaded, container: &ContainerName) -> Vec<(&'a File, &'a str)> {
    let container = loaded.service.containers.get(container);
    container
        .into_iter()
        .flat_map(|container| &container.files)
        .filter_map(|file| Some((file, file.template.as_deref()?)))
        .filter(|(_, template)| loaded.service.validate.contains_key(*template))
        .collect()
}

/// Adds the units: one for each service and image, on every host that has such a container, in the set of the first of them.
pub(super) fn place(profile: &Profile, units: &mut BTreeMap<ContainerName, Unit>, out: &mut Vec<Diagnostic>) {
    for (service, loaded) in profile.services.iter().filter(|(_, l)| !l.service.validate.is_empty()) {
        let mut groups: BTreeMap<ImageName, Vec<(ContainerName, Unit)>> = BTreeMap::new();
        for (name, unit) in units.iter().filter(|(_, unit)| unit.service == *service && !unit.is_task()) {
            if !files(loaded, name).is_empty() {
                groups.entry(unit.image.clone()).or_default().push((name.clone(), unit.clone()));
            }
        }
        let alone = groups.len() == 1;
        for (image, readers) in groups {
            let name = task_name(service, &image, alone);
            let taken = |name: &ContainerName| {
                profile.services().any(|s| s.containers.contains_key(name) || s.tasks.contains_key(name))
            };
            let Some(name) = ContainerName::new(&name).ok().filter(|name| !taken(name)) else {
                out.push(
                    loaded
                        .doc
                        .wrong_key("name-twice", &["validate"], format!("`{name}` must be free for this"))
                        .help("give the container or task of that name another one"),
                );
                continue;
            };
            let Some(set) = readers.first().map(|(_, unit)| unit.set.clone()) else { continue };
            let on = |host: &HostName| readers.iter().any(|(_, unit)| unit.hosts.contains(host));
            let hosts = profile.host_order().into_iter().filter(on).collect();
            let unit = Unit {
                service: service.clone(),
                set,
                image,
                hosts,
                phase: Some(TaskPhase::Validate),
                after: BTreeSet::new(),
                reads: readers.into_iter().map(|(name, _)| name).collect(),
            };
            units.insert(name, unit);
        }
    }
}

/// `keystone-config`; for a second image of a service `nova-config-compute`.
fn task_name(service: &ServiceName, image: &ImageName, alone: bool) -> String {
    if alone || image.as_str() == service.as_str() {
        return format!("{service}-config");
    }
    let short = image.as_str().strip_prefix(&format!("{service}-")).unwrap_or(image.as_str());
    format!("{service}-config-{short}")
}

/// Adds the tasks of these units, once the containers that they look at are resolved.
pub(super) fn resolve(profile: &Profile, inputs: &Inputs, containers: &mut BTreeMap<Slot, ContainerSpec>) {
    for (name, unit) in profile.layout.units.iter().filter(|(_, unit)| !unit.reads.is_empty()) {
        let Some(loaded) = profile.services.get(&unit.service) else { continue };
        for host in &unit.hosts {
            let slot = Slot { host: host.clone(), container: name.clone() };
            if let Some(spec) = task(loaded, unit, slot.clone(), inputs, containers) {
                containers.insert(slot, spec);
            }
        }
    }
}

fn task(
    loaded: &Loaded,
    unit: &Unit,
    slot: Slot,
    inputs: &Inputs,
    containers: &BTreeMap<Slot, ContainerSpec>,
) -> Option<ContainerSpec> {
    let readers: Vec<&ContainerSpec> = unit
        .reads
        .iter()
        .filter_map(|container| {
            containers.get(&Slot { host: slot.host.clone(), container: container.clone() })
        })
        .collect();
    // The user of the first: the files of all are made readable for it.
    let user = readers.first()?.user;
    let mut found: Vec<FileSpec> = Vec::new();
    let mut entries = Vec::new();
    let mut seen = BTreeSet::new();
    for spec in readers {
        for (file, template) in files(loaded, spec.name()) {
            let Some(rendered) = spec.files.iter().find(|f| f.path == file.path) else { continue };
            // Most containers of a service have the same files.
            if !seen.insert((rendered.path.clone(), rendered.digest())) {
                continue;
            }
            let rules = loaded.service.validate.get(template).cloned().unwrap_or_default();
            let copy = format!("{ROOM}/{}{}", spec.name(), rendered.path);
            entries.push(json!({
                "file": copy,
                "container": spec.name(),
                "path": rendered.path,
                "like": rules.like,
                "except": rules.except.keys().collect::<Vec<_>>(),
            }));
            found.push(FileSpec { path: copy, uid: 0, gid: user.1, mode: 0o640, ..rendered.clone() });
        }
    }
    let ours = |path: String, content: String| FileSpec {
        path,
        uid: 0,
        gid: user.1,
        mode: 0o644,
        content: content.into_bytes(),
        origin: "Mastic".to_owned(),
        sensitive: false,
    };
    let manifest = format!("{ROOM}/files.json");
    let program = format!("{ROOM}/oslo-options");
    found.push(ours(program.clone(), PROGRAM.to_owned()));
    found.push(ours(manifest.clone(), format!("{:#}\n", json!(entries))));
    found.sort_by(|a, b| a.path.cmp(&b.path));
    Some(ContainerSpec {
        slot,
        service: unit.service.clone(),
        set: unit.set.clone(),
        role: Role::Task { phase: TaskPhase::Validate, trigger: TaskTrigger::Spec, deadline: DEADLINE },
        image: inputs.images.get(&unit.image).cloned()?,
        init_args: Vec::new(),
        leaves: None,
        command: vec!["python3".to_owned(), program, "check".to_owned(), manifest],
        user,
        working_dir: String::new(),
        environment: BTreeMap::new(),
        files: found,
        mounts: Vec::new(),
        host_network: false,
        privileges: Privileges::default(),
        limits: Limits { memory: MEMORY, ..Limits::default() },
        check: None,
        stop: StopSpec { signal: "SIGTERM".to_owned(), grace: 5 },
        after: BTreeSet::new(),
    })
}
