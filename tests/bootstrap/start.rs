//! The start of an engine without systemd, in a home of its own.

use std::io::Read as _;
use std::os::fd::{AsRawFd as _, OwnedFd};
use std::sync::Mutex;
use std::time::{Duration, Instant};

use mastic::bootstrap::{self, Done, Options, Report};
use mastic::report::{Event, Reporter, Silent};
use nix::sys::signal::Signal;
use nix::unistd::Pid;

use crate::engine::{self, Home, PATIENCE};

fn options(home: &Home) -> Options {
    engine::options(home, engine::arguments(home))
}

fn log(home: &Home) -> String {
    std::fs::read_to_string(home.path("engine.log")).unwrap_or_default()
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

fn step(report: &Report, what: &str) -> Option<Done> {
    report.steps.iter().find(|step| step.what.contains(what)).map(|step| step.done)
}

#[test]
fn an_engine_must_be_started_once_found_again_and_started_after_its_crash() {
    // A pipe which this process hands down without wishing to, as shells and job servers do.
    let (mut reader, writer) = std::io::pipe().expect("a pipe");
    let leaked: OwnedFd = nix::unistd::dup(&writer).expect("a descriptor");
    assert!(leaked.as_raw_fd() < 10, "opened before all else");
    let home = Home::new("start");
    home.block_on(story(&home, || {
        drop((writer, leaked));
        // Ends only when the engine does not hold the other end: nextest's time limit is the alternative.
        assert_eq!(reader.read(&mut [0]).expect("the pipe's end"), 0);
    }));
}

async fn story(home: &Home, check_descriptors: impl FnOnce()) {
    let options = options(home);
    let run = async |reporter: &dyn Reporter| {
        let began = Instant::now();
        match bootstrap::run(&options, reporter).await {
            Ok(report) => (report, began.elapsed()),
            Err(error) => panic!("{error:?}\n{error}\n{}", log(home)),
        }
    };

    // Only looking must do nothing.
    let looked =
        bootstrap::run(&Options { check_only: true, ..options.clone() }, &Silent).await.expect("a look");
    assert_eq!(step(&looked, "start the engine"), Some(Done::Needed), "{looked:?}");
    assert!(!looked.already && looked.engine.is_none());
    assert!(!home.path("engine.log").exists());

    // What a crashed engine leaves behind in a /run that is kept: a number that belongs to another program by now.
    std::fs::write(home.path("engine.pid"), std::process::id().to_string()).expect("a stale pid file");
    std::fs::create_dir_all(home.path("exec/containerd")).expect("a directory");
    std::fs::write(home.path("exec/containerd/containerd.pid"), std::process::id().to_string())
        .expect("a file");

    let heard = Heard::default();
    let (first, _) = run(&heard).await;
    assert_eq!(step(&first, "start the engine"), Some(Done::Done), "{first:?}");
    assert!(first.engine.is_some() && !first.already);
    assert!(heard.count() >= 3, "a start must be told: {heard:?}");
    let pid = engine::pid(home).expect("it runs");
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
    assert_eq!(engine::pid(home), Some(pid));
    assert!(took < Duration::from_millis(300), "a run with nothing to do took {took:?}");

    // Crashed: the pid file, the socket and containerd's files stay behind.
    engine::end(home, Signal::SIGKILL);
    assert!(home.path("engine.sock").exists() && home.path("engine.pid").exists());
    let (after, _) = run(&Silent).await;
    assert_eq!(step(&after, "start the engine"), Some(Done::Done), "{after:?}");
    assert!(engine::pid(home).is_some_and(|new| new != pid));

    // Ended properly: nothing stays behind.
    engine::end(home, Signal::SIGTERM);
    assert!(!home.path("engine.pid").exists());
    let looked =
        bootstrap::run(&Options { check_only: true, ..options.clone() }, &Silent).await.expect("a look");
    assert!(looked.engine.is_none());
}

#[test]
fn an_engine_that_cannot_start_must_be_reported_with_its_own_words() {
    let home = Home::new("cannot");
    let mut options = options(&home);
    options.daemon.arguments.push("--storage-driver=no-such-driver".to_owned());
    let began = Instant::now();
    let error = home.block_on(bootstrap::run(&options, &Silent)).expect_err("no engine has such a driver");
    assert!(error.to_string().contains("no-such-driver"), "{error}");
    assert!(began.elapsed() < PATIENCE, "its end must be noticed, not waited for");
}

#[test]
fn two_runs_at_once_must_end_with_one_engine() {
    let home = Home::new("two");
    let options = options(&home);
    let (one, other) = home.block_on(async {
        tokio::join!(bootstrap::run(&options, &Silent), bootstrap::run(&options, &Silent))
    });
    let (one, other) = (one.expect("one run"), other.expect("the other run"));
    assert!(one.engine.is_some() && one.engine == other.engine);
}
