//! `(Desired, Observed, Options) -> Plan`: the one place where it is decided what to do.
//!
//! Pure and synchronous. Never asks, never looks anything up, never depends on the order of its inputs.

use std::collections::{BTreeMap, BTreeSet};

use super::build::{Builder, Work};
use super::cause::Cause;
use super::cutover;
use super::decide::{self, Decision};
use super::document::{Change, PLAN_VERSION, Plan, Purpose};
use super::fingerprint;
use super::hazard::{Blocker, Hazard, HazardKind};
use super::options::Options;
use super::part;
use super::returning;
use super::scene::{Scene, Seen};
use super::slot_plan::slot_plans;
use crate::model::spec::Side;
use crate::model::{
    ContainerSpec, ContainerState, Desired, Generation, Health, Held, HostName, Observed, Role, ServiceName,
    SetName, Slot, TaskPhase,
};

/// Decides what to do to make `observed` what is `desired`.
pub fn reconcile(desired: &Desired, observed: &Observed, options: &Options) -> Plan {
    let scene = Scene::new(desired, observed, options);
    let mut work: BTreeMap<Slot, Work<'_>> = BTreeMap::new();
    for (slot, spec) in &desired.containers {
        if !scene.takes(slot) {
            if scene.selects(spec)
                && let Some(decision) = decide::left_behind(&scene, spec)
            {
                let (set, service) = (spec.set.clone(), spec.service.clone());
                let side = Side::Main;
                work.insert(slot.clone(), Work { spec: None, side, overlaps: false, set, service, decision });
            }
            continue;
        }
        let (side, spec, hash) = cutover::form(&scene, spec);
        let decision = match spec.role {
            Role::Service { .. } => decide::service(&scene, spec, side, &hash),
            Role::Task { .. } => decide::task(&scene, spec, &hash),
        };
        let overlaps = cutover::overlaps(&scene, spec, side, &decision);
        let (set, service) = (spec.set.clone(), spec.service.clone());
        work.insert(slot.clone(), Work { spec: Some((spec, hash)), side, overlaps, set, service, decision });
    }
    for (slot, seen) in scene.undesired() {
        let Some(labels) = seen.first().map(|s| s.labels) else { continue };
        if options.selection.has(&labels.set, &labels.service) {
            let (set, service) = (labels.set.clone(), labels.service.clone());
            let decision = decide::undesired(&scene, seen);
            let side = labels.side;
            work.insert(slot.clone(), Work { spec: None, side, overlaps: false, set, service, decision });
        }
    }
    if part::is_idle(&scene, &work) {
        work.retain(|_, item| !part::precedes(item));
    }
    let changing = part::changing_services(&work);
    work.retain(|_, item| !part::prepares_way_back(item) || changing.contains(&item.service));
    let registers = registration_due(&scene);
    prove_what_others_need(&scene, &mut work, registers);

    let generation = Generation::new(observed.last_generation.saturating_add(1)).unwrap_or(Generation::FIRST);
    let mut builder = Builder::new(&scene, generation);
    builder.volumes(&work);
    builder.slots(&work);
    if registers {
        builder.registration(&work);
    }
    if furnishing_due(&scene) {
        builder.furnishing();
    }
    let held = part::held_afterwards(&scene);
    let ends = scene.holding.is_some() && ends_or_completes(&scene, held.as_ref())
        || observed.ledger.as_ref().is_some_and(|ledger| ledger.returning.is_some());
    if builder.is_empty() && (scene.interrupted || ends) {
        // Nothing is left to do, but the history still says that a run is going on, or that an upgrade is open.
        builder.history_alone();
    }
    let mut blockers = blockers(&scene, &work);
    let slots = slot_plans(&scene, generation, &work);
    let steps = match builder.finish() {
        Ok(steps) => steps,
        Err(slots) => {
            blockers.insert(Blocker::Cycle { slots });
            Vec::new()
        }
    };
    let touched: BTreeSet<&Slot> =
        slots.iter().filter(|s| s.change != Change::Keep).map(|s| &s.slot).collect();
    let volumes = super::build::touched_volumes(&steps);
    let observed_digest = fingerprint::observed(observed, &touched, &volumes);
    Plan {
        version: PLAN_VERSION,
        purpose: options.purpose.clone(),
        deployment: desired.deployment.clone(),
        release: desired.release.clone(),
        generation: (!steps.is_empty()).then_some(generation),
        previous: observed.last_generation,
        observed_at: observed.taken_at.clone(),
        selection: options.selection.clone(),
        desired: fingerprint::desired(desired),
        registered: observed.ledger.as_ref().and_then(|ledger| ledger.identity.clone()),
        furnished: observed.ledger.as_ref().and_then(|ledger| ledger.cloud.clone()),
        holding: scene.holding.clone(),
        held,
        observed: observed_digest,
        hosts: observed.hosts.keys().cloned().collect(),
        hazards: hazards(&scene, &work).into_iter().collect(),
        slots,
        steps,
        accepted: options.accept.clone(),
        blockers: blockers.into_iter().collect(),
    }
}

