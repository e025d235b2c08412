//! The journal on disk: one file a run, JSON lines, flushed to the disk before the act they announce.
//!
//! Entries that arrive together are flushed together: a run does many things at once, and each flush costs
//! milliseconds.

use std::io::Write as _;
use std::path::{Path, PathBuf};

use tokio::sync::{mpsc, oneshot};

use crate::journal::{Entry, Event, Replay, replay};
use crate::model::DeploymentName;
use crate::store::files;

/// The folder below the state folder.
pub const FOLDER: &str = "runs";
/// How a journal's name ends.
const SUFFIX: &str = "jsonl";

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
    /// An earlier run's journal cannot be read.
    #[error("the journals in {path} cannot be read")]
    Read {
        /// The file or folder.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
}

const ENDED: &str = "its writer has ended";

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
        let path = folder.join(format!("{run}.{SUFFIX}"));
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
        self.send(event)?.await.map_err(|_| self.broken(ENDED))?.map_err(|reason| self.broken(&reason))
    }

    /// Writes an event that announces nothing: the end of a step, or a wait. It is on the disk before any later event is, and
    /// nobody waits for that. Lost with the machine's power, it leaves a step in doubt that was done.
    pub fn note(&self, event: Event) -> Result<(), JournalError> {
        // Without its receiver the line asks for no flush of its own.
        self.send(event).map(drop)
    }

    fn send(&self, event: Event) -> Result<oneshot::Receiver<Result<(), String>>, JournalError> {
        let entry = Entry { at: jiff::Timestamp::now().to_string(), event };
        let mut line = serde_json::to_vec(&entry).map_err(|e| self.broken(&e.to_string()))?;
        line.push(b'\n');
        let (written, result) = oneshot::channel();
        self.lines.send((line, written)).map_err(|_| self.broken(ENDED))?;
        Ok(result)
    }

    fn broken(&self, reason: &str) -> JournalError {
        JournalError::Write { path: self.path.clone(), reason: reason.to_owned() }
    }
}

/// Returns the journals of a state folder, the oldest first: a run's name begins with its time.
pub fn paths(state: &Path) -> Result<Vec<PathBuf>, JournalError> {
    let folder = state.join(FOLDER);
    let failed = |source| JournalError::Read { path: folder.clone(), source };
    let mut paths = Vec::new();
    match std::fs::read_dir(&folder) {
        Ok(entries) => {
            for entry in entries {
                let path = entry.map_err(failed)?.path();
                if path.extension().is_some_and(|suffix| suffix == SUFFIX) {
                    paths.push(path);
                }
            }
        }
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
        Err(error) => return Err(failed(error)),
    }
    paths.sort();
    Ok(paths)
}

/// A run that did not come to its end, or whose journal is damaged, and nobody was told yet.
#[derive(Clone, Debug)]
pub struct Unsettled {
    /// Its journal.
    pub path: PathBuf,
    /// What can be read of it.
    pub replay: Replay,
}

/// Returns the runs of a deployment that were cut off since the last one that came to its end, the oldest first.
///
/// Hold the deployment's lock: a run that is still going on looks the same.
pub fn unsettled(state: &Path, deployment: &DeploymentName) -> Result<Vec<Unsettled>, JournalError> {
    let failed = |path: &Path| {
        let path = path.to_owned();
        move |source| JournalError::Read { path, source }
    };
    // Each run settles those before it, so none is read twice.
    let mut found = Vec::new();
    for path in paths(state)?.into_iter().rev() {
        let replay = replay(&std::fs::read(&path).map_err(failed(&path))?);
        let other = matches!(&replay.began, Some(Event::RunBegan { deployment: of, .. }) if of != deployment);
        if other {
            continue;
        }
        if replay.settled || replay.is_finished() {
            break;
        }
        found.push(Unsettled { path, replay });
    }
    found.reverse();
    Ok(found)
}

impl Unsettled {
    /// Writes down that the operator was told. A last line that was cut off goes: what it announced was never begun.
    pub fn settle(&self) -> Result<(), JournalError> {
        let broken = |reason: String| JournalError::Write { path: self.path.clone(), reason };
        let write = || -> std::io::Result<()> {
            let mut text = std::fs::read(&self.path)?;
            text.truncate(text.iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1));
            let mut file = std::fs::OpenOptions::new().append(true).open(&self.path)?;
            file.set_len(text.len().try_into().unwrap_or(u64::MAX))?;
            let entry = Entry { at: jiff::Timestamp::now().to_string(), event: Event::RunSettled };
            let mut line = serde_json::to_vec(&entry)?;
            line.push(b'\n');
            file.write_all(&line)?;
            file.sync_all()
        };
        write().map_err(|error| broken(error.to_string()))
    }
}

