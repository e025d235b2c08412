//! What bollard reports, in our words: translated here, once.

use std::error::Error as StdError;

use bollard::errors::Error;

use crate::engine::{EngineError, EngineErrorKind};

/// Returns the kind and the words of an error.
pub(super) fn translate(error: &Error) -> (EngineErrorKind, String) {
    use EngineErrorKind as Kind;
    match error {
        Error::DockerResponseServerError { status_code, message } => {
            let kind = match status_code {
                400 | 405 | 406 => Kind::BadRequest,
                401 | 403 => Kind::Unauthorized,
                404 => Kind::NotFound,
                409 => Kind::Conflict,
                408 | 504 => Kind::Timeout,
                _ => Kind::Failed,
            };
            (of_words(message, kind), sentence(message, &format!("HTTP status {status_code}")))
        }
        Error::DockerStreamError { error } => (of_words(error, Kind::Failed), sentence(error, "failed")),
        Error::DockerContainerWaitError { error, code } => {
            (of_words(error, Kind::Failed), sentence(error, &format!("ended with {code}")))
        }
        Error::RequestTimeoutError => (Kind::Timeout, "no answer in time".to_owned()),
        Error::SocketNotFoundError(path) => {
            (Kind::Unreachable, format!("there is no socket {path}; is the engine running?"))
        }
        Error::IOError { .. }
        | Error::HyperResponseError { .. }
        | Error::HyperLegacyError { .. }
        | Error::HttpClientError { .. } => of_connection(error),
        // What is left are our own mistakes and answers that are not understood.
        other => (Kind::Failed, chain(other)),
    }
}

/// Returns an error with its subject.
pub(super) fn situate(operation: &str, endpoint: &str, error: &Error) -> EngineError {
    let (kind, message) = translate(error);
    EngineError { operation: operation.to_owned(), endpoint: endpoint.to_owned(), kind, message }
}

/// Some failures have no status of their own.
fn of_words(message: &str, otherwise: EngineErrorKind) -> EngineErrorKind {
    let lower = message.to_ascii_lowercase();
    if lower.contains("no space left on device") || lower.contains("disk quota exceeded") {
        EngineErrorKind::NoSpace
    } else {
        otherwise
    }
}

/// The engine's own text as the end of a sentence.
fn sentence(message: &str, otherwise: &str) -> String {
    let text = message.trim().trim_start_matches("Error response from daemon: ").trim_end_matches('.');
    if text.is_empty() { otherwise.to_owned() } else { text.to_owned() }
}

fn of_connection(error: &Error) -> (EngineErrorKind, String) {
    let words = chain(error);
    if let Some(tls) = causes(error).find_map(tls_error) {
        let message = match tls {
            rustls::Error::InvalidCertificate(why) => {
                format!("the engine's certificate is not trusted: {why}")
            }
            rustls::Error::AlertReceived(alert) => format!("the engine refused our certificate: {alert:?}"),
            other => format!("no TLS connection: {other}"),
        };
        return (EngineErrorKind::Unauthorized, message);
    }
    let denied = causes(error).any(|cause| {
        cause
            .downcast_ref::<std::io::Error>()
            .is_some_and(|e| e.kind() == std::io::ErrorKind::PermissionDenied)
    });
    if denied {
        return (
            EngineErrorKind::Unauthorized,
            "permission denied; are you root, or in the group docker?".to_owned(),
        );
    }
    (of_words(&words, EngineErrorKind::Unreachable), words)
}

/// An error and what caused it, outermost first.
fn causes<'a>(error: &'a (dyn StdError + 'static)) -> impl Iterator<Item = &'a (dyn StdError + 'static)> {
    std::iter::successors(Some(error), |error| inner(*error))
}

/// Transparent errors hide their own source, and an `io::Error` keeps it elsewhere.
fn inner<'a>(error: &'a (dyn StdError + 'static)) -> Option<&'a (dyn StdError + 'static)> {
    if let Some(ours) = error.downcast_ref::<Error>() {
        return match ours {
            Error::IOError { err } => Some(err),
            Error::HyperResponseError { err } => Some(err),
            Error::HyperLegacyError { err } => Some(err),
            other => other.source(),
        };
    }
    if let Some(io) = error.downcast_ref::<std::io::Error>() {
        return io.get_ref().map(|inner| {
            let inner: &(dyn StdError + 'static) = inner;
            inner
        });
    }
    error.source()
}

fn tls_error<'a>(error: &'a (dyn StdError + 'static)) -> Option<&'a rustls::Error> {
    error.downcast_ref::<rustls::Error>()
}

/// The texts of a chain without repetitions.
fn chain(error: &Error) -> String {
    let mut texts: Vec<String> = Vec::new();
    for cause in causes(error) {
        let text = cause.to_string();
        if !texts.iter().any(|known| known.contains(&text)) {
            texts.push(text);
        }
    }
    texts.join(": ")
}
