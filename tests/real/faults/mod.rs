//! What must be survived: kills, failures of containers, images, ports, the engine, the disk and the journal.

mod change;
mod containers;
mod deploy;
mod disk;
mod engine;
mod image;
mod journal;
mod lock;
mod ports;
pub mod support;
mod upgrade;
