//! `mastic rehearse`: an upgrade's changes of the databases, tried on a copy of them; what each takes and changes, and whether the
//! release that serves could go on after it.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{Context as _, Result};
use jiff::Timestamp;
use tokio_util::sync::CancellationToken;

use crate::cli::args::{BuildArgs, Consent, RehearseArgs};
use crate::cli::commands::carry_out::take_lock;
use crate::cli::commands::change::{Change, Terms};
use crate::cli::commands::{image, upgrade};
use crate::cli::context::{Context, Engines};
use crate::cli::exit::{CliError, Exit};
use crate::cli::interrupt::Interruptible;
use crate::cli::printer::table;
use crate::cli::session::{Loaded, Make};
use crate::model::{
    Desired, ImageName, LedgerSummary, Observed, PinnedImage, ReleaseName, Secret, SecretName,
};
use crate::plan::rehearsal::{self, Cast};
use crate::profile::Edits;
use crate::rehearse::{self, Ended, Place, RehearseError, Report};
use crate::schema::Verdict;
use crate::store::files;

/// Where the last one's result lies, in the state folder.
const LAST: &str = "rehearsal.json";

/// `mastic rehearse`
pub async fn rehearse(context: &Context, args: &RehearseArgs) -> Result<Exit> {
    let profile = context.load()?;
    let engines = context.engines(&profile.profile).await?;
    let observed = context.observe(&profile, &engines).await?;
    let held = observed.ledger.as_ref().and_then(|ledger| ledger.held.as_ref());
    let open = held.and_then(|held| held.to.as_ref()).map(ToString::to_string);
    let release = args.to.clone().or_else(|| context.global.release.clone()).or(open);
    let target = context.load_with(&Edits { release, ..Edits::default() })?;
    upgrade::leads(&target, &observed)?;
    if !args.no_build {
        let all = BuildArgs { only: Vec::new(), plan: false, no_cache: false, all: false, push: false };
        image::build_images(context, &target, &all).await?;
    }
    let report = play(context, &engines, &observed, &target, args.contract).await?;
    if context.global.json {
        context.printer.data(&serde_json::to_string_pretty(&report)?);
    } else {
        context.printer.data(&text(&report));
    }
    failed(&report).map_or(Ok(Exit::Done), Err)
}

/// What a rehearsal says, for people.
pub(super) fn text(report: &Report) -> String {
    let mut text = table(&report.task_rows());
    let changes = report.change_rows();
    if !changes.is_empty() {
        text.push('\n');
        text.push_str(&table(&changes));
    }
    text.push('\n');
    for line in report.verdicts() {
        text.push_str(&line);
        text.push('\n');
    }
    text
}

/// Returns the error of a rehearsal that a task failed in.
pub(super) fn failed(report: &Report) -> Option<anyhow::Error> {
    let said: Vec<&str> = report
        .tasks
        .iter()
        .filter(|task| task.ended == Ended::Failed)
        .filter_map(|task| task.said.as_deref())
        .collect();
    if report.done {
        return None;
    }
    let error = CliError::new(format!(
        "an upgrade to {} would fail; the copy is gone, and nothing else was touched:\n{}",
        report.to,
        said.join("\n")
    ));
    Some(error.exit(Exit::Undone).into())
}

