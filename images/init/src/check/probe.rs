//! The probes: what each kind of target has to answer.

use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

use super::Settings;
use super::connected::connected;
use super::stream::{Failure, Stream, Transport};
use super::target::{Endpoint, HostPort, Target};
use crate::proc;
use crate::sys::file::{self, Dir, Meta};
use crate::sys::{self, process};
use crate::text::Lossy;

/// Bytes of an HTTP answer that are looked at; the rest is nobody's business here.
const ANSWER: usize = 16 * 1024;

/// Tries one target once.
pub fn probe(target: &Target, settings: &Settings, deadline: u64) -> Result<(), Failure> {
    match target {
        Target::Http { tls: false, address, path } => {
            http(&mut Stream::connect(address, deadline)?, address, 80, path, settings)
        }
        Target::Http { tls: true, address, path } => {
            let stream = Stream::connect(address, deadline)?;
            let mut secure = super::tls::Secure::connect(stream, address, settings)?;
            http(&mut secure, address, 443, path, settings)
        }
        Target::Tcp(address) => Stream::connect(address, deadline).map(drop),
        Target::Unix(path) => Stream::connect_unix(path, deadline).map(drop),
        Target::Amqp(address) => amqp(&mut Stream::connect(address, deadline)?),
        Target::Mysql(Endpoint::Tcp(address)) => mysql(&mut Stream::connect(address, deadline)?),
        Target::Mysql(Endpoint::Unix(path)) => mysql(&mut Stream::connect_unix(path, deadline)?),
        Target::Process(name) => running(name),
        Target::File(path) => look(path).map(drop),
        Target::Fresh(seconds, path) => {
            // A time in the future is that of a clock which was set back since: as good as now.
            let age = sys::unix_time().cast_signed().saturating_sub(look(path)?.modified);
            if age <= i64::from(*seconds) {
                Ok(())
            } else {
                Err(Failure::Wrong(format!("written {age} s ago")))
            }
        }
        Target::Connected(peers) => connected(peers),
    }
}

fn look(path: &str) -> Result<Meta, Failure> {
    file::c_string(path.as_bytes())
        .and_then(|path| file::meta(Dir::CURRENT, &path))
        .map_err(|errno| Failure::System("look", errno))
}

fn http(
    stream: &mut impl Transport,
    address: &HostPort,
    default_port: u16,
    path: &str,
    settings: &Settings,
) -> Result<(), Failure> {
    let host = match settings.host {
        Some(host) => String::from(host),
        None => address.authority(default_port),
    };
    stream.write_all(
        format!(
            "GET {path} HTTP/1.1\r\nHost: {host}\r\nUser-Agent: mastic-check\r\nAccept: */*\r\n\
             Connection: close\r\n\r\n"
        )
        .as_bytes(),
    )?;
    let mut answer = Vec::new();
    let mut buffer = [0; 2048];
    // The first line decides; a bad one is worth waiting for the body that explains it.
    loop {
        let ended = match stream.read(&mut buffer) {
            Ok(count) => {
                answer.extend_from_slice(buffer.get(..count).unwrap_or_default());
                count == 0 || answer.len() >= ANSWER
            }
            Err(failure) if status_of(&answer).is_none() => return Err(failure),
            Err(_) => true,
        };
        match status_of(&answer) {
            Some(status) if settings.statuses.contains(status) => return Ok(()),
            Some(status) if ended || body_line(&answer).is_some_and(|(_, whole)| whole) => {
                let line = body_line(&answer).map_or(&b""[..], |(line, _)| line);
                return Err(Failure::Wrong(format!("status {status}: {}", excerpt(line))));
            }
            // Servers of other protocols speak first and then wait; their first bytes tell.
            None if ended || answer.iter().zip(b"HTTP/1.").any(|(came, due)| came != due) => {
                let line = answer.split(|byte| *byte == b'\n').next().unwrap_or_default();
                return Err(Failure::Wrong(format!("not HTTP: {}", excerpt(line))));
            }
            _ => {}
        }
    }
}

/// The code of `HTTP/1.x CODE reason`, once the whole code has come.
fn status_of(answer: &[u8]) -> Option<u16> {
    let rest = answer.strip_prefix(b"HTTP/1.")?.get(1..)?.strip_prefix(b" ")?;
    rest.get(3).filter(|after| !after.is_ascii_digit())?;
    core::str::from_utf8(rest.get(..3)?).ok()?.parse().ok()
}

/// The first line of the body and whether its end has come.
fn body_line(answer: &[u8]) -> Option<(&[u8], bool)> {
    let start = answer.windows(4).position(|window| window == b"\r\n\r\n")? + 4;
    let body = answer.get(start..)?;
    let end = body.iter().position(|byte| *byte == b'\n');
    Some((body.get(..end.unwrap_or(body.len()))?, end.is_some()))
}

/// At most 200 printable bytes of what a peer said.
fn excerpt(bytes: &[u8]) -> String {
    let bytes = bytes.get(..200).unwrap_or(bytes).trim_ascii();
    if bytes.is_empty() {
        return "nothing".into();
    }
    let printable = |c: char| if c.is_control() { '.' } else { c };
    format!("{}", Lossy(bytes)).chars().map(printable).collect()
}

/// Reads exactly what fits in the buffer, or says what came instead.
fn read_exact(stream: &mut Stream, buffer: &mut [u8], what: &str) -> Result<(), Failure> {
    let mut filled = 0;
    while let Some(rest) = buffer.get_mut(filled..)
        && !rest.is_empty()
    {
        let count = stream.read(rest)?;
        if count == 0 {
            let got = buffer.get(..filled).unwrap_or_default();
            return Err(Failure::Wrong(format!("closed before its {what}; sent {}", excerpt(got))));
        }
        filled += count;
    }
    Ok(())
}

