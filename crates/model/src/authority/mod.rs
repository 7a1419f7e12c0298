//! Authority: what may be done, ordered so that a part can be handed on and nothing ever widens.
//!
//! An [`Authority`] is a finite set of [`Grant`]s (RFC 9396 authorization details of type `tool_access`). Every grant
//! is a conjunction of independent dimensions, each with a total order test and a meet, so `a ⊑ b` is decidable and
//! fast: each grant of `a` lies under one grant of `b`. That is exact for single grants, and sound for sets: a set may
//! be refused although two parent grants together would cover one of its grants, never the other way round.
//!
//! An absent dimension is unconstrained, except `delegate`: absent means that the grant may not be handed on.
//! Deliberately missing: regular expressions, negation, counting of budgets (the store counts), and policy.
//! No code outside this module compares authorities. SPEC: DC-07, TX-04, AZ-08.

mod arguments;
mod compare;
mod constraint;
mod describe;
pub(crate) mod field;
mod grant;
mod host;
mod scope;
mod texts;
mod wire;
mod words;

pub use crate::decimal::{Decimal, NUMBER_LIMIT};
pub use crate::json::EXACT;
pub use compare::Holder;
pub use describe::Clauses;
pub use grant::{
    ACTION_LIMIT, ARGUMENT_LIMIT, BUDGET_LIMIT, Charge, DELEGATE_LIMIT, FIELD_LIMIT, GRANT_LIMIT, Grant, HARD_DEPTH,
    LOCATION_LIMIT, Limits, Names as ActionSet, SPEND_LIMIT, SPEND_MOST, VALUE_LIMIT, WEIGHT_LIMIT,
};
pub use host::HOST_LIMIT;
pub use scope::SCOPE_LIMIT;
pub use wire::{ACTION_NAME_LIMIT, POINTER_LIMIT, TEXT_LIMIT, TYPE, URI_LIMIT};
pub use words::{Part, Sentence};

use crate::{
    call::Call,
    id::{AgentId, Principal},
    json,
    refusal::{Code, Refusal},
    resource::Server,
    time::UnixTime,
};
use field::Fields;
use grant::{Miss, Names, weight};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use serde_json::Value;
use std::{
    collections::BTreeSet,
    fmt,
    sync::{Arc, OnceLock},
};
use words::{quote, quote_all};

/// Most grants of which a refusal says what they ask of the arguments.
const ALTERNATIVES: usize = 3;

/// A finite set of grants. Cheap to clone: an authority is copied along every chain and never changes.
///
/// INVARIANT: canonical: sorted, no grant within another, none that permits nothing. Equal meaning grant by grant is
/// equal value and equal digest.
#[derive(Clone, Default)]
pub struct Authority(Arc<Shared>);

#[derive(Default)]
struct Shared {
    grants: Vec<Grant>,
    /// The digest of all of them, computed at first use: it names the authority in every record about it.
    digest: OnceLock<String>,
    /// Of each: it names the grant that permitted a call.
    digests: Vec<OnceLock<String>>,
}

/// What a permitted call may see, and which grants allowed it.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Permit {
    /// Digests of the grants used: those without a budget first, then each that shows further fields.
    pub grants: Vec<String>,
    /// Response fields the caller may see: `None` means all of them.
    pub fields: Option<Vec<String>>,
    /// Budgets of the grants used, by grant digest.
    pub limits: Vec<(String, Limits)>,
    /// What this call draws on those budgets, ready to be counted.
    pub charges: Vec<Charge>,
}

impl Authority {
    /// The authority that permits nothing.
    pub fn none() -> Self {
        Self::default()
    }

    /// Whether this authority allows nothing.
    pub fn is_none(&self) -> bool {
        self.grants().is_empty()
    }

    /// The grants, sorted and without those that another one contains.
    pub fn grants(&self) -> &[Grant] {
        &self.0.grants
    }

