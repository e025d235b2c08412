//! Names of what a run makes: recognisable, unique, and telling whether the run can still be alive. Pure.

use sha2::{Digest as _, Sha256};

use crate::model::spec::hex;

/// What every name begins with.
pub const PREFIX: &str = "mastic-";
/// What follows in the names of a run of our own steps, and in those of a run of Tempest's tests.
const STEPS: &str = "verify";
const TEMPEST: &str = "tempest";
/// And in those of resources that outlive their run.
const RESOURCES: &str = "resources";

/// A run on another machine that is older than this many seconds is dead: every step has a deadline, far below.
const FOREIGN_LIFETIME: u64 = 3600;

/// Returns the name of a run, and of everything it makes: the machine (8 hex digits) and the second (8 hex digits).
pub fn run_name(machine: &str, now: u64) -> String {
    name(STEPS, machine, now)
}

/// Returns the name of resources that are left on purpose: no run takes them for a dead one's.
pub fn resources_name(machine: &str, now: u64) -> String {
    name(RESOURCES, machine, now)
}

/// Returns the name of a run of Tempest's tests, and of what is made for them.
pub fn tempest_name(machine: &str, now: u64) -> String {
    name(TEMPEST, machine, now)
}

fn name(kind: &str, machine: &str, now: u64) -> String {
    format!("{PREFIX}{kind}-{}-{now:08x}", fingerprint(machine))
}

/// Returns what the names of everything begin with that Tempest itself makes in the run of this name; nothing for other runs.
///
/// Short, since Keystone takes 64 characters for a project, and Tempest adds the name of the test's class and ten digits, with dashes.
pub fn tempest_prefix(run: &str) -> Option<String> {
    run.strip_prefix(PREFIX)?.strip_prefix(TEMPEST)?.strip_prefix('-')?;
    let digest = Sha256::digest(run.as_bytes());
    Some(format!("t{}", hex(digest.get(..3)?)))
}

/// Returns whether `name` is what a dead run left.
///
/// On one machine a lock lets only one run live, so all others of this machine are dead.
pub fn is_leftover(name: &str, machine: &str, now: u64) -> bool {
    let kinds = [STEPS, TEMPEST].into_iter();
    let rest = name.strip_prefix(PREFIX).and_then(|rest| {
        kinds.filter_map(|kind| rest.strip_prefix(kind)).find_map(|rest| rest.strip_prefix('-'))
    });
    let Some((host, began)) = rest.and_then(|rest| rest.split_once('-')) else { return false };
    let Ok(began) = u64::from_str_radix(began, 16) else { return false };
    host == fingerprint(machine) || began.saturating_add(FOREIGN_LIFETIME) < now
}

fn fingerprint(machine: &str) -> String {
    let digest = Sha256::digest(machine.as_bytes());
    hex(digest.get(..4).unwrap_or_default())
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
        assert!(!is_leftover(&resources_name("here", now - 5), "here", now), "they are left on purpose");
        assert!(is_leftover(&tempest_name("here", now - 5), "here", now));
    }

    #[test]
    fn what_tempest_makes_must_be_known_by_the_runs_name_and_short() {
        let run = tempest_name("here", 0x6a00_0000);
        let prefix = tempest_prefix(&run).unwrap();
        assert_eq!(tempest_prefix(&run), Some(prefix.clone()), "a later run finds what this one left");
        assert_ne!(tempest_prefix(&tempest_name("here", 0x6a00_0001)), Some(prefix.clone()));
        // The longest name of a class among the tests of the image.
        let longest = "StatelessSecGroupDualStackDHCPv6StatelessTest";
        assert!(format!("{prefix}-{longest}-{}", 0x7fff_ffff).len() <= 64);
        assert_eq!(
            tempest_prefix(&run_name("here", 0x6a00_0000)),
            None,
            "the steps' names are all their own"
        );
        assert_eq!(tempest_prefix("admin"), None);
    }
}
