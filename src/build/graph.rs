//! The images of a library, who stands on whom, and in which order they can be built.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use serde::Deserialize;

use super::dockerfile::{self, Dockerfile};
use crate::model::ImageName;
use crate::model::words::nearest;
use crate::profile::Library;

/// The name under which Dockerfiles start from the distribution: made from `images/base/base.yaml`, or the operator's own.
pub const DEBIAN: &str = "debian";

/// `image.yaml`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ImageDocument {
    /// One line.
    #[serde(default)]
    pub summary: String,
    /// Whether its content follows the OpenStack release. Checked against what the Dockerfile uses.
    pub release_scoped: Option<bool>,
    /// Who its containers run as.
    pub user: Option<ImageUser>,
}

/// An account of `images/base/users`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ImageUser {
    /// Name.
    pub name: String,
    /// Number.
    pub uid: u32,
    /// Number of its group.
    pub gid: u32,
}

/// One image folder.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Image {
    /// Folder name.
    pub name: ImageName,
    /// `image.yaml`.
    pub document: ImageDocument,
    /// The Dockerfile as written.
    pub text: String,
    /// The Dockerfile as read.
    pub file: Dockerfile,
    /// Images it takes from: folder names.
    pub parents: BTreeSet<ImageName>,
    /// Whether it starts from [`DEBIAN`].
    pub from_debian: bool,
    /// Images from elsewhere that it takes from.
    pub external: BTreeSet<String>,
}

/// All images.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Graph {
    /// By name.
    pub images: BTreeMap<ImageName, Image>,
    /// Parents before children; else by name.
    pub order: Vec<ImageName>,
}

/// One mistake in an image folder.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// The file, as people know it.
    pub file: String,
    /// Line, from 1.
    pub line: usize,
    /// What is wrong.
    pub message: String,
    /// What to do.
    pub help: Option<String>,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { file, line, message, help } = self;
        write!(f, "{file}:{line}: {message}")?;
        help.as_ref().map_or(Ok(()), |help| write!(f, " ({help})"))
    }
}

/// All mistakes of the image folders.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}", .0.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"))]
pub struct GraphError(pub Vec<Problem>);

/// Reads all image folders of a library. `given` are the values that build arguments will have.
pub fn read(library: &Library, given: &[(&str, &str)]) -> Result<Graph, GraphError> {
    let mut problems = Vec::new();
    let known: BTreeSet<&str> = library.images().collect();
    let mut images = BTreeMap::new();
    for name in &known {
        if let Some(image) = read_image(library, name, &known, given, &mut problems) {
            images.insert(image.name.clone(), image);
        }
    }
    let order = order(&images).unwrap_or_else(|cycle| {
        problems.push(cycle_problem(library, &images, &cycle));
        Vec::new()
    });
    if problems.is_empty() { Ok(Graph { images, order }) } else { Err(GraphError(problems)) }
}

