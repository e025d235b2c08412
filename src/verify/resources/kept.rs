//! What was left on purpose, as a file remembers it: with its user's password, so for this machine's owner alone. Pure.

use std::net::Ipv4Addr;

use serde::{Deserialize, Serialize};

/// Format of the file.
pub const VERSION: u32 = 1;

/// Resources of one user, made by one release and looked at under others.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Kept {
    /// [`VERSION`].
    pub version: u32,
    /// Of the project, the user, and everything in it.
    pub name: String,
    /// The release that served then.
    pub release: String,
    /// RFC 3339.
    pub made_at: String,
    /// The user's.
    pub password: String,
    /// What was made, as far as the cloud has such.
    pub made: Made,
}

/// Ids, and what their content was.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Made {
    /// Glance's id.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub image: Option<String>,
    /// SHA-256 of its bytes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub image_digest: Option<String>,
    /// Neutron's id of the server's port.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub port: Option<String>,
    /// Its address.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fixed: Option<String>,
    /// Nova's id.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub server: Option<String>,
    /// Where it answers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub floating: Option<Ipv4Addr>,
    /// Cinder's id.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub volume: Option<String>,
    /// SHA-256 of what the guest wrote.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub written: Option<String>,
    /// SHA-256 of Swift's object.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub object: Option<String>,
    /// Heat's id.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stack: Option<String>,
    /// Its random output.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stack_output: Option<String>,
}

impl Kept {
    /// Returns the file's text.
    pub fn json(&self) -> String {
        // Plain strings always serialize.
        serde_json::to_string_pretty(self).unwrap_or_default()
    }

    /// Reads it; `None` when it is damaged or of a later format.
    pub fn parse(text: &[u8]) -> Option<Self> {
        let kept: Self = serde_json::from_slice(text).ok()?;
        (kept.version == VERSION).then_some(kept)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_of_another_format_must_not_be_half_understood() {
        let made = Made { floating: Some(Ipv4Addr::new(10, 0, 0, 1)), ..Made::default() };
        let text = |version| {
            let (name, release) = ("mastic-resources-1-2".to_owned(), "2025.1".to_owned());
            Kept {
                version,
                name,
                release,
                made_at: String::new(),
                password: "p".to_owned(),
                made: made.clone(),
            }
            .json()
        };
        assert_eq!(Kept::parse(text(VERSION).as_bytes()).map(|kept| kept.made), Some(made.clone()));
        assert_eq!(Kept::parse(text(2).as_bytes()), None);
        assert_eq!(Kept::parse(b"{"), None);
    }
}
