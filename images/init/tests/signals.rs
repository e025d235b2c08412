//! Forwarding: every signal, to whom, as what, and none lost.

#![expect(clippy::print_stdout, reason = "measured figures are worth reading")]

mod common;

use std::time::{Duration, Instant};

use common::*;
use libc::{SIGCONT, SIGHUP, SIGINT, SIGKILL, SIGQUIT, SIGTERM, SIGTSTP, SIGTTIN, SIGTTOU, SIGUSR1};

/// Everything that can be caught, without SIGCHLD, which is about our own children.
fn forwardable() -> impl Iterator<Item = i32> {
    let standard = (1..=31).filter(|n| ![libc::SIGKILL, libc::SIGSTOP, libc::SIGCHLD].contains(n));
    standard.chain(34..=64)
}

#[test]
fn every_signal_arrives_in_every_mode() {
    for mode in BOTH {
        for target in ["--group", "--single-child"] {
            let running = start(mode, &[target, "perl", "-e", PRINT_SIGNALS]);
            running.expect("ready");
            for signal in forwardable() {
                running.signal(signal);
                running.expect(&signal.to_string());
                if mode == As::Process && [SIGTSTP, SIGTTIN, SIGTTOU].contains(&signal) {
                    // Suspended with the command, as a job; the next signal has to wake us.
                    eventually(|| state(running.pid) == Some('T'));
                    running.signal(SIGCONT);
                    running.expect(&SIGCONT.to_string());
                }
            }
            running.signal(SIGKILL);
        }
    }
}

#[test]
fn rewrites_change_drop_and_swap() {
    type Case = (&'static [&'static str], &'static [(i32, &'static str)]);
    let cases: [Case; 5] = [
        (&[], &[(SIGTERM, "15"), (SIGINT, "2")]),
        (&["TERM:INT"], &[(SIGTERM, "2"), (SIGINT, "2")]),
        (&["TERM:INT", "INT:TERM", "QUIT:QUIT"], &[(SIGTERM, "2"), (SIGINT, "15"), (SIGQUIT, "3")]),
        (&["1:31", "31:1"], &[(1, "31"), (31, "1")]),
        (&["SIGHUP:RTMIN+3", "RTMAX:USR1"], &[(SIGHUP, "37"), (64, "10")]),
    ];
    for mode in BOTH {
        for (rules, signals) in cases {
            let mut words: Vec<&str> = rules.iter().flat_map(|rule| ["-r", rule]).collect();
            words.extend(["perl", "-e", PRINT_SIGNALS]);
            let running = start(mode, &words);
            running.expect("ready");
            for (signal, line) in signals {
                running.signal(*signal);
                running.expect(line);
            }
        }
        let running = start(mode, &["-r", "INT:0", "-r", "WINCH:0", "perl", "-e", PRINT_SIGNALS]);
        running.expect("ready");
        for signal in [SIGINT, libc::SIGWINCH, SIGTERM, libc::SIGWINCH, SIGHUP] {
            running.signal(signal);
            std::thread::sleep(Duration::from_millis(10));
        }
        running.expect("15");
        running.expect("1");
    }
}

/// Three shells in a row, each with a `sleep`: a tree of which all get what the group gets.
const TREE: &str = "sh -c 'sh -c \"sleep 1000 & sleep 1000 & echo ready; wait\" & wait' & wait";

#[test]
fn the_group_gets_the_signal_and_a_single_child_keeps_it() {
    for mode in BOTH {
        let running = start(mode, &["--leave-children", "sh", "-c", TREE]);
        running.expect("ready");
        let all = tree(running.main_child());
        assert_eq!(all.len(), 5);
        running.signal(SIGTERM);
        assert_eq!(running.end().code(), 143);
        eventually(|| !all.iter().any(|pid| alive(*pid)));
    }
    let running = start(As::Process, &["-c", "--leave-children", "sh", "-c", TREE]);
    running.expect("ready");
    let all = tree(running.main_child());
    running.signal(SIGTERM);
    assert_eq!(running.end().code(), 143);
    let survivors: Vec<i32> = all.into_iter().filter(|pid| alive(*pid)).collect();
    assert_eq!(survivors.len(), 4);
    for pid in survivors {
        kill(pid, SIGKILL);
    }
}

#[test]
fn a_signal_that_the_command_ignores_still_reaches_its_group() {
    // The launcher ignores USR1, its worker does not, and the launcher waits for the worker.
    let script = "trap '' USR1; perl -e '$SIG{USR1} = q(DEFAULT); print qq(ready\\n); \
                  $| = 1; print q(); sleep 1000' & wait $!; exit 3";
    for mode in BOTH {
        let running = start(mode, &["sh", "-c", script]);
        running.expect("ready");
        running.signal(SIGUSR1);
        assert_eq!(running.end().code(), 3);
    }
}

#[test]
fn a_command_that_left_its_group_is_still_reached() {
    for mode in BOTH {
        let script = "setpgrp(0, getppid()) or 1; use POSIX; POSIX::setpgid(0, 0);\
                      $SIG{TERM} = sub { exit 7 }; $| = 1; print qq(ready\\n); sleep 1000 while 1";
        let running = start(mode, &["setsid", "--wait", "perl", "-e", script]);
        running.expect("ready");
        for pid in tree(running.main_child()) {
            kill(pid, SIGTERM);
        }
        running.signal(SIGTERM);
        let code = running.end().code();
        assert!([7, 143].contains(&code), "{code}");
    }
}

