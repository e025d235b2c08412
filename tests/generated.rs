//! Pages that are generated from the program must be current. `just generate` (MASTIC_REGENERATE=1) writes them.

use std::path::Path;

#[test]
fn the_command_reference_must_be_current() {
    current("docs/reference/commands.md", &mastic::cli::reference::markdown());
}

#[test]
fn the_reference_of_documents_must_be_current() {
    use mastic::profile::{reference, schema};
    current("docs/reference/profile.md", &reference::profile());
    current("docs/reference/service.md", &reference::service());
    current("docs/reference/diagnostics.md", &reference::diagnostics());
    std::fs::create_dir_all(Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/schema"))
        .expect("a folder can be made");
    current("docs/schema/profile.json", &schema::text(schema::profile()));
    current("docs/schema/service.json", &schema::text(schema::service()));
}

#[test]
fn the_guides_must_name_every_command() {
    use clap::CommandFactory;
    let guides = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/guides");
    let text: String = std::fs::read_dir(guides)
        .expect("there are guides")
        .map(|entry| std::fs::read_to_string(entry.expect("an entry").path()).expect("a guide is text"))
        .collect();
    let root = mastic::cli::args::Cli::command();
    let unnamed: Vec<&str> = root
        .get_subcommands()
        .map(clap::Command::get_name)
        .filter(|name| !text.contains(&format!("mastic {name}")))
        .collect();
    assert!(unnamed.is_empty(), "no guide shows how to use: {}", unnamed.join(", "));
}

#[track_caller]
fn current(path: &str, text: &str) {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join(path);
    if std::env::var_os("MASTIC_REGENERATE").is_some() {
        std::fs::write(&file, text).expect("a page can be written");
    }
    let there = std::fs::read_to_string(&file).unwrap_or_default();
    assert!(there == text, "{path} is stale: run `just generate`");
}
