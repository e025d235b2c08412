//! What must hold for every plan, whatever is asked for and whatever the hosts run.

use std::collections::BTreeMap;

use mastic::model::spec::TaskTrigger;
use mastic::model::{
    ContainerId, ContainerState, Desired, Health, LedgerSummary, Observed, ObservedContainer, ObservedVolume,
    Slot,
};
use mastic::plan::{
    Accept, Action, Mark, Options, Plan, Target, Volumes, destroy, reconcile, render, start, stop, verify,
};
use proptest::prelude::*;

use crate::deployment::{C, Seen, desired, nothing, with_balancer};

/// One slot: what it should be, and what was found in it.
#[derive(Clone, Debug)]
struct Cell {
    task: bool,
    /// Of a service: whether it overlaps, behind the balancer of its host.
    overlaps: bool,
    wanted: bool,
    host: bool,
    set: u8,
    after: Vec<u8>,
    volume: bool,
    /// Variant, state, a flag for the state, and whether it is on its spare ports.
    found: Vec<(u8, u8, bool, bool)>,
}

fn cell() -> impl Strategy<Value = Cell> {
    (
        any::<bool>(),
        any::<bool>(),
        prop::bool::weighted(0.85),
        prop::bool::weighted(0.25),
        0_u8..3,
        prop::collection::vec(0_u8..8, 0..3),
        any::<bool>(),
        prop::collection::vec((0_u8..3, 0_u8..8, any::<bool>(), any::<bool>()), 0..4),
    )
        .prop_map(|(task, overlaps, wanted, host, set, after, volume, found)| Cell {
            task,
            overlaps,
            wanted,
            host,
            set,
            after,
            volume,
            found,
        })
}

fn container(index: usize, cell: &Cell, cells: &[Cell], variant: u8) -> C {
    let name = |i: usize, c: &Cell| {
        format!("{}/{}-{i}", if c.host { "other" } else { "local" }, if c.task { "task" } else { "api" })
    };
    let own = name(index, cell);
    let mut c = if cell.task { C::task(&own, TaskTrigger::Spec) } else { C::service(&own) };
    if cell.overlaps && !cell.task {
        c = c.overlapping();
    } else if index % 2 == 1 && !cell.task {
        c = c.standing_by();
    }
    c = c.set(["database", "api", "compute"][usize::from(cell.set)]).env("VARIANT", &variant.to_string());
    if cell.volume && index == 0 {
        c = c.leaving("mastic-aio-guests");
    }
    if cell.volume {
        c = c.volume(&format!("data-{index}"));
    }
    // Only earlier ones, so that there is no cycle.
    for after in &cell.after {
        let after = usize::from(*after);
        if after < index && cells[after].wanted {
            c = c.after(&[&name(after, &cells[after])]);
        }
    }
    c
}

/// A world: variant 0 is what should be, others are older.
fn world(cells: &[Cell], interrupted: bool) -> (Desired, Observed) {
    let wanted = cells
        .iter()
        .enumerate()
        .filter(|(_, c)| c.wanted)
        .map(|(index, cell)| container(index, cell, cells, 0));
    // Both hosts are always there.
    let mut what = desired(wanted.chain([C::service("local/anchor"), C::service("other/anchor")]));
    what.containers.retain(|slot, _| slot.container.as_str() != "anchor");
    // The first cell, where it is a service of this host, balances the others.
    if let Some(first) = cells.first().filter(|cell| cell.wanted && !cell.task && !cell.host && cell.overlaps)
    {
        let balancer = container(0, first, cells, 0).0.slot.to_string();
        what = with_balancer(what, &balancer);
    }
    let mut found = nothing(&what).images_of(&what);
    let mut generation = 0;
    for (index, cell) in cells.iter().enumerate() {
        for (variant, state, flag, spare) in &cell.found {
            generation += 1;
            let mut c = container(index, cell, cells, *variant);
            if *spare && what.spares.contains_key(&c.0.slot) {
                c = c.spare();
            }
            found = match state {
                0 => found.with(&c, generation, ContainerState::Created),
                1 | 2 => found.with(&c, generation, ContainerState::Running),
                3 => found.with_exit(&c, generation, i64::from(*flag)),
                4 => found.with_health(
                    &c,
                    generation,
                    if *flag { Health::Unhealthy } else { Health::Starting },
                ),
                5 => found.with(&c, generation, ContainerState::Dead),
                6 => found.with(&c, generation, ContainerState::Paused),
                _ => found.with(&c, generation, ContainerState::Restarting),
            };
        }
    }
    for host in found.hosts.values_mut() {
        let images = what.containers.values().map(|spec| spec.image.id.clone());
        host.images.extend(images);
    }
    if interrupted && generation > 0 {
        found = found.interrupted();
    }
    (what, found)
}

fn accepting() -> Options {
    Options { accept: Accept::Everything, ..Options::default() }
}

/// What the hosts are after every step has gone well. Knows engines, not plans.
fn apply(plan: &Plan, what: &Desired, now: Observed) -> Observed {
    watched(plan, what, now, &mut |_| ())
}

