//! Words that somebody may have meant.

/// Returns the word nearest to `word`, if one is near enough to be meant.
pub fn nearest<'a>(word: &str, words: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let folded = word.to_lowercase().replace('-', "_");
    words
        .into_iter()
        .map(|candidate| {
            let other = candidate.to_lowercase().replace('-', "_");
            (strsim::damerau_levenshtein(&folded, &other), candidate)
        })
        .filter(|(distance, candidate)| {
            *distance <= 1.max(word.chars().count().max(candidate.chars().count()) / 3)
        })
        .min()
        .map(|(_, candidate)| candidate)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_near_word_must_be_suggested() {
        assert_eq!(nearest("servces", ["services", "hosts"]), Some("services"));
        assert_eq!(nearest("rabitmq", ["rabbitmq", "mariadb"]), Some("rabbitmq"));
        assert_eq!(nearest("zebra", ["services", "hosts"]), None);
    }
}
