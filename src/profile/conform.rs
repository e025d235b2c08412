//! Compares a document with its schema, finds all mistakes at once, and gives back what is left of it.
//!
//! What is wrong is cut out of the value that is given back: an unknown key, a bad item, the nearest enclosing entry that cannot
//! do without the bad part. So that the checks which follow still see everything else, and one run reports all.

use serde_json::{Map, Number, Value as Json};

use super::diagnostic::{Diagnostic, listed};
use super::schema;
use super::source::{Source, Span};
use super::yaml::{Node, Value, approximate};
use crate::model::name;
use crate::model::words::nearest;

/// Checks a whole document. Gives back what is right of it, as far as it makes a document.
pub fn conform(source: &Source, root: &Json, node: &Node, out: &mut Vec<Diagnostic>) -> Option<Json> {
    Checker { source, root, out }.check(node, root, &At { key: None, span: node.span })
}

/// Where a value stands: the key (for people) and its place.
struct At<'a> {
    key: Option<&'a str>,
    span: Span,
}

impl At<'_> {
    fn name(&self) -> String {
        self.key.map_or_else(|| "the document".to_owned(), |key| format!("`{key}`"))
    }
}

struct Checker<'a> {
    source: &'a Source,
    root: &'a Json,
    out: &'a mut Vec<Diagnostic>,
}