/// The same, looked at after each step.
fn watched(plan: &Plan, what: &Desired, mut now: Observed, look: &mut dyn FnMut(&Observed)) -> Observed {
    let by_name = |now: &mut Observed,
                   host: &mastic::model::HostName,
                   name: &str,
                   act: &dyn Fn(&mut ObservedContainer)| {
        let container = now.hosts.get_mut(host).unwrap().containers.iter_mut().find(|c| c.name == name);
        act(container.unwrap_or_else(|| panic!("{name} is not on {host}")));
    };
    for step in &plan.steps {
        let host = step.host.clone();
        match &step.action {
            Action::WriteGeneration { mark } => {
                let number = plan.generation.unwrap().get();
                now.last_generation = number;
                now.ledger = Some(LedgerSummary {
                    number,
                    finished: *mark == Mark::End,
                    identity: None,
                    secrets: None,
                    cloud: None,
                    release: plan.release.clone(),
                    held: if *mark == Mark::End { plan.held.clone() } else { plan.holding.clone() },
                    returning: plan.returning().filter(|_| *mark != Mark::End).cloned(),
                });
            }
            Action::CreateVolume { volume } => {
                let volumes = &mut now.hosts.get_mut(&host.unwrap()).unwrap().volumes;
                assert!(!volumes.iter().any(|v| v.name == *volume));
                volumes.push(ObservedVolume { name: volume.clone(), labels: BTreeMap::new() });
            }
            Action::CreateContainer { name, spec } => {
                let (_, spec) = what.by_hash(step.slot.as_ref().unwrap(), spec).unwrap();
                now = now.with(&C(spec.clone()), plan.generation.unwrap().get(), ContainerState::Created);
                let made = now.hosts.get_mut(&host.unwrap()).unwrap().containers.last_mut().unwrap();
                assert_eq!(made.name, *name);
                made.id = ContainerId(format!("made-{name}"));
            }
            Action::StartContainer { container, thaw } => {
                by_name(&mut now, &host.unwrap(), container.name(), &|c| {
                    assert_eq!(c.state == ContainerState::Paused, *thaw, "{} is started", c.name);
                    c.state = ContainerState::Running;
                    c.health = Health::Starting;
                });
            }
            Action::StopContainer { container, freeze: true, .. } => {
                by_name(&mut now, &host.unwrap(), container.name(), &|c| c.state = ContainerState::Paused);
            }
            Action::StopContainer { container, .. } => {
                by_name(&mut now, &host.unwrap(), container.name(), &|c| {
                    c.state = ContainerState::Exited;
                    c.exit_code = Some(0);
                    c.health = Health::None;
                });
            }
            Action::StandBy { container, .. } => {
                by_name(&mut now, &host.unwrap(), container.name(), &|c| {
                    assert_eq!(c.state, ContainerState::Exited, "{} is to stand by", c.name);
                    c.state = ContainerState::Paused;
                });
            }
            Action::AwaitHealthy { container, .. } | Action::AwaitSteady { container, .. } => {
                by_name(&mut now, &host.unwrap(), container.name(), &|c| {
                    assert_eq!(c.state, ContainerState::Running, "{} is waited for", c.name);
                });
            }
            Action::AwaitExit { container, .. } => {
                by_name(&mut now, &host.unwrap(), container.name(), &|c| {
                    c.state = ContainerState::Exited;
                    c.exit_code = Some(0);
                });
            }
            Action::RemoveContainer { container } => {
                let there = &mut now.hosts.get_mut(&host.unwrap()).unwrap().containers;
                let before = there.len();
                there.retain(|c| c.name != container.name());
                assert_eq!(there.len() + 1, before, "{container} was not there");
            }
            Action::RemoveVolume { .. } | Action::EndLeft { .. } => panic!("{}", step.action),
            Action::UploadConfig { .. }
            | Action::OpenServer { .. }
            | Action::DrainServer { .. }
            | Action::Register { .. }
            | Action::Furnish { .. }
            | Action::Staged
            | Action::Proven => {}
        }
        look(&now);
    }
    now
}

/// The overlapping slots that can be moved: exactly one container of theirs lives, runs, and is found well.
fn movable(what: &Desired, found: &Observed) -> Vec<Slot> {
    let living = |slot: &Slot| {
        let of_slot = found.hosts[&slot.host].containers.iter().filter(|c| {
            c.slot_labels.as_ref().is_some_and(|labels| labels.container == slot.container)
                && !matches!(c.state, ContainerState::Created | ContainerState::Exited | ContainerState::Dead)
        });
        of_slot.collect::<Vec<_>>()
    };
    let well = |slot: &&Slot| matches!(living(slot)[..], [one] if one.state == ContainerState::Running && one.health != Health::Unhealthy);
    what.spares.keys().filter(well).cloned().collect()
}

