//! plan, deploy --plan, the question on a terminal, unlock; stop, start and status.

use std::process::{Command, Stdio};
use std::time::Duration;

use crate::harness::{Cloud, docker};

/// What deploy, and every other command that changes something, needs from a person.
#[test]
fn a_plan_must_be_kept_carried_out_and_refused_when_stale() {
    let cloud = Cloud::of_toys("t-plan", 170, "");
    cloud.mastic(&["build", "--only", "toy"]).ok();

    // What --json and --steps promise, and the three exit codes.
    let plan = cloud.mastic(&["plan", "--json"]).code(2).json();
    assert_eq!(plan["version"], 1, "{plan:#}");
    assert_eq!(plan["generation"], 1, "{plan:#}");
    let steps = plan["steps"].as_array().expect("a plan has steps").len();
    assert!(steps >= 6, "{plan:#}");
    let text = cloud.mastic(&["plan", "--steps"]).code(2).says("create").says("talker");
    assert!(text.stdout.lines().count() > steps, "a line for each step:\n{}", text.stdout);
    cloud.write("mastic.yaml", &cloud.toys("variables: {talker_wrod: x}\n"));
    cloud.mastic(&["plan"]).code(1).says("talker_word");
    let error = cloud.mastic(&["plan", "--json"]).code(1).json();
    assert!(error.to_string().contains("talker_word"), "{error:#}");
    cloud.write("mastic.yaml", &cloud.toys(""));

    // Carried out as it was kept; a second time it is stale, for the hosts are others now.
    cloud.mastic(&["plan", "-o", "first.plan"]).code(2);
    cloud.mastic(&["deploy", "--plan", "first.plan"]).code(3);
    assert_eq!(cloud.containers().len(), 0, "an unconfirmed plan was carried out");
    cloud.mastic(&["deploy", "--plan", "first.plan", "--yes"]).ok();
    cloud.mastic(&["plan"]).code(0);
    let before = cloud.containers();
    cloud.mastic(&["deploy", "--plan", "first.plan", "--yes"]).code(5).says("hosts have changed");

    // Stale by the profile, too; nothing is touched.
    cloud.write("mastic.yaml", &cloud.toys("variables: {talker_greeting: moin}\n"));
    cloud.mastic(&["plan", "-o", "second.plan"]).code(2).says("talker.conf");
    cloud.write("mastic.yaml", &cloud.toys("variables: {talker_greeting: servus}\n"));
    let stale = cloud.mastic(&["deploy", "--plan", "second.plan", "--yes", "--json"]).code(5);
    assert_eq!(stale.json()["error"]["exit"], 5, "{}", stale.stdout);
    assert!(stale.stderr.contains("profile") && stale.stderr.contains("mastic plan -o"), "{}", stale.stderr);
    assert_eq!(before, cloud.containers(), "a stale plan touched containers");

    // What is no plan says so.
    cloud.write("third.plan", "{}");
    cloud.mastic(&["deploy", "--plan", "third.plan", "--yes"]).code(1).says("third.plan");
    cloud.mastic(&["deploy", "--plan", "none.plan", "--yes"]).code(1).says("none.plan");
}

#[test]
fn a_person_must_be_asked_on_a_terminal_and_a_no_must_change_nothing() {
    let cloud = Cloud::of_toys("t-ask", 171, "");
    cloud.mastic(&["build", "--only", "toy"]).ok();
    cloud.on_a_terminal("\"$MASTIC\" deploy", "n\n").code(3).says("Deploy now? [y/N]");
    assert_eq!(cloud.containers().len(), 0, "a no made containers");
    cloud.on_a_terminal("\"$MASTIC\" deploy", "y\n").ok();
    cloud.mastic(&["plan"]).ok();
    cloud.on_a_terminal("\"$MASTIC\" destroy", "\n").code(3);
    cloud.mastic(&["plan"]).ok();
    cloud.on_a_terminal("\"$MASTIC\" destroy", "yes\n").ok();
    assert_eq!(cloud.containers().len(), 0, "a yes was not heard");
}

#[test]
fn a_held_lock_must_be_told_and_a_strangers_be_released_by_unlock_only() {
    let cloud = Cloud::of_toys("t-unlock", 172, "");
    cloud.mastic(&["build", "--only", "toy"]).ok();
    cloud.mastic(&["unlock"]).ok().says("nobody holds the lock");

    // A run on another machine has it: this machine cannot know whether it is alive.
    let label = |key: &str, value: &str| format!("--label=mastic.{key}={value}");
    cloud.mastic(&["deploy", "--yes", "--set", "talk"]).ok();
    let name = format!("{}.lock", cloud.name);
    docker(&[
        "create",
        "--name",
        &name,
        &label("deployment", &cloud.name),
        &label("role", "lock"),
        &label("lock.owner", "ann@far"),
        &label("lock.machine", "far"),
        &label("lock.boot", "b"),
        &label("lock.pid", "7"),
        &label("lock.process-started", "1"),
        &label("lock.since", "2026-01-01T00:00:00Z"),
        &label("lock.message", "an upgrade"),
        "mastic/inert:1",
        "x",
    ]);
    let refused = cloud.mastic(&["deploy", "--yes", "--json"]).code(4).says("mastic unlock");
    for word in ["ann@far", "pid 7 on far", "2026-01-01T00:00:00Z", "an upgrade"] {
        assert!(refused.stderr.contains(word), "no {word:?} in {}", refused.stderr);
    }
    assert_eq!(refused.json()["error"]["exit"], 4);
    assert_eq!(cloud.containers().len(), 3, "talker, lock and ledger: {:?}", cloud.containers());
    cloud.mastic(&["unlock"]).code(3).says("ann@far");
    cloud.mastic(&["deploy", "--yes"]).code(4);
    let released = cloud.mastic(&["unlock", "--yes", "--json"]).ok().json();
    assert_eq!(released["released"]["owner"], "ann@far", "{released:#}");
    cloud.mastic(&["deploy", "--yes"]).ok();
}

