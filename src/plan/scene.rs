//! Everything a decision looks at, indexed once.

use std::collections::{BTreeMap, BTreeSet};

use super::decide::Decision;
use super::document::{Change, Purpose};
use super::options::Options;
use super::{part, returning};
use crate::model::labels::LabelRole;
use crate::model::spec::{MountSource, Side};
use crate::model::{
    CheckSpec, ContainerSpec, ContainerState, Desired, Generation, Held, HostName, Labels, Observed,
    ObservedContainer, ReleaseName, Returning, Role, ServiceName, SetName, Slot, TaskPhase, VolumeName,
};

/// One container of a slot.
#[derive(Clone, Copy, Debug)]
pub(super) struct Seen<'a> {
    pub container: &'a ObservedContainer,
    pub labels: &'a Labels,
}

impl Seen<'_> {
    pub(super) fn generation(&self) -> Generation {
        self.labels.generation
    }

    /// Returns whether its process lives, in whatever shape.
    pub(super) fn is_live(&self) -> bool {
        self.container.state.is_live()
    }

    /// Returns whether it works, or tries to: a frozen one does not.
    pub(super) fn works(&self) -> bool {
        self.container.state.works()
    }

    /// Returns whether its program can come up to its work and stand by.
    pub(super) fn stands_by(&self) -> bool {
        self.labels.stands_by()
    }

    /// Returns whether its processes are frozen where they are, by us or by somebody.
    pub(super) fn is_frozen(&self) -> bool {
        self.container.state == ContainerState::Paused
    }

    /// Returns whether it can never serve (again): it was never started, hence perhaps without its config, or the
    /// engine gave it up.
    pub(super) fn is_rubbish(&self) -> bool {
        match self.container.state {
            ContainerState::Created | ContainerState::Removing | ContainerState::Dead => true,
            ContainerState::Running
            | ContainerState::Restarting
            | ContainerState::Paused
            | ContainerState::Exited => false,
        }
    }
}

/// The inputs, indexed.
#[derive(Debug)]
pub(super) struct Scene<'a> {
    pub desired: &'a Desired,
    pub observed: &'a Observed,
    pub options: &'a Options,
    /// Containers by slot, youngest generation first.
    slots: BTreeMap<Slot, Vec<Seen<'a>>>,
    /// Engine names of volumes by host.
    volumes: BTreeMap<&'a HostName, BTreeSet<&'a str>>,
    ranks: BTreeMap<&'a SetName, usize>,
    /// See [`part::of`].
    part: Option<BTreeSet<&'a Slot>>,
    /// Whether the youngest generation's run did not come to its end.
    pub interrupted: bool,
    /// The return to an older release and its data, where this plan is one.
    pub returning: Option<&'a Returning>,
    /// Whether the data is that of the restore point already.
    pub restored: bool,
    /// What is kept while this plan is carried out.
    pub holding: Option<Held>,
    /// What is kept afterwards.
    pub held: Option<Held>,
}

/// What an upgrade that begins now keeps: all that there is.
fn now_held(observed: &Observed) -> Option<Held> {
    let release = observed.ledger.as_ref()?.release.clone();
    let generation = Generation::new(observed.last_generation)?;
    Some(Held { generation, release, since: observed.taken_at.clone(), to: None, partial: true })
}

impl<'a> Scene<'a> {
    pub(super) fn new(desired: &'a Desired, observed: &'a Observed, options: &'a Options) -> Self {
        let mut slots: BTreeMap<Slot, Vec<Seen<'a>>> = BTreeMap::new();
        for (host, seen) in &observed.hosts {
            for container in &seen.containers {
                // The host is where it is, not what its label says: hosts can be renamed in the profile.
                if let Some(labels) = container.slot_labels.as_ref()
                    && labels.deployment == desired.deployment
                {
                    let slot = Slot { host: host.clone(), container: labels.container.clone() };
                    slots.entry(slot).or_default().push(Seen { container, labels });
                }
            }
        }
        for seen in slots.values_mut() {
            seen.sort_by(|a, b| {
                (b.generation(), &b.container.name, &b.container.id).cmp(&(
                    a.generation(),
                    &a.container.name,
                    &a.container.id,
                ))
            });
        }
        let volumes = observed
            .hosts
            .iter()
            .map(|(host, seen)| (host, seen.volumes.iter().map(|v| v.name.as_str()).collect()))
            .collect();
        let ranks = desired.sets.iter().enumerate().map(|(rank, set)| (set, rank)).collect();
        let interrupted = observed.ledger.as_ref().is_some_and(|ledger| !ledger.finished);
        let before = observed.ledger.as_ref().and_then(|ledger| ledger.held.clone());
        let part = part::of(desired, observed, options);
        // Until its end, a change between releases has reached a part only.
        let under_way = |held: Held, to: Option<ReleaseName>| Held { partial: true, to, ..held };
        let (holding, held) = match options.purpose {
            Purpose::Upgrade => {
                let held = before.or_else(|| now_held(observed));
                let held = held.map(|held| under_way(held, Some(desired.release.clone())));
                (held.clone(), held)
            }
            Purpose::Rollback => {
                let held = before.map(|held| under_way(held.clone(), held.to));
                (held.clone(), held.filter(|_| part.is_some()))
            }
            Purpose::Commit => (before, None),
            Purpose::Deploy
            | Purpose::Backup
            | Purpose::Rehearse
            | Purpose::Restore
            | Purpose::Return { .. }
            | Purpose::Stop
            | Purpose::Start
            | Purpose::Destroy { .. } => (before.clone(), before),
        };
        let returning = match &options.purpose {
            Purpose::Return { to } => Some(to),
            _ => None,
        };
        let restored = false;
        let mut scene = Self {
            desired,
            observed,
            options,
            slots,
            volumes,
            ranks,
            part,
            interrupted,
            returning,
            restored,
            holding,
            held,
        };
        scene.restored = returning::is_restored(&scene);
        scene
    }

