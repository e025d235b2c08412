//! How simulated containers behave: which end, with what code, when they are healthy, what they print.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use crate::engine::{ExecOutcome, ExecRequest};

/// When a check passes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Readiness {
    /// This long after the start.
    After(Duration),
    /// Never.
    Never,
}

/// What one container does once it runs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Behaviour {
    /// The engine's words when it cannot be started at all.
    pub start_error: Option<String>,
    /// It ends by itself after this long, with this code.
    pub exits: Option<(Duration, i64)>,
    /// When its check passes.
    pub ready: Readiness,
    /// What it prints at start: text (newlines included) and whether it goes to standard error.
    pub output: Vec<(bool, String)>,
    /// How long it takes to end after its stop signal, and its code then; longer than the grace is a kill.
    pub stops: (Duration, i64),
    /// Bytes of memory it uses.
    pub memory: u64,
}

impl Default for Behaviour {
    /// Runs for ever, is ready at once, and ends at once with 0 when it is told to.
    fn default() -> Self {
        Self {
            start_error: None,
            exits: None,
            ready: Readiness::After(Duration::ZERO),
            output: Vec::new(),
            stops: (Duration::ZERO, 0),
            memory: 10 << 20,
        }
    }
}

impl Behaviour {
    /// Ends by itself after `delay` with `code`, like a task.
    pub fn exits(delay: Duration, code: i64) -> Self {
        Self { exits: Some((delay, code)), ..Self::default() }
    }

    /// Prints `lines` to standard error and ends at once with `code`; it never serves.
    pub fn crashes(code: i64, lines: &[&str]) -> Self {
        Self { ready: Readiness::Never, ..Self::exits(Duration::ZERO, code) }.prints(lines)
    }

    /// Runs, but its check never passes.
    pub fn never_ready() -> Self {
        Self { ready: Readiness::Never, ..Self::default() }
    }

    /// Its check passes after `delay`.
    pub fn ready_after(delay: Duration) -> Self {
        Self { ready: Readiness::After(delay), ..Self::default() }
    }

    /// Finds its port taken (on the host's network the process sees it, not the engine).
    pub fn port_taken(port: u16) -> Self {
        Self::crashes(1, &[&format!("bind: 127.0.0.1:{port}: Address already in use")])
    }

    /// Also prints these lines to standard error at start.
    pub fn prints(mut self, lines: &[&str]) -> Self {
        self.output.extend(lines.iter().map(|line| (true, format!("{line}\n"))));
        self
    }
}

/// What a program sees when it is started in a simulated container.
#[derive(Clone, Debug)]
pub struct ProgramContext<'a> {
    /// Engine name of the container.
    pub container: &'a str,
    /// Reference or id of the image it was created with.
    pub image: &'a str,
    /// The main process, without PID 1 and its options.
    pub command: &'a [String],
    /// `KEY=value`, of the container.
    pub environment: &'a [String],
    /// `uid:gid`.
    pub user: &'a str,
    /// How often it has been started before.
    pub starts: u64,
}

type MainProgram = dyn Fn(&ProgramContext<'_>) -> Option<Behaviour> + Send + Sync;
type ExecProgram = dyn Fn(&ProgramContext<'_>, &ExecRequest) -> Option<ExecOutcome> + Send + Sync;

/// The behaviours of an engine's containers: explicit rules first, then programs, then the default.
#[derive(Clone, Default)]
pub(super) struct Script {
    rules: Vec<(String, Behaviour)>,
    programs: Vec<Arc<MainProgram>>,
    execs: Vec<Arc<ExecProgram>>,
}

impl fmt::Debug for Script {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Script").field("rules", &self.rules).finish_non_exhaustive()
    }
}

impl Script {
    /// The youngest rule for a text wins.
    pub(super) fn rule(&mut self, part: &str, behaviour: Behaviour) {
        self.rules.retain(|(known, _)| known != part);
        self.rules.insert(0, (part.to_owned(), behaviour));
    }

    pub(super) fn forget_rule(&mut self, part: &str) {
        self.rules.retain(|(known, _)| known != part);
    }

    pub(super) fn program(&mut self, program: Arc<MainProgram>) {
        self.programs.push(program);
    }

    pub(super) fn exec(&mut self, program: Arc<ExecProgram>) {
        self.execs.push(program);
    }

    /// Returns how a container that is being started behaves.
    pub(super) fn behaviour(&self, context: &ProgramContext<'_>) -> Behaviour {
        let named = |part: &str| context.container.contains(part) || context.image.contains(part);
        let rule = self.rules.iter().find(|(part, _)| named(part)).map(|(_, behaviour)| behaviour.clone());
        rule.or_else(|| self.programs.iter().find_map(|program| program(context))).unwrap_or_default()
    }

    /// Returns how an exec ends where a program knows it; else the check of PID 1 looks, and all others succeed in silence.
    pub(super) fn outcome(&self, context: &ProgramContext<'_>, request: &ExecRequest) -> Option<ExecOutcome> {
        self.execs.iter().find_map(|program| program(context, request))
    }
}
