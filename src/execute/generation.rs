//! What a run writes into the hosts' history of generations: when it begins, and however it went.

use std::collections::BTreeMap;

use super::perform::Work;
use super::progress::Progress;
use super::report::Outcome;
use crate::journal::record::RECORD_VERSION;
use crate::journal::{GenerationRecord, RecordOutcome, SlotRecord};
use crate::model::RunId;
use crate::plan::Change;

/// The history's first line about this generation; none when the plan makes none.
pub(super) fn begun(work: &Work<'_>, run: &RunId) -> Option<GenerationRecord> {
    let (plan, desired) = (work.plan, work.desired);
    let generation = plan.generation?;
    let slots = plan
        .slots
        .iter()
        .filter_map(|slot| {
            let record = desired.form(&slot.slot, slot.side)?.record(&desired.init_digest);
            let name = slot.successor.as_ref().map(|s| s.name().to_owned()).unwrap_or_default();
            let generation = slot.to.or(slot.from).unwrap_or(generation);
            let change = slot.change.as_str().to_owned();
            let spec_hash = record.hash();
            Some((slot.slot.to_string(), SlotRecord { name, generation, change, spec_hash, spec: record }))
        })
        .collect();
    Some(GenerationRecord {
        version: RECORD_VERSION,
        generation,
        deployment: plan.deployment.clone(),
        release: plan.release.clone(),
        purpose: plan.purpose.as_str().to_owned(),
        run: run.clone(),
        began_at: now(),
        ended_at: None,
        seconds: None,
        outcome: RecordOutcome::Running,
        operator: work.environment.operator.clone(),
        message: work.environment.message.clone(),
        profile: desired.profile_digest.clone(),
        identity: None,
        secrets: work.environment.secrets.clone(),
        cloud: None,
        held: plan.holding.clone(),
        returning: plan.returning().cloned(),
        availability: BTreeMap::new(),
        slots,
        removed: plan
            .slots
            .iter()
            .filter(|slot| slot.change == Change::Remove)
            .map(|slot| slot.slot.to_string())
            .collect(),
    })
}

/// The history's last line about this generation: what is there now, as far as the run has come.
pub(super) fn ended(
    mut record: GenerationRecord,
    work: &Work<'_>,
    progress: &Progress<'_>,
    outcome: Outcome,
    seconds: f64,
) -> GenerationRecord {
    record.availability = work.environment.watch.as_ref().map(|watch| watch.seen()).unwrap_or_default();
    record.ended_at = Some(now());
    record.seconds = Some(seconds);
    record.outcome = match outcome {
        Outcome::Done | Outcome::Nothing => RecordOutcome::Done,
        Outcome::Undone => RecordOutcome::Undone,
        Outcome::Failed => RecordOutcome::Failed,
        Outcome::Interrupted => RecordOutcome::Interrupted,
    };
    // What this run did not tell or make, an earlier one did.
    record.identity = progress.told().or(work.plan.registered.as_ref()).cloned();
    record.cloud = progress.furnished().or(work.plan.furnished.as_ref()).cloned();
    if outcome == Outcome::Done {
        record.held.clone_from(&work.plan.held);
    } else {
        // What was not carried out is not what is there.
        record.slots.retain(|_, slot| slot.change == Change::Keep.as_str());
    }
    record
}

/// A return to an older release that was taken back: what served before serves.
pub(super) fn as_before(mut record: GenerationRecord) -> GenerationRecord {
    if let Some(to) = record.returning.take() {
        record.release = to.from;
    }
    record
}

fn now() -> String {
    jiff::Timestamp::now().round(jiff::Unit::Second).map(|t| t.to_string()).unwrap_or_default()
}
