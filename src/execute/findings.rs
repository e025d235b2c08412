//! What a look at config files has found, with the lines where it was written. Pure.
//!
//! The program in the container knows the rendered file only. It says one line an option, `CONTAINER PATH [SECTION] KEY: WHY`;
//! here each gets the override or template that gave it, and is said once, however many containers share it.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use crate::model::ContainerName;

/// Options that are listed; a file of another service altogether would give hundreds.
const SHOWN: usize = 40;

/// One line of the program.
#[derive(Debug, PartialEq, Eq)]
struct Finding<'a> {
    container: &'a str,
    path: &'a str,
    section: &'a str,
    key: &'a str,
    why: &'a str,
}

fn parse(line: &str) -> Option<Finding<'_>> {
    let (container, rest) = line.split_once(" /")?;
    let (path, rest) = rest.split_once(" [")?;
    let path = line.get(container.len() + 1..container.len() + 2 + path.len())?;
    let (section, rest) = rest.split_once("] ")?;
    let (key, why) = rest.split_once(": ")?;
    (!container.contains(' ')).then_some(Finding { container, path, section, key, why })
}

/// Returns the message of a look that found something; none when it said nothing of the kind, and failed for another reason.
pub(super) fn told(
    said: &str,
    image: &str,
    place: impl Fn(&ContainerName, &str, (&str, &str)) -> Option<String>,
) -> Option<String> {
    // By place and option: the containers that it reaches.
    let mut found: BTreeMap<(String, &str, &str), (Vec<&str>, &str)> = BTreeMap::new();
    for finding in said.lines().filter_map(parse) {
        let Finding { container, path, section, key, why } = finding;
        let known = ContainerName::new(container).ok().and_then(|c| place(&c, path, (section, key)));
        let at = known.unwrap_or_else(|| format!("{path} of {container}"));
        let entry = found.entry((at, section, key)).or_insert_with(|| (Vec::new(), why));
        if !entry.0.contains(&container) {
            entry.0.push(container);
        }
    }
    if found.is_empty() {
        return None;
    }
    let (count, options) = (found.len(), if found.len() == 1 { "option" } else { "options" });
    let mut text =
        format!("{image} does not take {count} {options} of its config; nothing was stopped or started");
    for ((at, section, key), (containers, why)) in found.iter().take(SHOWN) {
        let _ = write!(text, "\n  {at}: [{section}] {key}: {why} (for {})", containers.join(", "));
    }
    if count > SHOWN {
        let _ = write!(text, "\n  and {} more", count - SHOWN);
    }
    Some(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_option_must_be_told_once_with_the_line_that_gave_it() {
        let said = "note: something else\n\
                    api /etc/a.conf [DEFAULT] debgu: there is no such option; did you mean `debug`?\n\
                    worker /etc/a.conf [DEFAULT] debgu: there is no such option; did you mean `debug`?\n\
                    api /etc/a.conf [x y] z: there is no section [x y]\n";
        let place = |_: &ContainerName, path: &str, (_, key): (&str, &str)| {
            (path == "/etc/a.conf" && key == "debgu").then(|| "overrides/a.conf:3".to_owned())
        };
        insta::assert_snapshot!(told(said, "mastic/api:1", place).unwrap(), @r"
        mastic/api:1 does not take 2 options of its config; nothing was stopped or started
          /etc/a.conf of api: [x y] z: there is no section [x y] (for api)
          overrides/a.conf:3: [DEFAULT] debgu: there is no such option; did you mean `debug`? (for api, worker)
        ");
    }

    #[test]
    fn another_failure_must_be_left_to_its_own_words() {
        let said = "Traceback (most recent call last):\n  File \"x\", line 1\nKeyError: 'a'\n";
        assert_eq!(told(said, "i", |_, _, _| None), None);
    }
}
