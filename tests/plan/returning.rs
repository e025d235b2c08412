//! The return to a committed-over release with the data of a restore point.

use insta::assert_snapshot;
use mastic::model::spec::TaskTrigger;
use mastic::model::{ContainerState, Desired, Generation, Observed, TaskPhase};
use mastic::plan::{
    Action, Blocker, Change, HazardKind, Options, Plan, Purpose, StepId, reconcile, render, verify,
};

use crate::deployment::{C, Seen, desired, nothing, slot, with_identity};

const POINT: &str = "generation-1";

fn mariadb() -> C {
    C::service("mariadb").set("database").volume("mariadb")
}

fn restore() -> C {
    C::phase("mariadb-restore", TaskTrigger::Spec, TaskPhase::Restore).set("database").volume("mariadb")
}

fn backup() -> C {
    C::phase("mariadb-backup", TaskTrigger::Spec, TaskPhase::Backup).set("database").after(&["mariadb"])
}

fn sync(release: &str) -> C {
    C::task("keystone-db-sync", TaskTrigger::Image).tag(release).after(&["mariadb"])
}

fn api(release: &str) -> C {
    C::service("keystone-api").tag(release).after(&["mariadb", "keystone-db-sync"])
}

fn contract(release: &str) -> C {
    C::phase("keystone-contract", TaskTrigger::Image, TaskPhase::Contract)
        .tag(release)
        .after(&["keystone-api"])
}

fn cloud(release: &str) -> Desired {
    let mut all = desired([
        mariadb(),
        restore(),
        backup(),
        sync(release),
        api(release),
        contract(release),
        C::service("libvirt").set("compute"),
    ]);
    all.release = release.parse().unwrap();
    all.data_plane.insert("libvirt".parse().unwrap());
    with_identity(all, &["keystone-api"], "https://cloud:5000/v3")
}

/// 2026.1 is committed: generation 1 made what both share, generation 2 what serves, generation 3 was the commit.
fn committed() -> Observed {
    let new = cloud("2026.1");
    let mut found = nothing(&new)
        .images_of(&cloud("2025.1"))
        .with(&mariadb(), 1, ContainerState::Running)
        .with(&C::service("libvirt").set("compute"), 1, ContainerState::Running)
        .with(&api("2026.1"), 2, ContainerState::Running)
        .with_exit(&sync("2026.1"), 2, 0)
        .with_exit(&contract("2026.1"), 3, 0)
        .registered(&new);
    found.last_generation = 3;
    found
}

fn back(found: &Observed) -> Plan {
    let old = cloud("2025.1");
    let plan = reconcile(&old, found, &Options::return_to(found, Generation::FIRST, &old.release, POINT));
    verify(&plan, &old, found).unwrap_or_else(|wrong| panic!("{wrong:?}\n{}", render::steps(&plan)));
    plan
}

