//! `mastic prechecks`: can the hosts run what the profile asks for? All answers at once, nothing is touched.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use anyhow::Result;
use futures::future::join_all;
use serde_json::json;

use crate::cli::context::{Context, Engines};
use crate::cli::exit::{CliError, Exit};
use crate::cli::printer::table;
use crate::cli::session::Loaded;
use crate::engine::EngineInfo;
use crate::model::{ContainerState, HostName, Observed, ServiceName};
use crate::plan::{Change, Plan};
use crate::profile::Listener;

/// Memory below which a Keystone and its database do not live well.
const LEAST_MEMORY: u64 = 2 << 30;
/// Free bytes for images and data.
const LEAST_DISK: u64 = 8 << 30;
/// The oldest engine that is tested.
const LEAST_ENGINE: (u64, u64) = (20, 10);

/// One answer.
struct Finding {
    host: HostName,
    what: &'static str,
    verdict: Verdict,
    detail: String,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Verdict {
    Ok,
    Warning,
    Bad,
}

/// Checks every host.
pub async fn run(context: &Context) -> Result<Exit> {
    let loaded = context.load()?;
    let engines = context.engines(&loaded.profile).await?;
    let mut findings = Vec::new();
    for (host, engine) in &engines {
        match engine.info().await {
            Ok(info) => findings.extend(engine_facts(host, &info)),
            Err(error) => findings.push(Finding {
                host: host.clone(),
                what: "engine",
                verdict: Verdict::Bad,
                detail: format!("{error}; `mastic bootstrap` installs and starts one on this machine"),
            }),
        }
    }
    let reachable = findings.iter().all(|f| f.what != "engine" || f.verdict != Verdict::Bad);
    if reachable {
        findings.extend(images(context, &loaded, &engines).await?);
        findings.extend(ports(context, &loaded, &engines).await?);
    }
    let bad = findings.iter().filter(|f| f.verdict == Verdict::Bad).count();
    if context.global.json {
        let list: Vec<_> = findings
            .iter()
            .map(|f| json!({"host": f.host, "check": f.what, "verdict": word(f.verdict), "detail": f.detail}))
            .collect();
        context
            .printer
            .data(&serde_json::to_string_pretty(&json!({"version": 1, "ok": bad == 0, "checks": list}))?);
    } else {
        let rows: Vec<Vec<String>> = findings
            .iter()
            .map(|f| {
                vec![word(f.verdict).to_owned(), f.host.to_string(), f.what.to_owned(), f.detail.clone()]
            })
            .collect();
        context.printer.data(&table(&rows));
    }
    if bad > 0 {
        let list: Vec<&str> =
            findings.iter().filter(|f| f.verdict == Verdict::Bad).map(|f| f.detail.as_str()).collect();
        return Err(CliError::new(format!("{bad} checks failed: {}", list.join("; "))).into());
    }
    Ok(Exit::Done)
}

fn word(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::Ok => "ok",
        Verdict::Warning => "warning",
        Verdict::Bad => "FAILED",
    }
}

/// Judges what an engine says of itself.
fn engine_facts(host: &HostName, info: &EngineInfo) -> Vec<Finding> {
    let finding = |what, verdict, detail: String| Finding { host: host.clone(), what, verdict, detail };
    let mut numbers = info.version.split(['.', '-', '+']).map(|n| n.parse::<u64>().unwrap_or(0));
    let version = (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0));
    let mut all = vec![
        finding(
            "engine",
            if version >= LEAST_ENGINE { Verdict::Ok } else { Verdict::Bad },
            format!("Docker {} (API {}), at least 20.10 is needed", info.version, info.api_version),
        ),
        finding(
            "storage",
            if info.storage_driver == "overlay2" || info.storage_driver == "overlayfs" {
                Verdict::Ok
            } else {
                Verdict::Warning
            },
            format!("driver {}", info.storage_driver),
        ),
        finding(
            "memory",
            if info.memory >= LEAST_MEMORY { Verdict::Ok } else { Verdict::Bad },
            format!("{} of memory, {} CPUs", super::status::bytes(info.memory), info.cpus),
        ),
    ];
    // Only a local data root can be asked for its free space.
    if let Ok(facts) = nix::sys::statvfs::statvfs(info.data_root.as_str()) {
        let free = u64::from(facts.blocks_available()) * u64::from(facts.fragment_size());
        all.push(finding(
            "disk",
            if free >= LEAST_DISK { Verdict::Ok } else { Verdict::Bad },
            format!(
                "{} free in {}, at least {} are needed",
                super::status::bytes(free),
                info.data_root,
                super::status::bytes(LEAST_DISK)
            ),
        ));
    }
    all
}

/// Looks whether each host has the images.
async fn images(context: &Context, loaded: &Loaded, engines: &Engines) -> Result<Vec<Finding>> {
    let pins = context.images(loaded, engines).await?;
    let missing: Vec<String> =
        pins.iter().filter(|(_, pin)| pin.is_none()).map(|(name, _)| name.to_string()).collect();
    Ok(engines
        .keys()
        .map(|host| Finding {
            host: host.clone(),
            what: "images",
            verdict: if missing.is_empty() { Verdict::Ok } else { Verdict::Warning },
            detail: if missing.is_empty() {
                format!("all {} are there", pins.len())
            } else {
                format!("not there yet: {}; `mastic build` builds them", missing.join(", "))
            },
        })
        .collect())
}

