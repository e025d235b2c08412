//! The figures of whole clouds in `docs/performance.md`: `cargo bench --bench smoke`, some ten minutes.
//!
//! `ci-smoke` from its images to a server that answers a ping, and `all-in-one`; memory once nobody asks for anything. They take the ports of
//! any other cloud on this machine, so that none may run.

#![allow(clippy::print_stdout, reason = "its table is what it is for")]

mod runner;

use std::time::Duration;

use runner::{Bench, row};
use serde_json::Value;

/// Until what a deploy has set going has come to rest.
const REST: Duration = Duration::from_secs(30);

/// Returns how long it took until the guest answered: the clean-up after it is not counted.
fn seconds_to_ping(report: &Value) -> f64 {
    let steps = report["steps"].as_array().expect("it has steps");
    let step = |name: &str| steps.iter().find(|step| step["step"] == name).expect("it has this step");
    assert_eq!(step("ping")["outcome"], "passed", "{report}");
    report["seconds"].as_f64().expect("a number") - step("clean-up")["seconds"].as_f64().expect("a number")
}

/// Memory of all containers, in GB.
fn memory(bench: &Bench) -> f64 {
    let (_, status) = bench.json(&["status", "--json"]);
    let containers = status["containers"].as_array().expect("it has containers");
    let bytes: u64 = containers.iter().filter_map(|container| container["memory_bytes"].as_u64()).sum();
    #[expect(clippy::cast_precision_loss, reason = "far below 2^52")]
    let bytes = bytes as f64;
    bytes / 1e9
}

fn main() {
    // `cargo test --benches` passes --test: a bench is not a test, and says so by doing nothing but this line.
    if std::env::args().any(|a| a == "--test") {
        println!("run it with: cargo bench --bench smoke");
        return;
    }
    println!("| what | median | min - max | target |\n| --- | --- | --- | --- |");
    for (name, runs, target, memory_target) in
        [("ci-smoke", 3, "", "4 GB"), ("all-in-one", 1, "240 s", "8 GB")]
    {
        let bench = Bench::of_builtin(name);
        bench.run(&["bootstrap"], 0);
        bench.run(&["build"], 0);
        bench.run(&["destroy", "--yes", "--volumes", "all"], 0);
        let (mut deploys, mut chains, mut pinged, mut again, mut rest) =
            (vec![], vec![], vec![], vec![], vec![]);
        for _ in 0..runs {
            let (deploy, report) = bench.json(&["deploy", "--yes", "--json"]);
            let (_, verify) = bench.json(&["verify", "--only", "ping", "--json"]);
            deploys.push(deploy.seconds);
            chains.push(report["longest_chain_seconds"].as_f64().expect("the report has the longest chain"));
            pinged.push(deploy.seconds + seconds_to_ping(&verify));
            again.push(bench.run(&["deploy", "--yes"], 0).seconds);
            std::thread::park_timeout(REST);
            rest.push(memory(&bench));
            bench.run(&["destroy", "--yes", "--volumes", "all"], 0);
        }
        row(&format!("{name}: deploy, images present"), target, deploys, "s");
        row(&format!("{name}: longest chain of the containers' own times in it"), "", chains, "s");
        row(&format!("{name}: until its first server is pinged"), "120 s", pinged, "s");
        row(&format!("{name}: deploy again, nothing to do"), "1.5 s", again, "s");
        row(&format!("{name}: memory of its containers at rest"), memory_target, rest, "GB");
        let (_, images) = bench.json(&["images", "--json"]);
        println!("| {name}: its images | {} bytes | | 3 GB |", images["profile"]["unique_bytes"]);
    }
}
