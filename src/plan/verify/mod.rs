//! An independent checker of finished plans: it asks what a plan would do to the hosts, not how it came about.
//!
//! Shares no code with `reconcile`, always runs before a plan is carried out, and accepts no plan that it cannot follow.
//! What it finds is a defect of Mastic (or a damaged plan file), never a mistake of the operator.

mod keeping;
mod serving;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use super::document::{Plan, Purpose};
use super::step::{Action, Step, StepId, Target};
use crate::model::labels;
use crate::model::{ContainerSpec, Desired, HostName, Observed, ObservedContainer, Role, Slot, TaskPhase};

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
        check.standing_by();
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
    container.state.is_live()
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
                | Action::StandBy { .. }
                | Action::EndLeft { .. }
                | Action::RemoveVolume { .. }
                | Action::Register { .. }
                | Action::Furnish { .. }
                | Action::Staged
                | Action::Proven => {}
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
}
