//! What becomes of one slot, looked at alone.

use super::cause::Cause;
use super::diff::diff_label;
use super::document::{Change, Purpose};
use super::returning;
use super::scene::{Scene, Seen};
use crate::model::labels::LabelRole;
use crate::model::spec::Side;
use crate::model::{ContainerSpec, ContainerState, Health, Role, SpecHash, TaskPhase};

/// The decision for one slot. Every container seen in the slot is in exactly one of the lists or is the `successor`.
#[derive(Clone, Debug)]
pub(super) struct Decision<'a> {
    pub change: Change,
    /// None only when nothing happens.
    pub cause: Option<Cause>,
    /// The container that serves in the end, if it is there already.
    pub successor: Option<Seen<'a>>,
    /// The container that it goes back to.
    pub fallback: Option<Seen<'a>>,
    /// Whether an interrupted run has begun to swap this slot.
    pub half_done: bool,
    /// Others that work: stopped before the successor starts, or once it serves. They are also in `retire`, unless they are kept.
    pub stop: Vec<Seen<'a>>,
    /// Frozen ones that are in the successor's way: stopped before it starts, whether it overlaps or not.
    pub give_way: Vec<Seen<'a>>,
    /// A task that works on something older: it is waited for, whatever it returns.
    pub outlast: Vec<Seen<'a>>,
    /// Removed once the whole set is proven.
    pub retire: Vec<Seen<'a>>,
    /// Removed at once, since it never served and never will.
    pub discard: Vec<(Seen<'a>, Cause)>,
}

impl<'a> Decision<'a> {
    fn new(change: Change, cause: Option<Cause>) -> Self {
        Self {
            change,
            cause,
            successor: None,
            fallback: None,
            half_done: false,
            stop: Vec::new(),
            give_way: Vec::new(),
            outlast: Vec::new(),
            retire: Vec::new(),
            discard: Vec::new(),
        }
    }

    /// Returns the generation of what is there now.
    pub(super) fn current(&self) -> Option<Seen<'a>> {
        match self.change {
            Change::Create => None,
            Change::Replace | Change::Run | Change::Remove => self.fallback.or(self.retire.first().copied()),
            Change::Keep
            | Change::Start
            | Change::Restart
            | Change::Prove
            | Change::Await
            | Change::Stop
            | Change::Clean => self.successor,
        }
    }
}

fn discard_cause(seen: &Seen<'_>) -> Cause {
    match seen.container.state {
        ContainerState::Dead | ContainerState::Removing => Cause::Dead,
        ContainerState::Created
        | ContainerState::Running
        | ContainerState::Restarting
        | ContainerState::Paused
        | ContainerState::Exited => Cause::Leftover { generation: seen.generation() },
    }
}

