//! What an engine says of itself: version, storage, memory, clock, what its kernel can do.

use jiff::Timestamp;

use super::{Finding, Verdict};
use crate::cli::commands::status::bytes;
use crate::engine::EngineInfo;
use crate::model::HostName;

/// Memory below which a Keystone and its database do not live well.
const LEAST_MEMORY: u64 = 2 << 30;
/// The oldest engine that is tested.
const LEAST_ENGINE: (u64, u64) = (20, 10);
/// Seconds by which two clocks may differ. Tokens and certificates are valid from a moment on; a minute is more than a
/// request to a distant host takes.
const CLOCKS: i64 = 60;

/// Judges what an engine says; `now` is our own clock.
pub(super) fn facts(host: &HostName, info: &EngineInfo, now: Timestamp) -> Vec<Finding> {
    let finding = |what, verdict, detail| Finding::new(host, what, verdict, detail);
    let mut numbers = info.version.split(['.', '-', '+']).map(|n| n.parse::<u64>().unwrap_or(0));
    let version = (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0));
    vec![
        finding(
            "engine",
            Verdict::must(version >= LEAST_ENGINE),
            format!("Docker {} (API {}), at least 20.10 is needed", info.version, info.api_version),
        ),
        finding(
            "storage",
            // The second is what engines with containerd's image store call it.
            Verdict::should(["overlay2", "overlayfs"].contains(&info.storage_driver.as_str())),
            format!("driver {}, images in {}", info.storage_driver, info.data_root),
        ),
        finding(
            "memory",
            Verdict::must(info.memory >= LEAST_MEMORY),
            format!(
                "{} of memory, at least {} are needed; {} CPUs",
                bytes(info.memory),
                bytes(LEAST_MEMORY),
                info.cpus
            ),
        ),
        clock(host, &info.time, now),
        kernel(host, info),
        finding(
            "restarts",
            Verdict::should(info.live_restore),
            if info.live_restore {
                "containers outlive a restart of the engine"
            } else {
                "a restart of the engine stops every container, and after a crash of it they stay down until `mastic start`: \
                 say `\"live-restore\": true` in its daemon.json, and send it HUP"
            }
            .to_owned(),
        ),
    ]
}

fn clock(host: &HostName, time: &str, now: Timestamp) -> Finding {
    let Ok(there) = time.parse::<Timestamp>() else {
        return Finding::new(host, "clock", Verdict::Warning, "the engine tells no time");
    };
    let ahead = there.as_second() - now.as_second();
    let detail = if ahead.abs() <= CLOCKS {
        format!("within {CLOCKS} s of this machine's")
    } else {
        let which = if ahead > 0 { "ahead of" } else { "behind" };
        format!("{} s {which} this machine's: run a time service (chrony) on both", ahead.abs())
    };
    Finding::new(host, "clock", Verdict::must(ahead.abs() <= CLOCKS), detail)
}

fn kernel(host: &HostName, info: &EngineInfo) -> Finding {
    let mut lacks: Vec<String> =
        info.unbounded.iter().map(|what| format!("limits of {what} have no effect")).collect();
    if !info.security_options.iter().any(|option| option.contains("seccomp")) {
        lacks.push("no seccomp: system calls are not filtered".to_owned());
    }
    let detail = if lacks.is_empty() {
        format!(
            "{}, cgroups v{}, seccomp, limits of memory, CPU and processes",
            info.kernel, info.cgroup_version
        )
    } else {
        format!("{}: {}", info.kernel, lacks.join("; "))
    };
    Finding::new(host, "kernel", Verdict::should(lacks.is_empty()), detail)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn info() -> EngineInfo {
        EngineInfo {
            version: "20.10.24+dfsg1".to_owned(),
            api_version: "1.41".to_owned(),
            id: String::new(),
            name: String::new(),
            storage_driver: "overlay2".to_owned(),
            cgroup_version: "1".to_owned(),
            cpus: 2,
            memory: 4 << 30,
            data_root: "/var/lib/docker".to_owned(),
            live_restore: true,
            security_options: vec!["name=seccomp,profile=default".to_owned()],
            kernel: "6.1".to_owned(),
            time: "2026-01-01T00:00:00Z".to_owned(),
            unbounded: Vec::new(),
        }
    }

    /// What is not right, after a change of what is.
    fn wrong(change: impl FnOnce(&mut EngineInfo)) -> Vec<(&'static str, Verdict)> {
        let mut info = info();
        change(&mut info);
        let host = HostName::new("h").expect("a name");
        let now = "2026-01-01T00:00:30Z".parse().expect("a time");
        let all = facts(&host, &info, now).into_iter();
        all.filter(|f| f.verdict != Verdict::Ok).map(|f| (f.what, f.verdict)).collect()
    }

    #[test]
    fn each_shortcoming_must_be_told_and_nothing_else() {
        assert_eq!(wrong(|_| ()), []);
        assert_eq!(wrong(|i| i.version = "28.5.1".to_owned()), []);
        assert_eq!(wrong(|i| i.version = "19.03.15".to_owned()), [("engine", Verdict::Bad)]);
        assert_eq!(wrong(|i| i.storage_driver = "vfs".to_owned()), [("storage", Verdict::Warning)]);
        assert_eq!(wrong(|i| i.memory = 1 << 30), [("memory", Verdict::Bad)]);
        assert_eq!(wrong(|i| i.time = "2026-01-01T00:02:00Z".to_owned()), [("clock", Verdict::Bad)]);
        assert_eq!(wrong(|i| i.time = "2025-12-31T23:59:00Z".to_owned()), [("clock", Verdict::Bad)]);
        assert_eq!(wrong(|i| i.time = String::new()), [("clock", Verdict::Warning)]);
        assert_eq!(wrong(|i| i.unbounded = vec!["memory".to_owned()]), [("kernel", Verdict::Warning)]);
        assert_eq!(wrong(|i| i.security_options.clear()), [("kernel", Verdict::Warning)]);
        assert_eq!(wrong(|i| i.live_restore = false), [("restarts", Verdict::Warning)]);
    }
}
