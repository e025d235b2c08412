//! Where a value comes from: every key of the profile, every variable, every overridden option.

use serde::Serialize;
use serde_json::Value as Json;

use super::conform::to_json;
use super::ini::Ini;
use super::library::{Library, OVERRIDES};
use super::service::VariableType;
use super::variables::{Declared, port_variable};
use super::yaml::Node;
use super::{Profile, schema};
use crate::model::HostName;
use crate::model::words::nearest;

/// One value.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Explained {
    /// What it is called: a variable, a key such as `public.tls`, or `FILE/SECTION/OPTION` for an override.
    pub key: String,
    /// What holds.
    pub value: Json,
    /// Type.
    pub kind: String,
    /// What it is for.
    pub help: String,
    /// `file:line`, or what the default comes from.
    pub origin: String,
}

/// There is no such key.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("nothing in this profile is called `{key}`")]
pub struct UnknownKey {
    /// What was asked for.
    pub key: String,
    /// What may have been meant.
    pub nearest: Option<String>,
}

impl Profile {
    /// Returns one value, or all, as they hold on `host` (on the first host, where none is given).
    pub fn explain(
        &self,
        library: &Library,
        key: Option<&str>,
        host: Option<&HostName>,
    ) -> Result<Vec<Explained>, UnknownKey> {
        let order = self.host_order();
        if let Some(unknown) = host.filter(|host| !order.contains(host)) {
            let nearest =
                nearest(unknown.as_str(), order.iter().map(super::super::model::name::HostName::as_str))
                    .map(str::to_owned);
            return Err(UnknownKey { key: unknown.to_string(), nearest });
        }
        let host = host.or(order.first());
        let mut all: Vec<Explained> = Vec::new();
        let root = schema::profile();
        self.walk(root, root, Some(&self.doc.root), &mut Vec::new(), "", &mut all);
        all.extend(self.declared.iter().map(|(name, declared)| self.variable(name, declared, host)));
        all.extend(overridden(library));
        let Some(key) = key else { return Ok(all) };
        let asked = key.strip_prefix("var.").unwrap_or(key);
        let port = port_variable(key.strip_prefix("port.").unwrap_or(key));
        let found: Vec<Explained> = match all.iter().any(|e| e.key == asked) {
            true => all.iter().filter(|e| e.key == asked).cloned().collect(),
            false if all.iter().any(|e| e.key == port) => {
                all.iter().filter(|e| e.key == port).cloned().collect()
            }
            // `public` is all of `public.*`.
            false => all
                .iter()
                .filter(|e| {
                    e.key.starts_with(&format!("{asked}.")) || e.key.starts_with(&format!("{asked}/"))
                })
                .cloned()
                .collect(),
        };
        if found.is_empty() {
            let nearest = nearest(asked, all.iter().map(|e| e.key.as_str())).map(str::to_owned);
            return Err(UnknownKey { key: key.to_owned(), nearest });
        }
        Ok(found)
    }

    fn variable(&self, name: &str, declared: &Declared, host: Option<&HostName>) -> Explained {
        let here = host.map(|host| ["hosts", host.as_str(), "variables", name]);
        let everywhere = ["variables", name];
        let given = here
            .as_ref()
            .map(<[&str; 4]>::as_slice)
            .filter(|path| self.doc.node(path).is_some())
            .or(Some(everywhere.as_slice()).filter(|path| self.doc.node(path).is_some()));
        let (value, origin) = if let Some(path) = given {
            (self.doc.node(path).map_or(Json::Null, to_json), self.doc.where_key(path))
        } else {
            let path: Vec<&str> = declared.default_path.iter().map(String::as_str).collect();
            let origin = self.services.get(&declared.service).map(|loaded| loaded.doc.where_key(&path));
            (
                declared.variable.default.clone().unwrap_or(Json::Null),
                format!("default, {}", origin.unwrap_or_default()),
            )
        };
        Explained {
            key: name.to_owned(),
            value,
            kind: kind_text(declared),
            help: format!("{} ({})", declared.variable.help, declared.service),
            origin,
        }
    }

    /// Walks the schema beside the document; each leaf is a key.
    fn walk<'a>(
        &'a self,
        root: &Json,
        schema: &Json,
        node: Option<&'a Node>,
        path: &mut Vec<String>,
        help: &str,
        all: &mut Vec<Explained>,
    ) {
        let described = schema.get("description").and_then(Json::as_str).map(str::to_owned);
        let inner = schema::target(root, schema);
        let help = described
            .or_else(|| inner.get("description").and_then(Json::as_str).map(str::to_owned))
            .unwrap_or_else(|| help.to_owned());
        let map = inner.get("patternProperties").and_then(Json::as_object).and_then(|p| p.values().next());
        if let (Some(properties), false) =
            (inner.get("properties").and_then(Json::as_object), node.is_none() && schema::nullable(schema))
        {
            for (key, property) in properties {
                // Variables are listed with their declarations.
                if key == "variables" {
                    continue;
                }
                path.push(key.clone());
                self.walk(root, property, node.and_then(|node| node.get(key)), path, "", all);
                path.pop();
            }
            return;
        }
        if let (Some(map), Some(node)) = (map, node) {
            for (key, value) in node.entries() {
                path.push(key.text.clone());
                self.walk(root, map, Some(value), path, &help, all);
                path.pop();
            }
            return;
        }
        let place: Vec<&str> = path.iter().map(String::as_str).collect();
        all.push(Explained {
            key: path.join("."),
            value: node.map(to_json).or_else(|| schema.get("default").cloned()).unwrap_or(Json::Null),
            kind: schema::kind(inner).unwrap_or("any").to_owned(),
            help: help.replace('\n', " "),
            origin: if node.is_some() { self.doc.where_key(&place) } else { "default".to_owned() },
        });
    }
}

fn kind_text(declared: &Declared) -> String {
    let variable = &declared.variable;
    let kind = match variable.kind {
        VariableType::String => "string",
        VariableType::Integer => "integer",
        VariableType::Number => "number",
        VariableType::Boolean => "boolean",
        VariableType::List => "list",
    };
    let bounds = match (variable.min, variable.max) {
        (Some(min), Some(max)) => format!(", {min} to {max}"),
        (Some(min), None) => format!(", at least {min}"),
        (None, Some(max)) => format!(", at most {max}"),
        (None, None) => String::new(),
    };
    let choices = if variable.choices.is_empty() {
        String::new()
    } else {
        format!(": {}", variable.choices.join(" | "))
    };
    format!("{kind}{bounds}{choices}")
}

fn overridden(library: &Library) -> Vec<Explained> {
    let mut all = Vec::new();
    for (path, file) in library.under(OVERRIDES) {
        let ini = std::str::from_utf8(&file.bytes).ok().and_then(|text| Ini::parse(text).ok());
        for option in ini.map(|ini| ini.options()).unwrap_or_default() {
            all.push(Explained {
                key: format!("{path}/{}/{}", option.section, option.key),
                value: Json::String(option.value),
                kind: "override".to_owned(),
                help: format!("[{}] {} in {path}", option.section, option.key),
                origin: format!("{}:{}", file.origin, option.line),
            });
        }
    }
    all
}
