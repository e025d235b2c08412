//! The JSON schemas of the two documents, made from their types.

use std::sync::LazyLock;

use serde_json::Value;

use super::{ProfileDocument, Service};

/// Returns the schema of a profile.
pub fn profile() -> &'static Value {
    static SCHEMA: LazyLock<Value> = LazyLock::new(|| schemars::schema_for!(ProfileDocument).to_value());
    &SCHEMA
}

/// Returns the schema of a service.yaml.
pub fn service() -> &'static Value {
    static SCHEMA: LazyLock<Value> = LazyLock::new(|| schemars::schema_for!(Service).to_value());
    &SCHEMA
}

/// Returns a schema as the text that is checked in under `docs/schema/`: editors read it.
pub fn text(schema: &Value) -> String {
    // A JSON value always serializes.
    let mut text = serde_json::to_string_pretty(schema).unwrap_or_default();
    text.push('\n');
    text
}

/// Follows `$ref`, the null of an option, and nothing else.
pub(super) fn target<'a>(root: &'a Value, mut schema: &'a Value) -> &'a Value {
    loop {
        if let Some(name) = schema.get("$ref").and_then(Value::as_str) {
            match name.strip_prefix("#/$defs/").and_then(|name| root.get("$defs")?.get(name)) {
                Some(definition) => schema = definition,
                None => return schema,
            }
        } else if let Some(Value::Array(options)) = schema.get("anyOf") {
            match options.iter().find(|option| option.get("type").and_then(Value::as_str) != Some("null")) {
                Some(option) => schema = option,
                None => return schema,
            }
        } else {
            return schema;
        }
    }
}

/// Returns whether a value may be null.
pub(super) fn nullable(schema: &Value) -> bool {
    let is_null = |value: &Value| value.as_str() == Some("null");
    match schema.get("anyOf") {
        Some(Value::Array(options)) => options.iter().any(|option| option.get("type").is_some_and(is_null)),
        _ => match schema.get("type") {
            Some(Value::Array(kinds)) => kinds.iter().any(is_null),
            Some(kind) => is_null(kind),
            None => false,
        },
    }
}

/// Returns the one type of a (followed) schema; nothing where any value will do.
pub(super) fn kind(schema: &Value) -> Option<&str> {
    match schema.get("type") {
        Some(Value::String(kind)) => Some(kind),
        Some(Value::Array(kinds)) => kinds.iter().filter_map(Value::as_str).find(|kind| *kind != "null"),
        _ => None,
    }
}

/// Returns the words of an enumeration, each with its description.
pub(super) fn words(schema: &Value) -> Vec<(&str, &str)> {
    let list = |key: &str| schema.get(key).and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    let mut words: Vec<(&str, &str)> =
        list("enum").iter().filter_map(Value::as_str).map(|word| (word, "")).collect();
    for option in list("oneOf") {
        let help = option.get("description").and_then(Value::as_str).unwrap_or("");
        if let Some(word) = option.get("const").and_then(Value::as_str) {
            words.push((word, help));
        }
        words.extend(
            option
                .get("enum")
                .and_then(Value::as_array)
                .into_iter()
                .flatten()
                .filter_map(Value::as_str)
                .map(|w| (w, help)),
        );
    }
    words
}
