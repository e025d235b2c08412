//! A deployment of a test's own on the real engine, driven through the command line as a user would.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use serde_json::Value;

/// The engine and its ports are one resource: one test at a time has it.
static ENGINE: Mutex<()> = Mutex::new(());
/// Engine and images are made ready once per test program.
static READY: OnceLock<()> = OnceLock::new();

/// The program under test.
pub const MASTIC: &str = env!("CARGO_BIN_EXE_mastic");

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
    fn new(arguments: String, output: &Output, took: Duration) -> Self {
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

/// One deployment, gone when dropped.
pub struct Cloud {
    pub name: String,
    pub address: String,
    pub dir: tempfile::TempDir,
    engine: Option<MutexGuard<'static, ()>>,
    /// Held until all is gone: two test programs on one engine must not have a deployment of one name.
    _alone: std::fs::File,
}

/// Containers of a deployment: name to (id, started at, state).
pub type Containers = BTreeMap<String, (String, String, String)>;

impl Cloud {
    /// Makes engine and images ready, and writes the least profile with a Keystone.
    pub fn new(name: &str, host_number: u8) -> Self {
        let engine = ENGINE.lock().unwrap_or_else(PoisonError::into_inner);
        let alone = std::fs::File::create(std::env::temp_dir().join(format!("mastic-test-{name}.lock")))
            .expect("a lock file can be made");
        alone.lock().expect("a lock can be waited for");
        let cloud = Self {
            _alone: alone,
            name: name.to_owned(),
            address: format!("127.0.77.{host_number}"),
            dir: tempfile::tempdir().expect("a temporary folder can be made"),
            engine: Some(engine),
        };
        cloud.write("mastic.yaml", &cloud.profile(""));
        READY.get_or_init(|| {
            cloud.mastic(&["bootstrap"]).ok();
            cloud.mastic(&["build"]).ok();
        });
        // What an earlier, killed run of the same test left.
        cloud.mastic(&["destroy", "--yes", "--volumes", "all"]);
        cloud
    }

    /// The profile's text; `more` is appended.
    pub fn profile(&self, more: &str) -> String {
        let Self { name, address, .. } = self;
        format!(
            "deployment: {name}\nrelease: \"2026.1\"\nregion: RegionOne\n\
             hosts:\n  local: {{engine: \"unix:///var/run/docker.sock\", address: {address}}}\n\
             public: {{address: {address}}}\n\
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
        let mut command = Command::new(MASTIC);
        command
            .args(arguments)
            .current_dir(self.dir.path())
            .env_remove("MASTIC_PROFILE")
            .env("MASTIC_STATE_DIR", self.state())
            .stdin(Stdio::null());
        command
    }

    /// Like [`Cloud::command`], ended after two minutes: what is waited for in a test never takes as long.
    pub fn bounded(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new("timeout");
        command
            .args(["120", MASTIC])
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
        script.env_remove("MASTIC_PROFILE").env("MASTIC_STATE_DIR", self.state()).env("MASTIC", MASTIC);
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

    /// Lists all containers of the deployment, with the engine's own client.
    pub fn containers(&self) -> Containers {
        docker(&[
            "ps",
            "-a",
            "--no-trunc",
            "--filter",
            &format!("label=mastic.deployment={}", self.name),
            "--format",
            "{{.Names}}",
        ])
        .lines()
        .map(|name| {
            let facts =
                docker(&["inspect", "--format", "{{.Id}} {{.State.StartedAt}} {{.State.Status}}", name]);
            let mut words = facts.split_whitespace().map(str::to_owned);
            let mut next = || words.next().unwrap_or_default();
            (name.to_owned(), (next(), next(), next()))
        })
        .collect()
    }

    pub fn volumes(&self) -> Vec<String> {
        docker(&["volume", "ls", "-q", "--filter", &format!("label=mastic.deployment={}", self.name)])
            .lines()
            .map(str::to_owned)
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
        let gone = self.mastic(&["destroy", "--yes", "--volumes", "all"]);
        if gone.code != Some(0) && !std::thread::panicking() {
            panic!("destroy failed:\n{}\n{}", gone.stdout, gone.stderr);
        }
        drop(self.engine.take());
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
