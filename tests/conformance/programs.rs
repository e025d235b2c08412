//! Programs in containers: execs, the check of PID 1, health.

use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt as _;
use mastic::engine::{EngineErrorKind, ExecRequest};
use mastic::model::{CheckSpec, ContainerSpec, Health};

use crate::fixture::{Fixture, assert_kind, check, file, probe, within};

pub async fn an_exec_must_give_code_and_both_streams(f: Arc<Fixture>) {
    let id = f.started(&f.service("a", &["forever"])).await;
    let outcome = f.exec(&id, &["out:one", "err:two", "out:three", "exit:5"]).await;
    assert_eq!(outcome.code, 5);
    assert_eq!(String::from_utf8(outcome.stdout).unwrap(), "one\nthree\n");
    assert_eq!(String::from_utf8(outcome.stderr).unwrap(), "two\n");
    assert_eq!(f.exec(&id, &[]).await.code, 0);
    // Several at once do not mix.
    let all = futures::future::join_all((0..8).map(|n| {
        let (f, id) = (f.clone(), id.clone());
        async move { f.exec(&id, &[&format!("out:{n}"), &format!("exit:{n}")]).await }
    }));
    for (n, outcome) in all.await.into_iter().enumerate() {
        assert_eq!(
            (outcome.code, outcome.stdout),
            (i64::try_from(n).unwrap(), format!("{n}\n").into_bytes())
        );
    }
}

pub async fn an_exec_must_be_fed_and_placed(f: Arc<Fixture>) {
    let mut spec = f.service("a", &["forever"]);
    spec.environment = [("COLOUR".to_owned(), "blue".to_owned())].into();
    let id = f.started(&spec).await;
    let input = "many bytes\n".repeat(50_000);
    let fed = ExecRequest { stdin: Some(input.clone().into()), ..probe(&["cat", "exit:2"]) };
    let outcome = within(20, "an exec that is fed", f.engine.exec(&id, &fed)).await.unwrap();
    assert_eq!((outcome.code, outcome.stdout.len()), (2, input.len()));
    let empty = ExecRequest { stdin: Some(bytes::Bytes::new()), ..probe(&["cat"]) };
    let outcome = within(20, "an exec whose input is empty", f.engine.exec(&id, &empty)).await.unwrap();
    assert_eq!((outcome.code, outcome.stdout.len()), (0, 0));
    let outcome = f.exec(&id, &["user", "pwd", "env:COLOUR"]).await;
    assert_eq!(String::from_utf8(outcome.stdout).unwrap(), "1234:5678\n/\nblue\n");
    let placed = ExecRequest {
        user: Some("0:0".to_owned()),
        environment: vec!["COLOUR=red".to_owned()],
        working_dir: Some("/etc".to_owned()),
        ..probe(&["user", "pwd", "env:COLOUR"])
    };
    let outcome = f.engine.exec(&id, &placed).await.unwrap();
    assert_eq!(String::from_utf8(outcome.stdout).unwrap(), "0:0\n/etc\nred\n");
}

pub async fn an_exec_must_need_a_running_container(f: Arc<Fixture>) {
    let id = f.ready(&f.service("a", &["forever"])).await;
    assert_kind(f.engine.exec(&id, &probe(&[])).await, EngineErrorKind::Conflict);
    assert_kind(f.engine.exec_interactive(&id, &probe(&[]), false).await, EngineErrorKind::Conflict);
    f.engine.start(&id).await.unwrap();
    assert_eq!(f.exec(&id, &[]).await.code, 0);
    f.engine.stop(&id, Duration::from_secs(5)).await.unwrap();
    assert_kind(f.engine.exec(&id, &probe(&[])).await, EngineErrorKind::Conflict);
}

pub async fn an_interactive_exec_must_stream_and_tell_its_code(f: Arc<Fixture>) {
    let id = f.started(&f.service("a", &["forever"])).await;
    let exec =
        f.engine.exec_interactive(&id, &probe(&["out:one", "err:two", "exit:4"]), false).await.unwrap();
    let (mut stdout, mut stderr) = (Vec::new(), Vec::new());
    let mut output = exec.output;
    while let Some(chunk) = output.next().await {
        let chunk = chunk.unwrap();
        if chunk.stderr { &mut stderr } else { &mut stdout }.extend_from_slice(&chunk.bytes);
    }
    assert_eq!((stdout, stderr), (b"one\n".to_vec(), b"two\n".to_vec()));
    assert_eq!(f.engine.exec_exit_code(&exec.id).await.unwrap(), 4);
}

pub async fn the_check_of_pid_1_must_wait_until_it_passes(f: Arc<Fixture>) {
    let good = f.started(&f.service("good", &["forever"])).await;
    let request =
        |check: CheckSpec, wait| ExecRequest { command: check.argv(Some(wait)), ..ExecRequest::default() };
    let outcome = f.engine.exec(&good, &request(check(&["file:/etc/private"]), 10)).await.unwrap();
    assert_eq!(outcome.code, 0, "{outcome:?}");
    let mut spec = f.service("bad", &["forever"]);
    spec.environment = [("NEVER".to_owned(), "ready".to_owned())].into();
    let bad = f.started(&spec).await;
    let outcome = f.engine.exec(&bad, &request(check(&["file:/etc/nothing"]), 1)).await.unwrap();
    assert_eq!(outcome.code, 1);
    assert!(!outcome.stdout.is_empty() || !outcome.stderr.is_empty(), "a failed check must say why");
}

fn checked(f: &Fixture, target: &str, deadline: u32) -> ContainerSpec {
    let mut spec = f.service("a", &["forever"]);
    spec.files = vec![file("/etc/ready", "", (0, 0), 0o644)];
    spec.check = Some(CheckSpec { deadline, ..check(&[target]) });
    spec
}

pub async fn health_must_become_good_and_be_told(f: Arc<Fixture>) {
    let mut events = f.engine.events(&f.deployment);
    let id = f.started(&checked(&f, "file:/etc/ready", 20)).await;
    assert_eq!(f.engine.container(&id.0).await.unwrap().health, Health::Starting);
    let told = async {
        loop {
            let event = events.next().await.unwrap().unwrap();
            if event.action.starts_with("health_status") {
                break event;
            }
        }
    };
    let event = within(20, "the verdict", told).await;
    assert_eq!((event.action.as_str(), &event.id), ("health_status: healthy", &id));
    assert_eq!(f.engine.container(&id.0).await.unwrap().health, Health::Healthy);
}

pub async fn health_must_become_bad_once_the_deadline_is_over(f: Arc<Fixture>) {
    let mut events = f.engine.events(&f.deployment);
    let mut spec = checked(&f, "file:/etc/nothing", 1);
    spec.environment = [("NEVER".to_owned(), "ready".to_owned())].into();
    let id = f.started(&spec).await;
    let told = async {
        loop {
            let event = events.next().await.unwrap().unwrap();
            if event.action.starts_with("health_status") {
                break event.action;
            }
        }
    };
    assert_eq!(within(30, "the verdict", told).await, "health_status: unhealthy");
    let seen = f.engine.container(&id.0).await.unwrap();
    assert_eq!((seen.health, seen.state), (Health::Unhealthy, mastic::model::ContainerState::Running));
}
