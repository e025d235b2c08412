//! Requests go through the SDK: it picks the endpoint out of the catalogue and forms the request. What carries it is the HTTP client
//! of [`super::http`], which trusts the deployment's authority alone and asks no proxy.

use std::borrow::Cow;

use async_trait::async_trait;
use bytes::Bytes;
use futures::AsyncReadExt as _;
use http::request::Builder;
use openstack_sdk_auth_core::types::{Project, ServiceEndpoints};
use openstack_sdk_core::api::{
    ApiError, AsyncClient, BodyError, QueryAsync as _, RestClient, RestEndpoint, raw,
};
use openstack_sdk_core::catalog::{Catalog, CatalogError, ServiceEndpoint};
use openstack_sdk_core::types::{ApiVersion, BoxedAsyncRead, ServiceType};
use reqwest::Method;
use reqwest::header::{HeaderMap, HeaderName, HeaderValue};

use super::http::{Body, CloudError, CloudResult, Http, Reply};
use crate::model::Secret;

/// Whose URLs are used.
const INTERFACE: &str = "public";

/// An API that has requests here.
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
    const ALL: [Self; 8] = [
        Self::Identity,
        Self::Image,
        Self::Placement,
        Self::Compute,
        Self::Network,
        Self::Volume,
        Self::Orchestration,
        Self::ObjectStore,
    ];

    /// The SDK's name of it. It knows under which other types catalogues list it.
    fn service(self) -> ServiceType {
        match self {
            Self::Identity => ServiceType::Identity,
            Self::Image => ServiceType::Image,
            Self::Placement => ServiceType::Placement,
            Self::Compute => ServiceType::Compute,
            Self::Network => ServiceType::Network,
            Self::Volume => ServiceType::BlockStorage,
            Self::Orchestration => ServiceType::Other("orchestration".to_owned()),
            Self::ObjectStore => ServiceType::ObjectStore,
        }
    }

    /// The version in its paths, which some catalogues have and others leave to the client. It could be asked for (the SDK's
    /// discovery): one request more for each API and session, also in the middle of an upgrade. Placement has none.
    fn version(self) -> Option<&'static str> {
        match self {
            Self::Identity | Self::Volume => Some("v3"),
            Self::Image => Some("v2"),
            Self::Placement => None,
            Self::Compute => Some("v2.1"),
            Self::Network => Some("v2.0"),
            Self::Orchestration | Self::ObjectStore => Some("v1"),
        }
    }

    /// The same, as the SDK has it.
    fn number(self) -> Option<ApiVersion> {
        ApiVersion::from_apiver_str(self.version()?, true).ok()
    }

    /// Returns the API that a catalogue lists under this type, if it is one of these.
    fn listed_as(kind: &str) -> Option<Self> {
        // Cinder's third API had a type of its own before it had the service's.
        let kind = if kind == "volumev3" { "block-storage" } else { kind };
        Self::ALL.into_iter().find(|api| api.service().to_string() == kind)
    }
}

/// Where the APIs of one region are.
#[derive(Clone, Debug)]
pub(super) struct Catalogue {
    endpoints: Catalog,
    kinds: Vec<String>,
}

impl Catalogue {
    /// An empty one, of which nothing can be asked.
    pub fn empty() -> Self {
        Self { endpoints: Catalog::default(), kinds: Vec::new() }
    }

    /// Keystone's alone, at a URL with `/v3`: for whoever has no token yet.
    pub fn of_keystone(url: &str) -> CloudResult<Self> {
        let mut catalogue = Self::empty();
        catalogue.add("identity", url).map_err(|error| CloudError::Answer {
            url: url.to_owned(),
            reason: format!("this is no URL of Keystone's: {error}"),
        })?;
        Ok(catalogue)
    }

    /// A token's: public endpoints of a region. What is no URL there counts as not listed.
    pub fn of_token(listed: &[ServiceEndpoints], project: Option<&str>, region: &str) -> Self {
        let mut catalogue = Self::empty();
        // The project's id is part of some URLs, at their end, behind the version.
        catalogue.endpoints.set_project_id(project);
        for service in listed {
            let here = |region_of: &Option<String>| region_of.as_deref() == Some(region);
            for endpoint in service.endpoints.iter().filter(|e| e.interface == INTERFACE && here(&e.region)) {
                if catalogue.add(&service.service_type, &endpoint.url).is_ok() {
                    catalogue.kinds.push(service.service_type.clone());
                }
            }
        }
        catalogue
    }

