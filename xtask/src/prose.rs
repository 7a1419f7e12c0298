//! Words that hide who acts, in comments and pages. A sentence names its subject: a caller, a holder, an auditor.

use std::path::Path;

/// Pronouns in place of a subject, in halves so that this file may be committed too. Identifiers and quoted values may
/// contain them.
const PRONOUNS: [&str; 4] = [concat!("no", "body"), concat!("who", "ever"), concat!("some", "body"), concat!("is", " said")];

/// Each line of a file with a pronoun in its prose, with what to do.
pub(crate) fn pronouns(file: &Path, text: &str) -> Vec<String> {
    let Some(prose) = prose_of(file) else { return Vec::new() };
    let found = text.lines().enumerate().filter_map(|(at, line)| Some((at + 1, pronoun(prose(line))?)));
    found.map(|(number, word)| format!("{}:{number}: `{word}`: name who acts", file.display())).collect()
}

/// How to find the prose in a line of this file: a page is prose, a source has it in comments. `None` for other files.
fn prose_of(file: &Path) -> Option<fn(&str) -> &str> {
    match file.extension()?.to_str()? {
        "md" => Some(whole),
        "rs" | "cedar" => Some(comment),
        _ => None,
    }
}

fn whole(line: &str) -> &str {
    line
}

fn comment(line: &str) -> &str {
    line.split_once("//").map_or("", |(_, comment)| comment)
}

/// The first of [`PRONOUNS`] that is a word of this text, outside backticks and quotes.
fn pronoun(text: &str) -> Option<&'static str> {
    let spoken = text.split(['`', '"']).step_by(2).collect::<Vec<_>>().join(" ").to_lowercase();
    let joined = |letter: Option<char>| letter.is_some_and(|letter| letter.is_alphanumeric() || "_:/".contains(letter));
    let is_word = |word: &str, at: usize| {
        let before = spoken.get(..at).and_then(|text| text.chars().next_back());
        let after = spoken.get(at + word.len()..).and_then(|text| text.chars().next());
        !joined(before) && !joined(after)
    };
    PRONOUNS.into_iter().find(|word| spoken.match_indices(word).any(|(at, _)| is_word(word, at)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(file: &str, text: &str) -> usize {
        pronouns(Path::new(file), text).len()
    }

    #[test]
    fn pronouns_are_found_in_prose_only() {
        let [word, other, ..] = PRONOUNS;
        assert_eq!(found("docs/a.md", &format!("{} reads this.\n\nOpen to {other}.", word.replacen('n', "N", 1))), 2);
        assert_eq!(found("a.rs", &format!("let a = 1; // {other} asks")), 1);
        for fine in [format!("\"agent:{word}\""), format!("agent:{word}"), format!("`{word}`"), format!("{word}_else")] {
            assert_eq!(found("docs/a.md", &fine), 0, "{fine}");
        }
        assert_eq!(found("a.rs", &format!("named(\"{word}\")")), 0, "code is not prose");
        assert_eq!(found("a.json", word), 0);
    }
}
