//! What runs where, after what: containers and tasks on hosts, and the order of sets.

use std::collections::{BTreeMap, BTreeSet};

use super::container::{Container, Placement, Task};
use super::diagnostic::Diagnostic;
use super::{Profile, context, validations};
use crate::model::{ContainerName, HostName, ImageName, ServiceName, SetName, TaskPhase};
use crate::template::{self, CONDITION_PREFIX, Functions};

/// Everything that has a slot.
#[derive(Clone, Debug, PartialEq, Default)]
pub(super) struct Layout {
    /// Sets in launch order.
    pub(super) sets: Vec<SetName>,
    /// Containers and tasks that have a host at all.
    pub(super) units: BTreeMap<ContainerName, Unit>,
}

/// One container or task.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Unit {
    pub(super) service: ServiceName,
    pub(super) set: SetName,
    pub(super) image: ImageName,
    /// In the order of the set.
    pub(super) hosts: Vec<HostName>,
    /// Phase, for a task.
    pub(super) phase: Option<TaskPhase>,
    /// What comes first, in units.
    pub(super) after: BTreeSet<ContainerName>,
    /// The containers whose config it reads, for a unit that no service.yaml has: see `validations`.
    pub(super) reads: BTreeSet<ContainerName>,
}

impl Unit {
    pub(super) fn is_task(&self) -> bool {
        self.phase.is_some()
    }
}

/// Phases whose tasks run on deploy, before the containers of their service. (`Validate` does, too, but before everything: that
/// is not a matter of who needs whom.)
pub(super) fn on_deploy(phase: TaskPhase) -> bool {
    match phase {
        TaskPhase::Bootstrap | TaskPhase::Expand => true,
        TaskPhase::Validate
        | TaskPhase::Check
        | TaskPhase::Contract
        | TaskPhase::OnlineMigrations
        | TaskPhase::Backup
        | TaskPhase::Rehearse
        | TaskPhase::Restore
        | TaskPhase::Copy
        | TaskPhase::StandIn
        | TaskPhase::Return
        | TaskPhase::Settle => false,
    }
}

/// Returns the set of a container with this default set, among those that list its service; `None` where that is not clear.
pub(super) fn choose_set<'a>(listing: &[&'a SetName], default: &SetName) -> Option<&'a SetName> {
    match listing {
        [only] => Some(only),
        several => several.iter().find(|set| **set == default).copied(),
    }
}

/// Places everything.
pub(super) fn layout(profile: &Profile, out: &mut Vec<Diagnostic>) -> Layout {
    let sets: Vec<SetName> = profile.doc.keys(&["sets"]).filter_map(|name| SetName::new(name).ok()).collect();
    let mut units = BTreeMap::new();
    for (name, loaded) in &profile.services {
        let listing: Vec<&SetName> = sets
            .iter()
            .filter(|set| profile.document.sets.get(*set).is_some_and(|s| s.services.contains(name)))
            .collect();
        let service = &loaded.service;
        for (unit, container) in &service.containers {
            let Some(set) = choose_set(&listing, &container.set) else { continue };
            place(profile, name, unit, set, Kind::Container(container), &mut units, out);
        }
        for (unit, task) in &service.tasks {
            let like = task.like.as_ref().and_then(|like| service.containers.get(like));
            let Some(default) = task.set.as_ref().or(like.map(|like| &like.set)) else { continue };
            let Some(set) = choose_set(&listing, default) else { continue };
            let Some(image) = task.image.as_ref().or(like.map(|like| &like.image)) else { continue };
            // A task goes with its model: what is not deployed needs no preparation.
            if task.like.as_ref().is_some_and(|like| !units.contains_key(like)) {
                continue;
            }
            place(profile, name, unit, set, Kind::Task(task, image), &mut units, out);
        }
    }
    for name in units.keys().cloned().collect::<Vec<_>>() {
        let after = after(profile, &name, &units);
        if let Some(unit) = units.get_mut(&name) {
            unit.after = after;
        }
    }
    cycles(profile, &units, out);
    validations::place(profile, &mut units, out);
    let sets = launch_order(&sets, &units);
    Layout { sets, units }
}

#[derive(Clone, Copy)]
enum Kind<'a> {
    Container(&'a Container),
    Task(&'a Task, &'a ImageName),
}

