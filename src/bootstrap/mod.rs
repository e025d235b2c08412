//! Makes this host ready: a Docker engine that answers and runs containers, and what images are made with.
//!
//! Every step looks first and acts only where something is missing, so that a second run does nothing, quickly. Nothing
//! is ever removed, stopped or reconfigured: an engine that runs already, or has a config, belongs to somebody.

mod configure;
mod daemon;
mod error;
mod host;
mod packages;
mod probe;
mod ready;
mod version;

use std::path::PathBuf;
use std::time::{Duration, Instant};

use serde::Serialize;

pub use error::BootstrapError;

use crate::engine::EngineInfo;
use crate::report::{Event, Outcome, Reporter};
use host::Propagation;
use probe::Answer;

/// Where an engine listens unless told otherwise.
pub const SOCKET: &str = "/var/run/docker.sock";

/// What is wanted.
#[derive(Clone, Debug)]
pub struct Options {
    /// Where the engine listens, or shall listen.
    pub socket: PathBuf,
    /// Only say what is missing.
    pub check_only: bool,
    /// Whether packages may be installed.
    pub install: bool,
    /// Whether images will be built from scratch here, which takes mmdebstrap.
    pub need_mmdebstrap: bool,
    /// How an engine of our own is started.
    pub daemon: Daemon,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            socket: SOCKET.into(),
            check_only: false,
            install: true,
            need_mmdebstrap: true,
            daemon: Daemon::default(),
        }
    }
}

/// How an engine is started where no systemd does it. `None` is the engine's own default.
///
/// Tests use the paths to start a second engine beside the host's.
#[derive(Clone, Debug)]
pub struct Daemon {
    /// Images, volumes and containers.
    pub data_root: Option<PathBuf>,
    /// Run-time state.
    pub exec_root: Option<PathBuf>,
    /// Where it writes its process id.
    pub pid_file: Option<PathBuf>,
    /// What it prints is appended here.
    pub log_file: PathBuf,
    /// Further arguments of dockerd.
    pub arguments: Vec<String>,
    /// How long it may take until it answers: a second usually, more on a busy machine.
    pub deadline: Duration,
}

impl Default for Daemon {
    fn default() -> Self {
        Self {
            data_root: None,
            exec_root: None,
            pid_file: None,
            log_file: "/var/log/mastic-dockerd.log".into(),
            arguments: Vec::new(),
            deadline: Duration::from_secs(90),
        }
    }
}

impl Options {
    /// Says whether the host's own engine is meant, the one that its service manager would start.
    fn is_host_engine(&self) -> bool {
        let Daemon { data_root, exec_root, pid_file, log_file: _, arguments, deadline: _ } = &self.daemon;
        self.socket == *SOCKET
            && [data_root, exec_root, pid_file].iter().all(|path| path.is_none())
            && arguments.is_empty()
    }
}

/// How a step ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Done {
    /// Something was missing, and was done.
    Done,
    /// Nothing was missing.
    Unchanged,
    /// Something is missing, and was left so.
    Needed,
    /// Something is wrong that bootstrap cannot put right. Seen with `check_only`; otherwise it is an error.
    Failed,
}

impl Done {
    /// Returns the word for people and JSON.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Done => "done",
            Self::Unchanged => "unchanged",
            Self::Needed => "needed",
            Self::Failed => "failed",
        }
    }
}

/// One step.
#[derive(Clone, Debug, Serialize)]
pub struct StepReport {
    /// What.
    pub what: String,
    /// Why.
    pub why: String,
    /// How it ended.
    pub done: Done,
    /// How long it took.
    pub seconds: f64,
}

/// What was found and done.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// The engine's version, if one answers.
    pub engine: Option<String>,
    /// Whether nothing had to be done.
    pub already: bool,
    /// The steps, in order.
    pub steps: Vec<StepReport>,
}

