//! Versions of engines, as far as they are compared.

use std::fmt;

/// Year and month of old: later releases merely count on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Version {
    major: u32,
    minor: u32,
}

/// The first with API 1.41, which brings BuildKit sessions and control groups version 2.
pub(super) const OLDEST: Version = Version { major: 20, minor: 10 };

impl Version {
    /// Reads `20.10.24+dfsg1`, `28.0.0-rc.1`, ...; `None` for a development build that only has a name.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let mut parts = text.trim().trim_start_matches('v').split(['.', '-', '+', '~']);
        Some(Self { major: parts.next()?.parse().ok()?, minor: parts.next()?.parse().ok()? })
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.major, self.minor)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_must_be_compared_as_numbers() {
        let new_enough = |text| Version::parse(text).map(|version| version >= OLDEST);
        for text in ["20.10.24+dfsg1", "20.10", "23.0.1", "28.2.2", "v27.0.0-rc.1", " 29.1\n"] {
            assert_eq!(new_enough(text), Some(true), "{text}");
        }
        for text in ["20.9.9", "19.03.15", "1.13.1", "4.9.3", "9.99"] {
            assert_eq!(new_enough(text), Some(false), "{text}");
        }
        for text in ["", "dev", "master-2024", "20", "a.b"] {
            assert_eq!(new_enough(text), None, "{text}");
        }
    }
}
