//! The reader behind [`super::parse`]: a serde visitor that builds a `Value` and refuses what is ambiguous.

use super::{DEPTH_CAP, Limits};
use crate::{
    authority::EXACT,
    display,
    refusal::{Code, Refusal},
};
use serde::{
    Deserializer,
    de::{DeserializeSeed, Error, MapAccess, SeqAccess, Visitor},
};
use serde_json::{Map, Number, Value};
use std::{cell::RefCell, fmt};

/// Member names with a meaning inside serde_json: a reader elsewhere would take the object for a number or for raw
/// JSON text to be parsed again.
const RESERVED: &str = "$serde_json::private::";

/// Whether a member's name is one that no document may have.
pub(crate) fn is_reserved(name: &str) -> bool {
    // A name cut at a NUL by some later reader would be another member's name.
    name.contains('\0') || name.starts_with(RESERVED)
}

pub(super) fn document(bytes: &[u8], limits: &Limits) -> Result<Value, Refusal> {
    let reading = Reading::new(limits);
    let mut from = serde_json::Deserializer::from_slice(bytes);
    let read = Strict { reading: &reading, depth: 0 }.deserialize(&mut from).and_then(|value| from.end().map(|()| value));
    read.map_err(|error| {
        let known = reading.state.into_inner().refusal;
        known.unwrap_or_else(|| Refusal::new(Code::RequestMalformed, format!("not JSON: {error}")))
    })
}

/// Reads any format's value with the same strictness, for types that contain JSON.
pub(crate) fn strict<'de, D: Deserializer<'de>>(from: D) -> Result<Value, D::Error> {
    let reading = Reading::new(&Limits::REQUEST);
    Strict { reading: &reading, depth: 0 }.deserialize(from)
}

/// Refuses integers that a reader of the value has lost digits of. `bytes` is known to be JSON.
pub(super) fn integers(bytes: &[u8], exact: bool) -> Result<(), Refusal> {
    let mut rest = bytes;
    while let Some((first, after)) = rest.split_first() {
        rest = match first {
            b'"' => after_text(after),
            b'-' | b'0'..=b'9' => {
                let length =
                    rest.iter().take_while(|byte| matches!(byte, b'0'..=b'9' | b'+' | b'-' | b'.' | b'e' | b'E')).count();
                let (number, after) = rest.split_at(length);
                integer(number, exact)?;
                after
            }
            _ => after,
        };
    }
    Ok(())
}

/// What follows a text's closing quote.
fn after_text(mut rest: &[u8]) -> &[u8] {
    while let Some((first, after)) = rest.split_first() {
        rest = match first {
            b'"' => return after,
            b'\\' => after.get(1..).unwrap_or_default(),
            _ => after,
        };
    }
    rest
}

fn integer(number: &[u8], exact: bool) -> Result<(), Refusal> {
    if number.iter().any(|byte| matches!(byte, b'.' | b'e' | b'E')) {
        return Ok(());
    }
    let text = str::from_utf8(number).unwrap_or_default();
    let magnitude = text.parse::<i64>().map(i64::unsigned_abs).or_else(|_| text.parse::<u64>());
    match magnitude {
        Ok(magnitude) if !exact || magnitude <= EXACT.unsigned_abs() => Ok(()),
        Ok(_) => Err(Refusal::new(Code::RequestMalformed, format!("an integer is beyond ±{EXACT}; it must be sent as a text"))),
        Err(_) => Err(Refusal::new(Code::RequestMalformed, "an integer does not fit 64 bits; it must be sent as a text")),
    }
}

struct Reading<'l> {
    limits: &'l Limits,
    state: RefCell<State>,
}

#[derive(Default)]
struct State {
    members: usize,
    /// Set when the reading stops for a reason of ours, which the format's error type cannot carry.
    refusal: Option<Refusal>,
}

impl<'l> Reading<'l> {
    fn new(limits: &'l Limits) -> Self {
        Self { limits, state: RefCell::default() }
    }

    fn stop<E: Error>(&self, code: Code, reason: String) -> E {
        let error = E::custom(&reason);
        self.state.borrow_mut().refusal = Some(Refusal::new(code, reason));
        error
    }

    /// Counts one member or item.
    fn count<E: Error>(&self) -> Result<(), E> {
        let members = self.state.borrow().members + 1;
        self.state.borrow_mut().members = members;
        if members <= self.limits.members {
            return Ok(());
        }
        Err(self.stop(Code::RequestTooLarge, format!("the document has more than {} members", self.limits.members)))
    }
}

#[derive(Clone, Copy)]
struct Strict<'r> {
    reading: &'r Reading<'r>,
    depth: usize,
}

impl Strict<'_> {
    fn deeper<E: Error>(self) -> Result<Self, E> {
        let limit = self.reading.limits.depth.min(DEPTH_CAP);
        if self.depth < limit {
            return Ok(Self { depth: self.depth + 1, ..self });
        }
        Err(self.reading.stop(Code::JsonTooDeep, format!("the document is nested deeper than {limit} levels")))
    }
}

impl<'de> DeserializeSeed<'de> for Strict<'_> {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, from: D) -> Result<Value, D::Error> {
        from.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Strict<'_> {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E>(self, flag: bool) -> Result<Value, E> {
        Ok(Value::Bool(flag))
    }

    fn visit_i64<E>(self, number: i64) -> Result<Value, E> {
        Ok(number.into())
    }

    fn visit_u64<E>(self, number: u64) -> Result<Value, E> {
        Ok(number.into())
    }

    fn visit_f64<E: Error>(self, number: f64) -> Result<Value, E> {
        let finite = Number::from_f64(number).map(Value::Number);
        finite.ok_or_else(|| self.reading.stop(Code::RequestMalformed, "a number is not finite".to_owned()))
    }

    fn visit_str<E>(self, text: &str) -> Result<Value, E> {
        Ok(Value::String(text.to_owned()))
    }

    fn visit_string<E>(self, text: String) -> Result<Value, E> {
        Ok(Value::String(text))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Value, A::Error> {
        let inside = self.deeper()?;
        let mut array = Vec::new();
        while let Some(item) = items.next_element_seed(inside)? {
            self.reading.count()?;
            array.push(item);
        }
        Ok(Value::Array(array))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Value, A::Error> {
        let inside = self.deeper()?;
        let mut object = Map::new();
        while let Some(name) = members.next_key::<String>()? {
            self.reading.count()?;
            if is_reserved(&name) {
                return Err(self.reading.stop(Code::RequestMalformed, "a member name is reserved or contains NUL".to_owned()));
            }
            if object.contains_key(&name) {
                let shown = display::excerpt(&name, 64);
                return Err(self.reading.stop(Code::JsonDuplicateMember, format!("member `{shown}` appears twice")));
            }
            let value = members.next_value_seed(inside)?;
            object.insert(name, value);
        }
        Ok(Value::Object(object))
    }
}
