//! A small Keystone for tests, on a socket of the loopback, with or without TLS.

use std::collections::BTreeSet;
use std::io::{BufRead as _, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex, MutexGuard};

use rustls::pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject as _};
use serde_json::{Value, json};

use super::{Login, ProjectRef};
use crate::model::Secret;
use crate::store::tls::TlsMaterial;

/// Another API beside Keystone: method, path with query, body; status and body.
pub(crate) type Other = Box<dyn FnMut(&str, &str, &[u8]) -> (u16, Vec<u8>) + Send>;

/// What it knows, and how it misbehaves.
#[derive(Default)]
pub(crate) struct World {
    pub(crate) items: std::collections::BTreeMap<&'static str, Vec<Value>>,
    /// `project-or-domain user role`, ids.
    pub(super) grants: BTreeSet<(String, String, String)>,
    pub(super) tokens: BTreeSet<String>,
    /// `METHOD path`, in order; of tokens with the user's name.
    pub(super) log: Vec<String>,
    /// So many answers are the proxy's 503.
    pub(super) unavailable: usize,
    /// Lists of these kinds are empty once: somebody makes the same things at the same time.
    pub(super) hidden: BTreeSet<&'static str>,
    /// New things are taken and forgotten.
    pub(super) forgetful: bool,
    /// `/` answers this instead of 200.
    pub(super) root_status: Option<u16>,
    /// Answers for everything outside of `/v3`, once there.
    pub(crate) other: Option<Other>,
    next: usize,
}

impl std::fmt::Debug for World {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("World").field("items", &self.items).finish_non_exhaustive()
    }
}

#[derive(Debug)]
pub(crate) struct Fake {
    pub(super) address: SocketAddr,
    world: Arc<Mutex<World>>,
    scheme: &'static str,
}

impl Fake {
    /// Starts one that has its administrator (`admin`, `secret-of-admin`).
    pub(crate) fn start(tls: Option<&TlsMaterial>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let mut world = World::default();
        world.add("projects", json!({"name": "admin"}));
        world.add("users", json!({"name": "admin", "password": "secret-of-admin", "enabled": true}));
        let world = Arc::new(Mutex::new(world));
        let config = tls.map(server_config);
        let served = world.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let (world, config) = (served.clone(), config.clone());
                std::thread::spawn(move || {
                    let stream = stream.unwrap();
                    match config {
                        None => serve(stream, &world),
                        Some(config) => {
                            let connection = rustls::ServerConnection::new(config).unwrap();
                            serve(rustls::StreamOwned::new(connection, stream), &world);
                        }
                    }
                });
            }
        });
        Self { address, world, scheme: if tls.is_some() { "https" } else { "http" } }
    }

    pub(crate) fn url(&self, host: &str) -> String {
        format!("{}://{host}:{}/v3", self.scheme, self.address.port())
    }

    /// Its administrator's login, on its own project.
    pub(crate) fn login(&self) -> Login {
        Login {
            url: self.url("127.0.0.1"),
            user: "admin".to_owned(),
            password: Secret::new("secret-of-admin"),
            project: ProjectRef::Name("admin".to_owned()),
            region: "RegionOne".to_owned(),
        }
    }

    pub(crate) fn world(&self) -> MutexGuard<'_, World> {
        self.world.lock().unwrap()
    }

    /// Returns the requests since the last call that are not mere questions.
    pub(super) fn changes(&self) -> Vec<String> {
        let log = std::mem::take(&mut self.world().log);
        let mut changes: Vec<_> = log.into_iter().filter(|line| !line.starts_with("GET")).collect();
        changes.sort();
        changes
    }
}

fn server_config(tls: &TlsMaterial) -> Arc<rustls::ServerConfig> {
    let cert = CertificateDer::from_pem_slice(tls.vip_cert.as_bytes()).unwrap();
    let key = PrivateKeyDer::from_pem_slice(tls.vip_key.expose().as_bytes()).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![cert], key)
        .unwrap();
    Arc::new(config)
}

