//! What a cloud's users have made since a moment.

use std::path::Path;

use serde_json::Value;

use super::http::CloudResult;
use super::observe::text;
use super::sdk::Api;
use super::session::{Login, Session};

/// What things with a time of birth are called, the catalogue's types, path, key, field of the time.
type List = (&'static str, &'static [&'static str], Api, &'static str, &'static str, &'static str);

const LISTS: [List; 4] = [
    ("servers", &["compute"], Api::Compute, "servers/detail?all_tenants=1", "servers", "created"),
    (
        "volumes",
        &["block-storage", "volumev3"],
        Api::Volume,
        "volumes/detail?all_tenants=1",
        "volumes",
        "created_at",
    ),
    ("images", &["image"], Api::Image, "images", "images", "created_at"),
    ("networks", &["network"], Api::Network, "networks", "networks", "created_at"),
];

/// Returns the names of what was made since (RFC 3339, UTC), by kind, of the services that a catalogue has by these types. Without
/// what is in no such list: users, roles, flavors and the like.
///
/// # Errors
/// The cloud does not answer.
pub async fn made_since(
    state: &Path,
    login: &Login,
    types: &[&str],
    since: &str,
) -> CloudResult<Vec<(&'static str, Vec<String>)>> {
    let session = Session::open(state, login).await?;
    let mut found = Vec::new();
    for (what, kinds, api, path, key, field) in LISTS {
        if kinds.iter().any(|kind| types.contains(kind)) {
            let all = session.list(api, path, key).await?;
            found.push((what, younger(&all, field, since)));
        }
    }
    Ok(found)
}

/// The names of what is younger. Services write times in UTC, with or without a fraction and a `Z`: the seconds are compared.
fn younger(all: &[Value], field: &str, since: &str) -> Vec<String> {
    let second = |time: &str| time.get(..19).map(str::to_owned);
    let since = second(since);
    let of = |one: &&Value| second(&text(one, field)).is_some_and(|born| Some(born) > since);
    all.iter().filter(of).map(|one| text(one, "name")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_younger_must_be_named_however_times_are_written() {
        let all: Vec<Value> =
            ["2026-11-26T01:00:00Z", "2026-11-26T01:00:01.000000", "2026-11-26T01:00:02Z", ""]
                .iter()
                .enumerate()
                .map(|(number, born)| serde_json::json!({"name": format!("s{number}"), "created": born}))
                .collect();
        assert_eq!(younger(&all, "created", "2026-11-26T01:00:00Z"), ["s1", "s2"]);
        assert!(younger(&[Value::Null], "created", "2026-11-26T01:00:00Z").is_empty());
    }
}
