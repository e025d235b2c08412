//! What is made true before the command starts, and `--every`.

mod common;

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::time::Duration;

use common::*;
use libc::{SIGKILL, SIGTERM};

fn facts(path: &str) -> (u32, u32, u32) {
    let meta = fs::symlink_metadata(path).expect("it exists");
    (meta.uid(), meta.gid(), meta.mode() & 0o7777)
}

#[test]
fn the_command_runs_as_the_user_with_its_groups() {
    for mode in BOTH {
        for (user, ids) in [
            ("nobody", "65534 65534"),
            ("65534", "65534 65534"),
            ("5000", "5000 5000"),
            ("5000:6000", "5000 6000"),
            ("nobody:daemon", "65534 1"),
        ] {
            let outcome = run(mode, &["--user", user, "sh", "-c", "echo $(id -u) $(id -g) $(id -G)"]);
            assert_eq!(outcome.code(), 0, "{}", outcome.stderr);
            let group = ids.split(' ').nth(1).expect("two ids");
            assert_eq!(outcome.stdout, format!("{ids} {group}\n"), "{user}");
        }
    }
    // Somebody else had done it before: nothing is left to do, and no right to do it.
    let twice = ["--user", "nobody", &binary().display().to_string(), "--user", "nobody", "id", "-u"];
    assert_eq!(run(As::Process, &twice).stdout, "65534\n");
    for user in ["nosuchuser", "nobody:nosuchgroup"] {
        let outcome = run(As::Process, &["--user", user, "true"]);
        assert_eq!(outcome.code(), 78);
        assert!(outcome.stderr.contains("no such"), "{}", outcome.stderr);
    }
}

#[test]
fn home_is_set_only_if_it_was_not() {
    let home = |keep: bool| {
        let mut words = command(As::Process, &["--user", "nobody", "sh", "-c", "echo $HOME"]);
        if keep {
            words.env("HOME", "/kept");
        } else {
            words.env_remove("HOME");
        }
        finish(&mut words).stdout
    };
    assert_eq!(home(true), "/kept\n");
    assert_eq!(home(false), "/nonexistent\n");
}

/// No capability is left to the command; we keep the one to signal helpers of other users.
#[test]
fn privileges_are_dropped_except_the_power_to_end_things() {
    for mode in BOTH {
        let script = "grep -E '^Cap(Prm|Eff|Amb)' /proc/self/status; exec sleep 1000";
        let running = start(mode, &["--user", "nobody", "sh", "-c", script]);
        for field in ["CapPrm", "CapEff", "CapAmb"] {
            running.expect(&format!("{field}:\t0000000000000000"));
        }
        assert_eq!(status_field(running.pid, "Uid").as_deref(), Some("65534\t65534\t65534\t65534"));
        assert_eq!(status_field(running.pid, "CapEff").as_deref(), Some("0000000000000020"));
        // So a helper that is root, as through sudo, is reached by the drain.
        running.signal(SIGTERM);
        assert_eq!(running.end().code(), 143);
    }
}

#[test]
fn the_parents_death_is_still_seen_after_the_change_of_user() {
    let mut parent = std::process::Command::new("sh");
    parent.args(["-c", "\"$0\" \"$@\" & wait"]).arg(binary()).args([
        "-p",
        "TERM",
        "--user",
        "nobody",
        "sh",
        "-c",
        "echo $PPID; exec sleep 1000",
    ]);
    let running = start_command(As::Process, parent);
    let init: i32 = running.line().parse().expect("a pid");
    kill(running.pid, SIGKILL);
    eventually(|| !alive(init));
}

#[test]
fn directories_are_made_once_with_owner_and_mode() {
    let scratch = Scratch::new("mkdir");
    let path = scratch.path("a/b=c/d");
    let rule = format!("{path}=42436:42400:2750");
    for _ in 0..2 {
        let outcome = run(As::Process, &["--mkdir", &rule, "true"]);
        assert_eq!(outcome.code(), 0, "{}", outcome.stderr);
        assert_eq!(facts(&path), (42436, 42400, 0o2750));
    }
    assert_eq!(facts(&scratch.path("a")), (0, 0, 0o755));
    scratch.write("file", "");
    let outcome = run(As::Process, &["--mkdir", &format!("{}=1:1:700", scratch.path("file")), "true"]);
    assert_eq!(outcome.code(), 71);
    assert!(outcome.stderr.contains("Not a directory"), "{}", outcome.stderr);
}

