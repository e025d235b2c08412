//! Makes this host ready: a Docker engine that answers, and mmdebstrap. Each step says why; a second run does nothing.

use std::path::Path;
use std::process::Stdio;
use std::time::{Duration, Instant};

use serde::Serialize;

use crate::engine;
use crate::report::event::Outcome;
use crate::report::{Event, Reporter};

/// Where the engine listens.
pub const SOCKET: &str = "/var/run/docker.sock";
const LOG: &str = "/var/log/mastic-dockerd.log";
/// A daemon is ready in a second; a busy machine may take longer.
const READY: Duration = Duration::from_secs(60);

/// What is wanted.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// Only say what is missing.
    pub check_only: bool,
}

/// One step.
#[derive(Clone, Debug, Serialize)]
pub struct Step {
    /// What.
    pub what: String,
    /// Why.
    pub why: String,
    /// `unchanged`, `done` or `needed`.
    pub outcome: &'static str,
}

/// What was found and done.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// The engine's version, once it answers.
    pub engine: Option<String>,
    /// The steps.
    pub steps: Vec<Step>,
}

/// Why the host cannot be made ready.
#[derive(Debug, thiserror::Error)]
pub enum BootstrapError {
    /// Not root.
    #[error(
        "installing and starting an engine needs root; run it with sudo, or have one started at {SOCKET}"
    )]
    NotRoot,
    /// Another distribution.
    #[error(
        "this host has no apt-get: install a Docker engine (20.10 or later) and mmdebstrap with its own package manager, then run this again"
    )]
    NoApt,
    /// A program failed.
    #[error("{what} failed:\n{output}")]
    Failed {
        /// Which.
        what: String,
        /// Its last lines.
        output: String,
    },
    /// The engine does not answer.
    #[error("the engine does not answer at {SOCKET} after {} s; its log ends with:\n{log}", READY.as_secs())]
    NotReady {
        /// Last lines of its log.
        log: String,
    },
}

/// Makes the host ready, or says what is missing.
pub async fn run(options: &Options, reporter: &dyn Reporter) -> Result<Report, BootstrapError> {
    let mut steps = Vec::new();
    let mut step = |what: &str, why: &str, outcome| {
        steps.push(Step { what: what.to_owned(), why: why.to_owned(), outcome });
    };
    let answering = version().await;
    let mut missing: Vec<&str> = Vec::new();
    if answering.is_none() && !on_path("dockerd") {
        missing.extend(["docker.io", "iptables", "ca-certificates"]);
    }
    if !on_path("mmdebstrap") {
        missing.push("mmdebstrap");
    }
    let shared = is_shared_root();
    let todo = !missing.is_empty() || answering.is_none() || !shared;
    if todo && !options.check_only && !nix::unistd::geteuid().is_root() {
        return Err(BootstrapError::NotRoot);
    }
    let packages = "the engine runs the containers, mmdebstrap makes their base image";
    match (missing.is_empty(), options.check_only) {
        (true, _) => step("packages", packages, "unchanged"),
        (false, true) => step(&format!("install {}", missing.join(" ")), packages, "needed"),
        (false, false) => {
            install(&missing, reporter).await?;
            step(&format!("install {}", missing.join(" ")), packages, "done");
        }
    }
    let why = "network namespaces that a container makes must show in the others";
    match (shared, options.check_only) {
        (true, _) => step("share the root mount", why, "unchanged"),
        (false, true) => step("share the root mount", why, "needed"),
        (false, false) => {
            let flags = nix::mount::MsFlags::MS_SHARED | nix::mount::MsFlags::MS_REC;
            nix::mount::mount(None::<&str>, "/", None::<&str>, flags, None::<&str>).map_err(|error| {
                BootstrapError::Failed {
                    what: "mount --make-rshared /".to_owned(),
                    output: error.to_string(),
                }
            })?;
            step("share the root mount", why, "done");
        }
    }
    let why = "nothing answers without it";
    let engine = match (answering, options.check_only) {
        (Some(version), _) => {
            step("engine", "it answers", "unchanged");
            Some(version)
        }
        (None, true) => {
            step("start the engine", why, "needed");
            None
        }
        (None, false) => {
            let version = start(reporter).await?;
            step("start the engine", why, "done");
            Some(version)
        }
    };
    Ok(Report { engine, steps })
}

/// Returns the version of the engine that answers, if one does.
async fn version() -> Option<String> {
    if !Path::new(SOCKET).exists() {
        return None;
    }
    let engine = engine::connect(&format!("unix://{SOCKET}"), None).await.ok()?;
    let info = tokio::time::timeout(Duration::from_secs(5), engine.info()).await.ok()?.ok()?;
    Some(info.version)
}

fn on_path(program: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path)
        .chain(["/usr/sbin".into(), "/usr/bin".into(), "/sbin".into()])
        .any(|dir: std::path::PathBuf| dir.join(program).is_file())
}