/// Answers requests until the client goes.
fn serve(stream: impl Read + Write, world: &Mutex<World>) {
    let mut stream = BufReader::new(stream);
    while let Some((method, path, token, body)) = read_request(&mut stream) {
        let (status, token, body) = {
            let mut world = world.lock().unwrap();
            match &mut world.other {
                Some(other) if !path.starts_with("/v3/") => {
                    let (status, body) = other(&method, &path, &body);
                    (status, None, body)
                }
                _ => {
                    let document = serde_json::from_slice(&body).unwrap_or_default();
                    let (status, token, body) = world.answer(&method, &path, token.as_deref(), &document);
                    (status, token, if body.is_null() { Vec::new() } else { body.to_string().into_bytes() })
                }
            }
        };
        let token = token.map(|token| format!("X-Subject-Token: {token}\r\n")).unwrap_or_default();
        let head = format!("HTTP/1.1 {status} x\r\n{token}Content-Length: {}\r\n\r\n", body.len());
        let stream = stream.get_mut();
        if stream.write_all(head.as_bytes()).and_then(|()| stream.write_all(&body)).is_err() {
            return;
        }
        stream.flush().unwrap();
    }
}

fn read_request(stream: &mut BufReader<impl Read>) -> Option<(String, String, Option<String>, Vec<u8>)> {
    let mut line = String::new();
    // A client that refuses the certificate ends in an error here, one that has enough in an empty line.
    if stream.read_line(&mut line).ok()? == 0 {
        return None;
    }
    let mut words = line.split_whitespace().map(str::to_owned);
    let (method, path) = (words.next()?, words.next()?);
    let (mut length, mut token) = (0, None);
    loop {
        let mut header = String::new();
        stream.read_line(&mut header).ok()?;
        let Some((name, value)) = header.trim().split_once(": ") else { break };
        match name.to_ascii_lowercase().as_str() {
            "content-length" => length = value.parse().unwrap(),
            "x-auth-token" => token = Some(value.to_owned()),
            _ => {}
        }
    }
    let mut body = vec![0; length];
    stream.read_exact(&mut body).ok()?;
    Some((method, path, token, body))
}

const KINDS: [(&str, &str); 7] = [
    ("domains", "domain"),
    ("regions", "region"),
    ("services", "service"),
    ("endpoints", "endpoint"),
    ("roles", "role"),
    ("projects", "project"),
    ("users", "user"),
];

/// Returns the id of the domain that an item is in.
fn domain(item: &Value) -> &str {
    item.get("domain_id").and_then(Value::as_str).unwrap_or("default")
}

fn refusal(status: u16, message: &str) -> (u16, Option<String>, Value) {
    (status, None, json!({"error": {"code": status, "message": message, "title": "x"}}))
}

impl World {
    /// Adds an item, and returns its id.
    pub(crate) fn add(&mut self, kind: &'static str, mut item: Value) -> String {
        self.next += 1;
        let id =
            item.get("id").and_then(Value::as_str).map_or_else(|| format!("id{}", self.next), str::to_owned);
        item["id"] = json!(id);
        self.items.entry(kind).or_default().push(item);
        id
    }

    pub(super) fn find(&mut self, kind: &str, name: &str) -> &mut Value {
        self.items.get_mut(kind).unwrap().iter_mut().find(|item| item["name"] == name).unwrap()
    }

    fn answer(
        &mut self,
        method: &str,
        path: &str,
        token: Option<&str>,
        body: &Value,
    ) -> (u16, Option<String>, Value) {
        if self.unavailable > 0 {
            self.unavailable -= 1;
            return (503, None, Value::Null);
        }
        let Some(path) = path.strip_prefix("/v3/") else {
            self.log.push(format!("{method} {path}"));
            return (self.root_status.unwrap_or(200), None, Value::Null);
        };
        if path == "auth/tokens" {
            return self.token(body);
        }
        self.log.push(format!("{method} {path}"));
        if !token.is_some_and(|token| self.tokens.contains(token)) {
            return refusal(401, "The request you have made requires authentication.");
        }
        let (path, query) = path.split_once('?').unwrap_or((path, ""));
        let parts: Vec<&str> = path.split('/').collect();
        let is_admin = token.is_some_and(|token| token.ends_with("-admin"));
        match (method, parts.as_slice()) {
            _ if !is_admin => refusal(403, "You are not authorized to perform the requested action."),
            ("DELETE", [kind, id]) => {
                let items = self.items.get_mut(*kind).unwrap();
                let before = items.len();
                items.retain(|item| item["id"] != *id);
                if items.len() < before { (204, None, Value::Null) } else { refusal(404, "no such item") }
            }
            ("GET", [kind]) => self.list(kind, query),
            ("POST", [kind]) => self.create(kind, body),
            ("PATCH", [kind, id]) => self.update(kind, id, body),
            ("GET", ["projects" | "domains", project, "users", user, "roles"]) => {
                let roles: Vec<_> = self
                    .grants
                    .iter()
                    .filter(|(p, u, _)| p == project && u == user)
                    .map(|(_, _, role)| json!({"id": role}))
                    .collect();
                (200, None, json!({"roles": roles}))
            }
            ("PUT", ["projects" | "domains", project, "users", user, "roles", role]) => {
                let [project, user, role] = [project, user, role].map(|id| (*id).to_owned());
                self.grants.insert((project, user, role));
                (204, None, Value::Null)
            }
            _ => refusal(404, "no such thing"),
        }
    }

