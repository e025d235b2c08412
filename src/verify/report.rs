//! What a run found: as a table, as JSON, as JUnit's XML. Pure.

use std::time::Duration;

use serde::Serialize;

use super::junit::{self, Case, End};
use super::steps::StepId;

/// How a step ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It showed what it is there to show; a line about what was seen.
    Passed(String),
    /// It did not; possibly several lines: the server's fault, the guest's console.
    Failed(String),
    /// Not begun, and why.
    Skipped(String),
    /// Interrupted, or not begun since the run was.
    Cancelled,
}

/// One step.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StepReport {
    /// Which.
    pub step: StepId,
    /// How.
    pub verdict: Verdict,
    /// How long it took.
    pub took: Duration,
}

/// A whole run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Report {
    /// Deployment.
    pub deployment: String,
    /// Series.
    pub release: String,
    /// Name of everything it made.
    pub name: String,
    /// When it began, RFC 3339.
    pub began_at: String,
    /// Steps in order.
    pub steps: Vec<StepReport>,
    /// What the clean-up removed, as text, or why it could not.
    pub cleanup: Result<String, String>,
    /// How long the clean-up took.
    pub cleanup_took: Duration,
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
    seconds: f64,
    steps: Vec<Line<'a>>,
}

#[derive(Serialize)]
struct Line<'a> {
    step: &'a str,
    title: &'a str,
    outcome: &'static str,
    seconds: f64,
    detail: &'a str,
}

impl Verdict {
    /// One word.
    pub fn word(&self) -> &'static str {
        match self {
            Self::Passed(_) => "passed",
            Self::Failed(_) => "failed",
            Self::Skipped(_) => "skipped",
            Self::Cancelled => "cancelled",
        }
    }

    /// What there is to say.
    pub fn detail(&self) -> &str {
        match self {
            Self::Passed(text) | Self::Failed(text) | Self::Skipped(text) => text,
            Self::Cancelled => "",
        }
    }
}

impl Report {
    /// Returns whether every step passed and nothing was left behind.
    pub fn is_ok(&self) -> bool {
        self.cleanup.is_ok() && self.steps.iter().all(|step| matches!(step.verdict, Verdict::Passed(_)))
    }

    /// Returns whether it was interrupted.
    pub fn is_interrupted(&self) -> bool {
        self.steps.iter().any(|step| step.verdict == Verdict::Cancelled)
    }

    fn lines(&self) -> Vec<Line<'_>> {
        let mut lines: Vec<_> = self
            .steps
            .iter()
            .map(|step| Line {
                step: step.step.name(),
                title: step.step.title(),
                outcome: step.verdict.word(),
                seconds: junit::seconds(step.took),
                detail: step.verdict.detail(),
            })
            .collect();
        let (outcome, detail) = match &self.cleanup {
            Ok(text) => ("passed", text),
            Err(text) => ("failed", text),
        };
        lines.push(Line {
            step: "clean-up",
            title: "everything it made is deleted",
            outcome,
            seconds: junit::seconds(self.cleanup_took),
            detail,
        });
        lines
    }

    /// Rows for a table, without a head: outcome, step, seconds, what was seen (of a failure the first line).
    pub fn rows(&self) -> Vec<Vec<String>> {
        let row = |line: &Line<'_>| {
            let word = match line.outcome {
                "passed" => "ok".to_owned(),
                "failed" => "FAILED".to_owned(),
                other => other.to_owned(),
            };
            let detail = line.detail.lines().next().unwrap_or_default().to_owned();
            vec![word, line.step.to_owned(), format!("{:.1} s", line.seconds), detail]
        };
        self.lines().iter().map(row).collect()
    }

    /// Returns one JSON document.
    pub fn json(&self) -> String {
        let document = Document {
            version: 1,
            ok: self.is_ok(),
            deployment: &self.deployment,
            release: &self.release,
            name: &self.name,
            began_at: &self.began_at,
            seconds: junit::seconds(self.took),
            steps: self.lines(),
        };
        // Texts and numbers always serialize.
        serde_json::to_string_pretty(&document).unwrap_or_default()
    }

    /// Returns JUnit's XML, as CI systems read it: one suite, one case a step.
    pub fn junit(&self) -> String {
        let lines = self.lines();
        let names: Vec<String> = lines.iter().map(|line| format!("{}: {}", line.step, line.title)).collect();
        let cases: Vec<_> = lines
            .iter()
            .zip(&names)
            .map(|(line, name)| {
                let end = match line.outcome {
                    "passed" => End::Passed(line.detail),
                    "failed" => End::Failed(line.detail),
                    other => End::Skipped(if line.detail.is_empty() { other } else { line.detail }),
                };
                Case { class: "verify", name, took: Duration::from_secs_f64(line.seconds), end }
            })
            .collect();
        let suite = format!("mastic verify {} {}", self.deployment, self.release);
        junit::suite(&suite, &self.began_at, self.took, &cases)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report() -> Report {
        let step = |step, verdict| StepReport { step, verdict, took: Duration::from_millis(1500) };
        Report {
            deployment: "aio".to_owned(),
            release: "2026.1".to_owned(),
            name: "mastic-verify-x".to_owned(),
            began_at: "2026-11-24T03:00:00Z".to_owned(),
            steps: vec![
                step(StepId::Project, Verdict::Passed("made".to_owned())),
                step(
                    StepId::Server,
                    Verdict::Failed("No <valid> host & \"more\"\n\u{1b}[0mconsole".to_owned()),
                ),
                step(StepId::Console, Verdict::Skipped("server failed".to_owned())),
            ],
            cleanup: Ok("1 server".to_owned()),
            cleanup_took: Duration::from_secs(2),
            took: Duration::from_secs(7),
        }
    }

    #[test]
    fn junit_must_be_what_ci_systems_read() {
        insta::assert_snapshot!(report().junit(), @r#"
        <?xml version="1.0" encoding="UTF-8"?>
        <testsuites>
        <testsuite name="mastic verify aio 2026.1" tests="4" failures="1" errors="0" skipped="1" time="7.000" timestamp="2026-11-24T03:00:00Z">
        <testcase classname="verify" name="project: a project and a user of its own" time="1.500"><system-out>made</system-out></testcase>
        <testcase classname="verify" name="server: a server becomes active" time="1.500"><failure message="No &lt;valid&gt; host &amp; &quot;more&quot;">No &lt;valid&gt; host &amp; &quot;more&quot;
         [0mconsole</failure></testcase>
        <testcase classname="verify" name="console: the guest comes up, by its console log" time="1.500"><skipped message="server failed"/></testcase>
        <testcase classname="verify" name="clean-up: everything it made is deleted" time="2.000"><system-out>1 server</system-out></testcase>
        </testsuite>
        </testsuites>
        "#);
    }

    #[test]
    fn only_a_run_without_a_failure_and_without_leftovers_must_be_ok() {
        let mut report = report();
        assert!(!report.is_ok());
        report.steps.truncate(1);
        assert!(report.is_ok() && report.json().contains("\"ok\": true"));
        report.cleanup = Err("a volume is stuck".to_owned());
        assert!(!report.is_ok());
        report.cleanup = Ok(String::new());
        report.steps[0].verdict = Verdict::Skipped("no external network".to_owned());
        assert!(!report.is_ok(), "what was not shown is not shown");
        report.steps[0].verdict = Verdict::Cancelled;
        assert!(report.is_interrupted() && !report.is_ok());
    }
}
