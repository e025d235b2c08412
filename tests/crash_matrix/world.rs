//! A small cloud on the simulated engine, and a deployer that can be killed.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use mastic::engine::sim::{Behaviour, Faults, SimEngine};
use mastic::engine::{Engine, archive};
use mastic::execute::{Environment, Origins, Outcome, PROGRESS_DEADLINE, Registrar, RunReport, run};
use mastic::model::cloud::Cloud;
use mastic::model::desired::IdentitySpec;
use mastic::model::spec::{Cutover, STAND_BY_PATH, SpecRecord, TaskTrigger};
use mastic::model::{
    ContainerId, ContainerName, ContainerSpec, ContainerState, Desired, Generation, HostName, Labels,
    Observed, Role, SetName, SpecHash, TaskPhase,
};
use mastic::plan::{Accept, Blocker, Options, Plan, Volumes, destroy, reconcile, render, verify};
use mastic::report::Silent;
use mastic::store::redact::Redactor;
use tokio_util::sync::CancellationToken;

use crate::deployment::{C, SIDE, desired, slot, with_balancer, with_identity};

/// What marks data that must survive.
const PRECIOUS: &str = "rows of customers";

#[derive(Debug)]
struct Register;

#[async_trait]
impl Registrar for Register {
    async fn register(&self, _: &IdentitySpec) -> Result<Vec<String>, String> {
        Ok(Vec::new())
    }

    async fn furnish(&self, _: &IdentitySpec, _: &Cloud) -> Result<Vec<String>, String> {
        Ok(Vec::new())
    }
}

/// Knows the line of every option of one container.
#[derive(Debug)]
struct Lines;

impl Origins for Lines {
    fn place(&self, _: &HostName, of: &ContainerName, _: &str, option: (&str, &str)) -> Option<String> {
        (of.as_str() == "keystone-api").then(|| format!("overrides/keystone.conf:{}", option.1.len()))
    }
}

/// The engine, the deployer's side of the wire, and where journals go.
pub struct World {
    pub engine: SimEngine,
    pub faults: Faults,
    state: tempfile::TempDir,
    pub progress_deadline: Duration,
}

/// How a run ended for whoever watches.
#[derive(Debug)]
#[expect(dead_code, reason = "the reason is read in the message of a failed assertion")]
pub enum Ended {
    Killed,
    Observing(String),
    Empty,
    Ran(Box<RunReport>),
}

/// What is to be reached.
#[derive(Clone, Debug)]
pub enum Goal {
    Deploy(Box<Desired>),
    Upgrade(Box<Desired>),
    Rollback(Box<Desired>),
    Commit(Box<Desired>),
    /// To the release of the first, with the data that the older generation left.
    Return(Box<Desired>),
    Destroy(Box<Desired>),
}

impl World {
    pub fn new(counting: Counting) -> Self {
        let faults = match counting {
            Counting::Changes => Faults::none().count_only_mutations(),
            Counting::Everything => Faults::none(),
        };
        let engine = SimEngine::new("sim://local").with_faults(&faults);
        let tasks = [
            "mariadb-setup",
            "keystone-db-sync",
            "keystone-config",
            "keystone-check",
            "keystone-contract",
            "keystone-return",
            "keystone-settle",
            "mariadb-backup",
            "mariadb-restore",
        ];
        for task in tasks {
            engine.behave(task, Behaviour::exits(Duration::ZERO, 0));
        }
        // Journals are flushed at every step: in memory where the system has a place for that.
        let memory = std::path::Path::new("/dev/shm");
        let state = if memory.is_dir() { tempfile::tempdir_in(memory) } else { tempfile::tempdir() };
        Self { engine, faults, state: state.unwrap(), progress_deadline: PROGRESS_DEADLINE }
    }

