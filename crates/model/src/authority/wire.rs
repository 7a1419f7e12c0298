//! Grants as RFC 9396 authorization details, read strictly and written in canonical form.
//!
//! SPEC: RFC 9396 §2, §5; AZ-08: an unknown type, member, JSON type or value is refused, never ignored.

use super::{
    arguments::{self, Constraints},
    constraint::{Bound, Constraint, Kind, Scalar},
    field::{self, FieldPath},
    grant::{
        ACTION_LIMIT, ARGUMENT_LIMIT, BUDGET_LIMIT, DELEGATE_LIMIT, Delegate, FIELD_LIMIT, GRANT_LIMIT, Grant, HARD_DEPTH,
        LOCATION_LIMIT, Names, SPEND_LIMIT, SPEND_MOST, VALUE_LIMIT, WEIGHT_LIMIT, weight,
    },
    host,
    texts::Texts,
    words::quote,
};
use crate::{
    decimal::Decimal,
    display,
    id::AgentId,
    json::{EXACT, pointer},
    refusal::{Code, Refusal},
    time::UnixTime,
};
use serde::{Serialize, Serializer, ser::SerializeMap as _};
use serde_json::{Map, Value};
use std::collections::{BTreeMap, BTreeSet};

/// The one authorization details type we know.
pub const TYPE: &str = "tool_access";
/// Longest text of a value or prefix, in bytes.
pub const TEXT_LIMIT: usize = 1024;
/// Longest location, in bytes.
pub const URI_LIMIT: usize = 2048;
/// Longest action name, in bytes.
pub const ACTION_NAME_LIMIT: usize = 256;
/// Longest pointer, in bytes.
pub const POINTER_LIMIT: usize = 256;

/// Reads `authorization_details`; grants that permit nothing are left out.
pub(crate) fn parse(details: &Value) -> Result<Vec<Grant>, Refusal> {
    let Value::Array(details) = details else {
        return Err(invalid("`authorization_details` must be an array"));
    };
    if details.len() > GRANT_LIMIT {
        return Err(invalid(format!("`authorization_details` has {} entries; at most {GRANT_LIMIT} are read", details.len())));
    }
    let mut grants = Vec::new();
    for (index, detail) in details.iter().enumerate() {
        let read = grant(detail).map_err(|no| Refusal::new(no.code, format!("authorization_details[{index}]: {}", no.reason)))?;
        grants.extend(read);
    }
    if weight(&grants) > WEIGHT_LIMIT {
        return Err(invalid(format!(
            "`authorization_details` list more than {WEIGHT_LIMIT} names, values and fields altogether"
        )));
    }
    Ok(grants)
}

fn grant(detail: &Value) -> Result<Option<Grant>, Refusal> {
    let members = object(detail, "an entry")?;
    match members.get("type") {
        Some(Value::String(kind)) if kind == TYPE => {}
        Some(Value::String(kind)) => {
            return Err(invalid(format!("type {} is unknown; only `{TYPE}` is", quote(kind))));
        }
        _ => return Err(invalid("`type` must be a text")),
    }
    let mut grant = Grant::unconstrained();
    let mut possible = true;
    let mut only = None;
    for (name, value) in members {
        match name.as_str() {
            "type" => {}
            "locations" => grant.locations = Names::Named(texts(value, name, LOCATION_LIMIT, location)?),
            "actions" => grant.actions = actions(value)?,
            "arguments" => match arguments(value)? {
                Some(constraints) => grant.arguments = constraints,
                None => possible = false,
            },
            "only" => only = Some(value),
            "fields" => grant.fields = field::normal(fields(value)?),
            "limits" => limits(value, &mut grant)?,
            "delegate" => grant.delegate = Some(delegate(value)?),
            "not_after" => grant.not_after = Some(not_after(value)?),
            _ => return Err(unknown("dimension", name)),
        }
    }
    if let Some(value) = only {
        grant.only = Some(allowed(value, &grant)?);
    }
    Ok(if possible { grant.normal() } else { None })
}

