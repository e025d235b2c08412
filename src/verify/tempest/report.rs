//! What Tempest found: as a table, as JSON, as JUnit's XML. Pure.

use std::time::Duration;

use serde::Serialize;

use super::tally::{TestReport, Verdict, class_of, plain};
use crate::verify::junit::{self, Case, End};

/// A whole run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Report {
    /// Deployment.
    pub deployment: String,
    /// Series.
    pub release: String,
    /// Name of what was made for it.
    pub name: String,
    /// When it began, RFC 3339.
    pub began_at: String,
    /// Which tests were asked for.
    pub regex: String,
    /// Every test, by name.
    pub tests: Vec<TestReport>,
    /// Why it ended before all tests had, if it did.
    pub broken: Option<String>,
    /// Whether it was interrupted.
    pub interrupted: bool,
    /// What the clean-up removed, as text, or why it could not.
    pub cleanup: Result<String, String>,
    /// How long all took.
    pub took: Duration,
}

#[derive(Serialize)]
struct Document<'a> {
    version: u32,
    ok: bool,
    deployment: &'a str,
    release: &'a str,
    name: &'a str,
    began_at: &'a str,
    regex: &'a str,
    seconds: f64,
    passed: usize,
    failed: usize,
    skipped: usize,
    unfinished: usize,
    tests: Vec<Line<'a>>,
    broken: Option<&'a str>,
    interrupted: bool,
    cleanup: Cleanup<'a>,
}

#[derive(Serialize)]
struct Line<'a> {
    test: &'a str,
    outcome: &'static str,
    seconds: f64,
    detail: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    log: &'a str,
}

#[derive(Serialize)]
struct Cleanup<'a> {
    outcome: &'static str,
    detail: &'a str,
}

impl Verdict {
    /// One word.
    pub fn word(&self) -> &'static str {
        match self {
            Self::Passed => "passed",
            Self::Failed(_) => "failed",
            Self::Skipped(_) => "skipped",
            Self::Unfinished => "unfinished",
        }
    }

    /// What there is to say.
    pub fn detail(&self) -> &str {
        match self {
            Self::Failed(text) | Self::Skipped(text) => text,
            Self::Passed | Self::Unfinished => "",
        }
    }
}

impl Report {
    /// Counts the tests that ended so.
    pub fn count(&self, word: &str) -> usize {
        self.tests.iter().filter(|test| test.verdict.word() == word).count()
    }

    /// Returns whether tests passed, none failed, all ended, and nothing was left behind.
    pub fn is_ok(&self) -> bool {
        self.cleanup.is_ok()
            && self.broken.is_none()
            && !self.interrupted
            && self.count("passed") > 0
            && self.count("failed") + self.count("unfinished") == 0
    }

    /// Says how it went, in a line.
    pub fn summary(&self) -> String {
        let mut parts =
            vec![format!("{} passed", self.count("passed")), format!("{} failed", self.count("failed"))];
        for word in ["skipped", "unfinished"] {
            let count = self.count(word);
            if count > 0 {
                parts.push(format!("{count} {word}"));
            }
        }
        format!("{} of {} tests, in {:.0} s", parts.join(", "), self.tests.len(), self.took.as_secs_f64())
    }