    /// The cloud; `release` changes the images of the api, `config` the file of the database.
    pub fn cloud(&self, release: &str, config: &str) -> Desired {
        let image = |c: C| {
            let c = c.tag(release);
            let id = self.engine.add_image(&c.0.image.reference, &[]);
            let mut c = c;
            c.0.image.id = id;
            c
        };
        let fixed = |mut c: C| {
            c.0.image.id = self.engine.add_image(&c.0.image.reference, &[]);
            c
        };
        let mut what = desired([
            fixed(C::service("mariadb").set("database").volume("mariadb").file("/etc/my.cnf", config)),
            fixed(
                C::task("mariadb-setup", TaskTrigger::Once)
                    .set("database")
                    .after(&["mariadb"])
                    .volume("mariadb"),
            ),
            fixed(C::service("memcached").set("messaging")),
            image(C::task("keystone-db-sync", TaskTrigger::Image).after(&["mariadb-setup"])),
            image(C::service("keystone-api").overlapping().after(&[
                "mariadb",
                "keystone-db-sync",
                "memcached",
                "haproxy",
            ]))
            .file("/etc/keystone/keystone.conf", release),
            // It changes together with the database, and takes its predecessor's sockets over.
            fixed(C::service("haproxy").set("ha").overlapping().file("/etc/haproxy.cfg", config)),
            image(C::phase("keystone-config", TaskTrigger::Spec, TaskPhase::Validate)),
            image(C::service("keystone-admin").standing_by().after(&["keystone-db-sync"])),
            image(C::phase("keystone-check", TaskTrigger::Image, TaskPhase::Check).after(&["mariadb"])),
            image(C::phase("keystone-contract", TaskTrigger::Image, TaskPhase::Contract))
                .after(&["keystone-api", "keystone-admin"]),
            image(C::phase("keystone-return", TaskTrigger::Image, TaskPhase::Return)).after(&["mariadb"]),
            image(C::phase("keystone-settle", TaskTrigger::Image, TaskPhase::Settle)).after(&["mariadb"]),
            fixed(
                C::phase("mariadb-backup", TaskTrigger::Image, TaskPhase::Backup)
                    .set("database")
                    .after(&["mariadb"]),
            ),
            fixed(
                C::phase("mariadb-restore", TaskTrigger::Spec, TaskPhase::Restore)
                    .set("database")
                    .volume("mariadb"),
            ),
            // What servers stand on.
            fixed(C::service("libvirt").set("compute")),
        ]);
        what.data_plane.insert("libvirt".parse().unwrap());
        let mut what = with_balancer(what, "haproxy");
        what.swaps.insert(slot("keystone-api"), [slot("keystone-admin")].into());
        what.release = release.parse().unwrap();
        with_identity(what, &["keystone-api"], "https://cloud:5000/v3")
    }

    pub fn engines(&self) -> BTreeMap<HostName, Arc<dyn Engine>> {
        [("local".parse().unwrap(), Arc::new(self.engine.clone()) as Arc<dyn Engine>)].into()
    }

    pub async fn observe(&self, what: &Desired) -> Result<Observed, String> {
        mastic::observe::observe(&self.engines(), &what.deployment).await.map_err(|e| e.to_string())
    }

    fn plan(goal: &Goal, found: &Observed, options: &Options) -> Plan {
        let options = Options { accept: Accept::Everything, ..options.clone() };
        let (plan, what) = match goal {
            Goal::Deploy(what) => (reconcile(what, found, &options), what),
            Goal::Upgrade(what) | Goal::Rollback(what) | Goal::Commit(what) => {
                let chosen = match goal {
                    Goal::Upgrade(_) => Options::upgrade(),
                    Goal::Rollback(_) => Options::rollback(),
                    _ => Options::commit(),
                };
                let (selection, healthy_deadline) = (options.selection.clone(), options.healthy_deadline);
                (
                    reconcile(
                        what,
                        found,
                        &Options {
                            accept: Accept::Everything,
                            selection,
                            soak: 0,
                            healthy_deadline,
                            ..chosen
                        },
                    ),
                    what,
                )
            }
            Goal::Return(what) => {
                let options = Options::return_to(found, Generation::FIRST, &what.release, "generation-1");
                (reconcile(what, found, &Options { accept: Accept::Everything, ..options }), what)
            }
            Goal::Destroy(what) => (destroy(found, what.release.clone(), &Volumes::Keep, &options), what),
        };
        if let Err(violations) = verify(&plan, what, found) {
            panic!("{violations:?}\n{}{}", render::text(&plan), render::steps(&plan));
        }
        let expected = |blocker: &Blocker| match blocker {
            // Whoever comes after an end that was not seen finds nothing open any more.
            Blocker::NothingHeld => matches!(goal, Goal::Rollback(_) | Goal::Commit(_)),
            Blocker::CommitBegun { .. } => matches!(goal, Goal::Rollback(_)),
            Blocker::Serves { .. } => matches!(goal, Goal::Return(_)),
            _ => false,
        };
        assert!(plan.blockers.iter().all(expected), "{:?}", plan.blockers);
        plan
    }

