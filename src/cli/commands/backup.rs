//! `mastic backup`, `restore`: restore points, made, tried and taken back by the tasks of the services that keep data.
//!
//! What a point is, the services know (phases `backup`, `rehearse`, `restore` of service.yaml). Here is what they have in common: a
//! point's name and release are added to their command, and what there is they write into `points/` of the volume below [`HOME`].

use std::sync::Arc;

use anyhow::{Context as _, Result};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::cli::args::{BackupArgs, Consent, RestoreArgs};
use crate::cli::commands::carry_out::carry_out;
use crate::cli::commands::change::{Change, accept};
use crate::cli::commands::status::bytes;
use crate::cli::context::{Context, Engines};
use crate::cli::exit::{CliError, Exit};
use crate::cli::printer::table;
use crate::cli::session::{Loaded, Make, needs_yes};
use crate::engine::{CreateRequest, Engine, EngineErrorKind, archive};
use crate::model::labels::{self, LabelRole};
use crate::model::spec::MountSource;
use crate::model::{Desired, HostName, Observed, ReleaseName, Role, TaskPhase};
use crate::plan::{self, Accept, HazardKind, Options, Purpose};
use crate::store::inert;

/// Where tasks have the volume of restore points.
const HOME: &str = "/var/backups/";
/// Where it is while it is read.
const ROOM: &str = "/points";

/// A restore point, as the task that made it wrote it down.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Point {
    /// What it is called.
    #[serde(rename = "point")]
    name: String,
    /// The release that served.
    release: String,
    /// When, RFC 3339.
    made_at: String,
    /// What it takes.
    bytes: u64,
    /// Whether only the secret's holder can read it.
    encrypted: bool,
    /// Of the file.
    sha256: String,
}

/// What is deployed, with the profile as the release that serves.
struct Serving {
    loaded: Loaded,
    engines: Engines,
    desired: Desired,
}

/// Adds a point's name, and the release whose data it is, to the commands of a phase's tasks.
pub(super) fn name_point(desired: &mut Desired, phase: TaskPhase, point: &str, release: &ReleaseName) {
    for spec in desired.containers.values_mut() {
        if matches!(spec.role, Role::Task { phase: of, .. } if of == phase) {
            spec.command.extend([point.to_owned(), release.to_string()]);
        }
    }
}

async fn serving(context: &Context) -> Result<Serving> {
    let loaded = context.load()?;
    let engines = context.engines(&loaded.profile).await?;
    let observed = context.observe(&loaded, &engines).await?;
    let Some(ledger) = &observed.ledger else {
        return Err(CliError::new("nothing is deployed").help("`mastic deploy`").into());
    };
    let loaded = context.load_as(ledger.release.as_str())?;
    context.same_secrets(&loaded, &observed)?;
    let desired = context.desired(&loaded, &engines, Make::Keep).await?;
    if volumes(&desired, &engines).is_empty() {
        return Err(CliError::new("no service of this profile makes restore points").into());
    }
    Ok(Serving { loaded, engines, desired })
}

/// The volumes of restore points, by host.
fn volumes<'a>(desired: &Desired, engines: &'a Engines) -> Vec<(HostName, String, &'a Arc<dyn Engine>)> {
    let made = desired
        .containers
        .values()
        .filter(|spec| matches!(spec.role, Role::Task { phase: TaskPhase::Backup, .. }));
    made.flat_map(|spec| spec.mounts.iter().map(move |mount| (&spec.slot.host, mount)))
        .filter(|(_, mount)| mount.target.starts_with(HOME))
        .filter_map(|(host, mount)| match &mount.source {
            MountSource::Volume(volume) => {
                Some((host.clone(), format!("{}_{volume}", desired.deployment), engines.get(host)?))
            }
            MountSource::Bind { .. } | MountSource::Tmpfs { .. } => None,
        })
        .collect()
}

/// Returns the points that there are, oldest first.
async fn points(serving: &Serving) -> Result<Vec<Point>> {
    let mut found: Vec<Point> = Vec::new();
    for (host, volume, engine) in volumes(&serving.desired, &serving.engines) {
        let deployment = &serving.desired.deployment;
        if !engine.volumes(deployment).await?.iter().any(|there| there.name == volume) {
            continue;
        }
        inert::ensure(engine.as_ref()).await?;
        let labels = [
            (labels::DEPLOYMENT.to_owned(), deployment.to_string()),
            (labels::ROLE.to_owned(), LabelRole::Tool.as_str().to_owned()),
        ];
        let request = CreateRequest::Inert {
            name: format!("{deployment}.points-{}", std::process::id()),
            image: inert::REFERENCE.to_owned(),
            labels: labels.into(),
            volume: Some((volume, ROOM.to_owned())),
        };
        let id = engine.create(&request).await?;
        let read = engine.download(&id, &format!("{ROOM}/points")).await;
        engine.remove(&id, true).await?;
        let packed = match read {
            Ok(packed) => packed,
            // None was ever made.
            Err(error) if error.kind == EngineErrorKind::NotFound => continue,
            Err(error) => return Err(error).with_context(|| format!("restore points of host `{host}`")),
        };
        let tree = archive::unpack(&packed)?;
        found.extend(tree.values().filter_map(|entry| serde_json::from_slice(entry.bytes()?).ok()));
    }
    found.sort_by(|a, b| (&a.made_at, &a.name).cmp(&(&b.made_at, &b.name)));
    Ok(found)
}

/// Refuses what cannot be a file's name, or looks like an option.
fn good_name(point: &str) -> Result<()> {
    let letter = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-' || c == '.';
    let begins = point.starts_with(|c: char| c.is_ascii_alphanumeric());
    if point.len() <= 64 && begins && point.chars().all(letter) {
        return Ok(());
    }
    Err(CliError::new(format!("a restore point cannot be called `{point}`"))
        .exit(Exit::Usage)
        .help("up to 64 lower-case letters, digits, `-` and `.`; a letter or a digit first")
        .into())
}

fn missing(point: &str, there: &[Point]) -> anyhow::Error {
    let names: Vec<&str> = there.iter().map(|p| p.name.as_str()).collect();
    let help = if names.is_empty() {
        "there is none: `mastic backup` makes one".to_owned()
    } else {
        format!("there are: {}", names.join(", "))
    };
    CliError::new(format!("there is no restore point `{point}`")).help(help).into()
}

/// `mastic backup`
pub async fn backup(context: &Context, args: &BackupArgs) -> Result<Exit> {
    if let Some(point) = &args.point {
        good_name(point)?;
    }
    let serving = serving(context).await?;
    let there = points(&serving).await?;
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
        let made = points(&serving).await?.into_iter().find(|p| p.name == point);
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
    let there = points(&serving).await?;
    let point = there.iter().find(|p| p.name == args.point).ok_or_else(|| missing(&args.point, &there))?;
    let serves = serving.desired.release.as_str();
    if point.release != serves {
        return Err(CliError::new(format!(
            "{} is of release {}, and {serves} serves: it would not understand that data",
            point.name, point.release
        ))
        .help("`mastic rollback` first, where an upgrade is open")
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
        Change {
            loaded: &serving.loaded,
            engines: &serving.engines,
            consent: &self.consent,
            message: self.message.unwrap_or_default().to_owned(),
            probe: false,
        }
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
        let accept = Accept::Kinds([HazardKind::Irreversible].into());
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
