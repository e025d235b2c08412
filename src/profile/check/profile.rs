//! The profile by itself, and against the names of the library.

use std::collections::{BTreeMap, BTreeSet};

use crate::model::ServiceName;
use crate::model::words::nearest;
use crate::profile::diagnostic::{Diagnostic, listed};
use crate::profile::layout::choose_set;
use crate::profile::library::Library;
use crate::profile::tree::Doc;
use crate::profile::yaml::Node;
use crate::profile::{Loaded, ProfileDocument};

type Out<'a> = &'a mut Vec<Diagnostic>;

/// Checks what the profile says of hosts, sets, images and addresses.
pub(in crate::profile) fn check(
    doc: &Doc,
    document: &ProfileDocument,
    library: &Library,
    services: &BTreeMap<ServiceName, Loaded>,
    out: Out<'_>,
) {
    release(doc, document, library, out);
    hosts(doc, out);
    sets(doc, out);
    membership(doc, document, services, out);
    images(doc, document, library, out);
    if document.region.is_empty() || document.region.contains(char::is_whitespace) {
        out.push(
            doc.wrong_value("bad-format", &["region"], "a region is one word").help("for example RegionOne"),
        );
    }
    let names = [
        (["public", "name"], &document.public.name),
        (["internal", "name"], &document.internal.as_ref().and_then(|i| i.name.clone())),
    ];
    for (path, name) in names {
        if let Some(name) = name {
            let good = !name.is_empty()
                && name.len() < 254
                && name.split('.').all(|label| {
                    !label.is_empty() && label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
                });
            if !good && name.parse::<std::net::IpAddr>().is_err() {
                out.push(
                    doc.wrong_value("bad-format", &path, format!("`{name}` is not a DNS name"))
                        .help("letters, digits, `-` and `.`: cloud.example.org, without https:// and port"),
                );
            }
        }
    }
    for key in ["overrides", "state"] {
        if doc.node(&[key]).and_then(Node::text).is_some_and(|text| text.trim().is_empty()) {
            out.push(
                doc.wrong_value("bad-format", &[key], format!("`{key}` is empty"))
                    .help("name a folder, or remove the key"),
            );
        }
    }
}

/// The series that have images, where the library has any; otherwise only the shape is checked.
fn release(doc: &Doc, document: &ProfileDocument, library: &Library, out: Out<'_>) {
    // A bad one was reported with its type already.
    if doc.node(&["release"]).and_then(Node::text) != Some(document.release.as_str()) {
        return;
    }
    let known = library.series();
    let release = document.release.as_str();
    let shaped = release.split_once('.').is_some_and(|(year, half)| {
        year.len() == 4 && year.bytes().all(|b| b.is_ascii_digit()) && matches!(half, "1" | "2")
    });
    if known.contains(release) || (known.is_empty() && shaped) {
        return;
    }
    out.push(
        doc.wrong_value(
            "unknown-release",
            &["release"],
            format!("`{release}` is not an OpenStack series that Mastic has"),
        )
        .near(nearest(release, known.iter().copied()).filter(|_| shaped), || {
            Some(if known.is_empty() {
                "a year and 1 or 2: \"2026.1\"".to_owned()
            } else {
                format!("it has {}", listed(known.iter().copied()))
            })
        }),
    );
}

