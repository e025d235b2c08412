//! Commands about images and the engine: bootstrap, build, pull, images.

use std::collections::BTreeSet;
use std::sync::Arc;

use anyhow::{Context as _, Result};
use futures::StreamExt;
use serde_json::json;

use crate::bootstrap;
use crate::build::input::Settings;
use crate::build::plan::Decision;
use crate::build::run::{self, Built};
use crate::cli::args::{BootstrapArgs, BuildArgs, ImagesArgs};
use crate::cli::context::Context;
use crate::cli::exit::{CliError, Exit};
use crate::cli::printer::table;
use crate::cli::session::Loaded;
use crate::engine::{CreateRequest, Engine, archive};
use crate::model::labels;
use crate::model::{ImageName, ObservedImage};

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
    if context.global.json {
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
    for (host, engine) in &engines {
        let job = run::prepare(engine.as_ref(), &loaded.library, settings.clone(), &wanted, args.no_cache)
            .await
            .with_context(|| format!("host `{host}`"))?;
        if args.plan {
            let rows: Vec<Vec<String>> = job
                .plan
                .images
                .iter()
                .map(|p| {
                    let (word, why) = match &p.decision {
                        Decision::Keep(id) => ("keep", id.short().to_owned()),
                        Decision::Tag(id) => ("tag", id.short().to_owned()),
                        Decision::Pull => ("pull", String::new()),
                        Decision::Build(reasons) => {
                            ("build", reasons.iter().map(ToString::to_string).collect::<Vec<_>>().join("; "))
                        }
                    };
                    vec![word.to_owned(), p.image.clone(), p.reference.clone(), why]
                })
                .collect();
            if context.global.json {
                context.printer.data(&serde_json::to_string_pretty(&job.plan)?);
            } else {
                context.printer.data(&table(&rows));
            }
            changes |= !job.plan.is_empty();
            continue;
        }
        let built = run::run(Arc::clone(engine), &job, args.no_cache, context.reporter.as_ref())
            .await
            .map_err(advise)?;
        let made = built.iter().filter(|b| !b.unchanged).count();
        context.printer.say(&format!("images: {made} built, {} unchanged", built.len() - made));
        all.extend(built);
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
    for engine in engines.values() {
        for reference in loaded.profile.image_requests().into_values() {
            let mut progress = engine.pull(&reference);
            while let Some(step) = progress.next().await {
                step?;
            }
            context.printer.say(&format!("pulled {reference}"));
        }
    }
    Ok(Exit::Done)
}

/// `mastic images`
pub async fn images(context: &Context, args: &ImagesArgs) -> Result<Exit> {
    let loaded = context.load()?;
    let engines = context.engines(&loaded.profile).await?;
    context.reach(&engines).await?;
    let Some(engine) = engines.values().next() else { return Ok(Exit::Done) };
    if let Some(name) = &args.sbom {
        let name = ImageName::new(name.as_str()).map_err(|e| CliError::new(e.to_string()))?;
        return sbom(context, &loaded, engine, &name).await;
    }
    let ours: Vec<ObservedImage> = engine
        .images()
        .await?
        .into_iter()
        .filter(|i| i.labels.contains_key(labels::IMAGE) && !i.tags.is_empty())
        .collect();
    if context.global.json {
        let list: Vec<_> = ours
            .iter()
            .map(|i| json!({"image": i.labels.get(labels::IMAGE), "id": i.id, "tags": i.tags, "bytes": i.size, "created_at": i.created_at}))
            .collect();
        context.printer.data(&serde_json::to_string_pretty(&json!({"version": 1, "images": list}))?);
        return Ok(Exit::Done);
    }
    let mut rows = vec![["IMAGE", "TAG", "ID", "SIZE", "CREATED"].map(str::to_owned).to_vec()];
    for image in &ours {
        rows.push(vec![
            image.labels.get(labels::IMAGE).cloned().unwrap_or_default(),
            image.tags.join(", "),
            image.id.short().to_owned(),
            super::status::bytes(image.size),
            image.created_at.clone(),
        ]);
    }
    context.printer.data(&table(&rows));
    Ok(Exit::Done)
}

/// Reads the list of what is installed out of an image, through a container that is never started.
async fn sbom(
    context: &Context,
    loaded: &Loaded,
    engine: &Arc<dyn Engine>,
    name: &ImageName,
) -> Result<Exit> {
    let reference = loaded.profile.image_reference(name);
    let Some(image) = engine.image(&reference).await? else {
        return Err(CliError::new(format!("{reference} is not there")).help("`mastic build`").into());
    };
    let request = CreateRequest::Inert {
        name: format!("mastic-sbom-{}-{}", image.id.short(), std::process::id()),
        image: image.id.0.clone(),
        labels: std::collections::BTreeMap::new(),
        volume: None,
    };
    let id = engine.create(&request).await?;
    let found = engine.download(&id, "/usr/share/mastic/sbom.json").await;
    engine.remove(&id, true).await?;
    let found = found.with_context(|| format!("{reference} has no list of what is installed"))?;
    let tree = archive::unpack(&found)?;
    for entry in tree.values() {
        if let Some(bytes) = entry.bytes() {
            context.printer.data(&String::from_utf8_lossy(bytes));
        }
    }
    Ok(Exit::Done)
}
