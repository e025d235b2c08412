//! Whole runs against a small cloud in this process.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Arc, Mutex};

use serde_json::{Value, json};

use super::*;
use crate::cloud::fake::Fake;
use crate::report::Silent;

/// A Keystone with roles, and a Glance if asked for.
struct Cloud {
    keystone: Fake,
    images: Arc<Mutex<Glance>>,
    state: tempfile::TempDir,
}

#[derive(Debug, Default)]
struct Glance {
    images: BTreeMap<String, (Value, Vec<u8>)>,
    made: usize,
    /// Downloads are not what was uploaded.
    lies: bool,
    /// Nothing ever becomes active.
    hangs: bool,
}

impl Glance {
    fn answer(&mut self, method: &str, path: &str, body: &[u8]) -> (u16, Vec<u8>) {
        let path = path.strip_prefix("/image/v2/images").unwrap_or("?");
        let parts: Vec<&str> = path.split(['/', '?']).collect();
        let json = |status: u16, value: Value| (status, value.to_string().into_bytes());
        match (method, parts.as_slice()) {
            ("POST", [""]) => {
                self.made += 1;
                let id = format!("image-{}", self.made);
                let mut image: Value = serde_json::from_slice(body).unwrap();
                image["id"] = json!(id);
                image["status"] = json!("queued");
                self.images.insert(id, (image.clone(), Vec::new()));
                json(201, image)
            }
            ("PUT", ["", id, "file"]) => {
                let hangs = self.hangs;
                let (image, content) = self.images.get_mut(*id).unwrap();
                *content = body.to_vec();
                image["status"] = json!(if hangs { "saving" } else { "active" });
                (204, Vec::new())
            }
            ("GET", ["", id, "file"]) => {
                let mut content = self.images[*id].1.clone();
                if self.lies {
                    content.pop();
                }
                (200, content)
            }
            ("GET", ["", id]) => json(200, self.images[*id].0.clone()),
            ("DELETE", ["", id]) => {
                self.images.remove(*id);
                (204, Vec::new())
            }
            _ => json(404, json!({"message": "no such thing"})),
        }
    }

    /// A list has a query, an image has not.
    fn serve(&mut self, method: &str, path: &str, body: &[u8]) -> (u16, Vec<u8>) {
        if method == "GET" && path.contains("?owner=") {
            let images: Vec<_> = self.images.values().map(|(image, _)| image).collect();
            return (200, json!({"images": images}).to_string().into_bytes());
        }
        self.answer(method, path, body)
    }
}

impl Cloud {
    fn start(with_images: bool) -> Self {
        let keystone = Fake::start(None);
        let images = Arc::new(Mutex::new(Glance::default()));
        let root = keystone.url("127.0.0.1").replace("/v3", "");
        {
            let mut world = keystone.world();
            world.add("roles", json!({"name": "admin"}));
            world.add("roles", json!({"name": "member"}));
            let mut service = |kind: &str, url: String| {
                let id = world.add("services", json!({"name": kind, "type": kind}));
                let endpoint =
                    json!({"service_id": id, "interface": "public", "url": url, "region_id": "RegionOne"});
                world.add("endpoints", endpoint);
            };
            service("identity", format!("{root}/v3"));
            if with_images {
                service("image", format!("{root}/image"));
                let images = images.clone();
                world.other = Some(Box::new(move |method, path, body| {
                    images.lock().unwrap().serve(method, path, body)
                }));
            }
        }
        Self { keystone, images, state: tempfile::tempdir().unwrap() }
    }

    fn options(&self) -> Options {
        let kinds: Vec<String> = self.keystone.world().items["services"]
            .iter()
            .map(|s| s["type"].as_str().unwrap().to_owned())
            .collect();
        Options {
            facts: Facts {
                services: kinds.into_iter().map(|kind| (kind.clone(), kind)).collect(),
                region: "RegionOne".to_owned(),
                ..Facts::default()
            },
            access: IdentityAccess {
                url: self.keystone.url("127.0.0.1"),
                user: "admin".to_owned(),
                project: "admin".to_owned(),
                password: Secret::new("secret-of-admin"),
                after: std::collections::BTreeSet::new(),
            },
            state: Path::new(self.state.path()).to_owned(),
            deployment: "aio".to_owned(),
            release: "2026.1".to_owned(),
            machine: "here".to_owned(),
            choice: Choice::default(),
            guest: None,
            browser: None,
            keep: false,
        }
    }

    async fn verify(&self) -> Report {
        run(&self.options(), Arc::new(Silent), &CancellationToken::new()).await.unwrap()
    }

