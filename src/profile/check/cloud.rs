//! The profile's `cloud`: what it asks for must be possible, and its addresses must be such.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;

use crate::model::ServiceName;
use crate::model::cloud::{Cloud, Network, Pool, Subnet};
use crate::profile::Loaded;
use crate::profile::diagnostic::Diagnostic;
use crate::profile::tree::Doc;

/// Checks flavors and networks.
pub(in crate::profile) fn check(
    doc: &Doc,
    cloud: &Cloud,
    services: &BTreeMap<ServiceName, Loaded>,
    out: &mut Vec<Diagnostic>,
) {
    let Cloud { flavors, networks } = cloud;
    let has =
        |kind: &str| services.values().any(|s| s.service.identity.services.iter().any(|c| c.kind == kind));
    for (key, empty, kind, service) in [
        ("flavors", flavors.is_empty(), "compute", "nova"),
        ("networks", networks.is_empty(), "network", "neutron"),
    ] {
        if !empty && !has(kind) {
            let message = format!("`{key}` needs a service of type `{kind}`, and no set lists one");
            let help = format!("add `{service}` to a set, or remove `{key}`");
            out.push(doc.wrong_key("missing-service", &["cloud", key], message).help(help));
        }
    }
    for (name, network) in networks {
        check_network(doc, name, network, out);
    }
}

fn check_network(doc: &Doc, name: &str, network: &Network, out: &mut Vec<Diagnostic>) {
    let path = ["cloud", "networks", name];
    let kind = network.kind.as_deref().unwrap_or_default();
    if matches!(kind, "flat" | "vlan") && network.physical.is_none() {
        let message = format!("a network of type `{kind}` has no `physical`");
        out.push(
            doc.wrong_key("missing-key", &path, message)
                .help("name the physical network that the agents map to a bridge"),
        );
    }
    if kind == "vlan" && network.segment.is_none() {
        let message = "a network of type `vlan` has no `segment`";
        out.push(doc.wrong_key("missing-key", &path, message).help("give the number of the VLAN"));
    }
    let Some(Subnet { cidr, gateway, pool, dhcp: _, dns: _ }) = &network.subnet else { return };
    let at = |key: &[&'static str]| [&path[..], &["subnet"], key].concat();
    let Some((base, bits)) = parse(cidr) else {
        let message = format!("`{cidr}` is not an IPv4 network");
        out.push(
            doc.wrong_value("bad-format", &at(&["cidr"]), message)
                .help("its first address and its bits: 10.99.0.0/24"),
        );
        return;
    };
    let mut inside = |address: &str, key: &[&'static str]| {
        if address.parse().is_ok_and(|address| mask(address, bits) == base) {
            return;
        }
        out.push(doc.wrong_value("bad-format", &at(key), format!("{address} is not in {cidr}")));
    };
    if let Some(gateway) = gateway {
        inside(gateway, &["gateway"]);
    }
    if let Some(Pool { first, last }) = pool {
        inside(first, &["pool", "first"]);
        inside(last, &["pool", "last"]);
        let order = (first.parse::<Ipv4Addr>(), last.parse::<Ipv4Addr>());
        if matches!(order, (Ok(first), Ok(last)) if first > last) {
            let message = format!("{first} comes after {last}");
            out.push(
                doc.wrong_value("bad-format", &at(&["pool", "first"]), message)
                    .help("`first` is the lower one"),
            );
        }
    }
}

/// Reads a network; its address must be the first one of it.
fn parse(cidr: &str) -> Option<(u32, u32)> {
    let (address, bits) = cidr.split_once('/')?;
    let (address, bits): (Ipv4Addr, u32) = (address.parse().ok()?, bits.parse().ok()?);
    ((1..=30).contains(&bits) && mask(address, bits) == address.to_bits())
        .then_some((address.to_bits(), bits))
}

fn mask(address: Ipv4Addr, bits: u32) -> u32 {
    // `bits` is from 1 to 30.
    address.to_bits() & (u32::MAX << (32 - bits))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_network_must_be_its_first_address_and_its_bits() {
        assert_eq!(parse("10.99.0.0/24"), Some((0x0a63_0000, 24)));
        for wrong in
            ["10.99.0.1/24", "10.99.0.0", "10.99.0.0/33", "10.99.0.0/0", "10.99.0.0/31", "x/24", "::/64", ""]
        {
            assert_eq!(parse(wrong), None, "{wrong}");
        }
    }
}
