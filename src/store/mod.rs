//! What Mastic keeps on the operator's machine: secrets, certificates, the journal.
//!
//! Everything here is written atomically and readable by its owner only.

pub mod certificates;
pub mod files;
pub mod import;
pub mod inert;
pub mod journal_file;
pub mod ledger;
pub mod library;
pub mod lock;
pub mod redact;
pub mod secrets;
pub mod tls;
