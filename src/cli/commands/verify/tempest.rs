//! `mastic verify --tempest`: Tempest's tests, from the image of that name.

use anyhow::Result;
use tokio_util::sync::CancellationToken;

use crate::cli::args::VerifyArgs;
use crate::cli::context::{Context, Engines};
use crate::cli::exit::{CliError, Exit};
use crate::cli::session::Loaded;
use crate::model::desired::IdentityAccess;
use crate::verify::Facts;
use crate::verify::tempest::{self, Options};

/// The image that holds Tempest.
const IMAGE: &str = "tempest";
/// Tests at a time, where nobody says how many: each boots servers.
const WORKERS: u64 = 2;

/// What is tested.
pub(super) struct Cloud<'a> {
    pub(super) loaded: &'a Loaded,
    pub(super) engines: &'a Engines,
    pub(super) access: IdentityAccess,
    pub(super) facts: Facts,
}

/// Runs the tests.
pub(super) async fn run(context: &Context, args: &VerifyArgs, cloud: Cloud<'_>) -> Result<Exit> {
    let Cloud { loaded, engines, access, facts } = cloud;
    let lock = super::lock(loaded)?;
    let has_servers = facts.services.contains_key("compute");
    let guest = super::guest(context, loaded, engines, args, has_servers).await?;
    if args.image.is_some() && has_servers {
        context.printer.say("tests do not log in to servers of another image than Mastic's own");
    }
    let place = super::place(context, loaded, engines, IMAGE).await?;
    let concurrency = match args.tempest_workers {
        Some(workers) => workers,
        None => u32::try_from(place.engine.info().await?.cpus.clamp(1, WORKERS)).unwrap_or(1),
    };
    let options = Options {
        facts,
        access,
        state: loaded.state.clone(),
        release: loaded.profile.document.release.to_string(),
        machine: super::machine(),
        guest,
        regex: args.tempest_regex.clone(),
        concurrency,
        keep: args.keep,
        place,
    };
    let cancel = CancellationToken::new();
    let watch = super::interruptible(context, &cancel);
    let report = tempest::run(&options, context.reporter.clone(), &cancel).await;
    watch.abort();
    drop(lock);
    let report = report?;

    super::publish(context, args, || report.junit(), || report.json(), || report.rows())?;
    let summary = format!("Tempest: {}", report.summary());
    if report.is_ok() {
        context.printer.say(&format!("{summary}; nothing left behind"));
        return Ok(Exit::Done);
    }
    if report.tests.is_empty() && report.broken.is_none() && !report.interrupted && report.cleanup.is_ok() {
        return Err(CliError::new(format!("no test matches `{}`", report.regex)).exit(Exit::Usage).into());
    }
    let exit = if report.interrupted { Exit::Interrupted } else { Exit::Failed };
    let mut message = summary;
    if let Some(why) = &report.broken {
        message = format!("{message}; it could not go on: {why}");
    }
    Err(CliError::new(super::with_leftovers(message, &report.cleanup))
        .exit(exit)
        .help(
            "`--tempest-regex TEST` runs one test again; `--json` and `--junit FILE` hold each failure's log",
        )
        .into())
}
