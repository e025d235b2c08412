//! Commands that change the cloud: plan, deploy, stop, start, destroy, unlock. All but `plan` and `unlock` end in
//! [`carry_out`].

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use serde_json::json;

use crate::cli::args::{Consent, DeployArgs, DestroyArgs, PlanArgs, StopArgs, UnlockArgs};
use crate::cli::commands::beside::Beside;
use crate::cli::commands::carry_out::carry_out;
use crate::cli::context::{Context, Engines};
use crate::cli::exit::{CliError, Exit};
use crate::cli::session::{Loaded, Make, needs_yes};
use crate::execute::PROGRESS_DEADLINE;
use crate::journal::taken_back;
use crate::model::desired::IdentitySpec;
use crate::model::{DeploymentName, Desired, Observed, ObservedVolume, ReleaseName};
use crate::plan::{self, Accept, HazardKind, Options, Plan, Purpose, Volumes};
use crate::store::{files, ledger, lock};

/// `mastic plan`
pub async fn plan(context: &Context, args: &PlanArgs) -> Result<Exit> {
    let loaded = context.load()?;
    let engines = context.engines(&loaded.profile).await?;
    // A plan that is kept is bound to the secrets it was made with.
    let make = if args.output.is_some() { Make::Keep } else { Make::Pretend };
    let observed = context.observe(&loaded, &engines).await?;
    let selection = context.selection(&args.selection, &loaded, &observed)?;
    let options = Options { selection, ..Options::default() };
    same_release(&loaded, &engines, &observed).await?;
    context.same_secrets(&loaded, &observed)?;
    let desired = context.desired(&loaded, &engines, make).await?;
    let plan = context.plan(&desired, &observed, &options)?;
    if let Some(file) = &args.output {
        let path = std::path::absolute(file)
            .with_context(|| format!("{} cannot be made absolute", file.display()))?;
        files::write_atomic(&path, plan::render::json(&plan).as_bytes(), 0o600)?;
        context
            .printer
            .say(&format!("the plan is in {}; `mastic deploy --plan {0}` carries it out", file.display()));
    }
    show(context, &plan, args.steps);
    blocked(&plan)?;
    Ok(if plan.is_empty() { Exit::Done } else { Exit::Changes })
}

/// Prints a plan.
fn show(context: &Context, plan: &Plan, steps: bool) {
    if context.global.json {
        context.printer.data(&plan::render::json(plan));
    } else {
        context.printer.data(&plan::render::text(plan));
        if steps {
            context.printer.data(&plan::render::steps(plan));
        }
    }
}

/// Refuses a plan that cannot be carried out.
pub(super) fn blocked(plan: &Plan) -> Result<()> {
    if plan.blockers.is_empty() {
        return Ok(());
    }
    let list: Vec<String> = plan.blockers.iter().map(|b| format!("  {b}")).collect();
    Err(CliError::new(format!("the plan cannot be carried out:\n{}", list.join("\n"))).into())
}

/// What a changing command needs to know.
#[derive(Debug)]
pub struct Change<'a> {
    /// The profile.
    pub loaded: &'a Loaded,
    /// The engines.
    pub engines: &'a Engines,
    /// How.
    pub terms: Terms<'a>,
}

/// How a change is to be made, in the words of whoever asks for it.
#[derive(Debug)]
pub struct Terms<'a> {
    /// What was agreed to.
    pub consent: &'a Consent,
    /// Why, for the history.
    pub message: String,
    /// Whether to look at every API from outside meanwhile.
    pub probe: bool,
    /// How long nothing may come to its end.
    pub progress_deadline: Duration,
    /// Whether an upgrade begins although what it is to change is not well.
    pub unwell: bool,
}

impl<'a> Terms<'a> {
    /// A change that says nothing of itself, and is not looked at from outside.
    pub fn new(consent: &'a Consent) -> Self {
        Self {
            consent,
            message: String::new(),
            probe: false,
            progress_deadline: PROGRESS_DEADLINE,
            unwell: false,
        }
    }
}

/// `mastic deploy`
pub async fn deploy(context: &Context, args: &DeployArgs) -> Result<Exit> {
    let loaded = context.load()?;
    let engines = context.engines(&loaded.profile).await?;
    let terms = Terms {
        message: args.message.clone().unwrap_or_default(),
        probe: args.probe,
        ..Terms::new(&args.consent)
    };
    let change = Change { loaded: &loaded, engines: &engines, terms };
    deploy_with(context, &change, args).await
}

