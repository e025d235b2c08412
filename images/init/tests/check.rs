//! `mastic-init check` against small servers that answer, refuse, lie, or say nothing.

mod common;

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::unix::net::UnixListener;
use std::sync::Arc;
use std::time::Duration;

use common::*;
use rcgen::{CertificateParams, Issuer, KeyPair};
use rustls::pki_types::PrivateKeyDer;

/// Serves every connection with `answer` on a port of `address`, until the test ends.
fn serve_at(address: &str, answer: impl Fn(TcpStream) + Send + Sync + 'static) -> u16 {
    let listener = TcpListener::bind((address, 0)).expect("a free port");
    let port = listener.local_addr().expect("bound").port();
    let answer = Arc::new(answer);
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let answer = Arc::clone(&answer);
            std::thread::spawn(move || answer(stream));
        }
    });
    port
}

fn serve(answer: impl Fn(TcpStream) + Send + Sync + 'static) -> u16 {
    serve_at("127.0.0.1", answer)
}

/// Reads a request up to its empty line.
fn request(stream: &mut impl Read) -> String {
    let mut text = Vec::new();
    let mut byte = [0];
    while !text.ends_with(b"\r\n\r\n") && stream.read(&mut byte).is_ok_and(|count| count == 1) {
        text.push(byte[0]);
    }
    String::from_utf8_lossy(&text).into_owned()
}

/// An HTTP server whose answer's status is the request's path, and whose body is its Host.
fn http() -> u16 {
    serve(|mut stream| {
        let request = request(&mut stream);
        let status = request.split(['/', ' ']).nth(2).unwrap_or_default();
        let host = request.lines().find(|line| line.starts_with("Host:")).unwrap_or_default();
        let _ = write!(stream, "HTTP/1.1 {status} Some Reason\r\nX: y\r\n\r\n{host}\nmore\n");
    })
}

fn check(words: &[&str]) -> Outcome {
    run(As::Process, &[&["check"], words].concat())
}

#[track_caller]
fn passes(words: &[&str]) {
    let outcome = check(words);
    assert_eq!((outcome.code(), outcome.stderr.as_str()), (0, ""), "{words:?}");
}

#[track_caller]
fn fails(words: &[&str], reason: &str) {
    let outcome = check(words);
    assert_eq!(outcome.code(), 1, "{words:?}");
    assert!(outcome.stderr.contains(reason), "{}", outcome.stderr);
    assert_eq!(outcome.stdout, "");
}

#[test]
fn http_statuses_are_judged_and_shown_with_the_first_line() {
    let port = http();
    let url = |status: u16| format!("http://127.0.0.1:{port}/{status}");
    for status in [200, 204, 300, 302, 399] {
        passes(&[&url(status)]);
    }
    for status in [199, 400, 404, 500, 503] {
        fails(&[&url(status)], &format!("{}: status {status}: Host: 127.0.0.1:{port}\n", url(status)));
    }
    passes(&["--status", "401,500-599", &url(401), &url(503)]);
    fails(&["--status", "300", &url(200)], "status 200");
    fails(&["--host", "api.example", &url(500)], "Host: api.example\n");
    passes(&[&format!("http://localhost:{port}/200")]);
}

#[test]
fn ipv6_literals_are_reached() {
    let port = serve_at("::1", |mut stream| {
        let _ = request(&mut stream);
        let _ = stream.write_all(b"HTTP/1.0 200 OK\r\n\r\n");
    });
    passes(&[&format!("http://[::1]:{port}/"), &format!("tcp:[::1]:{port}")]);
    // Only the second address of localhost listens.
    passes(&[&format!("http://localhost:{port}/")]);
}

