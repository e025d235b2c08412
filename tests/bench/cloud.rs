//! The figures of `docs/performance.md`: `cargo bench --bench cloud`.
//!
//! Whole processes, as a user runs them, on this machine, with its engine. Machines differ and are noisy: the ratios
//! (deploy to its longest chain, second to first) say more than the seconds.

#![allow(clippy::print_stdout, reason = "its table is what it is for")]

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

const MASTIC: &str = env!("CARGO_BIN_EXE_mastic");
const RUNS: usize = 5;

struct Bench {
    dir: tempfile::TempDir,
}

struct Measured {
    seconds: f64,
    /// Peak resident set of the process, kB.
    peak_kb: u64,
    stdout: String,
}

impl Bench {
    fn new() -> Self {
        let bench = Self { dir: tempfile::tempdir().expect("a temporary folder can be made") };
        std::fs::write(
            bench.dir.path().join("mastic.yaml"),
            "deployment: bench\nrelease: \"2026.1\"\n\
             hosts:\n  local: {engine: \"unix:///var/run/docker.sock\", address: 127.0.78.1}\n\
             public: {address: 127.0.78.1}\n\
             sets:\n  database: {services: [mariadb]}\n  messaging: {services: [rabbitmq, memcached]}\n  \
             api: {services: [keystone, toolbox]}\n  ha: {services: [haproxy]}\n",
        )
        .expect("the profile can be written");
        bench
    }

    /// Runs the program; its own peak memory comes from the kernel's account of the ended child.
    fn run(&self, arguments: &[&str], expected: i32) -> Measured {
        // A shell in between would be counted too: `/proc/PID/status` of the child is read while it runs, and the peak
        // (VmHWM) only grows, so the last reading before its end is at most a few milliseconds old.
        let began = Instant::now();
        let mut child = Command::new(MASTIC)
            .args(arguments)
            .current_dir(self.dir.path())
            .env("MASTIC_STATE_DIR", self.dir.path().join("state"))
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("the program can be started");
        let status = format!("/proc/{}/status", child.id());
        let mut output = child.stdout.take().expect("its output is piped");
        let reader = std::thread::spawn(move || {
            let mut text = String::new();
            std::io::Read::read_to_string(&mut output, &mut text).expect("its output is text");
            text
        });
        let mut peak_kb = 0;
        let ended = loop {
            peak_kb = peak(Path::new(&status)).unwrap_or(0).max(peak_kb);
            match child.try_wait().expect("a child can be asked") {
                Some(ended) => break ended,
                None => std::thread::park_timeout(Duration::from_millis(5)),
            }
        };
        let seconds = began.elapsed().as_secs_f64();
        assert_eq!(ended.code(), Some(expected), "mastic {}", arguments.join(" "));
        Measured { seconds, peak_kb, stdout: reader.join().expect("the reader ends with the output") }
    }
}

fn peak(status: &Path) -> Option<u64> {
    let text = std::fs::read_to_string(status).ok()?;
    let line = text.lines().find(|l| l.starts_with("VmHWM:"))?;
    line.split_whitespace().nth(1)?.parse().ok()
}

/// Prints minimum, median and maximum.
fn row(name: &str, target: &str, mut values: Vec<f64>, unit: &str) {
    values.sort_by(f64::total_cmp);
    let median = values[values.len() / 2];
    println!(
        "| {name} | {median:.2} {unit} | {:.2} - {:.2} | {target} |",
        values[0],
        values[values.len() - 1]
    );
}

fn main() {
    // `cargo test --benches` passes --test: a bench is not a test, and says so by doing nothing but this line.
    if std::env::args().any(|a| a == "--test") {
        println!("run it with: cargo bench --bench cloud");
        return;
    }
    let bench = Bench::new();
    bench.run(&["bootstrap"], 0);
    bench.run(&["build"], 0);
    bench.run(&["destroy", "--yes", "--volumes", "all"], 0);

    println!("| what | median | min - max | target |\n| --- | --- | --- | --- |");
    let mut deploys = Vec::new();
    let mut chains = Vec::new();
    let mut ratios = Vec::new();
    let mut peaks = Vec::new();
    for _ in 0..RUNS {
        let deploy = bench.run(&["deploy", "--yes", "--json"], 0);
        let report: Value = serde_json::from_str(&deploy.stdout).expect("deploy --json prints JSON");
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
    let images = bench.run(&["images", "--json"], 0);
    let images: Value = serde_json::from_str(&images.stdout).expect("images --json prints JSON");
    println!("\nAll images together: {} unique bytes", images["unique_bytes"]);
}
