//! Upgrades that fail, or are killed: what serves is the old or the new, and the way back is open.

use std::process::Command;

use super::support::{Dice, assert_tidy, kills, progress, say};
use crate::api::Api;
use crate::harness::Cloud;
use crate::upgrade::Logins;

fn is_open(cloud: &Cloud) -> bool {
    !cloud.mastic(&["status", "--json"]).ok().json()["held"].is_null()
}

fn profile(cloud: &Cloud) -> String {
    std::fs::read_to_string(cloud.dir.path().join("mastic.yaml")).expect("the profile is there")
}

fn says_newer(cloud: &Cloud) -> bool {
    profile(cloud).contains("2026.1")
}

const UPGRADE: &[&str] = &["upgrade", "--to", "2026.1", "--yes", "--no-build"];
const ROLLBACK: &[&str] = &["rollback", "--yes"];

#[test]
fn an_upgrade_and_its_way_back_killed_at_random_moments_must_converge() {
    let cloud = Cloud::older("t-upkills", 15);
    // Of ten kills, eight are in these two (one in each of a round) and two in commits.
    let wanted = (kills() * 2 / 5).max(2);
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
                // It had not begun, or had come to its end, perhaps without saying so in the profile.
                if turn == 1 && says_newer(&cloud) {
                    cloud
                        .mastic(&["deploy", "--yes"])
                        .code(1)
                        .says("`mastic rollback` says so in the profile");
                    cloud.mastic(ROLLBACK).ok().says("the profile says so from now on");
                }
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
    // Whatever moments the dice chose: a way back that was killed before it could say so in the profile.
    let back = profile(&cloud);
    cloud.write("mastic.yaml", &back.replace("2025.1", "2026.1"));
    cloud.mastic(&["deploy", "--yes"]).code(1).says("`mastic rollback` says so in the profile");
    cloud.mastic(ROLLBACK).ok().says("2025.1 serves, and the profile says so from now on");
    assert_eq!(profile(&cloud), back);
    cloud.mastic(&["plan"]).ok().says("Nothing to do");
    cloud.mastic(ROLLBACK).code(1).says("no upgrade is open");
    assert_tidy(&cloud, "at last");
}

const COMMIT: &[&str] = &["commit", "--yes", "--accept", "irreversible"];

#[test]
fn a_commit_killed_at_random_moments_must_be_taken_back_before_its_first_task_and_else_finished() {
    let cloud = Cloud::older("t-cokills", 20);
    let older = profile(&cloud);
    let wanted = (kills() / 5).max(2);
    let mut dice = Dice::new("kills of commits");
    let (mut killed, mut round, mut whole) = (0, 0, None);
    while killed < wanted {
        assert!(round < 2 * wanted + 2, "only {killed} of {round} commits were killed before their end");
        cloud.write("mastic.yaml", &older);
        cloud.mastic(&["deploy", "--yes"]).ok();
        let api = Api::of(&cloud);
        api.make_project("kept");
        let old: Vec<String> = cloud.containers().into_keys().collect();
        cloud.mastic(UPGRADE).ok();
        // The first one tells how long they take.
        let moment =
            whole.map_or(std::time::Duration::from_mins(1), |whole| dice.moment(whole, killed, wanted));
        let mut run = cloud.spawn(COMMIT);
        let when = if run.ends_within(moment) {
            whole = Some(run.wait().ok().took);
            format!("commit {round}, done")
        } else {
            run.kill();
            killed += 1;
            format!("commit {round}, killed after {:.2} s ({})", moment.as_secs_f64(), progress(&cloud))
        };
        let how = if is_open(&cloud) {
            let back = cloud.mastic(ROLLBACK);
            if back.code == Some(0) {
                assert_eq!(cloud.containers().into_keys().collect::<Vec<_>>(), old, "{when}");
                "taken back"
            } else {
                back.code(1).says("the commit has begun");
                cloud.mastic(COMMIT).ok();
                "finished"
            }
        } else {
            // One that was killed after its last word has left its lock to the next run.
            cloud.mastic(&["deploy", "--yes"]).ok();
            "had come to its end"
        };
        say(&format!("  {when}: {how}"));
        assert!(!is_open(&cloud), "{when}");
        cloud.mastic(&["plan"]).ok().says("Nothing to do");
        assert_tidy(&cloud, &when);
        assert!(api.has_project("kept"), "{when}: the project was lost");
        cloud.mastic(&["destroy", "--yes", "--volumes", "all"]).ok();
        round += 1;
    }
}

