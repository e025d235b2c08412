//! YAML text into a tree that remembers where everything stands.
//!
//! Plain scalars are read by YAML 1.2's core schema: `yes` and `on` are text. Recursion, size and aliases are bounded, so
//! that no document can exhaust the stack or the memory.

use std::collections::BTreeMap;
use std::sync::Arc;

use saphyr_parser::{Event, Parser, ScalarStyle, Tag};

use super::diagnostic::Diagnostic;
use super::source::{Source, Span};

/// Deepest nesting of mappings and lists.
const MAX_DEPTH: usize = 32;
/// Most nodes, aliases followed.
const MAX_NODES: usize = 50_000;

/// One value with its place.
#[derive(Clone, Debug, PartialEq)]
pub struct Node {
    /// What.
    pub value: Value,
    /// Where.
    pub span: Span,
}

/// What a node holds.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    /// Nothing.
    Null,
    /// `true` or `false`.
    Bool(bool),
    /// Whole number, with its text.
    Int(i64, String),
    /// Number, with its text.
    Float(f64, String),
    /// Text.
    String(String),
    /// List.
    List(Vec<Node>),
    /// Mapping, in the order of the text; no key twice.
    Map(Vec<(Key, Node)>),
}

/// A key of a mapping with its place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Key {
    /// Text.
    pub text: String,
    /// Where.
    pub span: Span,
}

impl Node {
    /// Returns the entry of a mapping.
    pub fn entry(&self, key: &str) -> Option<(&Key, &Node)> {
        self.entries().iter().find(|(k, _)| k.text == key).map(|(k, v)| (k, v))
    }

    /// Returns the value of a key of a mapping.
    pub fn get(&self, key: &str) -> Option<&Node> {
        self.entry(key).map(|(_, node)| node)
    }

    /// Returns the entries of a mapping; none for anything else.
    pub fn entries(&self) -> &[(Key, Node)] {
        match &self.value {
            Value::Map(entries) => entries,
            Value::Null
            | Value::Bool(_)
            | Value::Int(..)
            | Value::Float(..)
            | Value::String(_)
            | Value::List(_) => &[],
        }
    }

    /// Returns the items of a list; none for anything else.
    pub fn items(&self) -> &[Node] {
        match &self.value {
            Value::List(items) => items,
            Value::Null
            | Value::Bool(_)
            | Value::Int(..)
            | Value::Float(..)
            | Value::String(_)
            | Value::Map(_) => &[],
        }
    }

    /// Returns the text of a string.
    pub fn text(&self) -> Option<&str> {
        match &self.value {
            Value::String(text) => Some(text),
            Value::Null
            | Value::Bool(_)
            | Value::Int(..)
            | Value::Float(..)
            | Value::List(_)
            | Value::Map(_) => None,
        }
    }
}

/// Parses one document. Mistakes go to `out`; a tree comes back only where there is one.
pub fn parse(source: &Arc<Source>, out: &mut Vec<Diagnostic>) -> Option<Node> {
    let text = source.text.strip_prefix('\u{feff}').unwrap_or(&source.text);
    if characters(source, text, out) {
        return None;
    }
    let mut builder = Builder {
        source,
        out,
        stack: Vec::new(),
        root: None,
        anchors: BTreeMap::new(),
        nodes: 0,
        documents: 0,
    };
    for event in Parser::new_from_str(text) {
        match event {
            Ok((event, span)) => {
                let place = place(&span.start, &span.end);
                if builder.event(event, place).is_err() {
                    return None;
                }
            }
            Err(error) => {
                let marker = error.marker();
                let span = Span::new(marker.line(), marker.col() + 1, 1);
                syntax(source, text, span, error.info(), out);
                return None;
            }
        }
    }
    let root = builder.root;
    if root.is_none() {
        out.push(Diagnostic::new("empty-document", source, Span::START, "the file is empty"));
    }
    root
}

fn place(start: &saphyr_parser::Marker, end: &saphyr_parser::Marker) -> Span {
    let length = if start.line() == end.line() { end.col().saturating_sub(start.col()) } else { 1 };
    Span::new(start.line(), start.col() + 1, length)
}