    fn add(&mut self, kind: &str, url: &str) -> Result<(), CatalogError> {
        let mut at_version = Cow::Borrowed(url);
        let bare = || url.split('/').skip(3).all(|part| ApiVersion::from_apiver_str(part, true).is_err());
        if let Some(version) = Api::listed_as(kind).and_then(Api::version)
            && bare()
        {
            at_version = format!("{}/{version}", url.trim_end_matches('/')).into();
        }
        self.endpoints.register_catalog_endpoint(kind, &at_version, None::<&str>, Some(INTERFACE))?;
        Ok(())
    }

    /// Returns the types that it lists, in its order.
    pub fn kinds(&self) -> Vec<&str> {
        self.kinds.iter().map(String::as_str).collect()
    }

    /// Returns whether it lists an API.
    pub fn has(&self, api: Api) -> bool {
        self.find(&api.service(), api.number().as_ref()).is_ok()
    }

    fn find(
        &self,
        service: &ServiceType,
        version: Option<&ApiVersion>,
    ) -> Result<&ServiceEndpoint, CatalogError> {
        self.endpoints.get_service_endpoint(service.to_string(), version, None::<&str>, Some(INTERFACE))
    }
}

/// One request to an API. Its body may hold a password: there is no printing it.
#[derive(Clone)]
pub(super) struct Request {
    method: Method,
    api: Api,
    path: String,
    headers: HeaderMap,
    body: Body,
}

impl Request {
    /// `path` is below the API's version; with a slash in front it is beside its versions.
    pub fn new(method: Method, api: Api, path: &str, body: Body) -> Self {
        Self { method, api, path: path.to_owned(), headers: HeaderMap::new(), body }
    }

    /// Adds headers.
    pub fn headed(mut self, headers: &[(&str, &str)]) -> CloudResult<Self> {
        for (name, value) in headers {
            let odd = |reason: String| CloudError::Answer { url: self.path.clone(), reason };
            let name = HeaderName::from_bytes(name.as_bytes()).map_err(|error| odd(error.to_string()))?;
            let value = HeaderValue::from_str(value).map_err(|error| odd(error.to_string()))?;
            self.headers.append(name, value);
        }
        Ok(self)
    }
}

impl RestEndpoint for Request {
    fn method(&self) -> Method {
        self.method.clone()
    }

    fn endpoint(&self) -> Cow<'static, str> {
        self.path.clone().into()
    }

    fn service_type(&self) -> ServiceType {
        self.api.service()
    }

    fn body(&self) -> Result<Option<(&'static str, Vec<u8>)>, BodyError> {
        Ok(match &self.body {
            Body::None => None,
            Body::Json(document) => Some(("application/json", serde_json::to_vec(document)?)),
            Body::Bytes(bytes) => Some(("application/octet-stream", bytes.to_vec())),
        })
    }

    fn request_headers(&self) -> Option<&HeaderMap> {
        Some(&self.headers)
    }

    fn api_version(&self) -> Option<ApiVersion> {
        self.api.number()
    }

    /// None: whoever wants a microversion says so in a header.
    fn min_version(&self) -> Option<ApiVersion> {
        None
    }
}

/// Who asks: a connection, a catalogue, and a token where one is needed.
#[derive(Clone, Copy)]
pub(super) struct Asker<'a> {
    pub http: &'a Http,
    pub catalogue: &'a Catalogue,
    pub token: Option<&'a Secret>,
}

/// Where an answer came from; it travels with it through the SDK.
#[derive(Clone)]
struct AnsweredBy(String);

impl Asker<'_> {
    /// Sends a request once; any status from 200 to 299 is good.
    pub async fn ask(&self, request: &Request) -> CloudResult<Reply> {
        let at = format!("{} {}", request.service_type(), request.path);
        let mut answer = raw(request.clone()).query_async(self).await.map_err(|error| match error {
            ApiError::Client { source } => source,
            other => CloudError::Answer { url: at.clone(), reason: other.to_string() },
        })?;
        let url = answer.extensions_mut().remove().map_or(at, |AnsweredBy(url)| url);
        let (parts, bytes) = answer.into_parts();
        Ok(Reply { url, headers: parts.headers, bytes })
    }
}

