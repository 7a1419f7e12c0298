//! One grant: a conjunction of independent dimensions, each with a total order test and a meet.

use super::{
    constraint::{Constraint, Number},
    field::{self, Fields},
};
use crate::{
    call::Call,
    chain::HARD_DEPTH,
    id::Principal,
    json::{self, pointer},
    refusal::{Code, Refusal},
    time::UnixTime,
};
use std::collections::{BTreeMap, BTreeSet};

/// Most locations one grant may name.
pub const LOCATION_LIMIT: usize = 64;
/// Most actions one grant may name.
pub const ACTION_LIMIT: usize = 1024;
/// Most arguments one grant may constrain.
pub const ARGUMENT_LIMIT: usize = 64;
/// Most field pointers in one grant.
pub const FIELD_LIMIT: usize = 64;
/// Most arguments one grant may sum up.
pub const SPEND_LIMIT: usize = 16;
/// Most delegates one grant may name.
pub const DELEGATE_LIMIT: usize = 256;

/// What a text in a set takes besides its own bytes, roughly.
const ENTRY: usize = 48;

/// Every name, or those listed.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Names {
    Any,
    Named(BTreeSet<String>),
}

impl Names {
    pub fn contains(&self, name: &str) -> bool {
        match self {
            Self::Any => true,
            Self::Named(names) => names.contains(name),
        }
    }

    pub fn is_empty(&self) -> bool {
        self.named().is_some_and(BTreeSet::is_empty)
    }

    /// The names, when they are listed.
    pub fn named(&self) -> Option<&BTreeSet<String>> {
        match self {
            Self::Any => None,
            Self::Named(names) => Some(names),
        }
    }

    pub(crate) fn meet(&self, other: &Self) -> Self {
        match (self, other) {
            (Self::Any, names) | (names, Self::Any) => names.clone(),
            (Self::Named(a), Self::Named(b)) => Self::Named(a.intersection(b).cloned().collect()),
        }
    }

    pub(crate) fn within(&self, parent: &Self) -> bool {
        match (self, parent) {
            (_, Self::Any) => true,
            (Self::Any, Self::Named(_)) => false,
            (Self::Named(child), Self::Named(parent)) => child.is_subset(parent),
        }
    }

    /// Whether this is the one name and no other.
    pub(crate) fn is_only(&self, name: &str) -> bool {
        self.named().is_some_and(|names| names.len() == 1 && names.contains(name))
    }

    fn is_disjoint(&self, other: &Self) -> bool {
        self.named().zip(other.named()).is_some_and(|(a, b)| a.is_disjoint(b))
    }

    fn fits(&self, limit: usize) -> bool {
        self.named().is_none_or(|names| names.len() <= limit)
    }
}

/// To whom a grant may be handed on, and how many hops further. INVARIANT: `depth` is at least 1.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, serde::Serialize)]
pub(crate) struct Delegate {
    pub(crate) to: Names,
    pub(crate) depth: u8,
}

/// One RFC 9396 authorization detail of type `tool_access`: where, what, on which arguments, which response fields,
/// how often, handed on to whom, until when.
///
/// INVARIANT: always what [`normal`](Self::normal) made, so equal meaning is equal value, and it permits something.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Grant {
    pub(crate) locations: Names,
    pub(crate) actions: Names,
    pub(crate) arguments: BTreeMap<String, Constraint>,
    pub(crate) fields: Fields,
    pub(crate) calls: Option<u64>,
    pub(crate) spend: BTreeMap<String, Number>,
    pub(crate) delegate: Option<Delegate>,
    pub(crate) not_after: Option<UnixTime>,
}

/// Why a grant does not cover a call, from farthest to nearest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Miss {
    Location,
    Action,
    Expired(UnixTime),
    Arguments(Vec<String>),
}

impl Grant {
    /// No constraint at all, and not to be handed on.
    pub(crate) fn unconstrained() -> Self {
        Self {
            locations: Names::Any,
            actions: Names::Any,
            arguments: BTreeMap::new(),
            fields: None,
            calls: None,
            spend: BTreeMap::new(),
            delegate: None,
            not_after: None,
        }
    }

