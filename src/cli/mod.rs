//! The command line: parses, calls the effects, tells the result.

pub mod args;
pub mod exit;
pub mod printer;
pub mod reference;
