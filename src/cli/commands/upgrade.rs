//! `mastic upgrade`, `rollback`, `commit`: from one release to the next, and back.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::Result;

use crate::cli::args::{BuildArgs, CommitArgs, Consent, RollbackArgs, Selection, UpgradeArgs};
use crate::cli::commands::beside::Beside;
use crate::cli::commands::carry_out::carry_out;
use crate::cli::commands::change::{Change, Terms, accept, not_returning};
use crate::cli::commands::{after_commit, image, points, prechecks, rehearse};
use crate::cli::context::{Context, Engines};
use crate::cli::exit::{CliError, Exit, describe};
use crate::cli::session::{Loaded, Make, needs_yes};
use crate::journal;
use crate::model::{Generation, Held, ImageName, Observed, ReleaseName, Role, TaskPhase};
use crate::plan::{self, HazardKind, Options};
use crate::profile::{Edits, Library};
use crate::schema::Verdict;
use crate::store::ledger;

/// `mastic upgrade`
pub async fn upgrade(context: &Context, args: &UpgradeArgs) -> Result<Exit> {
    let profile = context.load()?;
    let engines = context.engines(&profile.profile).await?;
    let observed = context.observe(&profile, &engines).await?;
    not_returning(&observed)?;
    let edits = wanted(context, args, &profile, &observed)?;
    let loaded = context.load_with(&edits)?;
    let to = loaded.profile.document.release.clone();
    leads(&loaded, &observed)?;
    let selection = part(context, args, &loaded, &observed)?;
    // What is open already has its restore point and its images, and must be able to go on.
    if !observed.is_upgrading() {
        prechecks::refuse_full_disks(context, &loaded, &engines, &observed, !args.no_backup).await?;
    }
    if !args.no_build {
        let all = BuildArgs { only: Vec::new(), plan: false, no_cache: false, all: false, push: false };
        image::build_images(context, &loaded, &all).await?;
    }
    rehearsed(context, args, &engines, &observed, &loaded).await?;
    let freeze = !args.stop_kept;
    let mut options = Options {
        selection,
        accept: accept(&args.consent)?,
        soak: args.soak,
        healthy_deadline: args.healthy_deadline,
        freeze,
        ..Options::upgrade()
    };
    if args.no_backup {
        options.phases.remove(&TaskPhase::Backup);
    }
    // By what is left: an upgrade that is taken up again has its point already, of before its first change.
    let left = observed.ledger.as_ref().map(|ledger| match &ledger.held {
        Some(held) => (points::point_of(held.generation), held.release.clone()),
        None => (format!("generation-{}", observed.last_generation), ledger.release.clone()),
    });
    let terms = Terms {
        message: args.message.clone().unwrap_or_default(),
        probe: !args.no_probe,
        progress_deadline: Duration::from_secs(args.progress_deadline),
        unwell: args.unwell,
        ..Terms::new(&args.consent)
    };
    let asked = Asked { terms, point: left, edits };
    let (exit, held) = match asked.carry_out(context, &loaded, observed, options).await {
        // Only what has failed is taken back, and not what somebody did not agree to or has interrupted.
        Err(error)
            if args.all_or_nothing
                && matches!(describe(&error).0, Exit::Undone | Exit::Broken)
                && context.observe(&loaded, &engines).await?.is_upgrading() =>
        {
            context.printer.error(&describe(&error).1);
            context.printer.say("all or nothing: rolling back");
            let back = RollbackArgs {
                to: None,
                restore: false,
                no_build: false,
                no_backup: false,
                no_probe: args.no_probe,
                selection: Selection::default(),
                consent: Consent { yes: true, accept: Vec::new() },
                message: args.message.clone(),
            };
            Box::pin(rollback(context, &back)).await?;
            return Err(CliError::new(format!("the upgrade to {to} failed, and all of it was taken back"))
                .exit(Exit::Undone)
                .into());
        }
        other => other?,
    };
    match held {
        None => {}
        Some(held) if held.partial => context.printer.say(&format!(
            "the upgrade to {to} has not reached all of the cloud: `mastic resume` goes on with the rest, `mastic abort` takes it back"
        )),
        Some(_) => context.printer.say(&format!(
            "{to} serves; what served before is kept: `mastic rollback` returns to it, `mastic commit` lets it go"
        )),
    }
    Ok(exit)
}

