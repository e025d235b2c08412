//! What templates see: see `docs/reference/templates.md`.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value as Json, json};

use super::layout::{self, Unit};
use super::service::{Proxy, ProxyMode, Sees};
use super::variables::{port_variable, proxy_variable, spare_variable, value, values};
use super::{BACKEND_PATH, CA_PATH, Inputs, Loaded, Profile, TLS_SECRETS};
use crate::model::desired::Route;
use crate::model::spec::Side;
use crate::model::{ContainerName, HostName, Secret, ServiceName, Slot};
use crate::template::Functions;

/// One front, resolved: where clients come in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Front {
    pub(super) public: String,
    pub(super) internal: String,
}

/// Returns what is known before anything is placed: enough for conditions.
pub(super) fn basic(profile: &Profile, host: &HostName) -> Json {
    let document = &profile.document;
    let variables = values(document, &profile.declared, host);
    let number = |name: String| variables.get(&name).cloned().unwrap_or(Json::Null);
    let ports: BTreeMap<&str, Json> = profile
        .services()
        .flat_map(|service| service.ports.keys())
        .map(|name| (name.as_str(), number(port_variable(name))))
        .collect();
    let address = document.hosts.get(host).map(|h| h.address.as_str()).unwrap_or_default();
    let (public, internal) = (side(&public_side(profile)), side(&internal_side(profile)));
    json!({
        "var": variables,
        "port": ports,
        "deployment": document.deployment,
        "release": document.release,
        "region": document.region,
        "host": {"name": host, "address": address, "index": 0},
        "public": public,
        "internal": internal,
        "backend": {"tls": document.backend.tls, "scheme": scheme(document.backend.tls), "pem": BACKEND_PATH},
        "tls": {"ca": CA_PATH},
        "services": profile.services.keys().collect::<Vec<_>>(),
    })
}

/// What clients of one kind see.
struct Face {
    address: String,
    name: String,
    tls: bool,
}

fn side(side: &Face) -> Json {
    json!({"address": side.address, "name": side.name, "tls": side.tls, "scheme": scheme(side.tls)})
}

/// Returns the addresses on which a proxy entry listens.
pub(super) fn sides(profile: &Profile, proxy: &Proxy) -> Vec<String> {
    let (public, internal) = (public_side(profile).address, internal_side(profile).address);
    match (proxy.public, public == internal) {
        (true, false) => vec![public, internal],
        (true, true) => vec![public],
        (false, _) => vec![internal],
    }
}

fn scheme(tls: bool) -> &'static str {
    if tls { "https" } else { "http" }
}

fn public_side(profile: &Profile) -> Face {
    let public = &profile.document.public;
    Face {
        address: public.address.clone(),
        name: public.name.clone().unwrap_or_else(|| public.address.clone()),
        tls: public.tls,
    }
}

fn internal_side(profile: &Profile) -> Face {
    match &profile.document.internal {
        // One address has one listener: it cannot speak TLS to some and plain text to others.
        Some(internal) if internal.address != profile.document.public.address => Face {
            address: internal.address.clone(),
            name: internal.name.clone().unwrap_or_else(|| internal.address.clone()),
            tls: internal.tls,
        },
        Some(_) | None => public_side(profile),
    }
}

/// Returns an address as URLs need it.
fn in_url(name: &str) -> String {
    if name.contains(':') { format!("[{name}]") } else { name.to_owned() }
}

/// Returns the number of a port on a host.
pub(super) fn port_number(profile: &Profile, host: &HostName, variable: &str) -> u16 {
    value(&profile.document, &profile.declared, host, variable)
        .as_u64()
        .and_then(|number| u16::try_from(number).ok())
        .unwrap_or(0)
}

/// Everything that templates see and that is the same for all containers.
pub(super) struct Shared {
    databases: Json,
    proxies: Json,
    /// By proxy entry.
    pub(super) fronts: BTreeMap<String, Front>,
    /// By what serves them.
    pub(super) routes: BTreeMap<Slot, Vec<Route>>,
    hosts_of_service: BTreeMap<String, Json>,
    hosts_of_container: BTreeMap<String, Json>,
}

