//! Makes Keystone's catalogue, projects, roles and users what the profile says: only what differs, as often as you like.

use std::path::{Path, PathBuf};
use std::time::Duration;

use futures::future::BoxFuture;
use futures::stream::{self, StreamExt as _, TryStreamExt as _};
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use super::http::{CloudError, CloudResult};
use super::keystone::{DEFAULT_DOMAIN, Keystone};
use super::observe::{Passwords, observe_identity, text};
use crate::model::desired::{IdentitySpec, IdentityUser, UserHome};
use crate::plan::identity::{IdentityChange, IdentityObserved, identity_diff, matching, wanted_domains};

/// The proxy sees a new backend within a second; a busy machine may take longer.
const PATIENCE: Duration = Duration::from_mins(1);
/// Requests at a time: as many as a small deployment's workers serve.
const PARALLEL: usize = 8;
/// Each round does what the one before could not know of; two always suffice, unless somebody else works against us.
const ROUNDS: usize = 3;

/// What was done.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RegistrationReport {
    /// Changes, as texts, in the order in which they were made.
    pub changed: Vec<String>,
    /// How many wanted things were there already.
    pub kept: usize,
}

/// Registers with the Keystone of one deployment.
#[derive(Clone, Debug)]
pub struct Registrar {
    state: PathBuf,
}

impl Registrar {
    /// `state` holds the authority's certificate, and is where the administrator's token is kept.
    pub fn new(state: &Path) -> Self {
        Self { state: state.to_owned() }
    }

    /// Where the authority's certificate lies.
    pub(super) fn state(&self) -> &Path {
        &self.state
    }

    /// Returns what would be changed. An identity without access (no Keystone in the profile) needs nothing.
    pub async fn pending(&self, wanted: &IdentitySpec) -> CloudResult<Vec<IdentityChange>> {
        let Some(access) = &wanted.access else { return Ok(Vec::new()) };
        let keystone = Keystone::new(&self.state, access, Duration::ZERO)?;
        let observed = observe_identity(&keystone, wanted, Passwords::Trust).await?;
        Ok(identity_diff(wanted, &observed))
    }

    /// Waits until Keystone serves, then makes it what is wanted, and looks again whether it is.
    pub async fn register(&self, wanted: &IdentitySpec) -> CloudResult<RegistrationReport> {
        let Some(access) = &wanted.access else { return Ok(RegistrationReport::default()) };
        let keystone = Keystone::new(&self.state, access, PATIENCE)?;
        let mut report = RegistrationReport::default();
        let mut left = Vec::new();
        for round in 0..ROUNDS {
            // Passwords that were just set are believed: trying them costs a hash each.
            let passwords = if round == 0 { Passwords::Try } else { Passwords::Trust };
            let observed = observe_identity(&keystone, wanted, passwords).await?;
            let changes = identity_diff(wanted, &observed);
            if round == 0 {
                report.kept = size(wanted).saturating_sub(changes.len());
            }
            if changes.is_empty() {
                return Ok(report);
            }
            apply(&keystone, wanted, observed, &changes).await?;
            report.changed.extend(changes.iter().map(ToString::to_string));
            left = changes;
        }
        Err(CloudError::NotConverged { left: left.iter().map(ToString::to_string).collect() })
    }
}

/// Returns how many single things are wanted.
fn size(wanted: &IdentitySpec) -> usize {
    let IdentitySpec { access: _, region: _, projects, roles, services, users } = wanted;
    let endpoints: usize = services.values().map(|service| service.endpoints.len()).sum();
    let grants: usize = users.values().map(|user| user.roles.len()).sum();
    1 + wanted_domains(wanted).len()
        + projects.len()
        + roles.len()
        + services.len()
        + endpoints
        + users.len()
        + grants
}

/// Makes all changes, stage by stage, those of a stage at once; ids of what is made are remembered for the next stage.
async fn apply(
    keystone: &Keystone,
    wanted: &IdentitySpec,
    mut observed: IdentityObserved,
    changes: &[IdentityChange],
) -> CloudResult<()> {
    let last = changes.iter().map(IdentityChange::stage).max().unwrap_or_default();
    for stage in 0..=last {
        let seen = &observed;
        // Boxed at once: a stream of closures over references is not `Send` for all lifetimes.
        let mut requests: Vec<BoxFuture<'_, CloudResult<(&IdentityChange, Value)>>> = Vec::new();
        for change in changes.iter().filter(|change| change.stage() == stage) {
            requests.push(Box::pin(async move { Ok((change, make(keystone, wanted, seen, change).await?)) }));
        }
        let made: Vec<(&IdentityChange, Value)> =
            stream::iter(requests).buffer_unordered(PARALLEL).try_collect().await?;
        for (change, body) in made {
            remember(&mut observed, change, &body);
        }
    }
    Ok(())
}

/// Makes one change. That somebody made the same meanwhile (409) is no failure: the next look sees theirs.
async fn make(
    keystone: &Keystone,
    wanted: &IdentitySpec,
    observed: &IdentityObserved,
    change: &IdentityChange,
) -> CloudResult<Value> {
    let Some((method, path, body)) = request(wanted, observed, change) else {
        // What it belongs to is not known yet (made by somebody else, 409): the next round knows it.
        return Ok(Value::Null);
    };
    match keystone.request(method, &path, body.as_ref()).await {
        Err(error) if error.status() == Some(StatusCode::CONFLICT) => Ok(Value::Null),
        outcome => outcome,
    }
}

