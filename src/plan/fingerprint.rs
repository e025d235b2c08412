//! Digests by which a plan knows what it was made from.

use std::collections::BTreeSet;

use sha2::{Digest, Sha256};

use crate::model::cloud::Cloud;
use crate::model::desired::{CatalogueService, IdentityAccess, IdentitySpec, IdentityUser, UserHome};
use crate::model::spec::hex;
use crate::model::{ContainerState, Desired, Health, HostName, Observed, Slot};

/// Feeds text with its length in front, so that two lists never look alike by accident.
struct Feed(Sha256);

impl Feed {
    fn new(what: &str) -> Self {
        let mut feed = Self(Sha256::new());
        feed.text(what);
        feed
    }

    fn text(&mut self, text: impl AsRef<str>) {
        let text = text.as_ref();
        self.0.update(u64::try_from(text.len()).unwrap_or(u64::MAX).to_le_bytes());
        self.0.update(text.as_bytes());
    }

    fn end(self) -> String {
        hex(&self.0.finalize())
    }
}

/// Digest of everything that should be, the contents of config files included.
pub fn desired(desired: &Desired) -> String {
    let Desired {
        deployment,
        release,
        hosts,
        sets,
        containers,
        // Nothing but the same containers on other ports, and how to get from one to the other.
        spares: _,
        routes: _,
        swaps: _,
        apart: _,
        data_plane: _,
        balancers: _,
        volumes,
        identity: wanted,
        cloud: offered,
        init_digest,
        // What the profile was written like does not matter, only what it came to.
        profile_digest: _,
    } = desired;
    let mut feed = Feed::new("desired 1");
    feed.text(deployment);
    feed.text(release);
    for host in hosts.keys() {
        feed.text(host);
    }
    feed.text("sets");
    for set in sets {
        feed.text(set);
    }
    for (slot, spec) in containers {
        feed.text(slot.to_string());
        feed.text(&spec.service);
        feed.text(&spec.set);
        feed.text(spec.record(init_digest).canonical());
        for after in &spec.after {
            feed.text(after.to_string());
        }
    }
    feed.text("volumes");
    for (host, volume) in volumes {
        feed.text(host);
        feed.text(volume);
    }
    feed.text(identity(wanted));
    feed.text(cloud(offered));
    feed.end()
}

/// Digest of what should be registered in Keystone. Passwords go into it, and nothing can be read out of it.
pub fn identity(identity: &IdentitySpec) -> String {
    let IdentitySpec { access, region, projects, roles, services, users } = identity;
    let mut feed = Feed::new("identity 1");
    if let Some(access) = access {
        // Where and as whom it is reached does not change what is registered.
        let IdentityAccess { url: _, user, project, password: _, after: _ } = access;
        feed.text(user);
        feed.text(project);
    }
    feed.text(region);
    for name in projects.iter().chain(roles) {
        feed.text(name);
    }
    feed.text("services");
    for (name, CatalogueService { kind, description, endpoints }) in services {
        feed.text(name);
        feed.text(kind);
        feed.text(description);
        for (interface, url) in endpoints {
            feed.text(interface);
            feed.text(url);
        }
    }
    feed.text("users");
    for (name, IdentityUser { password, home, roles }) in users {
        feed.text(name);
        feed.text(password.expose());
        match home {
            UserHome::Project(project) => feed.text(project),
            UserHome::Domain(domain) => feed.text(format!("domain {domain}")),
        }
        for role in roles {
            feed.text(role);
        }
    }
    feed.end()
}

/// Digest of what the cloud should offer.
pub fn cloud(cloud: &Cloud) -> String {
    let mut feed = Feed::new("cloud 1");
    // Plain texts and numbers in ordered maps always serialize, and always to the same bytes.
    feed.text(serde_json::to_string(cloud).unwrap_or_default());
    feed.end()
}

/// Digest of what the hosts have in the given slots and volumes, and of the generation that comes next.
///
/// Whether a container is still starting or already healthy is left out: that passes by itself.
pub fn observed(
    observed: &Observed,
    slots: &BTreeSet<&Slot>,
    volumes: &BTreeSet<(&HostName, &str)>,
) -> String {
    let mut lines = BTreeSet::new();
    for (host, seen) in &observed.hosts {
        for container in &seen.containers {
            let Some(labels) = &container.slot_labels else { continue };
            let slot = Slot { host: host.clone(), container: labels.container.clone() };
            if slots.contains(&slot) {
                let unhealthy = container.health == Health::Unhealthy;
                let state = state_word(container.state);
                lines.insert(format!("{slot} {} {state} {unhealthy}", container.id));
            }
        }
        for volume in &seen.volumes {
            if volumes.contains(&(host, volume.name.as_str())) {
                lines.insert(format!("{host} volume {}", volume.name));
            }
        }
    }
    let mut feed = Feed::new("observed 1");
    feed.text(observed.last_generation.to_string());
    for line in lines {
        feed.text(line);
    }
    feed.end()
}

fn state_word(state: ContainerState) -> &'static str {
    match state {
        ContainerState::Created => "created",
        ContainerState::Running => "running",
        ContainerState::Paused => "paused",
        ContainerState::Restarting => "restarting",
        ContainerState::Removing => "removing",
        ContainerState::Exited => "exited",
        ContainerState::Dead => "dead",
    }
}
