//! Tries an upgrade's changes of the data on a copy, in containers that are alone with it, and says what each takes and changes.
//!
//! Who plays is decided in [`crate::plan::rehearsal`], what the differences mean in [`crate::schema`]. What is made here is labelled as
//! this deployment's tool: a killed run's leftovers go with the next one, or with the deployment.

mod report;
mod stage;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Instant;

use tokio_util::sync::CancellationToken;

pub use report::{Ended, Report, Tried, WayBack};
pub use stage::sweep;

use crate::engine::{Engine, EngineError, archive};
use crate::model::{ContainerSpec, DeploymentName, Role, ServiceName, TaskPhase};
use crate::plan::rehearsal::Cast;
use crate::report::event::Outcome;
use crate::report::{Event, Reporter};
use crate::schema::{self, Schema};
use crate::store::redact::Redactor;
use stage::Stage;

/// Why there is no result.
#[derive(Debug, thiserror::Error)]
pub enum RehearseError {
    /// The engine refused, or did not answer.
    #[error(transparent)]
    Engine(#[from] EngineError),
    /// A container cannot be given its config.
    #[error("the config of {0} cannot be packed")]
    Config(String, #[source] archive::ArchiveError),
    /// There is no copy, or it cannot be asked: with the container's own words.
    #[error("{0}")]
    Copy(String),
    /// The copy said something of itself that makes no sense.
    #[error(transparent)]
    Unread(#[from] schema::read::Unread),
    /// By Ctrl-C.
    #[error("interrupted; the copy is gone")]
    Interrupted,
}

/// Where it plays, and who is told.
#[derive(Debug)]
pub struct Place {
    /// The engine of the copy's host.
    pub engine: Arc<dyn Engine>,
    /// The deployment.
    pub deployment: DeploymentName,
    /// Masks secrets in what containers say.
    pub redactor: Redactor,
    /// Is told what happens.
    pub reporter: Arc<dyn Reporter>,
    /// Ends it.
    pub cancel: CancellationToken,
}

/// Plays it to its end, and removes all that was made for it, whatever happened. `databases` are those of each service.
pub async fn rehearse(
    place: &Place,
    cast: &Cast,
    databases: &BTreeMap<ServiceName, Vec<String>>,
) -> Result<(f64, Vec<Tried>), RehearseError> {
    sweep(place.engine.as_ref(), &place.deployment).await?;
    let played = play(place, cast, databases).await;
    let swept = sweep(place.engine.as_ref(), &place.deployment).await;
    let played = played?;
    swept?;
    Ok(played)
}

async fn play(
    place: &Place,
    cast: &Cast,
    databases: &BTreeMap<ServiceName, Vec<String>>,
) -> Result<(f64, Vec<Tried>), RehearseError> {
    let stage = Stage::new(place);
    let title = "rehearsing on a copy of the databases".to_owned();
    place.reporter.on(Event::Phase { title, total: Some(cast.acts.len() + 2) });
    for volume in &cast.volumes {
        stage.make_volume(volume).await?;
    }
    let copied = told(place, "copy the databases", stage.once(&cast.copy, None)).await?;
    let mut beside = None;
    let before = told(place, "serve the copy", async {
        let server = stage.serve(&cast.stand_in).await?;
        let schema = stage.schema(&server, &cast.stand_in).await?;
        beside = Some(server);
        Ok(schema)
    });
    let mut schema = before.await?;
    let Some(server) = beside else { return Err(RehearseError::Interrupted) };
    let mut tried: Vec<Tried> = Vec::new();
    for act in &cast.acts {
        let own = databases.get(&act.service).cloned().unwrap_or_default();
        let mut one = begun(act, own, &schema);
        if let Some(why) = hindered(act, &cast.acts, &tried) {
            one.ended = Ended::NotBegun;
            one.said = Some(why);
            tried.push(one);
            continue;
        }
        let key = one.task.clone();
        let host = Some(act.slot.host.clone());
        let title = format!("{key} ({})", one.phase.as_str());
        place.reporter.on(Event::Started { key: key.clone(), host, title });
        let began = Instant::now();
        let outcome = match stage.once(act, Some(&server)).await {
            Ok(seconds) => {
                one.seconds = seconds;
                Outcome::Done
            }
            Err(RehearseError::Copy(said)) => {
                one.seconds = began.elapsed().as_secs_f64();
                (one.ended, one.said) = (Ended::Failed, Some(said.clone()));
                Outcome::Failed(said)
            }
            Err(other) => return Err(other),
        };
        place.reporter.on(Event::Finished { key, outcome, took: began.elapsed() });
        let after = stage.schema(&server, &cast.stand_in).await?;
        one.changes = schema::compare(&schema, &after);
        one.written = schema::compare::written(&schema, &after);
        schema = after;
        tried.push(one);
    }
    Ok((copied, tried))
}

/// Tells of one piece of work.
async fn told<T>(
    place: &Place,
    what: &str,
    work: impl Future<Output = Result<T, RehearseError>>,
) -> Result<T, RehearseError> {
    let (key, began) = (what.to_owned(), Instant::now());
    place.reporter.on(Event::Started { key: key.clone(), host: None, title: what.to_owned() });
    let done = work.await;
    let outcome = match &done {
        Ok(_) => Outcome::Done,
        Err(RehearseError::Interrupted) => Outcome::Cancelled,
        Err(error) => Outcome::Failed(error.to_string()),
    };
    place.reporter.on(Event::Finished { key, outcome, took: began.elapsed() });
    done
}

fn begun(act: &ContainerSpec, databases: Vec<String>, schema: &Schema) -> Tried {
    let tables = databases.iter().filter_map(|name| schema.0.get(name)).flat_map(BTreeMap::values);
    let (rows, bytes) = tables.fold((0, 0), |(rows, bytes), table| (rows + table.rows, bytes + table.bytes));
    let phase = match act.role {
        Role::Task { phase, .. } => phase,
        Role::Service { .. } => TaskPhase::Expand,
    };
    Tried {
        task: act.slot.container.to_string(),
        service: act.service.clone(),
        phase,
        ended: Ended::Done,
        seconds: 0.0,
        databases,
        rows,
        bytes,
        written: BTreeMap::new(),
        changes: Vec::new(),
        said: None,
    }
}

/// Whether a task cannot be tried, since one that it stands on has failed: one before it, or an earlier phase of its service.
fn hindered(act: &ContainerSpec, acts: &[ContainerSpec], tried: &[Tried]) -> Option<String> {
    let failed: BTreeSet<&str> =
        tried.iter().filter(|one| one.ended != Ended::Done).map(|one| one.task.as_str()).collect();
    let stands_on = |other: &&ContainerSpec| {
        failed.contains(other.slot.container.as_str())
            && (other.service == act.service || act.after.contains(&other.slot))
    };
    let other = acts.iter().find(stands_on)?;
    Some(format!("{} failed before it", other.slot.container))
}
