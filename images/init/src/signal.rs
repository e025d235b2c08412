//! Names, numbers and groups of signals.

use alloc::boxed::Box;

pub const HIGHEST: u8 = 64;
pub const INT: u8 = 2;
pub const QUIT: u8 = 3;
pub const KILL: u8 = 9;
pub const TERM: u8 = 15;
pub const CHLD: u8 = 17;
pub const CONT: u8 = 18;
pub const STOP: u8 = 19;
const TSTP: u8 = 20;
const TTOU: u8 = 22;
/// The first real-time signal that programs see; the C library keeps 32 and 33 to itself.
const REAL_TIME: u8 = 34;

/// Linux on x86-64, from 1.
const NAMES: [&str; 31] = [
    "HUP", "INT", "QUIT", "ILL", "TRAP", "ABRT", "BUS", "FPE", "KILL", "USR1", "SEGV", "USR2", "PIPE",
    "ALRM", "TERM", "STKFLT", "CHLD", "CONT", "STOP", "TSTP", "TTIN", "TTOU", "URG", "XCPU", "XFSZ",
    "VTALRM", "PROF", "WINCH", "IO", "PWR", "SYS",
];

/// Signals by which an operator or an engine asks for the end.
pub fn is_stop_request(signal: u8) -> bool {
    matches!(signal, TERM | INT | QUIT)
}

/// TSTP, TTIN, TTOU: a terminal or a shell wants the job suspended.
pub fn is_job_stop(signal: u8) -> bool {
    (TSTP..=TTOU).contains(&signal)
}

/// `TERM`, `SIGTERM`, `15`, `RTMIN+3`, `RTMAX-1`, in any case.
pub fn parse(text: &str) -> Option<u8> {
    if let Ok(number) = text.parse::<u8>() {
        return (1..=HIGHEST).contains(&number).then_some(number);
    }
    let prefixed = text.get(..3).is_some_and(|start| start.eq_ignore_ascii_case("SIG"));
    let name = if prefixed { text.get(3..)? } else { text };
    if let Some(at) = NAMES.iter().position(|known| known.eq_ignore_ascii_case(name)) {
        return u8::try_from(at + 1).ok();
    }
    let (base, offset) = name.split_at_checked(5)?;
    let number = if base.eq_ignore_ascii_case("RTMIN") {
        let offset = if offset.is_empty() { "0" } else { offset.strip_prefix('+')? };
        REAL_TIME.checked_add(offset.parse().ok()?)?
    } else if base.eq_ignore_ascii_case("RTMAX") {
        let offset = if offset.is_empty() { "0" } else { offset.strip_prefix('-')? };
        HIGHEST.checked_sub(offset.parse().ok()?)?
    } else {
        return None;
    };
    (REAL_TIME..=HIGHEST).contains(&number).then_some(number)
}

/// The name without `SIG`, or nothing for a real-time signal.
pub fn name(signal: u8) -> &'static str {
    NAMES.get(usize::from(signal).wrapping_sub(1)).copied().unwrap_or("RT")
}

/// What each received signal is forwarded as; 0 drops it.
#[derive(Clone)]
pub struct Rewrites(Box<[u8; HIGHEST as usize + 1]>);

impl Rewrites {
    pub fn none() -> Self {
        let mut table = [0; HIGHEST as usize + 1];
        for (signal, entry) in (0..=HIGHEST).zip(&mut table) {
            *entry = signal;
        }
        Self(Box::new(table))
    }

    /// Reads `FROM:TO`; a TO of 0 drops the signal.
    pub fn add(&mut self, rule: &str) -> Option<()> {
        let (from, to) = rule.split_once(':')?;
        let to = if to == "0" { 0 } else { parse(to)? };
        let from = parse(from).filter(|from| !matches!(*from, KILL | STOP | CHLD))?;
        *self.0.get_mut(usize::from(from))? = to;
        Some(())
    }

    pub fn apply(&self, signal: u8) -> Option<u8> {
        self.0.get(usize::from(signal)).copied().filter(|to| *to != 0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_numbers_and_real_time_offsets_are_read() {
        for (text, number) in [
            ("TERM", 15),
            ("sigterm", 15),
            ("SigHup", 1),
            ("31", 31),
            ("SYS", 31),
            ("IO", 29),
            ("RTMIN", 34),
            ("RTMIN+3", 37),
            ("SIGRTMAX-1", 63),
            ("rtmax", 64),
            ("64", 64),
        ] {
            assert_eq!(parse(text), Some(number), "{text}");
        }
        for text in ["", "0", "65", "-1", "FOO", "SIG", "RTMIN+31", "RTMAX-31", "RTMIN3", "é"] {
            assert_eq!(parse(text), None, "{text}");
        }
    }

    #[test]
    fn every_name_is_its_own_number() {
        for number in 1..=31 {
            assert_eq!(parse(name(number)), Some(number));
        }
    }

    #[test]
    fn rewrites_apply_once_and_zero_drops() {
        let mut rewrites = Rewrites::none();
        for rule in ["TERM:INT", "INT:TERM", "WINCH:0", "1:31"] {
            assert!(rewrites.add(rule).is_some(), "{rule}");
        }
        assert_eq!(rewrites.apply(TERM), Some(INT));
        assert_eq!(rewrites.apply(INT), Some(TERM));
        assert_eq!(rewrites.apply(28), None);
        assert_eq!(rewrites.apply(1), Some(31));
        assert_eq!(rewrites.apply(QUIT), Some(QUIT));
    }

    #[test]
    fn malformed_rewrites_are_refused() {
        for rule in
            ["", ":", "15", "15:", ":15", "0:15", "15:65", "15:x", "x:15", "15:1:2", "KILL:TERM", "-1:15"]
        {
            assert!(Rewrites::none().add(rule).is_none(), "{rule}");
        }
    }
}
