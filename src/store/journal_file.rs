//! The journal on disk: one file a run, JSON lines, flushed to the disk before the act they announce.
//!
//! Entries that arrive together are flushed together: a run does many things at once, and each flush costs
//! milliseconds.

use std::io::Write as _;
use std::path::{Path, PathBuf};

use tokio::sync::{mpsc, oneshot};

use crate::journal::{Entry, Event};
use crate::store::files;

/// The folder below the state folder.
pub const FOLDER: &str = "runs";

/// Why nothing can be written down. Without a journal nothing is done.
#[derive(Debug, thiserror::Error)]
pub enum JournalError {
    /// The file cannot be made.
    #[error("the journal {path} cannot be made")]
    Create {
        /// Which.
        path: PathBuf,
        /// Why.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// A line cannot be written.
    #[error("the journal {path} cannot be written: {reason}")]
    Write {
        /// Which.
        path: PathBuf,
        /// Why.
        reason: String,
    },
}

type Written = oneshot::Sender<Result<(), String>>;

/// An open journal. Clones write to the same file.
#[derive(Clone, Debug)]
pub struct Journal {
    path: PathBuf,
    lines: mpsc::UnboundedSender<(Vec<u8>, Written)>,
}

impl Journal {
    /// Makes the journal of a run.
    pub fn create(state: &Path, run: &str) -> Result<Self, JournalError> {
        let folder = state.join(FOLDER);
        let path = folder.join(format!("{run}.jsonl"));
        let failed = |source| JournalError::Create { path: path.clone(), source };
        files::create_private_dir(&folder).map_err(|e| failed(Box::new(e)))?;
        let file = fs_err::OpenOptions::new()
            .create_new(true)
            .append(true)
            .open(&path)
            .map_err(|e| failed(Box::new(e)))?;
        let (lines, received) = mpsc::unbounded_channel();
        tokio::task::spawn_blocking(move || write(file, received));
        Ok(Self { path, lines })
    }

    /// Writes an event and returns when it is on the disk.
    pub async fn append(&self, event: Event) -> Result<(), JournalError> {
        let entry = Entry { at: jiff::Timestamp::now().to_string(), event };
        let broken = |reason: String| JournalError::Write { path: self.path.clone(), reason };
        let mut line = serde_json::to_vec(&entry).map_err(|e| broken(e.to_string()))?;
        line.push(b'\n');
        let (written, result) = oneshot::channel();
        self.lines.send((line, written)).map_err(|_| broken("its writer has ended".to_owned()))?;
        result.await.map_err(|_| broken("its writer has ended".to_owned()))?.map_err(broken)
    }
}

/// Writes what has gathered, flushes once, tells everybody.
fn write(mut file: fs_err::File, mut received: mpsc::UnboundedReceiver<(Vec<u8>, Written)>) {
    while let Some((line, written)) = received.blocking_recv() {
        let mut bytes = line;
        let mut waiting = vec![written];
        while let Ok((line, written)) = received.try_recv() {
            bytes.extend(line);
            waiting.push(written);
        }
        let result = file.write_all(&bytes).and_then(|()| file.sync_data()).map_err(|e| e.to_string());
        for written in waiting {
            // Nobody waits any more when this fails.
            let _ = written.send(result.clone());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::journal::replay;
    use crate::plan::StepId;

    #[tokio::test]
    async fn what_was_appended_must_be_on_the_disk_in_order() {
        let dir = tempfile::tempdir().expect("a temporary folder");
        let journal = Journal::create(dir.path(), "r1").expect("it can be made");
        for step in 1..=20 {
            let action = format!("create {step}");
            journal.append(Event::StepBegan { step: StepId(step), action }).await.expect("it can be written");
            journal.append(Event::StepDone { step: StepId(step) }).await.expect("it can be written");
        }
        let text = std::fs::read(dir.path().join("runs/r1.jsonl")).expect("it is there");
        let found = replay(&text);
        assert!(found.damaged.is_empty() && found.in_doubt().is_empty());
        assert_eq!(found.steps.len(), 20);
        Journal::create(dir.path(), "r1").expect_err("a run's journal is never reopened");
    }
}