/// The arguments that `only` leaves: with `true`, those that the grant constrains.
fn allowed(value: &Value, grant: &Grant) -> Result<BTreeSet<String>, Refusal> {
    let constrained = || grant.arguments.keys().chain(grant.spend.keys());
    if *value == Value::Bool(true) {
        return Ok(constrained().cloned().collect());
    }
    let Value::Array(listed) = value else { return Err(invalid("`only` must be `true` or a list of JSON Pointers")) };
    at_most(listed.len(), ARGUMENT_LIMIT, "only")?;
    let pointer = |at: &Value| {
        let at = at.as_str().ok_or_else(|| invalid("`only` must be `true` or a list of JSON Pointers"))?;
        argument_pointer(at).map(|()| at.to_owned())
    };
    let listed: BTreeSet<String> = listed.iter().map(pointer).collect::<Result<_, _>>()?;
    let only = Some(listed.clone());
    let needed = |at: &&String| grant.arguments.get(*at).is_none_or(|constraint| !constraint.allows_missing());
    match constrained().filter(needed).find(|at| arguments::left_out(&only, at)) {
        Some(at) => Err(invalid(format!("`only` does not name {}, which the grant needs", quote(at)))),
        None => Ok(listed),
    }
}

fn actions(value: &Value) -> Result<Names, Refusal> {
    let named = texts(value, "actions", ACTION_LIMIT, action)?;
    Ok(if named.contains("*") { Names::Any } else { Names::Named(named) })
}

fn arguments(value: &Value) -> Result<Option<Constraints>, Refusal> {
    let members = object(value, "`arguments`")?;
    at_most(members.len(), ARGUMENT_LIMIT, "arguments")?;
    let mut constraints = BTreeMap::new();
    let mut possible = true;
    for (at, value) in members {
        argument_pointer(at)?;
        match constraint(at, value)? {
            Some(constraint) => {
                constraints.insert(at.clone(), constraint);
            }
            None => possible = false,
        }
    }
    Ok(possible.then_some(constraints))
}

/// One argument's constraint; `None` when no value meets it.
fn constraint(at: &str, value: &Value) -> Result<Option<Constraint>, Refusal> {
    let Value::Object(members) = value else {
        return Err(invalid(format!("the constraint on {} must be an object", quote(at))));
    };
    let mut members = members.iter();
    let Some((name, value)) = members.next() else {
        return Err(invalid(format!("the constraint on {} is empty", quote(at))));
    };
    let mut met = one(at, name, value)?;
    for (name, value) in members {
        met = met.zip(one(at, name, value)?).and_then(|(met, set)| met.meet(&set));
    }
    Ok(met)
}

/// One member of a constraint.
fn one(at: &str, name: &str, value: &Value) -> Result<Option<Constraint>, Refusal> {
    Ok(match name {
        "eq" => Constraint::one_of(BTreeSet::from([scalar(at, value)?])),
        "in" => {
            let Value::Array(values) = value else { return Err(wrong(at, name, "a list")) };
            at_most(values.len(), VALUE_LIMIT, "in")?;
            Constraint::one_of(values.iter().map(|value| scalar(at, value)).collect::<Result<_, _>>()?)
        }
        "min" => Constraint::range(least(number(at, name, value)?), Bound::Above),
        "max" => Constraint::range(Bound::Below, Bound::At(number(at, name, value)?)),
        "prefix" => Texts::beginning(several(at, name, value, |_| true)?).map(Constraint::Texts),
        "host" => Texts::at(several(at, name, value, host::is_host)?).map(Constraint::Texts),
        "absent" if *value == Value::Bool(true) => Some(Constraint::Absent),
        "absent" => return Err(wrong(at, name, "`true`")),
        "unset" => Some(unset(at, value)?),
        "each" => {
            let items = constraint(at, value)?;
            if items.as_ref().is_some_and(|items| !items.is_of_scalars()) {
                return Err(wrong(at, name, "a constraint on scalars: `eq`, `in`, `min`, `max`, `prefix` or `host`"));
            }
            Some(Constraint::Each(items.map(Box::new)))
        }
        _ => return Err(unknown("constraint", name)),
    })
}

/// A lower bound. -(2^53 - 1), by itself, is how a grant says "any number".
fn least(number: Decimal) -> Bound {
    if number == Decimal::from(-EXACT) { Bound::Below } else { Bound::At(number) }
}

