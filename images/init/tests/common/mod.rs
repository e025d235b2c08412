//! Runs the shipped binary, as PID 1 of a namespace of its own and as an ordinary process, and
//! talks to what it runs. Everything has a deadline, and nothing outlives its test.
#![allow(dead_code, reason = "each test file uses another part")]

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, ExitStatus, Stdio};
use std::sync::mpsc::{self, Receiver};
use std::time::{Duration, Instant, SystemTime};

/// How long anything may take that ought to happen at once.
pub const SOON: Duration = Duration::from_secs(10);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum As {
    PidOne,
    Process,
}

pub const BOTH: [As; 2] = [As::PidOne, As::Process];

/// The freestanding binary as it is shipped: built once, by whichever test comes first.
/// `MASTIC_INIT` names a finished one instead.
pub fn binary() -> PathBuf {
    if let Some(path) = std::env::var_os("MASTIC_INIT") {
        return path.into();
    }
    let target = Path::new(env!("CARGO_TARGET_TMPDIR")).join("shipped");
    let binary = target.join("x86_64-unknown-linux-gnu/init/mastic-init");
    fs::create_dir_all(&target).expect("the temporary directory of tests is writable");
    let lock = fs::File::create(target.join("tests.lock")).expect("a lock file");
    lock.lock().expect("nobody holds it for long");
    if modified(&binary) > newest(Path::new(env!("CARGO_MANIFEST_DIR"))) {
        return binary;
    }
    let built = Command::new(env!("CARGO"))
        .args([
            "build",
            "--quiet",
            "--package",
            "mastic-init",
            "--profile",
            "init",
            "--target",
            "x86_64-unknown-linux-gnu",
        ])
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .arg("--target-dir")
        .arg(&target)
        .env("RUSTFLAGS", "-C target-feature=+crt-static")
        .env_remove("CARGO_ENCODED_RUSTFLAGS")
        .status()
        .expect("cargo starts");
    assert!(built.success(), "the shipped binary does not build");
    // An untouched binary keeps its old time although it is up to date.
    let touched = fs::File::options().append(true).open(&binary).expect("the binary");
    touched.set_modified(SystemTime::now()).expect("its time can be set");
    binary
}

fn modified(path: &Path) -> SystemTime {
    fs::metadata(path).and_then(|meta| meta.modified()).unwrap_or(SystemTime::UNIX_EPOCH)
}

/// The latest change of a source or manifest.
fn newest(package: &Path) -> SystemTime {
    let mut latest = SystemTime::UNIX_EPOCH;
    let mut open = vec![package.join("src"), package.join("build.rs"), package.join("Cargo.toml")];
    while let Some(path) = open.pop() {
        latest = latest.max(modified(&path));
        if let Ok(entries) = fs::read_dir(&path) {
            open.extend(entries.flatten().map(|entry| entry.path()));
        }
    }
    latest
}

/// `mastic-init WORDS...`, not yet started.
pub fn command(mode: As, words: &[&str]) -> Command {
    let mut command = match mode {
        As::Process => Command::new(binary()),
        As::PidOne => {
            let mut command = Command::new("unshare");
            command.args(["--pid", "--fork", "--mount-proc", "--kill-child", "--"]).arg(binary());
            command
        }
    };
    command.args(words);
    command
}

pub struct Outcome {
    pub status: ExitStatus,
    pub stdout: String,
    pub stderr: String,
    pub took: Duration,
}

impl Outcome {
    /// As a shell would report it.
    pub fn code(&self) -> i32 {
        code_of(self.status)
    }
}

pub fn code_of(status: ExitStatus) -> i32 {
    status.code().unwrap_or_else(|| 128 + status.signal().unwrap_or(0))
}

/// Runs to the end.
pub fn run(mode: As, words: &[&str]) -> Outcome {
    finish(&mut command(mode, words))
}

pub fn finish(command: &mut Command) -> Outcome {
    let start = Instant::now();
    let output = command.stdin(Stdio::null()).output().expect("the command starts");
    Outcome {
        status: output.status,
        stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
        stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        took: start.elapsed(),
    }
}

/// A running `mastic-init` whose output is read line by line.
pub struct Running {
    outer: Child,
    /// mastic-init itself, in our PID namespace.
    pub pid: i32,
    lines: Receiver<String>,
    errors: Receiver<String>,
    pub stdin: Option<ChildStdin>,
    started: Instant,
}

pub fn start(mode: As, words: &[&str]) -> Running {
    start_command(mode, command(mode, words))
}

pub fn start_command(mode: As, mut command: Command) -> Running {
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).process_group(0);
    let started = Instant::now();
    let mut outer = command.spawn().expect("the command starts");
    let lines = read_lines(outer.stdout.take().expect("piped"));
    let errors = read_lines(outer.stderr.take().expect("piped"));
    let stdin = outer.stdin.take();
    let outer_pid = i32::try_from(outer.id()).expect("a pid");
    let pid = match mode {
        As::Process => outer_pid,
        As::PidOne => soon(|| children(outer_pid).first().copied()),
    };
    Running { outer, pid, lines, errors, stdin, started }
}

fn read_lines(stream: impl Read + Send + 'static) -> Receiver<String> {
    let (sender, receiver) = mpsc::channel();
    std::thread::spawn(move || {
        for line in BufReader::new(stream).lines().map_while(Result::ok) {
            if sender.send(line).is_err() {
                break;
            }
        }
    });
    receiver
}

