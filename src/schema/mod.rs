//! What databases have, what a change of it adds, changes or drops, and whether the release before could go on with it.
//!
//! Pure: [`read`] parses what a stand-in says, [`compare`] tells two looks apart, [`judge`] says what a difference means for code that
//! was written for the first.

pub mod compare;
pub mod judge;
pub mod read;

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};

pub use compare::compare;
pub use read::read;

/// All databases of a server but its own, by name; each with its tables, by name.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Schema(pub BTreeMap<String, BTreeMap<String, Table>>);

/// One table or view.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Table {
    /// It has no rows of its own.
    pub view: bool,
    /// About how many it has: the server's estimate.
    pub rows: u64,
    /// What it takes, indexes included.
    pub bytes: u64,
    /// Rows that were inserted, changed or deleted since the server began.
    pub written: u64,
    /// Of its text, where a column says nothing else.
    pub collation: String,
    /// By name.
    pub columns: BTreeMap<String, Column>,
    /// By name; `PRIMARY` is the primary key.
    pub indexes: BTreeMap<String, Index>,
    /// By name.
    pub foreign_keys: BTreeMap<String, ForeignKey>,
    /// Conditions of rows, by name.
    pub checks: BTreeMap<String, String>,
    /// When, on what and what, by name.
    pub triggers: BTreeMap<String, String>,
}

/// One column.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Column {
    /// As the server writes it, e.g. `varchar(64)`.
    pub kind: String,
    /// Whether it may be empty.
    pub nullable: bool,
    /// An expression; empty where there is none. `NULL` is one.
    pub default: String,
    /// e.g. `auto_increment`.
    pub extra: String,
    /// Of text; empty for others.
    pub collation: String,
}

/// One index.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Index {
    /// Whether no two rows may have the same.
    pub unique: bool,
    /// Its columns in order, e.g. `a,b(20)`.
    pub columns: String,
    /// e.g. `BTREE`.
    pub kind: String,
}

/// One foreign key.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct ForeignKey {
    /// Its columns in order.
    pub columns: String,
    /// `table(columns)`.
    pub to: String,
    /// e.g. `RESTRICT`.
    pub on_update: String,
    /// e.g. `CASCADE`.
    pub on_delete: String,
}

/// What can be added, changed or dropped.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Thing {
    /// A whole database.
    Database,
    /// A table.
    Table,
    /// A view.
    View,
    /// A column.
    Column,
    /// An index that refuses nothing.
    Index,
    /// A primary key or unique index.
    Key,
    /// A foreign key.
    ForeignKey,
    /// A condition of rows.
    Check,
    /// A trigger.
    Trigger,
}

/// What happened to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Act {
    /// It is new.
    Added,
    /// It is another.
    Changed,
    /// It is gone.
    Dropped,
}

/// Whether the release before can go on with it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Verdict {
    /// It can.
    Open,
    /// The schema alone does not tell.
    Look,
    /// It cannot.
    Closed,
}

/// One difference, judged.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Change {
    /// In which database.
    pub database: String,
    /// In which table; empty for a whole database.
    pub table: String,
    /// What it is.
    pub thing: Thing,
    /// What happened to it.
    pub act: Act,
    /// What it is called; empty for a table or database.
    pub name: String,
    /// How it is; for a changed one how it was, `->`, how it is.
    pub how: String,
    /// Whether the release before can go on with it.
    pub verdict: Verdict,
    /// Why, in a few words.
    pub reason: String,
}

impl Verdict {
    /// Returns the word.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Open => "open",
            Self::Look => "look",
            Self::Closed => "closed",
        }
    }

    /// Returns the worst of all; of none, [`Verdict::Open`].
    pub fn of<'a>(changes: impl IntoIterator<Item = &'a Change>) -> Self {
        changes.into_iter().map(|change| change.verdict).max().unwrap_or(Self::Open)
    }
}

impl fmt::Display for Thing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Database => "database",
            Self::Table => "table",
            Self::View => "view",
            Self::Column => "column",
            Self::Index => "index",
            Self::Key => "unique key",
            Self::ForeignKey => "foreign key",
            Self::Check => "condition",
            Self::Trigger => "trigger",
        })
    }
}

impl Act {
    /// Returns `+`, `~` or `-`.
    pub fn sign(self) -> char {
        match self {
            Self::Added => '+',
            Self::Changed => '~',
            Self::Dropped => '-',
        }
    }
}

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { database: _, table, thing, act, name, how, verdict: _, reason: _ } = self;
        write!(f, "{} {thing}", act.sign())?;
        for word in [table, name] {
            if !word.is_empty() {
                write!(f, "{}{word}", if std::ptr::eq(word, name) && !table.is_empty() { "." } else { " " })?;
            }
        }
        if how.is_empty() { Ok(()) } else { write!(f, ": {how}") }
    }
}
