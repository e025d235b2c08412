//! A complete engine in memory, with faults: for the crash matrix, for scenarios, and for trying Mastic out.
//!
//! It passes the same conformance suite as the real one. It is deterministic: ids are counted, time is tokio's (so that
//! `tokio::time::pause` makes hours pass at once), and nothing runs in the background.
//!
//! ```no_run
//! # async fn example() {
//! use mastic::engine::sim::{Behaviour, Fault, Faults, SimEngine};
//! let faults = Faults::none().count_only_mutations();
//! let engine = SimEngine::new("sim://local").with_faults(&faults);
//! engine.add_image("mastic/keystone:2026.1", &[("mastic.input-hash", "1")]);
//! engine.behave("keystone-api", Behaviour::crashes(1, &["no such table"]));
//! faults.at(7, Fault::KillAfter); // the deployer dies once the seventh change is done
//! tokio::select! {
//!     () = faults.killed() => {}
//!     // result = the_run(&engine) => ...
//! }
//! faults.revive(); // a new deployer takes over
//! # }
//! ```

mod container;
mod engine;
mod faults;
mod images;
mod script;
#[cfg(test)]
mod tests;
mod world;

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::Instant;

use crate::engine::archive::{Entry, Tree};
use crate::engine::{EngineError, EngineErrorKind, EngineResult, ExecOutcome, ExecRequest};
use crate::model::{ContainerId, ImageId};

pub use faults::{Call, Fault, Faults, When};
pub use script::{Behaviour, ProgramContext, Readiness};

use world::{Refusal, World};

/// The engine. Clones are the same engine, as two connections to one daemon are.
#[derive(Clone, Debug)]
pub struct SimEngine {
    endpoint: Arc<str>,
    born: Instant,
    latency: Duration,
    faults: Faults,
    world: Arc<Mutex<World>>,
    /// Counts changes; whoever waits for one subscribes.
    changes: watch::Sender<u64>,
}

impl SimEngine {
    /// Returns an empty engine.
    pub fn new(endpoint: &str) -> Self {
        Self {
            endpoint: endpoint.into(),
            born: Instant::now(),
            latency: Duration::ZERO,
            faults: Faults::none(),
            world: Arc::default(),
            changes: watch::channel(0).0,
        }
    }

    /// Shares this plan of faults, possibly with other engines.
    pub fn with_faults(mut self, faults: &Faults) -> Self {
        self.faults = faults.clone();
        self
    }

    /// Makes every call take this long.
    pub fn with_latency(mut self, latency: Duration) -> Self {
        self.latency = latency;
        self
    }

    /// Returns the plan of faults.
    pub fn faults(&self) -> &Faults {
        &self.faults
    }

    /// Gives every container whose name or image contains `part` this behaviour from its next start on.
    pub fn behave(&self, part: &str, behaviour: Behaviour) {
        self.change(|world| world.script.rule(part, behaviour));
    }

    /// Takes the behaviour for `part` back.
    pub fn behave_normally(&self, part: &str) {
        self.change(|world| world.script.forget_rule(part));
    }

