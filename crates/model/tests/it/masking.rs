//! Field projection: an allow-list that keeps shape and invents nothing.

use crate::support::{FIELDS, read};
use proptest::{prelude::*, sample::subsequence};
use remit_model::fields::{REPORT_LIMIT, project};
use serde_json::{Value, json};

fn masked(value: Value, fields: &[&str]) -> (Value, Vec<String>, Vec<String>) {
    let fields: Vec<String> = fields.iter().map(|field| (*field).to_owned()).collect();
    let projection = project(value, &fields);
    assert!(!projection.truncated);
    (projection.value, projection.masked, projection.returned)
}

fn ticket() -> Value {
    json!({
        "id": "T-1", "subject": "late",
        "customer": {"name": "Ada", "email": "ada@example.com", "address": {"city": "Wien"}},
        "items": [{"id": 1, "price": 5}, {"id": 2, "price": 6, "card": {"number": "4111"}}],
        "tags": ["a", "b"]
    })
}

#[test]
fn only_what_is_allowed_stays() {
    let (value, masked, returned) = masked(ticket(), &["/id", "/customer/name", "/items/*/id"]);
    assert_eq!(value, json!({"id": "T-1", "customer": {"name": "Ada"}, "items": [{"id": 1}, {"id": 2}]}));
    assert_eq!(masked, ["/customer/address", "/customer/email", "/items/*/card", "/items/*/price", "/subject", "/tags"]);
    assert_eq!(returned, ["/customer/name", "/id", "/items/*/id"]);
}

#[test]
fn nothing_allowed_leaves_a_shell() {
    assert_eq!(masked(ticket(), &[]).0, json!({}));
    assert_eq!(masked(json!([1, 2]), &[]).0, json!([]));
    assert_eq!(masked(json!("secret"), &["/id"]), (Value::Null, vec![String::new()], vec![]));
    assert_eq!(masked(ticket(), &["/nothing", "id", "/~", "/items/99999999999999999999"]).0, json!({}));
}

#[test]
fn everything_allowed_leaves_all() {
    let (value, masked, returned) = masked(ticket(), &[""]);
    assert_eq!((value, masked), (ticket(), vec![]));
    assert!(returned.contains(&"/items/*/card/number".to_owned()));
}

#[test]
fn a_prefix_covers_what_is_inside_but_not_what_only_starts_alike() {
    assert_eq!(masked(ticket(), &["/customer"]).0, json!({"customer": ticket()["customer"]}));
    assert_eq!(masked(json!({"a": 1, "ab": 2, "a/b": 3}), &["/a"]).0, json!({"a": 1}));
    assert_eq!(masked(json!({"a": {"b": 1}, "a/b": 3}), &["/a~1b"]).0, json!({"a/b": 3}));
    assert_eq!(masked(json!({"~1": 1, "/": 2}), &["/~01"]).0, json!({"~1": 1}));
}

#[test]
fn an_asterisk_is_any_item_and_never_a_member() {
    assert_eq!(masked(json!({"a": {"*": 1, "x": 2, "0": 3}}), &["/a/*"]).0, json!({"a": {}}));
    assert_eq!(masked(json!({"a": {"0": 3}}), &["/a/0"]).0, json!({"a": {}}));
    assert_eq!(masked(json!({"a": [[1, 2], [3]]}), &["/a/*/0"]).0, json!({"a": [[1], [3]]}));
    assert_eq!(masked(json!([{"x": 1, "y": 2}]), &["/*/x"]).0, json!([{"x": 1}]));
}

#[test]
fn single_items_keep_their_place() {
    let (value, masked, _) = masked(json!(["a", "b", "c", "d"]), &["/1", "/2"]);
    assert_eq!((value, masked), (json!([null, "b", "c"]), vec!["/*".to_owned()]));
    assert_eq!(self::masked(json!({"a": [{"s": 1}, {"s": 2, "t": 3}]}), &["/a/1/t"]).0, json!({"a": [null, {"t": 3}]}));
}

#[test]
fn a_scalar_where_more_was_expected_is_masked() {
    let (value, masked, returned) =
        masked(json!({"customer": "Ada, ada@example.com", "items": [5]}), &["/customer/name", "/items/*/id"]);
    assert_eq!((value, returned), (json!({"items": [null]}), vec![]));
    assert_eq!(masked, ["/customer", "/items/*"]);
}

#[test]
fn the_report_is_bounded() {
    let wide: Value = Value::Object((0..2000).map(|n| (format!("k{n:04}"), json!(n))).collect());
    let projection = project(json!({"a": wide, "b": wide}), &["/a".to_owned()]);
    assert_eq!((projection.returned.len(), projection.truncated), (REPORT_LIMIT, true));
    assert_eq!(projection.masked, ["/b"]);
    let long = json!({"x".repeat(5000): 1});
    assert!(project(long, &[]).masked[0].len() < 100);
    let many: Value = (0..5000).map(|n| json!({"id": n, "secret": n})).collect();
    assert_eq!(masked(many, &["/*/id"]).1, ["/*/secret"]);
}

