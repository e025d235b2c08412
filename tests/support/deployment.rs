//! Deployments to plan for, built in a few words: `cloud().container("keystone-api").after("mariadb")`.

#![allow(dead_code, reason = "shared by several test binaries, none of which uses all of it")]

use std::collections::{BTreeMap, BTreeSet};

use mastic::model::desired::{CatalogueService, IdentityAccess, IdentitySpec, Route};
use mastic::model::labels::{LabelRole, Labels};
use mastic::model::spec::{Cutover, Limits, MountSource, MountSpec, Privileges, Side, StopSpec, TaskTrigger};
use mastic::model::{
    CheckSpec, ContainerId, ContainerSpec, ContainerState, Desired, FileSpec, Generation, Health, HostSpec,
    ImageId, LedgerSummary, Observed, ObservedContainer, ObservedHost, ObservedVolume, PinnedImage, Role,
    Secret, Slot, TaskPhase,
};

pub const INIT_DIGEST: &str = "init-1";
/// In the environment of a container on its spare ports, and in no other's.
pub const SIDE: &str = "SIDE";

pub fn slot(name: &str) -> Slot {
    let (host, container) = name.split_once('/').unwrap_or(("local", name));
    Slot { host: host.parse().unwrap(), container: container.parse().unwrap() }
}

pub fn image_id(name: &str, tag: &str) -> ImageId {
    ImageId(format!("sha256:{}", mastic::model::spec::hex(&sha(&format!("{name}:{tag}")))))
}

fn sha(text: &str) -> Vec<u8> {
    use sha2::Digest;
    sha2::Sha256::digest(text.as_bytes()).to_vec()
}

/// One container of a deployment under test.
#[derive(Clone, Debug)]
pub struct C(pub ContainerSpec);

impl C {
    pub fn service(name: &str) -> Self {
        let slot = slot(name);
        let service = slot.container.as_str().split('-').next().unwrap().to_owned();
        Self(ContainerSpec {
            service: service.parse().unwrap(),
            set: "api".parse().unwrap(),
            role: Role::Service { cutover: Cutover::Exclusive },
            image: PinnedImage {
                reference: format!("mastic/{service}:2026.1"),
                id: image_id(&service, "2026.1"),
            },
            init_args: Vec::new(),
            leaves: None,
            command: vec!["serve".to_owned()],
            user: (0, 0),
            working_dir: String::new(),
            environment: BTreeMap::new(),
            files: Vec::new(),
            mounts: Vec::new(),
            host_network: true,
            privileges: Privileges::default(),
            limits: Limits::default(),
            check: Some(CheckSpec {
                targets: vec!["tcp:127.0.0.1:1".to_owned()],
                status: None,
                ca: None,
                host: None,
                deadline: 60,
                interval: 30,
                timeout: 5,
            }),
            stop: StopSpec { signal: "SIGTERM".to_owned(), grace: 10 },
            after: BTreeSet::new(),
            slot,
        })
    }

    pub fn task(name: &str, trigger: TaskTrigger) -> Self {
        Self::phase(name, trigger, TaskPhase::Expand)
    }

    pub fn phase(name: &str, trigger: TaskTrigger, phase: TaskPhase) -> Self {
        let mut spec = Self::service(name).0;
        spec.role = Role::Task { phase, trigger, deadline: 120 };
        spec.check = None;
        Self(spec)
    }

    pub fn set(mut self, set: &str) -> Self {
        self.0.set = set.parse().unwrap();
        self
    }

    pub fn after(mut self, names: &[&str]) -> Self {
        for name in names {
            let mut dependency = slot(name);
            if !name.contains('/') {
                dependency.host = self.0.slot.host.clone();
            }
            self.0.after.insert(dependency);
        }
        self
    }

    pub fn tag(mut self, tag: &str) -> Self {
        let service = self.0.service.to_string();
        self.0.image =
            PinnedImage { reference: format!("mastic/{service}:{tag}"), id: image_id(&service, tag) };
        self
    }

    pub fn file(mut self, path: &str, content: &str) -> Self {
        self.0.files.retain(|f| f.path != path);
        self.0.files.push(FileSpec {
            path: path.to_owned(),
            uid: 0,
            gid: 0,
            mode: 0o640,
            content: content.as_bytes().to_vec(),
            origin: "test".to_owned(),
            sensitive: false,
        });
        self
    }

    pub fn env(mut self, key: &str, value: &str) -> Self {
        self.0.environment.insert(key.to_owned(), value.to_owned());
        self
    }

    /// What its program starts lives on in this cgroup.
    pub fn leaving(mut self, cgroup: &str) -> Self {
        self.0.leaves = Some(cgroup.to_owned());
        self
    }