/// Finds characters that YAML forbids; returns whether any was found.
fn characters(source: &Source, text: &str, out: &mut Vec<Diagnostic>) -> bool {
    let before = out.len();
    for (number, line) in text.split('\n').enumerate() {
        let line = line.strip_suffix('\r').unwrap_or(line);
        if let Some((column, c)) = line.chars().enumerate().find(|(_, c)| {
            (c.is_control() && *c != '\t') || matches!(c, '\u{2028}' | '\u{2029}' | '\u{fffe}' | '\u{ffff}')
        }) {
            // YAML 1.1 ends a line at these, 1.2 does not: what stands behind one would be a comment for us and a key for others.
            let said = match c {
                '\u{85}' | '\u{2028}' | '\u{2029}' => {
                    format!("the invisible U+{:04X} ends a line for some YAML parsers only", u32::from(c))
                }
                _ => format!("the control character U+{:04X} is not allowed in YAML", u32::from(c)),
            };
            out.push(
                Diagnostic::new("control-character", source, Span::new(number + 1, column + 1, 1), said)
                    .help("remove it; inside double quotes it can be written as an escape such as \\x1b"),
            );
        }
    }
    out.len() > before
}

/// Reports a syntax error; the most common cause, tabs, is named for each line that has one.
fn syntax(source: &Source, text: &str, span: Span, info: &str, out: &mut Vec<Diagnostic>) {
    let before = out.len();
    for (number, line) in text.split('\n').enumerate() {
        let indent: &str = &line[..line.len() - line.trim_start_matches([' ', '\t']).len()];
        if let Some(column) = indent.find('\t').filter(|_| !line.trim().is_empty()) {
            out.push(
                Diagnostic::new(
                    "tab",
                    source,
                    Span::new(number + 1, column + 1, 1),
                    "a tab in the indentation: YAML allows only spaces there",
                )
                .help("replace it with spaces"),
            );
        }
    }
    if out.len() > before {
        return;
    }
    let help = match info {
        info if info.contains("mapping values are not allowed") => {
            "check the indentation, and quote text that has `: ` in it"
        }
        info if info.contains("indent") => {
            "keys of one mapping begin in the same column; what belongs to a key stands further right"
        }
        info if info.contains("quoted") || info.contains("end of stream") => {
            "look for a quote or bracket that is never closed, here or above"
        }
        info if info.contains("flow") || info.contains("','") => {
            "look for a missing comma, or a bracket that is never closed, here or above"
        }
        info if info.contains("simple key") || info.contains("':'") => {
            "a key needs a colon and a space after it"
        }
        _ => "check the indentation, colons, quotes and brackets, here and in the line above",
    };
    out.push(Diagnostic::new("syntax", source, span, format!("not YAML: {info}")).help(help));
}

/// What is being built: a list, or a mapping with the key that waits for its value.
enum Open {
    List(Vec<Node>, Span, usize),
    Map(Vec<(Key, Node)>, Option<Key>, Span, usize),
}

struct Builder<'a> {
    source: &'a Source,
    out: &'a mut Vec<Diagnostic>,
    stack: Vec<Open>,
    root: Option<Node>,
    anchors: BTreeMap<usize, Node>,
    nodes: usize,
    documents: usize,
}

/// The document cannot be read any further; why was reported.
struct Stop;

