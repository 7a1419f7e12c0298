//! The readers behind [`super::parse`]: they build a `Value` and refuse what is ambiguous.

use super::{
    limits::{DEPTH_CAP, Limits},
    number::in_form,
    reader::{HalfPair, Reader, Token},
};
use crate::{
    display,
    refusal::{Code, Refusal},
};
use serde::{
    Deserializer,
    de::{DeserializeSeed, Error, MapAccess, SeqAccess, Visitor},
};
use serde_json::{Map, Number, Value};
use std::{cell::Cell, fmt};

/// Member names with a meaning inside serde_json: a reader elsewhere would take the object for a number or for raw
/// JSON text to be parsed again.
const RESERVED: &str = "$serde_json::private::";
/// The only member of what serde_json hands a visitor for a number that is not an integer of 64 bits.
const NUMBER: &str = "$serde_json::private::Number";

/// Whether a member's name is one that no document may have.
pub(crate) fn is_reserved(name: &str) -> bool {
    // A name cut at a NUL by some later reader would be another member's name.
    name.contains('\0') || name.starts_with(RESERVED)
}

/// The value of a text that is one document.
pub(super) fn document(text: &str, limits: &Limits, half_pair: HalfPair) -> Result<Value, Refusal> {
    let mut reader = Reader::new(text, limits, half_pair);
    let value = build(&mut reader, limits)?;
    reader.end()?;
    Ok(value)
}

/// Builds the value that comes next. The reader's limit on depth bounds the recursion.
fn build(reader: &mut Reader<'_>, limits: &Limits) -> Result<Value, Refusal> {
    Ok(match reader.value()? {
        Token::Null => Value::Null,
        Token::Bool(flag) => Value::Bool(flag),
        Token::Number(text) => Value::Number(in_form(text, limits.numbers)?),
        Token::Text(text) => Value::String(text.into_owned()),
        Token::List => {
            let mut items = Vec::new();
            while reader.item(items.is_empty())? {
                items.push(build(reader, limits)?);
            }
            Value::Array(items)
        }
        Token::Object => {
            let mut members = Map::new();
            while let Some(name) = reader.member(members.is_empty())? {
                if is_reserved(&name) {
                    return Err(Refusal::new(Code::RequestMalformed, "a member name is reserved or contains NUL"));
                }
                if members.contains_key(&*name) {
                    let shown = display::excerpt(&name, 64);
                    return Err(Refusal::new(Code::JsonDuplicateMember, format!("member `{shown}` appears twice")));
                }
                members.insert(name.into_owned(), build(reader, limits)?);
            }
            Value::Object(members)
        }
    })
}

/// Reads any format's value with the same strictness, for types that contain JSON.
pub(crate) fn strict<'de, D: Deserializer<'de>>(from: D) -> Result<Value, D::Error> {
    Strict { members: &Cell::new(0), depth: 0 }.deserialize(from)
}

#[derive(Clone, Copy)]
struct Strict<'r> {
    members: &'r Cell<usize>,
    depth: usize,
}

impl Strict<'_> {
    fn deeper<E: Error>(self) -> Result<Self, E> {
        let limit = Limits::REQUEST.depth.min(DEPTH_CAP);
        if self.depth < limit { Ok(Self { depth: self.depth + 1, ..self }) } else { Err(E::custom("nested too deep")) }
    }

    /// Counts one member or item.
    fn count<E: Error>(&self) -> Result<(), E> {
        self.members.set(self.members.get() + 1);
        if self.members.get() <= Limits::REQUEST.members { Ok(()) } else { Err(E::custom("too many members")) }
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
        Number::from_f64(number).map(Value::Number).ok_or_else(|| E::custom("a number is not finite"))
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
            self.count()?;
            array.push(item);
        }
        Ok(Value::Array(array))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Value, A::Error> {
        let inside = self.deeper()?;
        let mut object = Map::new();
        while let Some(name) = members.next_key::<String>()? {
            self.count()?;
            if name == NUMBER && object.is_empty() {
                let number: Result<Number, _> = members.next_value::<String>()?.parse();
                return number.map(Value::Number).map_err(A::Error::custom);
            }
            if is_reserved(&name) {
                return Err(A::Error::custom("a member name is reserved or contains NUL"));
            }
            if object.contains_key(&name) {
                return Err(A::Error::custom(format!("member `{}` appears twice", display::excerpt(&name, 64))));
            }
            let value = members.next_value_seed(inside)?;
            object.insert(name, value);
        }
        Ok(Value::Object(object))
    }
}
