//! The projection of JSON text, in one pass and without building the document: what stays is written as it is read.
//!
//! It reads as strictly as [`crate::json::parse_repaired`] and shows what [`super::project`] shows of the parsed document; a
//! property test holds the two against each other.

use super::report::{Report, Spot};
use crate::{
    authority::field::{FieldPath, Token},
    json::{
        self, Limits, Numbers,
        reader::{self, HalfPair, Reader},
    },
    refusal::{Code, Refusal},
};
use std::{borrow::Cow, collections::HashSet, ops::Range};

/// Objects with more members than this look for repeated names in a set.
const FEW: usize = 24;

/// The projected text with its report; `None` when the text is not one object or array that [`json::parse_repaired`] accepts.
pub(super) fn project(text: &str, paths: &[FieldPath], limits: &Limits) -> Option<(String, Report)> {
    if text.len() > limits.bytes || !text.trim_start().starts_with(['{', '[']) {
        return None;
    }
    let tails = paths.iter().map(|path| path.0.as_slice()).collect::<Vec<_>>();
    let view = view(&tails, 0..tails.len());
    let mut pass = Pass {
        reader: Reader::new(text, limits, HalfPair::Replace),
        numbers: limits.numbers,
        out: Vec::with_capacity(text.len().min(64 << 10)),
        report: Report::new(),
        tails,
        names: Vec::new(),
    };
    pass.value(&view, Spot::ROOT).and_then(|_| pass.reader.end()).ok()?;
    Some((String::from_utf8(pass.out).ok()?, pass.report))
}

/// What is on the way through the text.
struct Pass<'p, 't> {
    reader: Reader<'t>,
    numbers: Numbers,
    out: Vec<u8>,
    report: Report,
    /// The rests of the granted pointers at every level we are in.
    tails: Vec<&'p [Token]>,
    /// The names seen in every object we are in.
    names: Vec<Cow<'t, str>>,
}

/// What of a value is shown.
#[derive(Clone, Debug)]
enum View {
    Whole,
    /// What these of the pass's rests of pointers look into.
    Part(Range<usize>),
    Nothing,
}

/// What became of a value.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Seen {
    Container,
    Scalar,
}

fn view(tails: &[&[Token]], range: Range<usize>) -> View {
    let whole = tails.get(range.clone()).is_some_and(|tails| tails.iter().any(|tail| tail.is_empty()));
    if whole { View::Whole } else { View::Part(range) }
}

impl Pass<'_, '_> {
    /// Reads one value. The reader's limit on depth bounds the recursion.
    fn value(&mut self, view: &View, spot: Spot) -> Result<Seen, Refusal> {
        match self.reader.value()? {
            reader::Token::Object => return self.object(view, spot).map(|()| Seen::Container),
            reader::Token::List => return self.list(view, spot).map(|()| Seen::Container),
            reader::Token::Null => self.scalar(view, spot, "null"),
            reader::Token::Bool(flag) => self.scalar(view, spot, if flag { "true" } else { "false" }),
            reader::Token::Number(number) if self.numbers == Numbers::AsWritten => self.scalar(view, spot, number),
            reader::Token::Number(number) => self.scalar(view, spot, json::in_form(number, self.numbers)?.as_str()),
            reader::Token::Text(text) if matches!(view, View::Whole) => {
                json::write_text(&text, &mut self.out);
                self.report.keep(spot);
            }
            reader::Token::Text(_) => self.scalar(view, spot, ""),
        }
        Ok(Seen::Scalar)
    }

    fn scalar(&mut self, view: &View, spot: Spot, written: &str) {
        match view {
            View::Whole => {
                self.out.extend_from_slice(written.as_bytes());
                self.report.keep(spot);
            }
            // A scalar where the pointers expect something to look into is masked.
            View::Part(_) => {
                self.out.extend_from_slice(b"null");
                self.report.mask(spot);
            }
            View::Nothing => {}
        }
    }

    /// The rests of those pointers whose next token is accepted; they lie on top until the caller truncates them.
    fn step(&mut self, range: &Range<usize>, accepts: impl Fn(&Token) -> bool) -> View {
        let begin = self.tails.len();
        for at in range.clone() {
            if let Some((token, rest)) = self.tails.get(at).and_then(|tail| tail.split_first())
                && accepts(token)
            {
                self.tails.push(rest);
            }
        }
        if self.tails.len() == begin { View::Nothing } else { view(&self.tails, begin..self.tails.len()) }
    }

    /// A bracket, if anything of the container is shown.
    fn bracket(&mut self, view: &View, bracket: u8) {
        if !matches!(view, View::Nothing) {
            self.out.push(bracket);
        }
    }