    pub fn volume(mut self, volume: &str) -> Self {
        self.0.mounts.push(MountSpec {
            source: MountSource::Volume(volume.parse().unwrap()),
            target: format!("/{volume}"),
            read_only: false,
        });
        self
    }

    pub fn cutover(mut self, cutover: Cutover) -> Self {
        self.0.role = Role::Service { cutover };
        self
    }

    /// Replaced by one that serves beside it, on the ports that it does not listen on.
    pub fn overlapping(self) -> Self {
        self.cutover(Cutover::Overlap)
    }

    /// Its program can come up to its work and stand by.
    pub fn standing_by(self) -> Self {
        self.cutover(Cutover::StandsBy)
    }

    /// The same on its spare ports: `spares` of [`with_balancer`] has it.
    pub fn spare(self) -> Self {
        self.env(SIDE, "spare")
    }

    pub fn unchecked(mut self) -> Self {
        self.0.check = None;
        self
    }
}

/// Returns a deployment of these containers; sets are launched in the order in which they first appear.
pub fn desired(containers: impl IntoIterator<Item = C>) -> Desired {
    let containers: Vec<ContainerSpec> = containers.into_iter().map(|c| c.0).collect();
    let mut sets = Vec::new();
    let mut hosts = BTreeMap::new();
    let mut volumes = BTreeSet::new();
    for spec in &containers {
        if !sets.contains(&spec.set) {
            sets.push(spec.set.clone());
        }
        hosts.insert(
            spec.slot.host.clone(),
            HostSpec { engine: "unix:///x".to_owned(), tls: None, address: "127.0.0.1".to_owned() },
        );
        for mount in &spec.mounts {
            if let MountSource::Volume(volume) = &mount.source {
                volumes.insert((spec.slot.host.clone(), volume.clone()));
            }
        }
    }
    Desired {
        deployment: "aio".parse().unwrap(),
        release: "2026.1".parse().unwrap(),
        hosts,
        sets,
        containers: containers.into_iter().map(|spec| (spec.slot.clone(), spec)).collect(),
        spares: BTreeMap::new(),
        routes: BTreeMap::new(),
        swaps: BTreeMap::new(),
        apart: BTreeSet::new(),
        data_plane: BTreeSet::new(),
        balancers: BTreeMap::new(),
        volumes,
        identity: IdentitySpec::default(),
        cloud: mastic::model::cloud::Cloud::default(),
        init_digest: INIT_DIGEST.to_owned(),
        profile_digest: "profile".to_owned(),
    }
}

/// Puts a balancer in front of all overlapping containers but itself, and gives them spare ports.
pub fn with_balancer(mut desired: Desired, balancer: &str) -> Desired {
    desired.balancers.insert(slot(balancer), vec!["balance".to_owned()]);
    for spec in desired.containers.values() {
        if spec.role != (Role::Service { cutover: Cutover::Overlap }) || spec.slot == slot(balancer) {
            continue;
        }
        let Slot { host, container } = &spec.slot;
        let route = Route {
            main: format!("{container}/{host}"),
            spare: format!("{container}/{host}-spare"),
            asked: true,
        };
        desired.routes.insert(spec.slot.clone(), vec![route]);
        desired.spares.insert(spec.slot.clone(), C(spec.clone()).spare().0);
    }
    desired
}

/// Gives the deployment an identity service that answers once `after` do.
pub fn with_identity(mut desired: Desired, after: &[&str], endpoint: &str) -> Desired {
    desired.identity = IdentitySpec {
        access: Some(IdentityAccess {
            url: "http://127.0.0.1:5000/v3".to_owned(),
            user: "admin".to_owned(),
            project: "admin".to_owned(),
            password: Secret::new("s3cr3t"),
            after: after.iter().map(|name| slot(name)).collect(),
        }),
        region: "RegionOne".to_owned(),
        services: [(
            "keystone".to_owned(),
            CatalogueService {
                kind: "identity".to_owned(),
                description: "Identity".to_owned(),
                endpoints: [("public".to_owned(), endpoint.to_owned())].into(),
            },
        )]
        .into(),
        ..IdentitySpec::default()
    };
    desired
}

/// Returns hosts that have the images of `desired`, and nothing of the deployment.
pub fn nothing(desired: &Desired) -> Observed {
    Observed {
        deployment: desired.deployment.clone(),
        taken_at: "2026-01-01T00:00:00Z".to_owned(),
        hosts: desired
            .hosts
            .keys()
            .map(|host| {
                let images: BTreeSet<ImageId> =
                    desired.containers.values().map(|s| s.image.id.clone()).collect();
                let seen = ObservedHost {
                    containers: Vec::new(),
                    volumes: Vec::new(),
                    images: images.into_iter().collect(),
                };
                (host.clone(), seen)
            })
            .collect(),
        last_generation: 0,
        ledger: None,
    }
}

