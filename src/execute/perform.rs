//! One step, one call. An arm decides nothing: what it needs is in the plan, the desired state, or an earlier answer.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures::StreamExt;

use super::{Environment, StepError, findings};
use crate::build::INIT_BINARY;
use crate::engine::{
    CreateRequest, Engine, EngineError, EngineErrorKind, EngineResult, ExecRequest, LogOptions, archive,
};
use crate::journal::GenerationRecord;
use crate::model::labels::{self, LabelRole, Labels};
use crate::model::{
    CheckSpec, ContainerId, ContainerState, Desired, HostName, ObservedContainer, Role, RunId, Slot,
    SpecHash, TaskPhase,
};
use crate::plan::{Action, ExitRule, Plan, Step, Target};
use crate::store::ledger;

/// Lines of a failed container's log that are shown without being asked.
const TAIL: u64 = 20;
/// Lines of a look at config files that are read when it fails: it says one for each option.
const FINDINGS: u64 = 500;
/// How long an engine may be gone (it restarts, the network breaks) before that is a failure.
const ABSENCE: Duration = Duration::from_secs(30);
/// Time between two questions to an engine that is gone: nothing tells when it is back.
const ASK_AGAIN: Duration = Duration::from_millis(250);
/// How long an engine may take to notice that a container's process has ended.
const DYING: Duration = Duration::from_secs(5);
/// Codes of a program that an engine could not start in a container; what it says of it are the engine's own words.
const NOT_BEGUN: [i64; 2] = [126, 127];
/// What a balancer's command says where a server has requests left after the time that it was given.
const STILL_BUSY: &str = "busy";
/// What a check may take beyond its own deadline before the engine itself is suspected.
const SLACK: Duration = Duration::from_secs(15);

/// What steps of one run share.
#[derive(Debug)]
pub(super) struct Work<'a> {
    pub environment: &'a Environment,
    pub plan: &'a Plan,
    pub desired: &'a Desired,
    pub run: RunId,
    /// Ids of the containers that this run made, by host and engine name.
    made: Mutex<BTreeMap<(HostName, String), ContainerId>>,
    /// Slots whose predecessors had not answered all their requests when a balancer's patience was over.
    busy: Mutex<BTreeSet<Slot>>,
}

impl<'a> Work<'a> {
    pub(super) fn new(
        environment: &'a Environment,
        plan: &'a Plan,
        desired: &'a Desired,
        run: RunId,
    ) -> Self {
        Self { environment, plan, desired, run, made: Mutex::default(), busy: Mutex::default() }
    }

    /// Returns the engine of a host.
    pub(super) fn engine(&self, host: &HostName) -> Result<Arc<dyn Engine>, StepError> {
        self.environment.engines.get(host).cloned().ok_or_else(|| fail(format!("host {host} has no engine")))
    }

    /// Returns a container's id; its name is unique on its host, so the engine can always be asked.
    pub(super) async fn id(&self, host: &HostName, target: &Target) -> Result<ContainerId, StepError> {
        if let Some(id) = target.id() {
            return Ok(id.clone());
        }
        let key = (host.clone(), target.name().to_owned());
        let known = self.made.lock().unwrap_or_else(PoisonError::into_inner).get(&key).cloned();
        match known {
            Some(id) => Ok(id),
            None => Ok(self.engine(host)?.container(target.name()).await?.id),
        }
    }

    fn remember(&self, host: &HostName, name: &str, id: ContainerId) {
        self.made.lock().unwrap_or_else(PoisonError::into_inner).insert((host.clone(), name.to_owned()), id);
    }

