//! After a commit: what a return to the older release would lose, the return with its restore point, and forth again.

use crate::api::Api;
use crate::harness::Cloud;
use crate::upgrade::version_of_running;

#[test]
fn after_a_commit_the_older_release_must_come_back_with_its_restore_point_and_go_forth_again() {
    let cloud = Cloud::older("t-return", 18);
    cloud.mastic(&["deploy", "--yes"]).ok();
    let api = Api::of(&cloud);
    let version = || version_of_running(&cloud)[..2].to_owned();
    let text =
        || std::fs::read_to_string(cloud.dir.path().join("mastic.yaml")).expect("the profile is there");
    api.make_user("first", "secret-1");
    cloud.mastic(&["rollback", "--yes"]).code(1).says("no upgrade is open");

    cloud.mastic(&["upgrade", "--to", "2026.1", "--yes"]).ok();
    // What is held, and what commit will end.
    let status = cloud.mastic(&["status"]).ok();
    let status =
        status.says("2026.1 serves; 2025.1 (generation 1) is kept since").says("until `mastic commit`");
    status.says("commit runs keystone-contract").says("restore point of before: generation-1");
    let open = cloud.mastic(&["status", "--json"]).ok().json()["open"].clone();
    assert_eq!(open["restore_point"], "generation-1", "{open:#}");
    assert!(open["containers"].as_u64().is_some_and(|n| n >= 2), "{open:#}");
    assert!(open["images"].as_array().is_some_and(|all| !all.is_empty()), "{open:#}");
    cloud.mastic(&["rollback", "--restore", "--yes"]).code(1).says("loses nothing");
    cloud.mastic(&["commit", "--yes", "--accept", "irreversible"]).ok();
    assert_eq!(cloud.mastic(&["status", "--json"]).ok().json()["open"], serde_json::Value::Null);
    api.make_user("second", "secret-2");

    // It says what it would lose, and touches nothing.
    let before = cloud.containers();
    let told = cloud.mastic(&["rollback", "--yes"]).code(3).says("before it: 2025.1 of generation 1");
    let told = told.says("restore point generation-1, made").says("lost: all that was written");
    told.says("mastic rollback --restore");
    let told = cloud.mastic(&["rollback", "--json"]).code(3).json();
    assert_eq!((&told["release"], &told["point"]["point"]), (&"2025.1".into(), &"generation-1".into()));
    assert_eq!(told["images_missing"], serde_json::json!([]), "{told:#}");
    cloud.mastic(&["rollback", "--restore", "--yes"]).code(3).says("--accept data-loss");
    cloud.mastic(&["rollback", "--restore", "--to", "2", "--yes"]).code(1).says("which serves");
    cloud.mastic(&["rollback", "--to", "77"]).code(1).says("there is no generation 77");
    assert_eq!(cloud.containers(), before);
    assert!(api.can_log_in("first", "secret-1") && api.can_log_in("second", "secret-2"));

    // A pinned generation keeps its images, and is told of in the history.
    let going = || cloud.mastic(&["gc", "--keep", "1"]).stderr;
    let old_image = "local/mastic/toolbox:2025.1";
    assert!(going().contains(old_image), "{}", going());
    cloud.mastic(&["pin", "1", "-m", "before the new release"]).ok().says("restore point generation-1 stay");
    assert!(!going().contains(old_image), "{}", going());
    cloud.mastic(&["history"]).ok().says("before the new release");
    let pins = cloud.mastic(&["history", "--json"]).ok().json();
    assert_eq!(pins["generations"][0]["pin"]["note"], "before the new release", "{pins:#}");
    cloud.mastic(&["pin", "99"]).code(1).says("there is no generation 99");

    // A damaged point is none: what served serves, with all that it has.
    let volume = format!("{}_mariadb_backup:/b", cloud.name);
    let shell = |words: &str| {
        let run = ["run", "--rm", "--volume", &volume, "--entrypoint", "sh", "mastic/mariadb:2026.1", "-c"];
        cloud.docker(&[&run[..], &[words]].concat())
    };
    shell("printf x >>/b/data/generation-1");
    let failed = cloud.mastic(&["rollback", "--restore", "--yes", "--accept", "data-loss"]).code(6);
    failed.says("its checksum is another one");
    assert_eq!(version(), "29");
    assert!(api.can_log_in("second", "secret-2") && text().contains("release: \"2026.1\" # ours"));
    cloud.mastic(&["plan"]).ok().says("Nothing to do");
    shell("truncate -s -1 /b/data/generation-1");

    // Killed while the data changes, and started again.
    let events = cloud.events();
    let run = cloud.spawn(&["rollback", "--restore", "--yes", "--accept", "data-loss"]);
    events.until("start", "mariadb-restore");
    run.kill();
    cloud.mastic(&["deploy", "--yes"]).code(1).says("`mastic rollback --restore` goes on with it");
    cloud.mastic(&["upgrade", "--to", "2026.1", "--yes"]).code(1).says("`mastic rollback --restore` goes on");
    cloud.mastic(&["rollback"]).code(1).says("has not come to its end");
    let back = cloud.mastic(&["rollback", "--restore", "--yes", "--accept", "data-loss"]).ok();
    back.says("2025.1 serves again, with the data of generation-1").says("mastic rollback --restore --to 4");
    assert_eq!(version(), "27");
    assert!(text().contains("release: \"2025.1\" # ours"), "{}", text());
    cloud.mastic(&["plan"]).ok().says("Nothing to do");
    cloud.mastic(&["check"]).ok();
    assert!(api.can_log_in("first", "secret-1"), "who was there at the restore point is gone");
    assert!(!api.can_log_in("second", "secret-2"), "what was written since is there");
    cloud.mastic(&["rollback", "--restore", "--yes"]).code(1).says("no upgrade is open");

    // What the newer release had is a restore point, too: forth with it, and back once more.
    let points = cloud.mastic(&["backup", "--list", "--json"]).ok().json();
    let names: Vec<&str> =
        points["points"].as_array().expect("a list").iter().filter_map(|p| p["point"].as_str()).collect();
    assert_eq!(names, ["generation-1", "generation-3", "generation-4"]);
    let forth = ["rollback", "--restore", "--to", "4", "--no-backup", "--yes", "--accept", "data-loss"];
    cloud.mastic(&forth).ok().says("2026.1 serves again");
    assert_eq!(version(), "29");
    cloud.mastic(&["plan"]).ok().says("Nothing to do");
    assert!(api.can_log_in("second", "secret-2"), "what the newer release had is gone");
    cloud.mastic(&["rollback", "--restore", "--yes", "--accept", "data-loss"]).ok();
    assert!(!api.can_log_in("second", "secret-2"));

    // The same upgrade works again, contraction included.
    cloud.mastic(&["upgrade", "--to", "2026.1", "--yes"]).ok();
    cloud.mastic(&["status"]).ok().says("commit runs keystone-contract");
    cloud.mastic(&["commit", "--yes", "--accept", "irreversible"]).ok();
    assert_eq!(version(), "29");
    assert!(api.can_log_in("first", "secret-1"));
    cloud.mastic(&["plan"]).ok().says("Nothing to do");
    cloud.mastic(&["pin", "1", "--remove"]).ok().says("not pinned any more");
    assert!(cloud.mastic(&["history", "--json"]).ok().json()["generations"][0].get("pin").is_none());
}
