//! The command line as a user meets it, without an engine: help, errors, exit codes, what goes to which stream.

use std::path::Path;
use std::process::{Command, Output, Stdio};

fn mastic(dir: &Path, arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_mastic"))
        .args(arguments)
        .current_dir(dir)
        .env_remove("MASTIC_PROFILE")
        .env("MASTIC_STATE_DIR", dir.join("state"))
        .stdin(Stdio::null())
        .output()
        .expect("the program under test can be started")
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

fn folder() -> tempfile::TempDir {
    tempfile::tempdir().expect("a temporary folder can be made")
}

#[test]
fn help_must_go_to_standard_output_and_tell_the_exit_codes() {
    let dir = folder();
    let output = mastic(dir.path(), &["--help"]);
    assert_eq!(output.status.code(), Some(0));
    let help = text(&output.stdout);
    for word in ["deploy", "reconfigure", "plan", "Exit codes: 0 done", "--json"] {
        assert!(help.contains(word), "no {word:?} in:\n{help}");
    }
}

#[test]
fn every_command_must_have_help_of_its_own() {
    let dir = folder();
    for command in [
        "up",
        "bootstrap",
        "init",
        "validate",
        "prechecks",
        "render",
        "genconfig",
        "build",
        "pull",
        "images",
        "plan",
        "deploy",
        "reconfigure",
        "status",
        "history",
        "logs",
        "exec",
        "check",
        "verify",
        "certificates",
        "timeline",
        "graph",
        "stop",
        "start",
        "secrets",
        "post-deploy",
        "unlock",
        "explain",
        "privileges",
        "destroy",
        "schema",
        "completions",
        "man",
    ] {
        let output = mastic(dir.path(), &[command, "--help"]);
        assert_eq!(output.status.code(), Some(0), "{command}: {}", text(&output.stderr));
        assert!(text(&output.stdout).contains("Usage:"), "{command}");
    }
}

#[test]
fn misuse_must_end_with_64_and_the_nearest_right_word() {
    let dir = folder();
    let output = mastic(dir.path(), &["deplyo"]);
    assert_eq!(output.status.code(), Some(64));
    assert!(text(&output.stderr).contains("deploy"), "{}", text(&output.stderr));
    assert!(output.stdout.is_empty(), "talk on standard output");
    assert_eq!(mastic(dir.path(), &[]).status.code(), Some(64));
}

#[test]
fn a_missing_profile_must_be_said_with_what_to_do() {
    let dir = folder();
    let output = mastic(dir.path(), &["-p", "nosuch.yaml", "validate"]);
    assert_eq!(output.status.code(), Some(1));
    let said = text(&output.stderr);
    assert!(said.contains("nosuch.yaml") && said.contains("mastic init"), "{said}");
}

#[test]
fn all_mistakes_of_a_profile_must_be_told_at_once_with_place_and_nearest_word() {
    let dir = folder();
    let profile = "deployment: Aio\nrelease: \"2026.1\"\nhosts:\n  local: {engin: \"unix:///x\", address: 127.0.0.1}\n\
                   sets:\n  api: {services: [keystoen]}\n";
    std::fs::write(dir.path().join("mastic.yaml"), profile).expect("a file can be written");
    let output = mastic(dir.path(), &["validate"]);
    assert_eq!(output.status.code(), Some(1));
    let said = text(&output.stderr);
    for place in ["mastic.yaml:1:13", "mastic.yaml:4:", "mastic.yaml:6:", "engine", "keystone"] {
        assert!(said.contains(place), "no {place:?} in:\n{said}");
    }
    assert!(!dir.path().join("state").exists(), "a broken profile left something behind");

    let output = mastic(dir.path(), &["validate", "--json"]);
    let json: serde_json::Value = serde_json::from_slice(&output.stdout).expect("JSON on standard output");
    assert!(json.to_string().contains("\"line\":4"), "{json:#}");
}

#[test]
fn a_fresh_profile_must_be_valid_and_never_overwritten_unasked() {
    let dir = folder();
    assert_eq!(mastic(dir.path(), &["init"]).status.code(), Some(0));
    let output = mastic(dir.path(), &["validate"]);
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    let output = mastic(dir.path(), &["init"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output.stderr).contains("--force"));
}

#[test]
fn every_built_in_profile_must_be_valid_and_render() {
    let dir = folder();
    let list = mastic(dir.path(), &["init", "--list"]);
    let names: Vec<String> =
        text(&list.stdout).lines().filter_map(|l| l.split_whitespace().next().map(str::to_owned)).collect();
    assert!(names.contains(&"all-in-one".to_owned()) && names.len() >= 2, "{names:?}");
    for name in names {
        let output = mastic(dir.path(), &["-p", &name, "validate"]);
        assert_eq!(output.status.code(), Some(0), "{name}: {}", text(&output.stderr));
        let output = mastic(dir.path(), &["-p", &name, "render"]);
        assert_eq!(output.status.code(), Some(0), "{name}: {}", text(&output.stderr));
        assert!(text(&output.stdout).contains("keystone.conf"), "{name}");
    }
}

#[test]
fn rendering_must_show_no_secret_and_leave_no_secrets_file() {
    let dir = folder();
    assert_eq!(mastic(dir.path(), &["init"]).status.code(), Some(0));
    assert_eq!(mastic(dir.path(), &["secrets", "generate"]).status.code(), Some(0));
    let secrets = std::fs::read_to_string(dir.path().join("state/secrets.yaml")).expect("it was made");
    let values: Vec<&str> = secrets
        .lines()
        .filter_map(|l| l.split_once(": ").map(|(_, v)| v.trim_matches(['"', '\''])))
        .collect();
    assert!(values.len() >= 3, "{} secrets", values.len());
    let rendered = text(&mastic(dir.path(), &["render"]).stdout);
    assert!(rendered.contains("********"), "nothing was masked");
    for value in values.iter().filter(|v| v.len() >= 12) {
        assert!(!rendered.contains(value), "a secret was rendered");
    }
}

#[test]
fn rendering_before_there_are_secrets_must_mask_the_made_up_ones_too() {
    let dir = folder();
    assert_eq!(mastic(dir.path(), &["init"]).status.code(), Some(0));
    let rendered = text(&mastic(dir.path(), &["render", "keystone-api"]).stdout);
    assert!(rendered.contains("connection = mysql+pymysql://keystone:********@"), "{rendered}");
    assert!(!dir.path().join("state/secrets.yaml").exists(), "looking made secrets");
}

#[test]
fn explain_must_say_value_and_origin_and_know_the_nearest_key() {
    let dir = folder();
    assert_eq!(mastic(dir.path(), &["init"]).status.code(), Some(0));
    let output = mastic(dir.path(), &["explain", "keystone_workers"]);
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    assert!(text(&output.stdout).contains("from: mastic.yaml:"), "{}", text(&output.stdout));
    let output = mastic(dir.path(), &["explain", "keystone_worker"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output.stderr).contains("keystone_workers"), "{}", text(&output.stderr));
}

#[test]
fn an_engine_that_does_not_answer_must_be_named_with_what_to_do() {
    let dir = folder();
    assert_eq!(mastic(dir.path(), &["init"]).status.code(), Some(0));
    let path = dir.path().join("mastic.yaml");
    let profile = std::fs::read_to_string(&path).expect("it was made");
    std::fs::write(&path, profile.replace("/var/run/docker.sock", "/nonexistent/docker.sock"))
        .expect("written");
    let output = mastic(dir.path(), &["plan"]);
    assert_eq!(output.status.code(), Some(1));
    let said = text(&output.stderr);
    assert!(said.contains("/nonexistent/docker.sock") && said.contains("mastic bootstrap"), "{said}");
}

#[test]
fn completions_manual_and_schema_must_be_printable() {
    let dir = folder();
    for shell in ["bash", "zsh", "fish"] {
        assert!(text(&mastic(dir.path(), &["completions", shell]).stdout).contains("mastic"), "{shell}");
    }
    assert!(text(&mastic(dir.path(), &["man"]).stdout).contains(".TH"));
    let output = mastic(dir.path(), &["man", "--output", "man"]);
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    assert!(dir.path().join("man/mastic-deploy.1").exists());
    let schema = mastic(dir.path(), &["schema", "profile"]).stdout;
    serde_json::from_slice::<serde_json::Value>(&schema).expect("the schema is JSON");
}

#[test]
fn a_closed_pipe_must_not_be_an_error() {
    let dir = folder();
    let output = Command::new("sh")
        .args(["-c", "\"$0\" completions bash | head -n 1", env!("CARGO_BIN_EXE_mastic")])
        .current_dir(dir.path())
        .output()
        .expect("sh is there");
    assert!(!text(&output.stderr).contains("panicked"), "{}", text(&output.stderr));
}

#[test]
fn a_graph_must_be_the_same_each_time_and_need_no_engine() {
    let dir = folder();
    let draw = |arguments: &[&str]| {
        let output = mastic(dir.path(), &[&["-p", "all-in-one", "graph"], arguments].concat());
        assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
        text(&output.stdout)
    };
    let sets = draw(&[]);
    assert!(sets.starts_with("digraph") && sets.contains("\"database\" -> \"api\""), "{sets}");
    assert_eq!(sets, draw(&[]));
    let picture = draw(&["--containers", "--format", "svg"]);
    assert_eq!(picture, draw(&["--containers", "--format", "svg"]));
    for word in ["<svg", "keystone-setup", "mariadb-accounts"] {
        assert!(picture.contains(word), "no {word} in the picture");
    }
    // Looks at config and what belongs to upgrades are no part of it.
    assert!(!picture.contains("keystone-config") && !picture.contains("keystone-contract"), "{picture}");
    let one = draw(&["--containers", "--set", "database"]);
    assert!(one.contains("mariadb") && !one.contains("keystone"), "{one}");
    let output = mastic(dir.path(), &["-p", "all-in-one", "graph", "--set", "databse"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output.stderr).contains("did you mean `database`?"), "{}", text(&output.stderr));
}
