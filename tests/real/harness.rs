//! A deployment of a test's own on the real engine, driven through the command line as a user would.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufRead as _, BufReader};
use std::os::unix::fs::MetadataExt as _;
use std::os::unix::process::{CommandExt as _, ExitStatusExt as _};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{LazyLock, Mutex, MutexGuard, OnceLock, PoisonError, mpsc};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;
use serde_json::Value;

use crate::engine::{HOST_ENGINE, PrivateEngine};

/// The engine and its ports are one resource: one test at a time has it.
static ENGINE: Mutex<()> = Mutex::new(());
/// Engine and images are made ready once per test program.
static READY: OnceLock<()> = OnceLock::new();

/// Names another program to be tested than the one that was compiled together with the tests: a release build, say, which is what
/// users run, and takes a quarter of the time for what it does itself.
const OTHER: &str = "MASTIC_TEST_BINARY";
/// The program under test.
pub static MASTIC: LazyLock<String> =
    LazyLock::new(|| std::env::var(OTHER).unwrap_or_else(|_| env!("CARGO_BIN_EXE_mastic").to_owned()));
/// Seconds for which newer containers stay well in the upgrades of tests that say nothing of it: five by default.
const SOAK: &str = "1";

/// What an ended program left.
#[derive(Debug)]
pub struct Ran {
    pub arguments: String,
    pub code: Option<i32>,
    pub stdout: String,
    pub stderr: String,
    pub took: Duration,
}

impl Ran {
    #[expect(clippy::print_stderr, reason = "it is captured: seen where a test fails, and with --nocapture")]
    fn new(arguments: String, output: &Output, took: Duration) -> Self {
        eprintln!("  {:5.1} s  mastic {arguments}", took.as_secs_f64());
        Self {
            arguments,
            code: output.status.code(),
            stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
            took,
        }
    }

    /// Requires an exit code.
    #[track_caller]
    pub fn code(self, expected: i32) -> Self {
        assert_eq!(
            self.code,
            Some(expected),
            "mastic {} ended with {:?} after {:?}\n-- stdout\n{}\n-- stderr\n{}",
            self.arguments,
            self.code,
            self.took,
            self.stdout,
            self.stderr
        );
        self
    }

    /// Requires success.
    #[track_caller]
    pub fn ok(self) -> Self {
        self.code(0)
    }

    /// Requires a text in what was said.
    #[track_caller]
    pub fn says(self, text: &str) -> Self {
        assert!(
            self.stdout.contains(text) || self.stderr.contains(text),
            "mastic {} did not say {text:?}\n-- stdout\n{}\n-- stderr\n{}",
            self.arguments,
            self.stdout,
            self.stderr
        );
        self
    }

    /// Reads standard output as JSON.
    #[track_caller]
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.stdout)
            .unwrap_or_else(|e| panic!("mastic {} printed no JSON: {e}\n{}", self.arguments, self.stdout))
    }
}

/// Longer than anything takes on a busy machine.
const PATIENCE: Duration = Duration::from_mins(10);

/// One deployment, gone when dropped.
pub struct Cloud {
    pub name: String,
    pub address: String,
    pub dir: tempfile::TempDir,
    /// What makes its ports on this machine's loopback its own, where a program listens on all addresses.
    number: u8,
    /// An engine of its own instead of the machine's.
    private: Option<PrivateEngine>,
    runs: AtomicU32,
    engine: Option<MutexGuard<'static, ()>>,
    /// Held until all is gone: two test programs on one engine must not have a deployment of one name.
    _alone: std::fs::File,
}

/// Containers of a deployment: name to (id, started at, state). An ended one's state has its code: `exited 0`.
pub type Containers = BTreeMap<String, (String, String, String)>;

impl Cloud {
    /// Makes engine and images ready, and writes the least profile with a Keystone.
    pub fn new(name: &str, host_number: u8) -> Self {
        let cloud = Self::with(name, host_number, None);
        cloud.write("mastic.yaml", &cloud.profile(""));
        READY.get_or_init(|| {
            cloud.mastic(&["bootstrap"]).ok();
            cloud.mastic(&["build"]).ok();
        });
        // What an earlier, killed run of the same test left.
        cloud.mastic(&["destroy", "--yes", "--volumes", "all"]);
        cloud
    }

