//! Text and library into a checked profile: the one way in.

use std::collections::{BTreeMap, BTreeSet};

use serde::de::DeserializeOwned;
use serde_json::{Value as Json, json};

use super::conform::conform;
use super::diagnostic::{Diagnostic, Diagnostics, listed};
use super::layout::Layout;
use super::library::{Library, TEMPLATES};
use super::source::{Source, Span};
use super::tree::Doc;
use super::yaml::{self, Node};
use super::{
    Inputs, Loaded, Profile, ProfileDocument, Service, check, layout, overrides, resolve, schema, templates,
};
use crate::model::ServiceName;
use crate::model::words::nearest;

/// What must be known of a profile before its library can be put together.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Sources {
    /// Folders beside the profile with `templates/` and `images/`.
    pub library: Vec<String>,
    /// Folder beside the profile with overrides.
    pub overrides: String,
    /// Whether the profile names that folder itself, and so it must exist.
    pub overrides_named: bool,
}

/// Returns the folders that a profile names, without judging anything: [`load`] does that.
pub fn sources(text: &str) -> Sources {
    let node = yaml::parse(&Source::new("", text), &mut Vec::new());
    let text_of = |key: &str| node.as_ref().and_then(|n| n.get(key)).and_then(Node::text).map(str::to_owned);
    Sources {
        library: node
            .as_ref()
            .and_then(|n| n.get("library"))
            .map(|list| list.items().iter().filter_map(Node::text).map(str::to_owned).collect())
            .unwrap_or_default(),
        overrides: text_of("overrides").unwrap_or_else(|| "overrides".to_owned()),
        overrides_named: text_of("overrides").is_some(),
    }
}

/// Reads a profile and checks all of it: the document, the services it uses, their templates and its overrides.
///
/// `name` is how the file is called in messages. What loads also resolves, once secrets and images are there.
pub fn load(name: &str, text: &str, library: &Library) -> Result<Profile, Diagnostics> {
    let mut out = Vec::new();
    let profile = read(name, text, library, &mut out);
    match profile {
        Some(profile) if out.is_empty() => Ok(profile),
        Some(_) | None => Err(Diagnostics::sorted(out, name)),
    }
}

/// Checks every service of a library by itself: for those who write services.
pub fn check_library(library: &Library) -> Result<Vec<Service>, Diagnostics> {
    let mut out = Vec::new();
    let mut services: Vec<Service> = Vec::new();
    for name in library.services() {
        if let Some(loaded) = read_service(name, library, &mut out) {
            check::service::check(&loaded, library, &mut out);
            services.push(loaded.service);
        }
    }
    if out.is_empty() { Ok(services) } else { Err(Diagnostics::sorted(out, "")) }
}

