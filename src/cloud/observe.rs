//! What Keystone has of what is wanted: all questions at once.

use std::collections::BTreeMap;

use futures::future::{try_join, try_join_all, try_join5};
use reqwest::StatusCode;
use serde_json::Value;

use super::http::{CloudError, CloudResult};
use super::keystone::{DEFAULT_DOMAIN, Keystone};
use crate::model::Secret;
use crate::model::desired::{IdentitySpec, IdentityUser, UserHome};
use crate::plan::identity::{
    IdentityObserved, ObservedEndpoint, ObservedService, ObservedUser, wanted_domains, wanted_projects,
};

/// Whether to try the passwords of users: Keystone hashes for each, a quarter of a second of CPU.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Passwords {
    /// Get a token with each.
    Try,
    /// Believe them.
    Trust,
}

/// Asks for everything that [`IdentitySpec`] names. Users and projects are asked for by name: there may be very many others.
pub async fn observe_identity(
    keystone: &Keystone,
    wanted: &IdentitySpec,
    passwords: Passwords,
) -> CloudResult<IdentityObserved> {
    let IdentitySpec { access: _, region, projects: _, roles: _, services: _, users } = wanted;
    // Users are looked for in their domains, so these come first, where there are any besides the default one.
    let found_domains =
        try_join_all(wanted_domains(wanted).into_iter().map(|name| named(keystone, "domains", name, None)))
            .await?;
    let domains = names_and_ids(&found_domains);
    let domains = &domains;
    let found_projects = wanted_projects(wanted)
        .into_iter()
        .map(|name| named(keystone, "projects", name, Some(DEFAULT_DOMAIN)));
    let found_projects = try_join_all(found_projects);
    let found_users = try_join_all(users.iter().map(|(name, user)| async move {
        match domain_of(user, domains) {
            Some(domain) => named(keystone, "users", name, Some(domain)).await,
            None => Ok(None),
        }
    }));
    let (regions, (services, endpoints), roles, found_projects, found_users) = try_join5(
        keystone.list("regions", "regions"),
        try_join(keystone.list("services", "services"), keystone.list("endpoints", "endpoints")),
        keystone.list("roles", "roles"),
        found_projects,
        found_users,
    )
    .await?;

    let projects = names_and_ids(&found_projects);
    // Roles of a domain have the same names as global ones; grants want the global ones.
    let roles: BTreeMap<String, String> = roles
        .iter()
        .filter(|role| role.get("domain_id").is_none_or(Value::is_null))
        .map(|role| (text(role, "name"), text(role, "id")))
        .collect();
    let role_names: BTreeMap<&str, &str> =
        roles.iter().map(|(name, id)| (id.as_str(), name.as_str())).collect();
    let seen_users = found_users.iter().flatten().filter_map(|user| {
        let name = text(user, "name");
        let wanted = users.get(&name)?;
        Some((name, wanted, user))
    });
    let users = try_join_all(seen_users.map(|(name, wanted, user)| {
        let on = match &wanted.home {
            UserHome::Project(project) => projects.get(project).map(|id| format!("projects/{id}")),
            UserHome::Domain(domain) => domains.get(domain).map(|id| format!("domains/{id}")),
        };
        let domain = domain_of(wanted, domains).unwrap_or(DEFAULT_DOMAIN);
        let role_names = &role_names;
        async move {
            let password = (passwords == Passwords::Try).then_some((domain, &wanted.password));
            let seen = observe_user(keystone, &name, user, on, role_names, password).await?;
            CloudResult::Ok((name, seen))
        }
    }))
    .await?;

    Ok(IdentityObserved {
        regions: regions.iter().map(|region| text(region, "id")).collect(),
        domains: domains.clone(),
        projects,
        roles,
        services: services.iter().map(|service| observe_service(service, &endpoints, region)).collect(),
        users: users.into_iter().collect(),
    })
}

