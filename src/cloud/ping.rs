//! Pings: whether a server answers, whatever runs in it.

use std::io::IoSliceMut;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::os::fd::{AsRawFd as _, OwnedFd};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::sys::socket::{
    AddressFamily, MsgFlags, SockFlag, SockProtocol, SockType, SockaddrIn, recvmsg, sendto, setsockopt,
    socket, sockopt,
};
use nix::sys::time::{TimeVal, TimeValLike as _};

/// Sends one echo request and waits for its answer, as long as `patience`. Nothing came: nothing is returned.
///
/// # Errors
/// The kernel refuses to send it: root may, others only where `net.ipv4.ping_group_range` lets them.
pub fn ping_now(address: Ipv4Addr, patience: Duration) -> Result<Option<Duration>, Errno> {
    let open = |kind| socket(AddressFamily::Inet, kind, SockFlag::SOCK_CLOEXEC, SockProtocol::Icmp);
    // Root may send raw packets; others may ping where the kernel's ping_group_range lets them.
    let fd: OwnedFd = open(SockType::Raw).or_else(|_| open(SockType::Datagram))?;
    setsockopt(&fd, sockopt::ReceiveTimeout, &TimeVal::milliseconds(100))?;
    let nonce: [u8; 4] = rand::random();
    let request = echo_request(nonce);
    let target = SockaddrIn::from(SocketAddrV4::new(address, 0));
    let began = Instant::now();
    match sendto(fd.as_raw_fd(), &request, &target, MsgFlags::empty()) {
        Ok(_) => {}
        // Not now is silence, too.
        Err(Errno::EHOSTUNREACH | Errno::ENETUNREACH | Errno::EHOSTDOWN) => return Ok(None),
        Err(errno) => return Err(errno),
    }
    let mut packet = [0; 256];
    while began.elapsed() < patience {
        let mut parts = [IoSliceMut::new(&mut packet)];
        match recvmsg::<SockaddrIn>(fd.as_raw_fd(), &mut parts, None, MsgFlags::empty())
            .map(|message| message.bytes)
        {
            Ok(length) if packet.get(..length).is_some_and(|packet| is_reply(packet, nonce)) => {
                return Ok(Some(began.elapsed()));
            }
            // Somebody else's ping, or a quarter of a second of nothing.
            Ok(_) | Err(Errno::EAGAIN | Errno::EINTR) => {}
            Err(Errno::EHOSTUNREACH | Errno::ENETUNREACH | Errno::EHOSTDOWN) => return Ok(None),
            Err(errno) => return Err(errno),
        }
    }
    Ok(None)
}

/// An ICMP echo request with eight bytes of content, of which the first four tell it from others (RFC 792).
fn echo_request(nonce: [u8; 4]) -> [u8; 16] {
    let mut packet = [0; 16];
    packet[0] = 8;
    packet[4..6].copy_from_slice(&nonce[..2]);
    packet[7] = 1;
    packet[8..12].copy_from_slice(&nonce);
    let sum = checksum(&packet);
    packet[2..4].copy_from_slice(&sum.to_be_bytes());
    packet
}

/// Raw sockets bring the IP header along, others do not.
fn is_reply(packet: &[u8], nonce: [u8; 4]) -> bool {
    let header = match packet.first() {
        Some(first) if first >> 4 == 4 => usize::from(first & 15) * 4,
        _ => 0,
    };
    let message = packet.get(header..).unwrap_or_default();
    message.first() == Some(&0) && message.get(8..12) == Some(&nonce)
}

/// The Internet's checksum (RFC 1071).
fn checksum(packet: &[u8]) -> u16 {
    let words = packet.chunks(2).map(|pair| u32::from(pair[0]) << 8 | u32::from(*pair.get(1).unwrap_or(&0)));
    let mut sum: u32 = words.sum();
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    // Folded to sixteen bits above.
    !u16::try_from(sum).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_packet_must_be_ours_to_count() {
        let request = echo_request([1, 2, 3, 4]);
        assert_eq!(checksum(&request), 0, "a packet with its checksum in it sums up to nothing");
        assert!(!is_reply(&request, [1, 2, 3, 4]), "our own request comes by, too");
        let mut reply = request;
        reply[0] = 0;
        assert!(is_reply(&reply, [1, 2, 3, 4]) && !is_reply(&reply, [1, 2, 3, 5]));
        let mut raw = vec![0x45; 20];
        raw.extend(reply);
        assert!(is_reply(&raw, [1, 2, 3, 4]));
        assert!(!is_reply(&[], [0; 4]) && !is_reply(&[0x4f], [0; 4]));
    }
}
