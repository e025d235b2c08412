//! What Keystone must be told, as a pure difference: wanted against seen.
//!
//! Nothing is ever removed or revoked: what operators added is theirs. What is wanted and differs is changed.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use crate::model::desired::{CatalogueService, IdentitySpec, IdentityUser, UserHome};

/// What Keystone has of what is wanted, by name, with its ids.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct IdentityObserved {
    /// Ids of regions.
    pub regions: BTreeSet<String>,
    /// Ids of domains by name; only those that are wanted were asked for.
    pub domains: BTreeMap<String, String>,
    /// Ids of projects of the default domain by name; only those that are wanted were asked for.
    pub projects: BTreeMap<String, String>,
    /// Ids of global roles by name.
    pub roles: BTreeMap<String, String>,
    /// The catalogue, all of it.
    pub services: Vec<ObservedService>,
    /// Users by name, each of its wanted domain; only those that are wanted were asked for.
    pub users: BTreeMap<String, ObservedUser>,
}

/// A catalogue entry as Keystone has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ObservedService {
    /// Id.
    pub id: String,
    /// Name.
    pub name: String,
    /// Type.
    pub kind: String,
    /// One line.
    pub description: String,
    /// Disabled entries are in no catalogue.
    pub enabled: bool,
    /// Endpoints of the deployment's region, by interface.
    pub endpoints: BTreeMap<String, ObservedEndpoint>,
}

/// An endpoint as Keystone has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ObservedEndpoint {
    /// Id.
    pub id: String,
    /// URL.
    pub url: String,
    /// Disabled endpoints are in no catalogue.
    pub enabled: bool,
}

/// A user as Keystone has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ObservedUser {
    /// Id.
    pub id: String,
    /// Disabled users get no token.
    pub enabled: bool,
    /// Whether it gets a token with the wanted password; `None` where that was not tried.
    pub password_fits: Option<bool>,
    /// Names of the roles it has on the wanted project or domain.
    pub roles: BTreeSet<String>,
}

/// One difference, which is one request.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum IdentityChange {
    /// No such region.
    CreateRegion {
        /// Id.
        region: String,
    },
    /// No such domain.
    CreateDomain {
        /// Name.
        domain: String,
    },
    /// No such project.
    CreateProject {
        /// Name.
        project: String,
    },
    /// No such role.
    CreateRole {
        /// Name.
        role: String,
    },
    /// No such catalogue entry.
    CreateService {
        /// Name.
        service: String,
        /// Type.
        kind: String,
    },
    /// The entry differs.
    UpdateService {
        /// Wanted name.
        service: String,
        /// Id.
        id: String,
        /// Which fields differ.
        fields: Vec<&'static str>,
    },
    /// No such endpoint.
    CreateEndpoint {
        /// Service name.
        service: String,
        /// Interface.
        interface: String,
        /// URL.
        url: String,
    },
    /// The endpoint differs.
    UpdateEndpoint {
        /// Service name.
        service: String,
        /// Interface.
        interface: String,
        /// Id.
        id: String,
        /// URL now.
        from: String,
        /// URL wanted.
        to: String,
    },
    /// No such user.
    CreateUser {
        /// Name.
        user: String,
    },
    /// The user is disabled.
    EnableUser {
        /// Name.
        user: String,
    },
    /// The user does not get in with the wanted password. Its tokens become invalid.
    SetPassword {
        /// Name.
        user: String,
    },
    /// The user lacks a role.
    Grant {
        /// Name.
        user: String,
        /// Role.
        role: String,
        /// On what.
        on: UserHome,
    },
}

