//! One number, one listener, on each host.

use std::collections::BTreeMap;

use crate::model::{HostName, ServiceName};
use crate::profile::diagnostic::Diagnostic;
use crate::profile::variables::{port_variable, proxy_variable, spare_variable};
use crate::profile::{Listener, Profile, context};

/// Returns everything that listens, with the variable that gives its number.
pub(in crate::profile) fn listeners(profile: &Profile) -> Vec<(Listener, String)> {
    let mut list = Vec::new();
    let address =
        |host: &HostName| profile.document.hosts.get(host).map(|h| h.address.clone()).unwrap_or_default();
    let mut add = |service: &ServiceName, host: &HostName, name: String, address: String| {
        let port = context::port_number(profile, host, &name);
        list.push((
            Listener { host: host.clone(), service: service.clone(), name: name.clone(), address, port },
            name,
        ));
    };
    for (service, loaded) in &profile.services {
        for (port, entry) in &loaded.service.ports {
            let hosts = match &entry.container {
                Some(container) => {
                    profile.layout.units.get(container).map(|u| u.hosts.clone()).unwrap_or_default()
                }
                None => context::service_hosts(profile, service),
            };
            for host in &hosts {
                add(service, host, port_variable(port), address(host));
                if entry.spare.is_some() {
                    add(service, host, spare_variable(port), address(host));
                }
            }
        }
    }
    let fronts: Vec<(&ServiceName, Vec<HostName>)> = profile
        .services
        .iter()
        .filter(|(_, l)| l.service.sees.contains(&crate::profile::service::Sees::Proxies))
        .map(|(name, _)| (name, context::service_hosts(profile, name)))
        .collect();
    for (service, loaded) in &profile.services {
        for (index, proxy) in loaded.service.proxy.iter().enumerate() {
            if context::proxy_holds(profile, service, index, proxy) {
                for (front, hosts) in &fronts {
                    for host in hosts {
                        for side in context::sides(profile, proxy) {
                            add(front, host, proxy_variable(&proxy.name), side);
                        }
                    }
                }
            }
        }
    }
    list
}

/// Reports two listeners with one number on one host: where the profile sets one of them, there; else at the later default.
pub(in crate::profile) fn check(profile: &Profile, out: &mut Vec<Diagnostic>) {
    let mut taken: BTreeMap<(HostName, u16), (String, ServiceName)> = BTreeMap::new();
    for (listener, variable) in listeners(profile) {
        let key = (listener.host.clone(), listener.port);
        let Some((first, first_service)) = taken.get(&key).cloned() else {
            taken.insert(key, (variable, listener.service));
            continue;
        };
        if first == variable {
            continue;
        }
        let (host, port) = (&listener.host, listener.port);
        let message = format!("port {port} on host `{host}` is used twice: by `{first}` and `{variable}`");
        let help = format!(
            "set one of these variables to a free number: `{first}` ({first_service}), `{variable}` ({})",
            listener.service
        );
        let given = [&variable, &first].into_iter().find_map(|name| {
            [vec!["hosts", host.as_str(), "variables", name.as_str()], vec!["variables", name.as_str()]]
                .into_iter()
                .find(|path| profile.doc.node(path).is_some())
                .map(|path| profile.doc.wrong_value("port-clash", &path, message.clone()))
        });
        let diagnostic = given.unwrap_or_else(|| match profile.declared.get(&variable) {
            Some(declared) => {
                let path: Vec<&str> = declared.default_path.iter().map(String::as_str).collect();
                match profile.services.get(&declared.service) {
                    Some(loaded) => loaded.doc.wrong_value("port-clash", &path, message.clone()),
                    None => profile.doc.wrong_key("port-clash", &["sets"], message.clone()),
                }
            }
            None => profile.doc.wrong_key("port-clash", &["sets"], message.clone()),
        });
        let diagnostic = diagnostic.help(help);
        if !out.contains(&diagnostic) {
            out.push(diagnostic);
        }
    }
}
