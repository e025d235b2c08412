//! Logs and events.

use std::sync::Arc;

use futures::StreamExt as _;
use mastic::engine::{CreateRequest, LogOptions, OutputChunk};
use mastic::model::{ContainerId, labels};

use crate::fixture::{Fixture, within};

async fn log(f: &Fixture, id: &ContainerId, options: LogOptions) -> (String, String) {
    let chunks: Vec<OutputChunk> =
        within(20, "the log", f.engine.logs(id, &options).map(Result::unwrap).collect()).await;
    let text = |stderr: bool| {
        let bytes =
            chunks.iter().filter(|chunk| chunk.stderr == stderr).flat_map(|chunk| chunk.bytes.to_vec());
        String::from_utf8(bytes.collect()).unwrap()
    };
    (text(false), text(true))
}

async fn ended(f: &Fixture, words: &[&str]) -> ContainerId {
    let id = f.started(&f.task("a", words)).await;
    within(10, "the end", f.engine.wait(&id)).await.unwrap();
    id
}

pub async fn logs_must_hold_both_streams_in_order(f: Arc<Fixture>) {
    let never = f.create(&f.task("never", &[])).await.unwrap();
    assert_eq!(log(&f, &never, LogOptions::default()).await, Default::default());
    let id = ended(&f, &["out:1", "err:2", "out:3", "err:4", "exit:1"]).await;
    let (stdout, stderr) = log(&f, &id, LogOptions::default()).await;
    assert_eq!((stdout.as_str(), stderr.as_str()), ("1\n3\n", "2\n4\n"));
    // A second run adds to it.
    f.engine.start(&id).await.unwrap();
    within(10, "the end", f.engine.wait(&id)).await.unwrap();
    assert_eq!(log(&f, &id, LogOptions::default()).await.0, "1\n3\n1\n3\n");
}

pub async fn logs_must_be_cut_as_asked(f: Arc<Fixture>) {
    let id = ended(&f, &["out:1", "out:2", "out:3"]).await;
    let tail = LogOptions { tail: Some(2), ..LogOptions::default() };
    assert_eq!(log(&f, &id, tail).await.0, "2\n3\n");
    let stamped = LogOptions { tail: Some(1), timestamps: true, ..LogOptions::default() };
    let line = log(&f, &id, stamped).await.0;
    let (time, text) = line.split_once(' ').unwrap();
    assert_eq!(text, "3\n");
    let moment: jiff::Timestamp = time.parse().unwrap();
    let second = moment.as_second();
    let window = |since, until| LogOptions { since, until, ..LogOptions::default() };
    assert_eq!(log(&f, &id, window(Some(second + 3600), None)).await.0, "");
    assert_eq!(log(&f, &id, window(Some(second - 3600), None)).await.0, "1\n2\n3\n");
    assert_eq!(log(&f, &id, window(None, Some(second - 3600))).await.0, "");
    assert_eq!(log(&f, &id, window(Some(second - 3600), Some(second + 3600))).await.0, "1\n2\n3\n");
}

pub async fn a_followed_log_must_end_with_its_container(f: Arc<Fixture>) {
    let id = f.started(&f.task("a", &["out:begin", "sleep:500", "exit:0"])).await;
    let follow = LogOptions { follow: true, ..LogOptions::default() };
    let mut lines = f.engine.logs(&id, &follow);
    let first = within(10, "the first line", lines.next()).await.unwrap().unwrap();
    assert_eq!(first.bytes, "begin\n");
    assert!(within(10, "the end of the log", lines.next()).await.is_none());
}

pub async fn events_must_come_in_order_and_of_this_deployment_only(f: Arc<Fixture>) {
    let other = f.other();
    let foreign = CreateRequest::Inert {
        name: format!("{other}-a-1"),
        image: f.image.reference.clone(),
        labels: [(labels::DEPLOYMENT.to_owned(), other.to_string())].into(),
        volume: None,
    };
    // Subscribed before anything happens, though polled only later.
    let events = f.engine.events(&f.deployment);
    let stranger = f.engine.create(&foreign).await.unwrap();
    let id = f.started(&f.service("a", &["forever"])).await;
    f.exec(&id, &["exit:1"]).await;
    f.engine.stop(&id, std::time::Duration::from_secs(5)).await.unwrap();
    f.engine.remove(&stranger, true).await.unwrap();
    f.engine.remove(&id, false).await.unwrap();
    let all: Vec<_> = within(
        20,
        "the events",
        events.map(Result::unwrap).take_while(|e| std::future::ready(e.action != "destroy")).collect(),
    )
    .await;
    assert!(all.iter().all(|event| event.id == id), "{all:?}");
    let actions: Vec<&str> = all.iter().map(|event| event.action.as_str()).collect();
    // Engine 26 may tell of the request's end before the program's.
    let orders = [["create", "start", "kill", "die", "stop"], ["create", "start", "kill", "stop", "die"]];
    assert!(orders.iter().any(|order| actions == *order), "{actions:?}");
    let code = all.iter().find(|event| event.action == "die").and_then(|event| event.exit_code);
    assert_eq!(code, Some(143));
    assert!(all.is_sorted_by_key(|event| event.time_nanos));
}
