//! The build context as a tar archive: the same input gives the same bytes.

use std::collections::BTreeMap;
use std::io;

use bytes::Bytes;

/// All times in the archive: early, but after 1970, which some tools take for "unknown".
const TIME: u64 = 1;

/// Packs files. A file that begins with `#!` is executable; nothing else is told of modes and owners.
pub fn pack(files: &BTreeMap<String, &[u8]>) -> io::Result<Bytes> {
    let mut archive = tar::Builder::new(Vec::new());
    archive.mode(tar::HeaderMode::Deterministic);
    for (path, bytes) in files {
        let mut header = tar::Header::new_gnu();
        header.set_entry_type(tar::EntryType::Regular);
        header.set_size(bytes.len() as u64);
        header.set_mode(if bytes.starts_with(b"#!") { 0o755 } else { 0o644 });
        header.set_uid(0);
        header.set_gid(0);
        header.set_mtime(TIME);
        archive.append_data(&mut header, path, *bytes)?;
    }
    archive.into_inner().map(Bytes::from)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_files_must_give_the_same_bytes_and_scripts_must_be_executable() {
        let long = format!("deep/{}/file", "folder".repeat(30));
        let files: BTreeMap<String, &[u8]> =
            [("b".to_owned(), &b"#!/bin/sh\n"[..]), ("a".to_owned(), b"x"), (long.clone(), b"y")].into();
        let bytes = pack(&files).unwrap();
        assert_eq!(bytes, pack(&files).unwrap());
        let mut archive = tar::Archive::new(&bytes[..]);
        let entries: Vec<(String, u32, u64)> = archive
            .entries()
            .unwrap()
            .map(|entry| {
                let entry = entry.unwrap();
                let path = entry.path().unwrap().display().to_string();
                (path, entry.header().mode().unwrap(), entry.header().mtime().unwrap())
            })
            .collect();
        assert_eq!(entries, [("a".to_owned(), 0o644, 1), ("b".to_owned(), 0o755, 1), (long, 0o644, 1)]);
    }
}