/// Tries the tasks of `target` on a copy of what serves. The result is also kept, for the upgrade to tell.
pub(super) async fn play(
    context: &Context,
    engines: &Engines,
    observed: &Observed,
    target: &Loaded,
    contract: bool,
) -> Result<Report> {
    let Some(ledger) = &observed.ledger else {
        return Err(CliError::new("nothing is deployed: there is nothing to rehearse on")
            .help("`mastic deploy`")
            .into());
    };
    let serving = context.load_as(ledger.release.as_str())?;
    context.same_secrets(&serving, observed)?;
    // Those that are not there yet are made up, once for both: the copy takes any. Certificates are of the real addresses.
    let mut secrets = context.secrets(&serving, Make::Pretend)?;
    secrets.extend(context.secrets(target, Make::Pretend)?);
    let desired = alone(context, engines, target, secrets.clone()).await?;
    let stage = alone(context, engines, &serving, secrets).await?;
    let cast = rehearsal::cast(&stage, &desired, contract).ok_or_else(|| {
        CliError::new("no service of this profile can make a copy of its data to rehearse on")
    })?;
    let host = &cast.copy.slot.host;
    let engine = engines.get(host).with_context(|| format!("host {host} has no engine"))?.clone();
    for act in &cast.acts {
        if engine.image(&act.image.id.0).await?.is_none() {
            return Err(CliError::new(format!(
                "host `{host}` keeps the databases, where all is tried, and has no {}",
                act.image.reference
            ))
            .help("`mastic build` or `mastic pull` brings it there")
            .into());
        }
    }

    let cancel = CancellationToken::new();
    let over = CancellationToken::new();
    Interruptible {
        cancel: cancel.clone(),
        over: over.clone(),
        first: "interrupted: removing the copy; again to leave it to the next rehearsal",
        second: "left as it is; the next rehearsal removes it",
    }
    .listen(context.printer);
    // Nobody may change the data's form while it is copied, and what a dead rehearsal left must not be a living one's.
    let consent = Consent::default();
    let message = format!("rehearses the upgrade to {}", desired.release);
    let change = Change { loaded: target, engines, terms: Terms { message, ..Terms::new(&consent) } };
    let lock = take_lock(context, &change, &desired.deployment).await?;
    let place = Place {
        engine,
        deployment: desired.deployment.clone(),
        redactor: context.redactor(target)?,
        reporter: context.reporter.clone(),
        cancel,
    };
    let databases = desired
        .containers
        .values()
        .map(|spec| (spec.service.clone(), target.profile.databases_of(&spec.service)));
    let played = rehearse::rehearse(&place, &cast, &databases.collect()).await;
    let released = lock.release().await;
    over.cancel();
    let (copied, tasks) = played.map_err(|error| match error {
        RehearseError::Interrupted => CliError::new(error.to_string()).exit(Exit::Interrupted).into(),
        other => anyhow::Error::from(other).context("there was no rehearsal; the cloud was not touched"),
    })?;
    released.context("the lock could not be released")?;
    let report = Report {
        version: 1,
        deployment: desired.deployment.to_string(),
        from: older(ledger).clone(),
        to: desired.release.clone(),
        at: Timestamp::now().round(jiff::Unit::Second).map(|at| at.to_string()).unwrap_or_default(),
        copied,
        done: tasks.iter().all(|task| task.ended == Ended::Done),
        way_back: Report::way_back_of(&tasks),
        tasks,
        images: images_of(&cast),
    };
    let kept = serde_json::to_vec_pretty(&report)?;
    files::write_atomic(&target.state.join(LAST), &kept, 0o600)?;
    Ok(report)
}

/// Resolves a profile so that nothing of it reaches what serves.
async fn alone(
    context: &Context,
    engines: &Engines,
    loaded: &Loaded,
    secrets: BTreeMap<SecretName, Secret>,
) -> Result<Desired> {
    let images = context.all_images(loaded, engines).await?;
    let alone = Loaded {
        profile: loaded.profile.on_loopback(),
        library: loaded.library.clone(),
        state: loaded.state.clone(),
    };
    context.resolve_with(&alone, images, secrets)
}

/// The release that is to go on: what an open upgrade keeps, or what serves.
fn older(ledger: &LedgerSummary) -> &ReleaseName {
    ledger.held.as_ref().map_or(&ledger.release, |held| &held.release)
}

fn images_of(cast: &Cast) -> BTreeMap<String, String> {
    cast.acts.iter().map(|act| (act.image.reference.clone(), act.image.id.0.clone())).collect()
}

/// Says, where an upgrade is to begin, what is known of it from its rehearsal: of the same images, from the same release.
pub(super) fn known(
    context: &Context,
    ledger: &LedgerSummary,
    target: &Loaded,
    images: &BTreeMap<ImageName, PinnedImage>,
) {
    let to = &target.profile.document.release;
    match last(&target.state).filter(|report| is_of(report, ledger, target, images)) {
        Some(report) => context.printer.say(&format!(
            "rehearsed {}: {}{}",
            report.at,
            report.verdicts().first().cloned().unwrap_or_default(),
            if report.way_back.upgrade == Verdict::Closed { " (warning: `mastic rollback` may not serve)" } else { "" }
        )),
        None => context.printer.say(&format!(
            "not rehearsed with these images: `mastic rehearse --to {to}` tries its changes on a copy of the databases"
        )),
    }
}

fn is_of(
    report: &Report,
    ledger: &LedgerSummary,
    target: &Loaded,
    images: &BTreeMap<ImageName, PinnedImage>,
) -> bool {
    let there = |(reference, id): (&String, &String)| {
        images.values().any(|image| image.reference == *reference && image.id.0 == *id)
    };
    report.from == *older(ledger)
        && report.to == target.profile.document.release
        && report.images.iter().all(there)
}

fn last(state: &Path) -> Option<Report> {
    serde_json::from_slice(&fs_err::read(state.join(LAST)).ok()?).ok()
}
