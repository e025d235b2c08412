//! Whether a process of this container has a connection to a peer, from what `/proc` says: sockets that are established
//! (`/proc/net/tcp`: those of the whole network namespace), and who holds one of them (`/proc/PID/fd`).

use alloc::format;
use alloc::vec::Vec;
use core::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use super::stream::Failure;
use super::target::HostPort;
use crate::proc;
use crate::sys::file::{self, Dir};

/// A line is 150 bytes: enough for 50,000 connections of the host.
const TABLE: usize = 8 << 20;

pub fn connected(peers: &[HostPort]) -> Result<(), Failure> {
    let names = || file::read_path(c"/etc/hosts", 1 << 20).unwrap_or_default();
    let peers: Vec<SocketAddr> = peers.iter().flat_map(|peer| peer.addresses(names)).collect();
    if peers.is_empty() {
        return Err(Failure::UnknownHost);
    }
    let mut sockets = Vec::new();
    for table in [c"/proc/net/tcp", c"/proc/net/tcp6"] {
        let table = file::read_path(table, TABLE).unwrap_or_default();
        sockets.extend(table.split(|byte| *byte == b'\n').filter_map(|line| established(line, &peers)));
    }
    if sockets.is_empty() {
        return Err(Failure::Wrong("nobody on this host is connected".into()));
    }
    let mut held = false;
    proc::for_each(|process| held = held || holds(process.pid, &sockets));
    if held { Ok(()) } else { Err(Failure::Wrong("no process of this container is connected".into())) }
}

fn holds(pid: i32, sockets: &[u64]) -> bool {
    let open = || {
        let path = file::c_string(format!("/proc/{pid}/fd").as_bytes()).ok()?;
        file::open_read(Dir::CURRENT, &path).ok()
    };
    let Some(directory) = open() else { return false };
    let mut found = false;
    let _ = file::for_each_entry(&directory, |name| {
        let socket = file::socket((&directory).into(), name);
        found = found || socket.is_some_and(|inode| sockets.contains(&inode));
    });
    found
}

/// The inode of an established socket to one of the peers: `sl local remote state queues timer retransmits uid timeout inode`.
fn established(line: &[u8], peers: &[SocketAddr]) -> Option<u64> {
    let mut words = core::str::from_utf8(line).ok()?.split_ascii_whitespace();
    let remote = endpoint(words.nth(2)?)?;
    let state = words.next()?;
    (state == "01" && peers.contains(&remote)).then(|| words.nth(5)?.parse().ok()).flatten()
}

/// `0B00007F:1628`: each word of the address as the kernel holds it (this machine's byte order), the port in plain order.
fn endpoint(text: &str) -> Option<SocketAddr> {
    let (address, port) = text.split_once(':')?;
    let port = u16::from_str_radix(port, 16).ok()?;
    let word =
        |at: usize| u32::from_str_radix(address.get(at * 8..at * 8 + 8)?, 16).ok().map(u32::to_ne_bytes);
    let ip = match address.len() {
        8 => IpAddr::V4(Ipv4Addr::from(word(0)?)),
        32 => {
            let mut bytes = [0; 16];
            for (at, part) in bytes.chunks_exact_mut(4).enumerate() {
                part.copy_from_slice(&word(at)?);
            }
            // An IPv4 peer of a socket that speaks both.
            Ipv6Addr::from(bytes).to_canonical()
        }
        _ => return None,
    };
    Some(SocketAddr::new(ip, port))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_the_kernel_are_read() {
        let peer: SocketAddr = "127.0.11.1:5672".parse().expect("an address");
        let line = b"   3: 010B007F:B0C8 010B007F:1628 01 00000000:00000000 02:0000 00000000 64061        0 123456 2 0000";
        assert_eq!(established(line, &[peer]), Some(123_456));
        let other = "127.0.11.1:5671".parse().expect("an address");
        assert_eq!(established(line, &[other]), None);
        // TIME_WAIT.
        let line =
            b"   3: 010B007F:B0C8 010B007F:1628 06 00000000:00000000 02:0000 00000000 0        0 0 2 0000";
        assert_eq!(established(line, &[peer]), None);
        assert_eq!(established(b"  sl  local_address rem_address   st tx_queue", &[peer]), None);
        assert_eq!(established(b"", &[peer]), None);
    }

    #[test]
    fn peers_of_both_families_are_known() {
        assert_eq!(endpoint("00000000000000000000000001000000:0050"), "[::1]:80".parse().ok());
        assert_eq!(endpoint("0000000000000000FFFF0000010B007F:1628"), "127.0.11.1:5672".parse().ok());
        assert_eq!(endpoint("01:0050"), None);
        assert_eq!(endpoint("é000000:0050"), None);
    }
}
