//! Whether an upgrade has room on the hosts' disks. They are asked through containers that run there, so that it is known of
//! a host elsewhere, too, and of an engine in a file system of its own.

use std::collections::BTreeMap;

use anyhow::Result;
use futures::future::join_all;

use super::machine::{IMAGES_DISK, LEAST_DISK};
use super::missing_images;
use crate::cli::commands::look::resolve_offline;
use crate::cli::commands::status::bytes;
use crate::cli::context::{Context, Engines};
use crate::cli::exit::CliError;
use crate::cli::session::Loaded;
use crate::engine::{Engine, ExecRequest};
use crate::model::spec::MountSource;
use crate::model::{
    ContainerSpec, ContainerState, Desired, HostName, Observed, ObservedContainer, Role, TaskPhase,
};

/// What is needed of one file system, and why, in bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Need {
    bytes: u64,
    why: String,
}

/// Refuses an upgrade that would find a disk full on its way, before anything is built or touched. What cannot be asked (nothing
/// runs on a host, or its image has neither `stat` nor `du`) is not refused.
pub async fn refuse_full_disks(
    context: &Context,
    loaded: &Loaded,
    engines: &Engines,
    observed: &Observed,
    backup: bool,
) -> Result<()> {
    let missing = missing_images(context, loaded, engines).await?.len();
    let (desired, _) = resolve_offline(context, loaded)?;
    let images = (missing > 0).then(|| images(missing, loaded.profile.image_requests().len().max(missing)));
    let hosts = engines.iter().map(|(host, engine)| {
        let there = observed.hosts.get(host).map(|there| there.containers.as_slice()).unwrap_or_default();
        let host = Host { name: host, engine: engine.as_ref(), there };
        let (desired, images) = (&desired, images.clone());
        async move { host.shortages(desired, images, backup).await }
    });
    let short: Vec<String> = join_all(hosts).await.into_iter().flatten().collect();
    if short.is_empty() {
        return Ok(());
    }
    Err(CliError::new(format!("the disk has no room for this upgrade; nothing was touched\n{}", short.join("\n")))
        .help("`mastic gc` removes images that nothing needs, `docker builder prune` what builds keep; `--no-backup` makes no restore point")
        .into())
}

/// A host, and what runs there.
struct Host<'o> {
    name: &'o HostName,
    engine: &'o dyn Engine,
    there: &'o [ObservedContainer],
}

impl Host<'_> {
    /// Returns what an upgrade needs beyond what is free here, in lines for a person.
    async fn shortages(&self, desired: &Desired, images: Option<Need>, backup: bool) -> Vec<String> {
        let Some(any) = self.there.iter().find(|container| serves(container)) else { return Vec::new() };
        let mut root = vec![Need { bytes: LEAST_DISK, why: "containers and logs".to_owned() }];
        root.extend(images);
        let mut short = Vec::new();
        let tasks = desired.containers.values().filter(|spec| spec.host() == self.name && is_backup(spec));
        for (container, path) in tasks.flat_map(|task| sources(task, desired.containers.values(), self.there))
        {
            let Some(size) = used(self.engine, container, &path).await else { continue };
            let data = Need { bytes: size, why: format!("tables that migrations make anew in {path}") };
            let free = free(self.engine, container, &path).await;
            short.extend(judge(self.name, &path, free, std::slice::from_ref(&data)));
            root.push(data);
            if backup {
                root.push(Need { bytes: size, why: "the restore point".to_owned() });
            }
        }
        short.extend(judge(self.name, "the engine's data", free(self.engine, any, "/").await, &root));
        short
    }
}

fn serves(container: &ObservedContainer) -> bool {
    container.state == ContainerState::Running && container.slot_labels.is_some()
}

fn is_backup(spec: &ContainerSpec) -> bool {
    matches!(spec.role, Role::Task { phase: TaskPhase::Backup, .. })
}

/// The share of a whole release's room that so many of its images take.
fn images(missing: usize, all: usize) -> Need {
    let count = |number: usize| u64::try_from(number).unwrap_or(u64::MAX);
    let bytes = IMAGES_DISK / count(all).max(1) * count(missing);
    Need { bytes, why: format!("{missing} of {all} images to be made") }
}