/// Adds to what is observed.
pub trait Seen: Sized {
    /// A container made from `spec` by `generation`, in this state.
    fn with(self, spec: &C, generation: u64, state: ContainerState) -> Self;
    /// The same, with a health verdict.
    fn with_health(self, spec: &C, generation: u64, health: Health) -> Self;
    /// The same, ended with this code.
    fn with_exit(self, spec: &C, generation: u64, code: i64) -> Self;
    /// The images and volumes of another profile too.
    fn images_of(self, desired: &Desired) -> Self;
    /// The youngest generation's run was killed.
    fn interrupted(self) -> Self;
    /// The youngest generation registered this identity.
    fn registered(self, desired: &Desired) -> Self;
}

impl Seen for Observed {
    fn with(mut self, spec: &C, generation: u64, state: ContainerState) -> Self {
        let spec = &spec.0;
        let record = spec.record(INIT_DIGEST);
        let name = format!("aio-{}-{generation}", spec.slot.container);
        let labels = Labels {
            deployment: self.deployment.clone(),
            role: if spec.is_task() { LabelRole::Task } else { LabelRole::Service },
            host: spec.slot.host.clone(),
            set: spec.set.clone(),
            service: spec.service.clone(),
            container: spec.slot.container.clone(),
            generation: Generation::new(generation).unwrap(),
            spec_hash: record.hash(),
            spec: record.canonical(),
            release: "2026.1".parse().unwrap(),
            run: format!("run-{generation}").parse().unwrap(),
            side: if spec.environment.contains_key(SIDE) { Side::Spare } else { Side::Main },
        };
        let started = state != ContainerState::Created;
        let host = self.hosts.get_mut(&spec.slot.host).unwrap();
        for mount in &spec.mounts {
            if let MountSource::Volume(volume) = &mount.source {
                let name = format!("aio_{volume}");
                if !host.volumes.iter().any(|v| v.name == name) {
                    host.volumes.push(ObservedVolume { name, labels: BTreeMap::new() });
                }
            }
        }
        host.containers.push(ObservedContainer {
            id: ContainerId(format!("id-{}-{name}", spec.slot.host)),
            name,
            labels: labels.to_map(),
            slot_labels: Some(labels),
            state,
            health: match (state, &spec.check) {
                (ContainerState::Running, Some(_)) => Health::Healthy,
                _ => Health::None,
            },
            exit_code: (state == ContainerState::Exited).then_some(0),
            error: None,
            oom_killed: false,
            restart_count: 0,
            image: spec.image.id.clone(),
            created_at: "2026-01-01T00:00:00Z".to_owned(),
            started_at: if started { "2026-01-01T00:00:01Z" } else { "" }.to_owned(),
            finished_at: String::new(),
        });
        self.last_generation = self.last_generation.max(generation);
        self
    }

    fn with_health(self, spec: &C, generation: u64, health: Health) -> Self {
        let mut observed = self.with(spec, generation, ContainerState::Running);
        let host = observed.hosts.get_mut(&spec.0.slot.host).unwrap();
        host.containers.last_mut().unwrap().health = health;
        observed
    }

    fn with_exit(self, spec: &C, generation: u64, code: i64) -> Self {
        let mut observed = self.with(spec, generation, ContainerState::Exited);
        let host = observed.hosts.get_mut(&spec.0.slot.host).unwrap();
        host.containers.last_mut().unwrap().exit_code = Some(code);
        observed
    }

    fn images_of(mut self, desired: &Desired) -> Self {
        for host in self.hosts.values_mut() {
            let images: BTreeSet<ImageId> = host
                .images
                .drain(..)
                .chain(desired.containers.values().map(|s| s.image.id.clone()))
                .collect();
            host.images = images.into_iter().collect();
        }
        self
    }

    fn interrupted(mut self) -> Self {
        let number = self.last_generation;
        let ledger = self.ledger.take();
        let (identity, cloud) = ledger.map_or((None, None), |ledger| (ledger.identity, ledger.cloud));
        self.ledger = Some(LedgerSummary {
            number,
            finished: false,
            identity,
            cloud,
            secrets: None,
            release: "2026.1".parse().unwrap(),
            held: None,
            returning: None,
        });
        self
    }

    fn registered(mut self, desired: &Desired) -> Self {
        let identity = Some(mastic::plan::fingerprint::identity(&desired.identity));
        let cloud = Some(mastic::plan::fingerprint::cloud(&desired.cloud));
        self.ledger = Some(LedgerSummary {
            number: self.last_generation,
            finished: true,
            identity,
            cloud,
            secrets: None,
            release: "2026.1".parse().unwrap(),
            held: None,
            returning: None,
        });
        self
    }
}
