//! Checks templates before anything is rendered: syntax, and every name in them, all at once.

use std::collections::BTreeSet;

use super::context::allowed_secrets;
use super::diagnostic::{Diagnostic, listed};
use super::files::piece_source;
use super::library::{Library, TEMPLATES};
use super::source::{Source, Span};
use super::tree::Doc;
use super::yaml::Node;
use super::{Loaded, Profile, load};
use crate::model::words::nearest;
use crate::template::scan::{self, Used};
use crate::template::{self, Functions};

/// What templates of one service may name.
struct Names<'a> {
    complete: bool,
    service: &'a str,
    variables: BTreeSet<&'a str>,
    ports: BTreeSet<&'a str>,
    secrets: BTreeSet<String>,
    proxies: BTreeSet<&'a str>,
    services: BTreeSet<&'a str>,
    containers: BTreeSet<&'a str>,
    functions: Functions,
}

/// Checks all templates of a profile's services. Where a service is missing (not `complete`), what it would have brought is not
/// reported again.
pub(super) fn check(profile: &Profile, library: &Library, complete: bool, out: &mut Vec<Diagnostic>) {
    let functions = Functions { pieces: library.pieces(), ..Functions::default() };
    for (service, loaded) in &profile.services {
        let names = Names {
            functions: functions.clone(),
            complete,
            service: service.as_str(),
            variables: profile.declared.keys().map(String::as_str).collect(),
            ports: profile.services().flat_map(|s| s.ports.keys()).map(String::as_str).collect(),
            secrets: allowed_secrets(profile, service),
            proxies: profile.services().flat_map(|s| &s.proxy).map(|p| p.name.as_str()).collect(),
            services: profile.services.keys().map(super::super::model::name::ServiceName::as_str).collect(),
            containers: profile
                .services()
                .flat_map(|s| s.containers.keys().chain(s.tasks.keys()))
                .map(super::super::model::name::ContainerName::as_str)
                .collect(),
        };
        let files: BTreeSet<&str> =
            loaded.service.all_files().filter_map(|f| f.template.as_deref()).collect();
        let mut pieces = Vec::new();
        for name in files {
            let Some(file) = library.get(&format!("{TEMPLATES}{service}/{name}")) else { continue };
            match std::str::from_utf8(&file.bytes) {
                Ok(text) => {
                    let source = Source::new(file.origin.clone(), text);
                    let place =
                        |offset: usize, length: usize| source.span_at(offset, chars(text, offset, length));
                    check_text(&source, text, &names, false, &place, out);
                    pieces.extend(scan::includes(text));
                }
                Err(_) => out.push(load::not_text(&file.origin)),
            }
        }
        check_pieces(library, pieces, &names, out);
        secrets_of_files(loaded, &names, out);
        strings(loaded, &names, out);
    }
}

/// Checks what a service's templates include, with the names of that service: each piece once.
fn check_pieces(library: &Library, mut wanted: Vec<String>, names: &Names<'_>, out: &mut Vec<Diagnostic>) {
    let mut seen = BTreeSet::new();
    while let Some(name) = wanted.pop() {
        let Some(text) = names.functions.pieces.get(&name) else { continue };
        let Some(source) = piece_source(library, Some(&name)) else { continue };
        if !seen.insert(name) {
            continue;
        }
        let place = |offset: usize, length: usize| source.span_at(offset, chars(text, offset, length));
        let mut found = Vec::new();
        check_text(&source, text, names, false, &place, &mut found);
        // Two services that include a piece with a mistake in it have one mistake between them.
        found.retain(|diagnostic| !out.contains(diagnostic));
        out.append(&mut found);
        wanted.extend(scan::includes(text));
    }
}

fn chars(text: &str, offset: usize, length: usize) -> usize {
    text.get(offset..offset + length).map_or(1, |part| part.chars().count())
}

/// `content_secret` may name what `secret()` may.
fn secrets_of_files(loaded: &Loaded, names: &Names<'_>, out: &mut Vec<Diagnostic>) {
    let units = ["containers", "tasks"].into_iter().flat_map(|group| {
        loaded
            .doc
            .keys(&[group])
            .flat_map(move |unit| ["files", "more_files"].into_iter().map(move |list| (group, unit, list)))
    });
    for (group, unit, list) in units {
        let count = loaded.doc.node(&[group, unit, list]).map_or(0, |node| node.items().len());
        for index in (0..count).map(|i| i.to_string()) {
            let path = [group, unit, list, &index, "content_secret"];
            if let Some(secret) = loaded.doc.node(&path).and_then(Node::text)
                && let Some(diagnostic) = unknown_secret(names, secret, |message| {
                    loaded.doc.wrong_value("unknown-secret", &path, message)
                })
            {
                out.push(diagnostic);
            }
        }
    }
}