fn document() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![Just(json!(1)), Just(json!("x")), Just(Value::Null), Just(json!({})), Just(json!([]))];
    leaf.prop_recursive(4, 30, 4, |inner| {
        let names = prop::sample::select(vec!["id", "items", "customer", "name", "x/y", "0", "*", "other"]);
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::vec((names, inner), 0..5)
                .prop_map(|members| Value::Object(members.into_iter().map(|(n, v)| (n.to_owned(), v)).collect())),
        ]
    })
}

fn pointers() -> impl Strategy<Value = Vec<String>> {
    subsequence(FIELDS.to_vec(), 0..5).prop_map(|fields| fields.into_iter().map(ToOwned::to_owned).collect())
}

/// Whether `part` is `whole` with members left out, items cut off, and values replaced by `null`.
fn within(part: &Value, whole: &Value) -> bool {
    match (part, whole) {
        (Value::Null, _) => true,
        (Value::Object(part), Value::Object(whole)) => {
            part.iter().all(|(name, member)| whole.get(name).is_some_and(|other| within(member, other)))
        }
        (Value::Array(part), Value::Array(whole)) => {
            part.len() <= whole.len() && part.iter().zip(whole).all(|(item, other)| within(item, other))
        }
        _ => part == whole,
    }
}

fn meet(a: &[String], b: &[String]) -> Vec<String> {
    let authority = |fields: &[String]| read(&[json!({"type": "tool_access", "fields": fields})]);
    authority(a).meet(&authority(b)).grants()[0].fields().unwrap_or_default()
}

/// The leaves of `value` that some field pointer, read literally, leads to.
fn allowed_leaves(value: &Value, at: &mut Vec<(String, bool)>, fields: &[String], found: &mut Vec<String>) {
    let children: Vec<(String, bool, &Value)> = match value {
        Value::Object(members) => members.iter().map(|(name, member)| (name.clone(), false, member)).collect(),
        Value::Array(items) => items.iter().enumerate().map(|(index, item)| (index.to_string(), true, item)).collect(),
        _ => Vec::new(),
    };
    let leads = |field: &String| {
        let tokens: Vec<String> = field.split('/').skip(1).map(|token| token.replace("~1", "/")).collect();
        let step = |(token, (name, item)): (&String, &(String, bool))| {
            let index = token == "*" || token.bytes().all(|byte| byte.is_ascii_digit());
            index == *item && (token == "*" || token == name)
        };
        tokens.len() <= at.len() && tokens.iter().zip(at.iter()).all(step)
    };
    if children.is_empty() && !value.is_null() && fields.iter().any(leads) {
        found.push(format!("{at:?}={value}"));
    }
    for (name, item, child) in children {
        at.push((name, item));
        allowed_leaves(child, at, fields, found);
        at.pop();
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(3000))]

    #[test]
    fn projection_invents_nothing_and_is_idempotent(value in document(), fields in pointers()) {
        let once = project(value.clone(), &fields).value;
        prop_assert!(within(&once, &value), "{}", once);
        prop_assert_eq!(project(once.clone(), &fields).value, once);
    }

    #[test]
    fn projection_keeps_exactly_the_allowed_leaves(value in document(), fields in pointers()) {
        let (mut wanted, mut kept) = (Vec::new(), Vec::new());
        allowed_leaves(&value, &mut Vec::new(), &fields, &mut wanted);
        let once = project(value, &fields).value;
        allowed_leaves(&once, &mut Vec::new(), &fields, &mut kept);
        prop_assert_eq!(kept, wanted);
        // And nothing else but empty shells.
        let mut all = Vec::new();
        allowed_leaves(&once, &mut Vec::new(), &[String::new()], &mut all);
        let scalars = |leaves: &[String]| leaves.iter().filter(|l| !l.ends_with("={}") && !l.ends_with("=[]")).count();
        let mut allowed = Vec::new();
        allowed_leaves(&once, &mut Vec::new(), &fields, &mut allowed);
        prop_assert_eq!(scalars(&all), scalars(&allowed));
    }

    #[test]
    fn projection_is_monotone_under_meet(value in document(), a in pointers(), b in pointers()) {
        let both = project(value.clone(), &meet(&a, &b)).value;
        let first = project(value.clone(), &a).value;
        prop_assert!(within(&both, &first));
        prop_assert!(within(&both, &project(value, &b).value));
        prop_assert!(within(&both, &project(first, &b).value));
    }

    #[test]
    fn masked_and_returned_are_sorted_and_distinct(value in document(), fields in pointers()) {
        let projection = project(value, &fields);
        for list in [&projection.masked, &projection.returned] {
            prop_assert!(list.windows(2).all(|pair| pair[0] < pair[1]));
        }
    }
}
