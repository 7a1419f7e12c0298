//! The projection of JSON text, in one pass and without building the document: what stays is written as it is read.
//!
//! It reads as strictly as [`crate::json::parse`] and shows what [`super::project`] shows of the parsed document; a
//! property test holds the two against each other.

use super::report::{Report, Spot};
use crate::{
    authority::field::{FieldPath, Token},
    json::{self, DEPTH_CAP, Limits},
};
use serde::{
    Deserializer,
    de::{DeserializeSeed, Error, MapAccess, SeqAccess, Visitor},
};
use std::{borrow::Cow, collections::HashSet, fmt, ops::Range};

/// Objects with more members than this look for repeated names in a set.
const FEW: usize = 24;

/// The projected text with its report; `None` when the text is not one object or array that [`json::parse`] accepts.
pub(super) fn project(text: &str, paths: &[FieldPath], limits: &Limits) -> Option<(String, Report)> {
    if text.len() > limits.bytes || !text.trim_start().starts_with(['{', '[']) {
        return None;
    }
    let tails = paths.iter().map(|path| path.0.as_slice()).collect::<Vec<_>>();
    let view = view(&tails, 0..tails.len());
    let mut pass = Pass {
        out: Vec::with_capacity(text.len().min(64 << 10)),
        report: Report::new(),
        tails,
        names: Vec::new(),
        members: 0,
        limits,
    };
    let mut from = serde_json::Deserializer::from_str(text);
    let at = At { pass: &mut pass, view, spot: Spot::ROOT, depth: 0 };
    at.deserialize(&mut from).and_then(|_| from.end()).ok()?;
    json::exact_enough(text.as_bytes(), limits).ok()?;
    Some((String::from_utf8(pass.out).ok()?, pass.report))
}

/// What is on the way through the text.
struct Pass<'t, 'de> {
    out: Vec<u8>,
    report: Report,
    /// The rests of the granted pointers at every level we are in.
    tails: Vec<&'t [Token]>,
    /// The names seen in every object we are in.
    names: Vec<Cow<'de, str>>,
    members: usize,
    limits: &'t Limits,
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
    fn count<E: Error>(&mut self) -> Result<(), E> {
        self.members += 1;
        if self.members <= self.limits.members { Ok(()) } else { Err(E::custom("too many members")) }
    }

    /// The rests of those pointers whose next token is accepted; they lie on top until [`Pass::leave`].
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

    fn write(&mut self, scalar: impl serde::Serialize) {
        // Writing into memory cannot fail.
        let _ = serde_json::to_writer(&mut self.out, &scalar);
    }
}

/// Reads one value.
struct At<'p, 't, 'de> {
    pass: &'p mut Pass<'t, 'de>,
    view: View,
    spot: Spot,
    depth: usize,
}

impl<'de> At<'_, '_, 'de> {
    fn deeper<E: Error>(&self) -> Result<usize, E> {
        let limit = self.pass.limits.depth.min(DEPTH_CAP);
        if self.depth < limit { Ok(self.depth + 1) } else { Err(E::custom("too deep")) }
    }

    fn scalar(self, scalar: impl serde::Serialize) -> Seen {
        match self.view {
            View::Whole => {
                self.pass.write(scalar);
                self.pass.report.keep(self.spot);
            }
            // A scalar where the pointers expect something to look into is masked.
            View::Part(_) => {
                self.pass.write(());
                self.pass.report.mask(self.spot);
            }
            View::Nothing => {}
        }
        Seen::Scalar
    }

    fn open(&mut self, bracket: u8) {
        if !matches!(self.view, View::Nothing) {
            self.pass.out.push(bracket);
        }
    }

    fn close(self, bracket: u8, empty: bool) -> Seen {
        if !matches!(self.view, View::Nothing) {
            self.pass.out.push(bracket);
        }
        if empty && matches!(self.view, View::Whole) {
            self.pass.report.keep(self.spot);
        }
        Seen::Container
    }

    /// Reads one member, whose name was read.
    fn member<A: MapAccess<'de>>(&mut self, name: &str, members: &mut A, depth: usize, first: bool) -> Result<bool, A::Error> {
        let (view, spot) = match &self.view {
            View::Nothing => (View::Nothing, self.spot),
            View::Whole => (View::Whole, self.pass.report.within(self.spot, name)),
            View::Part(range) => {
                let view = self.pass.step(range, |token| matches!(token, Token::Name(allowed) if allowed == name));
                if matches!(view, View::Nothing) {
                    self.pass.report.mask_inside(self.spot, name);
                    (view, self.spot)
                } else {
                    (view, self.pass.report.through(self.spot, name))
                }
            }
        };
        let before = self.pass.out.len();
        if !matches!(view, View::Nothing) {
            if !first {
                self.pass.out.push(b',');
            }
            self.pass.write(name);
            self.pass.out.push(b':');
        }
        let part = matches!(view, View::Part(_));
        let shown = !matches!(view, View::Nothing);
        let seen = members.next_value_seed(At { pass: &mut *self.pass, view, spot, depth })?;
        if part && seen == Seen::Scalar {
            // Masked, and not replaced by `null`.
            self.pass.out.truncate(before);
            return Ok(false);
        }
        Ok(shown)
    }

    /// Refuses names that another reader would take for other ones, and repeated ones.
    fn check<E: Error>(&self, names: usize, name: &str, set: &mut HashSet<String>) -> Result<(), E> {
        if json::is_reserved(name) {
            return Err(E::custom("a reserved name"));
        }
        let earlier = self.pass.names.get(names..).unwrap_or_default();
        let repeated = if earlier.len() < FEW {
            earlier.iter().any(|earlier| earlier == name)
        } else {
            if set.is_empty() {
                set.extend(earlier.iter().cloned().map(Cow::into_owned));
            }
            !set.insert(name.to_owned())
        };
        if repeated { Err(E::custom("a repeated name")) } else { Ok(()) }
    }
}

