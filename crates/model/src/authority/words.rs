//! Plain words for lists, pointers and texts, shared by refusals and consent pages.

/// Most entries of a list that a refusal shows.
const SHOWN: usize = 8;
/// Most characters of one text that a refusal shows.
const TEXT: usize = 64;

/// How much a sentence shows. A consent page leaves nothing out; a refusal has to stay short.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Extent {
    Whole,
    Short,
}

impl Extent {
    /// `a`, `b` and `c`; shortened, `a`, … and 3 more.
    pub(crate) fn list(self, items: impl IntoIterator<Item = String>, last: &str) -> String {
        let mut items: Vec<String> = items.into_iter().collect();
        if self == Self::Short && items.len() > SHOWN {
            let more = items.len() - SHOWN;
            items.truncate(SHOWN);
            return format!("{} {last} {more} more", items.join(", "));
        }
        match items.pop() {
            Some(end) if !items.is_empty() => format!("{} {last} {end}", items.join(", ")),
            end => end.unwrap_or_else(|| "nothing".to_owned()),
        }
    }

    /// The text between backquotes, with anything unprintable, and the backquote itself, escaped.
    pub(crate) fn quote(self, text: &str) -> String {
        let most = if self == Self::Short { TEXT } else { usize::MAX };
        let mut shown = String::from("`");
        for c in text.chars().take(most) {
            if c == '`' { shown.push_str("\\`") } else { shown.extend(c.escape_debug()) }
        }
        if text.chars().nth(most).is_some() {
            shown.push('…');
        }
        shown.push('`');
        shown
    }

    pub(crate) fn quote_all<'t>(self, texts: impl IntoIterator<Item = &'t String>, last: &str) -> String {
        self.list(texts.into_iter().map(|text| self.quote(text)), last)
    }

    /// An argument's name as a person says it: `amount` for `/amount`, the pointer when it goes deeper.
    pub(crate) fn argument(self, pointer: &str) -> String {
        match pointer.strip_prefix('/') {
            Some(name) if !name.contains(['/', '~']) => self.quote(name),
            _ => self.quote(pointer),
        }
    }
}

/// `1 call`, `2 calls`.
pub(crate) fn count(number: u64, noun: &str) -> String {
    if number == 1 { format!("1 {noun}") } else { format!("{number} {noun}s") }
}
