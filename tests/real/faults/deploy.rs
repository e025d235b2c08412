//! A deploy killed at random moments.

use super::support::{Dice, Volumes, assert_settled, cut_off, kills, progress, say};
use crate::api::Api;
use crate::harness::Cloud;

#[test]
fn a_deploy_killed_at_thirty_random_moments_must_converge() {
    let cloud = Cloud::new("t-kills", 3);
    let wanted = kills();
    // Parts of a deploy's duration; each is hit by a kill of a deploy that began from nothing.
    let parts = wanted.div_ceil(3) + 1;
    let mut dice = Dice::new("kills of a deploy");
    // A kill after its end would test nothing: the moments lie within what a whole deploy takes.
    let mut whole = cloud.mastic(&["deploy", "--yes"]).ok().took;
    cloud.mastic(&["destroy", "--yes", "--volumes", "all"]).ok();
    say(&format!("a whole deploy takes {:.1} s", whole.as_secs_f64()));

    let mut volumes = Volumes::default();
    let mut kills = 0;
    let mut hit = vec![false; parts as usize];
    let mut kept: Option<String> = None;
    let mut cycle = 0;
    while kills < wanted || hit.contains(&false) {
        assert!(cycle < 3 * parts, "{kills} kills in {cycle} deploys, parts hit: {hit:?}");
        // The first kill hits a deploy that makes everything; the next ones hit what goes on from there.
        let part = cycle % parts;
        let mut left = whole;
        for attempt in 0..3 {
            let moment =
                if attempt == 0 { dice.moment(whole, part, parts) } else { left.mul_f64(dice.fraction()) };
            let before = cut_off(&cloud);
            let mut run = cloud.spawn(&["deploy", "--yes"]);
            if run.ends_within(moment) {
                let ran = run.wait().ok();
                assert_all_told(&ran.stderr, &before);
                if attempt == 0 {
                    // The machine was busier when the first one was timed.
                    whole = whole.min(ran.took);
                }
                say(&format!("  cycle {cycle}: a deploy was done before {:.2} s", moment.as_secs_f64()));
                break;
            }
            run.kill();
            kills += 1;
            hit[part as usize] |= attempt == 0;
            left = left.saturating_sub(moment).max(whole / 8);
            let when =
                format!("cycle {cycle}, killed after {:.2} s ({})", moment.as_secs_f64(), progress(&cloud));
            say(&format!("  {when}"));
            volumes.assert_intact(&cloud, &when);
        }
        let when = format!("cycle {cycle}");
        let before = cut_off(&cloud);
        let ran = cloud.mastic(&["deploy", "--yes"]).ok();
        assert_all_told(&ran.stderr, &before);
        volumes.assert_intact(&cloud, &when);
        assert_settled(&cloud, &when);
        let api = Api::of(&cloud);
        if let Some(project) = &kept {
            assert!(api.has_project(project), "{when}: project {project} was lost");
        }
        // Every other deploy begins from nothing at all; the others from the data of the one before.
        if cycle % 2 == 0 {
            let project = format!("kept-{cycle}");
            api.make_project(&project);
            kept = Some(project);
            cloud.mastic(&["destroy", "--yes"]).ok();
            volumes.assert_intact(&cloud, &when);
            assert!(volumes.len() >= 5, "{volumes:?}");
        } else {
            kept = None;
            cloud.mastic(&["destroy", "--yes", "--volumes", "all"]).ok();
            volumes = Volumes::default();
        }
        cycle += 1;
    }
    cloud.mastic(&["deploy", "--yes"]).ok();
    cloud.mastic(&["check"]).ok();
    cloud.token();
    assert_settled(&cloud, "at the end");
    say(&format!("{kills} kills in {cycle} deploys, each followed by convergence"));
}

/// Requires a run to have said which runs before it were cut off.
#[track_caller]
fn assert_all_told(said: &str, runs: &[String]) {
    for run in runs {
        assert!(said.contains(run.as_str()), "nobody was told that run {run} was cut off:\n{said}");
    }
}
