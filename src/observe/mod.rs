//! Asks every host at once what it runs, and puts the answers together as plain values.
//!
//! Looks only: nothing is changed but, where a destroy kept the history's volume, the never-started container through
//! which it is read.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use futures::future::try_join_all;

use crate::engine::{Engine, EngineError, EngineErrorKind, EngineResult};
use crate::journal::GenerationRecord;
use crate::model::{DeploymentName, HostName, Observed, ObservedHost};
use crate::store::ledger;

/// Time that one host may take, under load: a host that is silent for longer is a failure, not a wait.
const DEADLINE: Duration = Duration::from_secs(30);

/// Observes all hosts. One that does not answer fails the whole: half a picture makes a wrong plan.
pub async fn observe(
    engines: &BTreeMap<HostName, Arc<dyn Engine>>,
    deployment: &DeploymentName,
) -> EngineResult<Observed> {
    let taken_at = jiff::Timestamp::now().to_string();
    let hosts = engines.iter().map(async |(name, engine)| {
        let answer = tokio::time::timeout(DEADLINE, host(engine.as_ref(), deployment)).await;
        let (host, records) = answer.unwrap_or_else(|_| {
            Err(EngineError {
                operation: format!("observe host {name}"),
                endpoint: engine.endpoint().to_owned(),
                kind: EngineErrorKind::Timeout,
                message: format!("no answer within {} s", DEADLINE.as_secs()),
            })
        })?;
        Ok::<_, EngineError>((name.clone(), host, records))
    });
    let mut observed = Observed {
        deployment: deployment.clone(),
        taken_at,
        hosts: BTreeMap::new(),
        last_generation: 0,
        ledger: None,
    };
    let mut youngest: Option<GenerationRecord> = None;
    for (name, host, record) in try_join_all(hosts).await? {
        let labelled = host.containers.iter().filter_map(|c| c.slot_labels.as_ref());
        let seen = labelled.map(|labels| labels.generation.get()).max().unwrap_or(0);
        observed.last_generation = observed.last_generation.max(seen);
        if let Some(record) = record {
            observed.last_generation = observed.last_generation.max(record.generation.get());
            if youngest.as_ref().is_none_or(|known| known.generation < record.generation) {
                youngest = Some(record);
            }
        }
        observed.hosts.insert(name, host);
    }
    observed.ledger = youngest.as_ref().map(GenerationRecord::summary);
    Ok(observed)
}

/// Returns what a host runs, and the youngest record of its ledger.
async fn host(
    engine: &dyn Engine,
    deployment: &DeploymentName,
) -> EngineResult<(ObservedHost, Option<GenerationRecord>)> {
    let volumes_and_ledger = async {
        let volumes = engine.volumes(deployment).await?;
        // Asking for a ledger that cannot be there would cost two more requests.
        let name = ledger::name(deployment);
        let record = if volumes.iter().any(|volume| volume.name == name) {
            ledger::read(engine, deployment).await?.pop()
        } else {
            None
        };
        Ok((volumes, record))
    };
    let (mut containers, (volumes, record), images) =
        tokio::try_join!(engine.containers(deployment), volumes_and_ledger, engine.image_ids())?;
    // Reading the ledger may have made the container that it is read through: what is not seen is not removed, and holds
    // the volume.
    let name = ledger::name(deployment);
    if volumes.iter().any(|v| v.name == name) && !containers.iter().any(|c| c.name == name) {
        containers = engine.containers(deployment).await?;
    }
    Ok((ObservedHost { containers, volumes, images }, record))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::sim::SimEngine;
    use crate::model::labels;

    #[tokio::test]
    async fn the_container_through_which_a_kept_history_is_read_must_be_seen_at_once() {
        let deployment = DeploymentName::new("d").expect("a name");
        let name = ledger::name(&deployment);
        let engine: Arc<dyn Engine> = Arc::new(SimEngine::new("sim://a"));
        crate::store::inert::ensure(engine.as_ref()).await.expect("the image can be made");
        let volume = BTreeMap::from([(labels::DEPLOYMENT.to_owned(), deployment.to_string())]);
        engine.create_volume(&name, &volume).await.expect("a volume");
        let engines = [(HostName::new("h").expect("a name"), engine)].into();
        let seen = observe(&engines, &deployment).await.expect("it answers");
        let names: Vec<&str> =
            seen.hosts.values().flat_map(|h| &h.containers).map(|c| c.name.as_str()).collect();
        assert_eq!(names, [name.as_str()]);
    }
}
