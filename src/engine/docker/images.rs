//! Images: look, pull, import, tag, remove. Builds are in `build.rs`.

use std::collections::BTreeMap;

use bollard::auth::DockerCredentials;
use bollard::models::{ImageHistoryResponseItem, ProgressDetail};
use bollard::query_parameters::{
    CreateImageOptions, ListImagesOptions, PushImageOptions, RemoveImageOptions, TagImageOptions,
};
use bytes::Bytes;
use futures::stream::{self, BoxStream};
use futures::{StreamExt as _, TryStreamExt as _};

use super::{AT_ONCE, DockerEngine, LONG, errors, inspect, or_gone};
use crate::engine::{EngineErrorKind, EngineResult, PullProgress};
use crate::model::{ImageId, ObservedImage};

/// Separates `name:tag`; a registry's port stands before the last slash. A digest belongs to the name.
pub(super) fn split_tag(reference: &str) -> (String, String) {
    match reference.rsplit_once(':') {
        Some((name, tag)) if !tag.contains('/') && !name.contains('@') => (name.to_owned(), tag.to_owned()),
        _ if reference.contains('@') => (reference.to_owned(), String::new()),
        _ => (reference.to_owned(), "latest".to_owned()),
    }
}

impl DockerEngine {
    pub(super) async fn list_images(&self) -> EngineResult<Vec<ObservedImage>> {
        let ids = self.list_image_ids().await?;
        let mut found: Vec<ObservedImage> = stream::iter(ids)
            .map(async |id| self.inspect_image(&id.0).await)
            .buffer_unordered(AT_ONCE)
            .try_filter_map(async |found| Ok(found))
            .try_collect()
            .await?;
        found.sort_by(|a, b| a.id.cmp(&b.id));
        Ok(found)
    }

    pub(super) async fn list_image_ids(&self) -> EngineResult<Vec<ImageId>> {
        let listed = self.docker.list_images(None::<ListImagesOptions>).await;
        let listed = listed.map_err(self.failed("list images"))?;
        let mut ids: Vec<ImageId> = listed.into_iter().map(|summary| ImageId(summary.id)).collect();
        ids.sort();
        Ok(ids)
    }

    pub(super) async fn inspect_image(&self, reference: &str) -> EngineResult<Option<ObservedImage>> {
        let found = self.docker.inspect_image(reference).await;
        let found = found.map(inspect::image).map(Some);
        or_gone(found.map_err(self.failed(format!("inspect image {reference}"))), None)
    }

    pub(super) fn pull_image(&self, reference: &str) -> BoxStream<'static, EngineResult<PullProgress>> {
        let (name, tag) = split_tag(reference);
        let query = CreateImageOptions {
            from_image: Some(name),
            tag: Some(tag).filter(|tag| !tag.is_empty()),
            ..CreateImageOptions::default()
        };
        let (operation, endpoint) = (format!("pull image {reference}"), self.endpoint.clone());
        self.patient(LONG)
            .create_image(Some(query), None, None::<DockerCredentials>)
            .map(move |message| {
                let message = message.map_err(|error| {
                    let mut error = errors::situate(&operation, &endpoint, &error);
                    let words = error.message.to_ascii_lowercase();
                    // Inside a stream, and from some registries, this comes without its status.
                    if words.contains("manifest unknown") || words.contains("not found: manifest") {
                        error.kind = EngineErrorKind::NotFound;
                    }
                    error
                })?;
                Ok(PullProgress {
                    layer: message.id.unwrap_or_default(),
                    status: message.status.unwrap_or_default(),
                    bytes: amount(message.progress_detail),
                })
            })
            .boxed()
    }

    pub(super) fn push_image(&self, reference: &str) -> BoxStream<'static, EngineResult<PullProgress>> {
        let (name, tag) = split_tag(reference);
        let options = PushImageOptions { tag: Some(tag), platform: None };
        let (operation, endpoint) = (format!("push image {reference}"), self.endpoint.clone());
        let docker = self.patient(LONG);
        docker
            .push_image(&name, Some(options), None::<DockerCredentials>)
            .map(move |message| {
                let message = message.map_err(|error| errors::situate(&operation, &endpoint, &error))?;
                Ok(PullProgress {
                    layer: String::new(),
                    status: message.status.unwrap_or_default(),
                    bytes: amount(message.progress_detail),
                })
            })
            .boxed()
    }

    pub(super) async fn image_layer_sizes(&self, image: &ObservedImage) -> EngineResult<Vec<u64>> {
        let history = self.docker.image_history(&image.id.0).await;
        let history =
            history.map_err(self.failed(format!("ask for the layers of image {}", image.id.short())))?;
        Ok(sizes(&history, image.layers.len()))
    }

    pub(super) async fn import_root(
        &self,
        reference: &str,
        root: BoxStream<'static, Result<Bytes, std::io::Error>>,
        labels: &BTreeMap<String, String>,
    ) -> EngineResult<ImageId> {
        let operation = format!("import image {reference}");
        let (name, tag) = split_tag(reference);
        // JSON's quoting is one that Dockerfile instructions understand, but for `$`.
        let quoted = |text: &str| serde_json::Value::from(text).to_string().replace('$', "\\$");
        let pairs: Vec<String> =
            labels.iter().map(|(key, value)| format!("{}={}", quoted(key), quoted(value))).collect();
        let query = CreateImageOptions {
            from_src: Some("-".to_owned()),
            repo: Some(name),
            tag: Some(tag),
            changes: if pairs.is_empty() { Vec::new() } else { vec![format!("LABEL {}", pairs.join(" "))] },
            ..CreateImageOptions::default()
        };
        let docker = self.patient(LONG);
        let messages: Vec<_> = docker
            .create_image(Some(query), Some(bollard::body_try_stream(root)), None::<DockerCredentials>)
            .try_collect()
            .await
            .map_err(self.failed(operation.clone()))?;
        let id = messages.into_iter().filter_map(|message| message.status).find(|s| s.starts_with("sha256:"));
        id.map(ImageId)
            .ok_or_else(|| self.error(&operation, EngineErrorKind::Failed, "the engine told no image id"))
    }

    pub(super) async fn tag_image(&self, image: &str, reference: &str) -> EngineResult<()> {
        let (name, tag) = split_tag(reference);
        let options = TagImageOptions { repo: Some(name), tag: Some(tag) };
        let tagged = self.docker.tag_image(image, Some(options)).await;
        tagged.map_err(self.failed(format!("tag image {image} as {reference}")))
    }

    pub(super) async fn delete_image(&self, reference: &str) -> EngineResult<()> {
        let options = RemoveImageOptions { force: false, noprune: false, platforms: None };
        let removed = self.patient(LONG).remove_image(reference, Some(options), None).await;
        or_gone(removed.map(|_| ()).map_err(self.failed(format!("remove image {reference}"))), ())
    }
}

