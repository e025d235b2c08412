//! What only the host itself can tell, and so only where it is this machine: free disk, its address, devices and paths
//! that containers ask for.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::path::Path;

use anyhow::Result;

use super::{Finding, Verdict};
use crate::cli::commands::look::resolve_offline;
use crate::cli::commands::status::bytes;
use crate::cli::context::Context;
use crate::cli::session::Loaded;
use crate::engine::Engine;
use crate::model::spec::MountSource;
use crate::model::{Desired, HostName};

/// Free bytes for data, logs and containers' own layers.
pub(super) const LEAST_DISK: u64 = 2 << 30;
/// Free bytes for images and what building them keeps.
pub(super) const IMAGES_DISK: u64 = 6 << 30;

/// Looks at this machine, if it is that host.
pub(super) async fn facts(
    context: &Context,
    loaded: &Loaded,
    host: &HostName,
    engine: &dyn Engine,
    images_there: bool,
) -> Result<Vec<Finding>> {
    if !engine.endpoint().starts_with("unix://") {
        return Ok(Vec::new());
    }
    let mut all = Vec::new();
    let root = engine.info().await?.data_root;
    all.extend(disk(host, &root, LEAST_DISK + if images_there { 0 } else { IMAGES_DISK }));
    if let Some(document) = loaded.profile.document.hosts.get(host) {
        all.extend(address(host, &document.address));
    }
    let (desired, _) = resolve_offline(context, loaded)?;
    all.push(paths(host, &desired, |path| Path::new(path).exists()));
    let mounts = fs_err::read_to_string("/proc/self/mountinfo").unwrap_or_default();
    all.extend(propagation(host, &desired, &mounts));
    Ok(all)
}

/// A data root that is not there belongs to an engine in a file system of its own: it cannot be asked.
fn disk(host: &HostName, root: &str, needed: u64) -> Option<Finding> {
    let facts = nix::sys::statvfs::statvfs(root).ok()?;
    let free = facts.blocks_available() * facts.fragment_size();
    let detail = format!("{} free in {root}, at least {} are needed", bytes(free), bytes(needed));
    Some(Finding::new(host, "disk", Verdict::must(free >= needed), detail))
}

/// Containers on the host's network can only listen on an address that the host has.
fn address(host: &HostName, address: &str) -> Option<Finding> {
    let address: IpAddr = address.parse().ok()?;
    let there = match std::net::UdpSocket::bind((address, 0)) {
        Ok(_) => true,
        Err(error) => error.kind() != std::io::ErrorKind::AddrNotAvailable,
    };
    let detail = if there {
        format!("{address} is this machine's")
    } else {
        format!("{address} is no address of this machine: `hosts.{host}.address` must be one (`ip address`)")
    };
    Some(Finding::new(host, "address", Verdict::must(there), detail))
}

/// Looks for every device and path of the host that a container is given.
fn paths(host: &HostName, desired: &Desired, exists: impl Fn(&str) -> bool) -> Finding {
    let mut wanted: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for spec in desired.containers.values().filter(|spec| spec.host() == host) {
        let binds = spec.mounts.iter().filter_map(|mount| match &mount.source {
            MountSource::Bind { path, .. } => Some(path),
            MountSource::Volume(_) | MountSource::Tmpfs { .. } => None,
        });
        for path in spec.privileges.devices.iter().chain(binds) {
            wanted.entry(path).or_default().insert(spec.name().as_str());
        }
    }
    let total = wanted.len();
    let missing: Vec<String> = wanted
        .into_iter()
        .filter(|(path, _)| !exists(path))
        .map(|(path, who)| format!("{path} (wanted by {})", who.into_iter().collect::<Vec<_>>().join(", ")))
        .collect();
    let detail = if missing.is_empty() {
        format!("all {total} that containers are given are there")
    } else {
        format!("not on this machine: {}", missing.join("; "))
    };
    Finding::new(host, "paths", Verdict::must(missing.is_empty()), detail)
}

/// A mount that containers and host share must lie in a shared mount of the host.
fn propagation(host: &HostName, desired: &Desired, mountinfo: &str) -> Option<Finding> {
    let shared: BTreeSet<&str> = desired
        .containers
        .values()
        .filter(|spec| spec.host() == host)
        .flat_map(|spec| &spec.mounts)
        .filter_map(|mount| match &mount.source {
            MountSource::Bind { path, propagation: Some(kind) } if kind.ends_with("shared") => {
                Some(path.as_str())
            }
            MountSource::Bind { .. } | MountSource::Volume(_) | MountSource::Tmpfs { .. } => None,
        })
        .collect();
    if shared.is_empty() {
        return None;
    }
    let private: Vec<&str> = shared.into_iter().filter(|path| !is_shared(path, mountinfo)).collect();
    let detail = if private.is_empty() {
        "mounts that containers share with this machine can be shared".to_owned()
    } else {
        format!("{} lies in a private mount: `mount --make-rshared /`", private.join(", "))
    };
    Some(Finding::new(host, "mounts", Verdict::must(private.is_empty()), detail))
}

/// Reads proc(5)'s mountinfo: field 5 is the mount point; `shared:N` stands among the optional fields before ` - `.
fn is_shared(path: &str, mountinfo: &str) -> bool {
    mountinfo
        .lines()
        .filter_map(|line| {
            let (fields, _) = line.split_once(" - ")?;
            let point = fields.split(' ').nth(4)?;
            Path::new(path).starts_with(point).then_some((point.len(), fields.contains(" shared:")))
        })
        // Of several mounts on one point the last one is on top.
        .max_by_key(|(length, _)| *length)
        .is_some_and(|(_, shared)| shared)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn host() -> HostName {
        HostName::new("h").expect("a name")
    }

    #[test]
    fn a_full_disk_must_be_found_with_what_is_free_and_what_is_needed() {
        let found = |needed| disk(&host(), "/", needed).expect("this machine has a root");
        assert_eq!(found(0).verdict, Verdict::Ok);
        let full = found(u64::MAX);
        assert_eq!(full.verdict, Verdict::Bad);
        assert!(full.detail.contains(" free in /, at least "), "{}", full.detail);
        assert_eq!(disk(&host(), "/nonexistent", 0), None);
    }

    #[test]
    fn an_address_of_another_machine_must_be_refused() {
        let verdict = |text| address(&host(), text).expect("an address").verdict;
        assert_eq!(verdict("127.0.0.1"), Verdict::Ok);
        // TEST-NET-3 of RFC 5737 would do, but some networks use it; nobody has the last class E address.
        assert_eq!(verdict("240.0.0.254"), Verdict::Bad);
    }

    #[test]
    fn the_innermost_mount_must_decide_whether_a_path_is_shared() {
        let mounts = "22 1 8:1 / / rw,relatime shared:1 - ext4 /dev/sda1 rw\n\
                      30 22 0:24 / /run rw,nosuid - tmpfs tmpfs rw\n\
                      31 30 0:25 / /run/netns rw shared:7 - tmpfs tmpfs rw\n";
        assert!(is_shared("/var/lib/x", mounts));
        assert!(!is_shared("/run/openvswitch", mounts));
        assert!(!is_shared("/run", mounts));
        assert!(is_shared("/run/netns", mounts) && is_shared("/run/netns/a", mounts));
        assert!(is_shared("/running", mounts), "a name is not a folder");
    }
}