/// One text or several, each of which has to be valid.
fn several(at: &str, name: &str, value: &Value, valid: fn(&str) -> bool) -> Result<BTreeSet<String>, Refusal> {
    let read = |value: &Value| match value {
        Value::String(text_) if valid(text_) => text(text_).map(str::to_owned),
        Value::String(wrong) => Err(invalid(format!("{} is not valid in `{name}` of {}", quote(wrong), quote(at)))),
        _ => Err(wrong(at, name, "a text or a list of texts")),
    };
    match value {
        Value::Array(values) => {
            at_most(values.len(), VALUE_LIMIT, name)?;
            values.iter().map(read).collect()
        }
        one => Ok(BTreeSet::from([read(one)?])),
    }
}

/// `true`, or the kinds of empty value that count as unset.
fn unset(at: &str, value: &Value) -> Result<Constraint, Refusal> {
    let must = || wrong(at, "unset", "`true` or a list of `text`, `list` and `object`");
    if *value == Value::Bool(true) {
        return Ok(Constraint::unset(Kind::ALL));
    }
    let Value::Array(listed) = value else { return Err(must()) };
    let kind = |value: &Value| Kind::ALL.into_iter().find(|kind| value == kind.as_str()).ok_or_else(must);
    Ok(Constraint::Unset(listed.iter().map(kind).collect::<Result<_, _>>()?))
}

fn fields(value: &Value) -> Result<BTreeSet<FieldPath>, Refusal> {
    let Value::Array(paths) = value else { return Err(invalid("`fields` must be a list of JSON Pointers")) };
    at_most(paths.len(), FIELD_LIMIT, "fields")?;
    let read = |path: &Value| {
        let path = path.as_str().filter(|path| path.len() <= POINTER_LIMIT);
        path.and_then(FieldPath::parse).ok_or_else(|| invalid("`fields` must hold JSON Pointers such as `/items/*/id`"))
    };
    paths.iter().map(read).collect()
}

fn limits(value: &Value, grant: &mut Grant) -> Result<(), Refusal> {
    for (name, value) in object(value, "`limits`")? {
        match name.as_str() {
            "calls" => grant.calls = Some(whole(value, "limits.calls", EXACT.unsigned_abs())?),
            "spend" => {
                let members = object(value, "`limits.spend`")?;
                at_most(members.len(), SPEND_LIMIT, "limits.spend")?;
                for (at, value) in members {
                    argument_pointer(at)?;
                    let most = number(at, "spend", value)?;
                    if !(Decimal::ZERO..=Decimal::from(SPEND_MOST)).contains(&most) {
                        return Err(invalid(format!("`limits.spend` must be from 0 to {SPEND_MOST}")));
                    }
                    grant.spend.insert(at.clone(), most);
                }
            }
            "name" => grant.budgets = budgets(value)?,
            _ => return Err(unknown("limit", name)),
        }
    }
    if !grant.budgets.is_empty() && !grant.is_limited() {
        return Err(invalid("`limits.name` names a budget, so `calls` or `spend` must say how large it is"));
    }
    Ok(())
}

/// The name of a budget, or several.
fn budgets(value: &Value) -> Result<BTreeSet<String>, Refusal> {
    let named = match value {
        Value::Array(named) => named.as_slice(),
        one => std::slice::from_ref(one),
    };
    at_most(named.len(), BUDGET_LIMIT, "limits.name")?;
    let read = |name: &Value| {
        let name = name.as_str().ok_or_else(|| invalid("`limits.name` must be a text or a list of texts"))?;
        display::check_name("`limits.name`", name).map_err(|no| invalid(no.reason))?;
        Ok(name.to_owned())
    };
    named.iter().map(read).collect()
}

