//! Services beside each other: names that must differ, names that must exist.

use std::collections::{BTreeMap, BTreeSet};

use crate::model::ServiceName;
use crate::model::words::nearest;
use crate::profile::Loaded;
use crate::profile::diagnostic::{Diagnostic, listed};
use crate::profile::layout::find_cycle;
use crate::profile::library::Library;
use crate::profile::source::Span;
use crate::profile::tree::Doc;

type Out<'a> = &'a mut Vec<Diagnostic>;

/// Checks all services of a profile. `complete` says whether all that they need are among them.
pub(in crate::profile) fn check(
    services: &BTreeMap<ServiceName, Loaded>,
    complete: bool,
    library: &Library,
    out: Out<'_>,
) {
    unique(services, out);
    references(services, complete, library, out);
}

/// Checks that what services require is there; returns whether it is. `named` says where the profile names each service, `meant`
/// which ones were probably meant by an unknown name.
pub(in crate::profile) fn required(
    profile: &Doc,
    services: &BTreeMap<ServiceName, Loaded>,
    named: &BTreeMap<&str, Span>,
    meant: &BTreeSet<&str>,
    library: &Library,
    out: Out<'_>,
) -> bool {
    let mut complete = true;
    for (name, loaded) in services {
        for (index, other) in loaded.service.requires.iter().enumerate() {
            if services.contains_key(other) {
                continue;
            }
            complete = false;
            if meant.contains(other.as_str()) {
                continue;
            }
            let index = index.to_string();
            if library.services().any(|known| known == other.as_str()) {
                let span = named.get(name.as_str()).copied().unwrap_or(Span::START);
                out.push(
                    Diagnostic::new(
                        "missing-service",
                        &profile.source,
                        span,
                        format!("`{name}` requires `{other}`, which no set lists"),
                    )
                    .help(format!("add `{other}` to a set")),
                );
            } else {
                out.push(
                    loaded
                        .doc
                        .wrong_value(
                            "unknown-service",
                            &["requires", &index],
                            format!("there is no service `{other}`"),
                        )
                        .near(nearest(other.as_str(), library.services()), || None),
                );
            }
        }
        for (index, other) in loaded.service.wants.iter().enumerate() {
            if !library.services().any(|known| known == other.as_str()) {
                // A library may be a part of the whole: only what looks like a slip of the pen is one.
                if let Some(near) = nearest(other.as_str(), library.services()) {
                    out.push(
                        loaded
                            .doc
                            .wrong_value(
                                "unknown-service",
                                &["wants", &index.to_string()],
                                format!("there is no service `{other}`"),
                            )
                            .help(format!("did you mean `{near}`?")),
                    );
                }
            }
        }
    }
    let graph: BTreeMap<&ServiceName, BTreeSet<&ServiceName>> = services
        .iter()
        .map(|(name, loaded)| {
            let first = loaded.service.requires.iter().chain(&loaded.service.wants);
            (name, first.filter(|other| services.contains_key(*other) && *other != name).collect())
        })
        .collect();
    if let Some(cycle) = find_cycle(&graph)
        && let Some(loaded) = cycle.first().and_then(|first| services.get(*first))
    {
        let path: Vec<String> = cycle.iter().map(|name| format!("`{name}`")).collect();
        let first = cycle.first().map(ToString::to_string).unwrap_or_default();
        let key = if loaded.service.requires.iter().any(|r| cycle.get(1) == Some(&r)) {
            "requires"
        } else {
            "wants"
        };
        out.push(
            loaded
                .doc
                .wrong_key(
                    "cycle",
                    &[key],
                    format!("these services wait for each other: {} -> `{first}`", path.join(" -> ")),
                )
                .help("remove one from `requires` or `wants` (an arrow means: comes after)"),
        );
    }
    complete
}

