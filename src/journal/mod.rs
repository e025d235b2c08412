//! What is written down of a run: the intent log for recovery, and the record of a generation for history. Pure.

pub mod entry;
mod past;
pub mod record;
pub mod replay;
pub mod timeline;

pub use entry::{Entry, Event, StepState, Stopping};
pub use past::slots_at;
pub use record::{GenerationRecord, RecordOutcome, SlotRecord};
pub use replay::{Replay, replay};