impl RestClient for Asker<'_> {
    type Error = CloudError;

    fn get_current_project(&self) -> Option<Project> {
        None
    }
}

type Asked<T> = Result<T, ApiError<CloudError>>;

#[async_trait]
impl AsyncClient for Asker<'_> {
    async fn rest_async(&self, request: Builder, body: Vec<u8>) -> Asked<http::Response<Bytes>> {
        let request = request.body(body).map_err(|error| ApiError::Session { msg: error.to_string() })?;
        let Reply { url, headers, bytes } =
            self.http.carry(request, self.token).await.map_err(|source| ApiError::Client { source })?;
        let mut answer = http::Response::new(bytes);
        *answer.headers_mut() = headers;
        answer.extensions_mut().insert(AnsweredBy(url));
        Ok(answer)
    }

    async fn rest_read_body_async(
        &self,
        request: Builder,
        mut body: BoxedAsyncRead,
    ) -> Asked<http::Response<Bytes>> {
        let mut bytes = Vec::new();
        let read = body.read_to_end(&mut bytes).await;
        read.map_err(|error| ApiError::Session { msg: error.to_string() })?;
        self.rest_async(request, bytes).await
    }

    async fn download_async(&self, request: Builder, body: Vec<u8>) -> Asked<(HeaderMap, BoxedAsyncRead)> {
        let (parts, bytes) = self.rest_async(request, body).await?.into_parts();
        Ok((parts.headers, BoxedAsyncRead::new(futures::io::Cursor::new(bytes))))
    }

    async fn get_service_endpoint(
        &self,
        service: &ServiceType,
        version: Option<&ApiVersion>,
    ) -> Asked<ServiceEndpoint> {
        let found = self.catalogue.find(service, version).map_err(|error| {
            let reason = match error {
                CatalogError::ServiceNotConfigured { .. } => "the catalogue has no such service".to_owned(),
                other => other.to_string(),
            };
            ApiError::Client { source: CloudError::Answer { url: service.to_string(), reason } }
        })?;
        Ok(found.clone())
    }
}

#[cfg(test)]
mod tests {
    use openstack_sdk_auth_core::types::CatalogEndpoint;
    use openstack_sdk_core::api::{download, raw_with_body};
    use serde_json::json;

    use super::*;
    use crate::cloud::fake::Fake;
    use crate::cloud::http::TIMEOUT;

    const PROJECT: &str = "5f2c";

    fn listed(kind: &str, url: &str, interface: &str, region: &str) -> ServiceEndpoints {
        let endpoint = CatalogEndpoint {
            id: "e".to_owned(),
            interface: interface.to_owned(),
            region: Some(region.to_owned()),
            url: url.to_owned(),
        };
        ServiceEndpoints { endpoints: vec![endpoint], name: kind.to_owned(), service_type: kind.to_owned() }
    }

    fn url(catalogue: &Catalogue, api: Api, path: &str) -> String {
        let request = Request::new(Method::GET, api, path, Body::None);
        let endpoint = catalogue.find(&request.service_type(), request.api_version().as_ref()).unwrap();
        endpoint.build_request_url(path).unwrap().to_string()
    }

