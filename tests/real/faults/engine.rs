//! The engine restarted, or killed, in the middle of a deploy. Only an engine of the test's own may be.

use std::collections::BTreeMap;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::support::{assert_settled, say};
use crate::api::Api;
use crate::engine::{EngineOptions, PrivateEngine, runs, wait_for};
use crate::harness::Cloud;

/// All that the profile needs but the toolbox.
const IMAGES: [&str; 5] = [
    "mastic/mariadb:2026.1",
    "mastic/rabbitmq:2026.1",
    "mastic/memcached:2026.1",
    "mastic/keystone:2026.1",
    "mastic/haproxy:2026.1",
];

/// Deploys. An engine that is killed just while it starts a container does not know of it afterwards, though it runs, and no call
/// of its API ends it: what holds the port is said, and is ended as the message asks for.
fn deployed(cloud: &Cloud) -> usize {
    let mut ended = 0;
    let ran = cloud.mastic(&["deploy", "--yes"]);
    if ran.code != Some(0) {
        let ran =
            ran.code(1).says("is taken by").says("nothing was touched").says("was lost when that was killed");
        let running = cloud.docker(&["ps", "-q", "--no-trunc"]);
        // One program may hold several ports.
        let lost: BTreeMap<&str, &str> = ran
            .stderr
            .split(" (pid ")
            .skip(1)
            .map(|lost| lost.split_once(", in container ").expect("it is in a container"))
            .map(|(pid, rest)| (pid, &rest[..12]))
            .collect();
        for (pid, id) in &lost {
            assert!(!running.lines().any(|known| known.starts_with(id)), "{id} runs:\n{}", ran.stderr);
            say(&format!("  the engine has lost container {id}"));
            let pid = Pid::from_raw(pid.parse().expect("a process id"));
            kill(pid, Signal::SIGKILL).expect("it runs");
            wait_for("the lost program's end", || !runs(pid.as_raw()));
        }
        ended = lost.len();
        cloud.mastic(&["deploy", "--yes"]).ok();
    }
    ended
}

#[test]
fn an_engine_that_ends_in_the_middle_of_a_deploy_must_be_survived() {
    // The machine's engine has the images: another test's first act, or this one's.
    drop(Cloud::new("t-images", 10));
    let engine = PrivateEngine::start("faults", EngineOptions::default());
    engine.load_images(&IMAGES);
    let cloud = Cloud::on("t-engine", 10, engine);
    cloud.write("mastic.yaml", &cloud.profile("").replace(", toolbox", ""));

    // Told to end, as by its package's upgrade: it stops all containers. Killed: they live on until it is back.
    let mut made = false;
    for (signal, what) in [
        (Signal::SIGTERM, "-rabbitmq-"),
        (Signal::SIGKILL, "-keystone-setup-"),
        (Signal::SIGKILL, "-mariadb-"),
    ] {
        let events = cloud.events();
        let run = cloud.spawn(&["deploy", "--yes"]);
        events.until("start", what);
        cloud.private().restart(signal);
        let ran = run.wait();
        let when =
            format!("{signal} at the start of {what}: {:?} after {:.1} s", ran.code, ran.took.as_secs_f64());
        say(&format!("  {when}"));
        // It goes on once the engine is back, or it says that it could not and in what state things are.
        assert!(matches!(ran.code, Some(0 | 1 | 6 | 7)), "{when}\n{}", ran.stderr);
        assert!(!ran.stderr.contains("panicked"), "{when}\n{}", ran.stderr);
        deployed(&cloud);
        cloud.mastic(&["check"]).ok();
        assert_settled(&cloud, &when);
        let api = Api::of(&cloud);
        cloud.private().home().inside(|| {
            if made {
                assert!(api.has_project("kept"), "{when}: the project was lost");
            } else {
                api.make_project("kept");
            }
        });
        made = true;
        cloud.mastic(&["destroy", "--yes"]).ok();
    }

    // Killed between a container's start and writing that down, as far as what it finds afterwards goes.
    cloud.mastic(&["deploy", "--yes"]).ok();
    let all = cloud.containers();
    let (_, (id, ..)) = all.iter().find(|(name, _)| name.contains("-haproxy-")).expect("a balancer");
    cloud.private().end(Signal::SIGKILL);
    let record = cloud.private().home().path("data").join("containers").join(id).join("config.v2.json");
    let text = std::fs::read_to_string(&record).expect("the engine's record of it");
    assert!(text.contains("\"Running\":true"), "{text}");
    std::fs::write(&record, text.replace("\"Running\":true", "\"Running\":false")).expect("it is ours");
    cloud.private().resume();
    assert_eq!(deployed(&cloud), 1, "the balancer that the engine has lost");
    cloud.mastic(&["check"]).ok();
    assert_settled(&cloud, "after a lost container");
}