/// Names that all services share.
fn unique(services: &BTreeMap<ServiceName, Loaded>, out: Out<'_>) {
    let mut seen: BTreeMap<(&'static str, String), &ServiceName> = BTreeMap::new();
    for (service, loaded) in services {
        let s = &loaded.service;
        let mut names: Vec<(&'static str, String, Vec<String>)> = Vec::new();
        let path = |parts: &[&str]| parts.iter().map(|p| (*p).to_owned()).collect::<Vec<_>>();
        names.extend(
            s.containers.keys().map(|n| ("container", n.to_string(), path(&["containers", n.as_str()]))),
        );
        names.extend(
            s.tasks
                .keys()
                .filter(|n| !s.containers.contains_key(*n))
                .map(|n| ("container", n.to_string(), path(&["tasks", n.as_str()]))),
        );
        names.extend(s.secrets.keys().map(|n| ("secret", n.to_string(), path(&["secrets", n.as_str()]))));
        names.extend(s.ports.keys().map(|n| ("port", n.clone(), path(&["ports", n]))));
        names.extend(
            s.proxy
                .iter()
                .enumerate()
                .map(|(i, p)| ("proxy entry", p.name.clone(), path(&["proxy", &i.to_string(), "name"]))),
        );
        names.extend(
            s.databases
                .iter()
                .enumerate()
                .map(|(i, d)| ("database", d.name.clone(), path(&["databases", &i.to_string(), "name"]))),
        );
        names.extend(s.identity.services.iter().enumerate().map(|(i, c)| {
            ("catalogue entry", c.name.clone(), path(&["identity", "services", &i.to_string(), "name"]))
        }));
        names.extend(
            s.identity
                .users
                .iter()
                .enumerate()
                .map(|(i, u)| ("user", u.name.clone(), path(&["identity", "users", &i.to_string(), "name"]))),
        );
        if s.identity.access.is_some() {
            names.push(("identity", "access".to_owned(), path(&["identity", "access"])));
        }
        for (kind, name, place) in names {
            match seen.get(&(kind, name.clone())) {
                Some(first) => {
                    let place: Vec<&str> = place.iter().map(String::as_str).collect();
                    let message = if *first == service {
                        format!("the {kind} `{name}` is there twice")
                    } else {
                        format!("`{first}` has a {kind} `{name}` too")
                    };
                    out.push(
                        loaded
                            .doc
                            .wrong_key("name-twice", &place, message)
                            .help("these names must differ in all services of a profile"),
                    );
                }
                None => drop(seen.insert((kind, name), service)),
            }
        }
    }
}

/// Names of one service in another, and images.
fn references(services: &BTreeMap<ServiceName, Loaded>, complete: bool, library: &Library, out: Out<'_>) {
    let units: BTreeSet<&str> = services
        .values()
        .flat_map(|l| l.service.containers.keys().chain(l.service.tasks.keys()))
        .map(crate::model::name::ContainerName::as_str)
        .collect();
    let proxies: BTreeSet<&str> =
        services.values().flat_map(|l| &l.service.proxy).map(|p| p.name.as_str()).collect();
    let images: Vec<&str> = library.images().collect();
    for loaded in services.values() {
        let (service, doc) = (&loaded.service, &loaded.doc);
        let groups = [
            ("containers", service.containers.iter().map(|(n, c)| (n, &c.after)).collect::<Vec<_>>()),
            ("tasks", service.tasks.iter().map(|(n, t)| (n, &t.after)).collect()),
        ];
        for (group, entries) in groups {
            for (name, after) in entries {
                for (index, other) in
                    after.iter().enumerate().filter(|(_, other)| complete && !units.contains(other.as_str()))
                {
                    out.push(
                        doc.wrong_value(
                            "unknown-container",
                            &[group, name.as_str(), "after", &index.to_string()],
                            format!("no service of this profile has a container or task `{other}`"),
                        )
                        .near(nearest(other.as_str(), units.iter().copied()), || None),
                    );
                }
            }
        }
        for (name, container) in &service.containers {
            let others = container.swap_after.iter().enumerate();
            for (index, other) in others.filter(|(_, other)| !service.containers.contains_key(*other)) {
                let path = ["containers", name.as_str(), "swap_after", &index.to_string()];
                let own = service.containers.keys().map(crate::model::name::ContainerName::as_str);
                out.push(
                    doc.wrong_value(
                        "unknown-container",
                        &path,
                        format!("this service has no container `{other}`"),
                    )
                    .near(nearest(other.as_str(), own), || None),
                );
            }
        }
        let used = service.containers.iter().map(|(n, c)| (["containers", n.as_str(), "image"], &c.image));
        let used = used.chain(
            service
                .tasks
                .iter()
                .filter_map(|(n, t)| Some((["tasks", n.as_str(), "image"], t.image.as_ref()?))),
        );
        for (path, image) in used.filter(|(_, image)| !images.contains(&image.as_str())) {
            out.push(
                doc.wrong_value("unknown-image", &path, format!("there is no image `{image}`"))
                    .near(nearest(image.as_str(), images.iter().copied()), || {
                        Some(format!("the images are {}", listed(images.iter().copied())))
                    }),
            );
        }
        let entries = service.identity.services.iter().enumerate().map(|(i, c)| {
            (
                vec![
                    "identity".to_owned(),
                    "services".to_owned(),
                    i.to_string(),
                    "endpoint".to_owned(),
                    "proxy".to_owned(),
                ],
                &c.endpoint.proxy,
            )
        });
        let access = service
            .identity
            .access
            .iter()
            .map(|a| (vec!["identity".to_owned(), "access".to_owned(), "proxy".to_owned()], &a.proxy));
        for (path, proxy) in entries.chain(access).filter(|(_, proxy)| !proxies.contains(proxy.as_str())) {
            let path: Vec<&str> = path.iter().map(String::as_str).collect();
            out.push(
                doc.wrong_value("unknown-proxy", &path, format!("no `proxy` entry is named `{proxy}`"))
                    .near(nearest(proxy, proxies.iter().copied()), || {
                        Some(format!("they are {}", listed(proxies.iter().copied())))
                    }),
            );
        }
    }
}