fn hosts(doc: &Doc, out: Out<'_>) {
    if doc
        .node(&["hosts"])
        .is_some_and(|n| n.entries().is_empty() && matches!(n.value, crate::profile::yaml::Value::Map(_)))
    {
        out.push(doc.wrong_key("no-host", &["hosts"], "`hosts` has no host").help(
            "the engine of this machine: local: {engine: unix:///var/run/docker.sock, address: 127.0.0.1}",
        ));
    }
    let mut engines: BTreeMap<&str, &str> = BTreeMap::new();
    let mut addresses: BTreeMap<&str, &str> = BTreeMap::new();
    for name in doc.keys(&["hosts"]) {
        let text = |key: &str| doc.node(&["hosts", name, key]).and_then(Node::text);
        if let Some(engine) = text("engine")
            && let Some(first) = engines.insert(engine, name)
        {
            out.push(
                doc.wrong_value(
                    "engine-twice",
                    &["hosts", name, "engine"],
                    format!("`{name}` and `{first}` are the same engine"),
                )
                .help("one engine is one host: remove one of them"),
            );
        }
        if let Some(address) = text("address") {
            if address.parse::<std::net::IpAddr>().is_ok_and(|ip| ip.is_unspecified() || ip.is_multicast()) {
                out.push(
                    doc.wrong_value(
                        "bad-address",
                        &["hosts", name, "address"],
                        format!("`{address}` is not the address of a host"),
                    )
                    .help("give the address at which the other hosts reach it"),
                );
            } else if let Some(first) = addresses.insert(address, name) {
                out.push(doc.wrong_value(
                    "address-twice",
                    &["hosts", name, "address"],
                    format!("`{name}` and `{first}` have the same address"),
                ));
            }
        }
        let Some(engine) = text("engine") else { continue };
        let certificates = doc.node(&["hosts", name, "tls"]).is_some();
        if certificates && !engine.starts_with("tcp://") {
            out.push(
                doc.wrong_key("useless-tls", &["hosts", name, "tls"], "`tls` is for `tcp://` engines only")
                    .help("remove it"),
            );
        }
        if !certificates && engine.strip_prefix("tcp://").is_some_and(|rest| !is_loopback(rest)) {
            out.push(
                doc.wrong_value(
                    "engine-unprotected",
                    &["hosts", name, "engine"],
                    format!("`{name}` has no `tls`, and whoever reaches an engine is root there"),
                )
                .help("add `tls: FOLDER` (ca.pem, cert.pem, key.pem), or write tcp+plain:// if you mean it"),
            );
        }
    }
    if let Some(address) = doc.node(&["public", "address"]).and_then(Node::text)
        && address.parse::<std::net::IpAddr>().is_ok_and(|ip| ip.is_multicast() || ip.is_unspecified())
    {
        out.push(
            doc.wrong_value(
                "bad-address",
                &["public", "address"],
                format!("`{address}` is not an address that clients can use"),
            )
            .help("give the address that is in the URLs of the catalogue"),
        );
    }
}

fn is_loopback(host_and_port: &str) -> bool {
    let host = host_and_port.rsplit_once(':').map_or(host_and_port, |(host, _)| host);
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    host == "localhost" || bare.parse::<std::net::IpAddr>().is_ok_and(|ip| ip.is_loopback())
}

fn sets(doc: &Doc, out: Out<'_>) {
    let hosts: Vec<&str> = doc.keys(&["hosts"]).collect();
    if doc
        .node(&["sets"])
        .is_some_and(|n| n.entries().is_empty() && matches!(n.value, crate::profile::yaml::Value::Map(_)))
    {
        out.push(
            doc.wrong_key("no-set", &["sets"], "`sets` has no set")
                .help("for example: api: {services: [keystone]}"),
        );
    }
    for set in doc.keys(&["sets"]) {
        for key in ["services", "hosts"] {
            let path = ["sets", set, key];
            let Some(node) = doc.node(&path) else { continue };
            if node.items().is_empty() && matches!(node.value, crate::profile::yaml::Value::List(_)) {
                let help = if key == "hosts" {
                    "name hosts, or remove the key: then it is all of them"
                } else {
                    "name services, or remove the set"
                };
                out.push(
                    doc.wrong_key("empty-list", &path, format!("the set `{set}` has no {key}")).help(help),
                );
            }
            let mut seen = BTreeSet::new();
            for (index, item) in node.items().iter().enumerate() {
                let Some(text) = item.text() else { continue };
                let index = index.to_string();
                let place = ["sets", set, key, &index];
                if !seen.insert(text) {
                    out.push(
                        doc.wrong_value(
                            "listed-twice",
                            &place,
                            format!("`{text}` is listed twice in `{set}`"),
                        )
                        .help("remove one"),
                    );
                }
                if key == "hosts" && !hosts.contains(&text) {
                    out.push(
                        doc.wrong_value("unknown-host", &place, format!("`hosts` has no host `{text}`"))
                            .near(nearest(text, hosts.iter().copied()), || {
                                Some(format!("the hosts are {}", listed(hosts.iter().copied())))
                            }),
                    );
                }
            }
        }
    }
}