/// Returns done and total bytes.
fn amount(detail: Option<ProgressDetail>) -> Option<(u64, u64)> {
    let detail = detail?;
    let number = |value: Option<i64>| value.and_then(|value| u64::try_from(value).ok());
    Some((number(detail.current)?, number(detail.total)?))
}

/// Assigns the sizes of an image's history (youngest first) to its layers (oldest first).
///
/// The history has an entry for every instruction; the engine does not say which of them made a layer. Those with a
/// size did. Where that are fewer than there are layers, some layer is empty: instructions that can make one count.
fn sizes(history: &[ImageHistoryResponseItem], layers: usize) -> Vec<u64> {
    let entries: Vec<_> = history.iter().rev().collect();
    let mut missing = layers.saturating_sub(entries.iter().filter(|entry| entry.size > 0).count());
    let mut sizes = Vec::with_capacity(layers);
    for entry in entries {
        let can = ["RUN ", "COPY ", "ADD ", "WORKDIR "].iter().any(|word| entry.created_by.starts_with(word));
        if entry.size > 0 {
            sizes.push(u64::try_from(entry.size).unwrap_or_default());
        } else if can && missing > 0 {
            missing -= 1;
            sizes.push(0);
        }
    }
    sizes.resize(layers, 0);
    sizes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_instruction_without_a_layer_must_not_take_the_size_of_another() {
        let entry = |created_by: &str, size: i64| ImageHistoryResponseItem {
            created_by: created_by.to_owned(),
            size,
            ..ImageHistoryResponseItem::default()
        };
        // Youngest first, as engines answer.
        let history = [
            entry("LABEL a=b", 0),
            entry("COPY x y # buildkit", 7),
            entry("WORKDIR /srv", 0),
            entry("ENV A=b", 0),
            entry("RUN apt-install", 50),
            entry("", 100),
        ];
        assert_eq!(sizes(&history, 3), [100, 50, 7]);
        assert_eq!(sizes(&history, 4), [100, 50, 0, 7]);
        assert_eq!(sizes(&history[..1], 1), [0]);
    }

    #[test]
    fn a_registrys_port_must_not_be_taken_for_a_tag() {
        let pair = |a: &str, b: &str| (a.to_owned(), b.to_owned());
        assert_eq!(split_tag("mastic/keystone:2026.1"), pair("mastic/keystone", "2026.1"));
        assert_eq!(split_tag("host:5000/mastic/x"), pair("host:5000/mastic/x", "latest"));
        assert_eq!(split_tag("host:5000/x@sha256:abc"), pair("host:5000/x@sha256:abc", ""));
    }
}
