//! The shipped profiles and the shipped services: they load, and resolve to the same bytes each time.

mod fixture;

use std::collections::BTreeSet;

use mastic::model::spec::{Cutover, MountSource, MountSpec, STAND_BY_PATH, STANDING_BY_PATH};
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

/// Heat, Swift and Horizon on three hosts, in the series that takes the place of `SERIES`.
const EXTRAS: &str = r#"
deployment: extras
release: "SERIES"
hosts:
  one: {engine: "tcp://10.0.0.1:2376", tls: certs, address: 10.0.0.1}
  two: {engine: "tcp://10.0.0.2:2376", tls: certs, address: 10.0.0.2}
  three: {engine: "tcp://10.0.0.3:2376", tls: certs, address: 10.0.0.3}
public: {address: 10.0.0.10, tls: true}
sets:
  database: {services: [mariadb], hosts: [one]}
  messaging: {services: [rabbitmq, memcached], hosts: [one]}
  ha: {services: [haproxy], hosts: [one]}
  api: {services: [keystone, heat, horizon], hosts: [one]}
  control: {services: [heat], hosts: [one]}
  storage: {services: [swift]}
variables: {swift_weights: [three=50]}
"#;

#[test]
fn the_guide_must_say_which_series_there_are_and_where_an_upgrade_leads() {
    let library = fixture::shipped();
    let guide = std::fs::read_to_string(fixture::root().join("docs/guides/upgrade.md")).expect("it is there");
    let listed = library.series().into_iter().collect::<Vec<_>>().join(", ");
    assert!(guide.contains(&format!("Releases: {listed}.")), "the guide does not say: Releases: {listed}.");
    for from in library.series() {
        let to = library.upgrades_from(from).expect("it has series").join(", ");
        let row = format!("| {from} | {} |", if to.is_empty() { "-" } else { &to });
        assert!(guide.lines().any(|line| line == row), "the guide does not have the line {row}");
    }
}

