//! A document with its tree, asked by path: how positions reach the checks that work on typed values.

use std::sync::Arc;

use super::diagnostic::Diagnostic;
use super::source::{Source, Span};
use super::yaml::Node;

/// A parsed document.
#[derive(Clone, Debug, PartialEq)]
pub struct Doc {
    /// Its text.
    pub source: Arc<Source>,
    /// Its tree.
    pub root: Node,
}

impl Doc {
    /// Returns the node at a path of keys and list indices, where there is one.
    pub fn node(&self, path: &[&str]) -> Option<&Node> {
        path.iter().try_fold(&self.root, |node, step| match node.get(step) {
            Some(inner) => Some(inner),
            None => step.parse::<usize>().ok().and_then(|index| node.items().get(index)),
        })
    }

    /// Returns the keys of the mapping at a path, in the order of the text.
    pub fn keys<'a>(&'a self, path: &[&str]) -> impl Iterator<Item = &'a str> + use<'a> {
        self.node(path).map(Node::entries).unwrap_or_default().iter().map(|(key, _)| key.text.as_str())
    }

    /// Returns the place of the value at a path; of the nearest enclosing value, where it is not written out.
    pub fn value(&self, path: &[&str]) -> Span {
        match (self.node(path), path.split_last()) {
            (Some(node), _) => node.span,
            (None, Some((_, outer))) => self.value(outer),
            (None, None) => Span::START,
        }
    }

    /// Returns the place of the last key of a path; of the nearest enclosing key, where it is not written out.
    pub fn key(&self, path: &[&str]) -> Span {
        let Some((last, outer)) = path.split_last() else {
            return Span::START;
        };
        match self.node(outer).and_then(|node| node.entry(last)) {
            Some((key, _)) => key.span,
            None if self.node(path).is_some() => self.value(path),
            None => self.key(outer),
        }
    }

    /// Returns a mistake in the value at a path.
    pub fn wrong_value(&self, code: &'static str, path: &[&str], message: impl Into<String>) -> Diagnostic {
        Diagnostic::new(code, &self.source, self.value(path), message)
    }

    /// Returns a mistake in the last key of a path.
    pub fn wrong_key(&self, code: &'static str, path: &[&str], message: impl Into<String>) -> Diagnostic {
        Diagnostic::new(code, &self.source, self.key(path), message)
    }

    /// Returns `file:line` of the last key of a path.
    pub fn where_key(&self, path: &[&str]) -> String {
        format!("{}:{}", self.source.name, self.key(path).line)
    }
}