    /// The canonical set of these grants.
    pub fn from_grants(grants: impl IntoIterator<Item = Grant>) -> Self {
        let mut sorted: Vec<Grant> = grants.into_iter().collect();
        sorted.sort_unstable();
        let mut kept: Vec<Grant> = Vec::with_capacity(sorted.len().min(GRANT_LIMIT));
        for grant in sorted {
            if kept.iter().any(|other| grant.within(other)) {
                continue;
            }
            kept.retain(|other| !other.within(&grant));
            if kept.len() < GRANT_LIMIT && weight(&kept) + grant.weight() <= WEIGHT_LIMIT {
                kept.push(grant);
            }
        }
        let digests = kept.iter().map(|_| OnceLock::new()).collect();
        Self(Arc::new(Shared { grants: kept, digest: OnceLock::new(), digests }))
    }

    /// Reads RFC 9396 `authorization_details`.
    ///
    /// # Errors
    /// `authorization_details_invalid`, or `constraint_unknown` for a dimension or constraint we do not know.
    pub fn parse(details: &Value) -> Result<Self, Refusal> {
        wire::parse(details).map(Self::from_grants)
    }

    /// Whether a grant can name this action: graphic ASCII without `*`, and not too long.
    pub fn can_name(action: &str) -> bool {
        action != "*" && wire::action(action)
    }

    /// Expands OAuth scope shorthand, `helpdesk:tickets_read helpdesk:*`.
    ///
    /// # Errors
    /// `scope_unknown`.
    pub fn from_scope(scope: &str, servers: &[&Server]) -> Result<Self, Refusal> {
        scope::grants(scope, servers).map(Self::from_grants)
    }

    /// What scope shorthand means among the entitlements of a person: the same, and each grant may be handed on to any agent, as deep as
    /// chains go. Authorization details say themselves what may be handed on.
    ///
    /// # Errors
    /// `scope_unknown`.
    pub fn from_scope_of_a_person(scope: &str, servers: &[&Server]) -> Result<Self, Refusal> {
        let mut details = Self::from_scope(scope, servers)?.to_value();
        for grant in details.as_array_mut().into_iter().flatten().filter_map(Value::as_object_mut) {
            grant.insert("delegate".to_owned(), serde_json::json!({"to": ["*"], "depth": HARD_DEPTH}));
        }
        Self::parse(&details)
    }

    /// RFC 9396 `authorization_details`: an array of `tool_access` objects in canonical order.
    pub fn to_value(&self) -> Value {
        Value::Array(self.grants().iter().map(Grant::to_value).collect())
    }

    /// `sha-256:<hex>` over the canonical JSON.
    pub fn digest(&self) -> String {
        self.0.digest.get_or_init(|| json::digest(&self.to_value())).clone()
    }

    /// How often the most of it may still be handed on.
    pub fn depth(&self) -> u8 {
        self.grants().iter().filter_map(|grant| grant.delegate.as_ref()).map(|delegate| delegate.depth).max().unwrap_or(0)
    }

    /// Scope strings that summarise this authority, sorted. They leave out every constraint: they tell a client what
    /// its token is about, and only `authorization_details` decides.
    pub fn scopes(&self, servers: &[&Server]) -> Vec<String> {
        scope::names(self.grants(), servers)
    }

    /// Actions, as scope strings, that are named at servers which do not have them, sorted. A server that describes no tool is taken to
    /// have every one.
    pub fn unknown_actions(&self, servers: &[&Server]) -> Vec<String> {
        scope::unknown(self.grants(), servers)
    }

    /// The greatest authority below both.
    #[must_use]
    pub fn meet(&self, other: &Self) -> Self {
        // INVARIANT: the result is within both. An authority that is already within the other, as nearly all are that come down a
        // chain, is the meet itself.
        if self.is_within(other) {
            self.clone()
        } else if other.is_within(self) {
            other.clone()
        } else {
            self.meet_each(other)
        }
    }

    /// The same, grant by grant.
    fn meet_each(&self, other: &Self) -> Self {
        Self::from_grants(self.grants().iter().flat_map(|ours| other.grants().iter().filter_map(|theirs| ours.meet(theirs))))
    }

    fn is_within(&self, parent: &Self) -> bool {
        Arc::ptr_eq(&self.0, &parent.0) || self.grants().iter().all(|grant| grant.is_covered(parent.grants()))
    }

    /// `self ⊑ parent`.
    ///
    /// # Errors
    /// A `widens_*` code for the first dimension that exceeds the nearest parent grant; the reason shows both values.
    pub fn within(&self, parent: &Self) -> Result<(), Refusal> {
        self.within_held(parent, Holder::Parent)
    }

