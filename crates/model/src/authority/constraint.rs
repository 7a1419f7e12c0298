//! One argument's constraint: a set of JSON scalars with an exact order and meet.
//!
//! The set is closed under intersection and has one spelling for every set of values, which is what makes `⊑`
//! decidable and the canonical form unique. No regular expressions, and no comparison of composites.

use super::words::{Sentence, argument};
use serde_json::Value;
use std::{cmp::Ordering, collections::BTreeSet, fmt};

/// Largest magnitude up to which every integer is a double, 2^53 - 1 (I-JSON, RFC 7493 §2.2).
pub const EXACT: i64 = 9_007_199_254_740_991;
const EXACT_DOUBLE: f64 = 9_007_199_254_740_991.0;

/// A number within ±[`EXACT`]. INVARIANT: finite, and zero is never negative, so the total order is the numeric one.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Number(f64);

impl Number {
    pub(crate) const ZERO: Self = Self(0.0);
    pub(crate) const LEAST: Self = Self(-EXACT_DOUBLE);
    pub(crate) const GREATEST: Self = Self(EXACT_DOUBLE);

    /// `None` when the number lies where integers and doubles no longer agree.
    pub(crate) fn of(number: &serde_json::Number) -> Option<Self> {
        // An integer beyond 2^53 may round onto the bound itself, so it is compared before it is converted.
        let integer = number.as_i64().map(i64::unsigned_abs).or(number.as_u64());
        if integer.is_some_and(|magnitude| magnitude > EXACT.unsigned_abs()) {
            return None;
        }
        number.as_f64().filter(|double| double.abs() <= EXACT_DOUBLE).map(|double| Self(double + 0.0))
    }

    pub(crate) fn double(self) -> f64 {
        self.0
    }

    /// The next greater number that JSON can carry.
    fn next(self) -> Self {
        Self(self.0.next_up() + 0.0)
    }

    /// The integer that this number is, if it is one.
    #[expect(clippy::cast_possible_truncation, reason = "whole and within 2^53 by invariant")]
    pub(crate) fn whole(self) -> Option<i64> {
        (self.0.fract() == 0.0).then_some(self.0 as i64)
    }

    fn to_value(self) -> Value {
        self.whole().map_or_else(|| Value::from(self.0), Value::from)
    }
}

impl PartialEq for Number {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Number {}

impl PartialOrd for Number {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Number {
    fn cmp(&self, other: &Self) -> Ordering {
        self.0.total_cmp(&other.0)
    }
}

impl fmt::Display for Number {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.to_value().fmt(f)
    }
}

/// A JSON value without parts.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Scalar {
    Null,
    Bool(bool),
    Number(Number),
    Text(String),
}

impl Scalar {
    /// `None` for arrays, objects and numbers that are not exact.
    pub(crate) fn of(value: &Value) -> Option<Self> {
        match value {
            Value::Null => Some(Self::Null),
            Value::Bool(flag) => Some(Self::Bool(*flag)),
            Value::Number(number) => Number::of(number).map(Self::Number),
            Value::String(text) => Some(Self::Text(text.clone())),
            Value::Array(_) | Value::Object(_) => None,
        }
    }

    fn to_value(&self) -> Value {
        match self {
            Self::Null => Value::Null,
            Self::Bool(flag) => Value::Bool(*flag),
            Self::Number(number) => number.to_value(),
            Self::Text(text) => Value::String(text.clone()),
        }
    }
}

impl Scalar {
    fn words(&self) -> Sentence {
        match self {
            Self::Text(text) => Sentence::value(text),
            other => other.to_value().to_string().into(),
        }
    }
}

/// What one argument may be. All but `Absent` need the argument to be there.
///
/// INVARIANT: never empty, and one spelling for each set: a range holds at least two numbers, and a set of two or
/// more numbers without a gap is written as a range.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Constraint {
    Absent,
    OneOf(BTreeSet<Scalar>),
    Range { min: Number, max: Number },
    Prefix(String),
}

impl Constraint {
    /// Numbers from `min` to `max`; `None` when there are none.
    pub(crate) fn range(min: Number, max: Number) -> Option<Self> {
        match min.cmp(&max) {
            Ordering::Less => Some(Self::Range { min, max }),
            Ordering::Equal => Some(Self::OneOf(BTreeSet::from([Scalar::Number(min)]))),
            Ordering::Greater => None,
        }
    }

    /// One of these values; `None` when there are none.
    pub(crate) fn one_of(values: BTreeSet<Scalar>) -> Option<Self> {
        let numbers: Vec<Number> =
            values.iter().filter_map(|v| if let Scalar::Number(n) = v { Some(*n) } else { None }).collect();
        let gapless = numbers.len() == values.len() && numbers.iter().zip(numbers.iter().skip(1)).all(|(a, b)| a.next() == *b);
        match (numbers.first(), numbers.last()) {
            (Some(first), Some(last)) if gapless => Self::range(*first, *last),
            _ if values.is_empty() => None,
            _ => Some(Self::OneOf(values)),
        }
    }