/// Reads proc(5)'s mountinfo: optional field `shared:N` on the line of `/`.
fn is_shared_root() -> bool {
    let text = fs_err::read_to_string("/proc/self/mountinfo").unwrap_or_default();
    root_is_shared(&text)
}

fn root_is_shared(mountinfo: &str) -> bool {
    mountinfo.lines().any(|line| {
        let fields: Vec<&str> = line.split_whitespace().collect();
        fields.get(4) == Some(&"/")
            && fields.iter().skip(6).take_while(|f| **f != "-").any(|f| f.starts_with("shared:"))
    })
}

/// Installs packages of the host's distribution.
async fn install(packages: &[&str], reporter: &dyn Reporter) -> Result<(), BootstrapError> {
    if !on_path("apt-get") {
        return Err(BootstrapError::NoApt);
    }
    let began = Instant::now();
    let key = "packages".to_owned();
    let title = format!("install {}", packages.join(" "));
    reporter.on(Event::Started { key: key.clone(), host: None, title });
    let mut install = vec!["install", "-y", "--no-install-recommends"];
    install.extend(packages);
    let mut result = apt_get(&["update"]).await;
    if result.is_ok() {
        result = apt_get(&install).await;
    }
    let outcome = match &result {
        Ok(()) => Outcome::Done,
        Err(error) => Outcome::Failed(error.to_string()),
    };
    reporter.on(Event::Finished { key, outcome, took: began.elapsed() });
    result
}

async fn apt_get(arguments: &[&str]) -> Result<(), BootstrapError> {
    let what = format!("apt-get {}", arguments.join(" "));
    let output = tokio::process::Command::new("apt-get")
        .args(["-q", "-o", "Acquire::Retries=3"])
        .args(arguments)
        .env("DEBIAN_FRONTEND", "noninteractive")
        .stdin(Stdio::null())
        .output()
        .await
        .map_err(|error| BootstrapError::Failed { what: what.clone(), output: error.to_string() })?;
    if output.status.success() {
        return Ok(());
    }
    let text = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
    Err(BootstrapError::Failed { what, output: tail(&text) })
}

/// Starts the engine, by systemd where that is PID 1, and waits until it answers.
async fn start(reporter: &dyn Reporter) -> Result<String, BootstrapError> {
    let began = Instant::now();
    let key = "engine".to_owned();
    reporter.on(Event::Started { key: key.clone(), host: None, title: "start the engine".to_owned() });
    let result = launch().await;
    let outcome = match &result {
        Ok(_) => Outcome::Done,
        Err(error) => Outcome::Failed(error.to_string()),
    };
    reporter.on(Event::Finished { key, outcome, took: began.elapsed() });
    result
}

async fn launch() -> Result<String, BootstrapError> {
    let failed = |what: &str, error: &dyn std::fmt::Display| BootstrapError::Failed {
        what: what.to_owned(),
        output: error.to_string(),
    };
    let mut child = if Path::new("/run/systemd/system").is_dir() {
        let output = tokio::process::Command::new("systemctl")
            .args(["enable", "--now", "docker"])
            .output()
            .await
            .map_err(|e| failed("systemctl", &e))?;
        if !output.status.success() {
            return Err(failed("systemctl enable --now docker", &String::from_utf8_lossy(&output.stderr)));
        }
        None
    } else {
        let log = fs_err::OpenOptions::new()
            .create(true)
            .append(true)
            .open(LOG)
            .map_err(|e| failed("its log", &e))?;
        let log = log.into_file();
        let errors = log.try_clone().map_err(|e| failed("its log", &e))?;
        // `setsid` makes it its own session: it outlives us and our terminal.
        let child = tokio::process::Command::new("setsid")
            .args(["--fork", "--wait", "dockerd", "-H"])
            .arg(format!("unix://{SOCKET}"))
            .stdin(Stdio::null())
            .stdout(log)
            .stderr(errors)
            .kill_on_drop(false)
            .spawn()
            .map_err(|e| failed("dockerd", &e))?;
        Some(child)
    };
    let deadline = Instant::now() + READY;
    // A socket that is not there yet tells nobody when it comes: asked a few times a second, and not after the daemon's end.
    let mut pause = tokio::time::interval(Duration::from_millis(100));
    while Instant::now() < deadline {
        pause.tick().await;
        if let Some(version) = version().await {
            return Ok(version);
        }
        if let Some(child) = &mut child
            && let Ok(Some(_)) = child.try_wait()
        {
            break;
        }
    }
    Err(BootstrapError::NotReady { log: tail(&fs_err::read_to_string(LOG).unwrap_or_default()) })
}

fn tail(text: &str) -> String {
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(20)..].join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_shared_root_must_count_as_shared() {
        let line = |options: &str| format!("22 1 254:0 / / rw,relatime {options}- ext4 /dev/vda rw\n");
        assert!(root_is_shared(&line("shared:1 ")));
        assert!(!root_is_shared(&line("")));
        assert!(!root_is_shared("23 22 0:5 / /dev rw shared:2 - devtmpfs d rw\n"));
    }
}