    /// As [`Self::within`], with words for where `parent` comes from.
    ///
    /// # Errors
    /// As [`Self::within`].
    pub fn within_held(&self, parent: &Self, holder: Holder) -> Result<(), Refusal> {
        if self.is_within(parent) {
            return Ok(());
        }
        match self.grants().iter().find(|grant| !grant.is_covered(parent.grants())) {
            Some(beyond) => Err(compare::refusal(beyond, parent.grants(), holder)),
            None => Ok(()),
        }
    }

    /// Whether some grant covers this call.
    ///
    /// # Errors
    /// `tool_not_granted`, `argument_not_granted` or `grant_expired`, as the nearest grant has it.
    pub fn permits(&self, call: &Call<'_>) -> Result<Permit, Refusal> {
        self.permits_beyond(call, &BTreeSet::new())
    }

    /// As [`permits`](Self::permits), as if the grants whose digests are `exhausted` were not there. A caller that
    /// finds a budget used up asks again without it: another grant may cover the call.
    ///
    /// # Errors
    /// Those of `permits`, and `limit_exhausted` when only exhausted grants would cover the call.
    pub fn permits_beyond(&self, call: &Call<'_>, exhausted: &BTreeSet<String>) -> Result<Permit, Refusal> {
        let mut covering = Vec::new();
        let mut misses = Vec::new();
        let mut spent = false;
        for (grant, digest) in self.grants().iter().zip(&self.0.digests) {
            match grant.covers(call) {
                Ok(()) => {
                    let digest = digest.get_or_init(|| grant.digest()).as_str();
                    if exhausted.contains(digest) { spent = true } else { covering.push((digest, grant)) }
                }
                Err(miss) => misses.push(miss),
            }
        }
        if covering.is_empty() {
            return Err(if spent {
                Refusal::new(Code::LimitExhausted, format!("the budget for {} is used up", quote(call.action)))
            } else {
                self.nearest(call, misses)
            });
        }
        // Grants without a budget first, so that no budget is drawn on without need.
        covering.sort_by_key(|(_, grant)| grant.is_limited());
        permit(call, &covering)
    }

    fn nearest(&self, call: &Call<'_>, misses: Vec<Miss>) -> Refusal {
        let action = quote(call.action);
        if let Some(reason) = unmet(&misses) {
            return Refusal::new(Code::ArgumentNotGranted, reason);
        }
        let near = misses.into_iter().max_by_key(|miss| match miss {
            Miss::Location | Miss::Arguments(_) => 0,
            Miss::Action => 1,
            Miss::Expired(_) => 2,
        });
        match near {
            None | Some(Miss::Location | Miss::Arguments(_)) => {
                Refusal::new(Code::ToolNotGranted, format!("nothing is granted at {}", quote(call.location)))
            }
            Some(Miss::Action) => {
                let granted = self.actions_at(call.location);
                let granted = granted.named().map(|names| quote_all(names, "and")).unwrap_or_default();
                Refusal::new(Code::ToolNotGranted, format!("{action} is not granted there; granted is {granted}"))
            }
            Some(Miss::Expired(end)) => Refusal::new(Code::GrantExpired, format!("the grant of {action} ended at {}", end.utc())),
        }
    }

    /// The part that may be handed to `delegate`, with one hop less to go. SPEC: DC-10.
    ///
    /// Grants name delegates by subject, so the caller makes sure that `delegate` is of its own issuer.
    ///
    /// # Errors
    /// `delegation_not_allowed` (nothing here may be handed on), `delegate_not_named`.
    pub fn delegable_to(&self, delegate: &Principal) -> Result<Self, Refusal> {
        let agent = AgentId::from_subject(&delegate.sub).is_ok();
        let handed = Self::from_grants(self.grants().iter().filter(|_| agent).filter_map(|grant| grant.handed_to(delegate)));
        if !handed.is_none() {
            return Ok(handed);
        }
        let named: Vec<&Names> = self.grants().iter().filter_map(|grant| grant.delegate.as_ref()).map(|d| &d.to).collect();
        if named.is_empty() {
            return Err(Refusal::new(Code::DelegationNotAllowed, "no part of this authority may be delegated"));
        }
        let to: BTreeSet<&String> = named.into_iter().filter_map(Names::named).flatten().collect();
        let to = if to.is_empty() { "agents".to_owned() } else { quote_all(to, "and") };
        let reason = format!("this may be delegated only to {to}, not to {}", quote(&delegate.sub));
        Err(Refusal::new(Code::DelegateNotNamed, reason))
    }

