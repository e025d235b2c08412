//! Servers that are asked for while a change goes on, one after another, and what becomes of them.
//!
//! What they are made of (image, flavor, network) carries one name on the administrator's project, so that whatever a killed run
//! left is known, and deleted, by the next: the lock of the deployment lets only one run live.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::{Duration, Instant};

use bytes::Bytes;
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use super::http::{Body, CloudError, CloudResult};
use super::observe::text;
use super::sdk::Api;
use super::session::{Login, ProjectRef, Session};

/// Name of everything that is made.
const NAME: &str = "mastic-probe";
/// A server that is not active by then has failed.
const PATIENCE: Duration = Duration::from_mins(2);
/// Between two looks at a server.
const PAUSE: Duration = Duration::from_millis(500);
/// All are gone by then, or it is said that they are not.
const CLEANING: Duration = Duration::from_mins(1);
/// A server that is still there that long after its deletion was asked for is asked for again: who did it may be gone.
const AGAIN: Duration = Duration::from_secs(10);
const IMAGE: usize = 1 << 20;
/// Where a PC's firmware finds it in the first block: interrupts off, halt, for ever. An empty disk would have the firmware ask
/// the network all the time, at the cost of a whole processor.
const HALT: (usize, [u8; 4]) = (0, [0xfa, 0xf4, 0xeb, 0xfc]);
/// One partition (bootable, Linux, all blocks but the first): without one, a block that can be booted is no disk to Glance.
const PARTITION: (usize, [u8; 16]) = (446, [0x80, 0, 2, 0, 0x83, 0, 0, 0, 1, 0, 0, 0, 0xff, 0x07, 0, 0]);
const SIGNATURE: (usize, [u8; 2]) = (510, [0x55, 0xaa]);
/// From this one on, a server can be without any network.
const WITHOUT_NETWORK: (&str, &str) = ("OpenStack-API-Version", "compute 2.37");
/// Nobody else is on this network, and nothing leads into it.
const SUBNET: &str = "10.254.254.0/28";

/// What servers are booted from.
#[derive(Debug)]
pub struct Boots {
    session: Session,
    image: String,
    flavor: String,
    network: Option<String>,
}

impl Boots {
    /// Deletes what a killed run has left, and makes what servers are booted from.
    ///
    /// # Errors
    /// The cloud has no servers, does not answer, or refuses.
    pub async fn prepare(state: &Path, login: &Login) -> CloudResult<Self> {
        let session = Session::open(state, login).await?;
        sweep(&session, login).await?;
        let image =
            json!({"name": NAME, "disk_format": "raw", "container_format": "bare", "visibility": "private"});
        let image = text(&session.post(Api::Image, "images", image).await?, "id");
        let disk = Body::Bytes(Bytes::from(disk()));
        session.exchange(Method::PUT, Api::Image, &format!("images/{image}/file"), &[], disk).await?;
        let flavor = json!({"flavor": {"name": NAME, "ram": 64, "vcpus": 1, "disk": 1, "os-flavor-access:is_public": false}});
        let flavor = text(&session.post(Api::Compute, "flavors", flavor).await?["flavor"], "id");
        let network = if session.has(Api::Network) { Some(network(&session).await?) } else { None };
        Ok(Self { session, image, flavor, network })
    }

    /// Boots one, and deletes it. Returns how long it took to become active, or why it did not; nothing is sent twice.
    pub async fn one(&self) -> Result<Duration, String> {
        let began = Instant::now();
        let booted = self.active().await.map(|()| began.elapsed());
        match gone(&self.session).await {
            Ok(()) => booted,
            Err(error) => booted.and(Err(format!("it is not deleted: {error}"))),
        }
    }

    async fn active(&self) -> Result<(), String> {
        let path = self.ask().await.map_err(|error| error.to_string())?;
        let ends = Instant::now() + PATIENCE;
        loop {
            let looked = self.session.once(Method::GET, Api::Compute, &path, &[], Body::None).await;
            let answer = looked.and_then(|reply| reply.json()).map_err(|error| error.to_string())?;
            match text(&answer["server"], "status").as_str() {
                "ACTIVE" => return Ok(()),
                "ERROR" => return Err(format!("ERROR: {}", text(&answer["server"]["fault"], "message"))),
                status if Instant::now() > ends => {
                    return Err(format!("{status} after {} s", PATIENCE.as_secs()));
                }
                _ => tokio::time::sleep(PAUSE).await,
            }
        }
    }

