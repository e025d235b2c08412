//! Deletes everything of a run: at its end, after Ctrl-C, and what a killed one left.
//!
//! Goes by the run's project and name, never by a memory of what was made: a request whose answer was lost leaves things, too.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use reqwest::Method;
use serde_json::{Value, json};

use super::walk::Failure;
use super::{PURGE_DEADLINE, names};
use crate::cloud::{Api, Body, CloudError, Login, ProjectRef, Session, text};
use crate::report::{Event, Reporter};

const PAUSE: Duration = Duration::from_millis(250);

/// The administrator, at cleaning.
pub(super) struct Purge<'a> {
    pub(super) admin: &'a Session,
    pub(super) login: &'a Login,
    pub(super) reporter: &'a dyn Reporter,
}

/// How many of what were removed.
type Removed = BTreeMap<&'static str, usize>;

impl Purge<'_> {
    /// Returns the names of runs, by the projects and users that carry them, which `is_leftover` says are dead.
    pub(super) async fn leftovers(
        &self,
        is_leftover: impl Fn(&str) -> bool,
    ) -> Result<Vec<String>, CloudError> {
        let mut found = std::collections::BTreeSet::new();
        for kind in ["projects", "users"] {
            // Users and projects may be very many: the filter is Keystone's.
            let path = format!("{kind}?domain_id=default&name__startswith={}", names::PREFIX);
            let items = self.admin.list(Api::Identity, &path, kind).await?;
            found.extend(items.iter().map(|item| text(item, "name")).filter(|name| is_leftover(name)));
        }
        Ok(found.into_iter().collect())
    }

    /// Deletes everything of the run of this name, and says what that was.
    pub(super) async fn everything(&self, name: &str) -> Result<String, Failure> {
        let mut removed = Removed::new();
        let mut resists = Vec::new();
        let projects = self.named("projects", name).await?;
        for project in &projects {
            let id = text(project, "id");
            if let Err(failure) = self.project(&id, &mut removed).await {
                resists.push(failure.0);
            }
        }
        if self.admin.has(Api::Compute) {
            let flavors = self.admin.list(Api::Compute, "flavors?is_public=None", "flavors").await?;
            // Tempest wants two.
            let ours = |flavor: &&Value| {
                let rest = text(flavor, "name").strip_prefix(name).map(str::to_owned);
                rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('-'))
            };
            for flavor in flavors.iter().filter(ours) {
                self.admin.delete(Api::Compute, &format!("flavors/{}", text(flavor, "id"))).await?;
                *removed.entry("flavor").or_default() += 1;
            }
        }
        if let Some(prefix) = names::tempest_prefix(name)
            && let Err(failure) = self.tempest(&format!("{prefix}-"), &mut removed).await
        {
            resists.push(failure.0);
        }
        for user in self.named("users", name).await? {
            self.admin.delete(Api::Identity, &format!("users/{}", text(&user, "id"))).await?;
            *removed.entry("user").or_default() += 1;
        }
        if !resists.is_empty() {
            // Its project stays, so that the next run finds what is left.
            return Err(Failure(resists.join("\n")));
        }
        for project in projects {
            self.admin.delete(Api::Identity, &format!("projects/{}", text(&project, "id"))).await?;
            *removed.entry("project").or_default() += 1;
        }
        Ok(told(&removed))
    }

    /// What Tempest made: whatever its tests did not delete, since they failed or were killed.
    async fn tempest(&self, prefix: &str, removed: &mut Removed) -> Result<(), Failure> {
        let mut resists = Vec::new();
        let begins = |item: &Value, key: &str| text(item, key).starts_with(prefix);
        for project in self.admin.list(Api::Identity, "projects", "projects").await? {
            if !begins(&project, "name") {
                continue;
            }
            let id = text(&project, "id");
            match self.project(&id, removed).await {
                Ok(()) => {
                    self.admin.delete(Api::Identity, &format!("projects/{id}")).await?;
                    *removed.entry("project").or_default() += 1;
                }
                Err(failure) => resists.push(failure.0),
            }
        }
        // Domains last: they hold what is above. Endpoints go with their service, trusts and credentials with their user.
        for (list, key, what, name) in [
            ("users", "users", "user", "name"),
            ("groups", "groups", "group", "name"),
            ("roles", "roles", "role", "name"),
            ("services", "services", "service", "name"),
            ("regions", "regions", "region", "id"),
            ("policies", "policies", "policy", "type"),
            ("domains", "domains", "domain", "name"),
        ] {
            for item in self.admin.list(Api::Identity, list, key).await? {
                if !begins(&item, name) {
                    continue;
                }
                let path = format!("{list}/{}", text(&item, "id"));
                if what == "domain" {
                    // One that is in use cannot be deleted.
                    let off = Body::Json(json!({"domain": {"enabled": false}}));
                    self.admin.exchange(Method::PATCH, Api::Identity, &path, &[], off).await?;
                }
                self.admin.delete(Api::Identity, &path).await?;
                *removed.entry(what).or_default() += 1;
            }
        }
        if self.admin.has(Api::Compute) {
            for flavor in self.admin.list(Api::Compute, "flavors?is_public=None", "flavors").await? {
                if begins(&flavor, "name") {
                    self.admin.delete(Api::Compute, &format!("flavors/{}", text(&flavor, "id"))).await?;
                    *removed.entry("flavor").or_default() += 1;
                }
            }
        }
        if self.admin.has(Api::Volume) {
            for kind in self.admin.list(Api::Volume, "types?is_public=None", "volume_types").await? {
                if begins(&kind, "name") {
                    self.admin.delete(Api::Volume, &format!("types/{}", text(&kind, "id"))).await?;
                    *removed.entry("volume type").or_default() += 1;
                }
            }
        }
        if resists.is_empty() { Ok(()) } else { Err(Failure(resists.join("\n"))) }
    }

    async fn named(&self, kind: &str, name: &str) -> Result<Vec<Value>, CloudError> {
        let path = format!("{kind}?domain_id=default&name={name}");
        let items = self.admin.list(Api::Identity, &path, kind).await?;
        Ok(items.into_iter().filter(|item| text(item, "name") == name).collect())
    }

    /// Empties a project, in the order in which things let go of each other; what is independent, at once.
    async fn project(&self, project: &str, removed: &mut Removed) -> Result<(), Failure> {
        let roles = self.admin.list(Api::Identity, "roles?name=admin", "roles").await?;
        let users = self
            .admin
            .list(Api::Identity, &format!("users?domain_id=default&name={}", self.login.user), "users")
            .await?;
        let (Some(role), Some(user)) = (roles.first(), users.first()) else {
            return Err(Failure("there is no role `admin`, or no administrator".to_owned()));
        };
        let grant = format!("projects/{project}/users/{}/roles/{}", text(user, "id"), text(role, "id"));
        self.admin.exchange(Method::PUT, Api::Identity, &grant, &[], Body::None).await?;
        let login = Login { project: ProjectRef::Id(project.to_owned()), ..self.login.clone() };
        let inside = self.admin.other(&login).await?;
        let inside = &inside;

        let mut first = Removed::new();
        if inside.has(Api::Orchestration) {
            let path = |stack: &Value| format!("stacks/{}/{}", text(stack, "stack_name"), text(stack, "id"));
            // To an administrator Heat lists the stacks of everybody.
            let stacks = Kind::new(Api::Orchestration, "stacks", "stacks", "stack");
            let stacks = Kind { project: Some(project.to_owned()), ..stacks };
            self.kind(inside, stacks, &path, &mut first).await?;
        }
        if inside.has(Api::Compute) {
            let path = |server: &Value| format!("servers/{}", text(server, "id"));
            self.kind(
                inside,
                Kind::new(Api::Compute, "servers/detail", "servers", "server"),
                &path,
                &mut first,
            )
            .await?;
        }
        let (networks, volumes, images, objects) = futures::join!(
            self.networks(project),
            self.volumes(inside),
            self.images(inside, project),
            self.objects(inside),
        );
        let mut resists = Vec::new();
        for part in [Ok(first), networks, volumes, images, objects] {
            match part {
                Ok(part) => {
                    for (what, count) in part {
                        *removed.entry(what).or_default() += count;
                    }
                }
                Err(Failure(why)) => resists.push(why),
            }
        }
        if resists.is_empty() { Ok(()) } else { Err(Failure(resists.join("\n"))) }
    }

    async fn volumes(&self, inside: &Session) -> Result<Removed, Failure> {
        let mut removed = Removed::new();
        if inside.has(Api::Volume) {
            for (list, key, what) in [
                ("backups/detail", "backups", "backup"),
                ("snapshots/detail", "snapshots", "snapshot"),
                ("volumes/detail", "volumes", "volume"),
            ] {
                let path = |item: &Value| format!("{key}/{}", text(item, "id"));
                self.kind(inside, Kind::new(Api::Volume, list, key, what), &path, &mut removed).await?;
            }
        }
        Ok(removed)
    }

    async fn images(&self, inside: &Session, project: &str) -> Result<Removed, Failure> {
        let mut removed = Removed::new();
        if inside.has(Api::Image) {
            let list = format!("images?owner={project}&limit=100");
            let path = |image: &Value| format!("images/{}", text(image, "id"));
            self.kind(inside, Kind::new(Api::Image, &list, "images", "image"), &path, &mut removed).await?;
        }
        Ok(removed)
    }

    /// As the administrator of the cloud, filtered: any look at groups as the project itself makes its default group again.
    async fn networks(&self, project: &str) -> Result<Removed, Failure> {
        let mut removed = Removed::new();
        if !self.admin.has(Api::Network) {
            return Ok(removed);
        }
        let list = |kind: &str| format!("{kind}?project_id={project}");
        let of = |kind: &'static str, what| (list(kind), kind, what);
        let (floating, routers) = (of("floatingips", "floating address"), of("routers", "router"));
        let by_id = |kind: &'static str| move |item: &Value| format!("{kind}/{}", text(item, "id"));
        let kind = |(list, key, what): &(String, &'static str, &'static str)| {
            Kind::new(Api::Network, list, key, what)
        };
        self.kind(self.admin, kind(&floating), &by_id("floatingips"), &mut removed).await?;
        // A router lets go of its subnets first.
        let ports = self.admin.list(Api::Network, &list("ports"), "ports").await?;
        for port in &ports {
            let owner = text(port, "device_owner");
            if owner.starts_with("network:router_interface")
                || owner.starts_with("network:ha_router_replicated")
            {
                let path = format!("routers/{}/remove_router_interface", text(port, "device_id"));
                let body = json!({"port_id": text(port, "id")});
                match self.admin.put(Api::Network, &path, body).await {
                    // Another one let it go meanwhile.
                    Err(error) if error.status() == Some(reqwest::StatusCode::NOT_FOUND) => {}
                    outcome => drop(outcome?),
                }
            }
        }
        self.kind(self.admin, kind(&routers), &by_id("routers"), &mut removed).await?;
        let own = |item: &Value| !text(item, "device_owner").starts_with("network:");
        let ports = self.admin.list(Api::Network, &list("ports"), "ports").await?;
        for port in ports.iter().filter(|port| own(port)) {
            self.admin.delete(Api::Network, &format!("ports/{}", text(port, "id"))).await?;
            *removed.entry("port").or_default() += 1;
        }
        self.kind(self.admin, kind(&of("networks", "network")), &by_id("networks"), &mut removed).await?;
        // A list of one project's groups makes its default group anew: the list of all does not.
        let all = "security-groups?fields=id&fields=project_id";
        let groups = Kind {
            project: Some(project.to_owned()),
            ..Kind::new(Api::Network, all, "security_groups", "security group")
        };
        self.kind(self.admin, groups, &by_id("security-groups"), &mut removed).await?;
        Ok(removed)
    }

    async fn objects(&self, inside: &Session) -> Result<Removed, Failure> {
        let mut removed = Removed::new();
        if !inside.has(Api::ObjectStore) {
            return Ok(removed);
        }
        for container in listed(inside, "?format=json").await? {
            let container = text(&container, "name");
            for object in listed(inside, &format!("{container}?format=json")).await? {
                inside.delete(Api::ObjectStore, &format!("{container}/{}", text(&object, "name"))).await?;
                *removed.entry("object").or_default() += 1;
            }
            inside.delete(Api::ObjectStore, &container).await?;
            *removed.entry("container").or_default() += 1;
        }
        Ok(removed)
    }

    /// Deletes all of one kind and waits until they are gone. A refusal (in use) is believed only at the deadline: what
    /// holds it may be going away right now.
    async fn kind(
        &self,
        session: &Session,
        kind: Kind,
        path: &(dyn Fn(&Value) -> String + Sync),
        removed: &mut Removed,
    ) -> Result<(), Failure> {
        let began = Instant::now();
        let mut asked = std::collections::BTreeSet::new();
        let mut refused = String::new();
        loop {
            let mut items = session.list(kind.api, &kind.list, kind.key).await?;
            items.retain(|item| kind.project.as_ref().is_none_or(|own| is_of(item, own)));
            if items.is_empty() {
                *removed.entry(kind.what).or_default() += asked.len();
                if asked.is_empty() {
                    removed.remove(kind.what);
                }
                return Ok(());
            }
            for item in &items {
                let path = path(item);
                if asked.contains(&path) {
                    continue;
                }
                match session.delete(kind.api, &path).await {
                    Ok(()) => {
                        asked.insert(path);
                    }
                    Err(error) if error.status().is_some() => refused = error.to_string(),
                    Err(error) => return Err(error.into()),
                }
            }
            let states: Vec<_> = items
                .iter()
                .map(|item| {
                    item.get("status").map_or_else(|| text(item, "stack_status"), |_| text(item, "status"))
                })
                .collect();
            let left = format!("{} {}(s) left: {}", items.len(), kind.what, states.join(", "));
            if began.elapsed() > PURGE_DEADLINE {
                let why = if refused.is_empty() { String::new() } else { format!("; {refused}") };
                return Err(Failure(format!("{left}{why}")));
            }
            self.reporter.on(Event::Progress { key: "clean-up".to_owned(), message: left, amount: None });
            tokio::time::sleep(PAUSE).await;
        }
    }
}

