//! Arguments of the commands that look at a cloud, or use it.

use std::path::PathBuf;

use clap::{ArgAction, Args, ValueEnum, ValueHint};

use super::Selection;

/// `diff`
#[derive(Clone, Debug, Args)]
pub struct DiffArgs {
    /// The earlier one; see `mastic history`
    pub from: u64,
    /// The later one; without it, the youngest
    pub to: Option<u64>,
}

/// `status`
#[derive(Clone, Debug, Args)]
pub struct StatusArgs {
    /// Which part.
    #[command(flatten)]
    pub selection: Selection,
    /// Compare with the profile; exit 2 when the cloud differs
    #[arg(long, conflicts_with = "watch")]
    pub drift: bool,
    /// Show anew what changes, as it changes; with --json one document a change, on a line
    #[arg(short, long)]
    pub watch: bool,
    /// Tasks that are done as well
    #[arg(short, long)]
    pub all: bool,
}

/// `timeline`
#[derive(Clone, Debug, Args)]
pub struct TimelineArgs {
    /// Which run: its name or the beginning of it; without it, the last one
    #[arg(long, value_name = "RUN")]
    pub run: Option<String>,
    /// Where to write it; `-` for standard output
    #[arg(short, long, value_name = "FILE", default_value = "timeline.html", value_hint = ValueHint::FilePath)]
    pub output: String,
    /// List the runs that there are
    #[arg(long)]
    pub list: bool,
}

/// `graph`
#[derive(Clone, Debug, Args)]
pub struct GraphArgs {
    /// Containers and tasks instead of sets and services
    #[arg(long)]
    pub containers: bool,
    /// Only this set (repeatable)
    #[arg(long = "set", value_name = "SET", action = ArgAction::Append)]
    pub sets: Vec<String>,
    /// How; without it, as the file's name ends, else DOT
    #[arg(long, value_enum)]
    pub format: Option<GraphFormat>,
    /// Where to write it; without it, to standard output
    #[arg(short, long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub output: Option<PathBuf>,
}

/// Ways to draw a graph.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum GraphFormat {
    /// For Graphviz.
    Dot,
    /// A picture.
    Svg,
}

/// `logs`
#[derive(Clone, Debug, Args)]
pub struct LogsArgs {
    /// Containers or services; all without
    pub names: Vec<String>,
    /// Go on as lines come
    #[arg(short, long)]
    pub follow: bool,
    /// Only the last N lines of each
    #[arg(short = 'n', long, value_name = "N")]
    pub tail: Option<u64>,
    /// From: a time (RFC 3339) or an age (`10m`, `2h`)
    #[arg(long, value_name = "TIME")]
    pub since: Option<String>,
    /// To: a time (RFC 3339) or an age
    #[arg(long, value_name = "TIME")]
    pub until: Option<String>,
    /// Show the engine's times
    #[arg(short, long)]
    pub timestamps: bool,
}

/// `exec`
#[derive(Clone, Debug, Args)]
pub struct ExecArgs {
    /// Which container
    pub container: String,
    /// As whom: `uid:gid` or a user of the image
    #[arg(short, long)]
    pub user: Option<String>,
    /// Program and arguments
    #[arg(required = true, trailing_var_arg = true, allow_hyphen_values = true)]
    pub command: Vec<String>,
}

/// `check`
#[derive(Clone, Debug, Args)]
pub struct CheckArgs {
    /// Which part.
    #[command(flatten)]
    pub selection: Selection,
    /// Wait that long for everything to be healthy, e.g. after the engine was restarted
    #[arg(long, value_name = "SECONDS", default_value_t = 0, hide_default_value = true)]
    pub wait: u32,
}

/// What `verify --resources` does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum ResourcesAct {
    /// Make them.
    Create,
    /// Look at them again.
    Check,
    /// Delete them.
    Delete,
}

/// `verify`
#[derive(Clone, Debug, Args)]
pub struct VerifyArgs {
    /// Only this step and what it stands on (repeatable)
    #[arg(long, value_name = "STEP", action = ArgAction::Append, value_parser = step)]
    pub only: Vec<crate::verify::StepId>,
    /// Not this step, nor what stands on it (repeatable)
    #[arg(long, value_name = "STEP", action = ArgAction::Append, value_parser = step)]
    pub skip: Vec<crate::verify::StepId>,
    /// List the steps that this profile gets, and do nothing
    #[arg(long)]
    pub list: bool,
    /// Boot this disk image (qcow2 or raw, with cloud-init) instead of the guest that Mastic builds
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub image: Option<PathBuf>,
    /// Also write the result as JUnit's XML
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub junit: Option<PathBuf>,
    /// Delete nothing at the end; the next run does
    #[arg(long)]
    pub keep: bool,
    /// Make resources that outlive this command (a server that answers, its volume, an image, an object, a stack), look at them again
    /// (after an upgrade, a rollback, a restart), or delete them
    #[arg(long, value_enum, value_name = "ACT", conflicts_with_all = ["only", "skip", "list", "keep", "tempest", "junit"])]
    pub resources: Option<ResourcesAct>,
    /// With `--resources check`: look only at what must go on while no API answers
    #[arg(long, requires = "resources")]
    pub data_plane: bool,
    /// Run Tempest's tests instead of these steps: configured for this cloud, in a container of an image of its own, which is built
    /// where it is not there yet
    #[arg(long, conflicts_with_all = ["only", "skip", "list"])]
    pub tempest: bool,
    /// Which of Tempest's tests: a regular expression, found anywhere in a test's id with its attributes; several, with blanks
    /// between them, choose what any of them finds
    #[arg(long, value_name = "REGEX", default_value = "smoke", requires = "tempest")]
    pub tempest_regex: String,
    /// How many of Tempest's tests run at a time; without it as many as the host has processors, at most 2
    #[arg(long, value_name = "N", requires = "tempest", value_parser = clap::value_parser!(u32).range(1..=64))]
    pub tempest_workers: Option<u32>,
}

/// `openstack`
#[derive(Clone, Debug, Args)]
pub struct OpenstackArgs {
    /// Arguments of the client
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    pub arguments: Vec<String>,
}

fn step(name: &str) -> Result<crate::verify::StepId, String> {
    use crate::verify::StepId;
    let names = || StepId::ALL.iter().map(|step| step.name());
    StepId::named(name).ok_or_else(|| match crate::model::words::nearest(name, names()) {
        Some(near) => format!("there is no such step; did you mean `{near}`?"),
        None => format!("there is no such step; there are: {}", names().collect::<Vec<_>>().join(", ")),
    })
}
