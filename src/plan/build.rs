//! Turns decisions into steps: which calls, and what each of them must wait for.

use std::collections::{BTreeMap, BTreeSet};

use super::cause::Cause;
use super::decide::Decision;
use super::document::Change;
use super::draft::{Act, Class, Draft, Drafts, Key};
use super::hazard::HazardKind;
use super::scene::{Scene, Seen};
use super::step::{Action, ExitRule, Mark, Step, Target, Undo};
use super::traffic::Balancer;
use super::{cutover, fingerprint};
use crate::model::spec::{MountSource, Side};
use crate::model::{
    ContainerSpec, Generation, HostName, Role, ServiceName, SetName, Slot, SpecHash, SpecRecord, TaskPhase,
};

/// Seconds of grace for a container whose label cannot be read.
pub(super) const DEFAULT_GRACE: u32 = 10;
/// Seconds for a task that a newer one replaces, when its label cannot be read.
const DEFAULT_TASK_DEADLINE: u32 = 600;

/// One slot's part of the plan.
#[derive(Debug)]
pub(super) struct Work<'a> {
    /// What it should be; none when it should not be.
    pub spec: Option<(&'a ContainerSpec, SpecHash)>,
    /// Of which ports that is.
    pub side: Side,
    /// Whether it serves beside its predecessor before that is stopped.
    pub overlaps: bool,
    pub set: SetName,
    pub service: ServiceName,
    pub decision: Decision<'a>,
}

/// Returns why a task of this phase cannot be undone; none when it is safe to repeat and only adds.
pub(super) fn irreversible(phase: TaskPhase) -> Option<&'static str> {
    match phase {
        TaskPhase::Validate
        | TaskPhase::Bootstrap
        | TaskPhase::Check
        | TaskPhase::Expand
        | TaskPhase::Backup
        | TaskPhase::Rehearse
        | TaskPhase::Copy
        | TaskPhase::StandIn
        | TaskPhase::Return
        | TaskPhase::Settle => None,
        TaskPhase::Restore => Some("what was written since is lost"),
        TaskPhase::Contract => Some("the older release cannot use its database afterwards"),
        TaskPhase::OnlineMigrations => {
            Some("rows are rewritten in a form that the older release may not read")
        }
    }
}

/// Returns what a person agrees to where such a task runs.
pub(super) fn irreversible_kind(phase: TaskPhase) -> HazardKind {
    if phase == TaskPhase::Restore { HazardKind::DataLoss } else { HazardKind::Irreversible }
}

/// Returns the engine name of a container.
pub(super) fn engine_name(scene: &Scene<'_>, slot: &Slot, generation: Generation) -> String {
    format!("{}-{}-{generation}", scene.desired.deployment, slot.container)
}

/// Returns a container as the target of a step.
pub(super) fn existing(seen: &Seen<'_>) -> Target {
    Target::Existing { id: seen.container.id.clone(), name: seen.container.name.clone() }
}

/// Returns the spec that a container was made from, if its label can be read.
pub(super) fn record_of(seen: &Seen<'_>) -> Option<SpecRecord> {
    serde_json::from_str(&seen.labels.spec).ok()
}

/// Returns the seconds a container may take to stop: its own, not its successor's.
pub(super) fn grace_of(seen: &Seen<'_>) -> u32 {
    record_of(seen).map_or(DEFAULT_GRACE, |record| record.stop.grace)
}

/// Returns the volumes that steps create or remove.
pub(super) fn touched_volumes(steps: &[Step]) -> BTreeSet<(&HostName, &str)> {
    steps
        .iter()
        .filter_map(|step| match (&step.host, &step.action) {
            (Some(host), Action::CreateVolume { volume } | Action::RemoveVolume { volume }) => {
                Some((host, volume.as_str()))
            }
            (Some(_) | None, _) => None,
        })
        .collect()
}

/// Collects the steps of one plan.
#[derive(Debug)]
pub(super) struct Builder<'s, 'a> {
    pub(super) scene: &'s Scene<'a>,
    pub(super) generation: Generation,
    pub(super) drafts: Drafts,
    pub(super) balancers: Vec<Balancer>,
}

