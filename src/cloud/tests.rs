//! Against a small Keystone in this process: what is sent, what is not, and what a failure says.

use std::collections::{BTreeMap, BTreeSet};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use serde_json::json;

use super::fake::{Fake, dead_address};
use super::*;
use crate::model::desired::{CatalogueService, IdentityAccess, IdentitySpec, IdentityUser, UserHome};
use crate::model::{Desired, Secret};
use crate::plan::identity::identity_diff;
use crate::store::tls;

const ADMIN_PASSWORD: &str = "secret-of-admin";

fn access(url: String) -> IdentityAccess {
    IdentityAccess {
        url,
        user: "admin".to_owned(),
        project: "admin".to_owned(),
        password: Secret::new(ADMIN_PASSWORD),
        after: BTreeSet::new(),
    }
}

fn wanted(url: String) -> IdentitySpec {
    let service = |kind: &str, port: u16| CatalogueService {
        kind: kind.to_owned(),
        description: format!("OpenStack {kind}"),
        endpoints: ["public", "internal", "admin"]
            .map(|interface| (interface.to_owned(), format!("http://cloud:{port}/{interface}")))
            .into(),
    };
    let user = |name: &str| IdentityUser {
        password: Secret::new(format!("secret-of-{name}")),
        home: UserHome::Project("service".to_owned()),
        roles: ["admin".to_owned(), "service".to_owned()].into(),
    };
    IdentitySpec {
        access: Some(access(url)),
        region: "RegionOne".to_owned(),
        projects: ["service".to_owned()].into(),
        roles: ["reader".to_owned()].into(),
        services: BTreeMap::from([
            ("glance".to_owned(), service("image", 9292)),
            ("keystone".to_owned(), service("identity", 5000)),
        ]),
        users: BTreeMap::from([("glance".to_owned(), user("glance")), ("nova".to_owned(), user("nova"))]),
    }
}

fn desired(identity: IdentitySpec) -> Desired {
    Desired {
        deployment: "aio".parse().unwrap(),
        release: "2026.1".parse().unwrap(),
        hosts: BTreeMap::new(),
        sets: Vec::new(),
        spares: BTreeMap::new(),
        routes: BTreeMap::new(),
        swaps: BTreeMap::new(),
        apart: BTreeSet::new(),
        data_plane: BTreeSet::new(),
        balancers: BTreeMap::new(),
        containers: BTreeMap::new(),
        volumes: BTreeSet::new(),
        identity,
        cloud: crate::model::cloud::Cloud::default(),
        init_digest: String::new(),
        profile_digest: String::new(),
    }
}

/// A Keystone, a state directory, and what is wanted of it.
fn scene() -> (Fake, tempfile::TempDir, IdentitySpec) {
    let fake = Fake::start(None);
    let spec = wanted(fake.url("127.0.0.1"));
    (fake, tempfile::tempdir().unwrap(), spec)
}

async fn register(state: &Path, spec: &IdentitySpec) -> RegistrationReport {
    Registrar::new(state).register(spec).await.unwrap()
}

#[tokio::test]
async fn an_empty_keystone_must_be_given_everything_and_a_full_one_nothing() {
    let (fake, state, spec) = scene();
    let first = register(state.path(), &spec).await;
    // Region, project, 3 roles, 2 services, 6 endpoints, 2 users, 4 grants.
    assert_eq!(first.changed.len(), 19, "{:#?}", first.changed);
    assert_eq!(fake.world().grants.len(), 4);
    assert_eq!(fake.world().items["endpoints"].len(), 6);
    fake.changes();

    let second = register(state.path(), &spec).await;
    assert!(second.changed.is_empty(), "{:#?}", second.changed);
    assert!(second.kept > 15);
    // Passwords are tried; nothing is sent that changes anything, and the administrator's token is the kept one.
    assert_eq!(fake.changes(), ["TOKEN glance", "TOKEN nova"]);
    assert_eq!(Registrar::new(state.path()).pending(&spec).await.unwrap(), []);
    assert!(fake.changes().is_empty());
}

