//! Reading, explaining and using single authorities: what is refused, and in which words.

use crate::support::read;
use proptest::prelude::*;
use remit_model::{
    Authority, Call, Code, Principal, UnixTime,
    authority::{ARGUMENT_LIMIT, EXACT, FIELD_LIMIT, GRANT_LIMIT, Holder, VALUE_LIMIT},
};
use serde_json::{Value, json};
use std::collections::BTreeSet;

const HERE: &str = "https://gw.example/mcp/helpdesk";

fn design() -> Value {
    json!([{
        "type": "tool_access",
        "locations": [HERE],
        "actions": ["tickets_read", "refund_create"],
        "arguments": {"/amount": {"max": 50}, "/currency": {"in": ["EUR"]}, "/ticket_id": {"prefix": "T-"}},
        "fields": ["/id", "/subject", "/customer/name"],
        "limits": {"calls": 100, "spend": {"/amount": 500}},
        "delegate": {"to": ["agent:summarizer"], "depth": 1},
        "not_after": 1_798_761_600
    }])
}

/// The design's grant with one dimension replaced.
fn with(dimension: &str, value: Value) -> Value {
    let mut details = design();
    details[0][dimension] = value;
    details
}

fn without(dimension: &str) -> Value {
    let mut details = design();
    details[0].as_object_mut().unwrap().remove(dimension);
    details
}

fn parse(details: &Value) -> Authority {
    Authority::parse(details).unwrap()
}

fn refusal(details: &Value) -> Code {
    Authority::parse(details).expect_err(&details.to_string()).code
}

fn lines(authority: &Authority) -> String {
    authority.describe().iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")
}

fn refund(arguments: &Value) -> Call<'_> {
    Call { location: HERE, action: "refund_create", arguments, now: UnixTime(1_790_000_000) }
}

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
fn dc_07_a_wider_child_is_refused_in_each_dimension() {
    let parent = parse(&design());
    let cases = [
        ("locations", json!([HERE, "https://gw.example/mcp/other"]), Code::WidensResource),
        ("actions", json!(["tickets_read", "customers_delete"]), Code::WidensScope),
        ("actions", json!(["*"]), Code::WidensScope),
        (
            "arguments",
            json!({"/amount": {"max": 90}, "/currency": {"eq": "EUR"}, "/ticket_id": {"prefix": "T-"}}),
            Code::WidensArgument,
        ),
        (
            "arguments",
            json!({"/amount": {"max": 50}, "/currency": {"in": ["EUR", "USD"]}, "/ticket_id": {"prefix": "T-"}}),
            Code::WidensArgument,
        ),
        (
            "arguments",
            json!({"/amount": {"max": 50}, "/currency": {"in": ["EUR"]}, "/ticket_id": {"prefix": "T"}}),
            Code::WidensArgument,
        ),
        ("arguments", json!({"/amount": {"max": 50}, "/currency": {"in": ["EUR"]}}), Code::WidensArgument),
        (
            "arguments",
            json!({"/amount": {"max": 50}, "/currency": {"absent": true}, "/ticket_id": {"prefix": "T-"}}),
            Code::WidensArgument,
        ),
        ("fields", json!(["/id", "/customer"]), Code::WidensField),
        ("fields", json!(["/customer/mail"]), Code::WidensField),
        ("limits", json!({"calls": 101, "spend": {"/amount": 500}}), Code::WidensLimit),
        ("limits", json!({"calls": 100, "spend": {"/amount": 500.5}}), Code::WidensLimit),
        ("delegate", json!({"to": ["*"], "depth": 1}), Code::WidensDelegation),
        ("delegate", json!({"to": ["agent:summarizer"], "depth": 2}), Code::WidensDelegation),
        ("not_after", json!(1_798_761_601), Code::WidensLifetime),
    ];
    let mut words = Vec::new();
    for (dimension, value, code) in cases {
        let no = parse(&with(dimension, value)).within(&parent).expect_err(dimension);
        assert_eq!(no.code, code, "{dimension}");
        words.push(no.to_string());
    }
    for (dimension, code) in [
        ("locations", Code::WidensResource),
        ("actions", Code::WidensScope),
        ("arguments", Code::WidensArgument),
        ("fields", Code::WidensField),
        ("limits", Code::WidensLimit),
        ("not_after", Code::WidensLifetime),
    ] {
        let no = parse(&without(dimension)).within(&parent).expect_err(dimension);
        assert_eq!(no.code, code, "{dimension}");
        words.push(no.to_string());
    }
    // Leaving `delegate` out narrows; asking for it where the parent has none widens.
    assert!(parse(&without("delegate")).within(&parent).is_ok());
    words.push(parent.within(&parse(&without("delegate"))).unwrap_err().to_string());
    words.push(parent.within(&Authority::none()).unwrap_err().to_string());
    insta::assert_snapshot!("widening", words.join("\n"));
}