#[test]
fn trees_get_their_owner_and_only_differences_are_touched() {
    let scratch = Scratch::new("own");
    fs::create_dir_all(scratch.path("tree/deep/er")).expect("scratch");
    scratch.write("tree/plain", "x");
    scratch.write("tree/deep/program", "x");
    fs::set_permissions(scratch.path("tree/deep/program"), PermissionsExt::from_mode(0o755)).expect("ours");
    scratch.write("outside", "x");
    symlink(scratch.path("outside"), scratch.path("tree/link")).expect("scratch");
    let outside = facts(&scratch.path("outside"));

    let rule = format!("{}=42436:42437:640", scratch.path("tree"));
    let own = || run(As::Process, &["--own", &rule, "true"]).code();
    assert_eq!(own(), 0);
    for (name, mode) in [
        ("tree", 0o750),
        ("tree/deep", 0o750),
        ("tree/deep/er", 0o750),
        ("tree/plain", 0o640),
        ("tree/deep/program", 0o750),
    ] {
        assert_eq!(facts(&scratch.path(name)), (42436, 42437, mode), "{name}");
    }
    let link = facts(&scratch.path("tree/link"));
    assert_eq!((link.0, link.1), (42436, 42437));
    assert_eq!(facts(&scratch.path("outside")), outside, "a link was followed");

    let changed = |name: &str| {
        let meta = fs::symlink_metadata(scratch.path(name)).expect("it exists");
        (meta.ctime(), meta.ctime_nsec())
    };
    fs::set_permissions(scratch.path("tree/plain"), PermissionsExt::from_mode(0o600)).expect("ours");
    let names = ["tree", "tree/deep", "tree/deep/program", "tree/link", "tree/plain"];
    let before = names.map(changed);
    std::thread::sleep(Duration::from_millis(30));
    assert_eq!(own(), 0);
    let after = names.map(changed);
    assert_eq!(before[..4], after[..4]);
    assert_ne!(before[4], after[4]);

    let outcome = run(As::Process, &["--own", "/doesnotexist=1:1", "true"]);
    assert_eq!(outcome.code(), 71);
    assert_eq!(outcome.stderr, "mastic-init: cannot own /doesnotexist: No such file or directory\n");
}

#[test]
fn all_missing_files_are_listed_and_the_user_judges() {
    let scratch = Scratch::new("require");
    let secret = scratch.write("secret", "x");
    fs::set_permissions(&secret, PermissionsExt::from_mode(0o600)).expect("ours");
    let fine = scratch.write("fine", "x");
    assert_eq!(run(As::Process, &["--require", &fine, "--require", &secret, "true"]).code(), 0);
    let missing = scratch.path("missing");
    let directory = scratch.0.display().to_string();
    let mut words = vec!["--user", "nobody"];
    for path in [&fine, &secret, &missing, &directory] {
        words.extend(["--require", path]);
    }
    words.extend(["sh", "-c", "echo started"]);
    let outcome = run(As::PidOne, &words);
    assert_eq!(outcome.code(), 78);
    assert_eq!(outcome.stdout, "");
    let lines: Vec<&str> = outcome.stderr.lines().collect();
    assert_eq!(lines.len(), 3, "{lines:?}");
    for (line, (path, reason)) in lines.iter().zip([
        (&secret, "Permission denied"),
        (&missing, "No such file or directory"),
        (&directory, "Is a directory"),
    ]) {
        assert_eq!(
            *line,
            format!("mastic-init: required file {path} cannot be read by user 65534: {reason}")
        );
    }
    // Handed over first, it can be read.
    let rule = format!("{secret}=65534:65534");
    let words = ["--own", &rule, "--user", "nobody", "--require", &secret, "true"];
    assert_eq!(run(As::Process, &words).code(), 0);
}

#[test]
fn runs_repeat_at_their_interval_and_failures_are_tried_again() {
    let scratch = Scratch::new("every");
    let log = scratch.path("log");
    let script = format!("echo run >> {log}; test $(wc -l < {log}) -ne 2");
    for mode in BOTH {
        let _ = fs::remove_file(&log);
        let mut running = start(mode, &["--every", "300ms", "sh", "-c", &script]);
        let runs = || fs::read_to_string(&log).map_or(0, |text| text.lines().count());
        eventually(|| runs() >= 1);
        std::thread::sleep(Duration::from_secs(1));
        let count = runs();
        assert!((3..=5).contains(&count), "{count} runs in about a second");
        assert!(!running.has_ended());
        let errors = running.errors();
        assert_eq!(errors, ["mastic-init: this run ended with code 1; the next interval tries again"]);
        running.signal(SIGTERM);
        let code = running.end().code();
        assert!([0, 143].contains(&code), "{code}");
    }
}

