//! Any API of the cloud, as one user on one project: a token, its catalogue, kept connections.

use std::path::Path;
use std::time::{Duration, Instant};

use reqwest::Method;
use serde_json::{Value, json};

use super::http::{Body, CloudError, CloudResult, Http, Reply, patiently};
use super::keystone::{DEFAULT_DOMAIN, Issued, issued, password_request};
use super::observe::text;
use super::pages::Pages;
use crate::model::Secret;
use crate::model::desired::IdentityAccess;
use crate::store::tls;

/// A proxy may need a moment to see a new backend.
const PATIENCE: Duration = Duration::from_secs(5);

/// Some requests do their work before they answer: a port that is wired, a volume that is attached. Whoever asks has a deadline of
/// its own.
const SLOWEST: Duration = Duration::from_mins(3);

/// An API, by the types under which catalogues list it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Api {
    /// Keystone.
    Identity,
    /// Glance.
    Image,
    /// Placement.
    Placement,
    /// Nova.
    Compute,
    /// Neutron.
    Network,
    /// Cinder.
    Volume,
    /// Heat.
    Orchestration,
    /// Swift.
    ObjectStore,
}

impl Api {
    /// Types in the catalogue, the best first.
    fn kinds(self) -> &'static [&'static str] {
        match self {
            Self::Identity => &["identity"],
            Self::Image => &["image"],
            Self::Placement => &["placement"],
            Self::Compute => &["compute"],
            Self::Network => &["network"],
            Self::Volume => &["block-storage", "volumev3"],
            Self::Orchestration => &["orchestration"],
            Self::ObjectStore => &["object-store"],
        }
    }

    /// The version in its paths, which some catalogues have and others leave to the client; empty where there is none.
    fn version(self) -> &'static str {
        match self {
            Self::Identity | Self::Volume => "v3",
            Self::Image => "v2",
            Self::Placement => "",
            Self::Compute => "v2.1",
            Self::Network => "v2.0",
            Self::Orchestration | Self::ObjectStore => "v1",
        }
    }
}

/// Who logs in.
#[derive(Clone, Debug)]
pub struct Login {
    /// Keystone's URL, with `/v3`.
    pub url: String,
    /// Name of a user of the default domain.
    pub user: String,
    /// Its password.
    pub password: Secret,
    /// On which project.
    pub project: ProjectRef,
    /// Whose endpoints are used.
    pub region: String,
}

impl Login {
    /// The administrator's, on its own project.
    pub fn administrator(access: &IdentityAccess, region: &str) -> Self {
        Self {
            url: access.url.clone(),
            user: access.user.clone(),
            password: access.password.clone(),
            project: ProjectRef::Name(access.project.clone()),
            region: region.to_owned(),
        }
    }
}

/// A project.
#[derive(Clone, Debug)]
pub enum ProjectRef {
    /// By name, of the default domain.
    Name(String),
    /// By id.
    Id(String),
}

/// A logged-in user.
#[derive(Debug)]
pub struct Session {
    http: Http,
    token: Secret,
    /// How long Keystone took for the token.
    pub login_took: Duration,
    endpoints: Vec<(String, String)>,
}

impl Session {
    /// Logs in. `state` holds the authority's certificate.
    pub async fn open(state: &Path, login: &Login) -> CloudResult<Self> {
        let ca = login.url.starts_with("https:").then(|| tls::ca_path(state));
        let http = Http::new(ca.as_deref(), SLOWEST)?;
        Self::with(http, login).await
    }

    /// Logs in as somebody else, over the same connections.
    pub async fn other(&self, login: &Login) -> CloudResult<Self> {
        Self::with(self.http.clone(), login).await
    }

    async fn with(http: Http, login: &Login) -> CloudResult<Self> {
        let domain = json!({"id": "default"});
        let scope = match &login.project {
            ProjectRef::Name(name) => json!({"project": {"name": name, "domain": domain}}),
            ProjectRef::Id(id) => json!({"project": {"id": id}}),
        };
        let url = format!("{}/auth/tokens", login.url.trim_end_matches('/'));
        let body = password_request(DEFAULT_DOMAIN, &login.user, &login.password, &scope);
        let began = Instant::now();
        let answer = patiently(PATIENCE, || http.send(Method::POST, &url, None, Some(&body))).await?;
        let login_took = began.elapsed();
        let Issued { token, expires_at: _, catalogue } = issued(&url, answer)?;
        Ok(Self { http, token, login_took, endpoints: public_endpoints(&catalogue, &login.region) })
    }

