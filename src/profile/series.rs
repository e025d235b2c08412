//! Which OpenStack series the library has, and to which of them an upgrade leads from one.

use std::collections::BTreeSet;

use super::library::{IMAGES, Library};
use super::source::Source;
use super::yaml::{self, Value};

impl Library {
    /// Returns the names of all series: the folders below `images/releases/`.
    pub fn series(&self) -> BTreeSet<&str> {
        self.under(IMAGES)
            .filter_map(|(rest, _)| rest.strip_prefix("releases/")?.split_once('/'))
            .map(|(series, _)| series)
            .filter(|series| series.starts_with("20"))
            .collect()
    }

    /// Returns the series to which one upgrade leads from this one, the oldest first: the next one, and from a SLURP series the
    /// next SLURP series. None where the library has no series at all, and so cannot know.
    pub fn upgrades_from(&self, from: &str) -> Option<Vec<&str>> {
        let all = self.series();
        let here = half_years(from);
        let leads = |to: &&str| match half_years(to).zip(here).map(|(to, here)| to - here) {
            Some(1) => true,
            Some(2) => self.is_slurp(from) && self.is_slurp(to),
            _ => false,
        };
        (!all.is_empty()).then(|| all.into_iter().filter(leads).collect())
    }

    /// Whether a series' `release.yaml` says `slurp: true`.
    fn is_slurp(&self, series: &str) -> bool {
        let path = format!("{IMAGES}releases/{series}/release.yaml");
        let text = self.get(&path).and_then(|file| std::str::from_utf8(&file.bytes).ok());
        let root = text.and_then(|text| yaml::parse(&Source::new(&path, text), &mut Vec::new()));
        root.is_some_and(|root| root.get("slurp").is_some_and(|node| node.value == Value::Bool(true)))
    }
}

/// A series as a number that grows by one with each: two a year.
fn half_years(series: &str) -> Option<i32> {
    let (year, half) = series.split_once('.')?;
    Some(year.parse::<i32>().ok()? * 2 + half.parse::<i32>().ok().filter(|half| (1..=2).contains(half))?)
}

#[cfg(test)]
mod tests {
    use super::Library;

    #[test]
    fn an_upgrade_must_lead_to_the_next_series_and_from_slurp_to_the_next_slurp() {
        let mut library = Library::default();
        assert_eq!(library.upgrades_from("2025.1"), None, "it has no series");
        for (series, slurp) in
            [("2025.1", true), ("2025.2", false), ("2026.1", true), ("2026.2", false), ("2027.1", true)]
        {
            let path = format!("images/releases/{series}/release.yaml");
            library.insert(path, format!("slurp: {slurp}\n"), "here");
        }
        library.insert("images/releases/README.md", "", "here");
        let to = |from| library.upgrades_from(from).expect("it has series");
        assert_eq!(to("2025.1"), ["2025.2", "2026.1"]);
        assert_eq!(to("2025.2"), ["2026.1"]);
        assert_eq!(to("2026.1"), ["2026.2", "2027.1"]);
        assert_eq!(to("2026.2"), ["2027.1"]);
        assert!(to("2027.1").is_empty());
        // Of one that it does not have it knows the next one only.
        assert_eq!(to("2024.2"), ["2025.1"]);
        assert!(to("2024.1").is_empty() && to("zed").is_empty());
    }
}
