//! One argument's constraint: a set of JSON values with an exact order and meet.
//!
//! The set is closed under intersection and has one spelling for every set of values, which is what makes `⊑`
//! decidable and the canonical form unique. No regular expressions, and no comparison of objects.

use super::{
    texts::Texts,
    words::{Sentence, argument},
};
use crate::decimal::Decimal;
use serde_json::Value;
use std::{collections::BTreeSet, fmt};

/// A JSON value without parts.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Scalar {
    Null,
    Bool(bool),
    Number(Decimal),
    Text(String),
}

impl Scalar {
    /// `None` for arrays, objects and numbers beyond the limits of [`Decimal`].
    pub(crate) fn of(value: &Value) -> Option<Self> {
        match value {
            Value::Null => Some(Self::Null),
            Value::Bool(flag) => Some(Self::Bool(*flag)),
            Value::Number(number) => Decimal::of(number).map(Self::Number),
            Value::String(text) => Some(Self::Text(text.clone())),
            Value::Array(_) | Value::Object(_) => None,
        }
    }

    fn words(&self) -> Sentence {
        match self {
            Self::Null => "null".into(),
            Self::Bool(flag) => flag.to_string().into(),
            Self::Number(number) => number.to_string().into(),
            Self::Text(text) => Sentence::value(text),
        }
    }
}

/// One end of a range.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Bound {
    Below,
    At(Decimal),
    Above,
}

impl fmt::Display for Bound {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::At(number) => number.fmt(f),
            Self::Below | Self::Above => f.write_str("any number"),
        }
    }
}

/// Kinds of value that have an empty one: `""`, `[]` and `{}`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Kind {
    Text,
    List,
    Object,
}

impl Kind {
    pub(crate) const ALL: [Self; 3] = [Self::Text, Self::List, Self::Object];

    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Text => "text",
            Self::List => "list",
            Self::Object => "object",
        }
    }
}

/// What one argument may be. All but `Absent` and `Unset` need the argument to be there.
///
/// INVARIANT: never empty, and one spelling for each set: a range holds at least two numbers.
// The order of the variants is part of the canonical order of grants: new ones go to the end.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Constraint {
    Absent,
    OneOf(BTreeSet<Scalar>),
    Range {
        min: Bound,
        max: Bound,
    },
    Texts(Texts),
    /// Missing, null, or empty and of one of these kinds.
    Unset(BTreeSet<Kind>),
    /// A list whose items are all in this set of scalars; without a set, the empty list.
    Each(Option<Box<Self>>),
}

impl Constraint {
    /// Numbers from `min` to `max`; `None` when there are none.
    pub(crate) fn range(min: Bound, max: Bound) -> Option<Self> {
        match (min, max) {
            (Bound::At(only), Bound::At(max)) if only == max => Some(Self::OneOf(BTreeSet::from([Scalar::Number(only)]))),
            (min, max) if min < max => Some(Self::Range { min, max }),
            _ => None,
        }
    }

    /// One of these values; `None` when there are none.
    pub(crate) fn one_of(values: BTreeSet<Scalar>) -> Option<Self> {
        (!values.is_empty()).then_some(Self::OneOf(values))
    }

    pub(crate) fn unset(kinds: impl IntoIterator<Item = Kind>) -> Self {
        Self::Unset(kinds.into_iter().collect())
    }

    /// A set of scalars, and so what the items of a list can be held to.
    pub(crate) fn is_of_scalars(&self) -> bool {
        matches!(self, Self::OneOf(_) | Self::Range { .. } | Self::Texts(_))
    }

    /// Whether the argument may be missing.
    pub(crate) fn allows_missing(&self) -> bool {
        matches!(self, Self::Absent | Self::Unset(_))
    }

    pub(crate) fn allows_null(&self) -> bool {
        self.allows(&Scalar::Null)
    }

    pub(crate) fn allows_empty_text(&self) -> bool {
        self.allows(&Scalar::Text(String::new()))
    }

