//! Tar archives as values: what goes up into a container and what comes down from it.
//!
//! Pure: bytes in, bytes out, and the same input gives the same bytes (entries sorted, times zero, numeric owners only).
//! Parent directories are deliberately left out: an engine makes a missing one as `root:root 0755` and leaves an
//! existing one alone, whereas an entry for it would change the owner and mode that the image gave it.

use std::collections::BTreeMap;
use std::io::Read as _;

use bytes::Bytes;

use crate::model::FileSpec;
use crate::model::spec::{INIT_PATH, STAND_BY_PATH};

/// Why bytes are not an archive, or entries cannot become one.
#[derive(Debug, thiserror::Error)]
pub enum ArchiveError {
    /// The archive is damaged or ends early.
    #[error("the archive is damaged")]
    Damaged(#[source] std::io::Error),
    /// An entry has a name that tar cannot hold.
    #[error("{path} cannot be put into an archive")]
    Entry {
        /// Which.
        path: String,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// A path that would leave the archive's root.
    #[error("{path} is not a clean absolute path")]
    Path {
        /// Which.
        path: String,
    },
}

/// What an entry holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Content {
    /// A regular file's bytes.
    File(Bytes),
    /// A directory.
    Directory,
    /// A symbolic link's target.
    Link(String),
}

/// One file, directory or link.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Numeric owner.
    pub uid: u32,
    /// Numeric group.
    pub gid: u32,
    /// Permission bits, e.g. `0o640`.
    pub mode: u32,
    /// What it holds.
    pub content: Content,
}

impl Entry {
    /// Returns a regular file of root's.
    pub fn file(content: impl Into<Bytes>, mode: u32) -> Self {
        Self { uid: 0, gid: 0, mode, content: Content::File(content.into()) }
    }

    /// Returns a directory of root's.
    pub fn directory(mode: u32) -> Self {
        Self { uid: 0, gid: 0, mode, content: Content::Directory }
    }

    /// Returns the bytes, where it is a regular file.
    pub fn bytes(&self) -> Option<&Bytes> {
        match &self.content {
            Content::File(bytes) => Some(bytes),
            Content::Directory | Content::Link(_) => None,
        }
    }
}

/// Entries by absolute path: what a file system, or a part of one, looks like.
pub type Tree = BTreeMap<String, Entry>;

/// Packs the config files of a container and its PID 1, to be uploaded at `/`.
pub fn config(files: &[FileSpec], init: &[u8]) -> Result<Bytes, ArchiveError> {
    let mut tree: Tree = files
        .iter()
        .map(|file| {
            let content = Content::File(Bytes::copy_from_slice(&file.content));
            (file.path.clone(), Entry { uid: file.uid, gid: file.gid, mode: file.mode, content })
        })
        .collect();
    tree.insert(INIT_PATH.to_owned(), Entry::file(Bytes::copy_from_slice(init), 0o755));
    pack(&tree)
}

/// Packs what tells the program of a container to stand by, or to go on ([`STAND_BY_PATH`]).
pub fn standing_by(waits: bool) -> Result<Bytes, ArchiveError> {
    let content: &[u8] = if waits { b"stand by\n" } else { b"" };
    pack(&[(STAND_BY_PATH.to_owned(), Entry::file(content, 0o644))].into())
}

/// Packs entries under their paths, relative to `/`.
pub fn pack(tree: &Tree) -> Result<Bytes, ArchiveError> {
    let mut builder = tar::Builder::new(Vec::new());
    builder.mode(tar::HeaderMode::Deterministic);
    for (path, entry) in tree {
        let name = relative(path)?;
        let mut header = tar::Header::new_gnu();
        header.set_uid(entry.uid.into());
        header.set_gid(entry.gid.into());
        header.set_mode(entry.mode);
        header.set_mtime(0);
        let failed = |source| ArchiveError::Entry { path: path.clone(), source };
        match &entry.content {
            Content::File(bytes) => {
                header.set_entry_type(tar::EntryType::Regular);
                header.set_size(bytes.len() as u64);
                builder.append_data(&mut header, name, bytes.as_ref()).map_err(failed)?;
            }
            Content::Directory => {
                header.set_entry_type(tar::EntryType::Directory);
                header.set_size(0);
                builder.append_data(&mut header, format!("{name}/"), std::io::empty()).map_err(failed)?;
            }
            Content::Link(target) => {
                header.set_entry_type(tar::EntryType::Symlink);
                header.set_size(0);
                builder.append_link(&mut header, name, target).map_err(failed)?;
            }
        }
    }
    builder.into_inner().map(Bytes::from).map_err(ArchiveError::Damaged)
}

