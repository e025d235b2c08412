//! An acceptance run: does this cloud do for a stranger what a cloud is for?
//!
//! A run makes a project and a user of its own, acts as that user through the public endpoints, and deletes everything
//! again. `steps` (pure) says what is shown and in which order, `walk` carries it out, `acts` knows how, `purge` deletes.
//! Whatever a run makes lies in its own project or carries its name, so a killed run is cleaned up by the next one.

mod acts;
mod facts;
mod junit;
mod names;
mod purge;
mod reach;
mod report;
pub mod resources;
mod scene;
mod steps;
pub mod tempest;
mod tool;
mod walk;
mod webdriver;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use rand::Rng as _;
use tokio_util::sync::CancellationToken;

pub use facts::Facts;
pub use report::{Report, StepReport, Verdict};
pub use scene::Guest;
pub use steps::{Choice, StepId, choose};
pub use tool::Place;

use crate::cloud::{CloudError, Login, Session};
use crate::model::Secret;
use crate::model::desired::IdentityAccess;
use crate::report::event::Outcome;
use crate::report::{Event, Reporter};
use scene::Scene;

/// What a run is to do.
#[derive(Clone, Debug)]
pub struct Options {
    /// What the cloud should have.
    pub facts: Facts,
    /// The administrator.
    pub access: IdentityAccess,
    /// Where the authority's certificate lies, and screenshots go.
    pub state: PathBuf,
    /// For the report.
    pub deployment: String,
    /// For the report.
    pub release: String,
    /// Name of the machine it runs on.
    pub machine: String,
    /// Which steps.
    pub choice: Choice,
    /// What servers boot from; needed when [`choose`] names [`StepId::Server`].
    pub guest: Option<Guest>,
    /// Where a browser runs; needed when [`choose`] names [`StepId::Browser`].
    pub browser: Option<Place>,
    /// Leave everything where it is at the end, for a look. The next run removes it.
    pub keep: bool,
}

/// Runs. Fails only if nothing could begin: all else is in the report.
pub async fn run(
    options: &Options,
    reporter: Arc<dyn Reporter>,
    cancel: &CancellationToken,
) -> Result<Report, CloudError> {
    let began = Instant::now();
    let now = Timestamp::now();
    let seconds = u64::try_from(now.as_second()).unwrap_or_default();
    let steps = choose(&options.facts, &options.choice);
    let login = Login::administrator(&options.access, &options.facts.region);
    let admin = Session::open(&options.state, &login).await?;
    let purge = purge::Purge { admin: &admin, login: &login, reporter: reporter.as_ref() };
    let is_leftover = |name: &str| names::is_leftover(name, &options.machine, seconds);
    sweep_browsers(options, is_leftover, reporter.as_ref()).await;
    sweep(&purge, is_leftover, reporter.as_ref()).await?;

    let name = names::run_name(&options.machine, seconds);
    reporter.on(Event::Phase {
        title: format!("verifying {} as {name}", options.deployment),
        total: Some(steps.len()),
    });
    let admin_of_scene = admin.other(&login).await?;
    let scene = Scene::new(options, admin_of_scene, name.clone(), password(), reporter.clone());
    let reports = walk::walk(&steps, &scene, reporter.as_ref(), cancel).await;

    // A step that was cut off could not remove its container.
    sweep_browsers(options, |container| container == name, reporter.as_ref()).await;
    let (cleanup, cleanup_took) = if options.keep {
        (Ok(format!("kept: project and user {name}")), Duration::ZERO)
    } else {
        clean_up(&purge, &name, reporter.as_ref()).await
    };
    Ok(Report {
        deployment: options.deployment.clone(),
        release: options.release.clone(),
        name,
        began_at: now.to_string(),
        steps: reports,
        cleanup,
        cleanup_took,
        took: began.elapsed(),
    })
}

/// Removes the containers of browsers.
async fn sweep_browsers(options: &Options, is_ours: impl Fn(&str) -> bool, reporter: &dyn Reporter) {
    let Some(place) = &options.browser else { return };
    if let Err(error) = place.sweep(is_ours).await {
        reporter.on(Event::Warning { message: format!("a browser's container may be left: {error}") });
    }
}

/// Deletes what dead runs left, and says so.
async fn sweep(
    purge: &purge::Purge<'_>,
    is_leftover: impl Fn(&str) -> bool,
    reporter: &dyn Reporter,
) -> Result<(), CloudError> {
    for leftover in purge.leftovers(is_leftover).await? {
        match purge.everything(&leftover).await {
            Ok(what) => {
                reporter.on(Event::Note { message: format!("a killed run left {leftover}: removed {what}") });
            }
            Err(failure) => {
                let message = format!("a killed run left {leftover}, which resists: {}", failure.0);
                reporter.on(Event::Warning { message });
            }
        }
    }
    Ok(())
}

/// Deletes everything of a run. Returns what that was, and how long it took.
async fn clean_up(
    purge: &purge::Purge<'_>,
    name: &str,
    reporter: &dyn Reporter,
) -> (Result<String, String>, Duration) {
    let cleaning = Instant::now();
    let key = "clean-up".to_owned();
    reporter.on(Event::Started { key: key.clone(), host: None, title: "clean-up".to_owned() });
    let outcome = purge_patiently(purge, name, reporter).await;
    let told = outcome.clone().map_or_else(Outcome::Failed, |_| Outcome::Done);
    reporter.on(Event::Finished { key, outcome: told, took: cleaning.elapsed() });
    (outcome, cleaning.elapsed())
}

/// A cloud that just failed may fail at this, too: deleting is tried again, and each failure is told.
async fn purge_patiently(
    purge: &purge::Purge<'_>,
    name: &str,
    reporter: &dyn Reporter,
) -> Result<String, String> {
    for _ in 1..PURGE_ATTEMPTS {
        match purge.everything(name).await {
            Ok(removed) => return Ok(removed),
            Err(walk::Failure(why)) => {
                reporter.on(Event::Warning { message: format!("clean-up, to be tried again: {why}") });
                tokio::time::sleep(Duration::from_secs(2)).await;
            }
        }
    }
    purge.everything(name).await.map_err(|failure| failure.0)
}

/// How often everything is tried to be deleted.
const PURGE_ATTEMPTS: usize = 3;

/// A password that lives as long as the run.
fn password() -> Secret {
    let mut rng = rand::rng();
    Secret::new((0..32).map(|_| char::from(rng.sample(rand::distr::Alphanumeric))).collect::<String>())
}

/// How long the removal of one kind of thing may take.
const PURGE_DEADLINE: Duration = Duration::from_mins(2);

#[cfg(test)]
mod tests;