    #[test]
    fn a_path_must_be_below_its_version_and_that_be_added_once() {
        for (kind, at, api, path, wanted) in [
            ("image", "https://c:9292", Api::Image, "images?limit=2", "https://c:9292/v2/images?limit=2"),
            ("image", "https://c:9292/", Api::Image, "images", "https://c:9292/v2/images"),
            ("image", "https://c:9292/v2", Api::Image, "images", "https://c:9292/v2/images"),
            (
                "network",
                "https://v1.example:9696",
                Api::Network,
                "ports",
                "https://v1.example:9696/v2.0/ports",
            ),
            ("volumev3", "https://c:8776/v3/5f2c", Api::Volume, "volumes", "https://c:8776/v3/5f2c/volumes"),
            ("block-storage", "https://c/volumes", Api::Volume, "types", "https://c/volumes/v3/types"),
            ("compute", "https://c/compute/v2.1", Api::Compute, "servers", "https://c/compute/v2.1/servers"),
            ("placement", "https://c:8778", Api::Placement, "traits", "https://c:8778/traits"),
            ("identity", "http://[::1]:5000/v3", Api::Identity, "users", "http://[::1]:5000/v3/users"),
            (
                "orchestration",
                "https://c:8004/v1/5f2c",
                Api::Orchestration,
                "stacks",
                "https://c:8004/v1/5f2c/stacks",
            ),
            (
                "object-store",
                "https://c:8080/v1/AUTH_5f2c",
                Api::ObjectStore,
                "",
                "https://c:8080/v1/AUTH_5f2c",
            ),
            (
                "object-store",
                "https://c:8080/v1/AUTH_5f2c",
                Api::ObjectStore,
                "b/o",
                "https://c:8080/v1/AUTH_5f2c/b/o",
            ),
            ("object-store", "https://c:8080/v1/AUTH_5f2c", Api::ObjectStore, "/info", "https://c:8080/info"),
        ] {
            let catalogue = Catalogue::of_token(&[listed(kind, at, "public", "one")], Some(PROJECT), "one");
            assert!(catalogue.has(api), "{kind}");
            assert_eq!(url(&catalogue, api, path), wanted, "{kind} at {at}");
        }
    }

    #[test]
    fn only_public_urls_of_the_region_must_count() {
        let all = [
            listed("image", "http://elsewhere:9292", "public", "two"),
            listed("image", "http://inside:9292", "internal", "one"),
            listed("image", "http://outside:9292", "public", "one"),
            listed("network", "http://inside:9696", "internal", "one"),
            listed("compute", "no URL", "public", "one"),
        ];
        let catalogue = Catalogue::of_token(&all, None, "one");
        assert_eq!(catalogue.kinds(), ["image"]);
        assert_eq!(url(&catalogue, Api::Image, "images"), "http://outside:9292/v2/images");
        assert!(!catalogue.has(Api::Network) && !catalogue.has(Api::Compute));
    }

    #[tokio::test]
    async fn what_the_catalogue_does_not_have_must_be_said() {
        let http = Http::new(None, TIMEOUT).unwrap();
        let asker = Asker { http: &http, catalogue: &Catalogue::empty(), token: None };
        let refused =
            asker.ask(&Request::new(Method::GET, Api::Image, "images", Body::None)).await.unwrap_err();
        assert_eq!(refused.to_string(), "image: unexpected answer: the catalogue has no such service");
        let refused = Catalogue::of_keystone("nowhere").unwrap_err().to_string();
        assert!(refused.starts_with("nowhere: unexpected answer: this is no URL of Keystone's"), "{refused}");
    }

    /// The SDK's ways to send and take a stream lead to the same connection.
    #[tokio::test]
    async fn a_stream_must_arrive_whole() {
        let fake = Fake::start(None);
        fake.world().other = Some(Box::new(|method, path, body| match (method, path) {
            ("PUT", "/v2/images/i/file") if body == b"disk" => (204, Vec::new()),
            ("GET", "/v2/images/i/file") => (200, b"disk".to_vec()),
            _ => (404, json!({"message": "No such image"}).to_string().into_bytes()),
        }));
        let origin = fake.url("127.0.0.1").trim_end_matches("/v3").to_owned();
        let catalogue = Catalogue::of_token(&[listed("image", &origin, "public", "one")], None, "one");
        let http = Http::new(None, TIMEOUT).unwrap();
        let asker = Asker { http: &http, catalogue: &catalogue, token: None };
        let request = |method| Request::new(method, Api::Image, "images/i/file", Body::None);
        let disk = BoxedAsyncRead::new(futures::io::Cursor::new(b"disk"));
        raw_with_body(request(Method::PUT), disk).query_async(&asker).await.unwrap();
        let (_, mut stream) = download(request(Method::GET)).query_async(&asker).await.unwrap();
        let mut read = Vec::new();
        stream.read_to_end(&mut read).await.unwrap();
        assert_eq!(read, b"disk");
        let none = Request::new(Method::GET, Api::Image, "images/j", Body::None);
        let refused = asker.ask(&none).await.unwrap_err().to_string();
        assert_eq!(refused, format!("GET {origin}/v2/images/j: 404 Not Found: No such image"));
    }
}
