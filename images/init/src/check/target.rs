//! What a check asks for: text in, [`Target`] out.

use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use core::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

#[derive(Debug, PartialEq, Eq)]
pub enum Target {
    Http {
        tls: bool,
        address: HostPort,
        path: String,
    },
    Tcp(HostPort),
    Unix(String),
    Amqp(HostPort),
    Mysql(Endpoint),
    Process(String),
    File(String),
    Fresh(u32, String),
    /// One of these.
    Connected(Vec<HostPort>),
}

#[derive(Debug, PartialEq, Eq)]
pub enum Endpoint {
    Tcp(HostPort),
    Unix(String),
}

/// A host as it was written (without brackets), for headers and certificates, and its port.
#[derive(Debug, PartialEq, Eq)]
pub struct HostPort {
    pub host: String,
    pub port: u16,
}

/// Accepted HTTP status codes: inclusive ranges.
#[derive(Debug, PartialEq, Eq)]
pub struct Statuses(Vec<(u16, u16)>);

impl Statuses {
    /// Reads `200,300-399`.
    pub fn parse(text: &str) -> Option<Self> {
        let range = |part: &str| {
            let (from, to) = part.split_once('-').unwrap_or((part, part));
            let (from, to) = (from.parse().ok()?, to.parse().ok()?);
            (100 <= from && from <= to && to <= 999).then_some((from, to))
        };
        text.split(',').map(range).collect::<Option<_>>().map(Self)
    }

    pub fn contains(&self, status: u16) -> bool {
        self.0.iter().any(|(from, to)| (*from..=*to).contains(&status))
    }
}

impl Default for Statuses {
    fn default() -> Self {
        Self([(200, 399)].into())
    }
}

impl Target {
    pub fn parse(text: &str) -> Result<Self, String> {
        let (kind, rest) = text.split_once(':').ok_or_else(|| unknown(text))?;
        let wrong = || format!("{text}: want {}", form(kind));
        let target = match kind {
            "http" | "https" => {
                let tls = kind == "https";
                let rest = rest.strip_prefix("//").ok_or_else(wrong)?;
                let split = rest.find(['/', '?']).unwrap_or(rest.len());
                let (authority, path) = rest.split_at_checked(split).ok_or_else(wrong)?;
                let port = if tls { 443 } else { 80 };
                let address = HostPort::parse(authority, Some(port)).ok_or_else(wrong)?;
                // A URL with a line break would be a second request.
                if path.bytes().any(|byte| byte <= b' ' || byte == 0x7f) {
                    return Err(wrong());
                }
                let slash = if path.starts_with('/') { "" } else { "/" };
                Self::Http { tls, address, path: format!("{slash}{path}") }
            }
            "tcp" => Self::Tcp(HostPort::parse(rest, None).ok_or_else(wrong)?),
            "connected" => {
                let peers = rest.split(',').map(|peer| HostPort::parse(peer, None)).collect::<Option<_>>();
                Self::Connected(peers.ok_or_else(wrong)?)
            }
            "fresh" => {
                let (seconds, path) = rest.split_once(':').ok_or_else(wrong)?;
                let seconds = seconds.parse().ok().filter(|seconds| *seconds > 0).ok_or_else(wrong)?;
                if !path.starts_with('/') {
                    return Err(wrong());
                }
                Self::Fresh(seconds, path.into())
            }
            "amqp" => Self::Amqp(HostPort::parse(rest, Some(5672)).ok_or_else(wrong)?),
            "mysql" => Self::Mysql(match rest.strip_prefix("unix:") {
                Some(path) if path.starts_with('/') => Endpoint::Unix(path.into()),
                Some(_) => return Err(wrong()),
                None => Endpoint::Tcp(HostPort::parse(rest, Some(3306)).ok_or_else(wrong)?),
            }),
            "unix" if rest.starts_with('/') => Self::Unix(rest.into()),
            "file" if rest.starts_with('/') => Self::File(rest.into()),
            "process" if !rest.is_empty() && !rest.contains('/') => Self::Process(rest.into()),
            "unix" | "file" | "process" => return Err(wrong()),
            _ => return Err(unknown(text)),
        };
        Ok(target)
    }
}

fn unknown(text: &str) -> String {
    format!("{text}: unknown kind of target; see check --help")
}

fn form(kind: &str) -> &'static str {
    match kind {
        "http" => "http://HOST[:PORT]/path",
        "https" => "https://HOST[:PORT]/path",
        "tcp" => "tcp:HOST:PORT",
        "amqp" => "amqp:HOST[:PORT]",
        "mysql" => "mysql:HOST[:PORT] or mysql:unix:/path",
        "unix" => "unix:/path",
        "file" => "file:/path",
        "fresh" => "fresh:SECONDS:/path",
        "connected" => "connected:HOST:PORT[,HOST:PORT...]",
        _ => "process:NAME",
    }
}

impl HostPort {
    /// `HOST:PORT`, `[IPV6]:PORT`, `localhost:PORT`; the port may be left out if it has a default.
    fn parse(text: &str, default: Option<u16>) -> Option<Self> {
        let (host, port) = if let Some(rest) = text.strip_prefix('[') {
            let (host, rest) = rest.split_once(']')?;
            host.parse::<Ipv6Addr>().ok()?;
            (host, if rest.is_empty() { None } else { Some(rest.strip_prefix(':')?) })
        } else {
            match text.rsplit_once(':') {
                Some((host, port)) => (host, Some(port)),
                None => (text, None),
            }
        };
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._:".contains(&byte);
        if host.is_empty() || !host.bytes().all(plain) {
            return None;
        }
        if host.contains(':') && !text.starts_with('[') {
            return None;
        }
        let port = match port {
            Some(port) => port.parse().ok().filter(|port| *port != 0)?,
            None => default?,
        };
        Some(Self { host: host.into(), port })
    }

    /// Addresses to try, in order: literals, `localhost`, and names in the hosts file.
    pub fn addresses(&self, hosts: impl FnOnce() -> Vec<u8>) -> Vec<SocketAddr> {
        let ips = if let Ok(ip) = self.host.parse::<IpAddr>() {
            [ip].into()
        } else if self.host.eq_ignore_ascii_case("localhost") {
            [Ipv4Addr::LOCALHOST.into(), Ipv6Addr::LOCALHOST.into()].into()
        } else {
            in_hosts_file(&self.host, &hosts())
        };
        ips.into_iter().map(|ip| SocketAddr::new(ip, self.port)).collect()
    }

    /// As it belongs in a URL or a Host header.
    pub fn authority(&self, default_port: u16) -> String {
        let (open, close) = if self.host.contains(':') { ("[", "]") } else { ("", "") };
        let host = &self.host;
        if self.port == default_port {
            format!("{open}{host}{close}")
        } else {
            format!("{open}{host}{close}:{}", self.port)
        }
    }
}

fn in_hosts_file(name: &str, hosts: &[u8]) -> Vec<IpAddr> {
    let lines = hosts.split(|byte| *byte == b'\n').filter_map(|line| core::str::from_utf8(line).ok());
    lines
        .filter_map(|line| {
            let mut words = line.split('#').next()?.split_ascii_whitespace();
            let ip = words.next()?.parse().ok()?;
            words.any(|word| word.eq_ignore_ascii_case(name)).then_some(ip)
        })
        .collect()
}

#[cfg(test)]
#[path = "target_tests.rs"]
mod tests;
