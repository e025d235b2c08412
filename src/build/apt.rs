//! Where a Debian host gets its packages from, read as apt reads it and turned to the suite of the images.
//!
//! A host of an older suite names mirrors that carry the newer one as well: the mirrors are taken over, the suite is
//! exchanged. Third parties' sources stay behind: images are made of Debian alone.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

/// The keyring's path in every Debian image.
pub const KEYRING: &str = "/usr/share/keyrings/debian-archive-keyring.gpg";

/// Names that stand for a suite by its age.
const ALIASES: [&str; 4] = ["stable", "oldstable", "oldoldstable", "testing"];

/// Suites without updates, which are theirs already.
const ROLLING: [&str; 3] = ["sid", "unstable", "experimental"];

/// Settings of apt that say how to reach mirrors and nothing about the host itself.
const SETTINGS: [&str; 16] = [
    "acquire::http::proxy",
    "acquire::https::proxy",
    "acquire::http::timeout",
    "acquire::https::timeout",
    "acquire::http::no-cache",
    "acquire::http::pipeline-depth",
    "acquire::http::user-agent",
    "acquire::https::verify-peer",
    "acquire::https::verify-host",
    "acquire::check-valid-until",
    "acquire::check-date",
    "acquire::max-futuretime",
    "acquire::retries",
    "acquire::forceipv4",
    "acquire::forceipv6",
    "acquire::queue-mode",
];

/// One source as the host has it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Source {
    /// Addresses.
    pub uris: Vec<String>,
    /// Suites.
    pub suites: Vec<String>,
    /// Components.
    pub components: Vec<String>,
    /// A path, a fingerprint, or a whole key.
    pub signed_by: Option<String>,
    /// `Trusted`, `Check-Valid-Until` and the like.
    pub options: BTreeMap<String, String>,
}

/// Reads the modern form: stanzas of fields.
pub fn parse_deb822(text: &str) -> Vec<Source> {
    let mut sources = Vec::new();
    let mut fields: BTreeMap<String, String> = BTreeMap::new();
    let mut last = String::new();
    for line in text.lines().chain([""]) {
        if line.starts_with('#') {
            continue;
        }
        if line.trim().is_empty() {
            sources.extend(stanza(&std::mem::take(&mut fields)));
        } else if line.starts_with([' ', '\t']) {
            if let Some(value) = fields.get_mut(&last) {
                let _ = write!(value, "\n{}", line.trim_end());
            }
        } else if let Some((key, value)) = line.split_once(':') {
            last = key.trim().to_ascii_lowercase();
            fields.insert(last.clone(), value.trim().to_owned());
        }
    }
    sources
}

fn stanza(fields: &BTreeMap<String, String>) -> Option<Source> {
    let list = |key: &str| -> Vec<String> {
        fields.get(key).map(|value| value.split_whitespace().map(str::to_owned).collect()).unwrap_or_default()
    };
    let enabled = fields.get("enabled").is_none_or(|value| !matches!(value.as_str(), "no" | "false" | "0"));
    let binary = list("types").iter().any(|kind| kind == "deb");
    if !enabled || !binary {
        return None;
    }
    let options = ["trusted", "check-valid-until", "check-date", "allow-insecure"];
    Some(Source {
        uris: list("uris"),
        suites: list("suites"),
        components: list("components"),
        signed_by: fields.get("signed-by").cloned(),
        options: options
            .iter()
            .filter_map(|key| Some(((*key).to_owned(), fields.get(*key)?.clone())))
            .collect(),
    })
}

/// Reads the old form: one line a source.
pub fn parse_one_line(text: &str) -> Vec<Source> {
    text.lines().filter_map(one_line).collect()
}

fn one_line(line: &str) -> Option<Source> {
    let line = line.split('#').next().unwrap_or_default().trim();
    let rest = line.strip_prefix("deb").filter(|rest| rest.starts_with([' ', '\t']))?.trim_start();
    let mut source = Source::default();
    let rest = match rest.strip_prefix('[').and_then(|inner| inner.split_once(']')) {
        Some((options, rest)) => {
            for (key, value) in options.split_whitespace().filter_map(|option| option.split_once('=')) {
                match key.trim_end_matches(['+', '-']) {
                    "signed-by" => source.signed_by = Some(value.to_owned()),
                    key @ ("trusted" | "check-valid-until" | "check-date" | "allow-insecure") => {
                        source.options.insert(key.to_owned(), value.to_owned());
                    }
                    // Architectures, languages and the like do not concern images.
                    _ => {}
                }
            }
            rest
        }
        None => rest,
    };
    let mut words = rest.split_whitespace().map(str::to_owned);
    source.uris.extend(words.next());
    source.suites.extend(words.next());
    source.components.extend(words);
    (!source.components.is_empty()).then_some(source)
}

