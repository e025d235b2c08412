//! Typed settings: what services declare, what a profile gives, and which value holds on a host.

use std::collections::BTreeMap;

use serde_json::Value as Json;

use super::conform::describe;
use super::diagnostic::{Diagnostic, listed};
use super::service::{Variable, VariableType};
use super::tree::Doc;
use super::yaml::{Node, Value, approximate};
use super::{Loaded, ProfileDocument};
use crate::model::words::nearest;
use crate::model::{HostName, ServiceName};

/// One setting that a profile may change.
#[derive(Clone, Debug, PartialEq)]
pub struct Declared {
    /// Who declares it.
    pub service: ServiceName,
    /// Type, bounds, default, help. Ports are variables too.
    pub variable: Variable,
    /// Where it is declared in its service.yaml.
    pub path: Vec<String>,
    /// Where its default stands there.
    pub default_path: Vec<String>,
}

/// Returns the name of the variable with a port's number.
pub fn port_variable(port: &str) -> String {
    format!("{port}_port")
}

/// Returns the name of the variable with a port's second number.
pub fn spare_variable(port: &str) -> String {
    format!("{port}_spare_port")
}

/// Returns the name of the variable with the number of a proxy entry's front port.
pub fn proxy_variable(proxy: &str) -> String {
    format!("{proxy}_proxy_port")
}

/// Returns all settings of these services; one that is declared twice is reported.
pub fn declared<'a>(
    services: impl Iterator<Item = &'a Loaded>,
    out: &mut Vec<Diagnostic>,
) -> BTreeMap<String, Declared> {
    let mut all: BTreeMap<String, Declared> = BTreeMap::new();
    for loaded in services {
        for (name, variable, path, default_path) in of_service(loaded) {
            let place: Vec<&str> = path.iter().map(String::as_str).collect();
            if let Some(first) = all.get(&name) {
                out.push(
                    loaded
                        .doc
                        .wrong_key(
                            "variable-twice",
                            &place,
                            format!("the variable `{name}` is declared by `{}` already", first.service),
                        )
                        .help("begin its name with the name of the service"),
                );
                continue;
            }
            check_declaration(&loaded.doc, &name, &variable, &place, out);
            all.insert(
                name,
                Declared { service: loaded.service.service.clone(), variable, path, default_path },
            );
        }
    }
    all
}

fn of_service(loaded: &Loaded) -> Vec<(String, Variable, Vec<String>, Vec<String>)> {
    let service = &loaded.service;
    let path = |parts: &[&str]| parts.iter().map(|part| (*part).to_owned()).collect::<Vec<_>>();
    let port = |number: u16, help: String| Variable {
        help,
        kind: VariableType::Integer,
        default: Some(Json::from(number)),
        min: Some(1.0),
        max: Some(65535.0),
        choices: Vec::new(),
    };
    let mut list: Vec<_> = service
        .variables
        .iter()
        .map(|(name, variable)| {
            (
                name.clone(),
                variable.clone(),
                path(&["variables", name]),
                path(&["variables", name, "default"]),
            )
        })
        .collect();
    for (name, entry) in &service.ports {
        let help = if entry.help.is_empty() { format!("Port {name}") } else { entry.help.clone() };
        let place = path(&["ports", name]);
        list.push((
            port_variable(name),
            port(entry.default, help.clone()),
            place.clone(),
            path(&["ports", name, "default"]),
        ));
        if let Some(spare) = entry.spare {
            let variable = port(spare, format!("{help} (second, while the container is replaced)"));
            list.push((spare_variable(name), variable, place, path(&["ports", name, "spare"])));
        }
    }
    for (index, entry) in service.proxy.iter().enumerate() {
        let index = index.to_string();
        let place = path(&["proxy", &index, "name"]);
        let variable = port(entry.port, format!("Front port of {}", entry.name));
        list.push((proxy_variable(&entry.name), variable, place, path(&["proxy", &index, "port"])));
    }
    list
}

fn check_declaration(doc: &Doc, name: &str, variable: &Variable, place: &[&str], out: &mut Vec<Diagnostic>) {
    let identifier = name.starts_with(|c: char| c.is_ascii_lowercase())
        && name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_');
    if !identifier {
        out.push(
            doc.wrong_key(
                "bad-name",
                place,
                format!("`{name}` cannot be a variable: templates could not name it"),
            )
            .help("lower-case letters, digits and `_`, beginning with a letter"),
        );
    }
    let default: Vec<&str> = place.iter().copied().chain(["default"]).collect();
    if place.first() == Some(&"variables") {
        if let Some(node) = doc.node(&default)
            && let Err(problem) = check_value(variable, node)
        {
            out.push(doc.wrong_value(
                "variable-value",
                &default,
                format!("the default of `{name}` {problem}"),
            ));
        }
        if let (Some(min), Some(max)) = (variable.min, variable.max)
            && min > max
        {
            out.push(doc.wrong_key(
                "variable-bounds",
                place,
                format!("`{name}` allows nothing: min {min} is above max {max}"),
            ));
        }
    }
}

