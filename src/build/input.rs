//! What goes into each image: the files of its context, its arguments, and the hash of all that.
//!
//! The hash decides whether an image must be built again. It covers the Dockerfile, the files that the Dockerfile
//! takes, the release's files that it takes, its arguments and its parents' hashes. It does not cover the building
//! host's mirrors, proxies or certificates: they say where packages come from, not which.
//! A context holds nothing that was not hashed (but `host/`), so a wrong guess here fails a build; it never hides a change.

use std::collections::BTreeMap;

use serde::Deserialize;
use sha2::{Digest, Sha256};

use super::graph::{DEBIAN, Graph, GraphError, Image, Problem};
use crate::model::spec::hex;
use crate::model::{ImageName, ReleaseName};
use crate::profile::Library;

/// Goes into each hash: raised when a builder change must build everything anew.
const FORMAT: &str = "mastic-image-1";

/// For which release, from what, and under which names images are built.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// OpenStack series.
    pub release: ReleaseName,
    /// First part of image names.
    pub namespace: String,
    /// Tag; without it, the release.
    pub tag: Option<String>,
    /// The operator's base image, instead of one made with mmdebstrap.
    pub base: Option<String>,
}

/// `images/base/base.yaml`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BaseDocument {
    /// Debian suite.
    pub suite: String,
    /// mmdebstrap's variant.
    #[serde(default = "minbase")]
    pub variant: String,
    /// Further packages.
    #[serde(default)]
    pub packages: Vec<String>,
    /// `--dpkgopt`.
    #[serde(default)]
    pub dpkg_options: Vec<String>,
    /// `--customize-hook`.
    #[serde(default)]
    pub customize_hooks: Vec<String>,
}

fn minbase() -> String {
    "minbase".to_owned()
}

/// The part of `releases/<series>/release.yaml` that the builder reads; the lock compiler has the rest.
#[derive(Debug, Deserialize)]
struct ReleaseDocument {
    suite: Option<String>,
}

/// What `debian` is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Base {
    /// Made with mmdebstrap.
    Made(BaseDocument),
    /// The operator's own, by reference.
    Named(String),
}

/// What goes into one image.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Input {
    /// Context files by path, Dockerfile excluded.
    pub files: BTreeMap<String, Vec<u8>>,
    /// Build arguments.
    pub args: BTreeMap<String, String>,
    /// Each part's hash by what it is called towards people: `Dockerfile`, `users`, `release/common.txt`, `image base`.
    pub parts: BTreeMap<String, String>,
    /// Hash of all parts.
    pub hash: String,
    /// Whether anything of it, or of its parents, follows the release.
    pub release_scoped: bool,
    /// Whether it wants the host's `host/`.
    pub host: bool,
}

/// All inputs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Inputs {
    /// Debian suite.
    pub suite: String,
    /// What `debian` is.
    pub base: Base,
    /// Hash of that.
    pub base_hash: String,
    /// By image.
    pub images: BTreeMap<ImageName, Input>,
}

impl Settings {
    /// Returns the reference of an image.
    pub fn reference(&self, image: &ImageName) -> String {
        format!("{}/{image}:{}", self.namespace, self.tag.as_deref().unwrap_or(self.release.as_str()))
    }

    /// Returns the reference of `debian`.
    pub fn debian_reference(&self, suite: &str) -> String {
        self.base.clone().unwrap_or_else(|| format!("{}/{DEBIAN}:{suite}", self.namespace))
    }
}

/// Returns the Debian suite: what the release wants, else what `base.yaml` says.
pub fn suite(library: &Library, settings: &Settings) -> Result<String, GraphError> {
    let path = format!("images/releases/{}/release.yaml", settings.release);
    if let Some(entry) = library.get(&path) {
        let document: ReleaseDocument =
            serde_yaml::from_slice(&entry.bytes).map_err(|error| yaml_problem(&entry.origin, &error))?;
        if let Some(suite) = document.suite {
            return Ok(suite);
        }
    }
    base_document(library).map(|document| document.map_or_else(|| "trixie".to_owned(), |base| base.suite))
}

fn base_document(library: &Library) -> Result<Option<BaseDocument>, GraphError> {
    library
        .get("images/base/base.yaml")
        .map(|entry| {
            serde_yaml::from_slice(&entry.bytes).map_err(|error| yaml_problem(&entry.origin, &error))
        })
        .transpose()
}

fn yaml_problem(file: &str, error: &serde_yaml::Error) -> GraphError {
    let line = error.location().map_or(1, |location| location.line());
    GraphError(vec![Problem { file: file.to_owned(), line, message: error.to_string(), help: None }])
}

/// Works out what goes into every image.
pub fn collect(library: &Library, graph: &Graph, settings: &Settings) -> Result<Inputs, GraphError> {
    let suite = suite(library, settings)?;
    let base = match (&settings.base, base_document(library)?) {
        (Some(reference), _) => Base::Named(reference.clone()),
        (None, Some(document)) => Base::Made(BaseDocument { suite: suite.clone(), ..document }),
        (None, None) => Base::Made(BaseDocument {
            suite: suite.clone(),
            variant: minbase(),
            packages: Vec::new(),
            dpkg_options: Vec::new(),
            customize_hooks: Vec::new(),
        }),
    };
    let base_hash = digest(format!("{FORMAT}\n{base:?}").as_bytes());
    let mut inputs = Inputs { suite, base, base_hash, images: BTreeMap::new() };
    let mut problems = Vec::new();
    for image in graph.order.iter().filter_map(|name| graph.images.get(name)) {
        let input = one(library, image, settings, &inputs, &mut problems);
        inputs.images.insert(image.name.clone(), input);
    }
    if problems.is_empty() { Ok(inputs) } else { Err(GraphError(problems)) }
}