    /// Whether null is the one value that this allows.
    pub(crate) fn is_null(&self) -> bool {
        matches!(self, Self::OneOf(values) if values.iter().all(|value| *value == Scalar::Null))
    }

    fn allows(&self, value: &Scalar) -> bool {
        match (self, value) {
            (Self::OneOf(values), _) => values.contains(value),
            (Self::Range { min, max }, Scalar::Number(number)) => {
                let number = Bound::At(number.clone());
                *min <= number && number <= *max
            }
            (Self::Texts(texts), Scalar::Text(text)) => texts.allow(text),
            (Self::Unset(_), Scalar::Null) => true,
            (Self::Unset(kinds), Scalar::Text(text)) => text.is_empty() && kinds.contains(&Kind::Text),
            _ => false,
        }
    }

    /// What both allow; `None` when nothing.
    pub(crate) fn meet(&self, other: &Self) -> Option<Self> {
        match (self, other) {
            (Self::Absent, either) | (either, Self::Absent) => either.allows_missing().then_some(Self::Absent),
            (Self::OneOf(values), set) | (set, Self::OneOf(values)) => {
                Self::one_of(values.iter().filter(|value| set.allows(value)).cloned().collect())
            }
            (Self::Range { min: a, max: b }, Self::Range { min: c, max: d }) => Self::range(a.max(c).clone(), b.min(d).clone()),
            (Self::Texts(a), Self::Texts(b)) => a.meet(b).map(Self::Texts),
            (Self::Unset(a), Self::Unset(b)) => Some(Self::Unset(a & b)),
            (Self::Unset(kinds), set) | (set, Self::Unset(kinds)) => set.meet_unset(kinds),
            (Self::Each(a), Self::Each(b)) => {
                Some(Self::Each(a.as_ref().zip(b.as_ref()).and_then(|(a, b)| a.meet(b)).map(Box::new)))
            }
            _ => None,
        }
    }

    /// What of this set is null or empty and of one of these kinds.
    fn meet_unset(&self, kinds: &BTreeSet<Kind>) -> Option<Self> {
        let empty = Scalar::Text(String::new());
        match self {
            Self::Texts(_) if kinds.contains(&Kind::Text) && self.allows(&empty) => Self::one_of(BTreeSet::from([empty])),
            Self::Each(_) if kinds.contains(&Kind::List) => Some(Self::Each(None)),
            _ => None,
        }
    }

    /// Whether everything this allows, `parent` allows.
    pub(crate) fn within(&self, parent: &Self) -> bool {
        match (self, parent) {
            (Self::Absent, parent) => parent.allows_missing(),
            (Self::OneOf(values), _) => values.iter().all(|value| parent.allows(value)),
            (Self::Range { min: a, max: b }, Self::Range { min: c, max: d }) => c <= a && b <= d,
            (Self::Texts(child), Self::Texts(parent)) => child.within(parent),
            (Self::Unset(child), Self::Unset(parent)) => child.is_subset(parent),
            (Self::Each(None), Self::Each(_)) => true,
            (Self::Each(None), Self::Unset(kinds)) => kinds.contains(&Kind::List),
            (Self::Each(Some(child)), Self::Each(Some(parent))) => child.within(parent),
            _ => false,
        }
    }