impl fmt::Display for IdentityChange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::CreateRegion { region } => write!(f, "create region {region}"),
            Self::CreateDomain { domain } => write!(f, "create domain {domain}"),
            Self::CreateProject { project } => write!(f, "create project {project}"),
            Self::CreateRole { role } => write!(f, "create role {role}"),
            Self::CreateService { service, kind } => write!(f, "create service {service} ({kind})"),
            Self::UpdateService { service, id: _, fields } => {
                write!(f, "change {} of service {service}", fields.join(", "))
            }
            Self::CreateEndpoint { service, interface, url } => {
                write!(f, "create {interface} endpoint of {service}: {url}")
            }
            Self::UpdateEndpoint { service, interface, id: _, from, to } if from == to => {
                write!(f, "enable {interface} endpoint of {service}")
            }
            Self::UpdateEndpoint { service, interface, id: _, from, to } => {
                write!(f, "change {interface} endpoint of {service}: {from} -> {to}")
            }
            Self::CreateUser { user } => write!(f, "create user {user}"),
            Self::EnableUser { user } => write!(f, "enable user {user}"),
            Self::SetPassword { user } => write!(f, "set the password of user {user}"),
            Self::Grant { user, role, on } => write!(f, "grant {user} the role {role} on {on}"),
        }
    }
}

impl IdentityChange {
    /// Returns the stage in which it is made: all of one stage may be made at once, in any order.
    pub fn stage(&self) -> u8 {
        match self {
            Self::CreateRegion { .. }
            | Self::CreateDomain { .. }
            | Self::CreateProject { .. }
            | Self::CreateRole { .. }
            | Self::CreateService { .. }
            | Self::UpdateService { .. }
            | Self::EnableUser { .. }
            | Self::SetPassword { .. } => 0,
            // A user is made in its domain, with its project as the default one; an endpoint belongs to a service and a region.
            Self::CreateUser { .. } | Self::CreateEndpoint { .. } | Self::UpdateEndpoint { .. } => 1,
            Self::Grant { .. } => 2,
        }
    }
}

/// Returns the seen entry that stands for the wanted one: of the same type, and of the same name if there are several.
///
/// Clients look services up by type, so an entry of that type under another name is the same service renamed.
pub fn matching<'a>(
    observed: &'a IdentityObserved,
    name: &str,
    wanted: &CatalogueService,
) -> Option<&'a ObservedService> {
    let of_type = || observed.services.iter().filter(|service| service.kind == wanted.kind);
    of_type().find(|service| service.name == name).or_else(|| of_type().next())
}

/// Returns the domains that must exist besides the default one.
pub fn wanted_domains(wanted: &IdentitySpec) -> BTreeSet<&String> {
    let of_users = wanted.users.values().filter_map(|user| match &user.home {
        UserHome::Domain(domain) => Some(domain),
        UserHome::Project(_) => None,
    });
    of_users.collect()
}

/// Returns the projects that must exist.
pub fn wanted_projects(wanted: &IdentitySpec) -> BTreeSet<&String> {
    let of_users = wanted.users.values().filter_map(|user| match &user.home {
        UserHome::Project(project) => Some(project),
        UserHome::Domain(_) => None,
    });
    wanted.projects.iter().chain(of_users).collect()
}

/// Returns everything that must change, in the order of stages; empty when Keystone is as it should be.
pub fn identity_diff(wanted: &IdentitySpec, observed: &IdentityObserved) -> Vec<IdentityChange> {
    let IdentitySpec { access: _, region, projects: _, roles, services, users } = wanted;
    let mut changes = Vec::new();
    if !region.is_empty() && !observed.regions.contains(region) {
        changes.push(IdentityChange::CreateRegion { region: region.clone() });
    }
    for domain in wanted_domains(wanted) {
        if !observed.domains.contains_key(domain) {
            changes.push(IdentityChange::CreateDomain { domain: domain.clone() });
        }
    }
    for project in wanted_projects(wanted) {
        if !observed.projects.contains_key(project) {
            changes.push(IdentityChange::CreateProject { project: project.clone() });
        }
    }
    let wanted_roles: BTreeSet<_> = roles.iter().chain(users.values().flat_map(|user| &user.roles)).collect();
    for role in wanted_roles {
        if !observed.roles.contains_key(role) {
            changes.push(IdentityChange::CreateRole { role: role.clone() });
        }
    }
    for (name, service) in services {
        service_diff(name, service, matching(observed, name, service), &mut changes);
    }
    for (name, user) in users {
        user_diff(name, user, observed.users.get(name), &mut changes);
    }
    changes.sort_by_key(IdentityChange::stage);
    changes
}