/// Decides for the slot of a long-running container.
pub(super) fn service<'a>(
    scene: &Scene<'a>,
    spec: &ContainerSpec,
    side: Side,
    hash: &SpecHash,
) -> Decision<'a> {
    let seen = scene.seen(&spec.slot);
    let (rubbish, usable): (Vec<Seen<'a>>, Vec<Seen<'a>>) = seen.iter().partition(|s| s.is_rubbish());
    let never_started = rubbish.iter().any(|s| s.container.state == ContainerState::Created);
    // On the way back it is the container itself that is wanted, whatever a profile would make of it today.
    let back_to = scene.back_to();
    let fits = |s: &&Seen<'a>| match back_to {
        Some(generation) => s.generation() <= generation && s.labels.side == side,
        None => s.labels.spec_hash == *hash,
    };
    // A running one before a stopped one; `usable` is youngest first, and the sort is stable.
    let mut fitting: Vec<Seen<'a>> = usable.iter().filter(fits).copied().collect();
    fitting.sort_by_key(|s| match s.container.state {
        ContainerState::Running => 0,
        ContainerState::Restarting => 1,
        ContainerState::Paused => 2,
        ContainerState::Exited => 3,
        ContainerState::Created | ContainerState::Removing | ContainerState::Dead => 4,
    });
    let fit = fitting.first().copied();
    let others: Vec<Seen<'a>> =
        usable.iter().filter(|s| Some(&s.container.id) != fit.map(|f| &f.container.id)).copied().collect();
    let live: Vec<Seen<'a>> = others.iter().filter(|s| s.works()).copied().collect();
    let give_way: Vec<Seen<'a>> =
        others.iter().filter(|s| scene.gives_way(s, &spec.slot, side)).copied().collect();
    let leaving: Vec<Seen<'a>> = others.iter().filter(|s| !scene.keeps(s)).copied().collect();
    // What is kept and stopped says nothing about how far a swap has come, unless one was broken off; and nobody goes back to it
    // once the upgrade is being committed.
    let apart = |s: &Seen<'a>| {
        !s.works() && scene.was_kept(s) && (!scene.interrupted || scene.options.purpose == Purpose::Commit)
    };
    let others: Vec<Seen<'a>> = others.into_iter().filter(|s| !apart(s)).collect();

    let mut decision = match fit {
        Some(fit) => {
            let (change, cause) = match (fit.container.state, scene.returning) {
                (ContainerState::Running, Some(to)) if returning::pauses(scene, spec) => {
                    (Change::Restart, Some(Cause::Restored { point: to.point.clone() }))
                }
                _ => fitting_change(scene, &fit, &others, !live.is_empty()),
            };
            Decision { successor: Some(fit), ..Decision::new(change, cause) }
        }
        None => match others.first() {
            None if seen.is_empty() => Decision::new(Change::Create, Some(Cause::NoContainer)),
            None => {
                let cause = rubbish.first().map_or(Cause::NoContainer, discard_cause);
                Decision::new(Change::Create, Some(cause))
            }
            Some(youngest) => {
                let basis = live.first().unwrap_or(youngest);
                let cause = if basis.labels.spec_hash == *hash {
                    Cause::Paused
                } else {
                    // Compared with what it would be on the same ports: that it moves to others is no cause.
                    let same = scene.desired.form(&spec.slot, basis.labels.side).unwrap_or(spec);
                    Cause::Changed {
                        diffs: diff_label(&basis.labels.spec, &same.record(&scene.desired.init_digest)),
                    }
                };
                Decision::new(Change::Replace, Some(cause))
            }
        },
    };
    decision.fallback = live.first().or(others.first()).copied();
    if returning::pauses(scene, spec) && matches!(decision.change, Change::Restart | Change::Start) {
        // Where the data stays what it was, it goes on as it is.
        decision.fallback = decision.fallback.or(decision.successor);
    }
    // Two generations that both ran, or a successor that was made and not started: an earlier run got half-way.
    decision.half_done =
        (decision.successor.is_some() && !others.is_empty()) || never_started || scene.interrupted;
    decision.stop = live;
    if !matches!(decision.change, Change::Keep) {
        decision.give_way = give_way;
    }
    decision.retire = leaving;
    decision.discard = rubbish.iter().map(|s| (*s, discard_cause(s))).collect();
    if decision.change == Change::Keep && !decision.discard.is_empty() {
        decision.change = Change::Clean;
        decision.cause = decision.discard.first().map(|(_, cause)| cause.clone());
    }
    if decision.change == Change::Keep
        && let Some(gone) = decision.retire.first()
    {
        decision.change = Change::Clean;
        decision.cause = Some(Cause::Superseded { generation: gone.generation() });
    }
    decision
}