/// Requires that an upgrade leads from what serves to this profile's release, where none is open.
pub(super) fn leads(loaded: &Loaded, observed: &Observed) -> Result<(), CliError> {
    match observed.ledger.as_ref().filter(|ledger| ledger.held.is_none()) {
        Some(ledger) => {
            must_lead(&loaded.library, ledger.release.as_str(), loaded.profile.document.release.as_str())
        }
        None => Ok(()),
    }
}

/// Requires that an upgrade leads from one release to the other.
fn must_lead(library: &Library, from: &str, to: &str) -> Result<(), CliError> {
    if to < from {
        return Err(CliError::new(format!(
            "the cloud is of release {from}, and {to} is older: no OpenStack service can take its database back"
        ))
        .help("`mastic rollback` returns from an upgrade that is not committed"));
    }
    let Some(next) = library.upgrades_from(from).filter(|next| to != from && !next.contains(&to)) else {
        return Ok(());
    };
    let error = CliError::new(format!(
        "no upgrade leads from {from} to {to}: OpenStack's lead to the next series, and from a SLURP series to the next SLURP series"
    ));
    Err(match next.iter().rfind(|via| **via < to) {
        Some(via) => error.help(format!("first `mastic upgrade --to {via}` and `mastic commit`")),
        None => error.help(format!("of the series between them Mastic has none that {from} leads to")),
    })
}

/// Rehearses an upgrade where that is asked for, and refuses one that would fail or could not be taken back. Otherwise says what is
/// known.
async fn rehearsed(
    context: &Context,
    args: &UpgradeArgs,
    engines: &Engines,
    observed: &Observed,
    loaded: &Loaded,
) -> Result<()> {
    let Some(ledger) = &observed.ledger else { return Ok(()) };
    if !args.rehearse {
        if loaded.profile.document.release != ledger.release {
            let images = context.images(loaded, engines).await?;
            let images = images.into_iter().filter_map(|(name, pin)| Some((name, pin?))).collect();
            rehearse::known(context, ledger, loaded, &images);
        }
        return Ok(());
    }
    let report = rehearse::play(context, engines, observed, loaded, false).await?;
    context.printer.say(&rehearse::text(&report));
    if let Some(error) = rehearse::failed(&report) {
        return Err(error);
    }
    let irreversible = HazardKind::Irreversible.as_str();
    if report.way_back.upgrade == Verdict::Closed
        && !args.consent.accept.iter().any(|word| word == irreversible)
    {
        return Err(needs_yes("the upgrade would close its own way back; nothing was touched")
            .help(format!("agree to it with --accept {irreversible}"))
            .into());
    }
    Ok(())
}

/// What an upgrade is asked to change of what the profile says.
fn wanted(context: &Context, args: &UpgradeArgs, profile: &Loaded, observed: &Observed) -> Result<Edits> {
    let release = context.global.release.clone();
    if let Some(to) = &args.to {
        if args.selection.services.is_empty() {
            if is_series(to) {
                return Ok(Edits::release(to));
            }
            return Err(CliError::new(format!("`{to}` is not a release"))
                .help("a tag of images is of single services: `mastic upgrade --service SERVICE --to TAG`")
                .exit(Exit::Usage)
                .into());
        }
        let services = context.selection(&args.selection, profile, observed)?.services;
        let pins = profile.profile.retagged(&services, to);
        let document = &profile.profile.document;
        // The release that is there already is a tag, too: that of its own images, for what is pinned to others.
        let own_images = document.release.as_str() == to
            && pins.keys().any(|image| document.images.pins.contains_key(image));
        return Ok(if is_series(to) && !own_images { Edits::release(to) } else { Edits { release, pins } });
    }
    let open = observed.ledger.as_ref().and_then(|ledger| ledger.held.as_ref());
    let open = open.and_then(|held| held.to.as_ref().filter(|_| held.partial)).map(ToString::to_string);
    Ok(Edits { release: release.or(open), ..Edits::default() })
}

/// Whether a text has the shape of a series: `2026.1`.
fn is_series(text: &str) -> bool {
    let (year, number) = text.split_once('.').unwrap_or_default();
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    year.len() == 4 && digits(year) && number.len() == 1 && digits(number)
}