fn service_diff(
    name: &str,
    wanted: &CatalogueService,
    seen: Option<&ObservedService>,
    changes: &mut Vec<IdentityChange>,
) {
    let CatalogueService { kind, description, endpoints } = wanted;
    match seen {
        None => changes.push(IdentityChange::CreateService { service: name.to_owned(), kind: kind.clone() }),
        Some(seen) => {
            let mut fields = Vec::new();
            if seen.name != name {
                fields.push("name");
            }
            if seen.description != *description {
                fields.push("description");
            }
            if !seen.enabled {
                fields.push("enabled");
            }
            if !fields.is_empty() {
                changes.push(IdentityChange::UpdateService {
                    service: name.to_owned(),
                    id: seen.id.clone(),
                    fields,
                });
            }
        }
    }
    for (interface, url) in endpoints {
        match seen.and_then(|seen| seen.endpoints.get(interface)) {
            None => changes.push(IdentityChange::CreateEndpoint {
                service: name.to_owned(),
                interface: interface.clone(),
                url: url.clone(),
            }),
            Some(endpoint) if endpoint.url != *url || !endpoint.enabled => {
                changes.push(IdentityChange::UpdateEndpoint {
                    service: name.to_owned(),
                    interface: interface.clone(),
                    id: endpoint.id.clone(),
                    from: endpoint.url.clone(),
                    to: url.clone(),
                });
            }
            Some(_) => {}
        }
    }
}

