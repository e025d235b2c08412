//! Why a host cannot be made ready, and what a person does then.

use std::path::PathBuf;

use super::host::Distribution;
use crate::engine::EngineError;

/// Why the host cannot be made ready.
#[derive(Debug, thiserror::Error)]
pub enum BootstrapError {
    /// Not root.
    #[error(
        "it takes root to {todo}: run this with sudo, or let somebody else do it and join the group `docker` \
         (`mastic bootstrap --check` says what is missing)"
    )]
    NotRoot {
        /// What had to be done.
        todo: String,
    },
    /// A socket that we must not open.
    #[error(
        "an engine may run, but this user may not open {}: run this with sudo, or join the group `docker` \
         (`sudo usermod -aG docker $USER`, then log in again)", socket.display()
    )]
    Denied {
        /// Which.
        socket: PathBuf,
    },
    /// A socket that cannot be connected to for a reason of the system's.
    #[error("cannot connect to {}", socket.display())]
    Socket {
        /// Which.
        socket: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// What listens is no engine, or an engine in trouble.
    #[error("what listens on {} does not answer as an engine: look at its log, restart it", socket.display())]
    Strange {
        /// Which.
        socket: PathBuf,
        /// Its words.
        source: EngineError,
    },
    /// It listens and does not answer.
    #[error(
        "what listens on {} has not answered within {seconds} s: look at its log, restart it, or run this again if \
         it is still starting", socket.display()
    )]
    Mute {
        /// Which.
        socket: PathBuf,
        /// How long it was waited for.
        seconds: u64,
    },
    /// Too old.
    #[error(
        "engine {version} on {name} is too old, {oldest} or later is needed: upgrade it, then run this again"
    )]
    TooOld {
        /// What runs.
        version: String,
        /// What is needed.
        oldest: String,
        /// Which host.
        name: String,
    },
    /// Packages are missing, and must not be installed.
    #[error("{missing} is missing, and this run may install nothing; install it with: {command}")]
    MustNotInstall {
        /// Which packages.
        missing: String,
        /// What a person runs.
        command: String,
    },
    /// A distribution whose packages Mastic does not install by itself.
    #[error(
        "{distribution}: Mastic installs packages on Debian and Ubuntu only. Run: {command}; then run this again"
    )]
    Distribution {
        /// What os-release says.
        distribution: Distribution,
        /// What a person runs.
        command: String,
    },
    /// The package manager failed.
    #[error("`{command}` failed ({status}); its last lines:\n{output}")]
    Packages {
        /// What was run.
        command: String,
        /// How it ended.
        status: String,
        /// Its last lines.
        output: String,
    },
    /// All went well, and yet it is not there.
    #[error("{program} is still not found after its package was installed: is its directory in PATH?")]
    StillMissing {
        /// Which.
        program: &'static str,
    },
    /// A program that does not start.
    #[error("cannot run {program}")]
    Program {
        /// Which.
        program: String,
        /// Why.
        source: std::io::Error,
    },
    /// A file or directory; the source names it.
    #[error("cannot prepare the files of the engine")]
    File {
        /// Which, and why.
        source: std::io::Error,
    },
    /// The mount.
    #[error(
        "cannot share the root mount (`mount --make-rshared /`): inside a container, start that one with more \
         rights, or have its host do it"
    )]
    Mount {
        /// Why.
        source: nix::Error,
    },
    /// systemd could not start it.
    #[error("`{command}` failed; its last lines:\n{output}\nSee `journalctl -u docker`.")]
    Service {
        /// What was run.
        command: String,
        /// Its last lines.
        output: String,
    },
    /// The daemon ended.
    #[error("the engine ended ({status}) before it answered; {} ends with:\n{lines}", log.display())]
    Died {
        /// How.
        status: String,
        /// Its log.
        log: PathBuf,
        /// The last lines.
        lines: String,
    },
    /// The daemon runs and does not answer.
    #[error(
        "the engine has not answered on {} within {seconds} s; it was left running, see {}, which ends with:\n{lines}",
        socket.display(), log.display()
    )]
    NotReady {
        /// Where it should.
        socket: PathBuf,
        /// How long it was waited for.
        seconds: u64,
        /// Its log.
        log: PathBuf,
        /// The last lines.
        lines: String,
    },
    /// Somebody else's daemon runs and does not answer here.
    #[error(
        "an engine runs already (process {pid}, {}), but does not answer on {} after {seconds} s: stop it with \
         `kill {pid}`, or name its socket", pid_file.display(), socket.display()
    )]
    Elsewhere {
        /// Which process.
        pid: i32,
        /// Where that stands.
        pid_file: PathBuf,
        /// Where it should answer.
        socket: PathBuf,
        /// How long it was waited for.
        seconds: u64,
    },
}
