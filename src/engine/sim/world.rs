//! All that a simulated engine holds: containers, volumes, images, events; and the passage of time over them.

use std::collections::BTreeMap;
use std::time::Duration;

use sha2::{Digest, Sha256};

use crate::engine::archive::{Entry, Tree};
use crate::engine::{CreateRequest, EngineErrorKind, EngineEvent};
use crate::model::spec::{INIT_PATH, MountSource, hex};
use crate::model::{ContainerId, ImageId, labels};

use super::container::{Birth, Container, Happened, Mounted, Phase};
use super::script::{Behaviour, ProgramContext, Script};

/// The simulated clock begins here: 2026-01-01T00:00:00Z.
const EPOCH_SECONDS: i64 = 1_767_225_600;

/// Why a request is refused, before it is an `EngineError` with a subject and an endpoint.
pub(super) type Refusal = (EngineErrorKind, String);

pub(super) fn refuse<T>(kind: EngineErrorKind, message: impl Into<String>) -> Result<T, Refusal> {
    Err((kind, message.into()))
}

/// Returns simulated time as RFC 3339.
pub(super) fn rfc3339(at: Duration) -> String {
    let nanos = i128::from(nanos(at));
    jiff::Timestamp::from_nanosecond(nanos).map(|time| time.to_string()).unwrap_or_default()
}

/// Returns simulated time as nanoseconds since the Unix epoch.
pub(super) fn nanos(at: Duration) -> i64 {
    i64::try_from(at.as_nanos()).unwrap_or(i64::MAX).saturating_add(EPOCH_SECONDS * 1_000_000_000)
}

#[derive(Clone, Debug)]
pub(super) struct Volume {
    pub(super) labels: BTreeMap<String, String>,
    pub(super) files: Tree,
}

#[derive(Clone, Debug)]
pub(super) struct Image {
    pub(super) tags: Vec<String>,
    pub(super) labels: BTreeMap<String, String>,
    pub(super) created: Duration,
    pub(super) files: Tree,
    pub(super) layers: Vec<String>,
}

/// An event, with the labels that the filter looks at.
#[derive(Clone, Debug)]
pub(super) struct Told {
    pub(super) deployment: Option<String>,
    pub(super) event: EngineEvent,
}

#[derive(Debug, Default)]
pub(super) struct World {
    pub(super) now: Duration,
    pub(super) containers: BTreeMap<ContainerId, Container>,
    pub(super) volumes: BTreeMap<String, Volume>,
    /// Files of the host that binds lead to.
    pub(super) host: Tree,
    pub(super) images: BTreeMap<ImageId, Image>,
    /// References that a pull finds.
    pub(super) registry: BTreeMap<String, (BTreeMap<String, String>, Tree)>,
    /// Builds done, by the digest of their input: what the cache knows.
    pub(super) built: BTreeMap<String, ImageId>,
    pub(super) events: Vec<Told>,
    /// Exit codes of interactive execs.
    pub(super) execs: BTreeMap<String, i64>,
    pub(super) script: Script,
    ids: u64,
}

impl World {
    /// Returns the next id; the n-th is the same in every run.
    pub(super) fn fresh_id(&mut self, seed: &str) -> String {
        self.ids += 1;
        hex(&Sha256::digest(format!("{seed}\0{}", self.ids)))
    }

    /// Brings everything up to `now`, change by change in the order in which they fall due.
    pub(super) fn settle(&mut self, now: Duration) {
        while let Some((at, id)) = self.next_due().filter(|(at, _)| *at <= now) {
            let Some(container) = self.containers.get_mut(&id) else { break };
            if let Phase::Restarting { .. } = container.phase {
                self.launch(&id, at, true);
            } else {
                let happened = container.advance(at);
                self.tell(&id, happened);
            }
        }
        self.now = self.now.max(now);
    }

    /// Returns the next moment at which something changes by itself.
    pub(super) fn next_due(&self) -> Option<(Duration, ContainerId)> {
        self.containers.iter().filter_map(|(id, c)| c.due().map(|at| (at, id.clone()))).min()
    }

    /// Returns the key of a container by id, unambiguous start of an id, or name.
    pub(super) fn find(&self, id: &str) -> Result<ContainerId, Refusal> {
        let key = ContainerId(id.to_owned());
        if self.containers.contains_key(&key) {
            return Ok(key);
        }
        if let Some(named) = self.containers.values().find(|c| c.birth.name == id) {
            return Ok(named.birth.id.clone());
        }
        let mut starting = self.containers.keys().filter(|key| !id.is_empty() && key.0.starts_with(id));
        match (starting.next(), starting.next()) {
            (Some(key), None) => Ok(key.clone()),
            (_, _) => refuse(EngineErrorKind::NotFound, format!("there is no container {id}")),
        }
    }

