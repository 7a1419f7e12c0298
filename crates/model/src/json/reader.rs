//! Reads one JSON text token by token, so that a caller can build a value of it or write it on as it goes.
//!
//! SPEC: RFC 8259. It holds the limits on depth and count, borrows what has no escapes, and gives a number as it is written.
//! It keeps no names: who must refuse repeated ones compares them.

use super::limits::{DEPTH_CAP, Limits};
use crate::refusal::{Code, Refusal};
use std::borrow::Cow;

/// What a value begins with; a scalar is read whole.
pub(crate) enum Token<'t> {
    Null,
    Bool(bool),
    /// As it is written.
    Number(&'t str),
    Text(Cow<'t, str>),
    /// Its items follow: [`Reader::item`].
    List,
    /// Its members follow: [`Reader::member`].
    Object,
}

/// What becomes of half a surrogate pair (`"\ud83d"`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum HalfPair {
    Refuse,
    /// It becomes U+FFFD.
    Replace,
}

/// Where in the text the reading is.
pub(crate) struct Reader<'t> {
    text: &'t str,
    at: usize,
    depth: usize,
    members: usize,
    limits: &'t Limits,
    half_pair: HalfPair,
}

impl<'t> Reader<'t> {
    pub(crate) fn new(text: &'t str, limits: &'t Limits, half_pair: HalfPair) -> Self {
        Self { text, at: 0, depth: 0, members: 0, limits, half_pair }
    }