    /// The resources this grant is for; `None` means every one.
    pub fn locations(&self) -> Option<&BTreeSet<String>> {
        self.locations.named()
    }

    pub fn actions(&self) -> &Names {
        &self.actions
    }

    pub fn not_after(&self) -> Option<UnixTime> {
        self.not_after
    }

    /// The response fields this grant shows, as JSON Pointers with `*`; `None` means all.
    pub fn fields(&self) -> Option<Vec<String>> {
        self.fields.as_ref().map(field::to_strings)
    }

    pub fn limits(&self) -> Limits {
        Limits { calls: self.calls, spend: self.spend.iter().map(|(at, most)| (at.clone(), most.double())).collect() }
    }

    /// Whether this grant has a budget that calls draw on.
    pub fn is_limited(&self) -> bool {
        self.calls.is_some() || !self.spend.is_empty()
    }

    /// `sha-256:<hex>` over the canonical JSON of this grant.
    pub fn digest(&self) -> String {
        json::digest(&self.to_value())
    }

    /// The one spelling of this meaning; `None` when it permits nothing, or is beyond the documented limits (which
    /// only a meet can bring about; leaving such a grant out narrows, and so is always safe).
    pub(crate) fn normal(mut self) -> Option<Self> {
        let ended = self.not_after.is_some_and(|end| end.0 <= 0);
        if self.locations.is_empty() || self.actions.is_empty() || self.calls == Some(0) || ended {
            return None;
        }
        for (at, most) in &self.spend {
            let spendable = Constraint::range(Number::ZERO, *most)?;
            let narrowed = match self.arguments.get(at) {
                Some(constraint) => constraint.meet(&spendable)?,
                None => spendable,
            };
            self.arguments.insert(at.clone(), narrowed);
        }
        self.arguments = satisfiable(self.arguments)?;
        self.fields = self.fields.as_ref().and_then(field::normal);
        self.delegate = self.delegate.filter(|delegate| delegate.depth > 0 && !delegate.to.is_empty());
        self.fits().then_some(self)
    }

    fn fits(&self) -> bool {
        self.locations.fits(LOCATION_LIMIT)
            && self.actions.fits(ACTION_LIMIT)
            && self.arguments.len() <= ARGUMENT_LIMIT
            && self.fields.as_ref().is_none_or(|fields| fields.len() <= FIELD_LIMIT)
            && self.spend.len() <= SPEND_LIMIT
            && self.delegate.as_ref().is_none_or(|d| d.to.fits(DELEGATE_LIMIT) && usize::from(d.depth) <= HARD_DEPTH)
    }

    /// How much this grant lists, as a measure of what comparing it costs; field pointers are compared token by token.
    pub(crate) fn weight(&self) -> usize {
        let named = |names: &Names| names.named().map_or(1, BTreeSet::len);
        named(&self.locations)
            + named(&self.actions)
            + self.arguments.values().map(Constraint::weight).sum::<usize>()
            + self.fields.as_ref().map_or(0, |fields| 8 * fields.len())
            + self.delegate.as_ref().map_or(0, |delegate| named(&delegate.to))
    }

    /// Bytes it takes in memory, roughly.
    pub(crate) fn bytes(&self) -> usize {
        let each = |texts: &mut dyn Iterator<Item = usize>| texts.map(|text| text + ENTRY).sum::<usize>();
        let names = |names: &Names| each(&mut names.named().into_iter().flatten().map(String::len));
        size_of::<Self>()
            + names(&self.locations)
            + names(&self.actions)
            + each(&mut self.arguments.iter().map(|(at, constraint)| at.len() + constraint.bytes()))
            + each(&mut self.fields.iter().flatten().map(field::FieldPath::bytes))
            + each(&mut self.spend.keys().map(String::len))
            + self.delegate.as_ref().map_or(0, |delegate| names(&delegate.to))
    }