    /// Returns the session of nobody, which has no API: for what is looked at without one.
    pub fn of_nobody() -> CloudResult<Self> {
        let http = Http::new(None, SLOWEST)?;
        Ok(Self { http, token: Secret::new(""), login_took: Duration::ZERO, endpoints: Vec::new() })
    }

    /// Returns the types that the catalogue has.
    pub fn kinds(&self) -> Vec<&str> {
        self.endpoints.iter().map(|(kind, _)| kind.as_str()).collect()
    }

    /// Returns whether the catalogue has an API.
    pub fn has(&self, api: Api) -> bool {
        self.endpoint(api).is_some()
    }

    fn endpoint(&self, api: Api) -> Option<&str> {
        api.kinds().iter().find_map(|wanted| {
            let found = self.endpoints.iter().find(|(kind, _)| kind == wanted)?;
            Some(found.1.as_str())
        })
    }

    /// Returns the URL of a path of an API, version included.
    fn url(&self, api: Api, path: &str) -> CloudResult<String> {
        let endpoint = self.endpoint(api).ok_or_else(|| CloudError::Answer {
            url: format!("{api:?}"),
            reason: "the catalogue has no such service".to_owned(),
        })?;
        let root = versioned(endpoint, api.version());
        Ok(if path.is_empty() { root } else { format!("{root}/{path}") })
    }

    /// Sends any request.
    pub(crate) async fn exchange(
        &self,
        method: Method,
        api: Api,
        path: &str,
        headers: &[(&str, &str)],
        body: Body,
    ) -> CloudResult<Reply> {
        patiently(PATIENCE, || self.once(method.clone(), api, path, headers, body.clone())).await
    }

    /// Sends any request once: whatever fails is not repeated.
    pub(super) async fn once(
        &self,
        method: Method,
        api: Api,
        path: &str,
        headers: &[(&str, &str)],
        body: Body,
    ) -> CloudResult<Reply> {
        self.http.exchange(method, &self.url(api, path)?, Some(&self.token), headers, body).await
    }

    /// `GET`, and the document.
    pub async fn get(&self, api: Api, path: &str) -> CloudResult<Value> {
        self.exchange(Method::GET, api, path, &[], Body::None).await?.json()
    }

    /// `GET` of a path beside an API's versions, and the document.
    pub async fn get_at_root(&self, api: Api, path: &str) -> CloudResult<Value> {
        let url = format!("{}/{path}", origin(&self.url(api, "")?));
        patiently(PATIENCE, || self.http.exchange(Method::GET, &url, Some(&self.token), &[], Body::None))
            .await?
            .json()
    }

    /// Returns the array under `key` of a `GET`'s document, and of all pages that follow.
    pub async fn list(&self, api: Api, path: &str, key: &str) -> CloudResult<Vec<Value>> {
        let mut pages = Pages::new(path, key);
        while let Some(page) = &pages.next {
            let document = self.get(api, page).await?;
            pages.take(&self.url(api, path)?, document)?;
        }
        Ok(pages.items)
    }

    /// `POST` of a document, and the answer's.
    pub async fn post(&self, api: Api, path: &str, body: Value) -> CloudResult<Value> {
        self.exchange(Method::POST, api, path, &[], Body::Json(body)).await?.json()
    }

    /// `PUT` of a document, and the answer's.
    pub async fn put(&self, api: Api, path: &str, body: Value) -> CloudResult<Value> {
        self.exchange(Method::PUT, api, path, &[], Body::Json(body)).await?.json()
    }

    /// `DELETE`; already gone is not an error.
    pub async fn delete(&self, api: Api, path: &str) -> CloudResult<()> {
        match self.exchange(Method::DELETE, api, path, &[], Body::None).await {
            Err(error) if error.status() == Some(reqwest::StatusCode::NOT_FOUND) => Ok(()),
            outcome => outcome.map(drop),
        }
    }
}

/// Returns types and public URLs of a region, in the catalogue's order.
fn public_endpoints(catalogue: &Value, region: &str) -> Vec<(String, String)> {
    let mut found = Vec::new();
    for service in catalogue.as_array().into_iter().flatten() {
        let endpoints = service.get("endpoints").and_then(Value::as_array).into_iter().flatten();
        let public = endpoints.filter(|endpoint| {
            text(endpoint, "interface") == "public" && text(endpoint, "region_id") == region
        });
        found.extend(public.map(|endpoint| (text(service, "type"), text(endpoint, "url"))));
    }
    found
}

