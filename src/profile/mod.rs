//! From YAML text to the desired state.
//!
//! ```text
//! text --yaml--> Node (with positions) --conform--> ProfileDocument, Service --check--> Profile --resolve--> Desired
//! ```
//!
//! Every mistake is collected, in all files, before anything is given back. Nothing here opens a file: the shell
//! hands in text and a [`Library`].

mod check;
mod codes;
pub mod conform;
pub mod container;
mod context;
pub mod diagnostic;
pub mod document;
mod edit;
pub mod explain;
mod files;
pub mod ini;
pub mod init;
mod layout;
pub mod library;
mod load;
mod overrides;
pub mod reference;
mod resolve;
pub mod schema;
mod series;
pub mod service;
pub mod source;
mod specs;
mod templates;
mod trace;
mod tree;
mod validations;
mod variables;
pub mod yaml;

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;

use crate::model::spec::{NAMESPACES, ending_capabilities};
use crate::model::{
    ContainerName, HostName, ImageId, ImageName, PinnedImage, Secret, SecretKind, SecretName, ServiceName,
    SetName,
};

pub use diagnostic::{Diagnostic, Diagnostics};
pub use document::ProfileDocument;
pub use edit::Edits;
pub use init::init_profile;
pub use library::{Library, LibraryFile};
pub use load::{Sources, check_library, load, sources};
pub use resolve::resolve;
pub use service::Service;
pub use trace::Place;

use layout::Layout;
use tree::Doc;
use variables::Declared;

/// Secrets that every deployment has and every service may use: the private CA's certificate, the front certificate and
/// its key, and both in one, as PEM. The store makes them.
pub const TLS_SECRETS: [&str; 4] = ["tls_ca_cert", "tls_vip_cert", "tls_vip_key", "tls_vip_pem"];

/// Where the CA certificate belongs in a container.
pub const CA_PATH: &str = "/etc/mastic/tls/ca.crt";

/// Where a service behind the proxy has its certificate and key, in one, where `backend.tls` is on.
pub const BACKEND_PATH: &str = "/etc/mastic/tls/backend.pem";

/// Returns the name of the secret with a service's certificate and key for [`BACKEND_PATH`].
pub fn backend_secret(service: &ServiceName) -> Option<SecretName> {
    SecretName::new(format!("tls_backend_pem-{service}")).ok()
}

/// A checked profile with the services it uses.
#[derive(Clone, Debug, PartialEq)]
pub struct Profile {
    /// What the operator wrote.
    pub document: ProfileDocument,
    doc: Doc,
    services: BTreeMap<ServiceName, Loaded>,
    declared: BTreeMap<String, Declared>,
    layout: Layout,
}

/// One service with its positions.
#[derive(Clone, Debug, PartialEq)]
struct Loaded {
    service: Service,
    doc: Doc,
}

/// What a profile is resolved with, besides the library.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Inputs {
    /// All of [`Profile::secret_requests`], and [`TLS_SECRETS`], and a [`backend_secret`] for each of [`Profile::backends`].
    pub secrets: BTreeMap<SecretName, Secret>,
    /// All of [`Profile::image_requests`], pinned.
    pub images: BTreeMap<ImageName, PinnedImage>,
    /// SHA-256 of the PID-1 binary.
    pub init_digest: String,
}

impl Inputs {
    /// Returns inputs with which everything can be rendered and nothing can be run: for checks, and for showing files.
    pub fn placeholders(profile: &Profile) -> Self {
        Self {
            secrets: profile
                .secret_requests()
                .into_keys()
                .chain(TLS_SECRETS.iter().filter_map(|name| SecretName::new(*name).ok()))
                .chain(profile.backends().keys().filter_map(backend_secret))
                .map(|name| {
                    let value = Secret::new(format!("placeholder-for-{name}"));
                    (name, value)
                })
                .collect(),
            images: profile
                .image_requests()
                .into_iter()
                .map(|(name, reference)| {
                    (name, PinnedImage { reference, id: ImageId(format!("sha256:{}", "0".repeat(64))) })
                })
                .collect(),
            init_digest: String::new(),
        }
    }
}

