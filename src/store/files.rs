//! Files that are never half-written and never readable by others.
//!
//! A reader sees the old bytes or the new ones: new bytes go to a temporary file beside the target, reach the disk,
//! and take the name by one rename, which reaches the disk too. Killed in between, a temporary file may stay behind;
//! the next writer that holds the lock removes it ([`sweep`]).

use std::fs::Permissions;
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use nix::fcntl::{Flock, FlockArg};

/// For files that hold secrets.
pub const PRIVATE: u32 = 0o600;
/// For files that anybody may read, in a directory where they may.
pub const PUBLIC: u32 = 0o644;

/// What could not be done with which file.
#[derive(Debug, thiserror::Error)]
pub enum FileError {
    /// The system refused.
    #[error("cannot {action} {}", path.display())]
    Io {
        /// e.g. `read`.
        action: &'static str,
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Others could have read it.
    #[error(
        "{} can be read by others (mode {mode:04o}): run `chmod 600 {}`, and renew what is in it if others had access",
        path.display(),
        path.display()
    )]
    Exposed {
        /// Which.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// Somebody else holds the lock; only [`try_lock`] says so.
    #[error("{} is locked by another process", path.display())]
    Locked {
        /// The lock file.
        path: PathBuf,
    },
}

/// Result of a file operation.
pub type FileResult<T> = Result<T, FileError>;

/// Returns a mapper that adds what was tried, and on which path.
pub(crate) fn at<'a>(action: &'static str, path: &'a Path) -> impl FnOnce(io::Error) -> FileError + 'a {
    move |source| FileError::Io { action, path: path.to_owned(), source }
}

/// Replaces `path` by `bytes` with exactly the permission bits `mode`: killed at any instant, it is the old file or the new.
pub fn write_atomic(path: &Path, bytes: &[u8], mode: u32) -> FileResult<()> {
    let dir = parent(path);
    let mut file = tempfile::Builder::new()
        .prefix(&temporary_prefix(path))
        .suffix(TEMPORARY_SUFFIX)
        .permissions(Permissions::from_mode(PRIVATE))
        .tempfile_in(dir)
        .map_err(at("create a temporary file for", path))?;
    file.write_all(bytes).map_err(at("write", path))?;
    // The umask does not apply to this: the mode is exact, and given before the file has its name.
    file.as_file().set_permissions(Permissions::from_mode(mode)).map_err(at("set the mode of", path))?;
    file.as_file().sync_all().map_err(at("write", path))?;
    file.persist(path).map_err(|error| at("replace", path)(error.error))?;
    sync_dir(dir)
}

/// Makes a directory and its parents; what is made is 0700. One that is there keeps its mode.
pub fn create_private_dir(path: &Path) -> FileResult<()> {
    std::fs::DirBuilder::new().recursive(true).mode(0o700).create(path).map_err(at("create directory", path))
}

/// Reads a file that must not be readable by others; `None` when there is none.
pub fn read_private(path: &Path) -> FileResult<Option<Vec<u8>>> {
    let metadata = match std::fs::metadata(path) {
        Ok(metadata) => metadata,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(at("read", path)(error)),
    };
    let mode = metadata.mode() & 0o7777;
    if mode & 0o077 != 0 {
        return Err(FileError::Exposed { path: path.to_owned(), mode });
    }
    std::fs::read(path).map(Some).map_err(at("read", path))
}

