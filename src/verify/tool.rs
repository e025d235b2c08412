//! A container that no profile asks for: made for one act of a run, and removed with it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::walk::Failure;
use crate::build::INIT_BINARY;
use crate::engine::{CreateRequest, Engine, EngineResult, archive};
use crate::model::labels::{self, LabelRole};
use crate::model::spec::{FileSpec, Limits, MountSource, MountSpec, Privileges, StopSpec, TaskTrigger};
use crate::model::{
    ContainerId, ContainerSpec, DeploymentName, HostName, NameError, PinnedImage, Role, Slot, TaskPhase,
};
use crate::store::redact::Redactor;

/// The user of every image that such a container is made from (`user:` in its image.yaml).
pub(super) const USER: u32 = 819;
/// Where the authority's certificate lies in it.
pub(super) const AUTHORITY: &str = "/etc/mastic/tls/ca.crt";
/// Processes and threads: a bound for what grows without end.
const PIDS: u64 = 1024;

/// Where and as what such a container runs.
#[derive(Clone, Debug)]
pub struct Place {
    /// The engine.
    pub engine: Arc<dyn Engine>,
    /// Its host.
    pub host: HostName,
    /// The deployment, by which a later run finds what this one left.
    pub deployment: DeploymentName,
    /// The image.
    pub image: PinnedImage,
    /// Masks secrets in what is printed.
    pub redactor: Redactor,
}

/// What is particular to one such container. It has the host's network and a read-write file system of its own.
#[derive(Debug, Default)]
pub(super) struct Tool {
    /// What it is called: its container, service and set.
    pub(super) name: &'static str,
    /// Program and arguments.
    pub(super) command: Vec<String>,
    /// Where it starts.
    pub(super) working_dir: &'static str,
    /// Environment.
    pub(super) environment: BTreeMap<String, String>,
    /// Config, with secrets.
    pub(super) files: Vec<FileSpec>,
    /// Memory file systems: where, and with which options.
    pub(super) tmpfs: Vec<(&'static str, String)>,
    /// Bytes of memory at most.
    pub(super) memory: u64,
    /// Seconds to end by itself.
    pub(super) grace: u32,
    /// What it may do beyond an ordinary process; by default nothing.
    pub(super) privileges: Privileges,
}

/// A container that was made and not yet removed. Whoever holds it removes it, whatever happened.
#[derive(Debug)]
pub(super) struct Held<'a> {
    pub(super) engine: &'a dyn Engine,
    pub(super) id: ContainerId,
    files: Vec<FileSpec>,
}

impl Place {
    /// Removes the containers of runs that are dead.
    pub(super) async fn sweep(&self, is_leftover: impl Fn(&str) -> bool) -> EngineResult<()> {
        for container in self.engine.containers(&self.deployment).await? {
            let role = container.labels.get(labels::ROLE).and_then(|role| LabelRole::parse(role));
            if role == Some(LabelRole::Tool) && is_leftover(&container.name) {
                self.engine.remove(&container.id, true).await?;
            }
        }
        Ok(())
    }

    /// Makes it, under the run's name: by that a later run finds what a killed one left.
    pub(super) async fn make(&self, run: &str, tool: Tool) -> Result<Held<'_>, Failure> {
        let spec = self.spec(tool)?;
        let labels = [
            (labels::DEPLOYMENT, self.deployment.to_string()),
            (labels::ROLE, LabelRole::Tool.as_str().to_owned()),
            (labels::RUN, run.to_owned()),
        ];
        let request = CreateRequest::Spec {
            name: run.to_owned(),
            spec: &spec,
            deployment: &self.deployment,
            labels: labels.into_iter().map(|(key, value)| (key.to_owned(), value)).collect(),
            beside: None,
        };
        let id = self.engine.create(&request).await?;
        Ok(Held { engine: self.engine.as_ref(), id, files: spec.files })
    }

    fn spec(&self, tool: Tool) -> Result<ContainerSpec, NameError> {
        let Tool { name, command, working_dir, environment, files, tmpfs, memory, grace, privileges } = tool;
        let mounts = tmpfs.into_iter().map(|(target, options)| MountSpec {
            source: MountSource::Tmpfs { options },
            target: target.to_owned(),
            read_only: false,
        });
        Ok(ContainerSpec {
            slot: Slot { host: self.host.clone(), container: name.parse()? },
            service: name.parse()?,
            set: name.parse()?,
            role: Role::Task { phase: TaskPhase::Check, trigger: TaskTrigger::Spec, deadline: 0 },
            image: self.image.clone(),
            init_args: Vec::new(),
            leaves: None,
            command,
            user: (USER, USER),
            working_dir: working_dir.to_owned(),
            environment,
            files,
            mounts: mounts.collect(),
            host_network: true,
            privileges,
            limits: Limits { memory, pids: PIDS, ..Limits::default() },
            check: None,
            stop: StopSpec { signal: "SIGTERM".to_owned(), grace },
            after: BTreeSet::new(),
        })
    }
}

impl Held<'_> {
    /// Puts its config into it, and starts it.
    pub(super) async fn start(&self) -> Result<(), Failure> {
        self.engine.upload(&self.id, archive::config(&self.files, INIT_BINARY)?).await?;
        self.engine.start(&self.id).await?;
        Ok(())
    }

    /// Removes it, running or not.
    pub(super) async fn remove(self) -> EngineResult<()> {
        self.engine.remove(&self.id, true).await
    }
}

/// A config file of such a container.
pub(super) fn file(path: &str, content: Vec<u8>, mode: u32, sensitive: bool) -> FileSpec {
    FileSpec {
        path: path.to_owned(),
        uid: USER,
        gid: USER,
        mode,
        content,
        origin: "mastic verify".to_owned(),
        sensitive,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::library;

    #[test]
    fn the_container_must_run_as_the_images_user() {
        let library = library::embedded();
        for image in ["tempest", "browser"] {
            let file = &library.get(&format!("images/{image}/image.yaml")).unwrap().bytes;
            let document: serde_json::Value = serde_yaml::from_slice(file).unwrap();
            assert_eq!(document["user"]["uid"], USER, "{image}");
            assert_eq!(document["user"]["gid"], USER, "{image}");
        }
    }
}
