//! What is planned in which situation. Each test is one sentence of the specification.

use insta::assert_snapshot;
use mastic::model::spec::TaskTrigger;
use mastic::model::{ContainerState, Desired, Observed, TaskPhase};
use mastic::plan::{Blocker, Change, Options, Plan, Selection, reconcile, render};

use crate::deployment::{C, Seen, desired, nothing, slot, with_balancer, with_identity};

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

/// The steps that a step waits for, directly or not.
fn before(plan: &Plan, step: mastic::plan::StepId) -> Vec<mastic::plan::StepId> {
    let mut waits = plan.step(step).expect("a step of the plan").deps.clone();
    for earlier in plan.steps.iter().rev() {
        if waits.contains(&earlier.id) {
            waits.extend(earlier.deps.iter().copied());
        }
    }
    waits
}

#[test]
fn nothing_may_start_or_stop_before_all_config_was_looked_at() {
    use mastic::plan::Action;
    let look = |name: &str, set: &str| {
        C::phase(name, TaskTrigger::Spec, TaskPhase::Validate).set(set).file("/etc/x.conf", "debug = true")
    };
    let old = keystone();
    let what = desired([
        C::service("mariadb").set("database"),
        C::task("keystone-schema", TaskTrigger::Spec).after(&["mariadb"]),
        old.clone().env("OS_DEBUG", "1").after(&["mariadb", "keystone-schema"]),
        look("keystone-config", "api"),
        look("nova-config", "compute"),
    ]);
    let found = nothing(&what).with(&old, 1, ContainerState::Running).with(
        &C::service("gone").set("other"),
        1,
        ContainerState::Running,
    );
    for observed in [nothing(&what), found] {
        let plan = reconcile(&what, &observed, &Options::default());
        mastic::plan::verify(&plan, &what, &observed).expect("a sound plan");
        let looks = |slot: &str| slot.ends_with("-config");
        let of = |step: &mastic::plan::Step| step.slot.as_ref().map(ToString::to_string).unwrap_or_default();
        let waits: Vec<_> =
            plan.steps.iter().filter(|s| looks(&of(s)) && s.action.is_wait()).map(|s| s.id).collect();
        assert_eq!(waits.len(), 2);
        let acts = plan.steps.iter().filter(|s| {
            !looks(&of(s)) && matches!(s.action, Action::StartContainer { .. } | Action::StopContainer { .. })
        });
        for step in acts {
            let before = before(&plan, step.id);
            assert!(waits.iter().all(|wait| before.contains(wait)), "{step:?} does not wait");
        }
        // To make containers touches nothing: that need not wait.
        let made = plan.steps.iter().filter(|s| matches!(s.action, Action::CreateContainer { .. }));
        assert!(made.into_iter().all(|s| !before(&plan, s.id).iter().any(|b| waits.contains(b))));
    }
}

#[test]
fn a_look_at_config_must_go_with_the_containers_whose_config_it_is() {
    let look = C::phase("keystone-config", TaskTrigger::Spec, TaskPhase::Validate).set("api");
    let mut elsewhere = C::service("keystone-worker").set("control");
    elsewhere.0.service = look.0.service.clone();
    elsewhere.0.image = look.0.image.clone();
    let what = desired([look, elsewhere, C::service("mariadb").set("database")]);
    let changed = |set: &str| -> Vec<String> {
        let mut options = Options::default();
        options.selection.sets.insert(set.parse().expect("a set"));
        let plan = reconcile(&what, &nothing(&what), &options);
        plan.slots.iter().map(|slot| slot.slot.container.to_string()).collect()
    };
    assert_eq!(changed("control"), ["keystone-config", "keystone-worker"]);
    assert_eq!(changed("database"), ["mariadb"]);
}

