//! What PID 1 costs: bytes, memory and wake-ups. The limits are promises of the README.

#![expect(clippy::print_stdout, reason = "measured figures are worth reading")]

mod common;

use std::time::Duration;

use common::*;

fn kilobytes(pid: i32, field: &str) -> u64 {
    let text = status_field(pid, field).expect("a running process");
    text.split(' ').next().and_then(|number| number.parse().ok()).expect("a number of kB")
}

#[test]
fn the_binary_is_small_and_needs_no_interpreter() {
    let bytes = std::fs::read(binary()).expect("the binary");
    println!("size: {} bytes", bytes.len());
    assert!(bytes.len() < 1 << 20, "{} bytes", bytes.len());
    // Program headers start at 64 and are 56 bytes each; 3 is PT_INTERP, 2 PT_DYNAMIC.
    let count = usize::from(u16::from_le_bytes([bytes[56], bytes[57]]));
    for header in 0..count {
        let kind = bytes[64 + header * 56];
        assert!(kind != 3 && kind != 2, "the binary is not static");
    }
}

#[test]
fn idling_needs_little_memory_and_no_wake_up() {
    for mode in BOTH {
        let running = start(mode, &["sh", "-c", "echo ready; exec sleep 1000"]);
        running.expect("ready");
        let pid = running.pid;
        eventually(|| state(pid) == Some('S'));
        let anonymous = kilobytes(pid, "RssAnon");
        println!("{mode:?}: RssAnon {anonymous} kB, VmRSS {} kB", kilobytes(pid, "VmRSS"));
        assert!(anonymous <= 40, "{anonymous} kB");
        std::thread::sleep(Duration::from_millis(300));
        let switches = || {
            ["voluntary_ctxt_switches", "nonvoluntary_ctxt_switches"].map(|field| status_field(pid, field))
        };
        let before = switches();
        std::thread::sleep(Duration::from_secs(3));
        assert_eq!(switches(), before);
    }
}

#[test]
fn memory_does_not_grow_with_what_is_reaped() {
    let script = "sh -c 'i=0; while [ $i -lt 500 ]; do sleep 0.01 & i=$((i + 1)); done'; \
                  sleep 0.5; echo ready; exec sleep 1000";
    let running = start(As::PidOne, &["sh", "-c", script]);
    running.expect("ready");
    let anonymous = kilobytes(running.pid, "RssAnon");
    assert!(anonymous <= 40, "{anonymous} kB");
}
