//! The command line. `docs/reference/commands.md` is generated from this file.

use std::path::PathBuf;

use clap::{ArgAction, Args, Parser, Subcommand, ValueEnum, ValueHint};

/// Exit codes, shown at the end of every help text and in `docs/reference/exit-codes.md`.
pub const EXIT_CODES: &str = "Exit codes: 0 done; 1 error; 2 changes are pending (plan, status --drift); \
3 a yes is needed; 4 another run holds the lock; 5 the plan is stale; 6 failed and undone; 7 failed and not undone; 8 the cloud failed (verify); 64 usage; 130 interrupted.";

/// Builds, deploys, upgrades and rolls back an OpenStack cloud in containers.
#[derive(Debug, Parser)]
#[command(name = "mastic", version, about, after_help = EXIT_CODES, propagate_version = true, max_term_width = 110)]
#[command(arg_required_else_help = true, disable_help_subcommand = true)]
pub struct Cli {
    /// Options of every command.
    #[command(flatten)]
    pub global: Global,
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// Options of every command.
#[derive(Clone, Debug, Args)]
pub struct Global {
    /// Profile: a file, or the name of a built-in one (see `mastic init --list`)
    ///
    /// Without it `mastic.yaml` in the current folder is taken if there is one, else the built-in `all-in-one`.
    #[arg(short, long, global = true, env = "MASTIC_PROFILE", value_name = "FILE|NAME", value_hint = ValueHint::FilePath)]
    pub profile: Option<String>,
    /// OpenStack series, instead of the profile's `release`
    #[arg(long, global = true, env = "MASTIC_RELEASE", value_name = "SERIES")]
    pub release: Option<String>,
    /// Where secrets, certificates, client files and journals lie
    ///
    /// Default: /var/lib/mastic/DEPLOYMENT for root, else $XDG_STATE_HOME/mastic/DEPLOYMENT.
    #[arg(long, global = true, env = "MASTIC_STATE_DIR", value_name = "DIR", value_hint = ValueHint::DirPath)]
    pub state_dir: Option<PathBuf>,
    /// A further folder with `templates/` and `images/`; later ones win
    #[arg(long, global = true, value_name = "DIR", action = ArgAction::Append, value_hint = ValueHint::DirPath)]
    pub library: Vec<PathBuf>,
    /// Print the result as JSON on standard output
    #[arg(long, global = true)]
    pub json: bool,
    /// Say only what went wrong
    #[arg(short, long, global = true, conflicts_with = "verbose")]
    pub quiet: bool,
    /// Say more: output of builds and tasks, every step
    #[arg(short, long, global = true)]
    pub verbose: bool,
    /// Live progress on a terminal, plain lines elsewhere
    #[arg(long, global = true, value_enum, default_value_t = ProgressMode::Auto, value_name = "WHEN")]
    pub progress: ProgressMode,
}

/// How progress is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum ProgressMode {
    /// Live on a terminal, else plain.
    Auto,
    /// Live.
    Live,
    /// One line per event.
    Plain,
    /// One JSON object per event, on standard error.
    Json,
    /// Nothing.
    None,
}

/// Which part of the deployment.
#[derive(Clone, Debug, Default, Args)]
pub struct Selection {
    /// Only this container set (repeatable)
    #[arg(long = "set", value_name = "SET", action = ArgAction::Append)]
    pub sets: Vec<String>,
    /// Only this service (repeatable)
    #[arg(long = "service", value_name = "SERVICE", action = ArgAction::Append)]
    pub services: Vec<String>,
}

/// Consent.
#[derive(Clone, Debug, Default, Args)]
pub struct Consent {
    /// Do not ask; hazards still need --accept
    #[arg(short, long)]
    pub yes: bool,
    /// Accept a hazard by its name, as `plan` shows it (repeatable)
    #[arg(long, value_name = "HAZARD", action = ArgAction::Append)]
    pub accept: Vec<String>,
}

