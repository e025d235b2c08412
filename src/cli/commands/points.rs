//! What is known of restore points, whoever makes them.
//!
//! What a point is, the services know (phases `backup`, `rehearse`, `restore` of service.yaml). Here is what they have in common: a
//! point's name and release are added to their command, what there is they write into `points/` of the volume below [`HOME`], and
//! what a file in `pins/` there names, they never drop.

use std::collections::BTreeMap;
use std::sync::Arc;

use anyhow::{Context as _, Result};
use serde::{Deserialize, Serialize};

use crate::cli::context::{Context, Engines};
use crate::cli::exit::{CliError, Exit};
use crate::cli::session::{Loaded, Make};
use crate::engine::archive::{self, Entry, Tree};
use crate::engine::{CreateRequest, Engine, EngineErrorKind};
use crate::model::labels::{self, LabelRole};
use crate::model::spec::MountSource;
use crate::model::{
    ContainerId, Desired, Generation, HostName, ImageId, PinnedImage, ReleaseName, Role, TaskPhase,
};
use crate::store::inert;

/// Where tasks have the volume of restore points.
const HOME: &str = "/var/backups/";
/// Where it is while it is read.
const ROOM: &str = "/points";

/// A restore point, as the task that made it wrote it down.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Point {
    /// What it is called.
    #[serde(rename = "point")]
    pub name: String,
    /// The release that served.
    pub release: String,
    /// When, RFC 3339.
    pub made_at: String,
    /// What it takes.
    pub bytes: u64,
    /// Whether only the secret's holder can read it.
    pub encrypted: bool,
    /// Of the file.
    pub sha256: String,
}

/// What is deployed, with the profile as the release that serves.
#[derive(Debug)]
pub struct Serving {
    /// The profile.
    pub loaded: Loaded,
    /// The engines.
    pub engines: Engines,
    /// What it asks for.
    pub desired: Desired,
}

/// Returns what an upgrade calls the point of the generation that it leaves.
pub fn point_of(generation: Generation) -> String {
    format!("generation-{generation}")
}

/// Adds a point's name, and the release whose data it is, to the commands of a phase's tasks.
pub fn name_point(desired: &mut Desired, phase: TaskPhase, point: &str, release: &ReleaseName) {
    add_words(desired, phase, [point.to_owned(), release.to_string()]);
}

/// Adds words to the commands of a phase's tasks.
pub fn add_words(desired: &mut Desired, phase: TaskPhase, words: impl IntoIterator<Item = String>) {
    let words: Vec<String> = words.into_iter().collect();
    for spec in desired.containers.values_mut() {
        if matches!(spec.role, Role::Task { phase: of, .. } if of == phase) {
            spec.command.extend(words.clone());
        }
    }
}

/// Looks at what is deployed, to change it: with its secrets and images.
pub async fn serving(context: &Context) -> Result<Serving> {
    let loaded = context.load()?;
    let engines = context.engines(&loaded.profile).await?;
    let observed = context.observe(&loaded, &engines).await?;
    let Some(ledger) = &observed.ledger else {
        return Err(CliError::new("nothing is deployed").help("`mastic deploy`").into());
    };
    let loaded = context.load_as(ledger.release.as_str())?;
    context.same_secrets(&loaded, &observed)?;
    let desired = context.desired(&loaded, &engines, Make::Keep).await?;
    if volumes(&desired, &engines).is_empty() {
        return Err(CliError::new("no service of this profile makes restore points").into());
    }
    Ok(Serving { loaded, engines, desired })
}

/// Resolves a profile for a look: neither its secrets nor its images need be here.
pub async fn for_a_look(context: &Context, loaded: &Loaded, engines: &Engines) -> Result<Desired> {
    let requests = loaded.profile.image_requests();
    let images: BTreeMap<_, _> = context
        .images(loaded, engines)
        .await?
        .into_iter()
        .map(|(name, pin)| {
            let reference = requests.get(&name).cloned().unwrap_or_default();
            (name, pin.unwrap_or(PinnedImage { reference, id: ImageId(String::new()) }))
        })
        .collect();
    context.resolve(loaded, images, Make::Pretend)
}