fn shuffled(mut observed: Observed) -> Observed {
    for host in observed.hosts.values_mut() {
        host.containers.reverse();
        host.volumes.reverse();
        host.images.reverse();
    }
    observed
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_independent_checker_must_accept_whatever_reconcile_makes(
        cells in prop::collection::vec(cell(), 0..8), interrupted: bool,
    ) {
        let (what, found) = world(&cells, interrupted);
        let plan = reconcile(&what, &found, &accepting());
        prop_assert!(plan.blockers.is_empty(), "{:?}", plan.blockers);
        if let Err(violations) = verify(&plan, &what, &found) {
            let lines: Vec<String> = violations.iter().map(ToString::to_string).collect();
            prop_assert!(false, "{}\n{}{}", lines.join("\n"), render::text(&plan), render::steps(&plan));
        }
    }

    #[test]
    fn after_a_plan_is_carried_out_the_next_one_must_be_empty(
        cells in prop::collection::vec(cell(), 0..8), interrupted: bool,
    ) {
        let (what, found) = world(&cells, interrupted);
        let first = reconcile(&what, &found, &accepting());
        let then = apply(&first, &what, found);
        let second = reconcile(&what, &then, &accepting());
        prop_assert!(
            second.is_empty(),
            "first:\n{}{}second:\n{}{}",
            render::text(&first), render::steps(&first), render::text(&second), render::steps(&second),
        );
        // Exactly what is wanted, and nothing beside it.
        for (slot, spec) in &what.containers {
            let there: Vec<_> = then.hosts[&slot.host].containers.iter()
                .filter(|c| c.slot_labels.as_ref().unwrap().container == slot.container).collect();
            prop_assert_eq!(there.len(), 1, "{}", slot);
            let state = if spec.is_task() { ContainerState::Exited } else { ContainerState::Running };
            prop_assert_eq!(there[0].state, state);
        }
        let total: usize = then.hosts.values().map(|host| host.containers.len()).sum();
        prop_assert_eq!(total, what.containers.len());
    }

    #[test]
    fn an_overlapping_container_must_serve_at_every_moment(
        cells in prop::collection::vec(cell(), 0..8), interrupted: bool,
    ) {
        let (what, found) = world(&cells, interrupted);
        let slots = movable(&what, &found);
        let plan = reconcile(&what, &found, &accepting());
        watched(&plan, &what, found, &mut |now| {
            for slot in &slots {
                let runs = now.hosts[&slot.host].containers.iter().any(|c| {
                    c.state == ContainerState::Running
                        && c.slot_labels.as_ref().is_some_and(|labels| labels.container == slot.container)
                });
                assert!(runs, "{slot} is down\n{}{}", render::text(&plan), render::steps(&plan));
            }
        });
    }

    #[test]
    fn the_same_world_in_another_order_must_give_the_same_bytes(
        cells in prop::collection::vec(cell(), 0..8), interrupted: bool,
    ) {
        let (what, found) = world(&cells, interrupted);
        let one = render::json(&reconcile(&what, &found, &Options::default()));
        let other = render::json(&reconcile(&what, &shuffled(found), &Options::default()));
        prop_assert_eq!(one, other);
    }

    #[test]
    fn a_plan_that_is_written_and_read_must_be_the_same(cells in prop::collection::vec(cell(), 0..6)) {
        let (what, found) = world(&cells, false);
        let plan = reconcile(&what, &found, &Options::default());
        prop_assert_eq!(render::parse(&render::json(&plan)).unwrap(), plan);
    }

    #[test]
    fn a_plan_for_one_set_must_touch_no_other(cells in prop::collection::vec(cell(), 1..8)) {
        let (what, found) = world(&cells, false);
        let mut options = accepting();
        options.selection.sets.insert("api".parse().unwrap());
        let plan = reconcile(&what, &found, &options);
        for step in &plan.steps {
            if let Some(set) = &step.set {
                prop_assert_eq!(set.as_str(), "api");
            }
            if let Some(Target::Existing { name, .. }) = step.action.target() {
                let container = found.hosts.values().flat_map(|h| &h.containers).find(|c| c.name == *name).unwrap();
                let labels = container.slot_labels.as_ref().unwrap();
                prop_assert_eq!(labels.set.as_str(), "api");
            }
        }
    }

    #[test]
    fn the_independent_checker_must_accept_stopping_starting_and_destroying(
        cells in prop::collection::vec(cell(), 0..8), all: bool,
    ) {
        let (what, found) = world(&cells, false);
        let options = accepting();
        let volumes = if all { Volumes::All } else { Volumes::Keep };
        for plan in [
            stop(&what, &found, &options),
            start(&what, &found, &options),
            destroy(&found, what.release.clone(), &volumes, &options),
        ] {
            if let Err(violations) = verify(&plan, &what, &found) {
                let lines: Vec<String> = violations.iter().map(ToString::to_string).collect();
                prop_assert!(false, "{}\n{}{}", lines.join("\n"), render::text(&plan), render::steps(&plan));
            }
            let removes = plan.steps.iter().any(|s| matches!(s.action, Action::RemoveVolume { .. }));
            prop_assert!(all || !removes);
        }
    }
}
