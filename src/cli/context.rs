//! What every command needs: the profile, where things lie, the engines, and somebody to tell.

use std::collections::BTreeMap;
use std::io::IsTerminal;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context as _, Result};
use indicatif::ProgressDrawTarget;

use super::args::{Global, ProgressMode};
use super::exit::CliError;
use super::printer::Printer;
use crate::engine::{self, Engine};
use crate::model::{DeploymentName, HostName};
use crate::profile::Profile;
use crate::report::json::JsonLines;
use crate::report::live::Live;
use crate::report::plain::Plain;
use crate::report::{Reporter, Silent};

/// The engines of a deployment.
pub type Engines = BTreeMap<HostName, Arc<dyn Engine>>;

/// One call of the program.
#[derive(Debug)]
pub struct Context {
    /// Options of every command.
    pub global: Global,
    /// For results.
    pub printer: Printer,
    /// For progress.
    pub reporter: Arc<dyn Reporter>,
}

impl Context {
    /// Decides how to talk.
    pub fn new(global: Global) -> Self {
        let printer = Printer { quiet: global.quiet };
        let live =
            std::io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|v| v.is_empty());
        let mode = match global.progress {
            ProgressMode::Auto if global.quiet => ProgressMode::None,
            ProgressMode::Auto if live => ProgressMode::Live,
            ProgressMode::Auto => ProgressMode::Plain,
            chosen => chosen,
        };
        let reporter: Arc<dyn Reporter> = match mode {
            ProgressMode::Live => Arc::new(Live::new(ProgressDrawTarget::stderr(), global.verbose)),
            ProgressMode::Json => Arc::new(JsonLines::new(std::io::stderr())),
            ProgressMode::None => Arc::new(Silent),
            ProgressMode::Auto | ProgressMode::Plain => {
                Arc::new(Plain::new(std::io::stderr(), global.verbose))
            }
        };
        Self { global, printer, reporter }
    }
}

/// Returns the folder for a deployment's own files.
pub fn state_dir(
    flag: Option<&Path>,
    profile: Option<&str>,
    beside: &Path,
    deployment: &DeploymentName,
) -> Result<PathBuf> {
    if let Some(dir) = flag {
        return std::path::absolute(dir)
            .with_context(|| format!("{} cannot be made absolute", dir.display()));
    }
    if let Some(dir) = profile {
        return std::path::absolute(beside.join(dir))
            .with_context(|| format!("{dir} cannot be made absolute"));
    }
    if nix::unistd::geteuid().is_root() {
        return Ok(Path::new("/var/lib/mastic").join(deployment.as_str()));
    }
    let base = std::env::var_os("XDG_STATE_HOME")
        .filter(|v| !v.is_empty())
        .map(PathBuf::from)
        .or_else(|| std::env::home_dir().map(|home| home.join(".local/state")))
        .ok_or_else(|| {
            CliError::new("there is no home folder to keep state in").help("give --state-dir DIR")
        })?;
    Ok(base.join("mastic").join(deployment.as_str()))
}

/// Connects to all hosts' engines.
pub async fn connect(profile: &Profile) -> Result<Engines> {
    let mut engines = Engines::new();
    for (name, host) in &profile.document.hosts {
        let engine = engine::connect(&host.engine, host.tls.as_deref()).await.map_err(|error| {
            CliError::new(format!(
                "host `{name}`: no Docker engine answers at {}: {}",
                host.engine, error.message
            ))
            .help("`mastic bootstrap` installs and starts one on this machine")
        })?;
        engines.insert(name.clone(), engine);
    }
    Ok(engines)
}
