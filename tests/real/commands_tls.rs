//! TLS between HAProxy and what is behind it, and the certificates of all that.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::time::Duration;

use crate::api::Api;
use crate::harness::Cloud;

/// What a port answers to a request in plain text.
fn plain(address: &str, port: u16) -> String {
    let mut stream = TcpStream::connect((address, port)).expect("something listens");
    stream.set_read_timeout(Some(Duration::from_secs(10))).expect("a timeout can be set");
    stream.write_all(b"GET /healthcheck HTTP/1.0\r\n\r\n").expect("a request can be written");
    let mut answer = Vec::new();
    // An end without an answer, polite or not, is an answer here.
    let _ = stream.read_to_end(&mut answer);
    String::from_utf8_lossy(&answer).into_owned()
}

#[test]
fn tls_must_reach_the_services_and_its_certificates_be_told_renewed_and_brought_there() {
    let cloud = Cloud::new("t-tls", 177);
    cloud.write("mastic.yaml", &cloud.profile("backend: {tls: true}\n"));
    cloud.mastic(&["deploy", "--yes"]).ok();
    cloud.mastic(&["check"]).ok().says("https://").says("a token");
    cloud.token();
    let answer = plain(&cloud.address, 15000);
    assert!(!answer.contains("HTTP/"), "plain text was answered: {answer}");
    // More than it has workers: they wait, and nothing takes it for dead meanwhile (a handshake waits for a worker, too).
    Api::of(&cloud).crowd(16, 4);
    cloud.mastic(&["plan"]).ok();

    let listed = cloud.mastic(&["certificates", "--json"]).ok().json();
    let names = |key: &str| -> Vec<String> {
        let list = listed["certificates"].as_array().expect("a list");
        list.iter().map(|c| c[key].to_string()).collect()
    };
    assert_eq!(names("name"), ["\"authority\"", "\"endpoints\"", "\"backend keystone\""]);
    assert_eq!(names("in_containers"), ["true"; 3], "{listed:#}");
    cloud.mastic(&["certificates", "--renew"]).ok();
    let renewed = cloud.mastic(&["certificates", "--renew", "--all"]).code(2);
    assert!(renewed.stderr.contains("`mastic deploy` brings it there"), "{}", renewed.stderr);
    cloud
        .mastic(&["plan"])
        .code(2)
        .says("/etc/mastic/tls/backend.pem changed")
        .says("/etc/haproxy/vip.pem changed");
    cloud.mastic(&["deploy", "--yes", "--accept", "outage"]).ok();
    cloud.mastic(&["certificates"]).ok();
    cloud.token();

    // What such a run was like.
    cloud.mastic(&["timeline", "-o", "run.html"]).ok();
    let page = std::fs::read_to_string(cloud.dir.path().join("run.html")).expect("the page is there");
    for word in ["keystone-api", "generation 2: done", "Why it took that long"] {
        assert!(page.contains(word), "no {word} in the page");
    }
    let runs = cloud.mastic(&["timeline", "--list", "--json"]).ok().json();
    assert_eq!(runs["runs"].as_array().map(Vec::len), Some(2), "{runs:#}");
}

#[test]
fn a_change_must_be_shown_as_it_happens() {
    let cloud = Cloud::of_toys("t-watch", 178, "");
    cloud.mastic(&["build", "--only", "toy"]).ok();
    cloud.mastic(&["deploy", "--yes"]).ok();
    let mut watch = cloud
        .command(&["status", "--watch", "--json"])
        .stdout(std::process::Stdio::piped())
        .spawn()
        .expect("mastic can be run");
    let lines = std::io::BufRead::lines(std::io::BufReader::new(watch.stdout.take().expect("its output")));
    let mut documents = lines.map(|line| {
        let line = line.expect("a line");
        serde_json::from_str::<serde_json::Value>(&line).expect("one document a line")
    });
    let state = |document: &serde_json::Value| {
        let rows = document["containers"].as_array().cloned().unwrap_or_default();
        let talker = rows.iter().find(|row| row["container"] == "talker").cloned().unwrap_or_default();
        talker["state"].as_str().unwrap_or_default().to_owned()
    };
    let first = documents.next().expect("the first document is what is there");
    assert_eq!(state(&first), "running", "{first:#}");
    let talker = cloud.container("talker");
    cloud.docker(&["kill", &talker]);
    // It comes back by its restart policy: both are told, each as it happens.
    let gone = documents
        .find(|document| state(document) != "running" || document["containers"] != first["containers"]);
    assert!(gone.is_some(), "nothing was told");
    // Ctrl-C is how a person ends it.
    nix::sys::signal::kill(
        nix::unistd::Pid::from_raw(watch.id().cast_signed()),
        nix::sys::signal::Signal::SIGINT,
    )
    .expect("a signal can be sent");
    assert_eq!(watch.wait().expect("it ends").code(), Some(0));
}
