//! What the steps of one run share: sessions, what was made so far, and how they wait.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;

use bytes::Bytes;
use futures::future::BoxFuture;

use super::acts;
use super::facts::Facts;
use super::steps::StepId;
use super::tool::Place;
use super::walk::{ActResult, Actor, Failure};
use crate::cloud::{Login, ProjectRef, Session};
use crate::model::Secret;
use crate::report::{Event, Reporter};

/// Between two looks at something that is under way: short at first, since most is quick.
const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(1);

/// What a server boots from.
#[derive(Clone, Debug)]
pub enum Guest {
    /// A kernel and an initramfs, with a blank disk beside them.
    Kernel {
        /// Linux.
        kernel: Bytes,
        /// cpio, compressed.
        initramfs: Bytes,
    },
    /// A disk.
    Disk {
        /// The image.
        bytes: Bytes,
        /// Glance's word for its format: `qcow2`, `raw`.
        format: &'static str,
    },
}

/// Everything of one run.
#[derive(Debug)]
pub struct Scene {
    pub(super) facts: Facts,
    pub(super) name: String,
    pub(super) state: PathBuf,
    pub(super) url: String,
    pub(super) password: Secret,
    pub(super) admin: Session,
    pub(super) guest: Option<Guest>,
    /// Where a browser runs.
    pub(super) browser: Option<Place>,
    pub(super) reporter: Arc<dyn Reporter>,
    pub(super) made: Made,
    seen: Mutex<BTreeMap<StepId, String>>,
}

/// What steps made, for those that stand on them.
#[derive(Debug, Default)]
pub(super) struct Made {
    pub(super) project: OnceLock<String>,
    pub(super) user: OnceLock<Session>,
    pub(super) image: OnceLock<String>,
    pub(super) flavor: OnceLock<String>,
    pub(super) net: OnceLock<Net>,
    pub(super) server: OnceLock<String>,
    pub(super) console: Mutex<String>,
    pub(super) floating: OnceLock<std::net::Ipv4Addr>,
    pub(super) volume: OnceLock<String>,
    pub(super) written: OnceLock<String>,
}

/// What the network step made.
#[derive(Clone, Debug)]
pub(super) struct Net {
    pub(super) external: Option<String>,
    pub(super) security_group: String,
    pub(super) port: String,
    pub(super) address: String,
}

/// One look at something that is under way.
#[derive(Debug)]
pub(super) enum Look<T> {
    /// It is there.
    There(T),
    /// Not yet; what it looks like now.
    NotYet(String),
}

impl Scene {
    /// Makes a scene; nothing is sent.
    pub(super) fn new(
        options: &super::Options,
        admin: Session,
        name: String,
        password: Secret,
        reporter: Arc<dyn Reporter>,
    ) -> Self {
        Self {
            facts: options.facts.clone(),
            name,
            state: options.state.clone(),
            url: options.access.url.clone(),
            password,
            admin,
            guest: options.guest.clone(),
            browser: options.browser.clone(),
            reporter,
            made: Made::default(),
            seen: Mutex::new(BTreeMap::new()),
        }
    }

    /// The login of the run's own user.
    pub(super) fn login(&self) -> Login {
        Login {
            url: self.url.clone(),
            user: self.name.clone(),
            password: self.password.clone(),
            project: ProjectRef::Name(self.name.clone()),
            region: self.facts.region.clone(),
        }
    }

    /// The session of the run's own user.
    pub(super) fn user(&self) -> Result<&Session, Failure> {
        made(&self.made.user, "session")
    }

    /// Says what a step sees now: shown while it runs, and when it is out of time.
    pub(super) fn saw(&self, step: StepId, what: impl Into<String>) {
        let what = what.into();
        let Ok(mut seen) = self.seen.lock() else { return };
        if seen.get(&step) == Some(&what) {
            return;
        }
        self.reporter.on(Event::Progress {
            key: step.name().to_owned(),
            message: what.clone(),
            amount: None,
        });
        seen.insert(step, what);
    }

    /// Looks again and again until it is there; the step's own deadline ends it. What fails is not tried again.
    pub(super) async fn until<T, F>(&self, step: StepId, mut look: impl FnMut() -> F) -> Result<T, Failure>
    where
        F: Future<Output = Result<Look<T>, Failure>>,
    {
        let mut pause = FIRST_PAUSE;
        loop {
            match look().await? {
                Look::There(value) => return Ok(value),
                Look::NotYet(what) => self.saw(step, what),
            }
            tokio::time::sleep(pause).await;
            pause = (pause * 3 / 2).min(LONGEST_PAUSE);
        }
    }
}

/// Returns what an earlier step made.
pub(super) fn made<'a, T>(cell: &'a OnceLock<T>, what: &str) -> Result<&'a T, Failure> {
    // The walk begins a step only after those that make this: to get here is a defect of ours.
    cell.get().ok_or_else(|| Failure(format!("no {what} was made by an earlier step; please report this")))
}

impl Actor for Scene {
    fn act(&self, step: StepId) -> BoxFuture<'_, ActResult> {
        match step {
            StepId::Project => Box::pin(acts::identity::project(self)),
            StepId::Token => Box::pin(acts::identity::token(self)),
            StepId::Refusals => Box::pin(acts::identity::refusals(self)),
            StepId::Resources => Box::pin(acts::compute::resources(self)),
            StepId::Image => Box::pin(acts::image::image(self)),
            StepId::Flavor => Box::pin(acts::compute::flavor(self)),
            StepId::Network => Box::pin(acts::network::network(self)),
            StepId::Server => Box::pin(acts::compute::server(self)),
            StepId::Console => Box::pin(acts::compute::console(self)),
            StepId::Dhcp => Box::pin(acts::compute::dhcp(self)),
            StepId::Metadata => Box::pin(acts::compute::metadata(self)),
            StepId::FloatingIp => Box::pin(acts::network::floating_ip(self)),
            StepId::Blocked => Box::pin(acts::network::blocked(self)),
            StepId::Ping => Box::pin(acts::network::ping(self)),
            StepId::Http => Box::pin(acts::network::http(self)),
            StepId::Volume => Box::pin(acts::volume::volume(self)),
            StepId::Attach => Box::pin(acts::volume::attach(self)),
            StepId::Detach => Box::pin(acts::volume::detach(self)),
            StepId::Reread => Box::pin(acts::volume::reread(self)),
            StepId::Snapshot => Box::pin(acts::volume::snapshot(self)),
            StepId::Backup => Box::pin(acts::volume::backup(self)),
            StepId::Stack => Box::pin(acts::stack::stack(self)),
            StepId::Object => Box::pin(acts::object::object(self)),
            StepId::Browser => Box::pin(acts::browser::browser(self)),
            StepId::Dashboard => Box::pin(acts::dashboard::dashboard(self)),
        }
    }

    fn last_seen(&self, step: StepId) -> Option<String> {
        self.seen.lock().ok()?.get(&step).cloned()
    }
}
