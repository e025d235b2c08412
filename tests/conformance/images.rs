//! Images, and what the engine says of itself.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt as _;
use mastic::engine::EngineErrorKind;
use mastic::engine::archive::{self, Entry};
use mastic::model::ImageId;

use crate::fixture::{Fixture, assert_kind};

async fn import(f: &Fixture, name: &str, content: &str, labels: &BTreeMap<String, String>) -> ImageId {
    let tree = [("/file".to_owned(), Entry::file(content.to_owned(), 0o644))].into();
    let bytes = archive::pack(&tree).unwrap();
    // In two pieces, as a pipe would give them.
    let (head, tail) = (bytes.slice(..100), bytes.slice(100..));
    let root = futures::stream::iter([Ok(head), Ok(tail)]).boxed();
    f.engine.import_image(&f.reference(name), root, labels).await.unwrap()
}

pub async fn an_imported_image_must_be_found_by_id_and_tag_with_its_labels(f: Arc<Fixture>) {
    let hard = r#"a "quoted" $HOME \ value with 'all' = of it"#;
    let labels: BTreeMap<String, String> =
        [("mastic.image".to_owned(), "base".to_owned()), ("hard".to_owned(), hard.to_owned())].into();
    let id = import(&f, "base:1", "x", &labels).await;
    let by_tag = f.engine.image(&f.reference("base:1")).await.unwrap().unwrap();
    assert_eq!((&by_tag.id, &by_tag.labels), (&id, &labels));
    assert_eq!(by_tag.tags, [f.reference("base:1")]);
    assert!(by_tag.size > 0 && by_tag.layers.len() == 1 && !by_tag.created_at.is_empty(), "{by_tag:?}");
    assert_eq!(f.engine.image(&id.0).await.unwrap().unwrap(), by_tag);
    assert_eq!(f.engine.layer_sizes(&by_tag).await.unwrap(), [by_tag.size]);
    assert!(f.engine.images().await.unwrap().contains(&by_tag));
    assert!(f.engine.image_ids().await.unwrap().contains(&id));
    assert!(f.engine.image(&f.reference("nothing:1")).await.unwrap().is_none());
}

pub async fn a_tag_must_move_and_be_removed_alone(f: Arc<Fixture>) {
    let (tag, more) = (f.reference("base:1"), f.reference("base:2"));
    let old = import(&f, "base:1", "old", &BTreeMap::new()).await;
    f.engine.tag(&old.0, &more).await.unwrap();
    let new = import(&f, "base:1", "new", &BTreeMap::new()).await;
    assert_ne!(old, new);
    assert_eq!(f.engine.image(&tag).await.unwrap().unwrap().id, new);
    assert_eq!(f.engine.image(&more).await.unwrap().unwrap().id, old);
    f.engine.tag(&tag, &more).await.unwrap();
    assert_eq!(f.engine.image(&more).await.unwrap().unwrap().id, new);
    f.engine.remove_image(&tag).await.unwrap();
    assert!(f.engine.image(&tag).await.unwrap().is_none());
    assert_eq!(f.engine.image(&more).await.unwrap().unwrap().id, new);
    f.engine.remove_image(&more).await.unwrap();
    assert!(f.engine.image(&new.0).await.unwrap().is_none(), "the last tag takes the image with it");
    f.engine.remove_image(&more).await.expect("already gone is not an error");
    f.engine.remove_image(&old.0).await.unwrap();
    assert_kind(f.engine.tag(&tag, &more).await, EngineErrorKind::NotFound);
}

pub async fn an_image_in_use_must_not_be_removed(f: Arc<Fixture>) {
    let id = f.create(&f.service("a", &["forever"])).await.unwrap();
    assert_kind(f.engine.remove_image(&f.image.reference).await, EngineErrorKind::Conflict);
    assert_eq!(f.engine.container(&id.0).await.unwrap().image, f.image.id);
}

pub async fn a_pull_from_nowhere_must_fail(f: Arc<Fixture>) {
    // Port 9 of this machine: nobody listens.
    let progress: Vec<_> = f.engine.pull("127.0.0.1:9/nothing:1").collect().await;
    let error = progress.into_iter().find_map(Result::err).expect("nothing can be pulled from there");
    assert!(error.operation.contains("127.0.0.1:9/nothing:1"), "{error}");
}

pub async fn a_push_to_nowhere_must_fail(f: Arc<Fixture>) {
    // The simulation's registries take everything that is there, an engine's none that nobody listens at: what is not
    // there can be pushed by neither.
    let progress: Vec<_> = f.engine.push("127.0.0.1:9/nothing:1").collect().await;
    let error = progress.into_iter().find_map(Result::err).expect("what is not there cannot be pushed");
    assert!(error.operation.contains("127.0.0.1:9/nothing:1"), "{error}");
}

pub async fn the_engine_must_say_what_it_is(f: Arc<Fixture>) {
    f.engine.ping(Duration::from_secs(10)).await.unwrap();
    let info = f.engine.info().await.unwrap();
    assert!(info.api_version.starts_with("1."), "{info:?}");
    assert!(matches!(info.cgroup_version.as_str(), "1" | "2"), "{info:?}");
    assert!(info.cpus > 0 && info.memory > 0, "{info:?}");
    let clock: jiff::Timestamp = info.time.parse().expect("the engine's time is RFC 3339");
    assert!(clock.as_second() > 0 && info.unbounded.len() < 4, "{clock} {:?}", info.unbounded);
    for text in [info.version, info.id, info.storage_driver, info.data_root, info.kernel] {
        assert!(!text.is_empty());
    }
}