#[test]
fn all_that_uses_the_data_must_stop_before_it_changes_and_the_older_release_start_after_it() {
    let plan = back(&committed());
    assert!(plan.unaccepted_kinds().contains(&HazardKind::DataLoss), "{:?}", plan.hazards);
    assert_snapshot!(format!("{}{}", render::text(&plan), render::steps(&plan)), @"
     # rollback deployment aio, release 2025.1 with the data of restore point generation-1, 1 host: generation 3 -> 4
     ~ local/mariadb            restart  gen 1       its data becomes that of generation-1
     + local/mariadb-backup     run      gen 4       has never run
     + local/mariadb-restore    run      gen 4       has never run
     ~ local/keystone-api       replace  gen 2 -> 4  image mastic/keystone:2026.1@625734bd5ff4 -> mastic/keystone:2025.1@8e22bc3777d5
     ~ local/keystone-contract  clean                its data becomes that of generation-1
     + local/keystone-db-sync   run      gen 2 -> 4  due again: image mastic/keystone:2026.1@625734bd5ff4 -> mastic/keystone:2025.1@8e22bc3777d5
     ~ identity  register  catalogue, projects, roles or users changed
     = 1 unchanged
     ! note: outage: no API answers from the first stop until 2025.1 serves; servers run on
     ! needs your yes: data-loss: local/mariadb-restore cannot be undone: what was written since is lost
    3 to run, 1 to replace, 1 to start or wait for, 1 to clean up, 1 irreversible; 30 steps.
    [] -> #1 local: begin generation, kept in the history
    [1] -> #2 local/mariadb-backup: create aio-mariadb-backup-4, has never run
    [2] -> #3 local/mariadb-backup: upload config aio-mariadb-backup-4, has never run
    [1] -> #4 local/mariadb-restore: create aio-mariadb-restore-4, has never run
    [4] -> #5 local/mariadb-restore: upload config aio-mariadb-restore-4, has never run
    [3,5] -> #6 database: staged, the set becomes new as a whole
    [1] -> #7 local/keystone-api: create aio-keystone-api-4, image mastic/keystone:2026.1@625734bd5ff4 -> mastic/keystone:2025.1@8e22bc3777d5
    [7] -> #8 local/keystone-api: upload config aio-keystone-api-4, image mastic/keystone:2026.1@625734bd5ff4 -> mastic/keystone:2025.1@8e22bc3777d5
    [1] -> #9 local/keystone-db-sync: create aio-keystone-db-sync-4, due again: image mastic/keystone:2026.1@625734bd5ff4 -> mastic/keystone:2025.1@8e22bc3777d5
    [9] -> #10 local/keystone-db-sync: upload config aio-keystone-db-sync-4, due again: image mastic/keystone:2026.1@625734bd5ff4 -> mastic/keystone:2025.1@8e22bc3777d5
    [8,10] -> #11 api: staged, the set becomes new as a whole
    [3] -> #12 local/mariadb-backup: start aio-mariadb-backup-4, has never run
    [12] -> #13 local/mariadb-backup: await exit aio-mariadb-backup-4, has never run
    [5,11,13] -> #14 local/keystone-api: stop aio-keystone-api-2, image mastic/keystone:2026.1@625734bd5ff4 -> mastic/keystone:2025.1@8e22bc3777d5
    [6,14] -> #15 local/mariadb: stop aio-mariadb-1, its data becomes that of generation-1
    [15] -> #16 local/mariadb-restore: start aio-mariadb-restore-4, has never run
    [16] -> #17 local/mariadb-restore: await exit aio-mariadb-restore-4, has never run
    [17] -> #18 local/mariadb: start aio-mariadb-1, its data becomes that of generation-1
    [18] -> #19 local/mariadb: await healthy aio-mariadb-1, its data becomes that of generation-1
    [19] -> #20 database: proven, the set becomes new as a whole
    [19] -> #21 local/keystone-db-sync: start aio-keystone-db-sync-4, due again: image mastic/keystone:2026.1@625734bd5ff4 -> mastic/keystone:2025.1@8e22bc3777d5
    [21] -> #22 local/keystone-db-sync: await exit aio-keystone-db-sync-4, due again: image mastic/keystone:2026.1@625734bd5ff4 -> mastic/keystone:2025.1@8e22bc3777d5
    [22] -> #23 local/keystone-api: start aio-keystone-api-4, image mastic/keystone:2026.1@625734bd5ff4 -> mastic/keystone:2025.1@8e22bc3777d5
    [23] -> #24 local/keystone-api: await healthy aio-keystone-api-4, image mastic/keystone:2026.1@625734bd5ff4 -> mastic/keystone:2025.1@8e22bc3777d5
    [24] -> #25 api: register identity, catalogue, projects, roles or users changed
    [25] -> #26 api: proven, the set becomes new as a whole
    [26] -> #27 local/keystone-api: remove aio-keystone-api-2, of generation 2, its successor serves
    [26] -> #28 local/keystone-contract: remove aio-keystone-contract-3, not in the profile any more
    [26] -> #29 local/keystone-db-sync: remove aio-keystone-db-sync-2, of generation 2, its successor serves
    [20,27,28,29] -> #30 local: end generation, kept in the history
    ");
}

#[test]
fn what_servers_stand_on_must_be_left_alone() {
    let plan = back(&committed());
    let libvirt = plan.slots.iter().find(|one| one.slot == slot("libvirt")).expect("it is in the plan");
    assert_eq!(libvirt.change, Change::Keep);
    assert!(plan.steps.iter().all(|step| step.slot != Some(slot("libvirt"))));
}

#[test]
fn a_return_whose_data_is_restored_must_go_on_without_restoring_again() {
    let old = cloud("2025.1");
    let mut found = committed();
    let Purpose::Return { to } = Options::return_to(&found, Generation::FIRST, &old.release, POINT).purpose
    else {
        panic!("another purpose")
    };
    // Killed once the older release had begun to start.
    for container in &mut found.hosts.values_mut().next().expect("a host").containers {
        if container.name.contains("keystone") {
            container.state = ContainerState::Exited;
            container.exit_code = Some(0);
        }
    }
    found = found.with_exit(&backup(), 4, 0).with_exit(&restore(), 4, 0).interrupted();
    let ledger = found.ledger.as_mut().expect("a record");
    (ledger.returning, ledger.release) = (Some(to), old.release.clone());
    let plan = back(&found);
    let touched = |name: &str| plan.steps.iter().any(|step| step.slot == Some(slot(name)));
    assert!(
        !touched("mariadb-restore") && !touched("mariadb-backup") && !touched("mariadb"),
        "{}",
        render::steps(&plan)
    );
    // Its schema task has run on the newer data only.
    let sync = plan.slots.iter().find(|one| one.slot == slot("keystone-db-sync")).expect("it is there");
    assert_eq!(sync.change, Change::Run);
    assert!(!plan.hazards.iter().any(|hazard| hazard.kind == HazardKind::DataLoss), "{:?}", plan.hazards);

    // Nothing else may start anything meanwhile.
    for options in [Options::default(), Options::upgrade(), Options::commit(), Options::rollback()] {
        let blocked = reconcile(&old, &found, &options).blockers;
        assert!(blocked.iter().any(|one| matches!(one, Blocker::Returning { .. })), "{blocked:?}");
    }
    // Another target is another return, from the beginning.
    let other =
        Options::return_to(&found, Generation::new(3).expect("a number"), &"2026.1".parse().unwrap(), "x");
    assert!(matches!(other.purpose, Purpose::Return { to } if to.began.get() == 5 && to.from == old.release));
}

#[test]
fn what_serves_or_is_held_must_not_be_returned_to() {
    let new = cloud("2026.1");
    let mut found = committed();
    let options = |found: &Observed| Options::return_to(found, Generation::FIRST, &new.release, POINT);
    let plan = reconcile(&new, &found, &options(&found));
    assert!(matches!(plan.blockers[..], [Blocker::Serves { .. }]), "{:?}", plan.blockers);
    found.ledger.as_mut().expect("a record").held = Some(mastic::model::Held {
        generation: Generation::FIRST,
        release: "2025.1".parse().unwrap(),
        since: String::new(),
        to: None,
        partial: false,
    });
    let plan = reconcile(&new, &found, &options(&found));
    assert!(matches!(plan.blockers[..], [Blocker::StillHeld { .. }]), "{:?}", plan.blockers);
}

#[test]
fn data_that_is_restored_under_something_that_runs_must_be_found() {
    let (old, found) = (cloud("2025.1"), committed());
    let sound = back(&found);
    let is = |id: StepId, name: &str, what: fn(&Action) -> bool| {
        sound.step(id).is_some_and(|step| step.slot == Some(slot(name)) && what(&step.action))
    };
    let starts = |action: &Action| matches!(action, Action::StartContainer { .. });
    // Neither waits for the stops; or what uses the data does not wait for it.
    for name in ["mariadb-restore", "mariadb"] {
        let mut broken = sound.clone();
        for step in broken.steps.iter_mut().filter(|step| is(step.id, name, starts)) {
            step.deps.retain(|dep| dep.0 == 1);
        }
        let rules: Vec<&str> = verify(&broken, &old, &found)
            .expect_err("it is broken")
            .iter()
            .map(|violation| violation.rule)
            .collect();
        assert!(rules.contains(&"restored"), "{name}: {rules:?}");
    }
}
