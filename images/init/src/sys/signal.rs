//! Signals: blocking, waiting, sending, dispositions.

use core::ptr::null;

use super::{Errno, Result, syscall, timespec};

/// Bytes of the kernel's signal set, which all `rt_` calls want to hear.
const SET_SIZE: usize = 8;

/// The kernel's signal set: bit n-1 stands for signal n.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Set(pub u64);

/// The kernel's `struct sigaction`, which differs from the C library's.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct Disposition {
    handler: usize,
    flags: u64,
    restorer: usize,
    mask: u64,
}

impl Disposition {
    pub const DEFAULT: Self = Self { handler: libc::SIG_DFL, flags: 0, restorer: 0, mask: 0 };
}

/// One received signal, reduced to what decisions need.
pub struct Received {
    pub signal: u8,
    /// The sender, 0 when it lives outside our PID namespace.
    pub sender: i32,
}

/// Replaces the signal mask and returns the old one.
pub fn set_mask(set: Set) -> Set {
    let mut old = Set(0);
    // SAFETY: both sets are 8 bytes, as announced.
    let _ = unsafe {
        syscall!(libc::SYS_rt_sigprocmask, libc::SIG_SETMASK, &raw const set, &raw mut old, SET_SIZE)
    };
    old
}

/// Sets the disposition of `signal` and returns the old one.
pub fn set_disposition(signal: i32, new: &Disposition) -> Result<Disposition> {
    let mut old = Disposition::DEFAULT;
    // SAFETY: both structures have the kernel's layout; no handler of ours is ever installed.
    unsafe {
        syscall!(libc::SYS_rt_sigaction, signal, &raw const *new, &raw mut old, SET_SIZE)?;
    }
    Ok(old)
}

/// Sleeps until any blocked signal is pending, or for `timeout` milliseconds: `None` is the end
/// of the timeout. Without a timeout the process is not woken at all.
pub fn wait(timeout: Option<u64>) -> Option<Received> {
    let all = Set(u64::MAX);
    let time = timeout.map(timespec);
    let time_pointer = time.as_ref().map_or(null(), core::ptr::from_ref);
    loop {
        // SAFETY: `siginfo_t` is plain data, for which zeros are valid.
        let mut info: libc::siginfo_t = unsafe { core::mem::zeroed() };
        // SAFETY: all pointers are valid for the call, the timeout may be null.
        let result = unsafe {
            syscall!(libc::SYS_rt_sigtimedwait, &raw const all, &raw mut info, time_pointer, SET_SIZE)
        };
        match result {
            Ok(signal) => {
                // SAFETY: the kernel filled the structure; for signals without a sender the
                // field holds other plain integers, and the caller only compares it.
                let sender = unsafe { info.si_pid() };
                return Some(Received { signal: signal as u8, sender });
            }
            // A stop and continue interrupts the wait; its SIGCONT is pending then.
            Err(Errno(libc::EINTR)) if timeout.is_none() => {}
            Err(_) => return None,
        }
    }
}

/// `kill(2)`: a process, a group (negative) or everything (-1).
pub fn send(target: i32, signal: u8) -> Result<()> {
    // SAFETY: takes no pointers.
    unsafe { syscall!(libc::SYS_kill, target, u32::from(signal)) }.map(drop)
}
