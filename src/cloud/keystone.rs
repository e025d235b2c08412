//! A session with Keystone's v3 API as the administrator. The token is kept between runs, 0600, until it ends.

use std::path::{Path, PathBuf};
use std::time::Duration;

use jiff::Timestamp;
use openstack_sdk_auth_core::types::{AuthResponse, ServiceEndpoints};
use reqwest::{Method, StatusCode};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tokio::sync::Mutex;
use zeroize::Zeroizing;

use super::http::{Body, CloudError, CloudResult, Http, Reply, TIMEOUT, patiently};
use super::pages::Pages;
use super::sdk::{Api, Asker, Catalogue, Request};
use crate::model::Secret;
use crate::model::desired::IdentityAccess;
use crate::store::{files, tls};

/// The file's name in the state directory.
const TOKEN_FILE: &str = "token.json";
/// Id of the domain that every Keystone has.
pub(crate) const DEFAULT_DOMAIN: &str = "default";
/// A token that ends sooner is not worth using.
const MARGIN_SECONDS: i64 = 120;

/// Keystone, as the administrator.
#[derive(Debug)]
pub struct Keystone {
    http: Http,
    url: String,
    catalogue: Catalogue,
    access: IdentityAccess,
    token_file: PathBuf,
    patience: Duration,
    token: Mutex<Option<Secret>>,
}

/// What [`TOKEN_FILE`] holds.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct KeptToken {
    url: String,
    user: String,
    project: String,
    expires_at: Timestamp,
    token: String,
}

/// A fresh token, with what came with it.
#[derive(Debug)]
pub(crate) struct Issued {
    pub(crate) token: Secret,
    pub(crate) expires_at: Timestamp,
    pub(crate) catalogue: Vec<ServiceEndpoints>,
    /// Id of the project that it is for.
    pub(crate) project: Option<String>,
}

/// Returns the request for a token by a password of a user of the domain with this id.
pub(super) fn password_request(domain: &str, user: &str, password: &Secret, scope: &Value) -> Request {
    let domain = json!({"id": domain});
    let body = json!({"auth": {
        "identity": {
            "methods": ["password"],
            "password": {"user": {"name": user, "domain": domain, "password": password.expose()}},
        },
        "scope": scope,
    }});
    Request::new(Method::POST, Api::Identity, "auth/tokens", Body::Json(body))
}

/// Reads the answer to it.
pub(super) fn issued(answer: &Reply) -> CloudResult<Issued> {
    let odd = |reason: String| CloudError::Answer { url: answer.url.clone(), reason };
    let token = answer.headers.get("X-Subject-Token").and_then(|value| value.to_str().ok());
    let token = Secret::new(token.ok_or_else(|| odd("no X-Subject-Token".to_owned()))?);
    let AuthResponse { token: told } =
        serde_json::from_slice(&answer.bytes).map_err(|error| odd(error.to_string()))?;
    let expires_at = Timestamp::from_second(told.expires_at.timestamp()).map_err(|e| odd(e.to_string()))?;
    let project = told.project.and_then(|project| project.id);
    Ok(Issued { token, expires_at, catalogue: told.catalog.unwrap_or_default(), project })
}

impl Keystone {
    /// Makes a session; nothing is sent yet. `state` holds the authority's certificate and the kept token. Each request
    /// waits up to `patience` for the API to come up.
    pub fn new(state: &Path, access: &IdentityAccess, patience: Duration) -> CloudResult<Self> {
        let ca = access.url.starts_with("https:").then(|| tls::ca_path(state));
        let url = access.url.trim_end_matches('/').to_owned();
        Ok(Self {
            http: Http::new(ca.as_deref(), TIMEOUT)?,
            catalogue: Catalogue::of_keystone(&url)?,
            url,
            access: access.clone(),
            token_file: state.join(TOKEN_FILE),
            patience,
            token: Mutex::new(None),
        })
    }

    /// Returns the URL with `/v3`.
    pub fn url(&self) -> &str {
        &self.url
    }

    pub(crate) fn http(&self) -> &Http {
        &self.http
    }

    /// Sends one request, again and again while the API does not serve yet.
    async fn send(&self, request: &Request, token: Option<&Secret>) -> CloudResult<Reply> {
        let asker = Asker { http: &self.http, catalogue: &self.catalogue, token };
        patiently(self.patience, || asker.ask(request)).await
    }

