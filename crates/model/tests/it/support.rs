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
        json!(-9_007_199_254_740_990_i64),
        json!(u64::MAX),
    ])
}

pub(crate) fn text() -> impl Strategy<Value = Value> {
    select(["", "T", "T-", "T-1", "EUR", "1", "https://a.com", "https://a.com/x"].map(Value::from).to_vec())
}

pub(crate) fn scalar() -> impl Strategy<Value = Value> {
    prop_oneof![4 => number(), 3 => text(), 1 => select(vec![Value::Null, json!(true), json!(false)])]
}

fn object(members: Vec<(&str, Option<Value>)>) -> Value {
    Value::Object(members.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?))).collect())
}

fn texts() -> impl Strategy<Value = Value> {
    prop_oneof![2 => text(), 1 => prop::collection::vec(text(), 0..3).prop_map(Value::from)]
}

fn hosts() -> impl Strategy<Value = Value> {
    prop_oneof![2 => select(vec![json!("a.com"), json!("b.com")]), 1 => Just(json!(["a.com", "b.com"])), 1 => Just(json!([]))]
}

/// A constraint on scalars with one to three conditions, which may contradict one another.
fn plain_constraint() -> impl Strategy<Value = Value> {
    let sparse = |values| prop::option::weighted(0.2, values);
    let conditions = (
        sparse(scalar().boxed()),
        sparse(prop::collection::vec(scalar(), 0..4).prop_map(Value::from).boxed()),
        prop::option::weighted(0.3, number()),
        prop::option::weighted(0.3, number()),
        sparse(texts().boxed()),
        prop::option::weighted(0.1, hosts()),
    );
    let conditions = conditions.boxed();
    conditions.prop_map(|(eq, one_of, min, max, prefix, host)| {
        let constraint = object(vec![("eq", eq), ("in", one_of), ("min", min), ("max", max), ("prefix", prefix), ("host", host)]);
        if constraint == json!({}) { json!({"max": 50}) } else { constraint }
    })
}

/// Any constraint; now and then one of those that are about more than scalars, or several at once.
pub(crate) fn constraint() -> impl Strategy<Value = Value> {
    let kinds = prop_oneof![Just(json!(true)), subsequence(vec!["text", "list", "object"], 0..=3).prop_map(Value::from)];
    let wide = (
        prop::option::weighted(0.3, Just(json!(true))),
        prop::option::weighted(0.4, kinds),
        prop::option::weighted(0.4, plain_constraint()),
    );
    let wide = wide.prop_map(|(absent, unset, each): (Option<Value>, Option<Value>, Option<Value>)| {
        let constraint = object(vec![("absent", absent), ("unset", unset), ("each", each)]);
        if constraint == json!({}) { json!({"unset": true}) } else { constraint }
    });
    let wide = wide.boxed();
    let mixed = (plain_constraint(), wide.clone()).prop_map(|(mut plain, wide)| {
        plain.as_object_mut().unwrap().extend(wide.as_object().unwrap().clone());
        plain
    });
    // Boxed: the types of nested strategies are large, and a test's stack is not.
    prop_oneof![5 => plain_constraint().boxed(), 4 => wide, 1 => mixed.boxed()].boxed()
}

/// `only`, with every pointer that the arguments constrain and perhaps more.
pub(crate) fn only(constrained: &Value) -> impl Strategy<Value = Value> + use<> {
    let named: Vec<String> = constrained.as_object().into_iter().flat_map(|members| members.keys().cloned()).collect();
    let listed = subsequence(POINTERS.to_vec(), 0..4).prop_map(move |more| {
        let all: Vec<String> = named.iter().cloned().chain(more.into_iter().map(str::to_owned)).collect();
        json!(all)
    });
    prop_oneof![1 => Just(json!(true)), 2 => listed]
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
    let name = prop::option::weighted(0.3, select(vec![json!("x"), json!("y"), json!(["x", "y"])]));
    (calls, prop::option::weighted(0.5, spend), name).prop_map(|(calls, spend, name)| {
        let spend = spend.map(|(at, most)| object(vec![(at, Some(most))]));
        let name = name.filter(|_| calls.is_some() || spend.is_some());
        object(vec![("calls", calls.map(Value::from)), ("spend", spend), ("name", name)])
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
    let detail = dimensions.prop_map(|(locations, actions, arguments, fields, limits, delegate, end)| {
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
    });
    closed(detail)
}

/// Now and then with `only`.
pub(crate) fn closed(detail: impl Strategy<Value = Value> + 'static) -> impl Strategy<Value = Value> {
    detail
        .prop_flat_map(|detail| {
            let mut constrained = detail["arguments"].as_object().cloned().unwrap_or_default();
            constrained.extend(detail["limits"]["spend"].as_object().cloned().unwrap_or_default());
            prop::option::weighted(0.2, only(&Value::Object(constrained))).prop_map(move |only| {
                let mut detail = detail.clone();
                if let Some(only) = only {
                    detail["only"] = only;
                }
                detail
            })
        })
        .boxed()
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
        1 => (scalar(), scalar()).prop_map(|(a, b)| json!([a, b])),
        2 => select(vec![json!({}), json!([]), json!([[]]), json!({"name": []}), json!({"name": {}}), json!({"other": 1})]),
    ];
    let member = || prop::option::weighted(0.6, scalar());
    let arguments = (prop::option::weighted(0.8, number()), member(), prop::option::weighted(0.6, to), member());
    let arguments = arguments
        .prop_map(|(amount, id, to, slashed)| object(vec![("amount", amount), ("id", id), ("to", to), ("x/y", slashed)]));
    let place = (select(LOCATIONS), select(ACTIONS), select(vec![-1_i64, 5, 10, 19, 20, 29, 30, 40]));
    (place, arguments).prop_map(|((location, action, now), arguments)| Asked { location, action, arguments, now })
}
