//! What a rehearsal has found, as rows for people and as a document. Pure.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::model::{ReleaseName, ServiceName, TaskPhase};
use crate::schema::{Change, Verdict};

/// Of one rehearsal.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Report {
    /// 1.
    pub version: u32,
    /// The deployment.
    pub deployment: String,
    /// The release that the verdicts are about: what served, or what an open upgrade keeps.
    pub from: ReleaseName,
    /// The release whose tasks were tried on it.
    pub to: ReleaseName,
    /// When, RFC 3339.
    pub at: String,
    /// Seconds that the copy took.
    pub copied: f64,
    /// Whether every task ended well.
    pub done: bool,
    /// What it means for the older release.
    pub way_back: WayBack,
    /// Each task, in the order in which they were tried.
    pub tasks: Vec<Tried>,
    /// Images of the tasks, each with its id: what was tried was these.
    pub images: BTreeMap<String, String>,
}

/// Whether the older release can go on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct WayBack {
    /// With what an upgrade changes.
    pub upgrade: Verdict,
    /// With what its commit changes, where that was tried.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub commit: Option<Verdict>,
}

/// One task.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Tried {
    /// Its name.
    pub task: String,
    /// Its service.
    pub service: ServiceName,
    /// `expand`, `online-migrations` or `contract`.
    pub phase: TaskPhase,
    /// How it ended.
    pub ended: Ended,
    /// From its start to its end.
    pub seconds: f64,
    /// Those of its service.
    pub databases: Vec<String>,
    /// About how many rows these had before.
    pub rows: u64,
    /// What these took before.
    pub bytes: u64,
    /// Rows that it inserted, changed or deleted, by database and table.
    pub written: BTreeMap<String, BTreeMap<String, u64>>,
    /// What is different after it.
    pub changes: Vec<Change>,
    /// Why it failed or was not tried, with its own words.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub said: Option<String>,
}

/// How a task ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Ended {
    /// Well.
    Done,
    /// Badly.
    Failed,
    /// It was not tried, since what it stands on had failed.
    NotBegun,
}

impl Tried {
    fn is_upgrade(&self) -> bool {
        self.phase == TaskPhase::Expand
    }

    fn rows_written(&self) -> u64 {
        self.written.values().flat_map(BTreeMap::values).sum()
    }

    fn row(&self) -> Vec<String> {
        let took = match self.ended {
            Ended::Done => format!("{:.1} s", self.seconds),
            Ended::Failed => format!("{:.1} s, FAILED", self.seconds),
            Ended::NotBegun => "not begun".to_owned(),
        };
        vec![
            self.task.clone(),
            self.phase.as_str().to_owned(),
            took,
            self.databases.join(", "),
            mebibytes(self.bytes),
            self.rows.to_string(),
            self.rows_written().to_string(),
            counts(&self.changes),
        ]
    }
}

/// `1.5 MiB`.
fn mebibytes(bytes: u64) -> String {
    let tenths = bytes.saturating_mul(10) >> 20;
    format!("{}.{} MiB", tenths / 10, tenths % 10)
}

/// `12 open, 1 closed`.
fn counts<'a>(changes: impl IntoIterator<Item = &'a Change> + Clone) -> String {
    let count = |verdict| changes.clone().into_iter().filter(|change| change.verdict == verdict).count();
    let words: Vec<String> = [Verdict::Open, Verdict::Look, Verdict::Closed]
        .into_iter()
        .map(|verdict| (verdict, count(verdict)))
        .filter(|(_, count)| *count > 0)
        .map(|(verdict, count)| format!("{count} {}", verdict.as_str()))
        .collect();
    if words.is_empty() { "none".to_owned() } else { words.join(", ") }
}

impl Report {
    /// Draws the verdicts from what was tried.
    pub fn way_back_of(tasks: &[Tried]) -> WayBack {
        let (upgrade, commit): (Vec<&Tried>, Vec<&Tried>) = tasks.iter().partition(|task| task.is_upgrade());
        let of = |tasks: &[&Tried]| Verdict::of(tasks.iter().flat_map(|task| &task.changes));
        WayBack { upgrade: of(&upgrade), commit: (!commit.is_empty()).then(|| of(&commit)) }
    }

    /// Returns a row a task, under a head.
    pub fn task_rows(&self) -> Vec<Vec<String>> {
        let head = ["TASK", "PHASE", "TOOK", "DATABASES", "SIZE", "ROWS", "WRITTEN", "CHANGES"];
        let head = head.map(str::to_owned).to_vec();
        std::iter::once(head).chain(self.tasks.iter().map(Tried::row)).collect()
    }

    /// Returns a row a change, by databases, under a head; none where nothing is different.
    pub fn change_rows(&self) -> Vec<Vec<String>> {
        let mut rows = Vec::new();
        for task in &self.tasks {
            for change in &task.changes {
                rows.push(vec![
                    change.database.clone(),
                    task.phase.as_str().to_owned(),
                    change.to_string(),
                    change.verdict.as_str().to_owned(),
                    change.reason.clone(),
                ]);
            }
        }
        rows.sort_by(|a, b| a[0].cmp(&b[0]));
        if !rows.is_empty() {
            rows.insert(0, ["DATABASE", "PHASE", "CHANGE", "WAY BACK", "WHY"].map(str::to_owned).to_vec());
        }
        rows
    }

