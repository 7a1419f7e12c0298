//! Generators of authorities and calls, drawn from small pools so that near-misses and overlaps are frequent.

use proptest::{
    prelude::*,
    sample::{select, subsequence},
};
use remit_model::{Authority, Call, UnixTime};
use serde_json::{Map, Value, json};

pub(crate) const LOCATIONS: &[&str] = &["https://gw.example/mcp/a", "https://gw.example/mcp/b", "https://gw.example/mcp/c"];
pub(crate) const ACTIONS: &[&str] = &["read", "refund", "mcp:resources/read"];
pub(crate) const AGENTS: &[&str] = &["agent:a", "agent:b", "agent:c"];
pub(crate) const POINTERS: &[&str] = &["/amount", "/id", "/to", "/to/name", "/to/0", "/x~1y"];
pub(crate) const FIELDS: &[&str] = &[
    "/id",
    "/items",
    "/items/*",
    "/items/*/id",
    "/items/*/*",
    "/items/0",
    "/items/0/id",
    "/items/1/*",
    "/customer",
    "/customer/name",
    "/x~1y",
];
pub(crate) const ENDS: &[i64] = &[0, 10, 20, 30];

pub(crate) fn number() -> impl Strategy<Value = Value> {
    select(vec![
        json!(-1),
        json!(0),
        json!(0.5),
        json!(1),
        json!(1.0_f64.next_up()),
        json!(50),
        json!(50.5),
        json!(9_007_199_254_740_991_i64),
        json!(-9_007_199_254_740_991_i64),
    ])
}

pub(crate) fn text() -> impl Strategy<Value = Value> {
    select(vec![json!(""), json!("T"), json!("T-"), json!("T-1"), json!("EUR"), json!("1")])
}

fn scalar() -> impl Strategy<Value = Value> {
    prop_oneof![4 => number(), 3 => text(), 1 => select(vec![Value::Null, json!(true), json!(false)])]
}

fn object(members: Vec<(&str, Option<Value>)>) -> Value {
    Value::Object(members.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?))).collect())
}

/// A constraint with one to three conditions, which may contradict one another.
pub(crate) fn constraint() -> impl Strategy<Value = Value> {
    let sparse = |values| prop::option::weighted(0.2, values);
    let conditions = (
        sparse(scalar().boxed()),
        sparse(prop::collection::vec(scalar(), 0..4).prop_map(Value::from).boxed()),
        prop::option::weighted(0.3, number()),
        prop::option::weighted(0.3, number()),
        sparse(text().boxed()),
        prop::option::weighted(0.1, Just(json!(true))),
    );
    conditions.prop_map(|(eq, one_of, min, max, prefix, absent)| {
        let constraint =
            object(vec![("eq", eq), ("in", one_of), ("min", min), ("max", max), ("prefix", prefix), ("absent", absent)]);
        if constraint == json!({}) { json!({"max": 50}) } else { constraint }
    })
}

pub(crate) fn arguments() -> impl Strategy<Value = Value> {
    let chosen = subsequence(POINTERS.to_vec(), 0..4);
    chosen.prop_flat_map(|pointers| {
        let count = pointers.len();
        prop::collection::vec(constraint(), count)
            .prop_map(move |constraints| pointers.iter().map(|p| (*p).to_owned()).zip(constraints).collect::<Map<_, _>>().into())
    })
}

fn names(pool: &'static [&'static str], any: bool) -> impl Strategy<Value = Value> {
    let some = subsequence(pool.to_vec(), 0..=pool.len()).prop_map(Value::from);
    if any { prop_oneof![4 => some, 1 => Just(json!(["*"]))].boxed() } else { some.boxed() }
}

fn limits() -> impl Strategy<Value = Value> {
    let spend = (select(vec!["/amount", "/id", "/to/0"]), select(vec![json!(0), json!(1), json!(50), json!(500)]));
    let calls = prop::option::weighted(0.7, 0..4_u32);
    (calls, prop::option::weighted(0.5, spend)).prop_map(|(calls, spend)| {
        object(vec![("calls", calls.map(Value::from)), ("spend", spend.map(|(at, most)| object(vec![(at, Some(most))])))])
    })
}

fn delegate() -> impl Strategy<Value = Value> {
    (names(AGENTS, true), 0..4_u32).prop_map(|(to, depth)| json!({"to": to, "depth": depth}))
}

/// One authorization detail as it would arrive.
pub(crate) fn detail() -> impl Strategy<Value = Value> {
    let dimensions = (
        prop::option::weighted(0.6, names(LOCATIONS, false)),
        prop::option::weighted(0.7, names(ACTIONS, true)),
        prop::option::weighted(0.5, arguments()),
        prop::option::weighted(0.5, names(FIELDS, false)),
        prop::option::weighted(0.3, limits()),
        prop::option::weighted(0.4, delegate()),
        prop::option::weighted(0.4, select(ENDS).prop_map(Value::from)),
    );
    dimensions.prop_map(|(locations, actions, arguments, fields, limits, delegate, end)| {
        object(vec![
            ("type", Some(json!("tool_access"))),
            ("locations", locations),
            ("actions", actions),
            ("arguments", arguments),
            ("fields", fields),
            ("limits", limits),
            ("delegate", delegate),
            ("not_after", end),
        ])
    })
}

pub(crate) fn details() -> impl Strategy<Value = Vec<Value>> {
    prop::collection::vec(detail(), 0..4)
}

pub(crate) fn read(details: &[Value]) -> Authority {
    Authority::parse(&Value::Array(details.to_vec())).expect("generated details are well-formed")
}

pub(crate) fn authority() -> impl Strategy<Value = Authority> {
    details().prop_map(|details| read(&details))
}

/// Three authorities that often lie under one another.
pub(crate) fn related() -> impl Strategy<Value = (Authority, Authority, Authority)> {
    (authority(), authority(), authority(), 0..6_u8).prop_map(|(a, b, c, shape)| match shape {
        0 => (a, b, c),
        1 => (a.meet(&b).meet(&c), a.meet(&b), a),
        2 => (a.meet(&b), a.clone(), a),
        3 => (a.clone(), a.meet(&b), a.meet(&b).meet(&c)),
        4 => (a.meet(&c), b.meet(&c), c),
        _ => (a.meet(&b).meet(&c), a, b),
    })
}

#[derive(Clone, Debug)]
pub(crate) struct Asked {
    pub(crate) location: &'static str,
    pub(crate) action: &'static str,
    pub(crate) arguments: Value,
    pub(crate) now: i64,
}

impl Asked {
    pub(crate) fn call(&self) -> Call<'_> {
        Call { location: self.location, action: self.action, arguments: &self.arguments, now: UnixTime(self.now) }
    }
}

pub(crate) fn asked() -> impl Strategy<Value = Asked> {
    let to = prop_oneof![
        3 => scalar(),
        2 => scalar().prop_map(|name| json!({"name": name})),
        1 => scalar().prop_map(|item| json!([item])),
        1 => scalar().prop_map(|item| json!({"0": item, "name": item})),
        1 => Just(json!({})),
    ];
    let member = || prop::option::weighted(0.6, scalar());
    let arguments = (prop::option::weighted(0.8, number()), member(), prop::option::weighted(0.6, to), member());
    let arguments = arguments
        .prop_map(|(amount, id, to, slashed)| object(vec![("amount", amount), ("id", id), ("to", to), ("x/y", slashed)]));
    let place = (select(LOCATIONS), select(ACTIONS), select(vec![-1_i64, 5, 10, 19, 20, 29, 30, 40]));
    (place, arguments).prop_map(|((location, action, now), arguments)| Asked { location, action, arguments, now })
}