impl Shared {
    /// Works it out once for a profile.
    pub(super) fn new(profile: &Profile) -> Self {
        let mut databases = Vec::new();
        let mut proxies = Vec::new();
        let mut fronts = BTreeMap::new();
        let mut routes: BTreeMap<Slot, Vec<Route>> = BTreeMap::new();
        for (name, loaded) in &profile.services {
            for database in &loaded.service.databases {
                databases.push(json!({"name": database.name, "user": database.user, "password": database.password, "service": name}));
            }
            for (index, proxy) in loaded.service.proxy.iter().enumerate() {
                if proxy_holds(profile, name, index, proxy) {
                    let (entry, front) = front(profile, loaded, proxy);
                    for (slot, route) in routes_of(profile, loaded, proxy) {
                        routes.entry(slot).or_default().push(route);
                    }
                    proxies.push(entry);
                    fronts.insert(proxy.name.clone(), front);
                }
            }
        }
        let by_name = |entry: &Json| entry["name"].as_str().unwrap_or_default().to_owned();
        databases.sort_by_key(by_name);
        proxies.sort_by_key(by_name);
        let hosts_of_container = profile
            .layout
            .units
            .iter()
            .map(|(name, unit)| (name.to_string(), host_list(profile, &unit.hosts)))
            // What is left out is known, and nowhere: templates may ask.
            .chain(profile.document.skip.iter().map(|name| (name.to_string(), json!([]))))
            .collect();
        let hosts_of_service = profile
            .services
            .keys()
            .map(|service| (service.to_string(), host_list(profile, &service_hosts(profile, service))))
            .collect();
        Self {
            databases: Json::Array(databases),
            proxies: Json::Array(proxies),
            fronts,
            routes,
            hosts_of_service,
            hosts_of_container,
        }
    }

    /// Returns what the templates of one container on one host see.
    pub(super) fn values(
        &self,
        profile: &Profile,
        name: &ContainerName,
        unit: &Unit,
        host: &HostName,
        side: Side,
    ) -> Json {
        let mut values = basic(profile, host);
        let hosts = service_hosts(profile, &unit.service);
        let index = hosts.iter().position(|other| other == host).unwrap_or(0);
        values["host"]["index"] = json!(index);
        values["container"] = json!({"name": name, "service": unit.service, "set": unit.set});
        values["databases"] = self.databases.clone();
        values["proxies"] = self.proxies.clone();
        if side == Side::Spare
            && let Some(loaded) = profile.services.get(&unit.service)
        {
            for (port, entry) in &loaded.service.ports {
                if entry.spare.is_some() {
                    values["port"][port] = json!(port_number(profile, host, &spare_variable(port)));
                }
            }
        }
        values
    }

    /// Returns what the templates of a service may call.
    pub(super) fn functions(&self, profile: &Profile, service: &ServiceName, inputs: &Inputs) -> Functions {
        let allowed = allowed_secrets(profile, service);
        Functions {
            secrets: inputs
                .secrets
                .iter()
                .filter(|(name, _)| allowed.contains(name.as_str()))
                .map(|(name, secret)| (name.to_string(), secret.clone()))
                .collect::<BTreeMap<String, Secret>>(),
            no_secrets: false,
            public_urls: self
                .fronts
                .iter()
                .map(|(name, front)| (name.clone(), front.public.clone()))
                .collect(),
            internal_urls: self
                .fronts
                .iter()
                .map(|(name, front)| (name.clone(), front.internal.clone()))
                .collect(),
            hosts_of_service: self.hosts_of_service.clone(),
            hosts_of_container: self.hosts_of_container.clone(),
            services: profile.services.keys().map(ToString::to_string).collect(),
            ..Functions::default()
        }
    }
}

/// Returns the names of the secrets that templates of a service may use.
pub(super) fn allowed_secrets(profile: &Profile, service: &ServiceName) -> BTreeSet<String> {
    let mut allowed: BTreeSet<String> = TLS_SECRETS.iter().map(|name| (*name).to_owned()).collect();
    let Some(loaded) = profile.services.get(service) else { return allowed };
    let own = &loaded.service;
    allowed.extend(own.secrets.keys().map(ToString::to_string));
    for other in own.requires.iter().chain(&own.wants).filter_map(|name| profile.services.get(name)) {
        allowed.extend(
            other
                .service
                .secrets
                .iter()
                .filter(|(_, request)| request.shared)
                .map(|(name, _)| name.to_string()),
        );
    }
    if own.sees.contains(&Sees::Databases) {
        allowed.extend(
            profile.services().flat_map(|s| &s.databases).map(|database| database.password.to_string()),
        );
    }
    allowed
}

/// Returns whether a proxy entry is there, judged on the first host.
pub(super) fn proxy_holds(profile: &Profile, service: &ServiceName, index: usize, proxy: &Proxy) -> bool {
    let hosts = profile.host_order();
    let Some(host) = hosts.first() else { return false };
    let index = index.to_string();
    // The same condition was reported when the profile was loaded, if it does not work.
    layout::holds(profile, service, host, proxy.when.as_deref(), &["proxy", &index, "when"], &mut Vec::new())
        && profile.layout.units.contains_key(&proxy.backends)
}