impl Running {
    /// The next line on standard output.
    #[track_caller]
    pub fn line(&self) -> String {
        match self.lines.recv_timeout(SOON) {
            Ok(line) => line,
            Err(error) => panic!("no line: {error}; stderr: {:?}", self.errors()),
        }
    }

    #[track_caller]
    pub fn expect(&self, line: &str) {
        assert_eq!(self.line(), line, "stderr: {:?}", self.errors());
    }

    /// What has been said on standard error so far.
    pub fn errors(&self) -> Vec<String> {
        self.errors.try_iter().collect()
    }

    pub fn signal(&self, signal: i32) {
        kill(self.pid, signal);
    }

    /// The main child, in our PID namespace.
    pub fn main_child(&self) -> i32 {
        soon(|| children(self.pid).first().copied())
    }

    pub fn has_ended(&mut self) -> bool {
        self.outer.try_wait().expect("our child").is_some()
    }

    /// Waits for the end: the code, what was still printed, and how long all took.
    #[track_caller]
    pub fn end(self) -> Outcome {
        self.end_within(SOON).expect("it ends soon")
    }

    pub fn end_within(mut self, limit: Duration) -> Option<Outcome> {
        drop(self.stdin.take());
        let deadline = Instant::now() + limit;
        let status = loop {
            match self.outer.try_wait().expect("our child") {
                Some(status) => break status,
                None if Instant::now() > deadline => return None,
                None => std::thread::sleep(Duration::from_millis(2)),
            }
        };
        let took = self.started.elapsed();
        let rest = |lines: &Receiver<String>| {
            let mut text = String::new();
            while let Ok(line) = lines.recv_timeout(Duration::from_millis(300)) {
                text += &line;
                text.push('\n');
            }
            text
        };
        Some(Outcome { status, stdout: rest(&self.lines), stderr: rest(&self.errors), took })
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if let Ok(None) = self.outer.try_wait() {
            for pid in tree(self.pid) {
                kill(pid, libc::SIGKILL);
            }
            let _ = self.outer.kill();
            let _ = self.outer.wait();
        }
    }
}

#[expect(unsafe_code, reason = "the safe wrappers have no real-time signals")]
pub fn kill(pid: i32, signal: i32) {
    // SAFETY: takes no pointers.
    unsafe { libc::kill(pid, signal) };
}

pub fn alive(pid: i32) -> bool {
    state(pid).is_some_and(|state| state != 'Z')
}

/// The letter for a process's state, if it exists.
pub fn state(pid: i32) -> Option<char> {
    status_field(pid, "State").and_then(|state| state.chars().next())
}

pub fn status_field(pid: i32, name: &str) -> Option<String> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let line = status.lines().find(|line| line.split(':').next() == Some(name))?;
    Some(line.split_once(':')?.1.trim().to_string())
}

/// The direct children of a process with one thread.
pub fn children(pid: i32) -> Vec<i32> {
    let path = format!("/proc/{pid}/task/{pid}/children");
    let list = fs::read_to_string(path).unwrap_or_default();
    list.split_whitespace().filter_map(|word| word.parse().ok()).collect()
}

/// A process and all that descends from it.
pub fn tree(pid: i32) -> Vec<i32> {
    let mut all = vec![pid];
    let mut next = 0;
    while let Some(pid) = all.get(next) {
        all.extend(children(*pid));
        next += 1;
    }
    all
}

/// Asks again and again until there is an answer.
#[track_caller]
pub fn soon<T>(mut ask: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + SOON;
    loop {
        if let Some(answer) = ask() {
            return answer;
        }
        assert!(Instant::now() < deadline, "it does not happen");
        std::thread::sleep(Duration::from_millis(1));
    }
}

#[track_caller]
pub fn eventually(mut what: impl FnMut() -> bool) {
    soon(|| what().then_some(()));
}

/// An empty directory that goes away with the value.
pub struct Scratch(pub PathBuf);

impl Scratch {
    pub fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("mastic-init-{name}-{}", std::process::id()));
        let _ = fs::remove_dir_all(&path);
        fs::create_dir_all(&path).expect("the temporary directory is writable");
        Self(path)
    }

    pub fn path(&self, name: &str) -> String {
        self.0.join(name).display().to_string()
    }

    pub fn write(&self, name: &str, content: &str) -> String {
        let mut file = fs::File::create(self.0.join(name)).expect("a new file");
        file.write_all(content.as_bytes()).expect("room for a few bytes");
        self.path(name)
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// Prints the number of every signal it gets, and `ready` first. Naps are short, because Perl
/// runs a handler only between two operations: a signal just before a nap waits for its end.
pub const PRINT_SIGNALS: &str = r#"
    use POSIX; use Config; $| = 1;
    my @names = split ' ', $Config{sig_name}; my @numbers = split ' ', $Config{sig_num};
    for my $i (0 .. $#names) {
        my ($name, $number) = ($names[$i], $numbers[$i]);
        next if $number < 1 or $number == 9 or $number == 19 or $number == 17;
        eval { $SIG{$name} = sub { syswrite STDOUT, "$number\n" } };
    }
    syswrite STDOUT, "ready\n"; select undef, undef, undef, 0.01 while 1;
"#;