    /// Whether the argument at `pointer` may have the value found there.
    ///
    /// # Errors
    /// A sentence. It shows what is granted, and numbers of the call, but no text of the call: that may be personal.
    pub(crate) fn admits(&self, pointer: &str, found: Option<&Value>) -> Result<(), String> {
        let name = || argument(pointer).short();
        let needed = || format!("the grant needs it to be {}", self.words().short());
        let Some(found) = found else {
            return if self.allows_missing() { Ok(()) } else { Err(format!("{} is missing; {}", name(), needed())) };
        };
        if self.holds(found) {
            return Ok(());
        }
        let name = name();
        if *self == Self::Absent {
            return Err(format!("{name} must be left out under this grant"));
        }
        Err(match (self, Scalar::of(found)) {
            (Self::Each(Some(items)), None) if found.is_array() => {
                format!("{name} has an item that is not granted; each must be {}", items.words().short())
            }
            (_, None) if found.is_number() => format!("{name} is a number beyond what is compared; {}", needed()),
            (_, None) => format!("{name} is {}; {}", kind(found), needed()),
            (Self::Range { max, .. }, Some(Scalar::Number(n))) if Bound::At(n.clone()) > *max => {
                format!("{name} {n} exceeds the granted maximum {max}")
            }
            (Self::Range { min, .. }, Some(Scalar::Number(n))) => format!("{name} {n} is below the granted minimum {min}"),
            (_, Some(Scalar::Text(_))) => format!("{name} holds a text that is not granted; {}", needed()),
            (_, Some(other)) => format!("{name} is {}; {}", other.words().short(), needed()),
        })
    }

    /// Whether the value is in the set.
    fn holds(&self, value: &Value) -> bool {
        match (self, value) {
            (Self::Unset(kinds), Value::Array(items)) => items.is_empty() && kinds.contains(&Kind::List),
            (Self::Unset(kinds), Value::Object(members)) => members.is_empty() && kinds.contains(&Kind::Object),
            (Self::Each(items), Value::Array(list)) => match items {
                Some(items) => list.iter().all(|item| items.holds(item)),
                None => list.is_empty(),
            },
            _ => Scalar::of(value).is_some_and(|scalar| self.allows(&scalar)),
        }
    }

    /// How many values this lists.
    pub(crate) fn weight(&self) -> usize {
        match self {
            Self::OneOf(values) => values.len(),
            Self::Texts(texts) => texts.weight(),
            Self::Each(Some(items)) => items.weight(),
            Self::Absent | Self::Range { .. } | Self::Unset(_) | Self::Each(None) => 1,
        }
    }

    /// Whether no list in it is longer than this; a meet of prefixes may be longer than either.
    pub(crate) fn fits(&self, limit: usize) -> bool {
        match self {
            Self::Texts(texts) => texts.fits(limit),
            Self::Each(Some(items)) => items.fits(limit),
            _ => true,
        }
    }

    /// Bytes it takes in memory, roughly.
    pub(crate) fn bytes(&self) -> usize {
        let held = |value: &Scalar| size_of::<Scalar>() + if let Scalar::Text(text) = value { text.len() } else { 0 };
        let beyond = match self {
            Self::OneOf(values) => values.iter().map(held).sum(),
            Self::Texts(texts) => texts.bytes(),
            Self::Each(Some(items)) => items.bytes(),
            Self::Absent | Self::Range { .. } | Self::Unset(_) | Self::Each(None) => 0,
        };
        size_of::<Self>() + beyond
    }

    /// As in "the argument must be …".
    pub(crate) fn words(&self) -> Sentence {
        match self {
            Self::Absent => "left out".into(),
            Self::OneOf(values) => Sentence::list(values.iter().map(Scalar::words), "or"),
            Self::Range { min: Bound::Below, max: Bound::Above } => "a number".into(),
            Self::Range { min: Bound::Below, max } => format!("at most {max}").into(),
            Self::Range { min, max: Bound::Above } => format!("at least {min}").into(),
            Self::Range { min, max } => format!("from {min} to {max}").into(),
            Self::Texts(texts) => texts.words(),
            Self::Unset(kinds) if kinds.len() == Kind::ALL.len() => "left out, null or empty".into(),
            Self::Unset(kinds) => {
                let empty = kinds.iter().map(|kind| Sentence::words(format!("an empty {}", kind.as_str())));
                Sentence::list(["left out".into(), "null".into()].into_iter().chain(empty), "or")
            }
            Self::Each(None) => "an empty list".into(),
            Self::Each(Some(items)) => Sentence::words("a list of which each item is ").and(items.words()),
        }
    }
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
