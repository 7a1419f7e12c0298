//! Grants as they are read and written: what is refused, one spelling for one meaning, and the words of a consent page.

use super::{HERE, design, lines, parse, refund, refusal, with, without};
use crate::support::read;
use proptest::prelude::*;
use remit_model::{
    Authority, Code,
    authority::{ARGUMENT_LIMIT, EXACT, FIELD_LIMIT, GRANT_LIMIT, VALUE_LIMIT},
};
use serde_json::{Value, json};

#[test]
fn the_design_example_reads_and_says_what_it_permits() {
    let authority = parse(&design());
    insta::assert_snapshot!("design_canonical", serde_json::to_string_pretty(&authority).unwrap());
    insta::assert_snapshot!("design_described", lines(&authority));
    let arguments = json!({"amount": 50, "currency": "EUR", "ticket_id": "T-1"});
    let permit = authority.permits(&refund(&arguments)).unwrap();
    assert_eq!(permit.fields.unwrap(), ["/customer/name", "/id", "/subject"]);
    assert_eq!(permit.grants, [authority.grants()[0].digest()]);
    assert_eq!(permit.limits[0].1.calls, Some(100));
    let drawn: Vec<_> = permit.charges.iter().map(|charge| (charge.unit.as_str(), charge.add, charge.limit)).collect();
    assert_eq!(drawn, [("calls", 1, 100), ("/amount", 50_000_000, 500_000_000)]);
}

#[test]
fn az_08_unknown_types_dimensions_and_constraints_are_refused() {
    for (dimension, value) in [
        ("datatypes", json!(["x"])),
        ("Actions", json!(["tickets_read"])),
        ("not_before", json!(1)),
        ("purpose", json!("x")),
        ("arguments", json!({"/amount": {"pattern": "x"}})),
        ("arguments", json!({"/amount": {"max": 5, "maximum": 6}})),
        ("limits", json!({"calls": 1, "rate": 5})),
        ("delegate", json!({"to": ["*"], "until": 5})),
    ] {
        assert_eq!(refusal(&with(dimension, value)), Code::ConstraintUnknown, "{dimension}");
    }
    for kind in [json!("payment_initiation"), json!(""), json!(5), Value::Null] {
        assert_eq!(refusal(&with("type", kind)), Code::AuthorizationDetailsInvalid);
    }
    assert_eq!(refusal(&without("type")), Code::AuthorizationDetailsInvalid);
}

