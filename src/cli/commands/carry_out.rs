//! From a plan to its report: asks, locks, looks again, executes, tells. The same for every command that changes something.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result};
use tokio_util::sync::CancellationToken;

use crate::cli::commands::change::{Change, blocked, client_files};
use crate::cli::commands::{check, prechecks};
use crate::cli::context::Context;
use crate::cli::exit::{CliError, Exit};
use crate::cli::interrupt::Interruptible;
use crate::cli::printer::table;
use crate::cli::session::{Loaded, needs_yes};
use crate::cloud::{Login, Probe, answering_servers};
use crate::engine::EngineErrorKind;
use crate::execute::{self, Outcome, RunReport};
use crate::journal::{self, Stopping};
use crate::model::{ContainerName, ContainerState, DeploymentName, Desired, HostName, Observed, SpecRecord};
use crate::plan::{self, Accept, Plan, Purpose};
use crate::profile::{Library, Profile};
use crate::store::journal_file::{self, Unsettled};
use crate::store::{lock, secrets, tls};

/// Makes the plan from a look at the hosts; verified, and refused when it is not what was agreed to earlier.
pub type Planner<'p> = dyn Fn(&Observed) -> Result<Plan> + Send + Sync + 'p;

/// For a container whose label cannot be read.
const DEFAULT_GRACE: Duration = Duration::from_secs(10);

/// Plans, asks, locks, looks again, executes and reports.
pub async fn carry_out(
    context: &Context,
    change: &Change<'_>,
    desired: &Desired,
    mut observed: Observed,
    planner: &Planner<'_>,
) -> Result<(Exit, String)> {
    let mut plan = planner(&observed)?;
    blocked(&plan)?;
    if plan.is_empty() && tidy_up(context, change, &plan.deployment).await? {
        observed = context.observe(change.loaded, change.engines).await?;
        plan = planner(&observed)?;
        blocked(&plan)?;
    }
    if plan.is_empty() {
        if plan.purpose.reconciles() {
            // A run that was killed after its last step has not written them.
            client_files(change.loaded, desired)?;
        }
        context.printer.say("nothing to do");
        return Ok((Exit::Done, execute::empty_report(&plan)));
    }
    if plan.purpose.reconciles() {
        prechecks::refuse_taken_ports(change.loaded, &observed, &plan).await?;
    }
    if plan.purpose == Purpose::Upgrade && !observed.is_upgrading() && !change.terms.unwell {
        check::refuse_unwell(context, change.loaded, change.engines, &observed, &plan.selection).await?;
    }
    let plan = agree(context, change, plan)?;

    // Before the lock is taken: whoever interrupts us from here on must not leave it behind.
    let cancel = CancellationToken::new();
    let over = CancellationToken::new();
    Interruptible {
        cancel: cancel.clone(),
        over: over.clone(),
        first: "interrupted: finishing what is in flight, undoing what is not proven; again to leave it as it is",
        second: "left as it is; run the command again to finish or undo it",
    }
    .listen(context.printer);
    let lock = take_lock(context, change, &plan.deployment).await?;
    let outcome = locked(context, change, plan, desired, &observed, planner, &cancel).await;
    let released = lock.release().await;
    over.cancel();
    let (plan, report) = outcome?;
    released.context("the lock could not be released")?;
    let Some(report) = report else {
        context.printer.say("nothing to do any more");
        return Ok((Exit::Done, execute::empty_report(&plan)));
    };
    tell(context, change.loaded, desired, &plan, &report)
}

/// What is done while the lock is held. No report: nothing was left to do.
async fn locked(
    context: &Context,
    change: &Change<'_>,
    plan: Plan,
    desired: &Desired,
    observed: &Observed,
    planner: &Planner<'_>,
    cancel: &CancellationToken,
) -> Result<(Plan, Option<RunReport>)> {
    settle_cut_off_runs(context, change, &plan.deployment).await?;
    // Something may have changed between our look and our lock: another run, or a task of a killed one that has ended.
    let now = context.observe(change.loaded, change.engines).await?;
    let plan = if same(&now, observed) {
        plan
    } else {
        let renewed = planner(&now)?;
        blocked(&renewed)?;
        if renewed.is_empty() {
            return Ok((renewed, None));
        }
        if renewed.steps == plan.steps {
            renewed.accept(plan.accepted)
        } else {
            context.printer.say("the hosts changed meanwhile; this is the plan now:");
            agree(context, change, renewed)?
        }
    };
    if cancel.is_cancelled() {
        return Err(CliError::new("interrupted; nothing was touched").exit(Exit::Interrupted).into());
    }
    let report = Box::pin(run(context, change, &plan, desired, cancel)).await?;
    Ok((plan, Some(report)))
}

