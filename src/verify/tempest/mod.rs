//! Tempest against the cloud: its configuration, what its tests need, the container that runs them, what they found.
//!
//! `conf`, `tally` and `report` are pure; `prepare` looks at the cloud and makes images and flavors, `container` runs the image
//! `tempest`, whose runner says a line about each test.

mod conf;
mod container;
mod prepare;
mod report;
mod tally;

use std::sync::Arc;
use std::time::Instant;

use jiff::Timestamp;
use tokio_util::sync::CancellationToken;

pub use report::Report;
pub use tally::{TestReport, Verdict};

use super::tool::{AUTHORITY, Place};
use super::walk::Failure;
use super::{clean_up, names, purge, sweep};
use crate::cloud::{CloudError, Login, Session};
use crate::engine::EngineError;
use crate::model::desired::IdentityAccess;
use crate::report::event::Outcome;
use crate::report::{Event, Reporter};
use crate::store::{files, tls};
use prepare::Prepare;
use tally::Tally;

/// What a run is to do.
#[derive(Clone, Debug)]
pub struct Options {
    /// What the cloud should have.
    pub facts: super::Facts,
    /// The administrator.
    pub access: IdentityAccess,
    /// Where the authority's certificate lies.
    pub state: std::path::PathBuf,
    /// For the report.
    pub release: String,
    /// Name of the machine it runs on.
    pub machine: String,
    /// What servers boot from; needed where there is Nova.
    pub guest: Option<super::Guest>,
    /// Which tests.
    pub regex: String,
    /// How many at a time.
    pub concurrency: u32,
    /// Leave what was made for the tests where it is. The next run removes it.
    pub keep: bool,
    /// Where they run.
    pub place: Place,
}

/// Why nothing could begin.
#[derive(Debug, thiserror::Error)]
pub enum TempestError {
    /// The cloud.
    #[error(transparent)]
    Cloud(#[from] CloudError),
    /// The engine.
    #[error(transparent)]
    Engine(#[from] EngineError),
}

/// Runs. Fails only if nothing could begin: all else is in the report.
pub async fn run(
    options: &Options,
    reporter: Arc<dyn Reporter>,
    cancel: &CancellationToken,
) -> Result<Report, TempestError> {
    let began = Instant::now();
    let now = Timestamp::now();
    let seconds = u64::try_from(now.as_second()).unwrap_or_default();
    let login = Login::administrator(&options.access, &options.facts.region);
    let admin = Session::open(&options.state, &login).await?;
    let is_leftover = |name: &str| names::is_leftover(name, &options.machine, seconds);
    // A test that still runs would make things as fast as they are deleted.
    options.place.sweep(is_leftover).await?;
    let purge = purge::Purge { admin: &admin, login: &login, reporter: reporter.as_ref() };
    sweep(&purge, is_leftover, reporter.as_ref()).await?;

    let name = names::tempest_name(&options.machine, seconds);
    let deployment = options.place.deployment.to_string();
    reporter.on(Event::Phase { title: format!("Tempest against {deployment} as {name}"), total: None });
    let outcome = Box::pin(tests(options, &admin, &login, &name, reporter.as_ref(), cancel)).await;
    let mut tally = outcome.unwrap_or_else(|failure| Tally::broken(failure.0));
    let interrupted = cancel.is_cancelled();
    // What breaks off after an interruption does so because of it.
    let broken = tally.broken.take().filter(|_| !interrupted);
    let cleanup = if options.keep {
        Ok(format!("kept: project {name}"))
    } else {
        clean_up(&purge, &name, reporter.as_ref()).await.0
    };
    Ok(Report {
        deployment,
        release: options.release.clone(),
        name,
        began_at: now.to_string(),
        regex: options.regex.clone(),
        tests: tally.reports(),
        broken,
        interrupted,
        cleanup,
        took: began.elapsed(),
    })
}

/// Prepares the cloud, and runs the tests.
async fn tests(
    options: &Options,
    admin: &Session,
    login: &Login,
    name: &str,
    reporter: &dyn Reporter,
    cancel: &CancellationToken,
) -> Result<Tally, Failure> {
    let Options { facts, access, state, guest, regex, concurrency, place, .. } = options;
    let prepare = Prepare { facts, guest: guest.as_ref(), admin, login, name, reporter };
    let secure = access.url.starts_with("https:");
    let authority = if secure { files::read_optional(&tls::ca_path(state))? } else { None };
    let began = Instant::now();
    let key = "prepare".to_owned();
    let title = "images, flavors, what the cloud can do".to_owned();
    reporter.on(Event::Started { key: key.clone(), host: None, title });
    let prefix = names::tempest_prefix(name).unwrap_or_default();
    let found = tokio::select! {
        found = prepare.everything(prefix, secure.then(|| AUTHORITY.to_owned())) => found,
        () = cancel.cancelled() => return Ok(Tally::default()),
    };
    let outcome = found.as_ref().err().map_or(Outcome::Done, |failure| Outcome::Failed(failure.0.clone()));
    reporter.on(Event::Finished { key, outcome, took: began.elapsed() });
    let conf = conf::conf(&found?, access);
    let job = container::Job { name, conf: &conf, authority, regex, concurrency: *concurrency };
    container::run(place, &job, reporter, cancel).await
}