    /// Carries out one step. `record` is what goes into the ledger.
    pub(super) async fn perform(
        &self,
        step: &Step,
        record: Option<&GenerationRecord>,
        note: &(dyn Fn(String) + Send + Sync),
    ) -> Result<(), StepError> {
        match &step.action {
            Action::Staged | Action::Proven => Ok(()),
            Action::Register { .. } => {
                let changed = self
                    .environment
                    .registrar
                    .register(&self.desired.identity)
                    .await
                    .map_err(|e| self.said(&e))?;
                note(format!("{} changes in Keystone", changed.len()));
                Ok(())
            }
            Action::Furnish { .. } => {
                let changed = self
                    .environment
                    .registrar
                    .furnish(&self.desired.identity, &self.desired.cloud)
                    .await
                    .map_err(|e| self.said(&e))?;
                note(format!("{} flavors and networks made or changed", changed.len()));
                Ok(())
            }
            Action::WriteGeneration { .. } => {
                let (host, Some(record)) = (Self::host(step)?, record) else { return Ok(()) };
                Ok(ledger::write(self.engine(host)?.as_ref(), &self.plan.deployment, record).await?)
            }
            action => {
                let host = Self::host(step)?;
                let engine = self.engine(host)?;
                self.act(engine.as_ref(), host, step.slot.as_ref(), action, note).await
            }
        }
    }

    fn host(step: &Step) -> Result<&HostName, StepError> {
        step.host.as_ref().ok_or_else(|| fail(format!("step {} names no host", step.id)))
    }

