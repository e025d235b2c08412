//! logs and exec: what containers say, and programs in them.

use std::io::{BufRead as _, BufReader, Write as _};
use std::process::Stdio;

use serde_json::Value;

use crate::harness::Cloud;

/// Lines of `logs --json`.
fn lines(text: &str) -> Vec<Value> {
    text.lines().map(|line| serde_json::from_str(line).expect("each line is JSON")).collect()
}

fn text_of<'a>(line: &'a Value, key: &str) -> &'a str {
    line[key].as_str().expect("a text")
}

#[test]
fn logs_must_be_read_followed_and_cut_to_a_range() {
    let cloud = Cloud::of_toys("t-logs", 175, "");
    // The sleeper talks as well, so that there are two to be mixed.
    let service = cloud.dir.path().join("extra/templates/sleeper/service.yaml");
    let text = std::fs::read_to_string(&service).expect("it was written");
    std::fs::write(
        &service,
        text.replace("[sleep, infinity]", "[/srv/talk, sleeper]").replace("process:sleep", "process:talk"),
    )
    .expect("it can be written");
    cloud.mastic(&["build", "--only", "toy"]).ok();
    cloud.mastic(&["deploy", "--yes"]).ok();

    // Followed: lines come while it runs, from both, each with its name.
    let mut child = cloud
        .bounded(&["logs", "--follow", "-n", "0", "talker", "sleeper"])
        .stdout(Stdio::piped())
        .spawn()
        .expect("the program under test can be started");
    let (mut talker, mut sleeper) = (0, 0);
    for line in BufReader::new(child.stdout.take().expect("it is piped")).lines() {
        let line = line.expect("it says text");
        talker += usize::from(line.starts_with("talker  | talker says "));
        sleeper += usize::from(line.starts_with("sleeper | sleeper complains "));
        if talker >= 5 && sleeper >= 5 {
            break;
        }
    }
    assert!(child.try_wait().expect("it can be asked").is_none(), "it ended by itself");
    child.kill().expect("it can be ended");
    child.wait().expect("it ends");

    // One container has no prefix; the last lines only, of each.
    let last = cloud.mastic(&["logs", "talker", "--tail", "4"]).ok();
    assert_eq!(last.stdout.lines().count(), 4, "{}", last.stdout);
    assert!(last.stdout.lines().all(|l| l.starts_with("talker ")), "{}", last.stdout);
    assert_eq!(cloud.mastic(&["logs", "-n", "3"]).ok().stdout.lines().count(), 6);

    // Merged by time, both streams.
    let all = lines(&cloud.mastic(&["logs", "--json"]).ok().stdout);
    let times: Vec<&str> = all.iter().map(|line| text_of(line, "time")).collect();
    assert!(times.is_sorted(), "{times:?}");
    for (container, stream) in [("talker", "stdout"), ("talker", "stderr"), ("sleeper", "stderr")] {
        let has = |line: &Value| text_of(line, "container") == container && text_of(line, "stream") == stream;
        assert!(all.iter().any(has), "no {stream} of {container}");
    }

    // A range holds exactly the lines of that time, to the nanosecond.
    let (from, to) = (times[times.len() / 3], times[times.len() * 2 / 3]);
    let expected: Vec<&Value> =
        all.iter().filter(|line| (from..=to).contains(&text_of(line, "time"))).collect();
    let range = lines(&cloud.mastic(&["logs", "--json", "--since", from, "--until", to]).ok().stdout);
    assert_eq!(range.iter().collect::<Vec<_>>(), expected);
    assert!(!range.is_empty() && range.len() < all.len());
    // An age: all of it is younger than an hour, and nothing older.
    assert!(cloud.mastic(&["logs", "--until", "1h"]).ok().stdout.is_empty());
    assert!(cloud.mastic(&["logs", "--since", "1h"]).ok().stdout.lines().count() >= all.len());
    let shown = cloud.mastic(&["logs", "talker", "-n", "1", "--timestamps"]).ok().stdout;
    assert!(shown.starts_with('2') && shown.contains('T') && shown.contains("Z talker "), "{shown}");

    cloud.mastic(&["logs", "talkre"]).code(1).says("did you mean `talker`?");
    cloud.mastic(&["logs", "--since", "yesterdayish"]).code(1).says("10m");
}

#[test]
fn a_program_must_run_with_its_streams_its_code_and_its_terminal() {
    let cloud = Cloud::of_toys("t-exec", 176, "");
    cloud.mastic(&["build", "--only", "toy"]).ok();
    cloud.mastic(&["deploy", "--yes"]).ok();

    // Streams stay apart, and the exit code is the program's.
    let ran = cloud.mastic(&["exec", "sleeper", "--", "sh", "-c", "echo out; echo err >&2; exit 7"]).code(7);
    assert_eq!((ran.stdout.as_str(), ran.stderr.as_str()), ("out\n", "err\n"));
    cloud.mastic(&["exec", "sleeper", "true"]).ok();
    assert_eq!(cloud.mastic(&["exec", "sleeper", "id", "-u"]).ok().stdout, "65534\n");
    assert_eq!(cloud.mastic(&["exec", "--user", "0:0", "sleeper", "id", "-u"]).ok().stdout, "0\n");
    // A signal's end, as shells tell it; a program that is not there.
    cloud.mastic(&["exec", "sleeper", "--", "sh", "-c", "kill -TERM $$"]).code(143);
    cloud.mastic(&["exec", "sleeper", "nosuchprogram"]).code(127).says("nosuchprogram");

    // Input comes through to its end.
    let mut child = cloud
        .bounded(&["exec", "sleeper", "--", "sh", "-c", "wc -c; exit 3"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("the program under test can be started");
    let mut stdin = child.stdin.take().expect("it is piped");
    stdin.write_all(&vec![b'x'; 300_000]).expect("it takes input");
    drop(stdin);
    let output = child.wait_with_output().expect("it ends");
    assert_eq!((output.status.code(), output.stdout.as_slice()), (Some(3), b"300000\n".as_slice()));

    // On a terminal it has one, of our size, and ours is as it was before.
    // The size arrives a moment after the program's start: before engine 23 nothing else is to be had.
    let inside = "while test \"$(stty size)\" = \"0 0\"; do sleep 0.1; done; test -t 0 && test -t 1 && test -t 2 && stty size; exit 9";
    let ran = cloud
        .on_a_terminal(
            &format!(
                "stty rows 33 cols 77; stty -g; \"$MASTIC\" exec sleeper -- sh -c '{inside}'; code=$?; stty -g; exit $code"
            ),
            "",
        )
        .code(9);
    let shown: Vec<&str> = ran.stdout.lines().map(str::trim).collect();
    assert_eq!(shown[1], "33 77", "{shown:?}");
    assert_eq!(shown.first(), shown.last(), "the terminal's settings changed: {shown:?}");
    // What is typed comes through, and a shell ends with `exit`.
    let typed = cloud.on_a_terminal("\"$MASTIC\" exec sleeper -- sh", "echo $((6 * 7))\nexit 5\n").code(5);
    assert!(
        typed.stdout.lines().any(|line| line.trim().trim_start_matches("$ ") == "42"),
        "{}",
        typed.stdout
    );

    cloud.mastic(&["exec", "slepper", "true"]).code(1).says("did you mean `sleeper`?");
    cloud.mastic(&["exec", "sleeper"]).code(64);
    cloud.mastic(&["stop", "--service", "sleeper", "--yes"]).ok();
    cloud.mastic(&["exec", "sleeper", "true"]).code(1).says("does not run").says("mastic start");
    cloud.mastic(&["openstack", "token", "issue"]).code(1).says("toolbox");
}
