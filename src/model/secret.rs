//! A value that must not be shown.

use std::fmt;

use zeroize::Zeroizing;

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
