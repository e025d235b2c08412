//! A checked profile with its secrets and images into everything that should exist.

use std::collections::{BTreeMap, BTreeSet};

use sha2::{Digest, Sha256};

use super::context::{Shared, service_hosts};
use super::diagnostic::{Diagnostic, Diagnostics};
use super::files::Room;
use super::layout;
use super::library::{Library, OVERRIDES, TEMPLATES};
use super::service::{Port, ProxyMode, Sees};
use super::{Inputs, Loaded, Profile, specs, validations};
use crate::model::desired::{CatalogueService, IdentityAccess, IdentitySpec, IdentityUser, UserHome};
use crate::model::spec::{Cutover, MountSource, Side, hex};
use crate::model::{
    ContainerName, ContainerSpec, Desired, HostName, HostSpec, Role, SecretName, ServiceName, Slot, TaskPhase,
};

/// Resolves a profile. The library must be the one it was loaded with.
pub fn resolve(profile: &Profile, library: &Library, inputs: &Inputs) -> Result<Desired, Diagnostics> {
    let mut out = Vec::new();
    match resolve_into(profile, library, inputs, &mut out) {
        Some(desired) if out.is_empty() => Ok(desired),
        Some(_) | None => Err(Diagnostics::sorted(out, &profile.doc.source.name)),
    }
}

pub(super) fn resolve_into(
    profile: &Profile,
    library: &Library,
    inputs: &Inputs,
    out: &mut Vec<Diagnostic>,
) -> Option<Desired> {
    let shared = Shared::new(profile);
    let mut containers: BTreeMap<Slot, ContainerSpec> = BTreeMap::new();
    let mut spares: BTreeMap<Slot, ContainerSpec> = BTreeMap::new();
    let mut balancers: BTreeMap<Slot, Vec<String>> = BTreeMap::new();
    for (name, unit) in profile.layout.units.iter().filter(|(_, unit)| unit.reads.is_empty()) {
        let Some(loaded) = profile.services.get(&unit.service) else { continue };
        for host in &unit.hosts {
            let mut form = |side: Side| {
                let values = shared.values(profile, name, unit, host, side);
                let room = Room {
                    profile,
                    library,
                    inputs,
                    shared: &shared,
                    name,
                    unit,
                    loaded,
                    host,
                    values: &values,
                };
                let spec = if let Some(container) = loaded.service.containers.get(name) {
                    specs::container(&room, container, out)
                } else {
                    loaded.service.tasks.get(name).and_then(|task| specs::task(&room, task, out))
                };
                spec.map(|spec| ContainerSpec { after: after(profile, name, host), ..spec })
            };
            if let Some(spec) = form(Side::Main) {
                if has_spare(loaded, name) {
                    spares.extend(form(Side::Spare).map(|spec| (spec.slot.clone(), spec)));
                }
                containers.insert(spec.slot.clone(), spec);
            }
            if let Some(container) = loaded.service.containers.get(name)
                && !container.balances.is_empty()
            {
                let slot = Slot { host: host.clone(), container: name.clone() };
                balancers.insert(slot, container.balances.clone());
            }
        }
    }
    validations::resolve(profile, inputs, &mut containers);
    let volumes = containers
        .values()
        // What a rehearsal has is made for it, and goes with it.
        .filter(|spec| !matches!(spec.role, Role::Task { phase: TaskPhase::Copy | TaskPhase::StandIn, .. }))
        .flat_map(|spec| {
            spec.mounts.iter().filter_map(|mount| match &mount.source {
                MountSource::Volume(volume) => Some((spec.slot.host.clone(), volume.clone())),
                MountSource::Bind { .. } | MountSource::Tmpfs { .. } => None,
            })
        })
        .collect();
    let identity = identity(profile, &shared, inputs, out);
    out.is_empty().then(|| Desired {
        deployment: profile.document.deployment.clone(),
        release: profile.document.release.clone(),
        hosts: profile.hosts(),
        sets: profile.layout.sets.clone(),
        containers,
        spares,
        routes: shared.routes,
        swaps: swaps(profile),
        apart: profile
            .services
            .iter()
            .filter(|(_, loaded)| loaded.service.own_upgrade)
            .map(|(name, _)| name.clone())
            .collect(),
        data_plane: profile
            .services
            .iter()
            .filter(|(_, loaded)| loaded.service.data_plane)
            .map(|(name, _)| name.clone())
            .collect(),
        balancers,
        volumes,
        identity,
        cloud: profile.document.cloud.clone(),
        init_digest: inputs.init_digest.clone(),
        profile_digest: digest(profile, library),
    })
}

