//! What is wrong, where, and what to do about it.

use std::fmt;

use serde::Serialize;

use super::source::{Source, Span};

pub use super::codes::CODES;

/// Longest part of a source line that is shown.
const LINE_WIDTH: usize = 160;

/// One mistake.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Diagnostic {
    /// File, as people know it.
    pub file: String,
    /// Line, from 1.
    pub line: usize,
    /// Column in characters, from 1.
    pub column: usize,
    /// Characters marked.
    pub length: usize,
    /// Stable word for the kind of mistake: see `docs/reference/diagnostics.md`.
    pub code: &'static str,
    /// What is wrong.
    pub message: String,
    /// What to do.
    pub help: Option<String>,
    /// The line itself, with control characters made visible.
    pub source_line: String,
}

impl Diagnostic {
    /// Returns a mistake at a place.
    pub fn new(code: &'static str, source: &Source, span: Span, message: impl Into<String>) -> Self {
        Self {
            file: source.name.clone(),
            line: span.line,
            column: span.column,
            length: span.length,
            code,
            message: printable(&message.into()),
            help: None,
            source_line: printable(source.line(span.line)),
        }
    }

    /// Adds what to do.
    pub fn help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(printable(&help.into()));
        self
    }

    /// Adds "did you mean" where there is a near word, else `otherwise`.
    pub fn near(self, near: Option<&str>, otherwise: impl FnOnce() -> Option<String>) -> Self {
        match near {
            Some(word) => self.help(format!("did you mean `{word}`?")),
            None => match otherwise() {
                Some(text) => self.help(text),
                None => self,
            },
        }
    }
}

/// Makes control characters visible, so that no text of a file can act on the terminal.
fn printable(text: &str) -> String {
    text.chars()
        .map(|c| match c {
            '\t' => ' ',
            c if c.is_control() => char::REPLACEMENT_CHARACTER,
            // Characters that reorder or hide what is around them.
            '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{2069}' | '\u{feff}' => {
                char::REPLACEMENT_CHARACTER
            }
            c => c,
        })
        .collect()
}

impl fmt::Display for Diagnostic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { file, line, column, length, code, message, help, source_line } = self;
        let number = line.to_string();
        let gap = " ".repeat(number.len());
        writeln!(f, "error[{code}]: {message}")?;
        writeln!(f, "{gap}--> {file}:{line}:{column}")?;
        // A long line is cut around its mark.
        let total = source_line.chars().count();
        let from = if *column > LINE_WIDTH { column.saturating_sub(LINE_WIDTH / 2).min(total) } else { 0 };
        let shown: String = source_line.chars().skip(from).take(LINE_WIDTH).collect();
        let mark = column.saturating_sub(1).saturating_sub(from);
        let room = shown.chars().count().saturating_sub(mark).max(1);
        writeln!(f, "{gap} |")?;
        writeln!(f, "{number} | {}", shown.trim_end())?;
        write!(f, "{gap} | {}{}", " ".repeat(mark), "^".repeat((*length).clamp(1, room)))?;
        if let Some(help) = help {
            write!(f, "\n{gap} = help: {help}")?;
        }
        Ok(())
    }
}

/// All mistakes, sorted by file and position; each once.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Diagnostics(Vec<Diagnostic>);

impl Diagnostics {
    /// Sorts what was collected. The file named first (the profile) comes first.
    pub fn sorted(mut list: Vec<Diagnostic>, first: &str) -> Self {
        list.sort_by(|a, b| (a.file != first, a).cmp(&(b.file != first, b)));
        // One template is rendered for several containers and hosts: its mistake is one, whoever finds it.
        list.dedup_by(|a, b| {
            (&a.file, a.line, a.column, a.code, &a.message) == (&b.file, b.line, b.column, b.code, &b.message)
        });
        Self(list)
    }

    /// Returns them in order.
    pub fn iter(&self) -> impl Iterator<Item = &Diagnostic> {
        self.0.iter()
    }

    /// Returns how many there are.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Returns whether there is none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Returns them as one JSON array, for other programs.
    pub fn to_json(&self) -> String {
        // Plain strings and numbers always serialize.
        serde_json::to_string_pretty(&self.0).unwrap_or_default()
    }
}

impl fmt::Display for Diagnostics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for diagnostic in &self.0 {
            writeln!(f, "{diagnostic}\n")?;
        }
        match self.0.len() {
            1 => write!(f, "1 mistake"),
            n => write!(f, "{n} mistakes"),
        }
    }
}

impl std::error::Error for Diagnostics {}

/// Returns a list of words for people: `a`, `b` and `c`, cut where it is long.
pub fn listed<'a>(words: impl IntoIterator<Item = &'a str>) -> String {
    const MOST: usize = 12;
    let words: Vec<&str> = words.into_iter().collect();
    let quoted: Vec<String> = words.iter().take(MOST).map(|word| format!("`{word}`")).collect();
    let more = words.len().saturating_sub(MOST);
    match quoted.split_last() {
        None => "none".to_owned(),
        Some((last, [])) => last.clone(),
        Some((last, rest)) if more == 0 => format!("{} and {last}", rest.join(", ")),
        Some(_) => format!("{} and {more} more", quoted.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mistake_must_be_shown_with_its_line_and_a_mark() {
        let source = Source::new("aio.yaml", "deployment: aio\nsets:\n  api: {servces: [keystone]}\n");
        let shown = Diagnostic::new("unknown-key", &source, Span::new(3, 9, 7), "unknown key `servces`")
            .help("did you mean `services`?")
            .to_string();
        insta::assert_snapshot!(shown, @r"
        error[unknown-key]: unknown key `servces`
         --> aio.yaml:3:9
          |
        3 |   api: {servces: [keystone]}
          |         ^^^^^^^
          = help: did you mean `services`?
        ");
    }

    #[test]
    fn a_source_line_must_not_act_on_the_terminal() {
        let source = Source::new("x", "a: \u{1b}[2J\u{202e}x");
        assert!(!Diagnostic::new("x", &source, Span::START, "").to_string().contains(['\u{1b}', '\u{202e}']));
    }
}
