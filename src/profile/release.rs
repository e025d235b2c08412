//! Another release in the text of a profile: nothing else of the text changes.

use super::source::Source;
use super::yaml;

/// Returns the text with this release; the text as it is where it is not YAML or says the same: what is wrong with it is told
/// when it is loaded.
pub fn with_release(text: &str, release: &str) -> String {
    let source = Source::new("profile", text);
    let Some(root) = yaml::parse(&source, &mut Vec::new()) else { return text.to_owned() };
    let quoted = format!("\"{release}\"");
    let Some((_, node)) = root.entry("release") else {
        return format!("release: {quoted}\n{text}");
    };
    if node.text() == Some(release) {
        return text.to_owned();
    }
    let mut lines: Vec<String> = text.split_inclusive('\n').map(str::to_owned).collect();
    let Some(line) = node.span.line.checked_sub(1).and_then(|index| lines.get_mut(index)) else {
        return text.to_owned();
    };
    let before: String = line.chars().take(node.span.column.saturating_sub(1)).collect();
    let value: String = line.chars().skip(node.span.column.saturating_sub(1)).collect();
    let end = match value.chars().next() {
        Some(quote @ ('"' | '\'')) => {
            value.char_indices().skip(1).find(|(_, c)| *c == quote).map(|(at, _)| at + 1)
        }
        Some(_) | None => value.find(|c: char| c.is_whitespace() || matches!(c, ',' | '}' | '#')),
    };
    let rest = value.get(end.unwrap_or(value.len())..).unwrap_or_default();
    *line = format!("{before}{quoted}{rest}");
    lines.concat()
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
}