    /// Returns the verdicts as sentences.
    pub fn verdicts(&self) -> Vec<String> {
        let (upgrade, commit): (Vec<&Tried>, Vec<&Tried>) =
            self.tasks.iter().partition(|task| task.is_upgrade());
        let mut lines =
            vec![verdict(&format!("upgrade to {}", self.to), &upgrade, self.way_back.upgrade, &self.from)];
        if let Some(way_back) = self.way_back.commit {
            lines.push(verdict("commit", &commit, way_back, &self.from));
        }
        lines
    }
}

fn verdict(what: &str, tasks: &[&Tried], way_back: Verdict, from: &ReleaseName) -> String {
    let seconds: f64 = tasks.iter().map(|task| task.seconds).sum();
    let longest = tasks.iter().map(|task| task.seconds).fold(0.0, f64::max);
    let changes: Vec<&Change> = tasks.iter().flat_map(|task| &task.changes).collect();
    let bad = tasks.iter().filter(|task| task.ended != Ended::Done).count();
    let what = format!(
        "{what}: {} tasks, {seconds:.1} s one after the other, the longest {longest:.1} s; changes: {}",
        tasks.len(),
        counts(changes.iter().copied())
    );
    if bad > 0 {
        return format!("{what}; {bad} of the tasks failed or could not begin");
    }
    let means = match (tasks.iter().all(|task| task.is_upgrade()), way_back) {
        (true, Verdict::Open) => format!("the way back is open: {from} goes on with this schema"),
        (_, Verdict::Look) => format!("nothing that {from} needs is gone, but look at what `look` says"),
        (true, Verdict::Closed) => format!("it closes the way back: {from} cannot go on with this schema"),
        (false, Verdict::Open) => {
            let rows: u64 = tasks.iter().map(|task| task.rows_written()).sum();
            format!("nothing that {from} needs of the schema goes; rows written: {rows}")
        }
        (false, Verdict::Closed) => {
            format!("what {from} needs goes: after it, only a restore point leads back")
        }
    };
    format!("{what}; {means}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::schema::{Act, Thing};

    fn change(name: &str, verdict: Verdict) -> Change {
        Change {
            database: "d".to_owned(),
            table: "t".to_owned(),
            thing: Thing::Column,
            act: Act::Added,
            name: name.to_owned(),
            how: "int(11) NULL".to_owned(),
            verdict,
            reason: "why".to_owned(),
        }
    }

    fn tried(phase: TaskPhase, changes: Vec<Change>) -> Tried {
        Tried {
            task: format!("x-{}", phase.as_str()),
            service: ServiceName::new("x").unwrap(),
            phase,
            ended: Ended::Done,
            seconds: 1.25,
            databases: vec!["d".to_owned()],
            rows: 12,
            bytes: 3 << 19,
            written: [("d".to_owned(), [("t".to_owned(), 4)].into())].into(),
            changes,
            said: None,
        }
    }

    fn report(tasks: Vec<Tried>) -> Report {
        Report {
            version: 1,
            deployment: "c".to_owned(),
            from: ReleaseName::new("2025.1").unwrap(),
            to: ReleaseName::new("2026.1").unwrap(),
            at: String::new(),
            copied: 1.0,
            done: tasks.iter().all(|task| task.ended == Ended::Done),
            way_back: Report::way_back_of(&tasks),
            tasks,
            images: BTreeMap::new(),
        }
    }

    #[test]
    fn a_commit_must_not_close_the_way_back_from_the_upgrade() {
        let open = tried(TaskPhase::Expand, vec![change("a", Verdict::Open), change("b", Verdict::Open)]);
        let closed = tried(TaskPhase::Contract, vec![change("c", Verdict::Closed)]);
        let report = report(vec![open, closed]);
        assert_eq!(report.way_back, WayBack { upgrade: Verdict::Open, commit: Some(Verdict::Closed) });
        let text = [report.task_rows(), report.change_rows()].concat();
        let text: Vec<String> = text.iter().map(|row| row.join(" | ")).chain(report.verdicts()).collect();
        insta::assert_snapshot!(text.join("\n"), @r"
        TASK | PHASE | TOOK | DATABASES | SIZE | ROWS | WRITTEN | CHANGES
        x-expand | expand | 1.2 s | d | 1.5 MiB | 12 | 4 | 2 open
        x-contract | contract | 1.2 s | d | 1.5 MiB | 12 | 4 | 1 closed
        DATABASE | PHASE | CHANGE | WAY BACK | WHY
        d | expand | + column t.a: int(11) NULL | open | why
        d | expand | + column t.b: int(11) NULL | open | why
        d | contract | + column t.c: int(11) NULL | closed | why
        upgrade to 2026.1: 1 tasks, 1.2 s one after the other, the longest 1.2 s; changes: 2 open; the way back is open: 2025.1 goes on with this schema
        commit: 1 tasks, 1.2 s one after the other, the longest 1.2 s; changes: 1 closed; what 2025.1 needs goes: after it, only a restore point leads back
        ");
        let again: Report = serde_json::from_str(&serde_json::to_string(&report).unwrap()).unwrap();
        assert_eq!(again, report);
    }

    #[test]
    fn a_failure_must_leave_no_verdict_that_looks_good() {
        let failed = Tried { ended: Ended::Failed, ..tried(TaskPhase::Expand, Vec::new()) };
        let report = report(vec![failed]);
        assert!(!report.done);
        let said = report.verdicts().join("\n");
        assert!(said.contains("failed") && !said.contains("way back is open"), "{said}");
    }
}