impl<'s, 'a> Builder<'s, 'a> {
    pub(super) fn new(scene: &'s Scene<'a>, generation: Generation) -> Self {
        Self { scene, generation, drafts: Drafts::default(), balancers: Vec::new() }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.drafts.is_empty()
    }

    pub(super) fn key(&self, class: Class, set: &SetName, slot: &Slot, act: Act, name: &str) -> Key {
        Key { class, rank: self.scene.rank(set), slot: Some(slot.clone()), act, name: name.to_owned() }
    }

    pub(super) fn set_key(&self, class: Class, set: &SetName, act: Act) -> Key {
        Key { class, rank: self.scene.rank(set), slot: None, act, name: set.to_string() }
    }

    /// Returns the name of the container that serves in the end.
    pub(super) fn successor_name(&self, slot: &Slot, decision: &Decision<'_>) -> String {
        decision
            .successor
            .map_or_else(|| engine_name(self.scene, slot, self.generation), |s| s.container.name.clone())
    }

    /// The step after which a slot can be relied upon; it exists only when the slot changes.
    pub(super) fn ready_key(&self, work: &BTreeMap<Slot, Work<'_>>, slot: &Slot) -> Option<Key> {
        let item = work.get(slot).filter(|item| item.spec.is_some())?;
        let name = self.successor_name(slot, &item.decision);
        Some(self.key(Class::Work, &item.set, slot, Act::Ready, &name))
    }

    /// Missing volumes of the slots that are part of this plan.
    pub(super) fn volumes(&mut self, work: &BTreeMap<Slot, Work<'_>>) {
        let scene = self.scene;
        let mut wanted: BTreeSet<(HostName, String)> = BTreeSet::new();
        for (slot, item) in work {
            for mount in item.spec.iter().flat_map(|(spec, _)| &spec.mounts) {
                if let MountSource::Volume(volume) = &mount.source {
                    wanted.insert((slot.host.clone(), scene.volume_name(volume)));
                }
            }
        }
        if scene.options.selection.is_everything() && !scene.options.purpose.is_tasks_alone() {
            for (host, volume) in &scene.desired.volumes {
                wanted.insert((host.clone(), scene.volume_name(volume)));
            }
        }
        for (host, name) in wanted {
            if !scene.has_volume(&host, &name) {
                let draft = Draft {
                    deps: BTreeSet::new(),
                    host: Some(host.clone()),
                    slot: None,
                    set: None,
                    action: Action::CreateVolume { volume: name.clone() },
                    cause: Cause::NoVolume,
                    undo: Undo::Nothing,
                };
                self.drafts.add(volume_key(&host, &name), draft);
            }
        }
    }

    /// Every slot's own steps, then what binds slots to each other.
    pub(super) fn slots(&mut self, work: &BTreeMap<Slot, Work<'_>>) {
        self.balancers = self.balancers(work);
        for (slot, item) in work {
            self.discard(slot, item);
            match &item.spec {
                Some((spec, hash)) => self.desired_slot(slot, item, spec, hash),
                None => self.undesired_slot(slot, item),
            }
            self.retire(slot, item);
        }
        self.launch_order(work);
        self.swap_order(work);
        self.ways_back(work);
        self.last_of_all(work);
        self.removals(work);
        self.sets(work);
        self.stand_by(work);
        self.restore_order(work);
        let ready = |slot: &Slot, work| self.ready_key(work, slot);
        let mut bound = cutover::bind(self.scene, work, ready);
        bound.extend(cutover::look_first(work, ready));
        for (slot, set, on) in bound {
            for key in self.slot_keys(&set, &slot, &[Act::Stop, Act::Start]) {
                self.drafts.depend(&key, on.clone());
            }
        }
    }

