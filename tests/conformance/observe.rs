//! What all hosts run, in one picture.

use std::collections::BTreeMap;
use std::sync::Arc;

use mastic::engine::CreateRequest;
use mastic::model::labels::LabelRole;
use mastic::model::{Generation, Labels, SpecHash};
use mastic::observe::observe;

use crate::fixture::Fixture;

pub async fn observing_must_give_all_of_a_deployment_and_nothing_else(f: Arc<Fixture>) {
    let spec = f.service("a", &["forever"]);
    let labels = Labels {
        deployment: f.deployment.clone(),
        role: LabelRole::Service,
        host: "local".parse().unwrap(),
        set: spec.set.clone(),
        service: spec.service.clone(),
        container: spec.slot.container.clone(),
        generation: Generation::new(7).unwrap(),
        spec_hash: SpecHash::of(b"x"),
        spec: "{}".to_owned(),
        release: "2026.1".parse().unwrap(),
        run: "run-1".parse().unwrap(),
        side: mastic::model::spec::Side::Main,
    };
    let name = format!("{}-a-7", f.deployment);
    let request = CreateRequest::Spec {
        name: name.clone(),
        spec: &spec,
        deployment: &f.deployment,
        labels: labels.to_map(),
        beside: None,
    };
    f.engine.create(&request).await.unwrap();
    f.inert("lock", None).await.unwrap();
    let volume = format!("{}_data", f.deployment);
    f.engine.create_volume(&volume, &f.labels()).await.unwrap();
    let host = "local".parse::<mastic::model::HostName>().unwrap();
    let engines: BTreeMap<_, _> = [(host.clone(), f.engine.clone())].into();

    let seen = observe(&engines, &f.deployment).await.unwrap();
    assert_eq!((&seen.deployment, seen.last_generation, &seen.ledger), (&f.deployment, 7, &None));
    let there = &seen.hosts[&host];
    assert_eq!(
        there.containers.iter().map(|c| c.name.clone()).collect::<Vec<_>>(),
        [name, format!("{}.lock", f.deployment)]
    );
    assert_eq!(there.containers[0].slot_labels.as_ref(), Some(&labels));
    assert_eq!(there.containers[1].slot_labels, None);
    assert_eq!(there.volumes.iter().map(|v| &v.name).collect::<Vec<_>>(), [&volume]);
    assert!(there.images.contains(&f.image.id));

    let nothing = observe(&engines, &f.other()).await.unwrap();
    assert_eq!((nothing.last_generation, nothing.hosts[&host].containers.len()), (0, 0));
}
