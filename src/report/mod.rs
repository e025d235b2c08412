//! What the effects tell about themselves: one event type, several listeners.
//!
//! Nothing below `cli` prints. Effects call [`Reporter::on`]; listeners decide what a person or a script sees.

pub mod event;
pub mod json;
pub mod live;
pub mod page;
pub mod plain;

pub use event::{Event, Outcome, Reporter, Silent};
