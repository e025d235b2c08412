//! Processes: fork, exec, wait, identity, groups and the terminal.

use core::ffi::CStr;

use super::{Errno, Fd, Result, syscall};

pub type Pid = i32;

pub enum Fork {
    Parent(Pid),
    Child,
}

/// What `wait4` said about one child.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Status {
    Exited(u8),
    Killed(u8),
    Stopped,
}

pub enum Wait {
    Changed(Pid, Status),
    /// Children exist, none has anything to report.
    Nothing,
    NoChildren,
}

/// Doubles the process; the child has a copy of everything.
pub fn fork() -> Result<Fork> {
    // SAFETY: takes no arguments, and this program never has a second thread whose locks the
    // child could inherit.
    let pid = unsafe { syscall!(libc::SYS_fork) }?;
    Ok(if pid == 0 { Fork::Child } else { Fork::Parent(pid as Pid) })
}

/// Replaces the program; returns only on failure.
///
/// `argv` and `envp` are null-terminated arrays of C strings.
pub fn exec(path: &CStr, argv: &[*const u8], envp: &[*const u8]) -> Errno {
    debug_assert!(argv.last().is_some_and(|last| last.is_null()));
    debug_assert!(envp.last().is_some_and(|last| last.is_null()));
    // SAFETY: the path is terminated, and both arrays end with null and hold C strings.
    unsafe { syscall!(libc::SYS_execve, path.as_ptr(), argv.as_ptr(), envp.as_ptr()) }
        .err()
        .unwrap_or(Errno(libc::EIO))
}

/// Collects one change of any child (or of `pid`), without blocking unless told to.
pub fn wait(pid: Pid, block: bool) -> Wait {
    let flags = if block { 0 } else { libc::WNOHANG | libc::WUNTRACED };
    let mut status = 0i32;
    loop {
        // SAFETY: `status` is writable; a null rusage is allowed. __WALL because clone(2) may
        // have given orphans another exit signal.
        let result = unsafe { syscall!(libc::SYS_wait4, pid, &raw mut status, flags | libc::__WALL, 0usize) };
        return match result {
            Ok(0) => Wait::Nothing,
            Ok(pid) => Wait::Changed(pid as Pid, decode(status)),
            Err(Errno(libc::EINTR)) => continue,
            Err(_) => Wait::NoChildren,
        };
    }
}

fn decode(status: i32) -> Status {
    if libc::WIFEXITED(status) {
        Status::Exited(libc::WEXITSTATUS(status) as u8)
    } else if libc::WIFSIGNALED(status) {
        Status::Killed(libc::WTERMSIG(status) as u8)
    } else {
        Status::Stopped
    }
}

fn get(number: libc::c_long) -> i32 {
    // SAFETY: getpid and its like take no arguments and cannot fail.
    unsafe { syscall!(number) }.map_or(0, |value| value as i32)
}

pub fn own_pid() -> Pid {
    get(libc::SYS_getpid)
}

pub fn parent_pid() -> Pid {
    get(libc::SYS_getppid)
}

pub fn own_group() -> Pid {
    get(libc::SYS_getpgrp)
}

pub fn effective_user() -> u32 {
    get(libc::SYS_geteuid).cast_unsigned()
}

pub fn effective_group() -> u32 {
    get(libc::SYS_getegid).cast_unsigned()
}

pub fn set_group(pid: Pid, group: Pid) -> Result<()> {
    // SAFETY: takes no pointers.
    unsafe { syscall!(libc::SYS_setpgid, pid, group) }.map(drop)
}

pub fn group_of(pid: Pid) -> Option<Pid> {
    // SAFETY: takes no pointers.
    unsafe { syscall!(libc::SYS_getpgid, pid) }.ok().map(|group| group as Pid)
}

/// The foreground process group of the terminal `fd`, if it is our controlling terminal.
pub fn foreground(fd: &Fd) -> Result<Pid> {
    let mut group = 0i32;
    // SAFETY: TIOCGPGRP writes one pid_t.
    unsafe { syscall!(libc::SYS_ioctl, fd.raw(), libc::TIOCGPGRP, &raw mut group) }?;
    Ok(group)
}

pub fn set_foreground(fd: &Fd, group: Pid) -> Result<()> {
    // SAFETY: TIOCSPGRP reads one pid_t.
    unsafe { syscall!(libc::SYS_ioctl, fd.raw(), libc::TIOCSPGRP, &raw const group) }.map(drop)
}

fn prctl(option: i32, argument: usize) -> Result<()> {
    // SAFETY: used only with options whose argument is a number.
    unsafe { syscall!(libc::SYS_prctl, option, argument, 0usize, 0usize, 0usize) }.map(drop)
}

/// Orphaned descendants come to us instead of to PID 1.
pub fn become_subreaper() -> Result<()> {
    prctl(libc::PR_SET_CHILD_SUBREAPER, 1)
}

pub fn set_parent_death_signal(signal: u8) -> Result<()> {
    prctl(libc::PR_SET_PDEATHSIG, usize::from(signal))
}

/// Sets all group and user ids. Keeps the permitted capabilities until [`keep_only`] is called.
pub fn change_identity(user: u32, group: u32, groups: &[u32]) -> Result<()> {
    // SAFETY: the kernel reads `groups.len()` ids; the other calls take numbers only.
    unsafe {
        syscall!(libc::SYS_setgroups, groups.len(), groups.as_ptr())?;
        syscall!(libc::SYS_setresgid, group, group, group)?;
        prctl(libc::PR_SET_KEEPCAPS, 1)?;
        syscall!(libc::SYS_setresuid, user, user, user)?;
    }
    prctl(libc::PR_SET_KEEPCAPS, 0)
}

pub const CAP_KILL: u32 = 5;

#[repr(C)]
#[derive(Clone, Copy, Default)]
struct CapabilityWord {
    effective: u32,
    permitted: u32,
    inheritable: u32,
}

/// Drops every capability except `capability`, which stays if it was permitted.
pub fn keep_only(capability: u32) -> Result<()> {
    const VERSION_3: u32 = 0x2008_0522;
    let header = [VERSION_3, 0];
    let mut words = [CapabilityWord::default(); 2];
    // SAFETY: version 3 means a header of two words and data of two capability words.
    unsafe { syscall!(libc::SYS_capget, header.as_ptr(), words.as_mut_ptr()) }?;
    let kept = words[0].permitted & (1 << capability);
    words[0] = CapabilityWord { effective: kept, permitted: kept, inheritable: 0 };
    words[1] = CapabilityWord::default();
    // SAFETY: as above.
    unsafe { syscall!(libc::SYS_capset, header.as_ptr(), words.as_ptr()) }.map(drop)
}
