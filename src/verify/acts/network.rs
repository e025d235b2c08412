//! Neutron: a network of its own, the way out, and what the security group lets in.

use std::net::Ipv4Addr;
use std::time::Duration;

use serde_json::json;

use super::super::reach;
use super::super::scene::{Look, Net, Scene, made};
use super::super::steps::StepId;
use super::super::walk::{ActResult, Failure};
use super::compute::said;
use super::id_of;
use crate::cloud::{Api, text};

/// Of documentation's own ranges none is free on every machine; this one is in no route of an ordinary office.
const SUBNET: &str = "10.213.0.0/24";
/// Packets to a guest that lets nothing in vanish: silence that long is a refusal.
const SILENCE: Duration = Duration::from_secs(3);

/// Network, subnet, router (with a way out, if the cloud has one), a security group that lets nothing in, a port.
pub(in crate::verify) async fn network(scene: &Scene) -> ActResult {
    let user = scene.user()?;
    let name = &scene.name;
    let api = Api::Network;
    let network = id_of(&user.post(api, "networks", json!({"network": {"name": name}})).await?, "network")?;
    let subnet = json!({"subnet": {"name": name, "network_id": network, "ip_version": 4, "cidr": SUBNET}});
    let externals = user.list(api, "networks?router:external=true", "networks").await?;
    let external = externals.first().map(|network| text(network, "id"));
    if external.is_none() && scene.facts.external {
        return Err(Failure("the profile has an external network, the cloud shows none".to_owned()));
    }
    let mut router = json!({"name": name});
    if let Some(external) = &external {
        router["external_gateway_info"] = json!({"network_id": external});
    }
    let group = json!({"security_group": {"name": name, "description": "Nothing may come in, until verify allows it"}});
    let (subnet, router, group) = futures::try_join!(
        user.post(api, "subnets", subnet),
        user.post(api, "routers", json!({"router": router})),
        user.post(api, "security-groups", group),
    )?;
    let (subnet, router) = (id_of(&subnet, "subnet")?, id_of(&router, "router")?);
    let security_group = id_of(&group, "security_group")?;
    user.put(api, &format!("routers/{router}/add_router_interface"), json!({"subnet_id": subnet})).await?;
    let port = json!({"port": {"name": name, "network_id": network, "security_groups": [security_group]}});
    let port = user.post(api, "ports", port).await?;
    let address = text(&port["port"]["fixed_ips"][0], "ip_address");
    let port = id_of(&port, "port")?;
    if address.is_empty() {
        return Err(Failure(format!("port {port} got no address")));
    }
    let out = externals
        .first()
        .map_or_else(|| "no way out".to_owned(), |net| format!("out by {}", text(net, "name")));
    let _ = scene.made.net.set(Net { external, security_group, port, address: address.clone() });
    Ok(format!("{SUBNET}, port {address}, {out}"))
}

/// A floating address on the server's port.
pub(in crate::verify) async fn floating_ip(scene: &Scene) -> ActResult {
    let net = made(&scene.made.net, "network")?;
    let external =
        net.external.as_ref().ok_or_else(|| Failure("the cloud has no external network".to_owned()))?;
    let request = json!({"floatingip": {"floating_network_id": external, "port_id": net.port, "description": scene.name}});
    let answer = scene.user()?.post(Api::Network, "floatingips", request).await?;
    let address = text(&answer["floatingip"], "floating_ip_address");
    let parsed: Ipv4Addr = address.parse().map_err(|_| Failure(format!("`{address}` is no address")))?;
    let _ = scene.made.floating.set(parsed);
    Ok(address)
}

fn floating(scene: &Scene) -> Result<Ipv4Addr, Failure> {
    made(&scene.made.floating, "floating address").copied()
}

/// Nothing answers: the guest's web server runs (its console says so), and no packet gets to it.
pub(in crate::verify) async fn blocked(scene: &Scene) -> ActResult {
    said(scene, StepId::Blocked, "ready", |line| (line == "ready").then_some(())).await?;
    let address = floating(scene)?;
    if let Ok(answer) = reach::http(address, SILENCE).await {
        return Err(Failure(format!(
            "{address} answered, though its security group lets nothing in: {answer}"
        )));
    }
    if reach::ping(address, SILENCE).await?.is_some() {
        return Err(Failure(format!("{address} answered a ping, though its security group lets nothing in")));
    }
    // From here on it may: both rules at once, each is shown by a step of its own.
    let group = &made(&scene.made.net, "network")?.security_group;
    let rule = |protocol: &str, port: Option<u16>| {
        json!({"security_group_rule": {"security_group_id": group, "direction": "ingress", "ethertype": "IPv4",
            "protocol": protocol, "port_range_min": port, "port_range_max": port}})
    };
    let user = scene.user()?;
    futures::try_join!(
        user.post(Api::Network, "security-group-rules", rule("icmp", None)),
        user.post(Api::Network, "security-group-rules", rule("tcp", Some(80))),
    )?;
    Ok(format!("{} s of silence; now allowed: icmp, tcp 80", 2 * SILENCE.as_secs()))
}

/// The floating address answers pings.
pub(in crate::verify) async fn ping(scene: &Scene) -> ActResult {
    let address = floating(scene)?;
    scene
        .until(StepId::Ping, || async {
            let took = reach::ping(address, Duration::from_secs(1)).await?;
            let silent =
                || format!("{address} does not answer pings from this machine ({})", reach::route(address));
            Ok(took.map_or_else(|| Look::NotYet(silent()), Look::There))
        })
        .await
        .map(|took| format!("{address} in {:.1} ms", took.as_secs_f64() * 1000.0))
}

/// The guest's web server answers at the floating address, with the server's id.
pub(in crate::verify) async fn http(scene: &Scene) -> ActResult {
    let address = floating(scene)?;
    let wanted = made(&scene.made.server, "server")?;
    let body = scene
        .until(StepId::Http, || async {
            Ok(match reach::http(address, Duration::from_secs(2)).await {
                Ok(body) => Look::There(body),
                Err(why) => Look::NotYet(format!("http://{address}/: {why}")),
            })
        })
        .await?;
    if body.trim() == wanted {
        Ok(format!("http://{address}/ is server {wanted}"))
    } else {
        Err(Failure(format!("http://{address}/ should be server {wanted}, and says: {body}")))
    }
}
