//! `mastic verify`: an acceptance run against the deployed cloud.

mod resources;
mod tempest;

use std::path::Path;
use std::sync::Arc;

use anyhow::{Context as _, Result};
use bytes::Bytes;
use serde_json::json;
use tokio_util::sync::CancellationToken;

use crate::cli::args::{BuildArgs, VerifyArgs};
use crate::cli::commands::image;
use crate::cli::context::{Context, Engines};
use crate::cli::exit::{CliError, Exit};
use crate::cli::interrupt::Interruptible;
use crate::cli::printer::table;
use crate::cli::session::{Loaded, Make};
use crate::engine::{CreateRequest, Engine, archive};
use crate::model::{ImageName, PinnedImage};
use crate::store::files;
use crate::verify::{self, Choice, Facts, Guest, Options, Place, StepId};

/// The image that holds our guest.
const GUEST: &str = "guest";
/// The image that holds a browser.
const BROWSER: &str = "browser";
/// Held while a run lives: one a deployment and machine, so that all other runs of this machine are known to be dead.
const LOCK_FILE: &str = "verify.lock";

/// Runs the steps that fit the profile.
pub async fn run(context: &Context, args: &VerifyArgs) -> Result<Exit> {
    let loaded = context.load()?;
    let engines = context.engines(&loaded.profile).await?;
    context.reach(&engines).await?;
    let desired = context.desired(&loaded, &engines, Make::Pretend).await?;
    let Some(access) = desired.identity.access.clone() else {
        return Err(
            CliError::new("the profile has no identity service, so there is no cloud to verify").into()
        );
    };
    let facts = Facts::of(&loaded.profile, &desired);
    if args.tempest {
        let cloud = tempest::Cloud { loaded: &loaded, engines: &engines, access, facts };
        return tempest::run(context, args, cloud).await;
    }
    if let Some(act) = args.resources {
        let cloud = resources::Cloud { loaded: &loaded, engines: &engines, access, facts };
        return resources::run(context, args, act, cloud).await;
    }
    let choice =
        Choice { only: args.only.iter().copied().collect(), skip: args.skip.iter().copied().collect() };
    let steps = verify::choose(&facts, &choice);
    if args.list {
        list(context, &steps)?;
        return Ok(Exit::Done);
    }
    if steps.is_empty() {
        return Err(CliError::new("no step is left: this cloud cannot have those, or all are skipped")
            .help("`mastic verify --list`")
            .exit(Exit::Usage)
            .into());
    }
    let lock = lock(&loaded)?;
    let needs_guest = steps.contains(&StepId::Server);
    let guest = guest(context, &loaded, &engines, args, needs_guest).await?;
    let browser = if steps.contains(&StepId::Browser) {
        Some(place(context, &loaded, &engines, BROWSER).await?)
    } else {
        None
    };
    let machine = machine();
    let options = Options {
        facts,
        access,
        state: loaded.state.clone(),
        deployment: desired.deployment.to_string(),
        release: desired.release.to_string(),
        machine,
        choice,
        guest,
        browser,
        keep: args.keep,
    };
    let cancel = CancellationToken::new();
    let watch = interruptible(context, &cancel);
    let report = verify::run(&options, context.reporter.clone(), &cancel).await;
    watch.abort();
    drop(lock);
    let report = report?;

    publish(context, args, || report.junit(), || report.json(), || report.rows())?;
    let passed =
        report.steps.iter().filter(|step| matches!(step.verdict, verify::Verdict::Passed(_))).count();
    let all = report.steps.len();
    let seconds = report.took.as_secs_f64();
    if report.is_ok() {
        context.printer.say(&format!("the cloud passed: {all} steps in {seconds:.1} s, nothing left behind"));
        return Ok(Exit::Done);
    }
    let exit = if report.is_interrupted() { Exit::Interrupted } else { Exit::Failed };
    let message = format!("{passed} of {all} steps passed, in {seconds:.1} s");
    Err(CliError::new(with_leftovers(message, &report.cleanup))
        .exit(exit)
        .help("`mastic logs NAME -n 50` shows what a container says; the next `mastic verify` deletes what this one left")
        .into())
}

/// Writes a run's report: to the file that was asked for, and to stdout.
fn publish(
    context: &Context,
    args: &VerifyArgs,
    junit: impl FnOnce() -> String,
    json: impl FnOnce() -> String,
    rows: impl FnOnce() -> Vec<Vec<String>>,
) -> Result<()> {
    if let Some(path) = &args.junit {
        fs_err::write(path, junit())?;
    }
    context.printer.data(&if context.global.json { json() } else { table(&rows()) });
    Ok(())
}

/// Adds what a run could not delete to why it failed.
fn with_leftovers(message: String, cleanup: &Result<String, String>) -> String {
    match cleanup {
        Ok(_) => message,
        Err(left) => format!("{message}; not everything could be deleted:\n{left}"),
    }
}