/// Returns whether the history must say something of an open upgrade, even where nothing else is left to do: that it has ended,
/// or has reached the last of the cloud. One that changes neither release nor anything else does not begin.
fn ends_or_completes(scene: &Scene<'_>, held: Option<&Held>) -> bool {
    let Some(ledger) = scene.observed.ledger.as_ref() else { return false };
    match scene.options.purpose {
        Purpose::Commit => true,
        Purpose::Upgrade if ledger.held.is_none() => {
            ledger.release != scene.desired.release && held.is_some_and(|held| !held.partial)
        }
        Purpose::Upgrade | Purpose::Rollback => ledger.held.as_ref() != held,
        Purpose::Deploy
        | Purpose::Backup
        | Purpose::Rehearse
        | Purpose::Restore
        | Purpose::Return { .. }
        | Purpose::Stop
        | Purpose::Start
        | Purpose::Destroy { .. } => false,
    }
}

/// Returns whether Keystone must be told something.
fn registration_due(scene: &Scene<'_>) -> bool {
    let Some(access) = &scene.desired.identity.access else { return false };
    if scene.options.purpose.is_tasks_alone() {
        return false;
    }
    let selected = access.after.iter().any(|slot| scene.takes(slot))
        || (access.after.is_empty() && scene.options.selection.is_everything());
    let last = scene.observed.ledger.as_ref().and_then(|ledger| ledger.identity.as_ref());
    // What was told to newer data is not in older.
    selected && (scene.returning.is_some() || last != Some(&fingerprint::identity(&scene.desired.identity)))
}

/// Returns whether flavors or networks are to be made: only with the whole cloud, since any service may be asked for them.
fn furnishing_due(scene: &Scene<'_>) -> bool {
    let wanted = &scene.desired.cloud;
    let possible = scene.desired.identity.access.is_some() && scene.options.selection.is_everything();
    let last = scene.observed.ledger.as_ref().and_then(|ledger| ledger.cloud.as_ref());
    let alone = scene.options.purpose.is_tasks_alone();
    let due = scene.returning.is_some() || last != Some(&fingerprint::cloud(wanted));
    possible && !alone && !wanted.is_empty() && due
}

/// A container that runs and is not yet known to be healthy is waited for when something starts after it.
fn prove_what_others_need(scene: &Scene<'_>, work: &mut BTreeMap<Slot, Work<'_>>, registers: bool) {
    let mut needed: BTreeMap<Slot, Slot> = BTreeMap::new();
    for (slot, item) in work.iter() {
        let starts = match item.decision.change {
            Change::Create | Change::Replace | Change::Start | Change::Restart | Change::Run => true,
            Change::Keep | Change::Prove | Change::Await | Change::Stop | Change::Remove | Change::Clean => {
                false
            }
        };
        if let Some((spec, _)) = &item.spec
            && starts
        {
            for after in &spec.after {
                needed.entry(after.clone()).or_insert_with(|| slot.clone());
            }
        }
    }
    if let Some(access) = scene.desired.identity.access.as_ref().filter(|_| registers) {
        for slot in &access.after {
            needed.entry(slot.clone()).or_insert_with(|| slot.clone());
        }
    }
    for (slot, by) in needed {
        let Some(item) = work.get_mut(&slot) else { continue };
        let starting = item.decision.successor.is_some_and(|s| {
            s.container.state == ContainerState::Running && s.container.health == Health::Starting
        });
        if starting && matches!(item.decision.change, Change::Keep | Change::Clean) {
            item.decision.change = Change::Prove;
            item.decision.cause = Some(Cause::NeededBy { slot: by });
        }
    }
}