    /// This authority, ending at `t` at the latest.
    #[must_use]
    pub fn until(&self, t: UnixTime) -> Self {
        let end = UnixTime(t.0.min(EXACT));
        let ending = |grant: &Grant| {
            let not_after = Some(grant.not_after.map_or(end, |earlier| earlier.min(end)));
            Grant { not_after, ..grant.clone() }.normal()
        };
        Self::from_grants(self.grants().iter().filter_map(ending))
    }

    /// The part of this authority that is for `location`.
    #[must_use]
    pub fn at_location(&self, location: &str) -> Self {
        if self.grants().iter().all(|grant| grant.locations.is_only(location)) {
            return self.clone();
        }
        let here = |grant: &&Grant| grant.locations.contains(location);
        let only = || Names::Named(BTreeSet::from([location.to_owned()]));
        Self::from_grants(self.grants().iter().filter(here).map(|grant| Grant { locations: only(), ..grant.clone() }))
    }

    /// Every action some grant names at `location`, expired or not.
    pub fn actions_at(&self, location: &str) -> ActionSet {
        let mut named = BTreeSet::new();
        for grant in self.grants().iter().filter(|grant| grant.locations.contains(location)) {
            match &grant.actions {
                Names::Any => return Names::Any,
                Names::Named(actions) => named.extend(actions.iter().cloned()),
            }
        }
        Names::Named(named)
    }

    /// Whether some arguments exist with which `action` would be permitted now; for filtering lists.
    pub fn could_call(&self, location: &str, action: &str, now: UnixTime) -> bool {
        self.grants().iter().any(|grant| grant.could_cover(location, action, now))
    }

    /// The grants under which `action` could be permitted now, given the right arguments.
    pub fn grants_for<'a>(&'a self, location: &'a str, action: &'a str, now: UnixTime) -> impl Iterator<Item = &'a Grant> {
        self.grants().iter().filter(move |grant| grant.could_cover(location, action, now))
    }

    /// The grants as a page lists them.
    pub fn clauses(&self) -> Vec<Clauses> {
        self.grants().iter().map(describe::clauses).collect()
    }

    /// One sentence for each grant, for consent pages and explanations; nothing is left out.
    pub fn describe(&self) -> Vec<Sentence> {
        self.grants().iter().map(describe::describe).collect()
    }
}

impl Authority {
    /// Bytes it takes in memory, roughly, with all digests. Each holder of a shared authority counts it as its own.
    pub fn bytes(&self) -> usize {
        let digest = size_of::<OnceLock<String>>() + "sha-256:".len() + 64;
        size_of::<Shared>() + digest + self.grants().iter().map(|grant| grant.bytes() + digest).sum::<usize>()
    }
}

/// What each grant for the action asks of the arguments, nearest first, when there is such a grant: any one of them would
/// be enough.
fn unmet(misses: &[Miss]) -> Option<String> {
    let mut failing: Vec<&Vec<String>> = misses
        .iter()
        .filter_map(|miss| match miss {
            Miss::Arguments(failing) => Some(failing),
            _ => None,
        })
        .collect();
    failing.sort_by_key(|failing| failing.len());
    failing.dedup();
    let more = failing.len().saturating_sub(ALTERNATIVES);
    let mut told: Vec<String> = failing.into_iter().take(ALTERNATIVES).map(|failing| failing.join("; ")).collect();
    if more > 0 {
        told.push(format!("as {more} more grants have it"));
    }
    (!told.is_empty()).then(|| told.join("; or "))
}

/// The permit of the covering grants, of which those that show nothing new are not used.
fn permit(call: &Call<'_>, covering: &[(&str, &Grant)]) -> Result<Permit, Refusal> {
    let mut shown: Fields = Some(BTreeSet::new());
    let mut permit = Permit { grants: Vec::new(), fields: None, limits: Vec::new(), charges: Vec::new() };
    for (digest, grant) in covering {
        if !permit.grants.is_empty() && field::within(&grant.fields, &shown) {
            continue;
        }
        shown = field::join(&shown, &grant.fields);
        permit.grants.push((*digest).to_owned());
        if grant.is_limited() {
            permit.limits.push(((*digest).to_owned(), grant.limits()));
            permit.charges.extend(grant.charges(digest, call)?);
        }
    }
    permit.fields = shown.as_ref().map(field::to_strings);
    Ok(permit)
}

