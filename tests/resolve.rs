//! What a profile becomes: a small one on two hosts, with everything that a profile can say.

mod fixture;

use std::collections::BTreeSet;

use mastic::model::desired::UserHome;
use mastic::model::spec::Side;
use mastic::model::{ContainerSpec, Desired, HostName, Slot};
use mastic::profile::{self, Inputs, Library, Profile};

fn load(text: &str, library: &Library) -> Profile {
    match profile::load("test.yaml", text, library) {
        Ok(profile) => profile,
        Err(mistakes) => panic!("{mistakes}"),
    }
}

fn resolve(profile: &Profile, library: &Library, inputs: &Inputs) -> Desired {
    match profile::resolve(profile, library, inputs) {
        Ok(desired) => desired,
        Err(mistakes) => panic!("{mistakes}"),
    }
}

fn small() -> (Profile, Library, Desired) {
    let library = fixture::small();
    let profile = load(fixture::PROFILE, &library);
    let desired = resolve(&profile, &library, &Inputs::placeholders(&profile));
    (profile, library, desired)
}

fn slot(text: &str) -> Slot {
    let (host, container) = text.split_once('/').expect("host/container");
    Slot { host: host.parse().expect("a host"), container: container.parse().expect("a container") }
}

fn spec<'a>(desired: &'a Desired, at: &str) -> &'a ContainerSpec {
    desired.containers.get(&slot(at)).unwrap_or_else(|| panic!("{at} is not there"))
}

fn file(desired: &Desired, at: &str, path: &str) -> String {
    let file = spec(desired, at)
        .files
        .iter()
        .find(|f| f.path == path)
        .unwrap_or_else(|| panic!("{at} has no {path}"));
    String::from_utf8(file.content.clone()).expect("text")
}

fn after(desired: &Desired, at: &str) -> String {
    spec(desired, at).after.iter().map(ToString::to_string).collect::<Vec<_>>().join(" ")
}