#[test]
fn heat_swift_and_horizon_must_resolve_in_every_series() {
    let library = fixture::shipped();
    for series in library.series() {
        let text = EXTRAS.replace("SERIES", series);
        let profile = match profile::load("extras.yaml", &text, &library) {
            Ok(profile) => profile,
            Err(mistakes) => panic!("{series}: {mistakes}"),
        };
        let desired = match profile::resolve(&profile, &library, &Inputs::placeholders(&profile)) {
            Ok(desired) => desired,
            Err(mistakes) => panic!("{series}: {mistakes}"),
        };
        let admin = &desired.identity.users["heat_domain_admin"];
        assert_eq!(admin.home, mastic::model::desired::UserHome::Domain("heat".to_owned()));
        // All hosts make their rings from the same words, but for who they are themselves.
        let rings: Vec<serde_json::Value> = desired
            .containers
            .values()
            .filter(|spec| spec.name().as_str() == "swift-rings")
            .map(|spec| {
                let file = spec.files.iter().find(|file| file.path.ends_with("rings.json"));
                serde_json::from_slice(&file.expect("it has the file").content).expect("it is JSON")
            })
            .collect();
        let me: BTreeSet<&str> = rings.iter().filter_map(|one| one["me"].as_str()).collect();
        assert_eq!(me, ["one", "three", "two"].into());
        for one in &rings {
            let hosts: Vec<_> =
                one["hosts"].as_array().expect("a list").iter().map(|host| &host["name"]).collect();
            assert_eq!(hosts, ["one", "two", "three"]);
            assert_eq!(one["weights"], serde_json::json!(["three=50"]));
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

/// Glance, Placement and Cinder with what they need, in a release and with backends.
fn storage(release: &str, variables: &str) -> Result<Desired, String> {
    let library = fixture::shipped();
    let text = format!(
        r#"deployment: storage
release: "{release}"
hosts:
  local: {{engine: "unix:///var/run/docker.sock", address: 127.0.0.1}}
public: {{address: 127.0.0.1, tls: true}}
sets:
  database: {{services: [mariadb]}}
  messaging: {{services: [rabbitmq, memcached]}}
  ha: {{services: [haproxy]}}
  api: {{services: [keystone, glance, placement, cinder]}}
  control: {{services: [cinder]}}
  storage: {{services: [cinder]}}
variables: {{{variables}}}
"#
    );
    let profile = profile::load("storage.yaml", &text, &library).map_err(|m| m.to_string())?;
    profile::resolve(&profile, &library, &Inputs::placeholders(&profile)).map_err(|m| m.to_string())
}

#[test]
fn images_and_volumes_must_render_for_each_release_and_backend() {
    for release in fixture::shipped().series() {
        for (backend, more) in [
            ("nfs", "glance_backend: file"),
            ("lvm", "glance_backend: s3, glance_s3_url: \"https://s3.example.org\""),
            ("ceph", "glance_backend: swift, cinder_ceph_monitors: [10.0.0.1, 10.0.0.2]"),
        ] {
            let desired = storage(release, &format!("cinder_backend: {backend}, {more}"))
                .unwrap_or_else(|mistakes| panic!("{mistakes}"));
            let names: BTreeSet<&str> =
                desired.containers.values().map(|spec| spec.name().as_str()).collect();
            for api in ["glance-api", "placement-api", "cinder-api", "cinder-scheduler"] {
                assert!(names.contains(api), "{api}: {names:?}");
            }
            let with_lvm = names.contains("cinder-volume-lvm") && names.contains("cinder-backup-lvm");
            let without = names.contains("cinder-volume") && names.contains("cinder-backup");
            assert_eq!((with_lvm, without), (backend == "lvm", backend != "lvm"), "{names:?}");
            for spec in desired.containers.values() {
                let text = |path: &str| {
                    spec.files
                        .iter()
                        .find(|file| file.path.as_str() == path)
                        .map(|file| String::from_utf8_lossy(&file.content).into_owned())
                };
                if let Some(config) = text("/etc/cinder/cinder.conf") {
                    assert!(config.contains(&format!("\n[{backend}]\n")), "{config}");
                    assert!(config.contains("\n[keystone_authtoken]\n") && config.contains("\n[database]\n"));
                    assert_eq!(text("/etc/ceph/ceph.conf").is_some(), backend == "ceph");
                }
                // Root and capabilities are for LVM's two containers alone.
                let bare = spec.privileges.capabilities.is_empty();
                assert!(bare != spec.name().as_str().ends_with("-lvm"), "{}", spec.slot);
            }
        }
    }
    let mistakes = storage("2026.1", "cinder_backend: ceph").expect_err("where is that Ceph?");
    assert!(mistakes.contains("cinder_ceph_monitors"), "{mistakes}");
}

/// The text of a file of one container, from what a profile resolves to.
fn text_of(desired: &Desired, container: &str, path: &str) -> String {
    let spec = desired.containers.values().find(|spec| spec.name().as_str() == container);
    let spec = spec.unwrap_or_else(|| panic!("there is no {container}"));
    let file = spec.files.iter().find(|file| file.path.as_str() == path);
    let file = file.unwrap_or_else(|| panic!("{container} has no {path}"));
    String::from_utf8_lossy(&file.content).into_owned()
}

fn names_of(desired: &Desired) -> BTreeSet<&str> {
    desired.containers.values().map(|spec| spec.name().as_str()).collect()
}

#[test]
fn the_profile_with_ovn_must_be_all_in_one_but_for_what_makes_the_networks() {
    let (agents, _, with_agents) = shipped("all-in-one");
    let (ovn, _, with_ovn) = shipped("all-in-one-ovn");
    let mut expected = agents.document.clone();
    expected.deployment = ovn.document.deployment.clone();
    expected.sets.clone_from(&ovn.document.sets);
    expected.variables.clone_from(&ovn.document.variables);
    assert_eq!(serde_json::to_value(&expected).ok(), serde_json::to_value(&ovn.document).ok());
    let (with_agents, with_ovn) = (names_of(&with_agents), names_of(&with_ovn));
    let only: Vec<_> = with_ovn.difference(&with_agents).copied().collect();
    let expected = [
        "neutron-ovn-agent",
        "neutron-ovn-agent-config",
        "neutron-ovn-maintenance",
        "ovn-controller",
        "ovn-nb",
        "ovn-northd",
        "ovn-sb",
    ];
    assert_eq!(only, expected);
    let only: Vec<_> = with_agents.difference(&with_ovn).copied().collect();
    let expected = [
        "neutron-agents-config",
        "neutron-dhcp-agent",
        "neutron-l3-agent",
        "neutron-metadata-agent",
        "neutron-metadata-config",
        "neutron-openvswitch-agent",
        "neutron-periodic-workers",
        "neutron-rpc-server",
    ];
    assert_eq!(only, expected);
}

#[test]
fn ovn_must_render_for_each_release_and_ask_for_no_privilege_itself() {
    let library = fixture::shipped();
    let text =
        std::fs::read_to_string(fixture::root().join("profiles/all-in-one-ovn.yaml")).expect("it is there");
    for release in library.series() {
        let text = text.replace("release: \"2026.1\"", &format!("release: \"{release}\""));
        let profile = profile::load("ovn.yaml", &text, &library).unwrap_or_else(|m| panic!("{release}: {m}"));
        let desired = profile::resolve(&profile, &library, &Inputs::placeholders(&profile))
            .unwrap_or_else(|m| panic!("{release}: {m}"));
        let api = text_of(&desired, "neutron-api", "/etc/neutron/neutron.conf");
        for line in [
            "service_plugins = ovn-router",
            "mechanism_drivers = ovn",
            "tenant_network_types = geneve",
            "extension_drivers = port_security,dns",
            "ovn_nb_connection = tcp:127.0.0.1:6641",
            "ovn_sb_connection = tcp:127.0.0.1:6642",
            "ovn_metadata_enabled = true",
        ] {
            assert!(api.lines().any(|other| other == line), "{release}: no {line} in\n{api}");
        }
        assert!(!api.contains("vxlan") && !api.contains("l2population"), "{release}: {api}");
        // A successor has another port: of two APIs at a time each has its own place among those that share OVN's events.
        assert!(api.lines().any(|line| line == "host = local-19696"), "{release}: {api}");
        for spec in desired.containers.values().filter(|spec| spec.name().as_str().starts_with("ovn-")) {
            assert!(spec.privileges.capabilities.is_empty() && !spec.privileges.host_pid, "{}", spec.slot);
            assert_ne!(spec.user.0, 0, "{}", spec.slot);
        }
    }
}

#[test]
fn ovn_without_its_databases_must_be_a_mistake() {
    let text =
        std::fs::read_to_string(fixture::root().join("profiles/all-in-one-ovn.yaml")).expect("it is there");
    let text = text.replace("[ovn, nova", "[nova");
    let library = fixture::shipped();
    let found = profile::load("ovn.yaml", &text, &library).map_err(|mistakes| mistakes.to_string()).and_then(
        |profile| {
            profile::resolve(&profile, &library, &Inputs::placeholders(&profile))
                .map_err(|mistakes| mistakes.to_string())
        },
    );
    let mistakes = found.expect_err("where are OVN's databases?");
    assert!(mistakes.contains("`ovn`"), "{mistakes}");
}

/// A file that is left out would be found wrong only when its service does not start any more, or not at all.
#[test]
fn every_config_file_of_a_service_with_a_list_of_options_must_be_looked_at() {
    let library = fixture::shipped();
    let lists = |image: &str| -> bool {
        let text = |name: &str| {
            let file = library.get(&format!("images/{name}/Dockerfile")).expect("a Dockerfile");
            String::from_utf8_lossy(&file.bytes).into_owned()
        };
        let own = text(image);
        let parent = own.lines().rev().find_map(|line| line.strip_prefix("FROM ")).unwrap_or_default();
        own.contains("oslo-options list")
            || library
                .get(&format!("images/{parent}/Dockerfile"))
                .is_some_and(|_| text(parent).contains("oslo-options list"))
    };
    let mut looked = 0;
    for service in profile::check_library(&library).expect("the shipped services are right") {
        for container in service.containers.values().filter(|c| lists(c.image.as_str())) {
            for file in container.files.iter().filter(|f| f.merge == mastic::profile::container::Merge::Ini) {
                let name = file.template.as_deref().expect("a template");
                assert!(
                    name == "uwsgi.ini" || service.validate.contains_key(name),
                    "{}: {name} is not under `validate`",
                    service.service
                );
                looked += usize::from(name != "uwsgi.ini");
            }
        }
    }
    assert!(looked > 10, "{looked} files");
}

#[test]
fn every_service_behind_the_proxy_must_speak_tls_where_it_is_asked_to() {
    let library = fixture::shipped();
    let text = std::fs::read_to_string(fixture::root().join("profiles/all-in-one.yaml"))
        .expect("the profile is there");
    let profile =
        profile::load("aio.yaml", &format!("{text}\nbackend: {{tls: true}}\n"), &library).expect("a profile");
    let desired = profile::resolve(&profile, &library, &Inputs::placeholders(&profile)).expect("it resolves");
    let mut seen = 0;
    for service in profile.services() {
        for proxy in service.proxy.iter().filter(|p| p.mode == mastic::profile::service::ProxyMode::Http) {
            let specs = desired.containers.values().filter(|spec| *spec.name() == proxy.backends);
            for spec in specs {
                seen += 1;
                let name = spec.name();
                let mentions = |f: &&mastic::model::FileSpec| {
                    String::from_utf8_lossy(&f.content).contains(mastic::profile::BACKEND_PATH)
                };
                assert!(
                    spec.files.iter().any(|f| f.path == mastic::profile::BACKEND_PATH),
                    "{name} has no certificate"
                );
                assert!(spec.files.iter().any(|f| mentions(&f)), "no file of {name} names its certificate");
                let check = spec.check.as_ref().expect("a check");
                assert!(
                    check.targets.iter().any(|t| t.starts_with("https://")),
                    "{name}: {:?}",
                    check.targets
                );
            }
        }
    }
    assert!(seen >= 10, "{seen} backends");
    let haproxy =
        desired.containers.values().find(|spec| spec.name().as_str() == "haproxy").expect("HAProxy");
    let config = haproxy.files.iter().find(|f| f.path == "/etc/haproxy/haproxy.cfg").expect("its config");
    let config = String::from_utf8_lossy(&config.content);
    assert_eq!(config.matches("verify required").count(), config.matches("\nbackend ").count(), "{config}");
}

/// The first number after a text.
fn number_after(text: &str, what: &str) -> u32 {
    let rest = text.split_once(what).unwrap_or_else(|| panic!("no {what:?}")).1;
    let digits: String = rest.chars().take_while(char::is_ascii_digit).collect();
    digits.parse().unwrap_or_else(|_| panic!("no number after {what:?}"))
}

#[test]
fn a_hypervisor_must_have_time_to_finish_its_builds() {
    let (_, _, desired) = shipped("all-in-one");
    let compute = desired.containers.values().find(|spec| spec.slot.container.as_str() == "nova-compute");
    let grace = compute.expect("it is there").stop.grace;
    // Each ends the program, whatever the one within it still waits for (seen: 45 s around 100).
    let library = number_after(
        &text_of(&desired, "nova-compute", "/etc/nova/nova.conf"),
        "graceful_shutdown_timeout = ",
    );
    let builds = number_after(&text_of(&desired, "nova-compute", "/etc/nova/answering.py"), "BUILDS = ");
    assert!(grace > library && library > builds, "{grace} > {library} > {builds}");
}

#[test]
fn what_stands_by_must_be_a_program_that_waits_and_says_so_in_memory() {
    for name in ["all-in-one", "all-in-one-ovn"] {
        let (_, _, desired) = shipped(name);
        let stands_by = Role::Service { cutover: Cutover::StandsBy };
        let specs: Vec<_> = desired.containers.values().filter(|spec| spec.role == stands_by).collect();
        assert!(specs.len() > 8, "{name}: {}", specs.len());
        for spec in specs {
            let started = |path: &str| {
                spec.command.iter().any(|word| word == path)
                    || spec.files.iter().any(|file| {
                        spec.command.contains(&file.path)
                            && String::from_utf8_lossy(&file.content).contains(path)
                    })
            };
            let waits = spec.files.iter().any(|file| {
                let text = String::from_utf8_lossy(&file.content);
                started(&file.path) && text.contains(STAND_BY_PATH) && text.contains(STANDING_BY_PATH)
            });
            assert!(waits, "{name}: {} does not wait for {STAND_BY_PATH}", spec.slot);
            let memory = |mount: &MountSpec| {
                mount.target == "/tmp" && matches!(mount.source, MountSource::Tmpfs { .. })
            };
            assert!(spec.mounts.iter().any(memory), "{name}: {} has no /tmp in memory", spec.slot);
        }
    }
}

/// Whatever takes messages of its project's queues loses none when it is told to end (templates/shared/finishing.py).
#[test]
fn a_service_of_the_bus_must_finish_what_it_has_taken() {
    let (_, _, desired) = shipped("all-in-one");
    let bus = [
        "cinder-backup",
        "cinder-scheduler",
        "cinder-volume",
        "heat-engine",
        "neutron-periodic-workers",
        "neutron-rpc-server",
        "nova-compute",
        "nova-conductor",
        "nova-scheduler",
    ];
    for name in bus {
        let spec =
            desired.containers.values().find(|spec| spec.name().as_str() == name).expect("it is there");
        let scripts = spec.files.iter().map(|file| (&file.path, String::from_utf8_lossy(&file.content)));
        let started = spec.command.join(" ");
        let finishes = |text: &str| text.contains("RPCServer.stop") && text.contains("taken.get(server)");
        // What is started may be a script that starts the one that counts.
        let all: Vec<_> = scripts.collect();
        let by_name =
            |text: &str| all.iter().filter(|(path, _)| text.contains(path.as_str())).collect::<Vec<_>>();
        let direct = by_name(&started);
        let second = direct.iter().flat_map(|(_, text)| by_name(text));
        assert!(direct.iter().copied().chain(second).any(|(_, text)| finishes(text)), "{name}: {started}");
    }
}

/// Lines of a service's folder that say something: of service.yaml and templates, scripts included.
fn lines_of(service: &str) -> usize {
    let folder = fixture::root().join("templates").join(service);
    let files = std::fs::read_dir(folder).expect("its folder is there");
    let texts = files.map(|file| std::fs::read_to_string(file.expect("an entry can be read").path()));
    let says = |line: &&str| {
        let line = line.trim();
        !line.is_empty() && !["#", "{#", "--"].iter().any(|comment| line.starts_with(comment))
    };
    texts.map(|text| text.expect("a file of text").lines().filter(says).count()).sum()
}

#[test]
#[expect(clippy::print_stderr, reason = "docs/performance.md has what it says with --nocapture")]
fn a_service_must_be_few_lines() {
    let mut programs = std::collections::BTreeMap::<String, BTreeSet<String>>::new();
    for name in ["all-in-one", "all-in-one-ovn"] {
        for spec in shipped(name).2.containers.values() {
            programs.entry(spec.service.to_string()).or_default().insert(spec.name().to_string());
        }
    }
    let mut table: Vec<(usize, String, usize)> =
        programs.into_iter().map(|(service, all)| (lines_of(&service), service, all.len())).collect();
    table.sort();
    for (lines, service, count) in &table {
        eprintln!("{lines:4} lines, {count:2} containers and tasks: {service}");
        assert!(lines / count <= 150, "{service}: {lines} lines for {count} containers and tasks");
    }
    let median = table[table.len() / 2].0;
    eprintln!("median of {} services: {median}", table.len());
    assert!(median <= 150, "{table:?}");
}

/// What ends the processes that live on after a container is a container, too, if only for a second.
#[test]
fn what_ends_what_lives_on_must_be_among_the_privileges() {
    let (profile, ..) = shipped("all-in-one");
    let listed = profile.privileges();
    let has = |container: &str, privilege: &str| {
        listed.iter().any(|p| p.container.as_str() == container && p.privilege == privilege)
    };
    for (container, namespaces) in
        [("libvirt", false), ("neutron-dhcp-agent", true), ("neutron-l3-agent", true)]
    {
        assert!(has(container, "at its end: capability KILL"), "{container}");
        assert_eq!(has(container, "at its end: capability SYS_ADMIN"), namespaces, "{container}");
    }
    assert!(!has("nova-compute", "at its end: capability KILL"));
}
