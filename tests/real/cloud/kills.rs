//! The whole cloud's deploy, killed at random moments.

use super::{Smoke, assert_passes};
use crate::faults::support::{Dice, Volumes, assert_settled, progress, say};

/// Kills, unless `MASTIC_TEST_KILLS` says otherwise.
const KILLS: u32 = 20;

#[test]
fn a_cloud_killed_twenty_times_while_it_deploys_must_converge_and_serve() {
    let smoke = Smoke::new("t-cloudkills", 202);
    let cloud = &smoke.cloud;
    let mut dice = Dice::new("kills of a cloud's deploy");
    let kills = std::env::var("MASTIC_TEST_KILLS")
        .map_or(KILLS, |text| text.parse().expect("MASTIC_TEST_KILLS is a number"));
    let whole = cloud.mastic(&["deploy", "--yes"]).ok().took;
    cloud.mastic(&["destroy", "--yes", "--volumes", "all"]).ok();
    say(&format!("a whole deploy takes {:.1} s; {kills} kills", whole.as_secs_f64()));

    let mut volumes = Volumes::default();
    let mut done = 0;
    while done < kills {
        // Whatever is there already goes faster: a kill must still hit something.
        let mut left = whole;
        loop {
            let moment = left.mul_f64(dice.fraction());
            let mut run = cloud.spawn(&["deploy", "--yes"]);
            if run.ends_within(moment) {
                run.wait().ok();
                break;
            }
            run.kill();
            done += 1;
            left = left.saturating_sub(moment).max(whole / 8);
            let when = format!("kill {done} after {:.2} s ({})", moment.as_secs_f64(), progress(cloud));
            say(&format!("  {when}"));
            volumes.assert_intact(cloud, &when);
            if done == kills {
                break;
            }
        }
        cloud.mastic(&["deploy", "--yes"]).ok();
        volumes.assert_intact(cloud, "after a deploy to the end");
        assert_settled(cloud, &format!("after {done} kills"));
        if done < kills {
            cloud.mastic(&["destroy", "--yes", "--volumes", "all"]).ok();
            volumes = Volumes::default();
        }
    }
    cloud.mastic(&["check"]).ok();
    assert_passes(cloud, "after the last kill");
}
