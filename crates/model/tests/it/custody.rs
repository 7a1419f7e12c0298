//! Chains of delegation: they grow at the end, by agents the parent named, and only narrow.

use crate::support::{AGENTS, Asked, ENDS, asked, details, read};
use proptest::prelude::*;
use remit_model::{
    Authority, Chain, Code, EdgeProof, Hop, Principal, Refusal, UnixTime,
    chain::{DEFAULT_DEPTH, HARD_DEPTH},
};
use serde_json::{Value, json};

const ISSUER: &str = "https://gw.example";

fn who(sub: &str) -> Principal {
    Principal::local(ISSUER, sub)
}

fn hop(from: &str, to: &str, authority: Authority) -> Hop {
    Hop {
        delegator: who(from),
        delegate: who(to),
        jkt: Some(format!("jkt-{to}")),
        x5t: None,
        authority,
        purpose: None,
        expires: UnixTime(100),
        jti: format!("jti-{to}"),
        edge: EdgeProof::Statement("a.b.c".into()),
        signed: None,
    }
}

/// May be handed on by anyone to anyone, `depth` times.
fn open(depth: usize) -> Authority {
    read(&[json!({"type": "tool_access", "actions": ["read"], "delegate": {"to": ["*"], "depth": depth}})])
}

fn root() -> Chain {
    Chain::new("txn-1".into(), who("user:alice"))
}

/// alice to agent:a0 to agent:a1 and so on.
fn long(actors: usize, limit: usize) -> Result<Chain, Refusal> {
    let mut chain = root();
    for n in 0..actors {
        let from = if n == 0 { "user:alice".to_owned() } else { format!("agent:a{}", n - 1) };
        chain = chain.extend(hop(&from, &format!("agent:a{n}"), open(HARD_DEPTH - n)), limit)?;
    }
    Ok(chain)
}

fn refused(chain: Chain, hop: Hop) -> Code {
    chain.extend(hop, DEFAULT_DEPTH).expect_err("must be refused").code
}

#[test]
fn dc_08_depth_is_four_by_default_and_never_more_than_eight() {
    assert_eq!(long(DEFAULT_DEPTH, DEFAULT_DEPTH).unwrap().hops.len(), 4);
    assert_eq!(long(DEFAULT_DEPTH + 1, DEFAULT_DEPTH).unwrap_err().code, Code::ChainTooDeep);
    assert_eq!(long(HARD_DEPTH, usize::MAX).unwrap().hops.len(), 8);
    assert_eq!(long(HARD_DEPTH + 1, usize::MAX).unwrap_err().code, Code::ChainTooDeep);
    assert_eq!(long(1, 0).unwrap_err().code, Code::ChainTooDeep);
}

#[test]
fn dc_08_nobody_appears_twice() {
    let chain = long(3, DEFAULT_DEPTH).unwrap();
    for again in ["agent:a0", "agent:a1", "agent:a2"] {
        let mut hop = hop("agent:a2", again, open(1));
        hop.jti = "another".into();
        assert_eq!(refused(chain.clone(), hop), Code::ChainCycle, "{again}");
    }
    let workload = Chain::new("txn-2".into(), who("agent:root"));
    assert_eq!(refused(workload, hop("agent:root", "agent:root", open(1))), Code::ChainCycle);
}

#[test]
fn dc_03_only_the_holder_continues_the_chain() {
    let chain = long(2, DEFAULT_DEPTH).unwrap();
    for splicer in ["user:alice", "agent:a0", "agent:stranger", "user:mallory"] {
        assert_eq!(refused(chain.clone(), hop(splicer, "agent:new", open(1))), Code::ChainSpliced, "{splicer}");
    }
    let mut foreign = hop("agent:a1", "agent:new", open(1));
    foreign.delegator.iss = "https://other.example".into();
    assert_eq!(refused(chain.clone(), foreign), Code::ChainSpliced);
    let mut reused = hop("agent:a1", "agent:new", open(1));
    reused.jti = "jti-a0".replace("a0", "agent:a0");
    assert_eq!(refused(chain, reused), Code::ChainSpliced);
    assert_eq!(refused(root(), hop("user:bob", "agent:new", open(1))), Code::ChainSpliced);
}

