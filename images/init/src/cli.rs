//! The command line of PID 1: text in, [`Options`] out, nothing touched.

use alloc::boxed::Box;
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use core::ffi::CStr;

use crate::signal::{self, Rewrites};
use crate::text::{Lossy, parse_duration};

pub const HELP: &str = "\
usage: mastic-init [OPTIONS] [--] COMMAND [ARGUMENTS...]
       mastic-init [OPTIONS] --pause
       mastic-init check [OPTIONS] TARGET...     (see mastic-init check --help)

Runs COMMAND as the only purpose of a container: forwards signals, reaps orphans, and when
COMMAND ends gives everything that is left time to end too. Exits with COMMAND's code.

signals and ends
  -g, --group               forward signals to COMMAND's process group (the default)
  -c, --single-child        forward signals to COMMAND alone
  -r, --rewrite FROM:TO     forward FROM as TO; TO 0 drops it (repeatable)
      --grace TIME          from TERM to KILL for what outlives COMMAND (default 5)
      --stop-timeout TIME   from the first TERM, INT or QUIT to KILL of everything (default none)
      --leave-children      let other processes live on when COMMAND ends
  -e, --map-exit N[=M]      exit with M (default 0) when COMMAND's code is N (repeatable)
  -p, --parent-death SIGNAL forward SIGNAL when our parent dies
  -s, --subreaper           adopt orphans also when not PID 1 (automatic)

before COMMAND starts
      --user NAME|UID[:GROUP|GID]   run COMMAND, and stay ourselves, as this user
      --mkdir PATH=UID:GID:MODE     make a directory with owner and mode (repeatable)
      --own PATH=UID:GID[:MODE]     give a tree to an owner, touching only what differs
      --require FILE                refuse to start unless this file can be read (repeatable)
      --leave-cgroups NAME          move to cgroup NAME of every hierarchy; implies
                                    --leave-children

other
      --every TIME          run COMMAND now and again at each interval, until TERM
      --pause               run nothing, reap, until TERM
  -v, --verbose             say what is done
  -V, --version
  -h, --help

TIME is seconds, or a number with ms, s, m, h or d.
exit codes: COMMAND's, 128+n if signal n killed it, 126 cannot be run, 127 not found,
2 usage, 71 the system refused a preparation, 78 --require or --user failed";

/// A path with what it shall have: `--own` and `--mkdir`.
#[derive(Debug, PartialEq, Eq)]
pub struct Ownership {
    pub path: Box<[u8]>,
    pub user: u32,
    pub group: u32,
    pub mode: Option<u32>,
}

pub struct Options {
    pub group: bool,
    pub rewrites: Rewrites,
    /// The exit code for each code of the command.
    pub exits: Box<[u8; 256]>,
    pub parent_death: Option<u8>,
    pub grace: u64,
    pub stop_timeout: Option<u64>,
    pub leave_children: bool,
    pub every: Option<u64>,
    pub pause: bool,
    pub user: Option<&'static str>,
    pub directories: Vec<Ownership>,
    pub owned: Vec<Ownership>,
    pub required: Vec<&'static CStr>,
    pub cgroup: Option<&'static str>,
    pub verbose: bool,
    pub command: Vec<&'static CStr>,
}

impl Options {
    fn new() -> Self {
        let mut exits = [0; 256];
        for (code, entry) in (0..=u8::MAX).zip(&mut exits) {
            *entry = code;
        }
        Self {
            group: true,
            rewrites: Rewrites::none(),
            exits: Box::new(exits),
            parent_death: None,
            grace: 5_000,
            stop_timeout: None,
            leave_children: false,
            every: None,
            pause: false,
            user: None,
            directories: Vec::new(),
            owned: Vec::new(),
            required: Vec::new(),
            cgroup: None,
            verbose: false,
            command: Vec::new(),
        }
    }
}

pub enum Command {
    Run(Box<Options>),
    Help,
    Version,
}