/// `depth` is 1 unless given: the delegate may not hand it on.
fn delegate(value: &Value) -> Result<Delegate, Refusal> {
    let mut to = None;
    let mut depth = 1;
    for (name, value) in object(value, "`delegate`")? {
        match name.as_str() {
            "to" => {
                let named = texts(value, "delegate.to", DELEGATE_LIMIT, |sub| sub == "*" || AgentId::from_subject(sub).is_ok())?;
                to = Some(if named.contains("*") { Names::Any } else { Names::Named(named) });
            }
            "depth" => depth = whole(value, "delegate.depth", HARD_DEPTH as u64)?,
            _ => return Err(unknown("member of `delegate`", name)),
        }
    }
    let to = to.ok_or_else(|| invalid("`delegate` must say `to` whom"))?;
    Ok(Delegate { to, depth: u8::try_from(depth).unwrap_or(0) })
}

fn not_after(value: &Value) -> Result<UnixTime, Refusal> {
    let seconds = value.as_i64().filter(|seconds| seconds.unsigned_abs() <= EXACT.unsigned_abs());
    seconds.map(UnixTime).ok_or_else(|| invalid("`not_after` must be whole seconds since 1970"))
}

fn location(uri: &str) -> bool {
    uri.len() <= URI_LIMIT && uri.contains(':') && uri.bytes().all(|byte| byte.is_ascii_graphic())
}

/// An action's name, or `*` alone; other uses of `*` would look like patterns, which we do not have.
pub(crate) fn action(name: &str) -> bool {
    let plain = !name.is_empty() && name.len() <= ACTION_NAME_LIMIT && name.bytes().all(|byte| byte.is_ascii_graphic());
    plain && (name == "*" || !name.contains('*'))
}

fn texts(value: &Value, what: &str, limit: usize, valid: fn(&str) -> bool) -> Result<BTreeSet<String>, Refusal> {
    let Value::Array(items) = value else { return Err(invalid(format!("`{what}` must be a list of texts"))) };
    at_most(items.len(), limit, what)?;
    let read = |item: &Value| match item {
        Value::String(text) if valid(text) => Ok(text.clone()),
        Value::String(text) => Err(invalid(format!("{} is not valid in `{what}`", quote(text)))),
        _ => Err(invalid(format!("`{what}` must be a list of texts"))),
    };
    items.iter().map(read).collect()
}

/// A pointer to an argument. A `*` here would be a member's literal name, which is never meant: refused.
fn argument_pointer(at: &str) -> Result<(), Refusal> {
    let named = pointer::tokens(at).is_some_and(|mut tokens| !at.is_empty() && tokens.all(|token| token != "*"));
    if named && at.len() <= POINTER_LIMIT {
        return Ok(());
    }
    Err(invalid(format!("{} is not a JSON Pointer to an argument, such as `/amount`", quote(at))))
}

fn scalar(at: &str, value: &Value) -> Result<Scalar, Refusal> {
    if let Value::String(value) = value {
        text(value)?;
    }
    Scalar::of(value).ok_or_else(|| invalid(format!("{} is compared with a text, a boolean, null or a number only", quote(at))))
}

fn number(at: &str, name: &str, value: &Value) -> Result<Decimal, Refusal> {
    let Value::Number(number) = value else { return Err(wrong(at, name, "a number")) };
    Decimal::of(number).ok_or_else(|| wrong(at, name, "a number of fewer digits"))
}

fn text(value: &str) -> Result<&str, Refusal> {
    if value.len() <= TEXT_LIMIT { Ok(value) } else { Err(invalid(format!("a text is longer than {TEXT_LIMIT} bytes"))) }
}

fn whole(value: &Value, what: &str, most: u64) -> Result<u64, Refusal> {
    let number = value.as_u64().filter(|number| *number <= most);
    number.ok_or_else(|| invalid(format!("`{what}` must be a whole number from 0 to {most}")))
}

fn object<'v>(value: &'v Value, what: &str) -> Result<&'v Map<String, Value>, Refusal> {
    value.as_object().ok_or_else(|| invalid(format!("{what} must be an object")))
}

fn at_most(found: usize, limit: usize, what: &str) -> Result<(), Refusal> {
    if found <= limit { Ok(()) } else { Err(invalid(format!("`{what}` has {found} entries; at most {limit} are read"))) }
}

fn wrong(at: &str, name: &str, must_be: &str) -> Refusal {
    invalid(format!("`{name}` of {} must be {must_be}", quote(at)))
}

