//! What a client saw of an API while something changed.

use serde::{Deserialize, Serialize};

/// Of one API.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Availability {
    /// Requests that were sent: none of them twice.
    pub requests: u64,
    /// Those that got no answer, or one of a server that could not (5xx).
    pub failed: u64,
    /// From the last good answer before a failure to the next good one, at most.
    pub longest_gap_seconds: f64,
    /// Half of the answers came within.
    pub p50_ms: f64,
    /// 99 of 100 answers came within.
    pub p99_ms: f64,
    /// What the first failure was.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub first_failure: Option<String>,
}
