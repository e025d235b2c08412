//! Restore points: made while the cloud is used, tried beside it, taken back.

use crate::api::Api;
use crate::harness::Cloud;

#[test]
fn a_restore_point_must_be_made_tried_and_taken_back_and_a_damaged_one_refused() {
    let cloud = Cloud::new("t-backup", 14);
    cloud.mastic(&["deploy", "--yes"]).ok();
    let api = Api::of(&cloud);
    assert_eq!(cloud.mastic(&["backup", "--list", "--json"]).ok().json()["points"], serde_json::json!([]));
    cloud.mastic(&["backup", "--verify"]).code(1).says("there is none");
    cloud.mastic(&["backup", "No/Such"]).code(64).says("lower-case letters");

    api.make_project("before");
    let watch = api.watch();
    cloud.mastic(&["backup", "one"]).ok().says("mastic restore one");
    cloud.mastic(&["backup", "one"]).code(1).says("there is a restore point `one` already");
    cloud.mastic(&["backup", "--verify"]).ok().says("one can be restored");
    let seen = watch.end();
    assert!(seen.failures.is_empty(), "of {} requests meanwhile: {:?}", seen.asked, seen.failures);
    cloud.mastic(&["plan"]).ok().says("Nothing to do");
    api.make_project("after");

    // Sealed, it can be read with the secret alone; the older one still says of itself that it is not.
    let variables = "variables: {mariadb_backup_encrypted: true, ";
    let profile = cloud.profile("").replace("variables: {", variables);
    cloud.write("mastic.yaml", &profile);
    cloud.mastic(&["backup", "two", "-m", "before the attempt"]).ok().says("encrypted");
    cloud.mastic(&["backup", "--verify", "two"]).ok();
    cloud.mastic(&["history"]).ok().says("before the attempt");
    let listed = cloud.mastic(&["backup", "--list", "--json"]).ok().json();
    let points: Vec<_> = listed["points"].as_array().expect("a list").iter().collect();
    let named = |name: &str| *points.iter().find(|p| p["point"] == name).expect("it is listed");
    assert_eq!((&named("one")["encrypted"], &named("two")["encrypted"]), (&false.into(), &true.into()));
    assert_eq!(named("two")["release"], "2026.1");

    cloud.mastic(&["restore", "three", "--yes", "--accept", "data-loss"]).code(1).says("there are: one, two");
    cloud.mastic(&["restore", "one", "--yes"]).code(3).says("--accept data-loss");
    assert!(api.has_project("after"));
    cloud.mastic(&["restore", "one", "--yes", "--accept", "data-loss"]).ok();
    assert!(api.has_project("before"), "what the point has is gone");
    assert!(!api.has_project("after"), "what was written since is there");
    cloud.mastic(&["restore", "two", "--yes", "--accept", "data-loss"]).ok();
    assert!(api.has_project("after"), "what the younger point has is gone");
    cloud.mastic(&["plan"]).ok().says("Nothing to do");

    // A damaged one is no point; the cloud serves what it has.
    let volume = format!("{}_mariadb_backup:/b", cloud.name);
    let damage = ["run", "--rm", "--volume", &volume, "--entrypoint", "sh", "mastic/mariadb:2026.1", "-c"];
    cloud.docker(&[&damage[..], &["printf x >>/b/data/two"]].concat());
    cloud.mastic(&["backup", "--verify", "two"]).code(6).says("its checksum is another one");
    cloud
        .mastic(&["restore", "two", "--yes", "--accept", "data-loss"])
        .code(6)
        .says("its checksum is another one");
    assert!(api.has_project("after"), "a restore that failed changed something");
    cloud.mastic(&["status"]).ok();
}
