//! Texts with positions: where a mistake is shown.

use std::sync::Arc;

/// One document: its name as people know it, and its text.
#[derive(Debug, PartialEq, Eq)]
pub struct Source {
    /// Path, relative or absolute, or `(built in) templates/...`.
    pub name: String,
    /// The text.
    pub text: String,
}

impl Source {
    /// Wraps a text.
    pub fn new(name: impl Into<String>, text: impl Into<String>) -> Arc<Self> {
        Arc::new(Self { name: name.into(), text: text.into() })
    }

    /// Returns one line (counted from 1) without its end.
    pub fn line(&self, number: usize) -> &str {
        number
            .checked_sub(1)
            .and_then(|index| self.text.split('\n').nth(index))
            .unwrap_or("")
            .trim_end_matches('\r')
    }

    /// Returns the span of `length` characters at a byte offset.
    pub fn span_at(&self, offset: usize, length: usize) -> Span {
        let before = self.text.get(..offset).unwrap_or(&self.text);
        let line = before.matches('\n').count() + 1;
        let column = before.rsplit('\n').next().unwrap_or("").chars().count() + 1;
        Span { line, column, length }
    }
}

/// A place in a [`Source`]: line and column count from 1, in characters; a span stays on its first line.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Span {
    /// Line.
    pub line: usize,
    /// Column.
    pub column: usize,
    /// Characters marked.
    pub length: usize,
}

impl Span {
    /// The start of a document.
    pub const START: Self = Self { line: 1, column: 1, length: 1 };

    /// Returns a span on one line.
    pub fn new(line: usize, column: usize, length: usize) -> Self {
        Self { line: line.max(1), column: column.max(1), length: length.max(1) }
    }
}
