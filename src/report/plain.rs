//! One line per event, for logs, pipes and people without a terminal.

use std::collections::HashMap;
use std::io::Write;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use super::{Event, Reporter};
use crate::report::event::Outcome;

/// Writes a line when work begins to be worth mentioning, and one when it ends.
pub struct Plain<W: Write + Send> {
    state: Mutex<State<W>>,
    verbose: bool,
}

struct State<W> {
    out: W,
    began: Instant,
    titles: HashMap<String, String>,
}

impl<W: Write + Send> std::fmt::Debug for Plain<W> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Plain").field("verbose", &self.verbose).finish_non_exhaustive()
    }
}

impl<W: Write + Send> Plain<W> {
    /// Writes to `out`; `verbose` adds begun work, progress and output lines.
    pub fn new(out: W, verbose: bool) -> Self {
        Self { state: Mutex::new(State { out, began: Instant::now(), titles: HashMap::new() }), verbose }
    }
}

/// Formats a duration as people read it: `0.3 s`, `12 s`, `2 min 5 s`.
pub fn duration(took: Duration) -> String {
    let seconds = took.as_secs_f64();
    if seconds < 9.95 {
        format!("{seconds:.1} s")
    } else if seconds < 120.0 {
        format!("{seconds:.0} s")
    } else {
        format!("{} min {} s", took.as_secs() / 60, took.as_secs() % 60)
    }
}

impl<W: Write + Send> Reporter for Plain<W> {
    fn on(&self, event: Event) {
        let Ok(mut state) = self.state.lock() else { return };
        let at = state.began.elapsed().as_secs_f64();
        let line = match event {
            Event::Phase { title, total } => {
                Some(total.map_or_else(|| title.clone(), |n| format!("{title} ({n})")))
            }
            Event::Started { key, host: _, title } => {
                let line = self.verbose.then(|| format!("  ... {title}"));
                state.titles.insert(key, title);
                line
            }
            Event::Progress { key, message, amount: _ } => self.verbose.then(|| {
                let title = state.titles.get(&key).cloned().unwrap_or(key);
                format!("  ... {title}: {message}")
            }),
            Event::Output { key: _, line } => self.verbose.then(|| format!("      {line}")),
            Event::Finished { key, outcome, took } => {
                let title = state.titles.remove(&key).unwrap_or(key);
                match outcome {
                    Outcome::Done => Some(format!("  ok  {title} ({})", duration(took))),
                    Outcome::Unchanged(why) => self.verbose.then(|| format!("  =   {title}: {why}")),
                    Outcome::Failed(why) => {
                        Some(format!("  FAILED  {title} ({})\n{}", duration(took), indent(&why)))
                    }
                    Outcome::Undone => Some(format!("  undone  {title}")),
                    Outcome::Cancelled => self.verbose.then(|| format!("  --  {title}: not begun")),
                }
            }
            Event::Note { message } => Some(format!("  {message}")),
            Event::Warning { message } => Some(format!("  warning: {message}")),
        };
        if let Some(line) = line {
            let _ = writeln!(state.out, "[{at:6.1}s] {line}");
        }
    }
}

/// Indents every line of a longer text.
pub fn indent(text: &str) -> String {
    text.lines().map(|line| format!("          {line}")).collect::<Vec<_>>().join("\n")
}
