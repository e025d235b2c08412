//! Health checks, in the words of `mastic-init check`.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// How a container proves that it serves.
///
/// The targets are those of `mastic-init check` (`images/init/README.md`): `http://HOST:PORT/path`, `https://...`,
/// `tcp:HOST:PORT`, `unix:/path`, `amqp:HOST:PORT`, `mysql:HOST:PORT`, `mysql:unix:/path`, `process:NAME`,
/// `file:/path`, `fresh:SECONDS:/path`, `connected:HOST:PORT,...`. All must pass. The check runs inside the container, as its user.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct CheckSpec {
    /// What must answer; all of them.
    pub targets: Vec<String>,
    /// Accepted HTTP statuses, e.g. `200,300-399`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status: Option<String>,
    /// A CA bundle inside the container to verify `https` with.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ca: Option<String>,
    /// The name sent as SNI and `Host` and verified against the certificate.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub host: Option<String>,
    /// Seconds from start until it must pass; after that the container has failed.
    #[serde(default = "default_deadline")]
    pub deadline: u32,
    /// Seconds between the engine's own later checks.
    #[serde(default = "default_interval")]
    pub interval: u32,
    /// Seconds one check may take.
    #[serde(default = "default_timeout")]
    pub timeout: u32,
}

fn default_deadline() -> u32 {
    60
}

fn default_interval() -> u32 {
    30
}

fn default_timeout() -> u32 {
    5
}

impl CheckSpec {
    /// Returns the check that a file is there, at the latest after `deadline` seconds.
    pub fn file(path: &str, deadline: u32) -> Self {
        Self {
            targets: vec![format!("file:{path}")],
            status: None,
            ca: None,
            host: None,
            deadline,
            interval: default_interval(),
            timeout: default_timeout(),
        }
    }

    /// Returns the argument vector of one check, which waits up to `wait` seconds for success.
    pub fn argv(&self, wait: Option<u32>) -> Vec<String> {
        let mut argv = vec![super::spec::INIT_PATH.to_owned(), "check".to_owned()];
        let mut option = |name: &str, value: String| {
            argv.push(name.to_owned());
            argv.push(value);
        };
        if let Some(wait) = wait {
            option("--wait", wait.to_string());
        }
        option("--timeout", self.timeout.to_string());
        if let Some(status) = &self.status {
            option("--status", status.clone());
        }
        if let Some(ca) = &self.ca {
            option("--ca", ca.clone());
        }
        if let Some(host) = &self.host {
            option("--host", host.clone());
        }
        argv.extend(self.targets.iter().cloned());
        argv
    }
}
