//! Renders the config files of one container on one host.

use std::collections::BTreeSet;

use std::sync::Arc;

use super::check::service::owner;
use super::container::{File, Merge};
use super::context::Shared;
use super::diagnostic::Diagnostic;
use super::ini::Ini;
use super::layout::{self, Unit};
use super::library::{Library, TEMPLATES};
use super::source::{Source, Span};
use super::{Inputs, Loaded, Profile, overrides};
use crate::model::{ContainerName, FileSpec, HostName, SecretName};
use crate::template;

/// Everything that rendering one container needs.
pub(super) struct Room<'a> {
    pub(super) profile: &'a Profile,
    pub(super) library: &'a Library,
    pub(super) inputs: &'a Inputs,
    pub(super) shared: &'a Shared,
    pub(super) name: &'a ContainerName,
    pub(super) unit: &'a Unit,
    pub(super) loaded: &'a Loaded,
    pub(super) host: &'a HostName,
    pub(super) values: &'a serde_json::Value,
}

/// Renders files, each with the path of its entry in service.yaml; sorted by their path in the container.
pub(super) fn render(
    room: &Room<'_>,
    files: &[(File, Vec<String>)],
    group: u32,
    out: &mut Vec<Diagnostic>,
) -> Vec<FileSpec> {
    let mut done: Vec<FileSpec> = Vec::new();
    let mut taken = BTreeSet::new();
    for (file, place) in files {
        let when: Vec<&str> = place.iter().map(String::as_str).chain(["when"]).collect();
        if !layout::holds(room.profile, &room.unit.service, room.host, file.when.as_deref(), &when, out) {
            continue;
        }
        let Some((content, origin, sensitive)) = content(room, file, place, out) else { continue };
        let path: Vec<&str> = place.iter().map(String::as_str).chain(["path"]).collect();
        if !taken.insert(file.path.clone()) {
            out.push(room.loaded.doc.wrong_value(
                "path-twice",
                &path,
                format!("`{}` is used twice in `{}`", file.path, room.name),
            ));
            continue;
        }
        let (uid, gid) =
            file.owner.as_ref().and_then(|text| owner(&room.loaded.service, text)).unwrap_or((0, group));
        let mode = u32::from_str_radix(&file.mode, 8).unwrap_or(0o640);
        done.push(FileSpec {
            path: file.path.clone(),
            uid,
            gid,
            mode,
            content: content.into_bytes(),
            origin,
            sensitive,
        });
    }
    done.sort_by(|a, b| a.path.cmp(&b.path));
    done
}

/// Returns the source of a piece that templates include.
pub(super) fn piece_source(library: &Library, piece: Option<&str>) -> Option<Arc<Source>> {
    let file = library.get(&format!("{TEMPLATES}{}", piece?))?;
    Some(Source::new(file.origin.clone(), String::from_utf8_lossy(&file.bytes)))
}

/// Returns text, origin and whether a secret is in it.
fn content(
    room: &Room<'_>,
    file: &File,
    place: &[String],
    out: &mut Vec<Diagnostic>,
) -> Option<(String, String, bool)> {
    let doc = &room.loaded.doc;
    if let Some(secret) = &file.content_secret {
        let path: Vec<&str> = place.iter().map(String::as_str).chain(["content_secret"]).collect();
        let text = secret_text(room, secret);
        if text.is_none() {
            out.push(doc.wrong_value("missing-secret", &path, format!("there is no secret `{secret}` yet")));
        }
        // A certificate is no secret, though it comes with them.
        let sensitive = !matches!(secret.as_str(), "tls_ca_cert" | "tls_vip_cert");
        return Some((text?, format!("secret {secret}"), sensitive));
    }
    let name = file.template.as_ref()?;
    let service = &room.unit.service;
    let found = room.library.get(&format!("{TEMPLATES}{service}/{name}"))?;
    let overrides = match file.merge {
        Merge::None => Vec::new(),
        Merge::Ini | Merge::Replace => overrides::of_file(room.library, service, room.host, name),
    };
    let mut origin = format!("{TEMPLATES}{service}/{name}");
    if let (Merge::Replace, Some(last)) = (file.merge, overrides.last()) {
        return Some((last.text.clone(), last.origin.clone(), false));
    }
    let text = std::str::from_utf8(&found.bytes).ok()?;
    let mut functions = room.shared.functions(room.profile, service, room.inputs);
    functions.pieces = room.library.pieces();
    let source = || Source::new(found.origin.clone(), text);
    let rendered = match template::render(text, room.values, &functions) {
        Ok(rendered) => rendered,
        Err(error) => {
            let span =
                error.place.map_or(Span::START, |(line, column, length)| Span::new(line, column, length));
            let source = piece_source(room.library, error.piece.as_deref()).unwrap_or_else(source);
            out.push(
                Diagnostic::new(
                    "template",
                    &source,
                    span,
                    format!("the template does not render: {}", error.message),
                )
                .help(format!("rendered for `{}` on host `{}`", room.name, room.host)),
            );
            return None;
        }
    };
    let mut result = rendered.text;
    if file.merge == Merge::Ini {
        let mut ini = match Ini::parse(&result) {
            Ok(ini) => ini,
            Err(errors) => {
                for error in errors {
                    let line = result.lines().nth(error.line.saturating_sub(1)).unwrap_or("");
                    // The line of the result stands on another line of the template, or on several.
                    let at = text
                        .lines()
                        .position(|l| !line.is_empty() && l.trim_end() == line)
                        .map_or(1, |n| n + 1);
                    out.push(
                        Diagnostic::new(
                            "ini",
                            &source(),
                            Span::new(at, 1, 1),
                            format!("the rendered file is not INI, line {}: {}", error.line, error.message),
                        )
                        .help(error.help),
                    );
                }
                return None;
            }
        };
        for over in &overrides {
            // Those that cannot be read were reported when the profile was loaded.
            if let Ok(more) = Ini::parse(&over.text) {
                ini = ini.merge(&more);
                origin.push_str(" + ");
                origin.push_str(&over.origin);
            }
        }
        if !overrides.is_empty() {
            result = ini.to_string();
        }
    }
    Some((result, origin, !rendered.secrets.is_empty()))
}

fn secret_text(room: &Room<'_>, name: &SecretName) -> Option<String> {
    room.inputs.secrets.get(name).map(|secret| secret.expose().to_owned())
}
