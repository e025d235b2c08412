//! `mastic upgrade`, `rollback`, `commit`: from one release to the next, and back.

use anyhow::Result;

use crate::cli::args::{BuildArgs, Consent, RollbackArgs, UpgradeArgs};
use crate::cli::commands::carry_out::carry_out;
use crate::cli::commands::change::{Change, accept};
use crate::cli::commands::{backup, image};
use crate::cli::context::Context;
use crate::cli::exit::{CliError, Exit, describe};
use crate::cli::session::Make;
use crate::model::{Held, Observed, ReleaseName, TaskPhase};
use crate::plan::Options;

/// `mastic upgrade`
pub async fn upgrade(context: &Context, args: &UpgradeArgs) -> Result<Exit> {
    let wanted = args.to.as_deref().or(context.global.release.as_deref());
    let loaded = context.load_as(wanted)?;
    let to = loaded.profile.document.release.clone();
    let engines = context.engines(&loaded.profile).await?;
    let observed = context.observe(&loaded, &engines).await?;
    if let Some(ledger) = &observed.ledger {
        if ledger.held.is_none() && ledger.release == to {
            return Err(CliError::new(format!("the cloud is of release {to} already"))
                .help("`mastic upgrade --to RELEASE`; `mastic deploy` for other changes of the profile")
                .into());
        }
        if ledger.held.is_none() && to.as_str() < ledger.release.as_str() {
            return Err(CliError::new(format!(
                "the cloud is of release {}, and {to} is older: no OpenStack service can take its database back",
                ledger.release
            ))
            .help("`mastic rollback` returns from an upgrade that is not committed")
            .into());
        }
    }
    if !args.no_build {
        let all = BuildArgs { only: Vec::new(), plan: false, no_cache: false, all: false, push: false };
        image::build_images(context, &loaded, &all).await?;
    }
    let mut options = Options { accept: accept(&args.consent)?, ..Options::upgrade() };
    if args.no_backup {
        options.phases.remove(&TaskPhase::Backup);
    }
    // By what is left: an upgrade that is taken up again has its point already, of before its first change.
    let left = observed.ledger.as_ref().map(|ledger| match &ledger.held {
        Some(held) => (format!("generation-{}", held.generation), held.release.clone()),
        None => (format!("generation-{}", observed.last_generation), ledger.release.clone()),
    });
    let asked = Asked {
        consent: &args.consent,
        message: args.message.as_deref(),
        to: &to,
        probe: !args.no_probe,
        point: left,
    };
    let exit = match asked.carry_out(context, &loaded, observed, options).await {
        // Only what has failed is taken back, and not what somebody did not agree to or has interrupted.
        Err(error)
            if args.all_or_nothing
                && matches!(describe(&error).0, Exit::Undone | Exit::Broken)
                && context.observe(&loaded, &engines).await?.is_upgrading() =>
        {
            context.printer.error(&describe(&error).1);
            context.printer.say("all or nothing: rolling back");
            let consent = Consent { yes: true, accept: Vec::new() };
            let back = RollbackArgs { no_probe: args.no_probe, consent, message: args.message.clone() };
            Box::pin(rollback(context, &back)).await?;
            return Err(CliError::new(format!("the upgrade to {to} failed, and all of it was taken back"))
                .exit(Exit::Undone)
                .into());
        }
        other => other?,
    };
    context.printer.say(&format!(
        "{to} serves; what served before is kept: `mastic rollback` returns to it, `mastic commit` lets it go"
    ));
    Ok(exit)
}

/// `mastic rollback`
pub async fn rollback(context: &Context, args: &RollbackArgs) -> Result<Exit> {
    let (held, observed, loaded) = open_upgrade(context, |held, _| held.release.clone()).await?;
    let options = Options { accept: accept(&args.consent)?, ..Options::rollback() };
    let asked = Asked {
        consent: &args.consent,
        message: args.message.as_deref(),
        to: &held.release,
        probe: !args.no_probe,
        point: None,
    };
    let exit = asked.carry_out(context, &loaded, observed, options).await?;
    context
        .printer
        .say(&format!("{} serves again, as it was at generation {}", held.release, held.generation));
    Ok(exit)
}

/// `mastic commit`
pub async fn commit(context: &Context, args: &RollbackArgs) -> Result<Exit> {
    let (held, observed, loaded) = open_upgrade(context, |_, serves| serves.clone()).await?;
    let to = loaded.profile.document.release.clone();
    let options = Options { accept: accept(&args.consent)?, ..Options::commit() };
    let asked = Asked {
        consent: &args.consent,
        message: args.message.as_deref(),
        to: &to,
        probe: !args.no_probe,
        point: None,
    };
    let exit = asked.carry_out(context, &loaded, observed, options).await?;
    context.printer.say(&format!("{to} is all that there is; {} is gone", held.release));
    Ok(exit)
}

/// Looks for an open upgrade, and loads the profile with the release that `which` chooses of what is kept and what serves.
async fn open_upgrade(
    context: &Context,
    which: impl FnOnce(&Held, &ReleaseName) -> ReleaseName,
) -> Result<(Held, Observed, crate::cli::session::Loaded)> {
    let loaded = context.load()?;
    let engines = context.engines(&loaded.profile).await?;
    let observed = context.observe(&loaded, &engines).await?;
    let open =
        observed.ledger.as_ref().and_then(|ledger| Some((ledger.held.clone()?, ledger.release.clone())));
    let (held, serves) = open
        .ok_or_else(|| CliError::new("no upgrade is open: nothing older is kept").help("`mastic history`"))?;
    let loaded = context.load_as(Some(which(&held, &serves).as_str()))?;
    Ok((held, observed, loaded))
}

/// What the three have in common.
struct Asked<'a> {
    consent: &'a Consent,
    message: Option<&'a str>,
    /// The release that the profile says afterwards.
    to: &'a ReleaseName,
    probe: bool,
    /// What the restore point is called, where one is made, and whose data it is.
    point: Option<(String, ReleaseName)>,
}

impl Asked<'_> {
    async fn carry_out(
        &self,
        context: &Context,
        loaded: &crate::cli::session::Loaded,
        observed: Observed,
        options: Options,
    ) -> Result<Exit> {
        let engines = context.engines(&loaded.profile).await?;
        context.same_secrets(loaded, &observed)?;
        let mut desired = context.desired(loaded, &engines, Make::Keep).await?;
        if let Some((point, release)) = &self.point {
            backup::name_point(&mut desired, TaskPhase::Backup, point, release);
        }
        let message = self.message.unwrap_or_default().to_owned();
        let change = Change { loaded, engines: &engines, consent: self.consent, message, probe: self.probe };
        let planner = |observed: &Observed| context.plan(&desired, observed, &options);
        let (exit, document) = carry_out(context, &change, &desired, observed, &planner).await?;
        if exit == Exit::Done && context.keep_release(self.to)? {
            context.printer.say(&format!("the profile says release {} from now on", self.to));
        }
        if context.global.json {
            context.printer.data(&document);
        }
        Ok(exit)
    }
}
