//! Situations and what PID 1 must do in them.

use super::*;
use crate::signal::{INT, TERM};

const MAIN: Pid = 10;
const HUP: u8 = 1;
const TSTP: u8 = 20;
const CONT: u8 = 18;

fn policy() -> Policy {
    Policy {
        group: true,
        pid_one: true,
        terminal: false,
        rewrites: Rewrites::none(),
        leave_children: false,
        grace: 5_000,
        stop_timeout: None,
        every: None,
    }
}

fn running(policy: Policy) -> State {
    let mut state = State::new(policy, 0);
    assert_eq!(react(Event::Spawned(MAIN), 0, &mut state), []);
    state
}

fn to_group(signal: u8) -> Action {
    Action::Forward { to: Target::Group(MAIN), signal }
}

fn exited(code: u8) -> Event {
    Event::Reaped(MAIN, Status::Exited(code))
}

#[test]
fn every_signal_is_forwarded_to_the_group_or_the_child() {
    for signal in 1..=64 {
        let mut state = running(policy());
        assert_eq!(react(Event::Signal(signal), 0, &mut state), [to_group(signal)]);
        let mut state = running(Policy { group: false, ..policy() });
        let to = Target::Process(MAIN);
        assert_eq!(react(Event::Signal(signal), 0, &mut state), [Action::Forward { to, signal }]);
        assert_eq!(state.deadline, None);
    }
}

#[test]
fn a_lonely_main_child_ends_everything_at_once() {
    for (status, code) in [(Status::Exited(0), 0), (Status::Exited(255), 255), (Status::Killed(9), 137)] {
        let mut state = running(policy());
        assert_eq!(react(Event::Reaped(MAIN, status), 0, &mut state), [Action::Sweep]);
        let end = react(Event::Swept { left: false }, 0, &mut state);
        assert_eq!(end, [Action::Exit(code)]);
    }
}

#[test]
fn orphans_are_reaped_without_any_other_consequence() {
    let mut state = running(policy());
    assert_eq!(react(Event::Reaped(99, Status::Killed(9)), 0, &mut state), []);
    assert_eq!(react(Event::Swept { left: true }, 0, &mut state), []);
    assert_eq!(react(Event::Stopped(99), 0, &mut state), []);
    assert_eq!(state.deadline, None);
}

#[test]
fn what_is_left_gets_term_then_grace_then_kill_and_the_code_stays_the_mains() {
    let mut state = running(policy());
    react(exited(3), 1_000, &mut state);
    let left = react(Event::Swept { left: true }, 1_000, &mut state);
    assert_eq!(left, [Action::TermAll { except_group: None }]);
    assert_eq!(state.deadline, Some(6_000));
    // A child that ends within its grace changes nothing for the others.
    react(Event::Reaped(99, Status::Exited(9)), 2_000, &mut state);
    assert_eq!(react(Event::Swept { left: true }, 2_000, &mut state), []);
    assert_eq!(state.deadline, Some(6_000));
    let killed = react(Event::Deadline, 6_000, &mut state);
    assert_eq!(killed, [Action::ReportKill, Action::KillAll]);
    assert_eq!(state.deadline, Some(6_000 + KILL_WAIT));
    // Children of the killed surface one by one and are killed too.
    assert_eq!(react(Event::Swept { left: true }, 6_001, &mut state), [Action::KillAll]);
    assert_eq!(react(Event::Swept { left: false }, 6_002, &mut state), [Action::Exit(3)]);
}

#[test]
fn unkillable_processes_do_not_hold_the_end_up_for_ever() {
    let mut state = running(policy());
    react(exited(0), 0, &mut state);
    react(Event::Swept { left: true }, 0, &mut state);
    react(Event::Deadline, 5_000, &mut state);
    assert_eq!(react(Event::Deadline, 7_000, &mut state), [Action::Exit(0)]);
}

