//! A place of its own for an engine: a folder and a network namespace. Whatever was started there ends with it.

use std::fs::{File, TryLockError};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use nix::mount::{MntFlags, umount2};
use nix::sched::{CloneFlags, setns};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

/// On the disk, unlike `/tmp` where that is memory. Short: a socket's path has at most 107 bytes.
const PARENT: &str = "/var/tmp";
/// What every home's name begins with.
const PREFIX: &str = "mastic-engine-";
/// Longer than anything takes on a busy machine.
pub const PATIENCE: Duration = Duration::from_mins(2);

/// A folder, and a network namespace with nothing but a loopback device of its own.
///
/// A `dockerd` sets up the bridge, addresses and filters of the namespace it starts in: beside another engine in the
/// same namespace it would take down that one's.
pub struct Home {
    root: PathBuf,
    /// Held as long as this process lives: a folder whose lock is free was left behind by one that was killed.
    _owner: File,
}

impl Home {
    /// Makes one, and removes what killed test programs have left.
    pub fn new(name: &str) -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        assert!(nix::unistd::geteuid().is_root(), "an engine of a test's own takes root");
        // One at a time: between its creation and its lock a folder would look left behind.
        let gate =
            File::create(Path::new(PARENT).join(format!("{PREFIX}lock"))).expect("the gate can be made");
        gate.lock().expect("the gate opens");
        sweep();
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let root = Path::new(PARENT).join(format!("{PREFIX}{name}-{}-{number}", std::process::id()));
        std::fs::create_dir(&root).expect("a folder can be made");
        let owner = File::create(owner_of(&root)).expect("a file can be made");
        owner.try_lock().expect("a new file's lock is free");
        let home = Self { root, _owner: owner };
        let net = home.path("net");
        File::create(&net).expect("a file can be made");
        let made = Command::new("unshare")
            .arg(format!("--net={}", net.display()))
            .args(["ip", "link", "set", "lo", "up"])
            .output()
            .expect("unshare (util-linux) can be run");
        assert!(made.status.success(), "no network namespace: {}", String::from_utf8_lossy(&made.stderr));
        home
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.root.join(name)
    }

    /// Says whose control groups these are: containers of an engine here belong below `/NAME`.
    pub fn name(&self) -> String {
        name_of(&self.root)
    }

    /// Runs something on a thread in the network namespace: its connections and child processes are there.
    pub fn inside<T: Send>(&self, work: impl FnOnce() -> T + Send) -> T {
        let net = File::open(self.path("net")).expect("the namespace is there");
        std::thread::scope(|scope| {
            let thread = scope.spawn(|| {
                setns(net, CloneFlags::CLONE_NEWNET).expect("root may enter a namespace");
                work()
            });
            thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
        })
    }

    /// Runs a future [inside](Self::inside).
    pub fn block_on<T: Send>(&self, future: impl Future<Output = T> + Send) -> T {
        self.inside(|| {
            // Worker threads would be outside.
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            runtime.expect("a runtime can be made").block_on(future)
        })
    }

    /// A program that will run in the network namespace.
    pub fn command(&self, program: impl AsRef<std::ffi::OsStr>) -> Command {
        let mut command = Command::new("nsenter");
        command.arg(format!("--net={}", self.path("net").display())).arg("--").arg(program);
        command
    }
}

impl Drop for Home {
    fn drop(&mut self) {
        tear_down(&self.root);
    }
}

fn name_of(root: &Path) -> String {
    root.file_name().expect("a home has a name").to_string_lossy().into_owned()
}

fn owner_of(root: &Path) -> PathBuf {
    root.join("owner")
}

/// Removes the homes of processes that were killed.
fn sweep() {
    for entry in std::fs::read_dir(PARENT).expect("a folder can be read").flatten() {
        let root = entry.path();
        if !root.is_dir() || !name_of(&root).starts_with(PREFIX) {
            continue;
        }
        let Ok(owner) = File::open(owner_of(&root)) else { continue };
        match owner.try_lock() {
            Ok(()) => tear_down(&root),
            Err(TryLockError::WouldBlock) => {}
            Err(TryLockError::Error(error)) => panic!("{}: {error}", root.display()),
        }
    }
}