/// Which slots are swapped after which.
fn swaps(profile: &Profile) -> BTreeMap<Slot, BTreeSet<Slot>> {
    let units = &profile.layout.units;
    let slots = |name: &ContainerName| {
        let hosts = units.get(name).map(|unit| unit.hosts.as_slice()).unwrap_or_default();
        hosts.iter().map(|host| Slot { host: host.clone(), container: name.clone() }).collect::<Vec<_>>()
    };
    profile
        .services()
        .flat_map(|service| &service.containers)
        .filter(|(_, container)| !container.swap_after.is_empty())
        .flat_map(|(name, container)| {
            let first: BTreeSet<Slot> = container.swap_after.iter().flat_map(slots).collect();
            slots(name).into_iter().map(move |slot| (slot, first.clone()))
        })
        .collect()
}

impl Profile {
    /// Returns the hosts as the engines are reached.
    pub fn hosts(&self) -> BTreeMap<HostName, HostSpec> {
        self.document
            .hosts
            .iter()
            .map(|(name, host)| {
                let spec = HostSpec {
                    engine: host.engine.clone(),
                    tls: host.tls.clone(),
                    address: host.address.clone(),
                };
                (name.clone(), spec)
            })
            .collect()
    }
}

/// Returns whether a container has ports of its own on which a successor can serve beside it.
fn has_spare(loaded: &Loaded, name: &ContainerName) -> bool {
    let overlaps = loaded.service.containers.get(name).is_some_and(|c| c.cutover == Cutover::Overlap);
    let has = |port: &Port| port.container.as_ref() == Some(name) && port.spare.is_some();
    overlaps && loaded.service.ports.values().any(has)
}

/// Turns units into slots. Within a service, what runs on the same host is what counts, where there is such.
fn after(profile: &Profile, name: &ContainerName, host: &HostName) -> BTreeSet<Slot> {
    let units = &profile.layout.units;
    let Some(unit) = units.get(name) else { return BTreeSet::new() };
    let mut slots = BTreeSet::new();
    for (other, target) in unit.after.iter().filter_map(|other| Some((other, units.get(other)?))) {
        let slot = |host: &HostName| Slot { host: host.clone(), container: other.clone() };
        if target.service == unit.service && target.hosts.contains(host) {
            slots.insert(slot(host));
        } else {
            slots.extend(target.hosts.iter().map(slot));
        }
    }
    slots
}

/// Where the users of services have their roles, unless they say otherwise.
const SERVICE_PROJECT: &str = "service";

fn identity(profile: &Profile, shared: &Shared, inputs: &Inputs, out: &mut Vec<Diagnostic>) -> IdentitySpec {
    let mut spec = IdentitySpec { region: profile.document.region.clone(), ..IdentitySpec::default() };
    let hosts = profile.host_order();
    let Some(host) = hosts.first() else { return spec };
    for (name, loaded) in &profile.services {
        let identity = &loaded.service.identity;
        spec.projects.extend(identity.projects.iter().cloned());
        spec.roles.extend(identity.roles.iter().cloned());
        let mut holds = |list: &str, index: usize, when: &Option<String>| {
            let index = index.to_string();
            layout::holds(profile, name, host, when.as_deref(), &["identity", list, &index, "when"], out)
        };
        for (index, entry) in identity.services.iter().enumerate() {
            if !holds("services", index, &entry.when) {
                continue;
            }
            // Without its proxy entry (a condition, a container that was left out) there is nothing to reach.
            let Some(front) = shared.fronts.get(&entry.endpoint.proxy) else { continue };
            let url = |base: &str| format!("{base}{}", entry.endpoint.path);
            let endpoints =
                [("public", &front.public), ("internal", &front.internal), ("admin", &front.internal)];
            spec.services.insert(
                entry.name.clone(),
                CatalogueService {
                    kind: entry.kind.clone(),
                    description: entry.description.clone(),
                    endpoints: endpoints
                        .into_iter()
                        .map(|(side, base)| (side.to_owned(), url(base)))
                        .collect(),
                },
            );
        }
        let users: Vec<_> = identity
            .users
            .iter()
            .enumerate()
            .filter(|(index, user)| holds("users", *index, &user.when))
            .collect();
        for (index, user) in users {
            let home = match &user.domain {
                Some(domain) => UserHome::Domain(domain.clone()),
                None => UserHome::Project(user.project.clone().unwrap_or_else(|| SERVICE_PROJECT.to_owned())),
            };
            if let UserHome::Project(project) = &home {
                spec.projects.insert(project.clone());
            }
            spec.roles.extend(user.roles.iter().cloned());
            let place = ["identity", "users", &index.to_string(), "password"];
            if let Some(password) = secret(profile, inputs, name, &user.password, &place, out) {
                let user_spec = IdentityUser { password, home, roles: user.roles.iter().cloned().collect() };
                spec.users.insert(user.name.clone(), user_spec);
            }
        }
        if let (Some(access), None) = (&identity.access, &spec.access) {
            let place = ["identity", "access", "password"];
            let password = secret(profile, inputs, name, &access.password, &place, out);
            if let (Some(front), Some(password)) = (shared.fronts.get(&access.proxy), password) {
                spec.access = Some(IdentityAccess {
                    url: format!("{}{}", front.public, access.path),
                    user: access.user.clone(),
                    project: access.project.clone(),
                    password,
                    after: reach(profile, name),
                });
            }
        }
    }
    spec
}