fn read_image(
    library: &Library,
    name: &str,
    known: &BTreeSet<&str>,
    given: &[(&str, &str)],
    problems: &mut Vec<Problem>,
) -> Option<Image> {
    let path = format!("images/{name}/Dockerfile");
    let entry = library.get(&path)?;
    let before = problems.len();
    let mut problem = |file: &str, line: usize, message: String, help: Option<String>| {
        problems.push(Problem { file: file.to_owned(), line, message, help });
    };
    let checked = match ImageName::new(name) {
        Ok(name) => Some(name),
        Err(error) => {
            problem(&entry.origin, 1, error.to_string(), Some("rename the folder".to_owned()));
            None
        }
    };
    let text = match std::str::from_utf8(&entry.bytes) {
        Ok(text) => text,
        Err(error) => {
            let lines = entry.bytes[..error.valid_up_to()].split(|byte| *byte == b'\n').count();
            problem(&entry.origin, lines, "is not UTF-8".to_owned(), None);
            return None;
        }
    };
    let file = dockerfile::parse(text, given);
    if !file.has_stage {
        problem(&entry.origin, 1, "has no FROM".to_owned(), None);
    }
    let mut image = Image {
        name: checked?,
        document: read_document(library, name, &mut problem),
        text: text.to_owned(),
        file,
        parents: BTreeSet::new(),
        from_debian: false,
        external: BTreeSet::new(),
    };
    for reference in &image.file.references {
        let target = reference.name.as_str();
        if target == DEBIAN && !known.contains(target) {
            image.from_debian = true;
        } else if known.contains(target) {
            // A name that no folder could have was reported at its own folder.
            image.parents.extend(ImageName::new(target));
        } else if target.contains(['/', ':', '@']) {
            image.external.insert(target.to_owned());
        } else {
            let near = nearest(target, known.iter().copied().chain([DEBIAN]));
            problem(
                &entry.origin,
                reference.line,
                format!("image `{target}` is neither a folder of images/ nor a stage above"),
                near.map(|near| format!("did you mean `{near}`?")),
            );
        }
    }
    (problems.len() == before).then_some(image)
}

fn read_document(
    library: &Library,
    name: &str,
    problem: &mut impl FnMut(&str, usize, String, Option<String>),
) -> ImageDocument {
    let Some(entry) = library.get(&format!("images/{name}/image.yaml")) else {
        return ImageDocument::default();
    };
    serde_yaml::from_slice(&entry.bytes).unwrap_or_else(|error| {
        let line = error.location().map_or(1, |location| location.line());
        problem(&entry.origin, line, error.to_string(), None);
        ImageDocument::default()
    })
}

/// Sorts parents before children; else returns a cycle.
fn order(images: &BTreeMap<ImageName, Image>) -> Result<Vec<ImageName>, Vec<ImageName>> {
    let mut done = BTreeSet::new();
    let mut order = Vec::new();
    while order.len() < images.len() {
        let ready: Vec<_> = images
            .values()
            .filter(|image| !done.contains(&image.name))
            .filter(|image| {
                image.parents.iter().all(|parent| done.contains(parent) || !images.contains_key(parent))
            })
            .map(|image| image.name.clone())
            .collect();
        if ready.is_empty() {
            return Err(cycle(images, &done));
        }
        done.extend(ready.iter().cloned());
        order.extend(ready);
    }
    Ok(order)
}

/// Walks from parent to parent among what could not be sorted, until a name comes again.
fn cycle(images: &BTreeMap<ImageName, Image>, done: &BTreeSet<ImageName>) -> Vec<ImageName> {
    let mut path: Vec<ImageName> = Vec::new();
    let mut next = images.keys().find(|name| !done.contains(*name));
    while let Some(name) = next {
        if let Some(start) = path.iter().position(|seen| seen == name) {
            return path.split_off(start);
        }
        path.push(name.clone());
        next = images.get(name).and_then(|image| {
            image.parents.iter().find(|parent| !done.contains(*parent) && images.contains_key(*parent))
        });
    }
    path
}

fn cycle_problem(library: &Library, images: &BTreeMap<ImageName, Image>, cycle: &[ImageName]) -> Problem {
    let mut names: Vec<&str> = cycle.iter().map(ImageName::as_str).collect();
    let first = names.first().copied().unwrap_or_default();
    let second = names.get(1).copied().unwrap_or(first).to_owned();
    let line = ImageName::new(first)
        .ok()
        .and_then(|name| images.get(&name))
        .and_then(|image| image.file.references.iter().find(|reference| reference.name == second))
        .map_or(1, |reference| reference.line);
    let path = format!("images/{first}/Dockerfile");
    let file = library.get(&path).map_or(path, |entry| entry.origin.clone());
    names.push(first);
    Problem {
        file,
        line,
        message: format!("images stand on each other in a circle: {}", names.join(" -> ")),
        help: None,
    }
}