    pub(super) fn slot_keys(&self, set: &SetName, slot: &Slot, acts: &[Act]) -> Vec<Key> {
        let keys = self.drafts.of_slot(Class::Work, self.scene.rank(set), slot);
        keys.filter(|key| acts.contains(&key.act)).cloned().collect()
    }

    fn step(
        &mut self,
        key: Key,
        slot: &Slot,
        set: &SetName,
        action: Action,
        cause: Cause,
        undo: Undo,
        deps: impl IntoIterator<Item = Key>,
    ) {
        let draft = Draft {
            deps: deps.into_iter().collect(),
            host: Some(slot.host.clone()),
            slot: Some(slot.clone()),
            set: Some(set.clone()),
            action,
            cause,
            undo,
        };
        self.drafts.add(key, draft);
    }

    /// What an earlier run left and never started.
    fn discard(&mut self, slot: &Slot, item: &Work<'_>) {
        for (seen, cause) in &item.decision.discard {
            let key = self.key(Class::Discard, &item.set, slot, Act::Remove, &seen.container.name);
            let action = Action::RemoveContainer { container: existing(seen) };
            self.step(key, slot, &item.set, action, cause.clone(), Undo::Nothing, []);
        }
    }

    /// What its successor replaced, once the whole set is proven.
    fn retire(&mut self, slot: &Slot, item: &Work<'_>) {
        let proven = self.set_key(Class::Work, &item.set, Act::Proven);
        for seen in &item.decision.retire {
            let key = self.key(Class::Retire, &item.set, slot, Act::Remove, &seen.container.name);
            let cause = match item.spec {
                Some(_) => Cause::Superseded { generation: seen.generation() },
                None => Cause::NotDesired,
            };
            let action = Action::RemoveContainer { container: existing(seen) };
            self.step(key, slot, &item.set, action, cause, Undo::Nothing, [proven.clone()]);
        }
    }