fn place(
    profile: &Profile,
    service: &ServiceName,
    name: &ContainerName,
    set: &SetName,
    kind: Kind<'_>,
    units: &mut BTreeMap<ContainerName, Unit>,
    out: &mut Vec<Diagnostic>,
) {
    if profile.document.skip.contains(name) {
        return;
    }
    let hosts = match profile.document.sets.get(set).and_then(|s| s.hosts.clone()) {
        Some(hosts) => hosts,
        None => profile.host_order(),
    };
    let (group, image, placement, when, phase) = match kind {
        Kind::Container(c) => ("containers", &c.image, c.hosts, &c.when, None),
        Kind::Task(t, image) => ("tasks", image, t.hosts, &t.when, Some(t.phase)),
    };
    let mut chosen = Vec::new();
    for host in hosts {
        if holds(profile, service, &host, when.as_deref(), &[group, name.as_str(), "when"], out) {
            chosen.push(host);
        }
    }
    match placement {
        Placement::All => {}
        Placement::First => chosen.truncate(1),
    }
    if chosen.is_empty() {
        return;
    }
    units.insert(
        name.clone(),
        Unit {
            service: service.clone(),
            set: set.clone(),
            image: image.clone(),
            hosts: chosen,
            phase,
            after: BTreeSet::new(),
            reads: BTreeSet::new(),
        },
    );
}

/// Evaluates a condition of a service.yaml on a host.
pub(super) fn holds(
    profile: &Profile,
    service: &ServiceName,
    host: &HostName,
    when: Option<&str>,
    path: &[&str],
    out: &mut Vec<Diagnostic>,
) -> bool {
    let Some(expression) = when else { return true };
    let functions = Functions {
        no_secrets: true,
        services: profile.services.keys().map(ToString::to_string).collect(),
        ..Functions::default()
    };
    match template::condition(expression, &context::basic(profile, host), &functions) {
        Ok(value) => value,
        Err(error) => {
            if let Some(loaded) = profile.services.get(service) {
                let mut diagnostic = loaded.doc.wrong_value(
                    "condition",
                    path,
                    format!("the condition does not work: {}", error.message),
                );
                if let (Some((_, column, length)), false) =
                    (error.place, diagnostic.source_line.contains(['"', '\'']))
                {
                    diagnostic.column += column.saturating_sub(CONDITION_PREFIX + 1);
                    diagnostic.length = length;
                }
                if !out.contains(&diagnostic) {
                    out.push(diagnostic);
                }
            }
            false
        }
    }
}

/// Returns the units that must be healthy, or done, before this one starts.
fn after(
    profile: &Profile,
    name: &ContainerName,
    units: &BTreeMap<ContainerName, Unit>,
) -> BTreeSet<ContainerName> {
    let Some(unit) = units.get(name) else { return BTreeSet::new() };
    let Some(loaded) = profile.services.get(&unit.service) else { return BTreeSet::new() };
    let service = &loaded.service;
    let explicit = |name: &ContainerName| {
        service.containers.get(name).map(|c| &c.after).or_else(|| service.tasks.get(name).map(|t| &t.after))
    };
    let mut after: BTreeSet<ContainerName> = explicit(name).into_iter().flatten().cloned().collect();
    let needs = service
        .containers
        .get(name)
        .map(|c| c.needs.as_ref())
        .or_else(|| service.tasks.get(name).map(|t| t.needs.as_ref()))
        .flatten();
    let waits_for_services = unit.phase.is_none_or(on_deploy);
    if waits_for_services {
        for (other, candidate) in units {
            let first = match needs {
                Some(needs) => needs.contains(&candidate.service),
                None => {
                    service.requires.contains(&candidate.service)
                        || service.wants.contains(&candidate.service)
                }
            };
            if first && candidate.phase.is_none_or(on_deploy) {
                after.insert(other.clone());
            }
        }
    }
    match unit.phase {
        None => {
            for (task_name, task) in &service.tasks {
                let before = match &task.before {
                    Some(list) => list.contains(name),
                    // What a task itself waits for cannot wait for the task.
                    None => on_deploy(task.phase) && !reaches(service, task_name, name),
                };
                if before {
                    after.insert(task_name.clone());
                }
            }
        }
        Some(TaskPhase::Contract | TaskPhase::OnlineMigrations) => {
            after.extend(service.containers.keys().cloned());
        }
        Some(
            TaskPhase::Validate
            | TaskPhase::Bootstrap
            | TaskPhase::Expand
            | TaskPhase::Check
            | TaskPhase::Backup
            | TaskPhase::Rehearse
            | TaskPhase::Restore
            | TaskPhase::Copy
            | TaskPhase::StandIn
            | TaskPhase::Return
            | TaskPhase::Settle,
        ) => {}
    }
    after.retain(|other| units.contains_key(other));
    after
}

