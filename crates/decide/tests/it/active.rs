//! Who may act: one code for each reason, wherever it is asked.

use crate::registry::{ISSUER, NOW, Registry, agent, call, calls, helpdesk, named, policies};
use remit_decide::{EffectiveCache, Presented, World, active, decide, effective};
use remit_model::{Acts, Agent, AgentStatus, Authentication, Authority, Code, Principal, PrincipalKind, UnixTime};
use remit_store::Change;
use serde_json::json;

#[tokio::test]
async fn dc_13_each_reason_why_someone_may_not_act_has_one_code() {
    let registry = Registry::new().await;
    let (snapshot, bundle, server) = (registry.snapshot(), policies("permit (principal, action, resource);"), helpdesk(&[]));
    let world = World::new(ISSUER, &snapshot, &bundle, NOW);
    let (held, arguments) = (calls(&["read"], 10), json!({"amount": 1}));
    for (who, code) in [
        (named("agent:stopped"), Code::AgentQuarantined),
        (named("agent:gone"), Code::AgentRetired),
        (named("agent:nobody"), Code::ClientUnknown),
        (named("nobody"), Code::ClientUnknown),
        (named("user:carol"), Code::HumanDisabled),
        (named("user:nobody"), Code::HumanUnknown),
        (Principal::local("https://elsewhere.example", "agent:planner"), Code::ClientUnknown),
        (Principal::local("https://elsewhere.example", "user:alice"), Code::ClientUnknown),
        (Principal::new(ISSUER, "user:alice", PrincipalKind::Agent), Code::ClientUnknown),
        (Principal::new(ISSUER, "agent:planner", PrincipalKind::Human), Code::HumanUnknown),
    ] {
        let alone = active::principal(world.principals, &who).unwrap_err();
        assert_eq!(alone.code, code, "{who:?}");
        let bounded = effective::bounded(world.principals, [&who], &held).unwrap_err();
        // As the root, as the one in between, as the caller: the same refusal, word for word.
        let (alice, planner) = (named("user:alice"), named("agent:planner"));
        let asked = |root: &Principal, actors: &[Principal]| {
            decide(&world, &call(root, actors, &held, (&server, "read", &arguments))).result.unwrap_err()
        };
        let chains = [
            asked(&who, std::slice::from_ref(&planner)),
            asked(&alice, &[who.clone(), planner.clone()]),
            asked(&alice, &[planner.clone(), who.clone()]),
        ];
        for refusal in chains.iter().chain([&bounded]) {
            assert_eq!(refusal, &alone, "{who:?}");
        }
    }
}

/// Every chain of up to three agents, with and without a person at its root: who acts only on behalf of people never does so
/// without one.
#[tokio::test]
async fn dc_13_an_agent_that_acts_on_behalf_only_needs_a_person_at_the_root_wherever_it_stands() {
    let registry = Registry::new().await;
    let held = calls(&["read"], 10);
    for (name, acts) in [("free", Acts::Either), ("other", Acts::Either), ("bound", Acts::OnBehalf)] {
        let registered = Agent { acts, ..agent(name, AgentStatus::Active, held.clone()) };
        registry.put(Change::PutAgent(registered)).await;
    }
    let (snapshot, bundle, server) = (registry.snapshot(), policies("permit (principal, action, resource);"), helpdesk(&[]));
    let world = World::new(ISSUER, &snapshot, &bundle, NOW);
    let arguments = json!({"amount": 1});
    let names = ["free", "other", "bound"].map(|name| named(&format!("agent:{name}")));
    let lists = names.iter().flat_map(|first| {
        let pairs = names.iter().map(|second| vec![first.clone(), second.clone()]);
        pairs.chain([vec![first.clone()]]).collect::<Vec<_>>()
    });
    for actors in lists {
        let is_bound = actors.iter().any(|actor| actor.sub == "agent:bound");
        let alice = named("user:alice");
        decide(&world, &call(&alice, &actors, &held, (&server, "read", &arguments))).result.unwrap();
        let (root, rest) = actors.split_first().unwrap();
        let alone = decide(&world, &call(root, rest, &held, (&server, "read", &arguments))).result;
        assert_eq!(alone.as_ref().err().map(|refusal| refusal.code), is_bound.then_some(Code::ClientNotAllowed), "{actors:?}");
        assert_eq!(active::chain(world.principals, &actors).is_err(), is_bound);
        assert_eq!(effective::bounded(world.principals, &actors, &held).is_err(), is_bound);
        assert!(active::all(world.principals, &actors).is_ok(), "it may still say who it is");
        if let Err(refusal) = alone {
            assert!(refusal.reason.contains("agent:bound") && refusal.reason.contains("sign in"), "{refusal}");
        }
    }
    // As the decision point is asked: by name, without a token.
    let bound = named("agent:bound");
    let presented = Presented { root: &bound, actors: &[], held: None, location: None, token: None, unbound: false };
    assert_eq!(effective::effective(world.principals, &presented).unwrap_err().code, Code::ClientNotAllowed);
}