/// Takes the deployment's lock, or says who holds it.
pub(super) async fn take_lock(
    context: &Context,
    change: &Change<'_>,
    deployment: &DeploymentName,
) -> Result<lock::Lock> {
    let claim = lock::Claim::of_this_process(&operator(), &change.terms.message);
    let lock = lock::take(change.engines, deployment, &claim).await.map_err(|error| match error {
        lock::LockError::Held(holder) => CliError::new(holder.to_string())
            .exit(Exit::Locked)
            .help("wait for it to end; `mastic unlock` if it died on another machine")
            .into(),
        other @ (lock::LockError::Engine(_) | lock::LockError::NoHost) => anyhow::Error::from(other),
    })?;
    if let Some(note) = lock.taken_over() {
        context.printer.say(&format!("warning: {note}"));
    }
    Ok(lock)
}

/// A run that was killed after its last step left nothing to do, but its lock, and nobody was told of it. One that was killed
/// while it stopped something left what will end soon: returns whether there was such.
async fn tidy_up(context: &Context, change: &Change<'_>, deployment: &DeploymentName) -> Result<bool> {
    let state = &change.loaded.state;
    let holder = lock::holder(change.engines, deployment).await?;
    if holder.is_none() && journal_file::unsettled(state, deployment)?.is_empty() {
        return Ok(false);
    }
    let claim = lock::Claim::of_this_process(&operator(), &change.terms.message);
    let lock = match lock::take(change.engines, deployment, &claim).await {
        Ok(lock) => lock,
        // A living run: it will tidy up after itself.
        Err(lock::LockError::Held(holder)) => {
            context.printer.say(&format!("note: {holder}"));
            return Ok(false);
        }
        Err(error) => return Err(error.into()),
    };
    if let Some(note) = lock.taken_over() {
        context.printer.say(&format!("warning: {note}"));
    }
    let settled = settle_cut_off_runs(context, change, deployment).await;
    lock.release().await.context("the lock could not be released")?;
    settled
}

/// Says what earlier runs were doing when they were cut off, once. It changes no decision: the hosts are looked at, once what
/// those runs were stopping has ended. Returns whether there was such.
async fn settle_cut_off_runs(
    context: &Context,
    change: &Change<'_>,
    deployment: &DeploymentName,
) -> Result<bool> {
    let mut stopped = false;
    for run in journal_file::unsettled(&change.loaded.state, deployment)? {
        context.printer.say(&format!("warning: {}", describe(&run)));
        let all = run.replay.stopping();
        let stops = all.iter().map(|stopping| finish_stop(context, change, deployment, stopping));
        stopped |= futures::future::try_join_all(stops).await?.contains(&true);
        run.settle()?;
    }
    Ok(stopped)
}

/// Brings to its end a stop whose caller was killed: the container was told to end, and would do so at any later moment, after
/// a look has seen it run. Where the engine never got that far, it is as if the run had been killed a moment later.
async fn finish_stop(
    context: &Context,
    change: &Change<'_>,
    deployment: &DeploymentName,
    stopping: &Stopping,
) -> Result<bool> {
    let Stopping { host, container } = stopping;
    let Some(engine) = change.engines.get(host) else { return Ok(false) };
    let there = match engine.container(container).await {
        Ok(there) => there,
        Err(error) if error.kind == EngineErrorKind::NotFound => return Ok(false),
        Err(error) => return Err(error.into()),
    };
    let ours = there.slot_labels.as_ref().filter(|labels| labels.deployment == *deployment);
    let (Some(labels), ContainerState::Running) = (ours, there.state) else { return Ok(false) };
    let spec: Option<SpecRecord> = serde_json::from_str(&labels.spec).ok();
    let grace = spec.map_or(DEFAULT_GRACE, |spec| Duration::from_secs(spec.stop.grace.into()));
    context.printer.say(&format!("{host}: waits until {container} has ended, which that run was stopping"));
    engine.stop(&there.id, grace).await?;
    Ok(true)
}

