//! Builds. Images are made from nothing: no registry is needed.

use std::sync::Arc;

use bytes::Bytes;
use futures::StreamExt as _;
use futures::future::join_all;
use mastic::engine::archive::{self, Entry, Tree};
use mastic::engine::{BuildEvent, BuildRequest, EngineError};
use mastic::model::ImageId;

use crate::fixture::Fixture;

fn context(dockerfile: &str, files: &[(&str, &str)]) -> Bytes {
    let mut tree: Tree = files
        .iter()
        .map(|(path, content)| ((*path).to_owned(), Entry::file((*content).to_owned(), 0o644)))
        .collect();
    tree.insert("/Dockerfile".to_owned(), Entry::file(dockerfile.to_owned(), 0o644));
    archive::pack(&tree).unwrap()
}

fn request(f: &Fixture, tag: &str, dockerfile: &str, files: &[(&str, &str)]) -> BuildRequest {
    BuildRequest {
        tags: vec![f.reference(tag)],
        context: context(dockerfile, files),
        dockerfile: "Dockerfile".to_owned(),
        args: [].into(),
        labels: [("mastic.input-hash".to_owned(), format!("hash of {tag}"))].into(),
        network: Some("host".to_owned()),
        no_cache: false,
    }
}

async fn build(f: &Fixture, request: BuildRequest) -> (Vec<BuildEvent>, Result<ImageId, EngineError>) {
    let mut events = Vec::new();
    let mut stream = f.engine.build(request);
    while let Some(event) = stream.next().await {
        match event {
            Ok(BuildEvent::Done(id)) => {
                assert!(stream.next().await.is_none(), "nothing comes after the end");
                return (events, Ok(id));
            }
            Ok(event) => events.push(event),
            Err(error) => return (events, Err(error)),
        }
    }
    panic!("a build must end with an image or an error")
}

pub async fn a_build_must_end_with_an_image_that_has_its_labels(f: Arc<Fixture>) {
    let dockerfile = "FROM scratch\nCOPY hello /etc/hello\nLABEL kind=\"toy\"\n";
    let mut request = request(&f, "toy:1", dockerfile, &[("/hello", &f.namespace)]);
    request.tags.push(f.reference("toy:2"));
    let (events, id) = build(&f, request).await;
    let id = id.unwrap();
    let image = f.engine.image(&f.reference("toy:1")).await.unwrap().unwrap();
    assert_eq!(image.id, id);
    assert_eq!(image.tags, [f.reference("toy:1"), f.reference("toy:2")]);
    assert_eq!(image.labels["mastic.input-hash"], "hash of toy:1");
    assert_eq!(image.labels["kind"], "toy");
    let copied = events.iter().any(|event| {
        matches!(event, BuildEvent::Vertex { name, completed: true, error: None, .. } if name.contains("COPY"))
    });
    assert!(copied, "{events:?}");
    // And it is an image like any other.
    let mut spec = f.service("a", &["forever"]);
    spec.image.id = id;
    let container = f.create(&spec).await.unwrap();
    let tree = f.files(&container, "/etc/hello").await;
    assert_eq!(tree["/hello"].bytes().unwrap(), f.namespace.as_bytes());
}

pub async fn a_second_build_must_come_from_the_cache(f: Arc<Fixture>) {
    let dockerfile = "FROM scratch\nCOPY hello /etc/hello\n";
    // Never built before, not even by a process with our number: what builds keep outlives processes.
    let hello = format!("{} {:?}", f.namespace, std::time::SystemTime::now());
    let again = || build(&f, request(&f, "toy:1", dockerfile, &[("/hello", &hello)]));
    let cached = |events: &[BuildEvent]| {
        events.iter().any(
            |event| matches!(event, BuildEvent::Vertex { name, cached: true, .. } if name.contains("COPY")),
        )
    };
    let (events, first) = again().await;
    assert!(!cached(&events), "{events:?}");
    let (events, second) = again().await;
    assert!(cached(&events), "{events:?}");
    assert_eq!(first.unwrap(), second.unwrap());
}

pub async fn a_failed_build_must_say_what_failed(f: Arc<Fixture>) {
    let dockerfile = "FROM scratch\nCOPY hello /etc/hello\nCOPY not-there /etc/\n";
    let (_, result) = build(&f, request(&f, "toy:1", dockerfile, &[("/hello", "x")])).await;
    let error = result.unwrap_err();
    assert!(error.message.contains("not-there") && error.operation.contains("toy:1"), "{error}");
    let (_, result) = build(&f, request(&f, "toy:1", "FORM scratch\n", &[])).await;
    let error = result.unwrap_err();
    assert!(error.message.contains("FORM"), "{error}");
    let (_, result) =
        build(&f, BuildRequest { dockerfile: "none".to_owned(), ..request(&f, "x:1", "", &[]) }).await;
    assert!(result.unwrap_err().message.contains("none"));
    assert!(f.engine.image(&f.reference("toy:1")).await.unwrap().is_none());
}

pub async fn several_builds_must_run_at_once(f: Arc<Fixture>) {
    let builds = (0..4).map(|n| {
        let f = f.clone();
        async move {
            let content = format!("{} {n}", f.namespace);
            let dockerfile = "FROM scratch\nCOPY hello /etc/hello\n";
            build(&f, request(&f, &format!("toy:{n}"), dockerfile, &[("/hello", &content)])).await.1.unwrap()
        }
    });
    let mut ids = join_all(builds).await;
    ids.sort();
    ids.dedup();
    assert_eq!(ids.len(), 4);
}
