//! Reads a Dockerfile as far as the image graph needs it: which images it stands on, which arguments and files it takes.
//!
//! BuildKit remains the judge of everything else; nothing here runs or checks an instruction.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

/// Where a Dockerfile names an image.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reference {
    /// The name as written, after variables.
    pub name: String,
    /// Line, from 1.
    pub line: usize,
    /// Bytes of the name in the text, to be replaced.
    pub span: Range<usize>,
}

/// A Dockerfile, as far as we care.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Dockerfile {
    /// Images it takes from outside of itself: never its own stages, never `scratch`.
    pub references: Vec<Reference>,
    /// Arguments it declares, in any stage.
    pub args: BTreeSet<String>,
    /// Sources of its `COPY` and `ADD` from the context, and of bind mounts, without leading `./` or `/`, with the
    /// line of their first use.
    pub sources: BTreeMap<String, usize>,
    /// Those of `COPY` and `ADD` only.
    pub copied: BTreeSet<String>,
    /// Whether there is any `FROM`.
    pub has_stage: bool,
}

/// One word with its place.
#[derive(Clone, Debug)]
struct Word<'a> {
    text: &'a str,
    line: usize,
    at: usize,
}

/// What has been learnt while reading.
#[derive(Debug, Default)]
struct State {
    file: Dockerfile,
    /// Names of earlier stages, lower case; stages without a name are counted, too.
    stages: Vec<Option<String>>,
    /// Arguments before the first `FROM`, with their defaults.
    defaults: Vec<(String, String)>,
}

/// Parses a Dockerfile. `given` are the values that arguments will have.
pub fn parse(text: &str, given: &[(&str, &str)]) -> Dockerfile {
    let mut state = State::default();
    for words in instructions(text) {
        state.instruction(&words, given);
    }
    state.file
}

/// Returns `text` with the named image of each reference replaced; references `replace` knows nothing of stay.
pub fn rewrite(text: &str, file: &Dockerfile, replace: impl Fn(&str) -> Option<String>) -> String {
    let mut result = String::with_capacity(text.len());
    let mut at = 0;
    let mut references: Vec<_> = file.references.iter().collect();
    references.sort_by_key(|reference| reference.span.start);
    for Reference { name, line: _, span } in references {
        if let Some(new) = replace(name) {
            result.push_str(&text[at..span.start]);
            result.push_str(&new);
            at = span.end;
        }
    }
    result.push_str(&text[at..]);
    result
}

/// Splits the text into instructions, each a list of words. Comments, continuations and here-documents are resolved.
fn instructions(text: &str) -> Vec<Vec<Word<'_>>> {
    let escape = escape_character(text);
    let mut result = Vec::new();
    let mut words: Vec<Word<'_>> = Vec::new();
    let mut here_documents: Vec<(String, bool)> = Vec::new();
    let mut at = 0;
    for (index, full) in text.split_inclusive('\n').enumerate() {
        let start = at;
        at += full.len();
        let line = full.trim_end();
        if let Some((end, strip_tabs)) = here_documents.first() {
            let candidate = if *strip_tabs { line.trim_start_matches('\t') } else { line };
            if candidate == end {
                here_documents.remove(0);
            }
            continue;
        }
        // Comment lines and empty lines do not end a continued instruction.
        if line.trim_start().starts_with('#') || line.trim().is_empty() {
            continue;
        }
        let (body, continued) = match line.strip_suffix(escape) {
            Some(body) => (body, true),
            None => (line, false),
        };
        words.extend(split(body).map(|(offset, text)| Word { text, line: index + 1, at: start + offset }));
        if !continued {
            here_documents = here_documents_of(&words);
            result.push(std::mem::take(&mut words));
        }
    }
    if !words.is_empty() {
        result.push(words);
    }
    result
}

/// Returns the escape character: a backslash, unless a directive at the very top says otherwise.
fn escape_character(text: &str) -> char {
    text.lines()
        .map(str::trim)
        .take_while(|line| line.starts_with('#'))
        .filter_map(|line| line.trim_start_matches('#').trim().split_once('='))
        .find(|(key, _)| key.trim().eq_ignore_ascii_case("escape"))
        .and_then(|(_, value)| value.trim().chars().next())
        .unwrap_or('\\')
}

/// Splits a line at white space, with byte offsets. Quotes keep their text together.
fn split(line: &str) -> impl Iterator<Item = (usize, &str)> {
    let mut words = Vec::new();
    let mut start = None;
    let mut quote = None;
    for (at, c) in line.char_indices() {
        match (quote, c) {
            (Some(open), c) if c == open => quote = None,
            (Some(_), _) => {}
            (None, '"' | '\'') => {
                quote = Some(c);
                start.get_or_insert(at);
            }
            (None, c) if c.is_whitespace() => {
                if let Some(from) = start.take() {
                    words.push((from, &line[from..at]));
                }
            }
            (None, _) => {
                start.get_or_insert(at);
            }
        }
    }
    if let Some(from) = start {
        words.push((from, &line[from..]));
    }
    words.into_iter()
}

