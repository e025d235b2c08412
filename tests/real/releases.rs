//! Every release that Mastic knows: one word of the profile.

use std::path::Path;

use crate::api::Api;
use crate::harness::Cloud;

const UWSGI: &str = "/etc/keystone/uwsgi.ini";

/// All releases, each with its version of Keystone, as `images/releases` has them.
fn releases() -> Vec<(String, String)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("images/releases");
    let mut found: Vec<(String, String)> = std::fs::read_dir(folder)
        .expect("there are releases")
        .filter_map(|entry| {
            std::fs::read_to_string(entry.expect("an entry").path().join("release.yaml")).ok()
        })
        .map(|text| {
            let facts: serde_yaml::Value = serde_yaml::from_str(&text).expect("it is YAML");
            let text = |value: &serde_yaml::Value| value.as_str().expect("it is text").to_owned();
            (text(&facts["series"]), text(&facts["projects"]["keystone"]))
        })
        .collect();
    found.sort();
    found
}

#[test]
fn every_release_must_be_built_and_deployed_to_a_token() {
    let cloud = Cloud::new("t-release", 12);
    let releases = releases();
    assert!(releases.len() >= 4, "{releases:?}");
    for (release, version) in releases {
        let profile = cloud.profile("").replace("release: \"2026.1\"", &format!("release: \"{release}\""));
        cloud.write("mastic.yaml", &profile);
        cloud.mastic(&["build"]).ok();
        cloud.mastic(&["deploy", "--yes"]).ok();
        cloud.token();
        assert!(Api::of(&cloud).has_project("admin"), "{release} has no project of its administrator");
        let containers = cloud.containers();
        let api = containers.keys().find(|name| name.contains("-keystone-api-")).expect("it runs");
        let image = cloud.docker(&["inspect", "--format", "{{.Config.Image}}", api]);
        let said = cloud.docker(&["exec", api, "keystone-manage", "--version"]);
        assert_eq!(said.trim(), version, "{release}: that is Keystone in {image}");
        // Cinder's loads with a thread of its own: a worker that was not told of its fork died of it, and lost a request.
        let forked = include_str!("../fixture/forked.py");
        let said = cloud.docker(&["exec", api, "/opt/mastic/bin/python", "-c", forked, UWSGI]);
        assert_eq!(said.trim(), "answered 40 of 40", "{release}");
        cloud.mastic(&["plan"]).ok();
        cloud.mastic(&["destroy", "--yes", "--volumes", "all"]).ok();
    }
}
