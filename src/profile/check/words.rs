//! Words that the kernel, the engine and `mastic-init` fix.

/// Linux capabilities without `CAP_`.
pub(super) const CAPABILITIES: [&str; 41] = [
    "AUDIT_CONTROL",
    "AUDIT_READ",
    "AUDIT_WRITE",
    "BLOCK_SUSPEND",
    "BPF",
    "CHECKPOINT_RESTORE",
    "CHOWN",
    "DAC_OVERRIDE",
    "DAC_READ_SEARCH",
    "FOWNER",
    "FSETID",
    "IPC_LOCK",
    "IPC_OWNER",
    "KILL",
    "LEASE",
    "LINUX_IMMUTABLE",
    "MAC_ADMIN",
    "MAC_OVERRIDE",
    "MKNOD",
    "NET_ADMIN",
    "NET_BIND_SERVICE",
    "NET_BROADCAST",
    "NET_RAW",
    "PERFMON",
    "SETFCAP",
    "SETGID",
    "SETPCAP",
    "SETUID",
    "SYSLOG",
    "SYS_ADMIN",
    "SYS_BOOT",
    "SYS_CHROOT",
    "SYS_MODULE",
    "SYS_NICE",
    "SYS_PACCT",
    "SYS_PTRACE",
    "SYS_RAWIO",
    "SYS_RESOURCE",
    "SYS_TIME",
    "SYS_TTY_CONFIG",
    "WAKE_ALARM",
];

/// Kinds of targets of `mastic-init check`.
pub(super) const TARGETS: [&str; 10] =
    ["http://", "https://", "tcp:", "unix:", "amqp:", "mysql:", "process:", "file:", "fresh:", "connected:"];

/// Says what is wrong with a rendered check target.
pub(in crate::profile) fn target_problem(target: &str) -> Option<String> {
    let address = |rest: &str| {
        let (host, port) = rest.rsplit_once(':')?;
        (!host.is_empty() && port.parse::<u16>().is_ok_and(|port| port > 0)).then_some(())
    };
    let path = |rest: &str| rest.starts_with('/').then_some(());
    let (kind, good) = match target.split_once(':') {
        Some((kind @ ("http" | "https"), rest)) => {
            let good = rest
                .strip_prefix("//")
                .and_then(|rest| rest.split('/').next())
                .filter(|host| !host.is_empty());
            (kind, good.map(drop))
        }
        Some((kind @ ("tcp" | "amqp"), rest)) => (kind, address(rest)),
        Some((kind @ "connected", rest)) => (kind, rest.split(',').try_for_each(address)),
        Some((kind @ "mysql", rest)) => {
            (kind, rest.strip_prefix("unix:").map_or_else(|| address(rest), path))
        }
        Some((kind @ ("unix" | "file"), rest)) => (kind, path(rest)),
        Some((kind @ "fresh", rest)) => {
            let (seconds, rest) = rest.split_once(':').unwrap_or(("", rest));
            (kind, seconds.parse::<u32>().ok().filter(|seconds| *seconds > 0).and_then(|_| path(rest)))
        }
        Some((kind @ "process", rest)) => (kind, (!rest.is_empty()).then_some(())),
        Some(_) | None => return Some("is no kind of check that mastic-init knows".to_owned()),
    };
    good.is_none().then(|| match kind {
        "tcp" | "amqp" => format!("must be `{kind}:HOST:PORT`"),
        "connected" => "must be `connected:HOST:PORT`, or several, with commas between".to_owned(),
        "mysql" => "must be `mysql:HOST:PORT` or `mysql:unix:/path`".to_owned(),
        "unix" | "file" => format!("must be `{kind}:/path`"),
        "fresh" => "must be `fresh:SECONDS:/path`".to_owned(),
        "process" => "must be `process:NAME`".to_owned(),
        kind => format!("must be `{kind}://HOST:PORT/path`"),
    })
}

/// Reads a size: bytes, or with `k`, `m`, `g`.
pub(in crate::profile) fn size(text: &str) -> Option<u64> {
    let text = text.trim();
    let (digits, factor) = match text.char_indices().last()? {
        (at, 'k' | 'K') => (&text[..at], 1 << 10),
        (at, 'm' | 'M') => (&text[..at], 1 << 20),
        (at, 'g' | 'G') => (&text[..at], 1 << 30),
        _ => (text, 1),
    };
    digits.parse::<u64>().ok()?.checked_mul(factor)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn targets_must_be_those_of_mastic_init() {
        for good in [
            "http://h:1/x",
            "https://h",
            "tcp:h:1",
            "unix:/x",
            "mysql:unix:/x",
            "mysql:h:3306",
            "process:x",
            "file:/x",
            "fresh:30:/x",
            "connected:h:5672",
            "connected:h:5672,g:5672",
        ] {
            assert_eq!(target_problem(good), None, "{good}");
        }
        for bad in [
            "",
            "htp://h",
            "tcp:h",
            "tcp:h:0",
            "unix:x",
            "http:/x",
            "process:",
            "file:",
            "fresh:/x",
            "fresh:0:/x",
            "connected:h",
            "connected:h:1,",
        ] {
            assert!(target_problem(bad).is_some(), "{bad}");
        }
    }

    #[test]
    fn sizes_must_be_bytes() {
        assert_eq!(size("1g"), Some(1 << 30));
        assert_eq!(size("512M"), Some(512 << 20));
        assert_eq!(size("17"), Some(17));
        assert_eq!(size("much"), None);
        assert_eq!(size(""), None);
    }
}
