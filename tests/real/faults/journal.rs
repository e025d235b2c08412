//! Journals that are cut off, damaged, or tell of a run that was killed at its very end.

use std::path::PathBuf;

use super::support::{assert_settled, journals, run_name};
use crate::harness::Cloud;

/// Kills a deploy of a fresh cloud when its database has started, and returns its journal.
fn killed(cloud: &Cloud) -> PathBuf {
    let events = cloud.events();
    let run = cloud.spawn(&["deploy", "--yes"]);
    events.until("start", "-mariadb-");
    run.kill();
    let (path, replay) = journals(cloud).pop().expect("the run has a journal");
    assert!(replay.outcome.is_none() && replay.done() > 5, "{replay:?}");
    path
}

#[test]
fn a_damaged_journal_must_be_said_and_must_not_stop_the_next_run() {
    let cloud = Cloud::new("t-journal", 7);

    // Cut off in the middle of its last line, as a power failure leaves it.
    let path = killed(&cloud);
    let text = std::fs::read(&path).expect("the journal can be read");
    std::fs::write(&path, &text[..text.len() - 17]).expect("the journal can be written");
    let next = cloud.mastic(&["deploy", "--yes"]).ok().says(&run_name(&path)).says("was cut off");
    assert!(
        next.stderr.contains("the last line of") && next.stderr.contains(&*path.to_string_lossy()),
        "{}",
        next.stderr
    );
    assert_settled(&cloud, "after a cut off journal");

    // Overwritten in the middle: said with its line.
    cloud.mastic(&["destroy", "--yes", "--volumes", "all"]).ok();
    let path = killed(&cloud);
    let text = std::fs::read_to_string(&path).expect("the journal can be read");
    let mut lines: Vec<&str> = text.lines().collect();
    lines[3] = "\u{0}\u{0}\u{0} not a journal";
    std::fs::write(&path, lines.join("\n") + "\n").expect("the journal can be written");
    cloud.mastic(&["deploy", "--yes"]).ok().says(&format!("{}:4: the line makes no sense", path.display()));
    assert_settled(&cloud, "after a damaged journal");

    // Nothing left of it at all, and beside it a file that is none.
    let (path, _) = journals(&cloud).pop().expect("the run has a journal");
    std::fs::write(&path, b"").expect("the journal can be written");
    std::fs::write(path.with_extension("txt"), b"\xff").expect("a file can be written");
    let next = cloud.mastic(&["deploy", "--yes"]).ok().says(&run_name(&path)).says("nothing to do");
    assert!(next.stderr.contains("was cut off"), "{}", next.stderr);
    let again = cloud.mastic(&["deploy", "--yes"]).ok();
    assert!(!again.stderr.contains("cut off"), "it was told twice:\n{}", again.stderr);

    // Killed after everything was done: the history's line, the lock and the client files are what is left to do.
    std::fs::remove_file(cloud.state().join("clouds.yaml")).expect("clouds.yaml is there");
    cloud.mastic(&["deploy", "--yes"]).ok().says("nothing to do");
    cloud.token();
}
