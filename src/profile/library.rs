//! The library of services and images, as a plain value.
//!
//! The shell fills it (`store::library`): the files embedded in the program, the folders a profile names under
//! `library:` layered over them, and the profile's overrides folder. Nothing in the core opens a file.

use std::collections::BTreeMap;

/// The top folders of a [`Library`].
pub const TEMPLATES: &str = "templates/";
/// Pieces that templates of all services include: `shared/NAME` in an `include`.
pub const PIECES: &str = "templates/shared/";
/// Image folders.
pub const IMAGES: &str = "images/";
/// The operator's overrides.
pub const OVERRIDES: &str = "overrides/";

/// One file of the library.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LibraryFile {
    /// The bytes.
    pub bytes: Vec<u8>,
    /// Where it came from, as people find it: a path, or `(built in) templates/...`.
    pub origin: String,
}

/// Everything that a profile is resolved against.
///
/// Keys are paths with `/`: `templates/keystone/service.yaml`, `images/keystone/Dockerfile`, `overrides/keystone.conf`,
/// `overrides/node1/keystone.conf`.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Library {
    /// By path.
    pub files: BTreeMap<String, LibraryFile>,
}

impl Library {
    /// Adds or replaces one file.
    pub fn insert(&mut self, path: impl Into<String>, bytes: impl Into<Vec<u8>>, origin: impl Into<String>) {
        self.files.insert(path.into(), LibraryFile { bytes: bytes.into(), origin: origin.into() });
    }

    /// Returns one file.
    pub fn get(&self, path: &str) -> Option<&LibraryFile> {
        self.files.get(path)
    }

    /// Returns the files below `prefix`, by the rest of their path.
    pub fn under<'a>(&'a self, prefix: &'a str) -> impl Iterator<Item = (&'a str, &'a LibraryFile)> + 'a {
        self.files
            .range(prefix.to_owned()..)
            .map_while(move |(path, file)| path.strip_prefix(prefix).map(|rest| (rest, file)))
    }

    /// Returns the names of all services: the folders below `templates/` that hold a `service.yaml`.
    pub fn services(&self) -> impl Iterator<Item = &str> {
        self.under(TEMPLATES)
            .filter_map(|(rest, _)| rest.strip_suffix("/service.yaml").filter(|name| !name.contains('/')))
    }

    /// Returns what templates include. A piece that is not text is left out, as if it were not there.
    pub fn pieces(&self) -> crate::template::Pieces {
        let text = |file: &LibraryFile| std::str::from_utf8(&file.bytes).ok().map(str::to_owned);
        let pieces =
            self.under(PIECES).filter_map(|(rest, file)| Some((format!("shared/{rest}"), text(file)?)));
        std::sync::Arc::new(pieces.collect())
    }

    /// Returns the names of all image folders: those below `images/` with a `Dockerfile`.
    pub fn images(&self) -> impl Iterator<Item = &str> {
        self.under(IMAGES)
            .filter_map(|(rest, _)| rest.strip_suffix("/Dockerfile").filter(|name| !name.contains('/')))
    }
}