/// One address that something of the profile listens on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listener {
    /// Host.
    pub host: HostName,
    /// Who listens.
    pub service: ServiceName,
    /// The variable that gives the number.
    pub name: String,
    /// IP address.
    pub address: String,
    /// Port.
    pub port: u16,
}

/// One exception from "unprivileged", with its reason.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct PrivilegeListing {
    /// Container or task.
    pub container: ContainerName,
    /// What, e.g. `capability NET_ADMIN`.
    pub privilege: String,
    /// Why.
    pub reason: String,
}

/// One set as people list it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SetListing {
    /// Set.
    pub set: SetName,
    /// Its services, each with its long-running containers and their hosts.
    pub services: BTreeMap<ServiceName, BTreeMap<ContainerName, Vec<HostName>>>,
}

impl Profile {
    /// Returns the secrets that must exist, with how each is made. [`TLS_SECRETS`] are not among them.
    pub fn secret_requests(&self) -> BTreeMap<SecretName, SecretKind> {
        self.services
            .values()
            .flat_map(|loaded| {
                loaded.service.secrets.iter().map(|(name, request)| (name.clone(), request.kind))
            })
            .collect()
    }

    /// Returns the names and addresses at which the proxy reaches each service over TLS; none where `backend.tls` is off.
    pub fn backends(&self) -> BTreeMap<ServiceName, BTreeSet<String>> {
        let mut backends: BTreeMap<ServiceName, BTreeSet<String>> = BTreeMap::new();
        for (name, loaded) in self.services.iter().filter(|_| self.document.backend.tls) {
            for (index, proxy) in loaded.service.proxy.iter().enumerate() {
                let Some(unit) = self.layout.units.get(&proxy.backends) else { continue };
                if proxy.mode == service::ProxyMode::Http && context::proxy_holds(self, name, index, proxy) {
                    let addresses = unit.hosts.iter().filter_map(|host| self.document.hosts.get(host));
                    let names = backends.entry(name.clone()).or_default();
                    names.insert(proxy.backends.to_string());
                    names.extend(addresses.map(|host| host.address.clone()));
                }
            }
        }
        backends
    }

    /// Returns the images that its containers and tasks need, by name, each with the reference it is known by.
    pub fn image_requests(&self) -> BTreeMap<ImageName, String> {
        self.layout
            .units
            .values()
            .map(|unit| (unit.image.clone(), self.image_reference(&unit.image)))
            .collect()
    }

    /// Returns the reference of an image by this profile's rules.
    pub fn image_reference(&self, image: &ImageName) -> String {
        let images = &self.document.images;
        if let Some(pin) = images.pins.get(image) {
            return pin.clone();
        }
        let registry = images.registry.as_ref().map(|registry| format!("{registry}/")).unwrap_or_default();
        let tag = images.tag.as_deref().unwrap_or(self.document.release.as_str());
        format!("{registry}{}/{image}:{tag}", images.namespace)
    }

    /// Returns the images of some services with the references that they would have with another tag, pinned or not.
    pub fn retagged(&self, services: &BTreeSet<ServiceName>, tag: &str) -> BTreeMap<ImageName, String> {
        let images = &self.document.images;
        let registry = images.registry.as_ref().map(|registry| format!("{registry}/")).unwrap_or_default();
        let units = self.layout.units.values().filter(|unit| services.contains(&unit.service));
        units
            .map(|unit| (unit.image.clone(), format!("{registry}{}/{}:{tag}", images.namespace, unit.image)))
            .collect()
    }

    /// Returns the image of a container or task.
    pub fn image_of(&self, container: &ContainerName) -> Option<&ImageName> {
        self.layout.units.get(container).map(|unit| &unit.image)
    }

    /// Returns the sets in the order in which they are launched, with what is in them.
    pub fn listing(&self) -> Vec<SetListing> {
        self.layout
            .sets
            .iter()
            .map(|set| {
                let mut services: BTreeMap<_, BTreeMap<_, _>> = BTreeMap::new();
                for (name, unit) in
                    self.layout.units.iter().filter(|(_, unit)| unit.set == *set && !unit.is_task())
                {
                    services
                        .entry(unit.service.clone())
                        .or_default()
                        .insert(name.clone(), unit.hosts.clone());
                }
                SetListing { set: set.clone(), services }
            })
            .collect()
    }