fn unknown_secret(
    names: &Names<'_>,
    secret: &str,
    at: impl FnOnce(String) -> Diagnostic,
) -> Option<Diagnostic> {
    (names.complete && !names.secrets.contains(secret)).then(|| {
        at(format!("`{}` may not use a secret `{secret}`", names.service)).near(
            nearest(secret, names.secrets.iter().map(String::as_str)),
            || {
                Some(
                    "declare it under `secrets:`, or mark it `shared` in the service that this one requires"
                        .to_owned(),
                )
            },
        )
    })
}

/// The strings of service.yaml that are templates.
fn strings(loaded: &Loaded, names: &Names<'_>, out: &mut Vec<Diagnostic>) {
    let doc = &loaded.doc;
    for group in ["containers", "tasks"] {
        for unit in doc.keys(&[group]) {
            let at = |rest: &[&str]| -> Vec<String> {
                [group, unit].iter().chain(rest).map(|s| (*s).to_owned()).collect()
            };
            for list in [at(&["init"]), at(&["command"]), at(&["check", "targets"])] {
                items(doc, &list, names, out);
            }
            for key in doc.keys(&[group, unit, "environment"]) {
                string(doc, &at(&["environment", key]), names, false, out);
            }
            string(doc, &at(&["limits", "memory"]), names, false, out);
            string(doc, &at(&["check", "host"]), names, false, out);
            string(doc, &at(&["when"]), names, true, out);
            for list in ["binds", "files", "more_files"] {
                let count = doc.node(&[group, unit, list]).map_or(0, |node| node.items().len());
                for index in (0..count).map(|i| i.to_string()) {
                    if list == "binds" {
                        string(doc, &at(&[list, &index, "path"]), names, false, out);
                    }
                    string(doc, &at(&[list, &index, "when"]), names, true, out);
                }
            }
        }
    }
    for list in [vec!["proxy"], vec!["identity", "services"], vec!["identity", "users"]] {
        let count = doc.node(&list).map_or(0, |node| node.items().len());
        for index in 0..count {
            let path = list
                .iter()
                .map(|s| (*s).to_owned())
                .chain([index.to_string(), "when".to_owned()])
                .collect::<Vec<_>>();
            string(doc, &path, names, true, out);
        }
    }
}

fn items(doc: &Doc, path: &[String], names: &Names<'_>, out: &mut Vec<Diagnostic>) {
    let place: Vec<&str> = path.iter().map(String::as_str).collect();
    let count = doc.node(&place).map_or(0, |node| node.items().len());
    for index in 0..count {
        let path: Vec<String> = path.iter().cloned().chain([index.to_string()]).collect();
        string(doc, &path, names, false, out);
    }
}

fn string(doc: &Doc, path: &[String], names: &Names<'_>, condition: bool, out: &mut Vec<Diagnostic>) {
    let path: Vec<&str> = path.iter().map(String::as_str).collect();
    let Some(node) = doc.node(&path) else { return };
    let Some(text) = node.text() else { return };
    let place =
        |offset: usize, length: usize| within(doc, node.span, text, offset, chars(text, offset, length));
    if condition {
        check_uses(&doc.source, &scan::uses_in_expression(text), names, true, &place, out);
    } else {
        check_text(&doc.source, text, names, true, &place, out);
    }
}

/// Returns the place of a part of a string, where the string stands on one line as it is.
fn within(doc: &Doc, span: Span, text: &str, offset: usize, length: usize) -> Span {
    let line: String = doc.source.line(span.line).chars().skip(span.column - 1).collect();
    let quote = usize::from(line.starts_with(['"', '\'']));
    let written: String = line.chars().skip(quote).collect();
    if written.starts_with(text) {
        let before = text.get(..offset).map_or(0, |part| part.chars().count());
        Span::new(span.line, span.column + quote + before, length)
    } else {
        span
    }
}

fn check_text(
    source: &Source,
    text: &str,
    names: &Names<'_>,
    no_secrets: bool,
    place: &dyn Fn(usize, usize) -> Span,
    out: &mut Vec<Diagnostic>,
) {
    if !text.contains("{{") && !text.contains("{%") && !text.contains("{#") {
        return;
    }
    let uses = scan::uses(text);
    let missing = |found: &scan::Use| matches!(&found.what, Used::Include(name) if !names.functions.pieces.contains_key(name));
    // Tera would stop at a piece that is not there, and say no more than that.
    if !uses.iter().any(missing)
        && let Err(error) = template::parse(text, &names.functions)
    {
        if error.piece.is_some() {
            return; // It is reported where it stands: pieces are checked too.
        }
        let span = match error.place {
            Some((line, column, length)) => {
                let offset = offset_of(text, line, column);
                place(offset, length)
            }
            None => place(0, 1),
        };
        out.push(
            Diagnostic::new(
                "template-syntax",
                source,
                span,
                format!("the template cannot be read: {}", error.message),
            )
            .help("docs/reference/templates.md says what templates may call"),
        );
        return;
    }
    check_uses(source, &uses, names, no_secrets, place, out);
}

