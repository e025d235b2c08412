//! Two services that cost nothing: one that talks, one that is silent. What the commands do with containers is the same
//! for them as for a database, and takes a second.

use crate::harness::Cloud;

/// Says a numbered line on each of its outputs, five times a second.
const TALK: &str = r#"#!/bin/sh
n=0
while :; do
    n=$((n + 1))
    echo "$1 says $n"
    echo "$1 complains $n" >&2
    sleep 0.2
done
"#;

const TALKER: &str = r#"
service: talker
summary: Talks
users: {nobody: "65534:65534"}
variables:
  talker_word: {type: string, default: talker, help: How each line begins}
  talker_greeting: {type: string, default: hello, help: In its file}
ports:
  talker: {default: 18099, container: talker, help: Nobody listens there}
containers:
  talker:
    set: talk
    image: toy
    user: nobody
    command: [/srv/talk, "{{ var.talker_word }}"]
    files:
      - {template: talker.conf, path: /etc/talker.conf, mode: "0644", owner: "root:root", merge: ini}
    check: {targets: ["process:talk"], deadline: 20}
    stop: {grace: 5}
    cutover: exclusive
"#;

const SLEEPER: &str = r#"
service: sleeper
summary: Is silent
users: {nobody: "65534:65534"}
wants: [talker]
containers:
  sleeper:
    set: rest
    image: toy
    user: nobody
    command: [sleep, infinity]
    check: {targets: ["process:sleep"], deadline: 20}
    stop: {grace: 5}
    cutover: exclusive
"#;

impl Cloud {
    /// Makes a deployment of both toys; their image is built. `more` is appended to the profile.
    pub fn of_toys(name: &str, host_number: u8, more: &str) -> Self {
        let cloud = Self::new(name, host_number);
        cloud.write("extra/images/toy/talk", TALK);
        cloud.write(
            "extra/images/toy/Dockerfile",
            "FROM base\nCOPY talk /srv/talk\nRUN chmod 755 /srv/talk && sbom\n",
        );
        cloud.write("extra/templates/talker/service.yaml", TALKER);
        cloud.write("extra/templates/talker/talker.conf", "[talker]\ngreeting = {{ var.talker_greeting }}\n");
        cloud.write("extra/templates/sleeper/service.yaml", SLEEPER);
        cloud.write("mastic.yaml", &cloud.toys(more));
        cloud
    }

    /// The toys' profile.
    pub fn toys(&self, more: &str) -> String {
        format!(
            "deployment: {}\nrelease: \"2026.1\"\n\
             hosts:\n  local: {{engine: \"unix:///var/run/docker.sock\", address: {}}}\n\
             library: [extra]\nsets:\n  talk: {{services: [talker]}}\n  rest: {{services: [sleeper]}}\n{more}",
            self.name, self.address
        )
    }

    /// The engine name of a container.
    #[track_caller]
    pub fn container(&self, name: &str) -> String {
        let prefix = format!("{}-{name}-", self.name);
        self.containers()
            .into_keys()
            .find(|known| known.strip_prefix(&prefix).is_some_and(|n| n.bytes().all(|b| b.is_ascii_digit())))
            .unwrap_or_else(|| panic!("there is no container {name}"))
    }
}
