//! Mastic builds, deploys, upgrades and rolls back an OpenStack cloud in containers.
//!
//! ```text
//! profile.yaml --load--> Profile --resolve--> Desired --+
//!                                                       +-- reconcile --> Plan -- verify --> execute --> report
//! engines ------------ observe -----------> Observed ---+                              (journal)
//! ```
//!
//! Modules are listed in the order in which data flows. Those before the line are a pure core: values in, values
//! out, no engine, files, clock, environment, randomness or printing (`tests/layering.rs` checks it).

pub mod drawing;
pub mod journal;
pub mod model;
pub mod plan;
pub mod profile;
pub mod schema;
pub mod template;

// ---- effects below ----
pub mod bootstrap;
pub mod build;
pub mod cli;
pub mod cloud;
pub mod engine;
pub mod execute;
pub mod observe;
pub mod rehearse;
pub mod report;
pub mod store;
pub mod verify;
