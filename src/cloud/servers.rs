//! Which servers of a cloud can be watched from here.

use std::net::Ipv4Addr;
use std::path::Path;
use std::time::Duration;

use serde_json::Value;

use super::http::CloudResult;
use super::observe::text;
use super::ping::ping_now;
use super::sdk::Api;
use super::session::{Login, Session};

/// More are not pinged: they would say the same.
const MOST: usize = 5;
/// Asked before, so that silence is no server's fault.
const TRIED: usize = 50;
const PATIENCE: Duration = Duration::from_secs(1);

/// Returns the floating addresses of running servers, of all projects, that answer a ping from this machine: the first few.
///
/// # Errors
/// The cloud does not answer, or has no servers to speak of.
pub async fn answering_servers(state: &Path, login: &Login) -> CloudResult<Vec<Ipv4Addr>> {
    let session = Session::open(state, login).await?;
    let path = "servers/detail?all_tenants=1&status=ACTIVE";
    let servers = session.list(Api::Compute, path, "servers").await?;
    let mut addresses: Vec<Ipv4Addr> = servers.iter().flat_map(floating).collect();
    addresses.sort_unstable();
    let pings = addresses.into_iter().take(TRIED).map(async |address| {
        let pinged = tokio::task::spawn_blocking(move || ping_now(address, PATIENCE)).await;
        matches!(pinged, Ok(Ok(Some(_)))).then_some(address)
    });
    Ok(futures::future::join_all(pings).await.into_iter().flatten().take(MOST).collect())
}

/// The floating addresses of a server, as Nova tells them.
fn floating(server: &Value) -> Vec<Ipv4Addr> {
    let networks = server["addresses"].as_object().into_iter().flat_map(|networks| networks.values());
    let all = networks.flat_map(|addresses| addresses.as_array().into_iter().flatten());
    all.filter(|one| text(one, "OS-EXT-IPS:type") == "floating")
        .filter_map(|one| text(one, "addr").parse().ok())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_floating_addresses_lead_to_a_server_from_outside() {
        let server = serde_json::json!({"addresses": {
            "private": [
                {"addr": "10.0.0.5", "OS-EXT-IPS:type": "fixed", "version": 4},
                {"addr": "10.99.0.21", "OS-EXT-IPS:type": "floating", "version": 4},
                {"addr": "fd00::1", "OS-EXT-IPS:type": "floating", "version": 6},
            ],
        }});
        assert_eq!(floating(&server), [Ipv4Addr::new(10, 99, 0, 21)]);
        assert!(floating(&Value::Null).is_empty());
    }
}