/// One kind of thing.
struct Kind {
    api: Api,
    /// The path that lists them.
    list: String,
    /// The key of the list.
    key: &'static str,
    /// One of them.
    what: &'static str,
    /// Whose they are, where the list cannot be asked for that.
    project: Option<String>,
}

impl Kind {
    fn new(api: Api, list: &str, key: &'static str, what: &'static str) -> Self {
        Self { api, list: list.to_owned(), key, what, project: None }
    }
}

/// Whether something is of this project. Heat calls a stack's `project`, and lists no others' where it does not say.
fn is_of(item: &Value, project: &str) -> bool {
    let owner = item.get("project_id").or_else(|| item.get("project"));
    owner.is_none_or(|owner| owner.as_str() == Some(project))
}

/// Swift's lists are bare arrays; an account that was never used may be missing.
async fn listed(inside: &Session, path: &str) -> Result<Vec<Value>, CloudError> {
    match inside.get(Api::ObjectStore, path).await {
        Ok(Value::Array(items)) => Ok(items),
        Ok(_) => Ok(Vec::new()),
        Err(error) if error.status() == Some(reqwest::StatusCode::NOT_FOUND) => Ok(Vec::new()),
        Err(error) => Err(error),
    }
}

fn told(removed: &Removed) -> String {
    let parts: Vec<_> = removed
        .iter()
        .map(|(what, count)| if *count == 1 { format!("1 {what}") } else { format!("{count} {what}s") })
        .collect();
    let text = parts.join(", ").replace("addresss", "addresses").replace("policys", "policies");
    if parts.is_empty() { "nothing".to_owned() } else { text }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::is_of;

    #[test]
    fn what_is_of_another_project_must_stay() {
        assert!(is_of(&json!({"id": "1", "project_id": "ours"}), "ours"));
        assert!(!is_of(&json!({"id": "1", "project_id": "theirs"}), "ours"));
        assert!(is_of(&json!({"stack_name": "a", "project": "ours"}), "ours"));
        assert!(!is_of(&json!({"stack_name": "a", "project": "theirs"}), "ours"));
        assert!(is_of(&json!({"stack_name": "a"}), "ours"));
    }
}
