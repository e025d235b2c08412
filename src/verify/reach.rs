//! Reaches a guest from this machine: a ping, a page.

use std::net::{Ipv4Addr, UdpSocket};
use std::time::Duration;

use super::walk::Failure;
use crate::cloud::ping_now;

/// Sends one echo request and waits for its answer. Returns how long it took, or nothing when nothing came.
pub(super) async fn ping(address: Ipv4Addr, patience: Duration) -> Result<Option<Duration>, Failure> {
    let pinged = tokio::task::spawn_blocking(move || ping_now(address, patience)).await?;
    pinged.map_err(|errno| Failure(format!("a ping cannot be sent from this machine: {errno}")))
}

/// Gets the page at port 80, on a new connection.
pub(super) async fn http(address: Ipv4Addr, patience: Duration) -> Result<String, String> {
    let client = reqwest::Client::builder()
        .no_proxy()
        .timeout(patience)
        .connect_timeout(patience)
        .pool_max_idle_per_host(0)
        .build()
        .map_err(|error| error.to_string())?;
    let answer = client.get(format!("http://{address}/")).send().await.map_err(|error| innermost(&error))?;
    answer.text().await.map_err(|error| innermost(&error))
}

fn innermost(error: &reqwest::Error) -> String {
    let mut cause: &dyn std::error::Error = error;
    while let Some(next) = cause.source() {
        cause = next;
    }
    cause.to_string()
}

/// Says by which of its addresses this machine would reach another: without one there is no route.
pub(super) fn route(address: Ipv4Addr) -> String {
    let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)).and_then(|socket| {
        // Connecting a datagram socket sends nothing: it only asks for the route.
        socket.connect((address, 9))?;
        socket.local_addr()
    });
    match socket {
        Ok(local) => format!("the route goes out from {}", local.ip()),
        Err(error) => format!("there is no route: {error}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn this_machine_must_answer_its_own_ping_and_an_address_nobody_has_must_not() {
        assert!(ping(Ipv4Addr::LOCALHOST, Duration::from_secs(2)).await.unwrap().is_some());
        let nobody = Ipv4Addr::new(240, 0, 0, 1);
        assert!(!matches!(ping(nobody, Duration::from_millis(200)).await, Ok(Some(_))));
    }
}
