//! JUnit's XML, as CI systems read it. Pure.

use std::fmt::Write as _;
use std::time::Duration;

/// One case of the suite.
#[derive(Clone, Copy, Debug)]
pub(super) struct Case<'a> {
    /// What groups it.
    pub(super) class: &'a str,
    /// What it is called.
    pub(super) name: &'a str,
    /// How long it took.
    pub(super) took: Duration,
    /// How it ended.
    pub(super) end: End<'a>,
}

/// How a case ended, and what there is to say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum End<'a> {
    Passed(&'a str),
    Failed(&'a str),
    Skipped(&'a str),
}

/// Writes one suite. `took` is how long all took, `began` a time by RFC 3339.
pub(super) fn suite(name: &str, began: &str, took: Duration, cases: &[Case<'_>]) -> String {
    let count = |wanted: fn(&End<'_>) -> bool| cases.iter().filter(|case| wanted(&case.end)).count();
    let mut text = String::from("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n");
    // Writing to a String cannot fail.
    let _ = writeln!(
        text,
        "<testsuites>\n<testsuite name=\"{}\" tests=\"{}\" failures=\"{}\" errors=\"0\" skipped=\"{}\" time=\"{:.3}\" timestamp=\"{}\">",
        escape(name),
        cases.len(),
        count(|end| matches!(end, End::Failed(_))),
        count(|end| matches!(end, End::Skipped(_))),
        seconds(took),
        escape(began),
    );
    for Case { class, name, took, end } in cases {
        let (class, name) = (escape(class), escape(name));
        let head = format!("<testcase classname=\"{class}\" name=\"{name}\" time=\"{:.3}\"", seconds(*took));
        let first = |detail: &str| escape(detail.lines().next().unwrap_or_default());
        let _ = match end {
            End::Failed(detail) => writeln!(
                text,
                "{head}><failure message=\"{}\">{}</failure></testcase>",
                first(detail),
                escape(detail)
            ),
            End::Passed("") => writeln!(text, "{head}/>"),
            End::Passed(detail) => {
                writeln!(text, "{head}><system-out>{}</system-out></testcase>", escape(detail))
            }
            End::Skipped(why) => writeln!(text, "{head}><skipped message=\"{}\"/></testcase>", first(why)),
        };
    }
    text.push_str("</testsuite>\n</testsuites>\n");
    text
}

/// Seconds, to the millisecond.
pub(super) fn seconds(took: Duration) -> f64 {
    (took.as_secs_f64() * 1000.0).round() / 1000.0
}

/// Escapes for XML; control characters, which it cannot hold at all, become spaces.
fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for letter in text.chars() {
        match letter {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\n' | '\t' => escaped.push(letter),
            control if control.is_control() || matches!(control, '\u{FFFE}' | '\u{FFFF}') => {
                escaped.push(' ');
            }
            other => escaped.push(other),
        }
    }
    escaped
}
