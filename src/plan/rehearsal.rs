//! Who plays in the rehearsal of an upgrade: tasks of the release that is to come, on a copy of the data, alone with it.

use std::collections::{BTreeMap, BTreeSet};

use crate::model::spec::{MountSource, MountSpec};
use crate::model::{ContainerSpec, Desired, HostName, Role, ServiceName, Slot, TaskPhase, VolumeName};

/// What is started, in this order. Nothing of it can reach what serves, but [`Cast::copy`], which reads the data.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cast {
    /// Copies the data into [`Cast::volumes`].
    pub copy: ContainerSpec,
    /// Serves that. It has no network.
    pub stand_in: ContainerSpec,
    /// The tasks that are tried, each after those that it comes after; on the stand-in's host, in its network.
    pub acts: Vec<ContainerSpec>,
    /// Made for the copy, and removed with it: nothing else of the deployment has them.
    pub volumes: BTreeSet<VolumeName>,
}

/// Casts the tasks of `target` on the data of `serving`; with `contract` those of a commit, too. None where no service of it can
/// make a copy and stand in for itself.
///
/// Both are resolved with addresses of the loopback network alone ([`crate::profile::Profile::on_loopback`]).
pub fn cast(serving: &Desired, target: &Desired, contract: bool) -> Option<Cast> {
    let of = |phase| serving.containers.values().find(move |spec| phase_of(spec) == Some(phase));
    let mut copy = of(TaskPhase::Copy)?.clone();
    let mut stand_in = of(TaskPhase::StandIn)?.clone();
    let host = copy.slot.host.clone();
    stand_in.slot.host = host.clone();
    // Whatever their service.yaml says: only the copy reaches the data, and neither has a network.
    for spec in [&mut copy, &mut stand_in] {
        spec.host_network = false;
        spec.mounts.retain(|mount| !matches!(mount.source, MountSource::Bind { .. }));
    }
    let own = |mount: &MountSpec| match &mount.source {
        MountSource::Volume(volume) => serving.volumes.contains(&(host.clone(), volume.clone())),
        MountSource::Bind { .. } | MountSource::Tmpfs { .. } => false,
    };
    stand_in.mounts.retain(|mount| !own(mount));
    let volumes = stand_in.mounts.iter().filter_map(|mount| match &mount.source {
        MountSource::Volume(volume) => Some(volume.clone()),
        MountSource::Bind { .. } | MountSource::Tmpfs { .. } => None,
    });
    let volumes = volumes.collect();
    let acts = in_order(target, contract).into_iter().map(|spec| alone(spec, serving, &host)).collect();
    Some(Cast { copy, stand_in, acts, volumes })
}

fn phase_of(spec: &ContainerSpec) -> Option<TaskPhase> {
    match spec.role {
        Role::Task { phase, .. } => Some(phase),
        Role::Service { .. } => None,
    }
}

/// When a task is tried, if it is.
fn turn(phase: TaskPhase, contract: bool) -> Option<u8> {
    match phase {
        TaskPhase::Expand => Some(0),
        TaskPhase::OnlineMigrations if contract => Some(1),
        TaskPhase::Contract if contract => Some(2),
        TaskPhase::Validate
        | TaskPhase::Bootstrap
        | TaskPhase::Check
        | TaskPhase::Contract
        | TaskPhase::OnlineMigrations
        | TaskPhase::Backup
        | TaskPhase::Rehearse
        | TaskPhase::Restore
        | TaskPhase::Copy
        | TaskPhase::StandIn
        | TaskPhase::Return
        | TaskPhase::Settle => None,
    }
}

/// The tasks that are tried, by turns, each after those that it comes after, directly or not; otherwise by name.
fn in_order(target: &Desired, contract: bool) -> Vec<ContainerSpec> {
    let mut left: BTreeMap<(u8, &Slot), &ContainerSpec> = target
        .containers
        .iter()
        .filter_map(|(slot, spec)| Some(((turn(phase_of(spec)?, contract)?, slot), spec)))
        .collect();
    let mut ordered = Vec::new();
    while !left.is_empty() {
        let waits = |slot: &Slot| {
            let first = before(target, slot);
            left.keys().any(|(_, other)| *other != slot && first.contains(other))
        };
        // A circle is broken at its first.
        let next = left.keys().find(|(_, slot)| !waits(slot)).or(left.keys().next()).copied();
        if let Some(spec) = next.and_then(|next| left.remove(&next)) {
            ordered.push(spec.clone());
        }
    }
    ordered
}

/// All that a slot comes after.
fn before<'a>(target: &'a Desired, slot: &'a Slot) -> BTreeSet<&'a Slot> {
    let mut found = BTreeSet::new();
    let mut open = vec![slot];
    while let Some(at) = open.pop() {
        for other in target.containers.get(at).iter().flat_map(|spec| &spec.after) {
            if found.insert(other) {
                open.push(other);
            }
        }
    }
    found
}