    /// Returns whether a container that is kept may be frozen: it listens on ports that its successor does not need, and the balancers
    /// tell one that listens from one that answers.
    pub(super) fn can_freeze(&self, slot: &Slot) -> bool {
        let routes = self.desired.routes.get(slot).map(Vec::as_slice).unwrap_or_default();
        self.desired.spares.contains_key(slot) && !routes.is_empty() && routes.iter().all(|route| route.asked)
    }

    /// Returns whether a frozen container is in the way of one that starts on these ports: it listens on the same (what is short of its
    /// work listens on none), or is not kept for anybody.
    pub(super) fn gives_way(&self, seen: &Seen<'_>, slot: &Slot, side: Side) -> bool {
        let beside = seen.stands_by() || (self.can_freeze(slot) && seen.labels.side != side);
        seen.is_frozen() && !(beside && self.was_kept(seen) && self.returning.is_none())
    }

    /// Returns whether a container of this slot stands by once its successor serves.
    pub(super) fn prepares(&self, seen: &Seen<'_>) -> bool {
        self.options.purpose == Purpose::Upgrade
            && self.options.freeze
            && self.keeps(seen)
            && seen.stands_by()
    }

    /// Returns the generation to go back to, where that is asked for.
    pub(super) fn back_to(&self) -> Option<Generation> {
        let held = self.holding.as_ref().filter(|_| self.options.purpose == Purpose::Rollback);
        held.map(|held| held.generation)
    }

    /// Returns whether a container is of what an open upgrade keeps.
    pub(super) fn keeps(&self, seen: &Seen<'_>) -> bool {
        self.held.as_ref().is_some_and(|held| seen.generation() <= held.generation)
    }

    /// Returns whether a container is of what was kept until now.
    pub(super) fn was_kept(&self, seen: &Seen<'_>) -> bool {
        self.holding.as_ref().is_some_and(|held| seen.generation() <= held.generation)
    }

    /// Returns whether this is the way back: then the parts of a project change in the reverse order.
    pub(super) fn returns(&self) -> bool {
        self.back_to().is_some()
    }

    /// Returns whether two slots are of one project, whose parts mind each other's releases.
    pub(super) fn kin(&self, one: &Slot, other: &Slot) -> bool {
        let spec = |slot: &Slot| self.desired.containers.get(slot).filter(|spec| !spec.is_task());
        spec(one).zip(spec(other)).is_some_and(|(one, other)| part::kin(one, other))
    }

    /// Returns whether data of a service is changed between its last newer container's end and its last older one's start.
    pub(super) fn settles(&self, service: &ServiceName) -> bool {
        self.back_to().is_some() && self.has_task(service, |phase| phase == TaskPhase::Settle)
    }

    fn has_task(&self, service: &ServiceName, which: impl Fn(TaskPhase) -> bool) -> bool {
        let of_service = self.desired.containers.values().filter(|spec| spec.service == *service);
        of_service
            .map(|spec| &spec.role)
            .any(|role| matches!(role, Role::Task { phase, .. } if which(*phase)))
    }

    /// Returns the slots that come before this one when its project changes to another release, and after it on the way back.
    pub(super) fn swapped_after(&self, slot: &Slot) -> BTreeSet<&Slot> {
        let declared = self.desired.swaps.get(slot).into_iter().flatten();
        let after = self.desired.containers.get(slot).into_iter().flat_map(|spec| &spec.after);
        declared.chain(after).filter(|other| self.kin(slot, other)).collect()
    }