/// Unpacks an archive; paths come out absolute, as if it lay at `/`. Devices, pipes and hard links are left out.
pub fn unpack(archive: &[u8]) -> Result<Tree, ArchiveError> {
    let mut tree = Tree::new();
    let mut reader = tar::Archive::new(archive);
    for entry in reader.entries().map_err(ArchiveError::Damaged)? {
        let mut entry = entry.map_err(ArchiveError::Damaged)?;
        let name = String::from_utf8_lossy(&entry.path_bytes()).into_owned();
        let path = absolute(&name)?;
        let content = match entry.header().entry_type() {
            tar::EntryType::Regular | tar::EntryType::Continuous => {
                let mut bytes = Vec::new();
                entry.read_to_end(&mut bytes).map_err(ArchiveError::Damaged)?;
                Content::File(bytes.into())
            }
            tar::EntryType::Directory => Content::Directory,
            tar::EntryType::Symlink => {
                let target = entry.link_name_bytes().unwrap_or_default();
                Content::Link(String::from_utf8_lossy(&target).into_owned())
            }
            _ => continue,
        };
        let number = |value: std::io::Result<u64>| {
            let value = value.map_err(ArchiveError::Damaged)?;
            u32::try_from(value).map_err(|_| ArchiveError::Path { path: path.clone() })
        };
        let (uid, gid) = (number(entry.header().uid())?, number(entry.header().gid())?);
        let mode = entry.header().mode().map_err(ArchiveError::Damaged)? & 0o7777;
        if path != "/" {
            tree.insert(path, Entry { uid, gid, mode, content });
        }
    }
    Ok(tree)
}

/// Returns the name of an absolute path within an archive of `/`.
fn relative(path: &str) -> Result<&str, ArchiveError> {
    let name = path.strip_prefix('/').filter(|name| !name.is_empty());
    name.filter(|name| name.split('/').all(|part| !matches!(part, "" | "." | "..")))
        .ok_or_else(|| ArchiveError::Path { path: path.to_owned() })
}

/// Returns the absolute path of an archive's name, which may begin with `./` or end with `/`.
fn absolute(name: &str) -> Result<String, ArchiveError> {
    let mut path = String::new();
    for part in name.split('/') {
        match part {
            "" | "." => {}
            ".." => return Err(ArchiveError::Path { path: name.to_owned() }),
            part => {
                path.push('/');
                path.push_str(part);
            }
        }
    }
    if path.is_empty() {
        path.push('/');
    }
    Ok(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(path: &str, content: &str) -> FileSpec {
        FileSpec {
            path: path.to_owned(),
            uid: 42425,
            gid: 7,
            mode: 0o640,
            content: content.into(),
            origin: String::new(),
            sensitive: false,
        }
    }

    #[test]
    fn the_same_files_in_any_order_must_give_the_same_bytes() {
        let (a, b) = (file("/etc/keystone/keystone.conf", "[DEFAULT]\n"), file("/etc/hosts", "127.0.0.1\n"));
        let one = config(&[a.clone(), b.clone()], b"init").unwrap();
        assert_eq!(one, config(&[b, a], b"init").unwrap());
    }

    #[test]
    fn only_the_files_themselves_must_be_packed_with_owner_and_mode() {
        let tree = unpack(&config(&[file("/etc/keystone/keystone.conf", "x")], b"init").unwrap()).unwrap();
        assert_eq!(tree.keys().collect::<Vec<_>>(), ["/etc/keystone/keystone.conf", "/mastic-init"]);
        let entry = &tree["/etc/keystone/keystone.conf"];
        assert_eq!((entry.uid, entry.gid, entry.mode), (42425, 7, 0o640));
        assert_eq!(tree["/mastic-init"], Entry::file("init", 0o755));
    }

    #[test]
    fn long_names_links_and_directories_must_survive() {
        let long = format!("/{}/{}", "a".repeat(90), "b".repeat(90));
        let link = Entry { content: Content::Link("../x".to_owned()), ..Entry::file("", 0o777) };
        let tree: Tree = [
            (long, Entry::file("1", 0o600)),
            ("/dir".to_owned(), Entry::directory(0o1777)),
            ("/link".to_owned(), link),
        ]
        .into();
        assert_eq!(unpack(&pack(&tree).unwrap()).unwrap(), tree);
    }

    #[test]
    fn a_path_that_leaves_the_root_must_be_refused() {
        for path in ["relative", "/", "/a/../b", "/a//b"] {
            let tree: Tree = [(path.to_owned(), Entry::file("", 0o600))].into();
            assert!(pack(&tree).is_err(), "{path}");
        }
        assert!(unpack(b"not an archive at all").is_err());
    }
}
