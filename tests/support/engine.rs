//! A Docker engine of a test's own, beside the machine's, which it cannot reach or disturb.

#![allow(dead_code, reason = "each test binary uses a part of it")]

mod certificates;
mod home;
mod suite;

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use mastic::bootstrap::{self, Daemon};
use mastic::report::Silent;
use nix::mount::MsFlags;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

pub use certificates::Authority;
pub use home::{Home, PATIENCE};

/// The machine's own engine.
pub const HOST_ENGINE: &str = "unix:///var/run/docker.sock";
/// Where an engine with TLS listens: in its own namespace no other has that port.
pub const TLS_ENGINE: &str = "tcp://127.0.0.1:2376";

/// What an engine is like.
#[derive(Clone, Debug, Default)]
pub struct EngineOptions {
    /// Bytes of the file system that holds its images, containers and volumes. It is in memory.
    pub disk: Option<u64>,
    /// Whether it listens on [`TLS_ENGINE`] too, for clients with a certificate of its authority.
    pub tls: bool,
    /// Debian's suite whose engine it is; without one it is the machine's own.
    pub suite: Option<&'static str>,
    /// Further arguments of `dockerd`, e.g. `--live-restore`.
    pub arguments: Vec<String>,
}

/// An engine in a [`Home`]. It has no network but its own loopback device. Ends when dropped, with all its containers.
///
/// Keep it in a variable of a test, not in a `static`: those are never dropped, and the engine would run until the next
/// test program removes it.
pub struct PrivateEngine {
    home: Home,
    arguments: Vec<String>,
    suite: Option<&'static str>,
    /// Signs the certificates of the engine and its clients.
    authority: Option<Authority>,
}

impl PrivateEngine {
    /// Starts one. `name` is short and of letters, digits and dashes; it need not be unique.
    pub fn start(name: &str, options: EngineOptions) -> Self {
        install();
        let home = Home::new(name);
        let data = home.path("data");
        std::fs::create_dir(&data).expect("a folder can be made");
        if let Some(bytes) = options.disk {
            let size = format!("size={bytes},mode=0711");
            nix::mount::mount(
                Some("mastic-test"),
                &data,
                Some("tmpfs"),
                MsFlags::empty(),
                Some(size.as_str()),
            )
            .expect("a file system can be mounted");
        }
        let mut arguments = arguments(&home);
        let authority = options.tls.then(|| {
            let authority = Authority::new("engine");
            let folder = home.path("tls");
            authority.engine(&folder);
            let file = |flag: &str, name: &str| format!("--{flag}={}", folder.join(name).display());
            arguments.extend([
                format!("--host={TLS_ENGINE}"),
                "--tlsverify".to_owned(),
                file("tlscacert", "ca.pem"),
                file("tlscert", "cert.pem"),
                file("tlskey", "key.pem"),
            ]);
            authority
        });
        arguments.extend(options.arguments);
        let engine = Self { home, arguments, suite: options.suite, authority };
        engine.resume();
        engine
    }

    /// What a profile writes as `engine:`.
    pub fn address(&self) -> String {
        format!("unix://{}", self.home.path("engine.sock").display())
    }

    /// Returns a folder with what a client needs to be let in by TLS: what a profile writes as `tls:`.
    pub fn client_certificates(&self) -> PathBuf {
        let folder = self.home.path("client");
        if !folder.exists() {
            self.authority.as_ref().expect("the engine was started with TLS").client(&folder);
        }
        folder
    }

    /// Its folder and network namespace.
    pub fn home(&self) -> &Home {
        &self.home
    }

    /// The process that runs, if one does. A zombie does not.
    pub fn pid(&self) -> Option<i32> {
        pid(&self.home)
    }

    /// What it has printed.
    pub fn log(&self) -> String {
        std::fs::read_to_string(self.home.path("engine.log")).unwrap_or_default()
    }

    /// Sends a signal to the engine and waits for its end. After SIGKILL its containers live on, until it is started
    /// again: it then stops them, unless it was started with `--live-restore`.
    pub fn end(&self, signal: Signal) {
        end(&self.home, signal);
    }

    /// Starts it where it does not run.
    pub fn resume(&self) {
        let options = self.options();
        if let Some(suite) = self.suite {
            return self.resume_of(suite, &options);
        }
        let started = self.home.block_on(bootstrap::run(&options, &Silent));
        if let Err(error) = started {
            panic!("{error}\n{error:?}\n{}", self.log());
        }
    }