    /// One call to an engine: of a plan's step, or of its undo.
    pub(super) async fn act(
        &self,
        engine: &dyn Engine,
        host: &HostName,
        slot: Option<&Slot>,
        action: &Action,
        note: &(dyn Fn(String) + Send + Sync),
    ) -> Result<(), StepError> {
        match action {
            Action::CreateVolume { volume } => {
                let short =
                    volume.strip_prefix(&format!("{}_", self.plan.deployment)).unwrap_or(volume).to_owned();
                let labels: BTreeMap<String, String> = [
                    (labels::DEPLOYMENT.to_owned(), self.plan.deployment.to_string()),
                    (labels::VOLUME.to_owned(), short),
                ]
                .into();
                Ok(again(engine, || engine.create_volume(volume, &labels)).await?)
            }
            Action::RemoveVolume { volume } => Ok(again(engine, || engine.remove_volume(volume)).await?),
            Action::CreateContainer { name, spec } => {
                let slot = slot.ok_or_else(|| fail(format!("{name} has no slot")))?;
                let id = self.create(engine, name, slot, spec).await?;
                self.remember(host, name, id);
                Ok(())
            }
            Action::UploadConfig { container, side, .. } => {
                let slot = slot.ok_or_else(|| fail(format!("{container} has no slot")))?;
                let spec = self
                    .desired
                    .form(slot, *side)
                    .ok_or_else(|| fail(format!("{slot} is not in the profile")))?;
                let packed = archive::config(&spec.files, INIT_BINARY)
                    .map_err(|e| fail(format!("config of {slot}: {e}")))?;
                let id = self.id(host, container).await?;
                Ok(again(engine, || engine.upload(&id, packed.clone())).await?)
            }
            Action::StartContainer { container, thaw } => {
                let id = self.id(host, container).await?;
                if container.id().is_some() && self.may_stand_by(slot) {
                    self.stand_by(engine, &id, false).await?;
                }
                if *thaw {
                    match self.thaw(engine, &id).await {
                        // What is frozen for an engine that was killed meanwhile may be neither alive nor dead: it begins anew.
                        Err(error)
                            if matches!(error.kind, EngineErrorKind::Failed | EngineErrorKind::Conflict) =>
                        {
                            note(format!("{}; it is started anew", error.message));
                            again(engine, || engine.stop(&id, DYING)).await?;
                        }
                        outcome => return Ok(outcome?),
                    }
                }
                if container.id().is_some() {
                    // It may have been frozen, when the machine was not to start it by itself.
                    again(engine, || engine.restarts(&id, true)).await?;
                }
                Ok(again(engine, || engine.start(&id)).await?)
            }
            Action::OpenServer { balancer, server } => {
                self.tell(engine, host, balancer, &["open", server]).await.map(|_| ())
            }
            Action::DrainServer { balancer, server, grace } => {
                note(format!("up to {grace} s for requests under way"));
                let said = self.tell(engine, host, balancer, &["drain", server, &grace.to_string()]).await?;
                if let Some(slot) = slot.filter(|_| said.trim() == STILL_BUSY) {
                    self.busy.lock().unwrap_or_else(PoisonError::into_inner).insert(slot.clone());
                }
                Ok(())
            }
            Action::StopContainer { container, grace, freeze } => {
                let id = self.id(host, container).await?;
                // What is in the middle of a request may hold a lock in the database, and its client waits.
                let busy = slot.is_some_and(|slot| {
                    self.busy.lock().unwrap_or_else(PoisonError::into_inner).contains(slot)
                });
                if *freeze && !busy {
                    match again(engine, || engine.freeze(&id)).await {
                        Ok(()) => return Ok(again(engine, || engine.restarts(&id, false)).await?),
                        // A kernel may not get all of its processes to stand still in the time that its runtime allows (seen once on
                        // two busy cores with cgroup 1: "unable to freeze"). It is kept all the same: stopped.
                        Err(error) if error.kind == EngineErrorKind::Failed => {
                            note(format!("{}; it is stopped", error.message));
                        }
                        Err(error) => return Err(error.into()),
                    }
                }
                note(format!("up to {grace} s to end by itself"));
                Ok(again(engine, || engine.stop(&id, Duration::from_secs(u64::from(*grace)))).await?)
            }
            Action::StandBy { container, grace } => {
                let id = self.id(host, container).await?;
                let Err(error) = self.prepare(engine, &id, container.name(), note).await else {
                    return Ok(());
                };
                note(format!("{}; it is kept stopped", error.message));
                Ok(again(engine, || engine.stop(&id, Duration::from_secs(u64::from(*grace)))).await?)
            }
            Action::EndLeft { container, cgroup } => {
                let holder = again(engine, || engine.container(container.name())).await?;
                self.end_left(engine, host, &holder, cgroup).await
            }
            Action::RemoveContainer { container } => match self.id(host, container).await {
                Ok(id) => Ok(again(engine, || engine.remove(&id, true)).await?),
                // Only an id is missing: the container is gone, or was never made.
                Err(_) => match engine.container(container.name()).await {
                    Ok(there) => Ok(again(engine, || engine.remove(&there.id, true)).await?),
                    Err(error) if error.kind == EngineErrorKind::NotFound => Ok(()),
                    Err(error) => Err(error.into()),
                },
            },
            Action::AwaitHealthy { container, check } => {
                let id = self.id(host, container).await?;
                if let Some(check) = check {
                    note(format!("waits for {}", check.targets.join(", ")));
                }
                self.healthy(engine, &id, container.name(), check.as_ref()).await
            }
            Action::AwaitSteady { container, seconds, check } => {
                let id = self.id(host, container).await?;
                note(format!("must stay well for {seconds} s"));
                self.steady(engine, &id, container.name(), *seconds, check.as_ref()).await
            }
            Action::AwaitExit { container, deadline, accept } => {
                let id = self.id(host, container).await?;
                note(format!("runs, up to {deadline} s"));
                let ended = self.ended(engine, &id, container.name(), *deadline, *accept).await;
                match (ended, slot) {
                    (Err(error), Some(slot)) => Err(self.findings(engine, &id, slot).await.unwrap_or(error)),
                    (ended, _) => ended,
                }
            }
            Action::Register { .. }
            | Action::Furnish { .. }
            | Action::WriteGeneration { .. }
            | Action::Staged
            | Action::Proven => Ok(()),
        }
    }

