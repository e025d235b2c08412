//! What only the simulated engine has: scripts, faults, virtual time. What it shares with the real one is shown by the
//! conformance suite.

use std::time::Duration;

use futures::StreamExt as _;

use super::*;
use crate::engine::{CreateRequest, Engine, EngineErrorKind, archive};
use crate::model::labels;
use crate::model::spec::{ContainerSpec, Cutover, Limits, Privileges, Role, StopSpec};
use crate::model::{CheckSpec, ContainerState, DeploymentName, Health, PinnedImage, Slot, TaskPhase};

fn deployment() -> DeploymentName {
    DeploymentName::new("t").unwrap()
}

fn spec(engine: &SimEngine, name: &str, task: bool) -> ContainerSpec {
    let id = engine.add_image("mastic/x:1", &[]);
    ContainerSpec {
        slot: Slot { host: "local".parse().unwrap(), container: name.parse().unwrap() },
        service: "x".parse().unwrap(),
        set: "api".parse().unwrap(),
        role: if task {
            Role::Task {
                phase: TaskPhase::Bootstrap,
                trigger: crate::model::spec::TaskTrigger::Once,
                deadline: 60,
            }
        } else {
            Role::Service { cutover: Cutover::Exclusive }
        },
        image: PinnedImage { reference: "mastic/x:1".to_owned(), id },
        init_args: vec![],
        leaves: None,
        command: vec!["/x".to_owned()],
        user: (1, 1),
        working_dir: String::new(),
        environment: BTreeMap::new(),
        files: vec![],
        mounts: vec![],
        host_network: true,
        privileges: Privileges::default(),
        limits: Limits::default(),
        check: Some(CheckSpec {
            targets: vec!["tcp:127.0.0.1:1".to_owned()],
            status: None,
            ca: None,
            host: None,
            deadline: 60,
            interval: 30,
            timeout: 5,
        }),
        stop: StopSpec { signal: "SIGTERM".to_owned(), grace: 10 },
        after: [].into(),
    }
}

async fn make(engine: &SimEngine, name: &str, task: bool) -> ContainerId {
    let spec = spec(engine, name, task);
    let deployment = deployment();
    let labels = [(labels::DEPLOYMENT.to_owned(), deployment.to_string())].into();
    let request = CreateRequest::Spec {
        name: format!("t-{name}-1"),
        spec: &spec,
        deployment: &deployment,
        labels,
        beside: None,
    };
    let id = engine.create(&request).await.unwrap();
    engine.upload(&id, archive::config(&[], b"init").unwrap()).await.unwrap();
    id
}

async fn started(engine: &SimEngine, name: &str, task: bool) -> ContainerId {
    let id = make(engine, name, task).await;
    engine.start(&id).await.unwrap();
    id
}

fn check(wait: u32) -> ExecRequest {
    let command = ["/mastic-init", "check", "--wait", &wait.to_string(), "tcp:127.0.0.1:1"];
    ExecRequest { command: command.map(str::to_owned).into(), ..ExecRequest::default() }
}

#[tokio::test(start_paused = true)]
async fn a_task_must_end_with_its_scripted_code_after_its_scripted_time() {
    let engine = SimEngine::new("sim://a");
    engine.behave("t-job", Behaviour::exits(Duration::from_secs(90), 3).prints(&["working"]));
    let id = started(&engine, "job", true).await;
    let before = tokio::time::Instant::now();
    assert_eq!(engine.wait(&id).await.unwrap(), 3);
    assert_eq!(before.elapsed().as_secs(), 90);
    assert_eq!(engine.wait(&id).await.unwrap(), 3);
    let log: Vec<_> = engine.logs(&id, &crate::engine::LogOptions::default()).collect().await;
    assert_eq!(log[0].as_ref().unwrap().bytes, "working\n");
}

#[tokio::test(start_paused = true)]
async fn the_check_must_pass_when_the_script_says_and_not_before() {
    let engine = SimEngine::new("sim://a");
    engine.behave("t-slow", Behaviour::ready_after(Duration::from_secs(40)));
    engine.behave("t-never", Behaviour::never_ready());
    let slow = started(&engine, "slow", false).await;
    assert_eq!(engine.exec(&slow, &check(0)).await.unwrap().code, 1);
    assert_eq!(engine.exec(&slow, &check(60)).await.unwrap().code, 0);
    assert_eq!(engine.container(&slow.0).await.unwrap().health, Health::Starting);
    tokio::time::sleep(Duration::from_secs(30)).await;
    assert_eq!(engine.container(&slow.0).await.unwrap().health, Health::Healthy);
    let never = started(&engine, "never", false).await;
    let outcome = engine.exec(&never, &check(60)).await.unwrap();
    assert_eq!((outcome.code, outcome.stderr.is_empty()), (1, false));
}