    fn resume_of(&self, suite: &str, options: &bootstrap::Options) {
        let path = |flag: &str, name: &str| format!("--{flag}={}", self.home.path(name).display());
        let mut arguments = vec![
            format!("--host={}", self.address()),
            path("data-root", "data"),
            path("exec-root", "exec"),
            path("pidfile", "engine.pid"),
        ];
        arguments.extend(self.arguments.iter().cloned());
        suite::start(&self.home, suite, &arguments);
        // Bootstrap waits for an engine that is there, and for nothing else.
        wait_for("the engine's process", || self.pid().is_some());
        let found = self.home.block_on(bootstrap::run(options, &Silent)).unwrap_or_else(|error| {
            panic!("{error}\n{}", self.log());
        });
        assert!(found.engine.is_some(), "{found:?}");
    }

    /// Ends it by a signal, and starts it again.
    pub fn restart(&self, signal: Signal) {
        self.end(signal);
        self.resume();
    }

    /// Copies images of the machine's engine, by tag: about 15 s a GB.
    #[track_caller]
    pub fn load_images(&self, references: &[&str]) {
        let mut save = Command::new("docker");
        save.args(["-H", HOST_ENGINE, "save"]).args(references).stdin(Stdio::null()).stdout(Stdio::piped());
        let mut save = save.spawn().expect("the docker client is installed");
        let archive = save.stdout.take().expect("its output was asked for");
        let mut load = Command::new("docker");
        let loaded = load.args(["-H", &self.address(), "load", "-q"]).stdin(archive).output();
        let loaded = loaded.expect("the docker client is installed");
        assert!(save.wait().expect("our child").success(), "docker save {}", references.join(" "));
        assert!(loaded.status.success(), "docker load: {}", String::from_utf8_lossy(&loaded.stderr));
    }

    /// Runs the engine's own client with it: an independent witness.
    #[track_caller]
    pub fn docker(&self, arguments: &[&str]) -> String {
        let output = Command::new("docker").args(["-H", &self.address()]).args(arguments).output();
        let output = output.expect("the docker client is installed");
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "docker {}: {errors}", arguments.join(" "));
        String::from_utf8_lossy(&output.stdout).into_owned()
    }

    fn options(&self) -> bootstrap::Options {
        options(&self.home, self.arguments.clone())
    }
}

/// What bootstrap needs to start an engine in a home.
pub fn options(home: &Home, arguments: Vec<String>) -> bootstrap::Options {
    bootstrap::Options {
        socket: home.path("engine.sock"),
        need_mmdebstrap: false,
        daemon: Daemon {
            data_root: Some(home.path("data")),
            exec_root: Some(home.path("exec")),
            pid_file: Some(home.path("engine.pid")),
            log_file: home.path("engine.log"),
            arguments,
            deadline: PATIENCE,
        },
        ..bootstrap::Options::default()
    }
}

/// What every engine in a home is told.
pub fn arguments(home: &Home) -> Vec<String> {
    // Not the machine's, which may say what is said here.
    let config = home.path("daemon.json");
    std::fs::write(&config, "{}").expect("the home is writable");
    vec![
        format!("--config-file={}", config.display()),
        // Containers share the namespace's loopback device; there is nothing to bridge to.
        "--bridge=none".to_owned(),
        "--iptables=false".to_owned(),
        "--ip-forward=false".to_owned(),
        // Its containers' processes can be told by it. systemd, where it runs, would want other names.
        format!("--cgroup-parent=/{}", home.name()),
        "--exec-opt=native.cgroupdriver=cgroupfs".to_owned(),
    ]
}

/// The engine that runs in a home, if one does.
pub fn pid(home: &Home) -> Option<i32> {
    let text = std::fs::read_to_string(home.path("engine.pid")).ok()?;
    text.trim().parse().ok().filter(|pid| runs(*pid))
}

/// Sends a signal to the engine in a home and waits for its end.
pub fn end(home: &Home, signal: Signal) {
    let pid = pid(home).expect("the engine runs");
    kill(Pid::from_raw(pid), signal).expect("the engine runs");
    wait_for("the engine's end", || !runs(pid));
}

/// Says whether a process runs. A zombie does not.
pub fn runs(pid: i32) -> bool {
    std::fs::read_to_string(format!("/proc/{pid}/stat")).is_ok_and(|stat| !stat.contains(") Z "))
}

/// Waits for what sends no event.
#[track_caller]
pub fn wait_for(what: &str, happened: impl Fn() -> bool) {
    let began = Instant::now();
    while !happened() {
        assert!(began.elapsed() < PATIENCE, "{what} did not come");
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// Installs the engine's programs as a user's first command would, where they are missing.
fn install() {
    let folders = ["/usr/sbin", "/usr/bin", "/usr/local/bin", "/usr/local/sbin"];
    let there = |program| folders.iter().any(|folder| Path::new(folder).join(program).exists());
    if there("dockerd") && there("mmdebstrap") {
        return;
    }
    let done = Command::new(env!("CARGO_BIN_EXE_mastic")).arg("bootstrap").status();
    assert!(done.expect("the program under test can be started").success(), "mastic bootstrap");
}
