//! Runs beside each other, interrupted ones, and the lock.

use std::time::{Duration, Instant};

use nix::sys::signal::Signal;

use super::support::{assert_settled, assert_tidy, cut_off};
use crate::harness::Cloud;

fn has_lock(cloud: &Cloud) -> bool {
    cloud.containers().contains_key(&format!("{}.lock", cloud.name))
}

#[test]
fn two_deploys_must_not_meet_and_an_interrupted_one_must_leave_a_known_state() {
    let cloud = Cloud::new("t-lock", 5);
    let lock = format!("{}.lock", cloud.name);

    // The second says who is at work: owner, machine, process, since when, why. It touches nothing.
    let events = cloud.events();
    let first = cloud.spawn(&["deploy", "--yes", "--message", "the first"]);
    events.until("create", &lock);
    let since = jiff::Timestamp::now();
    let second = cloud.mastic(&["deploy", "--yes"]).code(4).says("the first").says("mastic unlock");
    let held = second.stderr.lines().find(|line| line.contains("held by")).expect("it says who holds it");
    let machine = nix::unistd::gethostname().expect("this machine has a name");
    let machine = machine.to_string_lossy();
    assert!(held.contains(&format!("(pid {} on {machine})", first.pid())), "{held}");
    assert!(held.contains(&format!("@{machine} (")), "{held}");
    let said: jiff::Timestamp = held
        .split_once("since ")
        .and_then(|(_, rest)| rest.split_once(": "))
        .and_then(|(time, _)| time.parse().ok())
        .unwrap_or_else(|| panic!("no time in {held}"));
    assert!((since - said).total(jiff::Unit::Second).expect("a span of seconds").abs() < 60.0, "{held}");
    cloud.mastic(&["destroy", "--yes"]).code(4);
    first.wait().ok();
    assert_settled(&cloud, "after two at once");

    // Ctrl-C: what is in flight ends, what is not proven is undone, what is proven stays, and all of that is said.
    cloud.mastic(&["destroy", "--yes", "--volumes", "all"]).ok();
    let events = cloud.events();
    let run = cloud.spawn(&["deploy", "--yes"]);
    // An API that still loads must end at once too, not after the 75 s that its requests may take later.
    events.until("start", &format!("{}-keystone-api-1", cloud.name));
    let interrupted = Instant::now();
    run.signal(Signal::SIGINT);
    let ran = run.wait().code(130).says("interrupted").says("set api: was returned to what it was");
    let took = interrupted.elapsed();
    assert!(took < Duration::from_mins(1), "ended {took:?} after Ctrl-C:\n{}", ran.stderr);
    assert!(ran.stderr.contains("set database: is what was planned"), "{}", ran.stderr);
    assert!(!ran.stderr.contains("panicked"), "{}", ran.stderr);
    assert!(!has_lock(&cloud), "the lock was left");
    let left = cloud.containers();
    assert!(!left.keys().any(|name| name.contains("-keystone-")), "the unproven set was left: {left:#?}");
    assert!(
        left.values().all(|(_, _, state)| state == "running" || state == "exited 0" || state == "created")
    );
    let database: Vec<_> = left.iter().filter(|(name, _)| name.contains("-mariadb-")).collect();
    cloud.mastic(&["deploy", "--yes"]).ok();
    let now = cloud.containers();
    assert!(database.iter().all(|(name, facts)| now.get(*name) == Some(facts)), "a proven set was touched");
    assert_settled(&cloud, "after Ctrl-C");

    // Ctrl-C during a removal leaves what it had not come to, and says that it is not finished.
    let events = cloud.events();
    let run = cloud.spawn(&["destroy", "--yes"]);
    events.until("die", "");
    run.signal(Signal::SIGINT);
    run.wait().code(130).says("destroy is not finished");
    assert!(!has_lock(&cloud), "the lock was left");
    cloud.mastic(&["deploy", "--yes"]).ok();
    assert_settled(&cloud, "after Ctrl-C in a removal");
}

#[test]
fn the_lock_of_a_killed_run_must_be_released_by_unlock_or_by_the_next_run() {
    let cloud = Cloud::new("t-unlock", 6);
    let lock = format!("{}.lock", cloud.name);

    let kill = || {
        let events = cloud.events();
        let run = cloud.spawn(&["deploy", "--yes", "--message", "to be killed"]);
        events.until("create", &lock);
        events.until("create", "-memcached-");
        run.kill();
        assert!(has_lock(&cloud), "a killed run has released its lock");
    };

    // By hand: only with a yes, and it says whose it was.
    kill();
    cloud.mastic(&["unlock"]).code(3).says("to be killed");
    assert!(has_lock(&cloud), "the lock went without a yes");
    cloud.mastic(&["unlock", "--yes"]).ok().says("to be killed").says("released");
    assert!(!has_lock(&cloud));
    cloud.mastic(&["unlock", "--yes"]).ok().says("nobody holds the lock");

    // By the next run, since it can see that the process is gone. It says what was under way, and says it once.
    let killed = cut_off(&cloud);
    assert_eq!(killed.len(), 1, "{killed:?}");
    cloud.mastic(&["deploy", "--yes"]).ok().says(&killed[0]).says("was cut off").says("under way: ");
    cloud.mastic(&["destroy", "--yes", "--volumes", "all"]).ok();
    kill();
    let killed = cut_off(&cloud);
    let next =
        cloud.mastic(&["deploy", "--yes"]).ok().says("to be killed").says("was taken over").says(&killed[0]);
    assert!(next.stderr.contains("of generation 1"), "{}", next.stderr);
    let again = cloud.mastic(&["deploy", "--yes"]).ok();
    assert!(!again.stderr.contains("cut off"), "it was told twice:\n{}", again.stderr);
    assert_settled(&cloud, "after a takeover");

    // One that died on another machine: nobody here can tell, so nobody takes it but a person.
    let label = |name: &str, value: &str| format!("--label=mastic.{name}={value}");
    cloud.docker(&[
        "create",
        "--name",
        &lock,
        &label("deployment", &cloud.name),
        &label("role", "lock"),
        &label("lock.owner", "ann@elsewhere"),
        &label("lock.machine", "elsewhere"),
        &label("lock.boot", "b"),
        &label("lock.pid", "1"),
        &label("lock.process-started", "1"),
        &label("lock.since", "2026-01-01T00:00:00Z"),
        &label("lock.message", ""),
        "mastic/inert:1",
        "never",
    ]);
    cloud.mastic(&["destroy", "--yes"]).code(4).says("ann@elsewhere").says("mastic unlock");
    assert!(cloud.containers().len() > 5, "a locked deployment was touched");
    cloud.mastic(&["unlock", "--yes"]).ok();
    assert_tidy(&cloud, "after unlock");
}