/// Turns a host's sources to `suite`. `codename` is the host's own suite.
pub fn derive(sources: &[Source], codename: &str, suite: &str) -> Vec<Source> {
    let mut derived: Vec<Source> = Vec::new();
    let candidates: Vec<&Source> = sources.iter().filter(|source| is_debian(source)).collect();
    // A source with Debian's keys is Debian's; one with another key may be a mirror that signs anew, or a stranger.
    let own: Vec<&Source> = candidates.iter().filter(|source| has_debian_key(source)).copied().collect();
    for source in if own.is_empty() { candidates } else { own } {
        let suites: Vec<String> =
            unique(source.suites.iter().filter_map(|known| turn(known, codename, suite)));
        let uris: Vec<String> = unique(source.uris.iter().filter(|uri| is_remote(uri)).cloned());
        if suites.is_empty() || uris.is_empty() {
            continue;
        }
        let turned = Source { uris, suites, components: vec!["main".to_owned()], ..source.clone() };
        if !derived.contains(&turned) {
            derived.push(turned);
        }
    }
    derived
}

fn unique(values: impl Iterator<Item = String>) -> Vec<String> {
    let mut seen = BTreeSet::new();
    values.filter(|value| seen.insert(value.clone())).collect()
}

fn is_debian(source: &Source) -> bool {
    let path = |uri: &String| {
        uri.split('/')
            .any(|part| matches!(part, "debian" | "debian-security" | "debian-archive" | "debian-all"))
    };
    source.components.iter().any(|component| component == "main")
        && (has_debian_key(source) && source.signed_by.is_some() || source.uris.iter().any(path))
}

fn has_debian_key(source: &Source) -> bool {
    source.signed_by.as_deref().is_none_or(|key| key.contains("debian-archive"))
}

/// Files of the host are not there in a build, and a disc is not there at all.
fn is_remote(uri: &str) -> bool {
    ["http://", "https://", "mirror+http://", "mirror+https://"].iter().any(|scheme| uri.starts_with(scheme))
}

/// Returns the name in `suite` of a host's suite, its updates or its security updates; others have none.
fn turn(known: &str, codename: &str, suite: &str) -> Option<String> {
    let known = known.trim_end_matches('/');
    let of = |name: &str| -> Option<&str> {
        let rest = known.strip_prefix(name)?;
        (rest.is_empty() || rest.starts_with(['-', '/'])).then_some(rest)
    };
    let rest = of(codename).or_else(|| ALIASES.iter().find_map(|alias| of(alias)))?;
    match rest {
        "" => Some(suite.to_owned()),
        // What rolls is its own update.
        _ if ROLLING.contains(&suite) => None,
        "-updates" => Some(format!("{suite}-updates")),
        "-security" | "/updates" => Some(format!("{suite}-security")),
        _ => None,
    }
}

/// Writes sources in the modern form. `keyring` gives the path of a key where the file will be read, or none.
pub fn render(sources: &[Source], keyring: impl Fn(&str) -> Option<String>) -> String {
    let mut text = String::new();
    for (index, source) in sources.iter().enumerate() {
        let Source { uris, suites, components, signed_by, options } = source;
        if index > 0 {
            text.push('\n');
        }
        // Writing to a string cannot fail.
        let _ = write!(
            text,
            "Types: deb\nURIs: {}\nSuites: {}\nComponents: {}\n",
            uris.join(" "),
            suites.join(" "),
            components.join(" ")
        );
        if let Some(key) = signed_by.as_deref().and_then(&keyring) {
            let _ = writeln!(text, "Signed-By: {key}");
        }
        for (key, value) in options {
            let _ = writeln!(text, "{key}: {value}");
        }
    }
    text
}

/// Takes from `apt-config dump` what says how mirrors are reached.
pub fn settings(dump: &str) -> String {
    let mut text = String::new();
    for line in dump.lines() {
        let Some((key, value)) = line.split_once(' ') else { continue };
        let lower = key.to_ascii_lowercase();
        // A proxy may be given for one mirror: `Acquire::http::Proxy::mirror.example`.
        let known = SETTINGS.contains(&lower.as_str())
            || ["acquire::http::proxy::", "acquire::https::proxy::"]
                .iter()
                .any(|start| lower.starts_with(start));
        if known && value != "\"\";" {
            let _ = writeln!(text, "{line}");
        }
    }
    text
}

/// Returns the value of one setting of `apt-config dump`.
pub fn setting<'a>(dump: &'a str, name: &str) -> Option<&'a str> {
    dump.lines().find_map(|line| {
        let (key, value) = line.split_once(' ')?;
        let value = value.strip_prefix('"')?.strip_suffix("\";")?;
        (key.eq_ignore_ascii_case(name) && !value.is_empty()).then_some(value)
    })
}

#[cfg(test)]
#[path = "apt_tests.rs"]
mod tests;
