//! The life of a container.

use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt as _;
use futures::future::join_all;
use mastic::engine::archive::{self, Entry};
use mastic::engine::{CreateRequest, EngineErrorKind, LogOptions};
use mastic::model::spec::StopSpec;
use mastic::model::{ContainerState, Health, PinnedImage};

use crate::fixture::{Fixture, assert_kind, check, file, no_image, nobody, probe, within};

const SHORT: Duration = Duration::from_secs(5);

pub async fn a_name_must_be_claimed_by_exactly_one_of_many(f: Arc<Fixture>) {
    let claims = join_all((0..16).map(|_| f.inert("lock", None))).await;
    let (won, lost): (Vec<_>, Vec<_>) = claims.into_iter().partition(Result::is_ok);
    assert_eq!((won.len(), lost.len()), (1, 15));
    for refused in lost {
        let error = assert_kind(refused, EngineErrorKind::Conflict);
        assert!(error.operation.contains(&format!("{}.lock", f.deployment)), "{error}");
    }
    let holder = f.engine.container(&format!("{}.lock", f.deployment)).await.unwrap();
    assert_eq!(holder.id, won.into_iter().next().unwrap().unwrap());
    f.engine.remove(&holder.id, false).await.unwrap();
    f.inert("lock", None).await.expect("the name is free again");
}

pub async fn a_missing_image_must_be_not_found(f: Arc<Fixture>) {
    let mut spec = f.service("a", &["forever"]);
    spec.image = PinnedImage { reference: f.reference("nothing:1"), id: no_image() };
    let error = assert_kind(f.create(&spec).await, EngineErrorKind::NotFound);
    assert!(error.message.contains("image"), "{error}");
    let request = CreateRequest::Inert {
        name: f.name(&spec),
        image: f.reference("nothing:1"),
        labels: f.labels(),
        volume: None,
    };
    assert_kind(f.engine.create(&request).await, EngineErrorKind::NotFound);
    assert!(f.engine.containers(&f.deployment).await.unwrap().is_empty());
}

pub async fn a_missing_container_must_be_not_found_by_every_request(f: Arc<Fixture>) {
    use EngineErrorKind::NotFound;
    let (engine, id) = (&f.engine, nobody());
    assert_kind(engine.container(&id.0).await, NotFound);
    assert_kind(engine.container("no-such-name").await, NotFound);
    let archive = archive::pack(&[("/x".to_owned(), Entry::file("x", 0o600))].into()).unwrap();
    assert_kind(engine.upload(&id, archive).await, NotFound);
    assert_kind(engine.download(&id, "/").await, NotFound);
    assert_kind(engine.start(&id).await, NotFound);
    assert_kind(engine.stop(&id, SHORT).await, NotFound);
    assert_kind(engine.kill(&id, "SIGTERM").await, NotFound);
    assert_kind(engine.wait(&id).await, NotFound);
    assert_kind(engine.exec(&id, &probe(&[])).await, NotFound);
    assert_kind(engine.memory(&id).await, NotFound);
    assert_kind(engine.exec_exit_code("f00").await, NotFound);
    assert_kind(engine.exec_resize("f00", 1, 1).await, NotFound);
    let line = engine.logs(&id, &LogOptions::default()).next().await.expect("an error is an item");
    assert_kind(line, NotFound);
    engine.remove(&id, true).await.expect("already gone is not an error");
}

pub async fn uploaded_files_must_keep_owner_and_mode_over_stop_and_start(f: Arc<Fixture>) {
    let mut spec = f.service("a", &["forever"]);
    spec.files = vec![
        file("/etc/keystone/keystone.conf", "[DEFAULT]\n", (0, 5678), 0o640),
        file("/etc/private/key", "secret", (1234, 5678), 0o400),
    ];
    let id = f.ready(&spec).await;
    let conf = Entry { uid: 0, gid: 5678, ..Entry::file("[DEFAULT]\n", 0o640) };
    let key = Entry { uid: 1234, gid: 5678, ..Entry::file("secret", 0o400) };
    let unchanged = async || {
        assert_eq!(f.files(&id, "/etc/keystone/keystone.conf").await["/keystone.conf"], conf);
        assert_eq!(f.files(&id, "/etc/private").await["/private/key"], key);
    };
    unchanged().await;
    f.engine.start(&id).await.unwrap();
    unchanged().await;
    f.engine.stop(&id, SHORT).await.unwrap();
    unchanged().await;
    f.engine.start(&id).await.unwrap();
    unchanged().await;
    // Into a running container too.
    let more = [("/etc/keystone/more".to_owned(), Entry::file("1", 0o600))].into();
    f.engine.upload(&id, archive::pack(&more).unwrap()).await.unwrap();
    assert_eq!(f.files(&id, "/etc/keystone/more").await["/more"], Entry::file("1", 0o600));
    assert_kind(f.engine.download(&id, "/etc/keystone/none").await, EngineErrorKind::NotFound);
}