/// Returns whether `from` comes after `to` by what service.yaml says outright.
fn reaches(service: &super::Service, from: &ContainerName, to: &ContainerName) -> bool {
    let mut seen = BTreeSet::new();
    let mut open = vec![from];
    while let Some(name) = open.pop() {
        let next = service
            .containers
            .get(name)
            .map(|c| &c.after)
            .or_else(|| service.tasks.get(name).map(|t| &t.after));
        for other in next.into_iter().flatten() {
            if other == to {
                return true;
            }
            if seen.insert(other) {
                open.push(other);
            }
        }
    }
    false
}

/// Reports a cycle as a path of names.
fn cycles(profile: &Profile, units: &BTreeMap<ContainerName, Unit>, out: &mut Vec<Diagnostic>) {
    let graph: BTreeMap<&ContainerName, BTreeSet<&ContainerName>> =
        units.iter().map(|(name, unit)| (name, unit.after.iter().collect())).collect();
    if let Some(cycle) = find_cycle(&graph) {
        let Some(first) = cycle.first().copied() else { return };
        let path: Vec<String> = cycle.iter().map(|name| format!("`{name}`")).collect();
        let message = format!("these wait for each other: {} -> `{first}`", path.join(" -> "));
        let Some((unit, loaded)) =
            units.get(first).and_then(|unit| Some((unit, profile.services.get(&unit.service)?)))
        else {
            return;
        };
        let group = if unit.is_task() { "tasks" } else { "containers" };
        out.push(
            loaded
                .doc
                .wrong_key("cycle", &[group, first.as_str()], message)
                .help("remove one of `after`, `before` or `requires` (an arrow means: comes after)"),
        );
    }
}

/// Finds one cycle; each node comes after the next.
pub(super) fn find_cycle<'a, T: Ord>(graph: &BTreeMap<&'a T, BTreeSet<&'a T>>) -> Option<Vec<&'a T>> {
    // Nodes that wait for nothing are taken away until none is left; what stays is in a cycle or behind one.
    let mut left: BTreeMap<&T, BTreeSet<&T>> = graph.clone();
    loop {
        let free: Vec<&T> = left
            .iter()
            .filter(|(_, after)| !after.iter().any(|other| left.contains_key(other)))
            .map(|(name, _)| *name)
            .collect();
        if free.is_empty() {
            break;
        }
        for name in free {
            left.remove(name);
        }
    }
    let mut path = vec![*left.keys().next()?];
    loop {
        let last = path.last()?;
        let next = *left.get(last)?.iter().find(|other| left.contains_key(*other))?;
        if let Some(start) = path.iter().position(|name| *name == next) {
            return Some(path.split_off(start));
        }
        path.push(next);
    }
}

/// Orders sets so that each comes after those that its members need. Where two need each other, the profile's order decides.
fn launch_order(sets: &[SetName], units: &BTreeMap<ContainerName, Unit>) -> Vec<SetName> {
    let mut needs: BTreeMap<&SetName, BTreeSet<&SetName>> =
        sets.iter().map(|set| (set, BTreeSet::new())).collect();
    for unit in units.values() {
        for other in unit.after.iter().filter_map(|name| units.get(name)) {
            if other.set != unit.set {
                needs.entry(&unit.set).or_default().insert(&other.set);
            }
        }
    }
    let mut left: Vec<&SetName> = sets.iter().collect();
    let mut order = Vec::new();
    while !left.is_empty() {
        let free = left
            .iter()
            .position(|set| needs.get(set).is_none_or(|needs| !needs.iter().any(|need| left.contains(need))))
            .unwrap_or(0);
        order.push(left.remove(free).clone());
    }
    order
}