/// Returns the scheme, host and port of a URL.
fn origin(url: &str) -> &str {
    let host = url.find("://").map_or(0, |at| at + 3);
    let end = url.get(host..).and_then(|rest| rest.find('/')).map_or(url.len(), |at| host + at);
    url.get(..end).unwrap_or(url)
}

/// Adds the version to an endpoint that has none in its path.
fn versioned(endpoint: &str, version: &str) -> String {
    let endpoint = endpoint.trim_end_matches('/');
    let is_version = |part: &str| {
        part.strip_prefix('v').is_some_and(|rest| rest.starts_with(|c: char| c.is_ascii_digit()))
    };
    if version.is_empty() || endpoint.split('/').skip(3).any(is_version) {
        endpoint.to_owned()
    } else {
        format!("{endpoint}/{version}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cloud::fake::Fake;

    #[tokio::test]
    async fn a_list_must_have_all_its_pages() {
        let keystone = Fake::start(None);
        {
            let mut world = keystone.world();
            let origin = keystone.url("127.0.0.1").trim_end_matches("/v3").to_owned();
            for kind in ["image", "compute"] {
                let id = world.add("services", json!({"name": kind, "type": kind}));
                let url = format!("{origin}/{kind}");
                let endpoint =
                    json!({"service_id": id, "interface": "public", "region_id": "RegionOne", "url": url});
                world.add("endpoints", endpoint);
            }
            world.other = Some(Box::new(|_, path, _| {
                let page = match path {
                    "/image/v2/images" => {
                        json!({"images": [{"id": "a"}, {"id": "b"}], "next": "/v2/images?marker=b"})
                    }
                    "/image/v2/images?marker=b" => json!({"images": [{"id": "c"}]}),
                    "/compute/v2.1/servers" => {
                        let next = json!({"rel": "next", "href": "http://inside:8774/v2.1/servers?marker=b"});
                        json!({"servers": [{"id": "a"}, {"id": "b"}], "servers_links": [next]})
                    }
                    "/compute/v2.1/servers?marker=b" => {
                        let next = json!({"rel": "next", "href": "http://inside:8774/v2.1/servers?marker=c"});
                        json!({"servers": [{"id": "c"}], "servers_links": [next]})
                    }
                    "/compute/v2.1/servers?marker=c" => {
                        let next = json!({"rel": "next", "href": "http://inside:8774/v2.1/servers?marker=d"});
                        json!({"servers": [], "servers_links": [next]})
                    }
                    _ => return (404, Vec::new()),
                };
                (200, page.to_string().into_bytes())
            }));
        }
        let state = tempfile::tempdir().unwrap();
        let session = Session::open(state.path(), &keystone.login()).await.unwrap();
        for (api, key) in [(Api::Image, "images"), (Api::Compute, "servers")] {
            let all = session.list(api, key, key).await.unwrap();
            let ids: Vec<String> = all.iter().map(|item| text(item, "id")).collect();
            assert_eq!(ids, ["a", "b", "c"], "{api:?}");
        }
    }

    #[test]
    fn an_origin_must_have_no_path() {
        assert_eq!(origin("https://c:8080/v1/AUTH_5f2"), "https://c:8080");
        assert_eq!(origin("https://c"), "https://c");
        assert_eq!(origin("http://[::1]:80/"), "http://[::1]:80");
    }

    #[test]
    fn a_version_must_be_added_once() {
        for (endpoint, version, url) in [
            ("https://c:9292", "v2", "https://c:9292/v2"),
            ("https://c:9292/", "v2", "https://c:9292/v2"),
            ("https://v1.example:9696", "v2.0", "https://v1.example:9696/v2.0"),
            ("https://c:8776/v3/5f2", "v3", "https://c:8776/v3/5f2"),
            ("https://c/compute/v2.1", "v2.1", "https://c/compute/v2.1"),
            ("https://c/volumes", "v3", "https://c/volumes/v3"),
            ("https://c:8778", "", "https://c:8778"),
        ] {
            assert_eq!(versioned(endpoint, version), url);
        }
    }
}
