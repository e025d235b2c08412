//! Planning: situations that read like a specification, properties, and the independent checker.

#[path = "../support/deployment.rs"]
mod deployment;
mod properties;
mod returning;
mod situations;
mod verify;