    /// The same with 2025.1, to be deployed, and the images of 2026.1 there too. The line of the release has a comment, as a user's.
    pub fn older(name: &str, host_number: u8) -> Self {
        let cloud = Self::new(name, host_number);
        let profile = cloud.profile("").replace("release: \"2026.1\"", "release: \"2025.1\" # ours");
        cloud.write("mastic.yaml", &profile);
        cloud.mastic(&["build"]).ok();
        cloud.mastic(&["--release", "2026.1", "build"]).ok();
        cloud
    }

    /// A deployment on an engine of its own, which has no images yet. The profile is the caller's to write.
    pub fn on(name: &str, host_number: u8, engine: PrivateEngine) -> Self {
        Self::with(name, host_number, Some(engine))
    }

    fn with(name: &str, number: u8, private: Option<PrivateEngine>) -> Self {
        let engine = ENGINE.lock().unwrap_or_else(PoisonError::into_inner);
        let alone = std::fs::File::create(std::env::temp_dir().join(format!("mastic-test-{name}.lock")))
            .expect("a lock file can be made");
        alone.lock().expect("a lock can be waited for");
        Self {
            _alone: alone,
            name: name.to_owned(),
            address: format!("127.0.77.{number}"),
            dir: tempfile::tempdir().expect("a temporary folder can be made"),
            number,
            private,
            runs: AtomicU32::new(0),
            engine: Some(engine),
        }
    }

    /// Its own engine.
    pub fn private(&self) -> &PrivateEngine {
        self.private.as_ref().expect("the test has given it an engine of its own")
    }

    /// Where its engine listens.
    pub fn endpoint(&self) -> String {
        self.private.as_ref().map_or_else(|| HOST_ENGINE.to_owned(), PrivateEngine::address)
    }

    /// The profile's text; `more` is appended.
    pub fn profile(&self, more: &str) -> String {
        let Self { name, address, number, .. } = self;
        let endpoint = self.endpoint();
        // Erlang listens on the loopback address whatever the host's is: two brokers of one machine need two ports.
        let (epmd, dist) = (14369 + u32::from(*number), 25700 + u32::from(*number));
        format!(
            "deployment: {name}\nrelease: \"2026.1\"\nregion: RegionOne\n\
             hosts:\n  local: {{engine: \"{endpoint}\", address: {address}}}\n\
             public: {{address: {address}}}\n\
             variables: {{rabbitmq_epmd_port: {epmd}, rabbitmq_dist_port: {dist}}}\n\
             sets:\n  database: {{services: [mariadb]}}\n  messaging: {{services: [rabbitmq, memcached]}}\n  \
             api: {{services: [keystone, toolbox]}}\n  ha: {{services: [haproxy]}}\n{more}"
        )
    }

    pub fn write(&self, file: &str, text: &str) -> PathBuf {
        let path = self.dir.path().join(file);
        if let Some(parent) = path.parent() {
            std::fs::create_dir_all(parent).expect("a folder can be made in a temporary folder");
        }
        std::fs::write(&path, text).expect("a file can be written to a temporary folder");
        path
    }

    pub fn state(&self) -> PathBuf {
        self.dir.path().join("state")
    }

    pub fn command(&self, arguments: &[&str]) -> Command {
        // Where the engine has a network of its own, only from inside can its APIs be reached.
        let mut command = match &self.private {
            Some(engine) => engine.home().command(&*MASTIC),
            None => Command::new(&*MASTIC),
        };
        command
            .args(arguments)
            .current_dir(self.dir.path())
            .env_remove("MASTIC_PROFILE")
            .env("MASTIC_STATE_DIR", self.state())
            .stdin(Stdio::null());
        let upgrades = arguments.iter().any(|word| ["upgrade", "resume"].contains(word));
        if upgrades && !arguments.contains(&"--soak") {
            command.args(["--soak", SOAK]);
        }
        command
    }

