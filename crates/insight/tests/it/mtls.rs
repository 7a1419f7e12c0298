//! Chains with tokens that are bound to a certificate: what the chain of custody takes, and what it finds.

use crate::world::{Proposal, Token, Way, World, jkt};
use remit_insight::custody;
use remit_model::ToolClass::Read;
use serde_json::json;

const OWN: &str = "47DEQpj8HBSa-_TImW-5JCeuQeRkm5NMpJWZG3hSuFU";
const OTHER: &str = "n4bQgYhMfWWaL-qgxVrQFaO_TxsrC4Is0V1sFbDwCgg";

/// Bound to a certificate in place of a key.
fn certified(proposal: &mut Proposal) {
    if let Some(hop) = proposal.chain.hops.last_mut() {
        (hop.jkt, hop.x5t) = (None, Some(OWN.to_owned()));
    }
    (proposal.claims.cnf_jkt, proposal.claims.cnf_x5t) = (None, Some(OWN.to_owned()));
}

fn registered(binding: &str, spoil: impl FnOnce(&mut Proposal)) -> (World, Token) {
    let mut world = World::new();
    world.bind("planner", binding);
    let token = world.login(|proposal| {
        certified(proposal);
        spoil(proposal);
    });
    (world, token)
}

/// The first failure.
#[track_caller]
fn broken(world: &World, expected: &str) {
    let report = custody(&world.publish().reader());
    let failure = report.failures.first().unwrap_or_else(|| panic!("a failure was expected: {report}"));
    assert!(failure.detail.contains(expected), "{}", failure.detail);
}

#[test]
fn rfc_8705_a_token_bound_to_a_certificate_holds_where_its_holder_is_registered_so() {
    let (mut world, token) = registered("mtls", |_| {});
    world.again(&token, true);
    world.call(&token, "tickets_read", Read, &json!({}), |_| {});
    let report = custody(&world.publish().reader());
    assert!(report.ok() && report.uses == 1, "{report}");
    for binding in ["dpop", "danger_bearer"] {
        broken(&registered(binding, |_| {}).0, "does not say that its holder is registered so");
    }
}

#[test]
fn rfc_8705_one_thumbprint_runs_through_token_chain_and_record() {
    let other = |to: &str| Some(to.to_owned());
    broken(&registered("mtls", |proposal| proposal.claims.cnf_x5t = other(OTHER)).0, "another key than its holder's");
    broken(&registered("mtls", |proposal| proposal.chain.hops[0].x5t = other(OTHER)).0, "another key than its holder's");
    broken(&registered("mtls", |proposal| proposal.chain.hops[0].jkt = Some(jkt("planner"))).0, "to a key and to a certificate");
    // The same text as a key's thumbprint is another binding.
    let as_key = |proposal: &mut Proposal| {
        (proposal.claims.cnf_jkt, proposal.claims.cnf_x5t) = (other(OWN), None);
    };
    broken(&registered("mtls", as_key).0, "another key than its holder's");
    let (mut world, token) = registered("mtls", |_| {});
    world.call(&token, "tickets_read", Read, &json!({}), |draft| draft.chain[1].x5t = other(OTHER));
    broken(&world, "not the one its token is bound to");
    let (mut world, token) = registered("mtls", |_| {});
    world.call(&token, "tickets_read", Read, &json!({}), |draft| draft.chain[1].x5t = None);
    broken(&world, "without a proof of the token's key");
    let (mut world, token) = registered("mtls", |_| {});
    world.call(&token, "tickets_read", Read, &json!({}), |draft| (draft.chain[1].x5t, draft.chain[1].jkt) = (None, other(OWN)));
    broken(&world, "not the one its token is bound to");
}

#[test]
fn dc_05_a_holder_of_a_certificate_proves_no_hop() {
    for way in [Way::Named, Way::Unstated, Way::Statement, Way::Call] {
        let (mut world, token) = registered("mtls", |_| {});
        // The call is made with a token for the delegate's endpoint, which is narrowed first and stays bound as it was.
        world.hand(way, &token, |_| {});
        broken(&world, "TLS leaves no signature");
    }
}