/// Checks a value against its declaration; the error is the end of a sentence.
pub fn check_value(variable: &Variable, node: &Node) -> Result<(), String> {
    let wrong = |expected: &str| Err(format!("is {}; it must be {expected}", describe(node)));
    let choice = |text: &str| -> Result<(), String> {
        if variable.choices.is_empty() || variable.choices.iter().any(|c| c == text) {
            return Ok(());
        }
        let near = nearest(text, variable.choices.iter().map(String::as_str));
        let near = near.map(|word| format!(" (did you mean `{word}`?)")).unwrap_or_default();
        Err(format!(
            "is `{text}`; it must be one of {}{near}",
            listed(variable.choices.iter().map(String::as_str))
        ))
    };
    let bounds = |number: f64| -> Result<(), String> {
        match (variable.min, variable.max) {
            (Some(min), _) if number < min => Err(format!("is {number}; it must be at least {min}")),
            (_, Some(max)) if number > max => Err(format!("is {number}; it must be at most {max}")),
            _ => Ok(()),
        }
    };
    match (variable.kind, &node.value) {
        (VariableType::String, Value::String(text)) => choice(text),
        (VariableType::String, Value::Int(_, text) | Value::Float(_, text)) => {
            wrong(&format!("text: put it in quotes, \"{text}\""))
        }
        (VariableType::String, _) => wrong("text"),
        (VariableType::Integer | VariableType::Number, Value::Int(number, _)) => bounds(approximate(*number)),
        (VariableType::Integer, _) => wrong("a whole number"),
        (VariableType::Number, Value::Float(number, _)) => bounds(*number),
        (VariableType::Number, _) => wrong("a number"),
        (VariableType::Boolean, Value::Bool(_)) => Ok(()),
        (VariableType::Boolean, _) => wrong("`true` or `false`"),
        (VariableType::List, Value::List(items)) => items.iter().try_for_each(|item| match item.text() {
            Some(text) => choice(text),
            None => Err(format!("has {} in it; its items must be text", describe(item))),
        }),
        (VariableType::List, _) => wrong("a list of text"),
    }
}

/// Checks everything that the profile gives. `complete` says whether all services it needs are known.
pub fn check_given(
    doc: &Doc,
    document: &ProfileDocument,
    declared: &BTreeMap<String, Declared>,
    complete: bool,
    out: &mut Vec<Diagnostic>,
) {
    let mut places = vec![vec!["variables"]];
    places.extend(document.hosts.keys().map(|host| vec!["hosts", host.as_str(), "variables"]));
    for place in places {
        for (key, node) in doc.node(&place).map(Node::entries).unwrap_or_default() {
            let path: Vec<&str> = place.iter().copied().chain([key.text.as_str()]).collect();
            match declared.get(&key.text) {
                // It may be one of a service that is missing itself, which was reported.
                None if !complete && nearest(&key.text, declared.keys().map(String::as_str)).is_none() => {}
                None => out.push(
                    doc.wrong_key(
                        "unknown-variable",
                        &path,
                        format!("no service of this profile has a variable `{}`", key.text),
                    )
                    .near(nearest(&key.text, declared.keys().map(String::as_str)), || {
                        Some("`mastic explain` lists the variables of this profile".to_owned())
                    }),
                ),
                Some(entry) => {
                    if let Err(problem) = check_value(&entry.variable, node) {
                        out.push(
                            doc.wrong_value(
                                "variable-value",
                                &path,
                                format!("the variable `{}` {problem}", key.text),
                            )
                            .help(format!("{}: {}", entry.service, entry.variable.help)),
                        );
                    }
                }
            }
        }
    }
    for (name, entry) in declared {
        let given = document.variables.contains_key(name)
            || (!document.hosts.is_empty()
                && document.hosts.values().all(|host| host.variables.contains_key(name)));
        if entry.variable.default.is_none() && !given {
            out.push(
                doc.wrong_key(
                    "missing-variable",
                    &["variables"],
                    format!("the variable `{name}` of `{}` has no default and must be given", entry.service),
                )
                .help(format!("add `{name}:` under `variables:` - {}", entry.variable.help)),
            );
        }
    }
}

/// Returns the values that hold on a host.
pub fn values(
    document: &ProfileDocument,
    declared: &BTreeMap<String, Declared>,
    host: &HostName,
) -> BTreeMap<String, Json> {
    declared.keys().map(|name| (name.clone(), value(document, declared, host, name).clone())).collect()
}

/// Returns the value of one variable on a host.
pub fn value<'a>(
    document: &'a ProfileDocument,
    declared: &'a BTreeMap<String, Declared>,
    host: &HostName,
    name: &str,
) -> &'a Json {
    document
        .hosts
        .get(host)
        .and_then(|host| host.variables.get(name))
        .or_else(|| document.variables.get(name))
        .or_else(|| declared.get(name).and_then(|entry| entry.variable.default.as_ref()))
        .unwrap_or(&Json::Null)
}