pub async fn an_upload_must_leave_existing_folders_alone_and_make_missing_ones_roots(f: Arc<Fixture>) {
    let mut spec = f.service("a", &["forever"]);
    spec.files = vec![
        file("/etc/private/key", "secret", (5, 5), 0o400),
        file("/etc/a/b/c", "deep", (5, 5), 0o400),
        file("/tmp/x", "", (5, 5), 0o400),
    ];
    let id = f.ready(&spec).await;
    let etc = f.files(&id, "/etc").await;
    assert_eq!(etc["/etc/private"], Entry { uid: 77, gid: 78, ..Entry::directory(0o700) });
    assert_eq!(etc["/etc/a"], Entry::directory(0o755));
    assert_eq!(etc["/etc/a/b"], Entry::directory(0o755));
    assert_eq!(f.files(&id, "/tmp").await["/tmp"], Entry::directory(0o1777));
}

pub async fn a_damaged_archive_must_be_refused(f: Arc<Fixture>) {
    let id = f.create(&f.service("a", &["forever"])).await.unwrap();
    let error = f.engine.upload(&id, vec![b'x'; 2048].into()).await.unwrap_err();
    assert!(matches!(error.kind, EngineErrorKind::BadRequest | EngineErrorKind::Failed), "{error}");
}

pub async fn a_container_without_its_pid_1_must_fail_to_start_and_say_why(f: Arc<Fixture>) {
    let spec = f.service("a", &["forever"]);
    let id = f.create(&spec).await.unwrap();
    let error = assert_kind(f.engine.start(&id).await, EngineErrorKind::Failed);
    assert!(error.message.contains("mastic-init"), "{error}");
    assert!(error.operation.contains(&f.name(&spec)), "{error}");
    let seen = f.engine.container(&id.0).await.unwrap();
    assert_eq!(seen.state, ContainerState::Created);
    assert!(seen.error.unwrap().contains("mastic-init"));
}

pub async fn starting_and_stopping_twice_must_be_harmless(f: Arc<Fixture>) {
    let id = f.ready(&f.service("a", &["out:up", "forever"])).await;
    f.engine.stop(&id, SHORT).await.expect("a container that was never started can be stopped");
    f.engine.start(&id).await.unwrap();
    let first = f.engine.container(&id.0).await.unwrap();
    f.engine.start(&id).await.unwrap();
    assert_eq!(f.engine.container(&id.0).await.unwrap().started_at, first.started_at);
    f.speaks(&id).await;
    f.engine.stop(&id, SHORT).await.unwrap();
    f.engine.stop(&id, SHORT).await.unwrap();
    let seen = f.engine.container(&id.0).await.unwrap();
    assert_eq!((seen.state, seen.exit_code), (ContainerState::Exited, Some(143)));
}

pub async fn what_ignores_its_stop_signal_must_be_killed_after_the_grace(f: Arc<Fixture>) {
    // A signal that does nothing by default: the probe lives on.
    let stop = StopSpec { signal: "SIGWINCH".to_owned(), grace: 10 };
    let spec = mastic::model::ContainerSpec { stop, ..f.service("a", &["out:up", "stubborn"]) };
    let id = f.started(&spec).await;
    f.speaks(&id).await;
    within(8, "a grace of 1 s", f.engine.stop(&id, Duration::from_secs(1))).await.unwrap();
    let seen = f.engine.container(&id.0).await.unwrap();
    assert_eq!((seen.state, seen.exit_code), (ContainerState::Exited, Some(137)));
}

