//! A deployer that dies, or an engine that fails, at every single call of every kind of run; then somebody runs it again.
//!
//! After that second run every set must be wholly what it should be, with no stray container and no volume lost, and a
//! third plan must be empty. Nothing is sampled: each call that a run makes is hit once by each fault.

#[path = "../support/deployment.rs"]
mod deployment;
mod honesty;
mod matrix;
mod world;