/// Deploys, and tells.
pub async fn deploy_with(context: &Context, change: &Change<'_>, args: &DeployArgs) -> Result<Exit> {
    let Change { loaded, engines, .. } = change;
    let given = args.plan.as_deref().map(read_plan).transpose()?;
    let accept = accept(change.terms.consent)?;
    let observed = context.observe(loaded, engines).await?;
    let selection = match &given {
        Some(plan) => plan.selection.clone(),
        None => context.selection(&args.selection, loaded, &observed)?,
    };
    let options = Options { selection, accept, ..Options::default() };
    same_release(loaded, engines, &observed).await?;
    context.same_secrets(loaded, &observed)?;
    let desired = context.desired(loaded, engines, Make::Keep).await?;
    let beside = Beside::before(&observed);
    let (exit, document) = carry_out(context, change, &desired, observed, &|observed| {
        let plan = context.plan(&desired, observed, &options)?;
        if let Some(given) = &given {
            fresh(given, &plan)?;
        }
        Ok(plan)
    })
    .await?;
    if context.global.json {
        context.printer.data(&document);
    }
    if exit == Exit::Done {
        beside.must_work(&context.observe(loaded, engines).await?, &desired, "deployment")?;
    }
    Ok(exit)
}

/// Refuses what would part newer containers and older data: a return to an older release goes on to its end first.
pub(super) fn not_returning(observed: &Observed) -> Result<()> {
    let Some(open) = observed.ledger.as_ref().and_then(|ledger| ledger.returning.as_ref()) else {
        return Ok(());
    };
    let blocker = plan::Blocker::Returning { release: open.release.clone(), generation: open.generation };
    Err(CliError::new(blocker.to_string()).into())
}

/// Refuses to change the release on the way: an upgrade checks, keeps what served, and can go back.
async fn same_release(loaded: &Loaded, engines: &Engines, observed: &Observed) -> Result<()> {
    let wanted = &loaded.profile.document.release;
    let there = observed.hosts.values().any(|host| host.containers.iter().any(|c| c.slot_labels.is_some()));
    let Some(ledger) = observed.ledger.as_ref().filter(|_| there) else { return Ok(()) };
    not_returning(observed)?;
    if let Some(held) = ledger.held.as_ref().filter(|held| held.partial) {
        let to = held.to.as_ref().map(|to| format!(" to {to}")).unwrap_or_default();
        return Err(CliError::new(format!(
            "an upgrade from {}{to} is open, and has reached a part of the cloud only",
            held.release
        ))
        .help("`mastic resume` goes on with it, `mastic abort` takes it back")
        .into());
    }
    if ledger.release == *wanted {
        return Ok(());
    }
    let mut error =
        CliError::new(format!("the cloud is of release {}, and the profile says {wanted}", ledger.release));
    error = match &ledger.held {
        Some(held) if held.release == *wanted => error.help(format!(
            "an upgrade from {wanted} is open: `mastic upgrade --to {}` goes on with it, `mastic rollback` takes it back",
            ledger.release
        )),
        Some(_) | None => error.help(format!("`mastic upgrade --to {wanted}` goes there, and can come back")),
    };
    let records = ledger::history(engines, &loaded.profile.document.deployment).await?;
    if taken_back(&records).is_some_and(|held| held.release == ledger.release) {
        error = error.help(format!(
            "the last run was the way back to {}: if it was cut off at its end, `mastic rollback` says so in the profile",
            ledger.release
        ));
    }
    Err(error.into())
}

/// Reads a plan that was kept.
fn read_plan(path: &Path) -> Result<Plan> {
    let text = fs_err::read_to_string(path)?;
    plan::render::parse(&text).with_context(|| format!("{}", path.display()))
}

/// Refuses a kept plan when what it was made for has changed.
fn fresh(given: &Plan, now: &Plan) -> Result<()> {
    let why = if given.desired != now.desired {
        "the profile, its templates, secrets or images have changed since"
    } else if given.observed != now.observed || given.previous != now.previous {
        "the hosts have changed since"
    } else if given.steps != now.steps {
        "this Mastic plans other steps"
    } else {
        return Ok(());
    };
    Err(CliError::new(format!("the plan of {} is stale: {why}", given.observed_at))
        .exit(Exit::Stale)
        .help("make a new one: `mastic plan -o FILE`")
        .into())
}

/// Reads `--accept`. A bare `--yes` agrees to the plan, not to its hazards.
pub(super) fn accept(consent: &Consent) -> Result<Accept> {
    let mut kinds = BTreeSet::new();
    for word in &consent.accept {
        match HazardKind::ALL.into_iter().find(|k| k.as_str() == word) {
            Some(kind) => kinds.insert(kind),
            None => {
                let all: Vec<&str> = HazardKind::ALL.iter().map(|k| k.as_str()).collect();
                return Err(CliError::new(format!("there is no hazard `{word}`"))
                    .exit(Exit::Usage)
                    .help(format!("there are: {}", all.join(", ")))
                    .into());
            }
        };
    }
    Ok(if kinds.is_empty() { Accept::Nothing } else { Accept::Kinds(kinds) })
}

/// What should be after a removal.
fn nothing(deployment: &DeploymentName, release: &ReleaseName) -> Desired {
    Desired {
        deployment: deployment.clone(),
        release: release.clone(),
        hosts: BTreeMap::new(),
        sets: Vec::new(),
        spares: BTreeMap::new(),
        routes: BTreeMap::new(),
        swaps: BTreeMap::new(),
        apart: BTreeSet::new(),
        data_plane: BTreeSet::new(),
        balancers: BTreeMap::new(),
        containers: BTreeMap::new(),
        volumes: BTreeSet::new(),
        identity: IdentitySpec::default(),
        cloud: crate::model::cloud::Cloud::default(),
        init_digest: String::new(),
        profile_digest: String::new(),
    }
}

