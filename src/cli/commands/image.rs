//! Commands that make images and the engine be there: bootstrap, build, pull.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Instant;

use anyhow::{Context as _, Result};
use futures::StreamExt;
use futures::stream::BoxStream;
use serde_json::json;

use crate::bootstrap;
use crate::build::graph::DEBIAN;
use crate::build::input::Settings;
use crate::build::plan::{BuildPlan, Decision, Planned};
use crate::build::run::{self, Built, Cache};
use crate::cli::args::{BootstrapArgs, BuildArgs};
use crate::cli::context::Context;
use crate::cli::exit::{CliError, Exit};
use crate::cli::printer::table;
use crate::cli::session::Loaded;
use crate::engine::{Engine, EngineError, EngineErrorKind, EngineResult, PullProgress};
use crate::model::{HostName, ImageName};
use crate::report::event::{Event, Outcome};

/// Pulls, or questions about images, at a time.
const PULLS: usize = 4;

/// Makes this host ready.
pub async fn bootstrap(context: &Context, options: &bootstrap::Options) -> Result<bootstrap::Report> {
    Ok(bootstrap::run(options, context.reporter.as_ref()).await?)
}

/// `mastic bootstrap`
pub async fn bootstrap_command(context: &Context, args: &BootstrapArgs) -> Result<Exit> {
    let report =
        bootstrap(context, &bootstrap::Options { check_only: args.check, ..Default::default() }).await?;
    if context.global.json {
        context.printer.data(&serde_json::to_string_pretty(&report)?);
    } else {
        let rows: Vec<Vec<String>> = report
            .steps
            .iter()
            .map(|s| vec![s.done.as_str().to_owned(), s.what.clone(), s.why.clone()])
            .collect();
        context.printer.data(&table(&rows));
        context.printer.say(&format!("engine: {}", report.engine.as_deref().unwrap_or("none answers")));
    }
    let any = |done| report.steps.iter().any(|step| step.done == done);
    Ok(if any(bootstrap::Done::Failed) {
        Exit::Error
    } else if any(bootstrap::Done::Needed) {
        Exit::Changes
    } else {
        Exit::Done
    })
}

/// `mastic build`
pub async fn build(context: &Context, args: &BuildArgs) -> Result<Exit> {
    let loaded = context.load()?;
    let (exit, built) = build_images(context, &loaded, args).await?;
    if context.global.json && !args.plan {
        context.printer.data(&serde_json::to_string_pretty(&json!({"version": 1, "images": built}))?);
    }
    Ok(exit)
}

/// Builds what the profile needs, on every host.
pub async fn build_images(
    context: &Context,
    loaded: &Loaded,
    args: &BuildArgs,
) -> Result<(Exit, Vec<Built>)> {
    let document = &loaded.profile.document;
    let mut wanted: BTreeSet<ImageName> = if args.all {
        loaded.library.images().filter_map(|name| ImageName::new(name).ok()).collect()
    } else {
        loaded
            .profile
            .image_requests()
            .into_keys()
            .filter(|name| !document.images.pins.contains_key(name))
            .collect()
    };
    if !args.only.is_empty() {
        wanted = args
            .only
            .iter()
            .map(|name| ImageName::new(name.as_str()).map_err(|e| CliError::new(e.to_string())))
            .collect::<Result<_, _>>()?;
    }
    let settings = Settings {
        release: document.release.clone(),
        namespace: document.images.namespace.clone(),
        tag: document.images.tag.clone(),
        base: document.images.base.clone(),
    };
    let engines = context.engines(&loaded.profile).await?;
    context.reach(&engines).await?;
    let mut all = Vec::new();
    let mut changes = false;
    let mut plans = Vec::new();
    let mut pushed = false;
    if args.push && document.images.registry.is_none() {
        return Err(CliError::new("the profile names no registry to push to")
            .help("set `images.registry`")
            .into());
    }
    let cache = match (args.no_cache, args.only.is_empty()) {
        (false, _) => Cache::Use,
        (true, true) => Cache::ForgetAll,
        (true, false) => Cache::ForgetWanted,
    };
    for (host, engine) in &engines {
        let job = run::prepare(engine.as_ref(), &loaded.library, settings.clone(), &wanted, cache)
            .await
            .with_context(|| format!("host `{host}`"))?;
        if args.plan {
            changes |= !job.plan.is_empty();
            plans.push((host.clone(), job.plan));
            continue;
        }
        let built = run::run(Arc::clone(engine), &job, context.reporter.as_ref()).await.map_err(advise)?;
        let made = built.iter().filter(|b| !b.unchanged).count();
        context.printer.say(&format!("images: {made} built, {} unchanged", built.len() - made));
        if document.images.registry.is_some() {
            name_for_registry(loaded, engine.as_ref(), &built).await?;
        }
        // Every host has the same: one is enough to feed the registry.
        if args.push && !pushed {
            for name in &wanted {
                push(context, engine.as_ref(), &loaded.profile.image_reference(name)).await?;
            }
            pushed = true;
        }
        all.extend(built);
    }
    if args.plan {
        show_plans(context, &plans)?;
    }
    Ok((if changes { Exit::Changes } else { Exit::Done }, all))
}

