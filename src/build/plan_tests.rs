use super::*;
use crate::build::{graph, input};
use crate::model::ReleaseName;
use crate::profile::Library;

struct World {
    library: Library,
    settings: Settings,
    present: Vec<ObservedImage>,
}

impl World {
    fn new() -> Self {
        let mut library = Library::default();
        for (path, text) in [
            ("base/Dockerfile", "FROM debian\n"),
            ("base/base.yaml", "suite: trixie\n"),
            ("python/Dockerfile", "FROM base\nCOPY list /l\n"),
            ("python/list", "a"),
            ("keystone/Dockerfile", "FROM base AS build\nFROM python\nCOPY --from=build /a /a\n"),
        ] {
            library.insert(format!("images/{path}"), text, path);
        }
        let settings = Settings {
            release: ReleaseName::new("1").unwrap(),
            namespace: "m".to_owned(),
            tag: None,
            base: None,
        };
        Self { library, settings, present: Vec::new() }
    }

    fn plan_with(&self, no_cache: bool) -> BuildPlan {
        let graph = graph::read(&self.library, &[]).unwrap();
        let inputs = input::collect(&self.library, &graph, &self.settings).unwrap();
        let all: BTreeSet<String> =
            graph.order.iter().map(ToString::to_string).chain([DEBIAN.to_owned()]).collect();
        let forced = if no_cache { all } else { BTreeSet::new() };
        decide(&graph, &inputs, &self.settings, &graph.order, &self.present, &forced)
    }

    fn plan(&self) -> BuildPlan {
        self.plan_with(false)
    }

    /// Pretends that everything was built, under the ids given by `id`.
    fn built(mut self, id: impl Fn(&str) -> String) -> Self {
        let graph = graph::read(&self.library, &[]).unwrap();
        let inputs = input::collect(&self.library, &graph, &self.settings).unwrap();
        for planned in self.plan_with(true).images {
            let parents: BTreeMap<_, _> =
                planned.after.iter().map(|parent| (parent.clone(), id(parent))).collect();
            let parts = ImageName::new(&planned.image)
                .ok()
                .and_then(|name| inputs.images.get(&name))
                .map(|input| short_parts(&input.parts))
                .unwrap_or_default();
            let labels = [
                (IMAGE, planned.image.clone()),
                (INPUT_HASH, planned.input_hash),
                (PARENTS, serde_json::to_string(&parents).unwrap()),
                (INPUTS, serde_json::to_string(&parts).unwrap()),
            ];
            self.present.push(ObservedImage {
                id: ImageId(id(&planned.image)),
                tags: vec![planned.reference],
                labels: labels.map(|(key, value)| (key.to_owned(), value)).into_iter().collect(),
                size: 1,
                created_at: String::new(),
                repo_digests: Vec::new(),
                layers: Vec::new(),
            });
        }
        self
    }
}

fn sha(name: &str) -> String {
    format!("sha256:{name}")
}

#[test]
fn on_an_empty_engine_everything_must_be_built_parents_first() {
    insta::assert_snapshot!(World::new().plan(), @"
     + debian    build  no image yet
     + base      build  stands on debian, which is new; no image yet
     + python    build  stands on base, which is new; no image yet
     + keystone  build  stands on base, which is new; stands on python, which is new; no image yet
    4 to build, 0 unchanged
    ");
}

#[test]
fn what_was_built_must_be_kept() {
    let world = World::new().built(sha);
    assert!(world.plan().is_empty());
    assert_eq!(world.plan().to_string(), "0 to build, 4 unchanged");
}

#[test]
fn a_changed_file_must_be_named_and_must_reach_the_children() {
    let mut world = World::new().built(sha);
    world.library.insert("images/python/list", "b", "x");
    insta::assert_snapshot!(world.plan(), @"
     + python    build  changed: list
     + keystone  build  stands on python, which is new
    2 to build, 2 unchanged
    ");
}

#[test]
fn a_parent_rebuilt_from_the_same_input_must_reach_the_children() {
    let mut world = World::new().built(sha);
    for image in world.present.iter_mut().filter(|image| image.tags == ["m/python:1"]) {
        image.id = ImageId(sha("other"));
    }
    insta::assert_snapshot!(world.plan(), @"
     + keystone  build  stands on python, which is new
    1 to build, 3 unchanged
    ");
}

#[test]
fn the_same_image_under_another_tag_must_be_tagged_not_built() {
    let mut world = World::new().built(sha);
    world.settings.tag = Some("next".to_owned());
    let plan = world.plan();
    assert!(plan.to_string().ends_with("0 to build, 1 unchanged"), "{plan}");
    assert_eq!(plan.images[3].decision, Decision::Tag(ImageId(sha("keystone"))));
}

#[test]
fn an_image_that_somebody_built_upon_ours_must_not_be_taken_for_ours() {
    let mut world = World::new().built(sha);
    let ours = world.present[3].clone();
    let layers = |count: usize| (0..count).map(|n| format!("sha256:layer{n}")).collect::<Vec<_>>();
    world.present[3].layers = layers(3);
    // It has the labels of what it stands on, and is younger. Under another name, or the same.
    for (id, tag) in [("patched", "m/keystone:patched"), ("tool", "m/tool:1")] {
        let created_at = "2026-11-27T05:00:00Z".to_owned();
        let (id, tags) = (ImageId(sha(id)), vec![tag.to_owned()]);
        world.present.push(ObservedImage { id, tags, created_at, layers: layers(4), ..ours.clone() });
    }
    world.settings.tag = Some("next".to_owned());
    assert_eq!(world.plan().images[3].decision, Decision::Tag(ImageId(sha("keystone"))));

    world.present.retain(|image| ![sha("keystone"), sha("patched")].contains(&image.id.0));
    assert_eq!(world.plan().images[3].decision, Decision::Build(vec![Reason::Missing]));
}

#[test]
fn an_image_that_mastic_did_not_build_must_be_built_and_said_so() {
    let mut world = World::new().built(sha);
    for image in &mut world.present {
        if image.tags == ["m/keystone:1"] {
            image.labels.clear();
        }
    }
    insta::assert_snapshot!(world.plan(), @"
     + keystone  build  the image under this name was not built by Mastic
    1 to build, 3 unchanged
    ");
}

#[test]
fn the_operators_base_must_be_pulled_when_it_is_missing_and_kept_when_it_is_there() {
    let mut world = World::new();
    world.settings.base = Some("debian:trixie-slim".to_owned());
    assert_eq!(world.plan().images[0].decision, Decision::Pull);
    world.present.push(ObservedImage {
        id: ImageId(sha("slim")),
        tags: vec!["docker.io/library/debian:trixie-slim".to_owned()],
        labels: BTreeMap::new(),
        size: 1,
        created_at: String::new(),
        repo_digests: Vec::new(),
        layers: Vec::new(),
    });
    assert_eq!(world.plan().images[0].decision, Decision::Keep(ImageId(sha("slim"))));
}
