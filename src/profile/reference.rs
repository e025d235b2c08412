//! The reference pages of the two documents, written from their schemas.

use std::fmt::Write as _;

use serde_json::Value as Json;

use super::schema;

/// Returns `docs/reference/profile.md`.
pub fn profile() -> String {
    let head = "# The profile\n\n\
        A profile is one YAML file: hosts, release, container sets, services, variables. `mastic init` writes one, `mastic validate` reports \
        every mistake in it at once, `mastic explain` says where each value comes from. Editors complete it with `docs/schema/profile.json`: put\n\n\
        ```yaml\n# yaml-language-server: $schema=docs/schema/profile.json\n```\n\n\
        in its first line. Generated from the program (`just generate`).\n";
    page(head, schema::profile())
}

/// Returns `docs/reference/service.md`.
pub fn service() -> String {
    let head = "# service.yaml\n\n\
        The whole knowledge of a service: one such file in its folder under `templates/`. Strings that are templates see what \
        [templates](templates.md) lists. Schema for editors: `docs/schema/service.json`. Generated from the program (`just generate`).\n";
    page(head, schema::service())
}

/// Returns `docs/reference/diagnostics.md`.
pub fn diagnostics() -> String {
    let head = "# Kinds of mistakes\n\n\
        `mastic validate` shows each mistake as `error[CODE]` with file, line, column, the line itself and what to do; `--json` gives the same as a \
        list of objects (`code`, `file`, `line`, `column`, `length`, `message`, `help`, `source_line`). The codes are stable. Generated from the program \
        (`just generate`).\n\n| code | what |\n| --- | --- |\n";
    super::codes::CODES
        .iter()
        .fold(head.to_owned(), |text, (code, what)| format!("{text}| `{code}` | {what} |\n"))
}

fn page(head: &str, root: &Json) -> String {
    let mut text = head.to_owned();
    let title = root.get("title").and_then(Json::as_str).unwrap_or("document");
    let mut seen: Vec<String> = Vec::new();
    let mut open = vec![(title.to_owned(), root.clone())];
    while let Some((name, schema)) = open.pop() {
        section(&mut text, &name, &schema, root);
        // Those that a section names follow it, in its order.
        let mut next = Vec::new();
        names(&schema, &mut next);
        for name in next.into_iter().rev() {
            if let Some(inner) = root.get("$defs").and_then(|defs| defs.get(&name)) {
                let shown = inner.get("properties").is_some() || !schema::words(inner).is_empty();
                if shown && !seen.contains(&name) {
                    seen.push(name.clone());
                    open.push((name, inner.clone()));
                }
            }
        }
    }
    text
}

/// Collects the definitions that a schema names, in the order of its properties.
fn names(schema: &Json, found: &mut Vec<String>) {
    match schema {
        Json::Object(map) => {
            for (key, value) in map {
                match (key.as_str(), value) {
                    ("$ref", Json::String(text)) => {
                        found.extend(text.strip_prefix("#/$defs/").map(str::to_owned));
                    }
                    ("$defs", _) => {}
                    (_, value) => names(value, found),
                }
            }
        }
        Json::Array(list) => list.iter().for_each(|value| names(value, found)),
        Json::Null | Json::Bool(_) | Json::Number(_) | Json::String(_) => {}
    }
}

fn title(name: &str) -> &str {
    name.strip_suffix("Document").unwrap_or(name)
}

fn section(text: &mut String, name: &str, schema: &Json, root: &Json) {
    // Writing to a String cannot fail.
    let _ = write!(text, "\n## {}\n\n", title(name));
    if let Some(description) = schema.get("description").and_then(Json::as_str) {
        let _ = writeln!(text, "{description}\n");
    }
    let words = schema::words(schema);
    for (word, help) in &words {
        let _ = writeln!(text, "- `{word}`: {help}");
    }
    let Some(properties) = schema.get("properties").and_then(Json::as_object) else { return };
    let required: Vec<&str> = schema
        .get("required")
        .and_then(Json::as_array)
        .into_iter()
        .flatten()
        .filter_map(Json::as_str)
        .collect();
    let _ = writeln!(text, "| key | type | default | what |\n| --- | --- | --- | --- |");
    for (key, property) in properties {
        let help = property
            .get("description")
            .or_else(|| schema::target(root, property).get("description"))
            .and_then(Json::as_str)
            .unwrap_or("");
        let default = match property.get("default") {
            _ if required.contains(&key.as_str()) => "**required**".to_owned(),
            Some(Json::Null | Json::Object(_)) | None => String::new(),
            Some(value) => format!("`{value}`"),
        };
        let _ = writeln!(
            text,
            "| `{key}` | {} | {default} | {} |",
            kind(property, root),
            help.replace('\n', " ").replace('|', "\\|")
        );
    }
}

fn kind(schema: &Json, root: &Json) -> String {
    let named = |schema: &Json| {
        let options = schema.get("anyOf").and_then(Json::as_array).into_iter().flatten();
        std::iter::once(schema)
            .chain(options)
            .find_map(|s| s.get("$ref")?.as_str()?.strip_prefix("#/$defs/").map(str::to_owned))
    };
    let inner = schema::target(root, schema);
    if let Some(name) = named(schema)
        && (inner.get("properties").is_some() || !schema::words(inner).is_empty())
    {
        return format!("[{}](#{})", title(&name), title(&name).to_lowercase());
    }
    let format = inner.get("x-format").and_then(Json::as_str);
    match schema::kind(inner) {
        Some("string") => format.unwrap_or("text").to_owned(),
        Some("boolean") => "true or false".to_owned(),
        Some("integer") => match (inner.get("minimum"), inner.get("maximum")) {
            (Some(low), Some(high)) => format!("{low} to {high}"),
            _ => "whole number".to_owned(),
        },
        Some("number") => "number".to_owned(),
        Some("array") => format!(
            "list of {}",
            inner.get("items").map_or_else(|| "values".to_owned(), |items| kind(items, root))
        ),
        Some("object") => {
            let patterns =
                inner.get("patternProperties").and_then(Json::as_object).and_then(|p| p.values().next());
            let value = patterns.or(inner.get("additionalProperties").filter(|v| v.is_object()));
            let key = inner.get("x-keys").and_then(Json::as_str).unwrap_or("name");
            format!("map of {key} to {}", value.map_or_else(|| "value".to_owned(), |value| kind(value, root)))
        }
        Some(_) | None => "any value".to_owned(),
    }
}