fn user_diff(
    name: &str,
    wanted: &IdentityUser,
    seen: Option<&ObservedUser>,
    changes: &mut Vec<IdentityChange>,
) {
    let IdentityUser { password: _, home, roles } = wanted;
    let user = || name.to_owned();
    match seen {
        None => changes.push(IdentityChange::CreateUser { user: user() }),
        Some(seen) => {
            if !seen.enabled {
                changes.push(IdentityChange::EnableUser { user: user() });
            }
            if seen.password_fits == Some(false) {
                changes.push(IdentityChange::SetPassword { user: user() });
            }
        }
    }
    for role in roles {
        if !seen.is_some_and(|seen| seen.roles.contains(role)) {
            changes.push(IdentityChange::Grant { user: user(), role: role.clone(), on: home.clone() });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Secret;

    fn wanted() -> IdentitySpec {
        let urls = |port: u16| {
            ["admin", "internal", "public"]
                .map(|interface| (interface.to_owned(), format!("https://cloud:{port}")))
                .into()
        };
        IdentitySpec {
            access: None,
            region: "RegionOne".to_owned(),
            projects: ["service".to_owned()].into(),
            roles: BTreeSet::new(),
            services: BTreeMap::from([(
                "glance".to_owned(),
                CatalogueService {
                    kind: "image".to_owned(),
                    description: "Images".to_owned(),
                    endpoints: urls(9292),
                },
            )]),
            users: BTreeMap::from([(
                "glance".to_owned(),
                IdentityUser {
                    password: Secret::new("hunter2hunter2"),
                    home: UserHome::Project("service".to_owned()),
                    roles: ["admin".to_owned(), "service".to_owned()].into(),
                },
            )]),
        }
    }

    fn complete() -> IdentityObserved {
        let endpoint = |interface: &str| {
            let url = "https://cloud:9292".to_owned();
            (interface.to_owned(), ObservedEndpoint { id: format!("e-{interface}"), url, enabled: true })
        };
        IdentityObserved {
            regions: ["RegionOne".to_owned()].into(),
            domains: BTreeMap::new(),
            projects: [("service".to_owned(), "p1".to_owned())].into(),
            roles: [("admin".to_owned(), "r1".to_owned()), ("service".to_owned(), "r2".to_owned())].into(),
            services: vec![ObservedService {
                id: "s1".to_owned(),
                name: "glance".to_owned(),
                kind: "image".to_owned(),
                description: "Images".to_owned(),
                enabled: true,
                endpoints: ["admin", "internal", "public"].map(endpoint).into(),
            }],
            users: [(
                "glance".to_owned(),
                ObservedUser {
                    id: "u1".to_owned(),
                    enabled: true,
                    password_fits: Some(true),
                    roles: ["admin".to_owned(), "reader".to_owned(), "service".to_owned()].into(),
                },
            )]
            .into(),
        }
    }

    fn text(wanted: &IdentitySpec, observed: &IdentityObserved) -> String {
        let lines: Vec<_> = identity_diff(wanted, observed)
            .iter()
            .map(|change| format!("{} {change}", change.stage()))
            .collect();
        lines.join(
            "
",
        )
    }

    #[test]
    fn an_empty_keystone_must_be_told_everything_in_an_order_that_can_be_made() {
        insta::assert_snapshot!(text(&wanted(), &IdentityObserved::default()), @r"
        0 create region RegionOne
        0 create project service
        0 create role admin
        0 create role service
        0 create service glance (image)
        1 create admin endpoint of glance: https://cloud:9292
        1 create internal endpoint of glance: https://cloud:9292
        1 create public endpoint of glance: https://cloud:9292
        1 create user glance
        2 grant glance the role admin on project service
        2 grant glance the role service on project service
        ");
    }

    #[test]
    fn a_complete_keystone_must_be_left_alone_with_whatever_else_it_has() {
        let mut observed = complete();
        observed.projects.insert("theirs".to_owned(), "p2".to_owned());
        observed.services.push(ObservedService {
            id: "s2".to_owned(),
            name: "mine".to_owned(),
            kind: "x".to_owned(),
            ..observed.services[0].clone()
        });
        assert_eq!(identity_diff(&wanted(), &observed), []);
        // Not tried is not wrong.
        observed.users.get_mut("glance").unwrap().password_fits = None;
        assert_eq!(identity_diff(&wanted(), &observed), []);
    }

    #[test]
    fn only_what_differs_must_change() {
        let mut observed = complete();
        let service = &mut observed.services[0];
        service.description.clear();
        service.enabled = false;
        service.endpoints.get_mut("public").unwrap().url = "http://old:9292".to_owned();
        service.endpoints.get_mut("admin").unwrap().enabled = false;
        service.endpoints.remove("internal");
        let user = observed.users.get_mut("glance").unwrap();
        user.enabled = false;
        user.password_fits = Some(false);
        user.roles.remove("service");
        insta::assert_snapshot!(text(&wanted(), &observed), @r"
        0 change description, enabled of service glance
        0 enable user glance
        0 set the password of user glance
        1 enable admin endpoint of glance
        1 create internal endpoint of glance: https://cloud:9292
        1 change public endpoint of glance: http://old:9292 -> https://cloud:9292
        2 grant glance the role service on project service
        ");
    }

    #[test]
    fn a_user_of_a_domain_must_get_the_domain_and_its_roles_on_it_and_no_project() {
        let mut spec = wanted();
        spec.users.get_mut("glance").unwrap().home = UserHome::Domain("heat".to_owned());
        spec.projects.clear();
        let mut observed = complete();
        observed.users.clear();
        observed.projects.clear();
        insta::assert_snapshot!(text(&spec, &observed), @r"
        0 create domain heat
        1 create user glance
        2 grant glance the role admin on domain heat
        2 grant glance the role service on domain heat
        ");
        observed.domains.insert("heat".to_owned(), "d1".to_owned());
        observed.users = complete().users;
        assert_eq!(text(&spec, &observed), "");
    }

    #[test]
    fn a_service_of_the_same_type_under_another_name_must_be_renamed_not_doubled() {
        let mut observed = complete();
        observed.services[0].name = "images".to_owned();
        assert_eq!(text(&wanted(), &observed), "0 change name of service glance");
        // Of two of one type the one with the name is meant.
        let mut second = complete().services.remove(0);
        second.id = "s9".to_owned();
        observed.services.push(second);
        assert_eq!(text(&wanted(), &observed), "");
    }
}
