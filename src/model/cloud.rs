//! What a cloud offers from the first day: flavors and networks, as the profile names them.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What is made through the cloud's own APIs. Nothing is ever removed: what is not named here is not looked at.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Cloud {
    /// Sizes of servers.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub flavors: BTreeMap<String, Flavor>,
    /// Networks of the administrator's project: those that lead out, and those that all projects share.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub networks: BTreeMap<String, Network>,
}

/// One size of servers, for all projects.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Flavor {
    /// Processors.
    #[schemars(range(min = 1, max = 512))]
    pub cpus: u32,
    /// Megabytes of memory.
    #[schemars(range(min = 1, max = 16_777_216))]
    pub memory: u32,
    /// Gigabytes of disk.
    #[serde(default)]
    #[schemars(range(min = 0, max = 1_048_576))]
    pub disk: u32,
}

/// One network with at most one subnet.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Network {
    /// Whether it leads out of the cloud: routers have their gateway there, and floating addresses come from it.
    #[serde(default)]
    pub external: bool,
    /// Whether all projects may attach servers to it.
    #[serde(default)]
    pub shared: bool,
    /// How it is carried: `flat`, `vlan`, `vxlan`, `geneve`; without it, as the cloud carries networks of projects.
    #[serde(default, rename = "type", skip_serializing_if = "Option::is_none")]
    pub kind: Option<String>,
    /// For `flat` and `vlan`: the physical network, by the name that the agents map to a bridge.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub physical: Option<String>,
    /// For `vlan`: its number.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 16_777_215))]
    pub segment: Option<u32>,
    /// Its addresses.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub subnet: Option<Subnet>,
}

/// IPv4 addresses of a network.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Subnet {
    /// All of them: `10.99.0.0/24`.
    pub cidr: String,
    /// Where the way out is; without it, the first address.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("x-format" = "IP address"))]
    pub gateway: Option<String>,
    /// First and last of those that the cloud may give away; without it, all but the gateway.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pool: Option<Pool>,
    /// Whether servers on it are told their address.
    #[serde(default)]
    pub dhcp: bool,
    /// Name servers that servers on it are told.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub dns: Vec<String>,
}

/// Addresses from one to another, both included.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Pool {
    /// The first.
    #[schemars(extend("x-format" = "IP address"))]
    pub first: String,
    /// The last.
    #[schemars(extend("x-format" = "IP address"))]
    pub last: String,
}

impl Cloud {
    /// Returns whether nothing is asked for.
    pub fn is_empty(&self) -> bool {
        self.flavors.is_empty() && self.networks.is_empty()
    }

    /// Returns all names, for people: `flavors tiny, small; network public`.
    pub fn names(&self) -> String {
        let part = |one: &str, names: Vec<&str>| match names.as_slice() {
            [] => None,
            [name] => Some(format!("{one} {name}")),
            several => Some(format!("{one}s {}", several.join(", "))),
        };
        let flavors = part("flavor", self.flavors.keys().map(String::as_str).collect());
        let networks = part("network", self.networks.keys().map(String::as_str).collect());
        [flavors, networks].into_iter().flatten().collect::<Vec<_>>().join("; ")
    }
}
