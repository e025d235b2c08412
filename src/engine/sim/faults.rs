//! Faults on purpose, and the record of what was asked.
//!
//! One [`Faults`] may be shared by several simulated engines: it stands for the deployer's side of the wire, so its
//! call numbers run over all of them and a kill is a kill for all of them.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::watch;

use crate::engine::EngineErrorKind;

/// What goes wrong with a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The connection breaks before the request arrives: nothing was done, the caller sees
    /// [`EngineErrorKind::Unreachable`].
    Before,
    /// The connection breaks after it was done: the caller sees [`EngineErrorKind::Unreachable`] all the same.
    After,
    /// The engine refuses it with this kind; nothing was done.
    Error(EngineErrorKind),
    /// Done, but the caller sees [`EngineErrorKind::Timeout`].
    Timeout,
    /// The deployer dies before the request leaves: this and every later call never return.
    KillBefore,
    /// The deployer dies after the engine did it and before the answer arrives.
    KillAfter,
    /// The request arrives twice; the caller sees the second answer.
    Repeat,
}

/// When a rule applies.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum When {
    /// The call with this number; the first is 1.
    Call(usize),
    /// Any call of this trait method (`create`, `start`, ...) whose subject contains the text.
    Matching {
        /// The method's name; empty for any.
        operation: String,
        /// Part of the container's, volume's or image's name; empty for any.
        subject: String,
    },
}

#[derive(Debug)]
struct Rule {
    when: When,
    fault: Fault,
    /// How often it still applies.
    left: usize,
}

/// One call as it arrived.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Call {
    /// From 1.
    pub number: usize,
    /// Which engine.
    pub endpoint: String,
    /// Name of the trait method.
    pub operation: &'static str,
    /// Name of the container, volume or image; empty where there is none.
    pub subject: String,
    /// Whether it changes something.
    pub mutating: bool,
    /// What was done to it.
    pub fault: Option<Fault>,
}

#[derive(Debug, Default)]
struct Plan {
    rules: Vec<Rule>,
    calls: Vec<Call>,
    mutations: usize,
    only_mutating: bool,
    /// Grows with each kill and each revival; odd while dead.
    epoch: u64,
}

/// Decides what happens to each call; cheap to clone, all clones are one.
#[derive(Clone, Debug)]
pub struct Faults {
    plan: Arc<Mutex<Plan>>,
    epoch: watch::Sender<u64>,
}

impl Default for Faults {
    fn default() -> Self {
        Self { plan: Arc::default(), epoch: watch::channel(0).0 }
    }
}

/// What the engine is to do with one call.
#[derive(Clone, Copy, Debug)]
pub(super) struct Admission {
    pub(super) fault: Option<Fault>,
    pub(super) epoch: u64,
}

impl Faults {
    /// Returns a plan without faults.
    pub fn none() -> Self {
        Self::default()
    }

    /// Counts only calls that change something: `When::Call(n)` is then the n-th change. For crash matrices.
    pub fn count_only_mutations(self) -> Self {
        self.lock().only_mutating = true;
        self
    }

    /// Does `fault` to the call with this number (from 1).
    pub fn at(&self, number: usize, fault: Fault) -> &Self {
        self.add(When::Call(number), fault, 1)
    }

    /// Does `fault` to the next call of `operation` whose subject contains `subject`.
    pub fn on(&self, operation: &str, subject: &str, fault: Fault) -> &Self {
        let when = When::Matching { operation: operation.to_owned(), subject: subject.to_owned() };
        self.add(when, fault, 1)
    }

    /// Does `fault` to the next `times` calls that match.
    pub fn add(&self, when: When, fault: Fault, times: usize) -> &Self {
        self.lock().rules.push(Rule { when, fault, left: times });
        self
    }

    /// Forgets all rules; the record of calls stays.
    pub fn clear(&self) {
        self.lock().rules.clear();
    }

    /// Returns every call so far, in order.
    pub fn calls(&self) -> Vec<Call> {
        self.lock().calls.clone()
    }

    /// Returns the calls that changed something as `operation subject`, in order.
    pub fn mutations(&self) -> Vec<String> {
        let plan = self.lock();
        plan.calls.iter().filter(|c| c.mutating).map(|c| format!("{} {}", c.operation, c.subject)).collect()
    }

    /// Forgets the record and counts from 1 again.
    pub fn forget_calls(&self) {
        let mut plan = self.lock();
        plan.calls.clear();
        plan.mutations = 0;
    }

    /// Kills the deployer now: calls in flight never return, nor do later ones until [`Faults::revive`].
    pub fn kill(&self) {
        self.set_dead(true);
    }

    /// Lets a new deployer call. Calls of the dead one stay unanswered for ever.
    pub fn revive(&self) {
        self.set_dead(false);
    }

    /// Returns whether the deployer is dead.
    pub fn is_dead(&self) -> bool {
        self.lock().epoch % 2 == 1
    }

    /// Completes when the deployer has been killed. Select on it, and drop the run.
    pub async fn killed(&self) {
        let mut epoch = self.epoch.subscribe();
        // The sender lives as long as `self`, so that waiting cannot fail.
        let _ = epoch.wait_for(|epoch| epoch % 2 == 1).await;
    }

    fn set_dead(&self, dead: bool) {
        let mut plan = self.lock();
        if (plan.epoch % 2 == 1) != dead {
            plan.epoch += 1;
            self.epoch.send_replace(plan.epoch);
        }
    }

    /// Records a call and says what is to become of it.
    pub(super) fn admit(&self, endpoint: &str, operation: &'static str, subject: &str) -> Admission {
        let mut plan = self.lock();
        let epoch = plan.epoch;
        if epoch % 2 == 1 {
            return Admission { fault: Some(Fault::KillBefore), epoch };
        }
        let mutating = mutates(operation);
        plan.mutations += usize::from(mutating);
        let number = plan.calls.len() + 1;
        let counted = match (plan.only_mutating, mutating) {
            (false, _) => number,
            (true, true) => plan.mutations,
            (true, false) => 0,
        };
        let matches = |when: &When| match when {
            When::Call(wanted) => *wanted == counted,
            When::Matching { operation: wanted, subject: part } => {
                (wanted.is_empty() || wanted == operation) && subject.contains(part.as_str())
            }
        };
        let rule = plan.rules.iter_mut().find(|rule| rule.left > 0 && matches(&rule.when));
        let fault = rule.map(|rule| {
            rule.left -= 1;
            rule.fault
        });
        plan.calls.push(Call {
            number,
            endpoint: endpoint.to_owned(),
            operation,
            subject: subject.to_owned(),
            mutating,
            fault,
        });
        Admission { fault, epoch }
    }

    /// Never returns if the deployer that made the call has died since.
    pub(super) async fn deliver(&self, admission: Admission) {
        if self.lock().epoch != admission.epoch {
            std::future::pending::<()>().await;
        }
    }

    fn lock(&self) -> MutexGuard<'_, Plan> {
        // A panicking test thread must not hide its own message behind a poisoned lock.
        self.plan.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Returns whether a trait method changes the engine's state.
fn mutates(operation: &str) -> bool {
    matches!(
        operation,
        "create"
            | "upload"
            | "start"
            | "stop"
            | "kill"
            | "remove"
            | "create_volume"
            | "remove_volume"
            | "pull"
            | "import_image"
            | "tag"
            | "remove_image"
            | "build"
    )
}
