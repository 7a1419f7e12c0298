//! One grant: a conjunction of independent dimensions, each with a total order test and a meet.

use super::{
    arguments::{self, Constraints, Only},
    constraint::{Bound, Constraint},
    field::{self, Fields},
};
use crate::{
    call::Call,
    decimal::Decimal,
    id::Principal,
    json::{self, pointer},
    refusal::{Code, Refusal},
    time::UnixTime,
};
use std::collections::{BTreeMap, BTreeSet};

/// Most grants of one authority. A meet that would have more keeps the first in canonical order, which only narrows.
pub const GRANT_LIMIT: usize = 64;

/// Most that one authority may list altogether: names, values and, eightfold, field pointers. Bounds the cost of every
/// comparison; a meet beyond it narrows in the same way.
pub const WEIGHT_LIMIT: usize = 4096;

/// Most values of one `in`.
pub const VALUE_LIMIT: usize = 256;
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
/// Most budgets that one grant may draw on.
pub const BUDGET_LIMIT: usize = 16;
/// Most actors a chain may have; no configuration may exceed this. SPEC: DC-08.
pub const HARD_DEPTH: usize = 8;
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
    /// Whether `name` is among these names.
    pub fn contains(&self, name: &str) -> bool {
        match self {
            Self::Any => true,
            Self::Named(names) => names.contains(name),
        }
    }

    /// Whether no name is among them. [`Names::Any`] is never empty.
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
    pub(crate) arguments: Constraints,
    pub(crate) fields: Fields,
    pub(crate) calls: Option<u64>,
    pub(crate) spend: BTreeMap<String, Decimal>,
    pub(crate) delegate: Option<Delegate>,
    pub(crate) not_after: Option<UnixTime>,
    // The order of the members is part of the canonical order of grants: new ones go to the end.
    pub(crate) only: Only,
    /// Names of the budgets that calls draw on; without a name, the limits themselves are the name.
    pub(crate) budgets: BTreeSet<String>,
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
            only: None,
            budgets: BTreeSet::new(),
        }
    }

    /// The resources this grant is for; `None` means every one.
    pub fn locations(&self) -> Option<&BTreeSet<String>> {
        self.locations.named()
    }

    /// The actions that this grant allows.
    pub fn actions(&self) -> &Names {
        &self.actions
    }

    /// The time from which this grant allows nothing; `None` means that only the token's own end counts.
    pub fn not_after(&self) -> Option<UnixTime> {
        self.not_after
    }

    /// The response fields this grant shows, as JSON Pointers with `*`; `None` means all.
    pub fn fields(&self) -> Option<Vec<String>> {
        self.fields.as_ref().map(field::to_strings)
    }

    /// The budgets of this grant: how many calls, and how much of each argument may be spent.
    pub fn limits(&self) -> Limits {
        let spend = self.spend.iter().map(|(at, most)| (at.clone(), most.to_number())).collect();
        Limits { names: self.budgets.clone(), calls: self.calls, spend }
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
            let spendable = spendable(most)?;
            match self.arguments.get_mut(at) {
                Some(constraint) => *constraint = constraint.meet(&spendable)?,
                None => drop(self.arguments.insert(at.clone(), spendable)),
            }
        }
        self.only = arguments::normal_only(self.only);
        self.arguments = arguments::normal(self.arguments, &mut self.only)?;
        self.fields = self.fields.and_then(field::normal);
        self.delegate = self.delegate.filter(|delegate| delegate.depth > 0 && !delegate.to.is_empty());
        self.fits().then_some(self)
    }

    fn fits(&self) -> bool {
        self.locations.fits(LOCATION_LIMIT)
            && self.actions.fits(ACTION_LIMIT)
            && self.arguments.len() <= ARGUMENT_LIMIT
            && self.arguments.values().all(|constraint| constraint.fits(VALUE_LIMIT))
            && self.only.as_ref().is_none_or(|only| only.len() <= ARGUMENT_LIMIT)
            && self.budgets.len() <= BUDGET_LIMIT
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
            + self.only.as_ref().map_or(0, BTreeSet::len)
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
            + each(&mut self.only.iter().flatten().chain(&self.budgets).map(String::len))
            + self.delegate.as_ref().map_or(0, |delegate| names(&delegate.to))
    }

    /// The greatest grant below both; `None` when nothing is.
    pub(crate) fn meet(&self, other: &Self) -> Option<Self> {
        if self.locations.is_disjoint(&other.locations) || self.actions.is_disjoint(&other.actions) {
            return None;
        }
        let mut arguments = self.arguments.clone();
        for (at, theirs) in &other.arguments {
            match arguments.get_mut(at) {
                Some(ours) => *ours = ours.meet(theirs)?,
                None => drop(arguments.insert(at.clone(), theirs.clone())),
            }
        }
        let mut spend = self.spend.clone();
        for (at, theirs) in &other.spend {
            spend.entry(at.clone()).and_modify(|ours| *ours = theirs.min(ours).clone()).or_insert_with(|| theirs.clone());
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
            only: arguments::meet_only(&self.only, &other.only),
            budgets: if self.budgets.is_empty() { other.budgets.clone() } else { &self.budgets | &other.budgets },
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
            && arguments::only_within(&self.only, &parent.only)
            && field::within(&self.fields, &parent.fields)
            && self.limits_within(parent)
            && self.delegate_within(parent)
            && self.ends_within(parent)
    }

    /// Whether every call this grant covers meets `constraint` at `pointer`.
    pub(crate) fn implies(&self, pointer: &str, constraint: &Constraint) -> bool {
        arguments::implies(&self.arguments, &self.only, pointer, constraint)
    }

    pub(crate) fn limits_within(&self, parent: &Self) -> bool {
        within_limit(self.calls, parent.calls)
            && parent.budgets.is_subset(&self.budgets)
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
        let failing = arguments::failing(&self.arguments, &self.only, call.arguments);
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
        let mut charges = Vec::new();
        let mut charge = |unit: &str, add: i64, limit: i64| {
            // Alternatives of one meaning share a budget: those of one name, or of one limit where none is named.
            let named = self.budgets.iter().map(|name| format!("name/{}", pointer::escape(name)));
            let unnamed = self.budgets.is_empty().then(|| format!("limit/{limit}"));
            let budgets = named.chain(unnamed);
            charges.extend(budgets.map(|budget| Charge { grant: digest.to_owned(), budget, unit: unit.to_owned(), add, limit }));
        };
        if let Some(most) = self.calls {
            charge("calls", 1, i64::try_from(most).unwrap_or(i64::MAX));
        }
        for (at, most) in &self.spend {
            let amount = match arguments::find(call.arguments, at) {
                Ok(Some(serde_json::Value::Number(number))) => Decimal::of(number).and_then(|amount| amount.millionths_up()),
                _ => None,
            };
            let no_amount = || Refusal::new(Code::ArgumentNotGranted, format!("`{at}` has no amount to count"));
            charge(at, amount.ok_or_else(no_amount)?, most.millionths_down().unwrap_or(0));
        }
        Ok(charges)
    }
}