#[test]
fn between_runs_nothing_wakes_us_and_a_missing_command_is_tried_again() {
    let running = start(As::PidOne, &["--every", "1h", "true"]);
    let pid = running.pid;
    eventually(|| state(pid) == Some('S') && children(pid).is_empty());
    std::thread::sleep(Duration::from_millis(300));
    let before = status_field(pid, "voluntary_ctxt_switches");
    std::thread::sleep(Duration::from_secs(2));
    assert_eq!(status_field(pid, "voluntary_ctxt_switches"), before);
    running.signal(SIGTERM);
    assert_eq!(running.end().code(), 0);

    let scratch = Scratch::new("later");
    let program = scratch.path("later");
    let running = start(As::Process, &["--every", "200ms", &program]);
    std::thread::sleep(Duration::from_millis(100));
    scratch.write("later", "#!/bin/sh\necho here\n");
    fs::set_permissions(&program, PermissionsExt::from_mode(0o755)).expect("ours");
    running.expect("here");
    running.signal(SIGTERM);
    let outcome = running.end();
    assert!(outcome.stderr.contains("No such file or directory"), "{}", outcome.stderr);
}

/// In a mount namespace whose cgroup hierarchies may be written, every one of them is left.
#[test]
fn every_cgroup_hierarchy_is_left() {
    let name = format!("mastic-init-test-{}", std::process::id());
    let hierarchies: Vec<String> = fs::read_to_string("/proc/self/mountinfo")
        .expect("a mount table")
        .lines()
        .filter(|line| line.contains(" - cgroup"))
        .filter_map(|line| line.split(' ').nth(4).map(String::from))
        .collect();
    assert!(!hierarchies.is_empty(), "this test needs a mounted cgroup hierarchy");
    let outcome = run(As::Process, &["--leave-cgroups", &name, "cat", "/proc/self/cgroup"]);
    assert_eq!(outcome.code(), 0, "{}", outcome.stderr);
    let memberships: Vec<&str> = outcome.stdout.lines().collect();
    let left = memberships.iter().filter(|line| line.ends_with(&format!(":/{name}"))).count();
    assert_eq!(left, hierarchies.len(), "{memberships:?}");
    for root in &hierarchies {
        let cgroup = format!("{root}/{name}");
        for setting in ["cpuset.cpus", "cpuset.mems"] {
            if let Ok(own) = fs::read_to_string(format!("{cgroup}/{setting}"))
                && let Ok(parent) = fs::read_to_string(format!("{root}/{setting}"))
            {
                assert_eq!(own, parent, "{cgroup}");
            }
        }
        eventually(|| fs::remove_dir(&cgroup).is_ok());
    }
}

/// Runs us where version 2 is the only one, as on most hosts today: `namespace` is an option of unshare.
fn where_there_is_only_version_2(namespace: &str, name: &str) -> Outcome {
    let script = r#"umount -R -l /sys/fs/cgroup && mount -t cgroup2 none /sys/fs/cgroup || exit 99
        "$0" --leave-cgroups "$1" cat /proc/self/cgroup
        code=$?
        cd /sys/fs/cgroup && rmdir -p "$1" 2>/dev/null
        exit $code"#;
    let binary = binary().display().to_string();
    finish(
        std::process::Command::new("unshare").args(["--mount", namespace, "sh", "-c", script, &binary, name]),
    )
}

#[test]
fn the_one_hierarchy_of_version_2_is_left() {
    let name = format!("mastic-init-test-v2-{}/guests", std::process::id());
    let outcome = where_there_is_only_version_2("--propagation=private", &name);
    assert_eq!(outcome.code(), 0, "{}", outcome.stderr);
    assert!(outcome.stdout.lines().any(|line| line == format!("0::/{name}")), "{}", outcome.stdout);
}

/// In a cgroup namespace of its own a move would end inside of the container's cgroup: success that kills guests later.
#[test]
fn a_cgroup_namespace_is_not_taken_for_the_host() {
    let name = format!("mastic-init-test-ns-{}", std::process::id());
    let outcome = where_there_is_only_version_2("--cgroup", &name);
    assert_eq!(outcome.code(), 71, "{}", outcome.stdout);
    assert!(outcome.stderr.contains("the host's cgroup namespace is needed"), "{}", outcome.stderr);
}