#[test]
fn az_08_wrong_json_types_and_values_are_refused() {
    let long = "x".repeat(5000);
    for (dimension, value) in [
        ("locations", json!(HERE)),
        ("locations", Value::Null),
        ("locations", json!([5])),
        ("locations", json!(["*"])),
        ("locations", json!([""])),
        ("locations", json!(["https://gw.example/ x"])),
        ("locations", json!(["https://gw.exämple/"])),
        ("locations", json!([format!("https://{long}")])),
        ("actions", json!("tickets_read")),
        ("actions", json!({})),
        ("actions", json!([""])),
        ("actions", json!(["tickets.*"])),
        ("actions", json!(["a b"])),
        ("actions", json!(["tickets.reаd"])),
        ("actions", json!([null])),
        ("arguments", json!([])),
        ("arguments", json!({"amount": {"max": 5}})),
        ("arguments", json!({"": {"max": 5}})),
        ("arguments", json!({"/a~2b": {"max": 5}})),
        ("arguments", json!({"/a~": {"max": 5}})),
        ("arguments", json!({"/items/*/amount": {"max": 5}})),
        ("arguments", json!({"/amount": 5})),
        ("arguments", json!({"/amount": {}})),
        ("arguments", json!({"/amount": {"max": "5"}})),
        ("arguments", json!({"/amount": {"max": null}})),
        ("arguments", json!({"/amount": {"prefix": ["x", 5]}})),
        ("arguments", json!({"/amount": {"prefix": vec!["x"; VALUE_LIMIT + 1]}})),
        ("arguments", json!({"/amount": {"host": 5}})),
        ("arguments", json!({"/amount": {"host": "https://a.com"}})),
        ("arguments", json!({"/amount": {"host": ["a.com", "A.com"]}})),
        ("arguments", json!({"/amount": {"host": "*.a.com"}})),
        ("arguments", json!({"/amount": {"unset": false}})),
        ("arguments", json!({"/amount": {"unset": "text"}})),
        ("arguments", json!({"/amount": {"unset": ["number"]}})),
        ("arguments", json!({"/amount": {"each": []}})),
        ("arguments", json!({"/amount": {"each": {}}})),
        ("arguments", json!({"/amount": {"each": {"absent": true}}})),
        ("arguments", json!({"/amount": {"each": {"unset": true}}})),
        ("arguments", json!({"/amount": {"each": {"each": {"eq": 1}}}})),
        ("only", json!(false)),
        ("only", json!("/amount")),
        ("only", json!([5])),
        ("only", json!(["amount"])),
        ("only", json!(["/to/*"])),
        ("only", json!(["/amount"])),
        ("only", json!((0..=ARGUMENT_LIMIT).map(|n| format!("/f{n}")).collect::<Vec<_>>())),
        ("limits", json!({"name": "refunds"})),
        ("limits", json!({"name": "", "calls": 1})),
        ("limits", json!({"name": 5, "calls": 1})),
        ("limits", json!({"name": ["a", null], "calls": 1})),
        ("limits", json!({"name": "a\u{202e}b", "calls": 1})),
        ("arguments", json!({"/amount": {"eq": [1]}})),
        ("arguments", json!({"/amount": {"eq": {}}})),
        ("arguments", json!({"/amount": {"in": 5}})),
        ("arguments", json!({"/amount": {"in": [[5]]}})),
        ("arguments", json!({"/amount": {"prefix": 5}})),
        ("arguments", json!({"/amount": {"prefix": long}})),
        ("arguments", json!({"/amount": {"absent": false}})),
        ("arguments", json!({"/amount": {"absent": 1}})),
        ("fields", json!("/id")),
        ("fields", Value::Null),
        ("fields", json!(["id"])),
        ("fields", json!(["/a~"])),
        ("fields", json!(["/items/99999999999999999999"])),
        ("fields", json!([5])),
        ("fields", json!([format!("/{long}")])),
        ("limits", json!([])),
        ("limits", json!({"calls": -1})),
        ("limits", json!({"calls": 1.5})),
        ("limits", json!({"calls": "1"})),
        ("limits", json!({"calls": u64::MAX})),
        ("limits", json!({"spend": 5})),
        ("limits", json!({"spend": {"amount": 5}})),
        ("limits", json!({"spend": {"/amount": -1}})),
        ("limits", json!({"spend": {"/amount": 2e12}})),
        ("limits", json!({"spend": {"/amount": "5"}})),
        ("delegate", json!(true)),
        ("delegate", json!({})),
        ("delegate", json!({"depth": 1})),
        ("delegate", json!({"to": "agent:a"})),
        ("delegate", json!({"to": ["summarizer"]})),
        ("delegate", json!({"to": ["user:alice"]})),
        ("delegate", json!({"to": ["agent:*"]})),
        ("delegate", json!({"to": ["agent:A"]})),
        ("delegate", json!({"to": ["*"], "depth": 9})),
        ("delegate", json!({"to": ["*"], "depth": -1})),
        ("delegate", json!({"to": ["*"], "depth": 1.0})),
        ("not_after", json!("2027-01-01T00:00:00Z")),
        ("not_after", json!(1.5)),
        ("not_after", json!(EXACT + 1)),
        ("not_after", Value::Null),
    ] {
        assert_eq!(refusal(&with(dimension, value.clone())), Code::AuthorizationDetailsInvalid, "{dimension} {value}");
    }
    for details in [json!({}), json!("x"), Value::Null, json!([5]), json!([[]]), json!([null]), design()[0].clone()] {
        assert_eq!(refusal(&details), Code::AuthorizationDetailsInvalid, "{details}");
    }
}

#[test]
fn x_10_limits_hold_at_the_limit_and_fail_above_it() {
    let texts = |count: usize| json!((0..count).map(|n| format!("/f{n}")).collect::<Vec<_>>());
    let constraints = |count: usize| Value::Object((0..count).map(|n| (format!("/f{n}"), json!({"max": 1}))).collect());
    let values = |count: usize| json!({"/a": {"in": (0..count).collect::<Vec<_>>()}});
    let sized = |dimension: &str, at: Value, above: Value| {
        assert!(Authority::parse(&with(dimension, at)).is_ok(), "{dimension} at its limit");
        assert_eq!(refusal(&with(dimension, above)), Code::AuthorizationDetailsInvalid, "{dimension} above");
    };
    sized("fields", texts(FIELD_LIMIT), texts(FIELD_LIMIT + 1));
    // One more argument comes from the spend limit of the example; it is in the list already.
    let mut full = constraints(ARGUMENT_LIMIT - 1);
    full["/amount"] = json!({"max": 1});
    sized("arguments", full, constraints(ARGUMENT_LIMIT + 1));
    sized("arguments", values(VALUE_LIMIT), values(VALUE_LIMIT + 1));
    let grants = |count: usize| Value::Array((0..count).map(|n| with("actions", json!([format!("a{n}")]))[0].clone()).collect());
    assert_eq!(parse(&grants(GRANT_LIMIT)).grants().len(), GRANT_LIMIT);
    assert_eq!(refusal(&grants(GRANT_LIMIT + 1)), Code::AuthorizationDetailsInvalid);
}