    /// One deployer: observes, plans, carries out. It may be killed at any moment.
    pub async fn go(&self, goal: &Goal) -> Ended {
        self.go_with(goal, &Options::default()).await
    }

    /// The same, for a part.
    pub async fn go_with(&self, goal: &Goal, options: &Options) -> Ended {
        let what = match goal {
            Goal::Deploy(what)
            | Goal::Upgrade(what)
            | Goal::Rollback(what)
            | Goal::Commit(what)
            | Goal::Return(what)
            | Goal::Destroy(what) => what,
        };
        let work = async {
            let found = match self.observe(what).await {
                Ok(found) => found,
                Err(reason) => return Ended::Observing(reason),
            };
            let plan = Self::plan(goal, &found, options);
            if plan.is_empty() || !plan.blockers.is_empty() {
                return Ended::Empty;
            }
            let environment = Environment {
                engines: self.engines(),
                reporter: Arc::new(Silent),
                cancel: CancellationToken::new(),
                progress_deadline: self.progress_deadline,
                registrar: Arc::new(Register),
                redactor: Arc::new(Redactor::new([])),
                origins: Arc::new(Lines),
                watch: None,
                secrets: None,
                state: self.state.path().to_owned(),
                operator: "me@here".to_owned(),
                message: String::new(),
            };
            Ended::Ran(Box::new(run(&environment, &plan, what).await.unwrap()))
        };
        tokio::select! {
            biased;
            () = self.faults.killed() => Ended::Killed,
            ended = work => ended,
            // Nothing here takes long: a run that hangs is a finding, not a slow machine.
            () = tokio::time::sleep(Duration::from_mins(2)) => panic!("the run hangs"),
        }
    }

    /// Brings the cloud up without faults, with data in its volume and a stranger beside it.
    pub async fn deployed(&self, what: &Desired) {
        let goal = Goal::Deploy(Box::new(what.clone()));
        match self.go(&goal).await {
            Ended::Ran(report) => assert_eq!(report.outcome, Outcome::Done, "{:?}", report.failures),
            other => panic!("{other:?}"),
        }
        self.engine.write_volume("aio_mariadb", "/ibdata1", PRECIOUS);
        self.faults.forget_calls();
    }

    pub fn data_is_there(&self) -> bool {
        self.engine.volume_files("aio_mariadb").is_some_and(|files| files.contains_key("/ibdata1"))
    }

    /// The running services (and finished tasks) of every set, by slot name.
    pub async fn serving(&self, what: &Desired) -> BTreeMap<SetName, BTreeMap<String, SpecHash>> {
        let found = self.observe(what).await.unwrap();
        let mut sets: BTreeMap<SetName, BTreeMap<String, SpecHash>> = BTreeMap::new();
        for container in found.hosts.values().flat_map(|host| &host.containers) {
            let Some(labels) = &container.slot_labels else { continue };
            if container.state == ContainerState::Running && !self.stands_by(&container.id).await {
                let twin = sets
                    .entry(labels.set.clone())
                    .or_default()
                    .insert(labels.container.to_string(), on_main_ports(labels));
                assert!(twin.is_none(), "two run in {}", labels.container);
            }
        }
        sets
    }

    /// Whether a container's program was told not to begin its work.
    async fn stands_by(&self, id: &ContainerId) -> bool {
        let packed = self.engine.download(id, STAND_BY_PATH).await;
        packed.is_ok_and(|packed| {
            let tree = archive::unpack(&packed).unwrap();
            tree.values().filter_map(archive::Entry::bytes).any(|bytes| !bytes.is_empty())
        })
    }

    /// What should serve, in the same shape.
    pub fn services(what: &Desired) -> BTreeMap<SetName, BTreeMap<String, SpecHash>> {
        let mut sets: BTreeMap<SetName, BTreeMap<String, SpecHash>> = BTreeMap::new();
        for spec in what.containers.values().filter(|spec| !spec.is_task()) {
            let hash = spec.record(&what.init_digest).hash();
            sets.entry(spec.set.clone()).or_default().insert(spec.slot.container.to_string(), hash);
        }
        sets
    }

