//! From YAML text to the desired state.
//!
//! ```text
//! text --yaml--> Node (with positions) --schema--> ProfileDocument, Service --check--> Profile --resolve--> Desired
//! ```
//!
//! Every mistake is collected, in all files, before anything is given back. Nothing here opens a file: the shell
//! hands in text and a [`Library`].

pub mod container;
pub mod document;
pub mod library;
pub mod service;

pub use document::ProfileDocument;
pub use library::{Library, LibraryFile};
pub use service::{SecretKind, Service};
