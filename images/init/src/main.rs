//! PID 1 of a container, and the health check that runs beside it.
//!
//! Pure: [`react`] (what to do about an event), [`cli`], [`signal`], [`check::target`].
//! Effects: [`supervise`] (the loop), [`spawn`], [`prepare`], [`check`], and below them [`sys`].
//! Once the command runs, nothing may panic or bail out: the death of PID 1 kills the container.
#![cfg_attr(not(test), no_std, no_main)]

extern crate alloc;

use alloc::vec::Vec;
use core::ffi::CStr;

mod check;
mod cli;
mod prepare;
mod proc;
mod react;
#[cfg(not(test))]
mod rt;
mod signal;
mod spawn;
mod supervise;
mod sys;
mod text;

#[cfg(not(test))]
#[global_allocator]
static ALLOCATOR: rt::Allocator = rt::Allocator::new();

/// Exit codes of our own, beside the command's.
mod code {
    pub const USAGE: u8 = 2;
    /// EX_OSERR: the system refused something that the command needs.
    pub const SYSTEM: u8 = 71;
    /// EX_CONFIG: something that the operator has to give is missing.
    pub const CONFIG: u8 = 78;
    pub const CANNOT_RUN: u8 = 126;
    pub const NOT_FOUND: u8 = 127;
}

/// Everything starts here, with all signals blocked; `mask` is what was blocked before.
#[cfg_attr(test, expect(dead_code, reason = "unit tests have the test harness's entry"))]
fn entry(arguments: &[&'static CStr], environment: Vec<&'static CStr>, mask: sys::signal::Set) -> ! {
    let words = arguments.get(1..).unwrap_or_default();

    if let Some((first, rest)) = words.split_first()
        && *first == c"check"
    {
        sys::signal::set_mask(mask);
        sys::exit(check::run(rest));
    }
    match cli::parse(words) {
        Ok(cli::Command::Run(options)) => supervise::run(&options, environment, mask),
        Ok(cli::Command::Help) => print(cli::HELP),
        Ok(cli::Command::Version) => print(concat!("mastic-init ", env!("CARGO_PKG_VERSION"))),
        Err(reason) => {
            say!("{reason}");
            sys::exit(code::USAGE)
        }
    }
}

fn print(text: &str) -> ! {
    for part in [text, "\n"] {
        let mut rest = part.as_bytes();
        while let Ok(count) = sys::file::write(&sys::file::STDOUT, rest)
            && count > 0
        {
            rest = rest.get(count..).unwrap_or_default();
        }
    }
    sys::exit(0)
}
