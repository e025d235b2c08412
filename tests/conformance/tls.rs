//! An engine behind TLS.