    /// The greatest grant below both; `None` when nothing is.
    pub(crate) fn meet(&self, other: &Self) -> Option<Self> {
        if self.locations.is_disjoint(&other.locations) || self.actions.is_disjoint(&other.actions) {
            return None;
        }
        let mut arguments = self.arguments.clone();
        for (at, theirs) in &other.arguments {
            let both = match arguments.get(at) {
                Some(ours) => ours.meet(theirs)?,
                None => theirs.clone(),
            };
            arguments.insert(at.clone(), both);
        }
        let mut spend = self.spend.clone();
        for (at, theirs) in &other.spend {
            spend.entry(at.clone()).and_modify(|ours| *ours = (*ours).min(*theirs)).or_insert(*theirs);
        }
        let delegate = self.delegate.as_ref().zip(other.delegate.as_ref());
        let met = Self {
            locations: self.locations.meet(&other.locations),
            actions: self.actions.meet(&other.actions),
            arguments,
            fields: field::meet(&self.fields, &other.fields)?,
            calls: lesser(self.calls, other.calls),
            spend,
            delegate: delegate.map(|(a, b)| Delegate { to: a.to.meet(&b.to), depth: a.depth.min(b.depth) }),
            not_after: lesser(self.not_after, other.not_after),
        };
        met.normal()
    }

    /// Whether one of these grants alone covers all of this one.
    pub(crate) fn is_covered(&self, parents: &[Self]) -> bool {
        parents.iter().any(|above| self.within(above))
    }

    /// `self ⊑ parent`: exact, because every dimension is and `normal` has made them independent.
    pub(crate) fn within(&self, parent: &Self) -> bool {
        self.locations.within(&parent.locations)
            && self.actions.within(&parent.actions)
            && parent.arguments.iter().all(|(at, constraint)| self.implies(at, constraint))
            && field::within(&self.fields, &parent.fields)
            && self.limits_within(parent)
            && self.delegate_within(parent)
            && self.ends_within(parent)
    }

    /// Whether every call this grant covers meets `constraint` at `pointer`.
    pub(crate) fn implies(&self, pointer: &str, constraint: &Constraint) -> bool {
        match self.arguments.get(pointer) {
            Some(ours) => ours.within(constraint),
            // What is inside a missing or scalar argument is missing too.
            None => *constraint == Constraint::Absent && ancestors(pointer).any(|above| self.arguments.contains_key(above)),
        }
    }

    pub(crate) fn limits_within(&self, parent: &Self) -> bool {
        within_limit(self.calls, parent.calls)
            && parent.spend.iter().all(|(at, most)| self.spend.get(at).is_some_and(|ours| ours <= most))
    }

    pub(crate) fn delegate_within(&self, parent: &Self) -> bool {
        match (&self.delegate, &parent.delegate) {
            (None, _) => true,
            (Some(_), None) => false,
            (Some(ours), Some(theirs)) => ours.depth <= theirs.depth && ours.to.within(&theirs.to),
        }
    }

    pub(crate) fn ends_within(&self, parent: &Self) -> bool {
        within_limit(self.not_after, parent.not_after)
    }

    /// Whether this grant covers the call.
    pub(crate) fn covers(&self, call: &Call<'_>) -> Result<(), Miss> {
        if !self.locations.contains(call.location) {
            return Err(Miss::Location);
        }
        if !self.actions.contains(call.action) {
            return Err(Miss::Action);
        }
        if let Some(end) = self.not_after.filter(|end| *end <= call.now) {
            return Err(Miss::Expired(end));
        }
        let failing = self.arguments.iter().filter_map(|(at, c)| c.admits(at, pointer::get(call.arguments, at)).err());
        let failing: Vec<String> = failing.collect();
        if failing.is_empty() { Ok(()) } else { Err(Miss::Arguments(failing)) }
    }

    /// Whether `action` at `location` is covered now for some arguments.
    pub(crate) fn could_cover(&self, location: &str, action: &str, now: UnixTime) -> bool {
        self.locations.contains(location) && self.actions.contains(action) && self.not_after.is_none_or(|end| now < end)
    }

