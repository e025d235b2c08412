//! Upgrades that fail, or are killed: what serves is the old or the new, and the way back is open.

use super::support::{Dice, assert_tidy, kills, progress, say};
use crate::api::Api;
use crate::harness::Cloud;

/// A deployed Keystone of 2025.1, with the images of 2026.1 there too.
fn older(name: &str, number: u8) -> Cloud {
    let cloud = Cloud::new(name, number);
    cloud.write("mastic.yaml", &cloud.profile("").replace("release: \"2026.1\"", "release: \"2025.1\""));
    cloud.mastic(&["build"]).ok();
    cloud.mastic(&["--release", "2026.1", "build"]).ok();
    cloud
}

fn is_open(cloud: &Cloud) -> bool {
    !cloud.mastic(&["status", "--json"]).ok().json()["held"].is_null()
}

const UPGRADE: &[&str] = &["upgrade", "--to", "2026.1", "--yes", "--no-build"];
const ROLLBACK: &[&str] = &["rollback", "--yes"];

#[test]
fn an_upgrade_and_its_way_back_killed_at_random_moments_must_converge() {
    let cloud = older("t-upkills", 15);
    let wanted = (kills() / 3).max(2);
    let mut dice = Dice::new("kills of upgrades and ways back");
    cloud.mastic(&["deploy", "--yes"]).ok();
    let api = Api::of(&cloud);
    api.make_project("kept");
    let names = || cloud.containers().into_keys().collect::<Vec<_>>();
    let old = names();
    let mut whole = [UPGRADE, ROLLBACK].map(|command| cloud.mastic(command).ok().took);
    assert_eq!(names(), old);

    let (mut killed, mut round) = (0, 0);
    while killed < 2 * wanted {
        assert!(round < 2 * wanted, "only {killed} of {} runs were killed before their end", 2 * round);
        for (turn, command) in [UPGRADE, ROLLBACK].into_iter().enumerate() {
            let moment = dice.moment(whole[turn], round, wanted);
            let mut run = cloud.spawn(command);
            let when = if run.ends_within(moment) {
                whole[turn] = whole[turn].min(run.wait().ok().took);
                format!("{} {round}, done before {:.2} s", command[0], moment.as_secs_f64())
            } else {
                run.kill();
                killed += 1;
                let (at, how_far) = (moment.as_secs_f64(), progress(&cloud));
                format!("{} {round}, killed after {at:.2} s ({how_far})", command[0])
            };
            say(&format!("  {when}"));
            assert!(api.has_project("kept"), "{when}: the project was lost");
            // Killed in the midst of it, an upgrade goes on in one round and is taken back in the next.
            if turn == 0 && round % 2 == 0 {
                cloud.mastic(UPGRADE).ok();
                assert!(is_open(&cloud), "{when}");
            } else if is_open(&cloud) {
                cloud.mastic(ROLLBACK).ok();
            } else {
                // It had not begun, or had come to its end.
                cloud.mastic(&["deploy", "--yes"]).ok();
            }
            cloud.mastic(&["plan"]).ok().says("Nothing to do");
            assert!(api.has_project("kept"), "{when}: the project was lost");
            if turn == 1 || round % 2 == 1 {
                assert_eq!(names(), old, "{when}");
            }
            if turn == 0 && round % 2 == 1 {
                cloud.mastic(UPGRADE).ok();
            }
        }
        round += 1;
    }
    assert_tidy(&cloud, "at last");
}

#[test]
fn an_upgrade_whose_restore_point_cannot_be_made_must_touch_nothing() {
    let cloud = older("t-full", 16);
    // The restore points' volume has no room.
    let volume = format!("{}_mariadb_backup", cloud.name);
    let deployment = format!("mastic.deployment={}", cloud.name);
    let size = "o=size=64k,mode=0750,uid=800,gid=800";
    let tmpfs = ["--opt", "type=tmpfs", "--opt", "device=tmpfs", "--opt", size];
    let labels = ["--label", &deployment, "--label", "mastic.volume=mariadb_backup"];
    cloud.docker(&[&["volume", "create"][..], &tmpfs, &labels, &[&volume]].concat());
    cloud.mastic(&["deploy", "--yes"]).ok();
    let before = cloud.containers();
    cloud.mastic(UPGRADE).code(6).says("No space left on device").says("the databases could not be copied");
    let after = cloud.containers();
    assert!(before.iter().all(|(name, seen)| after.get(name) == Some(seen)), "{before:#?}\n{after:#?}");
    Api::of(&cloud).make_project("served");
    cloud.mastic(ROLLBACK).ok();
    assert_eq!(cloud.containers(), before);
    cloud.mastic(&["upgrade", "--to", "2026.1", "--yes", "--no-build", "--no-backup"]).ok();
    cloud.mastic(&["backup"]).code(6).says("No space left on device");
    cloud.mastic(&["status"]).ok().says("is kept");
}