/// The commands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Engine, images, deployment, check: everything, from a fresh machine to a token
    Up(UpArgs),
    /// Install, start and verify a Docker engine on this host
    Bootstrap(BootstrapArgs),
    /// Write a commented profile to start from
    Init(InitArgs),
    /// Check the profile, services, templates and overrides; report every mistake at once
    Validate,
    /// Check that the hosts can run what the profile asks for
    Prechecks,
    /// Render every config file, secrets masked
    #[command(visible_alias = "genconfig")]
    Render(RenderArgs),
    /// Build the images
    Build(BuildArgs),
    /// Pull the images from the registry that the profile names
    Pull,
    /// List images, or what is installed in one
    Images(ImagesArgs),
    /// Remove images that neither a container, nor the profile, nor the last generations need
    Gc(GcArgs),
    /// Show what `deploy` would do, and why
    #[command(after_help = "Exit codes: 0 nothing to do; 2 there are changes; 1 error.")]
    Plan(PlanArgs),
    /// Make the cloud what the profile says
    #[command(visible_alias = "reconfigure")]
    Deploy(DeployArgs),
    /// Take the running cloud to another release, set by set, and keep the old one until `commit`
    #[command(
        visible_alias = "resume",
        after_help = "What served before is kept, stopped, with its config: `mastic rollback` starts it again without restoring any data, until `mastic commit`.\n\
            Without `--to`, an open upgrade goes on (`mastic resume`). With the cloud's own release it takes changes of the profile (config, tags of images) as an upgrade does: what served is kept."
    )]
    Upgrade(UpgradeArgs),
    /// Return to the release that an open upgrade keeps
    #[command(visible_alias = "abort")]
    Rollback(RollbackArgs),
    /// Finish an open upgrade: what only the older release needed goes
    #[command(after_help = "After it the older release cannot come back without restoring its data.")]
    Commit(CommitArgs),
    /// Make a restore point: a copy of all databases, while they are used
    Backup(BackupArgs),
    /// Make a restore point the data: everything stops, what was written since is lost
    Restore(RestoreArgs),
    /// Show sets, services, containers, health, generation
    Status(StatusArgs),
    /// List the generations of this deployment
    History,
    /// What differs between two generations: images, specs by field, config by line
    Diff(DiffArgs),
    /// Draw a run as one HTML page: a bar a step, what each waited for, what made it as long as it was
    Timeline(TimelineArgs),
    /// Draw sets and services, or containers and tasks, with what starts after what
    Graph(GraphArgs),
    /// Show logs of one or more containers
    Logs(LogsArgs),
    /// Run a program in a container
    Exec(ExecArgs),
    /// Run every container's health check now, and ask the cloud for a token
    Check(CheckArgs),
    /// Use the cloud as a stranger would, with things of its own, and delete them again
    #[command(
        after_help = "Exit codes: 0 every step passed (with --tempest: tests passed, and none failed); 8 one did not, or something could not be deleted; 1 it could not begin; 130 interrupted, cleaned up."
    )]
    Verify(VerifyArgs),
    /// Stop containers, in reverse order
    Stop(StopArgs),
    /// Start stopped containers, in order
    Start(StopArgs),
    /// The secrets file
    #[command(subcommand)]
    Secrets(SecretsCommand),
    /// Show which certificate ends when, and renew them
    #[command(
        after_help = "Exit codes: 0 all are good and where they belong; 2 one ends soon, or `deploy` is to bring it to its containers."
    )]
    Certificates(CertificatesArgs),
    /// Write clouds.yaml and openrc again
    PostDeploy,
    /// Release a lock that a dead run left
    Unlock(UnlockArgs),
    /// Run the OpenStack client in the toolbox
    #[command(disable_help_flag = true)]
    Openstack(OpenstackArgs),
    /// Show a value of the profile and where it comes from
    Explain(ExplainArgs),
    /// List everything beyond an unprivileged container, with its reason
    Privileges,
    /// Remove what this deployment made; data only when its volumes are named
    Destroy(DestroyArgs),
    /// Print the JSON schema of a document
    Schema(SchemaArgs),
    /// Print a completion script
    Completions(CompletionsArgs),
    /// Print the manual page, or write one per command
    Man(ManArgs),
}

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

/// `init`
#[derive(Clone, Debug, Args)]
pub struct InitArgs {
    /// Where to write it; `-` for standard output
    #[arg(default_value = "mastic.yaml", value_hint = ValueHint::FilePath)]
    pub file: String,
    /// Which built-in profile to start from
    #[arg(long, default_value = "all-in-one")]
    pub from: String,
    /// List the built-in profiles
    #[arg(long)]
    pub list: bool,
    /// Overwrite an existing file
    #[arg(long)]
    pub force: bool,
}

/// `render`
#[derive(Clone, Debug, Args)]
pub struct RenderArgs {
    /// Only these services or containers
    pub names: Vec<String>,
    /// Write the files below this folder, one folder per container, secrets masked, instead of printing
    #[arg(short, long, value_name = "DIR", value_hint = ValueHint::DirPath)]
    pub output: Option<PathBuf>,
    /// Show the secrets: files are written 0600
    #[arg(long, requires = "output")]
    pub reveal: bool,
}

/// `build`
#[derive(Clone, Debug, Args)]
pub struct BuildArgs {
    /// Only this image, and what it is built from (repeatable)
    #[arg(long, value_name = "IMAGE", action = ArgAction::Append)]
    pub only: Vec<String>,
    /// Say what would be built and why
    #[arg(long)]
    pub plan: bool,
    /// Forget cached layers; with --only, those of these images alone
    #[arg(long)]
    pub no_cache: bool,
    /// Build every image of the library, not only those the profile needs
    #[arg(long)]
    pub all: bool,
    /// Push them to the registry that the profile names, for `mastic pull` elsewhere
    #[arg(long, conflicts_with = "plan")]
    pub push: bool,
}

