//! Who works while a plan is carried out: nobody meets a rival, nothing ends before its successor is proven.

use super::super::document::Purpose;
use super::super::step::{Action, Target};
use super::{Check, Place, lives, place};
use crate::model::spec::{Cutover, Side};
use crate::model::{ContainerState, HostName, Labels, ObservedContainer, Role, Slot};

impl<'a> Check<'a> {
    /// A slot never loses a container that works before its successor is complete.
    pub(super) fn working_containers(&mut self) {
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
                let Action::StartContainer { container: next, .. } = &candidate.action else { return false };
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

    /// Returns whether a container is frozen and in nobody's way: it listens on ports that one which starts does not use, or on none,
    /// since it is short of its work.
    fn frozen_beside(&self, slot: &Slot, at: Place<'_>, rival: Place<'_>, there: &ObservedContainer) -> bool {
        let apart = self.desired.spares.contains_key(slot) && self.side(slot, at) != self.side(slot, rival);
        let short_of_its_work = there.slot_labels.as_ref().is_some_and(Labels::stands_by);
        there.state == ContainerState::Paused && (apart || short_of_its_work)
    }

    /// What stands by is stopped before that, can do it, and has a successor that was found healthy.
    pub(super) fn standing_by(&mut self) {
        for (index, step) in self.steps() {
            let Action::StandBy { container, .. } = &step.action else { continue };
            let (Some(slot), Some(at)) = (&step.slot, place(step, container)) else { continue };
            let stops = self.on(at, |a| matches!(a, Action::StopContainer { .. }));
            let able = self
                .there
                .get(&at)
                .and_then(|there| there.slot_labels.as_ref())
                .is_some_and(Labels::stands_by);
            let stopped = stops.iter().any(|stop| self.is_before(*stop, index));
            if !(able && stopped && self.proven_beside(slot, at, index)) {
                self.violation(Some(step), "stands by", format!("{container} begins beside what works"));
            }
        }
    }

    /// A container starts only once every other living one of its slot has stopped or ended, unless they overlap.
    pub(super) fn one_active_container_a_slot(&mut self) {
        if !self.plan.purpose.reconciles() && self.plan.purpose != Purpose::Start {
            return;
        }
        for (index, step) in self.steps() {
            let Action::StartContainer { container, .. } = &step.action else { continue };
            let (Some(slot), Some(at)) = (&step.slot, place(step, container)) else { continue };
            let rivals: Vec<Place<'a>> = self
                .there
                .iter()
                .filter(|((host, name), other)| {
                    **host == slot.host
                        && *name != at.1
                        && lives(other)
                        && !self.frozen_beside(slot, at, (*host, *name), other)
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
    pub(super) fn drained(&mut self) {
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
}