    fn desired_slot(&mut self, slot: &Slot, item: &Work<'_>, spec: &ContainerSpec, hash: &SpecHash) {
        let Work { set, decision, side, overlaps, .. } = item;
        let Some(cause) = decision.cause.clone() else { return };
        let name = self.successor_name(slot, decision);
        let (makes, starts, restarts) = match decision.change {
            Change::Keep | Change::Clean | Change::Stop | Change::Remove => return,
            Change::Create | Change::Replace | Change::Run => (true, true, false),
            Change::Start => (false, true, false),
            Change::Restart => (false, true, true),
            Change::Prove | Change::Await => (false, false, false),
        };
        let target =
            decision.successor.as_ref().map_or_else(|| Target::Made { name: name.clone() }, existing);
        let create = self.key(Class::Stage, set, slot, Act::Create, &name);
        let upload = self.key(Class::Stage, set, slot, Act::Upload, &name);
        let start = self.key(Class::Work, set, slot, Act::Start, &name);
        let ready = self.key(Class::Work, set, slot, Act::Ready, &name);
        let staged = self.set_key(Class::Stage, set, Act::Mark);
        if makes {
            let volumes = self.scene.volumes_of(slot);
            let volumes: Vec<Key> = volumes.iter().map(|volume| volume_key(&slot.host, volume)).collect();
            let action = Action::CreateContainer { name: name.clone(), spec: hash.clone() };
            let undo = Undo::Step(Action::RemoveContainer { container: target.clone() });
            self.step(create.clone(), slot, set, action, cause.clone(), undo, volumes);
            let action =
                Action::UploadConfig { container: target.clone(), side: *side, files: spec.files.len() };
            self.step(upload.clone(), slot, set, action, cause.clone(), Undo::Nothing, [create]);
        }
        let mut before_start = vec![upload];
        for seen in &decision.outlast {
            let key = self.key(Class::Work, set, slot, Act::Await, &seen.container.name);
            let action = Action::AwaitExit {
                container: existing(seen),
                deadline: task_deadline(seen),
                accept: ExitRule::Any,
            };
            let cause = Cause::TaskRunning { generation: seen.generation() };
            self.step(key.clone(), slot, set, action, cause, Undo::Nothing, []);
            before_start.push(key);
        }
        for seen in &decision.give_way {
            let key = self.key(Class::Work, set, slot, Act::Stop, &seen.container.name);
            let action =
                Action::StopContainer { container: existing(seen), grace: grace_of(seen), freeze: false };
            self.step(key.clone(), slot, set, action, cause.clone(), Undo::Nothing, [staged.clone()]);
            before_start.push(key);
        }
        before_start.extend(self.open(slot, item, &cause));
        let soaks = self.scene.soaks(spec, decision);
        let steady = self.key(Class::Work, set, slot, Act::Steady, &name);
        let before_stop: Vec<Key> = if *overlaps {
            let proof = if soaks { &steady } else { &ready };
            let drained = self.drain(slot, item, &cause, proof);
            drained.into_iter().chain([proof.clone(), staged]).collect()
        } else {
            vec![staged]
        };
        let stopped = decision.stop.iter().chain(decision.successor.iter().filter(|_| restarts));
        for seen in stopped {
            let key = self.key(Class::Work, set, slot, Act::Stop, &seen.container.name);
            let container = existing(seen);
            let kept = self.scene.options.freeze && self.scene.keeps(seen);
            let freeze = *overlaps && kept && self.scene.can_freeze(slot);
            let undo = Undo::Step(Action::StartContainer { container: container.clone(), thaw: freeze });
            let action = Action::StopContainer { container, grace: grace_of(seen), freeze };
            self.step(key.clone(), slot, set, action, cause.clone(), undo, before_stop.clone());
            if !overlaps {
                before_start.push(key);
            }
        }
        if starts {
            let undo = start_undo(spec, &target, decision);
            let seen = decision.successor.filter(|_| !restarts).map(|seen| seen.container.state);
            let action = Action::start(target.clone(), seen);
            self.step(start.clone(), slot, set, action, cause.clone(), undo, before_start.clone());
        }
        if soaks {
            let (container, seconds) = (target.clone(), self.scene.options.soak);
            let action = Action::AwaitSteady { container, seconds, check: self.scene.check(spec) };
            self.step(steady, slot, set, action, cause.clone(), Undo::Nothing, [ready.clone()]);
        }
        let action = match &spec.role {
            Role::Service { .. } => Action::AwaitHealthy { container: target, check: self.scene.check(spec) },
            Role::Task { deadline, .. } => {
                Action::AwaitExit { container: target, deadline: *deadline, accept: ExitRule::Success }
            }
        };
        let deps = before_start.into_iter().chain([start]);
        self.step(ready, slot, set, action, cause, Undo::Nothing, deps);
    }

    fn undesired_slot(&mut self, slot: &Slot, item: &Work<'_>) {
        for seen in &item.decision.stop {
            let key = self.key(Class::Work, &item.set, slot, Act::Stop, &seen.container.name);
            let container = existing(seen);
            let undo = Undo::Step(Action::StartContainer { container: container.clone(), thaw: false });
            let action = Action::StopContainer { container, grace: grace_of(seen), freeze: false };
            self.step(key, slot, &item.set, action, Cause::NotDesired, undo, []);
        }
        for seen in &item.decision.outlast {
            let key = self.key(Class::Work, &item.set, slot, Act::Await, &seen.container.name);
            let container = existing(seen);
            let action =
                Action::AwaitExit { container, deadline: task_deadline(seen), accept: ExitRule::Any };
            self.step(key, slot, &item.set, action, Cause::NotDesired, Undo::Nothing, []);
        }
    }

