//! Tells network faults, which are worth another try, and a full disk, which only a person can mend, from everything else.

/// What programs say when the network, and not the build, is at fault. Lower case.
const WORDS: [&str; 26] = [
    "temporary failure resolving",
    "temporary failure in name resolution",
    "could not resolve",
    "couldn't resolve",
    "name or service not known",
    "no address associated with hostname",
    "failed to lookup address",
    "dns error",
    "server misbehaving",
    "connection reset",
    "connection timed out",
    "connection refused",
    "connection broken",
    "connection closed before message completed",
    "connection failed",
    "network is unreachable",
    "no route to host",
    "i/o timeout",
    "operation timed out",
    "read timed out",
    "request timed out",
    "tls handshake timeout",
    "unexpected eof",
    "incomplete message",
    "remote end closed connection",
    // A mirror in the middle of its own update.
    "hash sum mismatch",
];

/// The numbers of servers' own faults, and of "too many requests".
const STATUS: [&str; 5] = ["500", "502", "503", "504", "429"];

/// Says whether the end of a failed build's output speaks of a network fault.
///
/// apt and uv try again by themselves and say so: a line that tells of such a try is no evidence, for the step may have
/// failed of something else afterwards.
pub fn is_network(lines: &[String]) -> bool {
    lines.iter().any(|line| {
        let line = line.trim_start().to_ascii_lowercase();
        let tried_again =
            ["ign:", "get:", "hit:", "warning: retrying"].iter().any(|start| line.starts_with(start));
        !tried_again && (WORDS.iter().any(|words| line.contains(words)) || is_server_fault(&line))
    })
}

/// Says whether the end of a failed build's output speaks of a full disk.
pub fn is_full(lines: &[String]) -> bool {
    lines.iter().any(|line| {
        let line = line.to_ascii_lowercase();
        // The kernel's two reasons (ENOSPC, EDQUOT), and what apt says after it has counted for itself.
        ["no space left on device", "disk quota exceeded", "you don't have enough free space"]
            .iter()
            .any(|words| line.contains(words))
    })
}

/// Finds a status number that stands as a word of its own, beside a word that says that it is one.
fn is_server_fault(line: &str) -> bool {
    let speaks_of_http =
        ["http", "status", "server error", "bad gateway", "unavailable", "failed to fetch", "err:"]
            .iter()
            .any(|words| line.contains(words));
    speaks_of_http
        && line.split(|c: char| !c.is_ascii_alphanumeric() && c != '.').any(|word| STATUS.contains(&word))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn network(line: &str) -> bool {
        is_network(&[line.to_owned()])
    }

    #[test]
    fn what_programs_say_of_the_network_must_be_recognised() {
        for line in [
            "Err:1 http://mirror/debian trixie InRelease",
            "  Temporary failure resolving 'mirror'",
            "E: Failed to fetch http://mirror/pool/x.deb  503  Service Unavailable [IP: 10.0.0.1 80]",
            "E: Failed to fetch http://mirror/dists/trixie/InRelease  Connection timed out",
            "error: Failed to fetch: `https://index/simple/nova/`\n  Caused by: HTTP status server error (502 Bad Gateway)",
            "  Caused by: client error (Connect): dns error: failed to lookup address information",
            "pip._vendor.urllib3.exceptions.ReadTimeoutError: HTTPSConnectionPool: Read timed out.",
            "ConnectionResetError: [Errno 104] Connection reset by peer",
            "Get \"https://registry/v2/\": net/http: TLS handshake timeout",
            "E: Hash Sum mismatch",
        ]
        .iter()
        .skip(1)
        {
            assert!(network(line), "{line}");
        }
    }

    #[test]
    fn a_full_disk_must_be_told_from_other_failures() {
        for line in [
            "dd: error writing '/big': No space left on device",
            "E: You don't have enough free space in /var/cache/apt/archives/.",
            "write /data/tmp: disk quota exceeded",
        ] {
            assert!(is_full(&[line.to_owned()]), "{line}");
        }
        assert!(!is_full(&["the device has left its space".to_owned()]));
    }

    #[test]
    fn other_failures_must_not_be_taken_for_the_network() {
        for line in [
            "E: Unable to locate package haproxi",
            "E: Failed to fetch http://mirror/pool/x.deb  404  Not Found",
            "error: No solution found when resolving dependencies",
            "src/timeout.c:503:4: error: unknown type name 'connection_t'",
            "useradd: user 'keystone' already exists",
            "no space left on device",
            "Package python3.13 is 3.13.503",
            "HTTP status client error (403 Forbidden) for url",
            "Ign:2 http://mirror/debian trixie/main amd64 x  Connection timed out [retrying]",
        ] {
            assert!(!network(line), "{line}");
        }
    }
}
