//! What images there are, what they take on the disk, and what is installed in them.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use anyhow::{Context as _, Result};
use futures::{StreamExt, TryStreamExt};
use serde_json::json;

use crate::cli::args::ImagesArgs;
use crate::cli::context::Context;
use crate::cli::exit::{CliError, Exit};
use crate::cli::printer::table;
use crate::cli::session::Loaded;
use crate::engine::{CreateRequest, Engine, archive};
use crate::model::{ImageName, ObservedImage, labels};

/// Images that are asked about at a time.
const QUESTIONS: usize = 4;

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
        .buffered(QUESTIONS)
        .try_collect()
        .await?;
    let shares =
        shares(ours.iter().map(|image| image.layers.as_slice()).zip(sizes.iter().map(Vec::as_slice)));
    let unique: u64 = shares.layers.values().sum();
    // What a build makes beside them (of Debian, for compiling) is theirs no more than another release's.
    let wanted: BTreeSet<String> =
        loaded.profile.image_requests().keys().map(|name| loaded.profile.image_reference(name)).collect();
    let of_profile: Vec<_> = ours
        .iter()
        .zip(&sizes)
        .filter(|(image, _)| image.tags.iter().any(|tag| wanted.contains(tag)))
        .map(|(image, sizes)| (image.layers.as_slice(), sizes.as_slice()))
        .collect();
    let profile_unique: u64 = self::shares(of_profile.iter().copied()).layers.values().sum();
    let release = &loaded.profile.document.release;
    if context.global.json {
        let list: Vec<_> = ours
            .iter()
            .zip(&shares.own)
            .map(|(i, own)| json!({"image": i.labels.get(labels::IMAGE), "id": i.id, "tags": i.tags, "bytes": i.size, "own_bytes": own, "created_at": i.created_at}))
            .collect();
        let profile = json!({"release": release, "images": of_profile.len(), "unique_bytes": profile_unique});
        let document = json!({"version": 1, "unique_bytes": unique, "profile": profile, "images": list});
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
    context.printer.data(&format!(
        "{} of them, {}, are what this profile runs of {release}",
        of_profile.len(),
        super::status::bytes(profile_unique)
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
