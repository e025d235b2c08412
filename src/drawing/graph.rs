//! What is drawn: boxes, and which comes after which.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;

use crate::model::{ContainerName, ContainerSpec, Desired, Role, SetName, TaskPhase};

/// What a box stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// A container set with its services.
    Set,
    /// A long-running container.
    Container,
    /// A one-shot task.
    Task,
}

/// One box.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Node {
    /// Its name.
    pub name: String,
    /// What for.
    pub kind: Kind,
    /// Its set.
    pub set: SetName,
    /// What is in it.
    pub lines: Vec<String>,
}

/// `to` comes after `from`; both are places in the list of boxes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Edge {
    /// What comes first.
    pub from: usize,
    /// What comes after it.
    pub to: usize,
}

/// Boxes in the order in which sets are launched, and arrows.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Graph {
    /// What it is of.
    pub title: String,
    /// Sets in the order in which they are launched.
    pub sets: Vec<SetName>,
    /// Boxes.
    pub nodes: Vec<Node>,
    /// Arrows that do not follow from others.
    pub edges: Vec<Edge>,
}

/// What is started on a deploy, by name: a container on several hosts is one.
fn units<'d>(
    desired: &'d Desired,
    only: &BTreeSet<SetName>,
) -> BTreeMap<&'d ContainerName, Vec<&'d ContainerSpec>> {
    let mut units: BTreeMap<&ContainerName, Vec<&ContainerSpec>> = BTreeMap::new();
    for spec in desired.containers.values() {
        // Looks at config come before everything: arrows from them would say nothing. Other phases belong to upgrades.
        let drawn = match &spec.role {
            Role::Service { .. } => true,
            Role::Task { phase, .. } => matches!(phase, TaskPhase::Bootstrap | TaskPhase::Expand),
        };
        if drawn && (only.is_empty() || only.contains(&spec.set)) {
            units.entry(spec.name()).or_default().push(spec);
        }
    }
    units
}

/// Draws sets with their services.
pub fn sets(desired: &Desired, only: &BTreeSet<SetName>) -> Graph {
    let units = units(desired, only);
    let mut services: BTreeMap<&SetName, BTreeMap<String, usize>> = BTreeMap::new();
    let mut found: BTreeSet<(&SetName, &SetName)> = BTreeSet::new();
    for spec in units.values().flatten() {
        let count = services.entry(&spec.set).or_default().entry(spec.service.to_string()).or_default();
        *count += usize::from(!spec.is_task());
        for first in spec.after.iter().filter_map(|slot| units.get(&slot.container)).flatten() {
            if first.set != spec.set {
                found.insert((&first.set, &spec.set));
            }
        }
    }
    let order: Vec<SetName> = desired.sets.iter().filter(|set| services.contains_key(set)).cloned().collect();
    let containers = |count: usize| match count {
        0 => "tasks".to_owned(),
        1 => "1 container".to_owned(),
        count => format!("{count} containers"),
    };
    let nodes = order
        .iter()
        .map(|set| Node {
            name: set.to_string(),
            kind: Kind::Set,
            set: set.clone(),
            lines: services
                .get(set)
                .into_iter()
                .flatten()
                .map(|(service, count)| format!("{service}  {}", containers(*count)))
                .collect(),
        })
        .collect();
    let index = |set: &SetName| order.iter().position(|one| one == set);
    let edges = found.into_iter().filter_map(|(from, to)| Some(Edge { from: index(from)?, to: index(to)? }));
    let title = format!("{}: sets and services", desired.deployment);
    Graph { title, edges: reduced(order.len(), edges.collect()), sets: order, nodes }
}

/// Draws containers and tasks.
pub fn containers(desired: &Desired, only: &BTreeSet<SetName>) -> Graph {
    let units = units(desired, only);
    let rank = |set: &SetName| desired.sets.iter().position(|one| one == set).unwrap_or(usize::MAX);
    let mut names: Vec<&ContainerName> = units.keys().copied().collect();
    names.sort_by_key(|name| {
        (units.get(*name).and_then(|specs| specs.first()).map(|s| rank(&s.set)), (*name).clone())
    });
    let index: BTreeMap<&ContainerName, usize> =
        names.iter().enumerate().map(|(i, name)| (*name, i)).collect();
    let several = desired.hosts.len() > 1;
    let mut nodes = Vec::new();
    let mut edges = BTreeSet::new();
    for (to, name) in names.iter().enumerate() {
        let Some(specs) = units.get(*name) else { continue };
        let Some(first) = specs.first() else { continue };
        let hosts: Vec<String> = specs.iter().map(|spec| spec.host().to_string()).collect();
        nodes.push(Node {
            name: name.to_string(),
            kind: if first.is_task() { Kind::Task } else { Kind::Container },
            set: first.set.clone(),
            lines: if several { vec![hosts.join(", ")] } else { Vec::new() },
        });
        for slot in specs.iter().flat_map(|spec| &spec.after) {
            if let Some(from) = index.get(&slot.container).filter(|from| **from != to) {
                edges.insert(Edge { from: *from, to });
            }
        }
    }
    let sets =
        desired.sets.iter().filter(|set| nodes.iter().any(|node| node.set == **set)).cloned().collect();
    let title = format!("{}: containers and tasks", desired.deployment);
    Graph { title, sets, edges: reduced(nodes.len(), edges.into_iter().collect()), nodes }
}

/// Drops arrows that follow from others. Where things go in a circle, all of them stay.
fn reduced(count: usize, edges: Vec<Edge>) -> Vec<Edge> {
    let mut next: Vec<Vec<usize>> = vec![Vec::new(); count];
    for edge in &edges {
        if let Some(list) = next.get_mut(edge.from) {
            list.push(edge.to);
        }
    }
    let reach: Vec<BTreeSet<usize>> = (0..count).map(|from| reachable(&next, from)).collect();
    let circular = |node: usize| reach.get(node).is_some_and(|r| r.contains(&node));
    edges
        .iter()
        .filter(|edge| {
            let around =
                |via: &&usize| **via != edge.to && reach.get(**via).is_some_and(|r| r.contains(&edge.to));
            circular(edge.from)
                || circular(edge.to)
                || !next.get(edge.from).is_some_and(|list| list.iter().any(|via| around(&via)))
        })
        .copied()
        .collect()
}

fn reachable(next: &[Vec<usize>], from: usize) -> BTreeSet<usize> {
    let mut found = BTreeSet::new();
    let mut open: Vec<usize> = next.get(from).cloned().unwrap_or_default();
    while let Some(node) = open.pop() {
        if found.insert(node) {
            open.extend(next.get(node).into_iter().flatten());
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    fn edges(list: &[(usize, usize)]) -> Vec<Edge> {
        list.iter().map(|(from, to)| Edge { from: *from, to: *to }).collect()
    }

    #[test]
    fn an_arrow_that_follows_from_others_must_not_be_drawn() {
        assert_eq!(reduced(3, edges(&[(0, 1), (1, 2), (0, 2)])), edges(&[(0, 1), (1, 2)]));
        let circle = edges(&[(0, 1), (1, 0), (1, 2)]);
        assert_eq!(reduced(3, circle.clone()), circle);
    }
}