/// Takes what tells a later run of this machine that this one lives.
fn lock(loaded: &Loaded) -> Result<files::FileLock> {
    files::create_private_dir(&loaded.state)?;
    Ok(files::try_lock(&loaded.state.join(LOCK_FILE)).map_err(|error| {
        CliError::new(format!("another verify of this deployment runs on this machine ({error})"))
            .exit(Exit::Locked)
    })?)
}

/// Returns what servers boot from, where some do.
async fn guest(
    context: &Context,
    loaded: &Loaded,
    engines: &Engines,
    args: &VerifyArgs,
    needed: bool,
) -> Result<Option<Guest>> {
    Ok(match &args.image {
        Some(path) => Some(disk(path)?),
        None if needed => Some(our_guest(context, loaded, engines).await?),
        None => None,
    })
}

fn machine() -> String {
    nix::unistd::gethostname().map_or_else(|_| "unknown".to_owned(), |h| h.to_string_lossy().into_owned())
}

/// Shows what would be done.
fn list(context: &Context, steps: &[StepId]) -> Result<()> {
    if context.global.json {
        let rows: Vec<_> = steps.iter().map(|s| json!({"step": s.name(), "title": s.title()})).collect();
        context.printer.data(&serde_json::to_string_pretty(&json!({"version": 1, "steps": rows}))?);
    } else {
        let rows: Vec<_> =
            steps.iter().map(|step| vec![step.name().to_owned(), step.title().to_owned()]).collect();
        context.printer.data(&table(&rows));
    }
    Ok(())
}

/// Reads a disk image; its format is by its first bytes, as QEMU sees it.
fn disk(path: &Path) -> Result<Guest> {
    let bytes = Bytes::from(fs_err::read(path)?);
    let format = if bytes.starts_with(b"QFI\xfb") { "qcow2" } else { "raw" };
    Ok(Guest::Disk { bytes, format })
}

/// Takes our guest out of its image, which is built where it is not there yet.
async fn our_guest(context: &Context, loaded: &Loaded, engines: &Engines) -> Result<Guest> {
    let engine = engines.values().next().context("the profile has no host")?;
    let PinnedImage { id, .. } = on_demand(context, loaded, engine, GUEST).await?;
    let request = CreateRequest::Inert {
        name: format!("mastic-guest-{}-{}", id.short(), std::process::id()),
        image: id.0,
        labels: std::collections::BTreeMap::new(),
        volume: None,
    };
    let id = engine.create(&request).await?;
    let found = taken_out(engine, &id).await;
    engine.remove(&id, true).await?;
    found
}

/// Returns where a container of an image runs that no profile asks for: on the first host.
async fn place(context: &Context, loaded: &Loaded, engines: &Engines, image: &str) -> Result<Place> {
    let (host, engine) = engines.iter().next().context("the profile has no host")?;
    Ok(Place {
        engine: engine.clone(),
        host: host.clone(),
        deployment: loaded.profile.document.deployment.clone(),
        image: on_demand(context, loaded, engine, image).await?,
        redactor: context.redactor(loaded)?,
    })
}

/// Returns an image that no profile asks for, built where it is not there yet.
async fn on_demand(
    context: &Context,
    loaded: &Loaded,
    engine: &Arc<dyn Engine>,
    name: &str,
) -> Result<PinnedImage> {
    let image = ImageName::new(name).map_err(|error| CliError::new(error.to_string()))?;
    let reference = loaded.profile.image_reference(&image);
    if engine.image(&reference).await?.is_none() {
        let only = vec![name.to_owned()];
        let args = BuildArgs { only, plan: false, no_cache: false, all: false, push: false };
        image::build_images(context, loaded, &args).await?;
    }
    let built = engine.image(&reference).await?;
    let id = built.ok_or_else(|| CliError::new(format!("{reference} was not built")))?.id;
    Ok(PinnedImage { reference, id })
}

async fn taken_out(engine: &Arc<dyn Engine>, id: &crate::model::ContainerId) -> Result<Guest> {
    let tree = archive::unpack(&engine.download(id, "/guest").await?)?;
    let file = |name: &str| {
        let found = tree.iter().find(|(path, _)| path.ends_with(&format!("/{name}")));
        found
            .and_then(|(_, entry)| entry.bytes())
            .cloned()
            .with_context(|| format!("the image `guest` has no {name}"))
    };
    Ok(Guest::Kernel { kernel: file("kernel")?, initramfs: file("initramfs")? })
}

/// The first Ctrl-C (or TERM) ends the steps and cleans up; the second leaves everything to the next run.
fn interruptible(context: &Context, cancel: &CancellationToken) -> tokio::task::JoinHandle<()> {
    let interruptible = Interruptible {
        cancel: cancel.clone(),
        over: CancellationToken::new(),
        first: "interrupted: deleting what was made; again to leave it to the next verify",
        second: "left as it is; the next verify deletes it",
    };
    interruptible.listen(context.printer)
}