    /// This grant in the hands of `delegate`, with one hop less to go; `None` when it does not name them.
    pub(crate) fn handed_to(&self, delegate: &Principal) -> Option<Self> {
        let allowed = self.delegate.as_ref().filter(|allowed| allowed.to.contains(&delegate.sub))?;
        let depth = allowed.depth.checked_sub(1)?;
        let left = (depth > 0).then(|| Delegate { to: allowed.to.clone(), depth });
        // Nothing else changes, so it is as normal as it was.
        Some(Self { delegate: left, ..self.clone() })
    }

    /// What one call draws from this grant's budgets.
    ///
    /// # Errors
    /// `argument_not_granted` when the amount is not there; `covers` has made sure that it is.
    pub(crate) fn charges(&self, digest: &str, call: &Call<'_>) -> Result<Vec<Charge>, Refusal> {
        let calls = self.calls.map(|most| Charge {
            grant: digest.to_owned(),
            unit: "calls".to_owned(),
            add: 1,
            limit: i64::try_from(most).unwrap_or(i64::MAX),
        });
        let mut charges: Vec<Charge> = calls.into_iter().collect();
        for (at, most) in &self.spend {
            let amount = match pointer::get(call.arguments, at) {
                Some(serde_json::Value::Number(number)) => Number::of(number),
                _ => None,
            };
            let amount =
                amount.ok_or_else(|| Refusal::new(Code::ArgumentNotGranted, format!("`{at}` has no amount to count")))?;
            charges.push(Charge {
                grant: digest.to_owned(),
                unit: at.clone(),
                add: millionths(amount),
                limit: millionths(*most),
            });
        }
        Ok(charges)
    }
}

/// How often, and how much in total. `None` and pointers that are not there are unlimited.
#[derive(Clone, Debug, Default, PartialEq, serde::Serialize)]
pub struct Limits {
    pub calls: Option<u64>,
    /// Argument pointer to the most its values may add up to.
    pub spend: BTreeMap<String, f64>,
}

/// What a call draws on one budget.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Charge {
    /// Digest of the grant whose budget it is.
    pub grant: String,
    /// `calls`, or the pointer of the argument that is summed.
    pub unit: String,
    /// Calls, or millionths of the argument; never negative.
    pub add: i64,
    /// The most that may add up, in the same unit.
    pub limit: i64,
}

/// Largest amount a spend limit may be, so that it can be counted in millionths.
pub const SPEND_MOST: f64 = 1e12;

/// An amount in millionths, so that sums are exact. Parts finer than that count as one: they are never free.
#[expect(clippy::cast_possible_truncation, reason = "at most SPEND_MOST millionths, which is within 2^63")]
fn millionths(amount: Number) -> i64 {
    let scaled = amount.double() * 1e6;
    let whole = scaled.round();
    // What is left of a decimal such as 0.29 after scaling is noise of the double, far below a thousandth.
    if scaled - whole > 1e-3 { whole as i64 + 1 } else { whole as i64 }
}

/// The constraints without those that others imply; `None` when no arguments meet them all.
///
/// Every constraint but `absent` makes its argument a scalar, and a missing or scalar argument has nothing inside.
fn satisfiable(mut arguments: BTreeMap<String, Constraint>) -> Option<BTreeMap<String, Constraint>> {
    let inside = |at: &str| ancestors(at).any(|above| arguments.contains_key(above));
    let nested: Vec<String> = arguments.keys().filter(|at| inside(at)).cloned().collect();
    for at in nested {
        if arguments.remove(&at) != Some(Constraint::Absent) {
            return None;
        }
    }
    Some(arguments)
}

/// The pointers to what contains the addressed value: `/a` and `/a/b` for `/a/b/c`.
fn ancestors(pointer: &str) -> impl Iterator<Item = &str> {
    pointer.match_indices('/').skip(1).filter_map(|(end, _)| pointer.get(..end))
}

fn lesser<T: Ord>(a: Option<T>, b: Option<T>) -> Option<T> {
    match (a, b) {
        (Some(a), Some(b)) => Some(a.min(b)),
        (a, b) => a.or(b),
    }
}

/// Whether a bound is as tight as the parent's.
fn within_limit<T: Ord>(child: Option<T>, parent: Option<T>) -> bool {
    parent.is_none_or(|most| child.is_some_and(|ours| ours <= most))
}
