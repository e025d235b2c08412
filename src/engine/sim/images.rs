//! Images of the simulated engine: tags, imports, pulls, and builds by a very small BuildKit.

use std::collections::BTreeMap;

use sha2::{Digest, Sha256};

use crate::engine::archive::{self, Tree};
use crate::engine::{BuildEvent, BuildRequest, EngineErrorKind, PullProgress};
use crate::model::spec::hex;
use crate::model::{ImageId, ObservedImage};

use super::world::{Image, Refusal, World, refuse, rfc3339};

/// Adds `:latest` to a reference without a tag.
fn with_tag(reference: &str) -> String {
    let last = reference.rsplit('/').next().unwrap_or(reference);
    if last.contains(':') || last.contains('@') {
        reference.to_owned()
    } else {
        format!("{reference}:latest")
    }
}

fn observe(id: &ImageId, image: &Image) -> ObservedImage {
    ObservedImage {
        id: id.clone(),
        tags: image.tags.clone(),
        labels: image.labels.clone(),
        size: image.files.values().filter_map(|e| e.bytes()).map(|bytes| bytes.len() as u64).sum(),
        created_at: rfc3339(image.created),
        repo_digests: Vec::new(),
        layers: image.layers.clone(),
    }
}

impl World {
    pub(super) fn find_image(&self, reference: &str) -> Option<ImageId> {
        let id = ImageId(reference.to_owned());
        if self.images.contains_key(&id) {
            return Some(id);
        }
        let tag = with_tag(reference);
        if let Some((id, _)) = self.images.iter().find(|(_, image)| image.tags.contains(&tag)) {
            return Some(id.clone());
        }
        let hex = reference.strip_prefix("sha256:").unwrap_or(reference);
        let is_hex = hex.len() >= 8 && hex.bytes().all(|b| b.is_ascii_hexdigit());
        self.images
            .keys()
            .find(|id| is_hex && id.0.get(7..).is_some_and(|full| full.starts_with(hex)))
            .cloned()
    }

    pub(super) fn observe_images(&self) -> Vec<ObservedImage> {
        self.images.iter().map(|(id, image)| observe(id, image)).collect()
    }

    pub(super) fn observe_image(&self, reference: &str) -> Option<ObservedImage> {
        let id = self.find_image(reference)?;
        self.images.get(&id).map(|image| observe(&id, image))
    }

    /// Makes an image whose id follows from its content, and gives it the tags.
    pub(super) fn add_image(
        &mut self,
        tags: &[String],
        labels: &BTreeMap<String, String>,
        files: Tree,
    ) -> ImageId {
        let mut hash = Sha256::new();
        for (key, value) in labels {
            hash.update(format!("{key}={value}\0"));
        }
        for (path, entry) in &files {
            hash.update(format!("{path}\0{}:{}:{:o}\0", entry.uid, entry.gid, entry.mode));
            hash.update(entry.bytes().map(AsRef::as_ref).unwrap_or_default());
        }
        let id = ImageId(format!("sha256:{}", hex(&hash.finalize())));
        let layers = vec![format!("sha256:{}", hex(&Sha256::digest(id.0.as_bytes())))];
        let created = self.now;
        self.images.entry(id.clone()).or_insert_with(|| Image {
            tags: Vec::new(),
            labels: labels.clone(),
            created,
            files,
            layers,
        });
        for tag in tags {
            self.move_tag(&id, tag);
        }
        id
    }

    fn move_tag(&mut self, id: &ImageId, tag: &str) {
        let tag = with_tag(tag);
        for image in self.images.values_mut() {
            image.tags.retain(|known| *known != tag);
        }
        if let Some(image) = self.images.get_mut(id) {
            image.tags.push(tag);
            image.tags.sort();
        }
    }

    pub(super) fn tag_image(&mut self, image: &str, reference: &str) -> Result<(), Refusal> {
        let Some(id) = self.find_image(image) else {
            return refuse(EngineErrorKind::NotFound, format!("there is no image {image}"));
        };
        self.move_tag(&id, reference);
        Ok(())
    }

    pub(super) fn remove_image(&mut self, reference: &str) -> Result<(), Refusal> {
        let Some(id) = self.find_image(reference) else { return Ok(()) };
        let user = self.containers.values().find(|c| c.birth.image == id).map(|c| c.birth.name.clone());
        let Some(image) = self.images.get_mut(&id) else { return Ok(()) };
        let tag = with_tag(reference);
        let by_tag = image.tags.contains(&tag);
        if by_tag && image.tags.len() > 1 {
            image.tags.retain(|known| *known != tag);
            return Ok(());
        }
        if let Some(user) = user {
            return refuse(EngineErrorKind::Conflict, format!("container {user} uses image {reference}"));
        }
        if !by_tag && image.tags.len() > 1 {
            return refuse(EngineErrorKind::Conflict, format!("image {reference} has several tags"));
        }
        self.images.remove(&id);
        Ok(())
    }