/// Knocks on every port that the profile will listen on: whoever answers, and is not ours, is in the way.
async fn ports(context: &Context, loaded: &Loaded, engines: &Engines) -> Result<Vec<Finding>> {
    let observed = context.observe(loaded, engines).await?;
    let listeners = loaded.profile.listeners();
    let total: BTreeMap<HostName, usize> = listeners.iter().fold(BTreeMap::new(), |mut count, l| {
        *count.entry(l.host.clone()).or_default() += 1;
        count
    });
    let mut findings: Vec<Finding> = taken(listeners, &observed)
        .await
        .into_iter()
        .map(|(host, detail)| Finding { host, what: "port", verdict: Verdict::Bad, detail })
        .collect();
    for (host, count) in total {
        if !findings.iter().any(|f| f.host == host) {
            findings.push(Finding {
                host,
                what: "ports",
                verdict: Verdict::Ok,
                detail: format!("all {count} are free or ours"),
            });
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
        .help("end that program, or choose another port or address in the profile")
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
            let answered =
                tokio::time::timeout(Duration::from_secs(2), tokio::net::TcpStream::connect(socket)).await;
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
    let wanted = local_forms(socket);
    let tables =
        ["/proc/net/tcp", "/proc/net/tcp6"].map(|table| fs_err::read_to_string(table).unwrap_or_default());
    let listening: Vec<Vec<&str>> = tables
        .iter()
        .flat_map(|text| text.lines().skip(1))
        .map(|line| line.split_whitespace().collect::<Vec<_>>())
        // State 0A is LISTEN.
        .filter(|fields| fields.get(3) == Some(&"0A"))
        .collect();
    // Others may listen on the same port of other addresses.
    let inode = wanted.iter().find_map(|form| {
        let line = listening.iter().find(|fields| fields.get(1) == Some(&form.as_str()))?;
        line.get(9).map(|inode| (*inode).to_owned())
    })?;
    let wanted = format!("socket:[{inode}]");
    fs_err::read_dir("/proc").ok()?.flatten().find_map(|entry| {
        let pid = entry.file_name().into_string().ok().filter(|n| n.bytes().all(|b| b.is_ascii_digit()))?;
        let holds = fs_err::read_dir(entry.path().join("fd"))
            .ok()?
            .flatten()
            .any(|fd| fs_err::read_link(fd.path()).is_ok_and(|t| t.to_string_lossy() == wanted));
        let name = fs_err::read_to_string(entry.path().join("comm")).unwrap_or_default();
        holds.then(|| format!("{} (pid {pid})", name.trim()))
    })
}

/// Returns how the kernel's tables write who would answer at an address: that very one, then all addresses.
fn local_forms(socket: SocketAddr) -> Vec<String> {
    let port = socket.port();
    // Each four bytes are written as the number that they are in this machine's order.
    let words = |bytes: &[u8]| -> String {
        bytes
            .chunks_exact(4)
            .filter_map(|four| four.try_into().ok())
            .map(|four| format!("{:08X}", u32::from_ne_bytes(four)))
            .collect()
    };
    let of = |address: String| format!("{address}:{port:04X}");
    let any = [of("0".repeat(8)), of("0".repeat(32))];
    let exact = match socket.ip() {
        IpAddr::V4(ip) => vec![of(words(&ip.octets())), of(words(&ip.to_ipv6_mapped().octets()))],
        IpAddr::V6(ip) => vec![of(words(&ip.octets()))],
    };
    exact.into_iter().chain(any).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_owner_of_a_taken_port_must_be_named() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
        let owner = owner(listener.local_addr().expect("it is bound")).expect("we own it");
        assert!(owner.contains(&format!("pid {}", std::process::id())), "{owner}");
    }

    #[test]
    fn who_listens_on_another_address_must_not_be_named() {
        let own = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
        let elsewhere = SocketAddr::new([127, 0, 0, 2].into(), own.local_addr().expect("it is bound").port());
        assert_eq!(owner(elsewhere), None);
        let port = elsewhere.port();
        let everywhere = std::net::TcpListener::bind(("::", 0)).expect("a free port");
        let there = everywhere.local_addr().expect("it is bound").port();
        assert!(owner(SocketAddr::new([127, 0, 0, 2].into(), there)).is_some(), "{port} and {there}");
    }

    #[test]
    fn an_old_engine_must_be_refused_and_a_new_one_accepted() {
        let info = |version: &str| EngineInfo {
            version: version.to_owned(),
            api_version: "1.41".to_owned(),
            id: String::new(),
            name: String::new(),
            storage_driver: "overlay2".to_owned(),
            cgroup_version: "1".to_owned(),
            cpus: 2,
            memory: 4 << 30,
            data_root: "/nonexistent".to_owned(),
            live_restore: false,
            security_options: Vec::new(),
            kernel: String::new(),
        };
        let host = HostName::new("h").expect("a name");
        let bad = |v: &str| engine_facts(&host, &info(v)).iter().any(|f| f.verdict == Verdict::Bad);
        assert!(bad("19.03.15"));
        assert!(!bad("20.10.24+dfsg1"));
        assert!(!bad("28.5.1"));
    }
}