#[test]
fn half_answers_other_protocols_and_silence_fail_with_what_came() {
    let ssh = serve(|mut stream| {
        let _ = stream.write_all(b"SSH-2.0-OpenSSH_9.2\r\n");
        std::thread::sleep(Duration::from_mins(1));
    });
    let closed = serve(drop);
    let silent = serve(|_stream| std::thread::sleep(Duration::from_mins(1)));
    let slow = serve(|mut stream| {
        let _ = request(&mut stream);
        for byte in b"HTTP/1.1 200 OK\r\n\r\n" {
            let _ = stream.write_all(&[*byte]);
            std::thread::sleep(Duration::from_millis(5));
        }
    });
    let url = |port: u16| format!("http://127.0.0.1:{port}/");
    fails(&[&url(ssh)], "not HTTP: SSH-2.0-OpenSSH_9.2\n");
    let outcome = check(&[&url(closed)]);
    assert_eq!(outcome.code(), 1);
    let reasons = ["not HTTP: nothing", "Connection reset by peer", "Broken pipe"];
    assert!(reasons.iter().any(|reason| outcome.stderr.contains(reason)), "{}", outcome.stderr);
    let outcome = check(&["--timeout", "300ms", &url(silent)]);
    assert!(outcome.stderr.contains("timed out") && outcome.took < Duration::from_secs(3));
    passes(&[&url(slow)]);
    fails(&["tcp:127.0.0.1:1"], "tcp:127.0.0.1:1: connect: Connection refused\n");
    fails(&["http://no.such.host.example/"], "nor in /etc/hosts");
}

#[test]
fn sockets_files_and_several_targets() {
    let scratch = Scratch::new("targets");
    let socket = scratch.path("socket");
    let _listener = UnixListener::bind(&socket).expect("a new socket");
    let file = scratch.write("ready", "");
    let port = http();
    let tcp = format!("tcp:127.0.0.1:{port}");
    passes(&[&tcp, &format!("unix:{socket}"), &format!("file:{file}")]);
    let outcome = check(&[&tcp, "unix:/doesnotexist", "file:/doesnotexist", &format!("unix:{file}")]);
    assert_eq!(outcome.code(), 1);
    assert_eq!(
        outcome.stderr.lines().collect::<Vec<_>>(),
        [
            "mastic-init: unix:/doesnotexist: connect: No such file or directory".to_owned(),
            "mastic-init: file:/doesnotexist: look: No such file or directory".to_owned(),
            format!("mastic-init: unix:{file}: connect: Connection refused"),
        ]
    );
}

#[test]
fn amqp_must_start_a_connection() {
    let start = |opening: &'static [u8]| {
        let port = serve(move |mut stream| {
            let mut header = [0; 8];
            let _ = stream.read_exact(&mut header);
            let known = header == *b"AMQP\x00\x00\x09\x01";
            let _ = stream.write_all(if known { opening } else { b"what?" });
        });
        format!("amqp:127.0.0.1:{port}")
    };
    passes(&[&start(b"\x01\x00\x00\x00\x00\x01\xff\x00\x0a\x00\x0a\x00\x09")]);
    fails(&[&start(b"AMQP\x00\x01\x00\x00\x00\x00\x00")], "another version of AMQP");
    fails(&[&start(b"HTTP/1.1 400 Bad Request\r\n")], "not AMQP: HTTP/1.1 40");
    fails(&[&start(b"\x01\x00")], "closed before its Connection.Start");
}

#[test]
fn mysql_must_greet_and_its_error_is_shown() {
    let greet = |greeting: &'static [u8]| {
        let port = serve(move |mut stream| {
            let _ = stream.write_all(greeting);
            std::thread::sleep(Duration::from_millis(200));
        });
        format!("mysql:127.0.0.1:{port}")
    };
    passes(&[&greet(b"\x4a\x00\x00\x00\x0a11.4.7-MariaDB\x00")]);
    fails(
        &[&greet(b"\x1b\x00\x00\x00\xff\x10\x04Too many connections now")],
        "error 1040: Too many connections now\n",
    );
    fails(&[&greet(b"\x05\x00\x00\x00\x09old")], "greeting begins with 9");
    fails(&[&greet(b"")], "closed before its greeting");

    let scratch = Scratch::new("mysql");
    let socket = scratch.path("socket");
    let listener = UnixListener::bind(&socket).expect("a new socket");
    std::thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            let _ = stream.write_all(b"\x4a\x00\x00\x00\x0a8.4.0\x00");
        }
    });
    passes(&[&format!("mysql:unix:{socket}")]);
}

#[test]
fn processes_are_found_by_name_but_not_as_zombies() {
    let scratch = Scratch::new("process");
    let long = "a-program-with-a-very-long-name";
    let program = scratch.path(long);
    std::fs::copy("/bin/sleep", &program).expect("scratch");
    let target = format!("process:{long}");
    fails(&[&target], "no such process");
    let mut child = std::process::Command::new(&program).arg("1000").spawn().expect("it starts");
    // A process has its new name only after exec.
    passes(&["--wait", "5", &target]);
    fails(&["process:a-program-with-another-name"], "no such process");
    child.kill().expect("our child");
    eventually(|| state(i32::try_from(child.id()).expect("a pid")) == Some('Z'));
    fails(&[&target], "is a zombie");
    let _ = child.wait();
    // Itself does not count.
    fails(&["process:mastic-init-nowhere"], "no such process");
}

