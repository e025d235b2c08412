//! Ports that the profile will listen on: whoever answers there, and is not ours, is in the way.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use anyhow::Result;
use futures::future::join_all;

use super::{Finding, Verdict};
use crate::cli::context::{Context, Engines};
use crate::cli::exit::CliError;
use crate::cli::session::Loaded;
use crate::model::{ContainerState, HostName, Observed, ServiceName};
use crate::plan::{Change, Plan};
use crate::profile::Listener;

/// Time for an answer: a port that is closed refuses at once, one behind a firewall never answers.
const PATIENCE: Duration = Duration::from_secs(2);

/// Knocks on every port.
pub(super) async fn facts(context: &Context, loaded: &Loaded, engines: &Engines) -> Result<Vec<Finding>> {
    let observed = context.observe(loaded, engines).await?;
    let listeners = loaded.profile.listeners();
    let total: BTreeMap<HostName, usize> = listeners.iter().fold(BTreeMap::new(), |mut count, l| {
        *count.entry(l.host.clone()).or_default() += 1;
        count
    });
    let mut findings: Vec<Finding> = taken(listeners, &observed)
        .await
        .into_iter()
        .map(|(host, detail)| Finding::new(&host, "port", Verdict::Bad, detail))
        .collect();
    for (host, count) in total {
        if !findings.iter().any(|f| f.host == host) {
            findings.push(Finding::new(&host, "ports", Verdict::Ok, format!("all {count} are free or ours")));
        }
    }
    Ok(findings)
}

/// Refuses a plan whose new containers could not listen, since somebody else does: before anything is touched.
pub async fn refuse_taken_ports(loaded: &Loaded, observed: &Observed, plan: &Plan) -> Result<()> {
    let begins: BTreeSet<(&HostName, &ServiceName)> = plan
        .slots
        .iter()
        .filter(|slot| !slot.task && matches!(slot.change, Change::Create | Change::Replace | Change::Start))
        .map(|slot| (&slot.slot.host, &slot.service))
        .collect();
    let listeners =
        loaded.profile.listeners().into_iter().filter(|l| begins.contains(&(&l.host, &l.service))).collect();
    let taken = taken(listeners, observed).await;
    if taken.is_empty() {
        return Ok(());
    }
    let lines: Vec<String> =
        taken.into_iter().map(|(host, detail)| format!("host {host}: {detail}")).collect();
    Err(CliError::new(format!("{}; nothing was touched", lines.join("\n")))
        .help(
            "end that program, or choose another port or address in the profile; a container that its engine does not show as running was \
             lost when that was killed just while it started it: its program has to be ended by hand",
        )
        .into())
}

/// Returns the ports that a stranger listens on, with who it is where the kernel tells.
async fn taken(listeners: Vec<Listener>, observed: &Observed) -> Vec<(HostName, String)> {
    let runs = |host: Option<&HostName>, service: &ServiceName| {
        observed.hosts.iter().filter(|(name, _)| host.is_none_or(|host| host == *name)).any(|(_, there)| {
            there.containers.iter().any(|container| {
                container.state == ContainerState::Running
                    && container.slot_labels.as_ref().is_some_and(|labels| labels.service == *service)
            })
        })
    };
    let mut addresses: BTreeMap<&str, BTreeSet<&HostName>> = BTreeMap::new();
    for listener in &listeners {
        addresses.entry(&listener.address).or_default().insert(&listener.host);
    }
    let knocks = listeners.iter().map(|listener| {
        // An address that several hosts listen on moves between them: any of them may be the one that answers.
        let moves = addresses.get(listener.address.as_str()).is_some_and(|hosts| hosts.len() > 1);
        let ours = runs((!moves).then_some(&listener.host), &listener.service);
        async move {
            if ours {
                return None;
            }
            let address: IpAddr = listener.address.parse().ok()?;
            let socket = SocketAddr::new(address, listener.port);
            let answered = tokio::time::timeout(PATIENCE, tokio::net::TcpStream::connect(socket)).await;
            matches!(answered, Ok(Ok(_))).then(|| {
                let by = owner(socket).map(|o| format!(" by {o}")).unwrap_or_default();
                let name = &listener.name;
                let detail = format!(
                    "port {socket} ({name}) is taken{by}; `mastic explain {name}` says where it is set"
                );
                (listener.host.clone(), detail)
            })
        }
    });
    join_all(knocks).await.into_iter().flatten().collect()
}