    pub(super) fn get(&mut self, id: &str) -> Result<&mut Container, Refusal> {
        let key = self.find(id)?;
        self.containers
            .get_mut(&key)
            .ok_or_else(|| (EngineErrorKind::NotFound, format!("there is no container {id}")))
    }

    /// Returns a container's name, or the text itself where there is none.
    pub(super) fn name_of(&self, id: &str) -> String {
        self.find(id).ok().and_then(|key| self.containers.get(&key)).map_or(id, |c| &c.birth.name).to_owned()
    }

    pub(super) fn tell(&mut self, id: &ContainerId, happened: Vec<Happened>) {
        let Some(container) = self.containers.get(id) else { return };
        let deployment = container.birth.labels.get(labels::DEPLOYMENT).cloned();
        self.events.extend(happened.into_iter().map(|Happened { at, action, exit_code }| Told {
            deployment: deployment.clone(),
            event: EngineEvent {
                id: id.clone(),
                action: action.to_owned(),
                exit_code,
                time_nanos: nanos(at),
            },
        }));
    }

    pub(super) fn create(&mut self, request: &CreateRequest<'_>) -> Result<ContainerId, Refusal> {
        let (name, image_reference, labels) = match request {
            CreateRequest::Spec { name, spec, labels, .. } => (name, &spec.image.id.0, labels),
            CreateRequest::Inert { name, image, labels, .. } => (name, image, labels),
        };
        let Some(image) = self.find_image(image_reference) else {
            return refuse(EngineErrorKind::NotFound, format!("there is no image {image_reference}"));
        };
        if let Some(other) = self.containers.values().find(|c| c.birth.name == *name) {
            let words = format!("the name {name} is taken by container {}", other.birth.id.short());
            return refuse(EngineErrorKind::Conflict, words);
        }
        // A container inherits its image's labels; its own win.
        let mut all_labels = self.images.get(&image).map(|image| image.labels.clone()).unwrap_or_default();
        all_labels.extend(labels.clone());
        let id = ContainerId(self.fresh_id(name));
        let mut birth = Birth {
            id: id.clone(),
            name: name.clone(),
            labels: all_labels,
            image: image.clone(),
            image_reference: image_reference.clone(),
            entrypoint: Vec::new(),
            command: Vec::new(),
            environment: Vec::new(),
            user: String::new(),
            mounts: BTreeMap::new(),
            check: None,
            restarts: false,
            created: self.now,
        };
        match request {
            CreateRequest::Spec { spec, deployment, .. } => {
                birth.image_reference.clone_from(&spec.image.reference);
                birth.entrypoint = std::iter::once(INIT_PATH.to_owned())
                    .chain(spec.init_args.iter().cloned())
                    .chain(std::iter::once("--".to_owned()))
                    .collect();
                birth.command.clone_from(&spec.command);
                birth.environment = spec.environment.iter().map(|(k, v)| format!("{k}={v}")).collect();
                birth.user = format!("{}:{}", spec.user.0, spec.user.1);
                birth.check.clone_from(&spec.check);
                birth.restarts = !spec.is_task();
                for mount in &spec.mounts {
                    let source = match &mount.source {
                        MountSource::Volume(volume) => Mounted::Volume(format!("{deployment}_{volume}")),
                        MountSource::Bind { path, .. } => Mounted::Host(path.clone()),
                        MountSource::Tmpfs { .. } => Mounted::Tmpfs,
                    };
                    birth.mounts.insert(mount.target.clone(), source);
                }
            }
            CreateRequest::Inert { volume, .. } => {
                birth.mounts.extend(
                    volume.iter().map(|(volume, target)| (target.clone(), Mounted::Volume(volume.clone()))),
                );
            }
        }
        self.prepare_volumes(&birth);
        self.containers.insert(id.clone(), Container::new(birth));
        self.tell(&id, vec![Happened { at: self.now, action: "create", exit_code: None }]);
        Ok(id)
    }

    /// Makes missing volumes (without labels, as an engine does) and fills empty ones with what the image has there.
    fn prepare_volumes(&mut self, birth: &Birth) {
        let image_files = self.images.get(&birth.image).map(|image| image.files.clone()).unwrap_or_default();
        for (target, source) in &birth.mounts {
            let Mounted::Volume(name) = source else { continue };
            let volume = self
                .volumes
                .entry(name.clone())
                .or_insert_with(|| Volume { labels: BTreeMap::new(), files: Tree::new() });
            if volume.files.is_empty() {
                let inside = image_files.iter().filter_map(|(path, entry)| {
                    let rest = path.strip_prefix(target.as_str()).filter(|rest| rest.starts_with('/'))?;
                    Some((rest.to_owned(), entry.clone()))
                });
                volume.files.extend(inside);
            }
        }
    }