#[test]
fn waiting_ends_as_soon_as_all_pass_or_at_the_deadline() {
    let scratch = Scratch::new("wait");
    let (first, second) = (scratch.path("first"), scratch.path("second"));
    let later = (first.clone(), second.clone());
    let maker = std::thread::spawn(move || {
        for path in [&later.0, &later.1] {
            std::thread::sleep(Duration::from_millis(300));
            std::fs::write(path, "").expect("scratch");
        }
    });
    let outcome = check(&["--wait", "10", &format!("file:{first}"), &format!("file:{second}")]);
    maker.join().expect("no panic");
    assert_eq!((outcome.code(), outcome.stderr.as_str()), (0, ""));
    assert!(outcome.took > Duration::from_millis(500) && outcome.took < Duration::from_secs(3));

    let outcome = check(&["--wait", "1", "--every", "100", "file:/doesnotexist"]);
    assert_eq!((outcome.code(), outcome.stderr.lines().count()), (1, 1));
    assert!(outcome.took > Duration::from_millis(800) && outcome.took < Duration::from_secs(3));
    // A server that never answers may not hold a waiting check beyond its time.
    let silent = serve(|_stream| std::thread::sleep(Duration::from_mins(1)));
    let outcome = check(&["--wait", "1", &format!("http://127.0.0.1:{silent}/")]);
    assert_eq!(outcome.code(), 1);
    assert!(outcome.took < Duration::from_secs(3), "{:?}", outcome.took);
}

#[test]
fn wrong_usage_is_told_from_failure() {
    for words in [
        &[][..],
        &["--wait", "5"],
        &["nonsense"],
        &["ftp://host/"],
        &["tcp:host"],
        &["--status", "abc", "tcp:127.0.0.1:1"],
        &["--yolo", "tcp:127.0.0.1:1"],
        &["--every", "1s", "tcp:127.0.0.1:1"],
        &["--host", "a b", "tcp:127.0.0.1:1"],
        &["https://127.0.0.1/"],
    ] {
        let outcome = check(words);
        assert_eq!(outcome.code(), 2, "{words:?}");
        assert_eq!(outcome.stderr.lines().count(), 1);
    }
    assert!(check(&["--help"]).stdout.starts_with("usage: mastic-init check"));
}

/// An authority and the server certificates it signs.
struct Authority {
    issuer: Issuer<'static, KeyPair>,
    pem: String,
}

impl Authority {
    fn new(name: &str) -> Self {
        let key = KeyPair::generate().expect("randomness");
        let mut params = CertificateParams::new([]).expect("no names");
        params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        params.distinguished_name.push(rcgen::DnType::CommonName, name);
        let pem = params.self_signed(&key).expect("valid").pem();
        Self { issuer: Issuer::new(params, key), pem }
    }

