//! One simulated container, and its passage through time.
//!
//! Nothing ticks: a container knows when it changes next, and the world brings it there when somebody looks.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::engine::archive::Tree;
use crate::model::{CheckSpec, ContainerId, ContainerState, Health, ImageId, Labels, ObservedContainer};

use super::script::{Behaviour, Readiness};
use super::world::rfc3339;

/// Consecutive failures of the check that make it unhealthy; the engine's default.
const RETRIES: u32 = 3;
/// First pause before a restart by policy; each doubles.
const FIRST_BACKOFF: Duration = Duration::from_millis(100);
/// Longest pause, and the run time after which the pause is the first one again.
const LONGEST_BACKOFF: Duration = Duration::from_mins(1);
const GOOD_RUN: Duration = Duration::from_secs(10);

/// Where a mount leads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Mounted {
    Volume(String),
    Host(String),
    Tmpfs,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    Created,
    Running,
    Restarting { at: Duration },
    Exited,
}

/// A line of output.
#[derive(Clone, Debug)]
pub(super) struct LogLine {
    pub(super) at: Duration,
    pub(super) stderr: bool,
    pub(super) text: String,
}

/// What a container was created from and never changes.
#[derive(Clone, Debug)]
pub(super) struct Birth {
    pub(super) id: ContainerId,
    pub(super) name: String,
    pub(super) labels: BTreeMap<String, String>,
    pub(super) image: ImageId,
    pub(super) image_reference: String,
    /// Full argv, PID 1 included; none for an inert container.
    pub(super) entrypoint: Vec<String>,
    /// The main process alone.
    pub(super) command: Vec<String>,
    pub(super) environment: Vec<String>,
    pub(super) user: String,
    /// Target to source.
    pub(super) mounts: BTreeMap<String, Mounted>,
    pub(super) check: Option<CheckSpec>,
    pub(super) restarts: bool,
    pub(super) created: Duration,
}

/// Something that happened to it, to be told as an event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Happened {
    pub(super) at: Duration,
    pub(super) action: &'static str,
    pub(super) exit_code: Option<i64>,
}

#[derive(Clone, Debug)]
pub(super) struct Container {
    pub(super) birth: Birth,
    /// What was uploaded, over the image.
    pub(super) files: Tree,
    pub(super) phase: Phase,
    pub(super) health: Health,
    pub(super) exit_code: Option<i64>,
    pub(super) error: Option<String>,
    pub(super) started: Option<Duration>,
    pub(super) finished: Option<Duration>,
    pub(super) restart_count: u64,
    /// Ends seen so far: how a waiter notices one that the restart policy hides.
    pub(super) ends: u64,
    pub(super) starts: u64,
    pub(super) log: Vec<LogLine>,
    behaviour: Behaviour,
    end: Option<(Duration, i64)>,
    probe: Option<Duration>,
    failures: u32,
    backoff: Duration,
    /// Stopped by us: the policy leaves it alone.
    stopped: bool,
    /// Since when its processes are frozen.
    frozen: Option<Duration>,
}

impl Container {
    pub(super) fn new(birth: Birth) -> Self {
        Self {
            birth,
            files: Tree::new(),
            phase: Phase::Created,
            health: Health::None,
            exit_code: None,
            error: None,
            started: None,
            finished: None,
            restart_count: 0,
            ends: 0,
            starts: 0,
            log: Vec::new(),
            behaviour: Behaviour::default(),
            end: None,
            probe: None,
            failures: 0,
            backoff: FIRST_BACKOFF,
            stopped: false,
            frozen: None,
        }
    }

    /// Returns whether the engine counts it as running; one that is about to be restarted is.
    pub(super) fn is_running(&self) -> bool {
        matches!(self.phase, Phase::Running | Phase::Restarting { .. })
    }

    /// Returns whether its process runs at this moment.
    pub(super) fn is_live(&self) -> bool {
        self.phase == Phase::Running && self.frozen.is_none()
    }

