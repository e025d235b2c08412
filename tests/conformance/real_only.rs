//! What only a real engine can show: that a spec arrives in the kernel as it was meant.

use std::sync::Arc;

use mastic::engine::LogOptions;
use mastic::model::spec::{Limits, MountSource, MountSpec, Privileges};
use mastic::model::{ContainerSpec, labels};

use futures::StreamExt as _;

use crate::fixture::{Fixture, within};

/// Runs the probe as the container's own program, and returns what it prints.
async fn printed(f: &Fixture, spec: ContainerSpec) -> String {
    let id = f.started(&spec).await;
    let code = within(20, "the end", f.engine.wait(&id)).await.unwrap();
    let chunks: Vec<_> = f.engine.logs(&id, &LogOptions::default()).map(Result::unwrap).collect().await;
    let text: Vec<u8> = chunks.iter().flat_map(|chunk| chunk.bytes.to_vec()).collect();
    let text = String::from_utf8(text).unwrap();
    assert_eq!(code, 0, "{text}");
    text
}

/// The value of a line `Name: value` of proc(5).
#[track_caller]
fn field(text: &str, name: &str) -> String {
    let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
    let line = line.unwrap_or_else(|| panic!("no {name} in\n{text}"));
    line.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// A namespace of this thread, which is also the engine's.
fn own(kind: &str) -> String {
    let link = std::fs::read_link(format!("/proc/thread-self/ns/{kind}")).expect("/proc is there");
    link.display().to_string()
}

pub async fn a_container_must_have_no_more_than_its_spec_gives(f: Arc<Fixture>) {
    let volume = format!("{}_data", f.deployment);
    f.engine.create_volume(&volume, &f.labels()).await.unwrap();
    let mount = |source, target: &str, read_only| MountSpec { source, target: target.to_owned(), read_only };
    let spec = ContainerSpec {
        host_network: false,
        working_dir: "/seed".to_owned(),
        environment: [("COLOUR".to_owned(), "blue = green".to_owned())].into(),
        limits: Limits { memory: 64 << 20, milli_cpus: 500, pids: 50, nofile: 1234, cpu_shares: 4096 },
        privileges: Privileges {
            capabilities: ["NET_BIND_SERVICE".to_owned()].into(),
            ..Privileges::default()
        },
        mounts: vec![
            mount(MountSource::Volume("data".parse().unwrap()), "/data", true),
            // A path that the image lacks: on one that it has, runc before 1.2 gives the image's owner and mode.
            mount(MountSource::Tmpfs { options: "size=1m,mode=1777".to_owned() }, "/scratch", false),
            mount(MountSource::Bind { path: "/usr".to_owned(), propagation: None }, "/host-usr", true),
        ],
        ..f.task(
            "a",
            &[
                "read:/proc/self/status",
                "read:/proc/self/limits",
                "out:-- limits, of either version of control groups",
                "read:/sys/fs/cgroup/memory/memory.limit_in_bytes",
                "read:/sys/fs/cgroup/memory.max",
                "read:/sys/fs/cgroup/pids/pids.max",
                "read:/sys/fs/cgroup/pids.max",
                "read:/sys/fs/cgroup/cpu/cpu.cfs_quota_us",
                "read:/sys/fs/cgroup/cpu.max",
                "read:/sys/fs/cgroup/cpu/cpu.shares",
                "read:/sys/fs/cgroup/cpu.weight",
                "out:-- interfaces",
                "read:/proc/self/net/dev",
                "out:-- rest",
                "env:COLOUR",
                "pwd",
                "write:/data/x",
                "write:/scratch/x",
                "write:/host-usr/x",
                "link:/proc/self/ns/net",
                "link:/proc/self/ns/pid",
                "link:/proc/self/ns/ipc",
            ],
        )
    };
    let text = printed(&f, spec).await;
    assert_eq!(field(&text, "Uid"), "1234 1234 1234 1234");
    assert_eq!(field(&text, "Gid"), "5678 5678 5678 5678");
    assert_eq!(field(&text, "NoNewPrivs"), "1");
    // Bit 10 is CAP_NET_BIND_SERVICE (capability(7)); the set that nothing in the container can leave.
    assert_eq!(field(&text, "CapBnd"), "0000000000000400");
    assert_eq!(field(&text, "Seccomp"), "2", "the engine's filter of system calls");
    assert!(text.lines().any(|line| {
        line.starts_with("Max open files") && line.split_whitespace().skip(3).take(2).eq(["1234", "1234"])
    }));
    let (_, rest) = text.split_once("-- limits").unwrap();
    let (limits, rest) = rest.split_once("-- interfaces").unwrap();
    let has = |all: &[&str]| limits.lines().any(|line| all.contains(&line));
    assert!(has(&["67108864"]) && has(&["50"]) && has(&["50000", "50000 100000"]), "{limits}");
    // Version 2 has another scale, on which 100 is everybody's; how runc converts differs between its versions.
    let weighs = |line: &str| line.parse::<u64>().is_ok_and(|weight| (101..=1000).contains(&weight));
    assert!(has(&["4096"]) || limits.lines().any(weighs), "{limits}");
    let (interfaces, rest) = rest.split_once("-- rest").unwrap();
    let devices: Vec<&str> =
        interfaces.lines().filter_map(|line| Some(line.split_once(':')?.0.trim())).collect();
    assert!(devices.contains(&"lo") && !devices.contains(&"eth0"), "{interfaces}");
    let rest: Vec<&str> = rest.trim().lines().collect();
    assert_eq!(rest[..4], ["blue = green", "/seed", "read-only filesystem or storage medium", "written"]);
    assert_eq!(rest[4], "read-only filesystem or storage medium");
    for (seen, kind) in rest[5..].iter().zip(["net", "pid", "ipc"]) {
        assert_ne!(*seen, own(kind), "{kind}");
    }
    assert_eq!(rest.len(), 8);
}

pub async fn what_a_spec_shares_with_the_host_must_be_shared(f: Arc<Fixture>) {
    let spec = ContainerSpec {
        host_network: true,
        privileges: Privileges {
            host_pid: true,
            host_ipc: true,
            new_privileges: true,
            // One that the engine does not give to every container anyway.
            devices: ["/dev/loop-control:/dev/loops:r".to_owned()].into(),
            ..Privileges::default()
        },
        // Whose the device is.
        user: (0, 0),
        ..f.task(
            "a",
            &[
                "read:/proc/self/status",
                "out:--",
                "link:/proc/self/ns/net",
                "link:/proc/self/ns/pid",
                "link:/proc/self/ns/ipc",
                "write:/dev/loops",
                "read:/dev/loops",
            ],
        )
    };
    let text = printed(&f, spec).await;
    assert_eq!(field(&text, "NoNewPrivs"), "0");
    assert_eq!(field(&text, "CapBnd"), "0000000000000000");
    let (_, links) = text.split_once("--\n").unwrap();
    let lines: Vec<&str> = links.lines().collect();
    assert_eq!(lines[..3], ["net", "pid", "ipc"].map(own));
    assert_eq!(lines[3], "permission denied", "a device for reading");
    // EINVAL: there is nothing to be read from it, and yet it was opened.
    assert!(lines[4].ends_with("(os error 22)"), "{}", lines[4]);
    // The engine is told no more than what it needs to know it by.
    let seen = f.engine.container(&f.name(&f.task("a", &[]))).await.unwrap();
    assert_eq!(seen.labels[labels::DEPLOYMENT], f.deployment.to_string());
}