/// Describes a run that was cut off, for people.
fn describe(run: &Unsettled) -> String {
    let Unsettled { path, replay } = run;
    let name = path.file_stem().unwrap_or_default().to_string_lossy();
    let (what, steps) = match &replay.began {
        Some(journal::Event::RunBegan { purpose, generation, steps, .. }) => {
            let generation = generation.map(|g| format!(" of generation {g}")).unwrap_or_default();
            (format!("run {name} ({purpose}{generation})"), steps.to_string())
        }
        _ => (format!("run {name}"), "an unknown number of".to_owned()),
    };
    let mut lines = vec![match &replay.outcome {
        Some(outcome) => format!("{what} ended ({outcome}), but its journal is damaged"),
        None => format!("{what} was cut off: {} of {steps} steps were done", replay.done()),
    }];
    lines.extend(replay.under_way().into_iter().map(|action| format!("  under way: {action}")));
    if replay.truncated {
        lines.push(format!("  the last line of {} is cut off too", path.display()));
    }
    if let Some((number, why)) = replay.damaged.first() {
        let more = match replay.damaged.len() - 1 {
            0 => String::new(),
            more => format!(", and {more} more"),
        };
        lines.push(format!("  {}:{number}: the line makes no sense ({why}){more}", path.display()));
    }
    lines.push("  no harm: what is on the hosts counts, and was looked at".to_owned());
    lines.join("\n")
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

/// Shows the plan, and gets a person's yes to it, and to its hazards by name.
fn agree(context: &Context, change: &Change<'_>, plan: Plan) -> Result<Plan> {
    if !context.global.json {
        context.printer.say(&plan::render::text(&plan));
    }
    let open: Vec<String> = plan.unaccepted_kinds().iter().map(ToString::to_string).collect();
    if !open.is_empty() && change.terms.consent.yes {
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
    if change.terms.consent.yes {
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

async fn run(
    context: &Context,
    change: &Change<'_>,
    plan: &Plan,
    desired: &Desired,
    cancel: &CancellationToken,
) -> Result<RunReport> {
    let redactor = Arc::new(context.redactor(change.loaded)?);
    let probe =
        if change.terms.probe { Some(Arc::new(probe(context, change, desired).await?)) } else { None };
    let environment = execute::Environment {
        engines: change.engines.clone(),
        reporter: context.reporter.clone(),
        cancel: cancel.clone(),
        progress_deadline: change.terms.progress_deadline,
        registrar: Arc::new(crate::cloud::Registrar::new(&change.loaded.state)),
        redactor,
        origins: Arc::new(Sources {
            profile: change.loaded.profile.clone(),
            library: change.loaded.library.clone(),
        }),
        watch: probe.clone().map(|probe| probe as Arc<dyn execute::Watch>),
        secrets: secrets::read(&change.loaded.state)?.fingerprint(),
        state: change.loaded.state.clone(),
        operator: operator(),
        message: change.terms.message.clone(),
    };
    let mut report = execute::run(&environment, plan, desired).await;
    if let Some(probe) = probe {
        // Who has interrupted it, or is told that it failed, does not wait for a server.
        let done = report.as_ref().is_ok_and(|report| report.outcome == Outcome::Done);
        if let Err(error) = probe.end(done).await {
            context.printer.say(&format!("warning: of the probe's servers something may be left: {error}"));
        }
        if let Ok(report) = &mut report {
            // With the server that was asked for meanwhile and was there only now.
            report.availability = execute::Watch::seen(probe.as_ref());
        }
    }
    Ok(report?)
}

/// Begins to look at the cloud from outside. Where it does not tell of servers, none is pinged or booted, and that is said.
async fn probe(context: &Context, change: &Change<'_>, desired: &Desired) -> Result<Probe> {
    let loaded = change.loaded;
    let ca = Some(tls::ca_path(&loaded.state)).filter(|path| path.exists());
    let compute = desired.identity.services.values().any(|service| service.kind == "compute");
    let access = desired.identity.access.as_ref().filter(|_| compute);
    let login = access.map(|access| Login::administrator(access, &loaded.profile.document.region));
    let servers = match &login {
        None => Ok(Vec::new()),
        Some(login) => answering_servers(&loaded.state, login).await,
    };
    let told = servers.is_ok();
    let servers = servers.unwrap_or_else(|error| {
        context.printer.say(&format!("no server is pinged or booted: {error}"));
        Vec::new()
    });
    let probe = Probe::begin(&loaded.profile.probes(), &servers, ca.as_deref())?;
    if let Some(login) = login.filter(|_| told) {
        probe.boot(&loaded.state, &login);
    }
    Ok(probe)
}

/// Where options were written, as long as a run may ask for it.
#[derive(Debug)]
struct Sources {
    profile: Profile,
    library: Library,
}

impl execute::Origins for Sources {
    fn place(
        &self,
        host: &HostName,
        container: &ContainerName,
        path: &str,
        option: (&str, &str),
    ) -> Option<String> {
        self.profile.trace(&self.library, host, container, path, option).map(|place| place.to_string())
    }
}

/// Returns `user@host` of whoever runs this.
pub(super) fn operator() -> String {
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
    let seen = report.availability_rows();
    if !seen.is_empty() {
        context.printer.say(&table(&seen));
    }
    let exit = match report.outcome {
        Outcome::Done | Outcome::Nothing => {
            if plan.purpose.reconciles() {
                client_files(loaded, desired)?;
                context.printer.say(&report.summary());
            } else {
                context.printer.say(&format!("{}: done", plan.purpose.as_str()));
            }
            return Ok((Exit::Done, document));
        }
        Outcome::Undone => Exit::Undone,
        Outcome::Failed => Exit::Broken,
        Outcome::Interrupted => Exit::Interrupted,
    };
    if context.global.json {
        context.printer.data(&document);
    }
    Err(CliError::new(report.failure())
        .exit(exit)
        .help("fix the cause and run the command again; it goes on from what is there")
        .into())
}