impl<'de> DeserializeSeed<'de> for At<'_, '_, 'de> {
    type Value = Seen;

    fn deserialize<D: Deserializer<'de>>(self, from: D) -> Result<Seen, D::Error> {
        from.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for At<'_, '_, 'de> {
    type Value = Seen;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_unit<E>(self) -> Result<Seen, E> {
        Ok(self.scalar(()))
    }

    fn visit_bool<E>(self, flag: bool) -> Result<Seen, E> {
        Ok(self.scalar(flag))
    }

    fn visit_i64<E>(self, number: i64) -> Result<Seen, E> {
        Ok(self.scalar(number))
    }

    fn visit_u64<E>(self, number: u64) -> Result<Seen, E> {
        Ok(self.scalar(number))
    }

    fn visit_f64<E: Error>(self, number: f64) -> Result<Seen, E> {
        if number.is_finite() { Ok(self.scalar(number)) } else { Err(E::custom("a number is not finite")) }
    }

    fn visit_str<E>(self, text: &str) -> Result<Seen, E> {
        Ok(self.scalar(text))
    }

    fn visit_seq<A: SeqAccess<'de>>(mut self, mut items: A) -> Result<Seen, A::Error> {
        let depth = self.deeper()?;
        self.open(b'[');
        let mut index = 0_u64;
        // After the last item that any pointer looks into, nothing has to hold its place.
        let open = self.pass.out.len();
        let mut end = open;
        loop {
            let begin = self.pass.tails.len();
            let (view, spot) = match &self.view {
                View::Nothing => (View::Nothing, self.spot),
                // No item, no pointer: whether there is one more is only known once it is asked for.
                View::Whole => (View::Whole, self.spot),
                View::Part(range) => {
                    let accepts = |token: &Token| match token {
                        Token::Item => true,
                        Token::Index(allowed) => *allowed == index,
                        Token::Name(_) => false,
                    };
                    (self.pass.step(range, accepts), self.spot)
                }
            };
            let kept = !matches!(view, View::Nothing);
            let more =
                items.next_element_seed(Item { at: At { pass: &mut *self.pass, view, spot, depth }, over: &self.view, index })?;
            self.pass.tails.truncate(begin);
            if more.is_none() {
                break;
            }
            self.pass.count()?;
            index += 1;
            if kept {
                end = self.pass.out.len();
            }
        }
        let length = end.saturating_sub(open);
        self.pass.out.truncate(end);
        if matches!(self.view, View::Part(_)) {
            self.pass.report.left(usize::from(index > 0), length);
        }
        Ok(self.close(b']', index == 0))
    }

    fn visit_map<A: MapAccess<'de>>(mut self, mut members: A) -> Result<Seen, A::Error> {
        let depth = self.deeper()?;
        self.open(b'{');
        let names = self.pass.names.len();
        let mut set = HashSet::new();
        let (mut empty, mut first) = (true, true);
        while let Some(Name(name)) = members.next_key::<Name<'de>>()? {
            empty = false;
            self.pass.count()?;
            self.check(names, &name, &mut set)?;
            let begin = self.pass.tails.len();
            if self.member(&name, &mut members, depth, first)? {
                first = false;
            }
            self.pass.tails.truncate(begin);
            self.pass.names.push(name);
        }
        self.pass.names.truncate(names);
        if matches!(self.view, View::Part(_)) {
            self.pass.report.left(usize::from(!empty), usize::from(!first));
        }
        Ok(self.close(b'}', empty))
    }
}

/// One item of an array, once it is known that there is one.
struct Item<'i, 'p, 't, 'de> {
    at: At<'p, 't, 'de>,
    /// How the array is seen.
    over: &'i View,
    index: u64,
}

impl<'de> DeserializeSeed<'de> for Item<'_, '_, '_, 'de> {
    type Value = Seen;

    fn deserialize<D: Deserializer<'de>>(self, from: D) -> Result<Seen, D::Error> {
        let Self { mut at, over, index } = self;
        if !matches!(over, View::Nothing) && index > 0 {
            at.pass.out.push(b',');
        }
        match (over, &at.view) {
            (View::Nothing, _) => {}
            (View::Whole, _) => at.spot = at.pass.report.within(at.spot, "*"),
            (View::Part(_), View::Nothing) => {
                at.pass.report.mask_inside(at.spot, "*");
                at.pass.write(());
            }
            (View::Part(_), _) => at.spot = at.pass.report.through(at.spot, "*"),
        }
        at.deserialize(from)
    }
}

/// A member's name, borrowed where it has no escapes.
struct Name<'de>(Cow<'de, str>);

impl<'de> serde::Deserialize<'de> for Name<'de> {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct Read;
        impl<'de> Visitor<'de> for Read {
            type Value = Name<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a member's name")
            }

            fn visit_borrowed_str<E>(self, name: &'de str) -> Result<Name<'de>, E> {
                Ok(Name(Cow::Borrowed(name)))
            }

            fn visit_str<E>(self, name: &str) -> Result<Name<'de>, E> {
                Ok(Name(Cow::Owned(name.to_owned())))
            }
        }
        from.deserialize_str(Read)
    }
}
