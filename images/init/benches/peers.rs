//! mastic-init beside tini, dumb-init and catatonit, as far as they are installed
//! (`apt-get install tini dumb-init catatonit`). One command prints the table:
//! `cargo bench --package mastic-init --bench peers`.

#![expect(clippy::print_stdout, reason = "the table is the purpose")]

#[path = "../tests/common/mod.rs"]
mod common;

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use common::{As, SOON, Scratch, binary, children, kill, start_command, status_field, tree};

/// Tries for each early-signal figure.
const TIMES: usize = 200;

struct Peer {
    name: &'static str,
    program: PathBuf,
    options: &'static [&'static str],
}

fn main() {
    let system = |name: &str| Path::new("/usr/bin").join(name);
    let peers = [
        ("mastic-init", binary(), &[][..]),
        ("mastic-init --single-child", binary(), &["--single-child"]),
        ("tini -s", system("tini"), &["-s", "--"]),
        ("tini -s -g", system("tini"), &["-s", "-g", "--"]),
        ("tini-static -s", system("tini-static"), &["-s", "--"]),
        ("dumb-init", system("dumb-init"), &["--"]),
        ("dumb-init --single-child", system("dumb-init"), &["--single-child", "--"]),
        ("catatonit", system("catatonit"), &["--"]),
        ("catatonit -g", system("catatonit"), &["-g", "--"]),
    ]
    .map(|(name, program, options)| Peer { name, program, options });
    println!(
        "{:<28}{:>10}{:>9}{:>9}{:>13}{:>16}{:>11}{:>11}",
        "", "bytes", "RssAnon", "VmRSS", "wake-ups/3s", "early TERM lost", "1.5 s left", "setsid"
    );
    for peer in peers.iter().filter(|peer| peer.program.exists()) {
        let (anonymous, resident, wakeups) = idle(peer);
        println!(
            "{:<28}{:>10}{:>9}{:>9}{:>13}{:>16}{:>11}{:>11}",
            peer.name,
            std::fs::metadata(&peer.program).map_or(0, |meta| meta.len()),
            format!("{anonymous} kB"),
            format!("{resident} kB"),
            wakeups,
            format!("{}/{TIMES}", lost(peer)),
            if finishes(peer, "sh") { "finishes" } else { "killed" },
            if finishes(peer, "setsid sh") { "finishes" } else { "killed" },
        );
    }
}

impl Peer {
    fn run(&self, words: &[&str]) -> Command {
        let mut command = Command::new(&self.program);
        command.args(self.options).args(words);
        command
    }
}

/// Memory in kB and wake-ups in three seconds, while the command sleeps.
fn idle(peer: &Peer) -> (u64, u64, u64) {
    let running = start_command(As::Process, peer.run(&["sh", "-c", "echo ready; exec sleep 1000"]));
    running.expect("ready");
    std::thread::sleep(Duration::from_millis(500));
    let number = |field: &str| {
        let text = status_field(running.pid, field).unwrap_or_default();
        text.split(' ').next().and_then(|word| word.parse::<u64>().ok()).unwrap_or(0)
    };
    let before = number("voluntary_ctxt_switches");
    std::thread::sleep(Duration::from_secs(3));
    (number("RssAnon"), number("VmRSS"), number("voluntary_ctxt_switches") - before)
}

/// How often TERM, sent as soon as there is a child, ends nothing.
fn lost(peer: &Peer) -> usize {
    (0..TIMES)
        .filter(|_| {
            let mut command = peer.run(&["sleep", "1000"]);
            let mut child = command.stdin(Stdio::null()).stderr(Stdio::null()).spawn().expect("it starts");
            let pid = i32::try_from(child.id()).expect("a pid");
            while children(pid).is_empty() {}
            kill(pid, libc::SIGTERM);
            let deadline = Instant::now() + Duration::from_millis(500);
            while Instant::now() < deadline {
                if child.try_wait().expect("our child").is_some() {
                    return false;
                }
                std::thread::sleep(Duration::from_millis(1));
            }
            for pid in tree(pid) {
                kill(pid, libc::SIGKILL);
            }
            let _ = child.wait();
            true
        })
        .count()
}

/// Whether a worker that needs 1.5 s after TERM gets them, when the main process ends first and
/// this is PID 1 of its namespace.
fn finishes(peer: &Peer, shell: &str) -> bool {
    let scratch = Scratch::new("bench");
    let proof = scratch.path("proof");
    let worker = scratch.write(
        "worker",
        &format!("trap 'sleep 1.5; echo > {proof}; exit 0' TERM; while :; do sleep 0.05; done"),
    );
    let script = format!("trap 'exit 0' TERM; {shell} {worker} & echo ready; sleep 1000 & wait");
    let mut command = Command::new("unshare");
    command.args(["--pid", "--fork", "--mount-proc", "--kill-child", "--"]);
    command.arg(&peer.program).args(peer.options).args(["sh", "-c", &script]);
    let running = start_command(As::PidOne, command);
    running.expect("ready");
    std::thread::sleep(Duration::from_millis(300));
    running.signal(libc::SIGTERM);
    let _ = running.end_within(SOON);
    Path::new(&proof).exists()
}
