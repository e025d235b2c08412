//! Linux system calls behind safe functions: the only files with `unsafe` besides [`crate::rt`].
//!
//! Calls go straight to the kernel (see `build.rs` for why there is no C library). Nothing here
//! decides anything, retries or prints.

#![expect(unsafe_code, reason = "system calls are what this module is for")]
#![expect(
    clippy::cast_possible_truncation,
    clippy::cast_possible_wrap,
    clippy::cast_sign_loss,
    reason = "the kernel's numbers fit the types that its interface gives them"
)]

pub mod errno;
pub mod file;
pub mod net;
pub mod process;
pub mod signal;

use core::arch::asm;

pub use errno::Errno;
pub use file::Fd;
use libc::c_long;

pub type Result<T> = core::result::Result<T, Errno>;

/// One system call with up to six arguments.
///
/// # Safety
/// The arguments must satisfy the contract of the call: pointers valid for what it reads or writes.
unsafe fn syscall6(number: c_long, arguments: [usize; 6]) -> Result<usize> {
    let [first, second, third, fourth, fifth, sixth] = arguments;
    let result: isize;
    // SAFETY: the kernel clobbers only rax, rcx and r11; memory effects are the caller's promise.
    unsafe {
        asm!("syscall", inlateout("rax") number as isize => result, in("rdi") first, in("rsi") second,
             in("rdx") third, in("r10") fourth, in("r8") fifth, in("r9") sixth,
             lateout("rcx") _, lateout("r11") _, options(nostack));
    }
    if (-4095..0).contains(&result) {
        Err(Errno(i32::try_from(-result).unwrap_or(libc::EIO)))
    } else {
        Ok(result.cast_unsigned())
    }
}

/// `syscall!(NUMBER, arg...)`: pads the arguments with zeros. Each use states why it is sound.
macro_rules! syscall {
    (@six $number:expr, $a:expr, $b:expr, $c:expr, $d:expr, $e:expr, $f:expr $(, $z:expr)*) => {
        $crate::sys::syscall6($number, [$a, $b, $c, $d, $e, $f])
    };
    ($number:expr $(, $argument:expr)* $(,)?) => {
        $crate::sys::syscall!(@six $number $(, $crate::sys::word($argument))*, 0, 0, 0, 0, 0, 0)
    };
}
pub(crate) use syscall;

/// What fits in a register: integers are sign-extended, pointers keep their address.
pub trait Word {
    fn word(self) -> usize;
}

impl Word for i32 {
    fn word(self) -> usize {
        (self as isize).cast_unsigned()
    }
}
impl Word for u32 {
    fn word(self) -> usize {
        self as usize
    }
}
impl Word for usize {
    fn word(self) -> usize {
        self
    }
}
impl Word for u64 {
    fn word(self) -> usize {
        self as usize
    }
}
impl<T> Word for *const T {
    fn word(self) -> usize {
        self.expose_provenance()
    }
}
impl<T> Word for *mut T {
    fn word(self) -> usize {
        self.expose_provenance()
    }
}

pub fn word(value: impl Word) -> usize {
    value.word()
}

pub fn exit(code: u8) -> ! {
    loop {
        // SAFETY: takes no pointers.
        let _ = unsafe { syscall!(libc::SYS_exit_group, u32::from(code)) };
    }
}

/// Fresh zeroed pages, or null.
#[cfg_attr(test, expect(dead_code, reason = "unit tests use the standard allocator"))]
pub fn map_memory(size: usize) -> *mut u8 {
    let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS;
    // SAFETY: an anonymous mapping at an address the kernel chooses touches nothing of ours.
    unsafe { syscall!(libc::SYS_mmap, 0usize, size, libc::PROT_READ | libc::PROT_WRITE, flags, -1, 0usize) }
        .map_or(core::ptr::null_mut(), core::ptr::with_exposed_provenance_mut)
}

/// Milliseconds on a clock that never jumps and keeps counting while the machine sleeps.
pub fn now() -> u64 {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: `time` is writable and of the right type.
    let _ = unsafe { syscall!(libc::SYS_clock_gettime, libc::CLOCK_BOOTTIME, &raw mut time) };
    time.tv_sec.cast_unsigned() * 1000 + time.tv_nsec.cast_unsigned() / 1_000_000
}

pub(crate) fn timespec(milliseconds: u64) -> libc::timespec {
    libc::timespec {
        tv_sec: i64::try_from(milliseconds / 1000).unwrap_or(i64::MAX),
        tv_nsec: (milliseconds % 1000 * 1_000_000).cast_signed(),
    }
}

pub fn sleep(milliseconds: u64) {
    let time = timespec(milliseconds);
    // SAFETY: `time` is readable; a null remainder is allowed.
    let _ = unsafe { syscall!(libc::SYS_nanosleep, &raw const time, 0usize) };
}

/// Seconds since 1970.
pub fn unix_time() -> u64 {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: `time` is writable and of the right type.
    let _ = unsafe { syscall!(libc::SYS_clock_gettime, libc::CLOCK_REALTIME, &raw mut time) };
    time.tv_sec.cast_unsigned()
}

/// Fills the buffer with random bytes and says how many.
///
/// # Safety
/// `length` bytes at `buffer` must be writable.
#[cfg(freestanding)]
pub unsafe fn random(buffer: *mut u8, length: usize, flags: u32) -> Result<usize> {
    // SAFETY: the caller's promise.
    unsafe { syscall!(libc::SYS_getrandom, buffer, length, flags) }
}