fn blockers(scene: &Scene<'_>, work: &BTreeMap<Slot, Work<'_>>) -> BTreeSet<Blocker> {
    let mut found = BTreeSet::new();
    for (slot, item) in work {
        let Some(seen) = scene.observed.hosts.get(&slot.host) else {
            found.insert(Blocker::HostNotObserved { host: slot.host.clone() });
            continue;
        };
        if let Some((spec, _)) = &item.spec
            && matches!(item.decision.change, Change::Create | Change::Replace | Change::Run)
            && !seen.images.contains(&spec.image.id)
        {
            found.insert(Blocker::ImageMissing {
                host: slot.host.clone(),
                reference: spec.image.reference.clone(),
                id: spec.image.id.clone(),
            });
        }
    }
    found.extend(not_now(scene));
    if scene.options.purpose == Purpose::Upgrade {
        let own = |spec: &&ContainerSpec| !spec.is_task() && scene.desired.apart.contains(&spec.service);
        let down = |spec: &&ContainerSpec| {
            !scene.takes(&spec.slot) && !scene.seen(&spec.slot).is_empty() && !scene.stands(&spec.slot)
        };
        let needed = |spec: &&ContainerSpec| {
            let waits = |other: &ContainerSpec| scene.takes(&other.slot) && other.after.contains(&spec.slot);
            scene.desired.containers.values().any(waits)
        };
        let all = scene.desired.containers.values().filter(own).filter(down).filter(needed);
        found.extend(all.map(|spec| Blocker::Down { slot: spec.slot.clone() }));
    }
    let known = known_names(scene);
    for set in scene.options.selection.sets.iter().filter(|set| !known.0.contains(*set)) {
        found.insert(Blocker::UnknownSet { set: set.clone() });
    }
    for service in scene.options.selection.services.iter().filter(|service| !known.1.contains(*service)) {
        found.insert(Blocker::UnknownService { service: service.clone() });
    }
    found
}

/// What is asked for at the wrong time.
fn not_now(scene: &Scene<'_>) -> Option<Blocker> {
    let ledger = scene.observed.ledger.as_ref();
    let open = ledger.and_then(|ledger| Some((ledger.held.as_ref()?, ledger)));
    if let Some(open) = ledger.and_then(|ledger| ledger.returning.as_ref())
        && scene.returning.is_none()
    {
        return Some(Blocker::Returning { release: open.release.clone(), generation: open.generation });
    }
    match &scene.options.purpose {
        Purpose::Return { to } => match (ledger, open) {
            (None, _) => Some(Blocker::NothingDeployed),
            (Some(_), Some((held, ledger))) => {
                Some(Blocker::StillHeld { held: held.release.clone(), serves: ledger.release.clone() })
            }
            (Some(ledger), None) => (ledger.returning.is_none() && ledger.release == to.release)
                .then(|| Blocker::Serves { release: to.release.clone() }),
        },
        Purpose::Upgrade if scene.holding.is_none() => Some(Blocker::NothingDeployed),
        Purpose::Upgrade => {
            let (held, ledger) = open?;
            // A rollback that did not come to its end says the older release, and may be turned round.
            let turned = (ledger.release != held.release).then_some(&ledger.release);
            let to = held.to.as_ref().or(turned)?;
            let still = Blocker::StillHeld { held: held.release.clone(), serves: to.clone() };
            (*to != scene.desired.release).then_some(still)
        }
        Purpose::Commit if let Some((held, _)) = open.filter(|(held, _)| held.partial) => {
            Some(Blocker::NotReached { held: held.release.clone(), to: held.to.clone() })
        }
        Purpose::Rollback | Purpose::Commit if scene.holding.is_none() => Some(Blocker::NothingHeld),
        Purpose::Rollback if let Some((held, _)) = open => commit_begun(scene)
            .map(|task| Blocker::CommitBegun { task: task.clone(), held: held.release.clone() }),
        Purpose::Rollback
        | Purpose::Commit
        | Purpose::Backup
        | Purpose::Rehearse
        | Purpose::Restore
        | Purpose::Deploy
        | Purpose::Stop
        | Purpose::Start
        | Purpose::Destroy { .. } => None,
    }
}