/// What a balancer calls the second port of a host's container.
fn spare_name(host: &HostName) -> String {
    format!("{host}-spare")
}

/// Returns what serves a proxy entry, as the balancers know it; nothing where there are no spare ports to move to.
fn routes_of<'a>(
    profile: &'a Profile,
    loaded: &Loaded,
    proxy: &'a Proxy,
) -> impl Iterator<Item = (Slot, Route)> + use<'a> {
    let has_spare = loaded.service.ports.get(&proxy.backend_port).is_some_and(|port| port.spare.is_some());
    let hosts =
        profile.layout.units.get(&proxy.backends).map(|unit| unit.hosts.as_slice()).unwrap_or_default();
    hosts.iter().filter(move |_| has_spare).map(|host| {
        let slot = Slot { host: host.clone(), container: proxy.backends.clone() };
        let (main, spare) =
            (format!("{}/{host}", proxy.name), format!("{}/{}", proxy.name, spare_name(host)));
        let asked = proxy.mode == ProxyMode::Http && proxy.check.is_some();
        (slot, Route { main, spare, asked })
    })
}

fn front(profile: &Profile, loaded: &Loaded, proxy: &Proxy) -> (Json, Front) {
    let (public, internal) = (public_side(profile), internal_side(profile));
    let http = proxy.mode == ProxyMode::Http;
    let any_host = profile.host_order().into_iter().next();
    let port =
        any_host.as_ref().map_or(proxy.port, |host| port_number(profile, host, &proxy_variable(&proxy.name)));
    let listener = |scope: &str, side: &Face| json!({"scope": scope, "address": side.address, "port": port, "tls": side.tls && http});
    let mut listeners = Vec::new();
    if proxy.public {
        listeners.push(listener("public", &public));
    }
    if !proxy.public || internal.address != public.address {
        listeners.push(listener("internal", &internal));
    }
    let hosts = profile.layout.units.get(&proxy.backends).map(|unit| unit.hosts.clone()).unwrap_or_default();
    let has_spare = loaded.service.ports.get(&proxy.backend_port).is_some_and(|entry| entry.spare.is_some());
    let servers: Vec<Json> = hosts
        .iter()
        .map(|host| {
            let spare =
                if has_spare { port_number(profile, host, &spare_variable(&proxy.backend_port)) } else { 0 };
            json!({
                "name": host,
                "spare_name": spare_name(host),
                "host": host,
                "address": profile.document.hosts.get(host).map(|h| h.address.clone()),
                "port": port_number(profile, host, &port_variable(&proxy.backend_port)),
                "spare_port": spare,
                "container": proxy.backends,
            })
        })
        .collect();
    let url = |side: &Face| {
        format!("{}://{}:{port}", if http { scheme(side.tls) } else { "tcp" }, in_url(&side.name))
    };
    let front = if profile.has_proxy() {
        Front { public: if proxy.public { url(&public) } else { url(&internal) }, internal: url(&internal) }
    } else {
        // Nothing fronts the APIs: the first server is the API.
        let direct = servers.first().map(|server| {
            let address = in_url(server["address"].as_str().unwrap_or_default());
            let scheme = if http { scheme(profile.document.backend.tls) } else { "tcp" };
            format!("{scheme}://{address}:{}", server["port"])
        });
        let direct = direct.unwrap_or_default();
        Front { public: direct.clone(), internal: direct }
    };
    let entry = json!({
        "name": proxy.name,
        "service": loaded.service.service,
        "container": proxy.backends,
        "mode": proxy.mode,
        "check": proxy.check.clone().unwrap_or_default(),
        "public": proxy.public,
        "port": port,
        "listeners": listeners,
        "backend_tls": http && profile.document.backend.tls,
        "costly": proxy.costly,
        "servers": servers,
    });
    (entry, front)
}

/// Returns the hosts of all containers of a service, in the order of the profile.
pub(super) fn service_hosts(profile: &Profile, service: &ServiceName) -> Vec<HostName> {
    let used: BTreeSet<&HostName> = profile
        .layout
        .units
        .values()
        .filter(|unit| unit.service == *service && !unit.is_task())
        .flat_map(|unit| &unit.hosts)
        .collect();
    profile.host_order().into_iter().filter(|host| used.contains(host)).collect()
}

fn host_list(profile: &Profile, hosts: &[HostName]) -> Json {
    let order = profile.host_order();
    let list: Vec<Json> = order
        .iter()
        .filter(|host| hosts.contains(host))
        .enumerate()
        .map(|(index, host)| {
            json!({"name": host, "address": profile.document.hosts.get(host).map(|h| h.address.clone()), "index": index})
        })
        .collect();
    Json::Array(list)
}