/// Returns who listens on a port of this machine: program and pid, if the kernel tells.
fn owner(socket: SocketAddr) -> Option<String> {
    let places = places(socket);
    let inode = ["/proc/net/tcp", "/proc/net/tcp6"].iter().find_map(|table| {
        let text = fs_err::read_to_string(table).ok()?;
        text.lines().skip(1).find_map(|line| {
            let fields: Vec<&str> = line.split_whitespace().collect();
            // State 0A is LISTEN; field 9 is the socket's inode.
            (places.iter().any(|place| place == fields.get(1).unwrap_or(&"")) && *fields.get(3)? == "0A")
                .then(|| fields.get(9).map(|i| (*i).to_owned()))?
        })
    })?;
    let wanted = format!("socket:[{inode}]");
    fs_err::read_dir("/proc").ok()?.flatten().find_map(|entry| {
        let pid = entry.file_name().into_string().ok().filter(|n| n.bytes().all(|b| b.is_ascii_digit()))?;
        let holds = fs_err::read_dir(entry.path().join("fd"))
            .ok()?
            .flatten()
            .any(|fd| fs_err::read_link(fd.path()).is_ok_and(|t| t.to_string_lossy() == wanted));
        let read = |file: &str| fs_err::read_to_string(entry.path().join(file)).unwrap_or_default();
        let container =
            container(&read("cgroup")).map(|id| format!(", in container {id}")).unwrap_or_default();
        holds.then(|| format!("{} (pid {pid}{container})", read("comm").trim()))
    })
}

/// Returns the short id of the container that a process is in, by its proc(5) `cgroup`: engines name a container's cgroup by its id,
/// systemd's driver as `docker-ID.scope`.
fn container(cgroup: &str) -> Option<&str> {
    let parts = cgroup.split(['/', '\n', '-', '.']);
    let mut ids = parts.filter(|part| part.len() == 64 && part.bytes().all(|b| b.is_ascii_hexdigit()));
    ids.next().map(|id| &id[..12])
}

/// Returns how proc(5)'s tables write what may answer at a socket: its own address, or every address. Words of four
/// bytes are in the machine's order (little-endian here), the port is not.
fn places(socket: SocketAddr) -> [String; 4] {
    let words = |octets: &[u8]| -> String {
        octets.chunks(4).flat_map(|word| word.iter().rev()).map(|byte| format!("{byte:02X}")).collect()
    };
    let port = socket.port();
    let own = match socket.ip() {
        IpAddr::V4(ip) => [words(&ip.octets()), words(&ip.to_ipv6_mapped().octets())],
        IpAddr::V6(ip) => [words(&ip.octets()), words(&ip.octets())],
    };
    let [short, long] = own;
    [short, long, "0".repeat(8), "0".repeat(32)].map(|address| format!("{address}:{port:04X}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_listener_on_another_address_must_not_be_taken_for_the_owner() {
        let here = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
        let port = here.local_addr().expect("it is bound").port();
        let elsewhere: SocketAddr = format!("127.0.0.2:{port}").parse().expect("an address");
        assert_eq!(owner(elsewhere), None);
        assert_eq!(places("127.0.17.1:5000".parse().expect("an address"))[0], "0111007F:1388");
    }

    #[test]
    fn the_container_of_a_program_must_be_told() {
        let id = "3f978a4edd755c0a1bd1e6aa9f4b1bd1e6aa9f4c0a1bd1e6aa9f4755c0a1bd1e";
        for cgroup in [
            format!("12:pids:/docker/{id}\n0::/\n"),
            format!("0::/system.slice/docker-{id}.scope\n"),
            format!("0::/engine/{id}/init"),
        ] {
            assert_eq!(container(&cgroup), Some("3f978a4edd75"), "{cgroup}");
        }
        assert_eq!(container("0::/user.slice/session-3.scope\n"), None);
    }

    #[test]
    fn the_owner_of_a_taken_port_must_be_named() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
        let owner = owner(listener.local_addr().expect("it is bound")).expect("we own it");
        assert!(owner.contains(&format!("pid {}", std::process::id())), "{owner}");
    }
}