/// The volumes of restore points, by host.
fn volumes<'a>(desired: &Desired, engines: &'a Engines) -> Vec<(HostName, String, &'a Arc<dyn Engine>)> {
    let made = desired
        .containers
        .values()
        .filter(|spec| matches!(spec.role, Role::Task { phase: TaskPhase::Backup, .. }));
    made.flat_map(|spec| spec.mounts.iter().map(move |mount| (&spec.slot.host, mount)))
        .filter(|(_, mount)| mount.target.starts_with(HOME))
        .filter_map(|(host, mount)| match &mount.source {
            MountSource::Volume(volume) => {
                Some((host.clone(), format!("{}_{volume}", desired.deployment), engines.get(host)?))
            }
            MountSource::Bind { .. } | MountSource::Tmpfs { .. } => None,
        })
        .collect()
}

/// Makes a never-started container with a volume in it; none where there is no such volume.
async fn open(desired: &Desired, engine: &dyn Engine, volume: &str) -> Result<Option<ContainerId>> {
    let deployment = &desired.deployment;
    if !engine.volumes(deployment).await?.iter().any(|there| there.name == volume) {
        return Ok(None);
    }
    inert::ensure(engine).await?;
    let labels = [
        (labels::DEPLOYMENT.to_owned(), deployment.to_string()),
        (labels::ROLE.to_owned(), LabelRole::Tool.as_str().to_owned()),
    ];
    let request = CreateRequest::Inert {
        name: format!("{deployment}.points-{}", std::process::id()),
        image: inert::REFERENCE.to_owned(),
        labels: labels.into(),
        volume: Some((volume.to_owned(), ROOM.to_owned())),
    };
    Ok(Some(engine.create(&request).await?))
}

/// Returns the points that there are, oldest first.
pub async fn points(desired: &Desired, engines: &Engines) -> Result<Vec<Point>> {
    let mut found: Vec<Point> = Vec::new();
    for (host, volume, engine) in volumes(desired, engines) {
        let Some(id) = open(desired, engine.as_ref(), &volume).await? else { continue };
        let read = engine.download(&id, &format!("{ROOM}/points")).await;
        engine.remove(&id, true).await?;
        let packed = match read {
            Ok(packed) => packed,
            // None was ever made.
            Err(error) if error.kind == EngineErrorKind::NotFound => continue,
            Err(error) => return Err(error).with_context(|| format!("restore points of host `{host}`")),
        };
        let tree = archive::unpack(&packed)?;
        found.extend(tree.values().filter_map(|entry| serde_json::from_slice(entry.bytes()?).ok()));
    }
    found.sort_by(|a, b| (&a.made_at, &a.name).cmp(&(&b.made_at, &b.name)));
    Ok(found)
}

/// Says of a point that it must not be dropped, or that it may be.
pub async fn keep(desired: &Desired, engines: &Engines, point: &str, kept: bool) -> Result<()> {
    for (host, volume, engine) in volumes(desired, engines) {
        let Some(id) = open(desired, engine.as_ref(), &volume).await? else { continue };
        // Nothing can be removed through a container that does not run: an empty file is none.
        let words = if kept { "pinned\n" } else { "" };
        let tree: Tree = [(format!("{ROOM}/pins/{point}"), Entry::file(words.to_owned(), 0o644))].into();
        let wrote = engine.upload(&id, archive::pack(&tree)?).await;
        engine.remove(&id, true).await?;
        wrote.with_context(|| format!("restore points of host `{host}`"))?;
    }
    Ok(())
}

/// Refuses what cannot be a file's name, or looks like an option.
pub fn good_name(point: &str) -> Result<()> {
    let letter = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-' || c == '.';
    let begins = point.starts_with(|c: char| c.is_ascii_alphanumeric());
    if point.len() <= 64 && begins && point.chars().all(letter) {
        return Ok(());
    }
    Err(CliError::new(format!("a restore point cannot be called `{point}`"))
        .exit(Exit::Usage)
        .help("up to 64 lower-case letters, digits, `-` and `.`; a letter or a digit first")
        .into())
}

/// The error of a point that is not there.
pub fn missing(point: &str, there: &[Point]) -> anyhow::Error {
    let names: Vec<&str> = there.iter().map(|p| p.name.as_str()).collect();
    let help = if names.is_empty() {
        "there is none: `mastic backup` makes one".to_owned()
    } else {
        format!("there are: {}", names.join(", "))
    };
    CliError::new(format!("there is no restore point `{point}`")).help(help).into()
}