#[tokio::test(start_paused = true)]
async fn a_crashing_service_must_be_restarted_again_and_again_and_fail_its_check() {
    let engine = SimEngine::new("sim://a");
    engine.behave("t-bad", Behaviour::crashes(1, &["no such table"]));
    let id = started(&engine, "bad", false).await;
    assert_eq!(engine.container(&id.0).await.unwrap().state, ContainerState::Restarting);
    tokio::time::sleep(Duration::from_secs(1)).await;
    let seen = engine.container(&id.0).await.unwrap();
    assert_eq!((seen.restart_count, seen.exit_code), (3, Some(1)));
    assert_eq!(engine.exec(&id, &check(60)).await.unwrap_err().kind, EngineErrorKind::Conflict);
    engine.stop(&id, Duration::from_secs(1)).await.unwrap();
    assert_eq!(engine.container(&id.0).await.unwrap().state, ContainerState::Exited);
}

#[tokio::test(start_paused = true)]
async fn a_lost_answer_must_leave_the_work_done_and_a_refusal_must_not() {
    let engine = SimEngine::new("sim://a");
    let id = make(&engine, "a", false).await;
    engine.faults().on("start", "t-a-1", Fault::Before).on("start", "", Fault::After);
    assert_eq!(engine.start(&id).await.unwrap_err().kind, EngineErrorKind::Unreachable);
    assert_eq!(engine.container(&id.0).await.unwrap().state, ContainerState::Created);
    let error = engine.start(&id).await.unwrap_err();
    assert_eq!(
        error.to_string(),
        "start container t-a-1 on sim://a: the connection broke before the answer came"
    );
    assert_eq!(engine.container(&id.0).await.unwrap().state, ContainerState::Running);
    engine.faults().on("stop", "", Fault::Timeout).on("remove", "", Fault::Repeat);
    assert_eq!(engine.stop(&id, Duration::ZERO).await.unwrap_err().kind, EngineErrorKind::Timeout);
    engine.remove(&id, false).await.unwrap();
    assert!(engine.names().is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_dead_deployer_must_hear_nothing_and_a_new_one_must_find_what_was_done() {
    let faults = Faults::none().count_only_mutations();
    let engine = SimEngine::new("sim://a").with_faults(&faults);
    let other = SimEngine::new("sim://b").with_faults(&faults);
    faults.at(3, Fault::KillAfter);
    let run = async {
        let _id = started(&engine, "a", false).await;
        unreachable!("the third change is the start, and its answer never comes");
    };
    tokio::select! {
        () = run => {}
        () = faults.killed() => {}
    }
    assert!(tokio::time::timeout(Duration::from_secs(1), other.info()).await.is_err());
    faults.revive();
    assert_eq!(engine.container("t-a-1").await.unwrap().state, ContainerState::Running);
    other.info().await.unwrap();
    assert_eq!(faults.mutations(), ["create t-a-1", "upload t-a-1", "start t-a-1"]);
}

#[tokio::test(start_paused = true)]
async fn two_runs_of_the_same_calls_must_give_the_same_answers() {
    let run = || async {
        let engine = SimEngine::new("sim://a");
        let id = started(&engine, "a", false).await;
        engine.stop(&id, Duration::from_secs(1)).await.unwrap();
        format!("{:?}", engine.containers(&deployment()).await.unwrap())
    };
    assert_eq!(run().await, run().await);
}

#[tokio::test(start_paused = true)]
async fn a_slow_stop_must_end_in_a_kill_once_the_grace_is_over() {
    let engine = SimEngine::new("sim://a");
    engine.behave("t-a", Behaviour { stops: (Duration::from_secs(99), 0), ..Behaviour::default() });
    let id = started(&engine, "a", false).await;
    let before = tokio::time::Instant::now();
    engine.stop(&id, Duration::from_secs(10)).await.unwrap();
    assert_eq!(before.elapsed().as_secs(), 10);
    assert_eq!(engine.container(&id.0).await.unwrap().exit_code, Some(137));
}

#[tokio::test(start_paused = true)]
async fn a_container_without_its_pid_1_must_not_start() {
    let engine = SimEngine::new("sim://a");
    let id = make(&engine, "a", false).await;
    let spec = spec(&engine, "b", false);
    let deployment = deployment();
    let request = CreateRequest::Spec {
        name: "t-b-1".to_owned(),
        spec: &spec,
        deployment: &deployment,
        labels: BTreeMap::new(),
        beside: None,
    };
    let bare = engine.create(&request).await.unwrap();
    let error = engine.start(&bare).await.unwrap_err();
    assert_eq!(error.kind, EngineErrorKind::Failed);
    assert!(error.message.contains("/mastic-init"), "{error}");
    engine.start(&id).await.unwrap();
}
