//! Bootstrap on a real engine: a second one, on private paths beside the host's, which is never touched.

use std::io::Read as _;
use std::os::fd::{AsRawFd as _, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::time::{Duration, Instant};

use mastic::bootstrap::{self, Daemon, Done, Options, Report};
use mastic::report::{Event, Reporter, Silent};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

/// Longer than any engine takes on a busy machine.
const PATIENCE: Duration = Duration::from_secs(120);

/// A second engine's paths. Ends the engine, should the test not have come to it.
struct Second {
    root: tempfile::TempDir,
}

impl Second {
    fn new() -> Self {
        Self { root: tempfile::tempdir().expect("a directory") }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.root.path().join(name)
    }

    fn options(&self) -> Options {
        Options {
            socket: self.path("engine.sock"),
            need_mmdebstrap: false,
            daemon: Daemon {
                data_root: Some(self.path("data")),
                exec_root: Some(self.path("exec")),
                pid_file: Some(self.path("engine.pid")),
                log_file: self.path("engine.log"),
                arguments: ["--bridge=none", "--iptables=false", "--ip-forward=false"]
                    .map(str::to_owned)
                    .to_vec(),
                deadline: PATIENCE,
            },
            ..Options::default()
        }
    }

    fn pid(&self) -> Option<i32> {
        std::fs::read_to_string(self.path("engine.pid")).ok()?.trim().parse().ok()
    }

    fn log(&self) -> String {
        std::fs::read_to_string(self.path("engine.log")).unwrap_or_default()
    }

    /// Sends a signal to the engine and waits for its end. A zombie has ended.
    fn end(&self, signal: Signal) {
        let pid = self.pid().expect("the engine wrote its pid file");
        kill(Pid::from_raw(pid), signal).expect("the engine runs");
        wait_for("the engine's end", || !runs(pid));
    }
}

impl Drop for Second {
    fn drop(&mut self) {
        if let Some(pid) = self.pid().filter(|pid| runs(*pid)) {
            let _ = kill(Pid::from_raw(pid), Signal::SIGTERM);
            let began = Instant::now();
            while runs(pid) && began.elapsed() < PATIENCE {
                std::thread::sleep(Duration::from_millis(20));
            }
        }
        // The engine leaves the mounts of its network namespaces and of a container that it did not end itself.
        let mounts = std::fs::read_to_string("/proc/self/mounts").unwrap_or_default();
        for mount in mounts.lines().rev().filter_map(|line| line.split(' ').nth(1)) {
            if Path::new(mount).starts_with(self.root.path()) {
                let _ = nix::mount::umount2(mount, nix::mount::MntFlags::MNT_DETACH);
            }
        }
    }
}

fn runs(pid: i32) -> bool {
    std::fs::read_to_string(format!("/proc/{pid}/stat")).is_ok_and(|stat| !stat.contains(") Z "))
}

#[track_caller]
fn wait_for(what: &str, happened: impl Fn() -> bool) {
    let began = Instant::now();
    while !happened() {
        assert!(began.elapsed() < PATIENCE, "{what} did not come");
        // Another process's end sends no event to one that is not its parent.
        std::thread::sleep(Duration::from_millis(10));
    }
}

#[derive(Debug, Default)]
struct Heard(Mutex<Vec<Event>>);

impl Reporter for Heard {
    fn on(&self, event: Event) {
        self.0.lock().expect("nobody panicked").push(event);
    }
}

impl Heard {
    fn count(&self) -> usize {
        self.0.lock().expect("nobody panicked").len()
    }
}

fn step<'a>(report: &'a Report, what: &str) -> Option<Done> {
    report.steps.iter().find(|step| step.what.contains(what)).map(|step| step.done)
}

#[test]
fn an_engine_must_be_started_once_found_again_and_started_after_its_crash() {
    // A pipe which this process hands down without wishing to, as shells and job servers do.
    let (mut reader, writer) = std::io::pipe().expect("a pipe");
    let leaked: OwnedFd = nix::unistd::dup(&writer).expect("a descriptor");
    assert!(leaked.as_raw_fd() < 10, "opened before all else");
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    runtime.block_on(story(&Second::new(), || {
        drop((writer, leaked));
        // Ends only when the engine does not hold the other end: nextest's time limit is the alternative.
        assert_eq!(reader.read(&mut [0]).expect("the pipe's end"), 0);
    }));
}

