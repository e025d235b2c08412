//! What a deployment consisted of at an earlier generation, by the records. Pure.

use std::collections::BTreeMap;

use super::record::{GenerationRecord, RecordOutcome, SlotRecord};
use crate::model::{Generation, Held, ReleaseName};
use crate::plan::Purpose;

/// Returns what was in each slot (`host/container`) once a generation was done; `None` when there is no record of it.
///
/// A record tells of the slots that its run had to do with, the kept ones too: a run for one set says nothing of the others. What was
/// taken back changed nothing.
pub fn slots_at(records: &[GenerationRecord], generation: Generation) -> Option<BTreeMap<&str, &SlotRecord>> {
    records.iter().find(|record| record.generation == generation)?;
    let mut slots = BTreeMap::new();
    for record in records.iter().filter(|record| record.generation <= generation) {
        if record.outcome == RecordOutcome::Undone && record.generation != generation {
            continue;
        }
        slots.extend(record.slots.iter().map(|(slot, there)| (slot.as_str(), there)));
        for slot in &record.removed {
            slots.remove(slot.as_str());
        }
    }
    Some(slots)
}

/// Returns what the last upgrade from another release than the one that serves has kept: what served before it.
pub fn before<'r>(records: &'r [GenerationRecord], serves: &ReleaseName) -> Option<&'r Held> {
    records.iter().rev().filter_map(|record| record.held.as_ref()).find(|held| held.release != *serves)
}

/// Returns what an upgrade had kept, where the last run has taken all of it back: it serves again.
pub fn taken_back(records: &[GenerationRecord]) -> Option<&Held> {
    let (last, earlier) = records.split_last()?;
    let done = last.outcome == RecordOutcome::Done && last.held.is_none() && last.returning.is_none();
    let back = done && last.purpose == Purpose::Rollback.as_str();
    earlier.iter().rev().filter(|_| back).find_map(|record| record.held.as_ref())
}
