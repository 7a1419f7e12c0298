//! Authority in plain words, built from parts: our own words, and values that a client or agent chose.
//!
//! A page shows each value in a box of its own and never has to look for values in a sentence. A terminal or a refusal
//! prints the same parts on one line. The wording is English and not a format: programs read `authorization_details`.

use crate::display;
use std::{
    borrow::Cow,
    fmt::{self, Write as _},
};

/// Most entries of a list that a refusal shows.
const SHOWN: usize = 8;
/// Most characters of one text that a refusal shows.
const TEXT: usize = 64;

/// One piece of a [`Sentence`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Part {
    /// Words of ours.
    Words(Cow<'static, str>),
    /// A value that an agent, a person or an operator chose, to be read to the letter.
    Value(String),
    /// The name of a tool; a page may show the title that people know it by.
    Action(String),
    /// The address of a protected resource; a page may show the title that people know it by.
    Resource(String),
    /// Entries joined by commas, and by `last` before the last one.
    List { entries: Vec<Sentence>, last: &'static str },
}

/// A statement as its parts. `Display` writes all of it on one line, values between backquotes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Sentence(Vec<Part>);

impl Part {
    /// A value's text as a page shows it: hidden characters as `\u{…}`, and every backslash doubled, so that a value cannot
    /// imitate such an escape.
    pub fn shown(value: &str) -> String {
        display::escape(&value.replace('\\', "\\\\")).into_owned()
    }
}

impl Sentence {
    /// The parts of the sentence in order, lists as one part each.
    pub fn parts(&self) -> &[Part] {
        &self.0
    }

    /// The same parts without lists: their entries with our commas and conjunctions between them.
    pub fn flat(&self) -> Vec<Part> {
        let mut flat = Vec::new();
        self.flatten(&mut flat);
        flat
    }

    fn flatten(&self, into: &mut Vec<Part>) {
        for part in &self.0 {
            match part {
                Part::List { entries, last } => {
                    for (at, entry) in entries.iter().enumerate() {
                        match entries.len() - at {
                            _ if at == 0 => {}
                            1 => into.push(Part::Words(format!(" {last} ").into())),
                            _ => into.push(Part::Words(", ".into())),
                        }
                        entry.flatten(into);
                    }
                    if entries.is_empty() {
                        into.push(Part::Words("nothing".into()));
                    }
                }
                other => into.push(other.clone()),
            }
        }
    }

    pub(crate) fn words(words: impl Into<Cow<'static, str>>) -> Self {
        Self(vec![Part::Words(words.into())])
    }

    pub(crate) fn value(value: impl Into<String>) -> Self {
        Self(vec![Part::Value(value.into())])
    }

    pub(crate) fn resource(location: impl Into<String>) -> Self {
        Self(vec![Part::Resource(location.into())])
    }

    pub(crate) fn action(name: impl Into<String>) -> Self {
        Self(vec![Part::Action(name.into())])
    }

    pub(crate) fn list(entries: impl IntoIterator<Item = Self>, last: &'static str) -> Self {
        Self(vec![Part::List { entries: entries.into_iter().collect(), last }])
    }

    pub(crate) fn values<'t>(values: impl IntoIterator<Item = &'t String>, last: &'static str) -> Self {
        Self::list(values.into_iter().map(Self::value), last)
    }

    #[must_use]
    pub(crate) fn and(mut self, more: impl Into<Self>) -> Self {
        self.0.extend(more.into().0);
        self
    }

    /// For a refusal, which has to stay short: long lists and texts are cut, and say so.
    pub(crate) fn short(&self) -> String {
        let mut line = String::new();
        self.write(&mut line, true);
        line
    }

    fn write(&self, line: &mut String, short: bool) {
        for part in &self.0 {
            match part {
                Part::Words(words) => line.push_str(words),
                Part::Value(value) | Part::Action(value) | Part::Resource(value) => line.push_str(&quoted(value, short)),
                Part::List { entries, last } => write_list(entries, last, line, short),
            }
        }
    }
}

impl fmt::Display for Sentence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut line = String::new();
        self.write(&mut line, false);
        f.write_str(&line)
    }
}

impl From<&'static str> for Sentence {
    fn from(words: &'static str) -> Self {
        Self::words(words)
    }
}

impl From<String> for Sentence {
    fn from(words: String) -> Self {
        Self::words(words)
    }
}

