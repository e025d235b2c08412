//! Decides: `(Desired, Observed, Options) -> Plan`, and checks what was decided.
//!
//! Pure: a plan is a value. It leaves no choice to the execution, names no secret, and the same inputs give the same
//! bytes. `reconcile` makes it, `verify` (which shares no code with it) checks it, `render` shows it, `unwind` says how
//! a failed set returns to what it was.

mod build;
pub mod cause;
pub mod cloud;
mod cutover;
mod decide;
pub mod diff;
pub mod document;
mod draft;
pub mod fingerprint;
pub mod hazard;
pub mod identity;
pub mod options;
mod order;
mod part;
mod purpose;
mod reconcile;
pub mod rehearsal;
pub mod render;
mod returning;
mod scene;
mod slot_plan;
pub mod step;
mod traffic;
pub mod verify;

pub use cause::{Cause, FieldDiff};
pub use document::{Change, Fallback, Plan, Purpose, SlotPlan};
pub use hazard::{Accept, Blocker, Hazard, HazardKind};
pub use options::{Options, SOAK, Selection, Volumes};
pub use purpose::{destroy, start, stop};
pub use reconcile::reconcile;
pub use step::{Action, ExitRule, Mark, Step, StepId, Target, Undo};
pub use verify::{Violation, verify};
