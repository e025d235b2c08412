//! `mastic rollback` where no upgrade is open: what a return to the release before would lose, and with `--restore` the return itself.
//!
//! Its data is a restore point's, its images are those of its generation, its config is what today's profile makes of that release.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::Result;
use jiff::Timestamp;
use serde_json::json;

use crate::cli::args::{BuildArgs, RollbackArgs};
use crate::cli::commands::carry_out::carry_out;
use crate::cli::commands::change::{Change, Terms, accept};
use crate::cli::commands::image;
use crate::cli::commands::points::{self, Point};
use crate::cli::commands::status::{age, bytes, to_the_second};
use crate::cli::commands::upgrade::recorded_pins;
use crate::cli::context::{Context, Engines};
use crate::cli::exit::{CliError, Exit};
use crate::cli::session::{Loaded, Make};
use crate::cloud::{Login, made_since};
use crate::journal::{GenerationRecord, RecordOutcome, before, slots_at, taken_back};
use crate::model::{Generation, ImageId, ImageName, Observed, ReleaseName, Returning, TaskPhase};
use crate::plan::{Options, Purpose};
use crate::profile::Edits;
use crate::store::ledger;

/// What there is to return to.
struct Way {
    generation: Generation,
    release: ReleaseName,
    point: Point,
    /// The profile as that release, and what it must say for that.
    loaded: Loaded,
    edits: Edits,
    images: Images,
}

/// Which of the images are there.
#[derive(Default)]
struct Images {
    /// By name: nothing on some host is called so.
    missing: BTreeMap<ImageName, String>,
    /// Those of them that are there under no name: the id, and what it was called.
    nameless: BTreeMap<ImageName, (ImageId, String)>,
    /// What is called so is another build than that which served.
    rebuilt: BTreeSet<String>,
}

/// The way back after a commit.
pub async fn rollback(
    context: &Context,
    args: &RollbackArgs,
    profile: Loaded,
    engines: Engines,
    observed: Observed,
) -> Result<Exit> {
    let nothing = || CliError::new("no upgrade is open: nothing older is kept").help("`mastic history`");
    let Some(ledger) = &observed.ledger else { return Err(nothing().into()) };
    let records = ledger::history(&engines, &profile.profile.document.deployment).await?;
    if let Some(open) = ledger.returning.as_ref().filter(|_| !args.restore) {
        let Returning { release, generation, point, .. } = open;
        return Err(CliError::new(format!(
            "the return to {release} (generation {generation}) with the data of {point} has not come to its end"
        ))
        .help("`mastic rollback --restore` goes on with it")
        .into());
    }
    if args.to.is_none() && say_at_last(context, args, &records, &profile).await? {
        return Ok(Exit::Done);
    }
    let (generation, release) = match (&ledger.returning, args.to) {
        (Some(open), None) => (open.generation, open.release.clone()),
        (open, Some(to)) => {
            let record = records.iter().find(|record| record.generation.get() == to);
            let Some(record) = record else {
                return Err(CliError::new(format!("there is no generation {to}"))
                    .help("`mastic history` lists them")
                    .into());
            };
            if record.release == ledger.release && open.is_none() {
                return Err(CliError::new(format!("generation {to} is of {}, which serves", record.release))
                    .help("`mastic restore POINT` brings older data of the same release back")
                    .into());
            }
            (record.generation, record.release.clone())
        }
        (None, None) => match before(&records, &ledger.release) {
            Some(held) => (held.generation, held.release.clone()),
            None => return Err(nothing().into()),
        },
    };
    let way = find(context, &engines, &records, &observed, generation, release).await?;
    if args.restore {
        return Box::pin(restore(context, args, &engines, &observed, way)).await;
    }
    tell(context, &engines, &observed, &records, &way).await
}

