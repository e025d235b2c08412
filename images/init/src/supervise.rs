//! The loop of PID 1: waits for one event, asks [`crate::react`], acts.
//!
//! Never polls: it sleeps in `rt_sigtimedwait`, with a timeout only while a deadline is pending.

use alloc::vec::Vec;
use core::ffi::CStr;

use crate::cli::Options;
use crate::react::{Action, Event, Policy, State, Target, react};
use crate::spawn::Program;
use crate::sys::process::{self, Pid, Status, Wait};
use crate::sys::signal::Set;
use crate::sys::{self, Errno, file};
use crate::{prepare, proc, say, signal};

/// Runs the command as asked and exits with its code.
pub fn run(options: &Options, environment: Vec<&'static CStr>, mask: Set) -> ! {
    let own = process::own_pid();
    let parent = process::parent_pid();
    if own != 1
        && !options.leave_children
        && let Err(errno) = process::become_subreaper()
    {
        say!("cannot adopt orphans, zombies may stay: {errno}");
    }
    let environment = prepare::all(options, environment).unwrap_or_else(|code| sys::exit(code));
    if let Some(signal) = options.parent_death {
        // After the change of user, which clears it.
        if let Err(errno) = process::set_parent_death_signal(signal) {
            say!("cannot watch the parent: {errno}");
        }
    }
    let terminal = !options.pause && owns_terminal();
    let mut supervisor = Supervisor {
        own,
        program: Program::new(&options.command, environment, mask, terminal),
        verbose: options.verbose,
        parent_died: options.parent_death.filter(|_| process::parent_pid() != parent),
        exits: &options.exits,
    };
    let mut state = State::new(
        Policy {
            group: options.group,
            pid_one: own == 1,
            terminal,
            rewrites: options.rewrites.clone(),
            leave_children: options.leave_children,
            grace: options.grace,
            stop_timeout: options.stop_timeout,
            every: options.every,
        },
        sys::now(),
    );
    if !options.pause {
        supervisor.act(&[Action::Spawn], &mut state);
        if options.every.is_none() {
            // Nothing is started again: neither a directory nor a descriptor shall be held.
            let _ = file::change_directory(c"/");
            file::close_from(3);
        }
    }
    supervisor.serve(&mut state)
}

/// Whether standard input is our controlling terminal and we are its foreground job, so that the
/// command has to inherit that role. In a background job it would be a theft.
fn owns_terminal() -> bool {
    process::foreground(&file::STDIN).is_ok_and(|group| group == process::own_group())
}

struct Supervisor<'a> {
    own: Pid,
    program: Program,
    verbose: bool,
    /// The signal that the kernel could not send since the parent had died before it was asked to.
    parent_died: Option<u8>,
    exits: &'a [u8; 256],
}

impl Supervisor<'_> {
    fn serve(&mut self, state: &mut State) -> ! {
        if let Some(signal) = self.parent_died.take() {
            self.tell(Event::Signal(signal), state);
        }
        loop {
            let timeout = state.deadline.map(|deadline| deadline.saturating_sub(sys::now()));
            match sys::signal::wait(timeout) {
                Some(received) if received.signal == signal::CHLD => self.sweep(state),
                // Our own write to a closed log; forwarding that SIGPIPE could end the command.
                Some(received) if received.sender == self.own => {}
                Some(received) => {
                    if self.verbose {
                        let name = signal::name(received.signal);
                        say!("received signal {} ({name})", received.signal);
                    }
                    self.tell(Event::Signal(received.signal), state);
                }
                None if state.deadline.is_some_and(|deadline| deadline <= sys::now()) => {
                    self.tell(Event::Deadline, state);
                }
                None => {}
            }
        }
    }

    fn tell(&mut self, event: Event, state: &mut State) {
        let actions = react(event, sys::now(), state);
        self.act(&actions, state);
    }

    /// Collects every zombie: SIGCHLD says that there is at least one, not how many.
    fn sweep(&mut self, state: &mut State) {
        loop {
            let event = match process::wait(-1, false) {
                Wait::Changed(pid, Status::Stopped) => Event::Stopped(pid),
                Wait::Changed(pid, status) => {
                    if self.verbose {
                        say!("reaped process {pid}");
                    }
                    Event::Reaped(pid, status)
                }
                Wait::Nothing => return self.tell(Event::Swept { left: true }, state),
                Wait::NoChildren => return self.tell(Event::Swept { left: false }, state),
            };
            // A drain asks for a sweep, and this is one: its answer follows at the end.
            let mut actions = react(event, sys::now(), state);
            actions.retain(|action| *action != Action::Sweep);
            self.act(&actions, state);
        }
    }

    fn act(&mut self, actions: &[Action], state: &mut State) {
        for action in actions {
            match *action {
                Action::Forward { to, signal } => forward(to, signal),
                Action::Suspend => {
                    if self.program.terminal {
                        let _ = process::set_foreground(&file::STDIN, process::own_group());
                    }
                    let _ = sys::signal::send(self.own, signal::STOP);
                }
                Action::Resume(main) => {
                    // The shell made us the foreground job, or left us in the background.
                    if owns_terminal() {
                        let _ = process::set_foreground(&file::STDIN, main);
                    }
                }
                Action::Spawn => {
                    let event = match self.program.spawn() {
                        Ok(pid) => Event::Spawned(pid),
                        Err(code) => Event::SpawnFailed(code),
                    };
                    self.tell(event, state);
                }
                Action::Sweep => self.sweep(state),
                Action::TermAll { except_group } => {
                    if self.verbose {
                        say!("the command has ended; asking what is left to end");
                    }
                    proc::signal_all(self.own, signal::TERM, except_group);
                    // A stopped process would sleep through its grace.
                    proc::signal_all(self.own, signal::CONT, None);
                }
                Action::KillAll => proc::signal_all(self.own, signal::KILL, None),
                Action::ReportRun(code) => {
                    say!("this run ended with code {code}; the next interval tries again");
                }
                Action::ReportKill => say!("killing what is left"),
                Action::Exit(code) => self.exit(code),
            }
        }
    }

    fn exit(&self, code: u8) -> ! {
        if self.program.terminal && self.own != 1 {
            // The next command of a script reads this terminal from our group.
            let _ = process::set_foreground(&file::STDIN, process::own_group());
        }
        sys::exit(self.exits.get(usize::from(code)).copied().unwrap_or(code))
    }
}

fn forward(to: Target, signal: u8) {
    let result = match to {
        Target::Process(pid) => sys::signal::send(pid, signal),
        Target::Group(pid) => match sys::signal::send(-pid, signal) {
            // The command moved to another group by itself.
            Err(Errno(libc::ESRCH)) => sys::signal::send(pid, signal),
            result => result,
        },
    };
    match result {
        // It has ended and waits to be reaped.
        Ok(()) | Err(Errno(libc::ESRCH)) => {}
        Err(errno) => say!("cannot forward signal {signal}: {errno}"),
    }
}