#[tokio::test]
async fn a_run_must_learn_what_was_changed_and_why_it_failed() {
    let (fake, state, mut spec) = scene();
    let registrar: std::sync::Arc<dyn crate::execute::Registrar> =
        std::sync::Arc::new(Registrar::new(state.path()));
    let changed = registrar.register(&spec).await.unwrap();
    assert_eq!(changed.first().map(String::as_str), Some("create region RegionOne"));
    assert!(registrar.register(&spec).await.unwrap().is_empty());
    fake.world().tokens.clear();
    spec.access.as_mut().unwrap().password = Secret::new("hunter2hunter2");
    let error = registrar.register(&spec).await.unwrap_err();
    assert!(error.contains("password was refused") && !error.contains("hunter2"), "{error}");
}

#[tokio::test]
async fn a_user_of_a_domain_must_be_made_there_and_found_there_again() {
    let (fake, state, mut spec) = scene();
    let mut user = spec.users["nova"].clone();
    user.home = UserHome::Domain("heat".to_owned());
    // One of the same name in the default domain is another.
    fake.world().add("users", json!({"name": "stacks", "password": "other", "enabled": true}));
    spec.users.insert("stacks".to_owned(), user);
    let first = register(state.path(), &spec).await;
    for change in ["create domain heat", "create user stacks", "grant stacks the role admin on domain heat"] {
        assert!(first.changed.iter().any(|made| made == change), "{change}: {:#?}", first.changed);
    }
    {
        let mut world = fake.world();
        let domain = world.find("domains", "heat")["id"].clone();
        let made: Vec<_> = world.items["users"].iter().filter(|user| user["name"] == "stacks").collect();
        assert_eq!(made.len(), 2, "{made:#?}");
        assert_eq!((&made[1]["domain_id"], &made[1]["default_project_id"]), (&domain, &json!(null)));
        let (domain, user) = (domain.as_str().unwrap(), made[1]["id"].as_str().unwrap());
        assert_eq!(world.grants.iter().filter(|(on, who, _)| on == domain && who == user).count(), 2);
    }
    let second = register(state.path(), &spec).await;
    assert!(second.changed.is_empty(), "{:#?}", second.changed);
    // Its password is tried in its domain.
    fake.world().items.get_mut("users").unwrap().retain(|user| user["password"] != "other");
    assert!(register(state.path(), &spec).await.changed.is_empty());
    assert_eq!(Registrar::new(state.path()).pending(&spec).await.unwrap(), []);
}

#[tokio::test]
async fn only_what_differs_must_be_sent() {
    let (fake, state, spec) = scene();
    register(state.path(), &spec).await;
    let (service, endpoint) = {
        let mut world = fake.world();
        world.find("users", "nova")["password"] = json!("old");
        let service = world.find("services", "glance");
        service["description"] = json!("");
        let service = service["id"].as_str().unwrap().to_owned();
        let endpoint = world.items.get_mut("endpoints").unwrap().iter_mut().next().unwrap();
        endpoint["url"] = json!("http://old");
        (service, endpoint["id"].as_str().unwrap().to_owned())
    };
    let nova = fake.world().find("users", "nova")["id"].as_str().unwrap().to_owned();
    fake.changes();
    let report = register(state.path(), &spec).await;
    assert_eq!(report.changed.len(), 3, "{:#?}", report.changed);
    let mut expected = vec![
        format!("PATCH endpoints/{endpoint}"),
        format!("PATCH services/{service}"),
        format!("PATCH users/{nova}"),
        "TOKEN glance".to_owned(),
        "TOKEN nova".to_owned(),
    ];
    expected.sort();
    assert_eq!(fake.changes(), expected);
    assert_eq!(fake.world().find("users", "nova")["password"], "secret-of-nova");
}

#[tokio::test]
async fn things_that_somebody_makes_at_the_same_time_must_be_used() {
    let (fake, state, spec) = scene();
    {
        let mut world = fake.world();
        world.add("projects", json!({"name": "service"}));
        world.add("roles", json!({"name": "service"}));
        world.add("users", json!({"name": "nova", "password": "secret-of-nova", "enabled": true}));
        // Two lookups of projects are made; the first to come sees none, like that of roles and users.
        world.hidden = ["projects", "roles", "users"].into();
    }
    register(state.path(), &spec).await;
    assert_eq!(fake.world().grants.len(), 4);
    assert_eq!(fake.world().items["roles"].len(), 3, "a role must not be doubled");
}

