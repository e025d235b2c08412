//! Plans that an operator asks for by name: stop, start, destroy. The same steps, the same executor.

use std::collections::{BTreeMap, BTreeSet};

use super::cause::Cause;
use super::document::{Change, Fallback, PLAN_VERSION, Plan, Purpose, SlotPlan};
use super::fingerprint;
use super::hazard::{Blocker, Hazard, HazardKind};
use super::options::{Options, Volumes};
use super::step::{Action, Step, StepId, Target, Undo};
use crate::model::labels::{self, LabelRole};
use crate::model::spec::{SpecRecord, is_own_cgroup};
use crate::model::{
    ContainerState, Desired, HostName, Labels, Observed, ObservedContainer, ReleaseName, Slot,
};

/// Seconds of grace for a container whose label cannot be read.
const DEFAULT_GRACE: u32 = 10;

/// Seconds of grace where all data goes, too: what a container has in hand then is nobody's any more, and what it would end it
/// with (the database, the message bus) ends beside it.
const LAST_GRACE: u32 = 5;

/// One container that a plan is about.
#[derive(Clone, Copy)]
struct Item<'a> {
    host: &'a HostName,
    container: &'a ObservedContainer,
    labels: &'a Labels,
}

impl Item<'_> {
    fn slot(&self) -> Slot {
        Slot { host: self.host.clone(), container: self.labels.container.clone() }
    }

    fn target(&self) -> Target {
        Target::Existing { id: self.container.id.clone(), name: self.container.name.clone() }
    }

    fn record(&self) -> Option<SpecRecord> {
        serde_json::from_str(&self.labels.spec).ok()
    }

    fn grace(&self) -> u32 {
        self.record().map_or(DEFAULT_GRACE, |record| record.stop.grace)
    }

    fn is_task(&self) -> bool {
        self.labels.role == LabelRole::Task
    }

    /// Whether it works, or tries to: a frozen one does not.
    fn works(&self) -> bool {
        self.container.state.works()
    }

    fn is_live(&self) -> bool {
        self.container.state.is_live()
    }
}

/// Returns the containers of slots, by slot, youngest first within one.
fn items(observed: &Observed) -> Vec<Item<'_>> {
    let mut all: Vec<Item<'_>> = observed
        .hosts
        .iter()
        .flat_map(|(host, there)| {
            there
                .containers
                .iter()
                .filter_map(move |c| c.slot_labels.as_ref().map(|l| Item { host, container: c, labels: l }))
        })
        .filter(|item| item.labels.deployment == observed.deployment)
        .collect();
    all.sort_by(|a, b| {
        (a.slot(), b.labels.generation, &a.container.name).cmp(&(
            b.slot(),
            a.labels.generation,
            &b.container.name,
        ))
    });
    all
}

/// Collects numbered steps.
struct Draft {
    steps: Vec<Step>,
    cause: Cause,
}

impl Draft {
    fn add(
        &mut self,
        item: Option<&Item<'_>>,
        host: Option<&HostName>,
        deps: Vec<StepId>,
        action: Action,
        undo: Undo,
    ) -> StepId {
        let id = StepId(u32::try_from(self.steps.len()).unwrap_or(u32::MAX).saturating_add(1));
        self.steps.push(Step {
            id,
            deps,
            host: host.or(item.map(|i| i.host)).cloned(),
            slot: item.map(Item::slot),
            set: item.map(|i| i.labels.set.clone()),
            action,
            cause: self.cause.clone(),
            undo,
        });
        id
    }
}

fn slot_plan(item: &Item<'_>, change: Change, cause: &Cause, fallback: bool) -> SlotPlan {
    SlotPlan {
        slot: item.slot(),
        set: item.labels.set.clone(),
        service: item.labels.service.clone(),
        task: item.is_task(),
        change,
        cause: Some(cause.clone()),
        side: item.labels.side,
        overlaps: false,
        from: Some(item.labels.generation),
        to: Some(item.labels.generation).filter(|_| change != Change::Remove),
        image: None,
        successor: None,
        discard: false,
        fallback: fallback.then(|| Fallback {
            container: item.target(),
            restart: true,
            check: item.record().and_then(|r| r.check),
        }),
    }
}