    /// Rows for a table, without a head: what did not pass, and why; skips of one class and reason together.
    pub fn rows(&self) -> Vec<Vec<String>> {
        let mut rows: Vec<(String, String, Vec<&str>)> = Vec::new();
        let of = |wanted: fn(&Verdict) -> bool| self.tests.iter().filter(move |test| wanted(&test.verdict));
        for test in of(|verdict| matches!(verdict, Verdict::Skipped(_))) {
            let (class, why) = (class_of(&test.test).to_owned(), one_line(test.verdict.detail()));
            match rows.iter_mut().find(|(other, reason, _)| *other == class && *reason == why) {
                Some((_, _, tests)) => tests.push(plain(&test.test)),
                None => rows.push((class, why, vec![plain(&test.test)])),
            }
        }
        let mut rows: Vec<Vec<String>> = rows
            .into_iter()
            .map(|(class, why, tests)| {
                let what = match tests.as_slice() {
                    [one] => (*one).to_owned(),
                    several => format!("{class} ({} tests)", several.len()),
                };
                vec!["skipped".to_owned(), what, why]
            })
            .collect();
        for test in of(|verdict| matches!(verdict, Verdict::Unfinished)) {
            rows.push(vec!["unfinished".to_owned(), plain(&test.test).to_owned(), String::new()]);
        }
        for test in of(|verdict| matches!(verdict, Verdict::Failed(_))) {
            rows.push(vec![
                "FAILED".to_owned(),
                plain(&test.test).to_owned(),
                first_line(test.verdict.detail()),
            ]);
        }
        let (word, detail) = match &self.cleanup {
            Ok(text) => ("ok", text),
            Err(text) => ("FAILED", text),
        };
        rows.push(vec![word.to_owned(), "clean-up".to_owned(), one_line(detail)]);
        rows
    }

    /// Returns one JSON document.
    pub fn json(&self) -> String {
        let (outcome, detail) = match &self.cleanup {
            Ok(text) => ("passed", text),
            Err(text) => ("failed", text),
        };
        let document = Document {
            version: 1,
            ok: self.is_ok(),
            deployment: &self.deployment,
            release: &self.release,
            name: &self.name,
            began_at: &self.began_at,
            regex: &self.regex,
            seconds: junit::seconds(self.took),
            passed: self.count("passed"),
            failed: self.count("failed"),
            skipped: self.count("skipped"),
            unfinished: self.count("unfinished"),
            tests: self
                .tests
                .iter()
                .map(|test| Line {
                    test: &test.test,
                    outcome: test.verdict.word(),
                    seconds: junit::seconds(test.took),
                    detail: test.verdict.detail(),
                    log: &test.log,
                })
                .collect(),
            broken: self.broken.as_deref(),
            interrupted: self.interrupted,
            cleanup: Cleanup { outcome, detail },
        };
        // Texts and numbers always serialize.
        serde_json::to_string_pretty(&document).unwrap_or_default()
    }

    /// Returns JUnit's XML: one case a test, and one for the clean-up.
    pub fn junit(&self) -> String {
        let name = |test: &str| {
            let whole = plain(test);
            whole
                .strip_prefix(class_of(test))
                .and_then(|rest| rest.strip_prefix('.'))
                .unwrap_or(whole)
                .to_owned()
        };
        let texts: Vec<(String, String)> = self
            .tests
            .iter()
            .map(|test| {
                let TestReport { test, verdict, log, .. } = test;
                let gap = if log.is_empty() { "" } else { "\n\n" };
                (name(test), format!("{}{gap}{log}", verdict.detail()))
            })
            .collect();
        let mut cases: Vec<Case<'_>> = self
            .tests
            .iter()
            .zip(&texts)
            .map(|(test, (name, text))| Case {
                class: class_of(&test.test),
                name,
                took: test.took,
                end: match &test.verdict {
                    Verdict::Passed => End::Passed(""),
                    Verdict::Failed(_) => End::Failed(text),
                    Verdict::Skipped(why) => End::Skipped(why),
                    Verdict::Unfinished => End::Failed("not finished"),
                },
            })
            .collect();
        let end = match &self.cleanup {
            Ok(text) => End::Passed(text),
            Err(text) => End::Failed(text),
        };
        cases.push(Case { class: "verify", name: "clean-up", took: Duration::ZERO, end });
        let suite = format!("mastic verify --tempest {} {}", self.deployment, self.release);
        junit::suite(&suite, &self.began_at, self.took, &cases)
    }
}

