//! The shipped profiles and the shipped services: they load, and resolve to the same bytes each time.

mod fixture;

use std::collections::BTreeSet;

use mastic::model::{Desired, Role};
use mastic::profile::{self, Inputs, Library, Profile};

fn shipped(name: &str) -> (Profile, Library, Desired) {
    let library = fixture::shipped();
    let text = std::fs::read_to_string(fixture::root().join(format!("profiles/{name}.yaml")))
        .expect("the profile is there");
    let profile = match profile::load(&format!("profiles/{name}.yaml"), &text, &library) {
        Ok(profile) => profile,
        Err(mistakes) => panic!("{mistakes}"),
    };
    let desired = match profile::resolve(&profile, &library, &Inputs::placeholders(&profile)) {
        Ok(desired) => desired,
        Err(mistakes) => panic!("{mistakes}"),
    };
    (profile, library, desired)
}

fn names() -> Vec<String> {
    let mut names: Vec<String> = std::fs::read_dir(fixture::root().join("profiles"))
        .expect("profiles are there")
        .map(|entry| entry.expect("an entry can be read").path())
        .filter(|path| path.extension().is_some_and(|e| e == "yaml"))
        .filter_map(|path| Some(path.file_stem()?.to_str()?.to_owned()))
        .collect();
    names.sort();
    names
}

#[test]
fn every_shipped_profile_must_load_and_resolve_to_the_same_each_time() {
    assert!(names().contains(&"all-in-one".to_owned()) && names().contains(&"identity".to_owned()));
    for name in names() {
        let (profile, library, first) = shipped(&name);
        let second = profile::resolve(&profile, &library, &Inputs::placeholders(&profile))
            .expect("it resolved before");
        assert_eq!(first, second, "{name}");
        assert!(!first.containers.is_empty());
        for (slot, spec) in &first.containers {
            for after in &spec.after {
                assert!(first.containers.contains_key(after), "{slot} waits for {after}, which is not there");
            }
            assert_eq!(slot, &spec.slot);
        }
    }
}

#[test]
fn all_in_one_must_be_ordered_by_its_dependencies() {
    let (profile, _, desired) = shipped("all-in-one");
    let sets: Vec<&str> = desired.sets.iter().map(mastic::model::SetName::as_str).collect();
    let place = |set: &str| sets.iter().position(|s| *s == set).expect("the set is there");
    assert!(place("database") < place("api") && place("ha") < place("api"), "{sets:?}");
    let after = |name: &str| -> BTreeSet<String> {
        let spec =
            desired.containers.values().find(|c| c.name().as_str() == name).expect("the container is there");
        spec.after.iter().map(|slot| slot.container.to_string()).collect()
    };
    let api = after("keystone-api");
    for name in ["keystone-setup", "keystone-keys", "mariadb", "mariadb-accounts", "memcached", "haproxy"] {
        assert!(api.contains(name), "keystone-api must come after {name}: {api:?}");
    }
    assert!(!api.contains("keystone-check") && !api.contains("keystone-contract"), "{api:?}");
    assert!(after("mariadb-accounts").contains("mariadb"));
    assert!(!after("mariadb").contains("mariadb-accounts"));
    assert!(after("mariadb").contains("mariadb-install"));
    assert_eq!(profile.identity_url().as_deref(), Some("https://127.0.0.1:5000/v3"));
    let access = desired.identity.access.expect("keystone gives access");
    assert_eq!(access.url, "https://127.0.0.1:5000/v3");
    assert!(desired.identity.services.contains_key("keystone"));
}

#[test]
fn secrets_must_be_in_files_that_say_so_and_nowhere_else() {
    for name in names() {
        let (_, _, desired) = shipped(&name);
        for spec in desired.containers.values() {
            let record = spec.record("").canonical();
            assert!(!record.contains("placeholder-for-"), "{}: {record}", spec.slot);
            for file in &spec.files {
                let text = String::from_utf8_lossy(&file.content);
                let public =
                    ["placeholder-for-tls_ca_cert", "placeholder-for-tls_vip_cert"].contains(&text.as_ref());
                assert!(
                    file.sensitive || public || !text.contains("placeholder-for-"),
                    "{} {}",
                    spec.slot,
                    file.path
                );
            }
        }
    }
}

#[test]
fn every_task_must_be_a_task_and_every_image_pinned() {
    let (profile, _, desired) = shipped("all-in-one");
    let requests = profile.image_requests();
    assert_eq!(requests.values().filter(|r| r.ends_with(":2026.1")).count(), requests.len(), "{requests:?}");
    let tasks = desired.containers.values().filter(|spec| matches!(spec.role, Role::Task { .. })).count();
    assert!(tasks >= 4, "{tasks}");
    for spec in desired.containers.values() {
        assert!(spec.image.id.0.starts_with("sha256:"));
        assert!(!spec.privileges.new_privileges || !profile.privileges().is_empty());
    }
}

#[test]
fn every_shipped_service_must_be_right_by_itself() {
    if let Err(mistakes) = profile::check_library(&fixture::shipped()) {
        panic!("{mistakes}");
    }
}

#[test]
fn a_new_profile_must_load() {
    let text = profile::init_profile("mine").expect("a good name");
    let profile = match profile::load("mastic.yaml", &text, &fixture::shipped()) {
        Ok(profile) => profile,
        Err(mistakes) => panic!("{mistakes}"),
    };
    assert_eq!(profile.document.deployment.as_str(), "mine");
    assert!(profile::init_profile("Not A Name").is_err());
}
