//! What must be survived, on the real engine.

use std::os::unix::process::CommandExt;
use std::process::Command;
use std::time::{Duration, Instant};

use crate::harness::Cloud;

/// Small, repeatable pseudo-random numbers: a failing run can be told by its number.
struct Dice(u64);

impl Dice {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % bound
    }
}

/// Requires one container a slot, all running or ended well, and nothing else.
fn assert_tidy(cloud: &Cloud) {
    let containers = cloud.containers();
    let mut slots = std::collections::BTreeMap::<String, usize>::new();
    for name in containers.keys() {
        if name.ends_with(".ledger") {
            continue;
        }
        assert!(!name.ends_with(".lock"), "the lock was left");
        let slot = name.rsplit_once('-').map_or(name.as_str(), |(slot, _)| slot);
        *slots.entry(slot.to_owned()).or_default() += 1;
    }
    assert!(slots.values().all(|n| *n == 1), "strays: {containers:#?}");
}

#[test]
fn thirty_kills_at_random_moments_of_a_deploy_must_converge() {
    let cloud = Cloud::new("t-kill", 3);
    let mut dice = Dice(0x6d61_7374_6963);
    // How long a whole deploy takes bounds the moments; a kill after its end tests nothing.
    let whole = cloud.mastic(&["deploy", "--yes"]).ok().took;
    let volumes = cloud.volumes();
    cloud.mastic(&["destroy", "--yes", "--volumes", "all"]).ok();
    let mut killed = 0;
    for round in 0..30 {
        let mut child = cloud.spawn(&["deploy", "--yes"]);
        let moment = Duration::from_millis(dice.below(whole.as_millis().min(12_000) as u64));
        let began = Instant::now();
        while began.elapsed() < moment && child.try_wait().expect("a child can be asked").is_none() {
            std::thread::yield_now();
            std::thread::park_timeout(Duration::from_millis(2));
        }
        if child.try_wait().expect("a child can be asked").is_none() {
            child.kill().expect("a child can be killed");
            killed += 1;
        }
        child.wait().expect("a child can be waited for");
        if round % 10 == 9 {
            cloud.mastic(&["deploy", "--yes"]).ok();
            cloud.token();
            assert_tidy(&cloud);
            cloud.mastic(&["plan"]).ok();
            assert_eq!(cloud.volumes(), volumes, "volumes were lost");
            if round < 29 {
                cloud.mastic(&["destroy", "--yes", "--volumes", "all"]).ok();
            }
        } else if round % 3 == 2 {
            // From scratch again, so that the kills fall into all parts of a deploy.
            cloud.mastic(&["destroy", "--yes", "--volumes", "all"]).ok();
        }
    }
    assert!(killed >= 20, "only {killed} of 30 runs were killed before their end");
}

#[test]
fn kills_during_a_change_and_a_removal_must_converge() {
    let cloud = Cloud::new("t-change", 4);
    let mut dice = Dice(0x00c0_ffee);
    cloud.mastic(&["deploy", "--yes"]).ok();
    for round in 0..6 {
        cloud.write("overrides/keystone.conf", &format!("[token]\nexpiration = {}\n", 7000 + round));
        cloud.write("mastic.yaml", &cloud.profile("overrides: overrides\n"));
        let mut child = cloud.spawn(&["deploy", "--yes"]);
        std::thread::park_timeout(Duration::from_millis(200 + dice.below(5000)));
        let _ = child.kill();
        child.wait().expect("a child can be waited for");
        cloud.mastic(&["deploy", "--yes"]).ok();
        assert_tidy(&cloud);
        cloud.mastic(&["plan"]).ok();
    }
    cloud.token();
    let mut child = cloud.spawn(&["destroy", "--yes"]);
    std::thread::park_timeout(Duration::from_millis(700));
    let _ = child.kill();
    child.wait().expect("a child can be waited for");
    cloud.mastic(&["destroy", "--yes"]).ok();
    assert_eq!(cloud.containers().len(), 0);
    assert!(!cloud.volumes().is_empty(), "an interrupted destroy took the data");
}

#[test]
fn two_deploys_at_once_must_not_meet_and_the_second_must_say_who_holds_the_lock() {
    let cloud = Cloud::new("t-lock", 5);
    let first = cloud.spawn(&["deploy", "--yes", "--message", "the first"]);
    let deadline = Instant::now() + Duration::from_secs(20);
    while !cloud.containers().keys().any(|n| n.ends_with(".lock")) {
        assert!(Instant::now() < deadline, "no lock was taken");
        std::thread::park_timeout(Duration::from_millis(20));
    }
    cloud.mastic(&["deploy", "--yes"]).code(4).says("the first");
    Cloud::finish(first).ok();
    cloud.mastic(&["plan"]).ok();
}