    /// The two points of each set: all staged, all proven.
    fn sets(&mut self, work: &BTreeMap<Slot, Work<'_>>) {
        let changing: BTreeSet<&SetName> = work
            .values()
            .filter(|item| !matches!(item.decision.change, Change::Keep | Change::Clean))
            .map(|item| &item.set)
            .collect();
        for set in changing {
            let rank = self.scene.rank(set);
            let mut uploads = BTreeSet::new();
            let mut ends = BTreeSet::new();
            let mut stops = false;
            for key in self.drafts.keys().filter(|key| {
                key.rank == rank
                    && key.slot.as_ref().is_some_and(|slot| work.get(slot).is_some_and(|w| w.set == *set))
            }) {
                match (key.class, key.act) {
                    (Class::Stage, Act::Upload) => {
                        uploads.insert(key.clone());
                    }
                    (Class::Work, act) => {
                        stops |= act == Act::Stop;
                        ends.insert(key.clone());
                    }
                    (
                        Class::Begin
                        | Class::Volume
                        | Class::Discard
                        | Class::Stage
                        | Class::Retire
                        | Class::End,
                        _,
                    ) => {}
                }
            }
            if stops && !uploads.is_empty() {
                let key = self.set_key(Class::Stage, set, Act::Mark);
                self.milestone(key, set, Action::Staged, uploads);
            }
            let key = self.set_key(Class::Work, set, Act::Proven);
            self.milestone(key, set, Action::Proven, ends);
        }
    }

    /// Once everything serves, what is kept of programs that can stand by comes up to its work: not before, since it takes the
    /// processor's time, which the change itself is waiting for.
    fn stand_by(&mut self, work: &BTreeMap<Slot, Work<'_>>) {
        let proven: Vec<Key> = self.drafts.keys().filter(|key| key.act == Act::Proven).cloned().collect();
        for (slot, item) in work {
            for seen in item.decision.stop.iter().filter(|seen| self.scene.prepares(seen)) {
                let key = self.key(Class::Retire, &item.set, slot, Act::StandBy, &seen.container.name);
                let action = Action::StandBy { container: existing(seen), grace: grace_of(seen) };
                let undo = Undo::Step(Action::StopContainer {
                    container: existing(seen),
                    grace: grace_of(seen),
                    freeze: false,
                });
                let cause = Cause::StandsBy;
                self.step(key, slot, &item.set, action, cause, undo, proven.clone());
            }
        }
    }

    fn milestone(&mut self, key: Key, set: &SetName, action: Action, deps: BTreeSet<Key>) {
        let (set, cause) = (Some(set.clone()), Cause::Together);
        self.drafts.add(key, Draft { deps, host: None, slot: None, set, action, cause, undo: Undo::Nothing });
    }

    /// Keystone is told what it should know once it serves, and before anything starts that needs to be known.
    pub(super) fn registration(&mut self, work: &BTreeMap<Slot, Work<'_>>) {
        let Some(access) = &self.scene.desired.identity.access else { return };
        let first = self.scene.observed.ledger.as_ref().is_none_or(|ledger| ledger.identity.is_none());
        let set = access.after.iter().find_map(|slot| work.get(slot)).map(|item| item.set.clone());
        let rank = set.as_ref().map_or(usize::MAX, |set| self.scene.rank(set));
        let key = Key { class: Class::Work, rank, slot: None, act: Act::Register, name: String::new() };
        let deps: BTreeSet<Key> = access.after.iter().filter_map(|slot| self.ready_key(work, slot)).collect();
        let action = Action::Register { identity: fingerprint::identity(&self.scene.desired.identity) };
        let cause = Cause::Identity { first };
        let draft =
            Draft { deps, host: None, slot: None, set: set.clone(), action, cause, undo: Undo::Nothing };
        self.drafts.add(key.clone(), draft);
        if let Some(set) = &set {
            let proven = self.set_key(Class::Work, set, Act::Proven);
            self.drafts.depend(&proven, key.clone());
        }
        // What leads up to Keystone cannot wait for what Keystone is told.
        let mut before: BTreeSet<&Slot> = BTreeSet::new();
        let mut queue: Vec<&Slot> = access.after.iter().collect();
        while let Some(slot) = queue.pop() {
            if before.insert(slot)
                && let Some(spec) = self.scene.desired.containers.get(slot)
            {
                queue.extend(&spec.after);
            }
        }
        for (slot, item) in work {
            let Some((spec, _)) = &item.spec else { continue };
            if !before.contains(slot) && spec.after.iter().any(|after| access.after.contains(after)) {
                for start in self.slot_keys(&item.set, slot, self.acts_after(spec)) {
                    self.drafts.depend(&start, key.clone());
                }
            }
        }
    }