/// Which part of the cloud is meant.
fn part(
    context: &Context,
    args: &UpgradeArgs,
    loaded: &Loaded,
    observed: &Observed,
) -> Result<plan::Selection> {
    let Some(last) = &args.pause_after else { return context.selection(&args.selection, loaded, observed) };
    let chosen = Selection { sets: vec![last.clone()], services: Vec::new() };
    let last = context.selection(&chosen, loaded, observed)?.sets;
    let sets = loaded.profile.sets();
    let count = sets.iter().position(|set| last.contains(set)).map_or(sets.len(), |at| at + 1);
    Ok(plan::Selection { sets: sets.iter().take(count).cloned().collect(), ..plan::Selection::default() })
}

/// `mastic rollback`
pub async fn rollback(context: &Context, args: &RollbackArgs) -> Result<Exit> {
    let profile = context.load()?;
    let engines = context.engines(&profile.profile).await?;
    let seen = context.observe(&profile, &engines).await?;
    if !seen.is_upgrading() {
        return Box::pin(after_commit::rollback(context, args, profile, engines, seen)).await;
    }
    if args.restore {
        return Err(CliError::new("an upgrade is open: what served before is kept")
            .help("`mastic rollback` returns to it, and loses nothing")
            .into());
    }
    let (held, observed, loaded) = open_upgrade(context, |held, _| held.release.clone()).await?;
    if let Some(to) = args.to.filter(|to| *to != held.generation.get()) {
        return Err(CliError::new(format!(
            "of generation {to} no containers are kept: {} (of generation {} and before) is what serves again",
            held.release, held.generation
        ))
        .help(format!("`mastic rollback`; `mastic diff {to}` shows what was otherwise; `mastic restore` brings data back"))
        .into());
    }
    let mut edits = Edits::release(held.release.as_str());
    edits.pins = recorded_pins(context, &loaded, held.generation).await?;
    let loaded = context.load_with(&edits)?;
    let selection = context.selection(&args.selection, &loaded, &observed)?;
    let same = held.to.as_ref() == Some(&held.release) && edits.pins.is_empty();
    let options = Options { accept: accept(&args.consent)?, selection, ..Options::rollback() };
    let terms = Terms {
        message: args.message.clone().unwrap_or_default(),
        probe: !args.no_probe,
        ..Terms::new(&args.consent)
    };
    let asked = Asked { terms, point: None, edits };
    let (exit, left) = asked.carry_out(context, &loaded, observed, options).await?;
    if left.is_some() {
        context.printer.say(&format!(
            "a part of the cloud is of {} again: `mastic abort` takes the rest back, `mastic resume` turns round",
            held.release
        ));
        return Ok(exit);
    }
    context
        .printer
        .say(&format!("{} serves again, as it was at generation {}", held.release, held.generation));
    if same {
        context
            .printer
            .say("the profile still asks for what was taken back: undo the change there (`mastic plan`)");
    }
    Ok(exit)
}

/// Returns the images of a generation whose references are others than the profile gives them: what is missing of it is made
/// anew from its own images.
pub(super) async fn recorded_pins(
    context: &Context,
    loaded: &Loaded,
    generation: Generation,
) -> Result<BTreeMap<ImageName, String>> {
    let engines = context.engines(&loaded.profile).await?;
    let records = ledger::history(&engines, &loaded.profile.document.deployment).await?;
    let slots = journal::slots_at(&records, generation).unwrap_or_default();
    let of_slot = |(slot, record): (&&str, &&journal::SlotRecord)| {
        // Tasks leave no record of their going.
        if !matches!(record.spec.role, Role::Service { .. }) {
            return None;
        }
        let container = slot.split_once('/')?.1.parse().ok()?;
        let image = loaded.profile.image_of(&container)?;
        let reference = record.spec.image.reference.clone();
        (loaded.profile.image_reference(image) != reference).then(|| (image.clone(), reference))
    };
    Ok(slots.iter().filter_map(of_slot).collect())
}

/// `mastic commit`
pub async fn commit(context: &Context, args: &CommitArgs) -> Result<Exit> {
    let (held, observed, loaded) = open_upgrade(context, |_, serves| serves.clone()).await?;
    let to = loaded.profile.document.release.clone();
    let options = Options { accept: accept(&args.consent)?, ..Options::commit() };
    let terms = Terms {
        message: args.message.clone().unwrap_or_default(),
        probe: !args.no_probe,
        ..Terms::new(&args.consent)
    };
    let asked = Asked { terms, point: None, edits: Edits::release(to.as_str()) };
    let (exit, _) = asked.carry_out(context, &loaded, observed, options).await?;
    let gone = if to == held.release { format!("what was kept of {to}") } else { held.release.to_string() };
    context.printer.say(&format!("{to} is all that there is; {gone} is gone"));
    Ok(exit)
}

