//! What the cloud must be told beyond its catalogue, as a pure difference: flavors and networks, wanted against seen.
//!
//! Nothing is ever removed: what operators added is theirs. What cannot be changed in place is refused, with the way out.

use std::collections::BTreeMap;
use std::fmt;

use crate::model::cloud::{Cloud, Flavor, Network, Subnet};

/// What the cloud has of what is wanted, by name, with its ids.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CloudObserved {
    /// Flavors.
    pub flavors: BTreeMap<String, (String, Flavor)>,
    /// Networks of the administrator's project.
    pub networks: BTreeMap<String, ObservedNetwork>,
}

/// A network as Neutron has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ObservedNetwork {
    /// Id.
    pub id: String,
    /// What it is; its subnet is the one that has the network's name.
    pub network: Network,
    /// Id of that subnet.
    pub subnet: Option<String>,
}

/// One difference.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CloudChange {
    /// No such flavor.
    CreateFlavor {
        /// Name.
        flavor: String,
    },
    /// The flavor differs. Servers keep what they were made with.
    ReplaceFlavor {
        /// Name.
        flavor: String,
        /// Id.
        id: String,
    },
    /// No such network.
    CreateNetwork {
        /// Name.
        network: String,
    },
    /// Who may use it differs.
    UpdateNetwork {
        /// Name.
        network: String,
        /// Id.
        id: String,
    },
    /// It has no subnet of its name.
    CreateSubnet {
        /// Network.
        network: String,
    },
    /// Gateway, pool, DHCP or name servers differ.
    UpdateSubnet {
        /// Network.
        network: String,
        /// Id of the subnet.
        id: String,
    },
    /// It differs in what never changes.
    Refuse {
        /// Network.
        network: String,
        /// What, now and wanted.
        why: String,
    },
}

impl fmt::Display for CloudChange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::CreateFlavor { flavor } => write!(f, "create flavor {flavor}"),
            Self::ReplaceFlavor { flavor, id: _ } => write!(f, "replace flavor {flavor}"),
            Self::CreateNetwork { network } => write!(f, "create network {network}"),
            Self::UpdateNetwork { network, id: _ } => write!(f, "change network {network}"),
            Self::CreateSubnet { network } => write!(f, "create the subnet of network {network}"),
            Self::UpdateSubnet { network, id: _ } => write!(f, "change the subnet of network {network}"),
            Self::Refuse { network, why } => {
                write!(
                    f,
                    "network {network} cannot be changed in place: {why}; delete it, or take it out of the profile"
                )
            }
        }
    }
}

/// Returns everything that must change; empty when the cloud is as it should be.
pub fn cloud_diff(wanted: &Cloud, observed: &CloudObserved) -> Vec<CloudChange> {
    let mut changes = Vec::new();
    for (name, flavor) in &wanted.flavors {
        match observed.flavors.get(name) {
            None => changes.push(CloudChange::CreateFlavor { flavor: name.clone() }),
            Some((id, seen)) if seen != flavor => {
                changes.push(CloudChange::ReplaceFlavor { flavor: name.clone(), id: id.clone() });
            }
            Some(_) => {}
        }
    }
    for (name, network) in &wanted.networks {
        match observed.networks.get(name) {
            None => {
                changes.push(CloudChange::CreateNetwork { network: name.clone() });
                if network.subnet.is_some() {
                    changes.push(CloudChange::CreateSubnet { network: name.clone() });
                }
            }
            Some(seen) => network_diff(name, network, seen, &mut changes),
        }
    }
    changes
}