/// Writes clouds.yaml and openrc, where the profile has a Keystone.
pub fn client_files(loaded: &Loaded, desired: &Desired) -> Result<()> {
    if let Some(access) = &desired.identity.access {
        let deployment = desired.deployment.as_str();
        crate::cloud::write_client_files(&loaded.state, deployment, &desired.identity.region, access)?;
    }
    Ok(())
}

/// `mastic stop`, `mastic start`
pub async fn stop_or_start(context: &Context, args: &StopArgs, purpose: &Purpose) -> Result<Exit> {
    let loaded = context.load()?;
    let engines = context.engines(&loaded.profile).await?;
    let observed = context.observe(&loaded, &engines).await?;
    let options = Options {
        selection: context.selection(&args.selection, &loaded, &observed)?,
        accept: accept(&args.consent)?,
        ..Options::default()
    };
    let desired = context.desired(&loaded, &engines, Make::Pretend).await?;
    let change = Change { loaded: &loaded, engines: &engines, terms: Terms::new(&args.consent) };
    let (exit, document) = carry_out(context, &change, &desired, observed, &|observed| {
        let plan = match purpose {
            Purpose::Start => plan::start(&desired, observed, &options),
            _ => plan::stop(&desired, observed, &options),
        };
        context.verified(plan, &desired, observed)
    })
    .await?;
    if context.global.json {
        context.printer.data(&document);
    }
    Ok(exit)
}

/// `mastic destroy`
pub async fn destroy(context: &Context, args: &DestroyArgs) -> Result<Exit> {
    let loaded = context.load()?;
    let engines = context.engines(&loaded.profile).await?;
    let observed = context.observe(&loaded, &engines).await?;
    let volumes = if args.volumes.iter().any(|v| v == "all") {
        Volumes::All
    } else if args.volumes.is_empty() {
        Volumes::Keep
    } else {
        Volumes::Named(args.volumes.iter().cloned().collect())
    };
    // Naming a volume is the consent to lose it.
    let mut kinds: BTreeSet<HazardKind> = [HazardKind::Removal].into();
    // A copy that a rehearsal has left is no data of anybody.
    let left = observed.hosts.values().flat_map(|host| &host.volumes).any(ObservedVolume::is_tool);
    if volumes != Volumes::Keep || left {
        kinds.insert(HazardKind::DataLoss);
    }
    let options = Options { accept: Accept::Kinds(kinds), ..Options::default() };
    let deployment = loaded.profile.document.deployment.clone();
    let release = loaded.profile.document.release.clone();
    let began = Instant::now();
    let consent = Consent { yes: args.yes, accept: Vec::new() };
    let change = Change { loaded: &loaded, engines: &engines, terms: Terms::new(&consent) };
    let desired = nothing(&deployment, &release);
    let (exit, document) = carry_out(context, &change, &desired, observed, &|observed| {
        let plan = plan::destroy(observed, release.clone(), &volumes, &options);
        context.verified(plan, &desired, observed)
    })
    .await?;
    if args.state && exit == Exit::Done && loaded.state.exists() {
        fs_err::remove_dir_all(&loaded.state)?;
        context.printer.say(&format!("removed {}", loaded.state.display()));
    }
    if context.global.json {
        context.printer.data(&document);
    } else if exit == Exit::Done {
        context.printer.say(&format!(
            "deployment {deployment} is gone ({:.1} s){}",
            began.elapsed().as_secs_f64(),
            if volumes == Volumes::Keep { "; its volumes are kept" } else { "" }
        ));
    }
    Ok(exit)
}

/// `mastic unlock`
pub async fn unlock(context: &Context, args: &UnlockArgs) -> Result<Exit> {
    let loaded = context.load()?;
    let engines = context.engines(&loaded.profile).await?;
    context.reach(&engines).await?;
    let Some(holder) = lock::holder(&engines, &loaded.profile.document.deployment).await? else {
        context.printer.say("nobody holds the lock");
        if context.global.json {
            context.printer.data(&serde_json::to_string_pretty(&json!({"version": 1, "released": null}))?);
        }
        return Ok(Exit::Done);
    };
    context.printer.say(&holder.to_string());
    if !args.yes && !context.printer.ask("Release it?") {
        return Err(needs_yes("not agreed to; the lock stays")
            .help("--yes agrees without being asked")
            .into());
    }
    lock::break_lock(&engines, &loaded.profile.document.deployment).await?;
    context.printer.say("released");
    if context.global.json {
        let document = json!({"version": 1, "released": {
            "owner": holder.owner, "machine": holder.machine, "pid": holder.pid, "since": holder.since,
            "message": holder.message,
        }});
        context.printer.data(&serde_json::to_string_pretty(&document)?);
    }
    Ok(Exit::Done)
}
