//! Arguments of the commands that change what runs.

use std::path::PathBuf;

use clap::{Args, ValueHint};

use super::{Consent, Selection};

/// `up`
#[derive(Clone, Debug, Args)]
pub struct UpArgs {
    /// What is agreed to.
    #[command(flatten)]
    pub consent: Consent,
    /// Do not install or start an engine
    #[arg(long)]
    pub no_bootstrap: bool,
    /// Do not build; use the images that are there
    #[arg(long)]
    pub no_build: bool,
}

/// `bootstrap`
#[derive(Clone, Debug, Args)]
pub struct BootstrapArgs {
    /// Only say what is missing
    #[arg(long)]
    pub check: bool,
}

/// `plan`
#[derive(Clone, Debug, Args)]
pub struct PlanArgs {
    /// Which part.
    #[command(flatten)]
    pub selection: Selection,
    /// Show every step with its dependencies
    #[arg(long)]
    pub steps: bool,
    /// Write the plan for `deploy --plan`
    #[arg(short, long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub output: Option<PathBuf>,
}

/// `deploy`
#[derive(Clone, Debug, Args)]
pub struct DeployArgs {
    /// Which part.
    #[command(flatten)]
    pub selection: Selection,
    /// What is agreed to.
    #[command(flatten)]
    pub consent: Consent,
    /// Ask every API ten times a second meanwhile, ping servers, boot one after another, and say what failed
    #[arg(long)]
    pub probe: bool,
    /// Carry out exactly this plan, or refuse when it is stale
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath, conflicts_with_all = ["sets", "services"])]
    pub plan: Option<PathBuf>,
    /// Why, for the history
    #[arg(short, long, value_name = "TEXT")]
    pub message: Option<String>,
}

/// `upgrade`
#[derive(Clone, Debug, Args)]
pub struct UpgradeArgs {
    /// Do not ask every API ten times a second meanwhile, nor ping or boot servers
    #[arg(long)]
    pub no_probe: bool,
    /// The release to go to; without it, that of an open upgrade, or the profile's. With `--service`: a tag of its images, too
    #[arg(long, value_name = "SERIES", conflicts_with = "release")]
    pub to: Option<String>,
    /// Which part of the cloud, with what cannot be parted from it
    #[command(flatten)]
    pub selection: Selection,
    /// Go no further than this set, in the order in which sets are launched
    #[arg(long, value_name = "SET", conflicts_with_all = ["sets", "services"])]
    pub pause_after: Option<String>,
    /// Do not build; use the images that are there
    #[arg(long)]
    pub no_build: bool,
    /// Rehearse it first (see `mastic rehearse`), and begin only where that works and leaves the way back open
    #[arg(long)]
    pub rehearse: bool,
    /// Make no restore point before it begins
    #[arg(long)]
    pub no_backup: bool,
    /// Begin although checks of what is to be upgraded fail
    #[arg(long)]
    pub unwell: bool,
    /// Where it fails, roll back all of it
    #[arg(long)]
    pub all_or_nothing: bool,
    /// Stop what is kept instead of freezing it: it takes no memory then, and the way back takes as long as its programs take to
    /// start
    #[arg(long)]
    pub stop_kept: bool,
    /// How long each newer container must stay well before its predecessor goes
    #[arg(long, value_name = "SECONDS", default_value_t = crate::plan::SOAK)]
    pub soak: u32,
    /// Within how long each newer container must pass its check, instead of the time that its service gives it
    #[arg(long, value_name = "SECONDS", value_parser = clap::value_parser!(u32).range(1..))]
    pub healthy_deadline: Option<u32>,
    /// How long nothing may come to its end before the upgrade has failed; tasks, stops and drains have their own time beside it
    #[arg(long, value_name = "SECONDS", value_parser = clap::value_parser!(u64).range(1..=86400),
        default_value_t = crate::execute::PROGRESS_DEADLINE.as_secs())]
    pub progress_deadline: u64,
    /// What is agreed to.
    #[command(flatten)]
    pub consent: Consent,
    /// Why, for the history
    #[arg(short, long, value_name = "TEXT")]
    pub message: Option<String>,
}

