//! A server outlives every container of its cloud, and the engine.

use std::collections::BTreeSet;

use nix::sys::signal::Signal;

use super::pings::{Pings, Seen};
use super::{Server, Smoke, assert_passes};
use crate::faults::support::{assert_settled, say};
use crate::harness::Cloud;

/// Their ends carry no packets.
const AGENTS: [&str; 4] =
    ["neutron-openvswitch-agent", "neutron-l3-agent", "neutron-dhcp-agent", "neutron-metadata-agent"];
/// The switch itself: what its restart costs is said.
const SWITCH: [&str; 2] = ["openvswitch-vswitchd", "openvswitch-db"];

#[test]
fn a_server_must_outlive_every_container_of_its_cloud_and_the_engine() {
    let smoke = Smoke::new("t-outlive", 201);
    let cloud = &smoke.cloud;
    let ran = cloud.mastic(&["deploy", "--yes"]).ok();
    say(&format!("deployed in {:.1} s", ran.took.as_secs_f64()));
    assert_settled(cloud, "after the first deploy");
    let server = smoke.server();
    let pings = Pings::begin(cloud, server.address);

    let services = services(cloud);
    let others: Vec<&str> = services
        .iter()
        .map(String::as_str)
        .filter(|name| !AGENTS.contains(name) && !SWITCH.contains(name))
        .collect();
    assert!(
        others.len() >= 15 && services.len() == others.len() + AGENTS.len() + SWITCH.len(),
        "{services:?}"
    );

    // The one of routers writes its rules at every start, and once lost what began within some milliseconds.
    for agent in AGENTS.into_iter().chain(["neutron-l3-agent"; 4]) {
        let seen = restarted(cloud, &pings, &server, &[agent]);
        assert_eq!(seen.lost, 0, "{agent} was restarted, and packets were lost: {seen:?}");
    }
    let seen = restarted(cloud, &pings, &server, &others);
    assert_eq!(seen.lost, 0, "packets were lost although nothing that carries them was restarted: {seen:?}");
    for part in SWITCH {
        restarted(cloud, &pings, &server, &[part]);
    }

    // Gone without a goodbye, and made anew: all that a replacement does, and worse.
    for part in AGENTS.iter().map(|agent| vec![*agent]).chain([others.clone()]) {
        let seen = replaced(cloud, &pings, &server, &part);
        assert_eq!(seen.lost, 0, "{part:?} were replaced, and packets were lost: {seen:?}");
    }
    replaced(cloud, &pings, &server, &SWITCH);
    assert_settled(cloud, "after every container was replaced");

    for signal in [Signal::SIGTERM, Signal::SIGKILL] {
        let seen = pings.during(|| {
            cloud.private().restart(signal);
            cloud.mastic(&["check", "--wait", "180"]).ok();
        });
        server.assert_lives(&format!("the engine was restarted by {signal}"));
        say(&format!("  engine, {signal}: {seen:?}"));
        assert_eq!(seen.lost, 0, "the engine was restarted by {signal}, and packets were lost: {seen:?}");
    }
    assert_settled(cloud, "after the engine's restarts");

    // The whole cloud off and on.
    let seen = pings.during(|| {
        cloud.mastic(&["stop", "--yes"]).ok();
        cloud.mastic(&["start", "--yes"]).ok();
    });
    server.assert_lives("everything was stopped and started");
    say(&format!("  everything stopped and started: {seen:?}"));
    drop(pings);
    assert_passes(cloud, "at the end");
}

/// Names of the containers that are there to stay.
fn services(cloud: &Cloud) -> BTreeSet<String> {
    let status = cloud.mastic(&["status", "--json"]).ok().json();
    let rows = status["containers"].as_array().expect("status lists containers");
    let services = rows.iter().filter(|row| row["task"] == false);
    services.map(|row| row["container"].as_str().expect("it has a name").to_owned()).collect()
}

/// Restarts containers with the engine's own client, at once, and waits until the cloud is healthy.
fn restarted(cloud: &Cloud, pings: &Pings, server: &Server, names: &[&str]) -> Seen {
    let seen = pings.during(|| {
        let containers: Vec<String> = names.iter().map(|name| cloud.container(name)).collect();
        let arguments: Vec<&str> =
            ["restart", "--time", "60"].into_iter().chain(containers.iter().map(String::as_str)).collect();
        cloud.docker(&arguments);
        cloud.mastic(&["check", "--wait", "180"]).ok();
    });
    server.assert_lives(&format!("{names:?} were restarted"));
    say(&format!("  restarted {}: {seen:?}", names.join(" ")));
    seen
}

/// Removes containers by force and lets a deploy make them anew.
fn replaced(cloud: &Cloud, pings: &Pings, server: &Server, names: &[&str]) -> Seen {
    let seen = pings.during(|| {
        let containers: Vec<String> = names.iter().map(|name| cloud.container(name)).collect();
        let arguments: Vec<&str> =
            ["rm", "--force"].into_iter().chain(containers.iter().map(String::as_str)).collect();
        cloud.docker(&arguments);
        cloud.mastic(&["deploy", "--yes"]).ok();
    });
    server.assert_lives(&format!("{names:?} were replaced"));
    say(&format!("  removed and made anew {}: {seen:?}", names.join(" ")));
    seen
}
