//! One release to the next under load, back with what was made meanwhile, forth again, and committed.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use crate::api::Api;
use crate::harness::Cloud;

/// Logs in and reads through the balancer until it is dropped: each login is a request of the database.
pub struct Logins {
    over: Arc<AtomicBool>,
    thread: Option<std::thread::JoinHandle<(usize, Vec<String>)>>,
}

impl Logins {
    pub fn begin(cloud: &Cloud) -> Self {
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
    pub fn assert_none_failed(self, when: &str) {
        self.assert_at_most(0, when);
    }

    #[track_caller]
    pub fn assert_at_most(mut self, failed: usize, when: &str) {
        self.over.store(true, Ordering::Relaxed);
        let (good, bad) = self.thread.take().expect("it began").join().expect("it only counts");
        assert!(good > 3 && bad.len() <= failed, "{when}: {good} logins, and {bad:?}");
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
    // Ten a second, and half of that on a machine that has other things to do.
    let seconds = report["seconds"].as_f64().expect("a number");
    assert!(seen["requests"].as_f64().is_some_and(|n| n >= 5.0 * seconds), "{when}: {report:#}");
    assert_eq!(seen["failed"], 0, "{when}: {seen:#}");
}

#[test]
fn a_release_must_be_changed_and_changed_back_without_a_failed_request_and_with_all_data() {
    let cloud = Cloud::older("t-upgrade", 13);
    cloud.mastic(&["deploy", "--yes"]).ok();
    let api = Api::of(&cloud);
    assert!(version_of_running(&cloud).starts_with("27."), "{}", version_of_running(&cloud));
    let old: Vec<String> = cloud.containers().into_keys().collect();
    api.make_project("before");

    // Not by accident, and not without one that is open.
    cloud.mastic(&["--release", "2026.1", "deploy", "--yes"]).code(1).says("mastic upgrade --to 2026.1");
    cloud.mastic(&["upgrade", "--to", "2024.2", "--yes"]).code(1).says("mastic.yaml:2:10").says("2025.2");
    cloud.mastic(&["upgrade", "--to", "2026.2", "--yes"]).code(1).says("mastic upgrade --to 2026.1");
    cloud.mastic(&["upgrade", "--to", "2025.1", "--yes"]).ok().says("nothing to do");
    cloud.mastic(&["upgrade", "--to", "patched", "--yes"]).code(64).says("--service");
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

    // From another machine, which has the profile and the secrets, and from which neither an index nor a registry is reached: what
    // returns is on the hosts.
    let elsewhere = |arguments: &[&str]| {
        let mut command = cloud.command(arguments);
        command.env("MASTIC_STATE_DIR", cloud.dir.path().join("elsewhere"));
        command.envs(
            ["http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY"]
                .map(|name| (name, "http://127.0.0.1:9")),
        );
        Cloud::run(&mut command)
    };
    elsewhere(&["rollback", "--yes"]).code(1).says("mastic secrets import");
    elsewhere(&["secrets", "import", "state"]).ok();
    let back = elsewhere(&["rollback", "--yes", "--json"]).ok();
    assert_available(&back.json(), "rollback");
    assert!(back.took < Duration::from_mins(1), "a rollback took {:?}", back.took);
    logins.assert_none_failed("over upgrade and rollback");
    let now: Vec<String> = cloud.containers().into_keys().collect();
    assert_eq!(now, old, "the very containers that served before serve again");
    let (thawed, state) = keystone_of(&cloud, "2025.1");
    assert_eq!(state, "running", "{thawed}");
    let policy = cloud.docker(&["inspect", "--format", "{{.HostConfig.RestartPolicy.Name}}", &thawed]);
    assert_eq!(policy.trim(), "unless-stopped", "{thawed} was frozen, and serves again");
    for project in ["before", "during"] {
        assert!(api.has_project(project), "{project} is gone");
    }
    cloud.mastic(&["plan"]).ok().says("Nothing to do");

    // A change of another kind while the upgrade is open keeps what is kept, and ends up on its ports.
    cloud.mastic(&["upgrade", "--to", "2026.1", "--yes"]).ok();
    a_balancer_that_begins_anew_must_not_ask_what_is_frozen(&cloud, &api);
    cloud.write("overrides/keystone.conf", "[token]\nexpiration = 7300\n");
    cloud.mastic(&["deploy", "--yes"]).ok();
    cloud.mastic(&["status"]).ok().says("is kept");
    let (kept, state) = keystone_of(&cloud, "2025.1");
    assert_eq!(state, "exited", "{kept} gave way to what needed its ports");
    std::fs::remove_file(cloud.dir.path().join("overrides/keystone.conf")).expect("it is there");
    let back = cloud.mastic(&["rollback", "--yes", "--json"]).ok();
    assert_available(&back.json(), "rollback after a change");
    cloud.mastic(&["plan"]).ok().says("Nothing to do");

    let logins = Logins::begin(&cloud);
    cloud.mastic(&["upgrade", "--to", "2026.1", "--yes"]).ok();
    cloud.mastic(&["commit", "--yes"]).code(3).says("irreversible");
    cloud.mastic(&["commit", "--yes", "--accept", "irreversible"]).ok();
    logins.assert_none_failed("over upgrade and commit");
    cloud.mastic(&["rollback", "--yes"]).code(3).says("mastic rollback --restore");
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

/// Returns the Keystone container of a release, and its state.
fn keystone_of(cloud: &Cloud, release: &str) -> (String, String) {
    let wanted = format!("label=mastic.release={release}");
    let found = cloud.docker(&["ps", "-a", "--filter", &wanted, "--format", "{{.Names}} {{.State}}"]);
    let of = |line: &&str| line.starts_with(&format!("{}-keystone-api-", cloud.name));
    let line = found.lines().find(of).unwrap_or_else(|| panic!("no Keystone of {release}: {found}"));
    let (name, state) = line.split_once(' ').expect("a name and a state");
    (name.to_owned(), state.to_owned())
}

/// What is kept is frozen: it accepts connections and answers nothing. It must get no request, also from a balancer that knows nothing
/// of what was said to its predecessor; and the engine must not start it by itself.
fn a_balancer_that_begins_anew_must_not_ask_what_is_frozen(cloud: &Cloud, api: &Api) {
    let (kept, state) = keystone_of(cloud, "2025.1");
    assert_eq!(state, "paused", "{kept}");
    let policy = cloud.docker(&["inspect", "--format", "{{.HostConfig.RestartPolicy.Name}}", &kept]);
    assert_eq!(policy.trim(), "no");
    cloud.mastic(&["status", "--all"]).ok().says("frozen");
    let names: Vec<String> = cloud.containers().into_keys().collect();
    let balancer = names.iter().find(|name| name.contains("-haproxy-")).expect("a balancer");
    cloud.docker(&["restart", "--time", "0", balancer]);
    cloud.mastic(&["check", "--wait", "20"]).ok();
    for _ in 0..20 {
        let began = std::time::Instant::now();
        assert!(api.has_project("before"));
        assert!(began.elapsed() < Duration::from_secs(5), "a request took {:?}", began.elapsed());
    }
}

#[test]
fn a_part_must_be_upgraded_and_no_more_and_the_rest_later() {
    let cloud = Cloud::older("t-parts", 17);
    cloud.mastic(&["deploy", "--yes"]).ok();
    let old = cloud.containers();
    let version = || version_of_running(&cloud)[..2].to_owned();
    let text =
        || std::fs::read_to_string(cloud.dir.path().join("mastic.yaml")).expect("the profile is there");
    let profile = text();
    let serves = |what: &str| {
        let status = cloud.mastic(&["status", "--json"]).ok().json();
        let rows = status["containers"].as_array().expect("a list").clone();
        let of =
            rows.iter().find(|row| row["container"] == what && row["held"] == false).expect("it is there");
        of["release"].as_str().expect("a release").to_owned()
    };

    let kept = Api::of(&cloud).keep();
    let logins = Logins::begin(&cloud);
    cloud
        .mastic(&["upgrade", "--to", "2026.1", "--service", "keystone", "--yes"])
        .ok()
        .says("has not reached all of the cloud");
    assert_eq!(
        (version().as_str(), serves("keystone-api").as_str(), serves("toolbox").as_str()),
        ("29", "2026.1", "2025.1")
    );
    assert_eq!(text(), profile, "the profile says the release of a part");
    cloud.mastic(&["status"]).ok().says("has reached a part of the cloud");
    // Neither of the commands that would take the rest along unseen.
    cloud.mastic(&["deploy", "--yes"]).code(1).says("mastic resume");
    cloud.mastic(&["--release", "2026.1", "deploy", "--yes"]).code(1).says("mastic resume");
    cloud.mastic(&["commit", "--yes", "--accept", "irreversible"]).code(1).says("mastic resume");
    cloud.mastic(&["upgrade", "--to", "2025.2", "--yes", "--no-build"]).code(1).says("is open");

    cloud.mastic(&["abort", "--service", "keystone", "--yes"]).ok().says("2025.1 serves again");
    assert_eq!((version().as_str(), text().as_str()), ("27", profile.as_str()));
    assert!(old.keys().all(|name| cloud.containers().contains_key(name)), "{old:?}");
    cloud.mastic(&["plan"]).ok().says("Nothing to do");

    // By sets; then the rest, and a part of it back.
    let paused = cloud.mastic(&["upgrade", "--to", "2026.1", "--pause-after", "messaging", "--yes"]).ok();
    paused.says("has not reached all of the cloud");
    cloud
        .mastic(&["upgrade", "--to", "2026.1", "--pause-after", "nothing", "--yes"])
        .code(1)
        .says("there is no set");
    cloud.mastic(&["upgrade", "--to", "2026.1", "--service", "toolbox", "--yes"]).ok();
    assert_eq!((version().as_str(), serves("toolbox").as_str()), ("27", "2026.1"));
    cloud.mastic(&["resume", "--yes"]).ok().says("the profile says release 2026.1");
    assert_eq!((version().as_str(), serves("toolbox").as_str()), ("29", "2026.1"));
    cloud.mastic(&["plan"]).ok().says("Nothing to do");
    cloud
        .mastic(&["rollback", "--service", "keystone", "--yes"])
        .ok()
        .says("a part of the cloud is of 2025.1 again");
    assert_eq!((version().as_str(), serves("toolbox").as_str()), ("27", "2026.1"));
    cloud.mastic(&["plan"]).code(1).says("mastic resume");
    cloud.mastic(&["resume", "--yes"]).ok();
    assert_eq!(version(), "29");
    cloud.mastic(&["rollback", "--yes"]).ok().says("the profile says release 2025.1");
    logins.assert_none_failed("over all parts");
    cloud.mastic(&["plan"]).ok().says("Nothing to do");
    // A client that keeps idle connections for 90 s, as Go's and Rust's do, must never find that the proxy was first.
    kept.ask_after(Duration::from_secs(89));
    let serving = |all: &crate::harness::Containers| -> Vec<String> {
        all.iter().filter(|(_, (.., state))| state == "running").map(|(name, _)| name.clone()).collect()
    };
    assert_eq!(serving(&cloud.containers()), serving(&old));
}

pub fn version_of_running(cloud: &Cloud) -> String {
    let running = cloud.docker(&["ps", "--format", "{{.Names}}"]);
    let name = running
        .lines()
        .find(|name| name.starts_with(&format!("{}-keystone-api-", cloud.name)))
        .expect("it runs")
        .to_owned();
    cloud.docker(&["exec", &name, "keystone-manage", "--version"])
}
