//! Names of what a run makes: recognisable, unique, and telling whether the run can still be alive. Pure.

use sha2::{Digest as _, Sha256};

/// What every name begins with.
pub const PREFIX: &str = "mastic-verify-";

/// A run on another machine that is older than this many seconds is dead: every step has a deadline, far below.
const FOREIGN_LIFETIME: u64 = 3600;

/// Returns the name of a run, and of everything it makes: the machine (8 hex digits) and the second (8 hex digits).
pub fn run_name(machine: &str, now: u64) -> String {
    format!("{PREFIX}{}-{now:08x}", fingerprint(machine))
}

/// Returns whether `name` is what a dead run left.
///
/// On one machine a lock lets only one run live, so all others of this machine are dead.
pub fn is_leftover(name: &str, machine: &str, now: u64) -> bool {
    let Some((host, began)) = name.strip_prefix(PREFIX).and_then(|rest| rest.split_once('-')) else {
        return false;
    };
    let Ok(began) = u64::from_str_radix(began, 16) else { return false };
    host == fingerprint(machine) || began.saturating_add(FOREIGN_LIFETIME) < now
}

fn fingerprint(machine: &str) -> String {
    let digest = Sha256::digest(machine.as_bytes());
    digest.iter().take(4).map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_dead_runs_must_be_leftovers() {
        let (now, other) = (0x6a00_0000, 0x6a00_0000 - FOREIGN_LIFETIME - 1);
        assert!(is_leftover(&run_name("here", now - 5), "here", now));
        assert!(!is_leftover(&run_name("there", now - 5), "here", now), "it may be alive");
        assert!(is_leftover(&run_name("there", other), "here", now));
        for foreign in
            ["admin", "mastic-verify-", "mastic-verify-mine", "mastic-verify-a-b-c", "mastic-verify-zz-yy"]
        {
            assert!(!is_leftover(foreign, "here", now), "{foreign}");
        }
    }
}
