//! What is written down of a run: the intent log for recovery, and the record of a generation for history. Pure.

pub mod entry;
mod past;
mod pin;
pub mod record;
pub mod replay;
pub mod timeline;

pub use entry::{Entry, Event, StepState, Stopping};
pub use past::{before, slots_at, taken_back};
pub use pin::Pin;
pub use record::{GenerationRecord, RecordOutcome, SlotRecord};
pub use replay::{Replay, replay};