/// What is said over several lines, in one.
fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// What was wrong, without the traceback.
fn first_line(text: &str) -> String {
    text.lines().next().unwrap_or_default().trim().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report() -> Report {
        let test = |test: &str, verdict| TestReport {
            test: test.to_owned(),
            verdict,
            took: Duration::from_millis(1500),
            log: String::new(),
        };
        let skip = |why: &str| Verdict::Skipped(why.to_owned());
        let mut report = Report {
            deployment: "aio".to_owned(),
            release: "2026.1".to_owned(),
            name: "mastic-tempest-x".to_owned(),
            began_at: "2026-11-26T03:00:00Z".to_owned(),
            regex: "smoke".to_owned(),
            tests: vec![
                test("m.A.test_good[id-1,smoke]", Verdict::Passed),
                test(
                    "m.A.test_bad[id-2,smoke]",
                    Verdict::Failed("ValueError: no <net>\nTraceback:\n  line 1".to_owned()),
                ),
                test("m.B.test_x[id-3]", skip("vpnaas extension not enabled")),
                test("m.B.test_y[id-4]", skip("vpnaas extension not enabled")),
                test("m.B.test_z[id-5]", skip("no vnc")),
            ],
            broken: None,
            interrupted: false,
            cleanup: Ok("1 project".to_owned()),
            took: Duration::from_secs(70),
        };
        report.tests[1].log = "GET /v3".to_owned();
        report
    }

    #[test]
    fn a_person_must_see_what_failed_why_and_every_skip_with_its_reason() {
        let report = report();
        let rows: Vec<_> = report.rows().iter().map(|row| row.join(" | ")).collect();
        assert_eq!(
            rows,
            [
                "skipped | m.B (2 tests) | vpnaas extension not enabled",
                "skipped | m.B.test_z | no vnc",
                "FAILED | m.A.test_bad | ValueError: no <net>",
                "ok | clean-up | 1 project",
            ]
        );
        assert_eq!(report.summary(), "1 passed, 1 failed, 3 skipped of 5 tests, in 70 s");
    }

    #[test]
    fn junit_must_hold_every_test() {
        insta::assert_snapshot!(report().junit(), @r#"
        <?xml version="1.0" encoding="UTF-8"?>
        <testsuites>
        <testsuite name="mastic verify --tempest aio 2026.1" tests="6" failures="1" errors="0" skipped="3" time="70.000" timestamp="2026-11-26T03:00:00Z">
        <testcase classname="m.A" name="test_good" time="1.500"/>
        <testcase classname="m.A" name="test_bad" time="1.500"><failure message="ValueError: no &lt;net&gt;">ValueError: no &lt;net&gt;
        Traceback:
          line 1

        GET /v3</failure></testcase>
        <testcase classname="m.B" name="test_x" time="1.500"><skipped message="vpnaas extension not enabled"/></testcase>
        <testcase classname="m.B" name="test_y" time="1.500"><skipped message="vpnaas extension not enabled"/></testcase>
        <testcase classname="m.B" name="test_z" time="1.500"><skipped message="no vnc"/></testcase>
        <testcase classname="verify" name="clean-up" time="0.000"><system-out>1 project</system-out></testcase>
        </testsuite>
        </testsuites>
        "#);
    }

    #[test]
    fn a_program_must_get_the_same_counts() {
        let document: serde_json::Value = serde_json::from_str(&report().json()).unwrap();
        assert_eq!(
            (&document["passed"], &document["failed"], &document["skipped"], &document["ok"]),
            (&1.into(), &1.into(), &3.into(), &false.into())
        );
        assert_eq!(document["tests"][2]["detail"], "vpnaas extension not enabled");
        assert_eq!(document["cleanup"]["outcome"], "passed");
    }

    #[test]
    fn only_a_run_that_showed_something_and_ended_must_be_ok() {
        let mut good = report();
        good.tests.remove(1);
        assert!(good.is_ok());
        let bad = |change: &dyn Fn(&mut Report)| {
            let mut report = good.clone();
            change(&mut report);
            !report.is_ok()
        };
        assert!(bad(&|report| report.tests.clear()), "nothing was shown");
        assert!(bad(&|report| drop(report.tests.remove(0))), "all were skipped");
        assert!(bad(&|report| report.tests[0].verdict = Verdict::Unfinished));
        assert!(bad(&|report| report.broken = Some("killed".to_owned())));
        assert!(bad(&|report| report.cleanup = Err("a network".to_owned())));
        assert!(bad(&|report| report.interrupted = true));
    }
}