    /// Adds a program: it says how a container behaves that no rule names, or `None` if it does not know either.
    pub fn add_program(
        &self,
        program: impl Fn(&ProgramContext<'_>) -> Option<Behaviour> + Send + Sync + 'static,
    ) {
        self.change(|world| world.script.program(Arc::new(program)));
    }

    /// Adds a program for execs: it says how one ends, or `None` if it does not know.
    pub fn add_exec(
        &self,
        program: impl Fn(&ProgramContext<'_>, &ExecRequest) -> Option<ExecOutcome> + Send + Sync + 'static,
    ) {
        self.change(|world| world.script.exec(Arc::new(program)));
    }

    /// Puts an image there, with one file that holds its name (so that its id differs from others').
    pub fn add_image(&self, reference: &str, labels: &[(&str, &str)]) -> ImageId {
        let files = [("/etc/image".to_owned(), Entry::file(reference.to_owned(), 0o644))].into();
        self.add_image_with(reference, labels, files)
    }

    /// Puts an image with these files there.
    pub fn add_image_with(&self, reference: &str, labels: &[(&str, &str)], files: Tree) -> ImageId {
        let labels = owned(labels);
        self.change(|world| world.add_image(&[reference.to_owned()], &labels, files))
    }

    /// Lets a pull find an image.
    pub fn add_remote_image(&self, reference: &str, labels: &[(&str, &str)]) {
        let files = [("/etc/image".to_owned(), Entry::file(reference.to_owned(), 0o644))].into();
        let labels = owned(labels);
        self.change(|world| world.registry.insert(reference.to_owned(), (labels, files)));
    }

    /// Returns the files of a volume, if there is such a volume: for assertions.
    pub fn volume_files(&self, name: &str) -> Option<Tree> {
        self.change(|world| world.volumes.get(name).map(|volume| volume.files.clone()))
    }

    /// Writes a file into a volume, as a process in a container would; for assertions that data survives.
    pub fn write_volume(&self, name: &str, path: &str, content: &str) {
        self.change(|world| {
            if let Some(volume) = world.volumes.get_mut(name) {
                volume.files.insert(path.to_owned(), Entry::file(content.to_owned(), 0o644));
            }
        });
    }

    /// Returns a file as a container sees it: for assertions.
    pub fn container_file(&self, id: &str, path: &str) -> Option<Entry> {
        self.change(|world| {
            let key = world.find(id).ok()?;
            world.containers.get(&key).and_then(|container| world.read(container, path))
        })
    }

    /// Returns the engine names of all containers, foreign ones included.
    pub fn names(&self) -> Vec<String> {
        let mut names: Vec<String> =
            self.change(|world| world.containers.values().map(|c| c.birth.name.clone()).collect());
        names.sort();
        names
    }

    /// Ends a container's process as a crash would, with its restart policy in force.
    pub fn crash(&self, id: &str, code: i64) {
        self.change(|world| {
            if let Ok(key) = world.find(id) {
                let now = world.now;
                let happened = world.containers.get_mut(&key).map(|c| c.crash(now, code));
                world.tell(&key, happened.unwrap_or_default());
            }
        });
    }

    /// Restarts the engine as without live-restore: everything stops, and services come back by their policy.
    pub fn restart_daemon(&self) {
        self.change(World::restart_daemon);
    }

    fn elapsed(&self) -> Duration {
        Instant::now().saturating_duration_since(self.born)
    }

    fn lock(&self) -> MutexGuard<'_, World> {
        // A panicking test thread must not hide its own message behind a poisoned lock.
        self.world.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Looks at, and perhaps changes, the world as it is now; then wakes who waits for changes.
    fn change<T>(&self, look: impl FnOnce(&mut World) -> T) -> T {
        let result = {
            let mut world = self.lock();
            world.settle(self.elapsed());
            look(&mut world)
        };
        self.changes.send_modify(|count| *count += 1);
        result
    }

    /// Waits until `look` returns something; looks again after each change and whenever something falls due.
    async fn until<T>(&self, mut look: impl FnMut(&mut World) -> Option<T>) -> T {
        let mut changes = self.changes.subscribe();
        loop {
            changes.mark_unchanged();
            let (found, due) = {
                let mut world = self.lock();
                world.settle(self.elapsed());
                (look(&mut world), world.next_due().map(|(at, _)| at))
            };
            if let Some(found) = found {
                return found;
            }
            let alarm = due.map(|at| self.born + at);
            tokio::select! {
                // The sender lives as long as `self`.
                _ = changes.changed() => {}
                () = sleep_until(alarm) => {}
            }
        }
    }

    fn error(&self, operation: &str, kind: EngineErrorKind, message: String) -> EngineError {
        EngineError { operation: operation.to_owned(), endpoint: self.endpoint.to_string(), kind, message }
    }

    /// Passes one call through the faults. `method` is the trait method's name, `subject` what it is about.
    async fn call<T, F>(
        &self,
        method: &'static str,
        subject: &str,
        operation: &str,
        mut body: impl FnMut() -> F + Send,
    ) -> EngineResult<T>
    where
        T: Send,
        F: Future<Output = Result<T, Refusal>> + Send,
    {
        // A real call always yields to others.
        if self.latency.is_zero() {
            tokio::task::yield_now().await;
        } else {
            tokio::time::sleep(self.latency).await;
        }
        let admission = self.faults.admit(&self.endpoint, method, subject);
        let failed = |(kind, message): Refusal| self.error(operation, kind, message);
        let lost = |kind, words: &str| Err(failed((kind, words.to_owned())));
        let answer = match admission.fault {
            None => body().await.map_err(failed),
            Some(Fault::Before) => lost(EngineErrorKind::Unreachable, "the connection was refused"),
            Some(Fault::Error(kind)) => lost(kind, "refused by the plan of faults"),
            Some(Fault::After) => {
                let _ = body().await;
                lost(EngineErrorKind::Unreachable, "the connection broke before the answer came")
            }
            Some(Fault::Timeout) => {
                let _ = body().await;
                lost(EngineErrorKind::Timeout, "no answer in time")
            }
            Some(Fault::KillBefore) => {
                self.faults.kill();
                std::future::pending().await
            }
            Some(Fault::KillAfter) => {
                let _ = body().await;
                self.faults.kill();
                std::future::pending().await
            }
            Some(Fault::Repeat) => {
                let _ = body().await;
                body().await.map_err(failed)
            }
        };
        self.faults.deliver(admission).await;
        answer
    }

    fn name_of(&self, id: &ContainerId) -> String {
        self.lock().name_of(&id.0)
    }
}

async fn sleep_until(at: Option<Instant>) {
    match at {
        Some(at) => tokio::time::sleep_until(at).await,
        None => std::future::pending().await,
    }
}

fn owned(labels: &[(&str, &str)]) -> BTreeMap<String, String> {
    labels.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
}
