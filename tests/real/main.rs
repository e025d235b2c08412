//! Mastic on a real engine with a real Keystone, driven through its command line.
//!
//! Needs root on a host where an engine runs or can be installed: it does that itself, as a user's first command would.

mod after_commit;
mod answering;
mod api;
mod backup;
mod cloud;
mod commands_build;
mod commands_cloud;
mod commands_config;
mod commands_gc;
mod commands_history;
mod commands_hosts;
mod commands_plan;
mod commands_programs;
mod commands_registry;
mod commands_tls;
#[path = "../support/engine.rs"]
mod engine;
mod faults;
mod harness;
mod other_series;
mod rehearse;
mod releases;
mod story;
mod toy_service;
mod toys;
mod upgrade;