/// Says what helps, where something does.
fn advise(error: run::BuildError) -> anyhow::Error {
    match error {
        run::BuildError::Full { .. } => CliError::new(error.to_string())
            .help("make room there: `docker system df` shows what takes it, `docker image prune` and `docker builder prune` free what nothing uses")
            .help("then run the command again: what was built is kept")
            .into(),
        other => other.into(),
    }
}

/// Prints what would be built, for each host.
fn show_plans(context: &Context, plans: &[(HostName, BuildPlan)]) -> Result<()> {
    if context.global.json {
        let images: Vec<serde_json::Value> = plans
            .iter()
            .flat_map(|(host, plan)| plan.images.iter().map(move |image| (host, image)))
            .map(|(host, image)| {
                let mut value = serde_json::to_value(image)?;
                value["host"] = json!(host);
                Ok(value)
            })
            .collect::<Result<_>>()?;
        context.printer.data(&serde_json::to_string_pretty(&json!({"version": 1, "images": images}))?);
        return Ok(());
    }
    let row = |(host, planned): (&HostName, &Planned)| {
        let (word, why) = match &planned.decision {
            Decision::Keep(id) => ("keep", id.short().to_owned()),
            Decision::Tag(id) => ("tag", id.short().to_owned()),
            Decision::Pull => ("pull", String::new()),
            Decision::Build(reasons) => {
                ("build", reasons.iter().map(ToString::to_string).collect::<Vec<_>>().join("; "))
            }
        };
        vec![word.to_owned(), host.to_string(), planned.image.clone(), planned.reference.clone(), why]
    };
    let rows: Vec<Vec<String>> =
        plans.iter().flat_map(|(host, plan)| plan.images.iter().map(move |p| (host, p))).map(row).collect();
    context.printer.data(&table(&rows));
    Ok(())
}

/// Gives what was built the names that the profile's registry has for it: those are what a deploy looks for.
async fn name_for_registry(loaded: &Loaded, engine: &dyn Engine, built: &[Built]) -> Result<()> {
    for image in built {
        // What all others stand on belongs to the build, and is nothing that a profile asks for.
        if image.image == DEBIAN {
            continue;
        }
        let Ok(name) = ImageName::new(image.image.as_str()) else { continue };
        let reference = loaded.profile.image_reference(&name);
        let pinned = loaded.profile.document.images.pins.contains_key(&name);
        if !pinned && engine.image(&reference).await?.is_none_or(|there| there.id != image.id) {
            engine.tag(&image.id.0, &reference).await?;
        }
    }
    Ok(())
}

/// Pushes one image, with progress.
async fn push(context: &Context, engine: &dyn Engine, reference: &str) -> Result<()> {
    follow(context, format!("push {reference}"), engine.push(reference)).await?;
    context.printer.say(&format!("pushed {reference}"));
    Ok(())
}