#[test]
fn a_container_that_cannot_serve_must_be_undone_with_its_own_words() {
    let cloud = Cloud::new("t-crash", 6);
    cloud.mastic(&["deploy", "--yes"]).ok();
    let before = cloud.containers();

    // Crashes at start: keystone refuses a port that is not one.
    cloud.write(
        "overrides/keystone.conf",
        "[DEFAULT]\nmax_param_size = not-a-number\n[token]\nexpiration = soon\n",
    );
    cloud.write("mastic.yaml", &cloud.profile("overrides: overrides\n"));
    let failed = cloud.mastic(&["deploy", "--yes"]).code(6).says("keystone");
    assert!(
        failed.stderr.contains("expiration") || failed.stderr.contains("max_param_size"),
        "the container's own words are missing:\n{}",
        failed.stderr
    );
    assert_tidy(&cloud);
    cloud.token();
    let names = |all: &crate::harness::Containers| {
        all.iter().map(|(n, c)| (n.clone(), c.0.clone())).collect::<Vec<_>>()
    };
    assert_eq!(names(&before), names(&cloud.containers()), "the set was not returned to what it was");

    // The port is taken by somebody else.
    std::fs::remove_file(cloud.dir.path().join("overrides/keystone.conf")).expect("the override is there");
    cloud.mastic(&["destroy", "--yes"]).ok();
    let taken = std::net::TcpListener::bind((cloud.address.as_str(), 5000)).expect("the port is free now");
    cloud.mastic(&["prechecks"]).code(1).says("5000");
    cloud.mastic(&["deploy", "--yes"]).code(6);
    drop(taken);
    cloud.mastic(&["deploy", "--yes"]).ok();
    cloud.token();
}

#[test]
fn a_missing_image_must_be_said_before_anything_is_touched() {
    let cloud = Cloud::new("t-image", 7);
    cloud.write("mastic.yaml", &cloud.profile("images: {pins: {keystone: \"mastic/no-such-image:1\"}}\n"));
    cloud.mastic(&["deploy", "--yes"]).code(1).says("mastic/no-such-image:1").says("mastic build");
    assert_eq!(cloud.containers().len(), 0, "something was made for a deploy that cannot work");
}

#[test]
fn the_engine_restarted_in_the_middle_of_a_deploy_must_be_survived() {
    let cloud = Cloud::new("t-engine", 8);
    let child = cloud.spawn(&["deploy", "--yes"]);
    std::thread::park_timeout(Duration::from_millis(2500));
    let pid = std::fs::read_to_string("/var/run/docker.pid").expect("the engine has a pid file");
    let pid: i32 = pid.trim().parse().expect("a pid");
    nix::sys::signal::kill(nix::unistd::Pid::from_raw(pid), nix::sys::signal::Signal::SIGTERM)
        .expect("the engine can be stopped");
    let deadline = Instant::now() + Duration::from_secs(60);
    while std::path::Path::new(&format!("/proc/{pid}")).exists() {
        assert!(Instant::now() < deadline, "the engine did not stop");
        std::thread::park_timeout(Duration::from_millis(50));
    }
    let broken = Cloud::finish(child);
    assert_ne!(broken.code, Some(101), "a panic:\n{}", broken.stderr);
    cloud.mastic(&["bootstrap"]).ok();
    cloud.mastic(&["deploy", "--yes"]).ok();
    cloud.token();
    assert_tidy(&cloud);
    cloud.mastic(&["plan"]).ok();
}

#[test]
fn a_truncated_journal_must_not_stop_the_next_run() {
    let cloud = Cloud::new("t-journal", 9);
    let mut child = cloud.spawn(&["deploy", "--yes"]);
    std::thread::park_timeout(Duration::from_millis(2000));
    let _ = child.kill();
    child.wait().expect("a child can be waited for");
    for (path, bytes) in crate::harness::files(&cloud.state().join("runs")) {
        std::fs::write(&path, &bytes[..bytes.len().saturating_sub(17)]).expect("the journal can be written");
    }
    cloud.mastic(&["deploy", "--yes"]).ok();
    cloud.token();
    assert_tidy(&cloud);
}

#[test]
fn ctrl_c_must_leave_a_known_state() {
    let cloud = Cloud::new("t-ctrlc", 10);
    let child = cloud
        .command(&["deploy", "--yes"])
        .process_group(0)
        .stderr(std::process::Stdio::piped())
        .stdout(std::process::Stdio::piped())
        .spawn()
        .expect("the program can be started");
    std::thread::park_timeout(Duration::from_millis(2500));
    Command::new("kill").args(["-INT", &child.id().to_string()]).status().expect("kill is installed");
    let ran = Cloud::finish(child).code(130);
    assert!(!ran.stderr.contains("panicked"), "{}", ran.stderr);
    assert!(!cloud.containers().keys().any(|n| n.ends_with(".lock")), "the lock was left");
    cloud.mastic(&["deploy", "--yes"]).ok();
    cloud.token();
    assert_tidy(&cloud);
}