#[tokio::test]
async fn rt_05_a_remembered_authority_ends_with_the_revision_it_was_found_in() {
    let registry = Registry::new().await;
    let (root, actors, held) = (named("user:alice"), [named("agent:planner")], calls(&["read", "refund"], 500));
    let presented = Presented { root: &root, actors: &actors, held: Some(&held), location: None, token: None, unbound: false };
    let cache = EffectiveCache::default();
    let snapshot = registry.snapshot();
    let world = |snapshot| remit_decide::Principals::new(ISSUER, snapshot);
    let before = cache.current(world(&snapshot), &presented).unwrap();

    registry.put(Change::PutAgent(agent("other", AgentStatus::Active, Authority::none()))).await;
    let snapshot = registry.snapshot();
    let kept = cache.current(world(&snapshot), &presented).unwrap();
    assert!(kept.revision > before.revision && std::sync::Arc::ptr_eq(&kept.effective, &before.effective), "about others");

    registry.put(Change::PutAgent(agent("planner", AgentStatus::Active, calls(&["read"], 5)))).await;
    let snapshot = registry.snapshot();
    let narrowed = cache.current(world(&snapshot), &presented).unwrap();
    assert_eq!(narrowed.effective.authority, calls(&["read"], 5));

    registry.put(Change::PutAgent(agent("planner", AgentStatus::Quarantined, calls(&["read"], 5)))).await;
    let snapshot = registry.snapshot();
    assert_eq!(cache.current(world(&snapshot), &presented).unwrap_err().code, Code::AgentQuarantined);
}

#[tokio::test]
async fn dc_13_what_a_person_signed_in_for_ends_for_every_agent_of_the_chain_and_a_later_sign_in_counts() {
    let registry = Registry::new().await;
    registry.put(Change::EndHuman { name: "alice".to_owned(), before: NOW }).await;
    let (snapshot, bundle, server) = (registry.snapshot(), policies("permit (principal, action, resource);"), helpdesk(&[]));
    let world = World::new(ISSUER, &snapshot, &bundle, NOW);
    let (held, arguments) = (calls(&["read"], 10), json!({"amount": 1}));
    let (alice, actors) = (named("user:alice"), [named("agent:planner"), named("agent:scribe")]);
    let asked = |time: Option<i64>, actors: &[Principal]| {
        let how = time.map(|time| Authentication { time: UnixTime(time), acr: None, amr: Vec::new() });
        let mut ask = call(&alice, actors, &held, (&server, "read", &arguments));
        ask.circumstances.authentication = how.as_ref();
        decide(&world, &ask).result.map(drop).map_err(|refusal| (refusal.code, refusal.reason))
    };
    for actors in [&actors[..1], &actors] {
        let (code, reason) = asked(Some(NOW.0 - 1), actors).unwrap_err();
        assert_eq!(code, Code::SignInEnded);
        assert!(reason.contains("user:alice") && reason.contains("sign in again"), "{reason}");
        assert_eq!(asked(Some(NOW.0), actors), Ok(()), "a sign-in at that time is a later one");
        assert_eq!(asked(None, actors), Ok(()), "asked by name");
    }
    // A token that does not say when its person signed in rests on no sign-in that still counts.
    let token = active::TokenIds { jti: "own", ancestors: &[], txn: "t", keys: &[], criteria: &[], issued: NOW };
    let mut ask = call(&alice, &actors, &held, (&server, "read", &arguments));
    (ask.circumstances.authentication, ask.who.token) = (None, Some(token));
    assert_eq!(decide(&world, &ask).result.unwrap_err().code, Code::SignInEnded);
}
