//! What a schema cannot say: names that must exist, values that must go together.
//!
//! `service` looks at one service.yaml by itself, `profile` at the profile, `across` at services beside each other, `ports` at
//! numbers on hosts once everything is placed.

pub(super) mod across;
pub(super) mod cloud;
pub(super) mod ports;
pub(super) mod profile;
pub(super) mod service;
pub(super) mod words;