    fn list(&mut self, view: &View, spot: Spot) -> Result<(), Refusal> {
        self.bracket(view, b'[');
        let mut index = 0_u64;
        // After the last item that any pointer looks into, nothing has to hold its place.
        let open = self.out.len();
        let mut end = open;
        while self.reader.item(index == 0)? {
            let begin = self.tails.len();
            if !matches!(view, View::Nothing) && index > 0 {
                self.out.push(b',');
            }
            let (seen, inside) = match view {
                View::Nothing => (View::Nothing, spot),
                View::Whole => (View::Whole, self.report.within(spot, "*")),
                View::Part(range) => {
                    let accepts = |token: &Token| match token {
                        Token::Item => true,
                        Token::Index(allowed) => *allowed == index,
                        Token::Name(_) => false,
                    };
                    match self.step(range, accepts) {
                        View::Nothing => {
                            self.report.mask_inside(spot, "*");
                            self.out.extend_from_slice(b"null");
                            (View::Nothing, spot)
                        }
                        seen => (seen, self.report.through(spot, "*")),
                    }
                }
            };
            let kept = !matches!(seen, View::Nothing);
            self.value(&seen, inside)?;
            self.tails.truncate(begin);
            index += 1;
            if kept {
                end = self.out.len();
            }
        }
        let length = end.saturating_sub(open);
        if !matches!(view, View::Nothing) {
            self.out.truncate(end);
        }
        if matches!(view, View::Part(_)) {
            self.report.left(usize::from(index > 0), length);
        }
        self.bracket(view, b']');
        self.close(view, spot, index == 0);
        Ok(())
    }

    /// An empty container that is shown is a field.
    fn close(&mut self, view: &View, spot: Spot, empty: bool) {
        if empty && matches!(view, View::Whole) {
            self.report.keep(spot);
        }
    }

    fn object(&mut self, view: &View, spot: Spot) -> Result<(), Refusal> {
        self.bracket(view, b'{');
        let names = self.names.len();
        let mut set = HashSet::new();
        let (mut empty, mut first) = (true, true);
        while let Some(name) = self.reader.member(empty)? {
            empty = false;
            self.check(names, &name, &mut set)?;
            let begin = self.tails.len();
            if self.member(view, spot, &name, first)? {
                first = false;
            }
            self.tails.truncate(begin);
            self.names.push(name);
        }
        self.names.truncate(names);
        if matches!(view, View::Part(_)) {
            self.report.left(usize::from(!empty), usize::from(!first));
        }
        self.bracket(view, b'}');
        self.close(view, spot, empty);
        Ok(())
    }

    /// Reads the value of one member, whose name was read; gives back whether it is shown.
    fn member(&mut self, view: &View, spot: Spot, name: &str, first: bool) -> Result<bool, Refusal> {
        let (view, spot) = match view {
            View::Nothing => (View::Nothing, spot),
            View::Whole => (View::Whole, self.report.within(spot, name)),
            View::Part(range) => match self.step(range, |token| matches!(token, Token::Name(allowed) if allowed == name)) {
                View::Nothing => {
                    self.report.mask_inside(spot, name);
                    (View::Nothing, spot)
                }
                view => (view, self.report.through(spot, name)),
            },
        };
        let before = self.out.len();
        if !matches!(view, View::Nothing) {
            if !first {
                self.out.push(b',');
            }
            json::write_text(name, &mut self.out);
            self.out.push(b':');
        }
        let part = matches!(view, View::Part(_));
        let shown = !matches!(view, View::Nothing);
        if self.value(&view, spot)? == Seen::Scalar && part {
            // Masked, and not replaced by `null`.
            self.out.truncate(before);
            return Ok(false);
        }
        Ok(shown)
    }

    /// Refuses names that another reader would take for other ones, and repeated ones.
    fn check(&self, names: usize, name: &str, set: &mut HashSet<String>) -> Result<(), Refusal> {
        if json::is_reserved(name) {
            return Err(Refusal::new(Code::RequestMalformed, "a member name is reserved or contains NUL"));
        }
        let earlier = self.names.get(names..).unwrap_or_default();
        let repeated = if earlier.len() < FEW {
            earlier.iter().any(|earlier| earlier == name)
        } else {
            if set.is_empty() {
                set.extend(earlier.iter().cloned().map(Cow::into_owned));
            }
            !set.insert(name.to_owned())
        };
        if repeated { Err(Refusal::new(Code::JsonDuplicateMember, "a member appears twice")) } else { Ok(()) }
    }
}