    /// Like [`Cloud::command`], ended after two minutes: what is waited for in a test never takes as long.
    pub fn bounded(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new("timeout");
        command
            .args(["120", &MASTIC])
            .args(arguments)
            .current_dir(self.dir.path())
            .env_remove("MASTIC_PROFILE")
            .env("MASTIC_STATE_DIR", self.state())
            .stdin(Stdio::null());
        command
    }

    /// Runs a command that somebody else made of [`Cloud::command`].
    pub fn run(command: &mut Command) -> Ran {
        let began = Instant::now();
        let output = command.output().expect("the program can be started");
        let arguments: Vec<_> = command.get_args().map(|a| a.to_string_lossy().into_owned()).collect();
        Ran::new(arguments.join(" "), &output, began.elapsed())
    }

    /// Runs a shell command on a terminal of its own (util-linux's `script`), with `typed` as what is typed into it.
    /// `$MASTIC` in it is the program under test.
    pub fn on_a_terminal(&self, shell: &str, typed: &str) -> Ran {
        let began = Instant::now();
        let mut script = Command::new("timeout");
        script
            .args(["120", "script", "--quiet", "--return", "--command", shell, "/dev/null"])
            .current_dir(self.dir.path());
        script.env_remove("MASTIC_PROFILE").env("MASTIC_STATE_DIR", self.state()).env("MASTIC", &*MASTIC);
        script.env("SHELL", "/bin/sh");
        let mut child = script
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("util-linux's script is on every Debian");
        let mut stdin = child.stdin.take().expect("it is piped");
        std::io::Write::write_all(&mut stdin, typed.as_bytes()).expect("it can be typed into");
        // The terminal's end of input would be typed, too, if this were closed before the program has ended.
        let reader = child.stdout.take().expect("it is piped");
        let stdout = std::io::read_to_string(reader).expect("it prints text");
        drop(stdin);
        let status = child.wait().expect("it ends");
        Ran {
            arguments: shell.to_owned(),
            code: status.code(),
            stdout,
            stderr: String::new(),
            took: began.elapsed(),
        }
    }

    /// Runs the program to its end.
    pub fn mastic(&self, arguments: &[&str]) -> Ran {
        let began = Instant::now();
        let output = self.command(arguments).output().expect("the program under test can be started");
        Ran::new(arguments.join(" "), &output, began.elapsed())
    }

    /// Starts the program in the background, in a process group of its own.
    pub fn spawn(&self, arguments: &[&str]) -> Run {
        let number = self.runs.fetch_add(1, Ordering::Relaxed);
        let path = |suffix: &str| self.dir.path().join(format!("run-{number}.{suffix}"));
        let create = |suffix: &str| File::create(path(suffix)).expect("a file can be made");
        let mut command = self.command(arguments);
        command.process_group(0).stdout(create("out")).stderr(create("err"));
        let began = Instant::now();
        let mut child = command.spawn().expect("the program under test can be started");
        let (sender, ended) = mpsc::channel();
        let pid = child.id();
        // A thread that waits is how an end becomes an event.
        std::thread::spawn(move || {
            let _ = sender.send(child.wait().expect("a child can be waited for"));
        });
        Run {
            arguments: arguments.join(" "),
            pid,
            began,
            ended,
            status: None,
            out: path("out"),
            err: path("err"),
        }
    }

    /// Follows what happens to the deployment's containers, from now on.
    pub fn events(&self) -> Events {
        let now = jiff::Timestamp::now();
        let mut command = Command::new("docker");
        command.args([
            "-H",
            &self.endpoint(),
            "events",
            "--format",
            "{{.Action}} {{.Actor.Attributes.name}}",
        ]);
        // The client takes its time to begin: what happens until then is asked for by its time.
        command.arg(format!("--since={}.{:09}", now.as_second(), now.subsec_nanosecond()));
        command.arg(format!("--filter=label=mastic.deployment={}", self.name)).arg("--filter=type=container");
        let mut child = command.stdout(Stdio::piped()).spawn().expect("the docker client is installed");
        let lines = BufReader::new(child.stdout.take().expect("its output was asked for")).lines();
        let (sender, received) = mpsc::channel();
        std::thread::spawn(move || {
            for line in lines.map_while(Result::ok) {
                if sender.send(line).is_err() {
                    break;
                }
            }
        });
        Events { child, received }
    }

