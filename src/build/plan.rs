//! Which images must be built, and why: from inputs and what the engine holds, nothing else.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use serde::Serialize;

use super::graph::{DEBIAN, Graph};
use super::input::{Base, Inputs, Settings};
use crate::model::labels::{IMAGE, INPUT_HASH, INPUTS, PARENTS};
use crate::model::{ImageId, ImageName, ObservedImage};

/// Digits of a part's hash in a label: enough to tell two apart, few enough for a label.
const SHORT: usize = 12;

/// Why an image is built.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Reason {
    /// There is none.
    Missing,
    /// There is one, but Mastic did not build it.
    Foreign,
    /// These parts of its input differ.
    Changed(Vec<String>),
    /// An image it stands on is built anew, or was since.
    Parent(String),
    /// `--no-cache`.
    Forced,
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Missing => f.write_str("no image yet"),
            Self::Foreign => f.write_str("the image under this name was not built by Mastic"),
            Self::Changed(parts) => write!(f, "changed: {}", parts.join(", ")),
            Self::Parent(name) => write!(f, "stands on {name}, which is new"),
            Self::Forced => f.write_str("--no-cache"),
        }
    }
}

/// What to do about one image.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Decision {
    /// It is what it should be.
    Keep(ImageId),
    /// The very image is there under another name.
    Tag(ImageId),
    /// It must be pulled: the operator's base.
    Pull,
    /// It must be built.
    Build(Vec<Reason>),
}

/// One image of the plan.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Planned {
    /// Folder name, or `debian`.
    pub image: String,
    /// Name and tag.
    pub reference: String,
    /// Hash of its input.
    pub input_hash: String,
    /// What to do.
    pub decision: Decision,
    /// What is there under the reference now.
    pub current: Option<ImageId>,
    /// Images of the plan that must be ready before.
    pub after: Vec<String>,
}

/// The plan: parents first.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct BuildPlan {
    /// One entry an image.
    pub images: Vec<Planned>,
}

/// Decides for `order`, parents first (those that are `forced` are built whatever is there), and for `debian` when one of them starts from it.
pub fn decide(
    graph: &Graph,
    inputs: &Inputs,
    settings: &Settings,
    order: &[ImageName],
    present: &[ObservedImage],
    forced: &BTreeSet<String>,
) -> BuildPlan {
    let mut plan = BuildPlan::default();
    let selected = || order.iter().filter_map(|name| graph.images.get(name));
    if selected().any(|image| image.from_debian) {
        plan.images.push(debian(inputs, settings, present, forced.contains(DEBIAN)));
    }
    for image in selected() {
        let Some(input) = inputs.images.get(&image.name) else { continue };
        let reference = settings.reference(&image.name);
        let current = tagged(present, &reference);
        let mut after: Vec<String> = image.parents.iter().map(ToString::to_string).collect();
        if image.from_debian {
            after.push(DEBIAN.to_owned());
        }
        let known: BTreeMap<&str, &Decision> =
            plan.images.iter().map(|planned| (planned.image.as_str(), &planned.decision)).collect();
        let decision = if forced.contains(image.name.as_str()) {
            Decision::Build(vec![Reason::Forced])
        } else {
            judge(image.name.as_str(), &input.hash, &input.parts, &after, &known, current, present)
        };
        plan.images.push(Planned {
            image: image.name.to_string(),
            reference,
            input_hash: input.hash.clone(),
            decision,
            current: current.map(|image| image.id.clone()),
            after,
        });
    }
    plan
}

fn debian(inputs: &Inputs, settings: &Settings, present: &[ObservedImage], forced: bool) -> Planned {
    let reference = settings.debian_reference(&inputs.suite);
    let current = tagged(present, &reference);
    let decision = match (&inputs.base, current) {
        (Base::Named(_), Some(image)) => Decision::Keep(image.id.clone()),
        (Base::Named(_), None) => Decision::Pull,
        (Base::Made(_), _) if forced => Decision::Build(vec![Reason::Forced]),
        (Base::Made(_), _) => judge(
            DEBIAN,
            &inputs.base_hash,
            &BTreeMap::from([("images/base/base.yaml".to_owned(), inputs.base_hash.clone())]),
            &[],
            &BTreeMap::new(),
            current,
            present,
        ),
    };
    Planned {
        image: DEBIAN.to_owned(),
        reference,
        input_hash: inputs.base_hash.clone(),
        decision,
        current: current.map(|image| image.id.clone()),
        after: Vec::new(),
    }
}