pub async fn what_is_frozen_must_stand_still_and_go_on_where_it_was(f: Arc<Fixture>) {
    let mut spec = f.service("a", &["forever"]);
    spec.check = Some(check(&["file:/"]));
    let id = f.started(&spec).await;
    let state = async || f.engine.container(&id.0).await.unwrap().state;
    let began = f.engine.container(&id.0).await.unwrap().started_at;
    f.engine.thaw(&id).await.expect("running already is not an error");
    for _ in 0..2 {
        f.engine.freeze(&id).await.expect("frozen already is not an error");
        assert_eq!(state().await, ContainerState::Paused);
    }
    assert_kind(f.engine.exec(&id, &probe(&[])).await, EngineErrorKind::Conflict);
    assert_kind(f.engine.start(&id).await, EngineErrorKind::Conflict);
    f.engine.thaw(&id).await.unwrap();
    let thawed = f.engine.container(&id.0).await.unwrap();
    assert_eq!(thawed.state, ContainerState::Running);
    assert_ne!(thawed.health, Health::Unhealthy, "no check has failed");
    f.engine.exec(&id, &probe(&[])).await.expect("it answers again");
    assert_eq!(f.engine.container(&id.0).await.unwrap().started_at, began, "it is the same process");
    // In one call each, whatever its state.
    f.engine.freeze(&id).await.unwrap();
    within(20, "a stop of a frozen container", f.engine.stop(&id, SHORT)).await.unwrap();
    assert_eq!(state().await, ContainerState::Exited);
    f.engine.freeze(&id).await.expect("ended already is not an error");
    f.engine.thaw(&id).await.expect_err("it has ended");
    f.engine.start(&id).await.unwrap();
    f.engine.freeze(&id).await.unwrap();
    within(20, "a removal of a frozen container", f.engine.remove(&id, true)).await.unwrap();
    assert_kind(f.engine.freeze(&id).await, EngineErrorKind::NotFound);
    assert_kind(f.engine.thaw(&id).await, EngineErrorKind::NotFound);
    assert_kind(f.engine.restarts(&id, true).await, EngineErrorKind::NotFound);
}

