//! `mastic gc`: images that nothing needs any more go from the hosts.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::Result;
use serde_json::json;

use crate::cli::args::GcArgs;
use crate::cli::commands::status::bytes;
use crate::cli::context::Context;
use crate::cli::exit::{CliError, Exit};
use crate::cli::printer::table;
use crate::cli::session::needs_yes;
use crate::engine::EngineErrorKind;
use crate::journal::slots_at;
use crate::model::{HostName, ImageId, ObservedImage, labels};
use crate::store::ledger;

/// An image that may go.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Going {
    host: HostName,
    /// Its tag; its id where it has none any more.
    reference: String,
    size: u64,
}

/// `mastic gc`
pub async fn gc(context: &Context, args: &GcArgs) -> Result<Exit> {
    let loaded = context.load()?;
    let engines = context.engines(&loaded.profile).await?;
    let observed = context.observe(&loaded, &engines).await?;
    let document = &loaded.profile.document;

    // What a build makes beside the profile's own images, of Debian and for compiling, has the same tag.
    let mut tags: BTreeSet<String> = [document.release.to_string()].into();
    tags.extend(document.images.tag.clone());
    if let Some(ledger) = &observed.ledger {
        tags.insert(ledger.release.to_string());
        tags.extend(ledger.held.iter().map(|held| held.release.to_string()));
    }
    let requests = loaded.profile.image_requests();
    let wanted: BTreeSet<String> = requests.into_values().collect();
    let records = ledger::history(&engines, &document.deployment).await?;
    let pins = ledger::pins(&engines, &document.deployment).await?;
    let mut needed: BTreeSet<ImageId> = BTreeSet::new();
    let youngest = records.iter().rev().take(usize::from(args.keep)).map(|record| record.generation);
    for generation in youngest.chain(pins.into_keys()) {
        let slots = slots_at(&records, generation).unwrap_or_default();
        needed.extend(slots.values().map(|slot| slot.spec.image.id.clone()));
    }
    let mut going = Vec::new();
    for (host, engine) in &engines {
        let used = observed.hosts.get(host).into_iter().flat_map(|seen| &seen.containers);
        let used: BTreeSet<ImageId> =
            used.map(|container| container.image.clone()).chain(needed.clone()).collect();
        let images = engine.images().await?;
        going.extend(choose(host, &images, &used, &|tag| {
            wanted.contains(tag) || tag.rsplit_once(':').is_some_and(|(_, tag)| tags.contains(tag))
        }));
    }
    if going.is_empty() {
        context.printer.say("every image is needed");
        return publish(context, &going, &BTreeMap::new());
    }
    let rows: Vec<Vec<String>> =
        going.iter().map(|one| vec![format!("- {}/{}", one.host, one.reference), bytes(one.size)]).collect();
    context.printer.say(table(&rows).trim_end());
    if !args.yes && !context.printer.ask("Remove them?") {
        return Err(needs_yes(format!("{} images would go; nothing was touched", going.len()))
            .help("`--yes` removes them")
            .into());
    }
    let mut stay = BTreeMap::new();
    for one in &going {
        let Some(engine) = engines.get(&one.host) else { continue };
        match engine.remove_image(&one.reference).await {
            Ok(()) => {}
            // Of another deployment, or somebody's own.
            Err(error) if error.kind == EngineErrorKind::Conflict => {
                stay.insert(format!("{}/{}", one.host, one.reference), "a container uses it".to_owned());
            }
            Err(error) => return Err(CliError::new(error.to_string()).into()),
        }
    }
    for (image, why) in &stay {
        context.printer.say(&format!("{image} stays: {why}"));
    }
    context.printer.say(&format!("{} images removed", going.len() - stay.len()));
    publish(context, &going, &stay)
}

/// Returns Mastic's images on a host that neither a container uses nor anybody wants, each under every tag of it.
fn choose(
    host: &HostName,
    images: &[ObservedImage],
    used: &BTreeSet<ImageId>,
    is_wanted: &dyn Fn(&str) -> bool,
) -> Vec<Going> {
    let mut going = Vec::new();
    let ours = images.iter().filter(|image| image.labels.contains_key(labels::IMAGE));
    // One that is wanted under one name is there under all.
    for image in
        ours.filter(|image| !used.contains(&image.id) && !image.tags.iter().any(|tag| is_wanted(tag)))
    {
        let size = image.size;
        if image.tags.is_empty() {
            going.push(Going { host: host.clone(), reference: image.id.0.clone(), size });
        }
        going.extend(image.tags.iter().map(|tag| Going { host: host.clone(), reference: tag.clone(), size }));
    }
    going.sort_by(|a, b| a.reference.cmp(&b.reference));
    going
}

fn publish(context: &Context, going: &[Going], stay: &BTreeMap<String, String>) -> Result<Exit> {
    if context.global.json {
        let list: Vec<_> = going
            .iter()
            .map(|one| {
                let kept = stay.get(&format!("{}/{}", one.host, one.reference));
                json!({"host": one.host, "image": one.reference, "bytes": one.size, "stays": kept})
            })
            .collect();
        context.printer.data(&serde_json::to_string_pretty(&json!({"version": 1, "images": list}))?);
    }
    Ok(Exit::Done)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn image(id: &str, tags: &[&str], ours: bool) -> ObservedImage {
        ObservedImage {
            id: ImageId(id.to_owned()),
            tags: tags.iter().map(|tag| (*tag).to_owned()).collect(),
            labels: ours.then(|| (labels::IMAGE.to_owned(), "keystone".to_owned())).into_iter().collect(),
            size: 1,
            created_at: String::new(),
            repo_digests: Vec::new(),
            layers: Vec::new(),
        }
    }

    #[test]
    fn only_what_nobody_needs_must_go() {
        let images = [
            image("now", &["m/keystone:2026.1"], true),
            image("used", &["m/keystone:2025.2"], true),
            image("old", &["m/keystone:2025.1", "m/keystone:before"], true),
            image("both", &["m/base:2025.1", "m/base:2026.1"], true),
            image("untagged", &[], true),
            image("theirs", &["debian:13"], false),
        ];
        let used = [ImageId("used".to_owned())].into();
        let going = choose(&"local".parse().unwrap(), &images, &used, &|tag| tag.ends_with(":2026.1"));
        let names: Vec<_> = going.iter().map(|one| one.reference.as_str()).collect();
        assert_eq!(names, ["m/keystone:2025.1", "m/keystone:before", "untagged"]);
    }
}