    /// Names of projects and users, and the number of images.
    fn left(&self) -> (Vec<String>, usize) {
        let world = self.keystone.world();
        let names = ["projects", "users"].into_iter().flat_map(|kind| &world.items[kind]);
        (
            names.map(|item| item["name"].as_str().unwrap().to_owned()).collect(),
            self.images.lock().unwrap().images.len(),
        )
    }
}

fn summary(report: &Report) -> String {
    report
        .rows()
        .iter()
        .map(|row| format!("{} {}: {}", row[0], row[1], row[3]))
        .collect::<Vec<_>>()
        .join("\n")
}

#[tokio::test]
async fn an_identity_cloud_must_pass_and_be_left_as_it_was() {
    let cloud = Cloud::start(false);
    let before = cloud.left();
    let report = cloud.verify().await;
    assert!(report.is_ok(), "{}", summary(&report));
    assert_eq!(report.steps.len(), 3);
    assert_eq!(report.cleanup.as_deref(), Ok("1 project, 1 user"));
    assert_eq!(cloud.left(), before);
}

#[tokio::test]
async fn a_cloud_with_images_must_pass_and_keep_none() {
    let cloud = Cloud::start(true);
    let report = cloud.verify().await;
    assert!(report.is_ok(), "{}", summary(&report));
    assert_eq!(report.cleanup.as_deref(), Ok("1 image, 1 project, 1 user"));
    assert_eq!(cloud.images.lock().unwrap().made, 1);
    assert_eq!(cloud.left().1, 0);
}

#[tokio::test]
async fn a_cloud_that_changes_bytes_must_fail_and_be_cleaned_up() {
    let cloud = Cloud::start(true);
    cloud.images.lock().unwrap().lies = true;
    let before = cloud.left();
    let report = cloud.verify().await;
    assert!(!report.is_ok());
    let text = summary(&report);
    assert!(text.contains("FAILED image: image image-1 came back as 4194303 bytes"), "{text}");
    assert_eq!(cloud.left(), before);
}

#[tokio::test]
async fn a_catalogue_that_lacks_a_service_must_fail() {
    let cloud = Cloud::start(false);
    let mut options = cloud.options();
    options.facts.services.insert("volumev3".to_owned(), "cinder".to_owned());
    let report = run(&options, Arc::new(Silent), &CancellationToken::new()).await.unwrap();
    let text = summary(&report);
    assert!(text.contains("FAILED token: not in the user's catalogue: volumev3"), "{text}");
    assert!(text.contains("skipped volume: token failed"), "{text}");
}

#[tokio::test]
async fn an_interrupted_run_must_be_cleaned_up() {
    let cloud = Cloud::start(true);
    cloud.images.lock().unwrap().hangs = true;
    let before = cloud.left();
    let cancel = CancellationToken::new();
    let images = cloud.images.clone();
    let stop = async {
        while images.lock().unwrap().made == 0 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        cancel.cancel();
    };
    let options = cloud.options();
    let (report, ()) = tokio::join!(run(&options, Arc::new(Silent), &cancel), stop);
    let report = report.unwrap();
    assert!(report.is_interrupted(), "{}", summary(&report));
    assert_eq!(cloud.left(), before);
}

#[tokio::test]
async fn what_a_killed_run_left_must_go_and_what_a_living_one_has_must_stay() {
    let cloud = Cloud::start(true);
    let now = u64::try_from(Timestamp::now().as_second()).unwrap();
    let (dead, alive) = (names::run_name("here", now - 60), names::run_name("there", now - 60));
    for name in [&dead, &alive] {
        let mut world = cloud.keystone.world();
        world.add("projects", json!({"name": name}));
        world.add("users", json!({"name": name, "password": "x", "enabled": true}));
    }
    let report = cloud.verify().await;
    assert!(report.is_ok(), "{}", summary(&report));
    let (names, _) = cloud.left();
    assert!(!names.contains(&dead) && names.iter().filter(|name| **name == alive).count() == 2, "{names:?}");
}

#[tokio::test]
async fn kept_things_must_be_there_and_a_wrong_password_must_end_it_at_once() {
    let cloud = Cloud::start(false);
    let mut options = cloud.options();
    options.keep = true;
    let report = run(&options, Arc::new(Silent), &CancellationToken::new()).await.unwrap();
    assert!(cloud.left().0.contains(&report.name));
    options.access.password = Secret::new("wrong-password");
    let error = run(&options, Arc::new(Silent), &CancellationToken::new()).await.unwrap_err();
    assert!(!error.to_string().contains("wrong-password"), "{error}");
}
