//! What a plan says of each slot: what happens to it, why, and how it goes back.

use std::collections::BTreeMap;

use super::build::{Work, engine_name, existing, record_of};
use super::document::{Change, Fallback, SlotPlan};
use super::scene::{Scene, Seen};
use super::step::Target;
use crate::model::labels::LabelRole;
use crate::model::{CheckSpec, Generation, Health, Slot};

/// Returns all slots in launch order, with what happens to each and how it goes back.
pub(super) fn slot_plans(
    scene: &Scene<'_>,
    generation: Generation,
    work: &BTreeMap<Slot, Work<'_>>,
) -> Vec<SlotPlan> {
    let mut slots: Vec<(&Slot, &Work<'_>)> = work.iter().collect();
    slots.sort_by_key(|(slot, item)| (scene.rank(&item.set), (*slot).clone()));
    slots.into_iter().map(|(slot, item)| slot_plan(scene, generation, slot, item)).collect()
}

fn slot_plan(scene: &Scene<'_>, generation: Generation, slot: &Slot, item: &Work<'_>) -> SlotPlan {
    let Work { spec, side, overlaps, set, service, decision } = item;
    let makes = matches!(decision.change, Change::Create | Change::Replace | Change::Run);
    let successor = match (&decision.successor, makes) {
        (Some(seen), _) => Some(existing(seen)),
        (None, true) => Some(Target::Made { name: engine_name(scene, slot, generation) }),
        (None, false) => None,
    };
    let younger =
        |seen: &Seen<'_>| decision.fallback.is_some_and(|fallback| seen.generation() > fallback.generation());
    // Made by this run, or by the interrupted one that this run ends. A kept older one stays kept.
    let awaited = decision.change == Change::Await && decision.successor.as_ref().is_some_and(Seen::is_live);
    let discard = makes || awaited || decision.successor.as_ref().is_some_and(younger);
    let task = match spec {
        Some((spec, _)) => spec.is_task(),
        None => decision.retire.iter().any(|s| s.labels.role == LabelRole::Task),
    };
    let fallback = decision.fallback.map(|seen| Fallback {
        container: existing(&seen),
        restart: seen.works() || decision.half_done || (seen.is_frozen() && !scene.was_kept(&seen)),
        check: check_of(&seen).filter(|_| seen.container.health != Health::Unhealthy),
    });
    SlotPlan {
        slot: slot.clone(),
        set: set.clone(),
        service: service.clone(),
        task,
        change: decision.change,
        cause: decision.cause.clone(),
        from: decision.current().map(|s| s.generation()),
        to: match decision.change {
            Change::Remove => None,
            _ if makes => Some(generation),
            _ => decision.successor.map(|s| s.generation()),
        },
        image: spec.as_ref().filter(|_| makes).map(|(spec, _)| spec.image.clone()),
        side: *side,
        overlaps: *overlaps,
        successor,
        discard,
        fallback: fallback.filter(|_| !task),
    }
}

fn check_of(seen: &Seen<'_>) -> Option<CheckSpec> {
    record_of(seen).and_then(|record| record.check)
}