impl Checker<'_> {
    fn report(&mut self, code: &'static str, span: Span, message: String) -> &mut Diagnostic {
        self.out.push(Diagnostic::new(code, self.source, span, message));
        let last = self.out.len() - 1;
        &mut self.out[last]
    }

    /// Returns the value as JSON, or nothing where it was reported.
    fn check(&mut self, node: &Node, schema: &Json, at: &At<'_>) -> Option<Json> {
        if node.value == Value::Null && schema::nullable(schema) {
            return Some(Json::Null);
        }
        let schema = schema::target(self.root, schema);
        let words = schema::words(schema);
        if !words.is_empty() {
            return self.word(node, &words, at);
        }
        match schema::kind(schema) {
            Some("object") => self.object(node, schema, at),
            Some("array") => self.array(node, schema, at),
            Some("string") => self.string(node, schema, at),
            Some("boolean") => match node.value {
                Value::Bool(value) => Some(Json::Bool(value)),
                _ => self.wrong_type(node, "`true` or `false`", at),
            },
            Some("integer") => match node.value {
                Value::Int(value, _) => {
                    self.range(approximate(value), node, schema, at).then(|| Json::from(value))
                }
                _ => self.wrong_type(node, "a whole number", at),
            },
            Some("number") => {
                let value = match node.value {
                    Value::Int(value, _) => Some(Number::from(value)),
                    Value::Float(value, _) => Number::from_f64(value),
                    _ => None,
                };
                match value {
                    Some(value) => {
                        let number = value.as_f64().unwrap_or_default();
                        self.range(number, node, schema, at).then_some(Json::Number(value))
                    }
                    None => self.wrong_type(node, "a number", at),
                }
            }
            Some(_) | None => Some(to_json(node)),
        }
    }

    fn object(&mut self, node: &Node, schema: &Json, at: &At<'_>) -> Option<Json> {
        let Value::Map(entries) = &node.value else {
            return self.wrong_type(node, "a mapping (`key: value` lines)", at);
        };
        let empty = Map::new();
        let properties = schema.get("properties").and_then(Json::as_object).unwrap_or(&empty);
        let patterns = schema.get("patternProperties").and_then(Json::as_object).unwrap_or(&empty);
        let others = schema.get("additionalProperties");
        let required: Vec<&str> = schema
            .get("required")
            .and_then(Json::as_array)
            .map(|list| list.iter().filter_map(Json::as_str).collect())
            .unwrap_or_default();
        let mut result = Map::new();
        let mut usable = true;
        // Required keys that stand there under a wrong name: one mistake, not two.
        let mut meant: Vec<&str> = Vec::new();
        for (key, value) in entries {
            let place = At { key: Some(&key.text), span: key.span };
            if let Some(property) = properties.get(&key.text) {
                match self.check(value, property, &place) {
                    Some(json) => drop(result.insert(key.text.clone(), json)),
                    None => usable &= !required.contains(&key.text.as_str()),
                }
            } else if let Some(inner) =
                patterns.values().next().or(others.filter(|o| o.is_object() || **o == Json::Bool(true)))
            {
                let named = self.map_key(schema, &key.text, key.span);
                if let (Some(json), true) = (self.check(value, inner, &place), named) {
                    result.insert(key.text.clone(), json);
                }
            } else {
                let near = nearest(
                    &key.text,
                    properties.keys().map(String::as_str).filter(|k| node.get(k).is_none()),
                )
                .or_else(|| nearest(&key.text, properties.keys().map(String::as_str)));
                meant.extend(near);
                let known = || {
                    Some(format!("the keys known here are {}", listed(properties.keys().map(String::as_str))))
                };
                let place = match at.key {
                    Some(parent) => format!("unknown key `{}` in `{parent}`", key.text),
                    None => format!("unknown key `{}`", key.text),
                };
                let diagnostic =
                    Diagnostic::new("unknown-key", self.source, key.span, place).near(near, known);
                self.out.push(diagnostic);
            }
        }
        for name in required {
            if node.get(name).is_none() {
                usable = false;
                if meant.contains(&name) {
                    continue;
                }
                let help = properties
                    .get(name)
                    .and_then(|p| {
                        p.get("description").or_else(|| schema::target(self.root, p).get("description"))
                    })
                    .and_then(Json::as_str)
                    .map(|text| format!("add `{name}:` - {}", first_sentence(text)));
                self.report("missing-key", at.span, format!("{} has no `{name}`", at.name())).help = help;
            }
        }
        // The document itself is never dropped for a missing part: `load` decides.
        (usable || at.key.is_none()).then_some(Json::Object(result))
    }

    /// Checks the key of a map whose keys are names.
    fn map_key(&mut self, schema: &Json, key: &str, span: Span) -> bool {
        let Some(kind) = schema.get("x-keys").and_then(Json::as_str) else {
            return true;
        };
        match name::check_kind(kind, key) {
            Some(Err(error)) => {
                self.report("bad-name", span, error.to_string());
                false
            }
            Some(Ok(())) | None => true,
        }
    }

    fn array(&mut self, node: &Node, schema: &Json, at: &At<'_>) -> Option<Json> {
        let Value::List(items) = &node.value else {
            return self.wrong_type(node, "a list (`[a, b]`, or lines that begin with `- `)", at);
        };
        let Some(inner) = schema.get("items") else {
            return Some(to_json(node));
        };
        let mut result = Vec::new();
        for item in items {
            let place = At { key: at.key, span: item.span };
            result.extend(self.check(item, inner, &place));
        }
        Some(Json::Array(result))
    }

    fn string(&mut self, node: &Node, schema: &Json, at: &At<'_>) -> Option<Json> {
        let Value::String(text) = &node.value else {
            return self.wrong_type(node, "text", at);
        };
        if let Some(format) = schema.get("x-format").and_then(Json::as_str)
            && let Some((code, message, help)) = format_error(format, text, at)
        {
            self.report(code, node.span, message).help = help;
            return None;
        }
        Some(Json::String(text.clone()))
    }

    fn word(&mut self, node: &Node, words: &[(&str, &str)], at: &At<'_>) -> Option<Json> {
        let Value::String(text) = &node.value else {
            return self.wrong_type(node, &format!("one of {}", listed(words.iter().map(|w| w.0))), at);
        };
        if words.iter().any(|(word, _)| word == text) {
            return Some(Json::String(text.clone()));
        }
        let choice = listed(words.iter().map(|w| w.0));
        let diagnostic = Diagnostic::new(
            "bad-word",
            self.source,
            node.span,
            format!("{} is `{text}`; it must be one of {choice}", at.name()),
        )
        .near(nearest(text, words.iter().map(|w| w.0)), || None);
        self.out.push(diagnostic);
        None
    }

    fn range(&mut self, value: f64, node: &Node, schema: &Json, at: &At<'_>) -> bool {
        let bound = |key: &str| schema.get(key).and_then(Json::as_f64);
        let (low, high) = (bound("minimum"), bound("maximum"));
        if low.is_none_or(|low| value >= low) && high.is_none_or(|high| value <= high) {
            return true;
        }
        let text = match (low, high) {
            (Some(low), Some(high)) => format!("it must be from {low} to {high}"),
            (Some(low), None) => format!("it must be at least {low}"),
            (None, Some(high)) => format!("it must be at most {high}"),
            (None, None) => String::new(),
        };
        self.report("out-of-range", node.span, format!("{} is {value}; {text}", at.name()));
        false
    }

    fn wrong_type(&mut self, node: &Node, expected: &str, at: &At<'_>) -> Option<Json> {
        let name = at.name();
        if node.value == Value::Null {
            self.report("no-value", at.span, format!("{name} has no value; it must be {expected}")).help =
                Some("give it one, or remove the key".to_owned());
            return None;
        }
        let help = match &node.value {
            Value::Int(_, text) | Value::Float(_, text) if expected == "text" => {
                Some(format!("put it in quotes: \"{text}\""))
            }
            Value::Bool(value) if expected == "text" => Some(format!("put it in quotes: \"{value}\"")),
            Value::String(text) if expected.contains("number") && text.parse::<f64>().is_ok() => {
                Some(format!("without quotes: {text}"))
            }
            Value::String(text) if expected.contains("`true`") => match text.to_lowercase().as_str() {
                "yes" | "on" | "true" | "y" => Some("did you mean `true`?".to_owned()),
                "no" | "off" | "false" | "n" => Some("did you mean `false`?".to_owned()),
                _ => None,
            },
            Value::String(text) if expected.starts_with("a list") => Some(format!("write [{text}]")),
            Value::Map(_) if expected == "text" => {
                Some("a value that begins with `{` must be quoted, templates too".to_owned())
            }
            _ => None,
        };
        let found = describe(node);
        self.report("wrong-type", node.span, format!("{name} is {found}; it must be {expected}")).help = help;
        None
    }
}

