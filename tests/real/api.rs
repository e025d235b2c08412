//! A client of Keystone of the tests' own: an independent witness, and one that counts what users would see.

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName};
use serde_json::{Value, json};

use crate::harness::Cloud;

/// Time between two requests of a [`Watch`].
const PAUSE: Duration = Duration::from_millis(25);

/// A Keystone behind its HAProxy, reached as `clouds.yaml` says.
#[derive(Clone, Debug)]
pub struct Api {
    url: String,
    password: String,
    ca: Vec<u8>,
}

impl Api {
    /// Reads the written client files.
    pub fn of(cloud: &Cloud) -> Self {
        let text = std::fs::read_to_string(cloud.state().join("clouds.yaml")).expect("clouds.yaml is there");
        let all: BTreeMap<String, Value> = serde_yaml::from_str(&text).expect("clouds.yaml is YAML");
        let mine = &all["clouds"][&cloud.name];
        let text = |value: &Value| value.as_str().expect("a text").to_owned();
        let ca = std::fs::read(text(&mine["cacert"])).expect("the authority's certificate is there");
        Self { url: text(&mine["auth"]["auth_url"]), password: text(&mine["auth"]["password"]), ca }
    }

    fn client(&self) -> reqwest::Client {
        // Another test of this process may have been first.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let ca = reqwest::Certificate::from_pem(&self.ca).expect("the authority's certificate can be read");
        reqwest::Client::builder()
            .no_proxy()
            .tls_certs_only([ca])
            .timeout(Duration::from_secs(10))
            // What a new client sees, not one with a kept connection.
            .pool_max_idle_per_host(0)
            .build()
            .expect("a client can be made")
    }

    fn block_on<T>(future: impl Future<Output = T>) -> T {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        runtime.expect("a runtime can be made").block_on(future)
    }

    async fn token(&self, client: &reqwest::Client) -> String {
        let user = json!({"name": "admin", "domain": {"id": "default"}, "password": self.password});
        let scope = json!({"project": {"name": "admin", "domain": {"id": "default"}}});
        let identity = json!({"methods": ["password"], "password": {"user": user}});
        let body = json!({"auth": {"identity": identity, "scope": scope}});
        let request = client.post(format!("{}/auth/tokens", self.url)).json(&body);
        let answer = request.send().await.expect("Keystone answers");
        assert_eq!(answer.status().as_u16(), 201, "no token: {answer:?}");
        let token = &answer.headers()["x-subject-token"];
        token.to_str().expect("a token is text").to_owned()
    }

    /// Many clients at once take a token each, several times; every one must get it.
    pub fn crowd(&self, clients: usize, times: usize) {
        Self::block_on(async {
            let client = self.client();
            let one = async |()| {
                for _ in 0..times {
                    self.token(&client).await;
                }
            };
            futures::future::join_all((0..clients).map(|_| one(()))).await;
        });
    }

    /// Makes a project, as a user would keep something.
    pub fn make_project(&self, name: &str) {
        Self::block_on(async {
            let client = self.client();
            let token = self.token(&client).await;
            let body = json!({"project": {"name": name, "domain_id": "default"}});
            let request =
                client.post(format!("{}/projects", self.url)).header("x-auth-token", token).json(&body);
            let answer = request.send().await.expect("Keystone answers");
            assert_eq!(answer.status().as_u16(), 201, "project {name}: {answer:?}");
        });
    }

    /// Makes a user, as a person would register.
    pub fn make_user(&self, name: &str, password: &str) {
        Self::block_on(async {
            let client = self.client();
            let token = self.token(&client).await;
            let body = json!({"user": {"name": name, "domain_id": "default", "password": password}});
            let request =
                client.post(format!("{}/users", self.url)).header("x-auth-token", token).json(&body);
            let answer = request.send().await.expect("Keystone answers");
            assert_eq!(answer.status().as_u16(), 201, "user {name}: {answer:?}");
        });
    }

    /// Says whether a user can log in with a password.
    pub fn can_log_in(&self, name: &str, password: &str) -> bool {
        Self::block_on(async {
            let user = json!({"name": name, "domain": {"id": "default"}, "password": password});
            let identity = json!({"methods": ["password"], "password": {"user": user}});
            let body = json!({"auth": {"identity": identity}});
            let request = self.client().post(format!("{}/auth/tokens", self.url)).json(&body);
            match request.send().await.expect("Keystone answers").status().as_u16() {
                201 => true,
                401 => false,
                other => panic!("{name}: {other}"),
            }
        })
    }

