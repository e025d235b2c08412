//! The checker must find what is broken: good plans are damaged on purpose, one way each.

use mastic::model::{ContainerState, ObservedVolume};
use mastic::plan::{Action, HazardKind, Options, Plan, StepId, Volumes, destroy, reconcile, verify};

use crate::deployment::{C, Seen, desired, nothing};

/// A plan that replaces one container and creates another after it, damaged by `damage`; returns the broken rules.
fn broken_by(damage: impl FnOnce(&mut Plan)) -> Vec<&'static str> {
    let old = C::service("mariadb").set("database").volume("data");
    let what = desired([old.clone().tag("2026.2"), C::service("keystone-api").after(&["mariadb"])]);
    let found = nothing(&what).with(&old, 1, ContainerState::Running);
    let mut plan = reconcile(&what, &found, &Options::default());
    verify(&plan, &what, &found).unwrap();
    damage(&mut plan);
    let mut rules: Vec<&'static str> =
        verify(&plan, &what, &found).unwrap_err().into_iter().map(|violation| violation.rule).collect();
    rules.dedup();
    rules
}

/// Makes a step wait for nothing but the beginning.
fn unbind(plan: &mut Plan, wanted: impl Fn(&Action) -> bool) {
    for step in plan.steps.iter_mut().filter(|step| wanted(&step.action)) {
        step.deps = vec![StepId(1)];
    }
}

#[test]
fn a_stop_that_does_not_wait_for_its_successor_must_be_found() {
    let rules = broken_by(|plan| unbind(plan, |a| matches!(a, Action::StopContainer { .. })));
    assert!(rules.contains(&"successor"), "{rules:?}");
}

#[test]
fn a_start_beside_a_living_container_and_without_config_must_be_found() {
    let rules = broken_by(|plan| unbind(plan, |a| matches!(a, Action::StartContainer { .. })));
    for rule in ["exclusive", "after", "config"] {
        assert!(rules.contains(&rule), "{rule}: {rules:?}");
    }
}

#[test]
fn a_removal_before_the_set_is_proven_must_be_found() {
    let rules = broken_by(|plan| unbind(plan, |a| matches!(a, Action::RemoveContainer { .. })));
    assert!(rules.contains(&"proven"), "{rules:?}");
}

#[test]
fn a_start_that_nobody_waits_for_must_be_found() {
    let rules = broken_by(|plan| {
        for step in plan.steps.iter_mut().filter(|s| s.action.is_wait()) {
            step.action = Action::Staged;
        }
    });
    assert!(rules.contains(&"awaited"), "{rules:?}");
}

#[test]
fn a_start_before_all_config_was_looked_at_must_be_found() {
    use mastic::model::TaskPhase;
    use mastic::model::spec::TaskTrigger;
    let look = C::phase("keystone-config", TaskTrigger::Spec, TaskPhase::Validate);
    let what = desired([look, C::service("keystone-api")]);
    let found = nothing(&what);
    let mut plan = reconcile(&what, &found, &Options::default());
    verify(&plan, &what, &found).unwrap();
    let upload = plan
        .steps
        .iter()
        .find(|s| s.action.object() == "aio-keystone-api-1" && s.action.verb() == "upload config");
    let upload = upload.unwrap().id;
    for step in plan.steps.iter_mut().filter(|s| s.action.object() == "aio-keystone-api-1") {
        if matches!(step.action, Action::StartContainer { .. }) {
            step.deps = vec![upload];
        }
    }
    let violations = verify(&plan, &what, &found).unwrap_err();
    assert!(violations.iter().any(|violation| violation.rule == "validated"), "{violations:?}");
}

#[test]
fn a_cycle_must_be_found() {
    let rules = broken_by(|plan| plan.steps[1].deps.push(StepId(3)));
    assert_eq!(rules, ["acyclic"]);
}

#[test]
fn a_volume_that_nobody_named_must_be_found() {
    let rules = broken_by(|plan| {
        plan.steps[1].action = Action::RemoveVolume { volume: "aio_data".to_owned() };
    });
    assert!(rules.contains(&"data") && rules.contains(&"hazard"), "{rules:?}");
}

#[test]
fn what_a_rehearsal_has_left_must_go_with_the_deployment_and_data_must_not() {
    let what = desired([C::service("keystone-api")]);
    let mut found = nothing(&what);
    let host = found.hosts.values_mut().next().unwrap();
    for (name, role) in [("aio_copy", "tool"), ("aio_data", "")] {
        let labels = [("mastic.deployment", "aio"), ("mastic.role", role)];
        let labels = labels.map(|(key, value)| (key.to_owned(), value.to_owned())).into();
        host.volumes.push(ObservedVolume { name: name.to_owned(), labels });
    }
    let plan = destroy(&found, what.release.clone(), &Volumes::Keep, &Options::default());
    let gone: Vec<&str> = plan
        .steps
        .iter()
        .filter(|step| matches!(step.action, Action::RemoveVolume { .. }))
        .map(|step| step.action.object())
        .collect();
    assert_eq!(gone, ["aio_copy"]);
    verify(&plan, &what, &found).unwrap();
}

