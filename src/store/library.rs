//! Reads the library: what the binary carries, and the folders layered over it.

use std::path::{Path, PathBuf};

use fs_err as fs;
use rust_embed::RustEmbed;

use crate::profile::Library;

/// The folders that make up a library.
const FOLDERS: [&str; 3] = ["images", "profiles", "templates"];

/// Sources of `mastic-init`: they lie under `images/`, but are a crate of this program, not an image folder.
const NOT_AN_IMAGE: &str = "images/init/";

#[derive(RustEmbed)]
#[folder = "images/"]
#[prefix = "images/"]
#[allow_missing = true]
struct Images;

#[derive(RustEmbed)]
#[folder = "profiles/"]
#[prefix = "profiles/"]
#[allow_missing = true]
struct Profiles;

#[derive(RustEmbed)]
#[folder = "templates/"]
#[prefix = "templates/"]
#[allow_missing = true]
struct Templates;

/// Why a folder cannot be part of the library.
#[derive(Debug, thiserror::Error)]
pub enum LibraryError {
    /// The folder is not there.
    #[error("library folder {} does not exist", path.display())]
    Missing {
        /// Which.
        path: PathBuf,
    },
    /// It has none of the expected subfolders: most likely a wrong path.
    #[error("library folder {} has none of images/, profiles/, templates/", path.display())]
    Empty {
        /// Which.
        path: PathBuf,
    },
    /// A path that cannot be written as text.
    #[error("the name of {} in the library is not UTF-8", path.display())]
    NotUtf8 {
        /// Which.
        path: PathBuf,
    },
    /// Reading failed; the source names the path.
    #[error("cannot read the library")]
    Read(#[source] std::io::Error),
}

/// Returns what the binary carries. (Debug builds read the source tree instead, so that a template can be tried at once.)
pub fn embedded() -> Library {
    let mut library = Library::default();
    add::<Images>(&mut library);
    add::<Profiles>(&mut library);
    add::<Templates>(&mut library);
    library
}

fn add<E: RustEmbed>(library: &mut Library) {
    for path in E::iter() {
        if path.starts_with(NOT_AN_IMAGE) || is_litter(&path) {
            continue;
        }
        if let Some(file) = E::get(&path) {
            let origin = format!("(built in) {path}");
            library.insert(path.into_owned(), file.data.into_owned(), origin);
        }
    }
}

/// Reads the library: the embedded one with `extra` folders over it, file by file, later ones winning.
pub fn load(extra: &[PathBuf]) -> Result<Library, LibraryError> {
    let mut library = embedded();
    for folder in extra {
        library.files.extend(read(folder)?.files);
    }
    Ok(library)
}

/// Adds a profile's folder of overrides, as `overrides/...`.
pub fn add_overrides(library: &mut Library, folder: &Path) -> Result<(), LibraryError> {
    if !folder.is_dir() {
        return Err(LibraryError::Missing { path: folder.to_owned() });
    }
    walk(folder, "overrides", library)
}

/// Reads one library folder.
fn read(root: &Path) -> Result<Library, LibraryError> {
    if !root.is_dir() {
        return Err(LibraryError::Missing { path: root.to_owned() });
    }
    let present: Vec<&str> = FOLDERS.into_iter().filter(|folder| root.join(folder).is_dir()).collect();
    if present.is_empty() {
        return Err(LibraryError::Empty { path: root.to_owned() });
    }
    let mut library = Library::default();
    for folder in present {
        walk(&root.join(folder), folder, &mut library)?;
    }
    Ok(library)
}

fn walk(folder: &Path, prefix: &str, library: &mut Library) -> Result<(), LibraryError> {
    for entry in fs::read_dir(folder).map_err(LibraryError::Read)? {
        let entry = entry.map_err(LibraryError::Read)?;
        let Some(name) = entry.file_name().to_str().map(str::to_owned) else {
            return Err(LibraryError::NotUtf8 { path: entry.path() });
        };
        let path = format!("{prefix}/{name}");
        // Links are followed: a library may be put together from links into several checkouts.
        let metadata = fs::metadata(entry.path()).map_err(LibraryError::Read)?;
        if metadata.is_dir() {
            walk(&entry.path(), &path, library)?;
        } else if !path.starts_with(NOT_AN_IMAGE) && !is_litter(&path) {
            let bytes = fs::read(entry.path()).map_err(LibraryError::Read)?;
            library.insert(path, bytes, entry.path().display().to_string());
        }
    }
    Ok(())
}

/// Says whether a file is an editor's, not a person's: it must not change any hash.
fn is_litter(path: &str) -> bool {
    let extension = Path::new(path).extension().and_then(|extension| extension.to_str());
    path.ends_with('~') || matches!(extension, Some("swp" | "orig" | "rej")) || path.ends_with("/.DS_Store")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_must_be_laid_over_the_embedded_library_with_its_own_origin() {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir_all(folder.path().join("templates/toy")).unwrap();
        fs::write(folder.path().join("templates/toy/service.yaml"), "service: toy").unwrap();
        fs::write(folder.path().join("templates/toy/service.yaml~"), "old").unwrap();
        let library = load(&[folder.path().to_owned()]).unwrap();
        let file = library.get("templates/toy/service.yaml").unwrap();
        assert_eq!(file.bytes, b"service: toy");
        assert!(file.origin.starts_with('/'));
        assert!(library.get("templates/toy/service.yaml~").is_none());
        assert!(!library.files.keys().any(|path| path.starts_with(NOT_AN_IMAGE)));
    }

    #[test]
    fn a_folder_that_is_no_library_must_be_refused_by_name() {
        let folder = tempfile::tempdir().unwrap();
        let missing = load(&[folder.path().join("none")]).unwrap_err().to_string();
        assert!(missing.contains("none does not exist"), "{missing}");
        let empty = load(&[folder.path().to_owned()]).unwrap_err().to_string();
        assert!(empty.contains("has none of images/"), "{empty}");
    }
}
