//! Boots against a small cloud in this process.

use std::sync::{Arc, Mutex};

use super::*;
use crate::cloud::fake::Fake;

/// Things by kind, and the status that the next server comes to.
#[derive(Debug, Default)]
struct Things {
    all: Vec<(&'static str, Value)>,
    made: usize,
    next: Option<Value>,
    /// The next request for a server is answered by the proxy.
    unavailable: bool,
    /// Times that servers are still seen after their deletion.
    lingers: usize,
    /// Servers that are being deleted, by request.
    going: Vec<String>,
}

const KINDS: [(&str, &str); 5] = [
    ("servers", "server"),
    ("flavors", "flavor"),
    ("networks", "network"),
    ("subnets", "subnet"),
    ("images", ""),
];

impl Things {
    fn serve(&mut self, method: &str, path: &str, body: &[u8]) -> (u16, Vec<u8>) {
        let path = path.split('?').next().unwrap();
        let parts: Vec<&str> = path.trim_start_matches('/').split('/').skip(1).collect();
        let (kind, one) = KINDS.into_iter().find(|(kind, _)| *kind == parts[0]).unwrap();
        let wrapped = |thing: Value| if one.is_empty() { thing } else { json!({one: thing}) };
        let answer = |status: u16, value: Value| (status, value.to_string().into_bytes());
        match (method, &parts[1..]) {
            ("POST", []) if std::mem::take(&mut self.unavailable) => (503, Vec::new()),
            ("POST", []) => {
                self.made += 1;
                let mut thing: Value = serde_json::from_slice(body).unwrap();
                if !one.is_empty() {
                    thing = thing[one].take();
                }
                thing["id"] = json!(format!("{kind}-{}", self.made));
                if kind == "servers" {
                    assert_eq!(thing["networks"][0]["uuid"].as_str().map(|id| &id[..8]), Some("networks"));
                    let end = self.next.take().unwrap_or(json!({"status": "ACTIVE"}));
                    thing.as_object_mut().unwrap().extend(end.as_object().unwrap().clone());
                }
                self.all.push((kind, thing.clone()));
                answer(202, wrapped(thing))
            }
            ("PUT", [_, "file"]) => (204, Vec::new()),
            ("GET", []) => {
                if kind == "servers" && !self.going.is_empty() && self.lingers > 0 {
                    self.lingers -= 1;
                } else {
                    self.all.retain(|(_, thing)| !self.going.iter().any(|id| thing["id"] == *id));
                }
                let found = self.all.iter().filter(|(of, _)| *of == kind).map(|(_, thing)| thing);
                answer(200, json!({kind: found.collect::<Vec<_>>()}))
            }
            ("GET", [id]) => {
                let found = self.all.iter().find(|(_, thing)| thing["id"] == *id);
                found.map_or((404, Vec::new()), |(_, thing)| answer(200, wrapped(thing.clone())))
            }
            ("DELETE", [id]) if kind == "servers" => {
                self.going.push((*id).to_owned());
                (204, Vec::new())
            }
            ("DELETE", [id]) => {
                self.all.retain(|(_, thing)| thing["id"] != *id);
                (204, Vec::new())
            }
            other => panic!("{other:?}"),
        }
    }

    fn names(&self, wanted: &str) -> usize {
        self.all.iter().filter(|(_, thing)| thing["name"] == wanted).count()
    }
}

/// A cloud that has what a killed probe left, and a user's flavor and server.
fn cloud() -> (Fake, Arc<Mutex<Things>>, Login) {
    let keystone = Fake::start(None);
    let things = Arc::new(Mutex::new(Things::default()));
    let root = keystone.url("127.0.0.1").replace("/v3", "");
    {
        let mut world = keystone.world();
        world.add("roles", json!({"name": "admin"}));
        for (kind, url) in [
            ("identity", format!("{root}/v3")),
            ("compute", format!("{root}/v9")),
            ("image", format!("{root}/v9")),
            ("network", format!("{root}/v9")),
        ] {
            let id = world.add("services", json!({"name": kind, "type": kind}));
            world.add(
                "endpoints",
                json!({"service_id": id, "interface": "public", "url": url, "region_id": "RegionOne"}),
            );
        }
        let served = things.clone();
        world.other =
            Some(Box::new(move |method, path, body| served.lock().unwrap().serve(method, path, body)));
        for kind in ["servers", "flavors", "networks", "images"] {
            things.lock().unwrap().all.push((kind, json!({"id": format!("left-{kind}"), "name": NAME})));
        }
        let mut things = things.lock().unwrap();
        things.all.push(("flavors", json!({"id": "small", "name": "small"})));
        things.all.push(("networks", json!({"id": "theirs", "name": NAME, "project_id": "of-a-user"})));
        things.all.push(("images", json!({"id": "theirs-too", "name": NAME, "owner": "of-a-user"})));
    }
    let login = keystone.login();
    (keystone, things, login)
}

#[tokio::test]
async fn servers_must_be_booted_one_after_another_and_nothing_be_left() {
    let (_keystone, things, login) = cloud();
    let state = tempfile::tempdir().unwrap();
    let boots = Boots::prepare(state.path(), &login).await.unwrap();
    assert_eq!(
        things.lock().unwrap().names(NAME),
        2 + 4,
        "theirs; image, flavor, network and subnet, and no leftover"
    );
    boots.one().await.unwrap();
    things.lock().unwrap().going.clear();
    things.lock().unwrap().lingers = 3;
    boots.one().await.unwrap();
    assert_eq!(things.lock().unwrap().going.len(), 1, "one request is enough, however long it takes");
    things.lock().unwrap().next =
        Some(json!({"status": "ERROR", "fault": {"message": "No valid host was found."}}));
    assert_eq!(boots.one().await.unwrap_err(), "ERROR: No valid host was found.");
    things.lock().unwrap().unavailable = true;
    let why = boots.one().await.unwrap_err();
    assert!(why.contains("503"), "{why}");
    clear(state.path(), &login).await.unwrap();
    let left = std::mem::take(&mut things.lock().unwrap().all);
    let left: Vec<_> =
        left.iter().filter(|(kind, _)| *kind != "subnets").map(|(_, thing)| &thing["id"]).collect();
    assert_eq!(left, ["small", "theirs", "theirs-too"], "a user's things are not ours");
}

#[test]
fn the_disk_must_be_one_that_a_pc_boots() {
    let disk = disk();
    assert_eq!((disk.len(), &disk[..4], &disk[510..512]), (IMAGE, &HALT.1[..], &[0x55, 0xaa][..]));
    let blocks = u32::from_le_bytes(disk[458..462].try_into().unwrap());
    assert_eq!(usize::try_from(blocks + 1).unwrap() * 512, IMAGE, "the partition ends with the disk");
}
