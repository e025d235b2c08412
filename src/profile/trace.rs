//! Where an option of a rendered config file was written: in an override, in a template, or in a piece that it includes.
//!
//! Rendered text carries no places, and needs none as long as nothing is wrong with it. When something is, the sources are searched
//! for the line that gives the option: overrides the last first, since the last holds.

use std::fmt;

use super::ini::{Ini, fold, split};
use super::library::{Library, PIECES, TEMPLATES};
use super::{Profile, overrides};
use crate::model::{ContainerName, HostName};
use crate::template::scan;

/// A line of a file.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    /// The file, as people know it.
    pub file: String,
    /// Line, from 1.
    pub line: usize,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.file, self.line)
    }
}

impl Profile {
    /// Returns the line that gives an option of a container's config file; none where the file has no such option.
    pub fn trace(
        &self,
        library: &Library,
        host: &HostName,
        container: &ContainerName,
        path: &str,
        option: (&str, &str),
    ) -> Option<Place> {
        let service = &self.layout.units.get(container)?.service;
        let loaded = self.services.get(service)?;
        let files = loaded.service.containers.get(container)?.files.iter();
        let template = files.filter(|file| file.path == path).find_map(|file| file.template.as_deref())?;
        let (section, key) = (option.0, fold(option.1));
        for over in overrides::of_file(library, service, host, template).iter().rev() {
            let options = Ini::parse(&over.text).map(|ini| ini.options()).unwrap_or_default();
            if let Some(found) = options.iter().find(|o| o.section == section && o.key == key) {
                return Some(Place { file: over.origin.clone(), line: found.line });
            }
        }
        let mut walk = Walk { library, key: &key, section: None, found: Vec::new(), open: Vec::new() };
        walk.file(&format!("{TEMPLATES}{service}/{template}"));
        // Before a line under a section whose name is only known when it is rendered: one under this very section.
        let exact = walk.found.iter().find(|(at, _)| at.as_deref() == Some(section));
        let found = exact.or_else(|| walk.found.iter().find(|(at, _)| at.is_none()))?;
        Some(found.1.clone())
    }
}

/// Reads templates from top to bottom, pieces where they are included: a piece may begin a section that its includer goes on with.
struct Walk<'a> {
    library: &'a Library,
    key: &'a str,
    /// The section as it is written; none where it is made of values.
    section: Option<String>,
    found: Vec<(Option<String>, Place)>,
    /// What is being read: a piece that includes itself is Tera's to report.
    open: Vec<String>,
}

impl Walk<'_> {
    fn file(&mut self, name: &str) {
        let Some(file) = self.library.get(name).filter(|_| !self.open.iter().any(|open| open == name)) else {
            return;
        };
        self.open.push(name.to_owned());
        for (index, line) in String::from_utf8_lossy(&file.bytes).lines().enumerate() {
            let text = without_tags(line);
            if let Some(section) = text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
                self.section = (!section.contains('{')).then(|| section.to_owned());
            } else if fold(split(text).0) == self.key {
                let place = Place { file: file.origin.clone(), line: index + 1 };
                self.found.push((self.section.clone(), place));
            }
            for piece in scan::includes(line) {
                self.file(&format!("{PIECES}{}", piece.trim_start_matches("shared/")));
            }
        }
        self.open.pop();
    }
}

/// Returns a line without the tags that stand before and behind its text.
fn without_tags(line: &str) -> &str {
    let mut text = line.trim();
    while let Some((_, rest)) = text.strip_prefix("{%").and_then(|rest| rest.split_once("%}")) {
        text = rest.trim_start();
    }
    while let Some((rest, _)) = text.strip_suffix("%}").and_then(|rest| rest.rsplit_once("{%")) {
        text = rest.trim_end();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_option_must_be_found_under_its_section_through_pieces() {
        let mut library = Library::default();
        for (path, text) in [
            (
                "templates/api/api.conf",
                "{% set debug = true -%}\n{% include \"shared/log.conf\" -%}\nhost = x\n\n\
                 {% set section = \"one\" -%}\n{% include \"shared/db.conf\" %}\n[two]\n{%- if var.x %}pool-size = 1{% endif %}\n",
            ),
            ("templates/shared/log.conf", "[DEFAULT]\ndebug = {{ debug }}\n"),
            ("templates/shared/db.conf", "{#- Piece. -#}\n[{{ section }}]\npool_size = 5\nurl = x\n"),
        ] {
            library.insert(path, text, path);
        }
        let find = |section: &str, key: &str| {
            let mut walk =
                Walk { library: &library, key, section: None, found: Vec::new(), open: Vec::new() };
            walk.file("templates/api/api.conf");
            let exact = walk.found.iter().find(|(at, _)| at.as_deref() == Some(section));
            exact
                .or_else(|| walk.found.iter().find(|(at, _)| at.is_none()))
                .map(|(_, place)| place.to_string())
        };
        assert_eq!(find("DEFAULT", "debug").as_deref(), Some("templates/shared/log.conf:2"));
        assert_eq!(find("DEFAULT", "host").as_deref(), Some("templates/api/api.conf:3"));
        assert_eq!(find("two", "pool_size").as_deref(), Some("templates/api/api.conf:8"));
        assert_eq!(find("one", "pool_size").as_deref(), Some("templates/shared/db.conf:3"));
        assert_eq!(find("one", "nothing"), None);
    }
}
