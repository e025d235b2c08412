//! One lock per deployment, taken on the engine, so that it holds between machines.
//!
//! Creating a container of a fixed name is atomic: of sixteen at once one succeeds. Its labels say who holds it. A
//! holder that is provably dead (same machine, same boot, process gone) loses it to the next run by itself.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use crate::engine::{CreateRequest, Engine, EngineError, EngineErrorKind};
use crate::model::labels::{self, LabelRole};
use crate::model::{ContainerId, DeploymentName, HostName};
use crate::store::inert;

const OWNER: &str = "mastic.lock.owner";
const MACHINE: &str = "mastic.lock.machine";
const BOOT: &str = "mastic.lock.boot";
const PID: &str = "mastic.lock.pid";
const STARTED: &str = "mastic.lock.process-started";
const SINCE: &str = "mastic.lock.since";
const MESSAGE: &str = "mastic.lock.message";

/// Why there is no lock.
#[derive(Debug, thiserror::Error)]
pub enum LockError {
    /// Somebody else holds it.
    #[error("{0}")]
    Held(Box<Claim>),
    /// The engine did not answer.
    #[error("the lock cannot be taken")]
    Engine(#[source] EngineError),
    /// The profile has no host.
    #[error("there is no host to take the lock on")]
    NoHost,
}

/// Who holds a lock, or wants to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Claim {
    /// `user@host`.
    pub owner: String,
    /// Host name of the machine the process runs on.
    pub machine: String,
    /// The kernel's id of that machine's boot.
    pub boot: String,
    /// Its process.
    pub pid: u32,
    /// When the process started, in the kernel's ticks since boot: tells it from a later one with the same pid.
    pub process_started: u64,
    /// RFC 3339.
    pub since: String,
    /// Why.
    pub message: String,
}

impl fmt::Display for Claim {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { owner, machine, boot: _, pid, process_started: _, since, message } = self;
        write!(f, "the lock of this deployment is held by {owner} (pid {pid} on {machine}) since {since}")?;
        if message.is_empty() { Ok(()) } else { write!(f, ": {message}") }
    }
}

impl Claim {
    /// Describes this process.
    pub fn of_this_process(owner: &str, message: &str) -> Self {
        let pid = std::process::id();
        Self {
            owner: owner.to_owned(),
            machine: machine(),
            boot: boot(),
            pid,
            process_started: process_started(pid).unwrap_or(0),
            since: jiff::Timestamp::now()
                .round(jiff::Unit::Second)
                .map(|t| t.to_string())
                .unwrap_or_default(),
            message: message.to_owned(),
        }
    }

    fn to_labels(&self, deployment: &DeploymentName) -> BTreeMap<String, String> {
        let Self { owner, machine, boot, pid, process_started, since, message } = self.clone();
        [
            (labels::DEPLOYMENT, deployment.to_string()),
            (labels::ROLE, LabelRole::Lock.as_str().to_owned()),
            (OWNER, owner),
            (MACHINE, machine),
            (BOOT, boot),
            (PID, pid.to_string()),
            (STARTED, process_started.to_string()),
            (SINCE, since),
            (MESSAGE, message),
        ]
        .into_iter()
        .map(|(key, value)| (key.to_owned(), value))
        .collect()
    }

    fn from_labels(labels: &BTreeMap<String, String>) -> Self {
        let get = |key: &str| labels.get(key).cloned().unwrap_or_default();
        Self {
            owner: get(OWNER),
            machine: get(MACHINE),
            boot: get(BOOT),
            pid: get(PID).parse().unwrap_or(0),
            process_started: get(STARTED).parse().unwrap_or(0),
            since: get(SINCE),
            message: get(MESSAGE),
        }
    }

    /// Returns whether its process is gone for certain: only this machine in this boot can say so.
    fn is_dead(&self) -> bool {
        self.machine == machine()
            && !self.machine.is_empty()
            && (self.boot != boot() || process_started(self.pid) != Some(self.process_started))
    }
}

fn machine() -> String {
    nix::unistd::gethostname().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default()
}

fn boot() -> String {
    fs_err::read_to_string("/proc/sys/kernel/random/boot_id").map(|t| t.trim().to_owned()).unwrap_or_default()
}

/// Returns field 22 of `/proc/PID/stat` (see proc(5)). The program's name before it may hold blanks and parentheses.
fn process_started(pid: u32) -> Option<u64> {
    let stat = fs_err::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let (_, rest) = stat.rsplit_once(')')?;
    // A zombie has ended: it only was not reaped yet.
    let mut fields = rest.split_whitespace();
    if matches!(fields.next()?, "Z" | "X") {
        return None;
    }
    fields.nth(18)?.parse().ok()
}

/// A lock that is held. Release it: dropping it leaves it for the next run to find.
#[derive(Debug)]
#[must_use = "a lock that is not released stays"]
pub struct Lock {
    engine: Arc<dyn Engine>,
    id: ContainerId,
    taken_over: Option<Claim>,
}

impl Lock {
    /// Says whose lock was taken over, since its process was dead.
    pub fn taken_over(&self) -> Option<String> {
        self.taken_over
            .as_ref()
            .map(|claim| format!("{claim}; that process is gone, its lock was taken over"))
    }