#[test]
fn all_or_nothing_must_take_back_what_had_gone_well_before_the_failure() {
    let cloud = Cloud::older("t-allornone", 21);
    // Of the newer release, the last set's only service never gets well.
    let own = std::fs::read_to_string(
        std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("templates/toolbox/service.yaml"),
    );
    let good = "file:/etc/openstack/clouds.yaml";
    let sick = format!("file:{{% if release == '2026.1' %}}/nowhere{{% else %}}{}{{% endif %}}", &good[5..]);
    let toolbox = own.expect("the service is there").replace(good, &sick).replace("set: api", "set: tools");
    cloud.write("extra/templates/toolbox/service.yaml", &toolbox);
    let clouds = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("templates/toolbox/clouds.yaml");
    cloud.write(
        "extra/templates/toolbox/clouds.yaml",
        &std::fs::read_to_string(clouds).expect("the template is there"),
    );
    let profile = cloud.profile("  tools: {services: [toolbox]}\nlibrary: [extra]\n");
    let profile = profile.replace("[keystone, toolbox]", "[keystone]").replace("\"2026.1\"", "\"2025.1\"");
    cloud.write("mastic.yaml", &profile);
    cloud.mastic(&["deploy", "--yes"]).ok();
    Api::of(&cloud).make_project("kept");
    let names = || cloud.containers().into_keys().collect::<Vec<_>>();
    let old = names();

    // As it is otherwise: what is proven stays, and what failed is what it was.
    let logins = Logins::begin(&cloud);
    cloud.mastic(UPGRADE).code(6).says("toolbox").says("was not healthy within 10 s");
    cloud.mastic(&["status"]).ok().says("mastic abort");
    assert_ne!(names(), old);
    cloud.mastic(&["abort", "--yes"]).ok();
    assert_eq!(names(), old);

    let run = cloud.mastic(&[UPGRADE, &["--all-or-nothing"]].concat());
    run.code(6).says("was not healthy within 10 s").says("all of it was taken back");
    logins.assert_none_failed("all or nothing");
    assert_eq!(names(), old);
    assert!(!is_open(&cloud));
    let now = std::fs::read_to_string(cloud.dir.path().join("mastic.yaml"));
    assert_eq!(now.expect("the profile is there"), profile);
    cloud.mastic(&["plan"]).ok().says("Nothing to do");
    assert!(Api::of(&cloud).has_project("kept"));
}

/// A disk of a size of its own, in memory, where the database's user may write.
#[derive(Debug)]
struct Disk(tempfile::TempDir);

impl Disk {
    fn new() -> Self {
        let disk = Self(tempfile::tempdir().expect("a temporary folder can be made"));
        disk.run("mount", &["-t", "tmpfs", "-o", "size=4g,mode=0750,uid=800,gid=800", "tmpfs"]);
        disk
    }

    fn path(&self) -> &str {
        self.0.path().to_str().expect("a path of text")
    }

    /// Runs a tool on it, and returns what it says.
    fn run(&self, tool: &str, words: &[&str]) -> String {
        let ran = Command::new(tool).args(words).arg(self.path()).output().expect("the tool is there");
        assert!(ran.status.success(), "{tool}: {ran:?}");
        String::from_utf8(ran.stdout).expect("text")
    }

    /// Leaves only so much free.
    fn leave(&self, kibibytes: u64) {
        let said = self.run("du", &["-sk"]);
        let used: u64 = said.split_whitespace().next().expect("a size").parse().expect("a number");
        self.run("mount", &["-o", &format!("remount,size={}k", used + kibibytes)]);
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        let gone = Command::new("umount").arg(self.path()).status();
        assert!(gone.is_ok_and(|gone| gone.success()) || std::thread::panicking(), "it is in use");
    }
}

#[test]
fn an_upgrade_without_room_for_its_data_or_its_restore_point_must_touch_nothing() {
    let data = Disk::new();
    let cloud = Cloud::older("t-full", 16);
    let deployment = format!("mastic.deployment={}", cloud.name);
    let volume = |short: &str, options: [&str; 3]| {
        let [kind, device, more] = options;
        let (name, label) = (format!("{}_{short}", cloud.name), format!("mastic.volume={short}"));
        let options =
            ["--opt", kind, "--opt", device, "--opt", more, "--label", &deployment, "--label", &label, &name];
        cloud.docker(&[&["volume", "create"][..], &options].concat());
    };
    volume("mariadb_data", ["type=none", "o=bind", &format!("device={}", data.path())]);
    // The restore points' volume has no room.
    volume("mariadb_backup", ["type=tmpfs", "device=tmpfs", "o=size=64k,mode=0750,uid=800,gid=800"]);
    cloud.mastic(&["deploy", "--yes"]).ok();
    let before = cloud.containers();

    // What is not well is not upgraded: nobody could tell what fails by the upgrade from what had failed before.
    let toolbox = before.keys().find(|name| name.contains("toolbox")).expect("it is there");
    cloud.docker(&["stop", "--time", "0", toolbox]);
    let sick = cloud.mastic(UPGRADE).code(1).says("the cloud is not well: 1 of ").says("nothing was touched");
    sick.says("toolbox: it does not run").says("--unwell");
    cloud.docker(&["start", toolbox]);
    let before = cloud.containers();
    let is_as_before = || {
        let after = cloud.containers();
        assert!(before.iter().all(|(name, seen)| after.get(name) == Some(seen)), "{before:#?}\n{after:#?}");
    };

    // Migrations may make each table anew.
    data.leave(1024);
    let refused =
        cloud.mastic(UPGRADE).code(1).says("the disk has no room for this upgrade; nothing was touched");
    refused.says("free for /var/lib/mysql").says("for tables that migrations make anew").says("mastic gc");
    is_as_before();
    data.leave(1 << 20);

    cloud.mastic(UPGRADE).code(6).says("No space left on device").says("the databases could not be copied");
    is_as_before();
    Api::of(&cloud).make_project("served");
    cloud.mastic(ROLLBACK).ok();
    assert_eq!(cloud.containers(), before);
    cloud.mastic(&["upgrade", "--to", "2026.1", "--yes", "--no-build", "--no-backup"]).ok();
    cloud.mastic(&["backup"]).code(6).says("No space left on device");
    cloud.mastic(&["status"]).ok().says("is kept");
}