/// The server must open with method 10.10, Connection.Start, on channel 0.
fn amqp(stream: &mut Stream) -> Result<(), Failure> {
    stream.write_all(b"AMQP\x00\x00\x09\x01")?;
    let mut frame = [0; 11];
    read_exact(stream, &mut frame, "Connection.Start")?;
    match frame {
        [1, 0, 0, _, _, _, _, 0, 10, 0, 10] => Ok(()),
        [b'A', b'M', b'Q', b'P', ..] => Err(Failure::Wrong("speaks another version of AMQP".into())),
        other => Err(Failure::Wrong(format!("not AMQP: {}", excerpt(&other)))),
    }
}

/// The server's greeting: protocol 10, or an error packet that says why not.
fn mysql(stream: &mut Stream) -> Result<(), Failure> {
    let mut header = [0; 5];
    read_exact(stream, &mut header, "greeting")?;
    let [low, middle, high, _, kind] = header;
    let length = usize::from(low) | usize::from(middle) << 8 | usize::from(high) << 16;
    match kind {
        10 => Ok(()),
        0xff => {
            let mut error = [0; 256];
            let wanted = length.saturating_sub(1).min(error.len());
            let mut filled = 0;
            while filled < wanted
                && let Some(rest) = error.get_mut(filled..wanted)
                && let Ok(count) = stream.read(rest)
                && count > 0
            {
                filled += count;
            }
            let number = u16::from_le_bytes([error[0], error[1]]);
            let text = excerpt(error.get(2..filled).unwrap_or_default());
            Err(Failure::Wrong(format!("error {number}: {text}")))
        }
        other => Err(Failure::Wrong(format!("not MySQL: greeting begins with {other}"))),
    }
}

/// Some process of that name lives.
fn running(name: &str) -> Result<(), Failure> {
    let own = process::own_pid();
    let mut found = false;
    let mut zombie = None;
    let seen = proc::for_each(|process| {
        if process.pid == own || found {
            return;
        }
        // A zombie has no command line, and the kernel keeps 15 bytes of its name.
        if process.zombie {
            if process.comm == name.as_bytes().get(..15).unwrap_or(name.as_bytes()) {
                zombie = Some(process.pid);
            }
        } else if is_named(name.as_bytes(), &process.comm, &proc::command_line(process.pid)) {
            found = true;
        }
    });
    match (found, zombie) {
        (true, _) => Ok(()),
        _ if !seen => Err(Failure::Wrong("/proc cannot be read".into())),
        (false, Some(pid)) => Err(Failure::Wrong(format!("process {pid} is a zombie"))),
        (false, None) => Err(Failure::Wrong("no such process".into())),
    }
}

/// By the kernel's name, the program's, or that of the script it interprets. Titles such as
/// `nova-compute: worker` count by their first word.
fn is_named(name: &[u8], comm: &[u8], command_line: &[u8]) -> bool {
    let mut words = command_line.split(|byte| *byte == 0).map(|word| {
        let title = word.split(|byte| b" :".contains(byte)).next().unwrap_or_default();
        title.rsplit(|byte| *byte == b'/').next().unwrap_or_default()
    });
    let program = words.next().unwrap_or_default();
    let interpreter = [&b"python"[..], b"perl", b"ruby", b"sh", b"bash", b"dash"]
        .iter()
        .any(|known| program.strip_prefix(*known).is_some_and(is_version));
    comm == name || program == name || interpreter && words.next() == Some(name)
}

fn is_version(suffix: &[u8]) -> bool {
    suffix.iter().all(|byte| byte.is_ascii_digit() || *byte == b'.')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_status_is_read_only_when_whole() {
        assert_eq!(status_of(b"HTTP/1.1 200 OK\r\n"), Some(200));
        assert_eq!(status_of(b"HTTP/1.0 503\r\n"), Some(503));
        for partial in [&b"HTTP/1.1 20"[..], b"HTTP/1.1 200", b"", b"HTTP/2 200 ", b"SSH-2.0-x"] {
            assert_eq!(status_of(partial), None);
        }
    }

    #[test]
    fn the_body_starts_after_the_headers() {
        assert_eq!(body_line(b"HTTP/1.1 500 x\r\nA: b\r\n\r\nwhy\nmore"), Some((&b"why"[..], true)));
        assert_eq!(body_line(b"HTTP/1.1 500 x\r\n\r\nwh"), Some((&b"wh"[..], false)));
        assert_eq!(body_line(b"HTTP/1.1 500 x\r\nA: b"), None);
    }

    #[test]
    fn processes_are_known_by_program_script_or_title() {
        for (name, comm, line) in [
            ("sleep", "sleep", "sleep\x005\0"),
            ("haproxy", "x", "/usr/sbin/haproxy\0-W\0"),
            ("nova-conductor", "python3.13", "/v/bin/python3.13\0/v/bin/nova-conductor\0--x\0"),
            ("nova-scheduler", "x", "nova-scheduler: master process [/etc]\0"),
            ("neutron-openvswitch-agent", "x", "/v/bin/python\0/v/bin/neutron-openvswitch-agent\0"),
        ] {
            assert!(is_named(name.as_bytes(), comm.as_bytes(), line.as_bytes()), "{name}");
        }
        assert!(!is_named(b"nova", b"nova-conductor", b"/bin/nova-conductor\0nova\0"));
        assert!(!is_named(b"x.conf", b"cat", b"cat\0x.conf\0"));
    }
}
