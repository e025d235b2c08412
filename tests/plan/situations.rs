//! What is planned in which situation. Each test is one sentence of the specification.

use insta::assert_snapshot;
use mastic::model::spec::TaskTrigger;
use mastic::model::{ContainerState, Desired, Observed};
use mastic::plan::{Options, Plan, reconcile, render};

use crate::deployment::{C, Seen, desired, nothing, with_identity};

/// Summary and steps as one text.
fn plan(desired: &Desired, observed: &Observed) -> String {
    both(&reconcile(desired, observed, &Options::default()))
}

fn both(plan: &Plan) -> String {
    format!("{}{}", render::text(plan), render::steps(plan))
}

fn keystone() -> C {
    C::service("keystone-api").file("/etc/keystone/keystone.conf", "debug = false")
}

#[test]
fn the_first_deploy_must_create_everything_and_start_each_after_what_it_needs() {
    let desired = desired([
        C::service("mariadb").set("database").volume("mariadb"),
        C::task("keystone-db-sync", TaskTrigger::Image).after(&["mariadb"]),
        keystone().after(&["mariadb", "keystone-db-sync"]),
    ]);
    assert_snapshot!(plan(&desired, &nothing(&desired)), @"
     # deployment aio, release 2026.1, 1 host: generation 1, the first
     + local/mariadb           create  gen 1  no container yet
     + local/keystone-api      create  gen 1  no container yet
     + local/keystone-db-sync  run     gen 1  has never run
     + local/aio_mariadb  create volume  no volume yet
    2 to create, 1 to run; 17 steps.
    [] -> #1 local: begin generation, kept in the history
    [1] -> #2 local: create volume aio_mariadb, no volume yet
    [2] -> #3 local/mariadb: create aio-mariadb-1, no container yet
    [3] -> #4 local/mariadb: upload config aio-mariadb-1, no container yet
    [1] -> #5 local/keystone-api: create aio-keystone-api-1, no container yet
    [5] -> #6 local/keystone-api: upload config aio-keystone-api-1, no container yet
    [1] -> #7 local/keystone-db-sync: create aio-keystone-db-sync-1, has never run
    [7] -> #8 local/keystone-db-sync: upload config aio-keystone-db-sync-1, has never run
    [4] -> #9 local/mariadb: start aio-mariadb-1, no container yet
    [9] -> #10 local/mariadb: await healthy aio-mariadb-1, no container yet
    [10] -> #11 database: proven, the set becomes new as a whole
    [8,10] -> #12 local/keystone-db-sync: start aio-keystone-db-sync-1, has never run
    [12] -> #13 local/keystone-db-sync: await exit aio-keystone-db-sync-1, has never run
    [6,13] -> #14 local/keystone-api: start aio-keystone-api-1, no container yet
    [14] -> #15 local/keystone-api: await healthy aio-keystone-api-1, no container yet
    [15] -> #16 api: proven, the set becomes new as a whole
    [11,16] -> #17 local: end generation, kept in the history
    ");
}

#[test]
fn a_deployment_that_is_what_it_should_be_must_give_an_empty_plan() {
    let api = keystone();
    let task = C::task("keystone-db-sync", TaskTrigger::Image);
    let desired = desired([api.clone(), task.clone()]);
    let observed = nothing(&desired).with(&api, 3, ContainerState::Running).with_exit(&task, 2, 0);
    let plan = reconcile(&desired, &observed, &Options::default());
    assert!(plan.is_empty());
    assert_eq!(plan.generation, None);
    assert_snapshot!(both(&plan), @"
     # deployment aio, release 2026.1, 1 host: generation 3
     = 2 unchanged
    Nothing to do.
    ");
}

#[test]
fn a_changed_image_and_file_must_be_swapped_in_only_once_the_successor_is_complete() {
    let old = keystone();
    let new =
        keystone().tag("2026.2").file("/etc/keystone/keystone.conf", "debug = true").env("OS_DEBUG", "1");
    let desired = desired([new]);
    let observed = nothing(&desired).with(&old, 4, ContainerState::Running);
    assert_snapshot!(plan(&desired, &observed), @"
     # deployment aio, release 2026.1, 1 host: generation 4 -> 5
     ~ local/keystone-api  replace  gen 4 -> 5  image mastic/keystone:2026.1@625734bd5ff4 -> mastic/keystone:2026.2@cca32da057fd; env OS_DEBUG added; file /etc/keystone/keystone.conf changed
     ! note: outage: local/keystone-api does not answer while it is swapped, and there is no second one
    1 to replace; 10 steps.
    [] -> #1 local: begin generation, kept in the history
    [1] -> #2 local/keystone-api: create aio-keystone-api-5, image mastic/keystone:2026.1@625734bd5ff4 -> mastic/keystone:2026.2@cca32da057fd; env OS_DEBUG added; file /etc/keystone/keystone.conf changed
    [2] -> #3 local/keystone-api: upload config aio-keystone-api-5, image mastic/keystone:2026.1@625734bd5ff4 -> mastic/keystone:2026.2@cca32da057fd; env OS_DEBUG added; file /etc/keystone/keystone.conf changed
    [3] -> #4 api: staged, the set becomes new as a whole
    [4] -> #5 local/keystone-api: stop aio-keystone-api-4, image mastic/keystone:2026.1@625734bd5ff4 -> mastic/keystone:2026.2@cca32da057fd; env OS_DEBUG added; file /etc/keystone/keystone.conf changed
    [5] -> #6 local/keystone-api: start aio-keystone-api-5, image mastic/keystone:2026.1@625734bd5ff4 -> mastic/keystone:2026.2@cca32da057fd; env OS_DEBUG added; file /etc/keystone/keystone.conf changed
    [6] -> #7 local/keystone-api: await healthy aio-keystone-api-5, image mastic/keystone:2026.1@625734bd5ff4 -> mastic/keystone:2026.2@cca32da057fd; env OS_DEBUG added; file /etc/keystone/keystone.conf changed
    [7] -> #8 api: proven, the set becomes new as a whole
    [8] -> #9 local/keystone-api: remove aio-keystone-api-4, of generation 4, its successor serves
    [9] -> #10 local: end generation, kept in the history
    ");
}

#[test]
fn flavors_and_networks_must_be_made_once_everything_serves_and_only_when_they_change() {
    use mastic::model::cloud::Flavor;
    use mastic::plan::Action;
    let mut desired = with_identity(desired([keystone()]), &["keystone-api"], "https://cloud:5000/v3");
    desired.cloud.flavors.insert("tiny".to_owned(), Flavor { cpus: 1, memory: 128, disk: 1 });
    let first = reconcile(&desired, &nothing(&desired), &Options::default());
    let furnish =
        |plan: &Plan| plan.steps.iter().find(|s| matches!(s.action, Action::Furnish { .. })).cloned();
    let step = furnish(&first).expect("a new cloud gets its flavors");
    assert_eq!(step.cause.to_string(), "the cloud is to offer flavor tiny");
    // What it waits for, and what that waits for.
    let mut waits = step.deps.clone();
    for earlier in first.steps.iter().rev() {
        if waits.contains(&earlier.id) {
            waits.extend(earlier.deps.iter().copied());
        }
    }
    for before in first.steps.iter().filter(|s| matches!(s.action, Action::Proven | Action::Register { .. }))
    {
        assert!(waits.contains(&before.id), "{step:?} must wait for {before:?}");
    }

    let observed = nothing(&desired).with(&keystone(), 1, ContainerState::Running).registered(&desired);
    assert!(reconcile(&desired, &observed, &Options::default()).is_empty());

    desired.cloud.flavors.insert("small".to_owned(), Flavor { cpus: 1, memory: 512, disk: 5 });
    let again = reconcile(&desired, &observed, &Options::default());
    let step = furnish(&again).expect("a new flavor is made");
    assert_eq!(step.cause.to_string(), "what the cloud offers has changed: flavors small, tiny");
    assert!(
        again
            .steps
            .iter()
            .all(|s| matches!(s.action, Action::Furnish { .. } | Action::WriteGeneration { .. }))
    );
}
