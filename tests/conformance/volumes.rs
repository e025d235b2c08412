//! Volumes: what outlives containers.

use std::sync::Arc;

use mastic::engine::EngineErrorKind;
use mastic::engine::archive::{self, Entry};
use mastic::model::ContainerSpec;
use mastic::model::spec::{MountSource, MountSpec};

use crate::fixture::{Fixture, assert_kind};

fn mounting(f: &Fixture, name: &str, volume: &str, target: &str) -> ContainerSpec {
    let source = MountSource::Volume(volume.parse().unwrap());
    let mount = MountSpec { source, target: target.to_owned(), read_only: false };
    ContainerSpec { mounts: vec![mount], ..f.service(name, &["forever"]) }
}

async fn make(f: &Fixture, volume: &str) -> String {
    let name = format!("{}_{volume}", f.deployment);
    f.engine.create_volume(&name, &f.labels()).await.unwrap();
    name
}

pub async fn a_volume_must_be_made_once_and_listed_by_label(f: Arc<Fixture>) {
    let second = make(&f, "b").await;
    let first = make(&f, "a").await;
    make(&f, "a").await;
    let listed = f.engine.volumes(&f.deployment).await.unwrap();
    assert_eq!(listed.iter().map(|v| v.name.as_str()).collect::<Vec<_>>(), [&first, &second]);
    assert!(listed.iter().all(|volume| volume.labels == f.labels()));
    assert!(f.engine.volumes(&f.other()).await.unwrap().is_empty());
    f.engine.remove_volume(&first).await.unwrap();
    f.engine.remove_volume(&first).await.expect("already gone is not an error");
    assert_eq!(f.engine.volumes(&f.deployment).await.unwrap().len(), 1);
}

pub async fn a_volume_in_use_must_not_be_removed(f: Arc<Fixture>) {
    let volume = make(&f, "data").await;
    let id = f.create(&mounting(&f, "a", "data", "/data")).await.unwrap();
    let error = assert_kind(f.engine.remove_volume(&volume).await, EngineErrorKind::Conflict);
    assert!(error.operation.contains(&volume), "{error}");
    f.engine.remove(&id, true).await.unwrap();
    assert_eq!(
        f.engine.volumes(&f.deployment).await.unwrap().len(),
        1,
        "it goes only when that is asked for"
    );
    f.engine.remove_volume(&volume).await.unwrap();
}

pub async fn the_content_of_a_volume_must_outlive_its_containers(f: Arc<Fixture>) {
    make(&f, "data").await;
    let kept = Entry { uid: 1234, gid: 5678, ..Entry::file("kept", 0o600) };
    let id = f.started(&mounting(&f, "a", "data", "/data")).await;
    let tree = [("/data/deep/file".to_owned(), kept.clone())].into();
    f.engine.upload(&id, archive::pack(&tree).unwrap()).await.unwrap();
    f.engine.remove(&id, true).await.unwrap();
    let next = f.create(&mounting(&f, "b", "data", "/elsewhere")).await.unwrap();
    assert_eq!(f.files(&next, "/elsewhere").await["/elsewhere/deep/file"], kept);
}

pub async fn an_empty_volume_must_be_filled_from_the_image(f: Arc<Fixture>) {
    make(&f, "seed").await;
    let seed = Entry { uid: 1234, gid: 5678, ..Entry::file("from the image", 0o640) };
    let first = f.started(&mounting(&f, "a", "seed", "/seed")).await;
    assert_eq!(f.files(&first, "/seed").await["/seed/first"], seed);
    let tree = [("/seed/first".to_owned(), Entry::file("changed", 0o600))].into();
    f.engine.upload(&first, archive::pack(&tree).unwrap()).await.unwrap();
    let second = f.started(&mounting(&f, "b", "seed", "/seed")).await;
    assert_eq!(f.files(&second, "/seed").await["/seed/first"], Entry::file("changed", 0o600));
}

pub async fn a_container_that_never_starts_must_carry_files_to_and_fro(f: Arc<Fixture>) {
    let name = format!("{}.ledger", f.deployment);
    f.engine.create_volume(&name, &f.labels()).await.unwrap();
    let id = f.inert("ledger", Some((&name, "/ledger"))).await.unwrap();
    for n in 1..=3 {
        let path = format!("/ledger/generations/{n}.json");
        let tree = [(path, Entry::file(format!("{{\"generation\": {n}}}"), 0o644))].into();
        f.engine.upload(&id, archive::pack(&tree).unwrap()).await.unwrap();
    }
    f.engine.remove(&id, true).await.unwrap();
    let again = f.inert("ledger", Some((&name, "/ledger"))).await.unwrap();
    let tree = f.files(&again, "/ledger/generations").await;
    let names: Vec<&str> =
        tree.iter().filter(|(_, e)| e.bytes().is_some()).map(|(path, _)| path.as_str()).collect();
    assert_eq!(names, ["/generations/1.json", "/generations/2.json", "/generations/3.json"]);
    assert_eq!(tree["/generations/2.json"].bytes().unwrap(), "{\"generation\": 2}");
    assert_kind(f.engine.download(&again, "/ledger/nothing").await, EngineErrorKind::NotFound);
}
