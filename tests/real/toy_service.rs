//! A service and an image added from a temporary folder, no Rust touched: what docs/guides/adding-a-service.md says.

use crate::harness::{Cloud, docker};

#[test]
fn a_service_from_a_folder_must_be_built_deployed_and_checked_like_any_other() {
    let cloud = Cloud::new("t-toy", 2);
    cloud.write(
        "extra/images/toy/Dockerfile",
        "FROM base\nRUN mkdir -p /srv/toy && echo toy > /srv/toy/marker && chown -R 65534:65534 /srv/toy\n",
    );
    cloud.write(
        "extra/templates/toy/toy.conf",
        "[toy]\ngreeting = {{ var.toy_greeting }}\naddress = {{ host.address }}\n",
    );
    cloud.write(
        "extra/templates/toy/service.yaml",
        r#"
service: toy
summary: A service that exists only in a test
users: {nobody: "65534:65534"}
variables:
  toy_greeting: {type: string, default: hello, help: What it says}
containers:
  toy:
    set: tools
    image: toy
    user: nobody
    command: [sleep, infinity]
    files:
      - {template: toy.conf, path: /etc/toy.conf, mode: "0640", owner: "root:nobody", merge: ini}
    check: {targets: ["process:sleep", "file:/srv/toy/marker"], deadline: 20}
    stop: {grace: 5}
    cutover: exclusive
"#,
    );
    let profile = format!(
        "deployment: {}\nrelease: \"2026.1\"\n\
         hosts:\n  local: {{engine: \"unix:///var/run/docker.sock\", address: {}}}\n\
         library: [extra]\nsets:\n  tools: {{services: [toy]}}\nvariables: {{toy_greeting: moin}}\n",
        cloud.name, cloud.address
    );
    cloud.write("mastic.yaml", &profile);
    cloud.mastic(&["validate"]).ok();
    cloud.mastic(&["render", "toy"]).ok().says("greeting = moin");
    cloud.mastic(&["build", "--only", "toy"]).ok();
    cloud.mastic(&["deploy", "--yes"]).ok();
    let containers = cloud.containers();
    let name = containers.keys().find(|n| n.contains("-toy-")).expect("toy runs");
    assert!(docker(&["exec", name, "cat", "/etc/toy.conf"]).contains("greeting = moin"));
    assert_eq!(docker(&["exec", name, "id", "-u"]).trim(), "65534");
    cloud.mastic(&["plan"]).ok();

    // A mistake in it is reported like one in a profile.
    cloud.write("mastic.yaml", &profile.replace("toy_greeting: moin", "toy_greting: moin"));
    cloud.mastic(&["validate"]).code(1).says("toy_greeting").says("mastic.yaml:");
    cloud.write("mastic.yaml", &profile);
}
