//! Requests to a cloud's APIs: one client with kept connections, deadlines, and errors that say what to look at.

use std::path::{Path, PathBuf};
use std::sync::Once;
use std::time::{Duration, Instant};

use reqwest::{Method, StatusCode};
use serde_json::Value;

use crate::model::Secret;
use crate::store::files::{self, FileError};

/// One request may take this long: Keystone hashes passwords, on a busy machine.
const TIMEOUT: Duration = Duration::from_secs(30);
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// The proxy needs about half a second to see that a backend listens; it offers no event for it.
const RETRY_PAUSE: Duration = Duration::from_millis(100);

/// What went wrong between us and the cloud. Never holds a secret: bodies of requests are not part of it.
#[derive(Debug, thiserror::Error)]
pub enum CloudError {
    /// Nobody answered, or TLS was refused.
    #[error("{method} {url}: no answer: {reason}")]
    Unreachable {
        /// e.g. `GET`.
        method: Method,
        /// Where.
        url: String,
        /// The innermost cause.
        reason: String,
        /// Whether the request may have been sent, and so carried out.
        sent: bool,
    },
    /// The API refused.
    #[error("{method} {url}: {status}: {message}")]
    Refused {
        /// e.g. `POST`.
        method: Method,
        /// Where.
        url: String,
        /// HTTP status.
        status: StatusCode,
        /// The API's own words.
        message: String,
    },
    /// The answer is not what the API promises.
    #[error("{url}: unexpected answer: {reason}")]
    Answer {
        /// Where.
        url: String,
        /// What is missing or wrong.
        reason: String,
    },
    /// The administrator's password was refused.
    #[error(
        "{url}: the administrator's password was refused: the one in the secrets file is not the one Keystone has \
         (`mastic deploy` sets it)"
    )]
    Password {
        /// Where.
        url: String,
    },
    /// The authority's certificate cannot be used.
    #[error("{} holds no certificate that could be used: {reason}", path.display())]
    Authority {
        /// Which file.
        path: PathBuf,
        /// Why.
        reason: String,
    },
    /// A file of ours.
    #[error(transparent)]
    File(#[from] FileError),
    /// What was registered is not there afterwards.
    #[error("Keystone took every request, yet these are still to do: {}", left.join("; "))]
    NotConverged {
        /// Changes that are left.
        left: Vec<String>,
    },
}

/// Result of talking to the cloud.
pub type CloudResult<T> = Result<T, CloudError>;

/// A JSON client of one API.
#[derive(Clone, Debug)]
pub(crate) struct Http {
    client: reqwest::Client,
}

/// A good answer.
pub(crate) struct Answer {
    pub(crate) body: Value,
    /// `X-Subject-Token`, where Keystone hands out a token.
    pub(crate) token: Option<Secret>,
}

impl Http {
    /// Makes a client that trusts the authority in `ca` (PEM) and nobody else; without it, only plain HTTP will do.
    pub(crate) fn new(ca: Option<&Path>) -> CloudResult<Self> {
        install_provider();
        let mut builder = reqwest::Client::builder()
            .no_proxy()
            .http1_only()
            .timeout(TIMEOUT)
            .connect_timeout(CONNECT_TIMEOUT)
            .user_agent(concat!("mastic/", env!("CARGO_PKG_VERSION")));
        let mut authorities = Vec::new();
        if let Some(path) = ca {
            let unusable = |reason: String| CloudError::Authority { path: path.to_owned(), reason };
            let pem =
                files::read_optional(path)?.ok_or_else(|| unusable("there is no such file".to_owned()))?;
            authorities =
                reqwest::Certificate::from_pem_bundle(&pem).map_err(|error| unusable(innermost(&error)))?;
            if authorities.is_empty() {
                return Err(unusable("it is empty".to_owned()));
            }
        }
        builder = builder.tls_certs_only(authorities);
        let client = builder.build().map_err(|error| CloudError::Unreachable {
            method: Method::GET,
            url: "(client)".to_owned(),
            reason: innermost(&error),
            sent: false,
        })?;
        Ok(Self { client })
    }

