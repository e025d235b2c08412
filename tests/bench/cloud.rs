//! The figures of `docs/performance.md`: `cargo bench --bench cloud`.
//!
//! Whole processes, as a user runs them, on this machine, with its engine. Machines differ and are noisy: the ratios
//! (deploy to its longest chain, second to first) say more than the seconds.

#![allow(clippy::print_stdout, reason = "its table is what it is for")]

mod runner;

use runner::{Bench, row};

const RUNS: usize = 5;

const PROFILE: &str = "deployment: bench\nrelease: \"2026.1\"\n\
    hosts:\n  local: {engine: \"unix:///var/run/docker.sock\", address: 127.0.78.1}\n\
    public: {address: 127.0.78.1}\n\
    sets:\n  database: {services: [mariadb]}\n  messaging: {services: [rabbitmq, memcached]}\n  \
    api: {services: [keystone, toolbox]}\n  ha: {services: [haproxy]}\n";

fn main() {
    // `cargo test --benches` passes --test: a bench is not a test, and says so by doing nothing but this line.
    if std::env::args().any(|a| a == "--test") {
        println!("run it with: cargo bench --bench cloud");
        return;
    }
    let bench = Bench::new(PROFILE);
    bench.run(&["bootstrap"], 0);
    bench.run(&["build"], 0);
    bench.run(&["destroy", "--yes", "--volumes", "all"], 0);

    println!("| what | median | min - max | target |\n| --- | --- | --- | --- |");
    let mut deploys = Vec::new();
    let mut chains = Vec::new();
    let mut ratios = Vec::new();
    let mut peaks = Vec::new();
    for _ in 0..RUNS {
        let (deploy, report) = bench.json(&["deploy", "--yes", "--json"]);
        let chain = report["longest_chain_seconds"].as_f64().expect("the report has the longest chain");
        deploys.push(deploy.seconds);
        chains.push(chain);
        ratios.push(deploy.seconds / chain);
        #[expect(clippy::cast_precision_loss, reason = "a memory size in kB is far below 2^52")]
        peaks.push(deploy.peak_kb as f64 / 1024.0);
        bench.run(&["openstack", "token", "issue", "-f", "value", "-c", "id"], 0);
        bench.run(&["destroy", "--yes", "--volumes", "all"], 0);
    }
    row("deploy, images present, to a token through HAProxy", "40 s", deploys, "s");
    row("longest chain of the containers' own times in it", "", chains, "s");
    row("deploy / longest chain", "1.15", ratios, "x");
    row("peak memory of mastic during deploy", "80 MB", peaks, "MB");

    bench.run(&["deploy", "--yes"], 0);
    for (name, arguments, target) in [
        ("deploy again, nothing to do", &["deploy", "--yes"][..], "1 s"),
        ("plan, nothing to do", &["plan"], "0.5 s"),
        ("build, nothing changed", &["build"], "2 s"),
        ("status", &["status"], ""),
        ("validate", &["validate"], ""),
        ("render", &["render"], ""),
        ("bootstrap, nothing to do", &["bootstrap"], "0.3 s"),
    ] {
        row(name, target, (0..RUNS).map(|_| bench.run(arguments, 0).seconds).collect(), "s");
    }
    bench.run(&["destroy", "--yes", "--volumes", "all"], 0);
    let (_, images) = bench.json(&["images", "--json"]);
    println!("\nImages of this profile: {} unique bytes", images["profile"]["unique_bytes"]);
}