/// Returns a task of a commit that has run since this upgrade's beginning, be it to its end or not.
fn commit_begun<'a>(scene: &'a Scene<'_>) -> Option<&'a Slot> {
    let of_commit = |slot: &&Slot| {
        matches!(
            scene.desired.containers.get(slot).map(|spec| &spec.role),
            Some(Role::Task { phase: TaskPhase::Contract | TaskPhase::OnlineMigrations, .. })
        )
    };
    let ran = |seen: &Seen<'_>| !scene.was_kept(seen) && seen.container.state != ContainerState::Created;
    scene.desired.containers.keys().filter(of_commit).find(|slot| scene.seen(slot).iter().any(ran))
}

/// Returns the sets and services of the profile and of the hosts.
fn known_names<'a>(scene: &Scene<'a>) -> (BTreeSet<&'a SetName>, BTreeSet<&'a ServiceName>) {
    let mut sets: BTreeSet<&SetName> = scene.desired.sets.iter().collect();
    let mut services = BTreeSet::new();
    for spec in scene.desired.containers.values() {
        sets.insert(&spec.set);
        services.insert(&spec.service);
    }
    for host in scene.observed.hosts.values() {
        for labels in host.containers.iter().filter_map(|c| c.slot_labels.as_ref()) {
            sets.insert(&labels.set);
            services.insert(&labels.service);
        }
    }
    (sets, services)
}

fn hazards(scene: &Scene<'_>, work: &BTreeMap<Slot, Work<'_>>) -> BTreeSet<Hazard> {
    let mut found = BTreeSet::new();
    let mut add = |kind: HazardKind, slot: &Slot, text: String| {
        found.insert(Hazard { kind, slot: Some(slot.clone()), volume: None, text });
    };
    for (slot, item) in work {
        let Decision { change, stop, .. } = &item.decision;
        match change {
            Change::Remove if !stop.is_empty() => {
                add(
                    HazardKind::Removal,
                    slot,
                    format!("{slot} runs and is not in the profile any more: it is stopped and removed"),
                );
            }
            Change::Replace | Change::Restart | Change::Start
                if !stop.is_empty() || *change == Change::Restart =>
            {
                let told = item.spec.as_ref().is_some_and(|(spec, _)| returning::pauses(scene, spec));
                if !item.overlaps && !told && !has_twin(scene, slot) {
                    add(
                        HazardKind::Outage,
                        slot,
                        format!("{slot} does not answer while it is swapped, and there is no second one"),
                    );
                }
            }
            Change::Keep
            | Change::Create
            | Change::Replace
            | Change::Start
            | Change::Restart
            | Change::Prove
            | Change::Run
            | Change::Await
            | Change::Stop
            | Change::Remove
            | Change::Clean => {}
        }
        let Some((spec, _)) = &item.spec else { continue };
        if let Role::Task { phase, .. } = &spec.role
            && *change == Change::Run
            && let Some(reason) = super::build::irreversible(*phase)
        {
            let kind = super::build::irreversible_kind(*phase);
            add(kind, slot, format!("{slot} cannot be undone: {reason}"));
        }
        if matches!(change, Change::Keep | Change::Clean) {
            continue;
        }
        for after in &spec.after {
            let known = scene.desired.containers.get(after);
            let other_phase = known.is_some_and(|spec| !scene.has_phase(&spec.role));
            if !work.contains_key(after) && !other_phase && !scene.stands(after) {
                add(
                    HazardKind::MissingDependency,
                    slot,
                    format!("{slot} starts after {after}, which does not run and is not part of this plan"),
                );
            }
        }
    }
    if let Some(to) = scene.returning.filter(|_| !scene.restored) {
        let text = format!("no API answers from the first stop until {} serves; servers run on", to.release);
        found.insert(Hazard { kind: HazardKind::Outage, slot: None, volume: None, text });
    }
    found
}

/// Returns whether another host runs the same container, so that the service goes on answering.
fn has_twin(scene: &Scene<'_>, slot: &Slot) -> bool {
    let twin = |host: &HostName| {
        let other = Slot { host: host.clone(), container: slot.container.clone() };
        *host != slot.host && scene.stands(&other)
    };
    scene.observed.hosts.keys().any(twin)
}
