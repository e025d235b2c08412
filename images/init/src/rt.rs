//! What a C library would otherwise give: the entry point, memory functions, an allocator and
//! the panic handler.
//!
//! Must never run anything before [`crate::entry`] blocks signals: for PID 1 a signal that
//! arrives earlier is dropped by the kernel.

#![expect(unsafe_code, reason = "there is no runtime below this one")]

use alloc::vec::Vec;
use core::alloc::{GlobalAlloc, Layout};
use core::cell::UnsafeCell;
use core::ffi::CStr;
use core::ptr::null_mut;

use crate::sys;

#[cfg(all(freestanding, not(panic = "abort")))]
compile_error!("a crt-static build needs panic=abort: use `--profile init`");

#[cfg(freestanding)]
mod start {
    // The kernel enters with argc, argv and the environment on the stack and no return address.
    core::arch::global_asm!(
        ".globl _start",
        "_start:",
        "xor ebp, ebp",
        "mov rdi, rsp",
        "and rsp, -16",
        "call {start}",
        "ud2",
        start = sym start,
    );

    extern "C" fn start(stack: *const usize) -> ! {
        // SAFETY: the System V ABI puts argc, then argc pointers and a null, then the
        // environment's pointers and a null at the initial stack pointer.
        let (argv, envp) = unsafe {
            let argv = stack.add(1).cast::<*const u8>();
            (argv, argv.add(*stack + 1))
        };
        super::begin(argv, envp)
    }

    #[panic_handler]
    fn panic(info: &core::panic::PanicInfo<'_>) -> ! {
        match info.location() {
            Some(at) => crate::say!("bug at {}:{}", at.file(), at.line()),
            None => crate::say!("bug"),
        }
        crate::sys::exit(70)
    }

    /// The precompiled `alloc` names these in its unwind tables; with panic=abort nothing unwinds.
    #[unsafe(no_mangle)]
    extern "C" fn rust_eh_personality() {}
    #[unsafe(no_mangle)]
    extern "C" fn _Unwind_Resume() -> ! {
        crate::sys::exit(70)
    }

    /// The only two functions of the C library that a dependency calls: ring's for randomness.
    mod random {
        use crate::sys;

        static mut ERRNO: i32 = 0;

        #[unsafe(no_mangle)]
        unsafe extern "C" fn syscall(
            number: libc::c_long,
            buffer: *mut u8,
            length: usize,
            flags: u32,
        ) -> libc::c_long {
            let result = if number == libc::SYS_getrandom {
                // SAFETY: the caller promises `length` writable bytes.
                unsafe { sys::random(buffer, length, flags) }
            } else {
                Err(sys::Errno(libc::ENOSYS))
            };
            match result {
                Ok(count) => count.cast_signed() as libc::c_long,
                Err(errno) => {
                    // SAFETY: the process has one thread.
                    unsafe { ERRNO = errno.0 };
                    -1
                }
            }
        }

        #[unsafe(no_mangle)]
        extern "C" fn __errno_location() -> *mut i32 {
            &raw mut ERRNO
        }
    }

    /// The functions that compiled code calls without naming them. `rep` string instructions are
    /// short, and fast enough on every processor that can run OpenStack.
    mod memory {
        use core::arch::asm;

        #[unsafe(no_mangle)]
        unsafe extern "C" fn memcpy(to: *mut u8, from: *const u8, count: usize) -> *mut u8 {
            // SAFETY: the caller promises `count` valid bytes at both, which do not overlap.
            unsafe {
                asm!("rep movsb", inout("rcx") count => _, inout("rdi") to => _,
                     inout("rsi") from => _, options(nostack, preserves_flags));
            }
            to
        }

        #[unsafe(no_mangle)]
        unsafe extern "C" fn memmove(to: *mut u8, from: *const u8, count: usize) -> *mut u8 {
            if to.addr().wrapping_sub(from.addr()) >= count {
                // SAFETY: the target does not start inside the source, so forward copying is safe.
                return unsafe { memcpy(to, from, count) };
            }
            // SAFETY: as for memcpy; copying backwards reads each byte before it is overwritten.
            unsafe {
                asm!("std", "rep movsb", "cld", inout("rcx") count => _,
                     inout("rdi") to.add(count).wrapping_sub(1) => _,
                     inout("rsi") from.add(count).wrapping_sub(1) => _, options(nostack));
            }
            to
        }

        #[unsafe(no_mangle)]
        unsafe extern "C" fn memset(to: *mut u8, byte: i32, count: usize) -> *mut u8 {
            // SAFETY: the caller promises `count` writable bytes.
            unsafe {
                asm!("rep stosb", inout("rcx") count => _, inout("rdi") to => _,
                     in("eax") byte, options(nostack, preserves_flags));
            }
            to
        }