    /// Starts a container that is known not to run.
    pub(super) fn launch(&mut self, id: &ContainerId, at: Duration, by_policy: bool) {
        let Some(container) = self.containers.get(id) else { return };
        let behaviour = self.script.behaviour(&context(container));
        if let Some(container) = self.containers.get_mut(id) {
            let happened = container.start(at, behaviour, by_policy);
            self.tell(id, happened);
        }
    }

    pub(super) fn start(&mut self, id: &str) -> Result<(), Refusal> {
        let key = self.find(id)?;
        let Some(container) = self.containers.get(&key) else { return Ok(()) };
        if container.is_frozen() {
            let words = format!("container {} is paused", container.birth.name);
            return refuse(EngineErrorKind::Conflict, words);
        }
        if container.is_running() {
            return Ok(());
        }
        let Behaviour { start_error, .. } = self.script.behaviour(&context(container));
        let init_missing = container
            .birth
            .entrypoint
            .first()
            .filter(|init| self.read(container, init).is_none())
            .map(|init| format!("exec: \"{init}\": stat {init}: no such file or directory"));
        let inert = container.birth.entrypoint.is_empty().then(|| "there is no command".to_owned());
        if let Some(why) = start_error.or(init_missing).or(inert) {
            if let Some(container) = self.containers.get_mut(&key) {
                container.refuse_start(&why);
            }
            return refuse(EngineErrorKind::Failed, why);
        }
        self.launch(&key, self.now, false);
        self.settle(self.now);
        Ok(())
    }

    /// Freezes what runs; what has ended stays as it is.
    pub(super) fn freeze(&mut self, id: &str) -> Result<(), Refusal> {
        let (key, now) = (self.find(id)?, self.now);
        let container = self.get(id)?;
        match container.phase {
            Phase::Running if container.is_live() => {
                let happened = container.freeze(now);
                self.tell(&key, happened);
                Ok(())
            }
            Phase::Running | Phase::Exited => Ok(()),
            Phase::Created | Phase::Restarting { .. } => {
                let words = format!("container {} is not running", container.birth.name);
                refuse(EngineErrorKind::Conflict, words)
            }
        }
    }

    pub(super) fn thaw(&mut self, id: &str) -> Result<(), Refusal> {
        let (key, now) = (self.find(id)?, self.now);
        let container = self.get(id)?;
        if container.phase != Phase::Running {
            let words = format!("container {} is not paused", container.birth.name);
            return refuse(EngineErrorKind::Conflict, words);
        }
        let happened = container.thaw(now);
        self.tell(&key, happened);
        self.settle(now);
        Ok(())
    }

    pub(super) fn remove(&mut self, id: &str, force: bool) -> Result<(), Refusal> {
        let Ok(key) = self.find(id) else { return Ok(()) };
        let Some(container) = self.containers.get_mut(&key) else { return Ok(()) };
        if container.is_running() {
            if !force {
                let words = format!("container {} is running", container.birth.name);
                return refuse(EngineErrorKind::Conflict, words);
            }
            let happened = container.kill(self.now, "KILL");
            self.tell(&key, happened);
            self.settle(self.now);
        }
        self.tell(&key, vec![Happened { at: self.now, action: "destroy", exit_code: None }]);
        self.containers.remove(&key);
        Ok(())
    }

    /// Stops everything as a daemon's end does, and starts again what its policy and its user left running.
    pub(super) fn restart_daemon(&mut self) {
        let now = self.now;
        let running: Vec<ContainerId> =
            self.containers.iter().filter(|(_, c)| c.is_running()).map(|(id, _)| id.clone()).collect();
        for id in running {
            let happened = self.containers.get_mut(&id).map(|c| c.crash(now, 0)).unwrap_or_default();
            self.tell(&id, happened);
        }
    }

    pub(super) fn remove_volume(&mut self, name: &str) -> Result<(), Refusal> {
        let mounted = Mounted::Volume(name.to_owned());
        let user = self.containers.values().find(|c| c.birth.mounts.values().any(|m| *m == mounted));
        if let Some(user) = user {
            let words = format!("volume {name} is in use by container {}", user.birth.name);
            return refuse(EngineErrorKind::Conflict, words);
        }
        self.volumes.remove(name);
        Ok(())
    }

    /// Returns a file as the container sees it.
    pub(super) fn read(&self, container: &Container, path: &str) -> Option<Entry> {
        let (tree, inner) = self.locate(container, path);
        let own = tree.and_then(|tree| tree.get(&inner)).cloned();
        let image = || self.images.get(&container.birth.image).and_then(|i| i.files.get(path)).cloned();
        if inner == path && tree.is_some() { own.or_else(image) } else { own }
    }

