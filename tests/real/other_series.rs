//! The database and the broker of really other series, made from other suites of Debian: each changes in a generation of its own, the
//! broker goes back, and the database says that it cannot.

use std::process::Command;

use crate::harness::{Cloud, docker};
use crate::upgrade::Logins;

/// MariaDB 10.11, in an image whose accounts and places are ours.
const OLD_DATABASE: &str = "mastic/mariadb:of-bookworm";
/// RabbitMQ 4.3 on the image of 4.0.
const NEW_BROKER: &str = "mastic/rabbitmq:of-sid";

/// A queue and what leads to it, as services make them, and a stream.
const QUEUES: &str = r#"{
    "exchanges": [{"name": "calls", "vhost": "/", "type": "topic", "durable": true, "auto_delete": false, "arguments": {}}],
    "queues": [
        {"name": "kept", "vhost": "/", "durable": true, "auto_delete": false, "arguments": {"x-queue-type": "quorum"}},
        {"name": "flowing", "vhost": "/", "durable": true, "auto_delete": false, "arguments": {"x-queue-type": "stream"}}
    ],
    "bindings": [
        {"source": "calls", "vhost": "/", "destination": "kept", "destination_type": "queue", "routing_key": "to-kept", "arguments": {}},
        {"source": "calls", "vhost": "/", "destination": "flowing", "destination_type": "queue", "routing_key": "to-flowing", "arguments": {}}
    ]
}"#;

/// What images/mariadb/Dockerfile makes of the package's places.
const PLACES: &str = "rm -rf /var/lib/mysql /etc/mysql /var/log/mysql
    install -d -m 755 /etc/mysql
    install -d -o mysql -g mysql -m 750 /var/lib/mysql /var/backups/mysql /run/mysqld";

fn make(from: &str, suite: &str, pinned: &str, new: &str, after: &str, packages: &[&str]) {
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/real/other_series/image.sh");
    let arguments = [from, suite, pinned, new, after];
    let ran = Command::new("sh").arg(script).args(arguments).args(packages).output().expect("sh can be run");
    assert!(ran.status.success(), "{new}: {}", String::from_utf8_lossy(&ran.stderr));
}

/// What a command in a running container says.
fn within(cloud: &Cloud, container: &str, command: &str) -> String {
    cloud.mastic(&["exec", container, "--", "sh", "-c", command]).ok().stdout
}

fn assert_versions(cloud: &Cloud, database: &str, broker: &str) {
    let found = within(cloud, "mariadb", "mariadb --user=mysql --skip-column-names -e 'SELECT VERSION()'");
    assert!(found.starts_with(database), "{found}");
    let found = within(cloud, "rabbitmq", "rabbitmqctl version");
    assert!(found.starts_with(broker), "{found}");
    // It is the broker of this cloud, not merely one that is up.
    let users = within(cloud, "rabbitmq", "rabbitmqctl --quiet list_users");
    assert!(users.contains("openstack"), "{users}");
}

#[test]
fn the_database_and_the_broker_must_change_their_series_each_in_a_generation_of_its_own() {
    let cloud = Cloud::new("t-series", 44);
    cloud.mastic(&["build"]).ok();
    let database = ["mariadb-server", "mariadb-backup", "galera-4", "socat", "openssl"];
    let of_mariadb = "mariadb-* libmariadb* galera-4 mysql-common";
    make("mastic/base:2026.1", "bookworm", of_mariadb, OLD_DATABASE, PLACES, &database);
    make("mastic/rabbitmq:2026.1", "sid", "*", NEW_BROKER, "true", &["rabbitmq-server"]);
    cloud.write("mastic.yaml", &cloud.profile(&format!("images:\n  pins:\n    mariadb: {OLD_DATABASE}\n")));
    cloud.mastic(&["deploy", "--yes"]).ok();
    assert_versions(&cloud, "10.11.", "4.0.");
    let api = crate::api::Api::of(&cloud);
    api.make_project("before");
    cloud.mastic(&["backup", "of-10"]).ok();
    api.make_project("after");

    let profile = || std::fs::read_to_string(cloud.dir.path().join("mastic.yaml")).expect("it is there");
    // The release that is there is a tag as well: that of its own images.
    let up = ["upgrade", "--service", "mariadb", "--to", "2026.1", "--yes", "--accept", "outage"];
    cloud.mastic(&up).ok().says("outage: local/mariadb");
    assert!(profile().contains("mastic/mariadb:2026.1"), "{}", profile());
    assert_versions(&cloud, "11.8.", "4.0.");
    let needs = "mariadb-upgrade --user=mysql --check-if-upgrade-is-needed";
    cloud.mastic(&["exec", "mariadb", "--", "sh", "-c", needs]).code(1);
    assert!(api.has_project("before"), "it was there before");
    let back = cloud.mastic(&["rollback", "--yes", "--accept", "outage"]).code(6);
    back.says("MariaDB 11.8 has had this data, and 10.11 cannot read it");
    assert_versions(&cloud, "11.8.", "4.0.");
    cloud.mastic(&["resume", "--yes", "--accept", "outage"]).ok();
    cloud.mastic(&["commit", "--yes", "--accept", "irreversible"]).ok();

    // A point of the older series becomes the newer's data.
    cloud.mastic(&["restore", "of-10", "--yes", "--accept", "data-loss"]).ok();
    cloud.mastic(&["exec", "mariadb", "--", "sh", "-c", needs]).code(1);
    assert!(api.has_project("before") && !api.has_project("after"), "it is the data of the point");

    // The broker's way leads back, too: the older one's store is as it was.
    let logins = Logins::begin(&cloud);
    cloud.mastic(&["upgrade", "--service", "rabbitmq", "--to", "of-sid", "--yes", "--accept", "outage"]).ok();
    assert_versions(&cloud, "11.8.", "4.3.");
    within(
        &cloud,
        "rabbitmq",
        &format!("echo '{QUEUES}' >/tmp/q.json && rabbitmqctl --quiet import_definitions /tmp/q.json"),
    );
    cloud.mastic(&["rollback", "--yes", "--accept", "outage"]).ok();
    assert_versions(&cloud, "11.8.", "4.0.");
    // Who calls a queue that is not there calls in vain, so they are there before its server has come back to make it.
    let queues = within(
        &cloud,
        "rabbitmq",
        "rabbitmqctl --quiet list_queues name type; rabbitmqctl --quiet list_bindings",
    );
    assert!(queues.contains("kept\tquorum") && queues.contains("to-kept"), "{queues}");
    assert!(!queues.contains("flowing"), "a stream is its reader's: {queues}");
    cloud.mastic(&["upgrade", "--service", "rabbitmq", "--to", "of-sid", "--yes", "--accept", "outage"]).ok();
    logins.assert_none_failed("while the broker changed");
    assert_versions(&cloud, "11.8.", "4.3.");
    cloud.mastic(&["commit", "--yes", "--accept", "irreversible"]).ok();
    assert!(api.has_project("before"), "it was there before");
    cloud.mastic(&["plan"]).ok().says("Nothing to do");
    cloud.mastic(&["destroy", "--yes", "--volumes", "all"]).ok();
    docker(&["rmi", OLD_DATABASE, NEW_BROKER]);
}
