//! Makes the cloud's flavors and networks what the profile says: only what differs, as often as you like.

use std::path::Path;

use futures::future::try_join_all;
use reqwest::StatusCode;
use serde_json::{Value, json};

use super::http::{CloudError, CloudResult};
use super::observe::text;
use super::sdk::Api;
use super::session::{Login, ProjectRef, Session};
use crate::model::cloud::{Cloud, Flavor, Network, Pool, Subnet};
use crate::model::desired::IdentitySpec;
use crate::plan::cloud::{CloudChange, CloudObserved, ObservedNetwork, cloud_diff};

/// The second look proves the first round; a third is for what somebody else made at the same time.
const ROUNDS: usize = 3;

/// Makes what differs, looks again whether it is, and returns the changes as texts.
pub async fn furnish(state: &Path, identity: &IdentitySpec, wanted: &Cloud) -> CloudResult<Vec<String>> {
    let Some(access) = identity.access.as_ref().filter(|_| !wanted.is_empty()) else { return Ok(Vec::new()) };
    let login = Login {
        url: access.url.clone(),
        user: access.user.clone(),
        password: access.password.clone(),
        project: ProjectRef::Name(access.project.clone()),
        region: identity.region.clone(),
    };
    let session = Session::open(state, &login).await?;
    let mut changed = Vec::new();
    let mut left = Vec::new();
    for _ in 0..ROUNDS {
        let observed = observe(&session, wanted).await?;
        let changes = cloud_diff(wanted, &observed);
        if changes.is_empty() {
            return Ok(changed);
        }
        for change in &changes {
            apply(&session, wanted, change).await?;
            changed.push(change.to_string());
        }
        left = changes;
    }
    Err(CloudError::NotConverged { left: left.iter().map(ToString::to_string).collect() })
}

/// Asks for everything that `wanted` names.
async fn observe(session: &Session, wanted: &Cloud) -> CloudResult<CloudObserved> {
    let mut observed = CloudObserved::default();
    if !wanted.flavors.is_empty() {
        for item in session.list(Api::Compute, "flavors/detail", "flavors").await? {
            let name = text(&item, "name");
            if wanted.flavors.contains_key(&name) {
                let flavor = Flavor {
                    cpus: number(&item, "vcpus"),
                    memory: number(&item, "ram"),
                    disk: number(&item, "disk"),
                };
                observed.flavors.insert(name, (text(&item, "id"), flavor));
            }
        }
    }
    let networks = wanted
        .networks
        .keys()
        .map(|name| async move { CloudResult::Ok((name.clone(), network_of(session, name).await?)) });
    for (name, network) in try_join_all(networks).await? {
        observed.networks.extend(network.map(|network| (name, network)));
    }
    Ok(observed)
}

async fn network_of(session: &Session, name: &str) -> CloudResult<Option<ObservedNetwork>> {
    let networks = session.list(Api::Network, &format!("networks?name={name}"), "networks").await?;
    // Projects may have networks of the same name: what is wanted is for everybody, so it is shared, external or ours.
    let Some(item) = networks.first() else { return Ok(None) };
    let id = text(item, "id");
    let subnets =
        session.list(Api::Network, &format!("subnets?network_id={id}&name={name}"), "subnets").await?;
    let subnet = subnets.first();
    let some = |key: &str| Some(text(item, key)).filter(|text| !text.is_empty());
    let flag = |key: &str| item.get(key).and_then(Value::as_bool).unwrap_or_default();
    let network = Network {
        external: flag("router:external"),
        shared: flag("shared"),
        kind: some("provider:network_type"),
        physical: some("provider:physical_network"),
        segment: item
            .get("provider:segmentation_id")
            .and_then(Value::as_u64)
            .and_then(|n| u32::try_from(n).ok()),
        subnet: subnet.map(subnet_of),
    };
    Ok(Some(ObservedNetwork { id, network, subnet: subnet.map(|subnet| text(subnet, "id")) }))
}

fn subnet_of(item: &Value) -> Subnet {
    let pool = &item["allocation_pools"][0];
    let dns = item["dns_nameservers"].as_array().into_iter().flatten();
    Subnet {
        cidr: text(item, "cidr"),
        gateway: Some(text(item, "gateway_ip")).filter(|text| !text.is_empty()),
        pool: pool.is_object().then(|| Pool { first: text(pool, "start"), last: text(pool, "end") }),
        dhcp: item["enable_dhcp"].as_bool().unwrap_or_default(),
        dns: dns.filter_map(Value::as_str).map(str::to_owned).collect(),
    }
}