/// Decides what becomes of a container that is exactly what the profile asks for.
fn fitting_change(
    scene: &Scene<'_>,
    fit: &Seen<'_>,
    others: &[Seen<'_>],
    other_lives: bool,
) -> (Change, Option<Cause>) {
    let container = fit.container;
    match container.state {
        ContainerState::Running => match container.health {
            Health::Unhealthy if !other_lives => (Change::Restart, Some(Cause::Unhealthy)),
            Health::Unhealthy => {
                // Perhaps unhealthy only because the other one holds its port.
                (Change::Restart, Some(Cause::Unproven { generation: fit.generation() }))
            }
            // It may be standing by only.
            Health::None | Health::Starting | Health::Healthy
                if fit.stands_by() && others.iter().any(|o| o.generation() > fit.generation()) =>
            {
                (Change::Restart, Some(Cause::Unproven { generation: fit.generation() }))
            }
            Health::None | Health::Starting | Health::Healthy if !others.is_empty() => {
                (Change::Prove, Some(Cause::Unproven { generation: fit.generation() }))
            }
            Health::Starting if scene.interrupted => {
                (Change::Prove, Some(Cause::Unproven { generation: fit.generation() }))
            }
            Health::None | Health::Starting | Health::Healthy => (Change::Keep, None),
        },
        ContainerState::Restarting => (
            Change::Restart,
            Some(Cause::Restarting { count: container.restart_count, code: container.exit_code }),
        ),
        // The youngest has merely ended; an older one that fits was kept while others served.
        ContainerState::Exited if others.iter().all(|o| o.generation() <= fit.generation()) => (
            Change::Start,
            Some(Cause::Stopped {
                code: container.exit_code,
                oom: container.oom_killed,
                error: container.error.clone(),
            }),
        ),
        ContainerState::Paused if others.iter().all(|o| o.generation() <= fit.generation()) => {
            (Change::Start, Some(Cause::Paused))
        }
        ContainerState::Exited
        | ContainerState::Paused
        | ContainerState::Created
        | ContainerState::Removing
        | ContainerState::Dead => (Change::Start, Some(Cause::Kept { generation: fit.generation() })),
    }
}

/// Decides for the slot of a one-shot task.
pub(super) fn task<'a>(scene: &Scene<'a>, spec: &ContainerSpec, hash: &SpecHash) -> Decision<'a> {
    let seen = scene.seen(&spec.slot);
    let new_volume =
        scene.volumes_of(&spec.slot).into_iter().find(|name| !scene.has_volume(&spec.slot.host, name));
    let same = |s: &&Seen<'a>| s.labels.spec_hash == *hash;
    let succeeded =
        |s: &Seen<'a>| s.container.state == ContainerState::Exited && s.container.exit_code == Some(0);
    // What was done on an earlier way back says nothing: something newer may have served since. So it is with restoring.
    let repeats = match &spec.role {
        Role::Task { phase: TaskPhase::Return | TaskPhase::Settle | TaskPhase::Rehearse, .. } => true,
        Role::Task { phase: TaskPhase::Restore, .. } => scene.returning.is_none(),
        Role::Task { .. } | Role::Service { .. } => false,
    };
    let counts = |s: &&Seen<'a>| same(s) && returning::counts(scene, spec, s);
    let evidence =
        seen.iter().find(|s| counts(s) && succeeded(s)).copied().filter(|_| new_volume.is_none() && !repeats);
    let running = seen.iter().find(|s| counts(s) && s.is_live()).copied();
    let failed = seen
        .iter()
        .find(|s| same(s) && s.container.state == ContainerState::Exited && !succeeded(s))
        .copied();

    let mut decision = match (evidence, running) {
        (_, Some(running)) => Decision {
            successor: Some(running),
            ..Decision::new(Change::Await, Some(Cause::TaskRunning { generation: running.generation() }))
        },
        (Some(evidence), None) => Decision { successor: Some(evidence), ..Decision::new(Change::Keep, None) },
        (None, None) => {
            let older = seen.iter().find(|s| succeeded(s) && !same(s));
            let cause = match (new_volume, failed, older) {
                (Some(volume), _, _) if !seen.is_empty() => Cause::NewVolume { volume },
                (_, Some(failed), _) => {
                    Cause::TaskFailed { code: failed.container.exit_code, generation: failed.generation() }
                }
                (_, None, None) if let Some(to) = scene.returning.filter(|_| seen.iter().any(succeeded)) => {
                    Cause::Restored { point: to.point.clone() }
                }
                (_, None, Some(older)) => Cause::Triggered {
                    diffs: diff_label(&older.labels.spec, &spec.record(&scene.desired.init_digest)),
                },
                (_, None, None) => Cause::NeverRan,
            };
            Decision::new(Change::Run, Some(cause))
        }
    };
    for other in seen {
        if Some(&other.container.id) == decision.successor.map(|s| &s.container.id) {
            continue;
        }
        if other.is_live() {
            decision.outlast.push(*other);
            decision.retire.push(*other);
        } else if succeeded(other) {
            if !scene.keeps(other) {
                decision.retire.push(*other);
            }
        } else {
            let cause = match other.container.state {
                ContainerState::Exited => {
                    Cause::TaskFailed { code: other.container.exit_code, generation: other.generation() }
                }
                ContainerState::Created
                | ContainerState::Running
                | ContainerState::Paused
                | ContainerState::Restarting
                | ContainerState::Removing
                | ContainerState::Dead => discard_cause(other),
            };
            decision.discard.push((*other, cause));
        }
    }
    if decision.change == Change::Keep
        && let Some(older) = decision.outlast.first()
    {
        // Its work is superseded, but a task is never killed in the middle of it: it goes once it has ended.
        decision.change = Change::Await;
        decision.cause = Some(Cause::TaskRunning { generation: older.generation() });
    }
    if decision.change == Change::Keep {
        let leftover =
            decision.discard.first().map(|(_, cause)| cause.clone()).or_else(|| {
                decision.retire.first().map(|s| Cause::Superseded { generation: s.generation() })
            });
        if leftover.is_some() {
            decision.change = Change::Clean;
            decision.cause = leftover;
        }
    }
    decision
}