    /// Returns whether its processes are frozen.
    pub(super) fn is_frozen(&self) -> bool {
        self.frozen.is_some()
    }

    /// Freezes its processes.
    pub(super) fn freeze(&mut self, now: Duration) -> Vec<Happened> {
        self.frozen = Some(now);
        vec![Happened { at: now, action: "pause", exit_code: None }]
    }

    /// Lets its processes go on: what they waited for is as far away as it was.
    pub(super) fn thaw(&mut self, now: Duration) -> Vec<Happened> {
        let Some(since) = self.frozen.take() else { return Vec::new() };
        let later = now.saturating_sub(since);
        self.end = self.end.map(|(at, code)| (at + later, code));
        self.probe = self.probe.map(|at| at + later);
        vec![Happened { at: now, action: "unpause", exit_code: None }]
    }

    pub(super) fn memory(&self) -> u64 {
        self.behaviour.memory
    }

    /// Returns when its check passes; none if never.
    pub(super) fn ready_at(&self) -> Option<Duration> {
        match (self.behaviour.ready, self.started) {
            (Readiness::After(delay), Some(started)) => Some(started + delay),
            (Readiness::After(_), None) | (Readiness::Never, _) => None,
        }
    }

    /// Starts it at `now`, by hand or by policy.
    pub(super) fn start(&mut self, now: Duration, behaviour: Behaviour, by_policy: bool) -> Vec<Happened> {
        self.behaviour = behaviour;
        self.phase = Phase::Running;
        self.started = Some(now);
        self.exit_code = None;
        self.error = None;
        self.starts += 1;
        self.failures = 0;
        self.end = self.behaviour.exits.map(|(delay, code)| (now + delay, code));
        self.health = Health::None;
        self.probe = None;
        if let Some(check) = &self.birth.check {
            self.health = Health::Starting;
            self.probe = Some(now + Duration::from_secs(check.interval.into()));
        }
        if by_policy {
            self.restart_count += 1;
        } else {
            self.restart_count = 0;
            self.stopped = false;
            self.backoff = FIRST_BACKOFF;
        }
        let lines =
            self.behaviour.output.iter().map(|(stderr, text)| (*stderr, text.clone())).collect::<Vec<_>>();
        self.log.extend(lines.into_iter().map(|(stderr, text)| LogLine { at: now, stderr, text }));
        vec![Happened { at: now, action: "start", exit_code: None }]
    }

    /// Records that the engine could not start it.
    pub(super) fn refuse_start(&mut self, why: &str) {
        self.error = Some(why.to_owned());
    }

    /// Sends the stop signal; after `grace` it is killed.
    pub(super) fn stop(&mut self, now: Duration, grace: Duration) -> Vec<Happened> {
        self.stopped = true;
        self.thaw(now);
        match self.phase {
            Phase::Created | Phase::Exited => Vec::new(),
            Phase::Restarting { .. } => {
                self.phase = Phase::Exited;
                vec![Happened { at: now, action: "stop", exit_code: None }]
            }
            Phase::Running => {
                let (takes, code) = self.behaviour.stops;
                self.end_by(if takes <= grace { (now + takes, code) } else { (now + grace, 137) });
                vec![Happened { at: now, action: "kill", exit_code: None }]
            }
        }
    }

    /// Sends a signal to a running container.
    pub(super) fn kill(&mut self, now: Duration, signal: &str) -> Vec<Happened> {
        match signal.trim_start_matches("SIG") {
            "KILL" | "9" => {
                self.thaw(now);
                self.stopped = true;
                self.end_by((now, 137));
            }
            "TERM" | "15" | "INT" | "2" | "QUIT" | "3" => {
                self.stopped = true;
                let (takes, code) = self.behaviour.stops;
                self.end_by((now + takes, code));
            }
            _ => {}
        }
        vec![Happened { at: now, action: "kill", exit_code: None }]
    }

    /// Ends the process with `code`, not at our request.
    pub(super) fn crash(&mut self, now: Duration, code: i64) -> Vec<Happened> {
        self.thaw(now);
        if self.is_live() { self.ended(now, code) } else { Vec::new() }
    }