#[test]
fn stop_signals_suspend_both_and_cont_resumes_both() {
    for target in ["--group", "--single-child"] {
        for signal in [SIGTSTP, SIGTTOU, SIGTTIN] {
            let running = start(As::Process, &[target, "sh", "-c", "echo ready; exec sleep 1000"]);
            running.expect("ready");
            let main = running.main_child();
            for _ in 0..3 {
                running.signal(signal);
                eventually(|| state(running.pid) == Some('T') && state(main) == Some('T'));
                running.signal(SIGCONT);
                eventually(|| state(running.pid) == Some('S') && state(main) == Some('S'));
            }
            running.signal(SIGTERM);
            assert_eq!(running.end().code(), 143);
        }
    }
}

#[test]
fn a_rewritten_stop_signal_still_suspends_us() {
    let rules = ["-r", "TTIN:TERM", "-r", "TTOU:INT", "-r", "TSTP:HUP"];
    let running = start(As::Process, &[&rules[..], &["perl", "-e", PRINT_SIGNALS]].concat());
    running.expect("ready");
    for (signal, line) in [(SIGTTIN, "15"), (SIGTTOU, "2"), (SIGTSTP, "1")] {
        running.signal(signal);
        running.expect(line);
        eventually(|| state(running.pid) == Some('T'));
        running.signal(SIGCONT);
        running.expect("18");
    }
}

#[test]
fn the_parents_death_is_forwarded() {
    let scratch = Scratch::new("parent");
    let proof = scratch.path("proof");
    let script = format!("trap 'echo ok > {proof}; exit 0' USR1; echo ready; while :; do sleep 0.05; done");
    let mut parent = std::process::Command::new("sh");
    let nested = "\"$0\" \"$@\" & wait";
    parent.args(["-c", nested]).arg(binary()).args(["-p", "SIGUSR1", "sh", "-c", &script]);
    let running = start_command(As::Process, parent);
    running.expect("ready");
    kill(running.pid, SIGKILL);
    eventually(|| std::fs::read_to_string(&proof).is_ok_and(|text| text == "ok\n"));
}

#[test]
fn verbose_says_which_signal_came() {
    let running = start(As::Process, &["-v", "sleep", "1000"]);
    running.main_child();
    running.signal(SIGTERM);
    let outcome = running.end();
    assert!(outcome.stderr.contains("received signal 15 (TERM)"), "{}", outcome.stderr);
}

/// TERM as soon as there is a child, whatever it is at: 1000 times a mode, none may be lost.
fn no_early_signal_is_lost(mode: As, target: &str) {
    const TIMES: usize = 1000;
    let start_of_all = Instant::now();
    let mut lost = 0;
    let mut early = 0;
    for _ in 0..TIMES {
        let words = command(mode, &[target, "sleep", "1000"]);
        let (mut outer, pid) = spawn_quietly(mode, words);
        let child = loop {
            if let Some(child) = children(pid).first() {
                break *child;
            }
        };
        let name = std::fs::read_to_string(format!("/proc/{child}/comm")).unwrap_or_default();
        kill(pid, SIGTERM);
        early += usize::from(name.trim() == "mastic-init");
        let deadline = Instant::now() + Duration::from_secs(3);
        loop {
            if let Some(status) = outer.try_wait().expect("our child") {
                assert_eq!(code_of(status), 143);
                break;
            }
            if Instant::now() > deadline {
                lost += 1;
                for pid in tree(pid) {
                    kill(pid, SIGKILL);
                }
                let _ = outer.wait();
                break;
            }
            std::thread::yield_now();
        }
    }
    let took = start_of_all.elapsed();
    println!("{mode:?} {target}: {lost} of {TIMES} lost, {early} before exec, {took:?}");
    assert_eq!(lost, 0);
    assert!(early > 0, "no signal was early, so nothing was shown");
}

fn spawn_quietly(mode: As, mut words: std::process::Command) -> (std::process::Child, i32) {
    let outer = words.spawn().expect("it starts");
    let outer_pid = i32::try_from(outer.id()).expect("a pid");
    let pid = match mode {
        As::Process => outer_pid,
        As::PidOne => loop {
            if let Some(pid) = children(outer_pid).first() {
                break *pid;
            }
        },
    };
    (outer, pid)
}

#[test]
fn no_early_signal_is_lost_by_a_process_to_a_group() {
    no_early_signal_is_lost(As::Process, "--group");
}

#[test]
fn no_early_signal_is_lost_by_a_process_to_a_child() {
    no_early_signal_is_lost(As::Process, "--single-child");
}

#[test]
fn no_early_signal_is_lost_by_pid_one_to_a_group() {
    no_early_signal_is_lost(As::PidOne, "--group");
}

#[test]
fn no_early_signal_is_lost_by_pid_one_to_a_child() {
    no_early_signal_is_lost(As::PidOne, "--single-child");
}
