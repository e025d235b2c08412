//! Pages that are generated from the program must be current. `just generate` (MASTIC_REGENERATE=1) writes them.

use std::path::Path;

#[test]
fn the_command_reference_must_be_current() {
    current("docs/reference/commands.md", &mastic::cli::reference::markdown());
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
