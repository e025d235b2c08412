//! Error numbers and their words, for the one-line reasons that end up in a container's log.

use core::fmt;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Errno(pub i32);

impl fmt::Display for Errno {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let words = match self.0 {
            libc::EPERM => "Operation not permitted",
            libc::ENOENT => "No such file or directory",
            libc::ESRCH => "No such process",
            libc::EINTR => "Interrupted system call",
            libc::EIO => "Input/output error",
            libc::ENXIO => "No such device or address",
            libc::E2BIG => "Argument list too long",
            libc::ENOEXEC => "Exec format error",
            libc::EBADF => "Bad file descriptor",
            libc::EAGAIN => "Resource temporarily unavailable",
            libc::ENOMEM => "Cannot allocate memory",
            libc::EACCES => "Permission denied",
            libc::EBUSY => "Device or resource busy",
            libc::EEXIST => "File exists",
            libc::ENODEV => "No such device",
            libc::ENOTDIR => "Not a directory",
            libc::EISDIR => "Is a directory",
            libc::EINVAL => "Invalid argument",
            libc::EMFILE => "Too many open files",
            libc::ENOTTY => "Inappropriate ioctl for device",
            libc::ETXTBSY => "Text file busy",
            libc::ENOSPC => "No space left on device",
            libc::EROFS => "Read-only file system",
            libc::EPIPE => "Broken pipe",
            libc::ENAMETOOLONG => "File name too long",
            libc::ELOOP => "Too many levels of symbolic links",
            libc::ENOTSOCK => "Socket operation on non-socket",
            libc::EPROTOTYPE => "Protocol wrong type for socket",
            libc::EAFNOSUPPORT => "Address family not supported by protocol",
            libc::EADDRNOTAVAIL => "Cannot assign requested address",
            libc::ENETUNREACH => "Network is unreachable",
            libc::ECONNABORTED => "Software caused connection abort",
            libc::ECONNRESET => "Connection reset by peer",
            libc::ETIMEDOUT => "timed out",
            libc::ECONNREFUSED => "Connection refused",
            libc::EHOSTUNREACH => "No route to host",
            number => return write!(out, "error {number}"),
        };
        out.write_str(words)
    }
}
