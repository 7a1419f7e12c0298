//! Grants against calls: what is permitted, what a refusal says, and what a call draws on a budget.

use super::{design, parse, refund};
use crate::support::read;
use proptest::prelude::*;
use remit_model::{Authority, Call, Code, UnixTime, authority::EXACT};
use serde_json::{Value, json};
use std::collections::BTreeSet;

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

proptest! {
    #![proptest_config(ProptestConfig::with_cases(3000))]

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