#[test]
fn the_nearest_parent_grant_is_named() {
    let parent = read(&[
        json!({"type": "tool_access", "locations": [HERE], "actions": ["tickets_read"]}),
        json!({"type": "tool_access", "locations": [HERE], "actions": ["refund_create"], "arguments": {"/amount": {"max": 50}}}),
        json!({"type": "tool_access", "locations": ["https://gw.example/mcp/other"], "actions": ["*"]}),
    ]);
    let child = read(&[
        json!({"type": "tool_access", "locations": [HERE], "actions": ["refund_create"], "arguments": {"/amount": {"max": 90}}}),
    ]);
    let no = child.within(&parent).unwrap_err();
    assert_eq!(
        (no.code, no.reason.as_str()),
        (
            Code::WidensArgument,
            "the grant of `refund_create`: asks for `amount` to be at most 90, but the parent's grant needs it to be at most 50",
        )
    );
}

#[test]
fn permits_explains_the_nearest_grant() {
    let authority = parse(&design());
    let good = json!({"amount": 50, "currency": "EUR", "ticket_id": "T-1"});
    let mut words = Vec::new();
    let mut refused = |call: &Call<'_>, code: Code| {
        let no = authority.permits(call).unwrap_err();
        assert_eq!(no.code, code, "{call:?}");
        words.push(no.to_string());
    };
    let base = refund(&good);
    refused(&Call { location: "https://gw.example/mcp/other", ..base.clone() }, Code::ToolNotGranted);
    refused(&Call { action: "customers_delete", ..base.clone() }, Code::ToolNotGranted);
    refused(&Call { action: "*", ..base.clone() }, Code::ToolNotGranted);
    refused(&Call { action: "REFUND.CREATE", ..base.clone() }, Code::ToolNotGranted);
    refused(&Call { now: UnixTime(1_798_761_600), ..base }, Code::GrantExpired);
    for arguments in [
        json!({"amount": 90, "currency": "EUR", "ticket_id": "T-1"}),
        json!({"amount": 50.000_000_000_000_01, "currency": "EUR", "ticket_id": "T-1"}),
        json!({"amount": -1, "currency": "EUR", "ticket_id": "T-1"}),
        json!({"amount": "50", "currency": "EUR", "ticket_id": "T-1"}),
        json!({"amount": 9_007_199_254_740_993_i64, "currency": "EUR", "ticket_id": "T-1"}),
        json!({"amount": 1e300, "currency": "EUR", "ticket_id": "T-1"}),
        json!({"amount": [50], "currency": "EUR", "ticket_id": "T-1"}),
        json!({"amount": null, "currency": "EUR", "ticket_id": "T-1"}),
        json!({"amount": 50, "currency": "eur", "ticket_id": "T-1"}),
        json!({"amount": 50, "currency": "EUR", "ticket_id": "S-1"}),
        json!({"amount": 50, "currency": "EUR", "ticket_id": {"prefix": "T-"}}),
        json!({"amount": 50, "currency": "EUR"}),
        json!({"Amount": 50, "currency": "EUR", "ticket_id": "T-1"}),
        json!({}),
        json!([50, "EUR", "T-1"]),
        Value::Null,
    ] {
        refused(&refund(&arguments), Code::ArgumentNotGranted);
    }
    words.push(Authority::none().permits(&refund(&good)).unwrap_err().to_string());
    insta::assert_snapshot!("not_permitted", words.join("\n"));
}

#[test]
fn a_refusal_shows_no_text_of_the_call() {
    let secret = json!({"amount": "4111111111111111", "currency": "secret", "ticket_id": "alice@example.com"});
    let no = parse(&design()).permits(&refund(&secret)).unwrap_err();
    assert!(["4111", "secret", "alice"].iter().all(|text| !no.reason.contains(text)), "{no}");
}

