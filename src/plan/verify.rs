//! An independent checker of finished plans: it asks what a plan would do to the hosts, not how it came about.
//!
//! Shares no code with `reconcile`, always runs before a plan is carried out, and accepts no plan that it cannot follow.
//! What it finds is a defect of Mastic (or a damaged plan file), never a mistake of the operator.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use super::document::{Plan, Purpose};
use super::hazard::HazardKind;
use super::options::Volumes;
use super::step::{Action, Mark, Step, StepId, Target, Undo};
use crate::model::labels::{self, LabelRole};
use crate::model::spec::{Cutover, Side};
use crate::model::{
    ContainerSpec, ContainerState, Desired, HostName, Observed, ObservedContainer, Role, SetName, Slot,
    TaskPhase,
};

/// A rule that a plan breaks.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Violation {
    /// The step that breaks it; none when it is the plan as a whole.
    pub step: Option<StepId>,
    /// Which rule, as a word.
    pub rule: &'static str,
    /// What is wrong.
    pub text: String,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.step {
            Some(step) => write!(f, "{} ({step}): {}", self.rule, self.text),
            None => write!(f, "{}: {}", self.rule, self.text),
        }
    }
}

/// Checks a plan against what it was made from. All violations are reported, sorted.
pub fn verify(plan: &Plan, desired: &Desired, observed: &Observed) -> Result<(), Vec<Violation>> {
    let mut check = Check::new(plan, desired, observed);
    if check.numbering() {
        check.generation();
        check.targets();
        check.order_within_a_container();
        check.working_containers();
        check.one_active_container_a_slot();
        check.drained();
        check.launch_order();
        check.validated();
        check.removals();
        check.volumes();
        check.irreversible();
        check.restored();
        check.history();
    }
    let found = check.found;
    if found.is_empty() { Ok(()) } else { Err(found.into_iter().collect()) }
}

/// A container on a host, by engine name.
type Place<'a> = (&'a HostName, &'a str);

struct Check<'a> {
    plan: &'a Plan,
    desired: &'a Desired,
    observed: &'a Observed,
    there: BTreeMap<Place<'a>, &'a ObservedContainer>,
    /// By step index: the indices of all steps that are done before it.
    above: Vec<BTreeSet<usize>>,
    found: BTreeSet<Violation>,
}

fn place<'a>(step: &'a Step, target: &'a Target) -> Option<Place<'a>> {
    Some((step.host.as_ref()?, target.name()))
}

fn lives(container: &ObservedContainer) -> bool {
    matches!(container.state, ContainerState::Running | ContainerState::Restarting | ContainerState::Paused)
}

impl<'a> Check<'a> {
    fn new(plan: &'a Plan, desired: &'a Desired, observed: &'a Observed) -> Self {
        let there = observed
            .hosts
            .iter()
            .flat_map(|(host, seen)| seen.containers.iter().map(move |c| ((host, c.name.as_str()), c)))
            .collect();
        Self { plan, desired, observed, there, above: Vec::new(), found: BTreeSet::new() }
    }

    fn violation(&mut self, step: Option<&Step>, rule: &'static str, text: impl Into<String>) {
        self.found.insert(Violation { step: step.map(|s| s.id), rule, text: text.into() });
    }