#[test]
fn an_engine_that_ends_in_the_middle_of_an_upgrade_or_its_way_back_must_be_survived() {
    let images = Cloud::new("t-images", 22);
    images.mastic(&["--release", "2025.1", "build"]).ok();
    drop(images);
    let engine = PrivateEngine::start("upfaults", EngineOptions::default());
    let older = IMAGES.map(|image| image.replace("2026.1", "2025.1"));
    engine.load_images(&IMAGES.into_iter().chain(older.iter().map(String::as_str)).collect::<Vec<_>>());
    let cloud = Cloud::on("t-upengine", 22, engine);
    let profile = cloud.profile("").replace(", toolbox", "").replace("\"2026.1\"", "\"2025.1\"");
    cloud.write("mastic.yaml", &profile);
    cloud.mastic(&["deploy", "--yes"]).ok();
    let inside = |act: &(dyn Fn(&Api) -> bool + Sync)| {
        let api = Api::of(&cloud);
        cloud.private().home().inside(|| act(&api))
    };
    inside(&|api| {
        api.make_project("kept");
        true
    });
    let old: Vec<String> = cloud.containers().into_keys().collect();
    let upgrade: &[&str] = &["upgrade", "--to", "2026.1", "--yes", "--no-build"];
    let back: &[&str] = &["rollback", "--yes"];
    for (signal, what) in [(Signal::SIGKILL, "-keystone-setup-"), (Signal::SIGTERM, "-keystone-api-")] {
        for command in [upgrade, back] {
            let events = cloud.events();
            let run = cloud.spawn(command);
            // No migration runs on the way back, and what is kept is thawed there, or started where the engine has ended it. An engine that
            // is killed while it starts another has lost that (above): both are up by then.
            let what = if command == back { "-keystone-api-" } else { what };
            let up: &[&str] = if command == back { &[what, "-keystone-fernet-"] } else { &[what] };
            events.until_all(&["start", "unpause"], up);
            cloud.private().restart(signal);
            let ran = run.wait();
            let when = format!("{} {signal} at the start of {what}: {:?}", command[0], ran.code);
            say(&format!("  {when} after {:.1} s", ran.took.as_secs_f64()));
            assert!(matches!(ran.code, Some(0 | 1 | 6 | 7)), "{when}\n{}", ran.stderr);
            assert!(!ran.stderr.contains("panicked"), "{when}\n{}", ran.stderr);
            // It has come to its end, or the same command brings it there.
            if ran.code != Some(0) {
                // An upgrade leaves the database as it is, also where the engine did not start it again.
                cloud.mastic(&["start", "--yes"]).ok();
                if !ran.stderr.contains("is done, but what it left as it is has ended meanwhile") {
                    cloud.mastic(command).ok();
                }
            }
            cloud.mastic(&["check"]).ok();
            cloud.mastic(&["plan"]).ok().says("Nothing to do");
            assert!(inside(&|api| api.has_project("kept")), "{when}: the project was lost");
        }
        assert_eq!(cloud.containers().into_keys().collect::<Vec<_>>(), old, "after {signal}");
    }
}
