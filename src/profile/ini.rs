//! INI files as oslo.config reads them: read with positions, merged, written back.
//!
//! The rules are those of `oslo_config.iniparser`: `key = value` or `key: value`, whichever separator comes first; a line that
//! begins with white space continues the value above it; `#` and `;` begin a comment line; a key that is repeated is a list.
//! A word alone is accepted too, as MariaDB writes its switches. Keys that differ only in `-` and `_` are one.

use std::collections::BTreeSet;

/// One line, or one option with the lines that continue it.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Item {
    /// A comment or an empty line.
    Other(String),
    /// An option: its folded key, its lines as written, and the line it begins on.
    Option { key: String, lines: Vec<String>, at: usize },
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Section {
    name: String,
    items: Vec<Item>,
}

/// An INI file.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Ini {
    /// What stands before the first section: comments and empty lines.
    head: Vec<String>,
    sections: Vec<Section>,
}

/// Why a text is not INI.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct IniError {
    /// Line, from 1.
    pub line: usize,
    /// What is wrong.
    pub message: String,
    /// What to do.
    pub help: &'static str,
}

/// One option as an override gives it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OptionLine {
    /// Section.
    pub section: String,
    /// Key, with `_` for `-`.
    pub key: String,
    /// Value; continuation lines are joined by line ends.
    pub value: String,
    /// Line, from 1.
    pub line: usize,
}

impl Ini {
    /// Reads a text; all mistakes at once.
    pub fn parse(text: &str) -> Result<Self, Vec<IniError>> {
        let mut ini = Self::default();
        let mut errors = Vec::new();
        // Whether the line above is an option that may go on.
        let mut open = false;
        for (index, line) in text.lines().enumerate() {
            let at = index + 1;
            let line = line.trim_end();
            let mut wrong = |message: String, help| errors.push(IniError { line: at, message, help });
            if line.starts_with([' ', '\t']) && !line.is_empty() {
                match ini.sections.last_mut().and_then(|section| section.items.last_mut()) {
                    Some(Item::Option { lines, .. }) if open => lines.push(line.to_owned()),
                    Some(_) | None => wrong(
                        "an indented line continues the value above it, and there is none".to_owned(),
                        "options begin in the first column",
                    ),
                }
                continue;
            }
            open = false;
            if line.is_empty() || line.starts_with(['#', ';']) {
                match ini.sections.last_mut() {
                    Some(section) => section.items.push(Item::Other(line.to_owned())),
                    None => ini.head.push(line.to_owned()),
                }
            } else if let Some(rest) = line.strip_prefix('[') {
                match rest.strip_suffix(']') {
                    Some("") => wrong("the section has no name".to_owned(), "for example [DEFAULT]"),
                    Some(name) => ini.sections.push(Section { name: name.to_owned(), items: Vec::new() }),
                    None => wrong(
                        "the section has no `]`".to_owned(),
                        "for example [DEFAULT], and nothing behind it",
                    ),
                }
            } else {
                let (key, _) = split(line);
                if key.is_empty() {
                    wrong("there is no key before the separator".to_owned(), "key = value");
                } else if key.contains(char::is_whitespace) && !line.contains(['=', ':']) {
                    wrong("this is neither a section, an option nor a comment".to_owned(), "key = value");
                } else if let Some(section) = ini.sections.last_mut() {
                    section.items.push(Item::Option { key: fold(key), lines: vec![line.to_owned()], at });
                    open = true;
                } else {
                    wrong(
                        format!("the option `{key}` stands before any section"),
                        "put [DEFAULT] (or another section) above it",
                    );
                }
            }
        }
        if errors.is_empty() { Ok(ini) } else { Err(errors) }
    }

    /// Returns this file with the options of `over`: a key that `over` gives replaces all lines of that key, in the place of
    /// the first; new keys come at the end of their section, new sections at the end of the file. Comments stay.
    #[must_use]
    pub fn merge(mut self, over: &Self) -> Self {
        let mut done = BTreeSet::new();
        for section in &over.sections {
            for item in &section.items {
                let Item::Option { key, .. } = item else { continue };
                if done.insert((section.name.clone(), key.clone())) {
                    self.replace(&section.name, key, over.all(&section.name, key));
                }
            }
        }
        self
    }

    fn all(&self, section: &str, key: &str) -> Vec<Item> {
        self.sections
            .iter()
            .filter(|s| s.name == section)
            .flat_map(|s| &s.items)
            .filter(|item| matches!(item, Item::Option { key: k, .. } if k == key))
            .cloned()
            .collect()
    }

    fn replace(&mut self, section: &str, key: &str, with: Vec<Item>) {
        let is_key = |item: &Item| matches!(item, Item::Option { key: k, .. } if k == key);
        let mut with = Some(with);
        for part in self.sections.iter_mut().filter(|part| part.name == section) {
            if let Some(first) = part.items.iter().position(is_key) {
                part.items.retain(|item| !is_key(item));
                if let Some(with) = with.take() {
                    part.items.splice(first..first, with);
                }
            }
        }
        let Some(with) = with else { return };
        if let Some(part) = self.sections.iter_mut().find(|part| part.name == section) {
            // After the last option, before the empty lines that set the next section off.
            let end = part
                .items
                .iter()
                .rposition(|item| !matches!(item, Item::Other(text) if text.is_empty()))
                .map_or(0, |last| last + 1);
            part.items.splice(end..end, with);
            return;
        }
        let blank = || Item::Other(String::new());
        match self.sections.last_mut() {
            Some(last) if last.items.last() != Some(&blank()) => last.items.push(blank()),
            Some(_) | None => {}
        }
        self.sections.push(Section { name: section.to_owned(), items: with });
    }

