//! A plan as text that is the same for the same plan, and as JSON.

use std::fmt::Write as _;

use super::document::{Change, Plan, Purpose, SlotPlan};
use super::step::{Step, Undo};

/// The summary that `plan` prints: what changes and why, what to know, what is in the way.
pub fn text(plan: &Plan) -> String {
    let mut out = String::new();
    header(&mut out, plan);
    let shown: Vec<&SlotPlan> = plan.slots.iter().filter(|s| s.change != Change::Keep).collect();
    let width = |text: &dyn Fn(&SlotPlan) -> usize| shown.iter().map(|s| text(s)).max().unwrap_or(0);
    let names = width(&|s| s.slot.to_string().len());
    let verbs = width(&|s| s.change.as_str().len());
    let spans = width(&|s| span(s).len());
    for slot in &shown {
        let cause = slot.cause.as_ref().map(ToString::to_string).unwrap_or_default();
        let line = format!(
            " {} {:names$}  {:verbs$}  {:spans$}  {cause}",
            sign(slot.change),
            slot.slot.to_string(),
            slot.change,
            span(slot),
        );
        let _ = writeln!(out, "{}", line.trim_end());
    }
    for step in plan.steps.iter().filter(|s| s.slot.is_none()) {
        let sign = match step.action {
            super::Action::CreateVolume { .. } => '+',
            super::Action::RemoveVolume { .. } => '-',
            super::Action::Register { .. } | super::Action::Furnish { .. } => '~',
            _ => continue,
        };
        let host = step.host.as_ref().map(|host| format!("{host}/")).unwrap_or_default();
        let _ =
            writeln!(out, " {sign} {host}{}  {}  {}", step.action.object(), step.action.verb(), step.cause);
    }
    match (&plan.holding, &plan.held) {
        (_, Some(held)) => {
            let _ = writeln!(
                out,
                " = {} (generation {} and before) is kept until `mastic commit` or `mastic rollback`",
                held.release, held.generation
            );
            if held.partial {
                let _ = writeln!(
                    out,
                    " = only a part of the cloud changes: `mastic resume` goes on with the rest, `mastic abort` takes it back"
                );
            }
        }
        (Some(held), None) => {
            let _ = writeln!(out, " - what was kept of {} is kept no longer", held.release);
        }
        (None, None) => {}
    }
    let kept = plan.slots.len() - shown.len();
    if kept > 0 {
        let _ = writeln!(out, " = {kept} unchanged");
    }
    for hazard in &plan.hazards {
        let sign = if plan.accepted.allows(hazard.kind) { "note" } else { "needs your yes" };
        let _ = writeln!(out, " ! {sign}: {hazard}");
    }
    for blocker in &plan.blockers {
        let _ = writeln!(out, " x in the way: {blocker}");
    }
    out.push_str(&totals(plan, &shown));
    out
}

fn header(out: &mut String, plan: &Plan) {
    let Plan { deployment, release, purpose, .. } = plan;
    let hosts = match plan.hosts.len() {
        1 => "1 host".to_owned(),
        count => format!("{count} hosts"),
    };
    let generation = match plan.generation {
        Some(generation) if plan.previous == 0 => format!("generation {generation}, the first"),
        Some(generation) => format!("generation {} -> {generation}", plan.previous),
        None if plan.previous == 0 => "no generation yet".to_owned(),
        None => format!("generation {}", plan.previous),
    };
    let _ = match purpose {
        Purpose::Deploy => {
            writeln!(out, " # deployment {deployment}, release {release}, {hosts}: {generation}")
        }
        Purpose::Upgrade
        | Purpose::Rollback
        | Purpose::Commit
        | Purpose::Backup
        | Purpose::Rehearse
        | Purpose::Restore => {
            writeln!(
                out,
                " # {} deployment {deployment}, release {release}, {hosts}: {generation}",
                purpose.as_str()
            )
        }
        Purpose::Return { to } => {
            writeln!(
                out,
                " # rollback deployment {deployment}, release {release} with the data of restore point {}, {hosts}: {generation}",
                to.point
            )
        }
        Purpose::Stop | Purpose::Start | Purpose::Destroy { .. } => {
            writeln!(out, " # {} deployment {deployment}, {hosts}: {generation}", purpose.as_str())
        }
    };
}