#[test]
fn a_container_must_have_its_time_to_end_but_where_all_data_goes_with_it() {
    let old = C::service("mariadb").volume("data");
    let what = desired([old.clone()]);
    let found = nothing(&what).with(&old, 1, ContainerState::Running);
    let grace = |volumes: Volumes| {
        let plan = destroy(&found, what.release.clone(), &volumes, &Options::default());
        plan.steps.iter().find_map(|step| match step.action {
            Action::StopContainer { grace, .. } => Some(grace),
            _ => None,
        })
    };
    let own = what.containers.values().next().map(|spec| spec.stop.grace);
    assert!(own > Some(5), "{own:?}");
    assert_eq!(grace(Volumes::Keep), own);
    assert_eq!(grace(Volumes::Named(["other".to_owned()].into())), own);
    assert_eq!(grace(Volumes::All), Some(5));
}

#[test]
fn servers_must_end_where_their_disks_go_and_only_there() {
    let older = C::service("libvirt").leaving("mastic-aio-guests").volume("nova_state");
    let serves = older.clone().tag("2026.2");
    let what = desired([serves.clone()]);
    let found =
        nothing(&what).with(&older, 1, ContainerState::Exited).with(&serves, 2, ContainerState::Running);
    let plan = |volumes: Volumes| destroy(&found, what.release.clone(), &volumes, &Options::default());
    let ends = |plan: &Plan| plan.steps.iter().filter(|s| matches!(s.action, Action::EndLeft { .. })).count();
    for volumes in [Volumes::Keep, Volumes::Named(["nova_state".to_owned()].into())] {
        assert_eq!(ends(&plan(volumes)), 0);
    }

    let mut plan = plan(Volumes::All);
    verify(&plan, &what, &found).unwrap();
    assert_eq!(ends(&plan), 1, "there is one cgroup, whoever names it");
    let said = plan.hazards.iter().find(|hazard| hazard.text.contains("mastic-aio-guests")).unwrap();
    assert_eq!(said.kind, HazardKind::DataLoss);
    // A run that is killed before they have ended must find in the next one by what they were left.
    let ends = plan.steps.iter().find(|s| matches!(s.action, Action::EndLeft { .. })).unwrap().id;
    let removals = plan.steps.iter().filter(|s| matches!(s.action, Action::RemoveContainer { .. }));
    assert!(removals.map(|s| s.deps.contains(&ends)).eq([true, true]));

    unbind(&mut plan, |action| matches!(action, Action::RemoveContainer { .. }));
    let rules = verify(&plan, &what, &found).unwrap_err();
    assert!(rules.iter().any(|violation| violation.rule == "removed"), "{rules:?}");
}

#[test]
fn nobody_elses_processes_may_be_ended() {
    for cgroup in ["", "/", ".", "..", "mastic/..", "mastic//x", "user.slice", "/mastic-aio-guests"] {
        let old = C::service("libvirt").leaving(cgroup);
        let what = desired([old.clone()]);
        let found = nothing(&what).with(&old, 1, ContainerState::Running);
        let plan = destroy(&found, what.release.clone(), &Volumes::All, &Options::default());
        let ends = plan.steps.iter().any(|step| matches!(step.action, Action::EndLeft { .. }));
        assert!(!ends, "`{cgroup}`");
    }
}

#[test]
fn a_container_of_somebody_else_must_be_found() {
    let what = desired([C::service("keystone-api")]);
    let old = C::service("keystone-api").tag("2025.2");
    let mut found = nothing(&what).with(&old, 1, ContainerState::Running);
    let plan = reconcile(&what, &found, &Options::default());
    let container = &mut found.hosts.values_mut().next().unwrap().containers[0];
    container.labels.insert("mastic.deployment".to_owned(), "other".to_owned());
    let violations = verify(&plan, &what, &found).unwrap_err();
    assert!(violations.iter().any(|violation| violation.rule == "foreign"), "{violations:?}");
}

#[test]
fn a_plan_that_has_gone_stale_must_be_found() {
    let what = desired([C::service("keystone-api")]);
    let old = C::service("keystone-api").tag("2025.2");
    let found = nothing(&what).with(&old, 1, ContainerState::Running);
    let plan = reconcile(&what, &found, &Options::default());
    let violations = verify(&plan, &what, &nothing(&what)).unwrap_err();
    assert!(violations.iter().any(|violation| violation.rule == "existing"), "{violations:?}");
}
