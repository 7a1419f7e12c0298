//! What records say of decisions and chains, the same for every part.

use crate::registry::{ISSUER, NOW, Registry, call, calls, helpdesk, named, policies};
use remit_decide::{Ask, What, World, decide, facts};
use remit_ledger::record::{DecisionResult, GrantKind, PartyKind};
use remit_model::{Principal, PrincipalKind};
use serde_json::json;

#[tokio::test]
async fn a_delegation_and_a_call_are_recorded_with_the_same_members() {
    let registry = Registry::new().await;
    let (snapshot, bundle, server) =
        (registry.snapshot(), policies("@id(\"all\") permit (principal, action, resource);"), helpdesk(&[]));
    let world = World::new(ISSUER, &snapshot, &bundle, NOW);
    let (alice, planner, held, arguments) =
        (named("user:alice"), [named("agent:planner")], calls(&["read"], 10), json!({"amount": 1}));
    let called = call(&alice, &planner, &held, (&server, "read", &arguments));
    let to = named("agent:scribe");
    let delegated = Ask { what: What::Delegate { to: &to, authority: &held, server: None, expires: NOW.plus(60) }, ..called };
    for ask in [called, delegated] {
        let verdict = decide(&world, &ask);
        let asked = verdict.asked.unwrap();
        let facts = facts::decision(&asked.question, &asked.decision, 7);
        assert_eq!(facts.result, DecisionResult::Allow);
        let [policy] = facts.policies.as_slice() else { panic!("one policy decided") };
        assert_eq!((policy.id.as_str(), policy.version.as_str()), ("all", "p.cedar:1"), "where it is, not which set");
        assert_eq!(facts.policy_set_digest.as_deref(), Some(bundle.digest()));
        assert_eq!(facts.nondet, [("now".to_owned(), json!(NOW))]);
        assert_eq!(facts.latency_ns, Some(7));
        assert_eq!(facts.input, serde_json::to_value(&asked.question).ok());
        assert!(facts.explanation.is_some() && facts.engine.is_some() && facts.schema_digest.is_some());
    }
}

#[test]
fn the_kinds_of_a_chain_follow_from_its_root() {
    let kinds = |chain: &[Principal]| -> Vec<(PartyKind, GrantKind)> {
        facts::parties(chain).into_iter().map(|party| (party.kind, party.grant.kind)).collect()
    };
    let (alice, planner, scribe) = (named("user:alice"), named("agent:planner"), named("agent:scribe"));
    assert_eq!(
        kinds(&[alice, planner.clone(), scribe.clone()]),
        [
            (PartyKind::Human, GrantKind::Login),
            (PartyKind::Agent, GrantKind::Login),
            (PartyKind::Subagent, GrantKind::TokenExchange)
        ]
    );
    assert_eq!(
        kinds(&[planner.clone(), scribe]),
        [(PartyKind::Agent, GrantKind::ClientCredentials), (PartyKind::Subagent, GrantKind::TokenExchange)]
    );
    let federated = Principal::new("https://idp.example", "00u1f9xk", PrincipalKind::Human);
    assert_eq!(kinds(&[federated, planner]), [(PartyKind::Human, GrantKind::Login), (PartyKind::Agent, GrantKind::Login)]);
}
