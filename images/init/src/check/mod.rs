//! `mastic-init check`: asks whether something answers, without a shell, curl or Python.
//!
//! Runs as its own short-lived process beside PID 1, never inside it.

mod connected;
mod probe;
mod stream;
mod target;
mod tls;

use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use core::ffi::CStr;

use crate::cli::Arguments;
use crate::text::Lossy;
use crate::{code, say, sys};
use target::{Statuses, Target};

const HELP: &str = "\
usage: mastic-init check [OPTIONS] TARGET...

Exits 0 if all targets answer as they should, 1 if not (one line for each that does not),
2 on wrong usage.

targets
  http://HOST[:PORT]/path   https://HOST[:PORT]/path   answers with an accepted status
  tcp:HOST:PORT             unix:/path                 accepts a connection
  amqp:HOST[:PORT]                                     opens an AMQP 0-9-1 connection
  mysql:HOST[:PORT]         mysql:unix:/path           greets as MySQL or MariaDB
  process:NAME                                         runs and is no zombie
  file:/path                                           exists
  fresh:SECONDS:/path                                  exists and was written within SECONDS
  connected:HOST:PORT[,HOST:PORT...]                   some process here has a connection to one of them
  HOST is an IPv4 address, [an IPv6 address], localhost, or a name in /etc/hosts.

options
  --wait TIME      try again until all have passed or TIME is over (default 0: try once)
  --every MS       the pause between two tries, in milliseconds (default 50)
  --timeout TIME   for each try of one target (default 5)
  --status LIST    accepted HTTP statuses (default 200-399), such as 200,300-399
  --host NAME      Host header, and the name that the certificate must have
  --ca FILE        PEM certificates to trust for https
  --insecure       accept any certificate
TIME is seconds, or a number with ms, s, m, h or d.";

/// What holds for all targets.
pub struct Settings {
    wait: u64,
    every: u64,
    timeout: u64,
    pub statuses: Statuses,
    pub host: Option<&'static str>,
    pub ca: Option<&'static CStr>,
    pub insecure: bool,
}

/// Runs the checks and returns the exit code.
pub fn run(arguments: &[&'static CStr]) -> u8 {
    if arguments.iter().any(|word| matches!(word.to_bytes(), b"-h" | b"--help")) {
        let _ = sys::file::write(&sys::file::STDOUT, HELP.as_bytes());
        let _ = sys::file::write(&sys::file::STDOUT, b"\n");
        return 0;
    }
    match parse(arguments) {
        Ok((settings, targets)) => judge(&settings, &targets),
        Err(reason) => {
            say!("check: {reason}");
            code::USAGE
        }
    }
}

type Named = (&'static str, Target);

fn parse(arguments: &[&'static CStr]) -> Result<(Settings, Vec<Named>), String> {
    let mut settings = Settings {
        wait: 0,
        every: 50,
        timeout: 5_000,
        statuses: Statuses::default(),
        host: None,
        ca: None,
        insecure: false,
    };
    let mut rest = Arguments::new(arguments);
    while let Some(word) = rest.next_option() {
        match word? {
            "--wait" => settings.wait = rest.duration("--wait")?,
            "--timeout" => settings.timeout = rest.duration("--timeout")?,
            "--every" => {
                let text = rest.text("--every")?;
                settings.every = text.parse().map_err(|_| format!("--every {text}: want milliseconds"))?;
            }
            "--status" => {
                let text = rest.text("--status")?;
                settings.statuses = Statuses::parse(text)
                    .ok_or_else(|| format!("--status {text}: want codes such as 200,300-399"))?;
            }
            "--host" => {
                let host = rest.text("--host")?;
                if host.is_empty() || host.bytes().any(|byte| byte <= b' ' || byte == 0x7f) {
                    return Err(format!("--host {host}: not a host name"));
                }
                settings.host = Some(host);
            }
            "--ca" => settings.ca = Some(rest.value("--ca")?),
            "--insecure" => settings.insecure = true,
            unknown => return Err(format!("unknown option {unknown}; see check --help")),
        }
        rest.inline_used()?;
    }
    let mut targets = Vec::new();
    for word in rest.rest() {
        let text = word.to_str().map_err(|_| format!("{}: not text", Lossy(word.to_bytes())))?;
        targets.push((text, Target::parse(text)?));
    }
    if targets.is_empty() {
        return Err("no target given; see check --help".into());
    }
    let encrypted = targets.iter().any(|(_, target)| matches!(target, Target::Http { tls: true, .. }));
    if encrypted && settings.ca.is_none() && !settings.insecure {
        return Err("https needs --ca FILE or --insecure".into());
    }
    Ok((settings, targets))
}

/// Tries what has not passed yet, until nothing is left or the time is over; then reports.
fn judge(settings: &Settings, targets: &[Named]) -> u8 {
    let end = sys::now().saturating_add(settings.wait);
    let mut open: Vec<&Named> = targets.iter().collect();
    loop {
        let mut failures = Vec::new();
        open.retain(|(name, target)| {
            let deadline = sys::now().saturating_add(settings.timeout);
            // The last try of a waiting check may not outlast what was allowed to it.
            let deadline = if settings.wait > 0 { deadline.min(end) } else { deadline };
            match probe::probe(target, settings, deadline) {
                Ok(()) => false,
                Err(failure) => {
                    failures.push((*name, failure));
                    true
                }
            }
        });
        if open.is_empty() {
            return 0;
        }
        if sys::now().saturating_add(settings.every) >= end {
            for (name, failure) in failures {
                say!("{name}: {failure}");
            }
            return 1;
        }
        sys::sleep(settings.every);
    }
}
