//! Every call, every fault.

use mastic::engine::EngineErrorKind;
use mastic::engine::sim::{Behaviour, Fault};
use mastic::execute::{Outcome, SetOutcome};
use mastic::model::{ContainerState, Desired};
use mastic::plan::{Options, Selection};

use crate::world::{AFTER, Counting, Ended, Goal, World};

const KILLS: [Fault; 2] = [Fault::KillBefore, Fault::KillAfter];
const FAILURES: [Fault; 5] =
    [Fault::Before, Fault::After, Fault::Error(EngineErrorKind::Failed), Fault::Timeout, Fault::Repeat];

/// How many calls an undisturbed run makes.
fn calls(world: &World, counting: Counting) -> usize {
    let calls = world.faults.calls();
    match counting {
        Counting::Changes => calls.iter().filter(|call| call.mutating).count(),
        Counting::Everything => calls.len(),
    }
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Kind {
    Deploy,
    Change,
    Upgrade,
    Rollback,
    Commit,
    Return,
    Destroy,
}

/// A world before the run, what is to be reached, and what was there.
async fn stage(kind: Kind, counting: Counting) -> (World, Goal, Option<Desired>, Desired) {
    let world = World::new(counting);
    let old = world.cloud("2025.2", "a");
    let new = world.cloud("2026.1", "b");
    match kind {
        Kind::Deploy => {
            let goal = Goal::Deploy(Box::new(new.clone()));
            (world, goal, None, new)
        }
        Kind::Change => {
            world.deployed(&old).await;
            let goal = Goal::Deploy(Box::new(new.clone()));
            (world, goal, Some(old), new)
        }
        Kind::Upgrade => {
            world.deployed(&old).await;
            let goal = Goal::Upgrade(Box::new(new.clone()));
            (world, goal, Some(old), new)
        }
        Kind::Rollback | Kind::Commit => {
            world.deployed(&old).await;
            let upgraded = world.go(&Goal::Upgrade(Box::new(new.clone()))).await;
            assert!(
                matches!(&upgraded, Ended::Ran(report) if report.outcome == Outcome::Done),
                "{upgraded:?}"
            );
            world.holds(&old, &new, AFTER).await;
            world.faults.forget_calls();
            if kind == Kind::Rollback {
                (world, Goal::Rollback(Box::new(old.clone())), Some(new), old)
            } else {
                (world, Goal::Commit(Box::new(new.clone())), Some(new.clone()), new)
            }
        }
        Kind::Return => {
            world.deployed(&old).await;
            for goal in [Goal::Upgrade(Box::new(new.clone())), Goal::Commit(Box::new(new.clone()))] {
                let ended = world.go(&goal).await;
                assert!(matches!(&ended, Ended::Ran(report) if report.outcome == Outcome::Done), "{ended:?}");
            }
            world.exactly(&new, "after the commit").await;
            world.faults.forget_calls();
            (world, Goal::Return(Box::new(old.clone())), Some(new), old)
        }
        Kind::Destroy => {
            world.deployed(&old).await;
            let goal = Goal::Destroy(Box::new(old.clone()));
            (world, goal, Some(old.clone()), old)
        }
    }
}

async fn matrix(kind: Kind, counting: Counting, faults: &[Fault]) {
    let (world, goal, _, _) = stage(kind, counting).await;
    world.go(&goal).await;
    let total = calls(&world, counting);
    assert!(total > 5, "{total} calls");
    for number in 1..=total {
        for fault in faults {
            one(kind, counting, number, *fault).await;
        }
    }
}

/// One cell: the fault, then another deployer.
async fn one(kind: Kind, counting: Counting, number: usize, fault: Fault) {
    let (world, goal, old, new) = stage(kind, counting).await;
    world.faults.at(number, fault);
    let first = world.go(&goal).await;
    let hit = world.faults.calls().into_iter().find(|call| call.fault.is_some());
    // A cell whose fault never fires proves nothing.
    let hit = hit.unwrap_or_else(|| panic!("{kind:?}: no call {number} for {fault:?}"));
    let hit = format!("{} {}", hit.operation, hit.subject);
    let when = format!("{kind:?}, call {number} ({hit}), {fault:?}");
    world.faults.clear();
    if world.faults.is_dead() {
        world.faults.revive();
    }
    if kind != Kind::Deploy {
        assert!(world.data_is_there(), "{when}: the volume's data is gone");
    }
    match (&first, kind) {
        (Ended::Ran(report), Kind::Return) => {
            let ledger = world.observe(&new).await.unwrap().ledger.expect("a record");
            match report.outcome {
                Outcome::Done => world.exactly(&new, &when).await,
                Outcome::Undone => {
                    let before = old.as_ref().unwrap();
                    assert_eq!(world.serving(&new).await, World::services(before), "{when}");
                    assert_eq!((ledger.release, ledger.returning), (before.release.clone(), None), "{when}");
                }
                // Newer containers never start on older data: it stands, and the next run goes on.
                _ => assert!(ledger.returning.is_some(), "{when}: {report:?}"),
            }
        }
        // Whoever is not killed leaves every set whole, and says how it went.
        (Ended::Ran(report), Kind::Deploy | Kind::Change | Kind::Upgrade | Kind::Rollback | Kind::Commit) => {
            match report.outcome {
                Outcome::Done if kind == Kind::Upgrade => {
                    world.holds(old.as_ref().unwrap(), &new, &when).await;
                }
                Outcome::Done => world.exactly(&new, &when).await,
                // Of two releases, what is proven stays.
                Outcome::Undone if matches!(kind, Kind::Upgrade | Kind::Rollback) => {
                    world.each(old.as_ref().unwrap(), &new, &when).await;
                }
                Outcome::Undone => world.whole(old.as_ref(), &new, &when).await,
                // Only what is left over may be left: the sets themselves are new.
                Outcome::Failed if hit.starts_with("remove ") => {
                    assert!(
                        report.sets.values().all(|set| *set == SetOutcome::New),
                        "{when}: {:?}",
                        report.sets
                    );
                    assert_eq!(world.serving(&new).await, World::services(&new), "{when}");
                }
                Outcome::Failed | Outcome::Nothing | Outcome::Interrupted => {
                    panic!("{when}: {:?} {:?}", report.outcome, report.failures)
                }
            }
        }
        (Ended::Ran(_), Kind::Destroy) | (Ended::Killed | Ended::Observing(_) | Ended::Empty, _) => {}
    }
    match world.go(&goal).await {
        Ended::Ran(report) => assert_eq!(report.outcome, Outcome::Done, "{when}: {:?}", report.failures),
        Ended::Empty => {}
        other => panic!("{when}: {other:?}"),
    }
    match kind {
        Kind::Deploy | Kind::Change | Kind::Rollback | Kind::Commit => world.exactly(&new, &when).await,
        Kind::Return => {
            world.exactly(&new, &when).await;
            let ledger = world.observe(&new).await.unwrap().ledger.expect("a record");
            assert_eq!((ledger.release, ledger.returning), (new.release.clone(), None), "{when}");
            only_older_ones_started_on_older_data(&world, &when);
        }
        Kind::Upgrade => world.holds(old.as_ref().unwrap(), &new, &when).await,
        // Looking at the kept history makes its never-started container anew (see `observe`); nothing else may be there.
        Kind::Destroy => {
            let mut left = world.engine.names();
            left.retain(|name| name != "aio.ledger");
            assert!(left.is_empty(), "{when}: {left:?} are left");
        }
    }
    if kind != Kind::Deploy {
        assert!(world.data_is_there(), "{when}: the volume's data is gone");
    }
    if kind != Kind::Destroy {
        let again = world.go(&goal).await;
        assert!(matches!(again, Ended::Empty), "{when}: a third plan is not empty: {again:?}");
    }
}

/// Requires that nothing of the newer release (generation 2) was started once the data was that of the point, and that what
/// servers stand on was left alone.
fn only_older_ones_started_on_older_data(world: &World, when: &str) {
    let calls = world.faults.calls();
    let starts: Vec<&str> =
        calls.iter().filter(|call| call.operation == "start").map(|call| call.subject.as_str()).collect();
    let restored = starts.iter().rposition(|name| name.contains("mariadb-restore"));
    let restored = restored.unwrap_or_else(|| panic!("{when}: nothing was restored: {starts:?}"));
    let late: Vec<&&str> = starts[restored..].iter().filter(|name| name.ends_with("-2")).collect();
    assert!(late.is_empty(), "{when}: {late:?} started on older data");
    let touched = calls.iter().find(|call| call.mutating && call.subject.contains("libvirt"));
    assert!(touched.is_none(), "{when}: {touched:?}");
}

#[tokio::test]
async fn a_return_to_older_data_killed_at_any_change_must_be_finished_by_the_next() {
    matrix(Kind::Return, Counting::Changes, &KILLS).await;
}

#[tokio::test]
async fn a_return_to_older_data_must_survive_any_failure_of_any_change() {
    matrix(Kind::Return, Counting::Changes, &FAILURES).await;
}

#[tokio::test]
async fn a_first_deploy_killed_at_any_change_must_be_finished_by_the_next() {
    matrix(Kind::Deploy, Counting::Changes, &KILLS).await;
}

#[tokio::test]
async fn a_change_killed_at_any_change_must_be_finished_by_the_next() {
    matrix(Kind::Change, Counting::Changes, &KILLS).await;
}

#[tokio::test]
async fn a_destroy_killed_at_any_change_must_be_finished_by_the_next() {
    matrix(Kind::Destroy, Counting::Changes, &KILLS).await;
}

#[tokio::test]
async fn a_change_killed_at_any_call_at_all_must_be_finished_by_the_next() {
    matrix(Kind::Change, Counting::Everything, &[Fault::KillBefore]).await;
}

#[tokio::test]
async fn an_upgrade_killed_at_any_change_must_be_finished_by_the_next() {
    matrix(Kind::Upgrade, Counting::Changes, &KILLS).await;
}

#[tokio::test]
async fn an_upgrade_must_survive_any_failure_of_any_change() {
    matrix(Kind::Upgrade, Counting::Changes, &FAILURES).await;
}

#[tokio::test]
async fn a_rollback_killed_at_any_change_must_be_finished_by_the_next() {
    matrix(Kind::Rollback, Counting::Changes, &KILLS).await;
}

#[tokio::test]
async fn a_rollback_must_survive_any_failure_of_any_change() {
    matrix(Kind::Rollback, Counting::Changes, &FAILURES).await;
}

#[tokio::test]
async fn a_commit_killed_at_any_change_must_be_finished_by_the_next() {
    matrix(Kind::Commit, Counting::Changes, &KILLS).await;
}

#[tokio::test]
async fn a_commit_must_survive_any_failure_of_any_change() {
    matrix(Kind::Commit, Counting::Changes, &FAILURES).await;
}

#[tokio::test]
async fn an_upgrade_killed_anywhere_must_be_taken_back_as_well() {
    let (world, goal, _, _) = stage(Kind::Upgrade, Counting::Changes).await;
    world.go(&goal).await;
    let total = calls(&world, Counting::Changes);
    for number in 1..=total {
        for fault in KILLS {
            let (world, goal, old, new) = stage(Kind::Upgrade, Counting::Changes).await;
            let old = old.unwrap();
            world.faults.at(number, fault);
            let first = world.go(&goal).await;
            let when = format!("an upgrade taken back after call {number}, {fault:?}: {first:?}");
            world.faults.clear();
            world.faults.revive();
            let found = world.observe(&old).await.unwrap();
            // Killed before anything was written down: nothing is open, and all is as it was.
            if found.ledger.is_some_and(|ledger| ledger.held.is_some()) {
                match world.go(&Goal::Rollback(Box::new(old.clone()))).await {
                    Ended::Ran(report) => {
                        assert_eq!(report.outcome, Outcome::Done, "{when}: {:?}", report.failures);
                    }
                    Ended::Empty => {}
                    other => panic!("{when}: {other:?}"),
                }
            }
            assert_eq!(world.serving(&old).await, World::services(&old), "{when}");
            assert!(world.data_is_there(), "{when}");
            // And forth again.
            match world.go(&Goal::Upgrade(Box::new(new.clone()))).await {
                Ended::Ran(report) => {
                    assert_eq!(report.outcome, Outcome::Done, "{when}: {:?}", report.failures);
                }
                other => panic!("{when}: {other:?}"),
            }
            world.holds(&old, &new, &when).await;
        }
    }
}

#[tokio::test]
async fn a_commit_killed_anywhere_must_be_taken_back_only_before_its_first_task() {
    let (world, goal, _, _) = stage(Kind::Commit, Counting::Changes).await;
    world.go(&goal).await;
    let total = calls(&world, Counting::Changes);
    let mut ends = [0, 0];
    for number in 1..=total {
        for fault in KILLS {
            let (world, goal, _, new) = stage(Kind::Commit, Counting::Changes).await;
            let old = world.cloud("2025.2", "a");
            world.faults.at(number, fault);
            let first = world.go(&goal).await;
            let when = format!("a commit taken back after call {number}, {fault:?}: {first:?}");
            world.faults.clear();
            world.faults.revive();
            let found = world.observe(&old).await.unwrap();
            if found.ledger.as_ref().is_none_or(|ledger| ledger.held.is_none()) {
                continue;
            }
            let begun = found.hosts.values().flat_map(|host| &host.containers).any(|seen| {
                let of = seen.slot_labels.as_ref().map(|labels| labels.container.as_str());
                of == Some("keystone-contract") && seen.state != ContainerState::Created
            });
            let back = world.go(&Goal::Rollback(Box::new(old.clone()))).await;
            ends[usize::from(begun)] += 1;
            if begun {
                assert!(matches!(back, Ended::Empty), "{when}: {back:?}");
                world.go(&goal).await;
                world.exactly(&new, &when).await;
            } else {
                let done = matches!(&back, Ended::Ran(report) if report.outcome == Outcome::Done);
                assert!(done, "{when}: {back:?}");
                assert_eq!(world.serving(&old).await, World::services(&old), "{when}");
            }
            assert!(world.data_is_there(), "{when}");
        }
    }
    assert!(ends.iter().all(|n| *n > 2), "both ends must be met: {ends:?}");
}

/// The part of a cloud that an upgrade is begun with.
fn first_part() -> Options {
    let selection = Selection { services: ["keystone".parse().unwrap()].into(), ..Selection::default() };
    Options { selection, ..Options::default() }
}

#[tokio::test]
async fn a_part_of_an_upgrade_killed_anywhere_must_go_on_or_be_taken_back() {
    let (world, goal, _, _) = stage(Kind::Upgrade, Counting::Changes).await;
    world.go_with(&goal, &first_part()).await;
    let total = calls(&world, Counting::Changes);
    assert!(total > 5, "{total} calls");
    for number in 1..=total {
        for (fault, resume) in KILLS.into_iter().flat_map(|fault| [(fault, true), (fault, false)]) {
            let (world, goal, old, new) = stage(Kind::Upgrade, Counting::Changes).await;
            let old = old.unwrap();
            world.faults.at(number, fault);
            let first = world.go_with(&goal, &first_part()).await;
            let when = format!("a part upgraded until call {number}, {fault:?}: {first:?}");
            world.faults.clear();
            world.faults.revive();
            let ended = |ended: Ended| match ended {
                Ended::Ran(report) => {
                    assert_eq!(report.outcome, Outcome::Done, "{when}: {:?}", report.failures);
                }
                Ended::Empty => {}
                other => panic!("{when}: {other:?}"),
            };
            // The same part, whole, is still a part; only all of it is held without a rest.
            ended(world.go_with(&goal, &first_part()).await);
            let open = world.observe(&new).await.unwrap().ledger.and_then(|ledger| ledger.held);
            assert!(open.as_ref().is_some_and(|held| held.partial), "{when}: {open:?}");
            if resume {
                ended(world.go(&goal).await);
                world.holds(&old, &new, &when).await;
                let open = world.observe(&new).await.unwrap().ledger.and_then(|ledger| ledger.held);
                assert!(open.as_ref().is_some_and(|held| !held.partial), "{when}: {open:?}");
            } else {
                ended(world.go(&Goal::Rollback(Box::new(old.clone()))).await);
                world.exactly(&old, &when).await;
            }
            assert!(world.data_is_there(), "{when}");
        }
    }
}

#[tokio::test]
async fn a_first_deploy_must_survive_any_failure_of_any_change() {
    matrix(Kind::Deploy, Counting::Changes, &FAILURES).await;
}

#[tokio::test]
async fn a_change_must_survive_any_failure_of_any_change() {
    matrix(Kind::Change, Counting::Changes, &FAILURES).await;
}

#[tokio::test]
async fn a_destroy_must_survive_any_failure_of_any_change() {
    matrix(Kind::Destroy, Counting::Changes, &FAILURES).await;
}

#[tokio::test]
async fn a_change_must_survive_an_answer_lost_at_any_call_at_all() {
    matrix(Kind::Change, Counting::Everything, &[Fault::Before, Fault::After]).await;
}

/// The new release crashes at start: whatever else happens, the api stays old and the rest becomes new.
async fn doomed(number: Option<usize>, fault: Fault) -> usize {
    let (world, goal, old, new) = stage(Kind::Change, Counting::Changes).await;
    let old = old.unwrap();
    let bad = new.containers.values().find(|s| s.slot.container.as_str() == "keystone-api").unwrap();
    let found = world.observe(&new).await.unwrap();
    let generation = found.last_generation;
    // Every generation after the one that serves crashes.
    for next in generation + 1..generation + 6 {
        let name = format!("{}-{}-{next}", new.deployment, bad.slot.container);
        world.engine.behave(&name, Behaviour::crashes(1, &["no such table: project"]));
    }
    world.faults.forget_calls();
    let when = format!("a doomed change, call {number:?}, {fault:?}");
    if let Some(number) = number {
        world.faults.at(number, fault);
    }
    let first = world.go(&goal).await;
    let total = calls(&world, Counting::Changes);
    world.faults.clear();
    if world.faults.is_dead() {
        world.faults.revive();
    }
    let last = if number.is_some() { world.go(&goal).await } else { first };
    match last {
        Ended::Ran(report) => {
            assert_eq!(report.outcome, Outcome::Undone, "{when}: {:?}", report.failures);
            let words = report.failures.join("\n");
            assert!(words.contains("no such table: project"), "{when}: {words}");
        }
        other => panic!("{when}: {other:?}"),
    }
    world.whole(Some(&old), &new, &when).await;
    let serving = world.serving(&new).await;
    let api = "api".parse().unwrap();
    assert_eq!(serving[&api], World::services(&old)[&api], "{when}");
    assert!(world.data_is_there(), "{when}");
    total
}

#[tokio::test]
async fn a_set_that_fails_must_return_to_the_old_and_say_why() {
    doomed(None, Fault::KillBefore).await;
}

#[tokio::test]
async fn a_failing_change_killed_anywhere_its_undo_included_must_return_to_the_old() {
    let total = doomed(None, Fault::KillBefore).await;
    for number in 1..=total {
        for fault in KILLS {
            doomed(Some(number), fault).await;
        }
    }
}