impl Builder<'_> {
    fn fail(&mut self, code: &'static str, span: Span, message: &str, help: &str) -> Stop {
        self.out.push(Diagnostic::new(code, self.source, span, message).help(help));
        Stop
    }

    fn event(&mut self, event: Event<'_>, span: Span) -> Result<(), Stop> {
        match event {
            Event::Nothing | Event::StreamStart | Event::StreamEnd | Event::DocumentEnd => Ok(()),
            Event::DocumentStart(_) => {
                self.documents += 1;
                if self.documents > 1 {
                    return Err(self.fail(
                        "second-document",
                        span,
                        "a second document begins here",
                        "remove the `---`: one file holds one document",
                    ));
                }
                Ok(())
            }
            Event::Alias(anchor) => match self.anchors.get(&anchor).cloned() {
                Some(mut node) => {
                    node.span = span;
                    self.count(size(&node), span)?;
                    self.value(node, 0)
                }
                None => Err(self.fail(
                    "unknown-alias",
                    span,
                    "the alias refers to no complete value above it",
                    "write the value out",
                )),
            },
            Event::Scalar(text, style, anchor, tag) => {
                self.count(1, span)?;
                let plain = style == ScalarStyle::Plain;
                let value = self.scalar(&text, plain, tag.as_deref(), span)?;
                self.value(Node { value, span }, anchor)
            }
            Event::SequenceStart(anchor, tag) => {
                self.collection_tag(tag.as_deref(), "seq", span)?;
                self.open(Open::List(Vec::new(), span, anchor), span)
            }
            Event::MappingStart(anchor, tag) => {
                self.collection_tag(tag.as_deref(), "map", span)?;
                self.open(Open::Map(Vec::new(), None, span, anchor), span)
            }
            Event::SequenceEnd | Event::MappingEnd => match self.stack.pop() {
                Some(Open::List(items, span, anchor)) => {
                    self.value(Node { value: Value::List(items), span }, anchor)
                }
                Some(Open::Map(entries, _, span, anchor)) => {
                    let entries = self.merge(entries)?;
                    self.value(Node { value: Value::Map(entries), span }, anchor)
                }
                None => Ok(()),
            },
        }
    }

    /// Takes over the entries of the mappings under the key `<<`, where this mapping (or an earlier one of them) has none of its own.
    ///
    /// Source: the merge key of YAML 1.1 (yaml.org/type/merge.html), which 1.2 dropped and everybody kept.
    fn merge(&mut self, mut entries: Vec<(Key, Node)>) -> Result<Vec<(Key, Node)>, Stop> {
        let Some(at) = entries.iter().position(|(key, _)| key.text == "<<") else { return Ok(entries) };
        let (key, merged) = entries.remove(at);
        let maps = match merged.value {
            Value::List(items) => items,
            _ => vec![merged],
        };
        for map in maps {
            let Value::Map(more) = map.value else {
                return Err(self.fail(
                    "merge",
                    key.span,
                    "`<<` takes over the keys of another mapping, and this is none",
                    "write `<<: *NAME`, where `&NAME` stands at a mapping above",
                ));
            };
            for (key, node) in more {
                if !entries.iter().any(|(own, _)| own.text == key.text) {
                    entries.push((key, node));
                }
            }
        }
        Ok(entries)
    }

    fn count(&mut self, nodes: usize, span: Span) -> Result<(), Stop> {
        self.nodes = self.nodes.saturating_add(nodes);
        if self.nodes > MAX_NODES {
            return Err(self.fail(
                "too-large",
                span,
                &format!("the document has more than {MAX_NODES} values, aliases followed"),
                "no profile needs that many: look for aliases of aliases",
            ));
        }
        Ok(())
    }

    fn open(&mut self, open: Open, span: Span) -> Result<(), Stop> {
        self.count(1, span)?;
        if self.stack.len() >= MAX_DEPTH {
            return Err(self.fail(
                "too-deep",
                span,
                &format!("nested more than {MAX_DEPTH} deep"),
                "look for brackets that are never closed",
            ));
        }
        self.stack.push(open);
        Ok(())
    }

    fn collection_tag(&mut self, tag: Option<&Tag>, expected: &str, span: Span) -> Result<(), Stop> {
        match tag {
            Some(tag) if !(tag.is_yaml_core_schema() && tag.suffix == expected) => {
                Err(self.fail("tag", span, &format!("unknown tag `{tag}`"), "remove it"))
            }
            Some(_) | None => Ok(()),
        }
    }

    fn scalar(&mut self, text: &str, plain: bool, tag: Option<&Tag>, span: Span) -> Result<Value, Stop> {
        match tag {
            Some(tag) if tag.is_yaml_core_schema() && tag.suffix == "str" => {
                Ok(Value::String(text.to_owned()))
            }
            Some(tag) => Err(self.fail("tag", span, &format!("unknown tag `{tag}`"), "remove it")),
            None if plain => Ok(resolve(text)),
            None => Ok(Value::String(text.to_owned())),
        }
    }

    /// Puts a finished value where it belongs: as a key, a value, an item or the root.
    fn value(&mut self, mut node: Node, anchor: usize) -> Result<(), Stop> {
        if anchor != 0 {
            self.anchors.insert(anchor, node.clone());
        }
        match self.stack.last_mut() {
            None => self.root = Some(node),
            Some(Open::List(items, ..)) => items.push(node),
            Some(Open::Map(entries, waiting, ..)) => {
                if let Some(key) = waiting.take() {
                    // An absent value has no place of its own: its key stands for it.
                    if node.value == Value::Null && node.span.length <= 1 {
                        node.span = key.span;
                    }
                    if let Some((first, _)) = entries.iter().find(|(k, _)| k.text == key.text) {
                        let line = first.span.line;
                        self.out.push(
                            Diagnostic::new(
                                "duplicate-key",
                                self.source,
                                key.span,
                                format!("`{}` is given twice", key.text),
                            )
                            .help(format!("it stands already in line {line}: remove one, or merge them")),
                        );
                    } else {
                        entries.push((key, node));
                    }
                } else {
                    let text = match node.value {
                        Value::String(text) | Value::Int(_, text) | Value::Float(_, text) => text,
                        Value::Bool(value) => value.to_string(),
                        Value::Null => String::new(),
                        Value::List(_) | Value::Map(_) => {
                            return Err(self.fail(
                                "key-type",
                                node.span,
                                "a key must be a word, not a list or a mapping",
                                "quote the key if it is text; templates `{{ ... }}` must be quoted",
                            ));
                        }
                    };
                    *waiting = Some(Key { text, span: node.span });
                }
            }
        }
        Ok(())
    }
}

