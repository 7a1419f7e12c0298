use crate::world::{ENDPOINT, ISS, Proposal, Token, Way, World, authority, broad, jkt, key, narrow};
use remit_insight::{CustodyReport, custody};
use remit_ledger::{
    Trust,
    record::{Draft, Party, PartyKind, ProducerKind, RecordType},
    verify,
};
use remit_model::{EdgeProof, Hop, Principal, PrincipalKind, TenantId, ToolClass, UnixTime, resource::ToolClass::Read};
use remit_token::{Delegation, dpop, id_token, statement};
use serde_json::json;

const WAYS: [Way; 4] = [Way::Named, Way::Unstated, Way::Statement, Way::Call];

/// What is expected to be said of a thing spoilt so.
type Spoil<T> = (&'static str, fn(&mut T));

fn as_is(_: &mut Proposal) {}

fn report(world: &World) -> CustodyReport {
    custody(&world.publish().reader())
}

/// The only failure, at the last record.
#[track_caller]
fn broken(world: &World, expected: &str) {
    let reader = world.publish().reader();
    let report = custody(&reader);
    let [failure] = report.failures.as_slice() else { panic!("one failure was expected: {report}") };
    assert_eq!(failure.index, reader.len() - 1);
    assert!(failure.detail.contains(expected), "{}", failure.detail);
}

#[test]
fn an_honest_log_holds_in_every_way() {
    let mut world = World::new();
    let planner = world.login(as_is);
    let refreshed = world.again(&planner, false);
    let narrowed = world.again(&refreshed, true);
    for way in WAYS {
        for parent in [&planner, &refreshed, &narrowed] {
            let child = world.hand(way, parent, as_is);
            world.call(&child, "tickets_read", Read, &json!({}), |_| {});
        }
    }
    let own = world.own("planner", as_is);
    let narrowed = world.again(&own, true);
    world.hand(Way::Statement, &narrowed, as_is);
    world.call(&own, "tickets_read", Read, &json!({}), |_| {});

    let log = world.publish();
    assert!(verify(log.path(), &Trust::default()).ok(), "{}", verify(log.path(), &Trust::default()));
    let report = custody(&log.reader());
    assert!(report.ok(), "{report}");
    assert_eq!((report.chains, report.tokens, report.hops, report.roots, report.uses), (2, 21, 14, 1, 13));
    assert_eq!(report.undisclosed, 0);
    insta::assert_snapshot!(report);
}

#[test]
fn n_dc_01_a_hop_signed_with_another_key_is_found() {
    for way in WAYS {
        let mut world = World::new();
        let planner = world.login(as_is);
        let other = world.own("summarizer", as_is);
        // Signed by the summarizer where the planner should have.
        let mut forged = None;
        let mut elsewhere = World::new();
        elsewhere.hand(way, &other, |proposal| forged = proposal.chain.hops.last().map(|hop| hop.edge.clone()));
        world.hand(way, &planner, |proposal| proposal.chain.hops[1].edge = forged.clone().unwrap());
        broken(&world, "key");
    }
}

#[test]
fn a_statement_for_something_else_is_found() {
    let cases: [Spoil<Delegation>; 5] = [
        ("for another purpose", |stated| stated.purpose = Some("something else".to_owned())),
        ("another delegate", |stated| stated.delegate = "agent:other".to_owned()),
        ("another delegate, key", |stated| stated.jkt = jkt("planner")),
        ("or token", |stated| stated.parent = "jti-of-another".to_owned()),
        ("signed for an end", |stated| stated.expires = UnixTime(stated.expires.0 - 1)),
    ];
    for (expected, spoil) in cases {
        let mut world = World::new();
        let planner = world.login(as_is);
        let now = UnixTime(world.now);
        world.hand(Way::Statement, &planner, |proposal| {
            let hop = &mut proposal.chain.hops[1];
            let mut stated = Delegation {
                delegate: hop.delegate.sub.clone(),
                jkt: hop.jkt.clone().unwrap(),
                parent: planner.claims.jti.clone(),
                authority: hop.authority.clone(),
                expires: hop.expires,
                purpose: None,
            };
            spoil(&mut stated);
            let jws = statement::create(&key("dpop planner"), "agent:planner", ISS, "s-1", now, &stated).unwrap();
            hop.edge = EdgeProof::Statement(jws);
        });
        broken(&world, expected);
    }
}

/// The operator, who has the issuer's key, cannot speak for an agent that signed nothing.
#[test]
fn a_sign_in_proves_no_hop_but_that_of_the_person_at_the_root() {
    let mut world = World::new();
    let planner = world.login(as_is);
    let now = world.now;
    let forged = |hop: &Hop, sub: &str| {
        let consent = id_token::consent_digest(&hop.delegate.sub, &hop.authority.to_value(), hop.expires, hop.purpose.as_deref());
        let claims = id_token::Claims {
            iss: ISS.to_owned(),
            sub: sub.to_owned(),
            aud: hop.delegate.sub.clone(),
            nonce: None,
            jti: Some(hop.jti.clone()),
            iat: UnixTime(now),
            exp: UnixTime(now + 300),
            auth_time: None,
            acr: None,
            amr: Vec::new(),
            consent: Some(consent),
        };
        EdgeProof::IdToken(id_token::mint(&key("issuer"), &claims).unwrap())
    };
    world.hand(Way::Statement, &planner, |proposal| {
        let hop = proposal.chain.hops.last_mut().unwrap();
        hop.edge = forged(hop, "agent:planner");
    });
    broken(&world, "proves only what a person hands over at the root of a chain");
}

/// What a token says of its own exchange.
fn restricted(world: &mut World, parent: &Token, claims: &serde_json::Value) -> Token {
    world.again_with(parent, |proposal| proposal.more.clone_from(claims.as_object().unwrap()))
}

#[test]
fn n_tx_15_a_hop_to_another_agent_than_may_act_names_is_found() {
    for (may_act, expected) in [
        (json!({"sub": "agent:scribe"}), Some("lets another party act")),
        (json!({"sub": "agent:summarizer", "iss": "https://other.example"}), Some("lets another party act")),
        (json!({"sub": "agent:summarizer"}), None),
        (json!({"sub": "agent:summarizer", "iss": ISS, "sub_profile": "ai_agent"}), None),
    ] {
        let mut world = World::new();
        let planner = world.login(as_is);
        let token = restricted(&mut world, &planner, &json!({"may_act": may_act}));
        world.hand(Way::Statement, &token, as_is);
        match expected {
            Some(expected) => broken(&world, expected),
            None => assert!(report(&world).ok(), "{}", report(&world)),
        }
    }
}

#[test]
fn a_may_act_that_cannot_be_read_is_found() {
    let mut world = World::new();
    let planner = world.login(as_is);
    restricted(&mut world, &planner, &json!({"may_act": {"sub": "agent:scribe", "region": "EU"}}));
    broken(&world, "`may_act` of a token cannot be read");
}

#[test]
fn a_second_exchange_of_a_token_for_single_use_is_found() {
    let mut world = World::new();
    let planner = world.login(as_is);
    let token = restricted(&mut world, &planner, &json!({"urn:remit:single_use": true}));
    world.hand(Way::Statement, &token, as_is);
    assert!(report(&world).ok());
    world.again(&token, true);
    broken(&world, "an earlier record exchanged it");
}

#[test]
fn n_dc_10_a_wider_child_is_found() {
    let mut world = World::new();
    let planner = world.login(as_is);
    let wide = authority(&json!([{"type": "tool_access", "actions": ["*"]}]));
    world.hand(Way::Unstated, &planner, |proposal| {
        proposal.chain.hops[1].authority = wide.clone();
        proposal.claims.authority = wide;
    });
    let report = report(&world);
    assert_eq!(report.failures.len(), 1, "{report}");
    assert!(report.failures[0].detail.contains("the chain does not hold: widens_"), "{report}");
}

#[test]
fn a_token_wider_than_its_own_hop_is_found() {
    let mut world = World::new();
    let planner = world.login(as_is);
    world.hand(Way::Named, &planner, |proposal| proposal.claims.authority = broad());
    broken(&world, "wider than its delegation");
}

#[test]
fn n_dc_11_a_child_that_outlives_its_parent_is_found() {
    let mut world = World::new();
    let planner = world.login(as_is);
    world.hand(Way::Unstated, &planner, |proposal| {
        let late = UnixTime(planner.claims.exp.0 + 1);
        (proposal.chain.hops[1].expires, proposal.claims.exp) = (late, late);
    });
    broken(&world, "its parent token at");
}

#[test]
fn a_hop_the_person_did_not_agree_to_is_found() {
    let mut world = World::new();
    world.login(|proposal| proposal.chain.hops[0].expires = UnixTime(proposal.chain.hops[0].expires.0 + 1));
    broken(&world, "agreed to something else");
    let mut world = World::new();
    world.login(|proposal| {
        let mallory = Principal::human(ISS, "mallory");
        proposal.claims.sub.clone_from(&mallory.sub);
        (proposal.chain.root, proposal.chain.hops[0].delegator) = (mallory.clone(), mallory);
    });
    broken(&world, "about another person");
}

#[test]
fn a_forged_first_hop_is_found() {
    let mut world = World::new();
    let mut foreign = None;
    World::new().login(|proposal| foreign = Some(proposal.chain.hops[0].edge.jws().to_owned()));
    // The same words, and one bit of the signature turned.
    let mut jws = foreign.unwrap();
    let last = if jws.ends_with('A') { "Q" } else { "A" };
    jws.replace_range(jws.len() - 1.., last);
    world.login(|proposal| proposal.chain.hops[0].edge = EdgeProof::IdToken(jws.clone()));
    assert_eq!(report(&world).failures.len(), 1);
}

#[test]
fn n_dc_07_a_rewritten_past_is_found() {
    let mut world = World::new();
    let planner = world.login(as_is);
    world.hand(Way::Statement, &planner, |proposal| proposal.chain.hops[0].purpose = None);
    broken(&world, "not the parent token's chain continued");
    let mut world = World::new();
    let planner = world.login(as_is);
    world.hand(Way::Statement, &planner, |proposal| {
        if let Some(actor) = &mut proposal.claims.act {
            actor.act = None;
        }
    });
    broken(&world, "do not say what the chain says");
}

#[test]
fn a_token_without_a_recorded_parent_is_found() {
    let mut world = World::new();
    let planner = World::new().login(as_is);
    world.hand(Way::Statement, &planner, as_is);
    broken(&world, "issued by no earlier record");
}

#[test]
fn a_proof_for_another_endpoint_or_time_is_found() {
    let proof = |url: &str, now: i64| {
        let request = dpop::ProofFor { method: "POST", url, now: UnixTime(now), jti: "p", ..dpop::ProofFor::default() };
        EdgeProof::DpopAtToken(dpop::create(&key("dpop planner"), &request).unwrap())
    };
    let mut world = World::new();
    let planner = world.login(as_is);
    let now = world.now;
    world.hand(Way::Unstated, &planner, |proposal| proposal.chain.hops[1].edge = proof("https://other.example/oauth/token", now));
    broken(&world, "not for the token endpoint");
    let mut world = World::new();
    let planner = world.login(as_is);
    world.hand(Way::Unstated, &planner, |proposal| {
        proposal.chain.hops[1].edge = proof("https://remit.example/oauth/token", now - 86_400);
    });
    broken(&world, "the delegator's proof is of");
}

#[test]
fn a_proof_of_a_call_with_another_token_is_found() {
    let mut world = World::new();
    let planner = world.login(as_is);
    world.hand(Way::Call, &planner, |proposal| {
        proposal.facts.insert("subject_token_hash".to_owned(), json!("sha-256:00"));
    });
    broken(&world, "covers another token");
}

#[test]
fn n_dc_18_a_proof_of_a_call_elsewhere_is_found() {
    let mut world = World::new();
    let planner = world.login(as_is);
    let token = world.again_for(&planner, true, ENDPOINT);
    let subject = format!("token {}", token.claims.jti);
    let now = UnixTime(world.now);
    let call = |method: &str, url: &str| {
        let request = dpop::ProofFor { method, url, now, jti: "p", access_token: Some(&subject), ..dpop::ProofFor::default() };
        EdgeProof::DpopAtCall(dpop::create(&key("dpop planner"), &request).unwrap())
    };
    for edge in [call("POST", "https://other.example/tasks"), call("GET", ENDPOINT)] {
        let mut world = World::new();
        let planner = world.login(as_is);
        let token = world.again_for(&planner, true, ENDPOINT);
        world.hand(Way::Call, &token, |proposal| proposal.chain.hops[1].edge = edge);
        broken(&world, "not of a call to the delegate's endpoint");
    }
}

#[test]
fn n_dc_18_a_proof_that_proves_two_hops_is_found() {
    for way in WAYS {
        let mut world = World::new();
        let planner = world.login(as_is);
        let parent = if way == Way::Call { world.again_for(&planner, true, ENDPOINT) } else { planner };
        let mut edge = None;
        world.hand(way, &parent, |proposal| edge = Some(proposal.chain.hops[1].edge.clone()));
        world.hand(way, &parent, |proposal| proposal.chain.hops[1].edge = edge.unwrap());
        broken(&world, "the same proof was used");
    }
    let mut world = World::new();
    let mut assertion = None;
    world.own("planner", |proposal| assertion = proposal.assertion.clone());
    world.own("planner", |proposal| proposal.assertion = assertion);
    broken(&world, "the same proof was used");
}

#[test]
fn n_dc_10_a_hop_wider_than_the_token_it_comes_from_is_found() {
    let mut world = World::new();
    let planner = world.login(as_is);
    let wide = planner.claims.authority.clone();
    // The planner held a narrow copy; the hop claims what its first token had.
    let mut copy = world.again(&planner, true);
    copy.claims.authority = narrow();
    let copy = world.reissue(&copy);
    world.hand(Way::Unstated, &copy, |proposal| {
        let handed = wide.delegable_to(&proposal.chain.hops[1].delegate).unwrap();
        proposal.chain.hops[1].authority = handed;
    });
    broken(&world, "delegated wider than the parent token");
}

#[test]
fn an_unregistered_agent_is_found() {
    let mut world = World::new();
    world.own("stranger", as_is);
    broken(&world, "no registration");
    let mut world = World::new();
    world.own("planner", |proposal| proposal.assertion = None);
    broken(&world, "client assertion is not with its record");
}

#[test]
fn a_replaced_key_vouches_for_requests_under_way_and_for_nothing_later() {
    let mut world = World::new();
    world.own("planner", as_is);
    world.rotate("planner");
    world.own("planner", as_is);
    assert!(report(&world).ok(), "{}", report(&world));
    world.wait(61);
    world.own("planner", as_is);
    broken(&world, "signature");
}

#[test]
fn a_token_bound_to_no_key_is_found() {
    let mut world = World::new();
    world.own("planner", |proposal| proposal.claims.cnf_jkt = None);
    broken(&world, "bound to no key");
    let mut world = World::new();
    let planner = world.login(as_is);
    world.hand(Way::Named, &planner, |proposal| proposal.claims.cnf_jkt = Some(jkt("planner")));
    broken(&world, "another key than its holder's");
}

/// The newest hop and its token are bound to no key.
fn unbound(proposal: &mut Proposal) {
    if let Some(hop) = proposal.chain.hops.last_mut() {
        hop.jkt = None;
        hop.authority = narrow();
    }
    proposal.claims.authority = narrow();
    proposal.claims.cnf_jkt = None;
}

#[test]
fn n_tx_09_a_token_bound_to_no_key_counts_where_its_holder_is_registered_so_and_ends_there() {
    let signed_in = |bind: Option<&str>| {
        let mut world = World::new();
        if let Some(binding) = bind {
            world.bind("planner", binding);
        }
        let token = world.login_with(narrow(), unbound);
        (world, token)
    };
    let (mut world, token) = signed_in(Some("danger_bearer"));
    world.call(&token, "tickets_read", Read, &json!({}), |_| {});
    assert!(report(&world).ok(), "{}", report(&world));
    world.bind("planner", "dpop");
    world.wait(61);
    world.call(&token, "tickets_read", Read, &json!({}), |_| {});
    broken(&world, "registered so");
    for bind in [None, Some("dpop")] {
        broken(&signed_in(bind).0, "registered so");
    }
    let (mut world, token) = signed_in(Some("danger_bearer"));
    world.again_with(&token, unbound);
    broken(&world, "handed on");
    let (mut world, token) = signed_in(Some("danger_bearer"));
    world.call(&token, "tickets_read", Read, &json!({}), |draft| draft.chain[1].token.as_mut().unwrap().unbound = false);
    broken(&world, "without a proof of the token's key");
}

#[test]
fn a_call_without_a_recorded_token_is_found() {
    let mut world = World::new();
    let planner = world.login(as_is);
    let stranger = World::new().own("planner", as_is);
    world.call(&stranger, "tickets_read", Read, &json!({}), |_| {});
    broken(&world, "issued by no earlier record");

    let spoils: [Spoil<Draft>; 5] = [
        ("without a proof of the token's key", |draft| draft.chain[1].jkt = None),
        ("without a token", |draft| draft.chain[1].token = None),
        ("not the one its token was issued to", |draft| draft.chain[1].subject = "agent:other".to_owned()),
        ("not the one its token was issued to", |draft| draft.txn = Some("another".to_owned())),
        ("not the one its token is bound to", |draft| draft.chain[1].jkt = Some(jkt("summarizer"))),
    ];
    for (expected, spoil) in spoils {
        let mut world = World::new();
        let planner = world.login(as_is);
        world.call(&planner, "tickets_read", Read, &json!({}), spoil);
        broken(&world, expected);
    }
    let mut world = World::new();
    let again: Token = world.login(as_is);
    world.now += 4000;
    world.call(&again, "tickets_read", Read, &json!({}), |_| {});
    broken(&world, "had expired");
    assert_ne!(planner.claims.jti, stranger.claims.jti);
}

#[test]
fn a_refusal_of_an_unknown_caller_needs_no_token() {
    let mut world = World::new();
    let draft = Draft::new(TenantId::main(), ProducerKind::Gateway, RecordType::Decision)
        .action("mcp:request", ToolClass::Execute)
        .chain(vec![Party::new(PartyKind::ExternalAgent, "urn:remit:unknown", "unidentified")]);
    world.record(draft);
    assert!(report(&world).ok());
}

#[test]
fn withheld_values_are_counted_and_plain_facts_still_compared() {
    let mut world = World::new();
    let planner = world.login(as_is);
    let child = world.hand(Way::Statement, &planner, as_is);
    world.call(&child, "tickets_read", Read, &json!({}), |_| {});
    world.call(&child, "tickets_read", Read, &json!({}), |draft| draft.chain[1].subject = "agent:other".to_owned());
    let log = world.publish();
    log.withhold();
    let report = custody(&log.reader());
    assert_eq!((report.tokens, report.undisclosed, report.hops, report.uses), (2, 2, 0, 2));
    assert_eq!(report.failures.len(), 1, "{report}");
}

#[test]
fn altered_values_are_found() {
    let mut world = World::new();
    world.login(as_is);
    let log = world.publish();
    log.rewrite_side("Close ticket T-1", "Close ticket T-2");
    let report = custody(&log.reader());
    assert!(report.failures[0].detail.contains("not those it commits to"), "{report}");
}

#[test]
fn n_dc_15_a_person_with_an_opaque_subject_is_a_person_and_cannot_act_without_a_delegation() {
    let mut world = World::new();
    world.own("planner", |proposal| {
        proposal.chain.root = Principal::new(ISS, "00u1f9xk", PrincipalKind::Human);
        proposal.claims.sub.clone_from(&proposal.chain.root.sub);
    });
    broken(&world, "a person without a delegation");
}

fn signed_by(name: &'static str) -> impl Fn(&mut Proposal) {
    move |proposal| drop(proposal.facts.insert("kid".to_owned(), json!(key(name).public().thumbprint())))
}

#[test]
fn jw_02_an_id_token_counts_as_long_as_its_key_is_published() {
    let mut world = World::new();
    world.issuer_keys(&["issuer two", "issuer"], Some(world.now + 100), None);
    world.login(as_is);
    assert!(report(&world).ok(), "{}", report(&world));
    world.wait(100);
    world.login(as_is);
    broken(&world, "no key of the signer fits");
}

#[test]
fn jw_02_a_revoked_key_signs_nothing_after_its_record() {
    let mut world = World::new();
    world.login(as_is);
    world.issuer_keys(&["issuer two"], None, Some("issuer"));
    world.login(as_is);
    broken(&world, "no key of the signer fits");
}

#[test]
fn dc_13_a_token_of_a_revoked_key_is_not_used_and_neither_is_what_comes_from_it() {
    for (name, fine) in [("issuer", false), ("issuer two", true)] {
        let mut world = World::new();
        let planner = world.login(as_is);
        let parent = world.again_with(&planner, signed_by(name));
        let child = world.hand(Way::Named, &parent, signed_by("issuer two"));
        world.issuer_keys(&["issuer two"], None, Some("issuer"));
        world.call(&child, "tickets_read", Read, &json!({}), |_| {});
        assert!(report(&world).ok(), "it was under way: {}", report(&world));
        world.wait(30);
        world.call(&child, "tickets_read", Read, &json!({}), |_| {});
        if fine {
            assert!(report(&world).ok(), "{}", report(&world));
        } else {
            broken(&world, "revoked");
        }
    }
}

/// What happens in a world, with its name.
type Step<T> = (&'static str, fn(&mut World, &T));

/// Alice signed in now.
fn signed_in_at(time: i64) -> impl FnOnce(&mut Proposal) {
    move |proposal| {
        proposal.more.insert("auth_time".to_owned(), json!(time));
    }
}

#[test]
fn dc_13_nothing_is_used_or_handed_on_that_rests_on_a_sign_in_after_its_recorded_end() {
    let acts: [Step<Token>; 3] = [
        ("a call", |world, planner| {
            world.call(planner, "tickets_read", Read, &json!({}), |_| {});
        }),
        ("a refreshed token", |world, planner| {
            let time = world.now - 100;
            world.again_with(planner, signed_in_at(time));
        }),
        ("a hop", |world, planner| {
            let time = world.now - 100;
            world.hand(Way::Named, planner, signed_in_at(time));
        }),
    ];
    for (name, act) in acts {
        let mut world = World::new();
        let now = world.now;
        let planner = world.login(signed_in_at(now));
        let before = world.now + 1;
        world.end_sign_ins("alice", before, |_| {});
        act(&mut world, &planner);
        assert!(report(&world).ok(), "{name} was under way: {}", report(&world));
        world.wait(30);
        act(&mut world, &planner);
        broken(&world, "had been ended in record");
    }
}

#[test]
fn dc_13_what_states_no_time_of_its_sign_in_does_not_outlive_any_end() {
    let acts: [Step<Token>; 2] = [
        ("a call", |world, planner| {
            world.call(planner, "tickets_read", Read, &json!({}), |_| {});
        }),
        ("a hop", |world, planner| {
            world.hand(Way::Named, planner, |_| {});
        }),
    ];
    for (name, act) in acts {
        for (person, dead) in [("alice", true), ("bob", false)] {
            let mut world = World::new();
            let planner = world.login(|_| {});
            let before = world.now - 1_000;
            world.end_sign_ins(person, before, |_| {});
            world.wait(30);
            act(&mut world, &planner);
            if dead {
                broken(&world, "had been ended in record");
            } else {
                assert!(report(&world).ok(), "{name} on behalf of another person: {}", report(&world));
            }
        }
    }
}

#[test]
fn dc_13_an_end_is_of_its_person_and_of_what_was_before_it() {
    let ends: [Step<i64>; 5] = [
        ("of another person", |world, now| world.end_sign_ins("bob", *now + 1, |_| {})),
        ("before the sign-in", |world, now| world.end_sign_ins("alice", *now, |_| {})),
        ("that did not come to be", |world, now| {
            world.end_sign_ins("alice", *now + 1, |draft| draft.outcome.status = remit_ledger::record::OutcomeStatus::Failure);
        }),
        ("in a record of another kind", |world, now| {
            world.end_sign_ins("alice", *now + 1, |draft| draft.record_type = RecordType::Heartbeat);
        }),
        ("that states no time", |world, now| {
            world.end_sign_ins("alice", *now + 1, |draft| drop(draft.ext.insert("sign_in".to_owned(), json!({"cause": "scim"}))));
        }),
    ];
    for (name, end) in ends {
        let mut world = World::new();
        let now = world.now;
        let planner = world.login(signed_in_at(now));
        end(&mut world, &now);
        world.wait(30);
        world.call(&planner, "tickets_read", Read, &json!({}), |_| {});
        assert!(report(&world).ok(), "an end {name}: {}", report(&world));
    }
    // Who signs in anew after the end begins something new, and the old stays dead.
    let mut world = World::new();
    let now = world.now;
    let old = world.login(signed_in_at(now));
    let before = world.now + 1;
    world.end_sign_ins("alice", before, |_| {});
    world.wait(30);
    let now = world.now;
    let new = world.login(signed_in_at(now));
    world.call(&new, "tickets_read", Read, &json!({}), |_| {});
    assert!(report(&world).ok(), "{}", report(&world));
    world.call(&old, "tickets_read", Read, &json!({}), |_| {});
    broken(&world, "had been ended in record");
}