    pub(super) fn pull(&mut self, reference: &str) -> Result<Vec<PullProgress>, Refusal> {
        let tag = with_tag(reference);
        let Some((labels, files)) = self.registry.get(&tag).cloned() else {
            let words = format!("no registry has an image {reference}");
            return refuse(EngineErrorKind::NotFound, words);
        };
        let id = self.add_image(&[tag], &labels, files);
        let layer = id.short().to_owned();
        let step = |status: &str, done| PullProgress {
            layer: layer.clone(),
            status: status.to_owned(),
            bytes: Some((done, 1)),
        };
        Ok(vec![step("Downloading", 0), step("Pull complete", 1)])
    }

    pub(super) fn push(&mut self, reference: &str) -> Result<Vec<PullProgress>, Refusal> {
        let found = self.find_image(reference);
        let Some((id, image)) = found.and_then(|id| self.images.get(&id).map(|image| (id, image))) else {
            return refuse(EngineErrorKind::NotFound, format!("there is no image {reference}"));
        };
        let status = format!("digest: {}", id.0);
        self.registry.insert(with_tag(reference), (image.labels.clone(), image.files.clone()));
        Ok(vec![PullProgress { layer: id.short().to_owned(), status, bytes: Some((1, 1)) }])
    }

    /// Runs a Dockerfile of `FROM`, `COPY`, `LABEL`, `ARG`, `ENV` and `RUN` (of which `RUN` only tells that it ran).
    pub(super) fn build(&mut self, request: &BuildRequest) -> Vec<Result<BuildEvent, Refusal>> {
        let bad = |message: String| vec![refuse(EngineErrorKind::BadRequest, message)];
        let context = match archive::unpack(&request.context) {
            Ok(context) => context,
            Err(error) => return bad(error.to_string()),
        };
        let dockerfile = format!("/{}", request.dockerfile.trim_start_matches("./").trim_start_matches('/'));
        let Some(text) = context.get(&dockerfile).and_then(|entry| entry.bytes()) else {
            let words =
                format!("failed to read dockerfile: open {}: no such file or directory", request.dockerfile);
            return vec![refuse(EngineErrorKind::Failed, words)];
        };
        let text = String::from_utf8_lossy(text).into_owned();
        let input = hex(&Sha256::digest(format!("{:?}{:?}", request.args, request.labels)))
            + &hex(&Sha256::digest(&request.context));
        let cached = !request.no_cache && self.built.contains_key(&input);
        let mut labels = request.labels.clone();
        let mut files = Tree::new();
        let mut events = Vec::new();
        for (number, line) in text.lines().map(str::trim).enumerate() {
            let (word, rest) = line.split_once(' ').unwrap_or((line, ""));
            let digest = format!("sha256:{}", hex(&Sha256::digest(format!("{input}{number}"))));
            let vertex = |completed, error: Option<String>| {
                let name = format!("[{number}] {line}");
                Ok(BuildEvent::Vertex { digest: digest.clone(), name, completed, cached, error })
            };
            let outcome = match word.to_ascii_uppercase().as_str() {
                "FROM" => self.from(rest).map(|base| {
                    if let Some(base) = base {
                        files = base.files;
                        labels = base.labels.into_iter().chain(request.labels.clone()).collect();
                    }
                }),
                "COPY" => copy(&context, rest, &mut files),
                "LABEL" => {
                    if let Some((key, value)) = rest.split_once('=') {
                        labels.insert(key.to_owned(), value.trim_matches('"').to_owned());
                    }
                    Ok(())
                }
                "RUN" if files.is_empty() => Err(format!("process \"{rest}\" did not complete successfully")),
                "ARG" | "ENV" | "RUN" | "CMD" | "ENTRYPOINT" | "" | "#" => Ok(()),
                other => Err(format!("unknown instruction: {other}")),
            };
            if let Err(why) = outcome {
                events.push(vertex(true, Some(why.clone())));
                events.push(refuse(EngineErrorKind::Failed, why));
                return events;
            }
            if !word.is_empty() && word != "#" {
                events.extend([vertex(false, None), vertex(true, None)]);
            }
        }
        let id = self.add_image(&request.tags, &labels, files);
        self.built.insert(input, id.clone());
        events.push(Ok(BuildEvent::Done(id)));
        events
    }

    fn from(&self, rest: &str) -> Result<Option<Image>, String> {
        let reference = rest.split_whitespace().next().unwrap_or_default();
        if reference == "scratch" {
            return Ok(None);
        }
        let id = self.find_image(reference);
        let image = id.and_then(|id| self.images.get(&id)).cloned();
        image.map(Some).ok_or_else(|| format!("{reference}: failed to resolve source metadata: not found"))
    }
}

/// Copies one file of the context.
fn copy(context: &Tree, rest: &str, files: &mut Tree) -> Result<(), String> {
    let mut words = rest.split_whitespace().filter(|word| !word.starts_with("--"));
    let (source, target) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
    let source = format!("/{}", source.trim_start_matches("./").trim_start_matches('/'));
    let Some(entry) = context.get(&source) else {
        return Err(format!("failed to compute cache key: \"{source}\": not found"));
    };
    let name = source.rsplit('/').next().unwrap_or_default();
    let target = if target.ends_with('/') { format!("{target}{name}") } else { target.to_owned() };
    files.insert(target, entry.clone());
    Ok(())
}
