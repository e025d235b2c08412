//! Standard output is data, standard error is talk. The only file that writes to either directly.

use std::io::{IsTerminal, Write};
use std::sync::atomic::{AtomicBool, Ordering};

/// Whether anything was printed on standard output yet.
static PRINTED: AtomicBool = AtomicBool::new(false);

/// Returns whether anything was printed on standard output yet.
pub fn printed() -> bool {
    PRINTED.load(Ordering::Relaxed)
}

/// Writes for people and programs.
#[derive(Clone, Copy, Debug)]
pub struct Printer {
    /// Only what went wrong.
    pub quiet: bool,
}

impl Printer {
    /// Prints data. A closed pipe ends the program quietly, as `| head` expects.
    pub fn data(&self, text: &str) {
        PRINTED.store(true, Ordering::Relaxed);
        let mut out = std::io::stdout().lock();
        let newline = if text.ends_with('\n') || text.is_empty() { "" } else { "\n" };
        if write!(out, "{text}{newline}").and_then(|()| out.flush()).is_err() {
            std::process::exit(0);
        }
    }

    /// Prints raw bytes of a container.
    pub fn raw(&self, bytes: &[u8], stderr: bool) {
        PRINTED.store(true, Ordering::Relaxed);
        let done = if stderr {
            std::io::stderr().write_all(bytes)
        } else {
            let mut out = std::io::stdout().lock();
            out.write_all(bytes).and_then(|()| out.flush())
        };
        if done.is_err() {
            std::process::exit(0);
        }
    }

    /// Says something, unless quiet.
    pub fn say(&self, text: &str) {
        if !self.quiet {
            self.error(text);
        }
    }

    /// Says something that must be heard.
    pub fn error(&self, text: &str) {
        // Nobody left to tell when this fails.
        let _ = writeln!(std::io::stderr(), "{text}");
    }

    /// Asks for a yes; anything else, or nobody to ask, is no.
    pub fn ask(&self, question: &str) -> bool {
        if !std::io::stdin().is_terminal() {
            return false;
        }
        let _ = write!(std::io::stderr(), "{question} [y/N] ");
        let mut answer = String::new();
        std::io::stdin().read_line(&mut answer).is_ok()
            && matches!(answer.trim().to_ascii_lowercase().as_str(), "y" | "yes")
    }
}

/// Aligns rows in columns, two spaces apart; the first row is the head.
pub fn table(rows: &[Vec<String>]) -> String {
    let columns = rows.iter().map(Vec::len).max().unwrap_or(0);
    let widths: Vec<usize> = (0..columns)
        .map(|c| rows.iter().filter_map(|r| r.get(c)).map(|t| t.chars().count()).max().unwrap_or(0))
        .collect();
    let mut text = String::new();
    for row in rows {
        let mut line = String::new();
        for (cell, width) in row.iter().zip(&widths) {
            line.push_str(cell);
            line.extend(std::iter::repeat_n(' ', width - cell.chars().count() + 2));
        }
        text.push_str(line.trim_end());
        text.push('\n');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_must_align_without_trailing_blanks() {
        let row = |cells: &[&str]| cells.iter().map(|c| (*c).to_owned()).collect::<Vec<_>>();
        assert_eq!(table(&[row(&["SET", "N"]), row(&["database", "1"])]), "SET       N\ndatabase  1\n");
    }
}
