//! An upgrade rehearsed on a copy: what it says, and that nothing else notices.

use std::collections::BTreeMap;

use nix::sys::signal::Signal;

use crate::api::Api;
use crate::harness::{Cloud, Containers};

const REHEARSE: &[&str] = &["rehearse", "--to", "2026.1", "--no-build"];

/// All that a rehearsal must leave alone: containers with their ids and times, volumes, every table's checksum, generations.
#[derive(Debug, PartialEq)]
struct Facts {
    containers: Containers,
    volumes: BTreeMap<String, String>,
    tables: String,
    generations: usize,
}

impl Facts {
    fn of(cloud: &Cloud) -> Self {
        let client = "mariadb --user=mysql --batch --skip-column-names";
        let checksums = format!(
            "{client} -e \"SELECT CONCAT('CHECKSUM TABLE \\`', table_schema, '\\`.\\`', table_name, '\\`;') \
             FROM information_schema.tables WHERE table_schema = 'keystone'\" | {client}"
        );
        let history = cloud.mastic(&["history", "--json"]).ok().json();
        let tables = cloud.docker(&["exec", &format!("{}-mariadb-1", cloud.name), "sh", "-c", &checksums]);
        assert!(tables.lines().count() > 20, "{tables}");
        Self {
            containers: cloud.containers(),
            volumes: cloud.volume_births(),
            tables,
            generations: history["generations"].as_array().expect("a list").len(),
        }
    }
}

fn leftovers(cloud: &Cloud) -> Vec<String> {
    let all = cloud.containers().into_keys().chain(cloud.volumes());
    all.filter(|name| name.contains(".rehearse-") || name.ends_with("_mariadb_rehearsal")).collect()
}

#[test]
fn a_rehearsal_must_say_what_an_upgrade_changes_and_touch_nothing() {
    let cloud = Cloud::older("t-trial", 18);
    cloud.mastic(REHEARSE).code(1).says("nothing is deployed");
    cloud.mastic(&["deploy", "--yes"]).ok();
    let api = Api::of(&cloud);
    api.make_project("before");
    let before = Facts::of(&cloud);

    let watch = api.watch();
    let ran = cloud.mastic(&["rehearse", "--to", "2026.1", "--no-build", "--contract", "--json"]).ok();
    let seen = watch.end();
    assert!(seen.failures.is_empty(), "of {} requests meanwhile: {:?}", seen.asked, seen.failures);
    assert_eq!(Facts::of(&cloud), before);
    assert_eq!(leftovers(&cloud), [""; 0]);
    let report = ran.json();
    let tasks = report["tasks"].as_array().expect("a list");
    let told: Vec<_> =
        tasks.iter().map(|t| (t["task"].as_str(), t["phase"].as_str(), t["ended"].as_str())).collect();
    assert_eq!(
        told,
        [("keystone-setup", "expand"), ("keystone-contract", "contract")].map(|(t, p)| (
            Some(t),
            Some(p),
            Some("done")
        ))
    );
    assert!(tasks[0]["seconds"].as_f64().is_some_and(|seconds| seconds > 0.1), "{report:#}");
    assert_eq!(tasks[0]["databases"], serde_json::json!(["keystone"]));
    // An estimate of the server's, which may be far below what is there.
    assert!(tasks[0]["rows"].as_u64().is_some_and(|rows| rows > 0), "{report:#}");
    // The revision of its schema is written, if nothing else.
    assert!(tasks[0]["written"]["keystone"]["alembic_version"].as_u64().is_some(), "{report:#}");
    assert_eq!(report["way_back"]["upgrade"], "open", "{report:#}");
    for secret in cloud.secrets().values() {
        assert!(!ran.stdout.contains(secret) && !ran.stderr.contains(secret), "a secret is told");
    }

    // What it said is true: the upgrade makes of the data's form what the rehearsal made of the copy's.
    let text = cloud.mastic(REHEARSE).ok().says("the way back is open").says("keystone-setup");
    assert!(!text.stdout.contains("keystone-contract"), "{}", text.stdout);
    cloud.mastic(&["upgrade", "--to", "2026.1", "--yes", "--no-build"]).ok().says("rehearsed 2");
    let again = cloud.mastic(&["rehearse", "--no-build", "--json"]).ok().json();
    assert_eq!(again["tasks"][0]["changes"], serde_json::json!([]), "{again:#}");
    cloud.mastic(&["rollback", "--yes"]).ok();
    assert!(api.has_project("before"));
}

#[test]
fn a_rehearsal_that_fails_or_is_ended_must_say_so_and_leave_nothing() {
    let cloud = Cloud::older("t-trialfail", 19);
    cloud.mastic(&["deploy", "--yes"]).ok();
    let before = Facts::of(&cloud);

    // Even a config that names the real database reaches none.
    let password = cloud
        .secrets()
        .into_iter()
        .find(|(name, _)| name.ends_with("keystone_database_password"))
        .map(|(_, secret)| secret)
        .expect("Keystone has a password");
    let (address, real) = (&cloud.address, "overrides/keystone.conf");
    cloud.write(
        real,
        &format!(
            "[database]\nconnection = mysql+pymysql://keystone:{password}@{address}:3306/keystone\nmax_retries = 1\nretry_interval = 1\n"
        ),
    );
    let failed = cloud
        .mastic(&["rehearse", "--to", "2026.1", "--no-build", "--json"])
        .code(6)
        .says("would fail")
        .says("Can't connect");
    assert!(!failed.stdout.contains(&password) && !failed.stderr.contains(&password), "a secret is told");
    assert_eq!(failed.json()["tasks"][0]["ended"], "failed");
    cloud
        .mastic(&["upgrade", "--to", "2026.1", "--no-build", "--rehearse", "--yes"])
        .code(6)
        .says("would fail");
    std::fs::remove_file(cloud.dir.path().join(real)).expect("it is there");
    assert_eq!(Facts::of(&cloud), before);

    // Ended by Ctrl-C it clears away itself; killed, the next one does, or a destroy, without being asked for data.
    let events = cloud.events();
    let run = cloud.spawn(REHEARSE);
    events.until("start", "rehearse-mariadb-stand-in");
    cloud.mastic(REHEARSE).code(4).says("rehearses the upgrade to 2026.1");
    run.signal(Signal::SIGINT);
    run.wait().code(130);
    assert_eq!(Facts::of(&cloud), before);

    let events = cloud.events();
    let run = cloud.spawn(REHEARSE);
    events.until("start", "rehearse-keystone-setup");
    run.kill();
    assert!(leftovers(&cloud).len() >= 3, "{:?}", leftovers(&cloud));
    cloud.mastic(REHEARSE).ok();
    assert_eq!(Facts::of(&cloud), before);

    let events = cloud.events();
    let run = cloud.spawn(REHEARSE);
    events.until("start", "rehearse-keystone-setup");
    run.kill();
    cloud.mastic(&["destroy", "--yes"]).ok();
    assert_eq!(leftovers(&cloud), [""; 0]);
    let data = format!("{}_mariadb_data", cloud.name);
    assert!(cloud.volumes().contains(&data), "the data went with the copy");
}
