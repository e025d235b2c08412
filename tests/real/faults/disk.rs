//! A disk that is full while an image is built.

use nix::mount::{MsFlags, mount};

use crate::engine::{EngineOptions, PrivateEngine};
use crate::harness::Cloud;

const MIB: u64 = 1 << 20;

#[test]
fn a_full_disk_must_be_said_and_a_build_with_room_must_go_on() {
    drop(Cloud::new("t-images", 11));
    let engine =
        PrivateEngine::start("disk", EngineOptions { disk: Some(256 * MIB), ..EngineOptions::default() });
    engine.load_images(&["mastic/debian:trixie", "mastic/base:2026.1"]);
    let cloud = Cloud::on("t-disk", 11, engine);
    // More than there is room for, beside what it stands on.
    cloud.write(
        "extra/images/toy/Dockerfile",
        "FROM base\nRUN echo first > /first\nRUN dd if=/dev/zero of=/big bs=1M count=220\n",
    );
    cloud.write(
        "extra/templates/toy/service.yaml",
        "service: toy\nsummary: A service that exists only in a test\nusers: {nobody: \"65534:65534\"}\n\
         containers:\n  toy:\n    set: tools\n    image: toy\n    user: nobody\n    command: [sleep, infinity]\n    \
         cutover: exclusive\n",
    );
    let profile = format!(
        "deployment: {}\nrelease: \"2026.1\"\nhosts:\n  local: {{engine: \"{}\", address: {}}}\n\
         library: [extra]\nsets:\n  tools: {{services: [toy]}}\n",
        cloud.name,
        cloud.endpoint(),
        cloud.address
    );
    cloud.write("mastic.yaml", &profile);
    let data = cloud.private().home().path("data");

    let full =
        cloud.mastic(&["build"]).code(1).says("the disk is full").says(&data.to_string_lossy()).says("prune");
    assert!(
        full.stderr.contains("No space left on device") || full.stderr.contains("no space left on device")
    );
    assert_eq!(cloud.docker(&["images", "-q", "mastic/toy"]).trim(), "", "half an image has the name");
    cloud.mastic(&["deploy", "--yes"]).code(1).says("mastic/toy:2026.1").says("mastic build");
    assert_eq!(cloud.containers().len(), 0);

    // With room, the same command goes on from what it had.
    let more = format!("size={}", 800 * MIB);
    mount(None::<&str>, &data, None::<&str>, MsFlags::MS_REMOUNT, Some(more.as_str())).expect("it can grow");
    cloud.mastic(&["build"]).ok().says("1 built");
    cloud.mastic(&["deploy", "--yes"]).ok();
    cloud.mastic(&["plan"]).ok();
}