/// Makes the host ready, or says what is missing.
pub async fn run(options: &Options, reporter: &dyn Reporter) -> Result<Report, BootstrapError> {
    let mut run = Run { options, reporter, steps: Vec::new() };
    let engine = run.all().await?;
    let already = run.steps.iter().all(|step| step.done == Done::Unchanged);
    Ok(Report { engine: engine.map(|info| info.version), already, steps: run.steps })
}

/// A step that has begun.
struct Begun {
    key: String,
    what: String,
    why: &'static str,
    at: Instant,
}

struct Run<'a> {
    options: &'a Options,
    reporter: &'a dyn Reporter,
    steps: Vec<StepReport>,
}

impl Run<'_> {
    async fn all(&mut self) -> Result<Option<EngineInfo>, BootstrapError> {
        let found = probe::answer(&self.options.socket, self.options.daemon.deadline).await;
        let found = match found.and_then(new_enough) {
            Ok(found) => found,
            Err(error) if self.options.check_only => {
                self.quiet("engine", error.to_string(), Done::Failed);
                None
            }
            Err(error) => return Err(error),
        };
        let missing = packages::missing(self.options, found.is_some());
        self.require_root(found.is_some(), &missing)?;
        if found.is_none() {
            self.configure()?;
        }
        self.packages(&missing).await?;
        self.share_root_mount()?;
        self.engine(found).await
    }

    /// Root is asked for only when something is to be done that takes root, and before anything is begun.
    fn require_root(&self, answers: bool, missing: &[&'static str]) -> Result<(), BootstrapError> {
        if self.options.check_only || nix::unistd::geteuid().is_root() {
            return Ok(());
        }
        let mut todo = Vec::new();
        if !missing.is_empty() {
            todo.push(format!("install {}", missing.join(", ")));
        }
        if !answers {
            todo.push(format!("start an engine at {}", self.options.socket.display()));
        }
        if todo.is_empty() { Ok(()) } else { Err(BootstrapError::NotRoot { todo: todo.join(" and ") }) }
    }

    /// Before the package: systemd starts the engine as soon as that is there.
    fn configure(&mut self) -> Result<(), BootstrapError> {
        let what = "let containers outlive the engine";
        let why = "a restart of it must not stop the cloud (`live-restore` in its daemon.json)";
        if !self.options.is_host_engine() {
            return Ok(());
        }
        if !configure::is_missing() {
            self.quiet(what, "the engine has a config of its own already", Done::Unchanged);
        } else if self.options.check_only {
            self.quiet(what, why, Done::Needed);
        } else {
            let begun = self.begin("configure", what.to_owned(), why);
            self.end(begun, configure::write())?;
        }
        Ok(())
    }

    async fn packages(&mut self, missing: &[&'static str]) -> Result<(), BootstrapError> {
        let why = "the engine runs the containers; mmdebstrap makes their base image";
        if missing.is_empty() {
            self.quiet("packages", why, Done::Unchanged);
            return Ok(());
        }
        let what = format!("install {}", missing.join(" "));
        if self.options.check_only {
            self.quiet(&what, why, Done::Needed);
            return Ok(());
        }
        let begun = self.begin("packages", what, why);
        let result = packages::install(self.options, missing, &begun.key, self.reporter).await;
        self.end(begun, result)
    }

    /// Without systemd the root mount is usually private. A network namespace or file system which one container
    /// mounts, and which others shall see, then stays with it.
    fn share_root_mount(&mut self) -> Result<(), BootstrapError> {
        let what = "share the root mount";
        let why = "what one container mounts (network namespaces, volumes) must show in the others";
        match host::root_propagation() {
            Propagation::Shared => self.quiet(what, why, Done::Unchanged),
            // A chroot has no mount at `/` that could be changed.
            Propagation::NoMount => {
                self.quiet(what, "`/` is not a mount point here, so there is none to share", Done::Unchanged);
            }
            Propagation::Private if self.options.check_only => self.quiet(what, why, Done::Needed),
            Propagation::Private if !nix::unistd::geteuid().is_root() => {
                let message = "the root mount is private: `mount --make-rshared /` as root, for containers that \
                               share mounts";
                self.reporter.on(Event::Warning { message: message.to_owned() });
                self.quiet(what, why, Done::Needed);
            }
            Propagation::Private => {
                let begun = self.begin("root-mount", what.to_owned(), why);
                self.end(begun, host::share_root())?;
            }
        }
        Ok(())
    }

    async fn engine(&mut self, found: Option<EngineInfo>) -> Result<Option<EngineInfo>, BootstrapError> {
        let why = "it makes and runs the containers";
        if let Some(info) = found {
            self.quiet(&format!("engine {}", info.version), why, Done::Unchanged);
            return Ok(Some(info));
        }
        if self.options.check_only {
            // What stands in its way has been said already.
            if self.steps.iter().all(|step| step.done != Done::Failed) {
                self.quiet("start the engine", why, Done::Needed);
            }
            return Ok(None);
        }
        let begun = self.begin("engine", "start the engine".to_owned(), why);
        let result = daemon::start(self.options, &begun.key, self.reporter).await;
        let info = self.end(begun, result.and_then(|info| new_enough(Answer::Engine(Box::new(info)))))?;
        if let Some(info) = &info {
            self.judge(info);
        }
        Ok(info)
    }

    /// Says what works, but badly.
    fn judge(&self, info: &EngineInfo) {
        let EngineInfo { storage_driver, cgroup_version, live_restore, .. } = info;
        if !live_restore && self.options.is_host_engine() {
            let message = "a restart of the engine will stop every container: its daemon.json does not say \
                           `\"live-restore\": true`";
            self.reporter.on(Event::Warning { message: message.to_owned() });
        }
        // `overlayfs` is what engines with containerd's image store call it.
        if !["overlay2", "overlayfs"].contains(&storage_driver.as_str()) {
            let message = format!(
                "the engine stores images with `{storage_driver}`, not overlay2: slower, and more disk; its data \
                 directory should be on ext4 or xfs"
            );
            self.reporter.on(Event::Warning { message });
        }
        if !["1", "2"].contains(&cgroup_version.as_str()) {
            let message = "the engine found no control groups: limits on memory and CPUs have no effect";
            self.reporter.on(Event::Warning { message: message.to_owned() });
        }
    }

    /// Notes a step that did nothing.
    fn quiet(&mut self, what: &str, why: impl Into<String>, done: Done) {
        self.steps.push(StepReport { what: what.to_owned(), why: why.into(), done, seconds: 0.0 });
    }

    fn begin(&self, key: &str, what: String, why: &'static str) -> Begun {
        let key = format!("bootstrap-{key}");
        self.reporter.on(Event::Started { key: key.clone(), host: None, title: what.clone() });
        Begun { key, what, why, at: Instant::now() }
    }

    fn end<T>(&mut self, begun: Begun, result: Result<T, BootstrapError>) -> Result<T, BootstrapError> {
        let Begun { key, what, why, at } = begun;
        let took = at.elapsed();
        let (outcome, done) = match &result {
            Ok(_) => (Outcome::Done, Done::Done),
            Err(error) => (Outcome::Failed(error.to_string()), Done::Failed),
        };
        self.reporter.on(Event::Finished { key, outcome, took });
        self.steps.push(StepReport { what, why: why.to_owned(), done, seconds: took.as_secs_f64() });
        result
    }
}

/// Refuses an engine that lacks what Mastic needs; an engine that does not tell its version is taken.
fn new_enough(answer: Answer) -> Result<Option<EngineInfo>, BootstrapError> {
    let Answer::Engine(info) = answer else { return Ok(None) };
    match version::Version::parse(&info.version) {
        Some(version) if version < version::OLDEST => Err(BootstrapError::TooOld {
            version: info.version,
            oldest: version::OLDEST.to_string(),
            name: info.name,
        }),
        Some(_) | None => Ok(Some(*info)),
    }
}
