//! Hides secrets in text that is shown.

use crate::model::Secret;
use crate::model::secret::MASK;

/// Shorter values are words of ordinary text: masking them would hide nothing and garble everything.
const SHORTEST: usize = 4;

/// Replaces every occurrence of every secret, longer ones first; a secret of several lines is also hidden line by line, as it may
/// be indented.
pub fn mask<'a>(text: &str, secrets: impl IntoIterator<Item = &'a Secret>) -> String {
    let mut needles: Vec<&str> = secrets
        .into_iter()
        .flat_map(|secret| {
            let whole = secret.expose();
            let lines = whole
                .lines()
                .filter(move |_| whole.contains('\n'))
                .map(str::trim)
                .filter(|line| !line.starts_with("-----"));
            std::iter::once(whole).chain(lines)
        })
        .filter(|needle| needle.len() >= SHORTEST)
        .collect();
    needles.sort_by_key(|needle| std::cmp::Reverse(needle.len()));
    needles.dedup();
    needles.iter().fold(text.to_owned(), |text, needle| text.replace(needle, MASK))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_secret_must_remain() {
        let secrets = [
            Secret::new("hunter22"),
            Secret::new("hunter2"),
            Secret::new("-----BEGIN X-----\nQUJD\nREVG\n-----END X-----\n"),
        ];
        let shown = mask("a=hunter22 b=hunter2\n  QUJD\n  REVG\n", &secrets);
        assert_eq!(shown, "a=******** b=********\n  ********\n  ********\n");
    }
}
