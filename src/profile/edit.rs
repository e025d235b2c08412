//! Changes of a profile's text that leave everything else in it as it was written.

use std::collections::BTreeMap;

use super::source::{Source, Span};
use super::yaml::{self, Node};
use crate::model::ImageName;

/// What a command says otherwise than the profile, until the profile says it, too.
#[derive(Clone, Debug, Default)]
pub struct Edits {
    /// The release.
    pub release: Option<String>,
    /// References of single images.
    pub pins: BTreeMap<ImageName, String>,
}

impl Edits {
    /// Returns what changes the release alone.
    pub fn release(release: &str) -> Self {
        Self { release: Some(release.to_owned()), pins: BTreeMap::new() }
    }

    /// Returns the text with all of it; none where a place has a shape that is a person's to change (a mapping in braces).
    pub fn apply(&self, text: &str) -> Option<String> {
        let text =
            self.release.as_ref().map_or_else(|| text.to_owned(), |release| with_release(text, release));
        self.pins.iter().try_fold(text, |text, (image, reference)| with_pin(&text, image, reference))
    }
}

/// Returns the text with this release; the text as it is where it is not YAML or says the same: what is wrong with it is told
/// when it is loaded.
fn with_release(text: &str, release: &str) -> String {
    let source = Source::new("profile", text);
    let Some(root) = yaml::parse(&source, &mut Vec::new()) else { return text.to_owned() };
    let quoted = format!("\"{release}\"");
    match root.entry("release") {
        None => format!("release: {quoted}\n{text}"),
        Some((_, node)) if node.text() == Some(release) => text.to_owned(),
        Some((_, node)) => with_scalar(text, node.span, &quoted).unwrap_or_else(|| text.to_owned()),
    }
}

/// Returns the text with this reference of an image, below `images.pins`.
fn with_pin(text: &str, image: &ImageName, reference: &str) -> Option<String> {
    let source = Source::new("profile", text);
    let Some(root) = yaml::parse(&source, &mut Vec::new()) else { return Some(text.to_owned()) };
    let quoted = format!("\"{reference}\"");
    let Some((images, below_images)) = root.entry("images") else {
        let end = if text.is_empty() || text.ends_with('\n') { "" } else { "\n" };
        return Some(format!("{text}{end}images:\n  pins:\n    {image}: {quoted}\n"));
    };
    let Some((pins, below_pins)) = below_images.entry("pins") else {
        let indent = indent_below(text, images.span, below_images)?;
        return with_line(text, images.span, &format!("{indent}pins:\n{indent}  {image}: {quoted}"));
    };
    match below_pins.get(image.as_str()) {
        Some(node) if node.text() == Some(reference) => Some(text.to_owned()),
        Some(node) => with_scalar(text, node.span, &quoted),
        None => {
            let indent = indent_below(text, pins.span, below_pins)?;
            with_line(text, pins.span, &format!("{indent}{image}: {quoted}"))
        }
    }
}

/// Returns the blanks before the entries of a mapping in lines of its own; none where it is in braces.
fn indent_below(text: &str, key: Span, value: &Node) -> Option<String> {
    let column = match value.entries().first() {
        Some((first, _)) if first.span.line > key.line => first.span.column,
        Some(_) => return None,
        None => {
            let line = text.lines().nth(key.line.checked_sub(1)?)?;
            if line.split('#').next().unwrap_or_default().trim_end().ends_with('}') {
                return None;
            }
            key.column + 2
        }
    };
    // A brace on the line of the key, its entries below it.
    let line = text.lines().nth(key.line.checked_sub(1)?)?;
    let after: String = line.chars().skip(key.column.saturating_sub(1)).collect();
    if after.split('#').next().unwrap_or_default().contains('{') {
        return None;
    }
    Some(" ".repeat(column.saturating_sub(1)))
}

