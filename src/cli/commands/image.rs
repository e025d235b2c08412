//! Commands about images and the engine: bootstrap, build, pull, images.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Instant;

use anyhow::{Context as _, Result};
use futures::stream::BoxStream;
use futures::{StreamExt, TryStreamExt};
use serde_json::json;

use crate::bootstrap;
use crate::build::graph::DEBIAN;
use crate::build::input::Settings;
use crate::build::plan::{BuildPlan, Decision, Planned};
use crate::build::run::{self, Built, Cache};
use crate::cli::args::{BootstrapArgs, BuildArgs, ImagesArgs};
use crate::cli::context::Context;
use crate::cli::exit::{CliError, Exit};
use crate::cli::printer::table;
use crate::cli::session::Loaded;
use crate::engine::{
    CreateRequest, Engine, EngineError, EngineErrorKind, EngineResult, PullProgress, archive,
};
use crate::model::labels;
use crate::model::{HostName, ImageName, ObservedImage};
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
    let mut ours: Vec<ObservedImage> = engine
        .images()
        .await?
        .into_iter()
        .filter(|i| i.labels.contains_key(labels::IMAGE) && !i.tags.is_empty())
        .collect();
    ours.sort_by(|a, b| (a.labels.get(labels::IMAGE), &a.tags).cmp(&(b.labels.get(labels::IMAGE), &b.tags)));
    let sizes: Vec<Vec<u64>> = futures::stream::iter(&ours)
        .map(|image| engine.layer_sizes(image))
        .buffered(PULLS)
        .try_collect()
        .await?;
    let shares =
        shares(ours.iter().map(|image| image.layers.as_slice()).zip(sizes.iter().map(Vec::as_slice)));
    let unique: u64 = shares.layers.values().sum();
    if context.global.json {
        let list: Vec<_> = ours
            .iter()
            .zip(&shares.own)
            .map(|(i, own)| json!({"image": i.labels.get(labels::IMAGE), "id": i.id, "tags": i.tags, "bytes": i.size, "own_bytes": own, "created_at": i.created_at}))
            .collect();
        let document = json!({"version": 1, "unique_bytes": unique, "images": list});
        context.printer.data(&serde_json::to_string_pretty(&document)?);
        return Ok(Exit::Done);
    }
    let mut rows = vec![["IMAGE", "TAG", "ID", "SIZE", "OWN", "CREATED"].map(str::to_owned).to_vec()];
    for (image, own) in ours.iter().zip(&shares.own) {
        rows.push(vec![
            image.labels.get(labels::IMAGE).cloned().unwrap_or_default(),
            image.tags.join(", "),
            image.id.short().to_owned(),
            super::status::bytes(image.size),
            super::status::bytes(*own),
            image.created_at.clone(),
        ]);
    }
    context.printer.data(&table(&rows));
    context.printer.data(&format!(
        "{} images, {} together: layers that they share count once (OWN: what only this image has)",
        ours.len(),
        super::status::bytes(unique)
    ));
    Ok(Exit::Done)
}

/// What images take on the disk.
struct Shares {
    /// Every layer once. The same content on another layer below it is another one: its key is all of them.
    layers: BTreeMap<Vec<String>, u64>,
    /// Bytes that no other of the images has, in their order.
    own: Vec<u64>,
}

/// Adds up layers (digests and bytes, bottom first) of images.
fn shares<'a>(images: impl Iterator<Item = (&'a [String], &'a [u64])> + Clone) -> Shares {
    let mut layers = BTreeMap::new();
    let mut users: BTreeMap<&[String], usize> = BTreeMap::new();
    for (digests, sizes) in images.clone() {
        for (index, size) in sizes.iter().enumerate().take(digests.len()) {
            layers.insert(digests[..=index].to_vec(), *size);
            *users.entry(&digests[..=index]).or_default() += 1;
        }
    }
    let own = images
        .map(|(digests, sizes)| {
            let all = sizes.iter().enumerate().take(digests.len());
            all.filter(|(index, _)| users.get(&digests[..=*index]) == Some(&1)).map(|(_, size)| size).sum()
        })
        .collect();
    Shares { layers, own }
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
    let bytes = tree.values().find_map(|entry| entry.bytes());
    let bytes = bytes.with_context(|| format!("{reference} has no list of what is installed"))?;
    if context.global.json {
        context.printer.data(&String::from_utf8_lossy(bytes));
    } else {
        let document =
            serde_json::from_slice(bytes).with_context(|| format!("the list in {reference} is damaged"))?;
        let rows = components(&document);
        context.printer.data(&table(&rows));
        context.printer.data(&format!(
            "{} packages in {reference}, image {}",
            rows.len() - 1,
            image.id.short()
        ));
    }
    Ok(Exit::Done)
}

/// Reads a CycloneDX document's components as rows of a table. A package URL says where each is from:
/// `pkg:deb/debian/bash@5.2?arch=amd64&distro=trixie`, `pkg:pypi/keystone@29.1.0`.
fn components(document: &serde_json::Value) -> Vec<Vec<String>> {
    let text = |value: &serde_json::Value| value.as_str().unwrap_or_default().to_owned();
    let mut rows = vec![["PACKAGE", "VERSION", "FROM"].map(str::to_owned).to_vec()];
    for part in document["components"].as_array().into_iter().flatten() {
        let purl = text(&part["purl"]);
        let from = match purl.strip_prefix("pkg:").and_then(|rest| rest.split_once('/')) {
            Some(("deb", rest)) => {
                let vendor = rest.split('/').next().unwrap_or_default();
                let suite = purl.split_once("distro=").map(|(_, suite)| suite).unwrap_or_default();
                let source = text(&part["properties"][0]["value"]);
                let source = if source.is_empty() { source } else { format!(", source {source}") };
                format!("{vendor} {suite}{source}")
            }
            Some(("pypi", _)) => "PyPI, by the hashes of the release's lock".to_owned(),
            _ => purl,
        };
        rows.push(vec![text(&part["name"]), text(&part["version"]), from]);
    }
    rows
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_shared_layer_must_count_once_and_the_same_content_elsewhere_again() {
        let digests = |names: &[&str]| names.iter().map(|n| (*n).to_owned()).collect::<Vec<_>>();
        let images = [
            (digests(&["base"]), vec![100]),
            (digests(&["base", "python"]), vec![100, 50]),
            (digests(&["base", "python", "keystone"]), vec![100, 50, 7]),
            (digests(&["base", "keystone"]), vec![100, 7]),
        ];
        let found = shares(images.iter().map(|(d, s)| (d.as_slice(), s.as_slice())));
        assert_eq!(found.layers.values().sum::<u64>(), 100 + 50 + 7 + 7);
        assert_eq!(found.own, [0, 0, 7, 7]);
    }

    #[test]
    fn where_a_package_is_from_must_be_told_by_its_url() {
        let document = json!({"components": [
            {"name": "bash", "version": "5.2-2+b1", "purl": "pkg:deb/debian/bash@5.2-2%2Bb1?arch=amd64&distro=trixie",
             "properties": [{"name": "mastic:source", "value": "bash 5.2-2"}]},
            {"name": "keystone", "version": "29.1.0", "purl": "pkg:pypi/keystone@29.1.0"},
        ]});
        let rows = components(&document);
        assert_eq!(rows[1], ["bash", "5.2-2+b1", "debian trixie, source bash 5.2-2"]);
        assert_eq!(rows[2], ["keystone", "29.1.0", "PyPI, by the hashes of the release's lock"]);
    }
}