    /// Tells a balancer about a server, by the command that it was declared with, and returns what that says. One that does not run
    /// sends nobody anything.
    async fn tell(
        &self,
        engine: &dyn Engine,
        host: &HostName,
        balancer: &Target,
        words: &[&str],
    ) -> Result<String, StepError> {
        let name = balancer.name();
        let there = match again(engine, || engine.container(name)).await {
            Ok(there) if there.state == ContainerState::Running => there,
            Err(error) if error.kind != EngineErrorKind::NotFound => return Err(error.into()),
            Ok(_) | Err(_) => return Ok(String::new()),
        };
        let labels = there.slot_labels.as_ref();
        let declared = labels.and_then(|labels| {
            let slot = Slot { host: host.clone(), container: labels.container.clone() };
            self.desired.balancers.get(&slot)
        });
        let command =
            declared.ok_or_else(|| fail(format!("{name} is no balancer")))?.iter().map(String::as_str);
        let command = command.chain(words.iter().copied()).map(str::to_owned).collect();
        let request = ExecRequest { command, ..ExecRequest::default() };
        let outcome = again(engine, || engine.exec(&there.id, &request)).await?;
        if outcome.code == 0 {
            return Ok(String::from_utf8_lossy(&outcome.stdout).into_owned());
        }
        let said = [outcome.stdout, outcome.stderr].concat();
        let said = self.environment.redactor.redact(String::from_utf8_lossy(&said).trim()).into_owned();
        Err(fail(format!("{name} did not {}: {said}", words.join(" "))))
    }

    async fn create(
        &self,
        engine: &dyn Engine,
        name: &str,
        slot: &Slot,
        hash: &SpecHash,
    ) -> Result<ContainerId, StepError> {
        let (side, spec) = self
            .desired
            .by_hash(slot, hash)
            .ok_or_else(|| fail(format!("{slot} is not what the plan was made for")))?;
        let record = spec.record(&self.desired.init_digest);
        let generation =
            self.plan.generation.ok_or_else(|| fail("the plan makes no generation".to_owned()))?;
        let role = match spec.role {
            Role::Service { .. } => LabelRole::Service,
            Role::Task { .. } => LabelRole::Task,
        };
        let labels = Labels {
            deployment: self.plan.deployment.clone(),
            role,
            host: slot.host.clone(),
            set: spec.set.clone(),
            service: spec.service.clone(),
            container: slot.container.clone(),
            generation,
            spec_hash: hash.clone(),
            spec: record.canonical(),
            release: self.plan.release.clone(),
            run: self.run.clone(),
            side,
        };
        let request = CreateRequest::Spec {
            name: name.to_owned(),
            spec,
            deployment: &self.plan.deployment,
            labels: labels.to_map(),
            beside: None,
        };
        let error = match engine.create(&request).await {
            Ok(id) => return Ok(id),
            Err(error) => error,
        };
        // Whether it was made is unknown, or an answer was lost and the request came twice: the name tells, since names
        // are never reused, and the label tells that it is this run's.
        let lost = is_ambiguous(&error);
        if (lost && is_back(engine).await) || error.kind == EngineErrorKind::Conflict {
            return match engine.container(name).await {
                Ok(there) if self.is_ours(&there) => Ok(there.id),
                // The request never arrived.
                Err(missing) if lost && missing.kind == EngineErrorKind::NotFound => {
                    Ok(engine.create(&request).await?)
                }
                Ok(_) | Err(_) => Err(error.into()),
            };
        }
        Err(error.into())
    }

    /// Whether this run made a container, and nobody has started it.
    fn is_ours(&self, there: &ObservedContainer) -> bool {
        there.slot_labels.as_ref().is_some_and(|labels| labels.run == self.run)
            && there.state == ContainerState::Created
    }

