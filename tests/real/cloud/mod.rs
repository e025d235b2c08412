//! A cloud that boots servers, on an engine of the test's own in a network namespace: its switch, its bridges and its
//! guests meet no other cloud of this machine. A server of `mastic verify --keep` is what must come to no harm.

mod kills;
mod outlive;
mod pings;

use std::collections::BTreeSet;
use std::net::Ipv4Addr;
use std::path::Path;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;

use crate::engine::{EngineOptions, PrivateEngine};
use crate::harness::{Cloud, Ran};

/// The profile `ci-smoke` under a name of its own.
struct Smoke {
    /// Comes first: what its guests and networks left is removed while the engine still knows nothing of it.
    _leavings: Leavings,
    cloud: Cloud,
}

impl Smoke {
    /// Builds the images on the machine's engine, and copies them to one of its own. Nothing is deployed yet.
    fn new(name: &str, number: u8) -> Self {
        let shipped = include_str!("../../../profiles/ci-smoke.yaml");
        let profile = shipped.replace("deployment: smoke", &format!("deployment: {name}"));
        assert_ne!(profile, shipped);
        let images = {
            let builder = Cloud::new(&format!("{name}-images"), number);
            builder.write("mastic.yaml", &profile);
            builder.mastic(&["build"]).ok();
            builder.mastic(&["build", "--only", "guest"]).ok();
            let plan = builder.mastic(&["build", "--plan", "--json"]).ok().json();
            let guest = builder.mastic(&["build", "--plan", "--json", "--only", "guest"]).ok().json();
            let all = [plan["images"].clone(), guest["images"].clone()];
            let all = all.iter().flat_map(|list| list.as_array().expect("a plan lists images"));
            // What is only built with is not run.
            all.filter(|image| image["image"] != "python-build")
                .map(|image| image["reference"].as_str().expect("it has a reference").to_owned())
                .collect::<BTreeSet<String>>()
        };
        // As bootstrap starts the machine's.
        let arguments = vec!["--live-restore".to_owned()];
        let engine = PrivateEngine::start(name, EngineOptions { arguments, ..EngineOptions::default() });
        engine.load_images(&images.iter().map(String::as_str).collect::<Vec<_>>());
        let endpoint = engine.address();
        let cloud = Cloud::on(name, number, engine);
        cloud.write("mastic.yaml", &profile.replace("unix:///var/run/docker.sock", &endpoint));
        Self { _leavings: Leavings { deployment: name.to_owned() }, cloud }
    }

    /// A server of a stranger, reached at its floating address.
    fn server(&self) -> Server {
        let only = ["--only", "ping", "--only", "http"];
        let ran = self.cloud.mastic(&[&["verify", "--keep", "--json"][..], &only].concat()).ok();
        let detail = |step: &str| detail(&ran, step);
        let address = detail("floating-ip").parse().expect("the step tells the floating address");
        let id = detail("server").rsplit(' ').next().expect("it tells an id").to_owned();
        let pid = qemu(&id).expect("the server's process is there");
        Server { id, address, pid }
    }
}

/// What a step of `verify --json` has told.
#[track_caller]
fn detail(ran: &Ran, step: &str) -> String {
    let report = ran.json();
    let steps = report["steps"].as_array().expect("a report has steps");
    let found = steps.iter().find(|one| one["step"] == step);
    let text = found.and_then(|one| one["detail"].as_str());
    text.unwrap_or_else(|| panic!("no step {step} in {report:#}")).to_owned()
}

/// A running server, as the host sees it.
#[derive(Debug)]
struct Server {
    id: String,
    address: Ipv4Addr,
    /// Of QEMU.
    pid: i32,
}

impl Server {
    /// Requires the process to be the one that it was.
    #[track_caller]
    fn assert_lives(&self, when: &str) {
        assert_eq!(qemu(&self.id), Some(self.pid), "{when}: the server's process is another one or none");
    }
}

/// The process of a server, by its command line.
fn qemu(server: &str) -> Option<i32> {
    processes().find_map(|(pid, line)| (line.contains("qemu-system") && line.contains(server)).then_some(pid))
}

fn processes() -> impl Iterator<Item = (i32, String)> {
    let all = std::fs::read_dir("/proc").expect("/proc is there").flatten();
    all.filter_map(|entry| {
        let pid = entry.file_name().to_string_lossy().parse().ok()?;
        let line = std::fs::read(entry.path().join("cmdline")).ok()?;
        Some((pid, String::from_utf8_lossy(&line).into_owned()))
    })
}

/// What outlives containers by design, and so would outlive the test: guests, and what serves networks.
struct Leavings {
    deployment: String,
}

impl Drop for Leavings {
    fn drop(&mut self) {
        let deployment = &self.deployment;
        let hierarchies = std::fs::read_dir("/sys/fs/cgroup").into_iter().flatten().flatten();
        let tops = hierarchies.map(|entry| entry.path()).chain([Path::new("/sys/fs/cgroup").to_path_buf()]);
        let groups = tops.flat_map(|top| {
            [format!("mastic-{deployment}-guests"), format!("mastic/{deployment}/networks")]
                .map(|group| top.join(group))
        });
        for group in groups {
            let text = std::fs::read_to_string(group.join("cgroup.procs")).unwrap_or_default();
            for pid in text.lines().filter_map(|line| line.parse().ok()) {
                // It may have ended with another one.
                let _ = kill(Pid::from_raw(pid), Signal::SIGKILL);
            }
        }
    }
}

/// Requires `verify` to pass, every step of it.
#[track_caller]
fn assert_passes(cloud: &Cloud, when: &str) {
    let ran = cloud.mastic(&["verify", "--json"]);
    let report: Value = serde_json::from_str(&ran.stdout).unwrap_or_default();
    assert!(ran.code == Some(0) && report["ok"] == true, "{when}: {}\n{}", ran.stdout, ran.stderr);
}