/// Tells of a pull or push until its end.
async fn follow(
    context: &Context,
    title: String,
    mut progress: BoxStream<'static, EngineResult<PullProgress>>,
) -> EngineResult<()> {
    let began = Instant::now();
    let key = title.clone();
    context.reporter.on(Event::Started { key: key.clone(), host: None, title });
    let mut result = Ok(());
    while let Some(step) = progress.next().await {
        match step {
            Ok(step) => {
                let message = format!("{} {}", step.status, step.layer);
                context.reporter.on(Event::Progress { key: key.clone(), message, amount: step.bytes });
            }
            Err(error) => {
                result = Err(error);
                break;
            }
        }
    }
    let outcome = match &result {
        Ok(()) => Outcome::Done,
        Err(error) => Outcome::Failed(error.message.clone()),
    };
    context.reporter.on(Event::Finished { key, outcome, took: began.elapsed() });
    result
}

/// `mastic pull`
pub async fn pull(context: &Context) -> Result<Exit> {
    let loaded = context.load()?;
    let images = &loaded.profile.document.images;
    if images.registry.is_none() && images.pins.is_empty() {
        return Err(CliError::new("the profile names no registry to pull from")
            .help("set `images.registry`, or build the images: `mastic build`")
            .into());
    }
    let engines = context.engines(&loaded.profile).await?;
    context.reach(&engines).await?;
    let wanted: BTreeSet<String> = loaded.profile.image_requests().into_values().collect();
    let pulls = engines
        .iter()
        .flat_map(|(host, engine)| wanted.iter().map(move |reference| (host, engine, reference)))
        .map(|(host, engine, reference)| async move {
            let before = engine.image(reference).await?.map(|image| image.id);
            follow(context, format!("pull {reference}"), engine.pull(reference)).await?;
            let image = engine.image(reference).await?.with_context(|| format!("{reference} was pulled and is not there"));
            let image = image?;
            let changed = before.as_ref() != Some(&image.id);
            let digest = image.repo_digests.iter().find_map(|d| Some(d.split_once('@')?.1.to_owned()));
            anyhow::Ok(json!({"host": host, "reference": reference, "id": image.id, "digest": digest, "changed": changed}))
        });
    // A few at a time: more only share the same network.
    let results: Vec<(String, Result<serde_json::Value>)> = futures::stream::iter(pulls)
        .buffered(PULLS)
        .zip(futures::stream::iter(engines.keys().flat_map(|_| wanted.iter().cloned())))
        .map(|(result, reference)| (reference, result))
        .collect()
        .await;
    let (mut pulled, mut failed) = (Vec::new(), Vec::new());
    for (reference, result) in results {
        match result {
            Ok(image) => pulled.push(image),
            Err(error) => failed.push(pull_failure(&reference, &error)),
        }
    }
    if !failed.is_empty() {
        return Err(CliError::new(format!(
            "{} of {} images were not pulled:\n{}",
            failed.len(),
            failed.len() + pulled.len(),
            failed.join("\n")
        ))
        .help("`mastic build --push`, where the images are built, fills the registry")
        .into());
    }
    let new = pulled.iter().filter(|image| image["changed"] == true).count();
    context.printer.say(&format!("images: {new} new, {} were there", pulled.len() - new));
    if context.global.json {
        context.printer.data(&serde_json::to_string_pretty(&json!({"version": 1, "images": pulled}))?);
    }
    Ok(Exit::Done)
}

/// Says of one image what is wrong in words that lead to what to do.
fn pull_failure(reference: &str, error: &anyhow::Error) -> String {
    match error.downcast_ref::<EngineError>() {
        Some(error) if error.kind == EngineErrorKind::NotFound => {
            format!("  {reference}: the registry does not have it")
        }
        Some(error) => format!("  {reference}: {}", error.message),
        None => format!("  {reference}: {error:#}"),
    }
}