    /// Waits until a container passes its check; it dying, or the deadline, ends the wait.
    pub(super) async fn healthy(
        &self,
        engine: &dyn Engine,
        id: &ContainerId,
        name: &str,
        check: Option<&CheckSpec>,
    ) -> Result<(), StepError> {
        let Some(check) = check else {
            let there = again(engine, || engine.container(&id.0)).await?;
            return if there.state == ContainerState::Running {
                Ok(())
            } else {
                Err(self.dead(engine, &there, name).await)
            };
        };
        let limit = Duration::from_secs(u64::from(check.deadline)) + SLACK;
        let ends = tokio::time::Instant::now() + limit;
        loop {
            let left = ends.saturating_duration_since(tokio::time::Instant::now());
            // A check that begins again (the engine was away) gets what is left of the deadline.
            let seconds = u32::try_from(left.saturating_sub(SLACK).as_secs()).unwrap_or(check.deadline);
            let command = check.argv(Some(seconds.clamp(1, check.deadline.max(1))));
            let request = ExecRequest { command, ..ExecRequest::default() };
            let outcome = tokio::select! {
                // In this order, so that the same run makes the same calls.
                biased;
                outcome = engine.exec(id, &request) => outcome.map(Some),
                ended = engine.wait(id) => ended.map(|_| None),
                () = tokio::time::sleep(left) => {
                    let tail = self.tail(engine, id).await;
                    return Err(fail(format!("{name}: its check did not end within {} s{tail}", limit.as_secs())));
                }
            };
            let error = match outcome {
                Ok(Some(outcome)) if outcome.code == 0 => return Ok(()),
                Ok(Some(outcome)) => {
                    let said = [outcome.stdout, outcome.stderr].concat();
                    if said.is_empty() || NOT_BEGUN.contains(&outcome.code) {
                        // A check that fails says why. One that says nothing was killed together with its container, and one
                        // that could not begin may have been: the engine may not have noticed the container's end yet.
                        let _ = tokio::time::timeout(DYING, engine.wait(id)).await;
                    }
                    let there = again(engine, || engine.container(&id.0)).await?;
                    if has_died(&there) {
                        return Err(self.dead(engine, &there, name).await);
                    }
                    let said =
                        self.environment.redactor.redact(String::from_utf8_lossy(&said).trim()).into_owned();
                    let tail = self.tail(engine, id).await;
                    return Err(fail(format!(
                        "{name} was not healthy within {} s; its last check said:\n  {said}{tail}",
                        check.deadline
                    )));
                }
                Ok(None) => {
                    let there = again(engine, || engine.container(&id.0)).await?;
                    return Err(self.dead(engine, &there, name).await);
                }
                Err(error) => error,
            };
            // An exec into a container that has just died is refused: the container tells why. An engine that was away
            // tells whether there is still something to wait for.
            let lost = is_ambiguous(&error);
            if lost && !is_back(engine).await {
                return Err(error.into());
            }
            match engine.container(&id.0).await {
                Ok(there) if has_died(&there) => return Err(self.dead(engine, &there, name).await),
                Ok(_) if lost => {}
                Ok(_) | Err(_) => return Err(error.into()),
            }
        }
    }

    /// Requires that a container neither ends nor is started again for a while, and passes its check after it.
    async fn steady(
        &self,
        engine: &dyn Engine,
        id: &ContainerId,
        name: &str,
        seconds: u32,
        check: Option<&CheckSpec>,
    ) -> Result<(), StepError> {
        let before = again(engine, || engine.container(&id.0)).await?;
        let ends = tokio::time::Instant::now() + Duration::from_secs(u64::from(seconds));
        loop {
            let over = tokio::select! {
                () = tokio::time::sleep_until(ends) => true,
                // An engine that is away ends the wait, too.
                _ = engine.wait(id) => false,
            };
            let there = again(engine, || engine.container(&id.0)).await?;
            if there.state != ContainerState::Running
                || (there.restart_count, &there.started_at) != (before.restart_count, &before.started_at)
            {
                let StepError { message } = self.dead(engine, &there, name).await;
                return Err(fail(format!("it was healthy, and then {message}")));
            }
            if over {
                return self.healthy(engine, id, name, check).await;
            }
        }
    }

    /// Waits until a task has ended, and judges its exit code.
    async fn ended(
        &self,
        engine: &dyn Engine,
        id: &ContainerId,
        name: &str,
        deadline: u32,
        accept: ExitRule,
    ) -> Result<(), StepError> {
        let limit = Duration::from_secs(u64::from(deadline));
        let Ok(ended) = tokio::time::timeout(limit, again(engine, || engine.wait(id))).await else {
            let tail = self.tail(engine, id).await;
            return Err(fail(format!("{name} did not end within {deadline} s{tail}")));
        };
        ended?;
        // The wait's own code is that of the process; a container that never started has one too. Its state has both.
        let there = again(engine, || engine.container(&id.0)).await?;
        match accept {
            ExitRule::Any => Ok(()),
            ExitRule::Success if there.exit_code == Some(0) && there.error.is_none() => Ok(()),
            ExitRule::Success => Err(self.dead(engine, &there, name).await),
        }
    }