    /// Runs the engine's own client: an independent witness.
    #[track_caller]
    pub fn docker(&self, arguments: &[&str]) -> String {
        docker(&[&["-H", &self.endpoint()], arguments].concat())
    }

    /// Lists all containers of the deployment, with the engine's own client.
    pub fn containers(&self) -> Containers {
        let filter = format!("label=mastic.deployment={}", self.name);
        let listed = self.docker(&["ps", "-a", "-q", "--no-trunc", "--filter", &filter]);
        let ids: Vec<&str> = listed.lines().collect();
        if ids.is_empty() {
            return Containers::new();
        }
        let format = "{{.Name}} {{.Id}} {{.State.StartedAt}} {{.State.Status}} {{.State.ExitCode}}";
        self.docker(&[&["inspect", "--type=container", "--format", format], &ids[..]].concat())
            .lines()
            .map(|line| {
                let mut words = line.split_whitespace().map(str::to_owned);
                let mut next = || words.next().unwrap_or_default();
                let (name, id, started, state, code) = (next(), next(), next(), next(), next());
                let state = if state == "exited" { format!("{state} {code}") } else { state };
                (name.trim_start_matches('/').to_owned(), (id, started, state))
            })
            .collect()
    }

    pub fn volumes(&self) -> Vec<String> {
        let filter = format!("label=mastic.deployment={}", self.name);
        self.docker(&["volume", "ls", "-q", "--filter", &filter]).lines().map(str::to_owned).collect()
    }

    /// Returns what tells each volume from another of the same name: its folder's number and the time of its birth. What
    /// the engine calls the time of its creation is that of the last change in it.
    pub fn volume_births(&self) -> BTreeMap<String, String> {
        let volumes = self.volumes();
        if volumes.is_empty() {
            return BTreeMap::new();
        }
        let names: Vec<&str> = volumes.iter().map(String::as_str).collect();
        self.docker(&[&["volume", "inspect", "--format", "{{.Name}} {{.Mountpoint}}"], &names[..]].concat())
            .lines()
            .filter_map(|line| line.split_once(' '))
            .map(|(name, folder)| {
                let facts = std::fs::metadata(folder).expect("a volume is a folder of this machine");
                let born = facts.created().map(|time| format!("{time:?}")).unwrap_or_default();
                (name.to_owned(), format!("inode {} {born}", facts.ino()))
            })
            .collect()
    }

    /// Every secret value of the deployment.
    pub fn secrets(&self) -> BTreeMap<String, String> {
        let text =
            std::fs::read_to_string(self.state().join("secrets.yaml")).expect("the secrets file is there");
        let all: BTreeMap<String, Value> = serde_yaml::from_str(&text).expect("the secrets file is YAML");
        let mut found = BTreeMap::new();
        collect("", &Value::Object(all.into_iter().collect()), &mut found);
        found
    }

    /// Asks Keystone for a token through HAProxy with the written client files.
    pub fn token(&self) {
        self.mastic(&["openstack", "token", "issue", "-f", "value", "-c", "id"]).ok();
    }
}

fn collect(path: &str, value: &Value, found: &mut BTreeMap<String, String>) {
    match value {
        Value::Object(map) => {
            for (key, value) in map {
                collect(&format!("{path}/{key}"), value, found);
            }
        }
        Value::String(text) if text.len() >= 12 => {
            found.insert(path.to_owned(), text.clone());
        }
        _ => {}
    }
}

impl Drop for Cloud {
    fn drop(&mut self) {
        // A private engine goes with all it has.
        if self.private.is_some() {
            return;
        }
        let gone = self.mastic(&["destroy", "--yes", "--volumes", "all"]);
        assert!(
            gone.code == Some(0) || std::thread::panicking(),
            "destroy failed:\n{}\n{}",
            gone.stdout,
            gone.stderr
        );
        drop(self.engine.take());
    }
}