impl Graph {
    /// Returns the given images and all they stand on, parents first.
    pub fn closure(&self, wanted: &BTreeSet<ImageName>) -> Vec<ImageName> {
        let mut needed = wanted.clone();
        // Children come after their parents in `order`, so one walk from its end finds everything.
        for name in self.order.iter().rev() {
            if needed.contains(name)
                && let Some(image) = self.images.get(name)
            {
                needed.extend(image.parents.iter().cloned());
            }
        }
        self.order.iter().filter(|name| needed.contains(*name)).cloned().collect()
    }

    /// Returns the images nothing else stands on but which are not there, with the nearest name.
    pub fn unknown<'a>(&'a self, wanted: &'a BTreeSet<ImageName>) -> Vec<(&'a ImageName, Option<&'a str>)> {
        wanted
            .iter()
            .filter(|name| !self.images.contains_key(*name))
            .map(|name| (name, nearest(name.as_str(), self.images.keys().map(ImageName::as_str))))
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn library(files: &[(&str, &str)]) -> Library {
        let mut library = Library::default();
        for (path, text) in files {
            library.insert(format!("images/{path}"), *text, format!("images/{path}"));
        }
        library
    }

    fn names(names: &[ImageName]) -> Vec<&str> {
        names.iter().map(ImageName::as_str).collect()
    }

    #[test]
    fn parents_must_come_before_children_and_a_selection_must_bring_its_parents() {
        let library = library(&[
            ("base/Dockerfile", "FROM debian\n"),
            ("a-service/Dockerfile", "FROM tools AS build\nFROM base\nCOPY --from=build /a /b\n"),
            ("tools/Dockerfile", "FROM base\n"),
            ("other/Dockerfile", "FROM base\n"),
            ("notes/README.md", "no image"),
        ]);
        let graph = read(&library, &[]).unwrap();
        assert_eq!(names(&graph.order), ["base", "other", "tools", "a-service"]);
        let wanted = BTreeSet::from([ImageName::new("a-service").unwrap()]);
        assert_eq!(names(&graph.closure(&wanted)), ["base", "tools", "a-service"]);
        assert!(graph.images[&ImageName::new("base").unwrap()].from_debian);
    }

    #[test]
    fn every_mistake_must_be_reported_with_its_file_and_line() {
        let library = library(&[
            ("base/Dockerfile", "FROM debian\n"),
            ("keystone/Dockerfile", "# x\nFROM bsae\nCOPY --from=nowhere /a /b\n"),
            ("keystone/image.yaml", "summary: x\nuser: {nme: x}\n"),
            ("glance/Dockerfile", "RUN true\n"),
        ]);
        let problems = read(&library, &[]).unwrap_err().to_string();
        let lines: Vec<_> = problems.lines().collect();
        assert_eq!(lines[0], "images/glance/Dockerfile:1: has no FROM");
        assert!(lines[1].starts_with("images/keystone/image.yaml:2: "), "{}", lines[1]);
        assert_eq!(
            lines[2],
            "images/keystone/Dockerfile:2: image `bsae` is neither a folder of images/ nor a stage above (did you mean `base`?)"
        );
        assert!(lines[3].starts_with("images/keystone/Dockerfile:3: image `nowhere`"), "{}", lines[3]);
        assert_eq!(lines.len(), 4);
    }

    #[test]
    fn a_circle_must_be_reported_as_a_path_of_names() {
        let library = library(&[
            ("a/Dockerfile", "FROM debian\nCOPY --from=b /x /x\n"),
            ("b/Dockerfile", "FROM c\n"),
            ("c/Dockerfile", "FROM a\n"),
        ]);
        let problems = read(&library, &[]).unwrap_err().to_string();
        assert_eq!(
            problems,
            "images/a/Dockerfile:2: images stand on each other in a circle: a -> b -> c -> a"
        );
    }
}