/// Returns the one request of a change; `None` while something it refers to has no id.
fn request(
    wanted: &IdentitySpec,
    observed: &IdentityObserved,
    change: &IdentityChange,
) -> Option<(Method, String, Option<Value>)> {
    let user_id = |name: &str| observed.users.get(name).map(|user| user.id.as_str());
    let post = |path: &str, body: Value| Some((Method::POST, path.to_owned(), Some(body)));
    let patch = |path: String, body: Value| Some((Method::PATCH, path, Some(body)));
    match change {
        IdentityChange::CreateRegion { region } => post("regions", json!({"region": {"id": region}})),
        IdentityChange::CreateDomain { domain } => {
            post("domains", json!({"domain": {"name": domain, "enabled": true}}))
        }
        IdentityChange::CreateProject { project } => {
            let body = json!({"name": project, "domain_id": DEFAULT_DOMAIN, "enabled": true});
            post("projects", json!({"project": body}))
        }
        IdentityChange::CreateRole { role } => post("roles", json!({"role": {"name": role}})),
        IdentityChange::CreateService { service, kind } => {
            let description = &wanted.services.get(service)?.description;
            let body = json!({"name": service, "type": kind, "description": description, "enabled": true});
            post("services", json!({"service": body}))
        }
        IdentityChange::UpdateService { service, id, fields: _ } => {
            let description = &wanted.services.get(service)?.description;
            let body = json!({"name": service, "description": description, "enabled": true});
            patch(format!("services/{id}"), json!({"service": body}))
        }
        IdentityChange::CreateEndpoint { service, interface, url } => {
            let id = &matching(observed, service, wanted.services.get(service)?)?.id;
            let body = json!({
                "service_id": id, "interface": interface, "url": url, "region_id": wanted.region, "enabled": true,
            });
            post("endpoints", json!({"endpoint": body}))
        }
        IdentityChange::UpdateEndpoint { service: _, interface: _, id, from: _, to } => {
            patch(format!("endpoints/{id}"), json!({"endpoint": {"url": to, "enabled": true}}))
        }
        IdentityChange::CreateUser { user } => {
            let IdentityUser { password, home, roles: _ } = wanted.users.get(user)?;
            let (domain, project) = match home {
                UserHome::Project(project) => (DEFAULT_DOMAIN, Some(observed.projects.get(project)?)),
                UserHome::Domain(domain) => (observed.domains.get(domain)?.as_str(), None),
            };
            // A service's password is not one to expire, and a mistyped one elsewhere must not lock it out.
            let options = json!({"ignore_password_expiry": true, "ignore_change_password_upon_first_use": true,
                "ignore_lockout_failure_attempts": true});
            let body = json!({"name": user, "domain_id": domain, "password": password.expose(),
                "default_project_id": project, "enabled": true, "options": options});
            post("users", json!({"user": body}))
        }
        IdentityChange::EnableUser { user } => {
            patch(format!("users/{}", user_id(user)?), json!({"user": {"enabled": true}}))
        }
        IdentityChange::SetPassword { user } => {
            let password = &wanted.users.get(user)?.password;
            patch(format!("users/{}", user_id(user)?), json!({"user": {"password": password.expose()}}))
        }
        IdentityChange::Grant { user, role, on } => {
            let (user, role) = (user_id(user)?, observed.roles.get(role)?);
            let on = match on {
                UserHome::Project(project) => format!("projects/{}", observed.projects.get(project)?),
                UserHome::Domain(domain) => format!("domains/{}", observed.domains.get(domain)?),
            };
            Some((Method::PUT, format!("{on}/users/{user}/roles/{role}"), None))
        }
    }
}

/// Adds what was just made to what is known, with the id that Keystone gave it.
fn remember(observed: &mut IdentityObserved, change: &IdentityChange, body: &Value) {
    use crate::plan::identity::{ObservedService, ObservedUser};
    let id = |kind: &str| body.get(kind).map(|item| text(item, "id")).filter(|id| !id.is_empty());
    match change {
        IdentityChange::CreateDomain { domain } => {
            observed.domains.extend(id("domain").map(|id| (domain.clone(), id)));
        }
        IdentityChange::CreateProject { project } => {
            observed.projects.extend(id("project").map(|id| (project.clone(), id)));
        }
        IdentityChange::CreateRole { role } => observed.roles.extend(id("role").map(|id| (role.clone(), id))),
        IdentityChange::CreateService { service, kind } => {
            observed.services.extend(id("service").map(|id| ObservedService {
                id,
                name: service.clone(),
                kind: kind.clone(),
                description: String::new(),
                enabled: true,
                endpoints: std::collections::BTreeMap::new(),
            }));
        }
        IdentityChange::CreateUser { user } => {
            observed.users.extend(id("user").map(|id| {
                let seen = ObservedUser {
                    id,
                    enabled: true,
                    password_fits: Some(true),
                    roles: std::collections::BTreeSet::new(),
                };
                (user.clone(), seen)
            }));
        }
        IdentityChange::UpdateService { service, id, fields: _ } => {
            // Its endpoints are found by its name.
            if let Some(seen) = observed.services.iter_mut().find(|seen| seen.id == *id) {
                seen.name.clone_from(service);
            }
        }
        // Nothing refers to these by an id of theirs.
        IdentityChange::CreateRegion { .. }
        | IdentityChange::CreateEndpoint { .. }
        | IdentityChange::UpdateEndpoint { .. }
        | IdentityChange::EnableUser { .. }
        | IdentityChange::SetPassword { .. }
        | IdentityChange::Grant { .. } => {}
    }
}
