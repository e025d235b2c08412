//! Waits until an engine answers, or the process that should is gone.

use std::os::fd::AsFd as _;
use std::path::Path;
use std::process::ExitStatus;
use std::time::Duration;

use nix::sys::inotify::{AddWatchFlags, InitFlags, Inotify};
use tokio::io::AsyncReadExt as _;
use tokio::net::unix::pipe::Receiver;
use tokio::process::Child;
use tokio::time::Instant;

use super::daemon;
use super::probe::{self, Answer};
use crate::engine::EngineInfo;

/// A socket appears before it takes connections, and no event tells of the latter: it is asked this often as well.
const AGAIN: Duration = Duration::from_millis(200);

/// Whose end means that waiting is in vain.
#[derive(Debug)]
pub(super) enum Watched<'a> {
    /// A child of ours.
    Child(&'a mut Child),
    /// An engine that somebody else started.
    Process(i32),
}

/// How the waiting ended.
#[derive(Debug)]
pub(super) enum Readiness {
    /// It answers.
    Engine(Box<EngineInfo>),
    /// The process has ended; its status, where it was ours.
    Ended(Option<ExitStatus>),
    /// Neither.
    TooLate,
}

/// Waits for an answer on a socket.
pub(super) async fn wait(socket: &Path, mut watched: Watched<'_>, deadline: Duration) -> Readiness {
    let end = Instant::now() + deadline;
    let mut appearance = Appearance::of(socket);
    loop {
        let left = end.saturating_duration_since(Instant::now());
        if let Some(info) = ask(socket, left).await {
            return Readiness::Engine(info);
        }
        if left.is_zero() {
            return Readiness::TooLate;
        }
        let ended = tokio::select! {
            ended = end_of(&mut watched) => ended,
            () = appearance.next() => continue,
            () = tokio::time::sleep(AGAIN.min(left)) => continue,
        };
        // Another one may have been quicker: two runs at once start two engines, and one of them gives way.
        return match ask(socket, left).await {
            Some(info) => Readiness::Engine(info),
            None => Readiness::Ended(ended),
        };
    }
}

/// An engine that dies while it is asked breaks the connection: that is an answer of the process's end, not of it.
async fn ask(socket: &Path, left: Duration) -> Option<Box<EngineInfo>> {
    match probe::answer(socket, left).await {
        Ok(Answer::Engine(info)) => Some(info),
        Ok(Answer::Nobody) | Err(_) => None,
    }
}

async fn end_of(watched: &mut Watched<'_>) -> Option<ExitStatus> {
    match watched {
        Watched::Child(child) => child.wait().await.ok(),
        Watched::Process(pid) => {
            // A process that is not our child sends no event that could be had without `unsafe`.
            while daemon::is_engine(*pid) {
                tokio::time::sleep(AGAIN).await;
            }
            None
        }
    }
}

/// Tells when something happens to a file's directory; never, where the kernel has no watch left for us.
///
/// The events are read as bytes from a stream: what happened is of no interest, the socket is asked in any case.
struct Appearance(Option<Receiver>);

impl Appearance {
    fn of(file: &Path) -> Self {
        let folder = file.parent().unwrap_or(Path::new("/"));
        let watch = || {
            let inotify = Inotify::init(InitFlags::IN_NONBLOCK | InitFlags::IN_CLOEXEC).ok()?;
            let flags = AddWatchFlags::IN_CREATE | AddWatchFlags::IN_ATTRIB | AddWatchFlags::IN_MOVED_TO;
            inotify.add_watch(folder, flags).ok()?;
            Receiver::from_owned_fd_unchecked(inotify.as_fd().try_clone_to_owned().ok()?).ok()
        };
        Self(watch())
    }

    async fn next(&mut self) {
        let Some(events) = &mut self.0 else { return std::future::pending().await };
        // Room for many: an event with a name of the longest kind has 272 bytes.
        if !events.read(&mut [0; 4096]).await.is_ok_and(|read| read > 0) {
            self.0 = None;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_appearance_of_a_file_must_be_told() {
        let dir = tempfile::tempdir().unwrap();
        let mut appearance = Appearance::of(&dir.path().join("engine.sock"));
        assert!(appearance.0.is_some());
        fs_err::write(dir.path().join("engine.sock"), "").unwrap();
        tokio::time::timeout(Duration::from_secs(10), appearance.next()).await.unwrap();
    }

    #[tokio::test]
    async fn the_end_of_the_process_must_end_the_waiting() {
        let dir = tempfile::tempdir().unwrap();
        let mut child = tokio::process::Command::new("sh").args(["-c", "exit 3"]).spawn().unwrap();
        let socket = dir.path().join("engine.sock");
        let found = wait(&socket, Watched::Child(&mut child), Duration::from_mins(1)).await;
        assert!(matches!(found, Readiness::Ended(Some(status)) if status.code() == Some(3)), "{found:?}");
    }

    #[tokio::test]
    async fn the_deadline_must_end_the_waiting() {
        let dir = tempfile::tempdir().unwrap();
        let mut child = tokio::process::Command::new("tail")
            .args(["-f", "/dev/null"])
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        let socket = dir.path().join("engine.sock");
        let found = wait(&socket, Watched::Child(&mut child), Duration::from_millis(50)).await;
        assert!(matches!(found, Readiness::TooLate), "{found:?}");
    }
}
