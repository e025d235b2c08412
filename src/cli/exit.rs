//! Exit codes, and errors with advice.

use std::fmt;
use std::process::ExitCode;

/// How the program ends. The numbers are documented and never change meaning.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    /// Done, or nothing to do.
    Done,
    /// Something is wrong with the input, a host or a container.
    Error,
    /// `plan`, `status --drift`: there are changes.
    Changes,
    /// A person must agree, and did not, or could not be asked.
    NeedsYes,
    /// Another run holds the deployment's lock.
    Locked,
    /// The plan was made for another state of profile or hosts.
    Stale,
    /// A change failed, and what it touched was returned to what it was.
    Undone,
    /// `verify`: the cloud does not do what it should.
    Failed,
    /// The command line is wrong.
    Usage,
    /// Ctrl-C.
    Interrupted,
    /// `exec`, `openstack`: the program's own code.
    Program(u8),
}

impl Exit {
    /// Returns the number.
    pub fn code(self) -> u8 {
        match self {
            Self::Done => 0,
            Self::Error => 1,
            Self::Changes => 2,
            Self::NeedsYes => 3,
            Self::Locked => 4,
            Self::Stale => 5,
            Self::Undone => 6,
            Self::Failed => 7,
            Self::Usage => 64,
            Self::Interrupted => 130,
            Self::Program(code) => code,
        }
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit.code())
    }
}

/// An error for people: what, why, and what to do.
#[derive(Debug)]
pub struct CliError {
    /// The code to end with.
    pub exit: Exit,
    /// What is wrong, possibly several lines, complete.
    pub message: String,
    /// What to do.
    pub help: Vec<String>,
}

impl CliError {
    /// Makes an error that ends with code 1.
    pub fn new(message: impl Into<String>) -> Self {
        Self { exit: Exit::Error, message: message.into(), help: Vec::new() }
    }

    /// Ends with another code.
    pub fn exit(mut self, exit: Exit) -> Self {
        self.exit = exit;
        self
    }

    /// Adds a line of advice.
    pub fn help(mut self, line: impl Into<String>) -> Self {
        self.help.push(line.into());
        self
    }
}

impl fmt::Display for CliError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for CliError {}

/// Writes an error and all its causes, each once, and its advice.
pub fn describe(error: &anyhow::Error) -> (Exit, String) {
    use fmt::Write as _;
    let mut text = format!("error: {error}");
    let mut said = error.to_string();
    for cause in error.chain().skip(1) {
        let cause = cause.to_string();
        // A Display that repeats its source would say everything twice.
        if !said.contains(&cause) {
            let _ = write!(text, "\n  caused by: {cause}");
            said = cause;
        }
    }
    let mut exit = Exit::Error;
    if let Some(cli) = error.downcast_ref::<CliError>() {
        exit = cli.exit;
        for line in &cli.help {
            let _ = write!(text, "\nhelp: {line}");
        }
    }
    (exit, text)
}