/// Returns the id of the domain that a user is in, if that exists.
fn domain_of<'a>(user: &IdentityUser, domains: &'a BTreeMap<String, String>) -> Option<&'a str> {
    match &user.home {
        UserHome::Project(_) => Some(DEFAULT_DOMAIN),
        UserHome::Domain(domain) => domains.get(domain).map(String::as_str),
    }
}

fn names_and_ids(found: &[Option<Value>]) -> BTreeMap<String, String> {
    found.iter().flatten().map(|item| (text(item, "name"), text(item, "id"))).collect()
}

/// Returns the one of this name, in this domain if it is of a kind that domains have, if there is one.
async fn named(
    keystone: &Keystone,
    kind: &str,
    name: &str,
    domain: Option<&str>,
) -> CloudResult<Option<Value>> {
    let within = domain.map(|id| format!("domain_id={id}&")).unwrap_or_default();
    let path = format!("{kind}?{within}name={}", encode(name));
    // The filter may be ignored (some identity backends do): look at the names.
    Ok(keystone.list(&path, kind).await?.into_iter().find(|item| text(item, "name") == name))
}

/// `on` is the path of what its roles are wanted on, if that exists; `password` is tried in the domain with that id.
async fn observe_user(
    keystone: &Keystone,
    name: &str,
    user: &Value,
    on: Option<String>,
    role_names: &BTreeMap<&str, &str>,
    password: Option<(&str, &Secret)>,
) -> CloudResult<ObservedUser> {
    let id = text(user, "id");
    let enabled = user.get("enabled").and_then(Value::as_bool).unwrap_or(true);
    let roles = async {
        match on {
            // Only grants of its own, as they are made: those through a group can be taken away from under it.
            Some(on) => keystone.list(&format!("{on}/users/{id}/roles"), "roles").await,
            None => Ok(Vec::new()),
        }
    };
    let fits = async {
        match password {
            Some((domain, password)) if enabled => {
                match keystone.issue_in(domain, name, password, None).await {
                    Ok(_) => Ok(Some(true)),
                    Err(CloudError::Refused { status: StatusCode::UNAUTHORIZED, .. }) => Ok(Some(false)),
                    Err(error) => Err(error),
                }
            }
            // A disabled user is refused whatever the password: it is set anew together with enabling it.
            Some(_) => Ok(Some(false)),
            None => Ok(None),
        }
    };
    let (roles, password_fits) = try_join(roles, fits).await?;
    let roles = roles
        .iter()
        .filter_map(|role| role_names.get(text(role, "id").as_str()).map(|name| (*name).to_owned()))
        .collect();
    Ok(ObservedUser { id, enabled, password_fits, roles })
}

fn observe_service(service: &Value, endpoints: &[Value], region: &str) -> ObservedService {
    let id = text(service, "id");
    let mut of_service: Vec<_> = endpoints
        .iter()
        .filter(|endpoint| text(endpoint, "service_id") == id && text(endpoint, "region_id") == region)
        .collect();
    // Of doubles always the same one is looked after.
    of_service.sort_by_key(|endpoint| std::cmp::Reverse(text(endpoint, "id")));
    let endpoints = of_service
        .into_iter()
        .map(|endpoint| {
            let seen = ObservedEndpoint {
                id: text(endpoint, "id"),
                url: text(endpoint, "url"),
                enabled: enabled(endpoint),
            };
            (text(endpoint, "interface"), seen)
        })
        .collect();
    ObservedService {
        id,
        name: text(service, "name"),
        kind: text(service, "type"),
        description: text(service, "description"),
        enabled: enabled(service),
        endpoints,
    }
}

fn enabled(item: &Value) -> bool {
    item.get("enabled").and_then(Value::as_bool).unwrap_or(true)
}

/// Returns a field as text; what is missing or null is empty.
pub(crate) fn text(item: &Value, key: &str) -> String {
    item.get(key).and_then(Value::as_str).unwrap_or_default().to_owned()
}

/// Percent-encodes a query value.
fn encode(text: &str) -> String {
    text.bytes()
        .map(|byte| match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => {
                char::from(byte).to_string()
            }
            _ => format!("%{byte:02X}"),
        })
        .collect()
}
