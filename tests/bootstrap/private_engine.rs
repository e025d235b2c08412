//! The tests' own engines keep their promises: they disturb nobody and leave nothing.

use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use mastic::engine::connect;
use nix::sys::signal::Signal;

use crate::engine::{EngineOptions, HOST_ENGINE, Home, PrivateEngine, TLS_ENGINE, runs};

fn output(program: &str, arguments: &[&str]) -> String {
    let output = Command::new(program).args(arguments).output().expect("the program is installed");
    assert!(output.status.success(), "{program}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// What a second engine in the host's namespaces would change: interfaces, routes, filters, mounts.
fn host() -> String {
    let text = [
        output("ip", &["-o", "link"]),
        output("ip", &["-o", "address"]),
        output("ip", &["route"]),
        output("iptables", &["-S"]),
        output("iptables", &["-t", "nat", "-S"]),
    ];
    text.concat()
}

/// Makes the least image, of one program that waits for ever, and returns its archive.
fn import(engine: &PrivateEngine) -> String {
    let folder = engine.home().path("image");
    std::fs::create_dir(&folder).expect("a folder can be made");
    compile_waiter(&folder.join("waiter"), &engine.home().path("waiter.rs"));
    let (folder, archive) = (folder.to_string_lossy(), engine.home().path("image.tar"));
    let archive = archive.to_string_lossy().into_owned();
    output("tar", &["-C", &folder, "-cf", &archive, "."]);
    engine.docker(&["import", &archive, "waiter:1"]);
    archive
}

fn compile_waiter(at: &Path, source: &Path) {
    std::fs::write(source, "fn main() { loop { std::thread::park() } }").expect("a file can be written");
    let flags = ["--edition=2024", "-Ctarget-feature=+crt-static", "-Cpanic=abort", "-o"];
    let rustc = std::env::var("RUSTC").unwrap_or_else(|_| "rustc".to_owned());
    let made = Command::new(rustc).args(flags).args([at, source]).status().expect("rustc can be run");
    assert!(made.success(), "the waiter does not compile");
}

fn run(engine: &PrivateEngine) -> i32 {
    engine.docker(&["run", "-d", "--network=host", "--name=waiter", "waiter:1", "/waiter"]);
    running(engine).expect("it runs")
}

fn running(engine: &PrivateEngine) -> Option<i32> {
    let state = engine.docker(&["inspect", "-f", "{{.State.Running}} {{.State.Pid}}", "waiter"]);
    let (running, pid) = state.trim().split_once(' ')?;
    (running == "true").then(|| pid.parse().ok()).flatten()
}

fn leftovers(home: &Path) -> Vec<String> {
    let name = home.file_name().expect("a name").to_string_lossy().into_owned();
    let mut found = Vec::new();
    if home.exists() {
        found.push(home.display().to_string());
    }
    for text in ["/proc/self/mounts", "/proc/self/cgroup"] {
        let text = std::fs::read_to_string(text).expect("/proc is there");
        found.extend(text.lines().filter(|line| line.contains(&name)).map(str::to_owned));
    }
    for process in std::fs::read_dir("/proc").expect("/proc is there").flatten() {
        // What has ended and is not yet reaped by its new parent still names its control group.
        if !process.file_name().to_string_lossy().parse().is_ok_and(runs) {
            continue;
        }
        for file in ["cmdline", "cgroup"] {
            let text = std::fs::read(process.path().join(file)).unwrap_or_default();
            let text = String::from_utf8_lossy(&text).replace('\0', " ");
            if text.contains(&name) {
                found.push(format!("{}: {text}", process.path().display()));
            }
        }
    }
    found
}

#[test]
fn an_engine_must_leave_nothing_and_change_nothing_of_the_machine_s() {
    let before = host();
    let engine = PrivateEngine::start("nothing", EngineOptions::default());
    import(&engine);
    let (home, pid) = (engine.home().path(""), run(&engine));
    assert!(!leftovers(&home).is_empty(), "or this test would not see them");
    drop(engine);
    assert!(!runs(pid));
    assert_eq!(leftovers(&home), Vec::<String>::new());
    // Killed, with a container that lives on.
    let engine = PrivateEngine::start("nothing", EngineOptions::default());
    import(&engine);
    let (home, pid) = (engine.home().path(""), run(&engine));
    engine.end(Signal::SIGKILL);
    assert!(runs(pid), "a container outlives its engine's crash");
    drop(engine);
    assert!(!runs(pid));
    assert_eq!(leftovers(&home), Vec::<String>::new());
    assert_eq!(host(), before);
}

#[test]
fn what_a_killed_test_program_has_left_must_be_removed_by_the_next() {
    let old = PathBuf::from(format!("/var/tmp/mastic-engine-killed-{}", std::process::id()));
    std::fs::create_dir(&old).expect("a folder can be made");
    std::fs::write(old.join("log"), "up").expect("a file can be written");
    let mut tail = Command::new("tail");
    let mut left =
        tail.arg("-f").arg(old.join("log")).stdout(Stdio::piped()).spawn().expect("tail can be run");
    // Until a new program has begun, it has no command line by which it could be found.
    let (mut shown, mut up) = (left.stdout.take().expect("it is piped"), [0; 2]);
    shown.read_exact(&mut up).expect("it shows what is there");
    assert!(runs(i32::try_from(left.id()).expect("a process id")));
    // Last: from now on it may be removed.
    std::fs::write(old.join("owner"), "").expect("a file can be written");
    drop(Home::new("next"));
    assert!(!old.exists());
    assert!(!left.wait().expect("our child").success());
}

#[test]
fn a_restart_must_end_the_containers_unless_they_are_to_be_kept() {
    let engine = PrivateEngine::start("restart", EngineOptions::default());
    import(&engine);
    for signal in [Signal::SIGTERM, Signal::SIGKILL] {
        let (old, container) = (engine.pid().expect("it runs"), run(&engine));
        engine.restart(signal);
        assert!(!runs(old) && engine.pid().is_some_and(|new| new != old));
        assert!(running(&engine).is_none() && !runs(container), "{signal}");
        engine.docker(&["rm", "waiter"]);
    }
    drop(engine);
    let arguments = vec!["--live-restore".to_owned()];
    let engine = PrivateEngine::start("restart", EngineOptions { arguments, ..EngineOptions::default() });
    import(&engine);
    let container = run(&engine);
    for signal in [Signal::SIGTERM, Signal::SIGKILL] {
        engine.restart(signal);
        assert_eq!(running(&engine), Some(container), "{signal}");
    }
}

#[test]
fn a_small_disk_must_become_full() {
    let disk = Some(64 << 20);
    let engine = PrivateEngine::start("disk", EngineOptions { disk, ..EngineOptions::default() });
    import(&engine);
    let big = engine.home().path("big");
    std::fs::write(&big, vec![1; 80 << 20]).expect("the host's disk has room");
    let failed = Command::new("docker")
        .args(["-H", &engine.address(), "import", &big.to_string_lossy(), "big:1"])
        .output()
        .expect("the docker client is installed");
    assert!(!failed.status.success());
    // Nothing but the tags of the first import is there.
    assert_eq!(engine.docker(&["images", "-q"]).lines().count(), 1);
}

#[test]
fn images_of_the_machine_s_engine_must_arrive_whole() {
    let engine = PrivateEngine::start("load", EngineOptions::default());
    let archive = import(&engine);
    let reference = format!("mastic-test/load-{}:1", std::process::id());
    let id = output("docker", &["-H", HOST_ENGINE, "import", &archive, &reference]);
    engine.load_images(&[&reference]);
    output("docker", &["-H", HOST_ENGINE, "rmi", &reference]);
    assert_eq!(engine.docker(&["inspect", "-f", "{{.Id}}", &reference]), id);
}

#[test]
fn an_engine_behind_tls_must_be_reached_from_its_own_network_only() {
    let engine = PrivateEngine::start("tls", EngineOptions { tls: true, ..EngineOptions::default() });
    let folder = engine.client_certificates();
    let folder = folder.to_str();
    let ask = async || connect(TLS_ENGINE, folder).await?.info().await;
    let there = engine.home().block_on(ask()).expect("it answers").id;
    assert_eq!(there, engine.docker(&["info", "-f", "{{.ID}}"]).trim());
    // Here nobody listens, or somebody with other certificates.
    let outside = tokio::runtime::Runtime::new().expect("a runtime");
    outside.block_on(ask()).expect_err("another network has another loopback device");
}
