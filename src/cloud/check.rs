//! The proof that the cloud serves: a new token, and every public endpoint of its catalogue answers, over verified TLS.

use std::collections::BTreeMap;
use std::fmt;
use std::path::Path;
use std::time::{Duration, Instant};

use futures::future::join_all;
use openstack_sdk_auth_core::types::{CatalogEndpoint, ServiceEndpoints};
use reqwest::StatusCode;

use super::http::{CloudError, CloudResult, patiently};
use super::keystone::Keystone;
use crate::model::Desired;
use crate::model::desired::IdentityAccess;

/// A proxy may need a moment to see a new backend; a check that is asked for is not made to wait longer.
const PATIENCE: Duration = Duration::from_secs(5);

/// What was seen.
#[derive(Clone, Debug)]
pub struct CheckReport {
    /// Keystone's URL.
    pub url: String,
    /// How long the token took.
    pub token: Duration,
    /// When it ends, RFC 3339.
    pub expires_at: String,
    /// Service names to their public URLs.
    pub catalogue: BTreeMap<String, String>,
}

impl fmt::Display for CheckReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<_> = self.catalogue.keys().map(String::as_str).collect();
        write!(
            f,
            "token in {:.2} s from {}; catalogue: {}",
            self.token.as_secs_f64(),
            self.url,
            names.join(", ")
        )
    }
}

/// Issues a token, and asks every public endpoint of this deployment's region that the token's catalogue names.
pub async fn check(state: &Path, desired: &Desired, access: &IdentityAccess) -> CloudResult<CheckReport> {
    let keystone = Keystone::new(state, access, PATIENCE)?;
    let began = Instant::now();
    let issued = keystone.login().await?;
    let token = began.elapsed();
    let catalogue = public_urls(&issued.catalogue, &desired.identity.region);
    let missing: Vec<_> =
        desired.identity.services.keys().filter(|name| !catalogue.contains_key(*name)).cloned().collect();
    if !missing.is_empty() {
        return Err(CloudError::Answer {
            url: keystone.url().to_owned(),
            reason: format!("not in the catalogue: {}", missing.join(", ")),
        });
    }
    let probes = catalogue.values().map(|url| probe(&keystone, root(url)));
    join_all(probes).await.into_iter().collect::<CloudResult<Vec<_>>>()?;
    Ok(CheckReport {
        url: keystone.url().to_owned(),
        token,
        expires_at: issued.expires_at.to_string(),
        catalogue,
    })
}

/// Returns the part of an endpoint's URL that answers by itself: one with a project id in it does not.
fn root(url: &str) -> &str {
    url.split_once(['%', '$'])
        .map_or(url, |(before, _)| before.rfind('/').and_then(|end| before.get(..end)).unwrap_or(before))
}

/// Any answer of the service itself will do, a refusal too; the proxy's 502 to 504 and a crash (500) will not.
async fn probe(keystone: &Keystone, url: &str) -> CloudResult<()> {
    patiently(PATIENCE, || async {
        let status = keystone.http().status(url).await?;
        if status.is_server_error() && status != StatusCode::NOT_IMPLEMENTED {
            return Err(CloudError::Refused {
                method: reqwest::Method::GET,
                url: url.to_owned(),
                status,
                message: "the service does not serve".to_owned(),
            });
        }
        Ok(())
    })
    .await
}

/// Returns the public URL of every service in a token's catalogue.
fn public_urls(catalogue: &[ServiceEndpoints], region: &str) -> BTreeMap<String, String> {
    let of = |service: &ServiceEndpoints| {
        let here = |e: &&CatalogEndpoint| e.interface == "public" && e.region.as_deref() == Some(region);
        let endpoint = service.endpoints.iter().rfind(here)?;
        Some((service.name.clone(), endpoint.url.clone()))
    };
    catalogue.iter().filter_map(of).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_endpoint_with_a_project_in_it_must_be_asked_above_that() {
        assert_eq!(root("https://c:8776/v3/%(project_id)s"), "https://c:8776/v3");
        assert_eq!(root("https://c:8080/v1/AUTH_%(project_id)s"), "https://c:8080/v1");
        assert_eq!(root("https://c:5000/v3"), "https://c:5000/v3");
    }
}
