//! Files, directories and descriptors.

use alloc::ffi::CString;
use alloc::vec::Vec;
use core::ffi::CStr;

use super::{Errno, Result, syscall};

/// An open descriptor; standard ones are borrowed and never closed.
pub struct Fd(i32);

pub const STDIN: Fd = Fd(0);
pub const STDOUT: Fd = Fd(1);
pub const STDERR: Fd = Fd(2);

impl Fd {
    pub(super) fn from_raw(raw: usize) -> Self {
        Self(raw as i32)
    }

    pub fn raw(&self) -> i32 {
        self.0
    }
}

impl Drop for Fd {
    fn drop(&mut self) {
        if self.0 > 2 {
            // SAFETY: takes no pointers, and the descriptor is ours.
            let _ = unsafe { syscall!(libc::SYS_close, self.0) };
        }
    }
}

/// What `lstat` tells.
#[derive(Clone, Copy)]
pub struct Meta {
    pub user: u32,
    pub group: u32,
    /// Seconds since 1970.
    pub modified: i64,
    mode: u32,
}

impl Meta {
    #[cfg(test)]
    pub fn new(mode: u32) -> Self {
        Self { user: 0, group: 0, modified: 0, mode }
    }

    pub fn is_directory(self) -> bool {
        self.mode & libc::S_IFMT == libc::S_IFDIR
    }

    pub fn is_file(self) -> bool {
        self.mode & libc::S_IFMT == libc::S_IFREG
    }

    pub fn permissions(self) -> u32 {
        self.mode & 0o7777
    }
}

/// Where a relative path starts.
#[derive(Clone, Copy)]
pub struct Dir(i32);

impl Dir {
    pub const CURRENT: Self = Self(libc::AT_FDCWD);
}

impl From<&Fd> for Dir {
    fn from(fd: &Fd) -> Self {
        Self(fd.0)
    }
}

/// A C string from bytes without a zero in them.
pub fn c_string(bytes: &[u8]) -> Result<CString> {
    CString::new(bytes).map_err(|_| Errno(libc::EINVAL))
}

fn open_at(dir: Dir, path: &CStr, flags: i32) -> Result<Fd> {
    // SAFETY: the path is terminated.
    unsafe { syscall!(libc::SYS_openat, dir.0, path.as_ptr(), flags | libc::O_CLOEXEC, 0) }.map(Fd::from_raw)
}

pub fn open_read(dir: Dir, path: &CStr) -> Result<Fd> {
    open_at(dir, path, libc::O_RDONLY)
}

/// Opens what is really there: never through a symbolic link, never waiting for a FIFO's writer.
pub fn open_itself(dir: Dir, path: &CStr) -> Result<Fd> {
    open_at(dir, path, libc::O_RDONLY | libc::O_NOFOLLOW | libc::O_NONBLOCK)
}

pub fn open_write(path: &CStr) -> Result<Fd> {
    open_at(Dir::CURRENT, path, libc::O_WRONLY)
}

pub fn read(fd: &Fd, buffer: &mut [u8]) -> Result<usize> {
    loop {
        // SAFETY: the kernel writes at most `len` bytes into the buffer.
        match unsafe { syscall!(libc::SYS_read, fd.0, buffer.as_mut_ptr(), buffer.len()) } {
            Err(Errno(libc::EINTR)) => {}
            result => return result,
        }
    }
}

pub fn write(fd: &Fd, bytes: &[u8]) -> Result<usize> {
    // SAFETY: the kernel reads `len` bytes of the slice.
    unsafe { syscall!(libc::SYS_write, fd.0, bytes.as_ptr(), bytes.len()) }
}

/// All of a file that fits in `limit` bytes.
pub fn read_all(fd: &Fd, limit: usize) -> Result<Vec<u8>> {
    let mut content = Vec::new();
    let mut buffer = [0; 2048];
    while content.len() < limit {
        let count = read(fd, &mut buffer)?;
        if count == 0 {
            break;
        }
        content.extend_from_slice(buffer.get(..count).unwrap_or_default());
    }
    Ok(content)
}

pub fn read_path(path: &CStr, limit: usize) -> Result<Vec<u8>> {
    read_all(&open_read(Dir::CURRENT, path)?, limit)
}

