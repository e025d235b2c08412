//! What `/proc` tells about other processes.

use alloc::format;
use alloc::vec::Vec;
use core::ffi::CStr;

use crate::sys::file::{self, Dir, Fd};
use crate::sys::process::{self, Pid};
use crate::sys::signal;

pub struct Process {
    pub pid: Pid,
    pub parent: Pid,
    pub zombie: bool,
    pub comm: Vec<u8>,
}

/// Calls `visit` with every process that `/proc` shows; false if there is no `/proc`.
pub fn for_each(mut visit: impl FnMut(Process)) -> bool {
    let Ok(root) = file::open_read(Dir::CURRENT, c"/proc") else { return false };
    let mut any = false;
    let result = file::for_each_entry(&root, |name| {
        if let Some(process) = read(&root, name) {
            any = true;
            visit(process);
        }
    });
    any && result.is_ok()
}

fn read(root: &Fd, name: &CStr) -> Option<Process> {
    let pid: Pid = name.to_str().ok()?.parse().ok()?;
    let stat = file::c_string(format!("{pid}/stat").as_bytes()).ok()?;
    let stat = file::read_all(&file::open_read(root.into(), &stat).ok()?, 1024).ok()?;
    parse_stat(&stat)
}

/// `pid (comm) state parent ...`; the name may hold anything, also parentheses.
fn parse_stat(stat: &[u8]) -> Option<Process> {
    let open = stat.iter().position(|byte| *byte == b'(')?;
    let close = stat.iter().rposition(|byte| *byte == b')')?;
    let pid = core::str::from_utf8(stat.get(..open)?).ok()?.trim().parse().ok()?;
    let mut rest = core::str::from_utf8(stat.get(close + 1..)?).ok()?.split_ascii_whitespace();
    let zombie = matches!(rest.next()?, "Z" | "X");
    let parent = rest.next()?.parse().ok()?;
    Some(Process { pid, parent, zombie, comm: stat.get(open + 1..close)?.into() })
}

/// The command line, one slice an argument.
pub fn command_line(pid: Pid) -> Vec<u8> {
    file::c_string(format!("/proc/{pid}/cmdline").as_bytes())
        .and_then(|path| file::read_path(&path, 8192))
        .unwrap_or_default()
}

/// Sends `signal` to everything that we answer for: the whole namespace as PID 1, else all
/// descendants, also those that changed session. `except_group` is left out.
pub fn signal_all(own: Pid, number: u8, except_group: Option<Pid>) {
    if own == 1 && except_group.is_none() {
        let _ = signal::send(-1, number);
        return;
    }
    let mut all = Vec::new();
    let seen = for_each(|process| all.push((process.pid, process.parent)));
    if !seen && own == 1 {
        // Without /proc the group cannot be left out; better to be told twice than not at all.
        let _ = signal::send(-1, number);
    }
    let targets = if own == 1 { all.iter().map(|(pid, _)| *pid).collect() } else { descendants(own, &all) };
    for pid in targets {
        let spared = except_group.is_some() && process::group_of(pid) == except_group;
        if pid != own && !spared {
            let _ = signal::send(pid, number);
        }
    }
}

/// All processes below `root`, which is not among them.
fn descendants(root: Pid, all: &[(Pid, Pid)]) -> Vec<Pid> {
    let mut found = Vec::new();
    let mut next = 0;
    let mut parent = root;
    loop {
        found.extend(all.iter().filter(|(_, above)| *above == parent).map(|(pid, _)| *pid));
        match found.get(next) {
            Some(pid) => parent = *pid,
            None => return found,
        }
        next += 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stat_lines_survive_hostile_names() {
        let process =
            parse_stat(b"42 (a) Z (b)) S 7 42 42 0 -1").map(|p| (p.pid, p.parent, p.zombie, p.comm));
        assert_eq!(process, Some((42, 7, false, b"a) Z (b)".to_vec())));
        assert!(parse_stat(b"9 (x) Z 1 0").is_some_and(|p| p.zombie));
        assert!(parse_stat(b"").is_none());
        assert!(parse_stat(b"9 )x( S 1").is_none());
    }

    #[test]
    fn descendants_are_found_at_any_depth_and_in_any_order() {
        let all = [(9, 8), (2, 1), (3, 2), (8, 3), (5, 1), (6, 99)];
        let mut found = descendants(2, &all);
        found.sort_unstable();
        assert_eq!(found, [3, 8, 9]);
    }
}