    /// Sends one request; any status from 200 to 299 is good.
    pub(crate) async fn send(
        &self,
        method: Method,
        url: &str,
        token: Option<&Secret>,
        body: Option<&Value>,
    ) -> CloudResult<Answer> {
        let unreachable = |error: &reqwest::Error| CloudError::Unreachable {
            method: method.clone(),
            url: url.to_owned(),
            reason: innermost(error),
            sent: !error.is_connect(),
        };
        let mut request = self.client.request(method.clone(), url);
        if let Some(token) = token {
            let mut value = reqwest::header::HeaderValue::from_str(token.expose()).map_err(|_| {
                CloudError::Answer { url: url.to_owned(), reason: "a token with odd characters".to_owned() }
            })?;
            value.set_sensitive(true);
            request = request.header("X-Auth-Token", value);
        }
        if let Some(body) = body {
            request = request.json(body);
        }
        let response = request.send().await.map_err(|error| unreachable(&error))?;
        let status = response.status();
        let token = response.headers().get("X-Subject-Token").and_then(|v| v.to_str().ok()).map(Secret::new);
        let bytes = response.bytes().await.map_err(|error| unreachable(&error))?;
        if !status.is_success() {
            return Err(CloudError::Refused {
                method,
                url: url.to_owned(),
                status,
                message: refusal(&bytes),
            });
        }
        let body = if bytes.is_empty() {
            Value::Null
        } else {
            serde_json::from_slice(&bytes)
                .map_err(|error| CloudError::Answer { url: url.to_owned(), reason: error.to_string() })?
        };
        Ok(Answer { body, token })
    }

    /// Returns the status of a plain GET, whatever it is.
    pub(crate) async fn status(&self, url: &str) -> CloudResult<StatusCode> {
        let response = self.client.get(url).send().await.map_err(|error| CloudError::Unreachable {
            method: Method::GET,
            url: url.to_owned(),
            reason: innermost(&error),
            sent: !error.is_connect(),
        })?;
        Ok(response.status())
    }
}

/// Repeats what failed since the API does not serve yet, until `patience` is over.
///
/// Only failures of which the API cannot have seen anything: no connection, or the proxy's 503.
pub(crate) async fn patiently<T, F>(patience: Duration, mut attempt: impl FnMut() -> F) -> CloudResult<T>
where
    F: Future<Output = CloudResult<T>>,
{
    let began = Instant::now();
    loop {
        match attempt().await {
            Err(error) if error.is_not_serving() && began.elapsed() < patience => {
                tokio::time::sleep(RETRY_PAUSE).await;
            }
            outcome => return outcome,
        }
    }
}

impl CloudError {
    /// Returns whether the API (perhaps) only has not come up yet, and has not seen the request.
    pub fn is_not_serving(&self) -> bool {
        match self {
            Self::Unreachable { sent, .. } => !sent,
            Self::Refused { status, .. } => *status == StatusCode::SERVICE_UNAVAILABLE,
            Self::Answer { .. }
            | Self::Password { .. }
            | Self::Authority { .. }
            | Self::File(_)
            | Self::NotConverged { .. } => false,
        }
    }

    /// Returns the HTTP status, if the API answered with one.
    pub(crate) fn status(&self) -> Option<StatusCode> {
        match self {
            Self::Refused { status, .. } => Some(*status),
            Self::Unreachable { .. }
            | Self::Answer { .. }
            | Self::Password { .. }
            | Self::Authority { .. }
            | Self::File(_)
            | Self::NotConverged { .. } => None,
        }
    }
}

/// rustls asks for one provider of cryptography per process; whoever comes first wins, and all of ours are the same.
pub fn install_provider() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        // An error only says that there is one already.
        let _ = rustls::crypto::ring::default_provider().install_default();
    });
}

/// Returns the API's own words: `{"error": {"message": ...}}` in Keystone's case.
fn refusal(bytes: &[u8]) -> String {
    let text = String::from_utf8_lossy(bytes);
    let message = serde_json::from_str::<Value>(&text)
        .ok()
        .and_then(|body| Some(body.get("error")?.get("message")?.as_str()?.to_owned()))
        .unwrap_or_else(|| text.split_whitespace().collect::<Vec<_>>().join(" "));
    if message.is_empty() { "no reason given".to_owned() } else { message.chars().take(300).collect() }
}

/// Returns the last cause: `reqwest`'s own words only repeat the URL.
fn innermost(error: &reqwest::Error) -> String {
    let mut cause: &dyn std::error::Error = error;
    while let Some(next) = cause.source() {
        cause = next;
    }
    cause.to_string()
}
