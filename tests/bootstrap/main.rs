//! Bootstrap on real engines: each in a home of its own, so that the machine's is never touched.
//!
//! Needs root.

#[path = "../support/engine.rs"]
mod engine;
mod private_engine;
mod start;