#[test]
fn an_overlapping_container_must_move_to_its_other_ports_and_be_drained_before_it_goes() {
    let old = keystone().overlapping();
    let balancer = C::service("haproxy").set("ha").overlapping();
    let new = old.clone().file("/etc/keystone/keystone.conf", "debug = true");
    let desired = with_balancer(desired([balancer.clone(), new]), "haproxy");
    let observed =
        nothing(&desired).with(&balancer, 3, ContainerState::Running).with(&old, 4, ContainerState::Running);
    let first = reconcile(&desired, &observed, &Options::default());
    assert_eq!(first.hazards, []);
    assert_snapshot!(calls(&first), @"
    [] -> #1 begin generation
    [1] -> #2 create aio-keystone-api-5
    [2] -> #3 upload config aio-keystone-api-5
    [3] -> #4 staged
    [1] -> #5 open keystone-api/local-spare
    [3,5] -> #6 start aio-keystone-api-5
    [6] -> #7 await healthy aio-keystone-api-5
    [7] -> #8 drain keystone-api/local
    [4,8] -> #9 stop aio-keystone-api-4
    [9] -> #10 proven
    [10] -> #11 remove aio-keystone-api-4
    [11] -> #12 end generation
    ");
    // Already on its spare ports: it moves back.
    let observed = nothing(&desired).with(&balancer, 3, ContainerState::Running).with(
        &old.spare(),
        4,
        ContainerState::Running,
    );
    assert_snapshot!(calls(&reconcile(&desired, &observed, &Options::default())), @"
    [] -> #1 begin generation
    [1] -> #2 create aio-keystone-api-5
    [2] -> #3 upload config aio-keystone-api-5
    [3] -> #4 staged
    [1] -> #5 open keystone-api/local
    [3,5] -> #6 start aio-keystone-api-5
    [6] -> #7 await healthy aio-keystone-api-5
    [7] -> #8 drain keystone-api/local-spare
    [4,8] -> #9 stop aio-keystone-api-4
    [9] -> #10 proven
    [10] -> #11 remove aio-keystone-api-4
    [11] -> #12 end generation
    ");
}

#[test]
fn what_is_kept_beside_its_successor_must_be_frozen_and_thawed_on_the_way_back() {
    let balancer = C::service("haproxy").set("ha").overlapping();
    let cloud = |tag: &str| {
        let keystone = C::service("keystone-api").tag(tag).overlapping();
        with_balancer(desired([balancer.clone(), keystone]), "haproxy")
    };
    let (old, new) = (cloud("2025.1"), cloud("2026.1"));
    let keystone = |tag: &str| C::service("keystone-api").tag(tag).overlapping();
    let found = nothing(&new).images_of(&old).with(&balancer, 3, ContainerState::Running).registered(&new);
    let before = found.clone().with(&keystone("2025.1"), 4, ContainerState::Running);
    let up = reconcile(&new, &before, &Options::upgrade());
    mastic::plan::verify(&up, &new, &before).expect("a sound plan");
    assert_snapshot!(calls(&up), @"
    [] -> #1 begin generation
    [1] -> #2 create aio-keystone-api-5
    [2] -> #3 upload config aio-keystone-api-5
    [3] -> #4 staged
    [1] -> #5 open keystone-api/local-spare
    [3,5] -> #6 start aio-keystone-api-5
    [6] -> #7 await healthy aio-keystone-api-5
    [7] -> #8 await steady aio-keystone-api-5
    [8] -> #9 drain keystone-api/local
    [4,9] -> #10 freeze aio-keystone-api-4
    [10] -> #11 proven
    [11] -> #12 end generation
    ");

    // Where the balancer only looks whether somebody listens, or where memory is short, it is stopped.
    let short = reconcile(&new, &before, &Options { freeze: false, ..Options::upgrade() });
    assert!(calls(&short).contains("stop aio-keystone-api-4"));
    let mut blind = new.clone();
    blind.routes.values_mut().flatten().for_each(|route| route.asked = false);
    assert!(calls(&reconcile(&blind, &before, &Options::upgrade())).contains("stop aio-keystone-api-4"));

    let mut kept = found.with(&keystone("2025.1"), 4, ContainerState::Paused).with(
        &keystone("2026.1").spare(),
        5,
        ContainerState::Running,
    );
    let ledger = kept.ledger.as_mut().expect("a record");
    ledger.held = up.held.clone();
    ledger.number = 5;
    assert!(reconcile(&new, &kept, &Options::upgrade()).steps.is_empty(), "it is as it should be");
    assert!(reconcile(&new, &kept, &Options::default()).steps.is_empty(), "also for a deploy");
    let back = reconcile(&old, &kept, &Options::rollback());
    mastic::plan::verify(&back, &old, &kept).expect("a sound plan");
    assert_snapshot!(calls(&back), @"
    [] -> #1 begin generation
    [1] -> #2 open keystone-api/local
    [2] -> #3 thaw aio-keystone-api-4
    [3] -> #4 await healthy aio-keystone-api-4
    [4] -> #5 drain keystone-api/local-spare
    [5] -> #6 stop aio-keystone-api-5
    [6] -> #7 proven
    [7] -> #8 remove aio-keystone-api-5
    [8] -> #9 end generation
    ");

    // A change while the upgrade is open needs the ports on which the frozen one still listens.
    let changed = keystone("2026.1").file("/etc/keystone/keystone.conf", "debug = true");
    let third = with_balancer(desired([balancer.clone(), changed]), "haproxy");
    let change = reconcile(&third, &kept, &Options::default());
    mastic::plan::verify(&change, &third, &kept).expect("a sound plan");
    assert_snapshot!(calls(&change), @"
    [] -> #1 begin generation
    [1] -> #2 create aio-keystone-api-6
    [2] -> #3 upload config aio-keystone-api-6
    [3] -> #4 staged
    [1] -> #5 open keystone-api/local
    [4] -> #6 stop aio-keystone-api-4
    [5,6] -> #7 start aio-keystone-api-6
    [7] -> #8 await healthy aio-keystone-api-6
    [8] -> #9 drain keystone-api/local-spare
    [9] -> #10 stop aio-keystone-api-5
    [10] -> #11 proven
    [11] -> #12 remove aio-keystone-api-5
    [12] -> #13 end generation
    ");

    // It holds connections and memory: what stops everything stops it, too, and what starts everything leaves it.
    let stop = calls(&mastic::plan::stop(&new, &kept, &Options::default()));
    assert!(stop.contains("stop aio-keystone-api-4") && stop.contains("stop aio-keystone-api-5"), "{stop}");
    let mut down = kept.clone();
    for container in &mut down.hosts.values_mut().next().expect("a host").containers {
        if container.name == "aio-keystone-api-5" {
            container.state = ContainerState::Exited;
        }
    }
    let start = calls(&mastic::plan::start(&new, &down, &Options::default()));
    assert!(start.contains("start aio-keystone-api-5") && !start.contains("aio-keystone-api-4"), "{start}");

    // What serves and was frozen by somebody goes on.
    let frozen = nothing(&new)
        .with(&balancer, 3, ContainerState::Running)
        .with(&keystone("2026.1"), 4, ContainerState::Paused)
        .registered(&new);
    assert_snapshot!(plan(&new, &frozen), @"
     # deployment aio, release 2026.1, 1 host: generation 4 -> 5
     ~ local/keystone-api  start  gen 4  is paused
     = 1 unchanged
    1 to start or wait for; 6 steps.
    [] -> #1 local: begin generation, kept in the history
    [1] -> #2 local/keystone-api: open keystone-api/local, is paused
    [2] -> #3 local/keystone-api: thaw aio-keystone-api-4, is paused
    [3] -> #4 local/keystone-api: await healthy aio-keystone-api-4, is paused
    [4] -> #5 api: proven, the set becomes new as a whole
    [5] -> #6 local: end generation, kept in the history
    ");
}

#[test]
fn what_is_kept_of_an_exclusive_service_must_stand_by_once_all_serve_and_go_on_on_the_way_back() {
    let conductor = |tag: &str| C::service("nova-conductor").tag(tag).standing_by();
    let compute = |tag: &str| C::service("nova-compute").tag(tag).set("compute").after(&["nova-conductor"]);
    let cloud = |tag: &str| desired([conductor(tag), compute(tag)]);
    let (old, new) = (cloud("2025.1"), cloud("2026.1"));
    let nothing = nothing(&new).images_of(&old);
    let before = nothing.clone().with(&conductor("2025.1"), 1, ContainerState::Running);
    let before = before.with(&compute("2025.1"), 1, ContainerState::Running).registered(&new);
    let up = reconcile(&new, &before, &Options::upgrade());
    mastic::plan::verify(&up, &new, &before).expect("a sound plan");
    // The one that cannot stand by is kept stopped.
    assert_snapshot!(calls(&up), @"
    [] -> #1 begin generation
    [1] -> #2 create aio-nova-conductor-2
    [2] -> #3 upload config aio-nova-conductor-2
    [3] -> #4 staged
    [1] -> #5 create aio-nova-compute-2
    [5] -> #6 upload config aio-nova-compute-2
    [6] -> #7 staged
    [4] -> #8 stop aio-nova-conductor-1
    [8] -> #9 start aio-nova-conductor-2
    [9] -> #10 await healthy aio-nova-conductor-2
    [10] -> #11 await steady aio-nova-conductor-2
    [11] -> #12 proven
    [7,11] -> #13 stop aio-nova-compute-1
    [13] -> #14 start aio-nova-compute-2
    [14] -> #15 await healthy aio-nova-compute-2
    [15] -> #16 await steady aio-nova-compute-2
    [16] -> #17 proven
    [12,17] -> #18 stand by aio-nova-conductor-1
    [18] -> #19 end generation
    ");
    let short = reconcile(&new, &before, &Options { freeze: false, ..Options::upgrade() });
    assert!(!calls(&short).contains("stand by"), "{}", calls(&short));
    let change = calls(&reconcile(&new, &before, &Options::default()));
    assert!(!change.contains("stand by"), "nothing is kept of a deploy: {change}");

    let kept = |state| {
        let found = nothing.clone().with(&conductor("2025.1"), 1, state);
        let found = found.with(&conductor("2026.1"), 2, ContainerState::Running);
        let found = found.with(&compute("2025.1"), 1, ContainerState::Exited);
        let mut found = found.with(&compute("2026.1"), 2, ContainerState::Running).registered(&new);
        found.ledger.as_mut().expect("a record").held = up.held.clone();
        found
    };
    let standing = kept(ContainerState::Paused);
    for options in [Options::upgrade(), Options::default()] {
        assert!(reconcile(&new, &standing, &options).steps.is_empty(), "it is as it should be");
    }
    let back = reconcile(&old, &standing, &Options::rollback());
    mastic::plan::verify(&back, &old, &standing).expect("a sound plan");
    assert_snapshot!(calls(&back), @"
    [] -> #1 begin generation
    [1] -> #2 stop aio-nova-compute-2
    [2] -> #3 start aio-nova-compute-1
    [3] -> #4 await healthy aio-nova-compute-1
    [4] -> #5 stop aio-nova-conductor-2
    [5] -> #6 thaw aio-nova-conductor-1
    [6] -> #7 await healthy aio-nova-conductor-1
    [7] -> #8 proven
    [4] -> #9 proven
    [8] -> #10 remove aio-nova-conductor-2
    [9] -> #11 remove aio-nova-compute-2
    [10,11] -> #12 end generation
    ");

    // It is in nobody's way: a change while the upgrade is open leaves it.
    let changed = conductor("2026.1").file("/etc/nova/nova.conf", "debug = true");
    let third = desired([changed, compute("2026.1")]);
    let change = reconcile(&third, &standing, &Options::default());
    mastic::plan::verify(&change, &third, &standing).expect("a sound plan");
    assert!(!calls(&change).contains("nova-conductor-1"), "{}", calls(&change));

    // Killed before it was frozen, it waits, and looks like one that works: on the way back it begins anew.
    let begun = kept(ContainerState::Running);
    let back = reconcile(&old, &begun, &Options::rollback());
    mastic::plan::verify(&back, &old, &begun).expect("a sound plan");
    let said = calls(&back);
    assert!(
        said.contains("stop aio-nova-conductor-1") && said.contains("start aio-nova-conductor-1"),
        "{said}"
    );
    // And where the upgrade goes on, it comes to it again.
    let on = reconcile(&new, &begun.clone().interrupted(), &Options::upgrade());
    mastic::plan::verify(&on, &new, &begun).expect("a sound plan");
    let said = calls(&on);
    assert!(
        said.contains("stop aio-nova-conductor-1") && said.contains("stand by aio-nova-conductor-1"),
        "{said}"
    );
}

#[test]
fn a_balancer_that_changes_too_must_serve_alone_before_it_drains() {
    let old = keystone().overlapping();
    let balancer = C::service("haproxy").set("ha").overlapping();
    let new = old.clone().file("/etc/keystone/keystone.conf", "debug = true");
    let changed = balancer.clone().file("/etc/haproxy.cfg", "new");
    let desired = with_balancer(desired([changed, new.after(&["haproxy"])]), "haproxy");
    let observed =
        nothing(&desired).with(&balancer, 3, ContainerState::Running).with(&old, 4, ContainerState::Running);
    assert_snapshot!(calls(&reconcile(&desired, &observed, &Options::default())), @"
    [] -> #1 begin generation
    [1] -> #2 create aio-haproxy-5
    [2] -> #3 upload config aio-haproxy-5
    [3] -> #4 staged
    [1] -> #5 create aio-keystone-api-5
    [5] -> #6 upload config aio-keystone-api-5
    [6] -> #7 staged
    [3] -> #8 start aio-haproxy-5
    [8] -> #9 await healthy aio-haproxy-5
    [4,9] -> #10 stop aio-haproxy-3
    [10] -> #11 proven
    [9] -> #12 open keystone-api/local-spare
    [6,12] -> #13 start aio-keystone-api-5
    [13] -> #14 await healthy aio-keystone-api-5
    [10,14] -> #15 drain keystone-api/local
    [7,15] -> #16 stop aio-keystone-api-4
    [16] -> #17 proven
    [11] -> #18 remove aio-haproxy-3
    [17] -> #19 remove aio-keystone-api-4
    [18,19] -> #20 end generation
    ");
}

/// The calls of a plan with what they wait for, without causes.
fn calls(plan: &Plan) -> String {
    let deps = |step: &mastic::plan::Step| {
        step.deps.iter().map(|dep| dep.0.to_string()).collect::<Vec<_>>().join(",")
    };
    plan.steps.iter().map(|step| format!("[{}] -> {} {}\n", deps(step), step.id, step.action)).collect()
}

#[test]
fn a_service_must_change_part_by_part_and_back_in_the_reverse_order() {
    use mastic::plan::{Action, StepId};
    // The conductor needs keystone, and the API must change after it; the API itself needs the database only.
    let keystone = |tag: &str| C::service("keystone-api").tag(tag).set("api").after(&["mariadb"]);
    let api = |tag: &str| C::service("nova-api").tag(tag).set("api").after(&["mariadb"]).overlapping();
    let conductor =
        |tag: &str| C::service("nova-conductor").tag(tag).set("control").after(&["mariadb", "keystone-api"]);
    let compute = |tag: &str| C::service("nova-compute").tag(tag).set("compute").after(&["nova-conductor"]);
    let mariadb = C::service("mariadb").set("database");
    let balancer = C::service("haproxy").set("ha").overlapping();
    let task =
        |name: &str, phase, tag: &str| C::phase(name, TaskTrigger::Spec, phase).tag(tag).set("control");
    let cloud = |tag: &str| {
        let what = [
            mariadb.clone(),
            balancer.clone(),
            keystone(tag),
            api(tag),
            conductor(tag),
            compute(tag),
            task("nova-return", TaskPhase::Return, tag).after(&["mariadb"]),
            task("nova-settle", TaskPhase::Settle, tag).after(&["mariadb"]),
        ];
        let mut what = with_balancer(desired(what), "haproxy");
        what.swaps.insert(slot("nova-api"), [slot("nova-conductor")].into());
        what
    };
    let (old, new) = (cloud("2025.1"), cloud("2026.1"));
    let running = |found: Observed, generation| {
        let parts =
            [mariadb.clone(), balancer.clone(), keystone("2025.1"), api("2025.1"), conductor("2025.1")];
        let parts = parts.into_iter().chain([compute("2025.1")]);
        parts.fold(found, |found, c| found.with(&c, generation, ContainerState::Running))
    };
    let found = running(nothing(&new).images_of(&old), 1).registered(&new);
    let step = |plan: &Plan, name: &str, which: fn(&Action) -> bool| -> StepId {
        let of =
            |step: &&mastic::plan::Step| step.slot.as_ref().is_some_and(|s| s.container.as_str() == name);
        plan.steps.iter().filter(of).find(|step| which(&step.action)).unwrap_or_else(|| panic!("{name}")).id
    };
    let (stop, start) = (
        |action: &Action| matches!(action, Action::StopContainer { .. }),
        |action: &Action| matches!(action, Action::StartContainer { .. }),
    );
    let first = |plan: &Plan, earlier: StepId, later: StepId| before(plan, later).contains(&earlier);

    let up = reconcile(&new, &found, &Options::upgrade());
    mastic::plan::verify(&up, &new, &found).expect("a sound plan");
    for later in ["nova-api", "nova-compute"] {
        assert!(first(&up, step(&up, "nova-conductor", Action::is_wait), step(&up, later, start)), "{later}");
    }

    // What is newer must stay well before what comes after it, and before its predecessor goes where that still serves.
    let soaked = |action: &Action| matches!(action, Action::AwaitSteady { seconds: 5, .. });
    for later in ["nova-api", "nova-compute"] {
        assert!(first(&up, step(&up, "nova-conductor", soaked), step(&up, later, start)), "{later}");
    }
    assert!(first(&up, step(&up, "nova-api", soaked), step(&up, "nova-api", stop)));
    assert!(!first(&up, step(&up, "nova-compute", soaked), step(&up, "nova-compute", stop)));

    let mut found = nothing(&new).images_of(&old).with(&mariadb, 1, ContainerState::Running);
    found = found.with(&balancer, 1, ContainerState::Running);
    for of in [&keystone as &dyn Fn(&str) -> C, &conductor, &compute] {
        found = found.with(&of("2025.1"), 1, ContainerState::Exited).with(
            &of("2026.1"),
            2,
            ContainerState::Running,
        );
    }
    found = found
        .with(&api("2025.1"), 1, ContainerState::Exited)
        .with(&api("2026.1").spare(), 2, ContainerState::Running)
        .registered(&new);
    found.ledger.as_mut().expect("a record").held = Some(mastic::model::Held {
        generation: mastic::model::Generation::new(1).expect("a number"),
        release: "2025.1".parse().expect("a release"),
        since: "2026-01-01T00:00:00Z".to_owned(),
        to: Some("2026.1".parse().expect("a release")),
        partial: false,
    });
    let back = reconcile(&old, &found, &Options::rollback());
    mastic::plan::verify(&back, &old, &found).expect("a sound plan");
    let returned = step(&back, "nova-return", Action::is_wait);
    let settled = step(&back, "nova-settle", Action::is_wait);
    for part in ["nova-api", "nova-compute"] {
        assert!(first(&back, returned, step(&back, part, start)), "{part}");
        assert!(first(&back, returned, step(&back, part, stop)), "{part}: the newer one serves meanwhile");
        assert!(
            first(&back, step(&back, part, Action::is_wait), step(&back, "nova-conductor", stop)),
            "{part}"
        );
        assert!(first(&back, step(&back, part, stop), step(&back, "nova-settle", start)), "{part}");
    }
    assert!(first(&back, returned, step(&back, "nova-conductor", stop)));
    assert!(first(&back, step(&back, "nova-conductor", stop), step(&back, "nova-settle", start)));
    assert!(first(&back, settled, step(&back, "nova-conductor", start)));
    // The API's older container serves beside the newer one.
    assert!(first(&back, step(&back, "nova-api", Action::is_wait), step(&back, "nova-api", stop)));

    // A part is what was chosen with what cannot be parted from it: the API changes after the conductor, in another set.
    let part = |of: &str| Selection { sets: [of.parse().expect("a name")].into(), ..Selection::default() };
    let changes = |plan: &Plan| -> Vec<String> {
        let changed = plan.slots.iter().filter(|slot| slot.change != Change::Keep);
        changed.map(|slot| slot.slot.container.to_string()).collect()
    };
    let mut before = running(nothing(&new).images_of(&old), 1).registered(&new);
    before.ledger.as_mut().expect("a record").release = "2025.1".parse().expect("a release");
    let up = reconcile(&new, &before, &Options { selection: part("api"), ..Options::upgrade() });
    mastic::plan::verify(&up, &new, &before).expect("a sound plan");
    assert_eq!(changes(&up), ["keystone-api", "nova-api", "nova-conductor"]);
    assert!(up.held.as_ref().is_some_and(|held| held.partial), "{:?}", up.held);
    let up = reconcile(&new, &before, &Options { selection: part("database"), ..Options::upgrade() });
    assert!(up.is_empty() && up.held.as_ref().is_some_and(|held| held.partial), "{:?}", up.held);
    let all = ["api", "control", "compute"].into_iter().map(|set| set.parse().expect("a name")).collect();
    let selection = Selection { sets: all, ..Selection::default() };
    let up = reconcile(&new, &before, &Options { selection, ..Options::upgrade() });
    assert!(up.held.as_ref().is_some_and(|held| !held.partial), "all of it was chosen: {:?}", up.held);

    // The same release with nothing changed is no upgrade: nothing is checked or copied for it.
    let mut checked = old.clone();
    checked.release = "2025.1".parse().expect("a release");
    for task in
        [task("nova-check", TaskPhase::Check, "2025.1"), task("nova-copy", TaskPhase::Backup, "2025.1")]
    {
        checked.containers.insert(task.0.slot.clone(), task.0);
    }
    let none = reconcile(&checked, &before, &Options::upgrade());
    assert!(none.is_empty(), "{}", render::steps(&none));
    let mut other = cloud("2025.1-fix");
    other.release = checked.release.clone();
    assert!(!reconcile(&other, &before, &Options::upgrade()).is_empty());

    // What all others feel changes in an upgrade of its own, and a part is all the same all that was meant.
    let with_database = |tag: &str| {
        let mut what = cloud(tag);
        let database = C::service("mariadb").set("database").tag("newer").0;
        what.containers.insert(database.slot.clone(), database);
        what.apart = ["mariadb".parse().expect("a name")].into();
        what
    };
    let up = reconcile(&with_database("2026.1"), &before, &Options::upgrade());
    let changed = changes(&up);
    assert!(
        !changed.contains(&"mariadb".to_owned()) && changed.contains(&"nova-api".to_owned()),
        "{changed:?}"
    );
    assert!(up.held.as_ref().is_some_and(|held| !held.partial), "{:?}", up.held);
    let own = Selection { services: ["mariadb".parse().expect("a name")].into(), ..Selection::default() };
    let up = reconcile(&with_database("2026.1"), &before, &Options { selection: own, ..Options::upgrade() });
    assert_eq!(changes(&up), ["mariadb"]);
    // It stands still in an upgrade: where it does not run, what needs it would wait in vain.
    let mut down = before.clone();
    let seen = down.hosts.values_mut().flat_map(|host| &mut host.containers);
    for seen in seen.filter(|seen| seen.name.contains("mariadb")) {
        seen.exit_code = Some(0);
        seen.state = mastic::model::ContainerState::Exited;
    }
    let up = reconcile(&with_database("2026.1"), &down, &Options::upgrade());
    assert_eq!(up.blockers.iter().collect::<Vec<_>>(), [&Blocker::Down { slot: slot("mariadb") }]);

    // Back, a service whose data is settled goes as a whole; another one stays.
    let back = reconcile(&old, &found, &Options { selection: part("compute"), ..Options::rollback() });
    mastic::plan::verify(&back, &old, &found).expect("a sound plan");
    let back_changes = changes(&back);
    assert!(back_changes.contains(&"nova-settle".to_owned()), "{back_changes:?}");
    assert!(!back_changes.contains(&"keystone-api".to_owned()), "{back_changes:?}");
    for of_nova in ["nova-api", "nova-conductor", "nova-compute"] {
        assert!(back_changes.contains(&of_nova.to_owned()), "{back_changes:?}");
    }
    assert!(back.held.as_ref().is_some_and(|held| held.partial), "{:?}", back.held);
    let back = reconcile(&old, &found, &Options::rollback());
    assert_eq!(back.held, None);

    // Where nothing of a service changes, nothing of its data does.
    let mut alone = nothing(&new).images_of(&old).with(&keystone("2025.1"), 1, ContainerState::Exited);
    for part in [&mariadb, &balancer, &api("2025.1"), &conductor("2025.1"), &compute("2025.1")] {
        alone = alone.with(part, 1, ContainerState::Running);
    }
    let mut alone = alone.with(&keystone("2026.1"), 2, ContainerState::Running).registered(&new);
    alone.ledger.as_mut().expect("a record").held = found.ledger.as_ref().and_then(|l| l.held.clone());
    let back = reconcile(&old, &alone, &Options::rollback());
    mastic::plan::verify(&back, &old, &alone).expect("a sound plan");
    assert_eq!(changes(&back), ["keystone-api"]);
    // That a run was killed makes one prove itself that the engine is not sure of: it is the same container as before.
    let mut killed = alone.interrupted();
    let seen = killed.hosts.values_mut().flat_map(|host| &mut host.containers);
    for seen in seen.filter(|seen| seen.name.contains("nova-conductor")) {
        seen.health = mastic::model::Health::Starting;
    }
    let back = reconcile(&old, &killed, &Options::rollback());
    mastic::plan::verify(&back, &old, &killed).expect("a sound plan");
    assert_eq!(changes(&back), ["keystone-api", "nova-conductor"]);

    // A part is neither committed nor changed to a third release.
    found.ledger.as_mut().expect("a record").held.as_mut().expect("an upgrade").partial = true;
    let blocked = |desired: &Desired, options: Options| reconcile(desired, &found, &options).blockers;
    assert!(matches!(blocked(&new, Options::commit())[..], [Blocker::NotReached { .. }]));
    let mut third = new.clone();
    third.release = "2026.2".parse().expect("a release");
    assert!(matches!(blocked(&third, Options::upgrade())[..], [Blocker::StillHeld { .. }]));
    assert_eq!(blocked(&new, Options::upgrade()), []);
}

#[test]
fn back_agents_must_return_before_the_server_that_is_never_older_than_they_are() {
    use mastic::plan::{Action, StepId};
    let server = |tag: &str| C::service("neutron-rpc-server").tag(tag).set("control");
    // A service of its own, of the same project: it has the same image.
    let agent = |tag: &str| {
        let mut agent = C::service("agents-l3").tag(tag).set("network").after(&["neutron-rpc-server"]);
        agent.0.image = server(tag).0.image;
        agent
    };
    let other = |tag: &str| C::service("horizon").tag(tag).set("control").after(&["neutron-rpc-server"]);
    let cloud = |tag: &str| desired([server(tag), agent(tag), other(tag)]);
    let (old, new) = (cloud("2025.1"), cloud("2026.1"));
    let mut found = nothing(&new).images_of(&old);
    for of in [&server as &dyn Fn(&str) -> C, &agent, &other] {
        found = found.with(&of("2025.1"), 1, ContainerState::Exited).with(
            &of("2026.1"),
            2,
            ContainerState::Running,
        );
    }
    let mut found = found.registered(&new);
    found.ledger.as_mut().expect("a record").held = Some(mastic::model::Held {
        generation: mastic::model::Generation::new(1).expect("a number"),
        release: "2025.1".parse().expect("a release"),
        since: "2026-01-01T00:00:00Z".to_owned(),
        to: Some("2026.1".parse().expect("a release")),
        partial: false,
    });
    let back = reconcile(&old, &found, &Options::rollback());
    mastic::plan::verify(&back, &old, &found).expect("a sound plan");
    let step = |name: &str, which: fn(&Action) -> bool| -> StepId {
        let of =
            |step: &&mastic::plan::Step| step.slot.as_ref().is_some_and(|s| s.container.as_str() == name);
        back.steps.iter().filter(of).find(|step| which(&step.action)).unwrap_or_else(|| panic!("{name}")).id
    };
    let stop: fn(&Action) -> bool = |action| matches!(action, Action::StopContainer { .. });
    let first = |earlier: StepId, later: StepId| before(&back, later).contains(&earlier);
    assert!(first(step("agents-l3", Action::is_wait), step("neutron-rpc-server", stop)));
    assert!(!first(step("neutron-rpc-server", Action::is_wait), step("agents-l3", stop)));
    // Another project knows it by its API alone: it starts after what it needs, as always.
    assert!(first(step("neutron-rpc-server", Action::is_wait), step("horizon", stop)));
}
