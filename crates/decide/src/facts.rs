//! What a record says of a decision and of a chain: the one mapping, so that the same fact has the same members and the
//! same meaning in the records of every part.
//!
//! SPEC: record.md §1.11, CE-04, CE-05.

use crate::fields::FieldDecision;
use remit_ledger::record::{
    DecisionFacts, DecisionResult, Edge, Engine, GrantFacts, GrantKind, Party, PartyKind, PolicyFact, PolicyFailure, TokenFacts,
};
use remit_model::{Chain, EdgeProof, Principal, PrincipalKind};
use remit_policy::{Decision, Effect, Question, RuleEffect};
use serde_json::{Value, json};

/// Member of a record's `ext` with what the policies said of classified fields.
pub const READ_FIELD: &str = "read_field";

/// A decision with the pins that let it be replayed. `latency_ns` is how long it took to make.
pub fn decision(question: &Question, decision: &Decision, latency_ns: u64) -> DecisionFacts {
    let mut facts = DecisionFacts::new(result(decision));
    facts.reason_code = decision.code().map(|code| code.as_str().to_owned());
    facts.policies = policies(decision);
    facts.errors = decision
        .errors
        .iter()
        .map(|failure| PolicyFailure { policy_id: failure.id.clone(), message: failure.message.clone() })
        .collect();
    facts.policy_set_digest = Some(decision.policy_set_digest.clone());
    facts.schema_digest = Some(decision.schema_digest.clone());
    facts.engine =
        Some(Engine { name: decision.engine_name.clone(), version: decision.engine_version.clone(), build_digest: None });
    facts.input = serde_json::to_value(question).ok();
    facts.nondet = vec![("now".to_owned(), json!(question.now))];
    facts.explanation = Some(decision.explanation.clone());
    facts.latency_ns = Some(latency_ns);
    facts
}

/// What the policies said of classified fields, for a record's `ext`. The questions are those of the call with another
/// action, so they are not kept again.
pub fn fields(decisions: &[FieldDecision]) -> Value {
    let one = |field: &FieldDecision| {
        let decision = &field.decision;
        let errors: Vec<Value> =
            decision.errors.iter().map(|error| json!({"policy_id": error.id, "message": error.message})).collect();
        json!({
            "class": field.class,
            "fields": field.pointers,
            "rest": field.rest,
            "result": result(decision),
            "policies": policies(decision),
            "errors": errors,
            "explanation": decision.explanation,
        })
    };
    decisions.iter().map(one).collect()
}

fn result(decision: &Decision) -> DecisionResult {
    match decision.effect {
        Effect::Permit => DecisionResult::Allow,
        _ if !decision.errors.is_empty() => DecisionResult::ErrorFailClosed,
        Effect::Deny => DecisionResult::Deny,
        Effect::StepUp => DecisionResult::StepUp,
    }
}

fn policies(decision: &Decision) -> Vec<PolicyFact> {
    let fact = |policy: &remit_policy::Determining| PolicyFact {
        id: policy.id.clone(),
        // Where the policy is in its set; which set that is, `policy_set_digest` says.
        version: policy.source.clone(),
        effect: match policy.effect {
            RuleEffect::Permit => "permit",
            RuleEffect::Forbid => "forbid",
            RuleEffect::StepUp => "step_up",
        }
        .to_owned(),
        digest: policy.digest.clone(),
    };
    decision.policies.iter().map(fact).collect()
}

/// The parties of a chain, the root first. Their names are committed beside the log and never in the plain record.
pub fn parties<'p>(chain: impl IntoIterator<Item = &'p Principal>) -> Vec<Party> {
    let mut parties: Vec<Party> = Vec::new();
    for (depth, principal) in chain.into_iter().enumerate() {
        let for_person = parties.first().is_none_or(|root| root.kind == PartyKind::Human);
        let mut party = Party::of(principal);
        // The first agent of a person is an agent; a delegate of an agent is a sub-agent.
        if depth > usize::from(for_person) {
            party.kind = PartyKind::Subagent;
        }
        party.grant.kind = match (depth, for_person, principal.kind()) {
            (0, _, PrincipalKind::Agent) => GrantKind::ClientCredentials,
            (0 | 1, true, _) => GrantKind::Login,
            _ => GrantKind::TokenExchange,
        };
        parties.push(party);
    }
    parties
}

/// The parties of a delegation chain as the token service knows it: each with the token, the key and the delegator's proof
/// of its hop.
pub fn delegated(chain: &Chain) -> Vec<Party> {
    let mut parties = parties(std::iter::once(&chain.root).chain(chain.hops.iter().map(|hop| &hop.delegate)));
    let mut parent: Option<&str> = None;
    for (party, hop) in parties.iter_mut().skip(1).zip(&chain.hops) {
        let confirmation = hop.confirmation();
        party.bound(confirmation.as_ref());
        party.token = Some(TokenFacts {
            jti: Some(hop.jti.clone()),
            expires: Some(hop.expires),
            authorization_details_hash: Some(hop.authority.digest()),
            unbound: confirmation.is_none(),
            ..TokenFacts::default()
        });
        // A person whom another issuer vouches for did not sign in here.
        let kind = if matches!(hop.edge, EdgeProof::ForeignToken(_)) { GrantKind::TokenExchange } else { party.grant.kind };
        party.grant = GrantFacts { id: hop.jti.clone(), kind, parent_jti: parent.map(str::to_owned) };
        party.edge = Some(Edge::Proof(hop.edge.clone()));
        parent = Some(&hop.jti);
    }
    parties
}
