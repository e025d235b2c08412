use super::*;
use crate::build::graph;

fn library(files: &[(&str, &str)]) -> Library {
    let mut library = Library::default();
    let base = [
        ("base/Dockerfile", "FROM debian\nCOPY users /u\n"),
        ("base/users", "a"),
        ("base/README.md", "words"),
        ("base/base.yaml", "suite: trixie\n"),
        (
            "python/Dockerfile",
            "FROM base\nRUN --mount=type=bind,source=release,target=/run/release pip /run/release/common.txt\n",
        ),
        ("keystone/Dockerfile", "FROM python\n"),
        ("memcached/Dockerfile", "FROM base\nARG SUITE\n"),
        ("releases/1/common.txt", "x==1"),
        ("releases/1/nova.txt", "nova==1"),
        ("releases/2/common.txt", "x==2"),
    ];
    for (path, text) in base.iter().chain(files) {
        library.insert(format!("images/{path}"), *text, format!("images/{path}"));
    }
    library
}

fn settings(release: &str) -> Settings {
    Settings {
        release: ReleaseName::new(release).unwrap(),
        namespace: "mastic".to_owned(),
        tag: None,
        base: None,
    }
}

fn inputs(library: &Library, settings: &Settings) -> Inputs {
    let graph = graph::read(library, &[]).unwrap();
    collect(library, &graph, settings).unwrap()
}

/// Returns the images whose hash differs between two libraries.
fn changed(before: &Inputs, after: &Inputs) -> Vec<String> {
    let differs = |name: &&ImageName| before.images[*name].hash != after.images[*name].hash;
    before.images.keys().filter(differs).map(ToString::to_string).collect()
}

#[test]
fn a_change_must_reach_the_image_and_all_that_stand_on_it_and_no_other() {
    let before = inputs(&library(&[]), &settings("1"));
    let change =
        |path: &str, text: &str| changed(&before, &inputs(&library(&[(path, text)]), &settings("1")));
    assert_eq!(change("base/users", "b"), ["base", "keystone", "memcached", "python"]);
    assert_eq!(change("releases/1/common.txt", "x==3"), ["keystone", "python"]);
    assert_eq!(change("keystone/Dockerfile", "FROM python\n\n"), ["keystone"]);
    assert_eq!(change("base/base.yaml", "suite: forky\n"), ["base", "keystone", "memcached", "python"]);
}

#[test]
fn what_no_instruction_takes_must_change_nothing() {
    let before = inputs(&library(&[]), &settings("1"));
    for (path, text) in [
        ("base/README.md", "other words"),
        ("base/image.yaml", "summary: other\n"),
        ("releases/1/nova.txt", "nova==2"),
        ("base/base.yaml", "# a comment\nsuite: trixie\n"),
    ] {
        let after = inputs(&library(&[(path, text)]), &settings("1"));
        assert_eq!(changed(&before, &after), Vec::<String>::new(), "{path}");
    }
}

#[test]
fn another_release_must_change_only_what_follows_it() {
    let library = library(&[]);
    let (one, two) = (inputs(&library, &settings("1")), inputs(&library, &settings("2")));
    assert_eq!(changed(&one, &two), ["keystone", "python"]);
    let scoped = |name: &str| one.images[&ImageName::new(name).unwrap()].release_scoped;
    assert!(scoped("python") && scoped("keystone") && !scoped("base") && !scoped("memcached"));
    let python = &one.images[&ImageName::new("python").unwrap()];
    assert_eq!(python.files.keys().collect::<Vec<_>>(), ["release/common.txt"]);
}

#[test]
fn the_operators_base_must_be_part_of_the_hash() {
    let library = library(&[]);
    let other = Settings { base: Some("debian:trixie-slim".to_owned()), ..settings("1") };
    let all = ["base", "keystone", "memcached", "python"];
    assert_eq!(changed(&inputs(&library, &settings("1")), &inputs(&library, &other)), all);
}

#[test]
fn a_missing_file_and_a_false_scope_must_be_reported_with_file_and_line() {
    let library = library(&[
        ("glance/Dockerfile", "FROM base\nCOPY policy /x\nCOPY release/glance.txt /y\n"),
        ("keystone/image.yaml", "release_scoped: false\n"),
    ]);
    let graph = graph::read(&library, &[]).unwrap();
    let problems = collect(&library, &graph, &settings("1")).unwrap_err().to_string();
    let lines: Vec<_> = problems.lines().collect();
    assert_eq!(lines[0], "images/glance/Dockerfile:2: `policy` is not in this image's folder");
    assert!(
        lines[1].starts_with("images/glance/Dockerfile:3: `release/glance.txt` is not in images/releases/1/")
    );
    assert!(lines[2].starts_with("images/keystone/image.yaml:1: image `keystone` says"), "{}", lines[2]);
}
