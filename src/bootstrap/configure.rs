//! The engine's own config file, where it has none yet.

use std::path::Path;

use super::BootstrapError;

/// Where every engine looks, whoever starts it.
const FILE: &str = "/etc/docker/daemon.json";
/// An engine that restarts (its package is upgraded, it crashes) then leaves its containers as they are. Without, it stops them all
/// when it ends, and those that outlived a crash of it when it is back, never to be started again by itself (seen with 20.10).
const CONTENT: &[u8] = b"{\n  \"live-restore\": true\n}\n";

/// Returns whether the engine would start with nothing but its defaults.
pub(super) fn is_missing() -> bool {
    !Path::new(FILE).exists()
}

/// Writes it. One that is there is somebody's, and stays.
pub(super) fn write() -> Result<(), BootstrapError> {
    let file = |source| BootstrapError::File { source };
    if let Some(folder) = Path::new(FILE).parent() {
        fs_err::create_dir_all(folder).map_err(file)?;
    }
    // It gets its name when it is whole: the engine refuses to start with half of one.
    let draft = format!("{FILE}.mastic");
    fs_err::write(&draft, CONTENT).map_err(file)?;
    fs_err::rename(draft, FILE).map_err(file)
}
