//! The profile as an operator writes it.
//!
//! These types are the schema: `docs/schema/profile.json` and `docs/reference/profile.md` are generated from them, and
//! the checker walks a document against it. So every field has a sentence for its reader.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::model::cloud::Cloud;
use crate::model::{ContainerName, DeploymentName, HostName, ImageName, ReleaseName, ServiceName, SetName};

/// A Mastic profile: one cloud.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(title = "Mastic profile")]
pub struct ProfileDocument {
    /// Name of the deployment: the prefix of every container and volume, and a label on each.
    pub deployment: DeploymentName,
    /// OpenStack series, quoted: "2026.1".
    pub release: ReleaseName,
    /// Region name in the service catalogue.
    #[serde(default = "default_region")]
    pub region: String,
    /// The Docker Engines, by the name used for them everywhere else.
    #[schemars(extend("x-keys" = "host name"))]
    pub hosts: BTreeMap<HostName, HostDocument>,
    /// Where clients from outside reach the APIs.
    #[serde(default)]
    pub public: PublicDocument,
    /// Where the services reach each other's APIs; the public endpoint, if this is left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub internal: Option<InternalDocument>,
    /// Between HAProxy and the services behind it.
    #[serde(default)]
    pub backend: BackendDocument,
    /// Container sets: what is launched, stopped, selected and upgraded as a unit.
    #[schemars(extend("x-keys" = "set name"))]
    pub sets: BTreeMap<SetName, SetDocument>,
    /// Containers and tasks to leave out, by name.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub skip: Vec<ContainerName>,
    /// Values for the variables of services, for all hosts. `mastic explain` lists them.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub variables: BTreeMap<String, serde_json::Value>,
    /// What the cloud offers from the first day, made through its own APIs once it serves.
    #[serde(default, skip_serializing_if = "Cloud::is_empty")]
    pub cloud: Cloud,
    /// Where images come from.
    #[serde(default)]
    pub images: ImagesDocument,
    /// Folders with `templates/` and `images/` of your own, beside this file: they add to the built-in ones or replace
    /// them, the later over the earlier.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub library: Vec<String>,
    /// Folder beside this file with files that are merged over rendered config: `keystone.conf`,
    /// `SERVICE/FILE`, `HOST/FILE`.
    #[serde(default = "default_overrides")]
    pub overrides: String,
    /// Folder for secrets, journals and client files of this deployment. Without it: below the user's state folder.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub state: Option<String>,
}

/// One Docker Engine.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct HostDocument {
    /// `unix:///path` on this machine, `tcp://host:port` with `tls`, or `tcp+plain://host:port` for a network that nobody else is on.
    #[schemars(regex(pattern = r"^(unix:///|tcp://|tcp\+plain://).+$"), extend("x-format" = "engine address"))]
    pub engine: String,
    /// For `tcp://`: folder with `ca.pem`, `cert.pem` and `key.pem`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tls: Option<String>,
    /// The IP address its services listen on and are reached at.
    #[schemars(extend("x-format" = "IP address"))]
    pub address: String,
    /// Values for the variables of services, on this host only.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub variables: BTreeMap<String, serde_json::Value>,
}

/// Where clients from outside reach the APIs.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct PublicDocument {
    /// IP address on which HAProxy listens.
    #[serde(default = "default_address")]
    #[schemars(extend("x-format" = "IP address"))]
    pub address: String,
    /// DNS name in public URLs and in the certificate; without it, the address.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Whether public endpoints speak HTTPS.
    #[serde(default = "default_true")]
    pub tls: bool,
}

/// Where the services reach each other's APIs.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct InternalDocument {
    /// IP address on which HAProxy listens. Where it is the public address too, there is one listener, and it is public's.
    #[schemars(extend("x-format" = "IP address"))]
    pub address: String,
    /// DNS name in internal URLs and in the certificate; without it, the address.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Whether internal endpoints speak HTTPS.
    #[serde(default)]
    pub tls: bool,
}

/// Between HAProxy and the services behind it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct BackendDocument {
    /// Whether HAProxy speaks TLS to the services, each with a certificate of its own that HAProxy verifies. Where they are on other
    /// machines, this keeps tokens and passwords from whoever listens on the network between.
    #[serde(default)]
    pub tls: bool,
}

/// One container set.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SetDocument {
    /// The services whose containers are in this set. A service may be in several sets: each of its containers goes to the set
    /// it names in service.yaml, where that set lists the service, else to the one set that lists it.
    pub services: Vec<ServiceName>,
    /// The hosts it runs on; without it, all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hosts: Option<Vec<HostName>>,
}

/// Where images come from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ImagesDocument {
    /// Registry host (and port) that images are pulled from and pushed to; without it, images are built on the hosts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub registry: Option<String>,
    /// First part of image names.
    #[serde(default = "default_namespace")]
    pub namespace: String,
    /// Tag of images; without it, the release.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tag: Option<String>,
    /// Base image to start from instead of building one, e.g. `debian:trixie-slim`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub base: Option<String>,
    /// Exact references for single images.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(extend("x-keys" = "image name"))]
    pub pins: BTreeMap<ImageName, String>,
}

impl Default for PublicDocument {
    fn default() -> Self {
        Self { address: default_address(), name: None, tls: true }
    }
}

impl Default for ImagesDocument {
    fn default() -> Self {
        Self { registry: None, namespace: default_namespace(), tag: None, base: None, pins: BTreeMap::new() }
    }
}

fn default_region() -> String {
    "RegionOne".to_owned()
}

fn default_overrides() -> String {
    "overrides".to_owned()
}

fn default_address() -> String {
    "127.0.0.1".to_owned()
}

fn default_namespace() -> String {
    "mastic".to_owned()
}

fn default_true() -> bool {
    true
}
