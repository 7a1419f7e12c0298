//! Displayable text: the one definition of what may appear on a page, in a list or on a terminal, and of a name.
//!
//! Text from outside passes one of two doors. Where it is registered or requested, [`check`] or [`check_name`] refuses
//! what a reader could not see. Where it is shown, [`escape`] makes visible what would hide: text that an upstream, a
//! caller or a foreign ledger wrote stays a value, and cannot draw a line or a verdict of its own.
//!
//! SPEC: the control and line-breaking characters of Unicode, its marks of writing direction (UAX #9) and
//! `Default_Ignorable_Code_Point` (UAX #44). It does not look for letters that resemble others.

use crate::refusal::{Code, Refusal};
use std::{borrow::Cow, fmt::Write as _};

/// Longest name or title that people read, in characters.
pub const NAME_LIMIT: usize = 128;

/// Longest displayable text of one line, in characters: a purpose, the value of a label.
pub const TEXT_LIMIT: usize = 256;

/// Refuses text that a reader could not see as it is: longer than `most` characters or with a hidden one.
///
/// # Errors
/// `request_malformed`; the reason names `what` and, for a hidden character, its code point.
pub fn check(what: &str, text: &str, most: usize) -> Result<(), Refusal> {
    if text.chars().nth(most).is_some() {
        return Err(malformed(format!("{what} is longer than {most} characters")));
    }
    match text.chars().find(|letter| hides(*letter)) {
        Some(letter) => {
            Err(malformed(format!("{what} contains the character U+{:04X}, which cannot be displayed", u32::from(letter))))
        }
        None => Ok(()),
    }
}

/// Refuses a name that people could not read: besides [`check`], an empty one and one with outer spaces.
///
/// # Errors
/// `request_malformed`.
pub fn check_name(what: &str, name: &str) -> Result<(), Refusal> {
    if name.trim() != name || name.is_empty() {
        return Err(malformed(format!("{what} must not be empty, nor begin or end with a space")));
    }
    check(what, name, NAME_LIMIT)
}

/// Whether [`check_name`] accepts the name.
pub fn is_name(name: &str) -> bool {
    check_name("a name", name).is_ok()
}

/// The text on one line, with each hidden character as `\u{…}`.
pub fn escape(text: &str) -> Cow<'_, str> {
    if !text.contains(hides) {
        return Cow::Borrowed(text);
    }
    let mut shown = String::with_capacity(text.len() + 16);
    for letter in text.chars() {
        if hides(letter) { shown.extend(letter.escape_unicode()) } else { shown.push(letter) }
    }
    Cow::Owned(shown)
}

/// As [`escape`], cut after `most` characters and marked with `…` where something is left out.
pub fn excerpt(text: &str, most: usize) -> String {
    match text.char_indices().nth(most) {
        Some((end, _)) => format!("{}…", escape(text.get(..end).unwrap_or_default())),
        None => escape(text).into_owned(),
    }
}

/// JSON text with each hidden character as JSON's own escape, so that it reads back as the same value. Line feeds,
/// which lay the text out, stay.
pub fn escape_json(json: &str) -> Cow<'_, str> {
    let hidden = |letter: char| letter != '\n' && hides(letter);
    if !json.contains(hidden) {
        return Cow::Borrowed(json);
    }
    let mut shown = String::with_capacity(json.len() + 16);
    for letter in json.chars() {
        if hidden(letter) {
            for unit in letter.encode_utf16(&mut [0; 2]) {
                let _ = write!(shown, "\\u{unit:04x}");
            }
        } else {
            shown.push(letter);
        }
    }
    Cow::Owned(shown)
}

/// Whether a reader does not see this character as itself: it moves the cursor, breaks the line, turns the writing
/// around, or takes no room.
pub fn hides(letter: char) -> bool {
    if letter.is_ascii() {
        return letter.is_ascii_control();
    }
    letter.is_control()
        || matches!(letter,
            '\u{ad}' | '\u{34f}' | '\u{61c}' | '\u{115f}'..='\u{1160}' | '\u{17b4}'..='\u{17b5}' | '\u{180b}'..='\u{180f}'
            | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{2800}' | '\u{3164}'
            | '\u{fe00}'..='\u{fe0f}' | '\u{feff}' | '\u{ffa0}' | '\u{fff0}'..='\u{fffb}' | '\u{1bca0}'..='\u{1bca3}'
            | '\u{1d173}'..='\u{1d17a}' | '\u{e0000}'..='\u{e0fff}')
}

fn malformed(reason: String) -> Refusal {
    Refusal::new(Code::RequestMalformed, reason)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::{Value, json};

    /// One of each kind that hides.
    const HIDDEN: [char; 21] = [
        '\0',
        '\t',
        '\n',
        '\r',
        '\u{1b}',
        '\u{7f}',
        '\u{85}',
        '\u{9b}',
        '\u{ad}',
        '\u{61c}',
        '\u{200b}',
        '\u{200d}',
        '\u{200e}',
        '\u{2028}',
        '\u{202e}',
        '\u{2060}',
        '\u{2066}',
        '\u{feff}',
        '\u{fe0f}',
        '\u{e0041}',
        '\u{3164}',
    ];

    #[test]
    fn every_kind_of_hidden_character_is_refused_and_escaped() {
        for letter in HIDDEN {
            let text = format!("a{letter}b");
            let refusal = check("`purpose`", &text, TEXT_LIMIT).unwrap_err();
            assert!(refusal.reason.contains(&format!("U+{:04X}", u32::from(letter))), "{}", refusal.reason);
            assert!(check_name("a title", &text).is_err(), "{letter:?}");
            assert_eq!(escape(&text), format!("a\\u{{{:x}}}b", u32::from(letter)));
        }
        for text in ["a → b “ü”", "Ωμέγα", "日本語", "नमस्ते", "שלום", "a  b", "🙂"] {
            assert!(check("a text", text, TEXT_LIMIT).is_ok() && is_name(text), "{text}");
            assert_eq!(escape(text), text);
        }
    }

    #[test]
    fn texts_and_names_are_bounded_in_characters() {
        for (most, long) in [(NAME_LIMIT, "ü".repeat(NAME_LIMIT)), (TEXT_LIMIT, "日".repeat(TEXT_LIMIT))] {
            assert!(check("it", &long, most).is_ok());
            assert!(check("it", &format!("{long}x"), most).is_err());
        }
        for name in ["", " ", " a", "a ", "\u{a0}a", &"x".repeat(NAME_LIMIT + 1)] {
            assert!(!is_name(name), "{name:?}");
        }
        assert_eq!(excerpt(&"ab\n".repeat(10), 4), "ab\\u{a}a…");
        assert_eq!(excerpt("abcd", 4), "abcd");
    }

    proptest! {
        #[test]
        fn what_is_shown_hides_nothing_and_json_reads_back(text: String, hidden in proptest::sample::select(&HIDDEN[..])) {
            let text = format!("{text}{hidden}");
            prop_assert!(!escape(&text).contains(hides));
            let value = json!({ text.as_str(): [text] });
            let shown = serde_json::to_string_pretty(&value).unwrap();
            let shown = escape_json(&shown);
            prop_assert!(!shown.contains(|letter| letter != '\n' && hides(letter)));
            prop_assert_eq!(serde_json::from_str::<Value>(&shown).unwrap(), value);
        }
    }
}
