//! Arguments of the commands about images.

use clap::{ArgAction, Args};

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

/// `pin`
#[derive(Clone, Debug, Args)]
pub struct PinArgs {
    /// Which; see `mastic history`
    pub generation: u64,
    /// It may go again
    #[arg(long)]
    pub remove: bool,
    /// Why, for the history
    #[arg(short, long, value_name = "TEXT")]
    pub message: Option<String>,
}

/// `images`
#[derive(Clone, Debug, Args)]
pub struct ImagesArgs {
    /// Print what is installed in this image, and from where
    #[arg(long, value_name = "IMAGE")]
    pub sbom: Option<String>,
}
