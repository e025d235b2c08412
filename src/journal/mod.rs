//! What is written down of a run: the intent log for recovery, and the record of a generation for history. Pure.

pub mod record;

pub use record::{GenerationRecord, RecordOutcome, SlotRecord};