    /// Asks for one, and returns its path.
    async fn ask(&self) -> CloudResult<String> {
        let networks = self.network.as_ref().map_or(json!("none"), |id| json!([{"uuid": id}]));
        let server = json!({"server": {"name": NAME, "imageRef": self.image, "flavorRef": self.flavor, "networks": networks}});
        let asked =
            self.session.once(Method::POST, Api::Compute, "servers", &[WITHOUT_NETWORK], Body::Json(server));
        Ok(format!("servers/{}", text(&asked.await?.json()?["server"], "id")))
    }
}

/// What servers boot from: it halts at once.
fn disk() -> Vec<u8> {
    let mut disk = vec![0; IMAGE];
    let parts: [(usize, &[u8]); 3] =
        [(HALT.0, &HALT.1), (PARTITION.0, &PARTITION.1), (SIGNATURE.0, &SIGNATURE.1)];
    for (at, bytes) in parts {
        disk.splice(at..at + bytes.len(), bytes.iter().copied());
    }
    disk
}

/// Deletes everything of that name on the project of this login.
///
/// # Errors
/// The cloud does not answer, or something is still there after a minute.
pub async fn clear(state: &Path, login: &Login) -> CloudResult<()> {
    sweep(&Session::open(state, login).await?, login).await
}

async fn sweep(session: &Session, login: &Login) -> CloudResult<()> {
    // The administrator is shown what is others', which may have any name.
    let own = project(session, login).await?;
    gone(session).await?;
    for (api, path, kind) in [
        (Api::Network, format!("networks?name={NAME}"), "networks"),
        (Api::Image, format!("images?name={NAME}"), "images"),
        (Api::Compute, "flavors?is_public=None".to_owned(), "flavors"),
    ] {
        if !session.has(api) {
            continue;
        }
        for item in session.list(api, &path, kind).await? {
            // Flavors are nobody's, and only an administrator makes them.
            let foreign =
                ["project_id", "owner"].iter().any(|key| item[key].as_str().is_some_and(|id| id != own));
            if text(&item, "name") == NAME && !foreign {
                session.delete(api, &format!("{kind}/{}", text(&item, "id"))).await?;
            }
        }
    }
    Ok(())
}

/// The id of the project of a login.
async fn project(session: &Session, login: &Login) -> CloudResult<String> {
    let name = match &login.project {
        ProjectRef::Id(id) => return Ok(id.clone()),
        ProjectRef::Name(name) => name,
    };
    let path = format!("projects?name={name}&domain_id=default");
    let found = session.list(Api::Identity, &path, "projects").await?;
    found
        .first()
        .map(|project| text(project, "id"))
        .ok_or_else(|| CloudError::Answer { url: path, reason: format!("there is no project `{name}`") })
}

/// Deletes the servers of the session's own project, and waits until the last has gone.
async fn gone(session: &Session) -> CloudResult<()> {
    let ends = Instant::now() + CLEANING;
    let mut asked: BTreeMap<String, Instant> = BTreeMap::new();
    loop {
        let servers = session.list(Api::Compute, &format!("servers?name=^{NAME}$"), "servers").await?;
        if servers.is_empty() {
            return Ok(());
        }
        if Instant::now() > ends {
            let url = format!("servers of {NAME}");
            let reason = format!("{} still there after {} s", servers.len(), CLEANING.as_secs());
            return Err(CloudError::Answer { url, reason });
        }
        for server in &servers {
            let id = text(server, "id");
            // Each request is work for Nova, also for a server that is being deleted.
            if asked.get(&id).is_some_and(|at| at.elapsed() < AGAIN) {
                continue;
            }
            match session.delete(Api::Compute, &format!("servers/{id}")).await {
                // In a state in which it cannot be deleted yet.
                Err(error) if error.status() == Some(StatusCode::CONFLICT) => continue,
                outcome => outcome?,
            }
            asked.insert(id, Instant::now());
        }
        tokio::time::sleep(PAUSE).await;
    }
}

/// A network without a router and without DHCP: a port on it is wired, and nothing more.
async fn network(session: &Session) -> CloudResult<String> {
    let network = json!({"network": {"name": NAME}});
    let id = text(&session.post(Api::Network, "networks", network).await?["network"], "id");
    let subnet: Value = json!({"subnet": {"name": NAME, "network_id": id, "ip_version": 4, "cidr": SUBNET, "enable_dhcp": false, "gateway_ip": null}});
    session.post(Api::Network, "subnets", subnet).await?;
    Ok(id)
}

#[cfg(test)]
#[path = "boots_tests.rs"]
mod tests;