/// Returns the here-documents an instruction opens: their end words, and whether leading tabs are dropped.
fn here_documents_of(words: &[Word<'_>]) -> Vec<(String, bool)> {
    let takes = words.first().is_some_and(|word| {
        ["RUN", "COPY", "ADD"].iter().any(|instruction| word.text.eq_ignore_ascii_case(instruction))
    });
    if !takes {
        return Vec::new();
    }
    words
        .iter()
        .filter_map(|word| {
            let rest = word.text.trim_start_matches(|c: char| c.is_ascii_digit()).strip_prefix("<<")?;
            let (rest, strip) = rest.strip_prefix('-').map_or((rest, false), |rest| (rest, true));
            let end = rest.trim_matches(['"', '\'']);
            let is_word = !end.is_empty() && end.chars().all(|c| c.is_alphanumeric() || c == '_' || c == '.');
            is_word.then(|| (end.to_owned(), strip))
        })
        .collect()
}

impl State {
    fn instruction(&mut self, words: &[Word<'_>], given: &[(&str, &str)]) {
        let Some((first, rest)) = words.split_first() else { return };
        match first.text.to_ascii_uppercase().as_str() {
            "FROM" => self.from(rest, given),
            "ARG" => self.arg(rest),
            "COPY" | "ADD" => self.copy(rest),
            "RUN" => self.run(rest),
            // The others name neither images nor files of the context.
            _ => {}
        }
    }

    fn from(&mut self, words: &[Word<'_>], given: &[(&str, &str)]) {
        self.file.has_stage = true;
        let mut words = words.iter().filter(|word| !word.text.starts_with("--"));
        let image = words.next();
        let alias = match (words.next(), words.next()) {
            (Some(keyword), Some(name)) if keyword.text.eq_ignore_ascii_case("as") => {
                Some(name.text.to_lowercase())
            }
            (_, _) => None,
        };
        if let Some(image) = image {
            self.reference(image.text, image.line, image.at, given);
        }
        self.stages.push(alias);
    }

    fn arg(&mut self, words: &[Word<'_>]) {
        for word in words {
            let (name, default) = word.text.split_once('=').unwrap_or((word.text, ""));
            self.file.args.insert(name.to_owned());
            if self.stages.is_empty() {
                self.defaults.push((name.to_owned(), default.trim_matches(['"', '\'']).to_owned()));
            }
        }
    }

    fn copy(&mut self, words: &[Word<'_>]) {
        let (flags, operands): (Vec<_>, Vec<_>) = words.iter().partition(|word| word.text.starts_with("--"));
        let from = flags.iter().find_map(|word| Some((word, word.text.strip_prefix("--from=")?)));
        match from {
            Some((word, name)) => self.reference(name, word.line, word.at + "--from=".len(), &[]),
            None => {
                // The last operand is the destination.
                for word in operands.iter().take(operands.len().saturating_sub(1)) {
                    if let Some(path) = self.source(word.text, word.line) {
                        self.file.copied.insert(path);
                    }
                }
            }
        }
    }

    fn run(&mut self, words: &[Word<'_>]) {
        for word in words.iter().take_while(|word| word.text.starts_with("--")) {
            let Some(mount) = word.text.strip_prefix("--mount=") else { continue };
            let mut at = word.at + "--mount=".len();
            let (mut from, mut source, mut kind) = (None, None, "bind");
            for field in mount.split(',') {
                match field.split_once('=') {
                    Some(("from", name)) => from = Some((name, at + "from=".len())),
                    Some(("source" | "src", path)) => source = Some(path),
                    Some(("type", value)) => kind = value,
                    Some(_) | None => {}
                }
                at += field.len() + 1;
            }
            match (from, source) {
                (Some((name, at)), _) => self.reference(name, word.line, at, &[]),
                (None, source) if kind == "bind" => {
                    self.source(source.unwrap_or("."), word.line);
                }
                (None, _) => {}
            }
        }
    }

    /// Notes a path of the context; a here-document and a URL are none.
    fn source(&mut self, path: &str, line: usize) -> Option<String> {
        let path = path.trim_matches(['"', '\'', '[', ',']);
        if path.starts_with("<<") || path.contains("://") {
            return None;
        }
        let path = path.trim_start_matches("./").trim_start_matches('/').trim_end_matches('/');
        let path = if path.is_empty() { "." } else { path }.to_owned();
        self.file.sources.entry(path.clone()).or_insert(line);
        Some(path)
    }

    /// Notes a named image, unless it is a stage of this file or no image at all.
    fn reference(&mut self, written: &str, line: usize, at: usize, given: &[(&str, &str)]) {
        let is_stage = |stage: &Option<String>| stage.as_deref() == Some(written.to_lowercase().as_str());
        let is_number = written.parse::<usize>().is_ok_and(|number| number < self.stages.len());
        if written == "scratch" || is_number || self.stages.iter().any(is_stage) {
            return;
        }
        let name = self.substitute(written, given);
        self.file.references.push(Reference { name, line, span: at..at + written.len() });
    }

    /// Replaces `$NAME` and `${NAME}`, `${NAME:-default}` by given values or defaults.
    fn substitute(&self, written: &str, given: &[(&str, &str)]) -> String {
        let mut result = String::new();
        let mut rest = written;
        while let Some((before, after)) = rest.split_once('$') {
            result.push_str(before);
            let (name, fallback, tail) = match after.strip_prefix('{').and_then(|inner| inner.split_once('}'))
            {
                Some((inner, tail)) => {
                    let (name, fallback) = inner.split_once(":-").unwrap_or((inner, ""));
                    (name, fallback, tail)
                }
                None => {
                    let end =
                        after.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(after.len());
                    (&after[..end], "", &after[end..])
                }
            };
            let default =
                self.defaults.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str());
            let value = given
                .iter()
                .find(|(known, _)| *known == name && default.is_some())
                .map(|(_, value)| *value)
                .or(default.filter(|value| !value.is_empty()))
                .unwrap_or(fallback);
            result.push_str(value);
            rest = tail;
        }
        result.push_str(rest);
        result
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(text: &str) -> Vec<(String, usize)> {
        parse(text, &[("SUITE", "trixie")]).references.into_iter().map(|r| (r.name, r.line)).collect()
    }

    #[test]
    fn images_must_be_found_in_from_copy_and_mounts_but_stages_and_scratch_must_not() {
        let text = "\
# FROM nothing
ARG SUITE=bookworm
FROM --platform=linux/amd64 python-build AS Build
RUN --mount=type=bind,from=tools,source=/x,target=/y \\
    # a comment inside
    --mount=type=cache,target=/c make
FROM ${SUITE}-base
COPY --from=build /out /opt
COPY --from=0 /out /opt
COPY --chown=1:1 --from=keystone /a /b
FROM scratch
";
        let expected = [("python-build", 3), ("tools", 4), ("trixie-base", 7), ("keystone", 10)];
        assert_eq!(names(text), expected.map(|(name, line)| (name.to_owned(), line)));
    }

    #[test]
    fn a_here_document_must_not_be_read_as_instructions() {
        let text = "FROM base\nRUN <<EOF\nFROM fake\nEOF\nCOPY <<-\"END\" /x\n\tFROM fake2\n\tEND\nCOPY --from=real /a /b\n";
        assert_eq!(names(text), [("base".to_owned(), 1), ("real".to_owned(), 8)]);
    }

    #[test]
    fn a_rewrite_must_change_the_names_and_nothing_else() {
        let text =
            "FROM python-build AS build\nRUN --mount=from=base,target=/b true # FROM base\nFROM base\n";
        let file = parse(text, &[]);
        let new = rewrite(text, &file, |name| (name != "python-build").then(|| format!("mastic/{name}:1")));
        assert_eq!(
            new,
            "FROM python-build AS build\nRUN --mount=from=mastic/base:1,target=/b true # FROM base\nFROM mastic/base:1\n"
        );
    }

    #[test]
    fn sources_and_arguments_must_be_found() {
        let text = "FROM base\nARG RELEASE\nCOPY ./users lib/ /x/\nRUN --mount=type=bind,source=release,target=/run/release \\\n  --mount=type=cache,target=/z true\nCOPY --from=base /not /this\n";
        let file = parse(text, &[]);
        let sources: Vec<_> = file.sources.iter().map(|(path, line)| (path.as_str(), *line)).collect();
        assert_eq!(sources, [("lib", 3), ("release", 4), ("users", 3)]);
        assert_eq!(file.copied.into_iter().collect::<Vec<_>>(), ["lib", "users"]);
        assert_eq!(file.args.into_iter().collect::<Vec<_>>(), ["RELEASE"]);
    }

    #[test]
    fn another_escape_character_must_be_honoured() {
        assert_eq!(names("# escape=`\nFROM `\n base\nRUN a\\\nCOPY --from=x /a /b\n").len(), 2);
    }
}
