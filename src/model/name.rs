//! Checked names. A name that exists is valid; mixing two kinds does not compile.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// Why a string is not a name.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{kind} `{value}` {reason}")]
pub struct NameError {
    /// What was being named, e.g. `container name`.
    pub kind: &'static str,
    /// The offending text.
    pub value: String,
    /// What is wrong with it, as the end of a sentence.
    pub reason: String,
}

/// Characters allowed besides lower-case letters and digits.
fn check(kind: &'static str, value: &str, extra: &str, max: usize) -> Result<(), NameError> {
    let bad = |reason: String| NameError { kind, value: value.to_owned(), reason };
    let Some(first) = value.chars().next() else {
        return Err(bad("is empty".to_owned()));
    };
    if !first.is_ascii_lowercase() && !first.is_ascii_digit() {
        return Err(bad("must begin with a lower-case letter or a digit".to_owned()));
    }
    if value.len() > max {
        return Err(bad(format!("is longer than {max} characters")));
    }
    match value.chars().find(|c| !c.is_ascii_lowercase() && !c.is_ascii_digit() && !extra.contains(*c)) {
        Some(c) => Err(bad(format!(
            "has {c:?}; only lower-case letters, digits and {} are allowed",
            extra.chars().map(|c| format!("`{c}`")).collect::<Vec<_>>().join(", ")
        ))),
        None => Ok(()),
    }
}

macro_rules! names {
    ($($(#[$doc:meta])* $name:ident, $kind:literal, $extra:literal, $max:literal;)*) => {$(
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $name(String);

        impl $name {
            /// Checks and wraps `value`.
            pub fn new(value: impl Into<String>) -> Result<Self, NameError> {
                let value = value.into();
                check($kind, &value, $extra, $max)?;
                Ok(Self(value))
            }

            /// Returns the name as text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl TryFrom<String> for $name {
            type Error = NameError;
            fn try_from(value: String) -> Result<Self, NameError> {
                Self::new(value)
            }
        }

        impl FromStr for $name {
            type Err = NameError;
            fn from_str(value: &str) -> Result<Self, NameError> {
                Self::new(value)
            }
        }

        impl From<$name> for String {
            fn from(name: $name) -> String {
                name.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(&self.0)
            }
        }

        impl AsRef<str> for $name {
            fn as_ref(&self) -> &str {
                &self.0
            }
        }

        impl schemars::JsonSchema for $name {
            fn schema_name() -> std::borrow::Cow<'static, str> {
                stringify!($name).into()
            }
            fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
                schemars::json_schema!({ "type": "string", "pattern": concat!("^[a-z0-9][a-z0-9", $extra, "]*$"), "maxLength": $max, "x-format": $kind })
            }
        }
    )*

        /// Checks `value` as the kind of name that a schema calls by `x-format`; `None` where it is no kind of name.
        pub fn check_kind(kind: &str, value: &str) -> Option<Result<(), NameError>> {
            match kind {
                $($kind => Some(check($kind, value, $extra, $max)),)*
                _ => None,
            }
        }
    };
}

// In `extra`, `-` stands last so that the same text serves as the end of a regular expression class.
names! {
    /// The deployment: prefix of every container and volume name, and a label on each.
    DeploymentName, "deployment name", "-", 32;
    /// A Docker Engine endpoint as the profile calls it.
    HostName, "host name", ".-", 63;
    /// A container set: database, messaging, ha, api, control, compute, network, storage, ...
    SetName, "set name", "-", 32;
    /// A service: one folder under `templates/`.
    ServiceName, "service name", "_-", 48;
    /// A container (or one-shot task) of a service, unique in a deployment.
    ContainerName, "container name", "_-", 63;
    /// An image: one folder under `images/`.
    ImageName, "image name", "_-", 63;
    /// A volume, without the deployment's prefix.
    VolumeName, "volume name", "_.-", 63;
    /// A secret's key in the secrets file.
    SecretName, "secret name", "_-", 63;
    /// An OpenStack series, e.g. `2026.1`.
    ReleaseName, "release name", ".-", 32;
    /// One execution of one plan.
    RunId, "run id", "-", 64;
}

/// When a one-shot task runs.
///
/// `Validate`, `Bootstrap` and `Expand` run on deploy; the others belong to upgrades.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, schemars::JsonSchema,
)]
#[serde(rename_all = "kebab-case")]
pub enum TaskPhase {
    /// Reads the config that is about to be used, in the image that is about to use it: before anything is stopped or started.
    Validate,
    /// Once per deployment: initialise a data directory, create accounts, make keys.
    Bootstrap,
    /// Read-only check in the new image before anything changes (`*-status upgrade check`).
    Check,
    /// Additive schema change, safe while the old release serves.
    Expand,
    /// After commit: the old release cannot run any more.
    Contract,
    /// After commit, in batches, until nothing is left.
    OnlineMigrations,
    /// Copies the data, before an upgrade changes it or when asked. What it is called is added to the command.
    Backup,
    /// Tries whether such a copy can be restored, without touching the data.
    Rehearse,
    /// Makes such a copy the data, while nothing runs.
    Restore,
    /// Copies the data while it is used into a volume that only rehearsals of upgrades have.
    Copy,
    /// Serves such a copy to the tasks that are rehearsed on it, alone with them. One more word of its command says what it does: `serve`;
    /// or `schema`, while it serves: what there is (`schema::read`).
    StandIn,
    /// On the way back before a commit, in the older image: what the older release must find changed in the data when it starts. The
    /// newer one still serves.
    Return,
    /// On the way back, in the older image, once nothing of the newer one runs: what that has written until then.
    Settle,
}

impl TaskPhase {
    /// Returns the word used in labels, plans and service.yaml.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Validate => "validate",
            Self::Bootstrap => "bootstrap",
            Self::Check => "check",
            Self::Expand => "expand",
            Self::Contract => "contract",
            Self::OnlineMigrations => "online-migrations",
            Self::Backup => "backup",
            Self::Rehearse => "rehearse",
            Self::Restore => "restore",
            Self::Copy => "copy",
            Self::StandIn => "stand-in",
            Self::Return => "return",
            Self::Settle => "settle",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_outside_its_alphabet_must_be_refused_with_the_character() {
        let error = ContainerName::new("Keystone").unwrap_err();
        assert_eq!(
            error.to_string(),
            "container name `Keystone` must begin with a lower-case letter or a digit"
        );
        let error = SetName::new("a_b").unwrap_err();
        assert_eq!(
            error.to_string(),
            "set name `a_b` has '_'; only lower-case letters, digits and `-` are allowed"
        );
        assert!(ContainerName::new("").is_err());
        assert!(DeploymentName::new("x".repeat(33)).is_err());
        assert_eq!(ReleaseName::new("2026.1").unwrap().as_str(), "2026.1");
    }
}
