//! A run of two containers and a task, written as its journal is.

use super::*;
use crate::journal::entry::JOURNAL_VERSION;

fn at(seconds: f64) -> String {
    let begin: Timestamp = "2026-11-26T03:00:00Z".parse().unwrap();
    (begin + std::time::Duration::from_secs_f64(seconds)).to_string()
}

fn planned(id: u32, deps: &[u32], container: Option<&str>, verb: &str) -> PlannedStep {
    PlannedStep {
        id: StepId(id),
        deps: deps.iter().copied().map(StepId).collect(),
        host: Some("one".parse().unwrap()),
        container: container.map(|name| name.parse().unwrap()),
        set: container.map(|name| if name == "mariadb" { "database" } else { "api" }.parse().unwrap()),
        verb: verb.to_owned(),
        object: container.map(|name| format!("aio-{name}-1")).unwrap_or_default(),
        cause: "no container yet".to_owned(),
        until: verb.starts_with("await").then(|| "tcp:1".to_owned()),
    }
}

fn journal(more: &[(f64, Event)]) -> Vec<u8> {
    let plan = vec![
        planned(1, &[], None, "begin generation"),
        planned(2, &[1], Some("mariadb"), "start"),
        planned(3, &[2], Some("mariadb"), "await healthy"),
        planned(4, &[1], Some("api"), "upload config"),
        planned(5, &[3], None, "proven"),
        planned(6, &[4, 5], Some("api"), "start"),
        planned(7, &[6], Some("api"), "await healthy"),
    ];
    let began = Event::RunBegan {
        version: JOURNAL_VERSION,
        run: "r1".parse().unwrap(),
        deployment: "aio".parse().unwrap(),
        purpose: "deploy".to_owned(),
        generation: crate::model::Generation::new(1),
        steps: plan.len(),
        plan,
    };
    let step = |id: u32, from: f64, to: f64| {
        let step = StepId(id);
        [
            (from, Event::StepBegan { step, action: String::new(), stops: None }),
            (to, Event::StepDone { step }),
        ]
    };
    let mut events = vec![(0.0, began)];
    events.extend(
        [step(1, 0.0, 0.5), step(2, 0.5, 1.0), step(4, 0.5, 0.7), step(3, 1.0, 4.0), step(6, 4.5, 5.0)]
            .concat(),
    );
    events.extend(more.iter().cloned());
    events.sort_by(|a, b| a.0.total_cmp(&b.0));
    let line =
        |(time, event): (f64, Event)| serde_json::to_string(&Entry { at: at(time), event }).unwrap() + "\n";
    events.into_iter().map(line).collect::<String>().into_bytes()
}

fn ended() -> Vec<(f64, Event)> {
    let step = StepId(7);
    vec![
        (5.0, Event::StepBegan { step, action: String::new(), stops: None }),
        (7.0, Event::StepDone { step }),
        (7.1, Event::RunEnded { outcome: "done".to_owned() }),
    ]
}

#[test]
fn the_chain_must_go_from_the_last_end_back_to_the_begin() {
    let found = timeline(&journal(&ended())).unwrap();
    assert_eq!((found.seconds, found.outcome.as_deref(), found.generation), (7.1, Some("done"), Some(1)));
    let chain: Vec<String> = found
        .chain
        .iter()
        .map(|link| {
            format!("{} {} {} {:.1} after {:.1}", link.id, link.lane, link.verb, link.took, link.queued)
        })
        .collect();
    // Step 5 is no call: what it waits for is what step 6 waits for.
    assert_eq!(
        chain,
        [
            "#1 begin generation begin generation 0.5 after 0.0",
            "#2 mariadb start 0.5 after 0.0",
            "#3 mariadb await healthy 3.0 after 0.0",
            "#6 api start 0.5 after 0.5",
            "#7 api await healthy 2.0 after 0.0",
        ]
    );
    let critical: Vec<u32> = found
        .lanes
        .iter()
        .flat_map(|lane| &lane.bars)
        .filter(|bar| bar.critical)
        .map(|bar| bar.id.0)
        .collect();
    assert_eq!(critical, [2, 3, 6, 7, 1]);
}

#[test]
fn each_pause_must_be_explained() {
    let found = timeline(&journal(&ended())).unwrap();
    let lanes: Vec<&str> = found.lanes.iter().map(|lane| lane.name.as_str()).collect();
    assert_eq!(lanes, ["mariadb", "api", "begin generation"]);
    let waits: Vec<String> =
        found.lanes[1].waits.iter().map(|w| format!("{:.1} to {:.1} {}", w.from, w.to, w.what)).collect();
    assert_eq!(
        waits,
        [
            "0.7 to 4.0 waits for mariadb: await healthy",
            "4.0 to 4.5 waits for the engine, which is busy with others"
        ]
    );
}

#[test]
fn a_run_that_was_cut_off_must_be_told_as_far_as_it_went() {
    let open = [(5.0, Event::StepBegan { step: StepId(7), action: String::new(), stops: None })];
    let mut text = journal(&open);
    text.extend(b"{\"at\":\"2026-11-26T03:00:0");
    let found = timeline(&text).unwrap();
    assert_eq!((found.seconds, found.outcome.clone()), (5.0, None));
    assert_eq!(found.lanes[1].bars.last().unwrap().end, End::Open);
    // A later run's word about it is no part of it.
    let settled = [open[0].clone(), (900.0, Event::RunSettled)];
    assert!((timeline(&journal(&settled)).unwrap().seconds - 5.0).abs() < 0.001);
    assert_eq!(timeline(b"").unwrap_err(), NoTimeline::NoPlan);
}

#[test]
fn what_was_taken_back_must_be_told_with_what_failed() {
    let (step, undo) = (StepId(7), "stop aio-api-1".to_owned());
    let events = [
        (5.0, Event::StepBegan { step, action: String::new(), stops: None }),
        (6.0, Event::StepFailed { step, reason: "it said no".to_owned() }),
        (6.1, Event::UndoBegan { action: undo.clone(), stops: None }),
        (6.5, Event::UndoDone { action: undo, failed: None }),
        (6.6, Event::RunEnded { outcome: "undone".to_owned() }),
    ];
    let found = timeline(&journal(&events)).unwrap();
    assert_eq!(found.lanes[1].bars.last().unwrap().end, End::Failed("it said no".to_owned()));
    assert_eq!(found.undone.len(), 1);
    assert!((found.undone[0].ended - 6.5).abs() < 0.001);
    // Where the history was closed afterwards, the way back is a link of the chain, and no time of a busy engine.
    let mut chain = vec![link(7, 5.0, 1.0, 0.0), link(8, 6.6, 0.1, 0.6)];
    took_back(&mut chain, &found.undone);
    let told: Vec<String> =
        chain.iter().map(|l| format!("{} {:.1} {:.1}", l.verb, l.took, l.queued)).collect();
    assert_eq!(told, ["step 7 1.0 0.0", "1 calls that take back what was done 0.4 0.1", "step 8 0.1 0.1"]);
}

fn link(id: u32, began: f64, took: f64, queued: f64) -> Link {
    let verb = format!("step {id}");
    Link { id: StepId(id), lane: verb.clone(), verb, until: None, began, took, queued }
}
