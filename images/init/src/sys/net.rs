//! Stream sockets that never block: every operation says EAGAIN instead, and [`wait_ready`]
//! sleeps until it may succeed or a deadline passes.

use core::net::SocketAddr;

use super::file::Fd;
use super::{Errno, Result, syscall};

#[derive(Clone, Copy)]
pub enum Ready {
    Read,
    Write,
}

fn socket(family: i32) -> Result<Fd> {
    let kind = libc::SOCK_STREAM | libc::SOCK_NONBLOCK | libc::SOCK_CLOEXEC;
    // SAFETY: takes no pointers.
    unsafe { syscall!(libc::SYS_socket, family, kind, 0) }.map(Fd::from_raw)
}

/// Starts a connection; EINPROGRESS is success, to be followed by [`wait_ready`] for writing and
/// [`connection_error`].
pub fn connect(address: &SocketAddr) -> Result<Fd> {
    let fd;
    let result = match address {
        SocketAddr::V4(v4) => {
            fd = socket(libc::AF_INET)?;
            let raw = libc::sockaddr_in {
                sin_family: libc::AF_INET as u16,
                sin_port: v4.port().to_be(),
                sin_addr: libc::in_addr { s_addr: u32::from_ne_bytes(v4.ip().octets()) },
                sin_zero: [0; 8],
            };
            // SAFETY: the address is valid for its size.
            unsafe { syscall!(libc::SYS_connect, fd.raw(), &raw const raw, size_of_val(&raw)) }
        }
        SocketAddr::V6(v6) => {
            fd = socket(libc::AF_INET6)?;
            let raw = libc::sockaddr_in6 {
                sin6_family: libc::AF_INET6 as u16,
                sin6_port: v6.port().to_be(),
                sin6_flowinfo: 0,
                sin6_addr: libc::in6_addr { s6_addr: v6.ip().octets() },
                sin6_scope_id: v6.scope_id(),
            };
            // SAFETY: the address is valid for its size.
            unsafe { syscall!(libc::SYS_connect, fd.raw(), &raw const raw, size_of_val(&raw)) }
        }
    };
    match result {
        Ok(_) | Err(Errno(libc::EINPROGRESS)) => Ok(fd),
        Err(errno) => Err(errno),
    }
}

/// Connects to a socket file. EAGAIN means that its queue is full.
pub fn connect_unix(path: &[u8]) -> Result<Fd> {
    let mut raw = libc::sockaddr_un { sun_family: libc::AF_UNIX as u16, sun_path: [0; 108] };
    if path.len() >= raw.sun_path.len() {
        return Err(Errno(libc::ENAMETOOLONG));
    }
    for (to, from) in raw.sun_path.iter_mut().zip(path) {
        *to = from.cast_signed();
    }
    let fd = socket(libc::AF_UNIX)?;
    // SAFETY: the address is valid for its size and terminated.
    unsafe { syscall!(libc::SYS_connect, fd.raw(), &raw const raw, size_of_val(&raw)) }?;
    Ok(fd)
}

/// Whether `fd` became ready within `milliseconds`.
pub fn wait_ready(fd: &Fd, ready: Ready, milliseconds: u64) -> Result<bool> {
    let events = match ready {
        Ready::Read => libc::POLLIN,
        Ready::Write => libc::POLLOUT,
    };
    let mut entry = libc::pollfd { fd: fd.raw(), events, revents: 0 };
    let timeout = i32::try_from(milliseconds).unwrap_or(i32::MAX);
    // SAFETY: one entry is announced and given.
    unsafe { syscall!(libc::SYS_poll, &raw mut entry, 1usize, timeout) }.map(|count| count > 0)
}

/// How a connection attempt ended.
pub fn connection_error(fd: &Fd) -> Result<()> {
    let mut error = 0i32;
    let mut size = 4u32;
    // SAFETY: SO_ERROR is an int, and both pointers are writable.
    unsafe {
        syscall!(
            libc::SYS_getsockopt,
            fd.raw(),
            libc::SOL_SOCKET,
            libc::SO_ERROR,
            &raw mut error,
            &raw mut size
        )
    }?;
    if error == 0 { Ok(()) } else { Err(Errno(error)) }
}

/// Sends what fits, without SIGPIPE.
pub fn send(fd: &Fd, bytes: &[u8]) -> Result<usize> {
    // SAFETY: the kernel reads `len` bytes of the slice.
    unsafe {
        syscall!(libc::SYS_sendto, fd.raw(), bytes.as_ptr(), bytes.len(), libc::MSG_NOSIGNAL, 0usize, 0usize)
    }
}

pub fn receive(fd: &Fd, buffer: &mut [u8]) -> Result<usize> {
    // SAFETY: the kernel writes at most `len` bytes into the buffer.
    unsafe { syscall!(libc::SYS_recvfrom, fd.raw(), buffer.as_mut_ptr(), buffer.len(), 0, 0usize, 0usize) }
}