    /// Flavors and networks are made when every set of the plan is proven: any service may be asked for them.
    pub(super) fn furnishing(&mut self) {
        let first = self.scene.observed.ledger.as_ref().is_none_or(|ledger| ledger.cloud.is_none());
        let key =
            Key { class: Class::Work, rank: usize::MAX, slot: None, act: Act::Furnish, name: String::new() };
        let deps: BTreeSet<Key> = self
            .drafts
            .keys()
            .filter(|key| matches!(key.act, Act::Proven | Act::Register))
            .cloned()
            .collect();
        let action = Action::Furnish { cloud: fingerprint::cloud(&self.scene.desired.cloud) };
        let cause = Cause::Offer { first, what: self.scene.desired.cloud.names() };
        self.drafts
            .add(key, Draft { deps, host: None, slot: None, set: None, action, cause, undo: Undo::Nothing });
    }

    /// A plan whose only act is to write down that the deployment is whole.
    pub(super) fn history_alone(&mut self) {
        self.marks();
    }

    fn marks(&mut self) {
        let all: Vec<Key> = self.drafts.keys().cloned().collect();
        let hosts: Vec<HostName> = self.scene.observed.hosts.keys().cloned().collect();
        for host in hosts {
            for (class, mark) in [(Class::Begin, Mark::Begin), (Class::End, Mark::End)] {
                let key = mark_key(class, &host);
                let draft = Draft {
                    deps: BTreeSet::new(),
                    host: Some(host.clone()),
                    slot: None,
                    set: None,
                    action: Action::WriteGeneration { mark },
                    cause: Cause::History,
                    undo: Undo::Nothing,
                };
                self.drafts.add(key, draft);
            }
        }
        let hosts: Vec<&HostName> = self.scene.observed.hosts.keys().collect();
        for host in &hosts {
            let (begin, end) = (mark_key(Class::Begin, host), mark_key(Class::End, host));
            for key in &all {
                self.drafts.depend(key, begin.clone());
                self.drafts.depend(&end, key.clone());
            }
            for other in &hosts {
                self.drafts.depend(&end, mark_key(Class::Begin, other));
            }
        }
    }

    pub(super) fn finish(mut self) -> Result<Vec<Step>, Vec<Slot>> {
        if !self.drafts.is_empty() && !self.drafts.keys().any(|key| key.class == Class::Begin) {
            self.marks();
        }
        self.drafts.number()
    }
}

fn volume_key(host: &HostName, name: &str) -> Key {
    Key { class: Class::Volume, rank: 0, slot: None, act: Act::Volume, name: format!("{host}/{name}") }
}

fn mark_key(class: Class, host: &HostName) -> Key {
    Key { class, rank: 0, slot: None, act: Act::Mark, name: host.to_string() }
}

fn task_deadline(seen: &Seen<'_>) -> u32 {
    match record_of(seen).map(|record| record.role) {
        Some(Role::Task { deadline, .. }) => deadline,
        Some(Role::Service { .. }) | None => DEFAULT_TASK_DEADLINE,
    }
}

/// How a start is taken back.
fn start_undo(spec: &ContainerSpec, target: &Target, decision: &Decision<'_>) -> Undo {
    match &spec.role {
        Role::Task { phase, .. } => match irreversible(*phase) {
            Some(reason) => Undo::Impossible(reason.to_owned()),
            // What it added stays; running it again is harmless.
            None => Undo::Nothing,
        },
        // It ran before: stopping it would not be what it was.
        Role::Service { .. } if decision.change == Change::Restart && decision.fallback.is_none() => {
            Undo::Nothing
        }
        Role::Service { .. } => Undo::Step(Action::StopContainer {
            container: target.clone(),
            grace: spec.stop.grace,
            freeze: false,
        }),
    }
}
