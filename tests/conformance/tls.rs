//! An engine behind TLS: who is let in, who is not, and in which words.

use std::path::Path;
use std::sync::Arc;

use mastic::engine::{Engine, EngineError, EngineErrorKind, connect};

use crate::engine::{Authority, EngineOptions, PrivateEngine, TLS_ENGINE};
use crate::fixture::{assert_kind, run_all};

fn start(arguments: &[&str]) -> PrivateEngine {
    let arguments = arguments.iter().map(|argument| (*argument).to_owned()).collect();
    PrivateEngine::start("tls", EngineOptions { tls: true, arguments, ..EngineOptions::default() })
}

/// Connects from the engine's own network.
fn reach(engine: &PrivateEngine, address: &str, tls: Option<&Path>) -> Result<Arc<dyn Engine>, EngineError> {
    let tls = tls.map(|folder| folder.to_str().expect("a path of ours is UTF-8"));
    engine.home().block_on(connect(address, tls))
}

#[track_caller]
fn refused(result: Result<Arc<dyn Engine>, EngineError>, words: &[&str]) {
    let error = assert_kind(result, EngineErrorKind::Unauthorized);
    for word in words {
        assert!(error.message.contains(word), "{word:?} is not in: {error}");
    }
}

/// Copies a client's certificates, to spoil them.
fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).expect("a folder can be made");
    for name in ["ca.pem", "cert.pem", "key.pem"] {
        std::fs::copy(from.join(name), to.join(name)).expect("a file can be copied");
    }
}

#[test]
fn an_engine_behind_tls_must_pass_every_case() {
    let engine = start(&[]);
    let folder = engine.client_certificates();
    let reached = reach(&engine, TLS_ENGINE, Some(&folder)).expect("a client with a certificate is let in");
    assert_eq!(reached.endpoint(), TLS_ENGINE);
    drop(reached);
    engine.home().inside(|| {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        runtime.expect("a runtime").block_on(async {
            run_all(connect(TLS_ENGINE, folder.to_str()).await.expect("the engine answers")).await;
        });
    });
}

#[test]
fn an_engine_of_another_authority_must_be_refused() {
    let engine = start(&[]);
    let folder = engine.home().path("wrong-ca");
    copy(&engine.client_certificates(), &folder);
    std::fs::write(folder.join("ca.pem"), Authority::new("another").pem()).expect("a file can be written");
    refused(reach(&engine, TLS_ENGINE, Some(&folder)), &["the engine's certificate is not trusted"]);
}

#[test]
fn an_engine_under_another_name_must_be_refused() {
    let engine = start(&["--host=tcp://127.0.0.2:2376"]);
    let folder = engine.client_certificates();
    let other = reach(&engine, "tcp://127.0.0.2:2376", Some(&folder));
    refused(other, &["the engine's certificate is not trusted", "127.0.0.2"]);
}

#[test]
fn a_client_must_be_refused_without_a_certificate_of_the_engine_s_authority() {
    let engine = start(&[]);
    let good = engine.client_certificates();
    let refuses = "the engine refused our certificate";
    // Another authority's.
    let strange = engine.home().path("strange");
    Authority::new("another").client(&strange);
    std::fs::copy(good.join("ca.pem"), strange.join("ca.pem")).expect("a file can be copied");
    refused(reach(&engine, TLS_ENGINE, Some(&strange)), &[refuses]);
    // The engine's own, which says that it is for servers.
    let server = engine.home().path("tls");
    refused(reach(&engine, TLS_ENGINE, Some(&server)), &[refuses]);
    // The engine's own client says the same.
    let output = engine
        .home()
        .command("docker")
        .args(["-H", TLS_ENGINE, "--tlsverify", "info"])
        .args(["--tlscacert", &good.join("ca.pem").to_string_lossy()])
        .env("DOCKER_CERT_PATH", engine.home().path("nothing"))
        .output()
        .expect("the docker client is installed");
    assert!(!output.status.success());
    // None at all.
    let without =
        reach(&engine, TLS_ENGINE, None).expect_err("an engine behind TLS is not spoken to without");
    assert!(without.message.contains("HTTPS"), "{without}");
}

#[test]
fn a_bad_folder_of_certificates_must_be_named_file_by_file() {
    let engine = start(&[]);
    let good = engine.client_certificates();
    for file in ["ca.pem", "cert.pem", "key.pem"] {
        let folder = engine.home().path(&format!("without-{file}"));
        copy(&good, &folder);
        let path = folder.join(file);
        let named = path.to_str().expect("a path of ours is UTF-8");
        std::fs::remove_file(&path).expect("a file can be removed");
        refused(reach(&engine, TLS_ENGINE, Some(&folder)), &[named, "No such file"]);
        std::fs::write(&path, "").expect("a file can be written");
        refused(reach(&engine, TLS_ENGINE, Some(&folder)), &[named, "holds no"]);
        std::fs::write(&path, "-----BEGIN CERTIFICATE-----\n!\n-----END CERTIFICATE-----\n")
            .expect("written");
        refused(reach(&engine, TLS_ENGINE, Some(&folder)), &[named]);
    }
    // Each is good, but they do not belong together.
    let folder = engine.home().path("mixed");
    copy(&good, &folder);
    std::fs::copy(engine.home().path("tls/key.pem"), folder.join("key.pem")).expect("a file can be copied");
    refused(reach(&engine, TLS_ENGINE, Some(&folder)), &["do not fit together"]);
}

#[test]
fn whoever_is_no_engine_behind_tls_must_be_told_from_one() {
    let engine = start(&[]);
    let folder = engine.client_certificates();
    let nobody = reach(&engine, "tcp://127.0.0.1:2377", Some(&folder));
    assert_kind(nobody, EngineErrorKind::Unreachable);
    let tls = folder.to_str();
    let plain = engine.home().block_on(async {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = format!("tcp://{}", listener.local_addr().expect("an address"));
        let speak = async {
            loop {
                let (mut stream, _) = listener.accept().await.expect("a connection");
                let answer = b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n";
                let _ = tokio::io::AsyncWriteExt::write_all(&mut stream, answer).await;
            }
        };
        tokio::select! {
            result = connect(&address, tls) => result,
            () = speak => unreachable!("it speaks for ever"),
        }
    });
    refused(plain, &["no TLS connection"]);
}
