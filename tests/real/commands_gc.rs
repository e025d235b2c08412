//! gc: on an engine of its own, since it removes what other tests want.

use crate::engine::{EngineOptions, PrivateEngine};
use crate::harness::Cloud;

const NOW: &str = "mastic/memcached:2026.1";

#[test]
fn images_that_nobody_needs_must_go_and_no_others() {
    // The machine's engine has the images: another test's first act, or this one's.
    drop(Cloud::new("t-images", 10));
    let engine = PrivateEngine::start("gc", EngineOptions::default());
    engine.load_images(&[NOW]);
    let cloud = Cloud::on("t-gc", 176, engine);
    cloud.write("mastic.yaml", &cloud.profile(""));
    cloud.mastic(&["gc"]).ok().says("every image is needed");

    // Of an older release, of nobody's; the same with a container of somebody else's.
    cloud.docker(&["create", "--name", "making", NOW, "true"]);
    for (tag, label) in [("mastic/memcached:2025.1", "x=1"), ("mastic/memcached:2025.2", "x=2")] {
        cloud.docker(&["commit", "--change", &format!("LABEL {label}"), "making", tag]);
    }
    cloud.docker(&["create", "--name", "theirs", "mastic/memcached:2025.2", "true"]);
    cloud.docker(&["rm", "making"]);
    // Those of one second come in any order.
    let tags = || {
        let listed = cloud.docker(&["images", "--format", "{{.Repository}}:{{.Tag}}"]);
        let mut tags: Vec<String> = listed.lines().map(str::to_owned).collect();
        tags.sort();
        tags.join(" ")
    };
    let before = tags();
    cloud.mastic(&["gc"]).code(3).says("local/mastic/memcached:2025.1").says("nothing was touched");
    assert_eq!(tags(), before);

    let gone = cloud.mastic(&["gc", "--yes", "--json"]).ok();
    gone.json()["images"].as_array().expect("a list of images").iter().for_each(|one| {
        assert_ne!(one["image"], NOW, "{one}");
    });
    assert!(gone.stderr.contains("2025.2 stays: a container uses it"), "{}", gone.stderr);
    let left = tags();
    assert!(!left.contains("memcached:2025.1"), "{left}");
    for there in [NOW, "mastic/memcached:2025.2"] {
        assert!(left.contains(there), "{there} is gone: {left}");
    }
    // An open upgrade keeps a release; here none is open, and what a container uses stays all the same.
    cloud.docker(&["rm", "theirs"]);
    cloud.mastic(&["gc", "--yes"]).ok();
    assert!(!tags().contains("memcached:2025.2"), "{}", tags());
    cloud.mastic(&["gc"]).ok().says("every image is needed");
}