fn finish(
    purpose: Purpose,
    observed: &Observed,
    options: &Options,
    release: ReleaseName,
    slots: Vec<SlotPlan>,
    steps: Vec<Step>,
    hazards: BTreeSet<Hazard>,
    blockers: Vec<Blocker>,
) -> Plan {
    let touched: BTreeSet<&Slot> = slots.iter().map(|s| &s.slot).collect();
    let volumes = super::build::touched_volumes(&steps);
    let seen = fingerprint::observed(observed, &touched, &volumes);
    Plan {
        version: PLAN_VERSION,
        purpose,
        deployment: observed.deployment.clone(),
        release,
        generation: None,
        previous: observed.last_generation,
        observed_at: observed.taken_at.clone(),
        selection: options.selection.clone(),
        desired: String::new(),
        registered: observed.ledger.as_ref().and_then(|ledger| ledger.identity.clone()),
        furnished: observed.ledger.as_ref().and_then(|ledger| ledger.cloud.clone()),
        holding: observed.ledger.as_ref().and_then(|ledger| ledger.held.clone()),
        held: observed.ledger.as_ref().and_then(|ledger| ledger.held.clone()),
        observed: seen,
        hosts: observed.hosts.keys().cloned().collect(),
        slots,
        steps,
        hazards: hazards.into_iter().collect(),
        accepted: options.accept.clone(),
        blockers,
    }
}

/// Plans to stop every running container that is selected: what needs others first.
pub fn stop(desired: &Desired, observed: &Observed, options: &Options) -> Plan {
    let cause = Cause::Asked { what: "stop".to_owned() };
    let mut draft = Draft { steps: Vec::new(), cause: cause.clone() };
    let chosen: Vec<Item<'_>> = items(observed)
        .into_iter()
        .filter(|i| i.is_live() && options.selection.has(&i.labels.set, &i.labels.service))
        .collect();
    let mut left: Vec<&Item<'_>> = chosen.iter().collect();
    let mut done: BTreeMap<Slot, StepId> = BTreeMap::new();
    let mut slots = Vec::new();
    while !left.is_empty() {
        // Nothing that is left to stop may stand on what is stopped now. A circle is broken by taking all.
        let waits = |item: &Item<'_>| {
            left.iter()
                .any(|other| other.slot() != item.slot() && needs(desired, &other.slot(), &item.slot()))
        };
        let (now, later): (Vec<&Item<'_>>, Vec<&Item<'_>>) =
            left.iter().copied().partition(|item| !waits(item));
        let (now, later) = if now.is_empty() { (later, Vec::new()) } else { (now, later) };
        let before: Vec<(Slot, StepId)> = done.iter().map(|(slot, id)| (slot.clone(), *id)).collect();
        for item in now {
            let deps: Vec<StepId> = before
                .iter()
                .filter(|(other, _)| needs(desired, other, &item.slot()))
                .map(|(_, id)| *id)
                .collect();
            let action =
                Action::StopContainer { container: item.target(), grace: item.grace(), freeze: false };
            let undo = Undo::Step(Action::start(item.target(), Some(item.container.state)));
            let id = draft.add(Some(item), None, deps, action, undo);
            done.insert(item.slot(), id);
            slots.push(slot_plan(item, Change::Stop, &cause, !item.is_task() && item.works()));
        }
        left = later;
    }
    finish(
        Purpose::Stop,
        observed,
        options,
        desired.release.clone(),
        slots,
        draft.steps,
        BTreeSet::new(),
        Vec::new(),
    )
}

/// Whether `slot` starts after `other`, directly or not.
fn needs(desired: &Desired, slot: &Slot, other: &Slot) -> bool {
    let mut queue = vec![slot];
    let mut seen = BTreeSet::new();
    while let Some(at) = queue.pop() {
        if !seen.insert(at) {
            continue;
        }
        if let Some(spec) = desired.containers.get(at) {
            if spec.after.contains(other) {
                return true;
            }
            queue.extend(&spec.after);
        }
    }
    false
}