/// Takes from a task what could reach, or change, what serves. Volumes that only containers of its own service have it may read:
/// keys of a service are in such; another service's sockets are not. Where others stood there is an empty place.
fn alone(mut spec: ContainerSpec, serving: &Desired, host: &HostName) -> ContainerSpec {
    spec.slot.host = host.clone();
    spec.host_network = false;
    spec.privileges.host_pid = false;
    spec.privileges.host_ipc = false;
    spec.privileges.devices.clear();
    let (uid, gid) = spec.user;
    let mounts = std::mem::take(&mut spec.mounts).into_iter().filter_map(|mount| match &mount.source {
        MountSource::Tmpfs { .. } => Some(mount),
        MountSource::Bind { .. } => None,
        MountSource::Volume(volume) => {
            let there = serving.volumes.contains(&(host.clone(), volume.clone()));
            if there && users(serving, volume).all(|service| *service == spec.service) {
                return Some(MountSpec { read_only: true, ..mount });
            }
            let options = format!("mode=0755,uid={uid},gid={gid}");
            Some(MountSpec { source: MountSource::Tmpfs { options }, target: mount.target, read_only: false })
        }
    });
    spec.mounts = mounts.collect();
    spec
}

fn users<'a>(desired: &'a Desired, volume: &'a VolumeName) -> impl Iterator<Item = &'a ServiceName> {
    let has = move |spec: &&ContainerSpec| {
        spec.mounts.iter().any(|mount| matches!(&mount.source, MountSource::Volume(name) if name == volume))
    };
    desired.containers.values().filter(has).map(|spec| &spec.service)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::profile::{self, Inputs};
    use crate::store::library;

    fn desired(profile: &str, release: &str) -> Desired {
        let library = library::embedded();
        let file = &library.get(&format!("profiles/{profile}.yaml")).unwrap().bytes;
        let text = String::from_utf8_lossy(file).replace("\"2026.1\"", &format!("\"{release}\""));
        let loaded = profile::load("p", &text, &library).unwrap().on_loopback();
        profile::resolve(&loaded, &library, &Inputs::placeholders(&loaded)).unwrap()
    }

    fn names(cast: &Cast) -> Vec<&str> {
        cast.acts.iter().map(|spec| spec.slot.container.as_str()).collect()
    }

    #[test]
    fn exactly_the_tasks_that_change_schemas_must_be_cast_those_of_a_commit_after_all_others() {
        let (old, new) = (desired("all-in-one", "2025.1"), desired("all-in-one", "2026.1"));
        let expand = [
            "cinder-schema",
            "glance-schema",
            "heat-schema",
            "keystone-setup",
            "neutron-schema",
            "nova-schema",
            "placement-schema",
        ];
        let cast = |contract| super::cast(&old, &new, contract).unwrap();
        let mut found = names(&cast(false)).into_iter().map(str::to_owned).collect::<Vec<_>>();
        found.sort();
        assert_eq!(found, expand);
        let whole = cast(true);
        let all = names(&whole);
        assert_eq!(all.len(), 13, "{all:?}");
        let last_expand = all.iter().rposition(|name| expand.contains(name)).unwrap();
        assert_eq!(last_expand, 6, "{all:?}");
        assert!(all[7..10].iter().all(|name| name.ends_with("-migrate")), "{all:?}");
        assert!(all[10..].iter().all(|name| name.ends_with("-contract")), "{all:?}");
        assert!(whole.acts.iter().all(|spec| spec.image.reference.ends_with(":2026.1")));
        assert!(whole.copy.image.reference.ends_with(":2025.1"));
    }

    #[test]
    fn nothing_of_it_may_reach_what_serves() {
        let (old, new) = (desired("all-in-one", "2025.1"), desired("all-in-one", "2026.1"));
        let Cast { copy, stand_in, acts, volumes } = super::cast(&old, &new, true).unwrap();
        assert_eq!(volumes.iter().map(VolumeName::as_str).collect::<Vec<_>>(), ["mariadb_rehearsal"]);
        assert!(
            old.volumes.iter().all(|(_, volume)| !volumes.contains(volume)),
            "it is no volume of the deployment"
        );
        for mount in &copy.mounts {
            if let MountSource::Volume(volume) = &mount.source {
                assert!(mount.read_only || volume.as_str() != "mariadb_data", "the copy may change the data");
            }
        }
        for spec in acts.iter().chain([&stand_in]) {
            assert!(!spec.host_network, "{}", spec.slot);
            for mount in &spec.mounts {
                match &mount.source {
                    MountSource::Tmpfs { .. } => {}
                    MountSource::Bind { .. } => panic!("{} has {mount:?} of the host", spec.slot),
                    MountSource::Volume(volume) => {
                        let made = volumes.contains(volume) && spec.slot == stand_in.slot;
                        assert!(mount.read_only || made, "{} may write to {volume}", spec.slot);
                    }
                }
            }
            let own = spec.files.iter().map(|file| String::from_utf8_lossy(&file.content).into_owned());
            for text in own.filter(|text| text.contains("mysql+pymysql://")) {
                assert!(text.contains("@127.0.0.1:3306/"), "{} asks a database elsewhere", spec.slot);
            }
        }
        let keystone = acts.iter().find(|spec| spec.slot.container.as_str() == "keystone-setup").unwrap();
        let keys = keystone.mounts.iter().find(|mount| mount.target == "/etc/keystone/fernet-keys").unwrap();
        assert!(matches!(keys.source, MountSource::Volume(_)) && keys.read_only);
    }

    #[test]
    fn without_somebody_to_stand_in_there_must_be_no_cast() {
        let mut old = desired("identity", "2025.1");
        let new = desired("identity", "2026.1");
        assert!(super::cast(&old, &new, false).is_some());
        old.containers.retain(|_, spec| phase_of(spec) != Some(TaskPhase::StandIn));
        assert_eq!(super::cast(&old, &new, false), None);
    }
}