/// What these grants list altogether.
pub(crate) fn weight(grants: &[Grant]) -> usize {
    grants.iter().map(Grant::weight).sum()
}

/// How often, and how much in total. `None` and pointers that are not there are unlimited.
#[derive(Clone, Debug, Default, PartialEq, serde::Serialize)]
pub struct Limits {
    /// Names of the budgets; without a name, alternatives with the same limits share one.
    #[serde(skip_serializing_if = "BTreeSet::is_empty")]
    pub names: BTreeSet<String>,
    pub calls: Option<u64>,
    /// Argument pointer to the most its values may add up to.
    pub spend: BTreeMap<String, serde_json::Number>,
}

/// What a call draws on one budget.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Charge {
    /// Digest of the grant that draws.
    pub grant: String,
    /// Which of its holder's budgets it is: its name, or the limit itself.
    pub budget: String,
    /// `calls`, or the pointer of the argument that is summed.
    pub unit: String,
    /// Calls, or millionths of the argument; never negative.
    pub add: i64,
    /// The most that may add up, in the same unit.
    pub limit: i64,
}

/// Largest amount a spend limit may be, so that it can be counted in millionths.
pub const SPEND_MOST: i64 = 1_000_000_000_000;

/// The amounts that a total leaves possible.
pub(crate) fn spendable(most: &Decimal) -> Option<Constraint> {
    Constraint::range(Bound::At(Decimal::ZERO), Bound::At(most.clone()))
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
