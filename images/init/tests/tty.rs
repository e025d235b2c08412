//! Terminals: the command becomes the foreground job, and job control works through us.

mod common;

use std::io::{Read, Write};
use std::os::unix::process::CommandExt;
use std::process::{Child, Command};
use std::sync::{Arc, Mutex};

use common::*;
use nix::pty::openpty;

/// A program in a session of its own whose terminal is ours to type on.
struct Terminal {
    child: Child,
    keyboard: std::fs::File,
    screen: Arc<Mutex<String>>,
}

impl Terminal {
    fn new(mut command: Command) -> Self {
        let pty = openpty(None, None).expect("a pseudo-terminal");
        let end = || std::fs::File::from(pty.slave.try_clone().expect("a descriptor"));
        command.stdin(end()).stdout(end()).stderr(end());
        #[expect(unsafe_code, reason = "a session needs a call between fork and exec")]
        // SAFETY: only two system calls, on a descriptor that the child has.
        unsafe {
            command.pre_exec(|| {
                nix::unistd::setsid()?;
                if libc::ioctl(0, libc::TIOCSCTTY, 0) < 0 {
                    return Err(std::io::Error::last_os_error());
                }
                Ok(())
            });
        }
        let child = command.spawn().expect("it starts");
        drop(pty.slave);
        let keyboard = std::fs::File::from(pty.master);
        let mut reader = keyboard.try_clone().expect("a descriptor");
        let screen = Arc::new(Mutex::new(String::new()));
        let shown = Arc::clone(&screen);
        std::thread::spawn(move || {
            let mut buffer = [0; 1024];
            while let Ok(count) = reader.read(&mut buffer)
                && count > 0
            {
                shown.lock().expect("no panic").push_str(&String::from_utf8_lossy(&buffer[..count]));
            }
        });
        Self { child, keyboard, screen }
    }

    fn pid(&self) -> i32 {
        i32::try_from(self.child.id()).expect("a pid")
    }

    fn types(&mut self, text: &str) {
        self.keyboard.write_all(text.as_bytes()).expect("the terminal is open");
    }

    fn shows(&self, text: &str) {
        let seen = || self.screen.lock().expect("no panic").contains(text);
        let deadline = std::time::Instant::now() + SOON;
        while !seen() {
            let screen = self.screen.lock().expect("no panic").clone();
            assert!(std::time::Instant::now() < deadline, "no {text:?} in {screen:?}");
            std::thread::sleep(std::time::Duration::from_millis(5));
        }
    }

    fn code(&mut self) -> i32 {
        code_of(soon(|| self.child.try_wait().expect("our child")))
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        for pid in tree(self.pid()).into_iter().rev() {
            kill(pid, libc::SIGKILL);
        }
        let _ = self.child.wait();
    }
}

#[test]
fn the_command_reads_and_writes_the_terminal() {
    for mode in BOTH {
        let mut terminal = Terminal::new(command(mode, &["sh", "-c", "read a; echo got-$a; exit 3"]));
        terminal.types("hello\n");
        terminal.shows("got-hello");
        assert_eq!(terminal.code(), 3);
    }
}

#[test]
fn a_shell_has_job_control_and_exit_works() {
    for mode in BOTH {
        let mut terminal = Terminal::new(command(mode, &["bash", "--norc", "-i"]));
        terminal.types("case $- in *m*) echo job-control-$((1+1));; esac\n");
        terminal.shows("job-control-2");
        terminal.types("exit 0\n");
        assert_eq!(terminal.code(), 0);
    }
}

#[test]
fn control_c_ends_the_command() {
    for mode in BOTH {
        let script = "echo ready; while true; do sleep 0.05; done";
        let mut terminal = Terminal::new(command(mode, &["dash", "-c", script]));
        terminal.shows("ready");
        terminal.types("\x03");
        assert_eq!(terminal.code(), 130);
    }
}

#[test]
fn control_z_suspends_the_job_and_fg_resumes_it() {
    let mut shell = Command::new("bash");
    shell.args(["--norc", "-i"]).env("PS1", "$ ").env("INIT", binary());
    let mut terminal = Terminal::new(shell);
    terminal.types("$INIT sh -c 'echo run$((40+1)); read a; echo got-$a; exit 5'\n");
    terminal.shows("run41");
    let init = soon(|| children(terminal.pid()).first().copied());
    let main = soon(|| children(init).first().copied());
    for round in 1..=3 {
        terminal.types("\x1a");
        eventually(|| state(init) == Some('T') && state(main) == Some('T'));
        terminal.types(&format!("echo prompt$((50+{round}))\n"));
        terminal.shows(&format!("prompt{}", 50 + round));
        terminal.types("fg\n");
        eventually(|| state(init) == Some('S') && state(main) == Some('S'));
    }
    terminal.types("word\n");
    terminal.shows("got-word");
    terminal.types("echo code$?\n");
    terminal.shows("code5");
}

/// After us the terminal belongs again to the script that started us.
#[test]
fn the_terminal_is_given_back_at_the_end() {
    let mut script = Command::new("sh");
    script.args(["-c", "$INIT true; read a; echo got-$a"]).env("INIT", binary());
    let mut terminal = Terminal::new(script);
    terminal.types("word\n");
    terminal.shows("got-word");
    assert_eq!(terminal.code(), 0);
}

#[test]
fn a_background_job_does_not_steal_the_terminal() {
    let mut shell = Command::new("bash");
    shell.args(["--norc", "-i"]).env("PS1", "$ ").env("INIT", binary());
    let mut terminal = Terminal::new(shell);
    terminal.types("$INIT sh -c 'echo run$((40+1)); exec sleep 1000' &\n");
    terminal.shows("run41");
    terminal.types("echo still$((60+1))\n");
    terminal.shows("still61");
}
