//! What a real engine does in trouble: restarted, killed, full.

use std::io::Read as _;
use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt as _;
use mastic::engine::{EngineErrorKind, connect};
use nix::sys::signal::Signal;

use crate::engine::{EngineOptions, PrivateEngine};
use crate::fixture::{assert_kind, run, within};

/// Restarts the engine while requests are in flight; afterwards the same connection serves.
fn restarted(signal: Signal) {
    let engine = Arc::new(PrivateEngine::start("trouble", EngineOptions::default()));
    let trouble = engine.clone();
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    runtime.block_on(async {
        let client = connect(&engine.address(), None).await.expect("the engine answers");
        run(client, |f| {
            Box::pin(async move {
                let mut events = f.engine.events(&f.deployment);
                let id = f.started(&f.service("a", &["forever"])).await;
                // Events are asked for when the first of them is.
                let first = within(20, "the first event", events.next()).await.expect("one").expect("one");
                assert_eq!((first.action.as_str(), &first.id), ("create", &id));
                let (waiting, other) = (f.engine.clone(), id.clone());
                let waiting = tokio::spawn(async move { waiting.wait(&other).await });
                // An answer to a later request: the wait is with the engine, too.
                f.exec(&id, &["exit:0"]).await;
                tokio::task::block_in_place(|| trouble.restart(signal));
                let ended = within(20, "the end of the wait", waiting).await.expect("it did not panic");
                // An engine that is let go stops its containers first, which is an answer.
                if let Err(error) = ended {
                    assert_eq!(error.kind, EngineErrorKind::Unreachable, "{error}");
                }
                let drained = async { while let Some(Ok(_)) = events.next().await {} };
                within(20, "the end of the events", drained).await;
                f.engine.ping(Duration::from_secs(10)).await.expect("it answers again");
                f.engine.start(&id).await.expect("the container is still there");
                assert_eq!(f.exec(&id, &["exit:3"]).await.code, 3);
            })
        })
        .await;
    });
}

#[test]
fn a_request_in_flight_must_end_with_the_engine_and_the_next_must_connect_again() {
    restarted(Signal::SIGTERM);
    restarted(Signal::SIGKILL);
}

#[test]
fn a_full_disk_must_be_called_so() {
    let disk = Some(48 << 20);
    let engine = PrivateEngine::start("full", EngineOptions { disk, ..EngineOptions::default() });
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    runtime.block_on(async {
        let client = connect(&engine.address(), None).await.expect("the engine answers");
        let mut archive = tar::Builder::new(Vec::new());
        let mut header = tar::Header::new_gnu();
        header.set_size(64 << 20);
        header.set_mode(0o644);
        archive.append_data(&mut header, "big", std::io::repeat(7).take(64 << 20)).expect("an archive");
        let bytes = bytes::Bytes::from(archive.into_inner().expect("an archive"));
        let root = futures::stream::iter([Ok(bytes)]).boxed();
        let imported = client.import_image("big:1", root, &std::collections::BTreeMap::new()).await;
        let error = assert_kind(imported, EngineErrorKind::NoSpace);
        assert!(error.message.contains("no space left on device"), "{error}");
        assert!(client.images().await.expect("it answers").is_empty());
    });
}

#[test]
fn an_engine_that_is_gone_must_be_unreachable_and_say_what_to_do() {
    let engine = PrivateEngine::start("gone", EngineOptions::default());
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let client = runtime.block_on(connect(&engine.address(), None)).expect("the engine answers");
    // Killed, it leaves a socket behind on which nobody listens; let go, it takes it along.
    engine.end(Signal::SIGKILL);
    assert_kind(runtime.block_on(client.info()), EngineErrorKind::Unreachable);
    assert_kind(runtime.block_on(connect(&engine.address(), None)), EngineErrorKind::Unreachable);
    engine.resume();
    engine.end(Signal::SIGTERM);
    let gone = assert_kind(runtime.block_on(connect(&engine.address(), None)), EngineErrorKind::Unreachable);
    assert!(gone.message.contains("is the engine running?"), "{gone}");
}