    /// Returns whether a slot is the last of its service on the way back: others are swapped after it otherwise.
    pub(super) fn is_last(&self, slot: &Slot) -> bool {
        self.desired.containers.keys().any(|other| self.swapped_after(other).contains(slot))
    }

    /// Returns whether a container must stay well for a while before its predecessor goes for good.
    pub(super) fn soaks(&self, spec: &ContainerSpec, decision: &Decision<'_>) -> bool {
        self.options.purpose == Purpose::Upgrade
            && !spec.is_task()
            && matches!(decision.change, Change::Replace | Change::Prove)
    }

    /// Returns the check that a container must pass, with the time that it has for it in this plan.
    pub(super) fn check(&self, spec: &ContainerSpec) -> Option<CheckSpec> {
        let mut check = spec.check.clone()?;
        if let Some(deadline) = self.options.healthy_deadline {
            check.deadline = deadline;
        }
        Some(check)
    }

    /// Returns the containers of a slot, youngest first.
    pub(super) fn seen(&self, slot: &Slot) -> &[Seen<'a>] {
        self.slots.get(slot).map_or(&[], Vec::as_slice)
    }

    /// Returns the slots that have containers and are not in the profile.
    pub(super) fn undesired(&self) -> impl Iterator<Item = (&Slot, &[Seen<'a>])> {
        self.slots
            .iter()
            .filter(|(slot, _)| {
                !self.desired.containers.contains_key(*slot) && !self.options.purpose.is_tasks_alone()
            })
            .map(|(slot, seen)| (slot, seen.as_slice()))
    }

    /// Returns a set's place in the launch order; unknown ones come last.
    pub(super) fn rank(&self, set: &SetName) -> usize {
        self.ranks.get(set).copied().unwrap_or(self.desired.sets.len())
    }

    /// Returns the engine name of a volume.
    pub(super) fn volume_name(&self, volume: &VolumeName) -> String {
        format!("{}_{volume}", self.desired.deployment)
    }

    /// Returns whether a host has a volume of this engine name.
    pub(super) fn has_volume(&self, host: &HostName, name: &str) -> bool {
        self.volumes.get(host).is_some_and(|volumes| volumes.contains(name))
    }

    /// Returns the volumes of a slot's spec, by engine name.
    pub(super) fn volumes_of(&self, slot: &Slot) -> BTreeSet<String> {
        self.desired
            .containers
            .get(slot)
            .into_iter()
            .flat_map(|spec| &spec.mounts)
            .filter_map(|mount| match &mount.source {
                MountSource::Volume(volume) => Some(self.volume_name(volume)),
                MountSource::Bind { .. } | MountSource::Tmpfs { .. } => None,
            })
            .collect()
    }

    /// Returns whether a slot is in the chosen part of the cloud.
    pub(super) fn selects(&self, spec: &ContainerSpec) -> bool {
        match &self.part {
            Some(part) => part.contains(&spec.slot),
            None => self.options.selection.has(&spec.set, &spec.service),
        }
    }

    /// Returns whether a slot belongs to this plan: selected, and no task of another phase.
    pub(super) fn takes(&self, slot: &Slot) -> bool {
        self.desired.containers.get(slot).is_some_and(|spec| {
            let selected = |spec: &ContainerSpec| self.selects(spec);
            // A look at config goes with the containers whose config it is, in whatever set they are.
            let looks = matches!(spec.role, Role::Task { phase: TaskPhase::Validate, .. });
            let of_these = |other: &ContainerSpec| {
                (&other.service, &other.image.id) == (&spec.service, &spec.image.id) && selected(other)
            };
            self.has_phase(&spec.role)
                && (selected(spec) || (looks && self.desired.containers.values().any(of_these)))
        })
    }

    /// Returns whether what has this role is part of this plan: tasks by their phase; services, unless tasks alone were asked for.
    pub(super) fn has_phase(&self, role: &Role) -> bool {
        match role {
            // A copy of what was is one of what was there before.
            Role::Task { phase: TaskPhase::Backup | TaskPhase::Restore, .. } if self.restored => false,
            Role::Service { .. } => !self.options.purpose.is_tasks_alone(),
            Role::Task { phase, .. } => self.options.phases.contains(phase),
        }
    }

    /// Returns whether a slot that is not part of the plan can be relied upon.
    pub(super) fn stands(&self, slot: &Slot) -> bool {
        self.seen(slot).iter().any(|seen| match seen.labels.role {
            LabelRole::Service => seen.container.state == ContainerState::Running,
            LabelRole::Task => {
                seen.container.state == ContainerState::Exited && seen.container.exit_code == Some(0)
            }
            LabelRole::Lock | LabelRole::Ledger | LabelRole::Tool => false,
        })
    }
}
