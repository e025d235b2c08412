//! Builds `mastic-init`, the PID 1 of every container, as a static binary, and hands it to the crate for embedding.
//!
//! The inner cargo has its own target directory (in `OUT_DIR`): the outer one holds the lock of the usual one while
//! this script runs, and waiting for it would never end. It inherits the outer job server, so that it takes no
//! more CPUs than the outer build was given.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::{env, fmt::Write as _, fs};

use sha2::{Digest, Sha256};

/// Folders that release builds embed. Debug builds read them from disk, and need not be compiled anew for a template.
const EMBEDDED: [&str; 3] = ["images", "profiles", "templates"];

fn main() -> Result<(), String> {
    let root = PathBuf::from(var("CARGO_MANIFEST_DIR")?);
    let out = PathBuf::from(var("OUT_DIR")?);
    for path in ["build.rs", "Cargo.toml", "Cargo.lock", "images/init"] {
        println!("cargo:rerun-if-changed={path}");
    }
    if var("PROFILE")? == "release" {
        // The embedding macro notices changed files by itself, but not new ones.
        for folder in EMBEDDED.iter().filter(|folder| root.join(folder).is_dir()) {
            println!("cargo:rerun-if-changed={folder}");
        }
    }

    let binary = build_init(&root, &out.join("init"))?;
    let bytes = fs::read(&binary).map_err(|error| format!("cannot read {}: {error}", binary.display()))?;
    // A copy outside of the inner target directory: its path is ours, whatever cargo's layout becomes.
    write(&out.join("mastic-init"), &bytes)?;
    write(&out.join("mastic-init.sha256"), hex(&bytes).as_bytes())
}

/// Runs the inner cargo and returns the path of the binary.
fn build_init(root: &Path, target_dir: &Path) -> Result<PathBuf, String> {
    let target = var("TARGET")?;
    let mut command = Command::new(var("CARGO")?);
    command
        .current_dir(root)
        .args(["build", "--quiet", "--locked", "--package", "mastic-init", "--bin", "mastic-init"])
        .args(["--profile", "init"])
        // With an explicit target the flags below do not reach build scripts and macros, which must not be static.
        .args(["--target", &target])
        .arg("--target-dir")
        .arg(target_dir)
        .env("CARGO_ENCODED_RUSTFLAGS", "-Ctarget-feature=+crt-static");
    // What the outer build, clippy or a coverage tool asked for is not meant for this binary.
    for (name, _) in env::vars_os() {
        let name = name.to_string_lossy();
        let flags = name == "RUSTFLAGS"
            || name == "CARGO_BUILD_RUSTFLAGS"
            || (name.starts_with("CARGO_TARGET_") && name.ends_with("_RUSTFLAGS"));
        let wrapper = name == "RUSTC_WORKSPACE_WRAPPER" || name == "CARGO_BUILD_RUSTC_WORKSPACE_WRAPPER";
        let layout = name == "CARGO_BUILD_BUILD_DIR" || name.starts_with("CARGO_PROFILE_");
        if flags || wrapper || layout || name == "CLIPPY_ARGS" || name == "LLVM_PROFILE_FILE" {
            command.env_remove(name.as_ref());
        }
    }
    let output = command.output().map_err(|error| format!("cannot start cargo for mastic-init: {error}"))?;
    if !output.status.success() {
        return Err(format!("mastic-init does not build:\n{}", String::from_utf8_lossy(&output.stderr)));
    }
    Ok(target_dir.join(&target).join("init").join("mastic-init"))
}

/// Reads a variable that cargo sets for build scripts.
fn var(name: &str) -> Result<String, String> {
    env::var(name).map_err(|error| format!("{name}: {error}"))
}

/// Writes only what differs: an unchanged file keeps its time, and nothing that includes it is compiled again.
fn write(path: &Path, bytes: &[u8]) -> Result<(), String> {
    if fs::read(path).is_ok_and(|old| old == bytes) {
        return Ok(());
    }
    fs::write(path, bytes).map_err(|error| format!("cannot write {}: {error}", path.display()))
}

fn hex(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().fold(String::new(), |mut text, byte| {
        // Writing to a string cannot fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}