/// Returns the text with a line more below that of a key.
fn with_line(text: &str, key: Span, line: &str) -> Option<String> {
    let mut lines: Vec<String> = text.split_inclusive('\n').map(str::to_owned).collect();
    let before = lines.get_mut(key.line.checked_sub(1)?)?;
    if !before.ends_with('\n') {
        before.push('\n');
    }
    lines.insert(key.line, format!("{line}\n"));
    Some(lines.concat())
}

/// Returns the text with another scalar in a place.
fn with_scalar(text: &str, span: Span, quoted: &str) -> Option<String> {
    let mut lines: Vec<String> = text.split_inclusive('\n').map(str::to_owned).collect();
    let line = lines.get_mut(span.line.checked_sub(1)?)?;
    let before: String = line.chars().take(span.column.saturating_sub(1)).collect();
    let value: String = line.chars().skip(span.column.saturating_sub(1)).collect();
    let end = match value.chars().next() {
        Some(quote @ ('"' | '\'')) => {
            value.char_indices().skip(1).find(|(_, c)| *c == quote).map(|(at, _)| at + 1)
        }
        Some(_) | None => value.find(|c: char| c.is_whitespace() || matches!(c, ',' | '}' | '#')),
    };
    let rest = value.get(end.unwrap_or(value.len())..).unwrap_or_default();
    *line = format!("{before}{quoted}{rest}");
    Some(lines.concat())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_release_must_change() {
        let cases = [
            (
                "deployment: a\nrelease: \"2025.1\"  # why\nx: 1\n",
                "deployment: a\nrelease: \"2026.1\"  # why\nx: 1\n",
            ),
            ("release: '2025.1'\n", "release: \"2026.1\"\n"),
            ("release: 2025.1", "release: \"2026.1\""),
            (
                "{deployment: a, release: \"2025.1\", hosts: {}}\n",
                "{deployment: a, release: \"2026.1\", hosts: {}}\n",
            ),
            ("\"release\":   \"2025.1\"\n", "\"release\":   \"2026.1\"\n"),
            ("deployment: ä\n", "release: \"2026.1\"\ndeployment: ä\n"),
        ];
        for (before, after) in cases {
            assert_eq!(with_release(before, "2026.1"), after);
            assert_eq!(with_release(after, "2026.1"), after);
        }
        assert_eq!(with_release("a: [", "2026.1"), "a: [");
    }

    #[test]
    fn a_pin_must_be_put_where_pins_are() {
        let image = ImageName::new("keystone").unwrap();
        let pin = |text: &str| with_pin(text, &image, "m/keystone:p1");
        let cases = [
            ("a: 1", "a: 1\nimages:\n  pins:\n    keystone: \"m/keystone:p1\"\n"),
            (
                "images:\n    namespace: x # n\na: 1\n",
                "images:\n    pins:\n      keystone: \"m/keystone:p1\"\n    namespace: x # n\na: 1\n",
            ),
            (
                "images:\n  pins:\n    # ours\n    nova: a/b:c\n",
                "images:\n  pins:\n    keystone: \"m/keystone:p1\"\n    # ours\n    nova: a/b:c\n",
            ),
            (
                "images:\n  pins:\n    keystone: m/keystone:2026.1  # why\n",
                "images:\n  pins:\n    keystone: \"m/keystone:p1\"  # why\n",
            ),
            (
                "images:\n  pins: {keystone: 'x:y', nova: z}\n",
                "images:\n  pins: {keystone: \"m/keystone:p1\", nova: z}\n",
            ),
            ("images:\na: 1\n", "images:\n  pins:\n    keystone: \"m/keystone:p1\"\na: 1\n"),
        ];
        for (before, after) in cases {
            assert_eq!(pin(before).as_deref(), Some(after));
            assert_eq!(pin(after).as_deref(), Some(after));
        }
        for braces in [
            "images: {namespace: x}\n",
            "images: {}\n",
            "images:\n  pins: {nova: z}\n",
            "images: {\n  namespace: x}\n",
        ] {
            assert_eq!(pin(braces), None, "{braces}");
        }
    }
}
