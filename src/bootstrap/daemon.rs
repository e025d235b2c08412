//! Starts the engine: by systemd where that is PID 1, as a daemon of its own elsewhere.

use std::io::{Read as _, Seek as _, SeekFrom};
use std::path::{Path, PathBuf};
use std::process::Stdio;

use tokio::process::{Child, Command};

use super::ready::{self, Readiness, Watched};
use super::{BootstrapError, Daemon, Options, host};
use crate::engine::EngineInfo;
use crate::report::{Event, Reporter};

/// The engine's own defaults.
const PID_FILE: &str = "/var/run/docker.pid";
const EXEC_ROOT: &str = "/var/run/docker";
/// What an engine says whose predecessor crashed a moment ago, with a containerd that was still dying.
const STALE_CONTAINERD: &str = "timeout waiting for containerd";
/// Lines of a log that a message shows.
const LAST: usize = 20;
/// Bytes of a log that are looked at: more than enough for the last lines.
const WINDOW: u64 = 64 * 1024;

/// Variables that the engine needs. All others are ours and may hold passwords, while the engine outlives us.
const ENVIRONMENT: [&str; 8] =
    ["HOME", "LANG", "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "http_proxy", "https_proxy", "no_proxy"];

/// Makes a daemon out of dockerd without a process in between: `setsid` does not fork when it is not the leader of its
/// process group, and `exec` keeps the process id, so that our child is the engine itself. The low descriptors are
/// those that shells and job servers hand down without wishing to: the engine would hold a lock or a pipe for ever.
const DAEMONIZE: &str = "umask 022; exec 3>&- 4>&- 5>&- 6>&- 7>&- 8>&- 9>&-; exec setsid \"$0\" \"$@\"";

/// Starts an engine and waits until it answers.
pub(super) async fn start(
    options: &Options,
    key: &str,
    reporter: &dyn Reporter,
) -> Result<EngineInfo, BootstrapError> {
    if options.is_host_engine() && host::has_systemd() && has_unit().await {
        return by_systemd(options).await;
    }
    let mut tried = false;
    loop {
        match by_itself(options, key, reporter).await {
            Err(BootstrapError::Died { lines, .. }) if !tried && lines.contains(STALE_CONTAINERD) => {
                tried = true;
                let message =
                    "the engine met the containerd of a predecessor that crashed; it is started once more";
                reporter.on(Event::Note { message: message.to_owned() });
            }
            other => return other,
        }
    }
}

/// An engine that was unpacked by hand has no unit.
async fn has_unit() -> bool {
    let output =
        Command::new("systemctl").args(["cat", "docker.service"]).stdin(Stdio::null()).output().await;
    output.is_ok_and(|output| output.status.success())
}

async fn by_systemd(options: &Options) -> Result<EngineInfo, BootstrapError> {
    let output = Command::new("systemctl")
        .args(["enable", "--now", "docker"])
        .stdin(Stdio::null())
        .output()
        .await
        .map_err(|source| BootstrapError::Program { program: "systemctl".to_owned(), source })?;
    if !output.status.success() {
        return Err(BootstrapError::Service {
            command: "systemctl enable --now docker".to_owned(),
            output: last_lines(&String::from_utf8_lossy(&output.stderr)),
        });
    }
    // systemd has waited until the engine said that it is ready.
    match super::probe::answer(&options.socket, options.daemon.deadline).await? {
        super::probe::Answer::Engine(info) => Ok(*info),
        super::probe::Answer::Nobody => Err(BootstrapError::Service {
            command: "systemctl enable --now docker".to_owned(),
            output: format!("it went well, but nobody listens on {}", options.socket.display()),
        }),
    }
}

async fn by_itself(
    options: &Options,
    key: &str,
    reporter: &dyn Reporter,
) -> Result<EngineInfo, BootstrapError> {
    let daemon = &options.daemon;
    let file = |source| BootstrapError::File { source };
    let progress = |message: String| {
        reporter.on(Event::Progress { key: key.to_owned(), message, amount: None });
    };
    let seconds = daemon.deadline.as_secs();
    for folder in [options.socket.parent(), daemon.log_file.parent()].into_iter().flatten() {
        fs_err::create_dir_all(folder).map_err(file)?;
    }

    let pid_file = daemon.pid_file.clone().unwrap_or_else(|| PID_FILE.into());
    match PidFile::look(&pid_file, &["dockerd"]) {
        PidFile::None => {}
        // dockerd refuses to start when any process has that number, whatever it is.
        PidFile::Stale => fs_err::remove_file(&pid_file).map_err(file)?,
        PidFile::Runs(pid) => {
            progress(format!("waits for the engine that is there (process {pid})"));
            match ready::wait(&options.socket, Watched::Process(pid), daemon.deadline).await {
                Readiness::Engine(info) => return Ok(*info),
                // It was on its way out: it takes its pid file with it, or has left it to us.
                Readiness::Ended(_) => match PidFile::look(&pid_file, &["dockerd"]) {
                    PidFile::None | PidFile::Runs(_) => {}
                    PidFile::Stale => fs_err::remove_file(&pid_file).map_err(file)?,
                },
                Readiness::TooLate => {
                    let socket = options.socket.clone();
                    return Err(BootstrapError::Elsewhere { pid, pid_file, socket, seconds });
                }
            }
        }
    }
    // dockerd would take any process of that number for its containerd, and wait for it in vain.
    let exec_root = daemon.exec_root.clone().unwrap_or_else(|| EXEC_ROOT.into());
    for name in ["containerd.pid", "docker-containerd.pid"] {
        let path = exec_root.join("containerd").join(name);
        if PidFile::look(&path, &["containerd", "docker-containe"]) == PidFile::Stale {
            fs_err::remove_file(&path).map_err(file)?;
        }
    }

    let log = fs_err::OpenOptions::new().create(true).append(true).open(&daemon.log_file).map_err(file)?;
    let written = log.metadata().map_err(file)?.len();
    let mut child = spawn(options, log.into_file())?;
    progress(format!("waits until it answers on {}", options.socket.display()));
    let lines = || tail(&daemon.log_file, written);
    let log = daemon.log_file.clone();
    match ready::wait(&options.socket, Watched::Child(&mut child), daemon.deadline).await {
        Readiness::Engine(info) => Ok(*info),
        Readiness::Ended(status) => {
            let status = status.map_or_else(|| "how is not known".to_owned(), |status| status.to_string());
            Err(BootstrapError::Died { status, log, lines: lines() })
        }
        Readiness::TooLate => {
            Err(BootstrapError::NotReady { socket: options.socket.clone(), seconds, log, lines: lines() })
        }
    }
}

/// Starts dockerd. Dropping the child leaves it running.
fn spawn(options: &Options, log: std::fs::File) -> Result<Child, BootstrapError> {
    let program = host::program("dockerd").ok_or(BootstrapError::StillMissing { program: "dockerd" })?;
    let errors = log.try_clone().map_err(|source| BootstrapError::File { source })?;
    let path =
        std::env::join_paths(host::directories()).unwrap_or_else(|_| "/usr/sbin:/usr/bin:/sbin:/bin".into());
    Command::new("sh")
        .args(["-c", DAEMONIZE])
        .arg(program)
        .args(arguments(options))
        .env_clear()
        .env("PATH", path)
        .envs(ENVIRONMENT.iter().filter_map(|name| Some((name, std::env::var_os(name)?))))
        // Else it would keep a file system busy that has nothing to do with it.
        .current_dir("/")
        .stdin(Stdio::null())
        .stdout(log)
        .stderr(errors)
        .kill_on_drop(false)
        .spawn()
        .map_err(|source| BootstrapError::Program { program: "dockerd".to_owned(), source })
}

/// Only what differs from the engine's defaults: a flag that daemon.json sets as well is refused by dockerd.
fn arguments(options: &Options) -> Vec<String> {
    let Daemon { data_root, exec_root, pid_file, log_file: _, arguments, deadline: _ } = &options.daemon;
    let mut all = Vec::new();
    if options.socket != *super::SOCKET {
        all.push(format!("--host=unix://{}", options.socket.display()));
    }
    for (flag, path) in [("--data-root", data_root), ("--exec-root", exec_root), ("--pidfile", pid_file)] {
        if let Some(path) = path {
            all.push(format!("{flag}={}", path.display()));
        }
    }
    all.extend(arguments.iter().cloned());
    all
}

/// What a pid file says, compared with what runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum PidFile {
    /// There is none.
    None,
    /// Its process is gone, or its number now belongs to another program.
    Stale,
    /// Its process runs.
    Runs(i32),
}