/// A way back that was killed between its last step and the profile: the history has it, the profile says so only now. Returns
/// whether that was so.
async fn say_at_last(
    context: &Context,
    args: &RollbackArgs,
    records: &[GenerationRecord],
    profile: &Loaded,
) -> Result<bool> {
    let done = if args.restore {
        unsaid(records, profile).map(|done| (done.generation, &done.release))
    } else {
        taken_back(records).map(|held| (held.generation, &held.release))
    };
    let Some((generation, release)) = done else { return Ok(false) };
    let (_, edits) = edits_of(context, generation, release).await?;
    let said = context.keep(&edits)?;
    if said {
        context.printer.say(&format!("{release} serves, and the profile says so from now on"));
    }
    Ok(said || args.restore)
}

/// The last run, where it was a return that ended well and the profile does not say so yet.
fn unsaid<'r>(records: &'r [GenerationRecord], profile: &Loaded) -> Option<&'r Returning> {
    let last = records.last().filter(|record| record.outcome == RecordOutcome::Done)?;
    last.returning.as_ref().filter(|done| done.release != profile.profile.document.release)
}

/// Returns the profile as an older release, and what it must say for that.
async fn edits_of(
    context: &Context,
    generation: Generation,
    release: &ReleaseName,
) -> Result<(Loaded, Edits)> {
    let mut edits = Edits::release(release.as_str());
    let loaded = context.load_as(release.as_str())?;
    edits.pins = recorded_pins(context, &loaded, generation).await?;
    Ok((context.load_with(&edits)?, edits))
}

/// Finds what a return needs.
async fn find(
    context: &Context,
    engines: &Engines,
    records: &[GenerationRecord],
    observed: &Observed,
    generation: Generation,
    release: ReleaseName,
) -> Result<Way> {
    let (loaded, edits) = edits_of(context, generation, &release).await?;
    let desired = points::for_a_look(context, &loaded, engines).await?;
    let all = points::points(&desired, engines).await?;
    let open = observed.ledger.as_ref().and_then(|ledger| ledger.returning.as_ref());
    let name = open
        .filter(|open| open.generation == generation)
        .map_or_else(|| points::point_of(generation), |open| open.point.clone());
    let of_release = || all.iter().filter(|point| point.release == release.as_str());
    let Some(point) = of_release().find(|point| point.name == name).or_else(|| of_release().next_back())
    else {
        let there: Vec<String> = all.iter().map(|p| format!("{} of {}", p.name, p.release)).collect();
        let there = if there.is_empty() { "there is none at all".to_owned() } else { there.join(", ") };
        return Err(CliError::new(format!(
            "no upgrade is open, and there is no restore point of {release}, which was before: there is no way back to it"
        ))
        .help(format!("restore points: {there}"))
        .into());
    };
    let images = images(&loaded, engines, records, generation).await?;
    Ok(Way { generation, release, point: point.clone(), loaded, edits, images })
}

/// Looks which images of a generation the hosts have.
async fn images(
    loaded: &Loaded,
    engines: &Engines,
    records: &[GenerationRecord],
    generation: Generation,
) -> Result<Images> {
    let slots = slots_at(records, generation).unwrap_or_default();
    let ids: BTreeMap<&ImageName, &ImageId> = slots
        .iter()
        .filter_map(|(slot, record)| {
            let container = slot.split_once('/')?.1.parse().ok()?;
            Some((loaded.profile.image_of(&container)?, &record.spec.image.id))
        })
        .collect();
    let mut images = Images::default();
    for (name, reference) in loaded.profile.image_requests() {
        for engine in engines.values() {
            match (engine.image(&reference).await?, ids.get(&name)) {
                (Some(there), Some(id)) if there.id != **id => {
                    images.rebuilt.insert(reference.clone());
                }
                (Some(_), _) => {}
                (None, Some(id)) if engine.image(&id.0).await?.is_some() => {
                    images.nameless.insert(name.clone(), ((*id).clone(), reference.clone()));
                }
                (None, _) => {
                    images.missing.insert(name.clone(), reference.clone());
                }
            }
        }
    }
    Ok(images)
}