fn network_diff(name: &str, wanted: &Network, seen: &ObservedNetwork, changes: &mut Vec<CloudChange>) {
    let Network { external, shared, kind, physical, segment, subnet } = wanted;
    let network = || name.to_owned();
    let refuse = |what: &str, is: &dyn fmt::Display, wants: &dyn fmt::Display| CloudChange::Refuse {
        network: network(),
        why: format!("its {what} is {is}, the profile says {wants}"),
    };
    // What the profile leaves to the cloud is right however it is.
    for (what, is, wants) in
        [("type", &seen.network.kind, kind), ("physical network", &seen.network.physical, physical)]
    {
        if let Some(wants) = wants.as_ref().filter(|wants| is.as_ref() != Some(wants)) {
            changes.push(refuse(what, &is.as_deref().unwrap_or("none"), wants));
        }
    }
    if let Some(wants) = segment.filter(|wants| seen.network.segment != Some(*wants)) {
        changes.push(refuse("segment", &seen.network.segment.unwrap_or_default(), &wants));
    }
    if (*external, *shared) != (seen.network.external, seen.network.shared) {
        changes.push(CloudChange::UpdateNetwork { network: network(), id: seen.id.clone() });
    }
    match (subnet, &seen.network.subnet, &seen.subnet) {
        (None, _, _) => {}
        (Some(_), None, _) | (Some(_), _, None) => {
            changes.push(CloudChange::CreateSubnet { network: network() });
        }
        (Some(wants), Some(is), Some(_)) if wants.cidr != is.cidr => {
            changes.push(refuse("subnet", &is.cidr, &wants.cidr));
        }
        (Some(wants), Some(is), Some(id)) if differs(wants, is) => {
            changes.push(CloudChange::UpdateSubnet { network: network(), id: id.clone() });
        }
        (Some(_), Some(_), Some(_)) => {}
    }
}

/// Whether what can be changed of a subnet differs, as far as the profile says it.
fn differs(wanted: &Subnet, seen: &Subnet) -> bool {
    let Subnet { cidr: _, gateway, pool, dhcp, dns } = wanted;
    gateway.as_ref().is_some_and(|gateway| seen.gateway.as_ref() != Some(gateway))
        || pool.as_ref().is_some_and(|pool| seen.pool.as_ref() != Some(pool))
        || *dhcp != seen.dhcp
        || *dns != seen.dns
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::cloud::Pool;

    fn network() -> Network {
        Network {
            external: true,
            shared: false,
            kind: Some("flat".to_owned()),
            physical: Some("physnet1".to_owned()),
            segment: None,
            subnet: Some(Subnet {
                cidr: "10.99.0.0/24".to_owned(),
                gateway: Some("10.99.0.1".to_owned()),
                pool: None,
                dhcp: false,
                dns: Vec::new(),
            }),
        }
    }

    fn wanted() -> Cloud {
        let flavor = Flavor { cpus: 1, memory: 128, disk: 1 };
        Cloud {
            flavors: [("tiny".to_owned(), flavor)].into(),
            networks: [("public".to_owned(), network())].into(),
        }
    }

    fn complete() -> CloudObserved {
        let mut seen = network();
        let pool = Pool { first: "10.99.0.2".to_owned(), last: "10.99.0.254".to_owned() };
        seen.subnet.as_mut().unwrap().pool = Some(pool);
        seen.segment = Some(7);
        CloudObserved {
            flavors: [("tiny".to_owned(), ("f1".to_owned(), Flavor { cpus: 1, memory: 128, disk: 1 }))]
                .into(),
            networks: [(
                "public".to_owned(),
                ObservedNetwork { id: "n1".to_owned(), network: seen, subnet: Some("s1".to_owned()) },
            )]
            .into(),
        }
    }

    fn text(wanted: &Cloud, observed: &CloudObserved) -> String {
        cloud_diff(wanted, observed).iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")
    }

    #[test]
    fn an_empty_cloud_must_get_everything_and_a_complete_one_nothing() {
        assert_eq!(
            text(&wanted(), &CloudObserved::default()),
            "create flavor tiny\ncreate network public\ncreate the subnet of network public"
        );
        assert_eq!(text(&wanted(), &complete()), "");
        assert_eq!(text(&Cloud::default(), &complete()), "", "what is not named is not looked at");
    }

    #[test]
    fn what_differs_must_change_or_be_refused() {
        let mut observed = complete();
        observed.flavors.get_mut("tiny").unwrap().1.memory = 64;
        let seen = observed.networks.get_mut("public").unwrap();
        seen.network.shared = true;
        seen.network.subnet.as_mut().unwrap().gateway = Some("10.99.0.9".to_owned());
        assert_eq!(
            text(&wanted(), &observed),
            "replace flavor tiny\nchange network public\nchange the subnet of network public"
        );
        let mut observed = complete();
        let seen = observed.networks.get_mut("public").unwrap();
        seen.network.physical = None;
        seen.network.subnet.as_mut().unwrap().cidr = "10.98.0.0/24".to_owned();
        let text = text(&wanted(), &observed);
        assert!(
            text.contains("its physical network is none, the profile says physnet1; delete it"),
            "{text}"
        );
        assert!(text.contains("its subnet is 10.98.0.0/24, the profile says 10.99.0.0/24"), "{text}");
    }
}