fn number(item: &Value, key: &str) -> u32 {
    item.get(key).and_then(Value::as_u64).and_then(|number| u32::try_from(number).ok()).unwrap_or_default()
}

/// Makes one change. That somebody made the same meanwhile (409) is no failure: the next look sees theirs.
async fn apply(session: &Session, wanted: &Cloud, change: &CloudChange) -> CloudResult<()> {
    let made = match change {
        CloudChange::Refuse { .. } => {
            return Err(CloudError::NotConverged { left: vec![change.to_string()] });
        }
        CloudChange::CreateFlavor { flavor } => create_flavor(session, wanted, flavor).await,
        CloudChange::ReplaceFlavor { flavor, id } => {
            session.delete(Api::Compute, &format!("flavors/{id}")).await?;
            create_flavor(session, wanted, flavor).await
        }
        CloudChange::CreateNetwork { network } => create_network(session, wanted, network).await,
        CloudChange::UpdateNetwork { network, id } => match wanted.networks.get(network) {
            Some(Network { external, shared, .. }) => {
                let body = json!({"network": {"router:external": external, "shared": shared}});
                session.put(Api::Network, &format!("networks/{id}"), body).await
            }
            None => Ok(Value::Null),
        },
        CloudChange::CreateSubnet { network } => create_subnet(session, wanted, network).await,
        CloudChange::UpdateSubnet { network, id } => {
            match wanted.networks.get(network).and_then(|network| network.subnet.as_ref()) {
                Some(subnet) => {
                    let body = json!({"subnet": changeable(subnet)});
                    session.put(Api::Network, &format!("subnets/{id}"), body).await
                }
                None => Ok(Value::Null),
            }
        }
    };
    match made {
        Err(error) if error.status() == Some(StatusCode::CONFLICT) => Ok(()),
        outcome => outcome.map(drop),
    }
}

async fn create_flavor(session: &Session, wanted: &Cloud, name: &str) -> CloudResult<Value> {
    let Some(Flavor { cpus, memory, disk }) = wanted.flavors.get(name) else { return Ok(Value::Null) };
    let body = json!({"flavor": {"name": name, "vcpus": cpus, "ram": memory, "disk": disk}});
    session.post(Api::Compute, "flavors", body).await
}

async fn create_network(session: &Session, wanted: &Cloud, name: &str) -> CloudResult<Value> {
    let Some(network) = wanted.networks.get(name) else { return Ok(Value::Null) };
    let Network { external, shared, kind, physical, segment, subnet: _ } = network;
    let mut body = json!({"name": name, "router:external": external, "shared": shared});
    for (key, value) in [
        ("provider:network_type", kind.as_ref().map(|kind| json!(kind))),
        ("provider:physical_network", physical.as_ref().map(|physical| json!(physical))),
        ("provider:segmentation_id", segment.map(|segment| json!(segment))),
    ] {
        if let Some(value) = value {
            body[key] = value;
        }
    }
    session.post(Api::Network, "networks", json!({"network": body})).await
}

async fn create_subnet(session: &Session, wanted: &Cloud, name: &str) -> CloudResult<Value> {
    let Some(subnet) = wanted.networks.get(name).and_then(|network| network.subnet.as_ref()) else {
        return Ok(Value::Null);
    };
    // The network may have been made just now: its id is asked for.
    let Some(network) = network_of(session, name).await? else { return Ok(Value::Null) };
    let mut body = changeable(subnet);
    body["name"] = json!(name);
    body["network_id"] = json!(network.id);
    body["ip_version"] = json!(4);
    body["cidr"] = json!(subnet.cidr);
    session.post(Api::Network, "subnets", json!({"subnet": body})).await
}

/// The part of a subnet that can be changed later.
fn changeable(subnet: &Subnet) -> Value {
    let Subnet { cidr: _, gateway, pool, dhcp, dns } = subnet;
    let mut body = json!({"enable_dhcp": dhcp, "dns_nameservers": dns});
    if let Some(gateway) = gateway {
        body["gateway_ip"] = json!(gateway);
    }
    if let Some(Pool { first, last }) = pool {
        body["allocation_pools"] = json!([{"start": first, "end": last}]);
    }
    body
}
