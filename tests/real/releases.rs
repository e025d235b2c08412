//! The older releases that Mastic knows: one word of the profile.

use crate::api::Api;
use crate::harness::Cloud;

#[test]
fn every_release_must_be_built_and_deployed_to_a_token() {
    let cloud = Cloud::new("t-release", 12);
    // The versions are those of Keystone: each release's own.
    for (release, version) in [("2025.1", "27."), ("2025.2", "28."), ("2026.1", "29.")] {
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
        assert!(said.starts_with(version), "{release}: Keystone is {said} in {image}");
        cloud.mastic(&["plan"]).ok();
        cloud.mastic(&["destroy", "--yes", "--volumes", "all"]).ok();
    }
}