/// `a`, `b` and `c`; shortened, `a`, … and 3 more.
fn write_list(entries: &[Sentence], last: &str, line: &mut String, short: bool) {
    let shown = if short && entries.len() > SHOWN { SHOWN } else { entries.len() };
    for (at, entry) in entries.iter().take(shown).enumerate() {
        if at > 0 && at + 1 == entries.len() {
            let _ = write!(line, " {last} ");
        } else if at > 0 {
            line.push_str(", ");
        }
        entry.write(line, short);
    }
    if entries.is_empty() {
        line.push_str("nothing");
    } else if shown < entries.len() {
        let _ = write!(line, " {last} {} more", entries.len() - shown);
    }
}

/// A value between backquotes; hidden characters, backslashes and backquotes in it are escaped.
fn quoted(value: &str, short: bool) -> String {
    let most = if short { TEXT } else { usize::MAX };
    let mut shown = String::from("`");
    for letter in value.chars().take(most) {
        match letter {
            '`' | '\\' => shown.extend(['\\', letter]),
            letter if display::hides(letter) => shown.extend(letter.escape_unicode()),
            letter => shown.push(letter),
        }
    }
    if value.chars().nth(most).is_some() {
        shown.push('…');
    }
    shown.push('`');
    shown
}

/// A value as a refusal shows it.
pub(crate) fn quote(value: &str) -> String {
    quoted(value, true)
}

/// Values as a refusal lists them.
pub(crate) fn quote_all<'t>(values: impl IntoIterator<Item = &'t String>, last: &'static str) -> String {
    Sentence::values(values, last).short()
}

/// An argument's name as a person says it: `amount` for `/amount`, the pointer when it goes deeper.
pub(crate) fn argument(pointer: &str) -> Sentence {
    match pointer.strip_prefix('/') {
        Some(name) if !name.contains(['/', '~']) => Sentence::value(name),
        _ => Sentence::value(pointer),
    }
}

/// `1 call`, `2 calls`.
pub(crate) fn count(number: u64, noun: &str) -> String {
    if number == 1 { format!("1 {noun}") } else { format!("{number} {noun}s") }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Authority;
    use proptest::prelude::*;
    use serde_json::json;

    proptest! {
        /// The marker stands for what an agent writes: it may only come out inside a value.
        #[test]
        fn what_an_agent_writes_is_never_among_our_words(
            before in "[`\\\\\u{202e}\n\"<a-z ]{0,8}", after in "[`\\\\\u{202e}\n\"<a-z ]{0,8}",
        ) {
            let hostile = format!("{before}MARK{after}");
            let pointer = format!("/{}", crate::json::pointer::escape(&hostile));
            let details = json!([{
                "type": "tool_access",
                "arguments": {pointer.as_str(): {"in": [hostile, "b"]}, "/p": {"prefix": hostile}},
                "fields": [pointer],
            }]);
            let authority = Authority::parse(&details).unwrap();
            let sentence = authority.describe().remove(0);
            let mut values = 0;
            for part in sentence.flat() {
                match part {
                    Part::Words(words) => prop_assert!(!words.contains("MARK"), "{}", words),
                    Part::Value(value) => values += usize::from(value.contains("MARK")),
                    Part::Action(_) | Part::Resource(_) | Part::List { .. } => {}
                }
            }
            prop_assert_eq!(values, 4);
            let line = sentence.to_string();
            prop_assert!(!line.contains(display::hides));
            // Every backquote of a value is escaped, so those that are not come in pairs around values.
            let bare = line.replace("\\\\", "").replace("\\`", "").matches('`').count();
            prop_assert_eq!(bare % 2, 0);
        }
    }

    #[test]
    fn a_page_reads_the_parts_as_the_line_reads_them() {
        let list = Sentence::list(["a", "b", "c"].map(Sentence::value), "or");
        assert_eq!(list.to_string(), "`a`, `b` or `c`");
        let flat: String = list.flat().into_iter().fold(String::new(), |line, part| match part {
            Part::Words(words) => line + &words,
            Part::Value(value) => format!("{line}`{value}`"),
            other => format!("{line}{other:?}"),
        });
        assert_eq!(flat, list.to_string());
        assert_eq!(Sentence::list([], "or").to_string(), "nothing");
        assert_eq!(Part::shown("a\\u{202e}\u{202e}"), "a\\\\u{202e}\\u{202e}");
        let many = Sentence::values(&(0..12).map(|n| n.to_string()).collect::<Vec<_>>(), "and");
        assert!(many.short().ends_with("`7` and 4 more") && many.to_string().ends_with("`10` and `11`"));
    }
}
