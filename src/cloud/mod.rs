//! Talks to the cloud itself: Keystone's API, over HTTP, verified with the deployment's own authority.
//!
//! One process, kept connections and parallel requests, where the usual client starts Python for each call.

mod boots;
pub mod check;
pub mod client_files;
mod furnish;
mod http;
mod keystone;
mod observe;
mod pages;
mod ping;
pub mod probe;
mod register;
mod registrar;
mod sdk;
mod servers;
pub mod session;
mod since;

pub use check::{CheckReport, check};
pub use client_files::{ClientFiles, write_client_files};
pub use furnish::furnish;
pub use http::CloudError;
pub use keystone::Keystone;
pub use observe::{Passwords, observe_identity};
pub use ping::ping_now;
pub use probe::Probe;
pub use register::{Registrar, RegistrationReport};
pub use sdk::Api;
pub use servers::answering_servers;
pub use session::{Login, ProjectRef, Session};
pub use since::made_since;

pub(crate) use http::{Body, browser_client};
pub(crate) use observe::text;

#[cfg(test)]
pub(crate) mod fake;
#[cfg(test)]
mod tests;
