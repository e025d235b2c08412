//! Images: from the folders under `images/` to what the engines hold.

pub mod apt;
pub mod context;
pub mod dockerfile;
pub mod fault;
pub mod graph;
pub mod host;
pub mod input;
pub mod plan;
pub mod run;

/// `mastic-init`, static: uploaded into every container as `/mastic-init`.
pub const INIT_BINARY: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/mastic-init"));

/// SHA-256 of [`INIT_BINARY`], as 64 hex digits.
pub const INIT_DIGEST: &str = include_str!(concat!(env!("OUT_DIR"), "/mastic-init.sha256"));

#[cfg(test)]
mod tests {
    use sha2::{Digest, Sha256};

    use super::*;

    #[test]
    fn the_embedded_init_must_be_a_static_program_of_the_stated_digest() {
        assert_eq!(&INIT_BINARY[..4], b"\x7fELF");
        // A dynamic program names its loader in a header of type PT_INTERP; a container without a C library lacks it.
        let word = |at: usize, size: usize| {
            INIT_BINARY[at..at + size]
                .iter()
                .rev()
                .fold(0_usize, |value, byte| value << 8 | usize::from(*byte))
        };
        let (table, size, count) = (word(32, 8), word(54, 2), word(56, 2));
        assert!(count > 0);
        assert!((0..count).all(|index| word(table + index * size, 4) != 3), "a dynamic program");
        let digest: Vec<u8> =
            (0..64).step_by(2).map(|at| u8::from_str_radix(&INIT_DIGEST[at..at + 2], 16).unwrap()).collect();
        assert_eq!(digest, Sha256::digest(INIT_BINARY).to_vec());
        assert_eq!(INIT_DIGEST.len(), 64);
    }
}