    fn allows(&self, value: &Scalar) -> bool {
        match (self, value) {
            (Self::OneOf(values), _) => values.contains(value),
            (Self::Range { min, max }, Scalar::Number(number)) => min <= number && number <= max,
            (Self::Prefix(prefix), Scalar::Text(text)) => text.starts_with(prefix.as_str()),
            _ => false,
        }
    }

    /// What both allow; `None` when nothing.
    pub(crate) fn meet(&self, other: &Self) -> Option<Self> {
        match (self, other) {
            (Self::Absent, Self::Absent) => Some(Self::Absent),
            (Self::OneOf(values), set) | (set, Self::OneOf(values)) => {
                Self::one_of(values.iter().filter(|value| set.allows(value)).cloned().collect())
            }
            (Self::Range { min: a, max: b }, Self::Range { min: c, max: d }) => Self::range(*a.max(c), *b.min(d)),
            (Self::Prefix(a), Self::Prefix(b)) if a.starts_with(b.as_str()) => Some(self.clone()),
            (Self::Prefix(a), Self::Prefix(b)) if b.starts_with(a.as_str()) => Some(other.clone()),
            _ => None,
        }
    }

    /// Whether everything this allows, `parent` allows.
    pub(crate) fn within(&self, parent: &Self) -> bool {
        match (self, parent) {
            (Self::Absent, Self::Absent) => true,
            (Self::OneOf(values), _) => values.iter().all(|value| parent.allows(value)),
            (Self::Range { min: a, max: b }, Self::Range { min: c, max: d }) => c <= a && b <= d,
            (Self::Range { min, max }, Self::OneOf(values)) => every_number_is_in(*min, *max, values),
            (Self::Prefix(child), Self::Prefix(prefix)) => child.starts_with(prefix.as_str()),
            _ => false,
        }
    }

    /// Whether the argument at `pointer` may have the value found there.
    ///
    /// # Errors
    /// A sentence. It shows what is granted, and numbers of the call, but no text of the call: that may be personal.
    pub(crate) fn admits(&self, pointer: &str, found: Option<&Value>) -> Result<(), String> {
        let name = argument(pointer).short();
        let needed = || format!("the grant needs it to be {}", self.words().short());
        let Some(found) = found else {
            return match self {
                Self::Absent => Ok(()),
                _ => Err(format!("{name} is missing; {}", needed())),
            };
        };
        if *self == Self::Absent {
            return Err(format!("{name} must be left out under this grant"));
        }
        let Some(scalar) = Scalar::of(found) else {
            return Err(match found {
                Value::Number(_) => format!("{name} is beyond ±{EXACT}, where numbers are no longer exact"),
                _ => format!("{name} is {}; {}", kind(found), needed()),
            });
        };
        if self.allows(&scalar) {
            return Ok(());
        }
        Err(match (self, &scalar) {
            (Self::Range { max, .. }, Scalar::Number(n)) if n > max => format!("{name} {n} exceeds the granted maximum {max}"),
            (Self::Range { min, .. }, Scalar::Number(n)) => format!("{name} {n} is below the granted minimum {min}"),
            (_, Scalar::Text(_)) => format!("{name} holds a text that is not granted; {}", needed()),
            (_, other) => format!("{name} is {}; {}", other.to_value(), needed()),
        })
    }

    /// How many values this lists.
    pub(crate) fn weight(&self) -> usize {
        if let Self::OneOf(values) = self { values.len() } else { 1 }
    }

    /// Bytes it takes in memory, roughly.
    pub(crate) fn bytes(&self) -> usize {
        let held = |value: &Scalar| size_of::<Scalar>() + if let Scalar::Text(text) = value { text.len() } else { 0 };
        let beyond = match self {
            Self::OneOf(values) => values.iter().map(held).sum(),
            Self::Prefix(prefix) => prefix.len(),
            Self::Absent | Self::Range { .. } => 0,
        };
        size_of::<Self>() + beyond
    }

    /// As in "the argument must be …".
    pub(crate) fn words(&self) -> Sentence {
        match self {
            Self::Absent => "left out".into(),
            Self::OneOf(values) => Sentence::list(values.iter().map(Scalar::words), "or"),
            Self::Range { min, max } if *min == Number::LEAST && *max == Number::GREATEST => "a number".into(),
            Self::Range { min, max } if *min == Number::LEAST => format!("at most {max}").into(),
            Self::Range { min, max } if *max == Number::GREATEST => format!("at least {min}").into(),
            Self::Range { min, max } => format!("from {min} to {max}").into(),
            Self::Prefix(prefix) if prefix.is_empty() => "a text".into(),
            Self::Prefix(prefix) => Sentence::words("a text starting with ").and(Sentence::value(prefix)),
        }
    }
}

/// Whether the doubles from `min` to `max` are all listed; looks at no more of them than are listed, plus one.
fn every_number_is_in(min: Number, max: Number, values: &BTreeSet<Scalar>) -> bool {
    let mut at = min;
    while at <= max {
        if !values.contains(&Scalar::Number(at)) {
            return false;
        }
        at = at.next();
    }
    true
}

fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "a boolean",
        Value::Number(_) => "a number",
        Value::String(_) => "a text",
        Value::Array(_) => "a list",
        Value::Object(_) => "an object",
    }
}
