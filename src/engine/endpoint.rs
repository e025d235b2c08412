//! Where an engine listens, read from what a profile says. Pure.

use std::fmt;
use std::net::IpAddr;

/// Where, and how to get there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Endpoint {
    /// A socket on this machine.
    Unix {
        /// Absolute path.
        path: String,
    },
    /// TCP with TLS in both directions: the engine proves itself by `ca.pem`, we by `cert.pem` and `key.pem`.
    Tls {
        /// Name or address, as it must stand in the engine's certificate.
        host: String,
        /// Port.
        port: u16,
        /// Directory with `ca.pem`, `cert.pem` and `key.pem`.
        directory: String,
    },
    /// TCP without any protection.
    Plain {
        /// Name or address.
        host: String,
        /// Port.
        port: u16,
    },
}

/// Why an endpoint is not usable.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EndpointError {
    /// No scheme that we know.
    #[error(
        "engine `{0}` must begin with unix:// (a socket on this machine) or tcp:// (another machine, with TLS)"
    )]
    Scheme(String),
    /// `ssh://`.
    #[error(
        "engine `{0}`: ssh:// is not supported yet; use unix:// on the machine itself, or tcp:// with a tls directory"
    )]
    Ssh(String),
    /// Not an absolute path.
    #[error("engine `{0}` must hold an absolute path, as in unix:///var/run/docker.sock")]
    Path(String),
    /// Not `host:port`.
    #[error("engine `{0}` must hold a host and a port, as in tcp://10.0.0.2:2376")]
    HostPort(String),
    /// TCP to another machine without TLS.
    #[error(
        "engine `{0}` has no `tls` directory, and whoever reaches an engine is root there: give `tls` (ca.pem, \
         cert.pem, key.pem), or write tcp+plain:// if you mean it"
    )]
    Unprotected(String),
    /// A TLS directory that would not be used.
    #[error("engine `{0}` has a `tls` directory, which only tcp:// uses")]
    NeedlessTls(String),
}

impl Endpoint {
    /// Reads the words of a profile: `engine`, and `tls`.
    pub fn parse(engine: &str, tls: Option<&str>) -> Result<Self, EndpointError> {
        let whole = || engine.to_owned();
        let (scheme, rest) = engine.split_once("://").ok_or_else(|| EndpointError::Scheme(whole()))?;
        match (scheme, tls) {
            ("unix", None) if rest.starts_with('/') => Ok(Self::Unix { path: rest.to_owned() }),
            ("unix", None) => Err(EndpointError::Path(whole())),
            ("ssh", _) => Err(EndpointError::Ssh(whole())),
            ("tcp", Some(directory)) => {
                let (host, port) = host_port(rest).ok_or_else(|| EndpointError::HostPort(whole()))?;
                Ok(Self::Tls { host, port, directory: directory.to_owned() })
            }
            ("tcp" | "tcp+plain", None) => {
                let (host, port) = host_port(rest).ok_or_else(|| EndpointError::HostPort(whole()))?;
                if scheme == "tcp" && !is_loopback(&host) {
                    return Err(EndpointError::Unprotected(whole()));
                }
                Ok(Self::Plain { host, port })
            }
            ("unix" | "tcp+plain", Some(_)) => Err(EndpointError::NeedlessTls(whole())),
            (_, _) => Err(EndpointError::Scheme(whole())),
        }
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unix { path } => write!(f, "unix://{path}"),
            Self::Tls { host, port, .. } => write!(f, "tcp://{}:{port}", bracketed(host)),
            Self::Plain { host, port } => write!(f, "tcp+plain://{}:{port}", bracketed(host)),
        }
    }
}

/// Returns a host as it stands in a URL.
pub fn bracketed(host: &str) -> String {
    if host.contains(':') { format!("[{host}]") } else { host.to_owned() }
}

fn host_port(rest: &str) -> Option<(String, u16)> {
    let (host, port) = rest.trim_end_matches('/').rsplit_once(':')?;
    let bare = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
    let host = match bare {
        Some(address) => address.parse::<std::net::Ipv6Addr>().ok().map(|a| a.to_string())?,
        None => host.to_owned(),
    };
    let clean = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | ':' | '_');
    (!host.is_empty() && host.chars().all(clean)).then_some(())?;
    (bare.is_some() || !host.contains(':')).then_some(())?;
    Some((host, port.parse().ok().filter(|port| *port != 0)?))
}

fn is_loopback(host: &str) -> bool {
    host == "localhost" || host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_of_endpoint_must_be_told_apart() {
        let parse = |engine, tls| Endpoint::parse(engine, tls);
        let unix = parse("unix:///var/run/docker.sock", None).unwrap();
        assert_eq!(unix, Endpoint::Unix { path: "/var/run/docker.sock".to_owned() });
        assert_eq!(unix.to_string(), "unix:///var/run/docker.sock");
        let tls = parse("tcp://[fd00::2]:2376", Some("certs")).unwrap();
        assert_eq!(tls.to_string(), "tcp://[fd00::2]:2376");
        assert!(matches!(parse("tcp://127.0.0.1:2375", None), Ok(Endpoint::Plain { .. })));
        assert!(matches!(parse("tcp+plain://10.0.0.2:2375", None), Ok(Endpoint::Plain { .. })));
    }

    #[test]
    fn what_cannot_be_used_must_be_refused_with_what_to_write_instead() {
        let error = |engine, tls| Endpoint::parse(engine, tls).unwrap_err();
        assert!(matches!(error("ssh://root@host", None), EndpointError::Ssh(_)));
        assert!(matches!(error("tcp://10.0.0.2:2375", None), EndpointError::Unprotected(_)));
        assert!(matches!(error("unix://relative", None), EndpointError::Path(_)));
        assert!(matches!(error("unix:///a", Some("certs")), EndpointError::NeedlessTls(_)));
        assert!(matches!(error("/var/run/docker.sock", None), EndpointError::Scheme(_)));
        for bad in
            ["tcp://host", "tcp://:1", "tcp://host:0", "tcp://host:99999", "tcp://a/b:1", "tcp://fd00::2:1"]
        {
            assert!(matches!(error(bad, Some("certs")), EndpointError::HostPort(_)), "{bad}");
        }
    }
}
