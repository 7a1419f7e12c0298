//! Looking for personal words in records.

/// Whether a text has this word by itself. Letters that happen to stand inside a digest, a key or an id are not the word, so
/// that a test for its absence cannot fail by chance.
pub fn mentions(text: &str, word: &str) -> bool {
    let part = |letter: char| letter.is_alphanumeric() || matches!(letter, '-' | '_');
    text.match_indices(word).any(|(at, _)| {
        let (before, after) = (text.get(..at).unwrap_or_default(), text.get(at + word.len()..).unwrap_or_default());
        !before.ends_with(part) && !after.starts_with(part)
    })
}

#[cfg(test)]
mod tests {
    use super::mentions;

    #[test]
    fn a_word_inside_a_digest_is_not_that_word() {
        assert!(mentions("ticket T-1: closed", "T-1") && mentions("T-1", "T-1") && mentions("{\"id\":\"T-1\"}", "T-1"));
        assert!(!mentions("jkt: aT-1b", "T-1") && !mentions("T-17", "T-1") && !mentions("_T-1", "T-1") && !mentions("", "T-1"));
    }
}
