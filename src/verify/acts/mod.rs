//! How each step is done: requests as the run's own user, and a look at the answers.

pub(super) mod browser;
pub(super) mod compute;
pub(super) mod dashboard;
pub(super) mod identity;
pub(super) mod image;
pub(super) mod network;
pub(super) mod object;
pub(super) mod stack;
pub(super) mod volume;

use serde_json::Value;

use super::walk::Failure;
use crate::cloud::text;

/// Returns the id of what an answer wraps under `key`.
pub(super) fn id_of(answer: &Value, key: &str) -> Result<String, Failure> {
    let id = answer.get(key).map(|item| text(item, "id")).unwrap_or_default();
    if id.is_empty() {
        Err(Failure(format!("the answer has no id of a {key}: {}", short(answer))))
    } else {
        Ok(id)
    }
}

/// An answer, short enough to be read.
fn short(answer: &Value) -> String {
    answer.to_string().chars().take(400).collect()
}