/// Converts a node to JSON.
pub fn to_json(node: &Node) -> Json {
    match &node.value {
        Value::Null => Json::Null,
        Value::Bool(value) => Json::Bool(*value),
        Value::Int(value, _) => Json::from(*value),
        Value::Float(value, _) => Number::from_f64(*value).map_or(Json::Null, Json::Number),
        Value::String(text) => Json::String(text.clone()),
        Value::List(items) => Json::Array(items.iter().map(to_json).collect()),
        Value::Map(entries) => {
            Json::Object(entries.iter().map(|(key, node)| (key.text.clone(), to_json(node))).collect())
        }
    }
}

/// Returns what a value is, for people.
pub fn describe(node: &Node) -> String {
    match &node.value {
        Value::Null => "nothing".to_owned(),
        Value::Bool(value) => format!("`{value}`"),
        Value::Int(_, text) | Value::Float(_, text) => format!("the number {text}"),
        Value::String(text) => format!("the text {:?}", text.chars().take(40).collect::<String>()),
        Value::List(_) => "a list".to_owned(),
        Value::Map(_) => "a mapping".to_owned(),
    }
}

fn first_sentence(text: &str) -> String {
    let text = text.split("\n\n").next().unwrap_or("").replace('\n', " ");
    match text.find(". ") {
        Some(end) => text[..end].to_owned(),
        None => text.trim_end_matches('.').to_owned(),
    }
}

