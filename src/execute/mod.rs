//! Carries out a plan: walks its graph, one call a step, written down before and after. Decides nothing.
//!
//! What fails is undone set by set (`unwind`); what a run did, and how long each part took, is its [`RunReport`].

mod findings;
mod generation;
mod keeping;
mod left;
mod perform;
mod progress;
mod report;
mod run;
mod unwind;

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use tokio_util::sync::CancellationToken;

use crate::engine::{Engine, EngineError};
use crate::model::cloud::Cloud;
use crate::model::desired::IdentitySpec;
use crate::model::{Availability, ContainerName, HostName, NameError};
use crate::report::Reporter;
use crate::store::journal_file::JournalError;
use crate::store::redact::Redactor;

pub use report::{Outcome, RunReport, SetOutcome, StepReport, empty_report};
pub use run::run;

/// Makes Keystone's catalogue and users what they should be.
#[async_trait]
pub trait Registrar: Send + Sync + Debug {
    /// Registers what differs and returns what it changed, as texts.
    async fn register(&self, identity: &IdentitySpec) -> Result<Vec<String>, String>;

    /// Makes the flavors and networks that differ and returns what it changed, as texts.
    async fn furnish(&self, identity: &IdentitySpec, cloud: &Cloud) -> Result<Vec<String>, String>;
}

/// Knows where a line of a config file was written.
pub trait Origins: Send + Sync + Debug {
    /// Returns `file:line` of an option (section, key) of a container's config file.
    fn place(
        &self,
        host: &HostName,
        container: &ContainerName,
        path: &str,
        option: (&str, &str),
    ) -> Option<String>;
}

/// Looks at the cloud from outside while a run changes it.
pub trait Watch: Send + Sync + Debug {
    /// Returns what it has seen so far, by API.
    fn seen(&self) -> BTreeMap<String, Availability>;
}

/// What a run works with.
#[derive(Clone, Debug)]
pub struct Environment {
    /// By host.
    pub engines: BTreeMap<HostName, Arc<dyn Engine>>,
    /// Who is told.
    pub reporter: Arc<dyn Reporter>,
    /// Cancelled: nothing new begins, and what is not proven is undone.
    pub cancel: CancellationToken,
    /// How long nothing may come to its end, before the run has failed ([`PROGRESS_DEADLINE`]).
    pub progress_deadline: Duration,
    /// For registration in Keystone.
    pub registrar: Arc<dyn Registrar>,
    /// For what containers say.
    pub redactor: Arc<Redactor>,
    /// For what containers say about options.
    pub origins: Arc<dyn Origins>,
    /// Who looks at the cloud from outside, where somebody does.
    pub watch: Option<Arc<dyn Watch>>,
    /// Fingerprint of the secrets that are used, for the generation's record.
    pub secrets: Option<String>,
    /// Where the journal goes.
    pub state: PathBuf,
    /// `user@host`.
    pub operator: String,
    /// Why, in the operator's words.
    pub message: String,
}

/// How long nothing may come to its end in a run, where nobody says otherwise. Checks have deadlines of their own, and so have tasks,
/// stops and drains, whose time does not count here.
pub const PROGRESS_DEADLINE: Duration = Duration::from_mins(10);

/// Why a run could not even begin, or cannot go on being written down.
#[derive(Debug, thiserror::Error)]
pub enum ExecuteError {
    /// The journal.
    #[error("the run cannot be written down")]
    Journal(#[from] JournalError),
    /// The run's own name breaks the rule of names.
    #[error("the run has no name")]
    RunId(#[from] NameError),
    /// A host of the plan has no engine.
    #[error("the plan has host {0}, which the profile has not")]
    UnknownHost(HostName),
}

/// Why a step failed.
#[derive(Clone, Debug)]
pub(crate) struct StepError {
    /// Complete, possibly several lines, without secrets.
    pub message: String,
}

impl From<EngineError> for StepError {
    fn from(error: EngineError) -> Self {
        Self { message: error.to_string() }
    }
}
