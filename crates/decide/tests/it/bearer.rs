//! What an agent may not do whose tokens are bound to no key, whatever policies say.

use crate::registry::{ISSUER, NOW, Registry, agent, call, calls, helpdesk, named, policies};
use remit_decide::{Ask, What, World, decide};
use remit_model::{Agent, AgentStatus, Authority, Binding, ClientProfile, Code, ToolClass};
use remit_store::Change;
use serde_json::json;

const PERMIT: &str = "permit (principal, action, resource);";

async fn registry() -> Registry {
    let registry = Registry::new().await;
    for (name, writes) in [("bearer", false), ("writer", true)] {
        let client = ClientProfile { binding: Binding::DangerBearer, danger_bearer_writes: writes, ..ClientProfile::default() };
        let registered = Agent { client, ..agent(name, AgentStatus::Active, calls(&["read", "refund"], 100)) };
        registry.put(Change::PutAgent(registered)).await;
    }
    registry
}

#[tokio::test]
async fn only_reading_is_decided_for_it_whatever_the_class_and_whatever_it_holds() {
    use ToolClass::{Admin, Delete, Execute, Identity, Payment, Read, Write};
    let registry = registry().await;
    let (snapshot, bundle, server) = (registry.snapshot(), policies(PERMIT), helpdesk(&[]));
    let world = World::new(ISSUER, &snapshot, &bundle, NOW);
    let (held, arguments, alice) = (calls(&["read"], 10), json!({"amount": 1}), named("user:alice"));
    for class in [Read, Write, Delete, Execute, Admin, Identity, Payment] {
        for (name, allowed) in [("bearer", class == Read), ("writer", true), ("planner", true)] {
            let actors = [named(&format!("agent:{name}"))];
            let asked = call(&alice, &actors, &held, (&server, "read", &arguments));
            let what = What::Call { server: &server, action: "read", class, arguments: &arguments };
            let verdict = decide(&world, &Ask { what, ..asked });
            assert_eq!(
                verdict.result.as_ref().err().map(|no| no.code),
                (!allowed).then_some(Code::BearerNotAllowed),
                "{name} {class:?}"
            );
            assert_eq!(verdict.asked.is_some(), allowed, "policies are not asked what is refused before them");
            let alone =
                Ask { who: remit_decide::Presented { root: &actors[0], actors: &[], held: None, ..asked.who }, what, ..asked };
            assert_eq!(decide(&world, &alone).result.is_ok(), allowed, "by name: {name} {class:?}");
        }
    }
}

#[tokio::test]
async fn n_dp_15_a_token_bound_to_no_key_counts_only_for_an_agent_that_is_registered_so() {
    let registry = registry().await;
    let (snapshot, bundle, server) = (registry.snapshot(), policies(PERMIT), helpdesk(&[]));
    let world = World::new(ISSUER, &snapshot, &bundle, NOW);
    let (held, arguments, alice) = (calls(&["read"], 10), json!({"amount": 1}), named("user:alice"));
    let (bearer, planner) = (named("agent:bearer"), named("agent:planner"));
    for (actors, allowed) in
        [(vec![bearer.clone()], true), (vec![planner.clone()], false), (vec![bearer, planner], false), (Vec::new(), false)]
    {
        let asked = call(&alice, &actors, &held, (&server, "read", &arguments));
        let unbound = Ask { who: remit_decide::Presented { unbound: true, ..asked.who }, ..asked };
        let no = decide(&world, &unbound).result.err().map(|no| no.code);
        assert_eq!(no, (!allowed).then_some(Code::DpopKeyMismatch), "{actors:?}");
        assert!(decide(&world, &asked).result.is_ok(), "a bound token is good for each of them");
    }
}

#[tokio::test]
async fn tx_06_only_a_person_delegates_to_it_and_it_delegates_nothing() {
    let registry = registry().await;
    let (snapshot, bundle) = (registry.snapshot(), policies(PERMIT));
    let world = World::new(ISSUER, &snapshot, &bundle, NOW);
    let (alice, planner, bearer) = (named("user:alice"), named("agent:planner"), named("agent:bearer"));
    let (plain, server, arguments) = (calls(&["read"], 10), helpdesk(&[]), json!({}));
    let details = json!([{"type": "tool_access", "actions": ["read"], "delegate": {"to": ["*"], "depth": 1}}]);
    let further = Authority::parse(&details).unwrap();
    for (root, actors, to, authority, allowed) in [
        (&alice, vec![], &bearer, &plain, true),
        (&bearer, vec![], &bearer, &plain, true),
        (&alice, vec![planner.clone()], &planner, &further, true),
        (&alice, vec![], &bearer, &further, false),
        (&bearer, vec![], &bearer, &further, false),
        (&planner, vec![], &bearer, &plain, false),
        (&alice, vec![planner.clone()], &bearer, &plain, false),
        (&alice, vec![bearer.clone()], &planner, &plain, false),
        (&bearer, vec![], &planner, &plain, false),
        (&alice, vec![bearer.clone(), planner.clone()], &named("agent:scribe"), &plain, false),
    ] {
        let asked = call(root, &actors, authority, (&server, "read", &arguments)).who;
        let ask = Ask {
            who: remit_decide::Presented { held: None, location: None, ..asked },
            circumstances: remit_decide::Circumstances::default(),
            what: What::Delegate { to, authority, server: None, expires: NOW.plus(60) },
            known: None,
            unconditional: false,
        };
        let no = decide(&world, &ask).result.err().map(|no| no.code);
        assert_eq!(no, (!allowed).then_some(Code::BearerNotAllowed), "{} → {actors:?} → {}", root.sub, to.sub);
    }
}