#[test]
fn a_second_stop_request_ends_the_grace_and_the_first_does_not() {
    for signal in [TERM, INT, signal::QUIT] {
        for before in [true, false] {
            let mut state = running(policy());
            if before {
                react(Event::Signal(signal), 0, &mut state);
            }
            react(exited(0), 0, &mut state);
            react(Event::Swept { left: true }, 0, &mut state);
            assert_eq!(react(Event::Signal(HUP), 1, &mut state), []);
            if !before {
                // The command had ended by itself just before it was to be stopped.
                assert_eq!(react(Event::Signal(signal), 1, &mut state), []);
            }
            let end = react(Event::Signal(signal), 1, &mut state);
            assert_eq!(end, [Action::ReportKill, Action::KillAll]);
            // Asking once more while they die is no new reason for anything.
            assert_eq!(react(Event::Signal(signal), 2, &mut state), []);
        }
    }
}

#[test]
fn a_group_that_had_term_is_not_told_twice() {
    let mut state = running(policy());
    react(Event::Signal(TERM), 0, &mut state);
    react(exited(0), 0, &mut state);
    let left = react(Event::Swept { left: true }, 0, &mut state);
    assert_eq!(left, [Action::TermAll { except_group: Some(MAIN) }]);

    // Alone, the child got it for itself: the others have not heard of it.
    let mut state = running(Policy { group: false, ..policy() });
    react(Event::Signal(TERM), 0, &mut state);
    react(exited(0), 0, &mut state);
    let left = react(Event::Swept { left: true }, 0, &mut state);
    assert_eq!(left, [Action::TermAll { except_group: None }]);
}

#[test]
fn rewritten_signals_arrive_as_others_and_dropped_ones_do_not() {
    let mut rewrites = Rewrites::none();
    for rule in ["TERM:QUIT", "WINCH:0", "TSTP:0"] {
        assert!(rewrites.add(rule).is_some());
    }
    let mut state = running(Policy { rewrites, pid_one: false, ..policy() });
    assert_eq!(react(Event::Signal(TERM), 0, &mut state), [to_group(signal::QUIT)]);
    assert_eq!(react(Event::Signal(28), 0, &mut state), []);
    assert_eq!(react(Event::Signal(TSTP), 0, &mut state), []);
    // TERM never reached the group, so the drain has to send it.
    react(exited(0), 0, &mut state);
    let left = react(Event::Swept { left: true }, 0, &mut state);
    assert_eq!(left, [Action::TermAll { except_group: None }]);
}

#[test]
fn job_control_suspends_us_too_unless_we_are_pid_one() {
    let outside = Policy { pid_one: false, ..policy() };
    let mut state = running(outside.clone());
    assert_eq!(react(Event::Signal(TSTP), 0, &mut state), [to_group(TSTP), Action::Suspend]);
    assert_eq!(react(Event::Stopped(MAIN), 0, &mut state), []);
    assert_eq!(react(Event::Signal(CONT), 0, &mut state), [to_group(CONT)]);

    let mut state = running(Policy { terminal: true, ..outside });
    assert_eq!(react(Event::Stopped(MAIN), 0, &mut state), [Action::Suspend]);
    assert_eq!(react(Event::Stopped(99), 0, &mut state), []);
    let resumed = react(Event::Signal(CONT), 0, &mut state);
    assert_eq!(resumed, [Action::Resume(MAIN), to_group(CONT)]);

    let mut state = running(Policy { terminal: true, ..policy() });
    assert_eq!(react(Event::Stopped(MAIN), 0, &mut state), []);
    assert_eq!(react(Event::Signal(TSTP), 0, &mut state), [to_group(TSTP)]);
}

#[test]
fn children_are_left_alone_when_that_was_asked_for() {
    let mut state = running(Policy { leave_children: true, ..policy() });
    assert_eq!(react(exited(4), 0, &mut state), [Action::Exit(4)]);
}

