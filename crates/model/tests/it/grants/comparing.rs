//! Grants against grants: what widens and why, what two have in common, what may be handed on.

use super::{HERE, design, parse, with, without};
use crate::support::read;
use remit_model::{
    Authority, Code, Principal,
    authority::{GRANT_LIMIT, Holder},
};
use serde_json::{Value, json};

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