    /// Gets a token with a password: one user's of the default domain, on its project if one is given.
    pub(crate) async fn issue(
        &self,
        user: &str,
        password: &Secret,
        project: Option<&str>,
    ) -> CloudResult<Issued> {
        self.issue_in(DEFAULT_DOMAIN, user, password, project).await
    }

    /// Gets a token with a password: one user's of the domain with this id, on its project of that domain if one is given.
    pub(crate) async fn issue_in(
        &self,
        domain: &str,
        user: &str,
        password: &Secret,
        project: Option<&str>,
    ) -> CloudResult<Issued> {
        // Without a project the token is for nothing: enough to learn whether the password fits.
        let scope = match project {
            Some(project) => json!({"project": {"name": project, "domain": {"id": domain}}}),
            None => json!("unscoped"),
        };
        issued(&self.send(&password_request(domain, user, password, &scope), None).await?)
    }

    /// Gets a new token as the administrator, and keeps it.
    pub(crate) async fn login(&self) -> CloudResult<Issued> {
        let mut at_hand = self.token.lock().await;
        self.login_into(&mut at_hand).await
    }

    async fn login_into(&self, at_hand: &mut Option<Secret>) -> CloudResult<Issued> {
        let IdentityAccess { url: _, user, project, password, after: _ } = &self.access;
        let issued =
            self.issue(user, password, Some(project)).await.map_err(|error| match error.status() {
                Some(StatusCode::UNAUTHORIZED) => CloudError::Password { url: self.url.clone() },
                Some(_) | None => error,
            })?;
        let kept = KeptToken {
            url: self.url.clone(),
            user: user.clone(),
            project: project.clone(),
            expires_at: issued.expires_at,
            token: issued.token.expose().to_owned(),
        };
        // A struct of texts always serializes.
        let text = Zeroizing::new(serde_json::to_vec(&kept).unwrap_or_default());
        files::write_atomic(&self.token_file, &text, files::PRIVATE)?;
        *at_hand = Some(issued.token.clone());
        Ok(issued)
    }

    /// Sends a request as the administrator, and returns the answer's document. A kept token may have been revoked: then once more
    /// with a new one.
    pub(crate) async fn request(
        &self,
        method: Method,
        path: &str,
        body: Option<&Value>,
    ) -> CloudResult<Value> {
        let body = body.map_or(Body::None, |value| Body::Json(value.clone()));
        let request = Request::new(method, Api::Identity, path, body);
        let token = self.current().await?;
        let answer = match self.send(&request, Some(&token)).await {
            Err(error) if error.status() == Some(StatusCode::UNAUTHORIZED) => {
                let token = self.instead_of(&token).await?;
                self.send(&request, Some(&token)).await
            }
            outcome => outcome,
        };
        answer?.json()
    }

    /// Returns a list: `GET path`, and the array under `key`.
    pub(crate) async fn list(&self, path: &str, key: &str) -> CloudResult<Vec<Value>> {
        let mut pages = Pages::new(path, key);
        while let Some(page) = &pages.next {
            let document = self.request(Method::GET, page, None).await?;
            pages.take(&format!("{}/{path}", self.url), document)?;
        }
        Ok(pages.items)
    }

    /// Returns a token that should do: the one at hand, the kept one, or a new one. Who comes meanwhile waits for it.
    async fn current(&self) -> CloudResult<Secret> {
        let mut at_hand = self.token.lock().await;
        if let Some(token) = at_hand.clone().or_else(|| self.kept()) {
            *at_hand = Some(token.clone());
            return Ok(token);
        }
        Ok(self.login_into(&mut at_hand).await?.token)
    }

    /// Returns another token than the one that was refused; of many requests that were refused one gets a new one.
    async fn instead_of(&self, refused: &Secret) -> CloudResult<Secret> {
        let mut at_hand = self.token.lock().await;
        match at_hand.clone().filter(|token| token != refused) {
            Some(token) => Ok(token),
            None => Ok(self.login_into(&mut at_hand).await?.token),
        }
    }

    /// Returns the kept token if it is for this cloud and user and lives long enough. Any doubt is no token.
    fn kept(&self) -> Option<Secret> {
        let bytes = Zeroizing::new(files::read_private(&self.token_file).ok()??);
        let kept: KeptToken = serde_json::from_slice(&bytes).ok()?;
        let left = kept.expires_at.as_second() - Timestamp::now().as_second();
        let same =
            kept.url == self.url && kept.user == self.access.user && kept.project == self.access.project;
        (same && left > MARGIN_SECONDS).then(|| Secret::new(kept.token))
    }
}