/// `rehearse`
#[derive(Clone, Debug, Args)]
pub struct RehearseArgs {
    /// The release to go to; without it, that of an open upgrade, or the profile's
    #[arg(long, value_name = "SERIES", conflicts_with = "release")]
    pub to: Option<String>,
    /// Try also what `commit` does
    #[arg(long)]
    pub contract: bool,
    /// Do not build; use the images that are there
    #[arg(long)]
    pub no_build: bool,
}

/// `backup`
#[derive(Clone, Debug, Args)]
pub struct BackupArgs {
    /// What to call it; without it, by the time. With `--verify`: which; without it, the newest
    pub point: Option<String>,
    /// List the restore points that there are
    #[arg(long, conflicts_with_all = ["point", "verify"])]
    pub list: bool,
    /// Make none; try whether one can be restored, beside the data, in a container of its own
    #[arg(long)]
    pub verify: bool,
    /// Why, for the history
    #[arg(short, long, value_name = "TEXT")]
    pub message: Option<String>,
}

/// `restore`
#[derive(Clone, Debug, Args)]
pub struct RestoreArgs {
    /// Which; see `mastic backup --list`
    pub point: String,
    /// What is agreed to.
    #[command(flatten)]
    pub consent: Consent,
    /// Why, for the history
    #[arg(short, long, value_name = "TEXT")]
    pub message: Option<String>,
}

/// `commit`
#[derive(Clone, Debug, Args)]
pub struct CommitArgs {
    /// Do not ask every API ten times a second meanwhile, nor ping or boot servers
    #[arg(long)]
    pub no_probe: bool,
    /// What is agreed to.
    #[command(flatten)]
    pub consent: Consent,
    /// Why, for the history
    #[arg(short, long, value_name = "TEXT")]
    pub message: Option<String>,
}

/// `rollback`
#[derive(Clone, Debug, Args)]
pub struct RollbackArgs {
    /// The generation to return to: the one that is kept; with `--restore`, any that has a restore point
    #[arg(long, value_name = "GENERATION")]
    pub to: Option<u64>,
    /// After `commit`: everything stops, the restore point becomes the data, the older release serves; what was written since is lost
    #[arg(long, conflicts_with_all = ["sets", "services"])]
    pub restore: bool,
    /// With `--restore`: do not build the older release's images; use those that are there
    #[arg(long, requires = "restore")]
    pub no_build: bool,
    /// With `--restore`: make no restore point of what serves now
    #[arg(long, requires = "restore")]
    pub no_backup: bool,
    /// Do not ask every API ten times a second meanwhile, nor ping or boot servers
    #[arg(long)]
    pub no_probe: bool,
    /// Which part of the cloud, with what cannot be parted from it
    #[command(flatten)]
    pub selection: Selection,
    /// What is agreed to.
    #[command(flatten)]
    pub consent: Consent,
    /// Why, for the history
    #[arg(short, long, value_name = "TEXT")]
    pub message: Option<String>,
}

/// `stop`, `start`
#[derive(Clone, Debug, Args)]
pub struct StopArgs {
    /// Which part.
    #[command(flatten)]
    pub selection: Selection,
    /// What is agreed to.
    #[command(flatten)]
    pub consent: Consent,
}

/// `unlock`
#[derive(Clone, Debug, Args)]
pub struct UnlockArgs {
    /// Do not ask
    #[arg(short, long)]
    pub yes: bool,
}

/// `destroy`
#[derive(Clone, Debug, Args)]
pub struct DestroyArgs {
    /// Remove these volumes, and the data in them, too; `all` is every one
    #[arg(long, value_name = "NAME", value_delimiter = ',', num_args = 1..)]
    pub volumes: Vec<String>,
    /// Also forget secrets, certificates and client files of this deployment
    #[arg(long)]
    pub state: bool,
    /// Do not ask
    #[arg(short, long)]
    pub yes: bool,
}