    /// Returns the sets in the order in which they are launched.
    pub fn sets(&self) -> &[SetName] {
        &self.layout.sets
    }

    /// Returns everything that listens on a port of a host.
    pub fn listeners(&self) -> Vec<Listener> {
        check::ports::listeners(self).into_iter().map(|(listener, _)| listener).collect()
    }

    /// Returns every privilege of every container and task, with its reason.
    pub fn privileges(&self) -> Vec<PrivilegeListing> {
        let mut list = Vec::new();
        for (name, unit) in &self.layout.units {
            let Some(loaded) = self.services.get(&unit.service) else { continue };
            let (containers, tasks) = (&loaded.service.containers, &loaded.service.tasks);
            let like = tasks.get(name).and_then(|task| containers.get(task.like.as_ref()?));
            let own = tasks.get(name).and_then(|task| task.privileges.as_ref());
            let granted = containers.get(name).map(|c| &c.privileges).or(own).or(like.map(|c| &c.privileges));
            let binds = containers
                .get(name)
                .map(|c| c.binds.as_slice())
                .or(tasks.get(name).and_then(|task| task.binds.as_deref()))
                .or(like.map(|c| c.binds.as_slice()))
                .unwrap_or_default();
            let mut add = |privilege: String, reason: &str| {
                list.push(PrivilegeListing { container: name.clone(), privilege, reason: reason.to_owned() });
            };
            if let Some(granted) = granted {
                granted.capabilities.iter().for_each(|(what, why)| add(format!("capability {what}"), why));
                granted
                    .security_opts
                    .iter()
                    .for_each(|(what, why)| add(format!("security option {what}"), why));
                granted.devices.iter().for_each(|(what, why)| add(format!("device {what}"), why));
                let single = [
                    ("root", &granted.root),
                    ("new privileges", &granted.new_privileges),
                    ("host PID namespace", &granted.host_pid),
                    ("host IPC namespace", &granted.host_ipc),
                    ("host cgroup namespace", &granted.host_cgroups),
                ];
                for (what, why) in single {
                    if let Some(why) = why {
                        add(what.to_owned(), why);
                    }
                }
            }
            for bind in binds {
                add(format!("host path {}", bind.path), &bind.reason);
            }
            // Of the container that is made for it, once.
            if containers.get(name).is_some_and(|container| container.leaves.is_some()) {
                add(
                    "at its end: root, host PID namespace".to_owned(),
                    "`destroy --volumes all` ends what lives on after it",
                );
                let namespaces = binds.iter().any(|bind| bind.path == NAMESPACES);
                for (what, why) in ending_capabilities(namespaces) {
                    add(format!("at its end: capability {what}"), why);
                }
            }
        }
        list
    }

    /// Returns the same with an address of the loopback network for each host: what is rendered from it reaches nothing outside of
    /// the network that it runs in.
    #[must_use]
    pub fn on_loopback(&self) -> Self {
        let mut alone = self.clone();
        for (index, host) in alone.document.hosts.values_mut().enumerate() {
            host.address = format!("127.0.{}.{}", index / 250, index % 250 + 1);
        }
        alone
    }

    /// Returns the databases of a service's own.
    pub fn databases_of(&self, service: &ServiceName) -> Vec<String> {
        let declared = self.services.get(service).map(|loaded| loaded.service.databases.as_slice());
        declared.unwrap_or_default().iter().map(|database| database.name.clone()).collect()
    }

    /// Returns the hosts in the order of the profile.
    pub fn host_order(&self) -> Vec<HostName> {
        self.doc.keys(&["hosts"]).filter_map(|name| HostName::new(name).ok()).collect()
    }

    /// Returns the services it uses.
    pub fn services(&self) -> impl Iterator<Item = &Service> {
        self.services.values().map(|loaded| &loaded.service)
    }

    /// Returns whether anything in it fronts the APIs.
    fn has_proxy(&self) -> bool {
        self.services().any(|service| service.sees.contains(&service::Sees::Proxies))
    }
}