    /// The beginning of the next value. Of a list or an object, the reader expects the inside to be read to its end.
    pub(crate) fn value(&mut self) -> Result<Token<'t>, Refusal> {
        match self.skip_space() {
            Some(b'"') => {
                self.at += 1;
                self.text().map(Token::Text)
            }
            Some(b'{') => self.deeper().map(|()| Token::Object),
            Some(b'[') => self.deeper().map(|()| Token::List),
            Some(b'-' | b'0'..=b'9') => self.number().map(Token::Number),
            Some(b'n') => self.word("null", Token::Null),
            Some(b't') => self.word("true", Token::Bool(true)),
            Some(b'f') => self.word("false", Token::Bool(false)),
            _ => Err(self.malformed("a value is expected")),
        }
    }

    /// Whether a list has one more item, which [`Reader::value`] reads next.
    pub(crate) fn item(&mut self, first: bool) -> Result<bool, Refusal> {
        match (self.skip_space(), first) {
            (Some(b']'), _) => {
                self.at += 1;
                self.depth -= 1;
                return Ok(false);
            }
            (Some(b','), false) => self.at += 1,
            (Some(_), true) => {}
            _ => return Err(self.malformed("`,` or `]` is expected")),
        }
        self.count()?;
        Ok(true)
    }

    /// The name of an object's next member, whose value [`Reader::value`] reads next.
    pub(crate) fn member(&mut self, first: bool) -> Result<Option<Cow<'t, str>>, Refusal> {
        match (self.skip_space(), first) {
            (Some(b'}'), _) => {
                self.at += 1;
                self.depth -= 1;
                return Ok(None);
            }
            (Some(b','), false) => {
                self.at += 1;
                self.skip_space();
            }
            (Some(_), true) => {}
            _ => return Err(self.malformed("`,` or `}` is expected")),
        }
        self.count()?;
        self.take(b'"', "a name in quotes is expected")?;
        let name = self.text()?;
        self.skip_space();
        self.take(b':', "`:` is expected")?;
        Ok(Some(name))
    }

    /// Makes sure that nothing follows.
    pub(crate) fn end(&mut self) -> Result<(), Refusal> {
        match self.skip_space() {
            None => Ok(()),
            Some(_) => Err(self.malformed("something follows the document")),
        }
    }

    fn rest(&self) -> &'t [u8] {
        self.text.as_bytes().get(self.at..).unwrap_or_default()
    }

    /// The next byte that is no white space, without taking it.
    fn skip_space(&mut self) -> Option<u8> {
        loop {
            match self.text.as_bytes().get(self.at) {
                Some(b' ' | b'\n' | b'\t' | b'\r') => self.at += 1,
                other => return other.copied(),
            }
        }
    }

    fn take(&mut self, byte: u8, missing: &str) -> Result<(), Refusal> {
        if self.text.as_bytes().get(self.at) != Some(&byte) {
            return Err(self.malformed(missing));
        }
        self.at += 1;
        Ok(())
    }

    fn word(&mut self, word: &str, token: Token<'t>) -> Result<Token<'t>, Refusal> {
        if !self.rest().starts_with(word.as_bytes()) {
            return Err(self.malformed("a value is expected"));
        }
        self.at += word.len();
        Ok(token)
    }

    fn deeper(&mut self) -> Result<(), Refusal> {
        self.at += 1;
        self.depth += 1;
        let limit = self.limits.depth.min(DEPTH_CAP);
        if self.depth <= limit {
            return Ok(());
        }
        Err(Refusal::new(Code::JsonTooDeep, format!("the document is nested deeper than {limit} levels")))
    }

    fn count(&mut self) -> Result<(), Refusal> {
        self.members += 1;
        if self.members <= self.limits.members {
            return Ok(());
        }
        Err(Refusal::new(Code::RequestTooLarge, format!("the document has more than {} members", self.limits.members)))
    }

    fn number(&mut self) -> Result<&'t str, Refusal> {
        let bytes = self.rest();
        let digits = |from: usize| bytes.get(from..).unwrap_or_default().iter().take_while(|byte| byte.is_ascii_digit()).count();
        let mut end = usize::from(bytes.first() == Some(&b'-'));
        let whole = digits(end);
        let mut wrong = whole == 0 || (whole > 1 && bytes.get(end) == Some(&b'0'));
        end += whole;
        if bytes.get(end) == Some(&b'.') {
            let fraction = digits(end + 1);
            wrong |= fraction == 0;
            end += 1 + fraction;
        }
        if matches!(bytes.get(end), Some(b'e' | b'E')) {
            let sign = usize::from(matches!(bytes.get(end + 1), Some(b'+' | b'-')));
            let exponent = digits(end + 1 + sign);
            wrong |= exponent == 0;
            end += 1 + sign + exponent;
        }
        if wrong {
            return Err(self.malformed("a number is not written as JSON writes it"));
        }
        let number = self.text.get(self.at..self.at + end).unwrap_or_default();
        self.at += end;
        Ok(number)
    }

    /// A text whose opening quote was taken.
    fn text(&mut self) -> Result<Cow<'t, str>, Refusal> {
        let from = self.at;
        self.at += plain(self.rest());
        if self.text.as_bytes().get(self.at) == Some(&b'"') {
            let text = self.text.get(from..self.at).unwrap_or_default();
            self.at += 1;
            return Ok(Cow::Borrowed(text));
        }
        self.escaped(from).map(Cow::Owned)
    }

    /// A text that begins at `from` and is plain up to here.
    fn escaped(&mut self, mut from: usize) -> Result<String, Refusal> {
        let mut text = String::new();
        loop {
            text.push_str(self.text.get(from..self.at).unwrap_or_default());
            match self.text.as_bytes().get(self.at) {
                Some(b'"') => {
                    self.at += 1;
                    return Ok(text);
                }
                Some(b'\\') => text.push(self.escape()?),
                Some(_) => return Err(self.malformed("a text contains a control character")),
                None => return Err(self.malformed("a text does not end")),
            }
            from = self.at;
            self.at += plain(self.rest());
        }
    }

    fn escape(&mut self) -> Result<char, Refusal> {
        let kind = self.text.as_bytes().get(self.at + 1);
        let character = match kind {
            Some(b'"') => '"',
            Some(b'\\') => '\\',
            Some(b'/') => '/',
            Some(b'b') => '\u{8}',
            Some(b'f') => '\u{c}',
            Some(b'n') => '\n',
            Some(b'r') => '\r',
            Some(b't') => '\t',
            Some(b'u') => return self.unicode(),
            _ => return Err(self.malformed("an escape is unknown")),
        };
        self.at += 2;
        Ok(character)
    }

    /// `\uXXXX`, or two that are one character.
    fn unicode(&mut self) -> Result<char, Refusal> {
        let unit = self.unit().ok_or_else(|| self.malformed("an escape is unknown"))?;
        self.at += 6;
        if let Some(character) = char::from_u32(unit) {
            return Ok(character);
        }
        let low = self.unit().filter(|low| unit < 0xdc00 && (0xdc00..0xe000).contains(low));
        if let Some(character) = low.and_then(|low| char::from_u32(0x1_0000 + ((unit - 0xd800) << 10) + (low - 0xdc00))) {
            self.at += 6;
            return Ok(character);
        }
        match self.half_pair {
            HalfPair::Replace => Ok(char::REPLACEMENT_CHARACTER),
            HalfPair::Refuse => Err(self.malformed("a text has half a surrogate pair")),
        }
    }

    /// The UTF-16 unit of the `\uXXXX` that stands here.
    fn unit(&self) -> Option<u32> {
        let digits = self.rest().strip_prefix(b"\\u")?.get(..4)?;
        digits.iter().try_fold(0, |unit, digit| Some(unit << 4 | char::from(*digit).to_digit(16)?))
    }

    fn malformed(&self, what: &str) -> Refusal {
        Refusal::new(Code::RequestMalformed, format!("not JSON: {what} at byte {}", self.at))
    }
}

/// How many bytes of a text stand for themselves: up to a quote, a backslash or a control character.
fn plain(bytes: &[u8]) -> usize {
    const ONES: u64 = u64::from_le_bytes([1; 8]);
    const TOPS: u64 = ONES << 7;
    let mut at = 0;
    while let Some(eight) = bytes.get(at..).and_then(<[u8]>::first_chunk) {
        let eight = u64::from_le_bytes(*eight);
        // The top bit of each byte below `limit`, and of some after the first such byte.
        let below = |value: u64, limit: u64| value.wrapping_sub(ONES * limit) & !value & TOPS;
        let found = below(eight, 0x20) | below(eight ^ (ONES * 0x22), 1) | below(eight ^ (ONES * 0x5c), 1);
        if found != 0 {
            return at + (found.trailing_zeros() / 8) as usize;
        }
        at += 8;
    }
    let special = |byte: &u8| *byte < 0x20 || *byte == b'"' || *byte == b'\\';
    let rest = bytes.get(at..).unwrap_or_default();
    at + rest.iter().position(special).unwrap_or(rest.len())
}