    /// Says whether a project is there; takes a token for it.
    pub fn has_project(&self, name: &str) -> bool {
        Self::block_on(async {
            let client = self.client();
            let token = self.token(&client).await;
            let request =
                client.get(format!("{}/projects?name={name}", self.url)).header("x-auth-token", token);
            let answer = request.send().await.expect("Keystone answers");
            assert_eq!(answer.status().as_u16(), 200, "projects: {answer:?}");
            let found: Value = answer.json().await.expect("Keystone answers in JSON");
            found["projects"].as_array().is_some_and(|list| !list.is_empty())
        })
    }

    /// Opens a connection, asks for the API's first page over it, and keeps it.
    pub fn keep(&self) -> Kept {
        let url = reqwest::Url::parse(&self.url).expect("clouds.yaml has a URL");
        let (host, port) = (url.host_str().expect("a host"), url.port().expect("a port"));
        let mut roots = rustls::RootCertStore::empty();
        let ca = CertificateDer::from_pem_slice(&self.ca).expect("the authority's certificate can be read");
        roots.add(ca).expect("the authority can be trusted");
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = rustls::ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .expect("ring has them")
            .with_root_certificates(roots)
            .with_no_client_auth();
        let name = ServerName::try_from(host.to_owned()).expect("a name or an address");
        let session = rustls::ClientConnection::new(Arc::new(config), name).expect("TLS can begin");
        let stream = TcpStream::connect((host, port)).expect("the proxy listens");
        let mut kept = Kept {
            stream: BufReader::new(rustls::StreamOwned::new(session, stream)),
            path: url.path().to_owned(),
            used: Instant::now(),
        };
        kept.ask();
        kept
    }

    /// Asks for the API's first page again and again, until [`Watch::end`].
    pub fn watch(&self) -> Watch {
        let stop = Arc::new(AtomicBool::new(false));
        let (api, stopped) = (self.clone(), Arc::clone(&stop));
        let thread = std::thread::spawn(move || {
            Self::block_on(async {
                let client = api.client();
                let mut seen = Seen::default();
                let mut bad_since: Option<Instant> = None;
                while !stopped.load(Ordering::Relaxed) {
                    let asked = Instant::now();
                    let answer = client.get(&api.url).send().await;
                    let wrong = match answer {
                        Ok(answer) if answer.status().as_u16() == 200 => None,
                        Ok(answer) => Some(answer.status().to_string()),
                        Err(error) => Some(format!("{error:?}")),
                    };
                    seen.asked += 1;
                    match wrong {
                        None => bad_since = None,
                        Some(wrong) => {
                            let since = *bad_since.get_or_insert(asked);
                            seen.outage = seen.outage.max(since.elapsed());
                            seen.failures.push(wrong);
                        }
                    }
                    tokio::time::sleep(PAUSE).await;
                }
                seen
            })
        });
        Watch { stop, thread }
    }
}

/// What a [`Watch`] saw.
#[derive(Debug, Default)]
pub struct Seen {
    /// Requests.
    pub asked: usize,
    /// Why each bad one was bad.
    pub failures: Vec<String>,
    /// The longest time without a good answer.
    pub outage: Duration,
}

/// A client that asks again and again, on a thread of its own.
#[derive(Debug)]
pub struct Watch {
    stop: Arc<AtomicBool>,
    thread: JoinHandle<Seen>,
}

impl Watch {
    /// Ends it and returns what it saw.
    pub fn end(self) -> Seen {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.join().expect("the client does not panic")
    }
}

/// A connection that is used again and again.
#[derive(Debug)]
pub struct Kept {
    stream: BufReader<rustls::StreamOwned<rustls::ClientConnection, TcpStream>>,
    path: String,
    used: Instant,
}

impl Kept {
    fn ask(&mut self) {
        let request = format!("GET {} HTTP/1.1\r\nHost: test\r\n\r\n", self.path);
        self.stream.get_mut().write_all(request.as_bytes()).expect("the connection takes a request");
        let mut line = || {
            let mut line = String::new();
            self.stream.read_line(&mut line).expect("the connection has an answer");
            line.trim_end().to_lowercase()
        };
        let status = line();
        assert!(
            status.starts_with("http/1.1 200"),
            "{status:?}: an empty one is a connection that was closed"
        );
        let headers: Vec<String> =
            std::iter::from_fn(|| Some(line()).filter(|line| !line.is_empty())).collect();
        let length = headers.iter().find_map(|header| header.strip_prefix("content-length: ")?.parse().ok());
        let mut body = vec![0; length.expect("Keystone says how long its answer is")];
        self.stream.read_exact(&mut body).expect("the answer is whole");
        self.used = Instant::now();
    }

    /// Uses it once more when it has been idle for so long.
    pub fn ask_after(mut self, idle: Duration) {
        std::thread::sleep(idle.saturating_sub(self.used.elapsed()));
        self.ask();
    }
}
