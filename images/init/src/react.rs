//! The decisions of PID 1, without a single system call.
//!
//! `react` takes what happened and the state, and says what to do. It must never block, allocate
//! more than its answer, or look at the world: the caller sweeps children, tells the time and acts.
//!
//! Invariants:
//! - The exit code is the main child's, whatever ends it and however long the drain takes.
//! - No process that got TERM is killed before the grace has passed or a second stop asked for it.
//! - Once the main child has exited no new deadline lies further away than the grace.

use alloc::vec::Vec;

use crate::signal::{self, Rewrites};
use crate::sys::process::{Pid, Status};

/// How long killed processes may take to vanish; only uninterruptible ones ever need it.
pub const KILL_WAIT: u64 = 2_000;

/// What was asked for on the command line, as far as reactions depend on it.
#[derive(Clone)]
pub struct Policy {
    /// Signals go to the main child's process group, not to it alone.
    pub group: bool,
    /// We are PID 1, so the kernel ignores a stop of ourselves.
    pub pid_one: bool,
    /// The main child owns the terminal that was ours.
    pub terminal: bool,
    pub rewrites: Rewrites,
    /// Other processes are left alone when the main child exits.
    pub leave_children: bool,
    /// Between TERM and KILL when draining, in milliseconds.
    pub grace: u64,
    /// Between the first stop signal and KILL of everything, if the main child does not exit.
    pub stop_timeout: Option<u64>,
    /// The main child is run again and again, this far apart.
    pub every: Option<u64>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    Spawned(Pid),
    /// The command could not be started; the code says why.
    SpawnFailed(u8),
    Signal(u8),
    /// A child stopped.
    Stopped(Pid),
    Reaped(Pid, Status),
    /// All zombies are collected; tells whether children are left.
    Swept {
        left: bool,
    },
    /// `State::deadline` has passed.
    Deadline,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    Forward {
        to: Target,
        signal: u8,
    },
    /// Give the terminal back and stop, as the job that a shell started.
    Suspend,
    /// Hand the terminal to the main child again.
    Resume(Pid),
    Spawn,
    /// Collect zombies, then report `Event::Swept`.
    Sweep,
    /// TERM to every process but us and the group that already had it.
    TermAll {
        except_group: Option<Pid>,
    },
    KillAll,
    /// A periodic run ended badly; it is tried again at the next interval.
    ReportRun(u8),
    ReportKill,
    Exit(u8),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Target {
    Group(Pid),
    Process(Pid),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// No main child: before the first run, between two runs, or for ever (`--pause`).
    Idle,
    Running {
        main: Pid,
        stopping: bool,
    },
    Draining {
        code: u8,
        step: Drain,
    },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Drain {
    /// Not known yet whether anything is left.
    Looking,
    Terminated,
    Killed,
}

pub struct State {
    policy: Policy,
    phase: Phase,
    /// A second stop request is impatience; the first may come just when a drain has begun.
    asked_to_stop: bool,
    /// The group that got a forwarded TERM: a second one makes many programs give up at once.
    terminated_group: Option<Pid>,
    /// When the current run began; runs are aligned to the first.
    run_due: u64,
    /// When to report `Event::Deadline`; never in the past of a sleeping process.
    pub deadline: Option<u64>,
}

impl State {
    pub fn new(policy: Policy, now: u64) -> Self {
        Self {
            policy,
            phase: Phase::Idle,
            asked_to_stop: false,
            terminated_group: None,
            run_due: now,
            deadline: None,
        }
    }

    /// The next interval after `now`; intervals that a long run has used up are skipped.
    fn next_run(&mut self, every: u64, now: u64) -> u64 {
        let every = every.max(1);
        let passed = now.saturating_sub(self.run_due) / every + 1;
        self.run_due = self.run_due.saturating_add(passed.saturating_mul(every));
        self.run_due
    }

    fn main_ended(&mut self, code: u8, stopping: bool, now: u64) -> Vec<Action> {
        match self.policy.every {
            Some(every) if !stopping => {
                self.phase = Phase::Idle;
                self.deadline = Some(self.next_run(every, now));
                if code == 0 { Vec::new() } else { [Action::ReportRun(code)].into() }
            }
            _ => self.drain(code),
        }
    }

    /// Leaves with `code` as soon as nothing is left; the next sweep tells.
    fn drain(&mut self, code: u8) -> Vec<Action> {
        self.deadline = None;
        if self.policy.leave_children {
            return [Action::Exit(code)].into();
        }
        self.phase = Phase::Draining { code, step: Drain::Looking };
        [Action::Sweep].into()
    }

    fn kill(&mut self, code: u8, now: u64) -> Vec<Action> {
        self.phase = Phase::Draining { code, step: Drain::Killed };
        self.deadline = Some(now.saturating_add(KILL_WAIT));
        [Action::ReportKill, Action::KillAll].into()
    }

    fn target(&self, main: Pid) -> Target {
        if self.policy.group { Target::Group(main) } else { Target::Process(main) }
    }

    fn signal_while_running(&mut self, received: u8, main: Pid, now: u64) -> Vec<Action> {
        let Some(sent) = self.policy.rewrites.apply(received) else { return Vec::new() };
        let mut actions = Vec::new();
        if signal::is_stop_request(received) {
            self.asked_to_stop = true;
            if let (None, Some(timeout)) = (self.deadline, self.policy.stop_timeout) {
                self.deadline = Some(now.saturating_add(timeout));
            }
            self.phase = Phase::Running { main, stopping: true };
        }
        if sent == signal::CONT && !self.policy.pid_one && self.policy.terminal {
            actions.push(Action::Resume(main));
        }
        let to = self.target(main);
        if sent == signal::TERM && to == Target::Group(main) {
            self.terminated_group = Some(main);
        }
        actions.push(Action::Forward { to, signal: sent });
        if signal::is_job_stop(received) && !self.policy.pid_one {
            actions.push(Action::Suspend);
        }
        actions
    }
}

pub fn react(event: Event, now: u64, state: &mut State) -> Vec<Action> {
    match (event, state.phase) {
        (Event::Spawned(main), _) => {
            state.phase = Phase::Running { main, stopping: false };
            state.terminated_group = None;
            state.deadline = None;
            Vec::new()
        }
        (Event::SpawnFailed(code), _) => match state.policy.every {
            Some(_) => state.main_ended(code, false, now),
            None => [Action::Exit(code)].into(),
        },

        (Event::Signal(received), Phase::Running { main, .. }) => {
            state.signal_while_running(received, main, now)
        }
        (Event::Signal(received), Phase::Idle) if signal::is_stop_request(received) => {
            state.asked_to_stop = true;
            state.drain(0)
        }
        (Event::Signal(received), Phase::Draining { code, step: Drain::Terminated })
            if signal::is_stop_request(received) =>
        {
            if state.asked_to_stop {
                return state.kill(code, now);
            }
            state.asked_to_stop = true;
            Vec::new()
        }

        (Event::Stopped(pid), Phase::Running { main, .. })
            if pid == main && state.policy.terminal && !state.policy.pid_one =>
        {
            [Action::Suspend].into()
        }

        (Event::Reaped(pid, status), Phase::Running { main, stopping }) if pid == main => {
            match exit_code(status) {
                Some(code) => state.main_ended(code, stopping, now),
                None => Vec::new(),
            }
        }

        // Nothing is left, or only what not even KILL can end.
        (Event::Swept { left: false }, Phase::Draining { code, .. })
        | (Event::Deadline, Phase::Draining { code, step: Drain::Killed }) => [Action::Exit(code)].into(),
        (Event::Swept { left: true }, Phase::Draining { code, step: Drain::Looking }) => {
            state.phase = Phase::Draining { code, step: Drain::Terminated };
            state.deadline = Some(now.saturating_add(state.policy.grace));
            [Action::TermAll { except_group: state.terminated_group }].into()
        }
        // Something that forked while it was being killed may have left a child behind.
        (Event::Swept { left: true }, Phase::Draining { step: Drain::Killed, .. }) => {
            [Action::KillAll].into()
        }

        (Event::Deadline, Phase::Idle) => {
            state.deadline = None;
            [Action::Spawn].into()
        }
        (Event::Deadline, Phase::Running { .. }) => {
            state.deadline = None;
            [Action::ReportKill, Action::KillAll].into()
        }
        (Event::Deadline, Phase::Draining { code, step: Drain::Looking | Drain::Terminated }) => {
            state.kill(code, now)
        }

        // Orphans, and signals to a command that does not run.
        (Event::Signal(_), Phase::Idle | Phase::Draining { .. })
        | (Event::Stopped(_) | Event::Reaped(..) | Event::Swept { .. }, _) => Vec::new(),
    }
}

/// The code a shell would report, or nothing for a stopped child.
pub fn exit_code(status: Status) -> Option<u8> {
    match status {
        Status::Exited(code) => Some(code),
        Status::Killed(signal) => Some(signal.saturating_add(128)),
        Status::Stopped => None,
    }
}

#[cfg(test)]
#[path = "react_tests.rs"]
mod tests;
