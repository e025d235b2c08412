//! prechecks; and a deployment seen, and taken over, from another machine: a folder with the profile and nothing else.

use std::net::TcpListener;

use crate::engine::{EngineOptions, PrivateEngine};
use crate::harness::Cloud;

#[test]
fn prechecks_must_be_green_here_and_find_a_taken_port_and_a_strange_address() {
    let cloud = Cloud::new("t-precheck", 177);
    let green = cloud.mastic(&["prechecks", "--json"]).ok().json();
    assert_eq!(green["ok"], true, "{green:#}");
    let looked_at: Vec<&str> = green["checks"]
        .as_array()
        .expect("a list of checks")
        .iter()
        .filter_map(|check| check["check"].as_str())
        .collect();
    for what in
        ["engine", "storage", "memory", "clock", "kernel", "images", "disk", "address", "paths", "ports"]
    {
        assert!(looked_at.contains(&what), "nothing looks at {what}: {looked_at:?}");
    }
    assert!(!cloud.state().exists(), "a look left something behind");

    // Taken on our address by us: told with port, name of the setting, program and pid.
    let port = format!("{}:5000", cloud.address);
    let taken = TcpListener::bind(&port).expect("the port is free until now");
    cloud
        .mastic(&["prechecks"])
        .code(1)
        .says(&format!("{port} (keystone_api_proxy_port) is taken by "))
        .says(&format!("(pid {})", std::process::id()))
        .says("mastic explain keystone_api_proxy_port");
    let red = cloud.mastic(&["prechecks", "--json"]).code(1).json();
    assert_eq!(red["ok"], false, "{red:#}");
    drop(taken);
    // The same port on another address is nobody's business.
    let other = TcpListener::bind("127.0.77.250:5000").expect("nobody has this address");
    cloud.mastic(&["prechecks"]).ok();
    drop(other);

    // 240/4 is reserved: no interface has it.
    cloud.write("mastic.yaml", &cloud.profile("").replace(&cloud.address, "240.0.0.9"));
    cloud.mastic(&["prechecks"]).code(1).says("240.0.0.9 is no address of this machine");
    cloud.write(
        "mastic.yaml",
        &cloud.profile("").replace("unix:///var/run/docker.sock", "unix:///nonexistent.sock"),
    );
    cloud.mastic(&["prechecks"]).code(1).says("/nonexistent.sock").says("mastic bootstrap");
    cloud.write("mastic.yaml", &cloud.profile(""));
}

#[test]
fn a_full_disk_must_be_found_before_anything_is_done() {
    let cloud = Cloud::new("t-full", 178);
    let options = EngineOptions { disk: Some(64 << 20), ..EngineOptions::default() };
    let engine = PrivateEngine::start("full", options);
    cloud.write("mastic.yaml", &cloud.profile("").replace("unix:///var/run/docker.sock", &engine.address()));
    let ran = cloud.mastic(&["prechecks", "--json"]).code(1);
    let checks = ran.json();
    let of = |what: &str| {
        let all = checks["checks"].as_array().expect("a list of checks");
        all.iter().find(|check| check["check"] == what).expect("it was looked at").clone()
    };
    assert_eq!(of("disk")["verdict"], "FAILED", "{checks:#}");
    let detail = of("disk")["detail"].as_str().expect("a text").to_owned();
    assert!(detail.contains("MiB free in") && detail.contains("8.0 GiB are needed"), "{detail}");
    assert_eq!(
        (of("images")["verdict"].as_str(), of("engine")["verdict"].as_str()),
        (Some("warning"), Some("ok"))
    );
    assert!(ran.stderr.contains("local: disk: "), "{}", ran.stderr);
    cloud.write("mastic.yaml", &cloud.profile(""));
}

#[test]
fn another_machine_must_read_the_history_and_deploy_only_with_the_secrets() {
    let cloud = Cloud::of_toys("t-else", 179, "");
    cloud.mastic(&["build", "--only", "toy"]).ok();
    cloud.mastic(&["deploy", "--yes", "-m", "from the first machine"]).ok();
    cloud.write("mastic.yaml", &cloud.toys("variables: {talker_greeting: moin}\n"));
    cloud.mastic(&["deploy", "--yes", "-m", "the second"]).ok();
    let before = cloud.containers();

    // Another machine: the profile, the library, no state.
    let elsewhere = cloud.dir.path().join("elsewhere");
    let there = |arguments: &[&str]| {
        let mut all = vec!["--state-dir", elsewhere.to_str().expect("a path of text")];
        all.extend(arguments);
        cloud.mastic(&all)
    };
    let history = there(&["history", "--json"]).ok().json();
    let messages: Vec<&str> = history["generations"]
        .as_array()
        .expect("a list of generations")
        .iter()
        .filter_map(|g| g["message"].as_str())
        .collect();
    assert_eq!(messages, ["from the first machine", "the second"]);
    there(&["history"]).ok().says("the second");
    there(&["status"]).ok().says("running").says("generation 2");
    there(&["logs", "talker", "-n", "1"]).ok();
    there(&["exec", "talker", "true"]).ok();

    // Without the secrets: a clear no, and nothing is made, neither here nor there.
    for arguments in [&["plan"][..], &["plan", "-o", "x.plan"], &["deploy", "--yes"], &["status", "--drift"]]
    {
        there(arguments)
            .code(1)
            .says("is on its hosts already (generation 2)")
            .says("its secrets are not in")
            .says("mastic secrets import");
    }
    assert!(!elsewhere.exists(), "a refused deploy made secrets");
    // With others: just as clear.
    there(&["secrets", "generate"]).ok();
    there(&["deploy", "--yes"]).code(1).says("those of another deployment");
    there(&["secrets", "import", "state"]).code(1).says("differs");
    std::fs::remove_dir_all(&elsewhere).expect("it is there");
    assert_eq!(before, cloud.containers(), "something was touched");

    // With the secrets alone the authority is missed; with the whole folder it is one deployment on two machines.
    there(&["secrets", "import", "state/secrets.yaml"]).ok().says("certificate authority");
    there(&["plan"]).code(1).says("certificate authority is not in");
    let imported = there(&["secrets", "import", "state", "--json"]).ok().json();
    assert_eq!(imported["imported"], serde_json::json!(["tls/ca.pem"]), "{imported:#}");
    there(&["secrets", "import", "state"]).ok().says("already");
    there(&["plan"]).ok();
    cloud.write("mastic.yaml", &cloud.toys("variables: {talker_greeting: servus}\n"));
    there(&["deploy", "--yes", "-m", "from the second machine"]).ok();
    cloud.mastic(&["plan"]).ok();
    cloud.mastic(&["history"]).ok().says("from the second machine");
    // What must be removable without any secrets.
    std::fs::remove_dir_all(&elsewhere).expect("it is there");
    there(&["stop", "--yes"]).ok();
    there(&["start", "--yes"]).ok();
    there(&["destroy", "--yes", "--volumes", "all"]).ok();
    assert_eq!((cloud.containers().len(), cloud.volumes().len()), (0, 0));
}
