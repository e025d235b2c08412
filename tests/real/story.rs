//! What an operator does on the first day, in order, each step checked by an independent witness.

use std::os::unix::fs::PermissionsExt;
use std::time::Duration;

use crate::harness::{Cloud, docker, files};

#[test]
fn a_keystone_must_be_deployed_kept_changed_and_removed() {
    let cloud = Cloud::new("t-story", 1);

    // Nothing is there: the plan says so, and changes nothing.
    cloud.mastic(&["plan"]).code(2).says("keystone");
    assert_eq!(cloud.containers().len(), 0, "plan made containers");

    // Non-interactive without a yes is a no.
    cloud.mastic(&["deploy"]).code(3);
    assert_eq!(cloud.containers().len(), 0, "an unconfirmed deploy made containers");

    let deployed = cloud.mastic(&["deploy", "--yes", "--json", "--message", "first"]).ok();
    assert_eq!(deployed.json()["outcome"], "done");
    cloud.token();
    cloud.mastic(&["check"]).ok();

    // Again: nothing, quickly, the same containers with the same start times.
    let before = cloud.containers();
    let again = cloud.mastic(&["deploy", "--yes"]).ok();
    assert_eq!(before, cloud.containers(), "a second deploy touched containers");
    assert!(again.took < Duration::from_secs(3), "a second deploy took {:?}", again.took);
    cloud.mastic(&["plan"]).ok();
    cloud.mastic(&["status", "--drift"]).ok();

    // A changed option replaces what reads it, and nothing else.
    cloud.write("overrides/keystone.conf", "[token]\nexpiration = 7200\n");
    cloud.write("mastic.yaml", &cloud.profile("overrides: overrides\n"));
    cloud.mastic(&["plan"]).code(2).says("keystone.conf");
    cloud.mastic(&["reconfigure", "--yes"]).ok();
    let after = cloud.containers();
    for service in ["mariadb", "rabbitmq", "memcached", "haproxy"] {
        let of = |all: &crate::harness::Containers| {
            all.iter()
                .filter(|(name, _)| name.contains(service))
                .map(|(n, c)| (n.clone(), c.clone()))
                .collect::<Vec<_>>()
        };
        assert_eq!(of(&before), of(&after), "{service} was touched by a change of keystone.conf");
    }
    assert!(
        !before.iter().any(|(name, c)| name.contains("keystone-api") && after.get(name) == Some(c)),
        "keystone-api was not replaced"
    );
    cloud.token();

    // An option's change in the running container is the file's.
    let id = after.keys().find(|n| n.contains("keystone-api")).expect("keystone-api runs").clone();
    assert!(docker(&["exec", &id, "cat", "/etc/keystone/keystone.conf"]).contains("expiration = 7200"));

    // History is in the engine: another machine, with no state of ours, reads it.
    let history = cloud.mastic(&["--state-dir", "elsewhere", "history", "--json"]).ok().json();
    let generations = history["generations"].as_array().expect("a list of generations");
    assert_eq!(generations.len(), 2, "{history:#}");
    assert!(history.to_string().contains("first"), "{history:#}");

    // Drift is seen, said and repaired.
    docker(&["stop", "-t", "5", after.keys().find(|n| n.contains("memcached")).expect("memcached runs")]);
    cloud.mastic(&["status", "--drift"]).code(2).says("memcached");
    cloud.mastic(&["deploy", "--yes"]).ok();
    cloud.mastic(&["plan"]).ok();

    // Stop and start, in order.
    cloud.mastic(&["stop", "--yes"]).ok();
    assert!(cloud.containers().values().all(|(_, _, state)| state != "running"), "something still runs");
    cloud.mastic(&["start", "--yes"]).ok();
    cloud.token();

    no_secret_is_anywhere(&cloud);

    // Removal leaves the data unless its volumes are named.
    cloud.mastic(&["destroy"]).code(3);
    cloud.mastic(&["destroy", "--yes"]).ok();
    assert_eq!(cloud.containers().len(), 0);
    assert!(!cloud.volumes().is_empty(), "destroy took the data");
    // The data is good: the same cloud comes back.
    cloud.mastic(&["deploy", "--yes"]).ok();
    cloud.token();
    cloud.mastic(&["destroy", "--yes", "--volumes", "all"]).ok();
    assert_eq!(cloud.containers().len(), 0);
    assert_eq!(cloud.volumes().len(), 0);
}

/// Looks for every secret value in everything that others can read.
fn no_secret_is_anywhere(cloud: &Cloud) {
    let secrets = cloud.secrets();
    assert!(secrets.len() >= 3, "only {} secrets: is the search still meaningful?", secrets.len());
    let mut places: Vec<(String, Vec<u8>)> = Vec::new();
    for name in cloud.containers().keys() {
        places.push((format!("inspect {name}"), docker(&["inspect", name]).into_bytes()));
        places.push((format!("logs {name}"), cloud_logs(name)));
        let pid = docker(&["inspect", "--format", "{{.State.Pid}}", name]);
        if pid.trim() != "0" {
            for (what, text) in processes(pid.trim()) {
                places.push((format!("{what} of {name}"), text));
            }
        }
    }
    for (path, bytes) in files(&cloud.state()) {
        let mode = std::fs::metadata(&path).expect("a file of the state").permissions().mode();
        if mode & 0o077 == 0 && !path.to_string_lossy().contains("runs") {
            continue;
        }
        places.push((path.display().to_string(), bytes));
    }
    for arguments in [
        &["plan", "--steps"][..],
        &["plan", "--json"],
        &["render"],
        &["history", "--json"],
        &["status", "--json"],
        &["explain"],
    ] {
        let ran = cloud.mastic(arguments);
        places.push((ran.arguments.clone(), format!("{}{}", ran.stdout, ran.stderr).into_bytes()));
    }
    for (name, secret) in &secrets {
        // Multi-line secrets are searched by their longest line.
        let needle = secret.lines().max_by_key(|l| l.len()).unwrap_or(secret);
        for (place, bytes) in &places {
            assert!(
                !bytes.windows(needle.len()).any(|w| w == needle.as_bytes()),
                "secret {name} is readable in {place}"
            );
        }
    }
}

fn cloud_logs(name: &str) -> Vec<u8> {
    let output = std::process::Command::new("docker")
        .args(["logs", name])
        .output()
        .expect("the docker client is installed");
    [output.stdout, output.stderr].concat()
}

/// Returns command line and environment of a process and all its descendants.
fn processes(root: &str) -> Vec<(String, Vec<u8>)> {
    let mut found = Vec::new();
    let mut pids = vec![root.to_owned()];
    while let Some(pid) = pids.pop() {
        // A process may end while we look.
        for file in ["cmdline", "environ"] {
            if let Ok(bytes) = std::fs::read(format!("/proc/{pid}/{file}")) {
                found.push((format!("{file} of {pid}"), bytes));
            }
        }
        if let Ok(children) = std::fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")) {
            pids.extend(children.split_whitespace().map(str::to_owned));
        }
    }
    found
}