#[test]
fn containers_must_be_placed_by_their_sets() {
    let (profile, _, desired) = small();
    let slots: Vec<String> = desired.containers.keys().map(ToString::to_string).collect();
    insta::assert_snapshot!(slots.join("\n"), @r"
    one/api
    one/api-contract
    one/api-sync
    one/db
    one/db-accounts
    one/db-install
    one/front
    two/api
    two/api-agent
    ");
    let sets: Vec<&str> = profile.sets().iter().map(mastic::model::SetName::as_str).collect();
    assert_eq!(sets, ["database", "ha", "api", "agents"]);
    let listing = profile.listing();
    assert_eq!(listing.len(), 4);
    assert_eq!(listing[2].services.keys().map(ToString::to_string).collect::<Vec<_>>(), ["api"]);
}

#[test]
fn what_comes_first_must_be_an_edge() {
    let (_, _, desired) = small();
    assert_eq!(after(&desired, "one/db"), "one/db-install");
    assert_eq!(after(&desired, "one/db-install"), "");
    assert_eq!(after(&desired, "one/db-accounts"), "one/db");
    assert_eq!(after(&desired, "one/api-sync"), "one/db one/db-accounts one/db-install one/front");
    // On another host than its task: the task is waited for all the same.
    assert_eq!(after(&desired, "two/api"), "one/api-sync one/db one/db-accounts one/db-install one/front");
    // Contraction comes after the containers of its service, wherever they are.
    assert_eq!(after(&desired, "one/api-contract"), "one/api two/api-agent");
}

#[test]
fn a_host_must_have_its_own_values() {
    let (_, _, desired) = small();
    assert_eq!(spec(&desired, "one/api").environment["WORKERS"], "2");
    assert_eq!(spec(&desired, "two/api").environment["WORKERS"], "4");
    insta::assert_snapshot!(file(&desired, "two/api", "/etc/api.conf"), @r"
    [DEFAULT]
    # How much is logged.
    debug = true
    workers = 4
    url = http://10.0.1.10:5000/v3

    [database]
    connection = mysql://api:placeholder-for-api_database_password@10.0.0.2:3306/api
    ");
    let conf = spec(&desired, "two/api").files.iter().find(|f| f.path == "/etc/api.conf").expect("the file");
    assert!(conf.sensitive);
    assert_eq!((conf.uid, conf.gid, conf.mode), (0, 901, 0o640));
    assert_eq!(conf.origin, "templates/api/api.conf");
    assert_eq!(file(&desired, "one/api", "/etc/banner"), "hello\n");
}

#[test]
fn the_proxy_must_see_all_fronts_and_both_addresses() {
    let (profile, _, desired) = small();
    insta::assert_snapshot!(file(&desired, "one/front", "/etc/front.cfg"), @r"
    frontend api
      bind 10.0.0.10:5000 ssl
      bind 10.0.1.10:5000
      server one 10.0.0.1:15000 spare 15001
      server two 10.0.0.2:15000 spare 15001
    ");
    let endpoints: Vec<String> = desired.identity.services["api"]
        .endpoints
        .iter()
        .map(|(side, url)| format!("{side} {url}"))
        .collect();
    assert_eq!(
        endpoints,
        [
            "admin http://10.0.1.10:5000/v3",
            "internal http://10.0.1.10:5000/v3",
            "public https://cloud.example.org:5000/v3"
        ]
    );
    assert_eq!(profile.identity_url().as_deref(), Some("https://cloud.example.org:5000/v3"));
    let access = desired.identity.access.clone().expect("the api gives access");
    let reach: Vec<String> = access.after.iter().map(ToString::to_string).collect();
    assert_eq!(reach, ["one/api", "one/api-sync", "one/front", "two/api", "two/api-agent"]);
    assert_eq!(desired.identity.users["worker"].home, UserHome::Project("service".to_owned()));
    let stacks = &desired.identity.users["stacks"];
    assert_eq!(stacks.home, UserHome::Domain("stacks".to_owned()));
    assert!(!desired.identity.projects.contains("stacks"), "{:?}", desired.identity.projects);
}

#[test]
fn an_address_for_both_sides_must_have_one_listener() {
    let library = fixture::small();
    let text = fixture::PROFILE.replace("internal: {address: 10.0.1.10}\n", "");
    let profile = load(&text, &library);
    let desired = resolve(&profile, &library, &Inputs::placeholders(&profile));
    let front = file(&desired, "one/front", "/etc/front.cfg");
    assert_eq!(front.matches("bind").count(), 1, "{front}");
    assert!(file(&desired, "one/api", "/etc/api.conf").contains("url = https://cloud.example.org:5000/v3"));
    // Nothing in front: the first server is the API.
    let text = fixture::PROFILE.replace("  ha: {services: [front], hosts: [one]}\n", "");
    assert_eq!(load(&text, &library).identity_url().as_deref(), Some("http://10.0.0.1:15000/v3"));
}

#[test]
fn a_successor_must_listen_on_its_spare_port() {
    let (_, _, desired) = small();
    let target = |side: Side| {
        let spec = desired.form(&slot("one/api"), side).expect("it has both forms");
        spec.check.clone().expect("a check").targets[0].clone()
    };
    assert_eq!(target(Side::Main), "http://10.0.0.1:15000/healthcheck");
    assert_eq!(target(Side::Spare), "http://10.0.0.1:15001/healthcheck");
    let spares: Vec<String> = desired.spares.keys().map(ToString::to_string).collect();
    assert_eq!(spares, ["one/api", "two/api"]);
    // The balancer knows both by names that never change: it is not replaced with every API.
    let route = &desired.routes[&slot("two/api")][0];
    assert_eq!((route.main.as_str(), route.spare.as_str()), ("api/two", "api/two-spare"));
    assert_eq!(desired.balancers[&slot("one/front")], ["balance"]);
}

#[test]
fn overrides_must_be_merged_in_their_order() {
    let mut library = fixture::small();
    library.insert(
        "overrides/api.conf",
        "[DEFAULT]\nworkers = 7\nmore = a\nmore = b\n",
        "overrides/api.conf",
    );
    library.insert("overrides/api/api.conf", "[new]\nkey: v\n", "overrides/api/api.conf");
    library.insert("overrides/two/api.conf", "[DEFAULT]\nworkers = 9\n", "overrides/two/api.conf");
    library.insert("overrides/banner.txt", "my own\n", "overrides/banner.txt");
    let profile = load(fixture::PROFILE, &library);
    let desired = resolve(&profile, &library, &Inputs::placeholders(&profile));
    insta::assert_snapshot!(file(&desired, "two/api", "/etc/api.conf"), @r"
    [DEFAULT]
    # How much is logged.
    debug = true
    workers = 9
    url = http://10.0.1.10:5000/v3
    more = a
    more = b

    [database]
    connection = mysql://api:placeholder-for-api_database_password@10.0.0.2:3306/api

    [new]
    key: v
    ");
    assert!(file(&desired, "one/api", "/etc/api.conf").contains("workers = 7"));
    assert_eq!(file(&desired, "one/api", "/etc/banner"), "my own\n");
    let conf = spec(&desired, "two/api").files.iter().find(|f| f.path == "/etc/api.conf").expect("the file");
    assert_eq!(
        conf.origin,
        "templates/api/api.conf + overrides/api.conf + overrides/api/api.conf + overrides/two/api.conf"
    );
    let without = small().2;
    assert_ne!(without.profile_digest, desired.profile_digest);
    assert_eq!(without.containers[&slot("one/db")], desired.containers[&slot("one/db")]);
}

#[test]
fn containers_may_be_left_out_and_conditions_decide() {
    let library = fixture::small();
    let text = fixture::PROFILE.replace("{api_debug: true}", "{api_debug: false}")
        + "skip: [api-agent, api-contract]\n";
    let profile = load(&text, &library);
    let desired = resolve(&profile, &library, &Inputs::placeholders(&profile));
    assert!(!desired.containers.keys().any(|slot| slot.container.as_str().starts_with("api-agent")));
    assert!(!spec(&desired, "one/api").files.iter().any(|f| f.path == "/etc/banner"));
}

#[test]
fn a_value_must_say_where_it_comes_from() {
    let mut library = fixture::small();
    library.insert("overrides/api.conf", "# mine\n[DEFAULT]\nworkers = 7\n", "overrides/api.conf");
    let profile = load(fixture::PROFILE, &library);
    let two: HostName = "two".parse().expect("a host");
    let shown = |key: &str, host: Option<&HostName>| -> String {
        let list = profile.explain(&library, Some(key), host).expect("it is known");
        list.iter()
            .map(|e| format!("{} = {} [{}] {} <- {}", e.key, e.value, e.kind, e.help, e.origin))
            .collect::<Vec<_>>()
            .join("\n")
    };
    insta::assert_snapshot!(
        [
            shown("api_workers", None), shown("api_workers", Some(&two)), shown("api_debug", None), shown("api_driver", None),
            shown("api_port", None), shown("port.api", None), shown("api_proxy_port", None), shown("release", None),
            shown("region", None), shown("public.tls", None), shown("internal", None), shown("hosts.one", None),
            shown("api.conf", None),
        ]
        .join("\n"), @r#"
    api_workers = 2 [integer, 1 to 16] Processes (api) <- default, templates/api/service.yaml:7
    api_workers = 4 [integer, 1 to 16] Processes (api) <- test.yaml:5
    api_debug = true [boolean] Debug (api) <- test.yaml:13
    api_driver = "fast" [string: fast | safe] Driver (api) <- default, templates/api/service.yaml:11
    api_port = 15000 [integer, 1 to 65535] Behind the proxy (api) <- default, templates/api/service.yaml:16
    api_port = 15000 [integer, 1 to 65535] Behind the proxy (api) <- default, templates/api/service.yaml:16
    api_proxy_port = 5000 [integer, 1 to 65535] Front port of api (api) <- default, templates/api/service.yaml:20
    release = "2026.1" [string] OpenStack series, quoted: "2026.1". <- test.yaml:2
    region = "RegionOne" [string] Region name in the service catalogue. <- default
    public.tls = true [boolean] Whether public endpoints speak HTTPS. <- default
    internal.address = "10.0.1.10" [string] IP address on which HAProxy listens. Where it is the public address too, there is one listener, and it is public's. <- test.yaml:7
    internal.name = null [string] DNS name in internal URLs and in the certificate; without it, the address. <- default
    internal.tls = false [boolean] Whether internal endpoints speak HTTPS. <- default
    hosts.one.address = "10.0.0.1" [string] The IP address its services listen on and are reached at. <- test.yaml:4
    hosts.one.engine = "unix:///var/run/docker.sock" [string] `unix:///path` on this machine, `tcp://host:port` with `tls`, or `tcp+plain://host:port` for a network that nobody else is on. <- test.yaml:4
    hosts.one.tls = null [string] For `tcp://`: folder with `ca.pem`, `cert.pem` and `key.pem`. <- default
    api.conf/DEFAULT/workers = "7" [override] [DEFAULT] workers in api.conf <- overrides/api.conf:3
    "#);
    let unknown = profile.explain(&library, Some("api_wrokers"), None).unwrap_err();
    assert_eq!(unknown.nearest.as_deref(), Some("api_workers"));
    assert_eq!(unknown.to_string(), "nothing in this profile is called `api_wrokers`");
    assert!(profile.explain(&library, None, None).expect("all").len() > 25);
}

#[test]
fn everything_special_must_be_listed_with_its_reason() {
    let (profile, _, desired) = small();
    let listed: Vec<String> = profile
        .privileges()
        .iter()
        .map(|p| format!("{}: {} ({})", p.container, p.privilege, p.reason))
        .collect();
    insta::assert_snapshot!(listed.join("\n"), @r"
    api-agent: capability NET_ADMIN (it makes interfaces)
    api-agent: root (it makes devices)
    api-agent: host PID namespace (it enters processes)
    api-agent: host path /dev (it makes devices)
    ");
    let agent = spec(&desired, "two/api-agent");
    assert!(agent.privileges.host_pid && agent.privileges.capabilities.contains("NET_ADMIN"));
    assert_eq!(spec(&desired, "one/api").limits.memory, 512 << 20);
}

#[test]
fn listeners_must_be_all_that_listens() {
    let (profile, _, _) = small();
    let listed: Vec<String> = profile
        .listeners()
        .iter()
        .map(|l| format!("{} {} {} {}:{}", l.host, l.service, l.name, l.address, l.port))
        .collect();
    insta::assert_snapshot!(listed.join("\n"), @r"
    one api api_port 10.0.0.1:15000
    one api api_spare_port 10.0.0.1:15001
    two api api_port 10.0.0.2:15000
    two api api_spare_port 10.0.0.2:15001
    one db db_port 10.0.0.1:3306
    one front api_proxy_port 10.0.0.10:5000
    one front api_proxy_port 10.0.1.10:5000
    ");
}

#[test]
fn what_is_not_there_yet_must_be_said_where_it_is_needed() {
    let (profile, library, _) = small();
    let mistakes = profile::resolve(&profile, &library, &Inputs::default()).expect_err("nothing is there");
    let codes: BTreeSet<&str> = mistakes.iter().map(|m| m.code).collect();
    assert!(codes.contains("missing-image") && codes.contains("missing-secret"), "{mistakes}");
}

#[test]
fn the_order_of_the_document_must_not_matter() {
    let (_, library, desired) = small();
    let text = fixture::PROFILE.replace(
        "  one: {engine: \"unix:///var/run/docker.sock\", address: 10.0.0.1}\n",
        "  # a comment\n  one:\n    address: 10.0.0.1\n    engine: unix:///var/run/docker.sock\n",
    );
    assert_ne!(text, fixture::PROFILE);
    let profile = load(&text, &library);
    let other = resolve(&profile, &library, &Inputs::placeholders(&profile));
    assert_eq!(other.containers, desired.containers);
}

/// What leaves the container's cgroups needs a name of its deployment's own, and the host's view of cgroups.
#[test]
fn options_of_init_must_be_templates_and_the_hosts_cgroups_a_privilege() {
    let mut library = fixture::small();
    let path = "templates/api/service.yaml";
    let text = String::from_utf8(library.get(path).expect("it is there").bytes.clone()).expect("text");
    let command = "    command: [agentd]\n";
    let pid = "host_pid: it enters processes";
    assert!(text.contains(command) && text.contains(pid));
    let text = text
        .replace(command, &format!("    init: [--leave-cgroups, \"{{{{ deployment }}}}-guests\"]\n{command}"))
        .replace(pid, &format!("{pid}, host_cgroups: it leaves its own"));
    library.insert(path, text, path);
    let profile = load(fixture::PROFILE, &library);
    let desired = resolve(&profile, &library, &Inputs::placeholders(&profile));
    let agent = spec(&desired, "two/api-agent");
    assert_eq!(agent.init_args, ["--leave-cgroups".to_owned(), format!("{}-guests", desired.deployment)]);
    assert!(agent.privileges.host_cgroups);
    let reasons: Vec<String> =
        profile.privileges().iter().map(|p| format!("{} ({})", p.privilege, p.reason)).collect();
    assert!(reasons.contains(&"host cgroup namespace (it leaves its own)".to_owned()), "{reasons:?}");
    // Without it nothing is said, so that no container's hash changes.
    let other = serde_json::to_string(&spec(&desired, "one/api").privileges).expect("JSON");
    assert!(!other.contains("host_cgroups"), "{other}");
}

/// The small library with looks at the API's config.
fn looking() -> Library {
    let mut library = fixture::small();
    let path = "templates/api/service.yaml";
    let text = String::from_utf8(library.get(path).expect("it is there").bytes.clone()).expect("text");
    let rules = "validate:\n  api.conf:\n    like: {mine: theirs}\n    except: {\"[app] *\": read by another library}\n";
    let text = text.replace("\ncontainers:\n", &format!("\n{rules}containers:\n"));
    library.insert(path, text, path);
    library
}

#[test]
fn config_must_be_looked_at_by_its_own_image_on_each_host_before_it_is_used() {
    use mastic::model::{Role, TaskPhase};
    let library = looking();
    let profile = load(fixture::PROFILE, &library);
    let desired = resolve(&profile, &library, &Inputs::placeholders(&profile));
    for host in ["one", "two"] {
        let look = spec(&desired, &format!("{host}/api-config"));
        let api = spec(&desired, &format!("{host}/api"));
        assert!(matches!(look.role, Role::Task { phase: TaskPhase::Validate, .. }), "{:?}", look.role);
        assert_eq!((&look.image, look.user, &look.set), (&api.image, api.user, &api.set));
        // It can read, and nothing else.
        assert!(!look.host_network && look.mounts.is_empty() && look.after.is_empty());
        assert_eq!(look.privileges, mastic::model::spec::Privileges::default());
        let copy =
            look.files.iter().find(|f| f.path == "/etc/mastic/validate/api/etc/api.conf").expect("the file");
        let used = api.files.iter().find(|f| f.path == "/etc/api.conf").expect("the file");
        assert_eq!((copy.digest(), copy.sensitive), (used.digest(), true));
        let manifest = file(&desired, &format!("{host}/api-config"), "/etc/mastic/validate/files.json");
        assert!(manifest.contains("\"mine\": \"theirs\"") && manifest.contains("\"[app] *\""), "{manifest}");
    }
    // Whoever waits for the service does not wait for it by name: it is before everything.
    assert!(!desired.containers.values().any(|spec| spec.after.contains(&slot("one/api-config"))));
}

#[test]
fn an_option_must_be_traced_to_the_line_that_gives_it() {
    let mut library = looking();
    library.insert("overrides/two/api.conf", "[DEFAULT]\nworkers = 9\n", "overrides/two/api.conf");
    library.insert("overrides/api.conf", "# mine\n\n[DEFAULT]\nworkers = 7\n", "overrides/api.conf");
    let profile = load(fixture::PROFILE, &library);
    let place = |host: &str, option: (&str, &str)| {
        let (host, container) = (host.parse().expect("a host"), "api".parse().expect("a container"));
        profile.trace(&library, &host, &container, "/etc/api.conf", option).map(|place| place.to_string())
    };
    assert_eq!(place("one", ("DEFAULT", "workers")).as_deref(), Some("overrides/api.conf:4"));
    assert_eq!(place("two", ("DEFAULT", "workers")).as_deref(), Some("overrides/two/api.conf:2"));
    assert_eq!(place("two", ("DEFAULT", "debug")).as_deref(), Some("templates/api/api.conf:3"));
    assert_eq!(place("two", ("database", "debug")), None);
}

#[test]
fn a_backend_must_get_a_certificate_of_its_service_where_the_proxy_speaks_tls_to_it() {
    let mut library = fixture::small();
    let path = "templates/api/service.yaml";
    let text = String::from_utf8(library.get(path).expect("it is there").bytes.clone()).expect("text");
    library.insert(
        path,
        text.replace("[\"http://{{ host.address }}", "[\"{{ backend.scheme }}://{{ host.address }}"),
        path,
    );
    library.insert(
        "templates/front/front.cfg",
        "{% for proxy in proxies %}{% if proxy.backend_tls %}verifyhost {{ proxy.container }}{% endif %}{% endfor %}\n",
        "front.cfg",
    );
    let plain = load(fixture::PROFILE, &library);
    assert!(plain.backends().is_empty());
    let desired = resolve(&plain, &library, &Inputs::placeholders(&plain));
    let api = spec(&desired, "two/api");
    assert!(!api.files.iter().any(|f| f.path.starts_with("/etc/mastic/tls/")), "{:?}", api.files);
    let check = api.check.clone().expect("a check");
    assert_eq!(
        (check.targets.as_slice(), check.ca),
        (&["http://10.0.0.2:15000/healthcheck".to_owned()][..], None)
    );

    let profile = load(&format!("{}backend: {{tls: true}}\n", fixture::PROFILE), &library);
    let names: Vec<String> = profile.backends().into_iter().map(|(s, n)| format!("{s}: {n:?}")).collect();
    assert_eq!(names, ["api: {\"10.0.0.1\", \"10.0.0.2\", \"api\"}"]);
    let desired = resolve(&profile, &library, &Inputs::placeholders(&profile));
    let api = spec(&desired, "two/api");
    let pem = api.files.iter().find(|f| f.path == profile::BACKEND_PATH).expect("its certificate");
    assert_eq!((pem.uid, pem.gid, pem.mode, pem.sensitive), (901, 901, 0o400, true));
    assert_eq!(file(&desired, "two/api", profile::BACKEND_PATH), "placeholder-for-tls_backend_pem-api");
    assert!(api.files.iter().any(|f| f.path == profile::CA_PATH));
    let check = api.check.clone().expect("a check");
    assert_eq!(check.targets, ["https://10.0.0.2:15000/healthcheck"]);
    assert_eq!(check.ca.as_deref(), Some(profile::CA_PATH));
    assert_eq!(file(&desired, "one/front", "/etc/front.cfg"), "verifyhost api\n");
    // Who is not behind the proxy, and tasks, have nothing to do with it.
    for other in ["two/api-agent", "one/api-sync"] {
        assert!(!spec(&desired, other).files.iter().any(|f| f.path == profile::BACKEND_PATH), "{other}");
    }
}