        #[unsafe(no_mangle)]
        unsafe extern "C" fn memcmp(left: *const u8, right: *const u8, count: usize) -> i32 {
            for at in 0..count {
                // SAFETY: the caller promises `count` readable bytes at both. Volatile, so that
                // the compiler does not turn this loop into a call of memcmp.
                let (a, b) = unsafe { (left.add(at).read_volatile(), right.add(at).read_volatile()) };
                if a != b {
                    return i32::from(a) - i32::from(b);
                }
            }
            0
        }

        #[unsafe(no_mangle)]
        unsafe extern "C" fn bcmp(left: *const u8, right: *const u8, count: usize) -> i32 {
            // SAFETY: the same contract.
            unsafe { memcmp(left, right, count) }
        }

        #[unsafe(no_mangle)]
        unsafe extern "C" fn strlen(text: *const u8) -> usize {
            let mut length = 0;
            // SAFETY: the caller promises a terminating zero.
            while unsafe { text.add(length).read_volatile() } != 0 {
                length += 1;
            }
            length
        }
    }
}

#[cfg(not(any(freestanding, test)))]
mod start {
    // Only for its panic machinery; `main` replaces the standard start-up, which would change
    // the disposition of SIGPIPE that the child must inherit untouched.
    extern crate std as _;

    #[unsafe(no_mangle)]
    extern "C" fn main(_argc: i32, argv: *const *const u8, envp: *const *const u8) -> i32 {
        super::begin(argv, envp)
    }
}

/// Both starts meet here. `argv` and `envp` are what the kernel gave.
fn begin(argv: *const *const u8, envp: *const *const u8) -> ! {
    // First of all: until signals are blocked, PID 1 loses them and anything else dies of them.
    let mask = sys::signal::set_mask(sys::signal::Set(u64::MAX));
    crate::entry(&strings(argv), strings(envp), mask)
}

fn strings(mut array: *const *const u8) -> Vec<&'static CStr> {
    let mut strings = Vec::new();
    // SAFETY: the kernel ends the array with null; the strings live as long as the process.
    unsafe {
        while !(*array).is_null() {
            strings.push(CStr::from_ptr((*array).cast()));
            array = array.add(1);
        }
    }
    strings
}

/// Power-of-two size classes from 16 bytes to 16 MiB, each with a list of freed blocks.
/// The program is single-threaded and short of needs: PID 1 allocates a page or two.
pub struct Allocator {
    state: UnsafeCell<State>,
}

struct State {
    free: [*mut u8; CLASSES],
    next: *mut u8,
    left: usize,
}

const SMALLEST: usize = 4;
const CLASSES: usize = 21;
const CHUNK: usize = 16 * 1024;

// SAFETY: the process has one thread.
unsafe impl Sync for Allocator {}

impl Allocator {
    pub const fn new() -> Self {
        let state = State { free: [null_mut(); CLASSES], next: null_mut(), left: 0 };
        Self { state: UnsafeCell::new(state) }
    }

    fn class(layout: Layout) -> usize {
        let size = layout.size().max(layout.align()).max(1 << SMALLEST);
        (size.next_power_of_two().trailing_zeros() as usize) - SMALLEST
    }
}

#[expect(clippy::cast_ptr_alignment, reason = "blocks are aligned to at least 16 bytes")]
// SAFETY: blocks come from fresh mappings, are at least as large and as aligned as their class
// (a power of two, carved from page-aligned chunks in multiples of itself), and go back to the
// list of the class that the same layout selects.
unsafe impl GlobalAlloc for Allocator {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // SAFETY: one thread, and nothing below re-enters the allocator.
        let state = unsafe { &mut *self.state.get() };
        let class = Self::class(layout);
        let Some(head) = state.free.get_mut(class) else { return null_mut() };
        if !head.is_null() {
            let block = *head;
            // SAFETY: a freed block holds the pointer to the next one in its first bytes.
            *head = unsafe { block.cast::<*mut u8>().read() };
            return block;
        }
        let size = 1 << (class + SMALLEST);
        if size >= CHUNK {
            return sys::map_memory(size);
        }
        let skip = state.next.align_offset(size);
        if state.left < size.saturating_add(skip) {
            state.next = sys::map_memory(CHUNK);
            if state.next.is_null() {
                state.left = 0;
                return null_mut();
            }
            state.left = CHUNK;
        } else {
            // SAFETY: checked above to lie within the chunk.
            state.next = unsafe { state.next.add(skip) };
            state.left -= skip;
        }
        let block = state.next;
        // SAFETY: the chunk has `left >= size` bytes.
        state.next = unsafe { block.add(size) };
        state.left -= size;
        block
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        // SAFETY: as in alloc.
        let state = unsafe { &mut *self.state.get() };
        if let Some(head) = state.free.get_mut(Self::class(layout)) {
            // SAFETY: the block is ours again, and at least 16 bytes, aligned to 16.
            unsafe { block.cast::<*mut u8>().write(*head) };
            *head = block;
        }
    }
}
