//! Chooses between the two ways this binary starts.
//!
//! Built with `+crt-static` it is freestanding: its own `_start`, no C library, because glibc's
//! static start-up alone costs 700 kB and its memory. Built any other way (tests, clippy, an IDE)
//! it is an ordinary program started by the C library, so that no special flags are needed there.

use std::path::Path;
use std::{env, fs};

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    println!("cargo:rustc-check-cfg=cfg(freestanding)");
    let features = env::var("CARGO_CFG_TARGET_FEATURE").unwrap_or_default();
    if !features.split(',').any(|feature| feature == "crt-static") {
        return;
    }
    println!("cargo:rustc-cfg=freestanding");
    // Not position-independent: there is nobody to relocate it before `_start`.
    for argument in ["-nostartfiles", "-static", "-no-pie", "-Wl,-z,norelro", "-Wl,--build-id=none"] {
        println!("cargo:rustc-link-arg-bins={argument}");
    }
    // An empty C library is found before the real one: a dependency that starts to need a C
    // function fails to link, instead of running one whose set-up never happened.
    let directory = env::var("OUT_DIR").expect("cargo sets OUT_DIR");
    for library in ["libc.a", "libgcc_eh.a"] {
        let path = Path::new(&directory).join(library);
        fs::write(&path, "!<arch>\n").expect("OUT_DIR is writable");
    }
    println!("cargo:rustc-link-search=native={directory}");
}