/// Reads the arguments after the program's name. The error is one line for a person.
pub fn parse(arguments: &[&'static CStr]) -> Result<Command, String> {
    let mut options = Options::new();
    let mut rest = Arguments { words: arguments.iter(), inline: None };
    while let Some(word) = rest.next_option() {
        match word? {
            "-g" | "--group" => options.group = true,
            "-c" | "--single-child" => options.group = false,
            // Adopting orphans needs no asking; the word is for those who come from tini.
            "-s" | "--subreaper" => {}
            "-r" | "--rewrite" => {
                let rule = rest.text("--rewrite")?;
                options
                    .rewrites
                    .add(rule)
                    .ok_or_else(|| format!("--rewrite {rule}: want FROM:TO, signals by name or number"))?;
            }
            "--grace" => options.grace = rest.duration("--grace")?,
            "--stop-timeout" => options.stop_timeout = Some(rest.duration("--stop-timeout")?),
            "--leave-children" => options.leave_children = true,
            "-e" | "--map-exit" => {
                let rule = rest.text("--map-exit")?;
                map_exit(&mut options.exits, rule)
                    .ok_or_else(|| format!("--map-exit {rule}: want N or N=M, each 0 to 255"))?;
            }
            "-p" | "--parent-death" => {
                let text = rest.text("--parent-death")?;
                let signal = signal::parse(text)
                    .filter(|signal| !matches!(*signal, signal::KILL | signal::STOP))
                    .ok_or_else(|| format!("--parent-death {text}: not a signal to forward"))?;
                options.parent_death = Some(signal);
            }
            "--user" => options.user = Some(rest.text("--user")?),
            "--mkdir" => options.directories.push(rest.ownership("--mkdir", true)?),
            "--own" => options.owned.push(rest.ownership("--own", false)?),
            "--require" => options.required.push(rest.value("--require")?),
            "--leave-cgroups" => {
                let name = rest.text("--leave-cgroups")?;
                if name.is_empty() || name.split('/').any(|part| matches!(part, "" | "." | "..")) {
                    return Err(format!("--leave-cgroups {name}: want a relative cgroup name"));
                }
                options.cgroup = Some(name);
                options.leave_children = true;
            }
            "--every" => {
                let every = rest.duration("--every")?;
                if every == 0 {
                    return Err("--every 0: want an interval".into());
                }
                options.every = Some(every);
            }
            "--pause" => options.pause = true,
            "-v" | "--verbose" => options.verbose = true,
            "-V" | "--version" => return Ok(Command::Version),
            "-h" | "--help" => return Ok(Command::Help),
            unknown => return Err(format!("unknown option {unknown}; see --help")),
        }
        rest.inline_used()?;
    }
    options.command = rest.words.copied().collect();
    match (options.command.is_empty(), options.pause) {
        (true, false) => Err("no command given; see --help".into()),
        (false, true) => Err("--pause runs no command".into()),
        (true, true) if options.every.is_some() => Err("--pause and --every exclude".into()),
        _ => Ok(Command::Run(Box::new(options))),
    }
}

fn map_exit(exits: &mut [u8; 256], rule: &str) -> Option<()> {
    let (from, to) = rule.split_once('=').unwrap_or((rule, "0"));
    *exits.get_mut(usize::from(from.parse::<u8>().ok()?))? = to.parse().ok()?;
    Some(())
}

/// Walks the words, taking values from the next word or from behind `=`.
pub struct Arguments<'a> {
    words: core::slice::Iter<'a, &'static CStr>,
    inline: Option<&'static [u8]>,
}

impl<'a> Arguments<'a> {
    pub fn new(words: &'a [&'static CStr]) -> Self {
        Self { words: words.iter(), inline: None }
    }

    /// The next option's name, or nothing at the first other word or after `--`.
    pub fn next_option(&mut self) -> Option<Result<&'static str, String>> {
        let word = self.words.as_slice().first()?.to_bytes();
        if !word.starts_with(b"-") || word == b"-" {
            return None;
        }
        self.words.next();
        if word == b"--" {
            return None;
        }
        let mut name = word;
        if word.starts_with(b"--")
            && let Some(at) = word.iter().position(|byte| *byte == b'=')
            && let Some((before, after)) = word.split_at_checked(at)
        {
            name = before;
            self.inline = after.get(1..);
        }
        Some(core::str::from_utf8(name).map_err(|_| format!("unknown option {}", Lossy(word))))
    }

    pub fn rest(self) -> &'a [&'static CStr] {
        self.words.as_slice()
    }

    /// The value of the option just read.
    pub fn value(&mut self, option: &str) -> Result<&'static CStr, String> {
        if let Some(bytes) = self.inline.take() {
            return inline_c_string(bytes).ok_or_else(|| format!("{option} needs a value"));
        }
        self.words.next().copied().ok_or_else(|| format!("{option} needs a value"))
    }

    pub fn text(&mut self, option: &str) -> Result<&'static str, String> {
        let value = self.value(option)?;
        value.to_str().map_err(|_| format!("{option} {}: not text", Lossy(value.to_bytes())))
    }

    pub fn duration(&mut self, option: &str) -> Result<u64, String> {
        let text = self.text(option)?;
        parse_duration(text).ok_or_else(|| format!("{option} {text}: want a time such as 5 or 1.5h"))
    }

    /// Complains about `--flag=value` for an option that takes none.
    pub fn inline_used(&mut self) -> Result<(), String> {
        match self.inline.take() {
            Some(value) => Err(format!("={}: this option takes no value", Lossy(value))),
            None => Ok(()),
        }
    }

    fn ownership(&mut self, option: &str, needs_mode: bool) -> Result<Ownership, String> {
        let value = self.value(option)?.to_bytes();
        parse_ownership(value, needs_mode).ok_or_else(|| {
            let mode = if needs_mode { ":MODE" } else { "[:MODE]" };
            format!("{option} {}: want PATH=UID:GID{mode}, in numbers, MODE octal", Lossy(value))
        })
    }
}

fn inline_c_string(bytes: &'static [u8]) -> Option<&'static CStr> {
    // Leaked: a handful of option values, once, so that every value can be a plain `&'static CStr`.
    let text = alloc::ffi::CString::new(bytes).ok()?;
    Some(Box::leak(text.into_boxed_c_str()))
}

fn parse_ownership(value: &[u8], needs_mode: bool) -> Option<Ownership> {
    let at = value.iter().rposition(|byte| *byte == b'=').filter(|at| *at > 0)?;
    let (path, numbers) = value.split_at_checked(at)?;
    let mut numbers = core::str::from_utf8(numbers.get(1..)?).ok()?.split(':');
    let user = numbers.next()?.parse().ok()?;
    let group = numbers.next()?.parse().ok()?;
    let mode = match numbers.next() {
        Some(mode) => Some(u32::from_str_radix(mode, 8).ok().filter(|mode| *mode <= 0o7777)?),
        None if needs_mode => return None,
        None => None,
    };
    numbers.next().is_none().then_some(Ownership { path: path.into(), user, group, mode })
}

#[cfg(test)]
#[path = "cli_tests.rs"]
mod tests;