    /// Every set runs wholly what `old` or wholly what `new` says.
    pub async fn whole(&self, old: Option<&Desired>, new: &Desired, when: &str) {
        let serving = self.serving(new).await;
        let (before, after) = (old.map(Self::services).unwrap_or_default(), Self::services(new));
        for set in &new.sets {
            let runs = serving.get(set).cloned().unwrap_or_default();
            let is_old = runs == before.get(set).cloned().unwrap_or_default();
            assert!(is_old || runs == after[set], "{when}: set {set} is neither old nor new: {runs:?}");
        }
    }

    /// Every slot runs what `old` or what `new` says.
    pub async fn each(&self, old: &Desired, new: &Desired, when: &str) {
        let serving = self.serving(new).await;
        let (before, after) = (Self::services(old), Self::services(new));
        for (set, containers) in &after {
            for (name, hash) in containers {
                let runs = serving.get(set).and_then(|set| set.get(name));
                let good = runs == Some(hash) || runs == before.get(set).and_then(|set| set.get(name));
                assert!(good, "{when}: {name} is neither old nor new: {runs:?}");
            }
        }
    }

    /// Exactly the desired slots, one container each, and the ledger.
    pub async fn exactly(&self, what: &Desired, when: &str) {
        assert_eq!(self.serving(what).await, Self::services(what), "{when}");
        let found = self.observe(what).await.unwrap();
        let slots: Vec<String> = found
            .hosts
            .values()
            .flat_map(|host| &host.containers)
            .filter_map(|c| c.slot_labels.as_ref().map(|l| l.container.to_string()))
            .collect();
        let unique: BTreeSet<&String> = slots.iter().collect();
        assert_eq!(slots.len(), unique.len(), "{when}: strays in {:?}", self.engine.names());
        let known: BTreeSet<String> = what.containers.keys().map(|slot| slot.container.to_string()).collect();
        let must: BTreeSet<String> = what
            .containers
            .values()
            .filter(|spec| Options::default().phases.iter().any(|phase| has_phase(spec, *phase)))
            .map(|spec| spec.slot.container.to_string())
            .collect();
        let there: BTreeSet<String> = slots.iter().cloned().collect();
        assert!(must.is_subset(&there) && there.is_subset(&known), "{when}: {:?}", self.engine.names());
    }

    /// The new serves, and all that served before is kept, frozen or stopped, with nothing beside the two.
    pub async fn holds(&self, old: &Desired, new: &Desired, when: &str) {
        assert_eq!(self.serving(new).await, Self::services(new), "{when}");
        let found = self.observe(new).await.unwrap();
        let held = found.ledger.clone().and_then(|ledger| ledger.held);
        let held = held.unwrap_or_else(|| panic!("{when}: nothing is kept"));
        assert_eq!(held.release, old.release, "{when}");
        let (before, after) = (Self::services(old), Self::services(new));
        for (set, containers) in &before {
            for (container, hash) in
                containers.iter().filter(|(name, hash)| after[set].get(*name) != Some(hash))
            {
                let kept = found.hosts.values().flat_map(|host| &host.containers).filter(|c| {
                    c.slot_labels.as_ref().is_some_and(|labels| {
                        labels.container.as_str() == container && on_main_ports(labels) == *hash
                    })
                });
                let states: Vec<ContainerState> = kept.map(|c| c.state).collect();
                // One that has ports of its own, or stands by, is frozen; a broken-off swap may have stopped it before it came to that.
                let beside = old.containers.values().any(|spec| {
                    let stands_by = spec.role == Role::Service { cutover: Cutover::StandsBy };
                    spec.slot.container.as_str() == container
                        && (stands_by || old.spares.contains_key(&spec.slot))
                });
                let frozen = beside && states == [ContainerState::Paused];
                let stopped = states == [ContainerState::Exited] && (!beside || when != AFTER);
                assert!(frozen || stopped, "{when}: {container} of the old release: {states:?}");
            }
        }
    }
}

/// What is said of an upgrade that nothing has broken off.
pub const AFTER: &str = "after the upgrade";

fn has_phase(spec: &ContainerSpec, wanted: TaskPhase) -> bool {
    match spec.role {
        Role::Service { .. } => true,
        Role::Task { phase, .. } => phase == wanted,
    }
}

/// The hash that a container has on its main ports: on which it serves does not matter.
fn on_main_ports(labels: &Labels) -> SpecHash {
    let mut record: SpecRecord = serde_json::from_str(&labels.spec).unwrap();
    record.environment.remove(SIDE);
    record.hash()
}

/// Which calls a matrix hits.
#[derive(Clone, Copy, Debug)]
pub enum Counting {
    Changes,
    Everything,
}