    /// Gives it back.
    pub async fn release(self) -> Result<(), EngineError> {
        self.engine.remove(&self.id, true).await
    }
}

/// The lock lives on the first host, by name: all runs agree on it.
fn home(engines: &BTreeMap<HostName, Arc<dyn Engine>>) -> Result<Arc<dyn Engine>, LockError> {
    engines.values().next().cloned().ok_or(LockError::NoHost)
}

fn name(deployment: &DeploymentName) -> String {
    format!("{deployment}.lock")
}

/// Takes the lock, or says who holds it.
pub async fn take(
    engines: &BTreeMap<HostName, Arc<dyn Engine>>,
    deployment: &DeploymentName,
    claim: &Claim,
) -> Result<Lock, LockError> {
    let engine = home(engines)?;
    inert::ensure(engine.as_ref()).await.map_err(LockError::Engine)?;
    let request = CreateRequest::Inert {
        name: name(deployment),
        image: inert::REFERENCE.to_owned(),
        labels: claim.to_labels(deployment),
        volume: None,
    };
    let mut taken_over = None;
    loop {
        match engine.create(&request).await {
            Ok(id) => return Ok(Lock { engine, id, taken_over }),
            Err(error) if error.kind == EngineErrorKind::Conflict => {}
            Err(error) => return Err(LockError::Engine(error)),
        }
        let there = match engine.container(&name(deployment)).await {
            Ok(there) => there,
            // It was released in between: try again.
            Err(error) if error.kind == EngineErrorKind::NotFound => continue,
            Err(error) => return Err(LockError::Engine(error)),
        };
        let holder = Claim::from_labels(&there.labels);
        if !holder.is_dead() {
            return Err(LockError::Held(Box::new(holder)));
        }
        // By id: if another run was quicker, this removes nothing of its.
        engine.remove(&there.id, true).await.map_err(LockError::Engine)?;
        taken_over = Some(holder);
    }
}

/// Returns who holds the lock, if anybody does.
pub async fn holder(
    engines: &BTreeMap<HostName, Arc<dyn Engine>>,
    deployment: &DeploymentName,
) -> Result<Option<Claim>, LockError> {
    let engine = home(engines)?;
    match engine.container(&name(deployment)).await {
        Ok(there) => Ok(Some(Claim::from_labels(&there.labels))),
        Err(error) if error.kind == EngineErrorKind::NotFound => Ok(None),
        Err(error) => Err(LockError::Engine(error)),
    }
}

/// Releases whatever lock there is.
pub async fn break_lock(
    engines: &BTreeMap<HostName, Arc<dyn Engine>>,
    deployment: &DeploymentName,
) -> Result<(), LockError> {
    let engine = home(engines)?;
    match engine.container(&name(deployment)).await {
        Ok(there) => engine.remove(&there.id, true).await.map_err(LockError::Engine),
        Err(error) if error.kind == EngineErrorKind::NotFound => Ok(()),
        Err(error) => Err(LockError::Engine(error)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::sim::SimEngine;

    fn engines() -> BTreeMap<HostName, Arc<dyn Engine>> {
        let engine: Arc<dyn Engine> = Arc::new(SimEngine::new("sim://a"));
        [(HostName::new("a").expect("a name"), engine)].into()
    }

    #[tokio::test]
    async fn the_second_must_learn_who_holds_it() {
        let engines = engines();
        let deployment = DeploymentName::new("d").expect("a name");
        let first = Claim::of_this_process("ann@here", "upgrading");
        let lock = take(&engines, &deployment, &first).await.expect("the first gets it");
        let error = take(&engines, &deployment, &Claim::of_this_process("bob@here", ""))
            .await
            .expect_err("it is held");
        assert!(error.to_string().contains("ann@here") && error.to_string().contains("upgrading"), "{error}");
        lock.release().await.expect("it can be released");
        let lock = take(&engines, &deployment, &first).await.expect("it is free again");
        assert_eq!(lock.taken_over(), None);
    }

    #[tokio::test]
    async fn a_dead_holders_lock_must_be_taken_over_and_a_strangers_must_not() {
        let engines = engines();
        let deployment = DeploymentName::new("d").expect("a name");
        let mut child = std::process::Command::new("true").spawn().expect("true can be started");
        let mut dead = Claim::of_this_process("ann@here", "killed");
        dead.pid = child.id();
        dead.process_started = 1;
        child.wait().expect("it ends");
        let _ = take(&engines, &deployment, &dead).await.expect("the lock is free");
        let lock =
            take(&engines, &deployment, &Claim::of_this_process("bob@here", "")).await.expect("taken over");
        assert!(lock.taken_over().is_some_and(|note| note.contains("killed")));
        lock.release().await.expect("it can be released");

        let elsewhere = Claim { machine: "another".to_owned(), ..dead };
        let _ = take(&engines, &deployment, &elsewhere).await.expect("the lock is free");
        take(&engines, &deployment, &Claim::of_this_process("bob@here", ""))
            .await
            .expect_err("nobody can tell");
        break_lock(&engines, &deployment).await.expect("it can be broken");
        assert_eq!(holder(&engines, &deployment).await.expect("asked"), None);
    }
}
