//! Asks whether an engine answers on a socket.

use std::io::ErrorKind;
use std::path::Path;
use std::time::Duration;

use tokio::net::UnixStream;
use tokio::time::Instant;

use super::BootstrapError;
use crate::engine::{self, EngineErrorKind, EngineInfo};

/// What was found.
#[derive(Debug)]
pub(super) enum Answer {
    /// Nobody listens.
    Nobody,
    /// An engine.
    Engine(Box<EngineInfo>),
}

/// An engine that ends, or was killed, holds its socket until the last of its threads is gone, and breaks what was asked
/// meanwhile. Nothing tells when that is.
const DYING: Duration = Duration::from_secs(2);
/// Time between two questions to one that broke the connection.
const AGAIN: Duration = Duration::from_millis(100);

/// Asks. Nobody there is known at once; one that listens has until the deadline, for an engine opens its socket before
/// it has loaded its containers, and answers what has queued up once it has. One that breaks the connection is asked until
/// it is gone, or was there for too long to be a dying engine.
pub(super) async fn answer(socket: &Path, deadline: Duration) -> Result<Answer, BootstrapError> {
    let began = Instant::now();
    loop {
        let left = deadline.saturating_sub(began.elapsed());
        match once(socket, left).await {
            Err(error) if is_broken(&error) && began.elapsed() < DYING.min(deadline) => {
                tokio::time::sleep(AGAIN).await;
            }
            found => return found,
        }
    }
}

/// Says whether somebody was there and has gone. A socket that is closed while a connection waits to be accepted resets it
/// before the first word.
fn is_broken(error: &BootstrapError) -> bool {
    match error {
        BootstrapError::Strange { source, .. } => source.kind == EngineErrorKind::Unreachable,
        BootstrapError::Socket { source, .. } => source.kind() == ErrorKind::ConnectionReset,
        _ => false,
    }
}

async fn once(socket: &Path, deadline: Duration) -> Result<Answer, BootstrapError> {
    let at = || socket.to_path_buf();
    match UnixStream::connect(socket).await {
        Ok(_) => {}
        Err(error) => {
            return match error.kind() {
                ErrorKind::NotFound | ErrorKind::ConnectionRefused | ErrorKind::NotADirectory => {
                    Ok(Answer::Nobody)
                }
                ErrorKind::PermissionDenied => Err(BootstrapError::Denied { socket: at() }),
                _ => Err(BootstrapError::Socket { socket: at(), source: error }),
            };
        }
    }
    let ask = async {
        let engine = engine::connect(&format!("unix://{}", socket.display()), None).await?;
        engine.info().await
    };
    match tokio::time::timeout(deadline, ask).await {
        Ok(Ok(info)) => Ok(Answer::Engine(Box::new(info))),
        Ok(Err(source)) => Err(BootstrapError::Strange { socket: at(), source }),
        Err(_) => Err(BootstrapError::Mute { socket: at(), seconds: deadline.as_secs() }),
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::AsyncWriteExt as _;
    use tokio::net::UnixListener;

    use super::*;

    #[tokio::test]
    async fn a_missing_and_a_dead_socket_must_mean_that_nobody_is_there() {
        let dir = tempfile::tempdir().unwrap();
        let socket = dir.path().join("engine.sock");
        let ask = async || answer(&socket, Duration::from_secs(5)).await;
        assert!(matches!(ask().await, Ok(Answer::Nobody)));
        drop(UnixListener::bind(&socket).unwrap());
        assert!(socket.exists());
        assert!(matches!(ask().await, Ok(Answer::Nobody)));
    }

    #[tokio::test]
    async fn an_engine_that_is_about_to_end_must_mean_that_nobody_is_there() {
        let dir = tempfile::tempdir().unwrap();
        let socket = dir.path().join("engine.sock");
        let listener = UnixListener::bind(&socket).unwrap();
        // Killed: a connection still gets in, and is broken; then the socket is dead.
        let dying = tokio::spawn(async move {
            for _ in 0..3 {
                drop(listener.accept().await.unwrap());
            }
        });
        let found = answer(&socket, Duration::from_secs(5)).await;
        assert!(matches!(found, Ok(Answer::Nobody)), "{found:?}");
        dying.await.unwrap();
    }

    #[tokio::test]
    async fn a_socket_that_closes_while_it_is_asked_must_mean_that_nobody_is_there() {
        let dir = tempfile::tempdir().unwrap();
        let socket = dir.path().join("engine.sock");
        for round in 0..20 {
            let listener = std::os::unix::net::UnixListener::bind(&socket).unwrap();
            // At any moment between the connection and the first word.
            let closing = std::thread::spawn(move || {
                std::thread::sleep(Duration::from_micros(round * 5));
                drop(listener);
            });
            let found = answer(&socket, Duration::from_secs(5)).await;
            assert!(matches!(found, Ok(Answer::Nobody)), "round {round}: {found:?}");
            closing.join().unwrap();
            fs_err::remove_file(&socket).unwrap();
        }
    }

    #[tokio::test]
    async fn who_listens_and_is_no_engine_must_not_be_taken_for_a_missing_one() {
        let dir = tempfile::tempdir().unwrap();
        let socket = dir.path().join("engine.sock");
        let listener = UnixListener::bind(&socket).unwrap();
        let stranger = tokio::spawn(async move {
            loop {
                let (mut stream, _) = listener.accept().await.unwrap();
                let _ = stream.write_all(b"220 mail.example.org ESMTP\r\n").await;
            }
        });
        let found = answer(&socket, Duration::from_secs(5)).await;
        assert!(matches!(found, Err(BootstrapError::Strange { .. })), "{found:?}");
        stranger.abort();
    }

    #[tokio::test]
    async fn who_listens_and_says_nothing_must_be_given_up_at_the_deadline() {
        let dir = tempfile::tempdir().unwrap();
        let socket = dir.path().join("engine.sock");
        let _mute = UnixListener::bind(&socket).unwrap();
        let found = answer(&socket, Duration::from_millis(50)).await;
        assert!(matches!(found, Err(BootstrapError::Mute { .. })), "{found:?}");
    }
}