#[test]
fn numbers_are_compared_without_rounding() {
    let bounded = |constraint: Value| read(&[json!({"type": "tool_access", "arguments": {"/n": constraint}})]);
    let permits = |constraint: &Value, n: Value| bounded(constraint.clone()).permits(&refund(&json!({"n": n}))).is_ok();
    let top = json!({"max": EXACT});
    assert!(permits(&top, json!(EXACT)) && permits(&top, json!(9_007_199_254_740_991.0)) && permits(&top, json!(i64::MIN)));
    for n in [json!(EXACT + 1), json!(EXACT + 2), json!(9_007_199_254_740_992.0), json!(u64::MAX), json!(1e300)] {
        assert!(!permits(&top, n.clone()), "{n}");
        assert!(permits(&json!({"eq": n}), n.clone()) && permits(&json!({"min": EXACT + 1}), n.clone()), "{n}");
    }
    assert!(!permits(&json!({"eq": EXACT + 2}), json!(EXACT + 1)) && !permits(&json!({"in": [u64::MAX]}), json!(u64::MAX - 1)));
    // The least bound by itself means any number.
    for n in [json!(-1e300), json!(i64::MIN), json!(u64::MAX)] {
        assert!(permits(&json!({"min": -EXACT}), n.clone()), "{n}");
    }
    let tenth = json!({"eq": 0.1});
    assert!(permits(&tenth, json!(0.1)) && !permits(&tenth, json!(0.1_f64.next_up())));
    assert!(permits(&json!({"eq": 5}), json!(5.0)) && permits(&json!({"eq": 0}), json!(-0.0)));
    assert!(
        !permits(&json!({"max": 50}), json!(50.0_f64.next_up())) && permits(&json!({"max": 50}), json!(50.0_f64.next_down()))
    );
    assert!(!permits(&json!({"eq": 1}), json!(true)) && !permits(&json!({"eq": false}), json!(0)));
    assert!(!permits(&json!({"eq": "1"}), json!(1)) && !permits(&json!({"eq": null}), json!("null")));
}

#[test]
fn a_nested_pointer_looks_into_objects_and_arrays() {
    let authority = read(&[json!({"type": "tool_access", "arguments": {"/to/0/a~1b": {"eq": 1}}})]);
    let permits = |arguments: Value| authority.permits(&refund(&arguments)).is_ok();
    assert!(permits(json!({"to": [{"a/b": 1}]})) && !permits(json!({"to": {"0": {"a/b": 1}}})));
    assert!(
        !permits(json!({"to": [{"a": {"b": 1}}]})) && !permits(json!({"to": [0, {"a/b": 1}]})) && !permits(json!({"to": "a"}))
    );
    let absent = read(&[json!({"type": "tool_access", "arguments": {"/to/force": {"absent": true}}})]);
    assert!(absent.permits(&refund(&json!({"to": {}}))).is_ok() && absent.permits(&refund(&json!({}))).is_ok());
    assert!(absent.permits(&refund(&json!({"to": {"force": null}}))).is_err());
}

