use super::*;

fn at(host: &str, port: u16) -> HostPort {
    HostPort { host: host.into(), port }
}

fn http(host: &str, port: u16, path: &str) -> Target {
    Target::Http { tls: false, address: at(host, port), path: path.into() }
}

#[test]
fn every_kind_of_target_is_read() {
    for (text, target) in [
        ("http://127.0.0.1:5000/v3", http("127.0.0.1", 5000, "/v3")),
        ("http://localhost", http("localhost", 80, "/")),
        ("http://[::1]:8774/", http("::1", 8774, "/")),
        ("http://[::1]?a=b", http("::1", 80, "/?a=b")),
        ("tcp:10.0.0.1:22", Target::Tcp(at("10.0.0.1", 22))),
        ("tcp:[fe80::1]:22", Target::Tcp(at("fe80::1", 22))),
        ("unix:/run/a", Target::Unix("/run/a".into())),
        ("amqp:rabbit-1:5673", Target::Amqp(at("rabbit-1", 5673))),
        ("mysql:127.0.0.1", Target::Mysql(Endpoint::Tcp(at("127.0.0.1", 3306)))),
        ("mysql:unix:/run/my", Target::Mysql(Endpoint::Unix("/run/my".into()))),
        ("process:nova-compute", Target::Process("nova-compute".into())),
        ("file:/run/ready", Target::File("/run/ready".into())),
        ("fresh:30:/tmp/alive", Target::Fresh(30, "/tmp/alive".into())),
        (
            "connected:10.0.0.1:5672,[::1]:5671",
            Target::Connected([at("10.0.0.1", 5672), at("::1", 5671)].into()),
        ),
        ("connected:10.0.0.1:5672", Target::Connected([at("10.0.0.1", 5672)].into())),
    ] {
        assert_eq!(Target::parse(text), Ok(target), "{text}");
    }
    let https = Target::parse("https://api.example:443/healthcheck");
    assert!(matches!(https, Ok(Target::Http { tls: true, .. })));
}

#[test]
fn malformed_targets_are_refused_with_their_form() {
    for text in [
        "",
        "foo",
        "foo:bar",
        "http:/x",
        "http://",
        "http://:80/",
        "http://a:0/",
        "http://a:x/",
        "http://[::1/",
        "http://::1/",
        "http://a/b c",
        "http://a/\r\nX: y",
        "tcp:1.2.3.4",
        "tcp:a:99999",
        "tcp:a b:1",
        "unix:x",
        "file:",
        "fresh:/tmp/alive",
        "fresh:0:/tmp/alive",
        "fresh:x:/tmp/alive",
        "fresh:30:alive",
        "connected:10.0.0.1",
        "connected:10.0.0.1:1,",
        "process:",
        "process:/bin/x",
        "mysql:unix:x",
        "http://user@host/",
    ] {
        assert!(Target::parse(text).is_err(), "{text}");
    }
    assert_eq!(Target::parse("tcp:x"), Err("tcp:x: want tcp:HOST:PORT".into()));
}

#[test]
fn names_resolve_without_a_name_server() {
    let hosts = || b"127.0.0.1 localhost\n10.0.0.7 db DB.example # db2\n::7 db\nbroken\n".to_vec();
    let found = |host: &str| {
        let all = at(host, 1).addresses(hosts);
        all.iter().map(ToString::to_string).collect::<Vec<_>>()
    };
    assert_eq!(found("localhost"), ["127.0.0.1:1", "[::1]:1"]);
    assert_eq!(found("DB"), ["10.0.0.7:1", "[::7]:1"]);
    assert_eq!(found("db.example"), ["10.0.0.7:1"]);
    assert_eq!(found("db2"), Vec::<String>::new());
    assert_eq!(found("::1"), ["[::1]:1"]);
}

#[test]
fn status_lists_hold_codes_and_ranges() {
    let statuses = Statuses::parse("200,300-399,401").expect("a valid list");
    for (status, accepted) in [(200, true), (201, false), (300, true), (399, true), (401, true)] {
        assert_eq!(statuses.contains(status), accepted, "{status}");
    }
    for text in ["", "x", "200,", "399-300", "99", "1000", "-"] {
        assert_eq!(Statuses::parse(text), None, "{text}");
    }
    assert!(Statuses::default().contains(302) && !Statuses::default().contains(400));
}

#[test]
fn default_ports_stay_out_of_the_host_header() {
    assert_eq!(at("a", 80).authority(80), "a");
    assert_eq!(at("::1", 81).authority(80), "[::1]:81");
}
