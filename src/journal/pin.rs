//! What is said of a generation later: that it stays. Pure.

use serde::{Deserialize, Serialize};

use crate::model::Generation;

/// That a generation's images and restore point are kept, however old it is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pin {
    /// Which.
    pub generation: Generation,
    /// False once it was taken back: a file in the ledger is never removed.
    pub pinned: bool,
    /// Why, in the operator's words.
    pub note: String,
    /// `user@host`.
    pub operator: String,
    /// When that was said, RFC 3339.
    pub since: String,
}

impl Pin {
    /// Returns the JSON.
    pub fn json(&self) -> String {
        // Plain structs and strings always serialize.
        serde_json::to_string_pretty(self).unwrap_or_default()
    }

    /// Reads what lies under a path whose name is the generation's number; what is damaged there is a pin without a note.
    pub fn read(path: &str, text: &[u8]) -> Option<Self> {
        let name = path.rsplit('/').next()?.strip_suffix(".json")?;
        let generation = Generation::new(name.parse().ok()?)?;
        let read: Option<Self> = serde_json::from_slice(text).ok();
        Some(read.filter(|pin| pin.generation == generation).unwrap_or_else(|| Self {
            generation,
            pinned: true,
            note: String::new(),
            operator: String::new(),
            since: String::new(),
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pin_must_be_read_as_it_was_written_and_a_damaged_one_must_pin() {
        let pin = Pin {
            generation: Generation::FIRST,
            pinned: false,
            note: "before the move".to_owned(),
            operator: "me@here".to_owned(),
            since: "2026-11-26T01:00:00Z".to_owned(),
        };
        assert_eq!(Pin::read("pins/000001.json", pin.json().as_bytes()), Some(pin.clone()));
        let damaged = Pin::read("pins/000001.json", &pin.json().as_bytes()[..20]).expect("a pin");
        assert!(damaged.pinned && damaged.generation == Generation::FIRST, "{damaged:?}");
        assert!(Pin::read("pins/000002.json", pin.json().as_bytes()).is_some_and(|other| other.pinned));
        assert_eq!(Pin::read("pins/x.json", b""), None);
    }
}