#[test]
fn dc_07_no_hop_outlives_its_parent() {
    let chain = long(1, DEFAULT_DEPTH).unwrap();
    let mut longer = hop("agent:a0", "agent:new", open(1));
    longer.expires = UnixTime(101);
    assert_eq!(refused(chain.clone(), longer), Code::WidensLifetime);
    assert!(chain.extend(hop("agent:a0", "agent:new", open(1)), DEFAULT_DEPTH).is_ok());
}

#[test]
fn dc_07_no_hop_widens() {
    let held = json!({
        "type": "tool_access", "locations": ["https://gw.example/mcp/a"], "actions": ["read"], "arguments": {"/n": {"max": 5}},
        "fields": ["/id"], "limits": {"calls": 3}, "delegate": {"to": ["agent:b"], "depth": 2}, "not_after": 50
    });
    let handed = |dimension: &str, value: Value| {
        let mut detail = held.clone();
        detail["delegate"] = json!({"to": ["agent:b"], "depth": 1});
        if value.is_null() {
            detail.as_object_mut().unwrap().remove(dimension);
        } else {
            detail[dimension] = value;
        }
        hop("agent:a", "agent:b", read(&[detail]))
    };
    let chain = root().extend(hop("user:alice", "agent:a", read(std::slice::from_ref(&held))), DEFAULT_DEPTH).unwrap();
    for (dimension, value, code) in [
        ("locations", json!(["https://gw.example/mcp/b"]), Code::WidensResource),
        ("locations", Value::Null, Code::WidensResource),
        ("actions", json!(["read", "refund"]), Code::WidensScope),
        ("arguments", json!({"/n": {"max": 6}}), Code::WidensArgument),
        ("arguments", Value::Null, Code::WidensArgument),
        ("fields", json!(["/id", "/name"]), Code::WidensField),
        ("fields", Value::Null, Code::WidensField),
        ("limits", json!({"calls": 4}), Code::WidensLimit),
        ("not_after", json!(51), Code::WidensLifetime),
        ("not_after", Value::Null, Code::WidensLifetime),
        ("delegate", json!({"to": ["agent:b"], "depth": 2}), Code::WidensDelegation),
        ("delegate", json!({"to": ["agent:c"], "depth": 1}), Code::WidensDelegation),
        ("delegate", json!({"to": ["*"], "depth": 1}), Code::WidensDelegation),
    ] {
        assert_eq!(refused(chain.clone(), handed(dimension, value.clone())), code, "{dimension} {value}");
    }
    assert!(chain.extend(handed("actions", json!(["read"])), DEFAULT_DEPTH).is_ok());
}

#[test]
fn dc_10_only_named_agents_of_the_same_issuer_receive_authority() {
    let one = read(&[json!({"type": "tool_access", "actions": ["read"], "delegate": {"to": ["agent:b"], "depth": 1}})]);
    let plain = read(&[json!({"type": "tool_access", "actions": ["read"]})]);
    let chain = root().extend(hop("user:alice", "agent:a", one), DEFAULT_DEPTH).unwrap();
    assert_eq!(refused(chain.clone(), hop("agent:a", "agent:c", plain.clone())), Code::DelegateNotNamed);
    assert_eq!(refused(chain.clone(), hop("agent:a", "user:bob", plain.clone())), Code::DelegationNotAllowed);
    let mut foreign = hop("agent:a", "agent:b", plain.clone());
    foreign.delegate.iss = "https://other.example".into();
    assert_eq!(refused(chain.clone(), foreign), Code::DelegateNotNamed);
    let ended = chain.extend(hop("agent:a", "agent:b", plain.clone()), DEFAULT_DEPTH).unwrap();
    assert_eq!(refused(ended, hop("agent:b", "agent:c", plain.clone())), Code::DelegationNotAllowed);
    // One grant may be handed on, the other not: the second cannot ride along.
    let mixed = read(&[
        json!({"type": "tool_access", "actions": ["read"], "delegate": {"to": ["agent:b"], "depth": 1}}),
        json!({"type": "tool_access", "actions": ["refund"]}),
    ]);
    let chain = root().extend(hop("user:alice", "agent:a", mixed), DEFAULT_DEPTH).unwrap();
    let refund = read(&[json!({"type": "tool_access", "actions": ["refund"]})]);
    assert_eq!(refused(chain.clone(), hop("agent:a", "agent:b", refund)), Code::DelegateNotNamed);
    assert!(chain.extend(hop("agent:a", "agent:b", plain), DEFAULT_DEPTH).is_ok());
}