impl PartialEq for Authority {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0) || self.grants() == other.grants()
    }
}

impl Eq for Authority {}

impl fmt::Debug for Authority {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Authority").field("grants", &self.0.grants).finish()
    }
}

impl Serialize for Authority {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        self.grants().serialize(to)
    }
}

impl<'de> Deserialize<'de> for Authority {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let details = json::strict(from)?;
        Self::parse(&details).map_err(de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::{collection::vec, option, prelude::*, sample::subsequence};
    use serde_json::json;

    const HERE: &str = "https://rs.example/a";

    fn detail() -> impl Strategy<Value = Value> {
        let names = |all: &[&'static str], least| subsequence(all.to_vec(), least..=all.len());
        let places = option::of(names(&[HERE, "https://rs.example/b"], 1));
        let fields = option::of(names(&["/x", "/x/y", "/x/*/y", "/x/*", "/z"], 1));
        let limits = (option::of(1..3_u64), option::of(1..3_u64), option::of(1..3_u64));
        let delegate = option::of((names(&["agent:a", "agent:b"], 1), 1..4_u8));
        (places, names(&["get", "put", "list"], 1), fields, limits, delegate, option::of(1..3_i64)).prop_map(
            |(places, actions, fields, (most, calls, spend), delegate, end)| {
                let mut members =
                    serde_json::Map::from_iter([("type".to_owned(), json!(TYPE)), ("actions".to_owned(), json!(actions))]);
                let mut limits = serde_json::Map::new();
                limits.extend(calls.map(|calls| ("calls".to_owned(), json!(calls))));
                limits.extend(spend.map(|most| ("spend".to_owned(), json!({"/n": most}))));
                let optional = [
                    ("locations", places.map(|places| json!(places))),
                    ("fields", fields.map(|fields| json!(fields))),
                    ("arguments", most.map(|most| json!({"/n": {"max": most}, "/m": {"in": [1, most]}}))),
                    ("limits", (!limits.is_empty()).then(|| Value::Object(limits))),
                    ("delegate", delegate.map(|(to, depth)| json!({"to": to, "depth": depth}))),
                    ("not_after", end.map(|end| json!(end))),
                ];
                members.extend(optional.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?))));
                Value::Object(members)
            },
        )
    }

    fn authority() -> impl Strategy<Value = Authority> {
        vec(detail(), 0..4).prop_map(|details| Authority::parse(&Value::Array(details)).unwrap())
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2000))]

        #[test]
        fn a_meet_that_is_seen_at_once_is_the_one_made_grant_by_grant(a in authority(), b in authority()) {
            let low = a.meet_each(&b);
            for (x, y) in [(&a, &b), (&low, &a), (&b, &low), (&a, &a)] {
                prop_assert_eq!(x.meet(y), x.meet_each(y));
            }
        }

        #[test]
        fn what_is_handed_on_or_kept_for_one_place_is_normal(a in authority()) {
            let to = Principal::local("https://as.example", "agent:a");
            let handed = a.delegable_to(&to).unwrap_or_default();
            let here = a.at_location(HERE);
            for grant in handed.grants().iter().chain(here.grants()) {
                prop_assert_eq!(grant.clone().normal(), Some(grant.clone()));
            }
            for kept in [handed, here] {
                prop_assert_eq!(Authority::from_grants(kept.grants().to_vec()), kept);
            }
        }

        #[test]
        fn an_authority_is_written_as_its_value_is(a in authority()) {
            prop_assert_eq!(serde_json::to_string(&a).unwrap(), a.to_value().to_string());
            prop_assert_eq!(a.digest(), json::digest(&a.to_value()));
            let further = |value: &Value| value.pointer("/delegate/depth").and_then(Value::as_u64).unwrap_or(0);
            let most = a.to_value().as_array().unwrap().iter().map(further).max().unwrap_or(0);
            prop_assert_eq!(u64::from(a.depth()), most);
        }
    }
}
