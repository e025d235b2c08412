//! Exit codes, the command line, and what the command inherits.

mod common;

use std::process::Stdio;

use common::*;

#[test]
fn the_commands_exit_code_is_ours() {
    for mode in BOTH {
        for code in [0, 1, 2, 32, 64, 126, 127, 128, 254, 255] {
            let outcome = run(mode, &["sh", "-c", &format!("exit {code}")]);
            assert_eq!(outcome.code(), code, "{mode:?}");
            assert_eq!(outcome.stderr, "");
        }
    }
}

#[test]
fn all_256_codes_pass_and_can_be_remapped() {
    for code in 0..=255 {
        let script = format!("exit {code}");
        let words = ["-e", &code.to_string(), "sh", "-c", &script];
        assert_eq!(run(As::Process, &words).code(), 0, "inclusive {code}");
        // Every other code is remapped, this one is not.
        let others: Vec<String> =
            (0..=255).filter(|other| *other != code).map(|other| format!("-e{other}=7")).collect();
        let long: Vec<String> = others.iter().map(|rule| rule.replacen("-e", "--map-exit=", 1)).collect();
        let mut words: Vec<&str> = long.iter().map(String::as_str).collect();
        words.extend(["sh", "-c", &script]);
        assert_eq!(run(As::Process, &words).code(), code, "exclusive {code}");
    }
}

#[test]
fn a_killed_command_ends_with_128_plus_the_signal() {
    for mode in BOTH {
        for (name, number) in [("TERM", 15), ("HUP", 1), ("QUIT", 3), ("KILL", 9), ("USR1", 10)] {
            let outcome = run(mode, &["sh", "-c", &format!("kill -{name} $$")]);
            assert_eq!(outcome.code(), 128 + number, "{mode:?} {name}");
        }
    }
    let words = ["--map-exit", "143", "--map-exit=137=3", "sh", "-c"];
    for (signal, code) in [("TERM", 0), ("KILL", 3), ("HUP", 129)] {
        let script = format!("kill -{signal} $$");
        assert_eq!(run(As::Process, &[&words[..], &[&script]].concat()).code(), code);
    }
}

#[test]
fn a_command_that_cannot_run_says_why_in_one_line() {
    let scratch = Scratch::new("cannot-run");
    let plain = scratch.write("plain", "echo hi\n");
    let through_file = format!("{plain}/x");
    for (path, code, reason) in [
        ("/doesnotexist", 127, "No such file or directory"),
        ("doesnotexist", 127, "No such file or directory"),
        (through_file.as_str(), 127, "Not a directory"),
        ("", 127, "No such file or directory"),
        ("/etc", 126, "Permission denied"),
        (plain.as_str(), 126, "Permission denied"),
    ] {
        for mode in BOTH {
            let outcome = run(mode, &["--", path, "an argument"]);
            assert_eq!(outcome.code(), code, "{path}");
            assert_eq!(outcome.stderr, format!("mastic-init: cannot run {path}: {reason}\n"));
        }
    }
}

#[test]
fn commands_are_searched_and_scripts_without_a_header_run() {
    use std::os::unix::fs::PermissionsExt;
    let scratch = Scratch::new("search");
    let script = scratch.write("greet", "echo \"hello $1\"\n");
    std::fs::set_permissions(&script, PermissionsExt::from_mode(0o755)).expect("our file");
    let directory = scratch.0.display().to_string();
    let mut searched = command(As::Process, &["greet", "you"]);
    searched.env("PATH", format!("/doesnotexist:{directory}"));
    let outcome = finish(&mut searched);
    assert_eq!((outcome.code(), outcome.stdout.as_str()), (0, "hello you\n"));
    let mut unset = command(As::Process, &["sh", "-c", "exit 9"]);
    assert_eq!(finish(unset.env_remove("PATH")).code(), 9);
}

#[test]
fn usage_help_and_version() {
    for words in [&[][..], &["--yolo"], &["-z", "true"], &["-v"], &["--grace", "x", "true"]] {
        let outcome = run(As::Process, words);
        assert_eq!(outcome.code(), 2, "{words:?}");
        assert_eq!(outcome.stderr.lines().count(), 1, "{}", outcome.stderr);
        assert_eq!(outcome.stdout, "");
    }
    for rule in ["15", "15:", ":15", "a:b", "15:65", "KILL:TERM", "15:1:2", "-1:1", ":", "0:1"] {
        assert_eq!(run(As::Process, &["-r", rule, "true"]).code(), 2, "{rule}");
    }
    for flag in ["-h", "--help"] {
        let outcome = run(As::Process, &[flag]);
        assert_eq!(outcome.code(), 0);
        assert!(outcome.stdout.starts_with("usage: mastic-init"));
    }
    for flag in ["-V", "--version"] {
        let outcome = run(As::Process, &[flag]);
        assert_eq!(outcome.stdout, concat!("mastic-init ", env!("CARGO_PKG_VERSION"), "\n"));
    }
    for (words, code) in [
        (&["true"][..], 0),
        (&["false"], 1),
        (&["--", "true"], 0),
        (&["--", "--", "true"], 127),
        (&["-s", "-g", "true"], 0),
        (&["--", "-h"], 127),
    ] {
        assert_eq!(run(As::Process, words).code(), code, "{words:?}");
    }
    let outcome = run(As::Process, &["-v", "true"]);
    assert!(outcome.stderr.contains("reaped process"), "{}", outcome.stderr);
}

