//! What has to be true before the command starts: `--leave-cgroups`, `--mkdir`, `--own`, `--user`,
//! `--require`, in that order. The first three need root, the last must be judged as the user.

mod cgroup;
mod ownership;
mod user;

use alloc::ffi::CString;
use alloc::vec::Vec;
use core::ffi::CStr;

use crate::cli::Options;
use crate::spawn::variable;
use crate::sys::file::{self, Dir};
use crate::sys::process;
use crate::text::Lossy;
use crate::{code, say};

/// Does all preparations; returns the command's environment, or the exit code after saying why.
pub fn all(options: &Options, mut environment: Vec<&'static CStr>) -> Result<Vec<&'static CStr>, u8> {
    if let Some(name) = options.cgroup {
        cgroup::leave(name)?;
    }
    for directory in &options.directories {
        ownership::make_directory(directory)?;
    }
    for tree in &options.owned {
        ownership::give(tree)?;
    }
    if let Some(wanted) = options.user {
        let account = user::look_up(wanted).map_err(|reason| {
            say!("--user {wanted}: {reason}");
            code::CONFIG
        })?;
        become_user(&account)?;
        if variable(&environment, b"HOME").is_none()
            && let Some(home) = account.home
            && let Ok(home) = CString::new([b"HOME=", &home[..]].concat())
        {
            // Leaked, once: the environment lives as long as the process.
            environment.push(alloc::boxed::Box::leak(home.into_boxed_c_str()));
        }
    }
    require(&options.required)?;
    Ok(environment)
}

/// Also PID 1 itself becomes the user. As root it keeps one power, if it has it: to signal
/// processes of other users, which helpers started through sudo are.
fn become_user(account: &user::Account) -> Result<(), u8> {
    let was_root = process::effective_user() == 0;
    if !was_root && (process::effective_user(), process::effective_group()) == (account.user, account.group) {
        // The engine has already done it.
        return Ok(());
    }
    let changed = process::change_identity(account.user, account.group, &account.groups).and_then(|()| {
        if was_root && account.user != 0 { process::keep_only(process::CAP_KILL) } else { Ok(()) }
    });
    changed.map_err(|errno| {
        say!("cannot become user {}, group {}: {errno}", account.user, account.group);
        code::SYSTEM
    })
}

/// Names every file that the command would miss, not only the first.
fn require(files: &[&'static CStr]) -> Result<(), u8> {
    let mut result = Ok(());
    for path in files {
        let mut byte = [0];
        // Reading, because a directory opens too.
        let readable = file::open_read(Dir::CURRENT, path).and_then(|fd| file::read(&fd, &mut byte));
        if let Err(errno) = readable {
            let user = process::effective_user();
            say!("required file {} cannot be read by user {user}: {errno}", Lossy(path.to_bytes()));
            result = Err(code::CONFIG);
        }
    }
    result
}
