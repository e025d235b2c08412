//! Any API of the cloud, as one user on one project: a token, its catalogue, kept connections.

use std::path::Path;
use std::time::{Duration, Instant};

use reqwest::Method;
use serde_json::{Value, json};

use super::http::{Body, CloudResult, Http, Reply, patiently};
use super::keystone::{DEFAULT_DOMAIN, Issued, issued, password_request};
use super::pages::Pages;
use super::sdk::{Api, Asker, Catalogue, Request};
use crate::model::Secret;
use crate::model::desired::IdentityAccess;
use crate::store::tls;

/// A proxy may need a moment to see a new backend.
const PATIENCE: Duration = Duration::from_secs(5);

/// Some requests do their work before they answer: a port that is wired, a volume that is attached. Whoever asks has a deadline of
/// its own.
const SLOWEST: Duration = Duration::from_mins(3);

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
    catalogue: Catalogue,
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
        let keystone = Catalogue::of_keystone(login.url.trim_end_matches('/'))?;
        let asker = Asker { http: &http, catalogue: &keystone, token: None };
        let request = password_request(DEFAULT_DOMAIN, &login.user, &login.password, &scope);
        let began = Instant::now();
        let answer = patiently(PATIENCE, || asker.ask(&request)).await?;
        let login_took = began.elapsed();
        let Issued { token, expires_at: _, catalogue, project } = issued(&answer)?;
        let catalogue = Catalogue::of_token(&catalogue, project.as_deref(), &login.region);
        Ok(Self { http, token, login_took, catalogue })
    }

    /// Returns the session of nobody, which has no API: for what is looked at without one.
    pub fn of_nobody() -> CloudResult<Self> {
        let http = Http::new(None, SLOWEST)?;
        Ok(Self { http, token: Secret::new(""), login_took: Duration::ZERO, catalogue: Catalogue::empty() })
    }

    /// Returns the types that the catalogue has.
    pub fn kinds(&self) -> Vec<&str> {
        self.catalogue.kinds()
    }

    /// Returns whether the catalogue has an API.
    pub fn has(&self, api: Api) -> bool {
        self.catalogue.has(api)
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
        let request = Request::new(method, api, path, body).headed(headers)?;
        let asker = self.asker();
        patiently(PATIENCE, || asker.ask(&request)).await
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
        self.asker().ask(&Request::new(method, api, path, body).headed(headers)?).await
    }

    fn asker(&self) -> Asker<'_> {
        Asker { http: &self.http, catalogue: &self.catalogue, token: Some(&self.token) }
    }

    /// `GET`, and the document. A path that begins with a slash is beside the API's versions.
    pub async fn get(&self, api: Api, path: &str) -> CloudResult<Value> {
        self.exchange(Method::GET, api, path, &[], Body::None).await?.json()
    }

    /// Returns the array under `key` of a `GET`'s document, and of all pages that follow.
    pub async fn list(&self, api: Api, path: &str, key: &str) -> CloudResult<Vec<Value>> {
        let mut pages = Pages::new(path, key);
        while let Some(page) = &pages.next {
            let reply = self.exchange(Method::GET, api, page, &[], Body::None).await?;
            pages.take(&reply.url, reply.json()?)?;
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cloud::fake::Fake;
    use crate::cloud::text;

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
}