/// Says what a return would lose, and that it must be asked for.
async fn tell(
    context: &Context,
    engines: &Engines,
    observed: &Observed,
    records: &[GenerationRecord],
    way: &Way,
) -> Result<Exit> {
    let serves = observed.ledger.as_ref().map(|ledger| ledger.release.clone());
    let serves = serves.unwrap_or_else(|| way.release.clone());
    let made = younger(context, engines, &serves, &way.point).await;
    let until = before(records, &serves).filter(|held| held.generation == way.generation);
    let document = json!({
        "version": 1, "serves": serves, "release": way.release, "generation": way.generation,
        "served_until": until.map(|held| held.since.clone()), "point": way.point,
        "lost_seconds": since(&way.point), "made_since": made.as_ref().ok(),
        "images_missing": way.images.missing.values().collect::<Vec<_>>(),
        "images_rebuilt": way.images.rebuilt,
    });
    if context.global.json {
        context.printer.data(&serde_json::to_string_pretty(&document)?);
    } else {
        let mut lines = vec![format!("{serves} is committed: nothing older is kept")];
        let until = until
            .map(|held| format!(", which served until {}", to_the_second(&held.since)))
            .unwrap_or_default();
        lines.push(format!("before it: {} of generation {}{until}", way.release, way.generation));
        lines.extend(report(way, &made));
        context.printer.data(&lines.join("\n"));
    }
    Err(CliError::new(format!(
        "a return to {} loses what was written since; nothing was touched",
        way.release
    ))
    .exit(Exit::NeedsYes)
    .help(format!("`mastic rollback --restore{}` does it", to_words(way, records, &serves)))
    .into())
}

fn to_words(way: &Way, records: &[GenerationRecord], serves: &ReleaseName) -> String {
    let default = before(records, serves).is_some_and(|held| held.generation == way.generation);
    if default { String::new() } else { format!(" --to {}", way.generation) }
}

/// Seconds since a point was made.
fn since(point: &Point) -> i64 {
    let made: Option<Timestamp> = point.made_at.parse().ok();
    made.map_or(0, |made| Timestamp::now().as_second() - made.as_second())
}