async fn story(second: &Second, check_descriptors: impl FnOnce()) {
    let options = second.options();
    let run = async |reporter: &dyn Reporter| {
        let began = Instant::now();
        match bootstrap::run(&options, reporter).await {
            Ok(report) => (report, began.elapsed()),
            Err(error) => panic!("{error:?}\n{error}\n{}", second.log()),
        }
    };

    // Only looking must do nothing.
    let looked =
        bootstrap::run(&Options { check_only: true, ..options.clone() }, &Silent).await.expect("a look");
    assert_eq!(step(&looked, "start the engine"), Some(Done::Needed), "{looked:?}");
    assert!(!looked.already && looked.engine.is_none());
    assert!(!second.path("engine.log").exists());

    // What a crashed engine leaves behind in a /run that is kept: a number that belongs to another program by now.
    std::fs::write(second.path("engine.pid"), std::process::id().to_string()).expect("a stale pid file");
    std::fs::create_dir_all(second.path("exec/containerd")).expect("a directory");
    std::fs::write(second.path("exec/containerd/containerd.pid"), std::process::id().to_string())
        .expect("a file");

    let heard = Heard::default();
    let (first, took) = run(&heard).await;
    assert_eq!(step(&first, "start the engine"), Some(Done::Done), "{first:?}");
    assert!(first.engine.is_some() && !first.already);
    assert!(heard.count() >= 3, "a start must be told: {heard:?}");
    eprintln!("first start: {took:?}, {first:?}");
    let pid = second.pid().expect("a pid file");
    check_descriptors();

    // It is a session of its own, and has nothing of our environment.
    assert_eq!(nix::unistd::getsid(Some(Pid::from_raw(pid))), Ok(Pid::from_raw(pid)));
    let environment = std::fs::read(format!("/proc/{pid}/environ")).expect("the engine's environment");
    let environment = String::from_utf8_lossy(&environment).into_owned();
    assert!(environment.contains("PATH=") && !environment.contains("CARGO"), "{environment}");

    let heard = Heard::default();
    let (again, took) = run(&heard).await;
    assert!(again.already, "{again:?}");
    assert_eq!((again.engine.as_ref(), heard.count()), (first.engine.as_ref(), 0));
    assert_eq!(second.pid(), Some(pid));
    assert!(took < Duration::from_millis(300), "a run with nothing to do took {took:?}");
    eprintln!("second run: {took:?}");

    // Crashed: the pid file, the socket and containerd's files stay behind.
    second.end(Signal::SIGKILL);
    assert!(second.path("engine.sock").exists() && second.pid() == Some(pid));
    let (after, took) = run(&Silent).await;
    assert_eq!(step(&after, "start the engine"), Some(Done::Done), "{after:?}");
    assert_ne!(second.pid(), Some(pid));
    eprintln!("after the crash: {took:?}");

    // Ended properly: nothing stays behind.
    second.end(Signal::SIGTERM);
    wait_for("the removal of the pid file", || second.pid().is_none());
    let looked =
        bootstrap::run(&Options { check_only: true, ..options.clone() }, &Silent).await.expect("a look");
    assert!(looked.engine.is_none());
}

#[tokio::test]
async fn an_engine_that_cannot_start_must_be_reported_with_its_own_words() {
    let second = Second::new();
    let mut options = second.options();
    options.daemon.arguments.push("--storage-driver=no-such-driver".to_owned());
    let began = Instant::now();
    let error = bootstrap::run(&options, &Silent).await.expect_err("no engine has such a driver");
    assert!(error.to_string().contains("no-such-driver"), "{error}");
    assert!(began.elapsed() < PATIENCE, "its end must be noticed, not waited for");
}

#[tokio::test]
async fn two_runs_at_once_must_end_with_one_engine() {
    let second = Second::new();
    let options = second.options();
    let (one, other) = tokio::join!(bootstrap::run(&options, &Silent), bootstrap::run(&options, &Silent));
    let (one, other) = (one.expect("one run"), other.expect("the other run"));
    assert!(one.engine.is_some() && one.engine == other.engine);
    second.end(Signal::SIGTERM);
}
