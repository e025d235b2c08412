//! Generation records on the hosts: any machine that reaches an engine can read the history.
//!
//! A named volume holds one file a generation. A container that is never started mounts it; uploads and downloads go
//! through it, so that no process runs and the host needs nothing but its engine.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use crate::engine::archive::{self, Entry, Tree};
use crate::engine::{CreateRequest, Engine, EngineErrorKind, EngineResult};
use crate::journal::{GenerationRecord, Pin};
use crate::model::labels::{self, LabelRole};
use crate::model::{ContainerId, DeploymentName, Generation, HostName};
use crate::store::inert;

/// Where the volume is mounted.
const MOUNT: &str = "/ledger";
/// The folder in it. The digits sort as text up to a million generations.
const FOLDER: &str = "/ledger/generations";
/// What is said of generations later: a record itself never changes once its run has ended.
const PINS: &str = "/ledger/pins";
/// Time that an engine may take to make a container that another run has asked for.
const MAKING: Duration = Duration::from_secs(20);
/// Time between two looks for it.
const AGAIN: Duration = Duration::from_millis(50);

/// The engine name of both container and volume.
pub fn name(deployment: &DeploymentName) -> String {
    format!("{deployment}.ledger")
}

/// Writes a record onto a host; an existing one of the same number is replaced.
pub async fn write(
    engine: &dyn Engine,
    deployment: &DeploymentName,
    record: &GenerationRecord,
) -> EngineResult<()> {
    let container = open(engine, deployment).await?;
    let path = format!("{FOLDER}/{:06}.json", record.generation.get());
    let tree: Tree = [(path, Entry::file(record.json(), 0o644))].into();
    engine.upload(&container, inert::packed(engine, &tree)?).await
}

/// Writes down on a host that a generation is pinned, or no longer.
pub async fn write_pin(engine: &dyn Engine, deployment: &DeploymentName, pin: &Pin) -> EngineResult<()> {
    let container = open(engine, deployment).await?;
    let path = format!("{PINS}/{:06}.json", pin.generation.get());
    let tree: Tree = [(path, Entry::file(pin.json(), 0o644))].into();
    engine.upload(&container, inert::packed(engine, &tree)?).await
}

/// Returns the generations that are pinned, by what any host says. A damaged word counts: what is kept too long does no harm.
pub async fn pins(
    engines: &BTreeMap<HostName, Arc<dyn Engine>>,
    deployment: &DeploymentName,
) -> EngineResult<BTreeMap<Generation, Pin>> {
    let mut all: BTreeMap<Generation, Pin> = BTreeMap::new();
    for engine in engines.values() {
        let container = match engine.container(&name(deployment)).await {
            Ok(there) => there.id,
            Err(error) if error.kind == EngineErrorKind::NotFound => continue,
            Err(error) => return Err(error),
        };
        let bytes = match engine.download(&container, PINS).await {
            Ok(bytes) => bytes,
            Err(error) if error.kind == EngineErrorKind::NotFound => continue,
            Err(error) => return Err(error),
        };
        for (path, entry) in archive::unpack(&bytes).unwrap_or_default() {
            let Some(bytes) = entry.bytes() else { continue };
            let Some(pin) = Pin::read(&path, bytes) else { continue };
            let newer = all.get(&pin.generation).is_none_or(|known| known.since <= pin.since);
            if newer {
                all.insert(pin.generation, pin);
            }
        }
    }
    all.retain(|_, pin| pin.pinned);
    Ok(all)
}

/// Returns the ledger's container, made when it is missing.
async fn open(engine: &dyn Engine, deployment: &DeploymentName) -> EngineResult<ContainerId> {
    let name = name(deployment);
    match engine.container(&name).await {
        Ok(there) => return Ok(there.id),
        Err(error) if error.kind == EngineErrorKind::NotFound => {}
        Err(error) => return Err(error),
    }
    inert::ensure(engine).await?;
    let labels: BTreeMap<String, String> = [
        (labels::DEPLOYMENT.to_owned(), deployment.to_string()),
        (labels::ROLE.to_owned(), LabelRole::Ledger.as_str().to_owned()),
    ]
    .into();
    let mut volume_labels = labels.clone();
    volume_labels.insert(labels::VOLUME.to_owned(), "ledger".to_owned());
    engine.create_volume(&name, &volume_labels).await?;
    let request = CreateRequest::Inert {
        name: name.clone(),
        image: inert::REFERENCE.to_owned(),
        labels,
        volume: Some((name.clone(), MOUNT.to_owned())),
    };
    let began = Instant::now();
    loop {
        match engine.create(&request).await {
            // Another run was quicker. An engine takes the name at once, and shows the container once it is made.
            Err(error) if error.kind == EngineErrorKind::Conflict && began.elapsed() < MAKING => {}
            made => return made,
        }
        match engine.container(&name).await {
            Ok(there) => return Ok(there.id),
            Err(error) if error.kind == EngineErrorKind::NotFound => tokio::time::sleep(AGAIN).await,
            Err(error) => return Err(error),
        }
    }
}

/// Reads all records of one host, oldest first. Damaged ones are left out: they say nothing.
pub async fn read(engine: &dyn Engine, deployment: &DeploymentName) -> EngineResult<Vec<GenerationRecord>> {
    let container = match engine.container(&name(deployment)).await {
        Ok(there) => there.id,
        Err(error) if error.kind == EngineErrorKind::NotFound => {
            // A destroy that kept the volumes kept the history.
            let volume = name(deployment);
            if !engine.volumes(deployment).await?.iter().any(|v| v.name == volume) {
                return Ok(Vec::new());
            }
            open(engine, deployment).await?
        }
        Err(error) => return Err(error),
    };
    let bytes = match engine.download(&container, FOLDER).await {
        Ok(bytes) => bytes,
        Err(error) if error.kind == EngineErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(error),
    };
    let tree = archive::unpack(&bytes).unwrap_or_default();
    let mut records: Vec<GenerationRecord> =
        tree.values().filter_map(|entry| GenerationRecord::parse(entry.bytes()?)).collect();
    records.sort_by_key(|record| record.generation);
    Ok(records)
}

/// Reads the history of a deployment from all its hosts, oldest first, each generation once.
pub async fn history(
    engines: &BTreeMap<HostName, Arc<dyn Engine>>,
    deployment: &DeploymentName,
) -> EngineResult<Vec<GenerationRecord>> {
    let mut all = BTreeMap::new();
    for engine in engines.values() {
        for record in read(engine.as_ref(), deployment).await? {
            all.insert(record.generation, record);
        }
    }
    Ok(all.into_values().collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::sim::{Fault, SimEngine, When};

    #[tokio::test(start_paused = true)]
    async fn a_ledger_that_another_run_is_making_must_be_waited_for() {
        let deployment = DeploymentName::new("d").expect("a name");
        let engine = SimEngine::new("sim://a");
        let made = open(&engine, &deployment).await.expect("it is made");
        // Its name is taken, and nobody sees it yet.
        let unseen = When::Matching { operation: "container".to_owned(), subject: name(&deployment) };
        let faults = engine.faults();
        faults.add(unseen.clone(), Fault::Error(EngineErrorKind::NotFound), 5);
        assert_eq!(open(&engine, &deployment).await.expect("it comes"), made);
        faults.add(unseen, Fault::Error(EngineErrorKind::NotFound), 10_000);
        let error = open(&engine, &deployment).await.expect_err("it never comes");
        assert_eq!(error.kind, EngineErrorKind::Conflict);
    }
}