fn sign(change: Change) -> char {
    match change {
        Change::Keep => '=',
        Change::Create | Change::Run => '+',
        Change::Replace
        | Change::Start
        | Change::Restart
        | Change::Prove
        | Change::Await
        | Change::Stop
        | Change::Clean => '~',
        Change::Remove => '-',
    }
}

fn span(slot: &SlotPlan) -> String {
    match (slot.from, slot.to) {
        (Some(from), Some(to)) if from != to => format!("gen {from} -> {to}"),
        (_, Some(to)) => format!("gen {to}"),
        (Some(from), None) => format!("gen {from}"),
        (None, None) => String::new(),
    }
}

fn totals(plan: &Plan, shown: &[&SlotPlan]) -> String {
    if plan.is_empty() {
        return "Nothing to do.\n".to_owned();
    }
    let count = |wanted: &[Change]| shown.iter().filter(|s| wanted.contains(&s.change)).count();
    let mut parts = Vec::new();
    let mut part = |count: usize, words: &str| {
        if count > 0 {
            parts.push(format!("{count} to {words}"));
        }
    };
    part(count(&[Change::Create]), "create");
    part(count(&[Change::Run, Change::Await]), "run");
    part(count(&[Change::Replace]), "replace");
    part(count(&[Change::Start, Change::Restart, Change::Prove]), "start or wait for");
    part(count(&[Change::Stop]), "stop");
    part(count(&[Change::Remove]), "remove");
    part(count(&[Change::Clean]), "clean up");
    if parts.is_empty() {
        parts.push("nothing to change in the slots".to_owned());
    }
    let irreversible = plan.steps.iter().filter(|s| matches!(s.undo, Undo::Impossible(_))).count();
    if irreversible > 0 {
        parts.push(format!("{irreversible} irreversible"));
    }
    format!("{}; {} steps.\n", parts.join(", "), plan.steps.len())
}

/// One line a step: `[what it waits for] -> #number slot: action, cause`.
pub fn steps(plan: &Plan) -> String {
    plan.steps.iter().fold(String::new(), |mut out, step| {
        let _ = writeln!(out, "{}", line(step));
        out
    })
}

/// One step as a line.
pub fn line(step: &Step) -> String {
    let deps: Vec<String> = step.deps.iter().map(|dep| dep.0.to_string()).collect();
    let place = match (&step.slot, &step.set, &step.host) {
        (Some(slot), _, _) => format!(" {slot}:"),
        (None, Some(set), _) => format!(" {set}:"),
        (None, None, Some(host)) => format!(" {host}:"),
        (None, None, None) => String::new(),
    };
    format!("[{}] -> {}{place} {}, {}", deps.join(","), step.id, step.action, step.cause)
}

/// The plan as JSON, to be kept, reviewed and carried out later.
pub fn json(plan: &Plan) -> String {
    // Plain structs, enums and strings always serialize.
    let mut text = serde_json::to_string_pretty(plan).unwrap_or_default();
    text.push('\n');
    text
}

/// Why a plan file cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum PlanFileError {
    /// Not a plan.
    #[error("not a plan file")]
    Syntax(#[source] serde_json::Error),
    /// Written by another version of Mastic.
    #[error("the plan has format {found}, this program reads {}", super::document::PLAN_VERSION)]
    Version {
        /// Its format.
        found: u64,
    },
}

/// Reads a plan written by [`json`].
pub fn parse(text: &str) -> Result<Plan, PlanFileError> {
    let value: serde_json::Value = serde_json::from_str(text).map_err(PlanFileError::Syntax)?;
    let found = value.get("version").and_then(serde_json::Value::as_u64).unwrap_or(0);
    if found != u64::from(super::document::PLAN_VERSION) {
        return Err(PlanFileError::Version { found });
    }
    serde_json::from_value(value).map_err(PlanFileError::Syntax)
}