#[tokio::test]
async fn a_disabled_user_must_be_enabled_with_its_password() {
    let (fake, state, spec) = scene();
    register(state.path(), &spec).await;
    fake.world().find("users", "nova")["enabled"] = json!(false);
    let report = register(state.path(), &spec).await;
    assert_eq!(report.changed, ["enable user nova", "set the password of user nova"]);
}

#[tokio::test]
async fn a_keystone_that_forgets_must_be_reported_and_not_believed() {
    let (fake, state, spec) = scene();
    fake.world().forgetful = true;
    let mut only_roles = spec.clone();
    (only_roles.services, only_roles.users, only_roles.projects) = Default::default();
    let error = Registrar::new(state.path()).register(&only_roles).await.unwrap_err();
    let text = error.to_string();
    assert!(text.contains("these are still to do: create region RegionOne; create role reader"), "{text}");
}

#[tokio::test]
async fn a_proxy_without_a_backend_must_be_waited_for() {
    let (fake, state, spec) = scene();
    for _ in 0..2 {
        // The second time with a kept token: then other requests are the first to come.
        fake.world().unavailable = 3;
        register(state.path(), &spec).await;
        assert_eq!(fake.world().unavailable, 0);
    }
}

#[tokio::test]
async fn the_token_must_be_kept_private_and_used_again() {
    let (fake, state, spec) = scene();
    let access = spec.access.clone().unwrap();
    for _ in 0..3 {
        let keystone = Keystone::new(state.path(), &access, Duration::ZERO).unwrap();
        keystone.list("roles", "roles").await.unwrap();
    }
    assert_eq!(fake.changes(), ["TOKEN admin"]);
    let file = state.path().join("token.json");
    assert_eq!(std::fs::metadata(&file).unwrap().permissions().mode() & 0o7777, 0o600);
    // One that others could read is not trusted, and not kept.
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o644)).unwrap();
    Keystone::new(state.path(), &access, Duration::ZERO).unwrap().list("roles", "roles").await.unwrap();
    assert_eq!(fake.changes(), ["TOKEN admin"]);
    assert_eq!(std::fs::metadata(&file).unwrap().permissions().mode() & 0o7777, 0o600);
}

#[tokio::test]
async fn a_revoked_token_must_be_replaced_once_for_all_requests() {
    let (fake, state, spec) = scene();
    let keystone = Keystone::new(state.path(), &spec.access.clone().unwrap(), Duration::ZERO).unwrap();
    keystone.list("roles", "roles").await.unwrap();
    fake.world().tokens.clear();
    fake.changes();
    let observed = observe_identity(&keystone, &spec, Passwords::Trust).await.unwrap();
    assert!(!identity_diff(&spec, &observed).is_empty());
    assert_eq!(fake.changes(), ["TOKEN admin"]);
}

#[tokio::test]
async fn a_wrong_password_must_be_named_without_being_shown() {
    let (fake, state, mut spec) = scene();
    spec.access.as_mut().unwrap().password = Secret::new("hunter2hunter2");
    let error = Registrar::new(state.path()).register(&spec).await.unwrap_err();
    assert!(matches!(error, CloudError::Password { .. }), "{error:?}");
    let text = format!("{error} {error:?}");
    assert!(text.contains("secrets file") && !text.contains("hunter2"), "{text}");
    assert_eq!(fake.changes(), ["TOKEN admin"], "a wrong password must not be tried again");
}

#[tokio::test]
async fn silence_must_be_an_error_with_the_url_and_the_reason() {
    let state = tempfile::tempdir().unwrap();
    let access = access(format!("http://{}/v3", dead_address()));
    let keystone = Keystone::new(state.path(), &access, Duration::ZERO).unwrap();
    let text = keystone.list("roles", "roles").await.unwrap_err().to_string();
    assert!(text.contains("/v3/auth/tokens: no answer: ") && text.contains("refused"), "{text}");
}

