//! Containers that crash at start, and ones that never become healthy.

use super::support::{assert_settled, assert_tidy, say};
use crate::api::Api;
use crate::harness::{Cloud, Containers};

/// Ids by name: what a restart does not change.
fn ids(containers: &Containers) -> Vec<(&str, &str)> {
    containers.iter().map(|(name, (id, _, _))| (name.as_str(), id.as_str())).collect()
}

/// The same containers, all of them at work as before; `restarted` may have been started anew.
#[track_caller]
fn assert_returned(before: &Containers, cloud: &Cloud, restarted: &str) {
    let now = cloud.containers();
    assert_eq!(ids(before), ids(&now), "the set was not returned to what it was");
    let others = |all: &Containers| -> Containers {
        all.iter()
            .filter(|(name, _)| !name.contains(restarted))
            .map(|(n, c)| (n.clone(), c.clone()))
            .collect()
    };
    assert_eq!(others(before), others(&now), "others than {restarted} were touched");
    assert_tidy(cloud, "after the undo");
}

/// A service of the test's own beside the cloud: `toy` greets, then waits; its check is given.
fn toy(cloud: &Cloud, greeting: &str, check: &str) {
    cloud.write(
        "extra/templates/toy/service.yaml",
        &format!(
            "service: toy\nsummary: A service that exists only in a test\nusers: {{nobody: \"65534:65534\"}}\n\
             containers:\n  toy:\n    set: tools\n    image: base\n    user: nobody\n    \
             command: [sh, -c, \"echo {greeting}; exec sleep 1000000\"]\n    \
             check: {{targets: [\"{check}\"], deadline: 4}}\n    stop: {{grace: 5}}\n    cutover: exclusive\n"
        ),
    );
}

#[test]
fn containers_that_cannot_serve_must_be_undone_with_their_own_words() {
    let cloud = Cloud::new("t-crash", 9);
    toy(&cloud, "moin", "process:sleep");
    let profile =
        cloud.profile("library: [extra]\n").replace("sets:\n", "sets:\n  tools: {services: [toy]}\n");
    cloud.write("mastic.yaml", &profile);
    cloud.mastic(&["deploy", "--yes"]).ok();
    let before = cloud.containers();
    let api = Api::of(&cloud);

    // Never healthy: its last words and its check's are shown. The API, which has nothing to do with it, serves all along.
    let watch = api.watch();
    toy(&cloud, "i-am-deaf", "tcp:127.0.0.1:1");
    let failed = cloud.mastic(&["deploy", "--yes"]).code(6).says("was not healthy within 4 s");
    assert!(failed.stderr.contains("| i-am-deaf"), "its last words are missing:\n{}", failed.stderr);
    assert!(failed.stderr.contains("tcp:127.0.0.1:1"), "what its check said is missing:\n{}", failed.stderr);
    assert!(failed.stderr.contains("set tools: was returned to what it was"), "{}", failed.stderr);
    let seen = watch.end();
    assert_eq!(seen.failures, [""; 0], "of {} requests", seen.asked);
    assert!(seen.asked > 50, "only {} requests", seen.asked);
    assert_returned(&before, &cloud, "-toy-");
    toy(&cloud, "moin", "process:sleep");
    cloud.mastic(&["plan"]).ok();

    // A task of Keystone's that fails at once: its set is undone before anything of it was stopped.
    let watch = api.watch();
    cloud.write("overrides/keystone.conf", "[token]\nexpiration = soon\n");
    cloud.write("mastic.yaml", &format!("{profile}overrides: overrides\n"));
    let before = cloud.containers();
    let failed = cloud.mastic(&["deploy", "--yes"]).code(6).says("keystone-setup");
    assert!(failed.stderr.contains("expiration"), "its own words are missing:\n{}", failed.stderr);
    let seen = watch.end();
    assert_eq!(seen.failures, [""; 0], "of {} requests", seen.asked);
    assert_returned(&before, &cloud, "-keystone-");
    std::fs::remove_file(cloud.dir.path().join("overrides/keystone.conf")).expect("the override is there");

    // The API's own container crashes at start: the one that serves goes on, and no client notices.
    let watch = api.watch();
    cloud.write("overrides/keystone/uwsgi.ini", "[uwsgi]\nmodule = no_such_module:application\n");
    let failed = cloud.mastic(&["deploy", "--yes"]).code(6).says("keystone-api");
    assert!(failed.stderr.contains("no_such_module"), "its own words are missing:\n{}", failed.stderr);
    assert!(failed.stderr.contains("ended with code"), "it was not seen to end:\n{}", failed.stderr);
    assert!(failed.stderr.contains("set api: was returned to what it was"), "{}", failed.stderr);
    assert_returned(&before, &cloud, "-keystone-");
    let seen = watch.end();
    say(&format!(
        "  a crashing keystone-api: {} of {} requests failed, undone in {:.1} s",
        seen.failures.len(),
        seen.asked,
        failed.took.as_secs_f64()
    ));
    assert_eq!(seen.failures, [""; 0], "of {} requests", seen.asked);
    assert!(api.has_project("admin"));

    // Once the cause is gone there is nothing to do.
    std::fs::remove_dir_all(cloud.dir.path().join("overrides/keystone")).expect("the override is there");
    assert_settled(&cloud, "at the end");
    cloud.mastic(&["check"]).ok();
}
