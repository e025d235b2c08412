//! What an operator sees for typical mistakes: the exact text, in `tests/fixture/mistakes.txt` (`just generate` rewrites it).

mod fixture;

use std::fmt::Write as _;

use mastic::profile::{self, Library};

/// A small change of the profile or of a file of the library.
enum Edit {
    /// Replaces the first occurrence of a part of the profile.
    Profile(&'static str, &'static str),
    /// Replaces the first occurrence of a part of a file of the library.
    File(&'static str, &'static str, &'static str),
    /// Adds a file.
    Add(&'static str, &'static str),
}

use Edit::{Add, File, Profile};

const API: &str = "templates/api/service.yaml";
const CONF: &str = "templates/api/api.conf";
const DB: &str = "templates/db/service.yaml";

fn of_profiles() -> Vec<(&'static str, Vec<Edit>)> {
    vec![
        (
            "a key with a slip of the pen",
            vec![Profile("  api: {services: [api]}", "  api: {servces: [api]}")],
        ),
        ("an unknown key at the top", vec![Profile("\nvariables:", "\nvarables:")]),
        ("an unknown key that is near to none", vec![Profile("\nvariables:", "\nzebra: 1\nvariables:")]),
        ("a release without quotes", vec![Profile("\"2026.1\"", "2026.1")]),
        ("a release that is none", vec![Profile("\"2026.1\"", "\"zed\"")]),
        ("a name with capitals", vec![Profile("deployment: test", "deployment: Test Cloud")]),
        (
            "a missing key and a missing part",
            vec![Profile("deployment: test\n", ""), Profile(", address: 10.0.0.1}", "}")],
        ),
        ("a key given twice", vec![Profile("{api_debug: true}", "{api_debug: true}\nrelease: \"2025.1\"")]),
        (
            "flavors without Nova, and a gateway outside of its network",
            vec![Profile(
                "\nvariables:",
                "\ncloud:\n  flavors: {tiny: {cpus: 1, memory: 128}}\n  networks:\n    public:\n      type: flat\n      \
                 subnet: {cidr: 10.99.0.0/24, gateway: 10.98.0.1}\nvariables:",
            )],
        ),
        ("tabs", vec![Profile("  one:", "\tone:")]),
        ("a bracket that is never closed", vec![Profile("[db], hosts: [one]}", "[db], hosts: [one}")]),
        ("a wrong indentation", vec![Profile("  ha:", "   ha:")]),
        ("yes is not true", vec![Profile("api_debug: true", "api_debug: yes")]),
        ("a key without a value", vec![Profile("deployment: test", "deployment:")]),
        ("an unknown service", vec![Profile("[db], hosts", "[dbb], hosts")]),
        ("an unknown host", vec![Profile("[front], hosts: [one]", "[front], hosts: [oen]")]),
        ("a required service left out", vec![Profile("  database: {services: [db], hosts: [one]}\n", "")]),
        ("a service in two sets", vec![Profile("services: [front]", "services: [front, db]")]),
        (
            "a container whose set is not there",
            vec![Profile("  agents: {services: [api], hosts: [two]}\n", "  others: {services: [api]}\n")],
        ),
        ("an unknown variable", vec![Profile("api_debug: true", "api_debgu: true")]),
        (
            "a variable of the wrong type",
            vec![Profile(
                "{api_debug: true}",
                "{api_workers: many, api_ratio: 3, api_driver: fats, api_tags: one}",
            )],
        ),
        ("a variable out of range on one host", vec![Profile("api_workers: 4", "api_workers: 400")]),
        ("two listeners on one port", vec![Profile("{api_debug: true}", "{api_port: 3306}")]),
        ("an address that is none", vec![Profile("address: 10.0.0.1}", "address: localhost}")]),
        ("an engine that is none", vec![Profile("unix:///var", "unix:/var")]),
        ("an engine without protection", vec![Profile("tls: certs, ", "")]),
        ("an engine by ssh", vec![Profile("tcp://10.0.0.2:2376", "ssh://root@10.0.0.2")]),
        (
            "the same engine and address twice",
            vec![Profile(
                "tcp://10.0.0.2:2376\", tls: certs, address: 10.0.0.2",
                "unix:///var/run/docker.sock\", address: 10.0.0.1",
            )],
        ),
        (
            "an override that no service takes",
            vec![
                Add("overrides/api.cnf", "[DEFAULT]\n"),
                Add("overrides/front/banner.txt", "x"),
                Add("overrides/accounts.sql", "x"),
            ],
        ),
        (
            "an override that is not INI",
            vec![Add("overrides/api.conf", "debug = true\n[database\n  x\n[a]\nsome words\n")],
        ),
        ("an unknown container to skip", vec![Profile("\nvariables:", "\nskip: [api-agnet]\nvariables:")]),
        (
            "images that are none",
            vec![Profile(
                "\nvariables:",
                "\nimages: {registry: \"https://x/y\", tag: \"a b\", pins: {apy: x}}\nvariables:",
            )],
        ),
        (
            "aliases of aliases",
            vec![Profile(
                "\nvariables:",
                "\na: &a [1,1,1,1,1,1,1,1,1,1]\nb: &b [*a,*a,*a,*a,*a,*a,*a,*a,*a,*a]\nc: &c [*b,*b,*b,*b,*b,*b,*b,*b,*b,*b]\n\
                 d: &d [*c,*c,*c,*c,*c,*c,*c,*c,*c,*c]\ne: [*d,*d,*d,*d,*d,*d,*d,*d,*d,*d]\nvariables:",
            )],
        ),
        (
            "many at once",
            vec![
                Profile("deployment: test", "deployment: test\nrelase: x"),
                Profile("[db], hosts", "[dbb], hosts"),
                Profile("api_debug: true", "api_debgu: true, api_workers: 0"),
                Profile("hosts: [two]", "hosts: [tow]"),
            ],
        ),
    ]
}

/// A service.yaml and its templates are reported the same way.
fn of_services() -> Vec<(&'static str, Vec<Edit>)> {
    vec![
        (
            "service: an unknown key, word and type",
            vec![
                File(API, "cutover: overlap", "cutover: overlapp"),
                File(API, "summary: An API", "sumary: An API"),
                File(API, "min: 1,", "min: one,"),
            ],
        ),
        (
            "service: names that do not exist",
            vec![
                File(API, "image: api\n    user: api", "image: apy\n    user: nobody"),
                File(API, "after: [db-accounts]", "after: [db-acounts]"),
                File(API, "like: api, command: [sync]", "like: apo, command: [sync]"),
                File(API, "password: api_database_password}", "password: api_databse_password}"),
                File(API, "template: banner.txt", "template: baner.txt"),
            ],
        ),
        ("service: a cycle", vec![File(DB, "summary: A database", "summary: A database\nrequires: [api]")]),
        (
            "service: a cycle of containers",
            vec![File(DB, "cutover: exclusive", "cutover: exclusive\n    after: [api-sync]")],
        ),
        (
            "service: privileges without reasons",
            vec![File(
                API,
                "root: it makes devices, capabilities: {NET_ADMIN: it makes interfaces}",
                "capabilities: {NET_ADMN: \"\"}",
            )],
        ),
        (
            "service: what cannot live on",
            vec![File(API, "    user: root\n", "    user: root\n    leaves: mastic/agents\n")],
        ),
        (
            "service: what is nobody's to end",
            vec![
                File(API, "    user: root\n", "    user: root\n    leaves: user.slice\n"),
                File(
                    API,
                    "{path: /dev, reason: it makes devices}",
                    "{path: /dev, reason: it makes devices}, {path: /sys/fs/cgroup, reason: it leaves its own}",
                ),
            ],
        ),
        ("service: a bad check", vec![File(API, "targets: [\"http://{{", "targets: [\"htp://{{")]),
        (
            "service: a secret outside of files",
            vec![File(
                API,
                "{WORKERS: \"{{ var.api_workers }}\"}",
                "{PASSWORD: \"{{ secret(name='api_password') }}\"}",
            )],
        ),
        (
            "service: config to look at that nobody has, and exceptions without form and reason",
            vec![File(
                API,
                "\ncontainers:\n",
                "\nvalidate:\n  api.cnf: {}\n  api.conf: {except: {debug: \"\", \"[app] x\": why}}\ncontainers:\n",
            )],
        ),
        (
            "service: names of two services collide",
            vec![File("templates/front/service.yaml", "  front:\n    set", "  api:\n    set")],
        ),
        (
            "service: a user with a project and a domain",
            vec![File(API, "domain: stacks", "domain: stacks, project: service")],
        ),
        (
            "template: unknown names",
            vec![
                File(CONF, "var.api_debug", "var.api_debgu"),
                File(CONF, "port.db", "port.dbs"),
                File(CONF, "proxy=\"api\"", "proxy=\"apii\""),
                File(CONF, "name=\"api_database_password\"", "name=\"db_root_password\""),
            ],
        ),
        ("template: syntax", vec![File(CONF, "{{ var.api_debug }}", "{{ var.api_debug }")]),
        (
            "template: an error that only values tell",
            vec![File(CONF, "{{ var.api_debug }}", "{{ var.api_debug + 1 }}")],
        ),
    ]
}

fn apply(edits: Vec<Edit>) -> (String, Library) {
    let mut text = fixture::PROFILE.to_owned();
    let mut library = fixture::small();
    for edit in edits {
        match edit {
            Profile(from, to) => {
                assert!(text.contains(from), "the profile has no {from:?}");
                text = text.replacen(from, to, 1);
            }
            File(path, from, to) => {
                let bytes = library.get(path).expect("a file of the library").bytes.clone();
                let old = String::from_utf8(bytes).expect("text");
                assert!(old.contains(from), "{path} has no {from:?}");
                library.insert(path, old.replacen(from, to, 1), path);
            }
            Add(path, text) => library.insert(path, text, path),
        }
    }
    (text, library)
}

#[test]
fn typical_mistakes_must_be_shown_with_place_and_advice() {
    let mut shown = String::new();
    for (name, edits) in of_profiles().into_iter().chain(of_services()) {
        let (text, library) = apply(edits);
        let mistakes = profile::load("test.yaml", &text, &library).expect_err(name);
        for mistake in mistakes.iter() {
            assert!(mistake.line > 0 && mistake.column > 0 && !mistake.file.is_empty(), "{name}: {mistake}");
        }
        writeln!(shown, "### {name}\n\n{mistakes}\n").expect("a String can be written to");
    }
    let path = fixture::root().join("tests/fixture/mistakes.txt");
    if std::env::var_os("MASTIC_REGENERATE").is_some() {
        std::fs::write(&path, &shown).expect("the golden file can be written");
    }
    let golden = std::fs::read_to_string(&path).unwrap_or_default();
    for (new, old) in shown.split("### ").zip(golden.split("### ")) {
        assert_eq!(
            new, old,
            "tests/fixture/mistakes.txt is stale: `just generate`, then look at the difference"
        );
    }
    assert_eq!(shown.len(), golden.len(), "tests/fixture/mistakes.txt is stale: run `just generate`");
}

#[test]
fn the_fixture_itself_must_be_right() {
    if let Err(mistakes) = profile::load("test.yaml", fixture::PROFILE, &fixture::small()) {
        panic!("{mistakes}");
    }
}

#[test]
fn mistakes_must_be_readable_by_programs() {
    let (text, library) = apply(vec![Profile("\nvariables:", "\nvarables:")]);
    let mistakes = profile::load("test.yaml", &text, &library).expect_err("a mistake");
    let json: serde_json::Value = serde_json::from_str(&mistakes.to_json()).expect("JSON");
    assert_eq!(json[0]["code"], "unknown-key");
    assert_eq!((json[0]["file"].as_str(), json[0]["line"].as_u64()), (Some("test.yaml"), Some(13)));
}

#[test]
fn every_code_must_be_listed_and_every_listed_code_used() {
    let mut used = std::collections::BTreeSet::new();
    let mut folders = vec![fixture::root().join("src/profile")];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder).expect("the sources can be read") {
            let path = entry.expect("an entry").path();
            if path.is_dir() {
                folders.push(path);
            } else if path.file_name().is_some_and(|name| name != "codes.rs") {
                let text = std::fs::read_to_string(&path).expect("a source file");
                used.extend(
                    text.split('"')
                        .filter(|part| profile::diagnostic::CODES.iter().any(|(c, _)| c == part))
                        .map(str::to_owned),
                );
                for call in ["Diagnostic::new(", "wrong_value(", "wrong_key(", ".report(", ".fail("] {
                    for part in text.split("#[cfg(test)]").next().unwrap_or("").split(call).skip(1) {
                        let Some(code) =
                            part.trim_start().strip_prefix('"').and_then(|rest| rest.split('"').next())
                        else {
                            continue;
                        };
                        assert!(
                            profile::diagnostic::CODES.iter().any(|(c, _)| *c == code),
                            "{}: `{code}` is not listed",
                            path.display()
                        );
                    }
                }
            }
        }
    }
    for (code, _) in profile::diagnostic::CODES {
        assert!(used.contains(*code), "`{code}` is listed and never used");
    }
}