    fn end_by(&mut self, end: (Duration, i64)) {
        let sooner = self.end.is_none_or(|(at, _)| end.0 < at);
        if sooner {
            self.end = Some(end);
        }
    }

    /// Returns when it changes by itself next.
    pub(super) fn due(&self) -> Option<Duration> {
        match self.phase {
            _ if self.is_frozen() => None,
            Phase::Created | Phase::Exited => None,
            Phase::Restarting { at } => Some(at),
            Phase::Running => [self.end.map(|(at, _)| at), self.probe].into_iter().flatten().min(),
        }
    }

    /// Makes the one change that is due at `at`. A restart is left to the world, which knows the behaviour.
    pub(super) fn advance(&mut self, at: Duration) -> Vec<Happened> {
        if let Some((when, code)) = self.end.filter(|(when, _)| *when <= at) {
            return self.ended(when, code);
        }
        if let Some(when) = self.probe.filter(|when| *when <= at) {
            return self.probed(when);
        }
        Vec::new()
    }

    fn ended(&mut self, at: Duration, code: i64) -> Vec<Happened> {
        let ran = at.saturating_sub(self.started.unwrap_or(at));
        self.end = None;
        self.probe = None;
        self.exit_code = Some(code);
        self.finished = Some(at);
        self.ends += 1;
        if self.health != Health::None {
            self.health = Health::Unhealthy;
        }
        let mut happened = vec![Happened { at, action: "die", exit_code: Some(code) }];
        if self.birth.restarts && !self.stopped {
            if ran >= GOOD_RUN {
                self.backoff = FIRST_BACKOFF;
            }
            self.phase = Phase::Restarting { at: at + self.backoff };
            self.backoff = (self.backoff * 2).min(LONGEST_BACKOFF);
        } else {
            self.phase = Phase::Exited;
            if self.stopped {
                happened.push(Happened { at, action: "stop", exit_code: None });
            }
        }
        happened
    }

    fn probed(&mut self, at: Duration) -> Vec<Happened> {
        let interval = self.birth.check.as_ref().map_or(30, |check| check.interval.max(1));
        self.probe = Some(at + Duration::from_secs(interval.into()));
        let passed = self.ready_at().is_some_and(|ready| ready <= at);
        let grace = self.birth.check.as_ref().map_or(0, |check| check.deadline);
        let counts = at >= self.started.unwrap_or(at) + Duration::from_secs(grace.into());
        self.failures = if passed { 0 } else { self.failures + u32::from(counts) };
        let verdict = match (passed, self.failures >= RETRIES) {
            (true, _) => Health::Healthy,
            (false, true) => Health::Unhealthy,
            (false, false) => self.health,
        };
        if verdict == self.health {
            return Vec::new();
        }
        self.health = verdict;
        let action = if passed { "health_status: healthy" } else { "health_status: unhealthy" };
        vec![Happened { at, action, exit_code: None }]
    }

    pub(super) fn observe(&self) -> ObservedContainer {
        let time = |at: Option<Duration>| at.map(rfc3339).unwrap_or_default();
        let Birth { id, name, labels, image, created, .. } = &self.birth;
        ObservedContainer {
            id: id.clone(),
            name: name.clone(),
            labels: labels.clone(),
            slot_labels: Labels::parse(labels),
            state: match self.phase {
                Phase::Created => ContainerState::Created,
                Phase::Running if self.is_frozen() => ContainerState::Paused,
                Phase::Running => ContainerState::Running,
                Phase::Restarting { .. } => ContainerState::Restarting,
                Phase::Exited => ContainerState::Exited,
            },
            health: self.health,
            exit_code: if self.phase == Phase::Running { None } else { self.exit_code },
            error: self.error.clone(),
            oom_killed: false,
            restart_count: self.restart_count,
            image: image.clone(),
            created_at: rfc3339(*created),
            started_at: time(self.started),
            finished_at: time(self.finished),
        }
    }
}