fn read(name: &str, text: &str, library: &Library, out: &mut Vec<Diagnostic>) -> Option<Profile> {
    let source = Source::new(name, text);
    let root = yaml::parse(&source, out)?;
    let doc = Doc { source, root };
    // Parts without which there is no profile are replaced by these, so that the rest can still be checked.
    let stand_ins = json!({"deployment": "unnamed", "release": "0000.0", "hosts": {}, "sets": {}});
    let document: ProfileDocument = typed(&doc, schema::profile(), &stand_ins, out)?;

    // Every service named anywhere counts as used, so that one mistake in a set does not look like ten.
    let mut named: BTreeMap<&str, Span> = BTreeMap::new();
    // Services that were probably meant where an unknown one is named.
    let mut meant: BTreeSet<&str> = BTreeSet::new();
    let mut complete = true;
    for (_, set) in doc.node(&["sets"]).map(Node::entries).unwrap_or_default() {
        for item in set.get("services").map(Node::items).unwrap_or_default() {
            if let Some(service) = item.text() {
                if library.get(&format!("{TEMPLATES}{service}/service.yaml")).is_some() {
                    named.entry(service).or_insert(item.span);
                } else {
                    complete = false;
                    meant.extend(nearest(service, library.services()));
                    out.push(unknown_service(&doc, item.span, service, library));
                }
            }
        }
    }
    let mut services: BTreeMap<ServiceName, Loaded> = BTreeMap::new();
    let mut broken = BTreeSet::new();
    for service in named.keys() {
        match read_service(service, library, out) {
            Some(loaded) => {
                check::service::check(&loaded, library, out);
                services.insert(loaded.service.service.clone(), loaded);
            }
            None => drop(broken.insert((*service).to_owned())),
        }
    }
    check::profile::check(&doc, &document, library, &services, out);
    check::cloud::check(&doc, &document.cloud, &services, out);
    // Checks across services make sense only when all of them could be read.
    if !broken.is_empty() {
        return None;
    }
    let declared = super::variables::declared(services.values(), out);
    complete &= check::across::required(&doc, &services, &named, &meant, library, out);
    super::variables::check_given(&doc, &document, &declared, complete, out);
    check::across::check(&services, complete, library, out);
    let partial = Profile { document, doc, services, declared, layout: Layout::default() };
    templates::check(&partial, library, complete, out);
    if complete {
        overrides::check(&partial, library, out);
    }
    // From here on values are combined, which needs every one of them to be right.
    if !out.is_empty() {
        return None;
    }
    let layout = layout::layout(&partial, out);
    if !out.is_empty() {
        return None;
    }
    let profile = Profile { layout, ..partial };
    check::ports::check(&profile, out);
    resolve::resolve_into(&profile, library, &Inputs::placeholders(&profile), out)?;
    Some(profile)
}

fn unknown_service(doc: &Doc, span: Span, service: &str, library: &Library) -> Diagnostic {
    Diagnostic::new("unknown-service", &doc.source, span, format!("there is no service `{service}`"))
        .near(nearest(service, library.services()), || {
            Some(format!("the services are {}", listed(library.services())))
        })
}

/// Reads one service.yaml.
fn read_service(name: &str, library: &Library, out: &mut Vec<Diagnostic>) -> Option<Loaded> {
    let file = library.get(&format!("{TEMPLATES}{name}/service.yaml"))?;
    let Ok(text) = std::str::from_utf8(&file.bytes) else {
        out.push(not_text(&file.origin));
        return None;
    };
    let source = Source::new(file.origin.clone(), text);
    let before = out.len();
    let root = yaml::parse(&source, out)?;
    let doc = Doc { source, root };
    let stand_ins = json!({"service": name, "summary": ""});
    let service: Service = typed(&doc, schema::service(), &stand_ins, out)?;
    if service.service.as_str() != name {
        out.push(
            doc.wrong_value(
                "service-name",
                &["service"],
                format!("the service in the folder `{name}` calls itself `{}`", service.service),
            )
            .help("folder and `service:` must be the same"),
        );
    }
    (out.len() == before).then_some(Loaded { service, doc })
}

/// Returns the mistake of a file that is not UTF-8.
pub(super) fn not_text(origin: &str) -> Diagnostic {
    Diagnostic::new("not-text", &Source::new(origin, ""), Span::START, "the file is not UTF-8 text")
}

/// Checks a document against its schema and reads what is right of it into its type.
fn typed<T: DeserializeOwned>(
    doc: &Doc,
    schema: &Json,
    stand_ins: &Json,
    out: &mut Vec<Diagnostic>,
) -> Option<T> {
    let before = out.len();
    let mut value = conform(&doc.source, schema, &doc.root, out)?;
    if let (Json::Object(value), Json::Object(stand_ins)) = (&mut value, stand_ins) {
        for (key, stand_in) in stand_ins {
            value.entry(key.clone()).or_insert_with(|| stand_in.clone());
        }
    }
    match serde_json::from_value(value) {
        Ok(value) => Some(value),
        Err(error) => {
            // The schema lets nothing through that the type refuses; where it does, say what the type says.
            if out.len() == before {
                out.push(Diagnostic::new("invalid", &doc.source, Span::START, error.to_string()));
            }
            None
        }
    }
}