/// Reads a file; `None` when there is none.
pub fn read_optional(path: &Path) -> FileResult<Option<Vec<u8>>> {
    match std::fs::read(path) {
        Ok(bytes) => Ok(Some(bytes)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(at("read", path)(error)),
    }
}

/// Held until it is dropped, or the process ends in whatever way.
#[derive(Debug)]
pub struct FileLock(#[expect(dead_code, reason = "dropping it releases the lock")] Flock<std::fs::File>);

/// Waits for the exclusive lock on `path`, an empty file that is made when it is missing and never removed.
pub fn lock(path: &Path) -> FileResult<FileLock> {
    loop {
        match Flock::lock(open_lock(path)?, FlockArg::LockExclusive) {
            Ok(lock) => return Ok(FileLock(lock)),
            Err((_, nix::errno::Errno::EINTR)) => {}
            Err((_, errno)) => return Err(at("lock", path)(errno.into())),
        }
    }
}

/// Takes the exclusive lock on `path`, or says that somebody holds it.
pub fn try_lock(path: &Path) -> FileResult<FileLock> {
    match Flock::lock(open_lock(path)?, FlockArg::LockExclusiveNonblock) {
        Ok(lock) => Ok(FileLock(lock)),
        Err((_, nix::errno::Errno::EWOULDBLOCK)) => Err(FileError::Locked { path: path.to_owned() }),
        Err((_, errno)) => Err(at("lock", path)(errno.into())),
    }
}

/// Removes the temporary files that killed writers of `path` left. The caller holds the lock that all its writers take.
pub fn sweep(path: &Path) -> FileResult<()> {
    let dir = parent(path);
    let prefix = temporary_prefix(path);
    for entry in std::fs::read_dir(dir).map_err(at("list", dir))? {
        let entry = entry.map_err(at("list", dir))?;
        let name = entry.file_name();
        let name = name.to_string_lossy();
        if name.starts_with(&prefix) && name.ends_with(TEMPORARY_SUFFIX) {
            std::fs::remove_file(entry.path()).map_err(at("remove", &entry.path()))?;
        }
    }
    Ok(())
}

const TEMPORARY_SUFFIX: &str = ".tmp";

fn temporary_prefix(path: &Path) -> String {
    format!(".{}.", path.file_name().unwrap_or_default().to_string_lossy())
}

fn parent(path: &Path) -> &Path {
    path.parent().filter(|dir| !dir.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

fn open_lock(path: &Path) -> FileResult<std::fs::File> {
    std::fs::OpenOptions::new()
        .create(true)
        .truncate(false)
        .write(true)
        .mode(PRIVATE)
        .open(path)
        .map_err(at("open the lock", path))
}

/// A rename is on the disk only when its directory is.
fn sync_dir(dir: &Path) -> FileResult<()> {
    std::fs::File::open(dir).and_then(|dir| dir.sync_all()).map_err(at("sync directory", dir))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mode(path: &Path) -> u32 {
        std::fs::metadata(path).unwrap().mode() & 0o7777
    }

    #[test]
    fn a_written_file_must_have_exactly_the_asked_mode_and_leave_nothing_beside_it() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("secrets.yaml");
        write_atomic(&path, b"old", PUBLIC).unwrap();
        write_atomic(&path, b"new", PRIVATE).unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), b"new");
        assert_eq!(mode(&path), 0o600);
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1);
    }

    #[test]
    fn a_made_directory_must_be_private() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a/b");
        create_private_dir(&path).unwrap();
        assert_eq!(mode(&path), 0o700);
        assert_eq!(mode(&dir.path().join("a")), 0o700);
    }

    #[test]
    fn a_file_that_others_can_read_must_be_refused_with_the_remedy() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("secrets.yaml");
        assert!(read_private(&path).unwrap().is_none());
        write_atomic(&path, b"x", 0o640).unwrap();
        let error = read_private(&path).unwrap_err().to_string();
        assert!(error.contains("mode 0640") && error.contains("chmod 600"), "{error}");
        write_atomic(&path, b"x", PRIVATE).unwrap();
        assert_eq!(read_private(&path).unwrap().unwrap(), b"x");
    }

    #[test]
    fn a_held_lock_must_be_refused_and_a_dropped_one_must_be_free() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("lock");
        let held = lock(&path).unwrap();
        assert!(matches!(try_lock(&path), Err(FileError::Locked { .. })));
        drop(held);
        try_lock(&path).unwrap();
    }

    #[test]
    fn the_sweep_must_remove_only_the_leftovers_of_its_own_file() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("secrets.yaml");
        for name in [".secrets.yaml.aXb1.tmp", ".secrets.yaml.swp", ".other.aXb1.tmp", "secrets.yaml"] {
            std::fs::write(dir.path().join(name), "x").unwrap();
        }
        sweep(&path).unwrap();
        let mut left: Vec<_> = std::fs::read_dir(dir.path())
            .unwrap()
            .map(|e| e.unwrap().file_name().into_string().unwrap())
            .collect();
        left.sort();
        assert_eq!(left, [".other.aXb1.tmp", ".secrets.yaml.swp", "secrets.yaml"]);
    }
}