/// Which set takes which container.
fn membership(doc: &Doc, document: &ProfileDocument, services: &BTreeMap<ServiceName, Loaded>, out: Out<'_>) {
    for (name, loaded) in services {
        let listing: Vec<_> =
            document.sets.iter().filter(|(_, set)| set.services.contains(name)).map(|(set, _)| set).collect();
        let mut taken = BTreeSet::new();
        for (container, spec) in &loaded.service.containers {
            match choose_set(&listing, &spec.set) {
                Some(set) => drop(taken.insert(set)),
                None if listing.is_empty() => {}
                None => {
                    let sets = listed(listing.iter().map(|set| set.as_str()));
                    let Some(first) = listing.first() else { continue };
                    let path = member_path(doc, first.as_str(), name.as_str());
                    out.push(
                        doc.wrong_value(
                            "no-set-for-container",
                            &path.iter().map(String::as_str).collect::<Vec<_>>(),
                            format!("the container `{container}` of `{name}` belongs to the set `{}`, which does not list `{name}`", spec.set),
                        )
                        .help(format!("`{name}` is in {sets}: list it in `{}` too, or in one set only", spec.set)),
                    );
                }
            }
        }
        for set in listing.iter().filter(|_| listing.len() > 1).filter(|set| !taken.contains(**set)) {
            let path = member_path(doc, set.as_str(), name.as_str());
            out.push(
                doc.wrong_value(
                    "service-twice",
                    &path.iter().map(String::as_str).collect::<Vec<_>>(),
                    format!("`{name}` is in several sets, and none of its containers belongs to `{set}`"),
                )
                .help(format!(
                    "remove it here: its containers are in {}",
                    listed(taken.iter().map(|set| set.as_str()))
                )),
            );
        }
    }
    let known: Vec<&str> = services
        .values()
        .flat_map(|l| l.service.containers.keys().chain(l.service.tasks.keys()))
        .map(crate::model::name::ContainerName::as_str)
        .collect();
    let complete = doc
        .keys(&["sets"])
        .flat_map(|set| doc.node(&["sets", set, "services"]).map(Node::items).unwrap_or_default())
        .filter_map(Node::text)
        .all(|s| services.keys().any(|k| k.as_str() == s));
    for (index, name) in document.skip.iter().enumerate().filter(|_| complete) {
        if !known.contains(&name.as_str()) {
            out.push(
                doc.wrong_value(
                    "unknown-container",
                    &["skip", &index.to_string()],
                    format!("no service of this profile has a container or task `{name}`"),
                )
                .near(nearest(name.as_str(), known.iter().copied()), || None),
            );
        }
    }
}

fn member_path(doc: &Doc, set: &str, service: &str) -> Vec<String> {
    let items = doc.node(&["sets", set, "services"]).map(Node::items).unwrap_or_default();
    let index = items.iter().position(|item| item.text() == Some(service)).unwrap_or(0);
    ["sets", set, "services", &index.to_string()].map(str::to_owned).to_vec()
}

fn images(doc: &Doc, document: &ProfileDocument, library: &Library, out: Out<'_>) {
    let images = &document.images;
    let wrong =
        |path: &[&str], message: String, help: &str| doc.wrong_value("bad-format", path, message).help(help);
    if let Some(registry) = &images.registry
        && (registry.is_empty() || registry.contains("://") || registry.contains(['/', ' ']))
    {
        out.push(wrong(
            &["images", "registry"],
            format!("`{registry}` is not HOST or HOST:PORT"),
            "without https:// and path: registry.example.org:5000",
        ));
    }
    let word = |text: &str, extra: &str| {
        !text.is_empty()
            && text.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || extra.contains(c))
    };
    if !word(&images.namespace, "-_./")
        || images.namespace.starts_with('/')
        || images.namespace.ends_with('/')
    {
        out.push(wrong(
            &["images", "namespace"],
            format!("`{}` cannot be a part of an image name", images.namespace),
            "lower-case letters, digits, `-`, `_`, `.` and `/`",
        ));
    }
    if let Some(tag) = &images.tag {
        let good = tag.len() <= 128
            && !tag.is_empty()
            && !tag.starts_with(['.', '-'])
            && tag.chars().all(|c| c.is_ascii_alphanumeric() || "_.-".contains(c));
        if !good {
            out.push(wrong(
                &["images", "tag"],
                format!("`{tag}` cannot be a tag"),
                "letters, digits, `_`, `.` and `-`",
            ));
        }
    }
    let all: Vec<&str> = library.images().collect();
    for (image, reference) in &images.pins {
        let path = ["images", "pins", image.as_str()];
        if !all.contains(&image.as_str()) {
            out.push(
                doc.wrong_key("unknown-image", &path, format!("there is no image `{image}`"))
                    .near(nearest(image.as_str(), all.iter().copied()), || {
                        Some(format!("the images are {}", listed(all.iter().copied())))
                    }),
            );
        }
        if reference.is_empty() || reference.contains(char::is_whitespace) || reference.contains("://") {
            out.push(wrong(
                &path,
                format!("`{reference}` is not an image reference"),
                "[REGISTRY/]NAME:TAG or [REGISTRY/]NAME@sha256:DIGEST",
            ));
        }
    }
}
