//! What a run says of itself, and what it writes into the history, must be what happened.

use std::time::Duration;

use mastic::engine::sim::{Behaviour, Fault, Readiness, When};
use mastic::engine::{Engine as _, EngineErrorKind, ExecOutcome};
use mastic::execute::{Outcome, SetOutcome};
use mastic::model::ContainerState;
use mastic::plan::Options;

use crate::world::{AFTER, Counting, Ended, Goal, World};

fn ran(ended: Ended) -> mastic::execute::RunReport {
    match ended {
        Ended::Ran(report) => *report,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_deploy_of_another_set_must_not_claim_that_keystone_was_told() {
    let world = World::new(Counting::Changes);
    let what = world.cloud("2026.1", "a");
    let mut options = Options::default();
    options.selection.sets.insert("database".parse().unwrap());
    let report = ran(world.go_with(&Goal::Deploy(Box::new(what.clone())), &options).await);
    assert_eq!(report.outcome, Outcome::Done, "{:?}", report.failures);
    let found = world.observe(&what).await.unwrap();
    assert_eq!(found.ledger.unwrap().identity, None);
}

#[tokio::test]
async fn a_failed_change_must_not_forget_what_keystone_was_told() {
    let world = World::new(Counting::Changes);
    let old = world.cloud("2025.2", "a");
    world.deployed(&old).await;
    let before = world.observe(&old).await.unwrap().ledger.unwrap().identity;
    assert!(before.is_some());
    world.engine.behave("aio-keystone-api-2", Behaviour::crashes(1, &["no"]));
    let new = world.cloud("2026.1", "a");
    assert_eq!(ran(world.go(&Goal::Deploy(Box::new(new))).await).outcome, Outcome::Undone);
    assert_eq!(world.observe(&old).await.unwrap().ledger.unwrap().identity, before);
    // Nothing of the old left, and nothing of the new stayed: going back is no work at all.
    assert!(matches!(world.go(&Goal::Deploy(Box::new(old))).await, Ended::Empty));
}

#[tokio::test]
async fn a_destroy_that_fails_must_not_say_that_it_was_undone() {
    let world = World::new(Counting::Changes);
    let what = world.cloud("2026.1", "a");
    world.deployed(&what).await;
    let when = When::Matching { operation: "remove".to_owned(), subject: "mariadb-1".to_owned() };
    world.faults.add(when, Fault::Error(EngineErrorKind::Failed), 1);
    let report = ran(world.go(&Goal::Destroy(Box::new(what))).await);
    assert_eq!(report.outcome, Outcome::Failed, "{:?}", report.sets);
    assert_eq!(report.sets[&"database".parse().unwrap()], SetOutcome::Broken);
}

#[tokio::test]
async fn what_cannot_be_cleaned_up_after_a_set_is_new_must_not_be_called_undone() {
    let world = World::new(Counting::Changes);
    let old = world.cloud("2025.2", "a");
    world.deployed(&old).await;
    let when = When::Matching { operation: "remove".to_owned(), subject: "keystone-api-1".to_owned() };
    world.faults.add(when, Fault::Error(EngineErrorKind::Failed), 1);
    let new = world.cloud("2026.1", "a");
    let report = ran(world.go(&Goal::Deploy(Box::new(new.clone()))).await);
    assert_eq!(report.outcome, Outcome::Failed, "{:?}", report.sets);
    assert_eq!(report.sets[&"api".parse().unwrap()], SetOutcome::New);
    assert_eq!(world.serving(&new).await, World::services(&new));
}

#[tokio::test]
async fn a_create_whose_request_was_lost_must_be_made_again_and_fail_nothing() {
    for fault in [Fault::Before, Fault::After, Fault::Timeout, Fault::Repeat] {
        let world = World::new(Counting::Changes);
        let what = world.cloud("2026.1", "a");
        world.faults.on("create", "keystone-api", fault);
        let report = ran(world.go(&Goal::Deploy(Box::new(what.clone()))).await);
        assert_eq!(report.outcome, Outcome::Done, "{fault:?}: {:?}", report.failures);
        world.exactly(&what, &format!("{fault:?}")).await;
    }
}

#[tokio::test]
async fn an_engine_that_goes_away_while_health_is_awaited_must_be_asked_again() {
    for operation in ["exec", "wait"] {
        let world = World::new(Counting::Changes);
        let what = world.cloud("2026.1", "a");
        world.faults.on(operation, "keystone-", Fault::Before);
        let report = ran(world.go(&Goal::Deploy(Box::new(what.clone()))).await);
        assert_eq!(report.outcome, Outcome::Done, "{operation}: {:?}", report.failures);
    }
}

#[tokio::test]
async fn a_container_that_dies_while_its_check_is_being_started_must_be_said_to_have_died() {
    let world = World::new(Counting::Changes);
    let what = world.cloud("2026.1", "a");
    let dying = Behaviour { ready: Readiness::Never, ..Behaviour::exits(Duration::from_secs(1), 3) };
    world.engine.behave("aio-keystone-api", dying);
    // Docker's words: its runtime was in the container when that ended.
    world.engine.add_exec(|context, _| {
        context.container.contains("keystone-api").then(|| ExecOutcome {
            code: 126,
            stdout: b"OCI runtime exec failed: read init-p: connection reset by peer".to_vec(),
            stderr: Vec::new(),
        })
    });
    let report = ran(world.go(&Goal::Deploy(Box::new(what))).await);
    let [failure] = report.failures.as_slice() else { panic!("{:?}", report.failures) };
    assert!(failure.contains("aio-keystone-api-1 ended with code 3"), "{failure}");
}

#[tokio::test]
async fn a_run_in_which_nothing_comes_to_its_end_must_be_given_up_and_taken_back() {
    let mut world = World::new(Counting::Changes);
    let old = world.cloud("2025.2", "a");
    world.deployed(&old).await;
    // Its own check would wait for half a minute.
    world.engine.behave("aio-keystone-api-2", Behaviour { ready: Readiness::Never, ..Behaviour::default() });
    world.progress_deadline = Duration::from_secs(1);
    let new = world.cloud("2026.1", "a");
    let began = std::time::Instant::now();
    let report = ran(world.go(&Goal::Upgrade(Box::new(new.clone()))).await);
    assert!(began.elapsed() < Duration::from_secs(20), "{:?}", began.elapsed());
    assert_eq!(report.outcome, Outcome::Undone, "{:?}", report.failures);
    let said = "await healthy aio-keystone-api-2: given up: nothing has come to its end for 1 s";
    assert!(report.failures.iter().any(|failure| failure.contains(said)), "{:?}", report.failures);
    let api = "api".parse().unwrap();
    assert_eq!(world.serving(&old).await[&api]["keystone-api"], World::services(&old)[&api]["keystone-api"]);
}

#[tokio::test]
async fn a_task_that_takes_long_must_not_be_given_up() {
    let mut world = World::new(Counting::Changes);
    world.progress_deadline = Duration::from_secs(1);
    world.engine.behave("keystone-db-sync", Behaviour::exits(Duration::from_secs(3), 0));
    let what = world.cloud("2026.1", "a");
    let report = ran(world.go(&Goal::Deploy(Box::new(what.clone()))).await);
    assert_eq!(report.outcome, Outcome::Done, "{:?}", report.failures);
}

#[tokio::test]
async fn a_newer_container_must_have_the_time_that_was_given_for_its_check() {
    let world = World::new(Counting::Changes);
    let old = world.cloud("2025.2", "a");
    world.deployed(&old).await;
    world.engine.behave("aio-keystone-api-2", Behaviour { ready: Readiness::Never, ..Behaviour::default() });
    let options = Options { healthy_deadline: Some(2), ..Options::upgrade() };
    let new = world.cloud("2026.1", "a");
    let report = ran(world.go_with(&Goal::Upgrade(Box::new(new)), &options).await);
    assert_eq!(report.outcome, Outcome::Undone, "{:?}", report.failures);
    let said = "was not healthy within 2 s";
    assert!(report.failures.iter().any(|failure| failure.contains(said)), "{:?}", report.failures);
}

#[tokio::test]
async fn going_back_to_a_kept_container_that_fails_must_leave_only_the_newer_one_running() {
    let world = World::new(Counting::Changes);
    let old = world.cloud("2025.2", "a");
    world.deployed(&old).await;
    let new = world.cloud("2026.1", "a");
    // Killed once the new one serves and before the old one goes: the old one is kept, stopped.
    world.faults.on("remove", "keystone-api-1", Fault::KillBefore);
    assert!(matches!(world.go(&Goal::Deploy(Box::new(new.clone()))).await, Ended::Killed));
    world.faults.clear();
    world.faults.revive();
    world.engine.behave("aio-keystone-api-1", Behaviour::crashes(1, &["gone bad"]));
    let report = ran(world.go(&Goal::Deploy(Box::new(old.clone()))).await);
    assert_eq!(report.outcome, Outcome::Undone, "{:?}", report.failures);
    // `serving` itself refuses two that run in one slot.
    let api = "api".parse().unwrap();
    assert_eq!(world.serving(&new).await[&api]["keystone-api"], World::services(&new)[&api]["keystone-api"]);
}

#[tokio::test]
async fn config_that_its_image_does_not_know_must_stop_everything_before_anything_stops() {
    let world = World::new(Counting::Changes);
    let old = world.cloud("2025.2", "a");
    world.deployed(&old).await;
    let serving = world.serving(&old).await;
    let said =
        ["note: x", "keystone-api /etc/keystone/keystone.conf [DEFAULT] debgu: there is no such option"];
    world.engine.behave("aio-keystone-config-2", Behaviour::crashes(1, &said));
    world.faults.forget_calls();
    // Of the database another file changes: its set has nothing to do with the mistake, and is not touched either.
    let new = world.cloud("2026.1", "b");
    let report = ran(world.go(&Goal::Deploy(Box::new(new.clone()))).await);
    assert_eq!(report.outcome, Outcome::Undone, "{:?}", report.failures);
    assert_eq!(
        report.failures,
        [
            "local/keystone-config: await exit aio-keystone-config-2: mastic/keystone:2026.1 does not take 1 option of its \
          config; nothing was stopped or started\n  overrides/keystone.conf:5: [DEFAULT] debgu: there is no such option (for \
          keystone-api)"
        ]
    );
    assert_eq!(world.serving(&old).await, serving);
    let stopped = world.faults.calls().into_iter().find(|c| c.operation == "stop");
    assert!(stopped.is_none(), "{stopped:?}");
    let started: Vec<String> =
        world.faults.calls().into_iter().filter(|c| c.operation == "start").map(|c| c.subject).collect();
    assert!(
        started.iter().all(|name| name.ends_with("-1") || name.contains("keystone-config")),
        "{started:?}"
    );
    // With the mistake gone it goes on from there.
    world.engine.behave("aio-keystone-config-3", Behaviour::exits(std::time::Duration::ZERO, 0));
    assert_eq!(ran(world.go(&Goal::Deploy(Box::new(new))).await).outcome, Outcome::Done);
}

#[tokio::test]
async fn an_api_that_cannot_be_frozen_must_be_kept_all_the_same() {
    let world = World::new(Counting::Changes);
    let (old, new) = (world.cloud("2025.2", "a"), world.cloud("2026.1", "a"));
    world.deployed(&old).await;
    let when = When::Matching { operation: "freeze".to_owned(), subject: "keystone-api-1".to_owned() };
    world.faults.add(when, Fault::Error(EngineErrorKind::Failed), 1);
    let report = ran(world.go(&Goal::Upgrade(Box::new(new.clone()))).await);
    assert_eq!(report.outcome, Outcome::Done, "{:?}", report.failures);
    world.holds(&old, &new, "the engine cannot freeze it").await;
    let kept = world.engine.container("aio-keystone-api-1").await.unwrap();
    assert_eq!(kept.state, ContainerState::Exited);
    let report = ran(world.go(&Goal::Rollback(Box::new(old))).await);
    assert_eq!(report.outcome, Outcome::Done, "{:?}", report.failures);
    let back = world.engine.container("aio-keystone-api-1").await.unwrap();
    assert_eq!((back.state, back.id), (ContainerState::Running, kept.id));
}

#[tokio::test]
async fn a_frozen_api_that_cannot_go_on_must_begin_anew() {
    let world = World::new(Counting::Changes);
    let (old, new) = (world.cloud("2025.2", "a"), world.cloud("2026.1", "a"));
    world.deployed(&old).await;
    assert_eq!(ran(world.go(&Goal::Upgrade(Box::new(new.clone()))).await).outcome, Outcome::Done);
    world.holds(&old, &new, AFTER).await;
    let frozen = world.engine.container("aio-keystone-api-1").await.unwrap();
    let when = When::Matching { operation: "thaw".to_owned(), subject: "keystone-api-1".to_owned() };
    world.faults.add(when, Fault::Error(EngineErrorKind::Failed), 1);
    let report = ran(world.go(&Goal::Rollback(Box::new(old))).await);
    assert_eq!(report.outcome, Outcome::Done, "{:?}", report.failures);
    let back = world.engine.container("aio-keystone-api-1").await.unwrap();
    assert_eq!((back.state, &back.id), (ContainerState::Running, &frozen.id));
    assert_ne!(back.started_at, frozen.started_at, "it is another process");
}

#[tokio::test]
async fn what_cannot_come_up_to_its_work_must_be_kept_stopped_and_begin_as_ever() {
    for operation in ["upload", "start", "freeze"] {
        let world = World::new(Counting::Changes);
        let (old, new) = (world.cloud("2025.2", "a"), world.cloud("2026.1", "a"));
        world.deployed(&old).await;
        let when = When::Matching { operation: operation.to_owned(), subject: "keystone-admin-1".to_owned() };
        world.faults.add(when, Fault::Error(EngineErrorKind::Failed), 1);
        let report = ran(world.go(&Goal::Upgrade(Box::new(new.clone()))).await);
        assert_eq!(report.outcome, Outcome::Done, "{operation}: {:?}", report.failures);
        world.holds(&old, &new, operation).await;
        let kept = world.engine.container("aio-keystone-admin-1").await.unwrap();
        assert_eq!(kept.state, ContainerState::Exited, "{operation}");
        let report = ran(world.go(&Goal::Rollback(Box::new(old.clone()))).await);
        assert_eq!(report.outcome, Outcome::Done, "{operation}: {:?}", report.failures);
        world.exactly(&old, operation).await;
    }
}