/// Decides for one image whose parents are decided.
fn judge(
    name: &str,
    hash: &str,
    parts: &BTreeMap<String, String>,
    parents: &[String],
    known: &BTreeMap<&str, &Decision>,
    current: Option<&ObservedImage>,
    present: &[ObservedImage],
) -> Decision {
    let mut reasons = Vec::new();
    let mut parent_ids = BTreeMap::new();
    for parent in parents {
        match known.get(parent.as_str()) {
            Some(Decision::Keep(id) | Decision::Tag(id)) => {
                parent_ids.insert(parent.clone(), id.0.clone());
            }
            Some(Decision::Build(_) | Decision::Pull) => reasons.push(Reason::Parent(parent.clone())),
            // Every parent is in the plan: the order was closed over parents.
            None => {}
        }
    }
    let is_it = |image: &&ObservedImage| {
        label(image, IMAGE) == Some(name)
            && label(image, INPUT_HASH) == Some(hash)
            && label_map(image, PARENTS) == parent_ids
    };
    if reasons.is_empty() {
        if let Some(image) = current.filter(is_it) {
            return Decision::Keep(image.id.clone());
        }
        // The youngest, should there be several; but labels are inherited by whatever somebody builds upon an image of ours.
        let ours = |image: &&ObservedImage| is_it(image) && is_named(image, name);
        let upon = |image: &ObservedImage| present.iter().filter(is_it).any(|other| stands_on(image, other));
        let same = present
            .iter()
            .filter(|image| ours(image) && !upon(image))
            .max_by(|a, b| a.created_at.cmp(&b.created_at).then(a.id.cmp(&b.id)));
        if let Some(image) = same {
            return Decision::Tag(image.id.clone());
        }
    }
    let first = match current {
        None => Some(Reason::Missing),
        Some(image) if label(image, IMAGE) != Some(name) => Some(Reason::Foreign),
        Some(image) if label(image, INPUT_HASH) != Some(hash) => Some(Reason::Changed(changes(image, parts))),
        Some(image) if reasons.is_empty() => {
            let recorded = label_map(image, PARENTS);
            let moved = parent_ids.iter().find(|(parent, id)| recorded.get(*parent) != Some(*id));
            Some(Reason::Parent(moved.map_or_else(String::new, |(parent, _)| parent.clone())))
        }
        Some(_) => None,
    };
    reasons.extend(first);
    // "Changed: image base" and "stands on base" are one thing.
    let named: BTreeSet<String> = reasons
        .iter()
        .filter_map(|reason| match reason {
            Reason::Parent(parent) => Some(format!("image {parent}")),
            Reason::Missing | Reason::Foreign | Reason::Changed(_) | Reason::Forced => None,
        })
        .collect();
    for reason in &mut reasons {
        if let Reason::Changed(parts) = reason {
            parts.retain(|part| !named.contains(part));
        }
    }
    reasons.retain(|reason| !matches!(reason, Reason::Changed(parts) if parts.is_empty()));
    Decision::Build(reasons)
}

/// Returns the names of the parts that differ from what an image was built from.
fn changes(image: &ObservedImage, parts: &BTreeMap<String, String>) -> Vec<String> {
    let old = label_map(image, INPUTS);
    let new = short_parts(parts);
    let names: BTreeSet<&String> = old.keys().chain(new.keys()).collect();
    let differing = names.into_iter().filter(|name| old.get(*name) != new.get(*name));
    let mut differing: Vec<String> = differing.cloned().collect();
    if differing.is_empty() {
        differing.push("the builder".to_owned());
    }
    differing
}

/// Returns the parts as the label holds them.
pub(super) fn short_parts(parts: &BTreeMap<String, String>) -> BTreeMap<String, String> {
    let short = |hash: &String| hash.get(..SHORT).unwrap_or(hash).to_owned();
    parts.iter().map(|(name, hash)| (name.clone(), short(hash))).collect()
}

fn tagged<'a>(present: &'a [ObservedImage], reference: &str) -> Option<&'a ObservedImage> {
    present.iter().find(|image| image.tags.iter().any(|tag| same_reference(tag, reference)))
}

/// Returns whether an image has a tag of this name, in whatever namespace, or none at all.
fn is_named(image: &ObservedImage, name: &str) -> bool {
    let last = |tag: &String| {
        let path = tag.rsplit('/').next().unwrap_or(tag);
        path.split([':', '@']).next().is_some_and(|last| last == name)
    };
    image.tags.is_empty() || image.tags.iter().any(last)
}

/// Returns whether an image has all layers of another one, and more.
fn stands_on(image: &ObservedImage, other: &ObservedImage) -> bool {
    !other.layers.is_empty()
        && image.layers.len() > other.layers.len()
        && image.layers.starts_with(&other.layers)
}

/// Compares references as engines do: `debian` is `debian:latest`, and `docker.io/library/debian:latest`.
fn same_reference(a: &str, b: &str) -> bool {
    fn full(reference: &str) -> String {
        let short = reference.strip_prefix("docker.io/").unwrap_or(reference);
        let short = short.strip_prefix("library/").unwrap_or(short);
        let last = short.rsplit('/').next().unwrap_or(short);
        if last.contains(':') || last.contains('@') { short.to_owned() } else { format!("{short}:latest") }
    }
    full(a) == full(b)
}

fn label<'a>(image: &'a ObservedImage, key: &str) -> Option<&'a str> {
    image.labels.get(key).map(String::as_str)
}

/// Reads a label that holds a JSON object of texts; a damaged one is empty, which leads to a build.
fn label_map(image: &ObservedImage, key: &str) -> BTreeMap<String, String> {
    label(image, key).and_then(|text| serde_json::from_str(text).ok()).unwrap_or_default()
}

impl BuildPlan {
    /// Says whether anything is to be done.
    pub fn is_empty(&self) -> bool {
        self.images.iter().all(|planned| matches!(planned.decision, Decision::Keep(_)))
    }
}

impl fmt::Display for BuildPlan {
    /// One line an image, and a last one that sums up.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let width = self.images.iter().map(|planned| planned.image.len()).max().unwrap_or(0);
        let (mut kept, mut built) = (0, 0);
        for Planned { image, reference, decision, .. } in &self.images {
            match decision {
                Decision::Keep(_) => kept += 1,
                Decision::Tag(id) => writeln!(f, " + {image:width$}  tag    {} as {reference}", id.short())?,
                Decision::Pull => writeln!(f, " + {image:width$}  pull   {reference}")?,
                Decision::Build(reasons) => {
                    built += 1;
                    let reasons: Vec<_> = reasons.iter().map(ToString::to_string).collect();
                    writeln!(f, " + {image:width$}  build  {}", reasons.join("; "))?;
                }
            }
        }
        write!(f, "{built} to build, {kept} unchanged")
    }
}

#[cfg(test)]
#[path = "plan_tests.rs"]
mod tests;
