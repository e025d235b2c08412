//! Two generations beside each other.

use crate::harness::Cloud;

#[test]
fn generations_must_be_compared_by_field_and_by_line_with_secrets_masked() {
    let cloud = Cloud::of_toys("t-diff", 179, "");
    cloud.mastic(&["build", "--only", "toy"]).ok();
    cloud.mastic(&["deploy", "--yes"]).ok();
    cloud.mastic(&["diff", "1"]).ok().says("generation 1 -> 1").says("= 2 the same");
    cloud.write("mastic.yaml", &cloud.toys("variables: {talker_greeting: good-day}\n"));
    cloud.mastic(&["deploy", "--yes"]).ok();

    let told = cloud.mastic(&["diff", "1", "2"]).ok();
    let told =
        told.says("~ local/talker  gen 1 -> 2").says("file /etc/talker.conf changed").says("= 1 the same");
    assert!(!told.stdout.contains("sleeper"), "{}", told.stdout);
    let json = cloud.mastic(&["diff", "1", "2", "--json"]).ok().json();
    assert_eq!((&json["same"], &json["changed"][0]["slot"]), (&1.into(), &"local/talker".into()));
    // The older container is gone, and its lines with it.
    assert_eq!(json["changed"][0]["lines"], serde_json::json!({}));
    // A service that is not there any more.
    let without = cloud.toys("").replace("  rest: {services: [sleeper]}\n", "");
    cloud.write("mastic.yaml", &without);
    cloud.mastic(&["deploy", "--yes", "--accept", "removal"]).ok();
    cloud.mastic(&["diff", "2"]).ok().says("- local/sleeper  gen 1");
    cloud.mastic(&["diff", "9"]).code(1).says("there are 1 to 3");
}