#[test]
fn a_stop_timeout_counts_from_the_first_request() {
    let mut state = running(Policy { stop_timeout: Some(100), ..policy() });
    react(Event::Signal(HUP), 0, &mut state);
    assert_eq!(state.deadline, None);
    react(Event::Signal(TERM), 10, &mut state);
    react(Event::Signal(TERM), 50, &mut state);
    assert_eq!(state.deadline, Some(110));
    let late = react(Event::Deadline, 110, &mut state);
    assert_eq!(late, [Action::ReportKill, Action::KillAll]);
    assert_eq!(state.deadline, None);
}

#[test]
fn a_command_that_cannot_start_ends_a_single_run_but_not_a_series() {
    let mut state = State::new(policy(), 0);
    assert_eq!(react(Event::SpawnFailed(127), 0, &mut state), [Action::Exit(127)]);
    let mut state = State::new(Policy { every: Some(1_000), ..policy() }, 0);
    assert_eq!(react(Event::SpawnFailed(127), 5, &mut state), [Action::ReportRun(127)]);
    assert_eq!(state.deadline, Some(1_000));
}

#[test]
fn runs_repeat_on_a_fixed_grid_and_missed_intervals_are_skipped() {
    let mut state = running(Policy { every: Some(1_000), ..policy() });
    assert_eq!(react(exited(0), 300, &mut state), []);
    assert_eq!(state.deadline, Some(1_000));
    assert_eq!(react(Event::Deadline, 1_001, &mut state), [Action::Spawn]);
    react(Event::Spawned(MAIN), 1_001, &mut state);
    assert_eq!(state.deadline, None);
    assert_eq!(react(exited(1), 3_500, &mut state), [Action::ReportRun(1)]);
    assert_eq!(state.deadline, Some(4_000));
}

#[test]
fn a_series_ends_by_term_between_and_during_runs() {
    let every = Policy { every: Some(1_000), ..policy() };
    let mut state = running(every.clone());
    react(exited(7), 0, &mut state);
    assert_eq!(react(Event::Signal(HUP), 0, &mut state), []);
    assert_eq!(react(Event::Signal(TERM), 0, &mut state), [Action::Sweep]);
    assert_eq!(react(Event::Swept { left: false }, 0, &mut state), [Action::Exit(0)]);

    let mut state = running(every);
    assert_eq!(react(Event::Signal(TERM), 0, &mut state), [to_group(TERM)]);
    assert_eq!(react(exited(7), 0, &mut state), [Action::Sweep]);
    assert_eq!(react(Event::Swept { left: false }, 0, &mut state), [Action::Exit(7)]);
}

#[test]
fn pause_waits_for_a_stop_request_and_nothing_else() {
    let mut state = State::new(policy(), 0);
    assert_eq!(state.deadline, None);
    assert_eq!(react(Event::Signal(HUP), 0, &mut state), []);
    assert_eq!(react(Event::Reaped(5, Status::Exited(1)), 0, &mut state), []);
    assert_eq!(react(Event::Signal(TERM), 0, &mut state), [Action::Sweep]);
}

/// No sequence of events leads to a panic, and a drain always ends: each deadline that passes
/// brings it one step nearer.
#[test]
fn any_history_still_ends_after_the_main_child() {
    let events = [
        Event::Signal(TERM),
        Event::Signal(HUP),
        Event::Signal(TSTP),
        Event::Stopped(MAIN),
        Event::Reaped(99, Status::Exited(1)),
        Event::Swept { left: true },
        Event::Deadline,
    ];
    for history in 0..events.len().pow(4) {
        let mut state = running(policy());
        let mut rest = history;
        for _ in 0..4 {
            react(events[rest % events.len()], 0, &mut state);
            rest /= events.len();
        }
        react(exited(5), 0, &mut state);
        react(Event::Swept { left: true }, 0, &mut state);
        react(Event::Deadline, 5_000, &mut state);
        let end = react(Event::Deadline, 9_000, &mut state);
        assert_eq!(end, [Action::Exit(5)], "history {history}");
    }
}