    /// Returns all options in order.
    pub fn options(&self) -> Vec<OptionLine> {
        self.sections
            .iter()
            .flat_map(|section| {
                section.items.iter().filter_map(|item| match item {
                    Item::Option { key, lines, at } => {
                        let first = lines.first().map(|line| split(line).1).unwrap_or_default();
                        let rest = lines.iter().skip(1).map(|line| line.trim());
                        let value = std::iter::once(first).chain(rest).collect::<Vec<_>>().join("\n");
                        Some(OptionLine { section: section.name.clone(), key: key.clone(), value, line: *at })
                    }
                    Item::Other(_) => None,
                })
            })
            .collect()
    }
}

impl std::fmt::Display for Ini {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        for line in &self.head {
            writeln!(f, "{line}")?;
        }
        for section in &self.sections {
            writeln!(f, "[{}]", section.name)?;
            for item in &section.items {
                match item {
                    Item::Other(line) => writeln!(f, "{line}")?,
                    Item::Option { lines, .. } => lines.iter().try_for_each(|line| writeln!(f, "{line}"))?,
                }
            }
        }
        Ok(())
    }
}

/// Returns key and value of an option's first line.
pub(super) fn split(line: &str) -> (&str, &str) {
    match line.find(['=', ':']) {
        Some(at) => (line[..at].trim(), line[at + 1..].trim()),
        None => (line.trim(), ""),
    }
}

pub(super) fn fold(key: &str) -> String {
    key.replace('-', "_")
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn merged(base: &str, over: &str) -> String {
        Ini::parse(base).unwrap().merge(&Ini::parse(over).unwrap()).to_string()
    }

    #[test]
    fn options_must_be_merged_as_oslo_config_reads_them() {
        let base = "# head\n[DEFAULT]\n# why\ndebug = false\ntransport_url = rabbit://a,\n  rabbit://b\nfilter = one\nfilter = two\n\n[database]\nconnection: x\n";
        let over = "[database]\nmax-retries = 3\nconnection=y\n[DEFAULT]\nfilter = three\nfilter = four\ndebug: true\n[new]\nkey = v\n";
        insta::assert_snapshot!(merged(base, over), @r"
        # head
        [DEFAULT]
        # why
        debug: true
        transport_url = rabbit://a,
          rabbit://b
        filter = three
        filter = four

        [database]
        connection=y
        max-retries = 3

        [new]
        key = v
        ");
    }

    #[test]
    fn every_mistake_must_be_reported_with_its_line() {
        let errors =
            Ini::parse("a = 1\n[x\n[]\n  lost\n[s]\n= v\nsome words\nskip_name_resolve\n").unwrap_err();
        let shown: Vec<String> = errors.iter().map(|e| format!("{} {e}", e.line)).collect();
        insta::assert_snapshot!(shown.join("\n"), @r"
        1 the option `a` stands before any section
        2 the section has no `]`
        3 the section has no name
        4 an indented line continues the value above it, and there is none
        6 there is no key before the separator
        7 this is neither a section, an option nor a comment
        ");
    }

    fn text() -> impl Strategy<Value = String> {
        let line = prop_oneof![
            Just(String::new()),
            Just("# note".to_owned()),
            "[abc-]{1,2} ?[=:] ?[a-z0-9]{0,3}",
            "[ab]{1,2} = x\n  more",
            "\\[[xyD]\\]",
        ];
        prop::collection::vec(line, 0..20).prop_map(|lines| format!("[D]\n{}\n", lines.join("\n")))
    }

    proptest! {
        #[test]
        fn merging_twice_must_be_merging_once(base in text(), over in text()) {
            let (base, over) = (Ini::parse(&base).unwrap(), Ini::parse(&over).unwrap());
            let once = base.merge(&over);
            prop_assert_eq!(once.clone().merge(&over).to_string(), once.to_string());
            prop_assert_eq!(Ini::parse(&once.to_string()).unwrap().to_string(), once.to_string());
        }

        #[test]
        fn the_override_must_win_and_nothing_else_may_change(base in text(), over in text()) {
            let (base, over) = (Ini::parse(&base).unwrap(), Ini::parse(&over).unwrap());
            let merged = base.clone().merge(&over).options();
            let pick = |list: &[OptionLine], s: &str, k: &str| -> Vec<String> {
                list.iter().filter(|o| o.section == s && o.key == k).map(|o| o.value.clone()).collect()
            };
            let given: BTreeSet<(String, String)> = over.options().into_iter().map(|o| (o.section, o.key)).collect();
            for o in over.options().iter().chain(&base.options()) {
                let from = if given.contains(&(o.section.clone(), o.key.clone())) { over.options() } else { base.options() };
                prop_assert_eq!(pick(&merged, &o.section, &o.key), pick(&from, &o.section, &o.key));
            }
        }

        #[test]
        fn no_text_may_panic(text in "\\PC*") {
            let _ = Ini::parse(&text).map(|ini| ini.clone().merge(&ini).to_string());
        }
    }
}
