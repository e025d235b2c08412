//! Masks secrets in text that leaves Mastic: logs of failed containers, output of programs, errors of others.

use std::borrow::Cow;
use std::collections::BTreeSet;
use std::fmt;

use zeroize::Zeroizing;

use crate::model::Secret;
use crate::model::secret::MASK;

/// A value shorter than this is not masked: masking every `a` would hide the text, not the secret.
const SHORTEST: usize = 4;

/// Knows every secret value, and shows none.
#[derive(Clone, Default)]
pub struct Redactor {
    /// Longest first, so that a secret which contains another is masked whole.
    needles: Vec<Zeroizing<String>>,
}

impl fmt::Debug for Redactor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Redactor").field("needles", &self.needles.len()).finish()
    }
}

impl Redactor {
    /// Learns the values, also as they look inside a URL, a JSON string and base64.
    ///
    /// Certificates are public and stay readable; of a private key every line is masked, since logs come by lines.
    pub fn new<'a>(secrets: impl IntoIterator<Item = &'a Secret>) -> Self {
        let mut needles = BTreeSet::new();
        for secret in secrets {
            for line in secret_lines(secret.expose()) {
                needles.insert(percent_encoded(line));
                needles.insert(json_escaped(line));
                needles.insert(base64_encoded(line));
                needles.insert(line.to_owned());
            }
        }
        let mut needles: Vec<_> =
            needles.into_iter().filter(|n| n.len() >= SHORTEST).map(Zeroizing::new).collect();
        needles.sort_by(|a, b| b.len().cmp(&a.len()).then_with(|| a.cmp(b)));
        Self { needles }
    }

    /// Returns `text` with every known value masked.
    pub fn redact<'a>(&self, text: &'a str) -> Cow<'a, str> {
        let mut text = Cow::Borrowed(text);
        for needle in &self.needles {
            if text.contains(needle.as_str()) {
                text = Cow::Owned(text.replace(needle.as_str(), MASK));
            }
        }
        text
    }

    /// Returns output with every known value masked; what is not UTF-8 is replaced as `String::from_utf8_lossy` does.
    pub fn redact_bytes(&self, bytes: &[u8]) -> String {
        self.redact(&String::from_utf8_lossy(bytes)).into_owned()
    }

    /// Returns whether any known value is in `text`.
    pub fn finds(&self, text: &str) -> bool {
        self.needles.iter().any(|needle| text.contains(needle.as_str()))
    }
}

/// Gathers a stream's chunks into whole lines and masks those: a secret cut by a chunk's end is still found.
#[derive(Debug)]
pub struct RedactLines<'a> {
    redactor: &'a Redactor,
    rest: Zeroizing<Vec<u8>>,
}

impl<'a> RedactLines<'a> {
    /// Starts with nothing.
    pub fn new(redactor: &'a Redactor) -> Self {
        Self { redactor, rest: Zeroizing::new(Vec::new()) }
    }

    /// Takes a chunk, and returns the lines that are whole now, line ends included.
    pub fn feed(&mut self, chunk: &[u8]) -> String {
        self.rest.extend_from_slice(chunk);
        let Some(end) = self.rest.iter().rposition(|byte| *byte == b'\n') else {
            return String::new();
        };
        let text = self.redactor.redact_bytes(&self.rest[..=end]);
        self.rest.drain(..=end);
        text
    }

    /// Returns what came after the last line's end.
    pub fn finish(self) -> String {
        self.redactor.redact_bytes(&self.rest)
    }
}

/// Returns the parts of a value that are secret and can stand in one line.
fn secret_lines(value: &str) -> Vec<&str> {
    if !value.contains("-----BEGIN ") {
        return value.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
    }
    let mut private = false;
    let mut lines = Vec::new();
    for line in value.lines().map(str::trim) {
        if line.starts_with("-----") {
            private = line.starts_with("-----BEGIN ") && line.contains("PRIVATE KEY");
        } else if private && !line.is_empty() {
            lines.push(line);
        }
    }
    lines
}

fn percent_encoded(text: &str) -> String {
    text.bytes()
        .map(|byte| match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => {
                char::from(byte).to_string()
            }
            _ => format!("%{byte:02X}"),
        })
        .collect()
}

fn json_escaped(text: &str) -> String {
    // A string always serializes.
    let quoted = serde_json::to_string(text).unwrap_or_default();
    quoted.trim_start_matches('"').strip_suffix('"').unwrap_or_default().to_owned()
}

fn base64_encoded(text: &str) -> String {
    use base64::Engine as _;
    base64::engine::general_purpose::STANDARD_NO_PAD.encode(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn redactor(values: &[&str]) -> Redactor {
        let secrets: Vec<_> = values.iter().map(|value| Secret::new(*value)).collect();
        Redactor::new(&secrets)
    }

    #[test]
    fn every_occurrence_must_be_masked_in_all_the_spellings_a_log_has() {
        let redactor = redactor(&["pa/ss\"word"]);
        let text = redactor
            .redact("mysql://u:pa%2Fss%22word@h {\"p\": \"pa/ss\\\"word\"} pa/ss\"word cGEvc3Mid29yZA==");
        assert_eq!(text, "mysql://u:********@h {\"p\": \"********\"} ******** ********==");
    }

    #[test]
    fn a_secret_that_contains_another_must_be_masked_whole() {
        assert_eq!(redactor(&["abcd", "abcdefgh"]).redact("x abcdefgh abcd"), "x ******** ********");
    }

    #[test]
    fn a_private_key_must_be_masked_line_by_line_and_a_certificate_stay_readable() {
        let pem = "-----BEGIN CERTIFICATE-----\nMIIBpublic\n-----END CERTIFICATE-----\n-----BEGIN PRIVATE KEY-----\nMIGHsecret\nsecond\n-----END PRIVATE KEY-----\n";
        let redactor = redactor(&[pem]);
        assert_eq!(redactor.redact("MIIBpublic MIGHsecret second"), "MIIBpublic ******** ********");
        assert!(redactor.finds("x second"));
        assert!(!redactor.finds("-----BEGIN PRIVATE KEY-----"));
    }

    #[test]
    fn a_value_of_a_few_letters_must_not_blank_the_text() {
        assert_eq!(redactor(&["abc", ""]).redact("abcabc"), "abcabc");
    }

    #[test]
    fn a_secret_split_over_two_chunks_must_be_masked() {
        let redactor = redactor(&["hunter2hunter2"]);
        let mut lines = RedactLines::new(&redactor);
        assert_eq!(lines.feed(b"one\ntwo hunter2"), "one\n");
        assert_eq!(lines.feed(b"hunter2 three\nend hunter2"), "two ******** three\n");
        assert_eq!(lines.feed(b"hunter2"), "");
        assert_eq!(lines.finish(), "end ********");
    }

    #[test]
    fn its_debug_text_must_not_show_a_value() {
        assert_eq!(format!("{:?}", Redactor::new(&[Secret::new("!")])), "Redactor { needles: 0 }");
    }
}