#[test]
fn one_set_must_be_stopped_and_started_without_the_others() {
    let cloud = Cloud::of_toys("t-stop", 173, "");
    cloud.mastic(&["build", "--only", "toy"]).ok();
    cloud.mastic(&["deploy", "--yes", "-m", "the toys"]).ok();
    let verdicts = || -> Vec<(String, String)> {
        let status = cloud.mastic(&["status", "--json"]).ok().json();
        let rows = status["containers"].as_array().expect("status lists containers").clone();
        rows.iter()
            .map(|c| {
                let text = |key: &str| c[key].as_str().unwrap_or_default().to_owned();
                (text("container"), text("state"))
            })
            .collect()
    };
    let pair = |talker: &str, sleeper: &str| {
        vec![("talker".to_owned(), talker.to_owned()), ("sleeper".to_owned(), sleeper.to_owned())]
    };
    let before = cloud.containers();
    assert_eq!(verdicts(), pair("running", "running"));

    cloud.mastic(&["stop", "--set", "rest"]).code(3);
    cloud.mastic(&["stop", "--set", "rest", "--yes"]).ok();
    assert_eq!(verdicts(), pair("running", "exited"));
    let talker = cloud.container("talker");
    assert_eq!(cloud.containers()[&talker], before[&talker], "stopping one set touched another");
    cloud.mastic(&["status"]).ok().says("EXITED");
    cloud.mastic(&["status", "--drift"]).code(2).says("sleeper");
    cloud.mastic(&["stop", "--set", "rest", "--yes"]).ok().says("nothing to do");
    cloud.mastic(&["check"]).code(1).says("does not run");

    cloud.mastic(&["start", "--set", "rest", "--yes"]).ok();
    assert_eq!(verdicts(), pair("running", "running"));
    cloud.mastic(&["status", "--drift"]).ok();

    cloud.mastic(&["stop", "--yes"]).ok();
    assert_eq!(verdicts(), pair("exited", "exited"));
    cloud.mastic(&["start", "--service", "talker", "--yes"]).ok();
    assert_eq!(verdicts(), pair("running", "exited"));
    cloud.mastic(&["start", "--yes"]).ok();
    assert_eq!(verdicts(), pair("running", "running"));
    let checks = cloud.mastic(&["check", "--json"]).ok().json();
    assert_eq!((checks["ok"].as_bool(), checks["checks"].as_array().map(Vec::len)), (Some(true), Some(2)));

    // The same containers all the while, and a set that is not there is told with the nearest one that is.
    let ids = |all: &crate::harness::Containers| all.values().map(|(id, ..)| id.clone()).collect::<Vec<_>>();
    assert_eq!(ids(&before), ids(&cloud.containers()), "stop or start made containers");
    cloud.mastic(&["stop", "--set", "rset", "--yes"]).code(1).says("rest");
}

/// Ctrl-C while a deploy waits: the run ends in a known state with 130. It comes twice within milliseconds, as from every
/// wrapper that passes on what its process group gets as well: that is one wish, not an order to leave all as it is.
#[test]
fn an_interrupted_deploy_must_end_with_130_and_leave_nothing_unproven() {
    let cloud = Cloud::of_toys("t-ctrl-c", 174, "");
    cloud.mastic(&["build", "--only", "toy"]).ok();
    // Its check can never pass: the deploy waits until it is interrupted.
    let service = cloud.dir.path().join("extra/templates/talker/service.yaml");
    let text = std::fs::read_to_string(&service).expect("it was written");
    std::fs::write(
        &service,
        text.replace("process:talk\"], deadline: 20", "process:nobody\"], deadline: 300"),
    )
    .expect("it can be written");
    let mut child = cloud
        .bounded(&["deploy", "--yes", "--progress", "json"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the program under test can be started");
    let lines = std::io::BufRead::lines(std::io::BufReader::new(child.stderr.take().expect("it is piped")));
    for line in lines {
        let line = line.expect("it says text");
        if line.contains("await healthy") && line.contains("talker") {
            break;
        }
    }
    // `timeout`, which runs it, sends it on to its child, then to the group; once more, should the two have met.
    let pid = child.id().to_string();
    assert!(Command::new("kill").args(["-INT", &pid]).status().expect("kill is there").success());
    std::thread::sleep(Duration::from_millis(50));
    let pid = format!("-{}", child.id());
    let _ = Command::new("kill").args(["-INT", "--", &pid]).status();
    let ended = child.wait().expect("it ends");
    assert_eq!(ended.code(), Some(130));
    let left: Vec<String> = cloud.containers().into_keys().filter(|n| n.contains("talker")).collect();
    assert!(left.is_empty(), "left behind: {left:?}");
    let history = cloud.mastic(&["history", "--json"]).ok().json();
    assert_eq!(history["generations"][0]["outcome"], "interrupted", "{history:#}");
}
