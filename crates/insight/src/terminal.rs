//! Words from records, fit for a terminal.

use std::fmt::Write as _;

/// The text on one line, without what would move the cursor, colour the screen or turn the writing around: such
/// characters are shown as escapes. What a caller named, an upstream wrote or a stranger's ledger holds stays a value,
/// and cannot draw a verdict of its own.
pub fn plain(text: &str) -> String {
    if !text.contains(moves) {
        return text.to_owned();
    }
    text.chars().fold(String::new(), |mut shown, letter| {
        if moves(letter) {
            shown.extend(letter.escape_unicode());
        } else {
            shown.push(letter);
        }
        shown
    })
}

/// The same for text that is already JSON: the escapes are JSON's own, so it reads back as it was.
pub fn plain_json(text: &str) -> String {
    text.chars().fold(String::new(), |mut shown, letter| {
        // Outside of strings only line feeds stand, which lay it out; inside they are escaped already.
        if letter != '\n' && moves(letter) {
            let _ = write!(shown, "\\u{:04x}", u32::from(letter));
        } else {
            shown.push(letter);
        }
        shown
    })
}

/// Control characters, separators of lines, and Unicode's marks of writing direction: all below U+10000.
fn moves(letter: char) -> bool {
    letter.is_control()
        || matches!(letter, '\u{061C}' | '\u{200E}' | '\u{200F}' | '\u{2028}'..='\u{202E}' | '\u{2066}'..='\u{2069}')
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    #[test]
    fn nothing_that_moves_the_cursor_is_left_and_words_stay() {
        assert_eq!(plain("a → b “ü”"), "a → b “ü”");
        assert_eq!(plain("T\u{1b}[2J\n\u{9b}1m\u{202e}x"), "T\\u{1b}[2J\\u{a}\\u{9b}1m\\u{202e}x");
        let value = json!({"a\u{7f}": "\u{9b}2J\u{2066}\n", "b": [1]});
        let shown = plain_json(&serde_json::to_string_pretty(&value).unwrap());
        assert!(!shown.contains(|c: char| c != '\n' && moves(c)), "{shown}");
        assert_eq!(serde_json::from_str::<Value>(&shown).unwrap(), value);
    }
}