impl PidFile {
    fn look(path: &Path, programs: &[&str]) -> Self {
        match fs_err::read_to_string(path) {
            Ok(text) => Self::judge(&text, programs, |pid| fs_err::read_to_string(stat_of(pid)).ok()),
            Err(_) => Self::None,
        }
    }

    fn judge(text: &str, programs: &[&str], stat: impl Fn(i32) -> Option<String>) -> Self {
        match text.trim().parse::<i32>() {
            Ok(pid) if pid > 0 && stat(pid).is_some_and(|stat| is_alive(&stat, programs)) => Self::Runs(pid),
            Ok(_) | Err(_) => Self::Stale,
        }
    }
}

fn stat_of(pid: i32) -> PathBuf {
    PathBuf::from(format!("/proc/{pid}/stat"))
}

/// Says whether this process is an engine that runs.
pub(super) fn is_engine(pid: i32) -> bool {
    fs_err::read_to_string(stat_of(pid)).is_ok_and(|stat| is_alive(&stat, &["dockerd"]))
}

/// Reads proc(5)'s stat: `pid (name) state ...`, where the name may hold anything, parentheses too. A zombie has ended.
fn is_alive(stat: &str, programs: &[&str]) -> bool {
    let Some((head, rest)) = stat.rsplit_once(") ") else { return false };
    let name = head.split_once(" (").map_or("", |(_, name)| name);
    programs.contains(&name) && !rest.starts_with(['Z', 'X'])
}

