//! What Keystone has of what is wanted: all questions at once.

use std::collections::{BTreeMap, BTreeSet};

use futures::future::{try_join, try_join_all, try_join5};
use reqwest::StatusCode;
use serde_json::Value;

use super::http::{CloudError, CloudResult};
use super::keystone::Keystone;
use crate::model::desired::{IdentitySpec, IdentityUser};
use crate::plan::identity::{IdentityObserved, ObservedEndpoint, ObservedService, ObservedUser};

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
    let IdentitySpec { access: _, region, projects, roles: _, services: _, users } = wanted;
    let names: BTreeSet<&String> = projects.iter().chain(users.values().map(|user| &user.project)).collect();
    let found_projects = try_join_all(names.into_iter().map(|name| named(keystone, "projects", name)));
    let found_users = try_join_all(users.keys().map(|name| named(keystone, "users", name)));
    let (regions, (services, endpoints), roles, found_projects, found_users) = try_join5(
        keystone.list("regions", "regions"),
        try_join(keystone.list("services", "services"), keystone.list("endpoints", "endpoints")),
        keystone.list("roles", "roles"),
        found_projects,
        found_users,
    )
    .await?;

    let projects: BTreeMap<String, String> =
        found_projects.iter().flatten().map(|project| (text(project, "name"), text(project, "id"))).collect();
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
        let project = projects.get(&wanted.project);
        let role_names = &role_names;
        async move {
            let seen = observe_user(keystone, &name, wanted, user, project, role_names, passwords).await?;
            CloudResult::Ok((name, seen))
        }
    }))
    .await?;

    Ok(IdentityObserved {
        regions: regions.iter().map(|region| text(region, "id")).collect(),
        projects,
        roles,
        services: services.iter().map(|service| observe_service(service, &endpoints, region)).collect(),
        users: users.into_iter().collect(),
    })
}

/// Returns the one of this name in the default domain, if there is one.
async fn named(keystone: &Keystone, kind: &str, name: &str) -> CloudResult<Option<Value>> {
    let path = format!("{kind}?domain_id=default&name={}", encode(name));
    // The filter may be ignored (some identity backends do): look at the names.
    Ok(keystone.list(&path, kind).await?.into_iter().find(|item| text(item, "name") == name))
}

async fn observe_user(
    keystone: &Keystone,
    name: &str,
    wanted: &IdentityUser,
    user: &Value,
    project: Option<&String>,
    role_names: &BTreeMap<&str, &str>,
    passwords: Passwords,
) -> CloudResult<ObservedUser> {
    let id = text(user, "id");
    let enabled = user.get("enabled").and_then(Value::as_bool).unwrap_or(true);
    let roles = async {
        match project {
            // Only grants of its own, as they are made: those through a group can be taken away from under it.
            Some(project) => keystone.list(&format!("projects/{project}/users/{id}/roles"), "roles").await,
            None => Ok(Vec::new()),
        }
    };
    let fits = async {
        match passwords {
            Passwords::Try if enabled => match keystone.issue(name, &wanted.password, None).await {
                Ok(_) => Ok(Some(true)),
                Err(CloudError::Refused { status: StatusCode::UNAUTHORIZED, .. }) => Ok(Some(false)),
                Err(error) => Err(error),
            },
            // A disabled user is refused whatever the password: it is set anew together with enabling it.
            Passwords::Try => Ok(Some(false)),
            Passwords::Trust => Ok(None),
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