/// A server may read a text as the list or object that it spells, so no text may be where one is supposed.
#[test]
fn a_container_of_another_shape_than_the_grant_supposes_is_refused() {
    let constraints = [
        json!({"absent": true}),
        json!({"unset": true}),
        json!({"eq": "a"}),
        json!({"in": ["a", "b"]}),
        json!({"prefix": ["a", "b"]}),
        json!({"host": "a.com"}),
        json!({"min": 0}),
        json!({"max": 0}),
        json!({"each": {"eq": "a"}}),
    ];
    let list = [json!("[\"eve@evil\"]"), json!("{\"0\":\"a\"}"), json!(""), json!(5), json!(true), json!({"0": "a"}), json!({})];
    let object = [json!("{\"name\":\"eve\"}"), json!("[]"), json!(""), json!(0), json!(false), json!(["name", "a"]), json!([])];
    for constraint in &constraints {
        for (token, wrong) in
            [("0", &list), ("1", &list), ("name", &object), ("01", &object), ("0/deep", &list), ("name/0", &object)]
        {
            let at = format!("/cc/{token}");
            let authority = read(&[json!({"type": "tool_access", "arguments": {at.as_str(): constraint}})]);
            for cc in wrong {
                let no = authority.permits(&refund(&json!({"cc": cc}))).expect_err(&format!("{at} {constraint} {cc}"));
                assert_eq!(no.code, Code::ArgumentNotGranted);
            }
            let optional = constraint.get("absent").is_some() || constraint.get("unset").is_some();
            for missing in [json!({}), json!({"cc": null}), Value::Null] {
                assert_eq!(authority.permits(&refund(&missing)).is_ok(), optional, "{at} {constraint} {missing}");
            }
        }
    }
    let empty = read(&[json!({"type": "tool_access", "arguments": {"/cc/0": {"absent": true}}})]);
    assert!(empty.permits(&refund(&json!({"cc": []}))).is_ok());
    let no = empty.permits(&refund(&json!({"cc": "[\"eve@evil\"]"}))).unwrap_err();
    assert!(!no.reason.contains("eve"), "{no}");
    // What only the text of a list could meet is not below it.
    let text = read(&[json!({"type": "tool_access", "arguments": {"/cc": {"prefix": ""}}})]);
    assert_eq!(text.within(&empty).unwrap_err().code, Code::WidensArgument);
    assert!(text.meet(&empty).permits(&refund(&json!({"cc": ""}))).is_err());
}

#[test]
fn a_closed_grant_allows_no_argument_that_it_does_not_name() {
    let closed = |only: Value| {
        let arguments = json!({"/to": {"each": {"in": ["a@x", "b@x"]}}, "/meta/kind": {"eq": 1}, "/bcc": {"absent": true}});
        read(&[json!({"type": "tool_access", "arguments": arguments, "only": only})])
    };
    let permits = |authority: &Authority, arguments: Value| authority.permits(&refund(&arguments)).is_ok();
    let (strict, body) = (closed(json!(true)), closed(json!(["/to", "/meta/kind", "/body", "/list/0"])));
    let good = json!({"to": ["a@x"], "meta": {"kind": 1}});
    assert!(permits(&strict, good.clone()) && permits(&body, good.clone()));
    for (further, with_body) in [
        (json!({"body": {"any": ["thing"]}}), true),
        (json!({"list": ["one"]}), true),
        (json!({"list": null}), true),
        (json!({"list": ["one", "two"]}), false),
        (json!({"list": {"0": "one"}}), false),
        (json!({"list": "[]"}), false),
        (json!({"bcc": ["a@x"]}), false),
        (json!({"bcc": null}), false),
        (json!({"Body": 1}), false),
        (json!({"bo": 1}), false),
        (json!({"meta": {"kind": 1, "more": 2}}), false),
    ] {
        let mut arguments = good.clone();
        for (name, value) in further.as_object().unwrap() {
            arguments[name] = value.clone();
        }
        assert!(!permits(&strict, arguments.clone()), "{arguments}");
        assert_eq!(permits(&body, arguments.clone()), with_body, "{arguments}");
    }
    assert!(strict.within(&body).is_ok());
    assert_eq!(body.within(&strict).unwrap_err().code, Code::WidensArgument);
    let open = closed(json!(true)).meet(&read(&[json!({"type": "tool_access"})]));
    assert_eq!(open, strict);
    // What is left out anyway needs no constraint of its own.
    let absent = read(&[json!({"type": "tool_access", "arguments": {"/cc": {"unset": true}}})]);
    assert!(strict.within(&absent).is_ok());
}

