//! Arguments of the commands about files: profiles, secrets, certificates, what is printed for other programs.

use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum, ValueHint};

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

/// `explain`
#[derive(Clone, Debug, Args)]
pub struct ExplainArgs {
    /// A variable, a port, or a path in the profile (`hosts.local.address`); all variables without
    pub key: Option<String>,
    /// As this host sees it
    #[arg(long)]
    pub host: Option<String>,
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