#[test]
fn grants_that_permit_nothing_vanish() {
    for (dimension, value) in [
        ("locations", json!([])),
        ("actions", json!([])),
        ("arguments", json!({"/a": {"eq": 5, "max": 3}})),
        ("arguments", json!({"/a": {"min": 5, "max": 3}})),
        ("arguments", json!({"/a": {"in": []}})),
        ("arguments", json!({"/a": {"in": [1, 2], "eq": 3}})),
        ("arguments", json!({"/a": {"prefix": "x", "min": 0}})),
        ("arguments", json!({"/a": {"prefix": "x", "eq": "yx"}})),
        ("arguments", json!({"/a": {"absent": true, "eq": 1}})),
        ("arguments", json!({"/a": {"max": 1}, "/a/b": {"eq": 1}})),
        ("arguments", json!({"/a": {"max": 1}, "/a/b": {"absent": true}})),
        ("arguments", json!({"/a": {"eq": "x"}, "/a/0": {"absent": true}})),
        ("arguments", json!({"/a": {"each": {"eq": 1}}, "/a/b": {"absent": true}})),
        ("arguments", json!({"/a": {"each": {"eq": 1}}, "/a/0": {"eq": 2}})),
        ("arguments", json!({"/a": {"unset": true}, "/a/b": {"eq": 1}})),
        ("arguments", json!({"/a": {"unset": true, "min": 0}})),
        ("arguments", json!({"/a/0": {"eq": 1}, "/a/b": {"absent": true}})),
        ("arguments", json!({"/a": {"prefix": ["x", "y"], "eq": "z"}})),
        ("arguments", json!({"/a": {"prefix": "https://b.com/", "host": "a.com"}})),
        ("arguments", json!({"/a": {"host": []}})),
        ("arguments", json!({"/a": {"absent": true}, "/a/b/c": {"eq": 1}})),
        ("arguments", json!({"/amount": {"absent": true}})),
        ("arguments", json!({"/amount": {"max": -1}})),
        ("arguments", json!({"/amount": {"min": 501}})),
        ("arguments", json!({"/amount": {"prefix": "5"}})),
        ("limits", json!({"calls": 0})),
        ("not_after", json!(0)),
        ("not_after", json!(-1)),
    ] {
        assert!(parse(&with(dimension, value.clone())).is_none(), "{dimension} {value}");
    }
    assert!(parse(&json!([])).is_none());
}

#[test]
fn different_spellings_of_the_same_grant_are_the_same() {
    let same = |dimension: &str, a: Value, b: Value| {
        assert_eq!(parse(&with(dimension, a.clone())).digest(), parse(&with(dimension, b.clone())).digest(), "{a} {b}");
    };
    same("actions", json!(["*"]), json!(["tickets_read", "*"]));
    same("arguments", json!({"/a": {"eq": 5}}), json!({"/a": {"in": [5, 5.0]}}));
    same("arguments", json!({"/a": {"eq": 0}}), json!({"/a": {"min": -0.0, "max": 0}}));
    same("arguments", json!({"/a": {"in": [1, 2]}}), json!({"/a": {"min": 1, "max": 2.5, "in": [0, 2, 3, 1, "x"]}}));
    same("arguments", json!({"/a": {"prefix": "x"}}), json!({"/a": {"prefix": ["x", "xy"]}}));
    same("arguments", json!({"/a": {"eq": ""}}), json!({"/a": {"prefix": "", "unset": true}}));
    same("arguments", json!({"/a": {"unset": ["list"]}}), json!({"/a/0": {"absent": true}, "/a/1": {"absent": true}}));
    same("arguments", json!({"/a": {"unset": []}}), json!({"/a/0": {"absent": true}, "/a/b": {"absent": true}}));
    same("arguments", json!({"/a": {"each": {"in": []}}}), json!({"/a": {"each": {"eq": 1}}, "/a/0": {"absent": true}}));
    same(
        "arguments",
        json!({"/a": {"prefix": "https://a.com/x"}}),
        json!({"/a": {"prefix": "https://a.com/x", "host": ["a.com", "b.com"]}}),
    );
    let all = json!(["/amount", "/currency", "/ticket_id"]);
    same("only", json!(true), all.clone());
    same("only", all, json!(["/amount", "/currency", "/ticket_id/deep", "/ticket_id"]));
    same(
        "limits",
        json!({"calls": 1, "name": "a", "spend": {"/amount": 500}}),
        json!({"calls": 1, "name": ["a"], "spend": {"/amount": 500}}),
    );
}