/// Returns what a backup task reads, by the running containers that have it, and their paths of it.
fn sources<'o>(
    task: &ContainerSpec,
    specs: impl Iterator<Item = &'o ContainerSpec>,
    there: &'o [ObservedContainer],
) -> Vec<(&'o ObservedContainer, String)> {
    let is_read = |source: &MountSource| {
        matches!(source, MountSource::Volume(_))
            && task.mounts.iter().any(|mount| mount.read_only && mount.source == *source)
    };
    let mut found = BTreeMap::new();
    for spec in specs.filter(|spec| !spec.is_task() && spec.host() == task.host()) {
        let runs = there.iter().find(|container| {
            serves(container)
                && container.slot_labels.as_ref().is_some_and(|labels| labels.container == *spec.name())
        });
        let Some(container) = runs else { continue };
        for mount in spec.mounts.iter().filter(|mount| is_read(&mount.source)) {
            found.entry(&mount.source).or_insert_with(|| (container, mount.target.clone()));
        }
    }
    found.into_values().collect()
}

/// Says what is short, in a line for a person.
fn judge(host: &HostName, at: &str, free: Option<u64>, needs: &[Need]) -> Option<String> {
    let needed: u64 = needs.iter().map(|need| need.bytes).fold(0, u64::saturating_add);
    let free = free.filter(|free| *free < needed)?;
    let why: Vec<String> =
        needs.iter().map(|need| format!("{} for {}", bytes(need.bytes), need.why)).collect();
    Some(format!("{host}: {} free for {at}, {} are needed: {}", bytes(free), bytes(needed), why.join(", ")))
}

/// Returns the bytes that are free where a path of a container lies.
async fn free(engine: &dyn Engine, container: &ObservedContainer, path: &str) -> Option<u64> {
    let said = ask(engine, container, &["stat", "-f", "-c", "%a %S", path]).await?;
    let (blocks, size) = said.trim().split_once(' ')?;
    blocks.parse::<u64>().ok()?.checked_mul(size.parse().ok()?)
}

/// Returns the bytes that a folder of a container takes on its disk.
async fn used(engine: &dyn Engine, container: &ObservedContainer, path: &str) -> Option<u64> {
    let said = ask(engine, container, &["du", "-sk", path]).await?;
    said.split_whitespace().next()?.parse::<u64>().ok()?.checked_mul(1024)
}

async fn ask(engine: &dyn Engine, container: &ObservedContainer, command: &[&str]) -> Option<String> {
    let command = command.iter().map(|&word| word.to_owned()).collect();
    let request = ExecRequest { command, ..ExecRequest::default() };
    // `du` ends with 1 where a file went away under it, and still says the sum.
    engine
        .exec(&container.id, &request)
        .await
        .ok()
        .map(|said| String::from_utf8_lossy(&said.stdout).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_short_must_be_said_with_each_part_of_what_is_needed() {
        let host = HostName::new("h").expect("a name");
        let need = |bytes, why: &str| Need { bytes, why: why.to_owned() };
        let needs = [need(2 << 30, "containers and logs"), need(512 << 20, "the restore point")];
        assert_eq!(judge(&host, "x", Some((2 << 30) + (512 << 20)), &needs), None);
        assert_eq!(judge(&host, "x", None, &needs), None);
        assert_eq!(
            judge(&host, "the engine's data", Some(1 << 30), &needs).as_deref(),
            Some(
                "h: 1.0 GiB free for the engine's data, 2.5 GiB are needed: 2.0 GiB for containers and logs, 512 MiB for the restore point"
            )
        );
        assert!(judge(&host, "x", Some(u64::MAX), &[need(u64::MAX, "a"), need(1, "b")]).is_none());
    }

    #[test]
    fn images_to_be_made_must_need_their_share() {
        assert_eq!(images(20, 20).bytes, IMAGES_DISK / 20 * 20);
        assert_eq!(images(1, 20).bytes, IMAGES_DISK / 20);
        assert_eq!(images(1, 1).why, "1 of 1 images to be made");
    }
}
