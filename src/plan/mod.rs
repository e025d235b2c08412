//! (to be written)

pub mod identity;
