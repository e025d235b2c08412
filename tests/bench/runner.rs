//! Whole processes, as a user runs them, with what they took.

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

const MASTIC: &str = env!("CARGO_BIN_EXE_mastic");

pub struct Bench {
    dir: tempfile::TempDir,
}

pub struct Measured {
    pub seconds: f64,
    /// Peak resident set of the process, kB.
    #[allow(dead_code, reason = "each bench takes what it needs")]
    pub peak_kb: u64,
    /// What it printed.
    pub stdout: String,
}

impl Bench {
    /// An empty folder with this profile.
    pub fn new(profile: &str) -> Self {
        let bench = Self { dir: tempfile::tempdir().expect("a temporary folder can be made") };
        std::fs::write(bench.dir.path().join("mastic.yaml"), profile).expect("the profile can be written");
        bench
    }

    /// The same, with a built-in profile under another deployment's name: nobody's cloud is touched.
    #[allow(dead_code, reason = "each bench takes what it needs")]
    pub fn of_builtin(name: &str) -> Self {
        let bench = Self::new("");
        let text = bench.run(&["init", "--from", name, "-"], 0).stdout;
        let own = |line: &str| {
            if line.starts_with("deployment:") {
                format!("deployment: bench-{name}")
            } else {
                line.to_owned()
            }
        };
        let text: Vec<String> = text.lines().map(own).collect();
        std::fs::write(bench.dir.path().join("mastic.yaml"), text.join("\n"))
            .expect("the profile can be written");
        bench
    }

    /// Runs a command that prints JSON.
    pub fn json(&self, arguments: &[&str]) -> (Measured, Value) {
        let measured = self.run(arguments, 0);
        let value = serde_json::from_str(&measured.stdout).expect("--json prints JSON");
        (measured, value)
    }

    /// Runs the program; its own peak memory comes from the kernel's account of the ended child.
    pub fn run(&self, arguments: &[&str], expected: i32) -> Measured {
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
pub fn row(name: &str, target: &str, mut values: Vec<f64>, unit: &str) {
    values.sort_by(f64::total_cmp);
    let median = values[values.len() / 2];
    println!(
        "| {name} | {median:.2} {unit} | {:.2} - {:.2} | {target} |",
        values[0],
        values[values.len() - 1]
    );
}