/// Decides, on the way back, for a task that is not part of it: what the newer release has run is forgotten; with older data, all.
pub(super) fn left_behind<'a>(scene: &Scene<'a>, spec: &ContainerSpec) -> Option<Decision<'a>> {
    let forgotten = |s: &&Seen<'a>| match scene.returning {
        Some(to) => spec.is_task() && s.generation() < to.began,
        None => scene.back_to().is_some_and(|generation| s.generation() > generation),
    };
    let newer: Vec<Seen<'a>> = scene.seen(&spec.slot).iter().filter(forgotten).copied().collect();
    let first = newer.first()?;
    let cause = match scene.returning {
        Some(to) => Cause::Restored { point: to.point.clone() },
        None => Cause::Superseded { generation: first.generation() },
    };
    let mut decision = Decision::new(Change::Clean, Some(cause));
    for seen in newer {
        if seen.is_live() {
            decision.outlast.push(seen);
        }
        decision.retire.push(seen);
    }
    Some(decision)
}

/// Decides for a slot that the profile does not have (any more).
pub(super) fn undesired<'a>(scene: &Scene<'a>, seen: &[Seen<'a>]) -> Decision<'a> {
    let mut decision = Decision::new(Change::Remove, Some(Cause::NotDesired));
    for container in seen {
        if container.is_rubbish() {
            decision.discard.push((*container, discard_cause(container)));
            continue;
        }
        let kept = container.is_frozen() && scene.keeps(container);
        if container.is_live() && !kept {
            match container.labels.role {
                LabelRole::Task => decision.outlast.push(*container),
                LabelRole::Service | LabelRole::Lock | LabelRole::Ledger | LabelRole::Tool => {
                    decision.stop.push(*container);
                }
            }
        }
        if !scene.keeps(container) {
            decision.retire.push(*container);
        }
    }
    decision.fallback = decision.stop.first().copied();
    if decision.retire.is_empty() && decision.stop.is_empty() && decision.outlast.is_empty() {
        // Nothing is left of it but what is kept.
        let rubbish = decision.discard.first().map(|(_, cause)| cause.clone());
        decision.change = if rubbish.is_some() { Change::Clean } else { Change::Keep };
        decision.cause = rubbish;
    }
    decision
}
