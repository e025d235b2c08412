//! What the image's runner says, a line each, and what it comes to. Pure.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::Deserialize;

/// One line of the runner (`images/tempest/lib/mastic-tempest`).
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(tag = "event", rename_all = "kebab-case", deny_unknown_fields)]
pub enum Line {
    /// The tests that will run, by id.
    Listed {
        /// Ids: `tempest.api.x.Class.test_y[id-...,smoke]`.
        tests: Vec<String>,
    },
    /// A test began.
    Began {
        /// Which.
        test: String,
    },
    /// A test, or the preparation or the clean-up of a class, ended.
    Ended {
        /// Which; `setUpClass (tempest.api.x.Class)` for a class.
        test: String,
        /// How.
        outcome: Outcome,
        /// How long it took.
        seconds: f64,
        /// Why it was skipped.
        #[serde(default)]
        reason: String,
        /// What was wrong, in its first line, and the traceback.
        #[serde(default)]
        details: String,
        /// The end of what a failed test logged.
        #[serde(default)]
        log: String,
    },
    /// It could not do its work.
    Broken {
        /// Why, possibly several lines.
        why: String,
    },
}

/// How a test ended, in subunit's words.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Outcome {
    /// Passed.
    Success,
    /// Failed.
    Fail,
    /// Skipped.
    Skip,
    /// Failed as it was expected to.
    XFail,
    /// Passed though it was expected not to.
    UxSuccess,
}

/// Puts chunks of output together to whole lines.
#[derive(Debug, Default)]
pub struct Lines {
    rest: Vec<u8>,
}

impl Lines {
    /// Takes a chunk, and returns the lines that are whole now.
    pub fn push(&mut self, chunk: &[u8]) -> Vec<String> {
        self.rest.extend_from_slice(chunk);
        let Some(end) = self.rest.iter().rposition(|byte| *byte == b'\n') else { return Vec::new() };
        let rest = self.rest.split_off(end + 1);
        let whole = std::mem::replace(&mut self.rest, rest);
        String::from_utf8_lossy(&whole).lines().map(str::to_owned).collect()
    }
}

/// How one test ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It passed.
    Passed,
    /// It failed: what was wrong, in the first line, and the traceback.
    Failed(String),
    /// It was skipped, and why.
    Skipped(String),
    /// It was under way, or had not begun, when all ended.
    Unfinished,
}

/// One test's result.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TestReport {
    /// Its id.
    pub test: String,
    /// How.
    pub verdict: Verdict,
    /// How long it took; zero where only its class was looked at.
    pub took: Duration,
    /// The end of its log, where it failed.
    pub log: String,
}

/// What was said so far.
#[derive(Clone, Debug, Default)]
pub struct Tally {
    listed: Vec<String>,
    ended: BTreeMap<String, TestReport>,
    /// Why the runner gave up, if it did.
    pub broken: Option<String>,
}

impl Tally {
    /// Takes what was said. Returns how a test ended, where the line says that.
    pub fn take(&mut self, line: Line) -> Option<TestReport> {
        match line {
            Line::Listed { tests } => self.listed = tests,
            Line::Began { .. } => {}
            Line::Broken { why } => self.broken = Some(why),
            Line::Ended { test, outcome, seconds, reason, details, log } => {
                let verdict = match outcome {
                    Outcome::Success | Outcome::XFail => Verdict::Passed,
                    Outcome::Skip => {
                        Verdict::Skipped(reason.split_whitespace().collect::<Vec<_>>().join(" "))
                    }
                    Outcome::Fail => Verdict::Failed(details),
                    Outcome::UxSuccess => {
                        Verdict::Failed("it passed, though it is marked as one that must fail".to_owned())
                    }
                };
                let took = Duration::try_from_secs_f64(seconds).unwrap_or_default();
                let report = TestReport { test: test.clone(), verdict, took, log };
                self.ended.insert(test, report.clone());
                return Some(report);
            }
        }
        None
    }

    /// Returns what it comes to where nothing could begin.
    pub fn broken(why: String) -> Self {
        Self { broken: Some(why), ..Self::default() }
    }

    /// Returns every listed test, in order of their names, and whatever failed beside them. What a class was skipped for its tests
    /// were skipped for; tests of a class that could not be prepared failed with it.
    pub fn reports(&self) -> Vec<TestReport> {
        let mut ended = self.ended.clone();
        let mut reports: Vec<_> = self
            .listed
            .iter()
            .map(|test| ended.remove(test).unwrap_or_else(|| self.of_class(test)))
            .collect();
        reports.sort_by(|a, b| a.test.cmp(&b.test));
        // Of classes only failures are told: skips are their tests', and nobody waits for a class that went well.
        reports.extend(ended.into_values().filter(|report| matches!(report.verdict, Verdict::Failed(_))));
        reports
    }

