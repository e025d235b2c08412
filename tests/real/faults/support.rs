//! What the fault tests share: dice, invariants, and what a journal says.

use std::collections::BTreeMap;
use std::io::Write as _;
use std::path::PathBuf;
use std::time::Duration;

use mastic::journal::{Event, Replay, replay};

use crate::harness::Cloud;

/// Pseudo-random numbers (xorshift) from a seed that a failing run can be repeated with.
#[derive(Debug)]
pub struct Dice(u64);

impl Dice {
    /// The seed is `MASTIC_TEST_SEED`, or another one each time; it is said either way.
    pub fn new(what: &str) -> Self {
        let seed =
            std::env::var("MASTIC_TEST_SEED").ok().and_then(|text| text.parse().ok()).unwrap_or_else(|| {
                let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
                u64::try_from(now.expect("the clock is after 1970").as_nanos() % u128::from(u64::MAX))
                    .unwrap_or(1)
            });
        say(&format!("{what}: MASTIC_TEST_SEED={seed}"));
        // Zero would stay zero.
        Self(seed.max(1))
    }

    /// Returns a number in `0.0..1.0`.
    pub fn fraction(&mut self) -> f64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        #[expect(clippy::cast_precision_loss, reason = "53 bits fit")]
        let fraction = (self.0 >> 11) as f64 / (1u64 << 53) as f64;
        fraction
    }

    /// Returns a moment in the `number`th of `count` equal parts of a duration.
    pub fn moment(&mut self, whole: Duration, number: u32, count: u32) -> Duration {
        whole.mul_f64((f64::from(number % count) + self.fraction()) / f64::from(count))
    }
}

/// How often a deploy is killed: 30 times, or `MASTIC_TEST_KILLS`, for whoever has less time. The other tests that kill runs
/// do so in proportion. It is said, since a number that is smaller shows less.
pub fn kills() -> u32 {
    let asked = std::env::var("MASTIC_TEST_KILLS").ok();
    let kills = asked.map_or(30, |text| text.parse().expect("MASTIC_TEST_KILLS is a number"));
    say(&format!("a deploy is killed {kills} times (MASTIC_TEST_KILLS)"));
    kills
}

/// Tells whoever watches the tests; not captured, since the figures are results.
pub fn say(text: &str) {
    let _ = writeln!(std::io::stderr(), "{text}");
}

/// Requires that the cloud is what its profile says, wholly, with nothing beside it, and that another run changes nothing.
#[track_caller]
pub fn assert_settled(cloud: &Cloud, when: &str) {
    let before = cloud.containers();
    let again = cloud.mastic(&["deploy", "--yes"]).ok();
    assert!(
        again.stderr.contains("nothing to do"),
        "{when}: a second deploy had something to do:\n{}",
        again.stderr
    );
    assert_eq!(before, cloud.containers(), "{when}: a second deploy touched containers");
    assert_tidy(cloud, when);
}

/// Requires one container a slot, each running or ended well, and nothing else but the history.
#[track_caller]
pub fn assert_tidy(cloud: &Cloud, when: &str) {
    let containers = cloud.containers();
    let mut slots = BTreeMap::<&str, usize>::new();
    for (name, (_, _, state)) in &containers {
        if name.ends_with(".ledger") {
            continue;
        }
        assert!(!name.ends_with(".lock"), "{when}: the lock was left");
        assert!(state == "running" || state == "exited 0", "{when}: {name} is {state}");
        let slot = name.rsplit_once('-').map_or(name.as_str(), |(slot, _)| slot);
        *slots.entry(slot).or_default() += 1;
    }
    assert!(slots.len() >= 10, "{when}: only {slots:?}: is the search still meaningful?");
    assert!(slots.values().all(|n| *n == 1), "{when}: strays: {containers:#?}");
}

/// Volumes that were seen, with the time of their birth: none may go, none may be made anew.
#[derive(Debug, Default)]
pub struct Volumes(BTreeMap<String, String>);

impl Volumes {
    /// Requires every volume seen before to be there, and takes the new ones into account.
    #[track_caller]
    pub fn assert_intact(&mut self, cloud: &Cloud, when: &str) {
        let now = cloud.volume_births();
        for (name, created) in &self.0 {
            assert_eq!(now.get(name), Some(created), "{when}: volume {name} was lost or made anew");
        }
        self.0 = now;
    }

    pub fn len(&self) -> usize {
        self.0.len()
    }
}

/// Returns the journals of a deployment, the oldest first, read back.
pub fn journals(cloud: &Cloud) -> Vec<(PathBuf, Replay)> {
    let folder = cloud.state().join("runs");
    let entries = std::fs::read_dir(&folder).map(|all| all.flatten().map(|entry| entry.path()).collect());
    let mut paths: Vec<PathBuf> = entries.unwrap_or_default();
    paths.sort();
    paths
        .into_iter()
        .map(|path| {
            let text = std::fs::read(&path).expect("a journal can be read");
            (path, replay(&text))
        })
        .collect()
}

/// Returns the name of a run as its journal's name gives it.
pub fn run_name(path: &std::path::Path) -> String {
    path.file_stem().expect("a journal has a name").to_string_lossy().into_owned()
}

/// Returns the names of the runs that were cut off and of which nobody was told.
pub fn cut_off(cloud: &Cloud) -> Vec<String> {
    journals(cloud)
        .into_iter()
        .filter(|(_, replay)| replay.outcome.is_none() && !replay.settled)
        .map(|(path, _)| run_name(&path))
        .collect()
}

/// Says how far the youngest run came: steps done, of how many, and what was under way.
pub fn progress(cloud: &Cloud) -> String {
    let Some((_, replay)) = journals(cloud).pop() else { return "no run yet".to_owned() };
    let Some(Event::RunBegan { steps, purpose, .. }) = &replay.began else {
        return "an empty journal".to_owned();
    };
    format!("{purpose} {}/{steps}, under way: {}", replay.done(), replay.under_way().join(", "))
}