fn stat(dir: Dir, path: &CStr, flags: i32) -> Result<libc::stat> {
    // SAFETY: `stat` is plain data, for which zeros are valid.
    let mut stat: libc::stat = unsafe { core::mem::zeroed() };
    // SAFETY: the path is terminated, `stat` has the kernel's layout on x86_64.
    unsafe { syscall!(libc::SYS_newfstatat, dir.0, path.as_ptr(), &raw mut stat, flags) }?;
    Ok(stat)
}

pub fn meta(dir: Dir, path: &CStr) -> Result<Meta> {
    let stat = stat(dir, path, libc::AT_SYMLINK_NOFOLLOW)?;
    Ok(Meta { user: stat.st_uid, group: stat.st_gid, modified: stat.st_mtime, mode: stat.st_mode })
}

/// The inode, if it is a socket: of an entry in `/proc/PID/fd`, what that descriptor is.
pub fn socket(dir: Dir, path: &CStr) -> Option<u64> {
    let stat = stat(dir, path, 0).ok()?;
    (stat.st_mode & libc::S_IFMT == libc::S_IFSOCK).then_some(stat.st_ino)
}

/// The inode number of what a path leads to.
pub fn inode(path: &CStr) -> Result<u64> {
    // SAFETY: `stat` is plain data, for which zeros are valid.
    let mut stat: libc::stat = unsafe { core::mem::zeroed() };
    // SAFETY: the path is terminated, `stat` has the kernel's layout on x86_64.
    unsafe { syscall!(libc::SYS_newfstatat, Dir::CURRENT.0, path.as_ptr(), &raw mut stat, 0) }?;
    Ok(stat.st_ino)
}

/// Changes the owner of the entry itself, also of a symbolic link.
pub fn change_owner(dir: Dir, path: &CStr, user: u32, group: u32) -> Result<()> {
    let flags = libc::AT_SYMLINK_NOFOLLOW;
    // SAFETY: the path is terminated.
    unsafe { syscall!(libc::SYS_fchownat, dir.0, path.as_ptr(), user, group, flags) }.map(drop)
}

pub fn change_mode(fd: &Fd, mode: u32) -> Result<()> {
    // SAFETY: takes no pointers.
    unsafe { syscall!(libc::SYS_fchmod, fd.0, mode) }.map(drop)
}

pub fn make_directory(path: &CStr, mode: u32) -> Result<()> {
    // SAFETY: the path is terminated.
    unsafe { syscall!(libc::SYS_mkdirat, libc::AT_FDCWD, path.as_ptr(), mode) }.map(drop)
}

pub fn change_directory(path: &CStr) -> Result<()> {
    // SAFETY: the path is terminated.
    unsafe { syscall!(libc::SYS_chdir, path.as_ptr()) }.map(drop)
}

/// Closes every descriptor from `first` on, whoever opened it.
pub fn close_from(first: u32) {
    // SAFETY: takes no pointers; the caller keeps no `Fd` beyond this point.
    let _ = unsafe { syscall!(libc::SYS_close_range, first, u32::MAX, 0) };
}

/// A pipe whose ends vanish at exec: (read end, write end).
pub fn pipe() -> Result<(Fd, Fd)> {
    let mut ends = [0i32; 2];
    // SAFETY: the kernel writes two descriptors.
    unsafe { syscall!(libc::SYS_pipe2, ends.as_mut_ptr(), libc::O_CLOEXEC) }?;
    Ok((Fd(ends[0]), Fd(ends[1])))
}

/// Calls `visit` with the name of every entry but `.` and `..`.
pub fn for_each_entry(directory: &Fd, mut visit: impl FnMut(&CStr)) -> Result<()> {
    const NAME: usize = 19;
    let mut buffer = [0u8; 2048];
    loop {
        // SAFETY: the kernel writes at most `len` bytes.
        let filled =
            unsafe { syscall!(libc::SYS_getdents64, directory.0, buffer.as_mut_ptr(), buffer.len()) }?;
        if filled == 0 {
            return Ok(());
        }
        let mut rest = buffer.get(..filled).unwrap_or_default();
        // A record: inode (8), offset (8), its own length (2), type (1), terminated name.
        while let Some(&[low, high]) = rest.get(16..18) {
            let length = usize::from(u16::from_ne_bytes([low, high]));
            let name = rest.get(NAME..length).unwrap_or_default();
            if let Ok(name) = CStr::from_bytes_until_nul(name)
                && name != c"."
                && name != c".."
            {
                visit(name);
            }
            rest = rest.get(length.max(NAME)..).unwrap_or_default();
        }
    }
}
