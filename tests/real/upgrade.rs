//! One release to the next under load, back with what was made meanwhile, forth again, and committed.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use crate::api::Api;
use crate::harness::Cloud;

/// Logs in and reads through the balancer until it is dropped: each login is a request of the database.
struct Logins {
    over: Arc<AtomicBool>,
    thread: Option<std::thread::JoinHandle<(usize, Vec<String>)>>,
}

impl Logins {
    fn begin(cloud: &Cloud) -> Self {
        let over = Arc::new(AtomicBool::new(false));
        let (api, is_over) = (Api::of(cloud), over.clone());
        let thread = std::thread::spawn(move || {
            let (mut good, mut bad) = (0, Vec::new());
            while !is_over.load(Ordering::Relaxed) {
                match std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| api.has_project("admin"))) {
                    Ok(true) => good += 1,
                    Ok(false) => bad.push("no project".to_owned()),
                    Err(_) => bad.push("a request failed".to_owned()),
                }
                std::thread::sleep(Duration::from_millis(20));
            }
            (good, bad)
        });
        Self { over, thread: Some(thread) }
    }

    #[track_caller]
    fn assert_none_failed(mut self, when: &str) {
        self.over.store(true, Ordering::Relaxed);
        let (good, bad) = self.thread.take().expect("it began").join().expect("it only counts");
        assert!(good > 3 && bad.is_empty(), "{when}: {good} logins, and {bad:?}");
    }
}

impl Drop for Logins {
    fn drop(&mut self) {
        self.over.store(true, Ordering::Relaxed);
    }
}

/// Requires that an API was asked all along, and never in vain.
#[track_caller]
fn assert_available(report: &serde_json::Value, when: &str) {
    let seen = &report["availability"]["keystone_api"];
    assert!(seen["requests"].as_u64().is_some_and(|n| n >= 20), "{when}: {report:#}");
    assert_eq!(seen["failed"], 0, "{when}: {seen:#}");
}

#[test]
fn a_release_must_be_changed_and_changed_back_without_a_failed_request_and_with_all_data() {
    let cloud = Cloud::new("t-upgrade", 13);
    let profile = cloud.profile("").replace("release: \"2026.1\"", "release: \"2025.1\" # ours");
    cloud.write("mastic.yaml", &profile);
    cloud.mastic(&["build"]).ok();
    cloud.mastic(&["--release", "2026.1", "build"]).ok();
    cloud.mastic(&["deploy", "--yes"]).ok();
    let api = Api::of(&cloud);
    assert!(version_of_running(&cloud).starts_with("27."), "{}", version_of_running(&cloud));
    let old: Vec<String> = cloud.containers().into_keys().collect();
    api.make_project("before");

    // Not by accident, and not without one that is open.
    cloud.mastic(&["--release", "2026.1", "deploy", "--yes"]).code(1).says("mastic upgrade --to 2026.1");
    cloud.mastic(&["upgrade", "--to", "2024.2", "--yes"]).code(1).says("mastic.yaml:2:10").says("2025.2");
    cloud.mastic(&["upgrade", "--to", "2025.1", "--yes"]).code(1).says("already");
    cloud.mastic(&["rollback", "--yes"]).code(1).says("no upgrade is open");
    cloud.mastic(&["commit", "--yes"]).code(1).says("no upgrade is open");

    let logins = Logins::begin(&cloud);
    let up = cloud.mastic(&["upgrade", "--to", "2026.1", "--yes", "--json"]).ok();
    assert_available(&up.json(), "upgrade");
    assert!(version_of_running(&cloud).starts_with("29."), "{}", version_of_running(&cloud));
    let text = std::fs::read_to_string(cloud.dir.path().join("mastic.yaml")).expect("the profile is there");
    assert!(text.contains("release: \"2026.1\" # ours"), "{text}");
    cloud.mastic(&["status"]).ok().says("is kept").says("mastic rollback");
    cloud.mastic(&["check"]).ok();
    cloud.mastic(&["plan"]).ok().says("Nothing to do");
    api.make_project("during");
    // The older containers are there, with their config.
    let lines = cloud.mastic(&["diff", "1", "2", "--json"]).ok();
    let secrets = cloud.secrets();
    assert!(secrets.values().all(|secret| !lines.stdout.contains(secret)), "a secret is in the diff");
    lines.says("mastic/keystone:2026.1");

    let back = cloud.mastic(&["rollback", "--yes", "--json"]).ok();
    assert_available(&back.json(), "rollback");
    assert!(back.took < Duration::from_mins(1), "a rollback took {:?}", back.took);
    logins.assert_none_failed("over upgrade and rollback");
    let now: Vec<String> = cloud.containers().into_keys().collect();
    assert_eq!(now, old, "the very containers that served before serve again");
    for project in ["before", "during"] {
        assert!(api.has_project(project), "{project} is gone");
    }
    cloud.mastic(&["plan"]).ok().says("Nothing to do");

    // A change of another kind while the upgrade is open keeps what is kept, and ends up on its ports.
    cloud.mastic(&["upgrade", "--to", "2026.1", "--yes"]).ok();
    cloud.write("overrides/keystone.conf", "[token]\nexpiration = 7300\n");
    cloud.mastic(&["deploy", "--yes"]).ok();
    cloud.mastic(&["status"]).ok().says("is kept");
    std::fs::remove_file(cloud.dir.path().join("overrides/keystone.conf")).expect("it is there");
    let back = cloud.mastic(&["rollback", "--yes", "--json"]).ok();
    assert_available(&back.json(), "rollback after a change");
    cloud.mastic(&["plan"]).ok().says("Nothing to do");

    let logins = Logins::begin(&cloud);
    cloud.mastic(&["upgrade", "--to", "2026.1", "--yes"]).ok();
    cloud.mastic(&["commit", "--yes"]).code(3).says("irreversible");
    cloud.mastic(&["commit", "--yes", "--accept", "irreversible"]).ok();
    logins.assert_none_failed("over upgrade and commit");
    cloud.mastic(&["rollback", "--yes"]).code(1).says("no upgrade is open");
    cloud.mastic(&["upgrade", "--to", "2025.1", "--yes"]).code(1).says("older");
    cloud.mastic(&["plan"]).ok().says("Nothing to do");
    for project in ["before", "during"] {
        assert!(api.has_project(project), "{project} is gone");
    }
    let history = cloud.mastic(&["history", "--json"]).ok().json();
    let generations = history["generations"].as_array().expect("a list").clone();
    let asked = generations.iter().filter(|one| one["availability"]["keystone_api"]["failed"] == 0).count();
    assert_eq!(asked, 6, "{history:#}");
}

fn version_of_running(cloud: &Cloud) -> String {
    let running = cloud.docker(&["ps", "--format", "{{.Names}}"]);
    let name = running
        .lines()
        .find(|name| name.starts_with(&format!("{}-keystone-api-", cloud.name)))
        .expect("it runs")
        .to_owned();
    cloud.docker(&["exec", &name, "keystone-manage", "--version"])
}