#[tokio::test]
async fn tls_must_be_verified_with_our_authority_and_no_other() {
    let state = tempfile::tempdir().unwrap();
    // `localhost` is in every certificate; this machine's address is not in this one.
    let names: BTreeSet<_> = ["10.9.9.9".to_owned()].into();
    let fake = Fake::start(Some(&tls::ensure(state.path(), &names).unwrap()));
    register(state.path(), &wanted(fake.url("localhost"))).await;
    let stranger = Keystone::new(state.path(), &access(fake.url("127.0.0.1")), Duration::ZERO).unwrap();
    let text = stranger.list("roles", "roles").await.unwrap_err().to_string();
    assert!(text.contains("certificate"), "{text}");

    let other = tempfile::tempdir().unwrap();
    tls::ensure(other.path(), &names).unwrap();
    let stranger = Keystone::new(other.path(), &access(fake.url("localhost")), Duration::ZERO).unwrap();
    let text = stranger.list("roles", "roles").await.unwrap_err().to_string();
    assert!(text.contains("certificate"), "{text}");

    let empty = tempfile::tempdir().unwrap();
    let text =
        Keystone::new(empty.path(), &access(fake.url("localhost")), Duration::ZERO).unwrap_err().to_string();
    assert!(text.contains("ca.crt") && text.contains("no such file"), "{text}");
}

#[tokio::test]
async fn the_check_must_get_a_token_and_ask_every_public_endpoint() {
    let (fake, state, mut spec) = scene();
    let root = fake.url("127.0.0.1").replace("/v3", "");
    for (name, service) in &mut spec.services {
        service.endpoints.insert("public".to_owned(), format!("{root}/{name}"));
    }
    let access = spec.access.clone().unwrap();
    register(state.path(), &spec).await;
    fake.world().log.clear();
    let report = check(state.path(), &desired(spec.clone()), &access).await.unwrap();
    assert_eq!(report.catalogue.keys().collect::<Vec<_>>(), ["glance", "keystone"]);
    assert!(report.to_string().contains("catalogue: glance, keystone"), "{report}");
    let log = std::mem::take(&mut fake.world().log);
    assert_eq!(log.iter().filter(|line| *line == "TOKEN admin").count(), 1, "a kept token proves nothing");
    assert!(log.contains(&"GET /glance".to_owned()) && log.contains(&"GET /keystone".to_owned()), "{log:?}");

    fake.world().root_status = Some(500);
    let text = check(state.path(), &desired(spec.clone()), &access).await.unwrap_err().to_string();
    assert!(text.contains("500") && text.contains("does not serve"), "{text}");
    spec.services.insert("nova".to_owned(), spec.services["glance"].clone());
    let text = check(state.path(), &desired(spec), &access).await.unwrap_err().to_string();
    assert!(text.contains("not in the catalogue: nova"), "{text}");
}

#[test]
fn client_files_must_be_private_and_read_back_what_went_in() {
    let state = tempfile::tempdir().unwrap();
    let mut access = access("https://10.0.0.5:5000/v3".to_owned());
    access.password = Secret::new("it's $HOME \"quoted\" `id`: #x");
    let files = write_client_files(state.path(), "aio", "RegionOne", &access).unwrap();
    for file in [&files.clouds, &files.openrc] {
        assert_eq!(std::fs::metadata(file).unwrap().permissions().mode() & 0o7777, 0o600);
    }
    let clouds: serde_yaml::Value = serde_yaml::from_slice(&std::fs::read(&files.clouds).unwrap()).unwrap();
    let cloud = &clouds["clouds"]["aio"];
    assert_eq!(cloud["auth"]["password"].as_str(), Some(access.password.expose()));
    assert_eq!(cloud["auth"]["auth_url"].as_str(), Some("https://10.0.0.5:5000/v3"));
    assert_eq!(cloud["cacert"].as_str().map(Path::new), Some(tls::ca_path(state.path()).as_path()));

    let script =
        ". \"$0\" && printf '%s|' \"$OS_PASSWORD\" \"$OS_AUTH_URL\" \"$OS_CACERT\" \"${OS_STALE-gone}\"";
    let output =
        Command::new("sh").args(["-c", script]).arg(&files.openrc).env("OS_STALE", "x").output().unwrap();
    let ca = tls::ca_path(state.path());
    assert_eq!(
        String::from_utf8(output.stdout).unwrap(),
        format!("{}|https://10.0.0.5:5000/v3|{}|gone|", access.password.expose(), ca.display())
    );
}
