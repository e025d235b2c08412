use super::*;

const BOOKWORM: &str = "\
Types: deb deb-src
# a comment inside
URIs: http://mirror.example/debian
Suites: bookworm bookworm-updates bookworm-backports
Components: main contrib
Signed-By: /usr/share/keyrings/debian-archive-keyring.gpg

Types: deb
URIs: http://mirror.example/debian-security
Suites: bookworm-security
Components: main
Signed-By: /usr/share/keyrings/debian-archive-keyring.gpg

Enabled: no
Types: deb
URIs: http://off.example/debian
Suites: bookworm
Components: main

Types: deb
URIs: https://tools.example/linux/debian
Suites: bookworm
Components: stable
Signed-By: /etc/apt/keyrings/tools.asc
";

#[expect(clippy::unnecessary_wraps, reason = "it stands for one that may not find the key")]
fn keep(key: &str) -> Option<String> {
    Some(key.to_owned())
}

#[test]
fn the_mirrors_must_be_kept_and_the_suite_exchanged() {
    insta::assert_snapshot!(render(&derive(&parse_deb822(BOOKWORM), "bookworm", "trixie"), keep), @"
    Types: deb
    URIs: http://mirror.example/debian
    Suites: trixie trixie-updates
    Components: main
    Signed-By: /usr/share/keyrings/debian-archive-keyring.gpg

    Types: deb
    URIs: http://mirror.example/debian-security
    Suites: trixie-security
    Components: main
    Signed-By: /usr/share/keyrings/debian-archive-keyring.gpg
    ");
}

#[test]
fn the_old_form_must_give_the_same_and_strangers_must_stay_behind() {
    let text = "\
# deb http://commented.example/debian bookworm main
deb http://mirror.example/debian bookworm main contrib # trailing
deb-src http://mirror.example/debian bookworm main
deb [arch=amd64 signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] http://mirror.example/debian bookworm-updates main
deb http://mirror.example/debian-security bookworm-security main
deb [signed-by=/etc/apt/keyrings/pg.asc] https://pg.example/apt bookworm-pgdg main
deb [signed-by=/etc/apt/keyrings/x.asc] https://x.example/debian bookworm main
deb cdrom:[Debian]/ bookworm main
";
    let derived = derive(&parse_one_line(text), "bookworm", "trixie");
    let uris: Vec<_> = derived.iter().flat_map(|source| source.uris.clone()).collect();
    assert_eq!(
        uris,
        [
            "http://mirror.example/debian",
            "http://mirror.example/debian",
            "http://mirror.example/debian-security"
        ]
    );
    let suites: Vec<_> = derived.iter().flat_map(|source| source.suites.clone()).collect();
    assert_eq!(suites, ["trixie", "trixie-updates", "trixie-security"]);
}

#[test]
fn a_mirror_that_signs_anew_must_keep_its_key_and_its_options() {
    let text = "deb [trusted=yes signed-by=/etc/apt/keyrings/corp.gpg check-valid-until=no] https://user:word@mirror.corp/debian stable main\n";
    let derived = derive(&parse_one_line(text), "bookworm", "trixie");
    insta::assert_snapshot!(render(&derived, |key| Some(format!("/run/host/apt/keyrings/{}", key.rsplit('/').next()?))), @"
    Types: deb
    URIs: https://user:word@mirror.corp/debian
    Suites: trixie
    Components: main
    Signed-By: /run/host/apt/keyrings/corp.gpg
    check-valid-until: no
    trusted: yes
    ");
}

#[test]
fn a_host_of_the_same_suite_must_give_its_own_sources() {
    let text = "deb http://m.example/debian trixie main\ndeb http://m.example/debian-security trixie-security main\n";
    let derived = derive(&parse_one_line(text), "trixie", "trixie");
    assert_eq!(
        derived.iter().flat_map(|source| source.suites.clone()).collect::<Vec<_>>(),
        ["trixie", "trixie-security"]
    );
}

#[test]
fn only_what_says_how_to_reach_mirrors_must_be_taken_from_the_settings() {
    let dump = "\
APT \"\";
APT::Architecture \"amd64\";
DPkg::Pre-Install-Pkgs:: \"/usr/sbin/hook\";
Acquire::http::Proxy \"http://user:word@proxy.example:3142\";
Acquire::http::Proxy::intern.example \"DIRECT\";
Acquire::http::Proxy-Auto-Detect \"/usr/bin/auto-apt-proxy\";
Acquire::https::CAInfo \"/etc/ssl/own.pem\";
Acquire::https::Proxy \"\";
Acquire::Check-Valid-Until \"false\";
";
    insta::assert_snapshot!(settings(dump), @r#"
    Acquire::http::Proxy "http://user:word@proxy.example:3142";
    Acquire::http::Proxy::intern.example "DIRECT";
    Acquire::Check-Valid-Until "false";
    "#);
    assert_eq!(setting(dump, "acquire::http::proxy-auto-detect"), Some("/usr/bin/auto-apt-proxy"));
    assert_eq!(setting(dump, "acquire::https::proxy"), None);
}

#[test]
fn a_rolling_suite_must_not_be_given_updates() {
    for suite in ["sid", "unstable"] {
        let derived = derive(&parse_deb822(BOOKWORM), "bookworm", suite);
        assert_eq!(derived.iter().flat_map(|source| source.suites.clone()).collect::<Vec<_>>(), [suite]);
    }
}