/// What is lost and what is missing, for people.
fn report(way: &Way, made: &Result<Vec<(&'static str, Vec<String>)>, String>) -> Vec<String> {
    let Way { point, images, .. } = way;
    let sealed = if point.encrypted { ", encrypted" } else { "" };
    let old = age(since(point));
    let mut lines = vec![
        format!(
            "its data: restore point {}, made {} ({old} ago), {}{sealed}",
            point.name,
            point.made_at,
            bytes(point.bytes)
        ),
        format!("lost: all that was written to the databases in the {old} since"),
    ];
    match made {
        Ok(made) => {
            for (what, names) in made.iter().filter(|(_, names)| !names.is_empty()) {
                let first: Vec<&str> = names.iter().take(5).map(String::as_str).collect();
                let more = if names.len() > first.len() { ", ..." } else { "" };
                let end = match *what {
                    "servers" => "run on, and the older release does not know them",
                    "networks" => "are forgotten",
                    _ => "stay on the disks, and the older release does not know them",
                };
                lines.push(format!("  {} {what} ({}{more}) {end}", names.len(), first.join(", ")));
            }
        }
        Err(why) => lines.push(format!("  what users made since was not counted: {why}")),
    }
    if !images.missing.is_empty() {
        let names: Vec<&str> = images.missing.values().map(String::as_str).collect();
        lines.push(format!(
            "images that are gone, and are built again from the library: {}",
            names.join(", ")
        ));
    }
    if !images.rebuilt.is_empty() {
        let names: Vec<&str> = images.rebuilt.iter().map(String::as_str).collect();
        lines.push(format!("images that were built anew since: {}", names.join(", ")));
    }
    lines
}

/// Asks the cloud, as far as it answers, what its users have made since.
async fn younger(
    context: &Context,
    engines: &Engines,
    serves: &ReleaseName,
    point: &Point,
) -> Result<Vec<(&'static str, Vec<String>)>, String> {
    let asked = async {
        let loaded = context.load_as(serves.as_str())?;
        let desired = points::for_a_look(context, &loaded, engines).await?;
        let Some(access) = &desired.identity.access else { return Ok(Vec::new()) };
        let types: Vec<&str> =
            desired.identity.services.values().map(|service| service.kind.as_str()).collect();
        let login = Login::administrator(access, &desired.identity.region);
        anyhow::Ok(made_since(&loaded.state, &login, &types, &point.made_at).await?)
    };
    asked.await.map_err(|error| format!("{error:#}"))
}

/// Makes the older release serve again, with its data.
async fn restore(
    context: &Context,
    args: &RollbackArgs,
    engines: &Engines,
    observed: &Observed,
    way: Way,
) -> Result<Exit> {
    let accept = accept(&args.consent)?;
    context.same_secrets(&way.loaded, observed)?;
    let begun = observed.ledger.as_ref().and_then(|ledger| ledger.returning.clone());
    if begun.is_none() {
        let serves = observed.ledger.as_ref().map_or(&way.release, |ledger| &ledger.release);
        let made = younger(context, engines, serves, &way.point).await;
        context.printer.say(&report(&way, &made).join("\n"));
    }
    present(context, args, engines, &way).await?;
    let mut desired = context.desired(&way.loaded, engines, Make::Keep).await?;
    let Way { generation, release, point, .. } = &way;
    points::name_point(&mut desired, TaskPhase::Restore, &point.name, release);
    let options = |observed: &Observed| {
        let mut options = Options {
            accept: accept.clone(),
            ..Options::return_to(observed, *generation, release, &point.name)
        };
        // Of half-changed data there is nothing to keep.
        let other = begun.as_ref().is_some_and(|begun| begun.generation != *generation);
        if args.no_backup || other {
            options.phases.remove(&TaskPhase::Backup);
        }
        options
    };
    let copied = match &options(observed) {
        Options { purpose: Purpose::Return { to }, phases, .. } if phases.contains(&TaskPhase::Backup) => {
            let left = Generation::new(to.began.get().saturating_sub(1)).unwrap_or(Generation::FIRST);
            points::name_point(&mut desired, TaskPhase::Backup, &points::point_of(left), &to.from);
            points::add_words(&mut desired, TaskPhase::Backup, [point.name.clone()]);
            Some((left, to.from.clone()))
        }
        _ => None,
    };
    // All APIs are away for a while, which is known: nobody looks from outside.
    let terms = Terms { message: args.message.clone().unwrap_or_default(), ..Terms::new(&args.consent) };
    let change = Change { loaded: &way.loaded, engines, terms };
    let planner = |observed: &Observed| context.plan(&desired, observed, &options(observed));
    let (exit, document) = carry_out(context, &change, &desired, observed.clone(), &planner).await?;
    if exit == Exit::Done && context.keep(&way.edits)? {
        context.printer.say(&format!("the profile says release {release} from now on"));
    }
    context
        .printer
        .say(&format!("{release} serves again, with the data of {} ({})", point.name, point.made_at));
    if let Some((left, from)) = copied {
        context.printer.say(&format!(
            "what {from} had is restore point {}: `mastic rollback --restore --to {left}` returns to it",
            points::point_of(left)
        ));
    }
    if context.global.json {
        context.printer.data(&document);
    }
    Ok(exit)
}

/// Sees to it that the images are there: those without a name get theirs, those that are gone are built again.
async fn present(context: &Context, args: &RollbackArgs, engines: &Engines, way: &Way) -> Result<()> {
    let Images { missing, nameless, .. } = &way.images;
    for (id, reference) in nameless.values() {
        for engine in engines.values() {
            if engine.image(&id.0).await?.is_some() && engine.image(reference).await?.is_none() {
                engine.tag(&id.0, reference).await?;
            }
        }
    }
    let pins = &way.loaded.profile.document.images.pins;
    let only: Vec<String> =
        missing.keys().filter(|name| !pins.contains_key(*name)).map(ToString::to_string).collect();
    if only.is_empty() || args.no_build {
        return Ok(());
    }
    let all = BuildArgs { only, plan: false, no_cache: false, all: false, push: false };
    image::build_images(context, &way.loaded, &all).await?;
    Ok(())
}
