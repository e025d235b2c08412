//! What `mastic status` says of an upgrade that is open: what serves, what is held, what commit will end. Pure.

use std::collections::BTreeSet;

use jiff::Timestamp;
use serde_json::{Value as Json, json};

use super::view::{age, to_the_second};
use crate::model::{Held, ImageId, ReleaseName};

/// An upgrade that is neither committed nor taken back.
#[derive(Clone, Debug)]
pub struct Open {
    /// What it keeps.
    pub held: Held,
    /// The restore point of before its first change, where one was made.
    pub point: Option<String>,
    /// The tasks that `commit` runs; none where they cannot be told from here.
    pub due: Option<Vec<String>>,
    /// How many containers are kept, tasks included.
    pub containers: usize,
    /// Images that nothing but these needs.
    pub images: BTreeSet<ImageId>,
}

impl Open {
    /// Returns what `--json` promises of it, beside what is held.
    pub fn json(&self, now: Timestamp) -> Json {
        json!({
            "held_seconds": self.seconds(now), "restore_point": self.point,
            "tasks": self.due, "containers": self.containers, "images": self.images,
        })
    }

    fn seconds(&self, now: Timestamp) -> Option<i64> {
        Some(now.as_second() - self.held.since.parse::<Timestamp>().ok()?.as_second())
    }

    /// Returns the lines about it.
    pub fn text(&self, serves: &ReleaseName, now: Timestamp) -> String {
        let Held { release, since, generation, to, partial } = &self.held;
        let since = to_the_second(since);
        let old = self.seconds(now).map(|seconds| format!(" ({})", age(seconds))).unwrap_or_default();
        let point = match &self.point {
            Some(point) => format!("restore point of before: {point}"),
            None => "no restore point of before was made".to_owned(),
        };
        if *partial {
            let to = to.as_ref().unwrap_or(serves);
            let way = if release == to { format!("within {to}") } else { format!("from {release} to {to}") };
            return format!(
                "an upgrade {way} is open since {since}{old} and has reached a part of the cloud: `mastic resume` goes \
                 on, `mastic abort` takes it back; {point}"
            );
        }
        let kept = if release == serves { format!("what served of {release}") } else { release.to_string() };
        let mut lines = vec![format!(
            "an upgrade is open: {serves} serves; {kept} (generation {generation}) is kept since {since}{old}, until `mastic commit`; \
             `mastic rollback` returns to it and loses nothing"
        )];
        let images = match self.images.len() {
            0 => String::new(),
            1 => ", and an image that only they need (`mastic gc`)".to_owned(),
            more => format!(", and {more} images that only they need (`mastic gc`)"),
        };
        let go = if self.containers == 1 { "container goes" } else { "containers go" };
        let end = format!("{} kept {go}{images}", self.containers);
        lines.push(match self.due.as_deref() {
            Some([]) => format!("commit runs no task; {end}"),
            Some(tasks) => format!("commit runs {}; then {end}", tasks.join(", ")),
            None => format!("commit: {end}"),
        });
        lines.push(format!("{point}; after the commit it is the only way back"));
        if self.point.is_none() {
            lines.pop();
            lines.push(format!("{point}: after the commit there is no way back"));
        }
        lines.join("\n")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Generation;

    #[test]
    fn an_open_upgrade_must_say_what_serves_what_is_kept_and_what_commit_ends() {
        let mut open = Open {
            held: Held {
                generation: Generation::FIRST,
                release: "2025.1".parse().unwrap(),
                since: "2026-11-26T01:00:00Z".to_owned(),
                to: Some("2026.1".parse().unwrap()),
                partial: false,
            },
            point: Some("generation-1".to_owned()),
            due: Some(vec!["keystone-contract".to_owned(), "nova-online".to_owned()]),
            containers: 7,
            images: [ImageId("sha256:a".to_owned())].into(),
        };
        let (serves, now) = ("2026.1".parse().unwrap(), "2026-11-26T03:02:03Z".parse().unwrap());
        insta::assert_snapshot!(open.text(&serves, now), @r"
        an upgrade is open: 2026.1 serves; 2025.1 (generation 1) is kept since 2026-11-26T01:00:00Z (2h 2m), until `mastic commit`; `mastic rollback` returns to it and loses nothing
        commit runs keystone-contract, nova-online; then 7 kept containers go, and an image that only they need (`mastic gc`)
        restore point of before: generation-1; after the commit it is the only way back
        ");
        assert_eq!(open.json(now)["held_seconds"], 7323);
        open.point = None;
        open.due = Some(Vec::new());
        assert!(open.text(&serves, now).contains("runs no task"));
        assert!(open.text(&serves, now).contains("there is no way back"));
        open.held.partial = true;
        assert!(open.text(&serves, now).contains("mastic abort"));
    }
}