#[test]
fn a_named_budget_keeps_its_name_and_alternatives_share_it() {
    let detail = |action: &str, limits: Value| json!({"type": "tool_access", "actions": [action], "limits": limits});
    let budgets = |authority: &Authority, action: &str| {
        let arguments = json!({"amount": 1});
        let call = Call { action, ..refund(&arguments) };
        let charges = authority.permits(&call).unwrap().charges;
        charges.into_iter().map(|charge| format!("{} {} {}", charge.budget, charge.unit, charge.limit)).collect::<Vec<_>>()
    };
    let same = read(&[detail("a", json!({"calls": 1})), detail("b", json!({"calls": 1})), detail("c", json!({"calls": 2}))]);
    assert_eq!(budgets(&same, "a"), budgets(&same, "b"));
    assert_ne!(budgets(&same, "a"), budgets(&same, "c"));
    let named = read(&[
        detail("a", json!({"name": "refunds", "calls": 1, "spend": {"/amount": 5}})),
        detail("b", json!({"name": "refunds", "calls": 1})),
        detail("c", json!({"name": "other", "calls": 1})),
    ]);
    assert_eq!(budgets(&named, "a"), ["name/refunds calls 1", "name/refunds /amount 5000000"]);
    assert_eq!(
        (budgets(&named, "b"), budgets(&named, "c")),
        (vec!["name/refunds calls 1".into()], vec!["name/other calls 1".into()])
    );
    let child = |limits: Value| read(&[detail("b", limits)]).within(&named);
    assert!(
        child(json!({"name": "refunds", "calls": 1})).is_ok() && child(json!({"name": ["mine", "refunds"], "calls": 1})).is_ok()
    );
    assert_eq!(child(json!({"calls": 1})).unwrap_err().code, Code::WidensLimit);
    assert_eq!(child(json!({"name": "other", "calls": 1})).unwrap_err().code, Code::WidensLimit);
}

#[test]
fn budgets_are_drawn_on_only_where_needed() {
    let grant = |calls: Option<u32>, fields: Value| {
        let mut detail = json!({"type": "tool_access", "fields": fields});
        if let Some(calls) = calls {
            detail["limits"] = json!({"calls": calls});
        }
        detail
    };
    let free = read(&[grant(None, json!(["/a"])), grant(Some(5), json!(["/a/b"]))]);
    let arguments = json!({});
    assert!(free.permits(&refund(&arguments)).unwrap().charges.is_empty());
    let wider = read(&[grant(None, json!(["/a"])), grant(Some(5), json!(["/a", "/b"]))]);
    let permit = wider.permits(&refund(&arguments)).unwrap();
    assert_eq!((permit.charges.len(), permit.fields.as_deref().unwrap()), (1, &["/a".to_owned(), "/b".to_owned()][..]));
    // The budget is used up: what is left is what the other grant shows.
    let exhausted: BTreeSet<String> = permit.limits.iter().map(|(digest, _)| digest.clone()).collect();
    let left = wider.permits_beyond(&refund(&arguments), &exhausted).unwrap();
    assert_eq!((left.charges.len(), left.fields.as_deref().unwrap()), (0, &["/a".to_owned()][..]));
    let only = read(&[grant(Some(5), json!([]))]);
    let spent = BTreeSet::from([only.grants()[0].digest()]);
    assert_eq!(only.permits_beyond(&refund(&arguments), &spent).unwrap_err().code, Code::LimitExhausted);
}

#[test]
fn delegation_needs_a_named_delegate_and_loses_a_hop() {
    let agent = |name: &str| Principal::local("https://gw.example", name);
    let authority = parse(&with("delegate", json!({"to": ["agent:summarizer", "agent:other"], "depth": 2})));
    let once = authority.delegable_to(&agent("agent:summarizer")).unwrap();
    assert!(once.within(&authority).is_ok() && authority.within(&once).unwrap_err().code == Code::WidensDelegation);
    let twice = once.delegable_to(&agent("agent:other")).unwrap();
    assert_eq!(twice.delegable_to(&agent("agent:summarizer")).unwrap_err().code, Code::DelegationNotAllowed);
    for stranger in ["agent:third", "agent:summarizer2", "summarizer", "user:summarizer", "*", ""] {
        assert_eq!(authority.delegable_to(&agent(stranger)).unwrap_err().code, Code::DelegateNotNamed, "{stranger}");
    }
    let anyone = parse(&with("delegate", json!({"to": ["*"], "depth": 8})));
    assert!(anyone.delegable_to(&agent("agent:third")).is_ok());
    assert_eq!(anyone.delegable_to(&agent("user:alice")).unwrap_err().code, Code::DelegateNotNamed);
    let kept = parse(&without("delegate"));
    assert_eq!(kept.delegable_to(&agent("agent:summarizer")).unwrap_err().code, Code::DelegationNotAllowed);
    assert_eq!(Authority::none().delegable_to(&agent("agent:a")).unwrap_err().code, Code::DelegationNotAllowed);
}

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