/// Ends every process of a home, then removes its control groups, mounts and files.
fn tear_down(root: &Path) {
    let began = Instant::now();
    let mut first = true;
    loop {
        let groups = control_groups(root);
        let contained = || groups.iter().flat_map(|group| processes_in(group));
        let (engines, others): (Vec<_>, Vec<_>) =
            processes_of(root).into_iter().partition(|(_, program)| program == "dockerd");
        if engines.is_empty() && others.is_empty() && contained().next().is_none() {
            break;
        }
        // An engine that is let go tidies up after itself; its containers need no time for that.
        let patient = began.elapsed() < PATIENCE / 4;
        for (pid, _) in &engines {
            if first || !patient {
                send(*pid, if patient { Signal::SIGTERM } else { Signal::SIGKILL });
            }
        }
        for pid in contained() {
            send(pid, Signal::SIGKILL);
        }
        // containerd and its shims go with their engine; without one nobody else ends them.
        if engines.is_empty() || !patient {
            for (pid, _) in &others {
                send(*pid, Signal::SIGKILL);
            }
        }
        assert!(began.elapsed() < PATIENCE, "these do not end: {engines:?} {others:?}");
        first = false;
        // The end of another's children sends no event.
        std::thread::sleep(Duration::from_millis(20));
    }
    for group in control_groups(root).iter().rev() {
        // A group is busy for a moment after its last process.
        while std::fs::remove_dir(group).is_err() && group.exists() && began.elapsed() < PATIENCE {
            std::thread::sleep(Duration::from_millis(5));
        }
    }
    let mounts = std::fs::read_to_string("/proc/self/mounts").unwrap_or_default();
    for mount in mounts.lines().rev().filter_map(|line| line.split(' ').nth(1)) {
        if Path::new(mount).starts_with(root) {
            let _ = umount2(mount, MntFlags::MNT_DETACH);
        }
    }
    let removed = std::fs::remove_dir_all(root);
    if !std::thread::panicking() {
        removed.expect("a home can be removed");
    }
}

fn send(pid: i32, signal: Signal) {
    // It may have ended just now, which is what was wanted.
    let _ = kill(Pid::from_raw(pid), signal);
}

/// Lists the processes that name a home on their command line: its engine, containerd, shims, clients.
fn processes_of(root: &Path) -> Vec<(i32, String)> {
    let root = format!("{}/", root.display());
    let own = i32::try_from(std::process::id()).expect("a process id");
    let mut found = Vec::new();
    for entry in std::fs::read_dir("/proc").expect("/proc is there").flatten() {
        let Ok(pid) = entry.file_name().to_string_lossy().parse::<i32>() else { continue };
        let Ok(line) = std::fs::read(entry.path().join("cmdline")) else { continue };
        let line = String::from_utf8_lossy(&line).into_owned();
        if pid != own && line.contains(&root) {
            let program = line.split('\0').next().unwrap_or_default();
            found.push((pid, program.rsplit('/').next().unwrap_or_default().to_owned()));
        }
    }
    found
}

/// Lists the control groups of a home's containers in every hierarchy, parents first.
fn control_groups(root: &Path) -> Vec<PathBuf> {
    let (name, top) = (name_of(root), Path::new("/sys/fs/cgroup"));
    let hierarchies = std::fs::read_dir(top).into_iter().flatten().flatten().map(|entry| entry.path());
    let mut found: Vec<PathBuf> = std::iter::once(top.to_path_buf())
        .chain(hierarchies.filter(|path| !path.is_symlink()))
        .map(|hierarchy| hierarchy.join(&name))
        .filter(|path| path.is_dir())
        .collect();
    let mut next = 0;
    while let Some(group) = found.get(next).cloned() {
        let inner = std::fs::read_dir(group).into_iter().flatten().flatten().map(|entry| entry.path());
        found.extend(inner.filter(|path| path.is_dir()));
        next += 1;
    }
    found
}

fn processes_in(group: &Path) -> Vec<i32> {
    let text = std::fs::read_to_string(group.join("cgroup.procs")).unwrap_or_default();
    text.lines().filter_map(|line| line.parse().ok()).collect()
}
