//! Requests to a cloud's APIs: one client with kept connections, deadlines, and errors that say what to look at.

use std::path::{Path, PathBuf};
use std::sync::Once;
use std::time::{Duration, Instant};

use bytes::Bytes;
use reqwest::header::HeaderMap;
use reqwest::{Method, StatusCode};
use serde_json::Value;

use crate::model::Secret;
use crate::store::files::{self, FileError};
use crate::store::tls;

/// One request may take this long: Keystone hashes passwords, on a busy machine.
pub(crate) const TIMEOUT: Duration = Duration::from_secs(30);
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// The proxy needs about half a second to see that a backend listens; it offers no event for it.
const RETRY_PAUSE: Duration = Duration::from_millis(25);

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

/// What carries requests: kept connections, verified with one authority.
#[derive(Clone, Debug)]
pub(crate) struct Http {
    client: reqwest::Client,
}

/// What is sent.
#[derive(Clone, Debug)]
pub(crate) enum Body {
    /// Nothing.
    None,
    /// A document.
    Json(Value),
    /// As it is.
    Bytes(Bytes),
}

/// A good answer, as it came.
#[derive(Debug)]
pub(crate) struct Reply {
    /// Where it came from.
    pub(crate) url: String,
    pub(crate) headers: HeaderMap,
    pub(crate) bytes: Bytes,
}

impl Reply {
    /// Reads the body as JSON; an empty one is null.
    pub(crate) fn json(&self) -> CloudResult<Value> {
        if self.bytes.is_empty() {
            return Ok(Value::Null);
        }
        serde_json::from_slice(&self.bytes)
            .map_err(|error| CloudError::Answer { url: self.url.clone(), reason: error.to_string() })
    }
}

impl Http {
    /// Makes a client that trusts the authority in `ca` (PEM) and nobody else; without it, only plain HTTP will do.
    pub(crate) fn new(ca: Option<&Path>, timeout: Duration) -> CloudResult<Self> {
        Ok(Self { client: client(ca, reqwest::redirect::Policy::default(), timeout, true)? })
    }

