//! Zombies, orphans, and the end of everything that outlives the command.

mod common;

use std::time::Duration;

use common::*;
use libc::{SIGKILL, SIGTERM};

const LONG: Duration = Duration::from_millis(900);

/// A hundred short-lived processes, orphaned at once, whose parent never waits.
const ORPHANS: &str = "sh -c 'i=0; while [ $i -lt 100 ]; do sleep 0.$((i % 5 + 1)) & \
                       i=$((i + 1)); done'; echo spawned; exec sleep 1000";

#[test]
fn a_hundred_orphans_are_reaped() {
    for mode in BOTH {
        let running = start(mode, &["sh", "-c", ORPHANS]);
        running.expect("spawned");
        let main = running.main_child();
        let mut adopted = 0;
        eventually(|| {
            let children = children(running.pid);
            adopted = adopted.max(children.len() - 1);
            children == [main]
        });
        assert!(adopted > 10, "{mode:?}: only {adopted} orphans came");
        assert_eq!(tree(running.pid).len(), 2);
    }
}

#[test]
fn no_zombie_is_left_and_verbose_names_the_reaped() {
    for mode in BOTH {
        let script = "sh -c 'true & true & exec sleep 0.1' & wait; sleep 0.2; \
                      grep -l ^State:.Z /proc/[0-9]*/status 2>/dev/null | wc -l; exec sleep 1000";
        let running = start(mode, &["-v", "sh", "-c", script]);
        let zombies = running.line();
        if mode == As::PidOne {
            assert_eq!(zombies, "0");
        }
        eventually(|| !tree(running.pid).iter().any(|pid| state(*pid) == Some('Z')));
        assert!(running.errors().iter().any(|line| line.contains("reaped process")));
    }
}

#[test]
fn what_outlives_the_command_gets_term_and_time() {
    // The worker needs 1.5 s after TERM, and escaped with setsid; every other init kills it.
    let worker = "trap 'sleep 1.5; echo done; exit 0' TERM; echo ready; while :; do sleep 0.05; done";
    let script = format!("setsid sh -c \"{worker}\" & sleep 0.5; exit 3");
    for mode in BOTH {
        let running = start(mode, &["sh", "-c", &script]);
        running.expect("ready");
        running.expect("done");
        let outcome = running.end();
        assert_eq!(outcome.code(), 3, "{mode:?}");
        assert!(outcome.took > Duration::from_millis(1_900), "{:?}", outcome.took);
        assert!(outcome.took < Duration::from_secs(5), "{:?}", outcome.took);
    }
}

#[test]
fn grace_ends_with_kill_also_for_escapees() {
    let scratch = Scratch::new("grace");
    let stubborn = "trap '' TERM; echo $$; while :; do sleep 0.05; done";
    let stubborn = scratch.write("stubborn", stubborn);
    let script = format!("setsid sh -c 'setsid sh {stubborn} & wait' & sleep 0.5; exit 4");
    for mode in BOTH {
        let running = start(mode, &["--grace", "1", "sh", "-c", &script]);
        running.line();
        let all = tree(running.main_child());
        let outcome = running.end();
        assert_eq!(outcome.code(), 4, "{mode:?}");
        assert!(outcome.took > LONG && outcome.took < Duration::from_secs(4), "{:?}", outcome.took);
        assert!(outcome.stderr.contains("killing what is left"), "{}", outcome.stderr);
        assert!(!all.iter().any(|pid| alive(*pid)));
    }
}

#[test]
fn without_grace_nothing_waits() {
    for mode in BOTH {
        let script = "(trap '' TERM; sleep 1000) & (trap '' TERM; sleep 1000) & exit 5";
        let outcome = start(mode, &["--grace", "0", "sh", "-c", script]).end();
        assert_eq!(outcome.code(), 5);
        assert!(outcome.took < Duration::from_secs(1), "{:?}", outcome.took);
    }
}