/// Looks for an open upgrade, and loads the profile with the release that `which` chooses of what is kept and what serves.
async fn open_upgrade(
    context: &Context,
    which: impl FnOnce(&Held, &ReleaseName) -> ReleaseName,
) -> Result<(Held, Observed, Loaded)> {
    let loaded = context.load()?;
    let engines = context.engines(&loaded.profile).await?;
    let observed = context.observe(&loaded, &engines).await?;
    let open =
        observed.ledger.as_ref().and_then(|ledger| Some((ledger.held.clone()?, ledger.release.clone())));
    let (held, serves) = open
        .ok_or_else(|| CliError::new("no upgrade is open: nothing older is kept").help("`mastic history`"))?;
    let loaded = context.load_as(which(&held, &serves).as_str())?;
    Ok((held, observed, loaded))
}

/// What the three have in common.
struct Asked<'a> {
    terms: Terms<'a>,
    /// What the restore point is called, where one is made, and whose data it is.
    point: Option<(String, ReleaseName)>,
    /// What the profile says afterwards.
    edits: Edits,
}

impl Asked<'_> {
    /// Returns what is kept afterwards, too.
    async fn carry_out(
        self,
        context: &Context,
        loaded: &Loaded,
        observed: Observed,
        options: Options,
    ) -> Result<(Exit, Option<Held>)> {
        let engines = context.engines(&loaded.profile).await?;
        context.same_secrets(loaded, &observed)?;
        let mut desired = context.desired(loaded, &engines, Make::Keep).await?;
        if let Some((point, release)) = &self.point {
            points::name_point(&mut desired, TaskPhase::Backup, point, release);
        }
        let beside = Beside::before(&observed);
        let change = Change { loaded, engines: &engines, terms: self.terms };
        let planner = |observed: &Observed| context.plan(&desired, observed, &options);
        let (exit, document) = carry_out(context, &change, &desired, observed, &planner).await?;
        let after = context.observe(loaded, &engines).await?;
        let held = after.ledger.as_ref().and_then(|ledger| ledger.held.clone());
        // A part of the cloud is not what a profile speaks of.
        let whole = held.as_ref().is_none_or(|held| !held.partial);
        if exit == Exit::Done && whole && context.keep(&self.edits)? {
            let pins = self.edits.pins.iter().map(|(image, reference)| format!("{image} {reference}"));
            let release = self.edits.release.iter().map(|release| format!("release {release}"));
            let all: Vec<String> = release.chain(pins).collect();
            context.printer.say(&format!("the profile says {} from now on", all.join(", ")));
        }
        if context.global.json {
            context.printer.data(&document);
        }
        if exit == Exit::Done {
            beside.must_work(&after, &desired, options.purpose.as_str())?;
        }
        Ok((exit, held))
    }
}

#[cfg(test)]
mod tests {
    use super::{is_series, must_lead};
    use crate::profile::Library;

    #[test]
    fn an_upgrade_that_openstack_does_not_support_must_be_refused_with_the_way_that_it_does() {
        let mut library = Library::default();
        must_lead(&library, "2025.1", "2026.2").expect("a library without series cannot know");
        for (series, slurp) in [("2025.1", true), ("2025.2", false), ("2026.1", true), ("2026.2", false)] {
            let path = format!("images/releases/{series}/release.yaml");
            library.insert(path, format!("slurp: {slurp}\n"), "here");
        }
        for to in ["2025.1", "2025.2", "2026.1"] {
            must_lead(&library, "2025.1", to).expect("it leads there");
        }
        must_lead(&library, "2026.1", "2026.2").expect("it leads there");
        for (from, to, says) in [
            ("2025.1", "2026.2", "mastic upgrade --to 2026.1"),
            ("2025.2", "2026.2", "mastic upgrade --to 2026.1"),
            ("2024.1", "2026.1", "none"),
            ("2026.2", "2026.1", "older"),
        ] {
            let error = must_lead(&library, from, to).expect_err("it does not lead there");
            assert!(format!("{error:?}").contains(says), "{from} to {to}: {error:?}");
        }
    }

    #[test]
    fn a_series_must_be_told_from_a_tag() {
        assert!(is_series("2026.1"));
        for tag in ["2026.1-p1", "2026", "2026.", "v2026.1", "latest", "2026.10", ""] {
            assert!(!is_series(tag), "{tag}");
        }
    }
}