fn unknown(what: &str, name: &str) -> Refusal {
    Refusal::new(Code::ConstraintUnknown, format!("{what} {} is unknown", quote(name)))
}

fn invalid(reason: impl Into<String>) -> Refusal {
    Refusal::new(Code::AuthorizationDetailsInvalid, reason)
}

impl Grant {
    /// This grant as an authorization detail, members in a fixed order.
    pub fn to_value(&self) -> Value {
        // Every name is a text and every number finite, so there is nothing to fail at.
        serde_json::to_value(self).unwrap_or_default()
    }
}

impl Serialize for Grant {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        let mut members = to.serialize_map(None)?;
        members.serialize_entry("type", TYPE)?;
        if let Some(locations) = self.locations.named() {
            members.serialize_entry("locations", locations)?;
        }
        members.serialize_entry("actions", &self.actions)?;
        if !self.arguments.is_empty() {
            members.serialize_entry("arguments", &self.arguments)?;
        }
        if let Some(only) = &self.only {
            members.serialize_entry("only", only)?;
        }
        if let Some(fields) = self.fields() {
            members.serialize_entry("fields", &fields)?;
        }
        if self.is_limited() {
            members.serialize_entry("limits", &Budgets { name: Named(&self.budgets), calls: self.calls, spend: &self.spend })?;
        }
        if let Some(delegate) = &self.delegate {
            members.serialize_entry("delegate", delegate)?;
        }
        if let Some(end) = self.not_after {
            members.serialize_entry("not_after", &end.0)?;
        }
        members.end()
    }
}

/// A grant's `limits`.
#[derive(Serialize)]
struct Budgets<'g> {
    #[serde(skip_serializing_if = "Named::is_empty")]
    name: Named<'g>,
    #[serde(skip_serializing_if = "Option::is_none")]
    calls: Option<u64>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    spend: &'g BTreeMap<String, Decimal>,
}

/// One text as it is, several as a list.
struct Named<'g>(&'g BTreeSet<String>);

impl Named<'_> {
    fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl Serialize for Named<'_> {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        match (self.0.first(), self.0.len()) {
            (Some(only), 1) => only.serialize(to),
            _ => self.0.serialize(to),
        }
    }
}

impl Serialize for Names {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Any => ["*"].serialize(to),
            Self::Named(names) => names.serialize(to),
        }
    }
}

impl Serialize for Constraint {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        let mut members = to.serialize_map(None)?;
        match self {
            Self::Absent => members.serialize_entry("absent", &true)?,
            Self::OneOf(values) => match (values.first(), values.len()) {
                (Some(only), 1) => members.serialize_entry("eq", only)?,
                _ => members.serialize_entry("in", values)?,
            },
            Self::Range { min, max } => {
                match (min, max) {
                    (Bound::At(min), _) => members.serialize_entry("min", min)?,
                    (_, Bound::At(_)) => {}
                    _ => members.serialize_entry("min", &-EXACT)?,
                }
                if let Bound::At(max) = max {
                    members.serialize_entry("max", max)?;
                }
            }
            Self::Texts(texts) => {
                if let Some(prefixes) = texts.prefixes() {
                    members.serialize_entry("prefix", &Named(prefixes))?;
                }
                if let Some(hosts) = texts.hosts() {
                    members.serialize_entry("host", &Named(hosts))?;
                }
            }
            Self::Unset(kinds) if kinds.len() == Kind::ALL.len() => members.serialize_entry("unset", &true)?,
            Self::Unset(kinds) => {
                members.serialize_entry("unset", &kinds.iter().map(|kind| kind.as_str()).collect::<Vec<_>>())?;
            }
            Self::Each(Some(items)) => members.serialize_entry("each", items)?,
            Self::Each(None) => members.serialize_entry("each", &BTreeMap::from([("in", [(); 0])]))?,
        }
        members.end()
    }
}

impl Serialize for Scalar {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Null => to.serialize_unit(),
            Self::Bool(flag) => to.serialize_bool(*flag),
            Self::Number(number) => number.serialize(to),
            Self::Text(text) => to.serialize_str(text),
        }
    }
}

impl Serialize for Decimal {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        self.to_number().serialize(to)
    }
}
