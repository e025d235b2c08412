//! What a plan may take away: containers, volumes, data, the history.

use super::super::document::Purpose;
use super::super::hazard::HazardKind;
use super::super::options::Volumes;
use super::super::step::{Action, Mark, Step, Undo};
use super::{Check, lives, place};
use crate::model::labels::{self, LabelRole};
use crate::model::{ContainerState, ObservedContainer, Role, SetName, TaskPhase};

impl Check<'_> {
    /// What served goes only once its whole set is proven; what never served may go at once.
    pub(super) fn removals(&mut self) {
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
    pub(super) fn volumes(&mut self) {
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
    pub(super) fn irreversible(&mut self) {
        for (_, step) in self.steps() {
            let kind = match (&step.action, &step.undo) {
                (Action::RemoveVolume { .. } | Action::EndLeft { .. }, _) => HazardKind::DataLoss,
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
                        HazardKind::DataLoss if matches!(step.action, Action::EndLeft { .. }) => {
                            hazard.volume.is_none() && hazard.text.contains(step.action.object())
                        }
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
    pub(super) fn restored(&mut self) {
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
    pub(super) fn history(&mut self) {
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