#[test]
fn standard_input_reaches_the_command() {
    for mode in BOTH {
        let mut running = start(mode, &["sh"]);
        let mut stdin = running.stdin.take().expect("piped");
        std::io::Write::write_all(&mut stdin, b"echo got it; exit 6\n").expect("it reads");
        running.expect("got it");
        assert_eq!(running.end().code(), 6);
    }
}

#[test]
fn the_command_keeps_the_working_directory_and_we_leave_it() {
    let scratch = Scratch::new("cwd");
    let mut words = command(As::Process, &["sh", "-c", "pwd; exec sleep 100"]);
    words.current_dir(&scratch.0);
    let running = start_command(As::Process, words);
    running.expect(&scratch.0.display().to_string());
    // It leaves after it has started the command, which may have printed by then.
    let ours = format!("/proc/{}/cwd", running.pid);
    eventually(|| std::fs::read_link(&ours).expect("it lives") == std::path::Path::new("/"));
}

#[test]
fn inherited_descriptors_reach_the_command_and_are_not_held_by_us() {
    let mut words = std::process::Command::new("sh");
    let script = format!(
        "exec 7</etc/passwd; exec {} sh -c 'test -e /proc/self/fd/7 && echo has; exec sleep 100'",
        binary().display()
    );
    words.args(["-c", &script]);
    let running = start_command(As::Process, words);
    running.expect("has");
    let open = || std::fs::read_dir(format!("/proc/{}/fd", running.pid)).map_or(9, Iterator::count);
    eventually(|| open() == 3);
}

#[test]
fn masks_and_dispositions_reach_the_command_untouched() {
    let script = format!(
        r"use POSIX;
        $SIG{{$_}} = 'IGNORE' for qw(TTOU SEGV INT HUP CHLD PIPE);
        sigprocmask(SIG_BLOCK, POSIX::SigSet->new(SIGTTIN, SIGILL, SIGTERM, SIGUSR2));
        exec '{}', 'cat', '/proc/self/status';",
        binary().display()
    );
    let direct = script.replace(&format!("'{}', ", binary().display()), "");
    let facts = |script: &str| {
        let mut perl = std::process::Command::new("perl");
        let outcome = finish(perl.args(["-e", script]));
        let lines = outcome.stdout.lines().filter(|line| line.starts_with("Sig"));
        lines.filter(|line| !line.starts_with("SigQ")).map(String::from).collect::<Vec<_>>()
    };
    let expected = facts(&direct);
    assert!(expected.iter().any(|line| line.starts_with("SigIgn") && !line.ends_with(":\t0000000000000000")));
    assert_eq!(facts(&script), expected);
}

#[test]
fn an_ignored_sigchld_does_not_hide_the_exit_code() {
    let script = format!("$SIG{{CHLD}} = 'IGNORE'; exec '{}', 'sh', '-c', 'exit 5'", binary().display());
    let mut perl = std::process::Command::new("perl");
    assert_eq!(finish(perl.args(["-e", &script])).code(), 5);
}

#[test]
fn socket_activation_names_the_command() {
    let script =
        format!("LISTEN_PID=$$ LISTEN_FDS=1 exec {} sh -c 'test $LISTEN_PID = $$'", binary().display());
    let mut shell = std::process::Command::new("sh");
    assert_eq!(finish(shell.args(["-c", &script])).code(), 0);
    let mut other = command(As::Process, &["sh", "-c", "test $LISTEN_PID = 1"]);
    assert_eq!(finish(other.env("LISTEN_PID", "1")).code(), 0);
}

#[test]
fn a_closed_log_does_not_end_the_command() {
    let mut words = command(As::Process, &["-v", "sh", "-c", "sleep 0.3 & wait; exit 4"]);
    words.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
    let mut child = words.spawn().expect("it starts");
    drop(child.stderr.take());
    let status = child.wait().expect("our child");
    assert_eq!(status.code(), Some(4));
}