/// Returns the last lines of what was appended to a log.
fn tail(log: &Path, from: u64) -> String {
    let read = || -> std::io::Result<String> {
        let mut file = fs_err::File::open(log)?;
        let size = file.metadata()?.len();
        // A log that has become shorter was rotated meanwhile, and is looked at whole.
        let from = if from <= size { from } else { 0 };
        file.seek(SeekFrom::Start(from.max(size.saturating_sub(WINDOW))))?;
        let mut bytes = Vec::new();
        file.take(WINDOW).read_to_end(&mut bytes)?;
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    };
    match read() {
        Ok(text) if text.trim().is_empty() => "(it printed nothing)".to_owned(),
        Ok(text) => last_lines(&text),
        Err(error) => format!("(it cannot be read: {error})"),
    }
}

fn last_lines(text: &str) -> String {
    let lines: Vec<&str> = text.trim_end().lines().collect();
    lines[lines.len().saturating_sub(LAST)..].join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn judge(text: &str, stat: Option<&str>) -> PidFile {
        PidFile::judge(text, &["dockerd"], |_| stat.map(str::to_owned))
    }

    #[test]
    fn only_a_living_engine_must_count() {
        assert_eq!(judge("77\n", Some("77 (dockerd) S 1 77 77")), PidFile::Runs(77));
        assert_eq!(judge("77", None), PidFile::Stale);
        assert_eq!(judge("77", Some("77 (dockerd) Z 1 77 77")), PidFile::Stale);
        assert_eq!(judge("77", Some("77 (bash) S 1 77 77")), PidFile::Stale);
        assert_eq!(judge("77", Some("77 (x) (dockerd) S 1")), PidFile::Stale);
        assert_eq!(judge("77", Some("")), PidFile::Stale);
    }

    #[test]
    fn a_damaged_pid_file_must_be_stale() {
        for text in ["", "\n", "x", "-1", "0", "99999999999999", "77 78"] {
            assert_eq!(judge(text, Some("77 (dockerd) S 1")), PidFile::Stale, "{text:?}");
        }
        assert_eq!(PidFile::look(Path::new("/nonexistent/docker.pid"), &["dockerd"]), PidFile::None);
    }

    #[test]
    fn the_host_engine_must_be_started_with_its_own_defaults() {
        assert_eq!(arguments(&Options::default()), Vec::<String>::new());
        let options = Options {
            socket: "/x/e.sock".into(),
            daemon: Daemon {
                data_root: Some("/x/data".into()),
                arguments: vec!["--bridge=none".to_owned()],
                ..Daemon::default()
            },
            ..Options::default()
        };
        assert_eq!(arguments(&options), ["--host=unix:///x/e.sock", "--data-root=/x/data", "--bridge=none"]);
    }

    #[test]
    fn a_message_must_show_the_end_of_what_this_start_has_printed() {
        let dir = tempfile::tempdir().unwrap();
        let log = dir.path().join("log");
        assert!(tail(&log, 0).contains("cannot be read"));
        fs_err::write(&log, "old\n").unwrap();
        assert_eq!(tail(&log, 4), "(it printed nothing)");
        let new = (0..50).map(|n| format!("line {n}")).collect::<Vec<_>>().join("\n");
        fs_err::write(&log, format!("old\n{new}")).unwrap();
        let shown = tail(&log, 4);
        assert_eq!((shown.lines().count(), shown.lines().last()), (LAST, Some("line 49")));
        assert_eq!(tail(&log, 100_000).lines().count(), LAST);
    }
}