    fn token(&mut self, body: &Value) -> (u16, Option<String>, Value) {
        let user = &body["auth"]["identity"]["password"]["user"];
        let name = user["name"].as_str().unwrap();
        self.log.push(format!("TOKEN {name}"));
        let known = self.items["users"].iter().any(|known| {
            let here = domain(known) == user["domain"]["id"];
            here && known["name"] == name && known["password"] == user["password"] && known["enabled"] == true
        });
        if !known {
            return refusal(401, "The request you have made requires authentication.");
        }
        self.next += 1;
        let token = format!("token-{}-{name}", self.next);
        self.tokens.insert(token.clone());
        let catalogue: Vec<_> = self
            .items
            .get("services")
            .into_iter()
            .flatten()
            .map(|service| {
                let endpoints: Vec<_> = self.items["endpoints"]
                    .iter()
                    .filter(|endpoint| endpoint["service_id"] == service["id"])
                    .cloned()
                    .map(|mut endpoint| {
                        // A token's catalogue has the region twice.
                        endpoint["region"] = endpoint["region_id"].clone();
                        endpoint
                    })
                    .collect();
                json!({"id": service["id"], "name": service["name"], "type": service["type"], "endpoints": endpoints})
            })
            .collect();
        (
            201,
            Some(token),
            json!({"token": {
                "expires_at": "2999-01-01T00:00:00.000000Z",
                "catalog": catalogue,
                "user": {"id": name, "name": name},
            }}),
        )
    }

    fn list(&mut self, kind: &str, query: &str) -> (u16, Option<String>, Value) {
        let name = query.split('&').find_map(|pair| pair.strip_prefix("name="));
        let mut items: Vec<_> = self.items.get(kind).cloned().unwrap_or_default();
        items.retain(|item| name.is_none_or(|name| item["name"] == name));
        let within = query.split('&').find_map(|pair| pair.strip_prefix("domain_id="));
        items.retain(|item| within.is_none_or(|within| domain(item) == within));
        let begin = query.split('&').find_map(|pair| pair.strip_prefix("name__startswith="));
        items.retain(|item| begin.is_none_or(|begin| item["name"].as_str().unwrap().starts_with(begin)));
        for item in &mut items {
            item.as_object_mut().unwrap().remove("password");
        }
        if self.hidden.remove(kind) {
            items.clear();
        }
        (200, None, json!({kind: items}))
    }

    fn create(&mut self, kind: &str, body: &Value) -> (u16, Option<String>, Value) {
        let (kind, one) = KINDS.into_iter().find(|(known, _)| *known == kind).unwrap();
        let mut item = body[one].clone();
        let key = if kind == "regions" { "id" } else { "name" };
        // As in Keystone, services and endpoints may be doubled, all else not.
        let taken = !matches!(kind, "services" | "endpoints")
            && self
                .items
                .get(kind)
                .into_iter()
                .flatten()
                .any(|known| known[key] == item[key] && domain(known) == domain(&item));
        if taken {
            return refusal(409, "Conflict occurred attempting to store it: it exists already.");
        }
        if kind == "endpoints"
            && !self.items["services"].iter().any(|service| service["id"] == item["service_id"])
        {
            return refusal(400, "no such service");
        }
        if self.forgetful {
            item["id"] = json!("forgotten");
        } else {
            let id = self.add(kind, item.clone());
            item["id"] = json!(id);
        }
        (201, None, json!({one: item}))
    }

    fn update(&mut self, kind: &str, id: &str, body: &Value) -> (u16, Option<String>, Value) {
        let (_, one) = KINDS.into_iter().find(|(known, _)| *known == kind).unwrap();
        let Some(item) =
            self.items.get_mut(kind).and_then(|items| items.iter_mut().find(|item| item["id"] == id))
        else {
            return refusal(404, "no such item");
        };
        for (key, value) in body[one].as_object().unwrap() {
            item[key] = value.clone();
        }
        (200, None, json!({one: item}))
    }
}

/// Waits until nobody listens at an address any more: for tests of silence.
pub(super) fn dead_address() -> SocketAddr {
    let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    assert!(TcpStream::connect(address).is_err(), "somebody took the port meanwhile");
    address
}