/// Plans to start the youngest container of every selected slot that does not run: what others need first.
pub fn start(desired: &Desired, observed: &Observed, options: &Options) -> Plan {
    let cause = Cause::Asked { what: "start".to_owned() };
    let mut draft = Draft { steps: Vec::new(), cause: cause.clone() };
    let all = items(observed);
    let mut chosen: BTreeMap<Slot, Item<'_>> = BTreeMap::new();
    for item in &all {
        let still = matches!(item.container.state, ContainerState::Exited | ContainerState::Paused);
        let startable = still && !item.is_task();
        // What is frozen for the way back listens on other ports.
        let beside = |other: &Item<'_>| {
            !other.works()
                && desired.spares.contains_key(&item.slot())
                && other.labels.side != item.labels.side
        };
        let rival = |other: &&Item<'_>| {
            other.slot() == item.slot() && other.container.id != item.container.id && other.is_live()
        };
        let running = all.iter().filter(rival).any(|other| !beside(other));
        if startable && !running && options.selection.has(&item.labels.set, &item.labels.service) {
            chosen.entry(item.slot()).or_insert(*item);
        }
    }
    let mut ready: BTreeMap<Slot, StepId> = BTreeMap::new();
    let mut slots = Vec::new();
    while ready.len() < chosen.len() {
        let waits = |slot: &Slot| {
            chosen
                .keys()
                .any(|other| other != slot && !ready.contains_key(other) && needs(desired, slot, other))
        };
        let mut now: Vec<&Slot> =
            chosen.keys().filter(|slot| !ready.contains_key(*slot) && !waits(slot)).collect();
        if now.is_empty() {
            // A circle is broken by taking all.
            now = chosen.keys().filter(|slot| !ready.contains_key(*slot)).collect();
        }
        let mut done = Vec::new();
        for slot in now {
            let Some(item) = chosen.get(slot) else { continue };
            let deps: Vec<StepId> =
                ready.iter().filter(|(other, _)| needs(desired, slot, other)).map(|(_, id)| *id).collect();
            let undo = Undo::Step(Action::StopContainer {
                container: item.target(),
                grace: item.grace(),
                freeze: false,
            });
            let start = draft.add(
                Some(item),
                None,
                deps,
                Action::start(item.target(), Some(item.container.state)),
                undo,
            );
            let check = item.record().and_then(|r| r.check);
            let await_healthy = Action::AwaitHealthy { container: item.target(), check };
            let id = draft.add(Some(item), None, vec![start], await_healthy, Undo::Nothing);
            done.push((slot.clone(), id));
            slots.push(slot_plan(item, Change::Start, &cause, false));
        }
        ready.extend(done);
    }
    finish(
        Purpose::Start,
        observed,
        options,
        desired.release.clone(),
        slots,
        draft.steps,
        BTreeSet::new(),
        Vec::new(),
    )
}