/// What a format asks of a text: code, message and help where it is not so.
fn format_error(format: &str, text: &str, at: &At<'_>) -> Option<(&'static str, String, Option<String>)> {
    if let Some(result) = name::check_kind(format, text) {
        let error = result.err()?;
        let folded = text.to_lowercase().replace([' ', '_'], "-");
        let help = name::check_kind(format, &folded)
            .is_some_and(|r| r.is_ok())
            .then(|| format!("did you mean `{folded}`?"));
        return Some(("bad-name", error.to_string(), help));
    }
    let name = at.name();
    let bad = |what: &str, help: &str| {
        Some(("bad-format", format!("{name} is {text:?}; it must be {what}"), Some(help.to_owned())))
    };
    match format {
        "absolute path" if !text.starts_with('/') || text.split('/').any(|part| part == "..") => {
            bad("an absolute path", "begin it with `/`, without `..`")
        }
        "engine address" => match text.split_once("://") {
            Some(("unix", path)) if path.starts_with('/') && path.len() > 1 => None,
            Some(("tcp" | "tcp+plain", rest))
                if rest
                    .rsplit_once(':')
                    .is_some_and(|(h, p)| !h.is_empty() && p.parse::<u16>().is_ok_and(|p| p > 0)) =>
            {
                None
            }
            Some(("unix", _)) => bad(
                "the address of a Docker Engine",
                "a unix socket has three slashes: unix:///var/run/docker.sock",
            ),
            Some(("tcp" | "tcp+plain", _)) => {
                bad("the address of a Docker Engine", "tcp needs a port: tcp://192.168.0.10:2376")
            }
            Some(("ssh", _)) => bad(
                "the address of a Docker Engine",
                "ssh is not supported yet: unix:// on the machine itself, or tcp:// with `tls`",
            ),
            Some(_) | None => bad(
                "the address of a Docker Engine",
                "unix:///var/run/docker.sock, or tcp://HOST:2376 with `tls`",
            ),
        },
        "IP address" if text.parse::<std::net::IpAddr>().is_err() => bad(
            "an IP address",
            "four numbers such as 192.168.0.10, or an IPv6 address; names belong in `name`",
        ),
        "uid:gid" => match text.split_once(':') {
            Some((uid, gid)) if uid.parse::<u32>().is_ok() && gid.parse::<u32>().is_ok() => None,
            Some(_) | None => bad("two numbers, `uid:gid`", "for example \"42425:42425\""),
        },
        "mode" => {
            let digits = text.strip_prefix('0').unwrap_or(text);
            if (3..=4).contains(&text.len())
                && !digits.is_empty()
                && digits.bytes().all(|b| (b'0'..=b'7').contains(&b))
            {
                None
            } else {
                bad("octal permission bits", "for example \"0640\"")
            }
        }
        "signal"
            if !(text.starts_with("SIG")
                && text.len() > 3
                && text
                    .bytes()
                    .all(|b| b.is_ascii_uppercase() || b.is_ascii_digit() || b == b'+' || b == b'-')) =>
        {
            bad("the name of a signal", "for example SIGTERM")
        }
        _ => None,
    }
}

/// The formats that [`format_error`] knows besides names; a test compares them with the schemas.
pub const FORMATS: [&str; 6] = ["absolute path", "engine address", "IP address", "uid:gid", "mode", "signal"];

#[cfg(test)]
mod tests {
    use super::*;

    /// Every pattern in a schema, with the format beside it.
    fn patterns(schema: &Json, found: &mut Vec<(String, Option<String>)>) {
        if let Some(Json::String(pattern)) = schema.get("pattern") {
            let format = schema.get("x-format").and_then(Json::as_str).map(str::to_owned);
            found.push((pattern.clone(), format));
        }
        match schema {
            Json::Object(map) => map.values().for_each(|value| patterns(value, found)),
            Json::Array(list) => list.iter().for_each(|value| patterns(value, found)),
            Json::Null | Json::Bool(_) | Json::Number(_) | Json::String(_) => {}
        }
    }

    #[test]
    fn every_pattern_must_have_a_format_that_is_checked() {
        let mut found = Vec::new();
        patterns(schema::profile(), &mut found);
        patterns(schema::service(), &mut found);
        assert!(found.len() > 10, "{found:?}");
        for (pattern, format) in found {
            let format = format.unwrap_or_else(|| panic!("{pattern} has no x-format: nothing checks it"));
            assert!(
                FORMATS.contains(&format.as_str()) || name::check_kind(&format, "a").is_some(),
                "{format}"
            );
        }
    }

    #[test]
    fn a_map_of_names_must_say_which() {
        fn look(node: &Json, maps: &mut usize) {
            match node {
                Json::Object(fields) => {
                    if fields.contains_key("patternProperties") {
                        *maps += 1;
                        assert!(fields.contains_key("x-keys"), "of what are the names in {node}?");
                    }
                    for value in fields.values() {
                        look(value, maps);
                    }
                }
                Json::Array(items) => {
                    for item in items {
                        look(item, maps);
                    }
                }
                Json::Null | Json::Bool(_) | Json::Number(_) | Json::String(_) => {}
            }
        }
        let mut maps = 0;
        look(schema::profile(), &mut maps);
        look(schema::service(), &mut maps);
        assert!(maps > 4, "only {maps} maps: is the search still meaningful?");
    }
}
