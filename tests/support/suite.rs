//! The engine of another Debian suite, in a root of its own: only its programs are there, and what they need.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use super::home::Home;

/// What an engine consists of. `base-files` has the links between `/lib` and `/usr/lib`.
const PACKAGES: &str = "--include=base-files,docker.io,containerd,runc";

/// Fetches the programs from the host's own mirrors, once; the archive is kept beside what cargo builds.
fn archive(suite: &str) -> PathBuf {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR"));
    let archive = folder.join(format!("engine-{suite}.tar"));
    if archive.exists() {
        return archive;
    }
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let host = runtime.block_on(mastic::build::host::read(suite));
    assert!(!host.sources.is_empty(), "this host has no package source of Debian's");
    let scratch = tempfile::tempdir_in(folder).expect("a folder can be made");
    let path = |name: &str| scratch.path().join(name);
    // A rolling suite's lists expire within days, which a copy of a mirror may be older than.
    let settings = format!("{}\nAcquire::Check-Valid-Until \"false\";\n", host.apt_settings);
    std::fs::write(path("apt.conf"), settings).expect("a file can be written");
    std::fs::write(path("host.sources"), host.sources).expect("a file can be written");
    let made = Command::new("mmdebstrap")
        .args(["--mode=root", "--variant=extract", PACKAGES])
        .arg(format!("--aptopt={}", path("apt.conf").display()))
        .args([Path::new(suite), &path("engine.tar"), &path("host.sources")])
        .stdin(Stdio::null())
        .output()
        .expect("mmdebstrap can be run");
    assert!(made.status.success(), "mmdebstrap: {}", String::from_utf8_lossy(&made.stderr));
    std::fs::rename(path("engine.tar"), &archive).expect("the archive can be put in its place");
    archive
}

/// Starts the engine of a suite in a home. Its mounts are seen by itself alone, and go with it.
#[expect(
    clippy::zombie_processes,
    reason = "its home ends it, also when it was left by a test program that was killed"
)]
pub fn start(home: &Home, suite: &str, arguments: &[String]) {
    let root = home.path("root");
    std::fs::create_dir(&root).expect("a folder can be made");
    let unpacked = Command::new("tar").arg("-C").arg(&root).arg("-xf").arg(archive(suite)).status();
    assert!(unpacked.expect("tar can be run").success(), "the archive of {suite} cannot be unpacked");
    let (root, place) = (root.display(), home.path(""));
    let place = place.display().to_string();
    let place = place.trim_end_matches('/');
    // The home lies at the same path inside, so that all that names it means the same on either side. Not a chroot: who
    // enters a container that was made in one (`exec`) finds himself in the root of the mount namespace.
    let mut script = format!(
        "set -eu\nmount --bind {root} {root}\nmkdir -p {root}{place} {root}/sys {root}/old\n\
         mount --bind {place} {root}{place}\nmount -t proc proc {root}/proc\nmount --rbind /sys {root}/sys\n\
         mount --rbind /dev {root}/dev\nmount -t tmpfs run {root}/run\ncd {root}\npivot_root . old\ncd /\n\
         exec /usr/sbin/dockerd"
    );
    for argument in arguments {
        write!(script, " '{argument}'").expect("a string takes all");
    }
    let log = std::fs::File::create(home.path("engine.log")).expect("a file can be made");
    let errors = log.try_clone().expect("a descriptor");
    home.command("unshare")
        .args(["--mount", "--propagation=private", "sh", "-c", &script])
        .stdin(Stdio::null())
        .stdout(log)
        .stderr(errors)
        .spawn()
        .expect("nsenter (util-linux) can be run");
}
