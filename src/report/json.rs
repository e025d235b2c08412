//! One JSON object per event, for scripts that follow a run.

use std::io::Write;
use std::sync::Mutex;

use serde_json::{Value, json};

use super::{Event, Reporter};
use crate::report::event::Outcome;

/// Writes events as JSON lines.
pub struct JsonLines<W: Write + Send> {
    out: Mutex<W>,
}

impl<W: Write + Send> std::fmt::Debug for JsonLines<W> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("JsonLines")
    }
}

impl<W: Write + Send> JsonLines<W> {
    /// Writes to `out`.
    pub fn new(out: W) -> Self {
        Self { out: Mutex::new(out) }
    }
}

fn value(event: Event) -> Value {
    match event {
        Event::Phase { title, total } => json!({"event": "phase", "title": title, "total": total}),
        Event::Started { key, host, title } => {
            json!({"event": "started", "key": key, "host": host, "title": title})
        }
        Event::Progress { key, message, amount } => {
            json!({"event": "progress", "key": key, "message": message, "amount": amount})
        }
        Event::Output { key, line } => json!({"event": "output", "key": key, "line": line}),
        Event::Finished { key, outcome, took } => {
            let (word, detail) = match outcome {
                Outcome::Done => ("done", None),
                Outcome::Unchanged(why) => ("unchanged", Some(why)),
                Outcome::Failed(why) => ("failed", Some(why)),
                Outcome::Undone => ("undone", None),
                Outcome::Cancelled => ("cancelled", None),
            };
            json!({"event": "finished", "key": key, "outcome": word, "detail": detail, "seconds": took.as_secs_f64()})
        }
        Event::Note { message } => json!({"event": "note", "message": message}),
        Event::Warning { message } => json!({"event": "warning", "message": message}),
    }
}

impl<W: Write + Send> Reporter for JsonLines<W> {
    fn on(&self, event: Event) {
        if let Ok(mut out) = self.out.lock() {
            let _ = writeln!(out, "{}", value(event));
        }
    }
}
