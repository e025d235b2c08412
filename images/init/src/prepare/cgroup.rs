//! `--leave-cgroups`: moves us out of the container's cgroups, in every hierarchy, so that what
//! the command starts (virtual machines) outlives the container. Moving only some of them is
//! useless: the engine kills all that is in any one, and empty directories leak.
//!
//! With version 2 an engine gives a container a cgroup namespace of its own: what is mounted there ends at the
//! container's own cgroup, and a move inside of it would look like success until the container is stopped.

use alloc::vec::Vec;

use crate::sys::file;
use crate::sys::{Errno, Result};
use crate::text::Lossy;
use crate::{code, say};

/// The namespace that a host starts with, in every kernel (`PROC_CGROUP_INIT_INO`).
const HOST_NAMESPACE: u64 = 0xEFFF_FFFB;

pub fn leave(name: &str) -> core::result::Result<(), u8> {
    let mounts = file::read_path(c"/proc/self/mountinfo", 4 << 20).unwrap_or_default();
    let hierarchies: Vec<Hierarchy<'_>> = hierarchies(&mounts).collect();
    // A kernel without cgroup namespaces has no such file.
    let namespaced = file::inode(c"/proc/self/ns/cgroup").is_ok_and(|inode| inode != HOST_NAMESPACE);
    if hierarchies.is_empty() {
        say!("--leave-cgroups {name}: no cgroup file system is mounted here");
        return Err(code::SYSTEM);
    }
    let mut result = Ok(());
    for Hierarchy { point, root } in hierarchies {
        if namespaced && !root.starts_with(b"/..") {
            say!(
                "--leave-cgroups {name}: {} ends at the container's own cgroups: the host's cgroup namespace is needed",
                Lossy(point)
            );
            result = Err(code::SYSTEM);
        } else if let Err((step, errno)) = enter(point, name) {
            say!("--leave-cgroups {name}: cannot {step} in {}: {errno}", Lossy(point));
            result = Err(code::SYSTEM);
        }
    }
    result
}

struct Hierarchy<'a> {
    point: &'a [u8],
    /// What is seen there; `/..` and more where that lies above our namespace.
    root: &'a [u8],
}

/// All cgroup hierarchies, each once, by `/proc/self/mountinfo`:
/// `id parent major:minor ROOT MOUNTPOINT options [tags] - TYPE source options`.
fn hierarchies(mounts: &[u8]) -> impl Iterator<Item = Hierarchy<'_>> {
    let mut seen = Vec::new();
    mounts.split(|byte| *byte == b'\n').filter_map(move |line| {
        let mut fields = line.split(|byte| *byte == b' ');
        let device = fields.nth(2)?;
        let root = fields.next()?;
        let point = fields.next()?;
        let kind = fields.skip_while(|field| *field != b"-").nth(1)?;
        if !kind.starts_with(b"cgroup") || seen.contains(&device) {
            return None;
        }
        seen.push(device);
        Some(Hierarchy { point, root })
    })
}

fn enter(root: &[u8], name: &str) -> core::result::Result<(), (&'static str, Errno)> {
    let mut parent = root.to_vec();
    for part in name.split('/') {
        let child = [&parent[..], b"/", part.as_bytes()].concat();
        make(&child).map_err(|errno| ("make the cgroup", errno))?;
        // A cpuset without processors and memory nodes takes no process. Version 2 needs no
        // copy (empty means the parent's), and has the files only where they were enabled.
        for setting in ["cpuset.cpus", "cpuset.mems"] {
            copy_if_empty(&parent, &child, setting).map_err(|errno| (setting, errno))?;
        }
        parent = child;
    }
    // 0 is the writer itself, in whichever PID namespace it is.
    write_setting(&parent, "cgroup.procs", b"0").map_err(|errno| ("move there", errno))
}

fn make(path: &[u8]) -> Result<()> {
    match file::make_directory(&file::c_string(path)?, 0o755) {
        Err(Errno(libc::EEXIST)) => Ok(()),
        result => result,
    }
}

fn copy_if_empty(parent: &[u8], child: &[u8], setting: &str) -> Result<()> {
    let Ok(current) = read_setting(child, setting) else { return Ok(()) };
    if !current.trim_ascii().is_empty() {
        return Ok(());
    }
    match read_setting(parent, setting) {
        Ok(inherited) if !inherited.trim_ascii().is_empty() => {
            write_setting(child, setting, inherited.trim_ascii())
        }
        // The root of version 2 has no such file.
        _ => Ok(()),
    }
}

fn read_setting(cgroup: &[u8], setting: &str) -> Result<Vec<u8>> {
    file::read_path(&setting_path(cgroup, setting)?, 4096)
}

fn write_setting(cgroup: &[u8], setting: &str, value: &[u8]) -> Result<()> {
    file::write(&file::open_write(&setting_path(cgroup, setting)?)?, value).map(drop)
}

fn setting_path(cgroup: &[u8], setting: &str) -> Result<alloc::ffi::CString> {
    file::c_string(&[cgroup, b"/", setting.as_bytes()].concat())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_hierarchy_is_found_once() {
        let mounts = b"25 20 0:22 / /sys/fs/cgroup rw - tmpfs tmpfs rw\n\
            26 25 0:23 / /sys/fs/cgroup/cpu rw,relatime shared:5 - cgroup cgroup rw,cpu\n\
            27 25 0:24 /../.. /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw\n\
            28 25 0:23 / /mnt/again rw - cgroup cgroup rw,cpu\nshort\n";
        let found: Vec<_> = hierarchies(mounts)
            .map(|hierarchy| (Lossy(hierarchy.point).to_string(), Lossy(hierarchy.root).to_string()))
            .collect();
        let expected = [("/sys/fs/cgroup/cpu", "/"), ("/sys/fs/cgroup/unified", "/../..")];
        assert_eq!(found, expected.map(|(point, root)| (point.to_owned(), root.to_owned())));
    }
}
