//! What a profile says of the cloud, as far as an acceptance run must know. Pure.

use std::collections::{BTreeMap, BTreeSet};

use super::steps::Need;
use crate::model::Desired;
use crate::profile::Profile;

/// What the cloud should have.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Facts {
    /// Catalogue: types to names.
    pub services: BTreeMap<String, String>,
    /// Names of containers, tasks left out.
    pub containers: BTreeSet<String>,
    /// Region.
    pub region: String,
    /// Whether one of its networks leads out of the cloud.
    pub external: bool,
    /// URL of the dashboard.
    pub dashboard: Option<String>,
    /// Whether the first engine is on this machine.
    pub local: bool,
}

/// The proxy entry of the dashboard.
const DASHBOARD: &str = "horizon";

impl Facts {
    /// Takes them out of a profile and what it came to.
    pub fn of(profile: &Profile, desired: &Desired) -> Self {
        let services = desired.identity.services.iter();
        Self {
            services: services.map(|(name, service)| (service.kind.clone(), name.clone())).collect(),
            containers: desired.containers.keys().map(|slot| slot.container.to_string()).collect(),
            region: desired.identity.region.clone(),
            external: desired.cloud.networks.values().any(|network| network.external),
            dashboard: profile.public_url(DASHBOARD),
            local: profile
                .document
                .hosts
                .values()
                .next()
                .is_some_and(|host| host.engine.starts_with("unix:")),
        }
    }

    /// Returns whether a need is met.
    pub fn has(&self, need: Need) -> bool {
        match need {
            Need::Service(kinds) => kinds.iter().any(|kind| self.services.contains_key(*kind)),
            Need::Container(name) => self.containers.contains(name),
            Need::External => self.external,
            Need::Dashboard => self.dashboard.is_some(),
            Need::Local => self.local,
        }
    }
}
