//! `--mkdir` and `--own`. Touches only what differs, so that a second start writes nothing and
//! needs no right to write; never follows a symbolic link inside a tree.

use core::ffi::CStr;

use crate::cli::Ownership;
use crate::sys::file::{self, Dir, Fd, Meta};
use crate::sys::{Errno, Result};
use crate::text::Lossy;
use crate::{code, say};

/// Deeper trees are refused: each level costs a descriptor and a stack frame of PID 1.
const DEEPEST: usize = 200;

/// Makes the directory, and missing parents with mode 0755; an existing one is adjusted.
pub fn make_directory(wanted: &Ownership) -> core::result::Result<(), u8> {
    let path = &wanted.path[..];
    let separators = path.iter().enumerate().skip(1).filter(|(_, byte)| **byte == b'/');
    for (at, _) in separators {
        let parent = path.get(..at).unwrap_or_default();
        report(parent, "make", file::c_string(parent).and_then(|parent| create(&parent, 0o755)))?;
    }
    let made = file::c_string(path).and_then(|path| {
        create(&path, 0o700)?;
        let meta = file::meta(Dir::CURRENT, &path)?;
        if !meta.is_directory() {
            return Err(Errno(libc::ENOTDIR));
        }
        adjust(Dir::CURRENT, &path, meta, wanted)
    });
    report(path, "make", made)
}

fn create(path: &CStr, mode: u32) -> Result<()> {
    match file::make_directory(path, mode) {
        Err(Errno(libc::EEXIST)) => Ok(()),
        result => result,
    }
}

/// Gives the whole tree to its owner.
pub fn give(wanted: &Ownership) -> core::result::Result<(), u8> {
    let given = file::c_string(&wanted.path).and_then(|path| walk(Dir::CURRENT, &path, wanted, 0));
    report(&wanted.path, "own", given)
}

fn report(path: &[u8], verb: &str, result: Result<()>) -> core::result::Result<(), u8> {
    result.map_err(|errno| {
        say!("cannot {verb} {}: {errno}", Lossy(path));
        code::SYSTEM
    })
}

fn walk(dir: Dir, name: &CStr, wanted: &Ownership, depth: usize) -> Result<()> {
    if depth > DEEPEST {
        return Err(Errno(libc::ELOOP));
    }
    let meta = file::meta(dir, name)?;
    adjust(dir, name, meta, wanted)?;
    if !meta.is_directory() {
        return Ok(());
    }
    let directory = file::open_itself(dir, name)?;
    let mut result = Ok(());
    file::for_each_entry(&directory, |entry| {
        if result.is_ok() {
            result = match walk(Dir::from(&directory), entry, wanted, depth + 1) {
                // Somebody removed it meanwhile: nothing is left to own.
                Err(Errno(libc::ENOENT)) => Ok(()),
                result => result,
            };
        }
    })?;
    result
}

fn adjust(dir: Dir, name: &CStr, meta: Meta, wanted: &Ownership) -> Result<()> {
    if (meta.user, meta.group) != (wanted.user, wanted.group) {
        file::change_owner(dir, name, wanted.user, wanted.group)?;
    }
    if let Some(mode) = wanted_mode(meta, wanted.mode)
        && mode != meta.permissions()
    {
        let opened: Fd = file::open_itself(dir, name)?;
        file::change_mode(&opened, mode)?;
    }
    Ok(())
}

/// One mode for a whole tree: directories can be entered by whoever may read them, and files
/// are executable only if they were. Links and special files keep theirs.
fn wanted_mode(meta: Meta, mode: Option<u32>) -> Option<u32> {
    let mode = mode?;
    if meta.is_directory() {
        Some(mode | (mode & 0o444) >> 2)
    } else if meta.is_file() {
        let executable = meta.permissions() & 0o111 != 0;
        Some(if executable { mode | (mode & 0o444) >> 2 } else { mode & !0o111 })
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mode_keeps_files_unexecutable_and_directories_enterable() {
        let (directory, plain, program) = (
            Meta::new(libc::S_IFDIR | 0o700),
            Meta::new(libc::S_IFREG | 0o600),
            Meta::new(libc::S_IFREG | 0o755),
        );
        assert_eq!(wanted_mode(directory, Some(0o640)), Some(0o750));
        assert_eq!(wanted_mode(plain, Some(0o750)), Some(0o640));
        assert_eq!(wanted_mode(program, Some(0o640)), Some(0o750));
        assert_eq!(wanted_mode(Meta::new(libc::S_IFLNK | 0o777), Some(0o640)), None);
        assert_eq!(wanted_mode(plain, None), None);
    }
}