/// `gc`
#[derive(Clone, Debug, Args)]
pub struct GcArgs {
    /// Of how many generations, the youngest first, images stay
    #[arg(long, value_name = "N", default_value_t = 2)]
    pub keep: u8,
    /// Do not ask
    #[arg(short, long)]
    pub yes: bool,
}

/// `images`
#[derive(Clone, Debug, Args)]
pub struct ImagesArgs {
    /// Print what is installed in this image, and from where
    #[arg(long, value_name = "IMAGE")]
    pub sbom: Option<String>,
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
    /// Ask every API ten times a second meanwhile, and say what failed
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
    /// Do not ask every API ten times a second meanwhile
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
    /// Make no restore point before it begins
    #[arg(long)]
    pub no_backup: bool,
    /// Where it fails, roll back all of it
    #[arg(long)]
    pub all_or_nothing: bool,
    /// How long each newer container must stay well before its predecessor goes
    #[arg(long, value_name = "SECONDS", default_value_t = crate::plan::SOAK)]
    pub soak: u32,
    /// What is agreed to.
    #[command(flatten)]
    pub consent: Consent,
    /// Why, for the history
    #[arg(short, long, value_name = "TEXT")]
    pub message: Option<String>,
}

/// `diff`
#[derive(Clone, Debug, Args)]
pub struct DiffArgs {
    /// The earlier one; see `mastic history`
    pub from: u64,
    /// The later one; without it, the youngest
    pub to: Option<u64>,
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
    /// Do not ask every API ten times a second meanwhile
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
    /// The generation to return to: the one that is kept
    #[arg(long, value_name = "GENERATION")]
    pub to: Option<u64>,
    /// Do not ask every API ten times a second meanwhile
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

fn step(name: &str) -> Result<crate::verify::StepId, String> {
    use crate::verify::StepId;
    let names = || StepId::ALL.iter().map(|step| step.name());
    StepId::named(name).ok_or_else(|| match super::session::nearest(name, names()) {
        Some(near) => format!("there is no such step; did you mean `{near}`?"),
        None => format!("there is no such step; there are: {}", names().collect::<Vec<_>>().join(", ")),
    })
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

/// `secrets`
#[derive(Clone, Debug, Subcommand)]
pub enum SecretsCommand {
    /// Generate those that are missing; existing ones never change
    Generate,
    /// Print where the file is
    Path,
    /// List the names
    List,
    /// Take over the secrets and certificates of a deployment that was made from another machine or folder
    ///
    /// FROM is a copy of its state folder (see `mastic secrets path` there), or of its secrets.yaml alone. What is here
    /// already and differs is never overwritten.
    Import {
        /// The state folder, or its secrets.yaml
        #[arg(value_name = "FROM", value_hint = ValueHint::AnyPath)]
        from: PathBuf,
    },
}

/// `certificates`
#[derive(Clone, Debug, Args)]
pub struct CertificatesArgs {
    /// Make those anew that end within a month; `deploy` brings them to their containers
    #[arg(long)]
    pub renew: bool,
    /// With --renew: all that the authority signed, whenever they end
    #[arg(long, requires = "renew")]
    pub all: bool,
    /// With --renew: the authority too, and so all; every client needs its new certificate
    #[arg(long, requires = "renew")]
    pub authority: bool,
}

/// `unlock`
#[derive(Clone, Debug, Args)]
pub struct UnlockArgs {
    /// Do not ask
    #[arg(short, long)]
    pub yes: bool,
}

/// `openstack`
#[derive(Clone, Debug, Args)]
pub struct OpenstackArgs {
    /// Arguments of the client
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    pub arguments: Vec<String>,
}

/// `explain`
#[derive(Clone, Debug, Args)]
pub struct ExplainArgs {
    /// A variable, a port, or a path in the profile (`hosts.local.address`); all variables without
    pub key: Option<String>,
    /// As this host sees it
    #[arg(long)]
    pub host: Option<String>,
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

/// `schema`
#[derive(Clone, Debug, Args)]
pub struct SchemaArgs {
    /// Which document
    #[arg(value_enum, default_value_t = SchemaKind::Profile)]
    pub kind: SchemaKind,
}

/// Documents with a schema.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum SchemaKind {
    /// The profile.
    Profile,
    /// service.yaml.
    Service,
}

/// `completions`
#[derive(Clone, Debug, Args)]
pub struct CompletionsArgs {
    /// For which shell
    #[arg(value_enum)]
    pub shell: clap_complete::Shell,
}

/// `man`
#[derive(Clone, Debug, Args)]
pub struct ManArgs {
    /// Write one page per command below this folder
    #[arg(short, long, value_name = "DIR", value_hint = ValueHint::DirPath)]
    pub output: Option<PathBuf>,
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_command_line_must_be_consistent() {
        Cli::command().debug_assert();
    }
}