/// A run of the program in the background.
#[derive(Debug)]
pub struct Run {
    arguments: String,
    pid: u32,
    began: Instant,
    ended: mpsc::Receiver<ExitStatus>,
    status: Option<ExitStatus>,
    out: PathBuf,
    err: PathBuf,
}

impl Run {
    pub fn pid(&self) -> u32 {
        self.pid
    }

    /// Waits for its end, that long at most; says whether it came.
    pub fn ends_within(&mut self, time: Duration) -> bool {
        if self.status.is_none() {
            self.status = self.ended.recv_timeout(time.saturating_sub(self.began.elapsed())).ok();
        }
        self.status.is_some()
    }

    /// Sends a signal to its process group.
    pub fn signal(&self, signal: Signal) {
        let group = Pid::from_raw(i32::try_from(self.pid).expect("a process id"));
        killpg(group, signal).expect("the run has not ended");
    }

    /// Kills it, and requires that this was what ended it.
    pub fn kill(self) {
        self.signal(Signal::SIGKILL);
        let arguments = self.arguments.clone();
        let (status, _) = self.end();
        assert_eq!(
            status.signal(),
            Some(Signal::SIGKILL as i32),
            "mastic {arguments} ended by itself: {status}"
        );
    }

    /// Waits for its end.
    pub fn wait(self) -> Ran {
        self.end().1
    }

    fn end(mut self) -> (ExitStatus, Ran) {
        let status = match self.status.take() {
            Some(status) => status,
            None => self.ended.recv_timeout(PATIENCE).unwrap_or_else(|_| {
                let said = std::fs::read_to_string(&self.err).unwrap_or_default();
                panic!("mastic {} did not end:\n{said}", self.arguments)
            }),
        };
        let read = |path: &Path| std::fs::read(path).expect("the run's output is there");
        let output = Output { status, stdout: read(&self.out), stderr: read(&self.err) };
        (status, Ran::new(self.arguments, &output, self.began.elapsed()))
    }
}

/// What happens to the containers of a deployment.
#[derive(Debug)]
pub struct Events {
    child: Child,
    received: mpsc::Receiver<String>,
}

impl Events {
    /// Waits until something (`create`, `start`, `die`, ...) happens to a container whose name has this part.
    #[track_caller]
    pub fn until(&self, action: &str, part: &str) {
        self.until_all(&[action], &[part]);
    }

    /// Waits until one of these things has happened to each of these containers, in any order.
    #[track_caller]
    pub fn until_all(&self, actions: &[&str], parts: &[&str]) {
        let began = Instant::now();
        let mut left: Vec<&str> = parts.to_vec();
        while !left.is_empty() {
            let patience = PATIENCE.saturating_sub(began.elapsed());
            let line =
                self.received.recv_timeout(patience).unwrap_or_else(|_| panic!("no {actions:?} of {left:?}"));
            let (what, name) = line.split_once(' ').unwrap_or((&line, ""));
            if actions.contains(&what) {
                left.retain(|part| !name.contains(part));
            }
        }
    }
}

impl Drop for Events {
    fn drop(&mut self) {
        // It may have ended with its engine.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Runs the engine's own client: an independent witness.
#[track_caller]
pub fn docker(arguments: &[&str]) -> String {
    let output = Command::new("docker").args(arguments).output().expect("the docker client is installed");
    assert!(
        output.status.success(),
        "docker {}: {}",
        arguments.join(" "),
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// Reads all files below a folder.
pub fn files(root: &Path) -> Vec<(PathBuf, Vec<u8>)> {
    let mut found = Vec::new();
    let mut folders = vec![root.to_path_buf()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder).expect("a folder can be read").flatten() {
            let path = entry.path();
            if path.is_dir() {
                folders.push(path);
            } else if let Ok(bytes) = std::fs::read(&path) {
                found.push((path, bytes));
            }
        }
    }
    found
}
