//! The operator's overrides: which file each goes into.

use std::collections::BTreeSet;

use super::container::Merge;
use super::diagnostic::{Diagnostic, listed};
use super::ini::Ini;
use super::library::{Library, OVERRIDES};
use super::source::{Source, Span};
use super::{Profile, load};
use crate::model::words::nearest;
use crate::model::{HostName, ServiceName};

/// One override that applies to a file on a host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Override {
    /// Path below `overrides/`.
    pub(super) path: String,
    /// Where it came from, for people.
    pub(super) origin: String,
    /// Its text.
    pub(super) text: String,
}

/// Returns the overrides for a file of a service on a host; the later goes over the earlier.
pub(super) fn of_file(
    library: &Library,
    service: &ServiceName,
    host: &HostName,
    file: &str,
) -> Vec<Override> {
    [
        file.to_owned(),
        format!("{service}/{file}"),
        format!("{host}/{file}"),
        format!("{host}/{service}/{file}"),
    ]
    .into_iter()
    .filter_map(|path| {
        let found = library.get(&format!("{OVERRIDES}{path}"))?;
        let text = std::str::from_utf8(&found.bytes).ok()?.to_owned();
        Some(Override { path, origin: found.origin.clone(), text })
    })
    .collect()
}

/// Checks that every override is taken by some file, and that it can be read.
pub(super) fn check(profile: &Profile, library: &Library, out: &mut Vec<Diagnostic>) {
    let mut taken: BTreeSet<String> = BTreeSet::new();
    let mut whole: BTreeSet<String> = BTreeSet::new();
    let mut refused: BTreeSet<String> = BTreeSet::new();
    for (service, loaded) in &profile.services {
        for file in loaded.service.all_files() {
            let Some(name) = &file.template else { continue };
            let mut paths = vec![name.clone(), format!("{service}/{name}")];
            for host in profile.document.hosts.keys() {
                paths.push(format!("{host}/{name}"));
                paths.push(format!("{host}/{service}/{name}"));
            }
            match file.merge {
                Merge::Ini => taken.extend(paths),
                Merge::Replace => {
                    whole.extend(paths.iter().cloned());
                    taken.extend(paths);
                }
                Merge::None => refused.extend(paths),
            }
        }
    }
    for (path, file) in library.under(OVERRIDES) {
        let Ok(text) = std::str::from_utf8(&file.bytes) else {
            out.push(load::not_text(&file.origin));
            continue;
        };
        let source = Source::new(file.origin.clone(), text);
        if !taken.contains(path) {
            let (message, help) = if refused.contains(path) {
                (
                    format!("the file `{path}` takes no overrides"),
                    Some("its service.yaml says `merge: none`".to_owned()),
                )
            } else {
                let file = path.rsplit('/').next().unwrap_or(path);
                let near = taken
                    .get(file)
                    .map(String::as_str)
                    .or_else(|| nearest(path, taken.iter().map(String::as_str)))
                    .map(|near| format!("did you mean `{near}`?"));
                let short = || taken.iter().map(String::as_str).filter(|name| !name.contains('/'));
                (
                    format!("no service of this profile has a file for the override `{path}`"),
                    near.or_else(|| Some(format!("overrides are taken by {}", listed(short())))),
                )
            };
            let mut diagnostic = Diagnostic::new("unused-override", &source, Span::START, message);
            diagnostic.help = help;
            out.push(diagnostic);
        } else if !whole.contains(path) {
            for error in Ini::parse(text).err().into_iter().flatten() {
                let width = source.line(error.line).trim_end().chars().count();
                out.push(
                    Diagnostic::new("ini", &source, Span::new(error.line, 1, width), error.message)
                        .help(error.help),
                );
            }
        }
    }
}