/// Writes what has gathered, flushes once if anybody waits for it, tells everybody.
fn write(mut file: fs_err::File, mut received: mpsc::UnboundedReceiver<(Vec<u8>, Written)>) {
    while let Some((line, written)) = received.blocking_recv() {
        let mut bytes = line;
        let mut waiting = vec![written];
        while let Ok((line, written)) = received.try_recv() {
            bytes.extend(line);
            waiting.push(written);
        }
        let flush = waiting.iter().any(|written| !written.is_closed());
        let result = file.write_all(&bytes).and_then(|()| if flush { file.sync_data() } else { Ok(()) });
        let result = result.map_err(|e| e.to_string());
        for written in waiting {
            // Nobody waits any more when this fails.
            let _ = written.send(result.clone());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::StepId;

    fn began(run: &str, deployment: &str) -> Event {
        Event::RunBegan {
            version: crate::journal::entry::JOURNAL_VERSION,
            run: run.parse().expect("a name"),
            deployment: deployment.parse().expect("a name"),
            purpose: "deploy".to_owned(),
            generation: None,
            steps: 3,
            plan: Vec::new(),
        }
    }

    async fn run(state: &Path, run: &str, deployment: &str, events: Vec<Event>) {
        let journal = Journal::create(state, run).expect("it can be made");
        for event in std::iter::once(began(run, deployment)).chain(events) {
            journal.append(event).await.expect("it can be written");
        }
    }

    fn names(found: &[Unsettled]) -> Vec<String> {
        found.iter().map(|u| u.path.file_stem().expect("a name").to_string_lossy().into_owned()).collect()
    }

    #[tokio::test]
    async fn a_run_that_was_cut_off_must_be_found_once_and_only_by_its_deployment() {
        let dir = tempfile::tempdir().expect("a temporary folder");
        let (state, aio) = (dir.path(), "aio".parse().expect("a name"));
        assert!(unsettled(state, &aio).expect("no folder is no run").is_empty());
        let ended = || vec![Event::RunEnded { outcome: "done".to_owned() }];
        let begun = || vec![Event::StepBegan { step: StepId(1), action: "create x".to_owned(), stops: None }];
        run(state, "r1", "aio", begun()).await;
        run(state, "r2", "aio", ended()).await;
        assert!(unsettled(state, &aio).expect("readable").is_empty(), "a later run has settled it");
        run(state, "r3", "aio", begun()).await;
        run(state, "r4", "other", begun()).await;
        run(state, "r5", "aio", begun()).await;
        // Cut off in the middle of a line, and before the first.
        let path = state.join("runs/r5.jsonl");
        let text = std::fs::read(&path).expect("it is there");
        std::fs::write(&path, &text[..text.len() - 9]).expect("it can be written");
        std::fs::write(state.join("runs/r6.jsonl"), "").expect("it can be written");
        let found = unsettled(state, &aio).expect("readable");
        assert_eq!(names(&found), ["r3", "r5", "r6"]);
        assert_eq!(found[0].replay.under_way(), ["create x"]);
        assert!(found[1].replay.truncated && found[1].replay.damaged.is_empty());
        for run in &found {
            run.settle().expect("it can be written");
        }
        assert!(unsettled(state, &aio).expect("readable").is_empty(), "it was told twice");
        let text = std::fs::read(&path).expect("it is there");
        assert!(replay(&text).damaged.is_empty(), "settling left half a line");
    }

    #[tokio::test]
    async fn a_damaged_journal_must_be_found_although_its_run_ended() {
        let dir = tempfile::tempdir().expect("a temporary folder");
        let (state, aio) = (dir.path(), "aio".parse().expect("a name"));
        run(state, "r1", "aio", vec![Event::RunEnded { outcome: "done".to_owned() }]).await;
        let path = state.join("runs/r1.jsonl");
        let text = std::fs::read(&path).expect("it is there");
        std::fs::write(&path, [b"nonsense\n", text.as_slice()].concat()).expect("it can be written");
        let found = unsettled(state, &aio).expect("readable");
        assert_eq!(found[0].replay.damaged.len(), 1);
        found[0].settle().expect("it can be written");
        assert!(unsettled(state, &aio).expect("readable").is_empty());
    }

    #[tokio::test]
    async fn what_was_appended_must_be_on_the_disk_in_order() {
        let dir = tempfile::tempdir().expect("a temporary folder");
        let journal = Journal::create(dir.path(), "r1").expect("it can be made");
        for step in 1..=20 {
            let action = format!("create {step}");
            let began = Event::StepBegan { step: StepId(step), action, stops: None };
            journal.append(began).await.expect("it can be written");
            journal.note(Event::StepDone { step: StepId(step) }).expect("it can be written");
        }
        // What is only noted is there when a later event is.
        journal.append(Event::RunEnded { outcome: "done".to_owned() }).await.expect("it can be written");
        let text = std::fs::read(dir.path().join("runs/r1.jsonl")).expect("it is there");
        let found = replay(&text);
        assert!(found.damaged.is_empty() && found.in_doubt().is_empty());
        assert_eq!(found.steps.len(), 20);
        Journal::create(dir.path(), "r1").expect_err("a run's journal is never reopened");
    }
}
