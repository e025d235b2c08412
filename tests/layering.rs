//! The pure core stays pure, and each effect stays in its room.

use std::fs;
use std::path::{Path, PathBuf};

/// Values in, values out.
const CORE: [&str; 7] = ["model", "profile", "template", "plan", "journal", "drawing", "schema"];

/// Files of an effect's room that are values in, values out as well.
const PURE: [&str; 8] = [
    "verify/steps.rs",
    "verify/facts.rs",
    "verify/names.rs",
    "verify/report.rs",
    "cli/commands/status/view.rs",
    "execute/findings.rs",
    "report/page.rs",
    "rehearse/report.rs",
];

/// What the core must not name, and why.
const FORBIDDEN: [(&str, &str); 15] = [
    ("tokio", "no waiting"),
    ("bollard", "no engine"),
    ("reqwest", "no network"),
    ("openstack_sdk", "no network"),
    ("std::fs", "no files"),
    ("fs_err", "no files"),
    ("std::net::Tcp", "no network"),
    ("std::process", "no processes"),
    ("SystemTime::now", "no clock"),
    ("Instant::now", "no clock"),
    ("Timestamp::now", "no clock"),
    ("env::var", "no environment"),
    ("rand::", "no randomness"),
    ("println!", "no printing"),
    (".await", "no waiting"),
];

fn sources(root: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut folders = vec![root.to_path_buf()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).expect("a folder of the source tree can be read") {
            let path = entry.expect("an entry can be read").path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|e| e == "rs") {
                found.push(path);
            }
        }
    }
    found.sort();
    found
}

/// The lines that are compiled into the program: comments and the tests at the end of a file do not count.
fn code(path: &Path) -> Vec<(usize, String)> {
    let text = fs::read_to_string(path).expect("a source file can be read");
    text.lines()
        .enumerate()
        .take_while(|(_, line)| line.trim() != "#[cfg(test)]")
        .map(|(n, line)| (n + 1, line.split("//").next().unwrap_or("").to_owned()))
        .collect()
}

fn src() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("src")
}

#[test]
fn the_core_must_not_name_an_effect() {
    let mut wrong = Vec::new();
    let mut read = 0;
    let rooms = CORE.iter().flat_map(|room| sources(&src().join(room)));
    for paths in [rooms.collect::<Vec<_>>(), PURE.map(|file| src().join(file)).to_vec()] {
        for path in paths {
            if path.file_name().is_some_and(|n| n == "tests.rs") {
                continue;
            }
            read += 1;
            for (number, line) in code(&path) {
                for (word, why) in FORBIDDEN {
                    if line.contains(word) {
                        wrong.push(format!("{}:{number}: `{word}` ({why})", path.display()));
                    }
                }
            }
        }
    }
    assert!(read > 10, "only {read} files were found: is the list of rooms still right?");
    assert!(wrong.is_empty(), "the pure core names effects:\n{}", wrong.join("\n"));
}

#[test]
fn only_the_engine_adapter_may_name_bollard() {
    let wrong: Vec<_> = sources(&src())
        .into_iter()
        .filter(|path| !path.starts_with(src().join("engine/docker")) && !path.ends_with("engine/docker.rs"))
        .filter(|path| code(path).iter().any(|(_, line)| line.contains("bollard")))
        .collect();
    assert!(wrong.is_empty(), "these name bollard: {wrong:?}");
}

#[test]
fn only_the_clouds_room_may_name_the_sdk() {
    let wrong: Vec<_> = sources(&src())
        .into_iter()
        .filter(|path| !path.starts_with(src().join("cloud")))
        .filter(|path| code(path).iter().any(|(_, line)| line.contains("openstack_sdk")))
        .collect();
    assert!(wrong.is_empty(), "these name the SDK: {wrong:?}");
}

#[test]
fn only_the_live_reporter_may_name_indicatif() {
    let wrong: Vec<_> = sources(&src())
        .into_iter()
        .filter(|path| !path.ends_with("report/live.rs"))
        .filter(|path| code(path).iter().any(|(_, line)| line.contains("indicatif::")))
        .filter(|path| !path.ends_with("cli/context.rs"))
        .collect();
    assert!(wrong.is_empty(), "these name indicatif: {wrong:?}");
}

#[test]
fn nothing_below_the_command_line_may_print() {
    let mut wrong = Vec::new();
    for path in sources(&src()) {
        if path.starts_with(src().join("cli")) || path.starts_with(src().join("report")) {
            continue;
        }
        for (number, line) in code(&path) {
            if ["println!", "eprintln!", "print!(", "io::stdout", "io::stderr"]
                .iter()
                .any(|w| line.contains(w))
            {
                wrong.push(format!("{}:{number}", path.display()));
            }
        }
    }
    assert!(wrong.is_empty(), "these print: {wrong:?}");
}

#[test]
fn nothing_may_be_privileged() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut wrong = Vec::new();
    for folder in ["src", "templates", "profiles", "images"] {
        let mut folders = vec![root.join(folder)];
        while let Some(dir) = folders.pop() {
            for entry in fs::read_dir(&dir).expect("a folder can be read") {
                let path = entry.expect("an entry can be read").path();
                if path.is_dir() {
                    folders.push(path);
                    continue;
                }
                let Ok(text) = fs::read_to_string(&path) else { continue };
                if ["privileged: true", "privileged: Some(true)", "--privileged"]
                    .iter()
                    .any(|w| text.contains(w))
                {
                    wrong.push(path);
                }
            }
        }
    }
    assert!(wrong.is_empty(), "these ask for a privileged container: {wrong:?}");
}