pub async fn a_restart_policy_must_be_taken_away_and_given_back(f: Arc<Fixture>) {
    let id = f.started(&f.service("a", &["sleep:1500", "exit:1"])).await;
    f.engine.restarts(&id, false).await.unwrap();
    within(10, "its end", f.engine.wait(&id)).await.unwrap();
    let ended = f.engine.container(&id.0).await.unwrap();
    assert_eq!((ended.state, ended.restart_count), (ContainerState::Exited, 0));
    // Of one that has ended, and of one that is frozen, too.
    f.engine.restarts(&id, true).await.unwrap();
    f.engine.start(&id).await.unwrap();
    f.engine.freeze(&id).await.unwrap();
    f.engine.restarts(&id, false).await.unwrap();
    f.engine.restarts(&id, true).await.unwrap();
    f.engine.thaw(&id).await.unwrap();
    within(10, "its second end", f.engine.wait(&id)).await.unwrap();
    let restarted = async || f.engine.container(&id.0).await.unwrap().restart_count > 0;
    within(10, "its restart", async {
        while !restarted().await {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    })
    .await;
}

pub async fn a_signal_must_reach_a_running_container_only(f: Arc<Fixture>) {
    let id = f.ready(&f.task("a", &["out:up", "forever"])).await;
    assert_kind(f.engine.kill(&id, "SIGTERM").await, EngineErrorKind::Conflict);
    f.engine.start(&id).await.unwrap();
    f.speaks(&id).await;
    f.engine.kill(&id, "SIGTERM").await.unwrap();
    assert_eq!(within(10, "the end", f.engine.wait(&id)).await.unwrap(), 143);
    assert_kind(f.engine.kill(&id, "SIGTERM").await, EngineErrorKind::Conflict);
}

pub async fn a_running_container_must_not_be_removed_without_force(f: Arc<Fixture>) {
    let id = f.started(&f.service("a", &["forever"])).await;
    assert_kind(f.engine.remove(&id, false).await, EngineErrorKind::Conflict);
    assert_eq!(f.engine.container(&id.0).await.unwrap().state, ContainerState::Running);
    f.engine.remove(&id, true).await.unwrap();
    f.engine.remove(&id, true).await.unwrap();
    f.engine.remove(&id, false).await.unwrap();
    assert_kind(f.engine.container(&id.0).await, EngineErrorKind::NotFound);
    // Several at once, as a re-run beside a dying run would.
    let id = f.started(&f.service("a", &["forever"])).await;
    for removed in join_all((0..4).map(|_| f.engine.remove(&id, true))).await {
        removed.unwrap();
    }
    assert_kind(f.engine.container(&id.0).await, EngineErrorKind::NotFound);
}

pub async fn waiting_must_give_the_exit_code_before_and_after_the_end(f: Arc<Fixture>) {
    let id = f.ready(&f.task("a", &["sleep:300", "exit:3"])).await;
    assert_eq!(f.engine.wait(&id).await.unwrap(), 0, "what was never started does not run");
    f.engine.start(&id).await.unwrap();
    assert_eq!(within(10, "the end", f.engine.wait(&id)).await.unwrap(), 3);
    assert_eq!(within(10, "the end", f.engine.wait(&id)).await.unwrap(), 3);
    let good = f.started(&f.task("b", &["out:done"])).await;
    assert_eq!(within(10, "the end", f.engine.wait(&good)).await.unwrap(), 0);
    // One that is removed while somebody waits.
    let gone = f.started(&f.task("c", &["forever"])).await;
    let (code, removed) = tokio::join!(within(10, "the end", f.engine.wait(&gone)), async {
        tokio::task::yield_now().await;
        f.engine.remove(&gone, true).await
    });
    removed.unwrap();
    assert!(
        matches!(code.as_ref().map_err(|e| e.kind), Ok(137) | Err(EngineErrorKind::NotFound)),
        "{code:?}"
    );
}

pub async fn a_service_must_be_restarted_until_it_is_stopped(f: Arc<Fixture>) {
    let mut events = f.engine.events(&f.deployment);
    let id = f.started(&f.service("a", &["sleep:50", "exit:1"])).await;
    let third_start = async {
        let mut starts = 0;
        while starts < 3 {
            let event = events.next().await.unwrap().unwrap();
            starts += usize::from(event.action == "start");
        }
    };
    within(20, "three starts", third_start).await;
    let seen = f.engine.container(&id.0).await.unwrap();
    assert!(seen.restart_count >= 2, "{seen:?}");
    f.engine.stop(&id, SHORT).await.unwrap();
    let seen = f.engine.container(&id.0).await.unwrap();
    assert_eq!(seen.state, ContainerState::Exited);
    tokio::time::sleep(Duration::from_secs(2)).await;
    assert_eq!(f.engine.container(&id.0).await.unwrap().started_at, seen.started_at);
}

pub async fn a_task_must_not_be_restarted(f: Arc<Fixture>) {
    let id = f.started(&f.task("a", &["exit:1"])).await;
    assert_eq!(within(10, "the end", f.engine.wait(&id)).await.unwrap(), 1);
    let seen = f.engine.container(&id.0).await.unwrap();
    assert_eq!((seen.state, seen.exit_code, seen.restart_count), (ContainerState::Exited, Some(1), 0));
    // Evidence stays, and can be run again.
    f.engine.start(&id).await.unwrap();
    assert_eq!(within(10, "the end", f.engine.wait(&id)).await.unwrap(), 1);
}

pub async fn lists_must_hold_this_deployment_only_by_name(f: Arc<Fixture>) {
    for name in ["b", "c", "a"] {
        f.create(&f.service(name, &["forever"])).await.unwrap();
    }
    let other = f.other();
    let foreign = CreateRequest::Inert {
        name: format!("{other}-a-1"),
        image: f.image.reference.clone(),
        labels: [(mastic::model::labels::DEPLOYMENT.to_owned(), other.to_string())].into(),
        volume: None,
    };
    f.engine.create(&foreign).await.unwrap();
    let names = async |deployment| {
        let all = f.engine.containers(deployment).await.unwrap();
        all.into_iter().map(|c| c.name).collect::<Vec<_>>()
    };
    let ours = ["a", "b", "c"].map(|name| format!("{}-{name}-1", f.deployment));
    assert_eq!(names(&f.deployment).await, ours);
    assert_eq!(names(&other).await, [format!("{other}-a-1")]);
}

pub async fn the_moments_of_a_life_must_be_told(f: Arc<Fixture>) {
    let spec = f.task("a", &["out:up", "forever"]);
    let id = f.ready(&spec).await;
    let made = f.engine.container(&f.name(&spec)).await.unwrap();
    assert_eq!((&made.id, &made.name, made.state), (&id, &f.name(&spec), ContainerState::Created));
    assert_eq!((made.exit_code, made.health, made.error.clone()), (None, Health::None, None));
    // A container has its image's labels too: no label of ours may mean one thing there and another here.
    let mut labels = f.labels();
    labels.insert("mastic.test".to_owned(), f.namespace.clone());
    assert_eq!((&made.image, &made.labels), (&f.image.id, &labels));
    assert!(!made.created_at.is_empty() && made.started_at.is_empty() && made.finished_at.is_empty());
    f.engine.start(&id).await.unwrap();
    f.speaks(&id).await;
    // Ended only once its start is told: of a program that ends at once, a busy engine notes the start after the end.
    f.engine.stop(&id, SHORT).await.unwrap();
    let ended = f.engine.container(id.short()).await.unwrap();
    assert_eq!((ended.state, ended.exit_code), (ContainerState::Exited, Some(143)));
    assert!(ended.created_at <= ended.started_at && ended.started_at <= ended.finished_at, "{ended:?}");
}

pub async fn memory_must_be_told_of_running_containers_only(f: Arc<Fixture>) {
    let id = f.ready(&f.service("a", &["forever"])).await;
    assert_kind(f.engine.memory(&id).await, EngineErrorKind::Conflict);
    f.engine.start(&id).await.unwrap();
    assert!(f.engine.memory(&id).await.unwrap() > 0);
    f.engine.stop(&id, SHORT).await.unwrap();
    assert_kind(f.engine.memory(&id).await, EngineErrorKind::Conflict);
}
