//! Live progress on a terminal: a line per running piece of work, finished ones scroll away above.

use std::collections::HashMap;
use std::sync::Mutex;
use std::time::Duration;

use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};

use super::plain::{duration, indent};
use super::{Event, Reporter};
use crate::report::event::Outcome;

/// The only user of indicatif.
#[derive(Debug)]
pub struct Live {
    bars: MultiProgress,
    state: Mutex<State>,
    verbose: bool,
}

#[derive(Debug, Default)]
struct State {
    running: HashMap<String, (ProgressBar, String)>,
    overall: Option<ProgressBar>,
}

impl Live {
    /// Draws on `target`.
    pub fn new(target: ProgressDrawTarget, verbose: bool) -> Self {
        Self { bars: MultiProgress::with_draw_target(target), state: Mutex::new(State::default()), verbose }
    }

    fn print(&self, line: &str) {
        // Fails only when the terminal is gone.
        let _ = self.bars.println(line);
    }
}

fn spinner() -> ProgressStyle {
    ProgressStyle::with_template("  {spinner} {elapsed:>4} {msg}")
        .unwrap_or_else(|_| ProgressStyle::default_spinner())
}

fn overall() -> ProgressStyle {
    ProgressStyle::with_template("{msg}  [{bar:30}] {pos}/{len}  {elapsed}")
        .unwrap_or_else(|_| ProgressStyle::default_bar())
        .progress_chars("=> ")
}

impl Reporter for Live {
    fn on(&self, event: Event) {
        let Ok(mut state) = self.state.lock() else { return };
        match event {
            Event::Phase { title, total } => {
                if let Some(bar) = state.overall.take() {
                    bar.finish_and_clear();
                }
                self.print(&title);
                if let Some(total) = total.filter(|n| *n > 0) {
                    let bar = self.bars.add(ProgressBar::new(total as u64).with_style(overall()));
                    bar.set_message(title);
                    state.overall = Some(bar);
                }
            }
            Event::Started { key, host: _, title } => {
                let bar = ProgressBar::new_spinner().with_style(spinner());
                let bar = match &state.overall {
                    Some(last) => self.bars.insert_before(last, bar),
                    None => self.bars.add(bar),
                };
                bar.set_message(title.clone());
                bar.enable_steady_tick(Duration::from_millis(120));
                state.running.insert(key, (bar, title));
            }
            Event::Progress { key, message, amount: _ } => {
                if let Some((bar, title)) = state.running.get(&key) {
                    bar.set_message(format!("{title}: {message}"));
                }
            }
            Event::Output { key: _, line } => {
                if self.verbose {
                    self.print(&format!("      {line}"));
                }
            }
            Event::Finished { key, outcome, took } => {
                let title = match state.running.remove(&key) {
                    Some((bar, title)) => {
                        bar.finish_and_clear();
                        self.bars.remove(&bar);
                        title
                    }
                    None => key,
                };
                if let Some(bar) = &state.overall {
                    bar.inc(1);
                }
                match outcome {
                    Outcome::Done => {
                        // What took no noticeable time is not worth a line.
                        if self.verbose || took > Duration::from_millis(300) {
                            self.print(&format!("  ok  {title} ({})", duration(took)));
                        }
                    }
                    Outcome::Unchanged(why) => {
                        if self.verbose {
                            self.print(&format!("  =   {title}: {why}"));
                        }
                    }
                    Outcome::Failed(why) => {
                        self.print(&format!("  FAILED  {title} ({})\n{}", duration(took), indent(&why)));
                    }
                    Outcome::Undone => self.print(&format!("  undone  {title}")),
                    Outcome::Cancelled => {}
                }
            }
            Event::Note { message } => self.print(&format!("  {message}")),
            Event::Warning { message } => self.print(&format!("  warning: {message}")),
        }
    }
}

impl Drop for Live {
    fn drop(&mut self) {
        if let Ok(mut state) = self.state.lock() {
            for (_, (bar, _)) in state.running.drain() {
                bar.finish_and_clear();
            }
            if let Some(bar) = state.overall.take() {
                bar.finish_and_clear();
            }
        }
    }
}