fn size(node: &Node) -> usize {
    1 + node.items().iter().map(size).sum::<usize>()
        + node.entries().iter().map(|(_, n)| size(n)).sum::<usize>()
}

/// Returns a whole number as bounds are compared.
#[expect(
    clippy::cast_precision_loss,
    reason = "bounds are far below 2^53, where doubles begin to skip whole numbers"
)]
pub fn approximate(number: i64) -> f64 {
    number as f64
}

/// Reads a plain scalar by the core schema.
fn resolve(text: &str) -> Value {
    match text {
        "" | "~" | "null" | "Null" | "NULL" => return Value::Null,
        "true" | "True" | "TRUE" => return Value::Bool(true),
        "false" | "False" | "FALSE" => return Value::Bool(false),
        _ => {}
    }
    let radix = |prefix: &str, radix| {
        text.strip_prefix(prefix)
            .filter(|d| !d.starts_with(['+', '-']))
            .and_then(|d| i64::from_str_radix(d, radix).ok())
    };
    let digits = text.strip_prefix(['+', '-']).unwrap_or(text);
    if let Some(number) = radix("0o", 8).or_else(|| radix("0x", 16)) {
        return Value::Int(number, text.to_owned());
    }
    if !digits.is_empty()
        && digits.bytes().all(|b| b.is_ascii_digit())
        && let Ok(number) = text.parse()
    {
        return Value::Int(number, text.to_owned());
    }
    let numeric = digits.starts_with(|c: char| c.is_ascii_digit() || c == '.')
        && digits.bytes().any(|b| b.is_ascii_digit())
        && digits.bytes().all(|b| b.is_ascii_digit() || matches!(b, b'.' | b'e' | b'E' | b'+' | b'-'));
    match text.parse::<f64>() {
        Ok(number) if numeric && number.is_finite() => Value::Float(number, text.to_owned()),
        Ok(_) | Err(_) => Value::String(text.to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> (Option<Node>, Vec<String>) {
        let mut out = Vec::new();
        let node = parse(&Source::new("t.yaml", text), &mut out);
        (node, out.iter().map(|d| format!("{}:{} {} {}", d.line, d.column, d.code, d.message)).collect())
    }

    #[test]
    fn values_must_be_read_by_the_core_schema_and_keep_their_place() {
        let (node, errors) = read("a: 1\nb: yes\nc: \"2\"\nd: [2026.1, null, true, 0o17]\ne:\n5000: x\n");
        assert_eq!(errors, [""; 0]);
        let node = node.unwrap();
        assert_eq!(node.get("a").unwrap().value, Value::Int(1, "1".into()));
        assert_eq!(node.get("b").unwrap().text(), Some("yes"));
        assert_eq!(node.get("c").unwrap().text(), Some("2"));
        assert_eq!(node.get("c").unwrap().span, Span::new(3, 4, 3));
        let list = node.get("d").unwrap().items();
        assert_eq!(list[0].value, Value::Float(2026.1, "2026.1".into()));
        assert_eq!(list[3].value, Value::Int(15, "0o17".into()));
        assert_eq!(node.get("e").unwrap().span, Span::new(5, 1, 1));
        assert!(node.get("5000").is_some());
    }

    #[test]
    fn every_duplicate_key_must_be_reported() {
        let (_, errors) = read("a: 1\nb: {x: 1, x: 2}\na: 3\n");
        assert_eq!(errors, ["2:11 duplicate-key `x` is given twice", "3:1 duplicate-key `a` is given twice"]);
    }

    #[test]
    fn tabs_and_control_characters_must_be_named() {
        let (_, errors) = read("a:\n\tb: 1\n\tc: 2\n");
        assert_eq!(errors.len(), 2, "{errors:?}");
        let (_, errors) = read("a: \u{1}\nb: \u{7}\n");
        assert_eq!(errors.len(), 2, "{errors:?}");
        let (_, errors) = read("a: 1 # \u{2028}b: 2\nc: \u{85}\n");
        assert_eq!(errors.len(), 2, "{errors:?}");
    }

    #[test]
    fn merge_keys_must_take_over_what_is_not_given() {
        let (node, errors) = read("a: &x {k: 1, l: 2}\nb: {<<: *x, l: 3}\nc:\n  <<: [{l: 4}, *x]\n  m: 5\n");
        assert_eq!(errors, [""; 0]);
        let node = node.unwrap();
        let value = |a: &str, b: &str| node.get(a).unwrap().get(b).map(|n| n.value.clone());
        assert_eq!(value("b", "k"), Some(Value::Int(1, "1".to_owned())));
        assert_eq!(value("b", "l"), Some(Value::Int(3, "3".to_owned())));
        assert_eq!(value("c", "l"), Some(Value::Int(4, "4".to_owned())), "the first of several wins");
        assert_eq!(value("c", "<<"), None);
        let place = node.get("b").unwrap().entry("k").unwrap().0.span;
        assert_eq!(place.line, 1, "a mistake is shown where it stands");
        let (node, errors) = read("a: {<<: 3}\n");
        assert!(node.is_none() && errors.len() == 1 && errors[0].contains("merge"), "{errors:?}");
    }

    #[test]
    fn aliases_must_work_and_must_not_explode() {
        let (node, errors) = read("a: &x {k: 1}\nb: *x\n");
        assert_eq!(errors, [""; 0]);
        assert!(node.unwrap().get("b").unwrap().get("k").is_some());
        let mut bomb = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n".to_owned();
        for i in 1..12 {
            let aliases = vec![format!("*a{}", i - 1); 10].join(", ");
            bomb.extend([format!("a{i}: &a{i} [{aliases}]\n")]);
        }
        let (node, errors) = read(&bomb);
        assert!(node.is_none());
        assert!(errors[0].contains("too-large"), "{errors:?}");
        let (node, errors) = read(&"[".repeat(100_000));
        assert!(node.is_none() && errors.len() == 1, "{errors:?}");
    }
}
