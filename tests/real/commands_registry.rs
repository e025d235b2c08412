//! pull, and build --push: with Debian's own registry, built and deployed by Mastic as a service of its own.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;

use serde_json::Value;

use crate::harness::{Cloud, docker};

const DOCKERFILE: &str = r"FROM base
RUN --mount=type=bind,source=host,target=/run/host \
    --mount=type=cache,target=/var/cache/apt,sharing=locked \
    --mount=type=cache,target=/var/lib/apt/lists,sharing=locked \
    apt-install docker-registry && sbom
RUN mkdir -p /srv/registry && chown 65534:65534 /srv/registry
";

const SERVICE: &str = r#"
service: registry
summary: A registry of images
users: {nobody: "65534:65534"}
ports:
  registry: {default: 5000, container: registry, help: Its API}
containers:
  registry:
    set: registry
    image: registry
    user: nobody
    command: [docker-registry, serve, /etc/registry.yml]
    files:
      - {template: registry.yml, path: /etc/registry.yml, mode: "0640", owner: "root:nobody"}
    volumes:
      - {name: registry, path: /srv/registry}
    check: {targets: ["http://{{ host.address }}:{{ port.registry }}/v2/"], deadline: 30}
    stop: {grace: 5}
    cutover: exclusive
"#;

const CONFIG: &str = "version: 0.1\nstorage: {filesystem: {rootdirectory: /srv/registry}}\n\
                      http: {addr: \"{{ host.address }}:{{ port.registry }}\"}\n";

/// Asks the registry over plain HTTP, without any client of ours.
fn manifest(registry: &str, path: &str) -> Value {
    let mut stream = TcpStream::connect(registry).expect("the registry listens");
    let request = format!(
        "GET /v2/{path} HTTP/1.0\r\nHost: {registry}\r\n\
         Accept: application/vnd.docker.distribution.manifest.v2+json\r\n\r\n"
    );
    stream.write_all(request.as_bytes()).expect("it reads");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("it answers with text");
    let (head, body) = answer.split_once("\r\n\r\n").expect("an HTTP answer");
    assert!(head.starts_with("HTTP/1.0 200") || head.starts_with("HTTP/1.1 200"), "{head}\n{body}");
    serde_json::from_str(body).expect("a manifest is JSON")
}

#[test]
fn images_must_be_pushed_pulled_pinned_and_deployed() {
    // The registry, as a deployment of its own.
    let cloud = Cloud::of_toys("t-registry", 183, "");
    cloud.write("extra/images/registry/Dockerfile", DOCKERFILE);
    cloud.write("extra/templates/registry/service.yaml", SERVICE);
    cloud.write("extra/templates/registry/registry.yml", CONFIG);
    let registry = format!("{}:5000", cloud.address);
    cloud.write(
        "registry.yaml",
        &format!(
            "deployment: t-registry-store\nrelease: \"2026.1\"\n\
             hosts:\n  local: {{engine: \"unix:///var/run/docker.sock\", address: {}}}\n\
             library: [extra]\nstate: store\nsets:\n  registry: {{services: [registry]}}\n",
            cloud.address
        ),
    );
    let store = |arguments: &[&str]| {
        cloud.mastic(&[&["-p", "registry.yaml", "--state-dir", "store"][..], arguments].concat())
    };
    store(&["destroy", "--yes", "--volumes", "all"]);
    store(&["build", "--only", "registry"]).ok();
    store(&["deploy", "--yes"]).ok();

    // Without a registry in the profile there is nothing to pull from.
    cloud.mastic(&["pull"]).code(1).says("images.registry");

    // Here images are built and pushed.
    let images = format!("images: {{registry: \"{registry}\", namespace: t-reg}}\n");
    cloud.write("mastic.yaml", &cloud.toys(&images));
    let (name, local) = (format!("{registry}/t-reg/toy:2026.1"), "t-reg/toy:2026.1".to_owned());
    cloud.mastic(&["pull"]).code(1).says(&name).says("does not have it").says("build --push");
    cloud.mastic(&["build", "--push"]).ok().says(&format!("pushed {name}"));
    let id = docker(&["inspect", "--format", "{{.Id}}", &name]).trim().to_owned();
    let config = manifest(&registry, "t-reg/toy/manifests/2026.1")["config"]["digest"].clone();
    assert_eq!(config, Value::from(id.clone()), "the registry has another image");

    // Elsewhere they are pulled: all names of it that this engine has are taken away.
    docker(&["rmi", &name, &local]);
    cloud.mastic(&["plan"]).code(1).says(&name).says("mastic pull");
    cloud.mastic(&["prechecks"]).ok().says("`mastic pull` pulls them");
    let pulled = cloud.mastic(&["pull", "--json"]).ok().json();
    let image = &pulled["images"][0];
    assert_eq!((&image["reference"], &image["id"]), (&Value::from(name.clone()), &Value::from(id.clone())));
    assert_eq!(image["changed"], true);
    assert!(image["digest"].as_str().is_some_and(|digest| digest.starts_with("sha256:")), "{pulled:#}");
    cloud.mastic(&["pull"]).ok().says("0 new, 1 were there");

    // The plan pins what the registry's manifest names, and that is what runs.
    let plan = cloud.mastic(&["plan", "--json"]).code(2).says(&id);
    assert!(plan.stdout.contains(&name), "{}", plan.stdout);
    cloud.mastic(&["deploy", "--yes"]).ok();
    let running = docker(&["inspect", "--format", "{{.Image}}", &cloud.container("talker")]);
    assert_eq!(running.trim(), id);

    // What it does not have is told by name, and so is one that is not there at all.
    cloud.write("mastic.yaml", &cloud.toys(&images.replace("namespace:", "tag: nosuch, namespace:")));
    let missing = cloud.mastic(&["pull", "--json"]).code(1).json();
    assert!(missing["error"]["message"].to_string().contains("toy:nosuch"), "{missing:#}");
    cloud.write("mastic.yaml", &cloud.toys(&images));
    store(&["stop", "--yes"]).ok();
    cloud.mastic(&["pull"]).code(1).says("connection refused");
    store(&["destroy", "--yes", "--volumes", "all"]).ok();

    cloud.write("mastic.yaml", &cloud.toys(""));
    cloud.mastic(&["destroy", "--yes", "--volumes", "all"]).ok();
    let tags = docker(&["images", "--format", "{{.Repository}}:{{.Tag}}"]);
    let mine: Vec<&str> = tags.lines().filter(|tag| tag.contains("t-reg/")).collect();
    docker(&[&["rmi"][..], &mine].concat());
}