    /// Describes a container that ended when it should not have: code, the engine's words, its own last words.
    async fn dead(&self, engine: &dyn Engine, there: &ObservedContainer, name: &str) -> StepError {
        let code = there.exit_code.map(|c| format!(" with code {c}")).unwrap_or_default();
        let oom = if there.oom_killed { ", killed for want of memory" } else { "" };
        let error = there
            .error
            .as_ref()
            .map(|e| format!(" ({})", self.environment.redactor.redact(e)))
            .unwrap_or_default();
        let tail = self.tail(engine, &there.id).await;
        fail(format!("{name} ended{code}{oom}{error}{tail}"))
    }

    /// Returns what a look at config files has found wrong with them, for a container that is such a look and failed by it.
    async fn findings(&self, engine: &dyn Engine, id: &ContainerId, slot: &Slot) -> Option<StepError> {
        let spec = self.desired.containers.get(slot)?;
        if !matches!(spec.role, Role::Task { phase: TaskPhase::Validate, .. }) {
            return None;
        }
        let said = self.log(engine, id, FINDINGS).await;
        findings::told(&said, &spec.image.reference, |container, path, option| {
            self.environment.origins.place(&slot.host, container, path, option)
        })
        .map(fail)
    }

    /// Returns the last lines of a container's log.
    async fn log(&self, engine: &dyn Engine, id: &ContainerId, lines: u64) -> String {
        let options = LogOptions { tail: Some(lines), ..LogOptions::default() };
        let mut bytes = Vec::new();
        let mut chunks = engine.logs(id, &options);
        while let Some(Ok(chunk)) = chunks.next().await {
            bytes.extend_from_slice(&chunk.bytes);
        }
        self.environment.redactor.redact_bytes(&bytes)
    }

    /// Returns the last lines of a container's log, ready to be appended to a message.
    pub(super) async fn tail(&self, engine: &dyn Engine, id: &ContainerId) -> String {
        let text = self.log(engine, id, TAIL).await;
        if text.trim().is_empty() {
            return "; its log is empty".to_owned();
        }
        let lines: Vec<String> = text.lines().map(|line| format!("  | {line}")).collect();
        format!("; its last lines:\n{}", lines.join("\n"))
    }

    fn said(&self, text: &str) -> StepError {
        fail(self.environment.redactor.redact(text).into_owned())
    }
}

pub(super) fn fail(message: String) -> StepError {
    StepError { message }
}

/// Whether a container that should serve has ended, or came back by its restart policy.
fn has_died(there: &ObservedContainer) -> bool {
    there.state != ContainerState::Running || there.restart_count > 0
}

/// Whether a request may have been carried out although no answer came.
fn is_ambiguous(error: &EngineError) -> bool {
    matches!(error.kind, EngineErrorKind::Unreachable | EngineErrorKind::Timeout)
}

/// Makes an idempotent call again when its answer was lost, once the engine is back: doing it twice is doing it once.
pub(super) async fn again<T, F, Fut>(engine: &dyn Engine, call: F) -> EngineResult<T>
where
    F: Fn() -> Fut,
    Fut: Future<Output = EngineResult<T>>,
{
    match call().await {
        Err(error) if is_ambiguous(&error) && is_back(engine).await => call().await,
        other => other,
    }
}

/// Waits until an engine answers again; false when it stays away.
async fn is_back(engine: &dyn Engine) -> bool {
    let asking = async {
        while engine.ping(ASK_AGAIN * 8).await.is_err() {
            tokio::time::sleep(ASK_AGAIN).await;
        }
    };
    tokio::time::timeout(ABSENCE, asking).await.is_ok()
}