    fn steps(&self) -> impl Iterator<Item = (usize, &'a Step)> + use<'a> {
        self.plan.steps.iter().enumerate()
    }

    fn is_before(&self, first: usize, second: usize) -> bool {
        self.above.get(second).is_some_and(|above| above.contains(&first))
    }

    /// Returns the steps that do something to one container, by the wanted kind of action.
    fn on(&self, at: Place<'a>, wanted: impl Fn(&Action) -> bool) -> Vec<usize> {
        self.steps()
            .filter(|(_, step)| {
                let made = matches!(&step.action, Action::CreateContainer { name, .. }
                    if step.host.as_ref() == Some(at.0) && name == at.1);
                let acts = step.action.target().and_then(|target| place(step, target)) == Some(at);
                (made || acts) && wanted(&step.action)
            })
            .map(|(index, _)| index)
            .collect()
    }

    /// The steps are numbered from 1, and wait only for smaller numbers: hence no cycle.
    fn numbering(&mut self) -> bool {
        let mut good = true;
        for (index, step) in self.steps() {
            if usize::try_from(step.id.0) != Ok(index + 1) {
                self.violation(Some(step), "numbering", format!("is the {}th step", index + 1));
                good = false;
            }
            let mut above = BTreeSet::new();
            for dep in &step.deps {
                let known = usize::try_from(dep.0).ok().and_then(|n| n.checked_sub(1)).filter(|d| *d < index);
                if let Some(dep) = known {
                    above.extend(self.above.get(dep).into_iter().flatten().copied());
                    above.insert(dep);
                } else {
                    let text = format!("waits for {dep}, which is not before it");
                    self.violation(Some(step), "acyclic", text);
                    good = false;
                }
            }
            self.above.push(above);
        }
        good
    }

    /// A plan that changes slots makes the next generation, and what it makes carries that number.
    fn generation(&mut self) {
        let number = self.plan.generation.map(crate::model::Generation::get);
        if number.is_some_and(|number| number <= self.observed.last_generation) {
            self.violation(None, "generation", "is not younger than the youngest there is");
        }
        if self.plan.is_empty() && number.is_some() {
            self.violation(None, "generation", "an empty plan makes one");
        }
        for (_, step) in self.steps() {
            let Action::CreateContainer { name, spec } = &step.action else { continue };
            let Some(slot) = &step.slot else {
                self.violation(Some(step), "slot", "a container is made for no slot");
                continue;
            };
            let expected = number.map(|n| format!("{}-{}-{n}", self.plan.deployment, slot.container));
            if expected.as_ref() != Some(name) {
                self.violation(Some(step), "name", format!("{name} is not of this generation and slot"));
            }
            if self.desired.by_hash(slot, spec).is_none() {
                self.violation(Some(step), "spec", format!("{slot} is not made from what the profile says"));
            }
        }
    }

    /// Nothing outside of the deployment is touched, and everything that is touched is there.
    fn targets(&mut self) {
        for (index, step) in self.steps() {
            if let Some(host) = &step.host
                && !self.observed.hosts.contains_key(host)
            {
                self.violation(Some(step), "host", format!("{host} was not observed"));
            }
            let Some(target) = step.action.target() else { continue };
            let Some(at) = place(step, target) else {
                self.violation(Some(step), "host", "names no host");
                continue;
            };
            match target {
                Target::Existing { id, .. } => {
                    let Some(there) = self.there.get(&at).copied() else {
                        self.violation(Some(step), "existing", format!("{target} is not on {}", at.0));
                        continue;
                    };
                    if there.id != *id {
                        self.violation(Some(step), "existing", format!("{target} has another id"));
                    }
                    let ours = there.labels.get(labels::DEPLOYMENT).map(String::as_str);
                    if ours != Some(self.plan.deployment.as_str()) {
                        self.violation(Some(step), "foreign", format!("{target} is not of this deployment"));
                    }
                }
                Target::Made { .. } => {
                    let created = self.on(at, |a| matches!(a, Action::CreateContainer { .. }));
                    if !created.iter().any(|made| self.is_before(*made, index)) {
                        self.violation(Some(step), "made", format!("{target} is not made before it"));
                    }
                }
            }
        }
    }

    /// Created, config in it, started, awaited; a stopped one is stopped before it is removed.
    fn order_within_a_container(&mut self) {
        for (index, step) in self.steps() {
            let Some(target) = step.action.target() else { continue };
            let Some(at) = place(step, target) else { continue };
            match &step.action {
                Action::StartContainer { .. } => {
                    let uploads = self.on(at, |a| matches!(a, Action::UploadConfig { .. }));
                    let fresh = matches!(target, Target::Made { .. });
                    if fresh && !uploads.iter().any(|upload| self.is_before(*upload, index)) {
                        self.violation(
                            Some(step),
                            "config",
                            format!("{target} starts before its config is in it"),
                        );
                    }
                    let waits = self.on(at, Action::is_wait);
                    if !waits.iter().any(|wait| self.is_before(index, *wait)) {
                        self.violation(Some(step), "awaited", format!("nobody waits for {target}"));
                    }
                }
                Action::RemoveContainer { .. } => {
                    let later = self.on(at, |a| !matches!(a, Action::RemoveContainer { .. }));
                    if later.iter().any(|other| !self.is_before(*other, index)) {
                        self.violation(
                            Some(step),
                            "removed",
                            format!("{target} goes while it is still needed"),
                        );
                    }
                }
                Action::WriteGeneration { .. }
                | Action::CreateVolume { .. }
                | Action::CreateContainer { .. }
                | Action::UploadConfig { .. }
                | Action::AwaitHealthy { .. }
                | Action::AwaitSteady { .. }
                | Action::AwaitExit { .. }
                | Action::OpenServer { .. }
                | Action::DrainServer { .. }
                | Action::StopContainer { .. }
                | Action::RemoveVolume { .. }
                | Action::Register { .. }
                | Action::Furnish { .. }
                | Action::Staged
                | Action::Proven => {}
            }
        }
    }

    /// A slot never loses a container that works before its successor is complete.
    fn working_containers(&mut self) {
        if !self.plan.purpose.reconciles() {
            return;
        }
        for (index, step) in self.steps() {
            let Action::StopContainer { container, .. } = &step.action else { continue };
            let (Some(slot), Some(at)) = (&step.slot, place(step, container)) else { continue };
            if !self.desired.containers.contains_key(slot) {
                continue;
            }
            let complete = self.steps().any(|(other, candidate)| {
                let Action::StartContainer { container: next } = &candidate.action else { return false };
                let Some(next_at) = place(candidate, next) else { return false };
                candidate.slot.as_ref() == Some(slot)
                    && self.is_before(index, other)
                    && match next {
                        Target::Made { .. } => self
                            .on(next_at, |a| matches!(a, Action::UploadConfig { .. }))
                            .iter()
                            .any(|upload| self.is_before(*upload, index)),
                        Target::Existing { .. } => self.there.contains_key(&next_at),
                    }
            });
            // Or its successor runs already, and is only waited for.
            let runs = self.steps().any(|(other, candidate)| {
                candidate.slot.as_ref() == Some(slot)
                    && matches!(candidate.action, Action::AwaitHealthy { .. })
                    && self.is_before(index, other)
                    && candidate
                        .action
                        .target()
                        .and_then(|t| place(candidate, t))
                        .is_some_and(|p| p != at && self.there.get(&p).is_some_and(|c| lives(c)))
            });
            if !complete && !runs && !self.proven_beside(slot, at, index) {
                self.violation(
                    Some(step),
                    "successor",
                    format!("{container} stops before its successor is complete"),
                );
            }
        }
    }

    /// Returns whether another container of the slot was found healthy before this step.
    fn proven_beside(&self, slot: &Slot, at: Place<'_>, index: usize) -> bool {
        self.steps().any(|(other, candidate)| {
            candidate.slot.as_ref() == Some(slot)
                && matches!(candidate.action, Action::AwaitHealthy { .. })
                && self.is_before(other, index)
                && candidate.action.target().and_then(|t| place(candidate, t)).is_some_and(|p| p != at)
        })
    }

    /// Of which ports a container is: of one that is there its label says it, of one that is made its spec.
    fn side(&self, slot: &Slot, at: Place<'_>) -> Option<Side> {
        if let Some(there) = self.there.get(&at) {
            return there.slot_labels.as_ref().map(|labels| labels.side);
        }
        let made = self.steps().find_map(|(_, step)| match &step.action {
            Action::CreateContainer { name, spec } if step.host.as_ref() == Some(at.0) && name == at.1 => {
                Some(spec)
            }
            _ => None,
        })?;
        self.desired.by_hash(slot, made).map(|(side, _)| side)
    }

    /// Returns whether a container may start beside a living one of its slot: it overlaps, on other ports or by taking the
    /// listening sockets over, and the other one is stopped once it was found healthy.
    fn may_overlap(&self, slot: &Slot, at: Place<'_>, rival: Place<'_>) -> bool {
        let declared = self.desired.containers.get(slot).map(|spec| &spec.role)
            == Some(&Role::Service { cutover: Cutover::Overlap });
        let apart = !self.desired.spares.contains_key(slot) || self.side(slot, at) != self.side(slot, rival);
        let stops = self.on(rival, |a| matches!(a, Action::StopContainer { .. }));
        declared && apart && stops.iter().any(|stop| self.proven_beside(slot, rival, *stop))
    }

    /// A container starts only once every other living one of its slot has stopped or ended, unless they overlap.
    fn one_active_container_a_slot(&mut self) {
        if !self.plan.purpose.reconciles() && self.plan.purpose != Purpose::Start {
            return;
        }
        for (index, step) in self.steps() {
            let Action::StartContainer { container } = &step.action else { continue };
            let (Some(slot), Some(at)) = (&step.slot, place(step, container)) else { continue };
            let rivals: Vec<Place<'a>> = self
                .there
                .iter()
                .filter(|((host, name), other)| {
                    **host == slot.host
                        && *name != at.1
                        && lives(other)
                        && other.slot_labels.as_ref().is_some_and(|l| l.container == slot.container)
                })
                .map(|(rival, _)| *rival)
                .collect();
            for rival in rivals {
                let ends =
                    self.on(rival, |a| matches!(a, Action::StopContainer { .. } | Action::AwaitExit { .. }));
                if !ends.iter().any(|end| self.is_before(*end, index)) && !self.may_overlap(slot, at, rival) {
                    self.violation(Some(step), "exclusive", format!("{container} starts beside {}", rival.1));
                }
            }
        }
    }

    /// What is stopped while its successor serves was drained first, at every balancer that stands.
    fn drained(&mut self) {
        if !self.plan.purpose.reconciles() {
            return;
        }
        for (index, step) in self.steps() {
            let Action::StopContainer { container, .. } = &step.action else { continue };
            let (Some(slot), Some(at)) = (&step.slot, place(step, container)) else { continue };
            if !self.desired.spares.contains_key(slot) || !self.proven_beside(slot, at, index) {
                continue;
            }
            let Some(side) = self.side(slot, at) else { continue };
            let standing: Vec<&HostName> = self
                .desired
                .balancers
                .keys()
                .filter(|balancer| {
                    self.there.iter().any(|((host, _), there)| {
                        **host == balancer.host
                            && there.state == ContainerState::Running
                            && there.slot_labels.as_ref().is_some_and(|l| l.container == balancer.container)
                    })
                })
                .map(|balancer| &balancer.host)
                .collect();
            for route in self.desired.routes.get(slot).into_iter().flatten() {
                for host in &standing {
                    let drained = self.steps().any(|(other, drain)| {
                        drain.host.as_ref() == Some(host)
                            && matches!(&drain.action, Action::DrainServer { server, .. } if server == route.server(side))
                            && self.is_before(other, index)
                    });
                    if !drained {
                        let text =
                            format!("{container} stops and {} was not drained on {host}", route.server(side));
                        self.violation(Some(step), "drained", text);
                    }
                }
            }
        }
    }

    /// What starts after another starts after it serves, or is done; and so its predecessor stops.
    fn launch_order(&mut self) {
        if !self.plan.purpose.reconciles() {
            return;
        }
        let mut waits: BTreeMap<&Slot, Vec<usize>> = BTreeMap::new();
        let mut starting: BTreeSet<&Slot> = BTreeSet::new();
        for (index, step) in self.steps() {
            let Some(slot) = &step.slot else { continue };
            match &step.action {
                action if action.is_wait() => waits.entry(slot).or_default().push(index),
                Action::StartContainer { .. } => {
                    starting.insert(slot);
                }
                _ => {}
            }
        }
        for (index, step) in self.steps() {
            let Some(slot) = &step.slot else { continue };
            // On the way back all of a service may stop before any of it starts; where data changes, all stops.
            let stops = matches!(step.action, Action::StopContainer { .. });
            if !matches!(step.action, Action::StartContainer { .. }) && !stops
                || stops && matches!(self.plan.purpose, Purpose::Rollback | Purpose::Return { .. })
            {
                continue;
            }
            let Some(spec) = self.desired.containers.get(slot) else { continue };
            if matches!(spec.role, Role::Task { phase: TaskPhase::Check | TaskPhase::Backup, .. }) {
                continue;
            }
            // There a project's parts change in the reverse order, too.
            let reversed = |after: &Slot| {
                let other = self.desired.containers.get(after);
                let of_project = |other: &ContainerSpec| {
                    !other.is_task() && (other.service == spec.service || other.image.id == spec.image.id)
                };
                self.plan.purpose == Purpose::Rollback && other.is_some_and(of_project)
            };
            for after in spec.after.iter().filter(|after| starting.contains(after) && !reversed(after)) {
                let ready =
                    waits.get(after).is_some_and(|w| w.iter().any(|wait| self.is_before(*wait, index)));
                if !ready {
                    self.violation(Some(step), "after", format!("{slot} does not wait for {after}"));
                }
            }
        }
    }

    /// Nothing starts or stops before every look at config has ended well.
    fn validated(&mut self) {
        if !self.plan.purpose.reconciles() {
            return;
        }
        let looks = |step: &Step| {
            let spec = step.slot.as_ref().and_then(|slot| self.desired.containers.get(slot));
            matches!(spec.map(|s| &s.role), Some(Role::Task { phase: TaskPhase::Validate, .. }))
        };
        let waits: Vec<usize> =
            self.steps().filter(|(_, step)| looks(step) && step.action.is_wait()).map(|(i, _)| i).collect();
        let acts = |step: &Step| {
            matches!(step.action, Action::StartContainer { .. } | Action::StopContainer { .. })
                && !looks(step)
        };
        let hasty: Vec<&Step> = self
            .steps()
            .filter(|(index, step)| acts(step) && waits.iter().any(|wait| !self.is_before(*wait, *index)))
            .map(|(_, step)| step)
            .collect();
        for step in hasty {
            self.violation(Some(step), "validated", "acts before all config was looked at");
        }
    }

    /// What served goes only once its whole set is proven; what never served may go at once.
    fn removals(&mut self) {
        if !self.plan.purpose.reconciles() {
            return;
        }
        for (index, step) in self.steps() {
            let Action::RemoveContainer { container } = &step.action else { continue };
            let Some(there) = place(step, container).and_then(|at| self.there.get(&at)) else { continue };
            let Some(slot_labels) = &there.slot_labels else {
                self.violation(Some(step), "foreign", format!("{container} is not of a slot"));
                continue;
            };
            let served = match slot_labels.role {
                LabelRole::Service => there.state == ContainerState::Exited || lives(there),
                LabelRole::Task => lives(there),
                LabelRole::Lock | LabelRole::Ledger | LabelRole::Tool => {
                    self.violation(Some(step), "foreign", format!("{container} is not of a slot"));
                    continue;
                }
            };
            if self.plan.purpose == Purpose::Commit && self.is_replaced(step, there) {
                continue;
            }
            let Some(set) = step.set.as_ref().filter(|_| served) else { continue };
            for (other, wait) in self.steps() {
                let of_set = wait.set.as_ref() == Some(set) && wait.action.is_wait();
                if of_set && !self.is_before(other, index) {
                    self.violation(
                        Some(step),
                        "proven",
                        format!("{container} goes before {} is proven", wait.action),
                    );
                }
            }
            self.proof(index, step, set);
        }
    }

    /// Returns whether a younger container of the same slot runs already, and this plan leaves it alone.
    fn is_replaced(&self, step: &Step, there: &ObservedContainer) -> bool {
        let (Some(host), Some(labels)) = (&step.host, &there.slot_labels) else { return false };
        self.there.iter().any(|((on, name), other)| {
            *on == host
                && other.state == ContainerState::Running
                && other
                    .slot_labels
                    .as_ref()
                    .is_some_and(|l| l.container == labels.container && l.generation > labels.generation)
                && self.on((on, name), |_| true).is_empty()
        })
    }

    /// A set has a point from which it is new, and it comes after all its waits.
    fn proof(&mut self, index: usize, step: &Step, set: &SetName) {
        let proven = self.steps().any(|(other, s)| {
            s.action == Action::Proven && s.set.as_ref() == Some(set) && self.is_before(other, index)
        });
        if !proven {
            self.violation(Some(step), "proven", format!("set {set} has no point from which it is new"));
        }
    }

    /// Volumes go only when a destroy names them; what a rehearsal has left needs no name.
    fn volumes(&mut self) {
        for (index, step) in self.steps() {
            let (volume, removes) = match &step.action {
                Action::RemoveVolume { volume } => (volume, true),
                Action::CreateVolume { volume } => (volume, false),
                _ => continue,
            };
            let Some(host) = &step.host else {
                self.violation(Some(step), "host", "names no host");
                continue;
            };
            let there = self
                .observed
                .hosts
                .get(host)
                .and_then(|seen| seen.volumes.iter().find(|v| v.name == *volume));
            if !removes {
                if there.is_some() {
                    self.violation(Some(step), "volume", format!("{volume} is there already"));
                }
                continue;
            }
            let named = match (&self.plan.purpose, there) {
                (Purpose::Destroy { .. }, Some(there)) if there.is_tool() => true,
                (Purpose::Destroy { volumes: Volumes::All }, Some(_)) => true,
                (Purpose::Destroy { volumes: Volumes::Named(names) }, Some(there)) => {
                    names.contains(volume)
                        || there.labels.get(labels::VOLUME).is_some_and(|short| names.contains(short))
                }
                (Purpose::Destroy { .. } | Purpose::Stop | Purpose::Start, _) => false,
                (
                    Purpose::Deploy
                    | Purpose::Upgrade
                    | Purpose::Rollback
                    | Purpose::Commit
                    | Purpose::Backup
                    | Purpose::Rehearse
                    | Purpose::Restore
                    | Purpose::Return { .. },
                    _,
                ) => false,
            };
            if !named {
                self.violation(Some(step), "data", format!("volume {volume} goes and nobody named it"));
            }
            for (other, removal) in self.steps() {
                let container_of_host = removal.host.as_ref() == Some(host)
                    && matches!(removal.action, Action::RemoveContainer { .. });
                if container_of_host && !self.is_before(other, index) {
                    self.violation(Some(step), "data", format!("{volume} goes before {}", removal.action));
                }
            }
        }
    }

    /// What cannot be undone is a hazard that a person is asked about.
    fn irreversible(&mut self) {
        for (_, step) in self.steps() {
            let kind = match (&step.action, &step.undo) {
                (Action::RemoveVolume { .. }, _) => HazardKind::DataLoss,
                // A container's config is gone with it, but a destroy is asked for by name.
                (Action::RemoveContainer { .. }, Undo::Impossible(_))
                    if matches!(self.plan.purpose, Purpose::Destroy { .. }) =>
                {
                    continue;
                }
                (_, Undo::Impossible(_)) if self.phase(step) == Some(TaskPhase::Restore) => {
                    HazardKind::DataLoss
                }
                (_, Undo::Impossible(_)) => HazardKind::Irreversible,
                (_, Undo::Step(_) | Undo::Nothing) => continue,
            };
            let told = self.plan.hazards.iter().any(|hazard| {
                hazard.kind == kind
                    && match kind {
                        HazardKind::DataLoss if step.slot.is_none() => {
                            hazard.volume.as_deref() == Some(step.action.object())
                        }
                        _ => hazard.slot == step.slot,
                    }
            });
            if !told {
                self.violation(
                    Some(step),
                    "hazard",
                    format!("nobody is told that {} is for good", step.action),
                );
            }
            let task_of_later_phase = step
                .slot
                .as_ref()
                .and_then(|s| self.desired.containers.get(s))
                .is_some_and(|spec| matches!(&spec.role, Role::Task { .. }));
            if step.slot.is_some() && !task_of_later_phase {
                self.violation(Some(step), "hazard", "only a task may be irreversible");
            }
        }
    }

    /// The phase of a step's task.
    fn phase(&self, step: &Step) -> Option<TaskPhase> {
        match &self.desired.containers.get(step.slot.as_ref()?)?.role {
            Role::Task { phase, .. } => Some(*phase),
            Role::Service { .. } => None,
        }
    }

    /// Data is restored under nobody: all that runs has stopped, but for what uses none, and nothing starts before it is done.
    fn restored(&mut self) {
        let Purpose::Return { .. } = self.plan.purpose else { return };
        let restores = |step: &Step| self.phase(step) == Some(TaskPhase::Restore);
        let begun: Vec<usize> = self
            .steps()
            .filter(|(_, step)| restores(step) && matches!(step.action, Action::StartContainer { .. }))
            .map(|(index, _)| index)
            .collect();
        let done: Vec<usize> = self
            .steps()
            .filter(|(_, step)| restores(step) && step.action.is_wait())
            .map(|(i, _)| i)
            .collect();
        let mut found = Vec::new();
        for (at, there) in self.there.iter().filter(|(_, there)| lives(there)) {
            let Some(labels) = &there.slot_labels else { continue };
            let apart =
                labels.role != LabelRole::Service || self.desired.data_plane.contains(&labels.service);
            let stops = self.on(*at, |a| matches!(a, Action::StopContainer { .. }));
            if !apart && begun.iter().any(|start| !stops.iter().any(|stop| self.is_before(*stop, *start))) {
                found.push((None, format!("{} runs while its data is restored", at.1)));
            }
        }
        for (index, step) in self.steps() {
            let Some(spec) = step.slot.as_ref().and_then(|slot| self.desired.containers.get(slot)) else {
                continue;
            };
            let uses = !spec.is_task() && !self.desired.data_plane.contains(&spec.service);
            let starts = uses && matches!(step.action, Action::StartContainer { .. });
            if starts && done.iter().any(|done| !self.is_before(*done, index)) {
                found.push((Some(step), format!("{} starts before the data is restored", spec.slot)));
            }
        }
        for (step, text) in found {
            self.violation(step, "restored", text);
        }
    }

    /// A generation is written down before anything happens, and after everything has.
    fn history(&mut self) {
        let marks = |wanted: Mark| -> Vec<usize> {
            self.steps()
                .filter(|(_, s)| s.action == Action::WriteGeneration { mark: wanted })
                .map(|(index, _)| index)
                .collect()
        };
        let (begins, ends) = (marks(Mark::Begin), marks(Mark::End));
        if self.plan.generation.is_none() {
            if !begins.is_empty() || !ends.is_empty() {
                self.violation(None, "history", "a generation is written and none is made");
            }
            return;
        }
        if begins.is_empty() || ends.is_empty() {
            self.violation(None, "history", "the generation is not written down");
        }
        for (index, step) in self.steps() {
            if matches!(step.action, Action::WriteGeneration { .. }) {
                continue;
            }
            if begins.iter().any(|begin| !self.is_before(*begin, index)) {
                self.violation(Some(step), "history", "is done before the generation is written down");
            }
            if ends.iter().any(|end| !self.is_before(index, *end)) {
                self.violation(Some(step), "history", "is done after the generation was closed");
            }
        }
    }
}