    /// How a test ended of which only its class was heard.
    fn of_class(&self, test: &str) -> TestReport {
        let key = format!("{SET_UP} ({})", class_of(test));
        let verdict = match self.ended.get(&key).map(|class| &class.verdict) {
            Some(Verdict::Skipped(why)) => Verdict::Skipped(why.clone()),
            Some(Verdict::Failed(_)) => Verdict::Failed(format!("not begun: {key} failed, see there")),
            Some(Verdict::Passed | Verdict::Unfinished) | None => Verdict::Unfinished,
        };
        TestReport { test: test.to_owned(), verdict, took: Duration::ZERO, log: String::new() }
    }
}

/// What unittest calls the preparation of a class.
const SET_UP: &str = "setUpClass";

/// Returns the class of a test with its module: `a.b.Class` of `a.b.Class.test_x[id-1,smoke]`.
pub fn class_of(test: &str) -> &str {
    let name = plain(test);
    name.rsplit_once('.').map_or(name, |(class, _)| class)
}

/// Returns a test's id without its attributes: `a.b.Class.test_x` of `a.b.Class.test_x[id-1,smoke]`.
pub fn plain(test: &str) -> &str {
    test.split_once('[').map_or(test, |(name, _)| name)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tally(lines: &[&str]) -> Tally {
        let mut tally = Tally::default();
        for line in lines {
            tally.take(serde_json::from_str(line).unwrap());
        }
        tally
    }

    fn told(tally: &Tally) -> Vec<String> {
        let line = |report: &TestReport| format!("{} {:?}", report.test, report.verdict);
        tally.reports().iter().map(line).collect()
    }

    #[test]
    fn chunks_must_become_lines_wherever_they_are_cut() {
        let text = "{\"a\": \"ä\"}\nsecond\r\n\nlast without an end";
        for size in 1..text.len() {
            let mut lines = Lines::default();
            let whole: Vec<_> = text.as_bytes().chunks(size).flat_map(|chunk| lines.push(chunk)).collect();
            assert_eq!(whole, ["{\"a\": \"ä\"}", "second", ""], "{size}");
        }
    }

    #[test]
    fn every_listed_test_must_be_accounted_for() {
        let tally = tally(&[
            r#"{"event": "listed", "tests": ["m.C.test_b[id-2,smoke]", "m.C.test_a[id-1]", "m.D.test_x[id-3]", "m.E.test_y", "m.F.test_z"]}"#,
            r#"{"event": "began", "test": "m.C.test_a[id-1]"}"#,
            r#"{"event": "ended", "test": "m.C.test_a[id-1]", "outcome": "success", "seconds": 1.5}"#,
            r#"{"event": "ended", "test": "m.C.test_b[id-2,smoke]", "outcome": "skip", "seconds": 0, "reason": "no\n  vnc"}"#,
            r#"{"event": "ended", "test": "setUpClass (m.D)", "outcome": "skip", "seconds": 0, "reason": "no ext"}"#,
            r#"{"event": "ended", "test": "setUpClass (m.E)", "outcome": "fail", "seconds": 2, "details": "Traceback"}"#,
            r#"{"event": "began", "test": "m.F.test_z"}"#,
        ]);
        assert_eq!(
            told(&tally),
            [
                "m.C.test_a[id-1] Passed",
                "m.C.test_b[id-2,smoke] Skipped(\"no vnc\")",
                "m.D.test_x[id-3] Skipped(\"no ext\")",
                "m.E.test_y Failed(\"not begun: setUpClass (m.E) failed, see there\")",
                "m.F.test_z Unfinished",
                "setUpClass (m.E) Failed(\"Traceback\")",
            ]
        );
    }

    #[test]
    fn what_failed_beside_the_tests_must_be_told_and_nothing_else() {
        let tally = tally(&[
            r#"{"event": "listed", "tests": ["m.C.test_a"]}"#,
            r#"{"event": "ended", "test": "m.C.test_a", "outcome": "xfail", "seconds": 1}"#,
            r#"{"event": "ended", "test": "tearDownClass (m.C)", "outcome": "fail", "seconds": 1, "details": "left a port"}"#,
            r#"{"event": "ended", "test": "setUpClass (m.X)", "outcome": "skip", "seconds": 1, "reason": "no"}"#,
        ]);
        assert_eq!(told(&tally), ["m.C.test_a Passed", "tearDownClass (m.C) Failed(\"left a port\")"]);
    }

    #[test]
    fn a_test_that_passes_though_it_must_not_must_be_a_failure() {
        let tally = tally(&[
            r#"{"event": "listed", "tests": ["m.C.test_a"]}"#,
            r#"{"event": "ended", "test": "m.C.test_a", "outcome": "uxsuccess", "seconds": 1}"#,
            r#"{"event": "broken", "why": "no cloud"}"#,
        ]);
        assert!(told(&tally)[0].contains("Failed"), "{:?}", told(&tally));
        assert_eq!(tally.broken.as_deref(), Some("no cloud"));
    }

    #[test]
    fn a_tests_class_must_be_found_in_its_id() {
        assert_eq!(class_of("a.b.Class.test_x[id-1,smoke,a.b]"), "a.b.Class");
        assert_eq!(plain("a.b.Class.test_x[id-1,smoke]"), "a.b.Class.test_x");
    }
}