#[test]
fn redundant_parts_leave_no_trace() {
    let same = |dimension: &str, a: Value, b: Value| {
        assert_eq!(parse(&with(dimension, a.clone())), parse(&with(dimension, b.clone())), "{a} {b}");
    };
    same("fields", json!(["/customer"]), json!(["/customer/name", "/customer", "/customer"]));
    same("fields", json!(["/items/*"]), json!(["/items/0", "/items/*/id", "/items/*"]));
    same("arguments", json!({"/a": {"absent": true}}), json!({"/a": {"absent": true}, "/a/b": {"absent": true}}));
    same("arguments", json!({"/a": {"max": 1}}), json!({"/a": {"max": 1, "min": -EXACT}}));
    same("arguments", json!({"/a": {"eq": null}}), json!({"/a": {"in": [null, "x", 5]}, "/a/b": {"absent": true}}));
    same("arguments", json!({}), json!({"/amount": {"min": 0}}));
    same("delegate", json!({"to": ["*"], "depth": 0}), json!({"to": [], "depth": 3}));
    assert_eq!(parse(&with("delegate", json!({"to": []}))), parse(&without("delegate")));
    assert_eq!(parse(&with("fields", json!([""]))), parse(&without("fields")));
    assert_eq!(parse(&with("delegate", json!({"to": ["agent:summarizer"]}))), parse(&design()));
}

/// One line for each way to exceed the design's grant: the code, then the words.

#[test]
fn a_consent_page_leaves_nothing_out() {
    let names: Vec<String> = (0..40).map(|n| format!("tool{n}")).collect();
    let long = "x".repeat(300);
    let authority = read(&[json!({"type": "tool_access", "actions": names, "arguments": {"/note": {"eq": long}}})]);
    let words = lines(&authority);
    assert!(names.iter().all(|name| words.contains(&format!("`{name}`"))) && words.contains(&long));
    let tricky = read(&[json!({"type": "tool_access", "arguments": {"/n": {"eq": "a`; every action\n\u{202e}"}}})]);
    assert!(!lines(&tricky).contains(['\n', '\u{202e}']), "{}", lines(&tricky));
    insta::assert_snapshot!("described_widest", lines(&read(&[json!({"type": "tool_access"})])));
}

#[test]
fn x_10_an_authority_lists_only_so_much_altogether() {
    let fields = |g: usize, count: usize| (0..count).map(|n| format!("/f{g}/x{n}")).collect::<Vec<_>>();
    let grants = |count: usize| -> Value {
        (0..count).map(|g| json!({"type": "tool_access", "actions": [format!("a{g}")], "fields": fields(g, 62)})).collect()
    };
    // Each weighs 1 + 1 + 8 * 62 = 498.
    assert!(Authority::parse(&grants(8)).is_ok());
    assert_eq!(refusal(&grants(9)), Code::AuthorizationDetailsInvalid);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(3000))]

    #[test]
    fn hostile_details_never_panic(details in hostile(4)) {
        if let Ok(authority) = Authority::parse(&details) {
            prop_assert_eq!(Authority::parse(&authority.to_value()), Ok(authority));
        }
    }
}

/// Details whose members have names we know and values we do not expect.
fn hostile(depth: u32) -> impl Strategy<Value = Value> {
    let names = prop::sample::select(vec![
        "type",
        "locations",
        "actions",
        "arguments",
        "fields",
        "limits",
        "delegate",
        "not_after",
        "/a",
        "eq",
        "max",
        "to",
        "depth",
        "calls",
        "spend",
        "absent",
    ]);
    let leaf = prop_oneof![
        Just(json!("tool_access")),
        Just(json!("*")),
        Just(json!("/a")),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        any::<bool>().prop_map(Value::from),
        ".{0,6}".prop_map(Value::from),
    ];
    let tree = leaf.prop_recursive(depth, 24, 6, move |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::vec((names.clone(), inner), 0..5)
                .prop_map(|members| Value::Object(members.into_iter().map(|(name, value)| (name.to_owned(), value)).collect())),
        ]
    });
    prop::collection::vec(tree, 0..3).prop_map(|mut details| {
        for detail in &mut details {
            if let Value::Object(members) = detail {
                members.insert("type".into(), "tool_access".into());
            }
        }
        Value::Array(details)
    })
}
