//! Starts the command so that no signal can fall between us and it.
//!
//! All signals stay blocked from our first instruction until the child's last before exec. The
//! parent returns only when exec is known to have happened (the pipe closed itself), so whatever
//! arrives meanwhile is still pending and is forwarded to the finished program. There is no
//! handler anywhere that could swallow one.

use alloc::format;
use alloc::vec::Vec;
use core::ffi::CStr;

use crate::code;
use crate::say;
use crate::sys::process::{self, Fork, Pid};
use crate::sys::signal::{Disposition, Set};
use crate::sys::{self, Errno, file};
use crate::text::Lossy;

const DEFAULT_PATH: &[u8] = b"/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// All that the child needs; made once, so that nothing can fail between fork and exec.
pub struct Program {
    command: Vec<&'static CStr>,
    environment: Vec<&'static CStr>,
    /// What was inherited and goes on to the child.
    mask: Set,
    child_disposition: Disposition,
    pub terminal: bool,
}

impl Program {
    /// Remembers what to pass on, and makes SIGCHLD report children: inherited as ignored it
    /// would make the kernel throw away their exit codes.
    pub fn new(
        command: &[&'static CStr],
        environment: Vec<&'static CStr>,
        mask: Set,
        terminal: bool,
    ) -> Self {
        let child_disposition = sys::signal::set_disposition(libc::SIGCHLD, &Disposition::DEFAULT)
            .unwrap_or(Disposition::DEFAULT);
        Self { command: command.to_vec(), environment, mask, child_disposition, terminal }
    }

    /// Runs the command; on failure says why in one line and returns the exit code for it.
    pub fn spawn(&self) -> Result<Pid, u8> {
        let (started, start) = file::pipe().map_err(|errno| self.failed(errno))?;
        match process::fork().map_err(|errno| self.failed(errno))? {
            Fork::Child => {
                drop(started);
                let errno = self.become_command();
                let _ = file::write(&start, &errno.0.to_ne_bytes());
                sys::exit(code::CANNOT_RUN)
            }
            Fork::Parent(pid) => {
                drop(start);
                // The child does the same; whoever comes first, no signal to the group gets lost.
                let _ = process::set_group(pid, pid);
                let mut reason = [0; 4];
                if let Ok(4) = file::read(&started, &mut reason) {
                    process::wait(pid, true);
                    return Err(self.failed(Errno(i32::from_ne_bytes(reason))));
                }
                Ok(pid)
            }
        }
    }

    fn failed(&self, errno: Errno) -> u8 {
        let name = self.command.first().map_or(&b""[..], |name| name.to_bytes());
        say!("cannot run {}: {errno}", Lossy(name));
        match errno.0 {
            libc::ENOENT | libc::ENOTDIR => code::NOT_FOUND,
            _ => code::CANNOT_RUN,
        }
    }

    /// The child's side. Only returns if the command cannot be executed.
    fn become_command(&self) -> Errno {
        let own = process::own_pid();
        let _ = process::set_group(0, own);
        if self.terminal {
            // SIGTTOU is still blocked, so the background may do this.
            let _ = process::set_foreground(&file::STDIN, own);
        }
        let argv = pointers(&self.command);
        let mut envp = pointers(&self.environment);
        let listen = self.listen_pid(own);
        if let (Some((at, text)), Some(last)) = (&listen, envp.len().checked_sub(1))
            && *at < last
            && let Some(slot) = envp.get_mut(*at)
        {
            *slot = text.as_ptr();
        }
        let _ = sys::signal::set_disposition(libc::SIGCHLD, &self.child_disposition);
        sys::signal::set_mask(self.mask);
        self.execute(&argv, &envp)
    }

    /// Socket activation names the process that is meant: us, until the command takes over.
    fn listen_pid(&self, own: Pid) -> Option<(usize, alloc::string::String)> {
        let at = self.environment.iter().position(|entry| entry.to_bytes().starts_with(b"LISTEN_PID="))?;
        let value = self.environment.get(at)?.to_bytes().get(b"LISTEN_PID=".len()..)?;
        let meant: Pid = core::str::from_utf8(value).ok()?.parse().ok()?;
        (meant == process::parent_pid()).then(|| (at, format!("LISTEN_PID={own}\0")))
    }

    /// Searches PATH as a shell would, and gives the reason that tells most.
    fn execute(&self, argv: &[*const u8], envp: &[*const u8]) -> Errno {
        let Some(name) = self.command.first() else { return Errno(libc::ENOENT) };
        if name.to_bytes().contains(&b'/') {
            return execute_file(name, argv, envp);
        }
        if name.is_empty() {
            return Errno(libc::ENOENT);
        }
        let path = variable(&self.environment, b"PATH").unwrap_or(DEFAULT_PATH);
        let mut reason = Errno(libc::ENOENT);
        for directory in path.split(|byte| *byte == b':') {
            let directory = if directory.is_empty() { b"." } else { directory };
            let candidate = [directory, b"/", name.to_bytes()].concat();
            let Ok(candidate) = file::c_string(&candidate) else { continue };
            match execute_file(&candidate, argv, envp) {
                Errno(libc::ENOENT | libc::ENOTDIR) => {}
                Errno(libc::EACCES) => reason = Errno(libc::EACCES),
                other => return other,
            }
        }
        reason
    }
}

/// A text file without `#!` is a shell script, as for `execvp`.
fn execute_file(path: &CStr, argv: &[*const u8], envp: &[*const u8]) -> Errno {
    let errno = process::exec(path, argv, envp);
    if errno != Errno(libc::ENOEXEC) {
        return errno;
    }
    let mut script = Vec::from([c"/bin/sh".as_ptr().cast(), path.as_ptr().cast()]);
    script.extend_from_slice(argv.get(1..).unwrap_or_default());
    process::exec(c"/bin/sh", &script, envp)
}

fn pointers(strings: &[&'static CStr]) -> Vec<*const u8> {
    let ends = core::iter::once(core::ptr::null());
    strings.iter().map(|text| text.as_ptr().cast()).chain(ends).collect()
}

/// The value of an environment variable.
pub fn variable<'a>(environment: &[&'a CStr], name: &[u8]) -> Option<&'a [u8]> {
    environment.iter().find_map(|entry| entry.to_bytes().strip_prefix(name)?.strip_prefix(b"="))
}
