//! build and images: what is decided, what is kept, what a fault of the network is and what is not, what a build
//! inherits from its host.

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::Stdio;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use crate::harness::{Cloud, docker};

/// Removes the tags of a test's namespace, and with their last tag the images that only it had.
struct Tags(&'static str);

impl Tags {
    fn all(&self) -> Vec<String> {
        docker(&["images", "--format", "{{.Repository}}:{{.Tag}}"])
            .lines()
            .filter(|tag| tag.contains(self.0))
            .map(str::to_owned)
            .collect()
    }
}

impl Drop for Tags {
    fn drop(&mut self) {
        let tags = self.all();
        if !tags.is_empty() {
            let removed = std::process::Command::new("docker").arg("rmi").args(&tags).output();
            // A second panic would end the whole test program.
            assert!(std::thread::panicking() || removed.is_ok_and(|r| r.status.success()), "{tags:?} stay");
        }
    }
}

/// Decisions of `build --plan --json` by image, and its exit code.
fn plan(cloud: &Cloud, arguments: &[&str], code: i32) -> BTreeMap<String, serde_json::Value> {
    let plan = cloud.mastic(&[&["build", "--plan", "--json"][..], arguments].concat()).code(code).json();
    let images = plan["images"].as_array().expect("a plan lists images").clone();
    images
        .into_iter()
        .map(|image| (image["image"].as_str().expect("it has a name").to_owned(), image["decision"].clone()))
        .collect()
}

#[test]
fn a_build_must_do_what_its_plan_says_and_nothing_twice() {
    let cloud = Cloud::of_toys("t-build", 180, "images: {namespace: t-build}\n");
    let _tags = Tags("t-build/");
    // Content that no image on this engine has, whatever ran before.
    cloud.write("extra/images/toy/talk", &format!("#!/bin/sh\n# {}\n", std::process::id()));

    // The base is there under another name; the toy is not.
    let first = plan(&cloud, &["--only", "toy"], 2);
    assert!(first["base"]["tag"].is_string() || first["base"]["keep"].is_string(), "{first:#?}");
    assert_eq!(first["toy"], serde_json::json!({"build": ["missing"]}));
    cloud.mastic(&["build", "--plan", "--only", "toy"]).code(2).says("no image yet");

    let built = cloud.mastic(&["build", "--only", "toy", "--json"]).ok().json();
    let toy = built["images"].as_array().expect("a list").iter().find(|i| i["image"] == "toy").cloned();
    let toy = toy.expect("toy was built");
    assert_eq!((&toy["unchanged"], &toy["reference"]), (&false.into(), &"t-build/toy:2026.1".into()));
    let id = docker(&["inspect", "--format", "{{.Id}}", "t-build/toy:2026.1"]);
    assert_eq!(toy["id"], id.trim());

    // Nothing changed: nothing is done, quickly. The bound is the specification's; it is far from it.
    let again = cloud.mastic(&["build", "--json"]).ok();
    assert!(again.took < Duration::from_secs(2), "an unchanged build took {:?}", again.took);
    let images = again.json()["images"].as_array().expect("a list").clone();
    assert!(images.iter().all(|image| image["unchanged"] == true), "{images:#?}");
    assert!(plan(&cloud, &[], 0).values().all(|decision| decision["keep"].is_string()));

    // A changed file of the folder is named; only that image is built.
    cloud.write(
        "extra/images/toy/talk",
        &format!("#!/bin/sh\n# {}, changed\nexec sleep infinity\n", std::process::id()),
    );
    let changed = plan(&cloud, &[], 2);
    assert!(changed["base"]["keep"].is_string(), "{changed:#?}");
    let parts = changed["toy"]["build"][0]["changed"].as_array().expect("it says what changed").clone();
    assert!(parts.iter().any(|part| part.to_string().contains("talk")), "{parts:?}");
    cloud.mastic(&["build"]).ok().says("1 built");
    let second = docker(&["inspect", "--format", "{{.Id}}", "t-build/toy:2026.1"]);
    assert_ne!(id, second);

    // --no-cache builds what was named from nothing, and leaves alone what all others stand on.
    let forced = plan(&cloud, &["--only", "toy", "--no-cache"], 2);
    assert_eq!(forced["toy"], serde_json::json!({"build": ["forced"]}));
    assert!(forced["base"]["keep"].is_string(), "{forced:#?}");
    let ran = cloud.mastic(&["build", "--only", "toy", "--no-cache", "-v"]).ok().says("1 built");
    assert!(!ran.stderr.contains("CACHED"), "{}", ran.stderr);

    cloud.mastic(&["build", "--only", "tyo"]).code(1).says("tyo");
    cloud.mastic(&["build", "--push"]).code(1).says("images.registry");
}

#[test]
fn images_must_tell_what_is_in_them_and_count_shared_layers_once() {
    let cloud = Cloud::of_toys("t-images", 181, "");
    cloud.mastic(&["build", "--only", "toy"]).ok();
    let list = cloud.mastic(&["images", "--json"]).ok().json();
    let images = list["images"].as_array().expect("a list of images").clone();

    // The witness is the engine's own store, read behind its back: a folder for each layer, on what it lies, with its
    // size in it. The names of these folders are hashes of all layers from the bottom up.
    let root = docker(&["info", "--format", "{{.DockerRootDir}}/image/{{.Driver}}/layerdb/sha256"]);
    let store = Path::new(root.trim());
    let size = |chain: &str| -> u64 {
        let file = store.join(chain).join("size");
        std::fs::read_to_string(&file).expect("a layer has a size").trim().parse().expect("a number")
    };
    let mut chains: BTreeMap<String, usize> = BTreeMap::new();
    let mut of_image: Vec<Vec<String>> = Vec::new();
    for image in &images {
        let id = image["id"].as_str().expect("an id");
        let layers = docker(&["inspect", "--format", "{{range .RootFS.Layers}}{{println .}}{{end}}", id]);
        let mut chain = String::new();
        let mut mine = Vec::new();
        for layer in layers.lines().filter(|line| !line.is_empty()) {
            chain = if chain.is_empty() { layer.to_owned() } else { chain_of(&chain, layer) };
            let folder = chain.trim_start_matches("sha256:").to_owned();
            *chains.entry(folder.clone()).or_default() += 1;
            mine.push(folder);
        }
        let total: u64 = mine.iter().map(|chain| size(chain)).sum();
        assert_eq!(image["bytes"].as_u64(), Some(total), "{image:#}");
        of_image.push(mine);
    }
    let unique: u64 = chains.keys().map(|chain| size(chain)).sum();
    assert_eq!(list["unique_bytes"].as_u64(), Some(unique));
    for (image, mine) in images.iter().zip(&of_image) {
        let own: u64 = mine.iter().filter(|chain| chains[*chain] == 1).map(|chain| size(chain)).sum();
        assert_eq!(image["own_bytes"].as_u64(), Some(own), "{image:#}");
    }
    let sum: u64 = images.iter().filter_map(|image| image["bytes"].as_u64()).sum();
    assert!(unique < sum, "nothing is shared?");

    // What is installed, and from where: of an image that never ran. dpkg in it is the witness.
    let table = cloud.mastic(&["images", "--sbom", "mariadb"]).ok().stdout;
    let installed = docker(&[
        "run",
        "--rm",
        "--network=none",
        "mastic/mariadb:2026.1",
        "dpkg-query",
        "-W",
        "-f",
        "${Package} ${Version}\n",
    ]);
    let rows: Vec<&str> = table.lines().skip(1).collect();
    for line in installed.lines() {
        let (name, version) = line.split_once(' ').expect("name and version");
        let here = |row: &&str| {
            let mut words = row.split_whitespace();
            words.next() == Some(name) && words.next() == Some(version) && row.contains("debian trixie")
        };
        assert!(rows.iter().any(here), "{line} is not in the list");
    }
    let python = cloud.mastic(&["images", "--sbom", "keystone"]).ok().stdout;
    let keystone = python.lines().find(|line| line.starts_with("keystone ")).expect("keystone is in it");
    assert!(keystone.contains("PyPI"), "{keystone}");
    let document = cloud.mastic(&["images", "--sbom", "keystone", "--json"]).ok().json();
    assert_eq!(document["bomFormat"], "CycloneDX");
    cloud.mastic(&["images", "--sbom", "nosuch"]).code(1).says("nosuch");
    // The look left no container behind.
    assert!(!docker(&["ps", "-a", "--format", "{{.Names}}"]).contains("mastic-sbom"));
}

/// The engine's name for a layer on those below it.
fn chain_of(below: &str, layer: &str) -> String {
    let input = format!("{below} {layer}");
    let mut child = std::process::Command::new("sha256sum")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("sha256sum is there");
    child.stdin.take().expect("it is piped").write_all(input.as_bytes()).expect("it reads");
    let output = child.wait_with_output().expect("it ends");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    format!("sha256:{}", text.split_whitespace().next().expect("a sum"))
}

/// A proxy for apt that cuts every connection until it is told to be good.
struct Proxy {
    port: u16,
    cuts: Arc<AtomicBool>,
    cut: Arc<AtomicUsize>,
    served: Arc<AtomicUsize>,
}

impl Proxy {
    fn start(address: &str) -> Self {
        let listener = TcpListener::bind((address, 0)).expect("a free port");
        let proxy = Self {
            port: listener.local_addr().expect("it is bound").port(),
            cuts: Arc::new(AtomicBool::new(true)),
            cut: Arc::default(),
            served: Arc::default(),
        };
        let (cuts, cut, served) = (proxy.cuts.clone(), proxy.cut.clone(), proxy.served.clone());
        std::thread::spawn(move || {
            for client in listener.incoming().flatten() {
                if cuts.load(Ordering::SeqCst) {
                    cut.fetch_add(1, Ordering::SeqCst);
                    drop(client);
                    continue;
                }
                let served = served.clone();
                std::thread::spawn(move || {
                    // A connection that ends early is apt's to complain of.
                    let _ = relay(client, &served);
                });
            }
        });
        proxy
    }
}

/// Reads the head of a request, and passes everything on to the host in it.
fn relay(client: TcpStream, served: &AtomicUsize) -> std::io::Result<()> {
    let mut reader = BufReader::new(client.try_clone()?);
    let mut head = String::new();
    while !head.ends_with("\r\n\r\n") {
        if reader.read_line(&mut head)? == 0 {
            return Ok(());
        }
    }
    let target = head.split_whitespace().nth(1).unwrap_or_default();
    let host = target.trim_start_matches("http://").split('/').next().unwrap_or_default().to_owned();
    let connect = head.starts_with("CONNECT ");
    let host = if host.contains(':') { host } else { format!("{host}:80") };
    let upstream = TcpStream::connect(upstream_proxy().unwrap_or(host))?;
    served.fetch_add(1, Ordering::SeqCst);
    let (mut up, mut down) = (upstream.try_clone()?, client);
    if connect && upstream_proxy().is_none() {
        down.write_all(b"HTTP/1.1 200 OK\r\n\r\n")?;
    } else {
        up.write_all(head.as_bytes())?;
    }
    up.write_all(reader.buffer())?;
    let mut from = upstream;
    let mut to = down.try_clone()?;
    let back = std::thread::spawn(move || std::io::copy(&mut from, &mut to));
    let mut chunk = [0; 16384];
    while let Ok(n) = down.read(&mut chunk) {
        if n == 0 || up.write_all(&chunk[..n]).is_err() {
            break;
        }
    }
    let _ = up.shutdown(std::net::Shutdown::Write);
    let _ = back.join();
    Ok(())
}

/// The proxy that this host itself must use, if it must: `HOST:PORT`.
fn upstream_proxy() -> Option<String> {
    let dump = std::process::Command::new("apt-config").arg("dump").output().ok()?;
    let text = String::from_utf8_lossy(&dump.stdout).into_owned();
    let line = text.lines().find(|line| line.starts_with("Acquire::http::Proxy "))?;
    let url = line.split('"').nth(1)?;
    Some(url.trim_start_matches("http://").trim_end_matches('/').to_owned())
}

#[test]
fn only_a_fault_of_the_network_must_be_tried_again_and_the_hosts_proxy_and_ca_be_used() {
    let cloud = Cloud::of_toys("t-retry", 182, "images: {namespace: t-retry}\n");
    let _tags = Tags("t-retry/");
    let proxy = Proxy::start(&cloud.address);
    let url = format!("http://{}:{}/", cloud.address, proxy.port);
    let settings =
        cloud.write("apt.conf", &format!("Acquire::http::Proxy \"{url}\";\nAcquire::Retries \"0\";\n"));
    let bundle = std::env::var("SSL_CERT_FILE").unwrap_or("/etc/ssl/certs/ca-certificates.crt".to_owned());
    let bundle = std::fs::read_to_string(bundle).unwrap_or_default();
    let authority = cloud.write("ca.crt", &format!("# a bundle of this test's own\n{bundle}"));
    // No cache mounts: a package that was fetched before would need no network.
    cloud.write(
        "extra/images/toy/Dockerfile",
        "FROM base\nCOPY talk /srv/talk\n\
         RUN --mount=type=bind,source=host,target=/run/host cat /run/host/env && head -n 1 /run/host/ca.crt\n\
         RUN --mount=type=bind,source=host,target=/run/host apt-install hello && sbom\n",
    );
    let build = || {
        let mut command = cloud.bounded(&["build", "--only", "toy", "-v", "--progress", "plain"]);
        command
            .env("APT_CONFIG", &settings)
            .env("SSL_CERT_FILE", &authority)
            .env("http_proxy", "http://proxy.invalid:1/")
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        command
    };
    let mut child = build().spawn().expect("the program under test can be started");
    let mut said = String::new();
    for line in BufReader::new(child.stderr.take().expect("it is piped")).lines() {
        let line = line.expect("it says text");
        // From the second attempt on the network is good.
        if line.contains("attempt 2 of 3") {
            proxy.cuts.store(false, Ordering::SeqCst);
        }
        said.push_str(&line);
        said.push('\n');
    }
    assert!(child.wait().expect("it ends").success(), "{said}");
    assert!(said.contains("image toy: the network failed; attempt 2 of 3"), "{said}");
    assert!(proxy.cut.load(Ordering::SeqCst) > 0 && proxy.served.load(Ordering::SeqCst) > 0);
    assert!(said.contains("http_proxy='http://proxy.invalid:1/'"), "the proxy was not handed on:\n{said}");
    assert!(said.contains("a bundle of this test's own"), "the CA bundle was not handed on:\n{said}");
    // It is used, and nowhere kept.
    docker(&["run", "--rm", "--network=none", "t-retry/toy:2026.1", "hello"]);
    let kept = docker(&["inspect", "t-retry/toy:2026.1"])
        + &docker(&["history", "--no-trunc", "t-retry/toy:2026.1"]);
    assert!(!kept.contains(&url) && !kept.contains("proxy.invalid"), "{kept}");

    // A build that fails by itself fails once, with its last lines.
    cloud.write("extra/images/toy/Dockerfile", "FROM base\nRUN echo the package is broken && exit 42\n");
    let failed = Cloud::run(&mut build());
    let failed = failed.code(1).says("the package is broken").says("image toy was not built");
    assert!(!failed.stderr.contains("attempt"), "{}", failed.stderr);
}