#[test]
fn fields_that_cross_are_their_own_meet() {
    let crossing: Vec<String> = (0..30).flat_map(|n| [format!("/{n}/*"), format!("/*/{n}")]).collect();
    let authority = read(&[json!({"type": "tool_access", "fields": crossing})]);
    assert_eq!(authority.meet(&authority), authority);
    let rows = read(&[json!({"type": "tool_access", "fields": crossing.iter().step_by(2).collect::<Vec<_>>()})]);
    let columns = read(&[json!({"type": "tool_access", "fields": crossing.iter().skip(1).step_by(2).collect::<Vec<_>>()})]);
    // Nine hundred single items are beyond the limit: nothing is left, rather than too much.
    assert!(rows.meet(&columns).is_none());
    assert_eq!(rows.meet(&authority), rows);
}

#[test]
fn a_meet_beyond_the_limits_narrows_and_still_reads_back() {
    let many = |prefix: &str| -> Vec<Value> {
        let grant = |n: usize| json!({"type": "tool_access", "arguments": {format!("/{prefix}{n}"): {"max": 1}}});
        (0..GRANT_LIMIT).map(grant).collect()
    };
    let (a, b) = (read(&many("a")), read(&many("b")));
    let met = a.meet(&b);
    assert_eq!(met.grants().len(), GRANT_LIMIT);
    assert!(met.within(&a).is_ok() && met.within(&b).is_ok());
    assert_eq!(Authority::parse(&met.to_value()).unwrap(), met);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(3000))]

    #[test]
    fn hostile_details_never_panic(details in hostile(4)) {
        if let Ok(authority) = Authority::parse(&details) {
            prop_assert_eq!(Authority::parse(&authority.to_value()), Ok(authority));
        }
    }

    #[test]
    fn the_smallest_amount_is_rounded_up(places in 7..300_u32) {
        let authority = read(&[json!({"type": "tool_access", "limits": {"spend": {"/amount": 1}}})]);
        let amount: f64 = format!("1e-{places}").parse().unwrap();
        let charge = authority.permits(&refund(&json!({"amount": amount}))).unwrap().charges.remove(0);
        prop_assert_eq!((charge.add, charge.limit), (1, 1_000_000));
    }

    #[test]
    fn no_amount_is_free(amount in 0.0..1e9_f64) {
        let authority = read(&[json!({"type": "tool_access", "limits": {"spend": {"/amount": 1e9}}})]);
        let charge = authority.permits(&refund(&json!({"amount": amount}))).unwrap().charges.remove(0);
        #[expect(clippy::cast_precision_loss, reason = "compared with a tolerance")]
        let counted = charge.add as f64;
        prop_assert!((counted - amount * 1e6).abs() <= 1.0 + amount * 1e-9);
        prop_assert!(amount == 0.0 || charge.add > 0);
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

#[test]
fn a_refusal_says_whose_authority_is_exceeded() {
    let held =
        Authority::parse(&json!([{"type": "tool_access", "actions": ["a"], "arguments": {"/n": {"max": 5}}, "fields": ["/id"],
        "limits": {"calls": 1}}]))
        .unwrap();
    let none = Authority::parse(&json!([])).unwrap();
    let asked = [
        json!({"actions": ["b"]}),
        json!({"actions": ["a"], "arguments": {"/n": {"max": 9}}}),
        json!({"actions": ["a"], "arguments": {"/n": {"max": 1}}}),
        json!({"actions": ["a"], "arguments": {"/n": {"max": 1}}, "fields": ["/id"]}),
    ];
    for (holder, words) in
        [(Holder::Parent, "the parent"), (Holder::Ceiling, "the agent's ceiling"), (Holder::Consent, "agreed to")]
    {
        for mut asked in asked.clone() {
            asked["type"] = json!("tool_access");
            let asked = Authority::parse(&json!([asked])).unwrap();
            for held in [&held, &none] {
                let reason = asked.within_held(held, holder).unwrap_err().reason;
                let named = reason.contains(words) || (holder == Holder::Consent && reason.contains("the consent"));
                let parent = holder == Holder::Parent || !reason.contains("parent");
                assert!(named && parent && !reason.contains('\u{e000}'), "{holder:?}: {reason}");
            }
        }
    }
}
