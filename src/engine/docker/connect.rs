//! Opens the way to an engine. Each request takes a connection of its own or an idle one: after an engine's restart
//! the next request simply connects again, and only what was in flight is lost (`Unreachable`).

use std::sync::Arc;
use std::time::Duration;

use bollard::{API_DEFAULT_VERSION, BollardRequest, Docker};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};

use crate::engine::endpoint::{Endpoint, bracketed};
use crate::engine::{EngineError, EngineErrorKind, EngineResult};

/// Seconds until an engine that accepts connections must answer a quick request.
pub(super) const QUICK: u64 = 120;
/// Seconds for a connection to come about and for the first answer.
const FIRST: u64 = 10;

/// Connects and agrees on the API version.
pub(super) async fn connect(endpoint: &Endpoint) -> EngineResult<Docker> {
    let refused = |kind, message| EngineError {
        operation: "connect".to_owned(),
        endpoint: endpoint.to_string(),
        kind,
        message,
    };
    let failed =
        |error: &bollard::errors::Error| super::errors::situate("connect", &endpoint.to_string(), error);
    let docker = match endpoint {
        Endpoint::Unix { path } => {
            Docker::connect_with_unix(path, FIRST, API_DEFAULT_VERSION).map_err(|e| failed(&e))?
        }
        Endpoint::Plain { host, port } => {
            let client = Client::builder(TokioExecutor::new()).pool_max_idle_per_host(0).build(tcp());
            let transport = move |request: BollardRequest| {
                let answer = client.request(request);
                async move { answer.await.map_err(bollard::errors::Error::from) }
            };
            let address = format!("http://{}:{port}", bracketed(host));
            Docker::connect_with_custom_transport(transport, Some(address), FIRST, API_DEFAULT_VERSION)
                .map_err(|e| failed(&e))?
        }
        Endpoint::Tls { host, port, directory } => {
            // bollard's own TLS also trusts every public authority; an engine is trusted by its own CA alone.
            let config =
                tls(directory).await.map_err(|words| refused(EngineErrorKind::Unauthorized, words))?;
            let connector = hyper_rustls::HttpsConnectorBuilder::new()
                .with_tls_config(config)
                .https_only()
                .enable_http1()
                .wrap_connector(tcp());
            let client = Client::builder(TokioExecutor::new())
                .pool_max_idle_per_host(8)
                .pool_idle_timeout(Duration::from_secs(20))
                .build(connector);
            let transport = move |request: BollardRequest| {
                let answer = client.request(request);
                async move { answer.await.map_err(bollard::errors::Error::from) }
            };
            let address = format!("https://{}:{port}", bracketed(host));
            Docker::connect_with_custom_transport(transport, Some(address), FIRST, API_DEFAULT_VERSION)
                .map_err(|e| failed(&e))?
        }
    };
    let docker = docker.negotiate_version().await.map_err(|e| failed(&e))?;
    Ok(docker.with_timeout(Duration::from_secs(QUICK)))
}

fn tcp() -> HttpConnector {
    let mut connector = HttpConnector::new();
    connector.enforce_http(false);
    connector.set_nodelay(true);
    connector.set_connect_timeout(Some(Duration::from_secs(FIRST)));
    connector.set_keepalive(Some(Duration::from_secs(30)));
    connector
}

/// Reads the three files of a TLS directory.
async fn tls(directory: &str) -> Result<rustls::ClientConfig, String> {
    let read = async |name: &str| {
        let path = format!("{directory}/{name}");
        let bytes = fs_err::tokio::read(&path).await.map_err(|error| error.to_string())?;
        Ok::<_, String>((path, bytes))
    };
    let (ca_path, ca) = read("ca.pem").await?;
    let (cert_path, cert) = read("cert.pem").await?;
    let (key_path, key) = read("key.pem").await?;
    let certificates = |path: &str, pem: &[u8]| {
        let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem).collect();
        match found {
            Ok(found) if found.is_empty() => Err(format!("{path} holds no certificate")),
            Ok(found) => Ok(found),
            Err(error) => Err(format!("{path} is not PEM: {error}")),
        }
    };
    let mut roots = rustls::RootCertStore::empty();
    for certificate in certificates(&ca_path, &ca)? {
        roots.add(certificate).map_err(|error| format!("{ca_path} holds a bad certificate: {error}"))?;
    }
    let key = PrivateKeyDer::from_pem_slice(&key)
        .map_err(|error| format!("{key_path} holds no private key: {error}"))?;
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| error.to_string())?
        .with_root_certificates(roots)
        .with_client_auth_cert(certificates(&cert_path, &cert)?, key)
        .map_err(|error| format!("{cert_path} and {key_path} do not fit together: {error}"))
}