#[test]
fn a_second_term_shortens_the_grace() {
    let script = "trap 'exit 6' TERM; (trap '' TERM; echo ready; while :; do sleep 0.05; done) & \
                  while :; do sleep 0.05; done";
    for mode in BOTH {
        let mut running = start(mode, &["--grace", "60", "sh", "-c", script]);
        running.expect("ready");
        let main = running.main_child();
        running.signal(SIGTERM);
        eventually(|| !alive(main));
        std::thread::sleep(Duration::from_millis(200));
        assert!(!running.has_ended(), "the grace was not kept");
        running.signal(SIGTERM);
        let outcome = running.end();
        assert_eq!(outcome.code(), 6);
        assert!(outcome.took < Duration::from_secs(5));
    }
}

/// oslo.service: the launcher alone gets TERM, tells its workers itself and waits for them. A
/// second TERM from us would make a worker drop what it is doing.
#[test]
fn a_launcher_ends_its_workers_without_our_help() {
    let worker = "trap 'trap - TERM; sleep 1; echo finished; exit 0' TERM; echo ready; \
                  while :; do sleep 0.05; done";
    let script = format!(
        // A trap runs after the command that TERM came in: `$!` is known then, a variable set after it may not be.
        "trap 'kill $!; wait $!; exit 0' TERM; sh -c \"{worker}\" & \
         while :; do sleep 0.05; done"
    );
    for mode in BOTH {
        let running = start(mode, &["--single-child", "sh", "-c", &script]);
        running.expect("ready");
        running.signal(SIGTERM);
        running.expect("finished");
        assert_eq!(running.end().code(), 0);
    }
}

/// The launcher goes first; its worker, which had TERM with the group, finishes in peace.
#[test]
fn a_group_member_is_not_told_twice_to_end() {
    let worker = "trap 'trap - TERM; sleep 1; echo finished; exit 0' TERM; echo ready; \
                  while :; do sleep 0.05; done";
    let script = format!("trap 'exit 2' TERM; sh -c \"{worker}\" & while :; do sleep 0.05; done");
    for mode in BOTH {
        let running = start(mode, &["sh", "-c", &script]);
        running.expect("ready");
        running.signal(SIGTERM);
        running.expect("finished");
        assert_eq!(running.end().code(), 2);
    }
}

#[test]
fn a_crashed_launchers_workers_get_term() {
    let script = "sh -c 'trap \"echo told; exit 0\" TERM; echo ready; \
                  while :; do sleep 0.05; done' & exec sleep 1000";
    for mode in BOTH {
        let running = start(mode, &["--single-child", "sh", "-c", script]);
        running.expect("ready");
        kill(running.main_child(), SIGKILL);
        running.expect("told");
        assert_eq!(running.end().code(), 137);
    }
}

#[test]
fn a_stop_timeout_kills_a_deaf_command() {
    for mode in BOTH {
        let script = "trap '' TERM; echo ready; while :; do sleep 0.05; done";
        let running = start(mode, &["--stop-timeout", "500ms", "sh", "-c", script]);
        running.expect("ready");
        running.signal(SIGTERM);
        let outcome = running.end();
        assert_eq!(outcome.code(), 137);
        assert!(outcome.took > Duration::from_millis(500));
    }
}

#[test]
fn children_that_shall_be_left_are_left() {
    let script = "setsid sleep 1000 & echo $!; exit 0";
    let running = start(As::Process, &["--leave-children", "sh", "-c", script]);
    let child: i32 = running.line().parse().expect("a pid");
    let outcome = running.end();
    assert_eq!(outcome.code(), 0);
    assert!(outcome.took < Duration::from_secs(2));
    assert!(alive(child));
    kill(child, SIGKILL);
}

#[test]
fn pause_waits_for_a_stop_request() {
    for mode in BOTH {
        let mut running = start(mode, &["--pause"]);
        std::thread::sleep(Duration::from_millis(200));
        running.signal(libc::SIGHUP);
        std::thread::sleep(Duration::from_millis(100));
        assert!(!running.has_ended());
        running.signal(SIGTERM);
        assert_eq!(running.end().code(), 0);
    }
}
