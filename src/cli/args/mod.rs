//! The command line. `docs/reference/commands.md` is generated from this folder.

mod change;
mod files;
mod images;
mod look;

use std::path::PathBuf;

use clap::{ArgAction, Args, Parser, Subcommand, ValueEnum, ValueHint};

pub use change::*;
pub use files::*;
pub use images::*;
pub use look::*;

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
    /// Keep a generation's images and restore point, however old it is
    Pin(PinArgs),
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
    /// Try what an upgrade does to the databases on a copy of them: how long it takes, what it changes, whether the way back stays open
    #[command(
        after_help = "Nothing of the cloud is touched: the copy, and the containers that work on it, have no network, and go at the end.\n\
            Exit codes: 0 all of it works, whatever it says of the way back (`way_back` in --json); 6 a task failed on the copy; 1 there was no rehearsal; 130 interrupted, the copy is gone."
    )]
    Rehearse(RehearseArgs),
    /// Return to the release that an open upgrade keeps; after `commit`, with `--restore`, to the one before
    #[command(
        visible_alias = "abort",
        after_help = "Without an open upgrade it says which release was before, which restore point there is of it, and what would be lost, and ends with 3 (1 where there is no way back); `--restore` does it.\n\
            Exit codes: 0 done; 3 a yes, or `--restore`, is needed; 6 failed, and what served before serves; 7 failed: run it again, it goes on; 1 error."
    )]
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

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_command_line_must_be_consistent() {
        Cli::command().debug_assert();
    }
}