    /// Sends a request once; any status from 200 to 299 is good.
    pub(super) async fn carry(
        &self,
        request: http::Request<Vec<u8>>,
        token: Option<&Secret>,
    ) -> CloudResult<Reply> {
        let asked = request.uri().to_string();
        let odd = |reason: String| CloudError::Answer { url: asked.clone(), reason };
        let mut request = reqwest::Request::try_from(request).map_err(|error| odd(innermost(&error)))?;
        // The SDK leaves the mark of a query where there is none.
        if request.url().query() == Some("") {
            request.url_mut().set_query(None);
        }
        if let Some(token) = token {
            let mut value = reqwest::header::HeaderValue::from_str(token.expose())
                .map_err(|_| odd("a token with odd characters".to_owned()))?;
            value.set_sensitive(true);
            request.headers_mut().insert("X-Auth-Token", value);
        }
        let (method, url) = (request.method().clone(), request.url().to_string());
        let unreachable = |error: &reqwest::Error| CloudError::Unreachable {
            method: method.clone(),
            url: url.clone(),
            reason: innermost(error),
            sent: !error.is_connect(),
        };
        let response = self.client.execute(request).await.map_err(|error| unreachable(&error))?;
        let status = response.status();
        let headers = response.headers().clone();
        let bytes = response.bytes().await.map_err(|error| unreachable(&error))?;
        if !status.is_success() {
            let message = refusal(&bytes);
            return Err(CloudError::Refused { method, url, status, message });
        }
        Ok(Reply { url, headers, bytes })
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

/// Makes a client for pages, which follows no redirection by itself. `state` holds the authority's certificate.
pub(crate) fn browser_client(state: Option<&Path>) -> CloudResult<reqwest::Client> {
    client(state.map(tls::ca_path).as_deref(), reqwest::redirect::Policy::none(), TIMEOUT, true)
}

/// Makes a client that trusts the authority in `ca` (PEM) and nobody else, and asks no proxy. With `keep` it uses connections again.
pub(super) fn client(
    ca: Option<&Path>,
    redirect: reqwest::redirect::Policy,
    timeout: Duration,
    keep: bool,
) -> CloudResult<reqwest::Client> {
    install_provider();
    let mut builder = reqwest::Client::builder()
        .no_proxy()
        .http1_only()
        .redirect(redirect)
        .timeout(timeout)
        .connect_timeout(CONNECT_TIMEOUT)
        .user_agent(concat!("mastic/", env!("CARGO_PKG_VERSION")));
    if !keep {
        builder = builder.pool_max_idle_per_host(0);
    }
    let mut authorities = Vec::new();
    if let Some(path) = ca {
        let unusable = |reason: String| CloudError::Authority { path: path.to_owned(), reason };
        let pem = files::read_optional(path)?.ok_or_else(|| unusable("there is no such file".to_owned()))?;
        authorities =
            reqwest::Certificate::from_pem_bundle(&pem).map_err(|error| unusable(innermost(&error)))?;
        if authorities.is_empty() {
            return Err(unusable("it is empty".to_owned()));
        }
    }
    builder = builder.tls_certs_only(authorities);
    builder.build().map_err(|error| CloudError::Unreachable {
        method: Method::GET,
        url: "(client)".to_owned(),
        reason: innermost(&error),
        sent: false,
    })
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
    pub fn status(&self) -> Option<StatusCode> {
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

/// Returns the API's own words. Each project wraps them differently: `{"error": {"message": ...}}` is Keystone's way,
/// `{"badRequest": {"message": ...}}` Nova's and Cinder's, `{"NeutronError": {"message": ...}}` Neutron's.
fn refusal(bytes: &[u8]) -> String {
    let text = String::from_utf8_lossy(bytes);
    let message = serde_json::from_str::<Value>(&text)
        .ok()
        .and_then(|body| said(&body).map(str::to_owned))
        .unwrap_or_else(|| text.split_whitespace().collect::<Vec<_>>().join(" "));
    if message.is_empty() { "no reason given".to_owned() } else { message.chars().take(300).collect() }
}

/// Returns the first `message` of a document: its own, or that of what it wraps.
fn said(body: &Value) -> Option<&str> {
    let fields = body.as_object()?;
    ["message", "detail", "NeutronError"]
        .iter()
        .find_map(|key| fields.get(*key)?.as_str().filter(|text| !text.is_empty()))
        .or_else(|| {
            fields.values().find_map(|inner| match inner {
                Value::Array(items) => items.first().and_then(said),
                other => said(other),
            })
        })
}

/// Returns the last cause: `reqwest`'s own words only repeat the URL.
pub(super) fn innermost(error: &reqwest::Error) -> String {
    let mut cause: &dyn std::error::Error = error;
    while let Some(next) = cause.source() {
        cause = next;
    }
    cause.to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_words_of_every_project_must_be_found() {
        for (body, words) in [
            (r#"{"error": {"code": 401, "message": "no", "title": "x"}}"#, "no"),
            (
                r#"{"badRequest": {"code": 400, "message": "Flavor's disk is too small"}}"#,
                "Flavor's disk is too small",
            ),
            (r#"{"NeutronError": {"type": "X", "message": "No more IPs", "detail": ""}}"#, "No more IPs"),
            (
                r#"{"explanation": "e", "code": 404, "error": {"message": "The Stack", "traceback": null}}"#,
                "The Stack",
            ),
            (r#"{"errors": [{"status": 404, "title": "N", "detail": "no provider"}]}"#, "no provider"),
            ("<html>\n <b>502</b> </html>", "<html> <b>502</b> </html>"),
            ("", "no reason given"),
        ] {
            assert_eq!(refusal(body.as_bytes()), words);
        }
    }
}