/// Returns the byte offset of a line and column (both from 1).
fn offset_of(text: &str, line: usize, column: usize) -> usize {
    let start: usize = text.split_inclusive('\n').take(line.saturating_sub(1)).map(str::len).sum();
    let rest = text.get(start..).unwrap_or("");
    start + rest.char_indices().nth(column.saturating_sub(1)).map_or(rest.len(), |(at, _)| at)
}

fn check_uses(
    source: &Source,
    uses: &[scan::Use],
    names: &Names<'_>,
    no_secrets: bool,
    place: &dyn Fn(usize, usize) -> Span,
    out: &mut Vec<Diagnostic>,
) {
    for found in uses {
        // A branch for a service that is not there is never rendered.
        if !found.services.iter().all(|service| names.services.contains(service.as_str())) {
            continue;
        }
        let wrong =
            |code, message: String| Diagnostic::new(code, source, place(found.offset, found.length), message);
        match &found.what {
            Used::Field { guarded: true, .. } => {}
            Used::Include(name) => {
                let known = &names.functions.pieces;
                if !known.contains_key(name) {
                    out.push(
                        wrong("unknown-piece", format!("no file `{name}` can be included"))
                            .near(nearest(name, known.keys().map(String::as_str)), || {
                                Some(format!("there are {}", listed(known.keys().map(String::as_str))))
                            }),
                    );
                }
            }
            Used::Field { first, second, guarded: false } => {
                let fixed = |words: &[&'static str]| words.iter().copied().collect::<BTreeSet<&str>>();
                let (code, known, what) = match first.as_str() {
                    "var" => (
                        "unknown-variable",
                        names.variables.clone(),
                        "no service of this profile has a variable",
                    ),
                    "port" => ("unknown-port", names.ports.clone(), "no service of this profile has a port"),
                    "host" => ("unknown-name", fixed(&["name", "address", "index"]), "`host` has no"),
                    "container" => ("unknown-name", fixed(&["name", "service", "set"]), "`container` has no"),
                    "public" => {
                        ("unknown-name", fixed(&["address", "name", "tls", "scheme"]), "`public` has no")
                    }
                    "internal" => {
                        ("unknown-name", fixed(&["address", "name", "tls", "scheme"]), "`internal` has no")
                    }
                    "backend" => ("unknown-name", fixed(&["tls", "scheme", "pem"]), "`backend` has no"),
                    "tls" => ("unknown-name", fixed(&["ca"]), "`tls` has no"),
                    _ => continue,
                };
                let own = nearest(second, known.iter().copied()).is_some();
                if !known.contains(second.as_str()) && (names.complete || own) {
                    out.push(wrong(code, format!("{what} `{second}`")).near(
                        nearest(second, known.iter().copied()),
                        || {
                            Some(if known.len() <= 4 {
                                format!("there are {}", listed(known.iter().copied()))
                            } else {
                                "it must be declared in a service.yaml".to_owned()
                            })
                        },
                    ));
                }
            }
            Used::Call { function, argument, value } => {
                let known: (&str, &BTreeSet<&str>) = match (function.as_str(), argument.as_str()) {
                    ("secret", "name") => {
                        if no_secrets {
                            out.push(
                                wrong("secret-outside-file", "a secret may only go into a file".to_owned())
                                    .help("command lines, environment and checks can be read by others: put it into a file of the container"),
                            );
                        } else if let Some(diagnostic) =
                            unknown_secret(names, value, |message| wrong("unknown-secret", message))
                        {
                            out.push(diagnostic);
                        }
                        continue;
                    }
                    ("public_url" | "internal_url", "proxy") => ("unknown-proxy", &names.proxies),
                    ("hosts_of", "service") => ("unknown-service", &names.services),
                    ("hosts_of", "container") => ("unknown-container", &names.containers),
                    _ => continue,
                };
                if names.complete && !known.1.contains(value.as_str()) {
                    out.push(
                        wrong(
                            known.0,
                            format!("this profile has no `{value}` for {function}({argument}=...)"),
                        )
                        .near(nearest(value, known.1.iter().copied()), || {
                            Some(format!("there are {}", listed(known.1.iter().copied())))
                        }),
                    );
                }
            }
        }
    }
}
