//! What a container has left running on its host, outside of its own cgroups: ended where all of its data goes.

use std::collections::BTreeSet;
use std::time::Duration;

use super::StepError;
use super::perform::{Work, again, fail};
use crate::build::INIT_BINARY;
use crate::engine::{CreateRequest, Engine, EngineErrorKind, archive};
use crate::model::labels::{self, LabelRole};
use crate::model::spec::{
    Limits, MountSource, MountSpec, NAMESPACES, Privileges, SpecRecord, StopSpec, TaskTrigger,
    ending_capabilities, is_own_cgroup,
};
use crate::model::{ContainerSpec, DeploymentName, HostName, ObservedContainer, Role, Slot, TaskPhase};

/// Its argument: the cgroup.
const SCRIPT: &str = include_str!("end_left.sh");
/// Twice the five seconds of the script's, and as much for a busy machine.
const DEADLINE: Duration = Duration::from_secs(20);

impl Work<'_> {
    /// Ends what is in a cgroup of the host, from a container that is made for that, of the image that has left it there.
    pub(super) async fn end_left(
        &self,
        engine: &dyn Engine,
        host: &HostName,
        holder: &ObservedContainer,
        cgroup: &str,
    ) -> Result<(), StepError> {
        if !is_own_cgroup(cgroup) {
            return Err(fail(format!("{cgroup} is no cgroup of Mastic's: nothing in it is touched")));
        }
        let deployment = &self.plan.deployment;
        let name = name(deployment, cgroup);
        match engine.container(&name).await {
            // A run that was killed has left it.
            Ok(there) => again(engine, || engine.remove(&there.id, true)).await?,
            Err(error) if error.kind == EngineErrorKind::NotFound => {}
            Err(error) => return Err(error.into()),
        }
        let spec = spec(host, holder, cgroup)
            .ok_or_else(|| fail(format!("{}: what it was made from is not known", holder.name)))?;
        let labels = [
            (labels::DEPLOYMENT, deployment.to_string()),
            (labels::ROLE, LabelRole::Tool.as_str().to_owned()),
        ];
        let request = CreateRequest::Spec {
            name: name.clone(),
            spec: &spec,
            deployment,
            labels: labels.map(|(key, value)| (key.to_owned(), value)).into(),
            beside: None,
        };
        let id = engine.create(&request).await?;
        let config = archive::config(&[], INIT_BINARY).map_err(|error| fail(format!("{name}: {error}")))?;
        again(engine, || engine.upload(&id, config.clone())).await?;
        again(engine, || engine.start(&id)).await?;
        let ended = tokio::time::timeout(DEADLINE, engine.wait(&id)).await;
        let outcome = match ended {
            Ok(Ok(0)) => Ok(()),
            Ok(Ok(_)) => {
                Err(fail(format!("what is in cgroup {cgroup} does not end{}", self.tail(engine, &id).await)))
            }
            Ok(Err(error)) => Err(error.into()),
            Err(_) => {
                Err(fail(format!("what is in cgroup {cgroup} has not ended after {} s", DEADLINE.as_secs())))
            }
        };
        again(engine, || engine.remove(&id, true)).await?;
        outcome
    }
}

/// Returns what the container is called: there may be others at the same time, for other cgroups.
fn name(deployment: &DeploymentName, cgroup: &str) -> String {
    format!("{deployment}.end-{}", cgroup.replace('/', "_"))
}

/// Returns what the container is made from. It sees of the host what the holder saw: cgroups, and networks' namespaces, if any. Nothing
/// may be done in it but to end processes, of whichever user, and to remove these.
fn spec(host: &HostName, holder: &ObservedContainer, cgroup: &str) -> Option<ContainerSpec> {
    let record: SpecRecord = serde_json::from_str(&holder.slot_labels.as_ref()?.spec).ok()?;
    let name = "end-left";
    let ways = ["/sys/fs/cgroup", NAMESPACES];
    let mounts: Vec<MountSpec> = record
        .mounts
        .into_iter()
        .filter(
            |mount| matches!(&mount.source, MountSource::Bind { path, .. } if ways.contains(&path.as_str())),
        )
        .collect();
    let namespaces = mounts.iter().any(|mount| mount.target == NAMESPACES);
    let capabilities = ending_capabilities(namespaces).into_iter().map(|(name, _)| name.to_owned()).collect();
    Some(ContainerSpec {
        slot: Slot { host: host.clone(), container: name.parse().ok()? },
        service: name.parse().ok()?,
        set: name.parse().ok()?,
        role: Role::Task { phase: TaskPhase::Check, trigger: TaskTrigger::Spec, deadline: 0 },
        image: record.image,
        init_args: Vec::new(),
        leaves: None,
        command: ["sh", "-c", SCRIPT, "sh", cgroup].map(str::to_owned).into(),
        user: (0, 0),
        working_dir: "/".to_owned(),
        environment: [("PATH".to_owned(), "/usr/bin:/bin".to_owned())].into(),
        files: Vec::new(),
        mounts,
        host_network: true,
        privileges: Privileges {
            capabilities,
            host_pid: true,
            host_cgroups: true,
            security_opts: record.privileges.security_opts,
            ..Privileges::default()
        },
        limits: Limits::default(),
        check: None,
        stop: StopSpec { signal: "SIGTERM".to_owned(), grace: 1 },
        after: BTreeSet::new(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_ends_one_cgroup_must_not_be_taken_for_what_ends_another() {
        let deployment = "aio".parse().unwrap();
        assert_eq!(name(&deployment, "mastic-aio-guests"), "aio.end-mastic-aio-guests");
        assert_eq!(name(&deployment, "mastic/aio/networks"), "aio.end-mastic_aio_networks");
    }
}