/// Plans to remove everything this deployment made; volumes only where they are named. The lock stays: its holder
/// releases it.
pub fn destroy(observed: &Observed, release: ReleaseName, volumes: &Volumes, options: &Options) -> Plan {
    let cause = Cause::Asked { what: "destroy".to_owned() };
    let mut draft = Draft { steps: Vec::new(), cause: cause.clone() };
    let mut slots = Vec::new();
    let mut seen: BTreeSet<Slot> = BTreeSet::new();
    let mut gone: BTreeMap<HostName, Vec<StepId>> = BTreeMap::new();
    let mut hazards = BTreeSet::new();
    let all = items(observed);
    let mut stops: BTreeMap<&str, StepId> = BTreeMap::new();
    for item in &all {
        if item.is_live() {
            let grace = match volumes {
                Volumes::All => item.grace().min(LAST_GRACE),
                Volumes::Keep | Volumes::Named(_) => item.grace(),
            };
            let action = Action::StopContainer { container: item.target(), grace, freeze: false };
            let id = draft.add(Some(item), None, Vec::new(), action, Undo::Nothing);
            stops.insert(&item.container.id.0, id);
        }
    }
    let ends = if *volumes == Volumes::All {
        end_left(&all, &stops, &mut draft, &mut hazards)
    } else {
        BTreeMap::new()
    };
    for item in all {
        let own = stops.get(item.container.id.0.as_str());
        let deps = own.into_iter().chain(ends.get(item.container.id.0.as_str())).copied().collect();
        let remove = Action::RemoveContainer { container: item.target() };
        let id = draft.add(
            Some(&item),
            None,
            deps,
            remove,
            Undo::Impossible("a removed container's config is gone with it; deploy makes it anew".to_owned()),
        );
        gone.entry(item.host.clone()).or_default().push(id);
        if seen.insert(item.slot()) {
            slots.push(slot_plan(&item, Change::Remove, &cause, false));
        }
    }
    for (host, there) in &observed.hosts {
        let own = [Some(LabelRole::Ledger), Some(LabelRole::Tool)];
        let beside: Vec<&ObservedContainer> =
            there.containers.iter().filter(|c| own.contains(&role(c))).collect();
        let before = gone.get(host).cloned().unwrap_or_default();
        let mut before_volumes = before.clone();
        for container in beside {
            let target = Target::Existing { id: container.id.clone(), name: container.name.clone() };
            let undo = Undo::Impossible("it is made anew when it is needed".to_owned());
            let action = Action::RemoveContainer { container: target };
            before_volumes.push(draft.add(None, Some(host), before.clone(), action, undo));
        }
        for volume in &there.volumes {
            let short = volume.labels.get(labels::VOLUME).cloned().unwrap_or_else(|| volume.name.clone());
            // A rehearsal that was killed has left it: a copy is nobody's data.
            let left = volume.is_tool();
            let named = match volumes {
                _ if left => true,
                Volumes::Keep => false,
                Volumes::Named(names) => names.contains(&short) || names.contains(&volume.name),
                Volumes::All => true,
            };
            if !named {
                continue;
            }
            hazards.insert(Hazard {
                kind: HazardKind::DataLoss,
                slot: None,
                volume: Some(volume.name.clone()),
                text: if left {
                    format!("volume {} goes: a copy that a rehearsal has left", volume.name)
                } else {
                    format!("volume {} goes with its data", volume.name)
                },
            });
            draft.add(
                None,
                Some(host),
                before_volumes.clone(),
                Action::RemoveVolume { volume: volume.name.clone() },
                Undo::Impossible("its data is gone".to_owned()),
            );
        }
    }
    let blockers = unknown_volumes(observed, volumes);
    finish(
        Purpose::Destroy { volumes: volumes.clone() },
        observed,
        options,
        release,
        slots,
        draft.steps,
        hazards,
        blockers,
    )
}

/// Plans to end what containers have left running in cgroups of their hosts (servers, whose disks go), once they have stopped. Returns
/// the steps by the containers that must be there until then.
fn end_left(
    all: &[Item<'_>],
    stops: &BTreeMap<&str, StepId>,
    draft: &mut Draft,
    hazards: &mut BTreeSet<Hazard>,
) -> BTreeMap<String, StepId> {
    // What is kept for the way back names the same cgroup as what serves.
    let mut holders: BTreeMap<(&HostName, String), Vec<&Item<'_>>> = BTreeMap::new();
    for item in all {
        // A label is what somebody may have written.
        if let Some(cgroup) = item.record().and_then(|record| record.leaves).filter(|c| is_own_cgroup(c)) {
            holders.entry((item.host, cgroup)).or_default().push(item);
        }
    }
    let mut ends = BTreeMap::new();
    for ((host, cgroup), items) in holders {
        let Some(any) = items.first() else { continue };
        hazards.insert(Hazard {
            kind: HazardKind::DataLoss,
            slot: None,
            volume: None,
            text: format!("what still runs in {cgroup}, a cgroup of {host}, ends"),
        });
        let deps = items.iter().filter_map(|item| stops.get(item.container.id.0.as_str())).copied().collect();
        let action = Action::EndLeft { container: any.target(), cgroup };
        let undo = Undo::Impossible("what has ended does not begin by itself".to_owned());
        let id = draft.add(None, Some(host), deps, action, undo);
        ends.extend(items.iter().map(|item| (item.container.id.0.clone(), id)));
    }
    ends
}

fn role(container: &ObservedContainer) -> Option<LabelRole> {
    LabelRole::parse(container.labels.get(labels::ROLE)?)
}

fn unknown_volumes(observed: &Observed, volumes: &Volumes) -> Vec<Blocker> {
    let Volumes::Named(names) = volumes else { return Vec::new() };
    let known: BTreeSet<&str> = observed
        .hosts
        .values()
        .flat_map(|host| &host.volumes)
        .flat_map(|v| [Some(v.name.as_str()), v.labels.get(labels::VOLUME).map(String::as_str)])
        .flatten()
        .collect();
    names
        .iter()
        .filter(|name| !known.contains(name.as_str()))
        .map(|name| Blocker::UnknownVolume { volume: name.clone() })
        .collect()
}
