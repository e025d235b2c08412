//! Lines on standard output and standard error, each written whole by one system call.

use core::fmt::{self, Write};

use crate::sys::file;

/// Bytes of one line; what is longer is cut, never split.
const LIMIT: usize = 1024;

pub struct Line {
    bytes: [u8; LIMIT],
    length: usize,
}

impl Line {
    pub const fn new() -> Self {
        Self { bytes: [0; LIMIT], length: 0 }
    }

    /// Writes the line to a standard descriptor. A full or closed log is nobody's fault here.
    pub fn send(&mut self, fd: &file::Fd) {
        let end = self.length.min(LIMIT - 1);
        if let Some(byte) = self.bytes.get_mut(end) {
            *byte = b'\n';
        }
        let _ = file::write(fd, self.bytes.get(..=end).unwrap_or_default());
    }
}

impl Write for Line {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        let room = self.bytes.get_mut(self.length..LIMIT - 1).unwrap_or_default();
        let count = text.len().min(room.len());
        if let (Some(room), Some(text)) = (room.get_mut(..count), text.as_bytes().get(..count)) {
            room.copy_from_slice(text);
        }
        self.length += count;
        Ok(())
    }
}

/// One line for a person, on standard error.
#[macro_export]
macro_rules! say {
    ($($argument:tt)*) => {{
        let mut line = $crate::text::Line::new();
        let _ = core::fmt::Write::write_str(&mut line, "mastic-init: ");
        let _ = core::fmt::Write::write_fmt(&mut line, format_args!($($argument)*));
        line.send(&$crate::sys::file::STDERR);
    }};
}

/// Bytes from the command line or a file, as far as they are text.
pub struct Lossy<'a>(pub &'a [u8]);

impl fmt::Display for Lossy<'_> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        for chunk in self.0.utf8_chunks() {
            out.write_str(chunk.valid())?;
            if !chunk.invalid().is_empty() {
                out.write_char('\u{fffd}')?;
            }
        }
        Ok(())
    }
}

/// Milliseconds from `5`, `2.5`, `500ms`, `10s`, `5m`, `2h` or `1d`.
pub fn parse_duration(text: &str) -> Option<u64> {
    let split = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let (number, unit) = text.split_at_checked(split)?;
    let scale: u64 = match unit {
        "ms" => 1,
        "" | "s" => 1_000,
        "m" => 60_000,
        "h" => 3_600_000,
        "d" => 86_400_000,
        _ => return None,
    };
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    let mut value = whole.parse::<u64>().ok()?.checked_mul(scale)?;
    let mut weight = scale;
    for digit in fraction.chars() {
        weight /= 10;
        value = value.checked_add(u64::from(digit.to_digit(10)?) * weight)?;
    }
    Some(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_read_with_units_and_fractions() {
        for (text, milliseconds) in [
            ("5", 5_000),
            ("0", 0),
            ("2.5", 2_500),
            ("500ms", 500),
            ("10s", 10_000),
            ("5m", 300_000),
            ("1.5h", 5_400_000),
            ("1d", 86_400_000),
            ("0.05", 50),
        ] {
            assert_eq!(parse_duration(text), Some(milliseconds), "{text}");
        }
        for text in ["", "s", "-1", "5x", "1.2.3", ".5", "5 s", "99999999999999999999"] {
            assert_eq!(parse_duration(text), None, "{text}");
        }
    }

    #[test]
    fn long_lines_are_cut_and_broken_text_is_marked() {
        let mut line = Line::new();
        let long = "x".repeat(3 * LIMIT);
        assert!(line.write_str(&long).is_ok());
        assert_eq!(line.length, LIMIT - 1);
        assert_eq!(format!("{}", Lossy(b"a\xffb")), "a\u{fffd}b");
    }
}
