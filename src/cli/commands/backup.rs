//! `mastic backup`, `restore`: restore points, made, tried and taken back by the tasks of the services that keep data.

use anyhow::{Context as _, Result};
use jiff::Timestamp;
use serde_json::json;

use crate::cli::args::{BackupArgs, Consent, RestoreArgs};
use crate::cli::commands::carry_out::carry_out;
use crate::cli::commands::change::{Change, Terms, accept};
use crate::cli::commands::points::{Point, Serving, good_name, missing, name_point, points, serving};
use crate::cli::commands::status::bytes;
use crate::cli::context::Context;
use crate::cli::exit::{CliError, Exit};
use crate::cli::printer::table;
use crate::cli::session::needs_yes;
use crate::model::{Observed, TaskPhase};
use crate::plan::{self, Accept, HazardKind, Options, Purpose};

/// `mastic backup`
pub async fn backup(context: &Context, args: &BackupArgs) -> Result<Exit> {
    if let Some(point) = &args.point {
        good_name(point)?;
    }
    let serving = serving(context).await?;
    let there = points(&serving.desired, &serving.engines).await?;
    if args.list {
        return list(context, &there);
    }
    let (purpose, phase, point) = if args.verify {
        let point = match &args.point {
            Some(point) => there.iter().find(|p| p.name == *point).ok_or_else(|| missing(point, &there))?,
            None => there.last().ok_or_else(|| missing("newest", &there))?,
        };
        (Purpose::Rehearse, TaskPhase::Rehearse, point.name.clone())
    } else {
        let by_time = || Timestamp::now().strftime("%Y-%m-%d.%H%M%S").to_string();
        let point = args.point.clone().unwrap_or_else(by_time);
        if there.iter().any(|p| p.name == point) {
            return Err(CliError::new(format!("there is a restore point `{point}` already")).into());
        }
        (Purpose::Backup, TaskPhase::Backup, point)
    };
    // It takes nothing from anybody: nobody is asked.
    let asked =
        Asked { consent: Consent { yes: true, accept: Vec::new() }, message: args.message.as_deref() };
    let (exit, document) = asked.tasks(context, &serving, purpose, phase, &point).await?;
    if context.global.json {
        context.printer.data(&document);
    } else if args.verify {
        context.printer.say(&format!("{point} can be restored"));
    } else {
        let made = points(&serving.desired, &serving.engines).await?.into_iter().find(|p| p.name == point);
        let made = made.with_context(|| format!("{point} was made, but is not there"))?;
        context.printer.say(&format!(
            "{point}: {}{}; `mastic backup --verify {point}` tries it, `mastic restore {point}` returns to it",
            bytes(made.bytes),
            if made.encrypted { ", encrypted" } else { "" }
        ));
    }
    Ok(exit)
}

fn list(context: &Context, there: &[Point]) -> Result<Exit> {
    if context.global.json {
        context.printer.data(&serde_json::to_string_pretty(&json!({"version": 1, "points": there}))?);
        return Ok(Exit::Done);
    }
    let mut rows = vec![["POINT", "MADE", "RELEASE", "SIZE", "ENCRYPTED"].map(str::to_owned).to_vec()];
    for point in there {
        rows.push(vec![
            point.name.clone(),
            point.made_at.clone(),
            point.release.clone(),
            bytes(point.bytes),
            if point.encrypted { "yes" } else { "no" }.to_owned(),
        ]);
    }
    context.printer.data(&table(&rows));
    Ok(Exit::Done)
}

/// `mastic restore`
pub async fn restore(context: &Context, args: &RestoreArgs) -> Result<Exit> {
    good_name(&args.point)?;
    let serving = serving(context).await?;
    let there = points(&serving.desired, &serving.engines).await?;
    let point = there.iter().find(|p| p.name == args.point).ok_or_else(|| missing(&args.point, &there))?;
    let serves = serving.desired.release.as_str();
    if point.release != serves {
        return Err(CliError::new(format!(
            "{} is of release {}, and {serves} serves: it would not understand that data",
            point.name, point.release
        ))
        .help("`mastic rollback` first, where an upgrade is open")
        .help(format!(
            "`mastic rollback --restore` returns to {} with its data, where that is committed",
            point.release
        ))
        .into());
    }
    let accepted =
        matches!(accept(&args.consent)?, Accept::Kinds(kinds) if kinds.contains(&HazardKind::DataLoss));
    if args.consent.yes && !accepted {
        return Err(needs_yes("what was written since the point is lost, which --yes does not cover")
            .help("agree to it with --accept data-loss")
            .into());
    }
    let question = format!(
        "Everything stops, and all databases become those of {} ({}). What was written since is lost. Restore now?",
        point.name, point.made_at
    );
    if !args.consent.yes && !context.printer.ask(&question) {
        return Err(needs_yes("not agreed to; nothing was touched").help("--yes --accept data-loss").into());
    }
    let asked =
        Asked { consent: Consent { yes: true, accept: Vec::new() }, message: args.message.as_deref() };
    asked.everything(context, &serving, &Purpose::Stop).await?;
    let restored = asked.tasks(context, &serving, Purpose::Restore, TaskPhase::Restore, &point.name).await;
    // Also where it failed: the data is what it was then, and nobody is served by a cloud that stands still.
    let started = asked.everything(context, &serving, &Purpose::Start).await;
    let (exit, document) = restored?;
    started?;
    if context.global.json {
        context.printer.data(&document);
    }
    context.printer.say(&format!("all databases are those of {} again", point.name));
    Ok(exit)
}

/// What the runs of one command have in common.
struct Asked<'a> {
    consent: Consent,
    message: Option<&'a str>,
}

impl Asked<'_> {
    fn change<'c>(&'c self, serving: &'c Serving) -> Change<'c> {
        let message = self.message.unwrap_or_default().to_owned();
        let terms = Terms { message, ..Terms::new(&self.consent) };
        Change { loaded: &serving.loaded, engines: &serving.engines, terms }
    }

    /// Runs the tasks of one phase, and nothing else.
    async fn tasks(
        &self,
        context: &Context,
        serving: &Serving,
        purpose: Purpose,
        phase: TaskPhase,
        point: &str,
    ) -> Result<(Exit, String)> {
        let mut desired = serving.desired.clone();
        name_point(&mut desired, phase, point, &serving.desired.release);
        // That it cannot be undone was agreed to.
        let accept = Accept::Kinds([HazardKind::DataLoss].into());
        let options = Options { accept, ..Options::tasks(purpose, phase) };
        let observed = context.observe(&serving.loaded, &serving.engines).await?;
        let planner = |observed: &Observed| context.plan(&desired, observed, &options);
        carry_out(context, &self.change(serving), &desired, observed, &planner).await
    }

    /// Stops everything, or starts what is stopped.
    async fn everything(&self, context: &Context, serving: &Serving, purpose: &Purpose) -> Result<()> {
        let desired = &serving.desired;
        let options = Options::default();
        let observed = context.observe(&serving.loaded, &serving.engines).await?;
        carry_out(context, &self.change(serving), desired, observed, &|observed| {
            let plan = match purpose {
                Purpose::Start => plan::start(desired, observed, &options),
                _ => plan::stop(desired, observed, &options),
            };
            context.verified(plan, desired, observed)
        })
        .await?;
        Ok(())
    }
}