#[test]
fn dc_03_a_stored_chain_that_was_edited_does_not_check() {
    let chain = long(3, DEFAULT_DEPTH).unwrap();
    assert!(chain.check(DEFAULT_DEPTH).is_ok());
    let edited = |edit: fn(&mut Chain)| {
        let mut edited = chain.clone();
        edit(&mut edited);
        edited.check(DEFAULT_DEPTH).unwrap_err().code
    };
    assert_eq!(edited(|chain| chain.hops.swap(0, 1)), Code::ChainSpliced);
    assert_eq!(edited(|chain| drop(chain.hops.remove(0))), Code::ChainSpliced);
    assert_eq!(edited(|chain| drop(chain.hops.remove(1))), Code::ChainSpliced);
    assert_eq!(edited(|chain| chain.root = who("user:mallory")), Code::ChainSpliced);
    assert_eq!(edited(|chain| chain.hops[2].authority = open(8)), Code::WidensDelegation);
    assert_eq!(edited(|chain| chain.hops[1].expires = UnixTime(1000)), Code::WidensLifetime);
    assert_eq!(chain.check(2).unwrap_err().code, Code::ChainTooDeep);
}

#[test]
fn rfc_8693_actors_are_listed_from_the_current_one_outwards() {
    let chain = long(3, DEFAULT_DEPTH).unwrap();
    let subjects: Vec<&str> = chain.actors().map(|actor| actor.sub.as_str()).collect();
    assert_eq!(subjects, ["agent:a2", "agent:a1", "agent:a0"]);
    assert_eq!(chain.holder().sub, "agent:a2");
    assert_eq!(root().holder().sub, "user:alice");
    let text = serde_json::to_string(&chain).unwrap();
    assert_eq!(serde_json::from_str::<Chain>(&text).unwrap(), chain);
    assert!(serde_json::from_str::<Chain>(&text.replace("\"purpose\"", "\"extra\"")).is_err());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn n_dc_19_no_chain_exceeds_any_ancestor(
        start in details(), wishes in prop::collection::vec((details(), prop::sample::select(ENDS), 0..3_u8), 1..4),
        calls in prop::collection::vec(asked(), 10),
    ) {
        let mut chain = root();
        let mut delegator = "user:alice";
        let mut wanted = read(&start);
        for ((wish, end, shape), to) in wishes.into_iter().zip(AGENTS) {
            let mut next = hop(delegator, to, wanted.clone());
            next.expires = UnixTime(end + 40);
            let held = chain.hops.last().map(|parent| parent.expires);
            let Ok(longer) = chain.clone().extend(next, DEFAULT_DEPTH) else {
                break;
            };
            prop_assert!(held.is_none_or(|held| end + 40 <= held.0));
            chain = longer;
            delegator = to;
            let handed = chain.hops.last().unwrap().authority.delegable_to(&who(AGENTS[chain.hops.len().min(2)]));
            wanted = match (shape, handed) {
                (0, _) | (_, Err(_)) => read(&wish),
                (1, Ok(handed)) => handed,
                (_, Ok(handed)) => handed.meet(&read(&wish)),
            };
        }
        let Some(last) = chain.hops.last() else { return Ok(()) };
        for ancestor in &chain.hops {
            prop_assert!(last.authority.within(&ancestor.authority).is_ok());
            prop_assert!(last.expires <= ancestor.expires);
            for Asked { location, action, arguments, now } in &calls {
                let call = remit_model::Call { location, action, arguments, now: UnixTime(*now) };
                prop_assert!(last.authority.permits(&call).is_err() || ancestor.authority.permits(&call).is_ok());
            }
        }
        prop_assert!(chain.check(DEFAULT_DEPTH).is_ok());
    }
}
