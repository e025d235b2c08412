//! Commands that change the cloud: plan, deploy, stop, start, destroy, unlock. All but `plan` end in one executor.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use anyhow::{Context as _, Result};
use tokio_util::sync::CancellationToken;

use crate::cli::args::{Consent, DeployArgs, DestroyArgs, PlanArgs, StopArgs, UnlockArgs};
use crate::cli::context::{Context, Engines};
use crate::cli::exit::{CliError, Exit};
use crate::cli::session::{Loaded, Make, needs_yes};
use crate::execute::{self, RunReport};
use crate::model::desired::IdentitySpec;
use crate::model::{DeploymentName, Desired, Observed, ReleaseName};
use crate::plan::{self, Accept, HazardKind, Options, Plan, Purpose, Volumes};
use crate::store::{files, lock};

/// `mastic plan`
pub async fn plan(context: &Context, args: &PlanArgs) -> Result<Exit> {
    let loaded = context.load()?;
    let engines = context.engines(&loaded.profile).await?;
    // A plan that is kept is bound to the secrets it was made with.
    let make = if args.output.is_some() { Make::Keep } else { Make::Pretend };
    let options = Options { selection: context.selection(&args.selection)?, ..Options::default() };
    context.reach(&engines).await?;
    let (desired, observed) =
        tokio::try_join!(context.desired(&loaded, &engines, make), context.observe(&loaded, &engines))?;
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
fn blocked(plan: &Plan) -> Result<()> {
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
    /// What was agreed to.
    pub consent: &'a Consent,
    /// Why, for the history.
    pub message: String,
}

/// `mastic deploy`
pub async fn deploy(context: &Context, args: &DeployArgs) -> Result<Exit> {
    let loaded = context.load()?;
    let engines = context.engines(&loaded.profile).await?;
    let change = Change {
        loaded: &loaded,
        engines: &engines,
        consent: &args.consent,
        message: args.message.clone().unwrap_or_default(),
    };
    let (exit, document) = deploy_with(context, &change, args).await?;
    if context.global.json {
        context.printer.data(&document);
    }
    Ok(exit)
}

/// Deploys, and returns the report as JSON.
pub async fn deploy_with(
    context: &Context,
    change: &Change<'_>,
    args: &DeployArgs,
) -> Result<(Exit, String)> {
    let Change { loaded, engines, .. } = change;
    let given = args.plan.as_deref().map(read_plan).transpose()?;
    let options = Options {
        selection: match &given {
            Some(plan) => plan.selection.clone(),
            None => context.selection(&args.selection)?,
        },
        accept: accept(change.consent)?,
        ..Options::default()
    };
    context.reach(engines).await?;
    let (desired, observed) =
        tokio::try_join!(context.desired(loaded, engines, Make::Keep), context.observe(loaded, engines))?;
    let plan = context.plan(&desired, &observed, &options)?;
    if let Some(given) = given {
        fresh(&given, &plan)?;
    }
    carry_out(context, change, plan, &desired, observed).await
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
fn accept(consent: &Consent) -> Result<Accept> {
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

/// Asks, locks, looks again, executes and reports: the same for every command that changes something.
async fn carry_out(
    context: &Context,
    change: &Change<'_>,
    plan: Plan,
    desired: &Desired,
    observed: Observed,
) -> Result<(Exit, String)> {
    blocked(&plan)?;
    if plan.is_empty() {
        context.printer.say("nothing to do");
        return Ok((Exit::Done, execute::empty_report(&plan)));
    }
    if !context.global.json {
        context.printer.say(&plan::render::text(&plan));
    }
    let plan = agree(context, change.consent, plan)?;

    let cancel = CancellationToken::new();
    let claim = lock::Claim::of_this_process(&operator(), &change.message);
    let lock = lock::take(change.engines, &plan.deployment, &claim).await.map_err(|error| match error {
        lock::LockError::Held(holder) => CliError::new(holder.to_string())
            .exit(Exit::Locked)
            .help("wait for it to end; `mastic unlock` if it died on another machine")
            .into(),
        other @ (lock::LockError::Engine(_) | lock::LockError::NoHost) => anyhow::Error::from(other),
    })?;
    if let Some(note) = lock.taken_over() {
        context.printer.say(&format!("warning: {note}"));
    }
    // Somebody may have changed something between our look and our lock.
    let again = context.observe(change.loaded, change.engines).await;
    let outcome = match again {
        Ok(again) if same(&again, &observed) => {
            let watch = interruptible(context, &cancel);
            let report = run(context, change, &plan, desired, &cancel).await;
            watch.abort();
            report
        }
        Ok(_) => Err(CliError::new("the hosts changed while the plan was made")
            .exit(Exit::Stale)
            .help("run the command again")
            .into()),
        Err(error) => Err(error),
    };
    let released = lock.release().await;
    let report = outcome?;
    released.context("the lock could not be released")?;
    tell(context, change.loaded, desired, &plan, &report)
}

/// Whether two looks saw the same containers of slots in the same states, and the same volumes.
fn same(a: &Observed, b: &Observed) -> bool {
    let state = |observed: &Observed| -> Vec<_> {
        observed
            .hosts
            .iter()
            .map(|(host, there)| {
                let containers: Vec<_> = there
                    .containers
                    .iter()
                    .filter(|c| c.slot_labels.is_some())
                    .map(|c| (c.id.clone(), c.state))
                    .collect();
                (host.clone(), containers, there.volumes.clone())
            })
            .collect()
    };
    state(a) == state(b) && a.last_generation == b.last_generation
}

/// What should be after a removal.
fn nothing(deployment: &DeploymentName, release: &ReleaseName) -> Desired {
    Desired {
        deployment: deployment.clone(),
        release: release.clone(),
        hosts: BTreeMap::new(),
        sets: Vec::new(),
        containers: BTreeMap::new(),
        volumes: BTreeSet::new(),
        identity: IdentitySpec::default(),
        cloud: crate::model::cloud::Cloud::default(),
        init_digest: String::new(),
        profile_digest: String::new(),
    }
}

/// Gets a person's yes to the plan, and to its hazards by name.
fn agree(context: &Context, consent: &Consent, plan: Plan) -> Result<Plan> {
    let open: Vec<String> = plan.unaccepted_kinds().iter().map(ToString::to_string).collect();
    if !open.is_empty() && consent.yes {
        return Err(needs_yes(format!(
            "the plan has hazards that --yes does not cover: {}",
            open.join(", ")
        ))
        .help(format!(
            "agree to them with {}",
            open.iter().map(|h| format!("--accept {h}")).collect::<Vec<_>>().join(" ")
        ))
        .into());
    }
    if consent.yes {
        return Ok(plan);
    }
    let question = if open.is_empty() {
        format!("{} now?", capital(plan.purpose.as_str()))
    } else {
        format!("{} now, hazards ({}) included?", capital(plan.purpose.as_str()), open.join(", "))
    };
    if context.printer.ask(&question) {
        return Ok(plan.accept(Accept::Everything));
    }
    Err(needs_yes("not agreed to; nothing was touched").help("--yes agrees without being asked").into())
}

fn capital(word: &str) -> String {
    let mut letters = word.chars();
    letters.next().map(|first| first.to_uppercase().chain(letters).collect()).unwrap_or_default()
}

/// The first Ctrl-C (or TERM) lets steps in flight end and begins no more; the second ends the program.
fn interruptible(context: &Context, cancel: &CancellationToken) -> tokio::task::JoinHandle<()> {
    let (cancel, printer) = (cancel.clone(), context.printer);
    tokio::spawn(async move {
        let Ok(mut terminate) = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate())
        else {
            return;
        };
        for round in 0.. {
            tokio::select! {
                _ = tokio::signal::ctrl_c() => {}
                _ = terminate.recv() => {}
            }
            if round == 0 {
                printer.error("interrupted: finishing what is in flight, undoing what is not proven; again to leave it as it is");
                cancel.cancel();
            } else {
                printer.error("left as it is; run the command again to finish or undo it");
                std::process::exit(i32::from(Exit::Interrupted.code()));
            }
        }
    })
}

async fn run(
    context: &Context,
    change: &Change<'_>,
    plan: &Plan,
    desired: &Desired,
    cancel: &CancellationToken,
) -> Result<RunReport> {
    let redactor = Arc::new(context.redactor(change.loaded)?);
    let environment = execute::Environment {
        engines: change.engines.clone(),
        reporter: context.reporter.clone(),
        cancel: cancel.clone(),
        registrar: Arc::new(crate::cloud::Registrar::new(&change.loaded.state)),
        redactor,
        state: change.loaded.state.clone(),
        operator: operator(),
        message: change.message.clone(),
    };
    Ok(execute::run(&environment, plan, desired).await?)
}

/// Returns `user@host` of whoever runs this.
pub fn operator() -> String {
    let user = std::env::var("SUDO_USER")
        .or_else(|_| std::env::var("USER"))
        .ok()
        .or_else(|| nix::unistd::User::from_uid(nix::unistd::geteuid()).ok().flatten().map(|u| u.name))
        .unwrap_or_else(|| "unknown".to_owned());
    let host = nix::unistd::gethostname()
        .map_or_else(|_| "unknown".to_owned(), |h| h.to_string_lossy().into_owned());
    format!("{user}@{host}")
}

/// Says how it went, and decides how the program ends.
fn tell(
    context: &Context,
    loaded: &Loaded,
    desired: &Desired,
    plan: &Plan,
    report: &RunReport,
) -> Result<(Exit, String)> {
    let document = report.json();
    if report.is_done() {
        if plan.purpose == Purpose::Deploy {
            client_files(loaded, desired)?;
            context.printer.say(&report.summary());
        } else {
            context.printer.say(&format!("{}: done", plan.purpose.as_str()));
        }
        return Ok((Exit::Done, document));
    }
    if context.global.json {
        context.printer.data(&document);
    }
    let exit = if report.is_interrupted() { Exit::Interrupted } else { Exit::Undone };
    Err(CliError::new(report.failure())
        .exit(exit)
        .help("fix the cause and run the command again; it goes on from what is there")
        .into())
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
        selection: context.selection(&args.selection)?,
        accept: accept(&args.consent)?,
        ..Options::default()
    };
    let desired = context.desired(&loaded, &engines, Make::Pretend).await?;
    let plan = match purpose {
        Purpose::Start => plan::start(&desired, &observed, &options),
        Purpose::Stop | Purpose::Deploy | Purpose::Destroy { .. } => {
            plan::stop(&desired, &observed, &options)
        }
    };
    let plan = context.verified(plan, &desired, &observed)?;
    let change =
        Change { loaded: &loaded, engines: &engines, consent: &args.consent, message: String::new() };
    let (exit, document) = carry_out(context, &change, plan, &desired, observed).await?;
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
    if volumes != Volumes::Keep {
        kinds.insert(HazardKind::DataLoss);
    }
    let options = Options { accept: Accept::Kinds(kinds), ..Options::default() };
    let deployment = loaded.profile.document.deployment.clone();
    let release = loaded.profile.document.release.clone();
    let plan = plan::destroy(&observed, release.clone(), &volumes, &options);
    let began = Instant::now();
    let consent = Consent { yes: args.yes, accept: Vec::new() };
    let change = Change { loaded: &loaded, engines: &engines, consent: &consent, message: String::new() };
    let desired = nothing(&deployment, &release);
    let plan = context.verified(plan, &desired, &observed)?;
    let (exit, document) = carry_out(context, &change, plan, &desired, observed).await?;
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
    Ok(Exit::Done)
}
