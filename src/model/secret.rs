//! A value that must not be shown.

use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

/// What a generated secret looks like. Existing values are never checked against it: an operator may set their own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum SecretKind {
    /// 40 letters and digits: nothing that a shell, a URL, an INI file or SQL would read as its own.
    Password,
    /// 32 random bytes in URL-safe base64, as `cryptography.fernet` wants them.
    FernetKey,
    /// 32 random bytes as 64 hex digits.
    Hex32,
    /// 16 random bytes as 32 hex digits.
    Hex16,
    /// 32 random bytes in base64.
    #[serde(rename = "base64-32")]
    Base64x32,
    /// A random (version 4) UUID.
    Uuid,
}

/// Text whose `Debug` and `Display` are redacted and which does not serialize.
///
/// The only way to the text is [`Secret::expose`], so that every use can be found by name.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(Zeroizing<String>);

/// What stands for a secret wherever it would be shown.
pub const MASK: &str = "********";

impl Secret {
    /// Wraps `value`.
    pub fn new(value: impl Into<String>) -> Self {
        Self(Zeroizing::new(value.into()))
    }

    /// Returns the text itself. Never log, print or serialize what this returns.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(MASK)
    }
}

impl fmt::Display for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(MASK)
    }
}