/// The slots without which Keystone cannot be asked: its own, its tasks', and the proxy's.
fn reach(profile: &Profile, service: &ServiceName) -> BTreeSet<Slot> {
    let in_front = |name: &ServiceName| {
        profile.services.get(name).is_some_and(|loaded| loaded.service.sees.contains(&Sees::Proxies))
    };
    profile
        .layout
        .units
        .iter()
        .filter(|(_, unit)| unit.service == *service || in_front(&unit.service))
        .filter(|(_, unit)| unit.phase.is_none_or(layout::on_deploy))
        .flat_map(|(name, unit)| {
            unit.hosts.iter().map(|host| Slot { host: host.clone(), container: name.clone() })
        })
        .collect()
}

fn secret(
    profile: &Profile,
    inputs: &Inputs,
    service: &ServiceName,
    name: &SecretName,
    place: &[&str],
    out: &mut Vec<Diagnostic>,
) -> Option<crate::model::Secret> {
    let found = inputs.secrets.get(name).cloned();
    if let (None, Some(loaded)) = (&found, profile.services.get(service)) {
        out.push(loaded.doc.wrong_value("missing-secret", place, format!("there is no secret `{name}` yet")));
    }
    found
}

/// Digests the profile and all files it was resolved from, images aside: those are pinned by their ids.
fn digest(profile: &Profile, library: &Library) -> String {
    let mut hash = Sha256::new();
    let mut add = |name: &str, bytes: &[u8]| {
        // Lengths first, so that no two lists of files can run into the same bytes.
        hash.update((name.len() as u64).to_be_bytes());
        hash.update(name.as_bytes());
        hash.update((bytes.len() as u64).to_be_bytes());
        hash.update(bytes);
    };
    add("profile", profile.doc.source.text.as_bytes());
    for service in profile.services.keys() {
        let prefix = format!("{TEMPLATES}{service}/");
        for (name, file) in library.under(&prefix) {
            add(&format!("{prefix}{name}"), &file.bytes);
        }
    }
    for (name, file) in library.under(OVERRIDES) {
        add(&format!("{OVERRIDES}{name}"), &file.bytes);
    }
    hex(&hash.finalize())
}

impl Profile {
    /// Returns the URL at which Keystone is reached, where the profile has one.
    pub fn identity_url(&self) -> Option<String> {
        let shared = Shared::new(self);
        self.services().find_map(|service| {
            let access = service.identity.access.as_ref()?;
            Some(format!("{}{}", shared.fronts.get(&access.proxy)?.public, access.path))
        })
    }

    /// Returns the public URL of a proxy entry, where the profile has it.
    pub fn public_url(&self, proxy: &str) -> Option<String> {
        Some(Shared::new(self).fronts.get(proxy)?.public.clone())
    }

    /// Returns what a client can ask each API without a login, by the names of the proxy entries, and whether it is costly to ask.
    pub fn probes(&self) -> BTreeMap<String, (String, bool)> {
        let fronts = Shared::new(self).fronts;
        let entries = self.services().flat_map(|service| &service.proxy);
        let http = entries.filter(|entry| entry.mode == ProxyMode::Http);
        http.filter_map(|entry| {
            let front = fronts.get(&entry.name)?;
            let url = format!("{}{}", front.public, entry.check.as_ref()?);
            Some((entry.name.clone(), (url, entry.costly)))
        })
        .collect()
    }

    /// Returns whether a service has a container anywhere.
    pub fn runs(&self, service: &ServiceName) -> bool {
        !service_hosts(self, service).is_empty()
    }
}