    /// Returns the tree that holds a path, and the path within it; no tree for what is not kept (tmpfs).
    fn locate(&self, container: &Container, path: &str) -> (Option<&Tree>, String) {
        match mount_of(container, path) {
            None => (self.containers.get(&container.birth.id).map(|c| &c.files), path.to_owned()),
            Some((Mounted::Volume(name), rest)) => (self.volumes.get(&name).map(|v| &v.files), rest),
            Some((Mounted::Host(host), rest)) => {
                (Some(&self.host), format!("{}{rest}", host.trim_end_matches('/')))
            }
            Some((Mounted::Tmpfs, rest)) => (None, rest),
        }
    }

    pub(super) fn upload(&mut self, id: &str, tree: Tree) -> Result<(), Refusal> {
        let key = self.find(id)?;
        for (path, entry) in tree {
            self.write(&key, &path, entry);
        }
        Ok(())
    }

    fn write(&mut self, key: &ContainerId, path: &str, entry: Entry) {
        let Some(container) = self.containers.get(key) else { return };
        // What the engine does for a missing parent: root's, 0755. An existing one stays as it is.
        let parents: Vec<String> = path
            .match_indices('/')
            .skip(1)
            .map(|(at, _)| path.get(..at).unwrap_or_default().to_owned())
            .collect();
        let missing: Vec<String> =
            parents.into_iter().filter(|parent| self.read(container, parent).is_none()).collect();
        let mount_points: Vec<String> = container.birth.mounts.keys().cloned().collect();
        let all = missing
            .into_iter()
            .filter(|parent| !mount_points.contains(parent))
            .map(|parent| (parent, Entry::directory(0o755)))
            .chain(std::iter::once((path.to_owned(), entry)));
        for (path, entry) in all {
            let Some(container) = self.containers.get_mut(key) else { return };
            match mount_of(container, &path) {
                None => {
                    container.files.insert(path, entry);
                }
                Some((Mounted::Volume(name), rest)) => {
                    if let Some(volume) = self.volumes.get_mut(&name) {
                        volume.files.insert(rest, entry);
                    }
                }
                Some((Mounted::Host(host), rest)) => {
                    self.host.insert(format!("{}{rest}", host.trim_end_matches('/')), entry);
                }
                Some((Mounted::Tmpfs, _)) => {}
            }
        }
    }

    /// Returns a path and what is below it, named from its last part on.
    pub(super) fn download(&self, id: &str, path: &str) -> Result<Tree, Refusal> {
        let key = self.find(id)?;
        let missing = || (EngineErrorKind::NotFound, format!("there is no {path} in {}", self.name_of(id)));
        let container = self.containers.get(&key).ok_or_else(missing)?;
        let path = path.trim_end_matches('/');
        let below = |candidate: &str| {
            candidate == path || candidate.strip_prefix(path).is_some_and(|r| r.starts_with('/'))
        };
        let mut seen = Tree::new();
        if let Some(image) = self.images.get(&container.birth.image) {
            seen.extend(image.files.iter().map(|(path, entry)| (path.clone(), entry.clone())));
        }
        seen.extend(container.files.clone());
        for (target, source) in &container.birth.mounts {
            let target_prefix = format!("{target}/");
            seen.retain(|path, _| path != target && !path.starts_with(&target_prefix));
            seen.insert(target.clone(), Entry::directory(0o755));
            let inside: Tree = match source {
                Mounted::Volume(name) => self.volumes.get(name).map(|v| v.files.clone()).unwrap_or_default(),
                Mounted::Host(host) => self
                    .host
                    .iter()
                    .filter_map(|(path, entry)| Some((path.strip_prefix(host)?.to_owned(), entry.clone())))
                    .collect(),
                Mounted::Tmpfs => Tree::new(),
            };
            seen.extend(inside.into_iter().map(|(rest, entry)| (format!("{target}{rest}"), entry)));
        }
        seen.retain(|path, _| below(path));
        if seen.is_empty() {
            return Err(missing());
        }
        let keep = path.rfind('/').unwrap_or(0);
        let named = seen.into_iter().map(|(path, entry)| (path.get(keep..).unwrap_or("/").to_owned(), entry));
        Ok(named.collect())
    }
}

/// Returns what a program in the container sees.
pub(super) fn context(container: &Container) -> ProgramContext<'_> {
    let Birth { name, image_reference, command, environment, user, .. } = &container.birth;
    let starts = container.starts;
    ProgramContext { container: name, image: image_reference, command, environment, user, starts }
}

/// Returns the mount that covers a path, and the path within it (empty for the mount point itself).
fn mount_of(container: &Container, path: &str) -> Option<(Mounted, String)> {
    container.birth.mounts.iter().rev().find_map(|(target, source)| {
        let rest = path.strip_prefix(target.as_str())?;
        (rest.is_empty() || rest.starts_with('/')).then(|| (source.clone(), rest.to_owned()))
    })
}