    /// An HTTPS server with a certificate for these names.
    fn serve(
        &self,
        names: &[&str],
        versions: &[&'static rustls::SupportedProtocolVersion],
        expired: bool,
    ) -> u16 {
        let key = KeyPair::generate().expect("randomness");
        let names: Vec<String> = names.iter().map(ToString::to_string).collect();
        let mut params = CertificateParams::new(names).expect("valid names");
        if expired {
            params.not_after = rcgen::date_time_ymd(2020, 1, 1);
            params.not_before = rcgen::date_time_ymd(2019, 1, 1);
        }
        let certificate = params.signed_by(&key, &self.issuer).expect("valid");
        let key = PrivateKeyDer::Pkcs8(key.serialize_der().into());
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = rustls::ServerConfig::builder_with_provider(provider)
            .with_protocol_versions(versions)
            .expect("known versions")
            .with_no_client_auth()
            .with_single_cert(vec![certificate.der().clone()], key)
            .expect("a matching pair");
        let config = Arc::new(config);
        serve(move |mut stream| {
            let mut tls = rustls::ServerConnection::new(Arc::clone(&config)).expect("valid");
            let mut tls = rustls::Stream::new(&mut tls, &mut stream);
            let request = request(&mut tls);
            let status = request.split(['/', ' ']).nth(2).unwrap_or_default().to_owned();
            // Header and body in records of their own, and a body of several records.
            let _ = write!(tls, "HTTP/1.1 {status} x\r\n\r\n");
            let _ = tls.flush();
            let _ = tls.write_all(&[b"explanation\n".to_vec(), vec![b'x'; 40_000]].concat());
            tls.conn.send_close_notify();
            let _ = tls.flush();
        })
    }
}

const TLS_13: &[&rustls::SupportedProtocolVersion] = &[&rustls::version::TLS13];
const TLS_12: &[&rustls::SupportedProtocolVersion] = &[&rustls::version::TLS12];

#[test]
fn https_verifies_chain_name_and_date() {
    let scratch = Scratch::new("https");
    let (authority, stranger) = (Authority::new("ours"), Authority::new("theirs"));
    let ca = scratch.write("ca.pem", &format!("# comment\n{}{}", stranger.pem, authority.pem));
    let other = scratch.write("other.pem", &stranger.pem);
    let empty = scratch.write("empty.pem", "nothing\n");
    for versions in [TLS_13, TLS_12] {
        let port = authority.serve(&["localhost", "127.0.0.1", "api.example"], versions, false);
        let url = |status: u16| format!("https://127.0.0.1:{port}/{status}");
        passes(&["--ca", &ca, &url(200), &format!("https://localhost:{port}/302")]);
        passes(&["--ca", &ca, "--host", "api.example", &url(200)]);
        passes(&["--insecure", &url(200)]);
        fails(&["--ca", &ca, &url(503)], "status 503: explanation\n");
        fails(&["--ca", &ca, "--host", "other.example", &url(200)], "NotValidForName");
        fails(&["--ca", &other, &url(200)], "UnknownIssuer");
        fails(&["--ca", &empty, &url(200)], "no usable certificate");
        fails(&["--ca", "/doesnotexist", &url(200)], "No such file");
    }
    let port = authority.serve(&["localhost"], TLS_13, true);
    let url = format!("https://localhost:{port}/200");
    fails(&["--ca", &ca, &url], "certificate expired");
    passes(&["--insecure", &url]);
}

#[test]
fn https_fails_politely_without_tls() {
    let plain = serve(|mut stream| {
        let _ = stream.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n");
        std::thread::sleep(Duration::from_mins(1));
    });
    fails(&["--insecure", &format!("https://127.0.0.1:{plain}/")], "TLS: ");
    let silent = serve(|_stream| std::thread::sleep(Duration::from_mins(1)));
    let target = format!("https://127.0.0.1:{silent}/");
    fails(&["--insecure", "--timeout", "300ms", &target], "timed out");
    let closed = serve(drop);
    fails(&["--insecure", &format!("https://127.0.0.1:{closed}/")], "https://127.0.0.1");
}

#[test]
fn connected_means_that_somebody_holds_a_connection() {
    for (bind, host) in [("127.0.0.1", "127.0.0.1"), ("::1", "[::1]")] {
        let port = serve_at(bind, |mut stream| {
            let _ = stream.read(&mut [0]);
        });
        let target = format!("connected:{host}:{port}");
        fails(&[&target], "nobody on this host is connected");
        let connection = TcpStream::connect((bind, port)).expect("it listens");
        passes(&[&target]);
        // As PID 1 of a container it sees the host's connections, but not who holds them.
        let inside = run(As::PidOne, &["check", &target]);
        assert!(inside.stderr.contains("no process of this container is connected"), "{}", inside.stderr);
        assert_eq!(inside.code(), 1);
        drop(connection);
        fails(&["--wait", "0", &target], "nobody on this host is connected");
    }
}

#[test]
fn fresh_files_were_written_lately() {
    let scratch = Scratch::new("fresh");
    let path = scratch.write("alive", "");
    passes(&[&format!("fresh:30:{path}")]);
    let file = std::fs::File::options().write(true).open(&path).expect("it was written");
    let age = |seconds| std::time::SystemTime::now() - Duration::from_secs(seconds);
    file.set_modified(age(100)).expect("it can be made older");
    passes(&[&format!("fresh:200:{path}")]);
    fails(&[&format!("fresh:30:{path}")], " s ago");
    file.set_modified(std::time::SystemTime::now() + Duration::from_secs(1000)).expect("also younger");
    passes(&[&format!("fresh:30:{path}")]);
    fails(&["fresh:30:/doesnotexist"], "No such file");
}