fn one(
    library: &Library,
    image: &Image,
    settings: &Settings,
    inputs: &Inputs,
    problems: &mut Vec<Problem>,
) -> Input {
    let name = &image.name;
    let folder = format!("images/{name}/");
    let mut files = BTreeMap::new();
    for (path, file) in library.under(&folder).filter(|(path, _)| takes(image, path)) {
        files.insert(path.to_owned(), file.bytes.clone());
    }
    let release = format!("images/releases/{}/", settings.release);
    for path in release_files(library, image, &release) {
        if let Some(file) = library.get(&format!("{release}{path}")) {
            files.insert(format!("release/{path}"), file.bytes.clone());
        }
    }
    let origin = library
        .get(&format!("{folder}Dockerfile"))
        .map_or_else(|| format!("{folder}Dockerfile"), |file| file.origin.clone());
    for (source, line) in &image.file.sources {
        let plain = !source.contains(['*', '?', '[', '$']) && source != "." && source != "host";
        let there =
            |path: &String| path == source || path.strip_prefix(source.as_str()).is_some_and(is_below);
        if plain && !source.starts_with("host/") && !files.keys().any(there) {
            problems.push(missing_source(&origin, *line, source, settings));
        }
    }

    let mut args = BTreeMap::new();
    for (arg, value) in [("RELEASE", settings.release.as_str()), ("SUITE", inputs.suite.as_str())] {
        if image.file.args.contains(arg) {
            args.insert(arg.to_owned(), value.to_owned());
        }
    }

    let mut parts = BTreeMap::new();
    parts.insert("Dockerfile".to_owned(), digest(image.text.as_bytes()));
    parts.extend(files.iter().map(|(path, bytes)| (path.clone(), digest(bytes))));
    parts.extend(args.iter().map(|(arg, value)| (format!("argument {arg}"), digest(value.as_bytes()))));
    parts.extend(image.external.iter().map(|other| (format!("image {other}"), digest(other.as_bytes()))));
    if image.from_debian {
        parts.insert(format!("image {DEBIAN}"), inputs.base_hash.clone());
    }
    let parents = image.parents.iter().filter_map(|parent| inputs.images.get_key_value(parent));
    parts.extend(parents.clone().map(|(parent, input)| (format!("image {parent}"), input.hash.clone())));

    let own = args.contains_key("RELEASE") || files.keys().any(|path| path.starts_with("release/"));
    let release_scoped = own || parents.clone().any(|(_, input)| input.release_scoped);
    if image.document.release_scoped == Some(false) && release_scoped {
        problems.push(Problem {
            file: library.get(&format!("{folder}image.yaml")).map_or(origin, |file| file.origin.clone()),
            line: 1,
            message: format!(
                "image `{name}` says `release_scoped: false`, but its content follows the release"
            ),
            help: Some("it, or an image it stands on, uses release/ or the argument RELEASE".to_owned()),
        });
    }

    let mut hash = Sha256::new();
    hash.update(format!("{FORMAT}\n{name}\n"));
    for (part, part_hash) in &parts {
        hash.update(format!("{part}\0{part_hash}\n"));
    }
    let host = image
        .file
        .sources
        .keys()
        .any(|source| source == "host" || source.starts_with("host/") || source == ".");
    Input { files, args, parts, hash: hex(&hash.finalize()), release_scoped, host }
}

/// Says whether an image's Dockerfile takes a file of its folder.
fn takes(image: &Image, path: &str) -> bool {
    // The description is ours; a README or a list that no instruction names must not cause a build.
    if path == "Dockerfile" || path == "image.yaml" {
        return false;
    }
    image.file.sources.keys().any(|source| {
        source == "."
            || source.contains(['*', '?', '[', '$'])
            || path == source
            || path.strip_prefix(source.as_str()).is_some_and(is_below)
    })
}

fn is_below(rest: &str) -> bool {
    rest.starts_with('/')
}

/// Returns the files of the release that a Dockerfile takes: those it names as `release/FILE` (wherever it mounted the
/// folder), or all when it takes the folder and names none.
fn release_files(library: &Library, image: &Image, release: &str) -> Vec<String> {
    let sources = image.file.sources.keys();
    let folder = sources.clone().any(|source| source == "release" || source == ".");
    if !folder && !sources.clone().any(|source| source.starts_with("release/")) {
        return Vec::new();
    }
    let all: Vec<String> = library.under(release).map(|(path, _)| path.to_owned()).collect();
    if image.file.copied.contains("release") || image.file.copied.contains(".") {
        return all;
    }
    let named: Vec<String> = all.iter().filter(|path| names(&image.text, path)).cloned().collect();
    if named.is_empty() { all } else { named }
}

/// Says whether a text names `release/PATH`, and not merely a longer name that begins alike.
fn names(text: &str, path: &str) -> bool {
    let needle = format!("release/{path}");
    text.match_indices(&needle).any(|(at, _)| {
        let next = text[at + needle.len()..].chars().next();
        next.is_none_or(|c| !c.is_ascii_alphanumeric() && !matches!(c, '.' | '-' | '_' | '/'))
    })
}

fn missing_source(file: &str, line: usize, source: &str, settings: &Settings) -> Problem {
    let in_release = source == "release" || source.starts_with("release/");
    let (message, help) = if in_release {
        let series = &settings.release;
        (
            format!("`{source}` is not in images/releases/{series}/"),
            Some("is there a lock of this release?".to_owned()),
        )
    } else {
        (format!("`{source}` is not in this image's folder"), None)
    };
    Problem { file: file.to_owned(), line, message, help }
}

fn digest(bytes: &[u8]) -> String {
    hex(&Sha256::digest(bytes))
}

#[cfg(test)]
#[path = "input_tests.rs"]
mod tests;
