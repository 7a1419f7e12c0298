//! What the ledger is told about a request: who is known so far, what was asked, what came of it.
//!
//! Every request to the token endpoint opens one [`Entry`], fills it as facts become known, and closes it with exactly
//! one record, refusals included. SPEC: TX-12, record.md §1.11. Names and tokens go to committed values or hashes,
//! never into the plain record.

use crate::{
    clients::authenticate::Client,
    http::{error::At, origin},
    policy_check::PolicyCheck,
};
use remit_ledger::record::{
    Auth, AuthMethod, DecisionFacts, DecisionResult, Draft, Edge, EffectConfirmed, Engine, GrantFacts, GrantKind, HumanInLoop,
    OutcomeStatus, Party, PolicyFact, PolicyFailure, ProducerKind, Protocol, RecordType, Resource, TokenFacts,
};
use remit_model::{Chain, EdgeProof, Principal, Refusal, TenantId, ToolClass, UnixTime, json};
use remit_policy::{Effect, RuleEffect};
use serde_json::{Map, Value, json};

/// What is known of a request so far.
#[derive(Clone, Debug, Default)]
pub(crate) struct Entry {
    /// The principal that asks, once it said who it is.
    pub(crate) caller: Option<Caller>,
    /// The chain it acts in, once known.
    pub(crate) chain: Option<Chain>,
    pub(crate) check: Option<PolicyCheck>,
    pub(crate) purpose: Option<String>,
    pub(crate) human_in_loop: HumanInLoop,
    /// Plain facts for `ext.token`.
    pub(crate) facts: Map<String, Value>,
}

#[derive(Clone, Debug)]
pub(crate) struct Caller {
    pub(crate) principal: Principal,
    pub(crate) owner: Option<Principal>,
    pub(crate) auth: Auth,
    /// The client assertion it proved itself with.
    pub(crate) assertion: Option<String>,
    pub(crate) proof: Option<String>,
    pub(crate) jkt: Option<String>,
}

impl Caller {
    pub(crate) fn client(issuer: &str, client: &Client) -> Self {
        let method = if client.assertion.is_some() { AuthMethod::ClientAssertion } else { AuthMethod::None };
        Self {
            principal: Principal::agent(issuer, &client.agent.id),
            owner: Some(Principal::local(issuer, &client.agent.owner)),
            auth: Auth { method, ..Auth::default() },
            assertion: client.assertion.as_ref().map(|assertion| assertion.compact().to_owned()),
            proof: None,
            jkt: None,
        }
    }

    /// A client that named itself and was not authenticated.
    pub(crate) fn claimed(principal: Principal) -> Self {
        Self { principal, owner: None, auth: Auth::default(), assertion: None, proof: None, jkt: None }
    }
}

/// What was issued, for the record.
#[derive(Debug)]
pub(crate) struct Given<'a> {
    pub(crate) record_type: RecordType,
    pub(crate) chain: &'a Chain,
    pub(crate) claims: Value,
    pub(crate) jti: &'a str,
    pub(crate) parent: Option<&'a str>,
    pub(crate) audience: &'a str,
    /// Digest of the authority it carries.
    pub(crate) digest: &'a str,
    pub(crate) scope: &'a str,
    pub(crate) issued: UnixTime,
    pub(crate) expires: UnixTime,
}

impl Entry {
    pub(crate) fn fact(&mut self, name: &str, value: impl Into<Value>) {
        self.facts.insert(name.to_owned(), value.into());
    }

    /// The record of a refusal.
    pub(crate) fn refused(&self, tenant: &TenantId, at: At, refusal: &Refusal) -> Draft {
        let mut decision = match &self.check {
            Some(check) if !check.decision.permits() => decision_facts(check),
            _ => DecisionFacts::refused(refusal),
        };
        decision.reason_code = Some(refusal.code.as_str().to_owned());
        let mut draft = self.open(tenant, RecordType::Decision, at).decision(decision);
        draft.outcome.status = OutcomeStatus::Denied;
        draft.outcome.code = Some(refusal.code.as_str().to_owned());
        draft.ext("token", Value::Object(self.facts.clone()))
    }

    /// The record of a token that was issued.
    pub(crate) fn issued(&self, tenant: &TenantId, at: At, given: Given<'_>) -> Draft {
        let decision = match &self.check {
            Some(check) => decision_facts(check),
            None => DecisionFacts::new(DecisionResult::Allow),
        };
        let mut facts = self.facts.clone();
        facts.insert("jti_hash".to_owned(), json!(hash(given.jti)));
        if let Some(parent) = given.parent {
            facts.insert("parent_jti_hash".to_owned(), json!(hash(parent)));
        }
        facts.insert("audience".to_owned(), json!(given.audience));
        facts.insert("scope".to_owned(), json!(given.scope));
        facts.insert("authority_digest".to_owned(), json!(given.digest));
        facts.insert("issued".to_owned(), json!(given.issued));
        facts.insert("expires".to_owned(), json!(given.expires));
        let mut draft = self
            .open(tenant, given.record_type, at)
            .decision(decision)
            .outcome(OutcomeStatus::Success, EffectConfirmed::Observed)
            .resource(Resource::new("access_token", None))
            .ext("token", Value::Object(facts))
            .commit("/delegation/chain", serde_json::to_value(given.chain).unwrap_or(Value::Null))
            .commit("/token/access", given.claims);
        if let Some(last) = draft.chain.last_mut() {
            last.token = Some(TokenFacts {
                jti: Some(given.jti.to_owned()),
                issuer: Some(last.issuer.clone()),
                audience: vec![given.audience.to_owned()],
                scope: given.scope.split(' ').filter(|token| !token.is_empty()).map(str::to_owned).collect(),
                expires: Some(given.expires),
                issued: Some(given.issued),
                authorization_details_hash: Some(given.digest.to_owned()),
            });
        }
        draft
    }

    /// A record of something else that happened at these endpoints: a sign-in, a consent, a revocation.
    pub(crate) fn happened(&self, tenant: &TenantId, record_type: RecordType, at: At) -> Draft {
        let decision = match &self.check {
            Some(check) => decision_facts(check),
            None => DecisionFacts::new(DecisionResult::Allow),
        };
        self.open(tenant, record_type, at)
            .decision(decision)
            .outcome(OutcomeStatus::Success, EffectConfirmed::Observed)
            .ext("token", Value::Object(self.facts.clone()))
    }

    fn open(&self, tenant: &TenantId, record_type: RecordType, at: At) -> Draft {
        let mut draft = Draft::new(tenant.clone(), ProducerKind::AuthzServer, record_type)
            .action(at.action(), ToolClass::Identity)
            .protocol(Protocol::Http)
            .chain(self.parties());
        origin::note(&mut draft);
        draft.txn = self.chain.as_ref().map(|chain| chain.id.clone());
        draft.owner = self.caller.as_ref().and_then(|caller| caller.owner.clone());
        draft.human_in_loop = self.human_in_loop;
        match &self.purpose {
            Some(purpose) => draft.purpose(purpose.clone()),
            None => draft,
        }
    }

    /// The chain as known, with what the caller showed on this request.
    fn parties(&self) -> Vec<Party> {
        let mut parties = self.chain.as_ref().map(Party::chain).unwrap_or_default();
        let Some(caller) = &self.caller else { return parties };
        if !parties.iter().any(|party| party.subject == caller.principal.sub && party.issuer == caller.principal.iss) {
            parties.push(Party::of(&caller.principal));
        }
        for (depth, party) in parties.iter_mut().enumerate() {
            if party.subject != caller.principal.sub || party.issuer != caller.principal.iss {
                continue;
            }
            party.auth = caller.auth.clone();
            party.proof.clone_from(&caller.proof);
            if party.jkt.is_none() {
                party.jkt.clone_from(&caller.jkt);
            }
            // An autonomous agent's root is proved by the assertion it authenticated with.
            if let (0, Some(assertion)) = (depth, &caller.assertion) {
                party.edge = Some(Edge::Proof(EdgeProof::ClientAssertion(assertion.clone())));
                party.grant = GrantFacts { kind: GrantKind::ClientCredentials, ..GrantFacts::default() };
            }
        }
        parties
    }
}

/// The decision with the pins that let it be replayed.
fn decision_facts(check: &PolicyCheck) -> DecisionFacts {
    let decision = &check.decision;
    let result = match decision.effect {
        Effect::Permit => DecisionResult::Allow,
        Effect::Deny => DecisionResult::Deny,
        Effect::StepUp => DecisionResult::StepUp,
    };
    let effect = |effect| match effect {
        RuleEffect::Permit => "permit",
        RuleEffect::Forbid => "forbid",
        RuleEffect::StepUp => "step_up",
    };
    let mut facts = DecisionFacts::new(result);
    facts.policies = decision
        .policies
        .iter()
        .map(|policy| PolicyFact {
            id: policy.id.clone(),
            version: decision.policy_set_digest.clone(),
            effect: effect(policy.effect).to_owned(),
            digest: policy.digest.clone(),
        })
        .collect();
    facts.errors = decision
        .errors
        .iter()
        .map(|failure| PolicyFailure { policy_id: failure.id.clone(), message: failure.message.clone() })
        .collect();
    facts.reason_code = decision.code().map(|code| code.as_str().to_owned());
    facts.policy_set_digest = Some(decision.policy_set_digest.clone());
    facts.schema_digest = Some(decision.schema_digest.clone());
    facts.engine =
        Some(Engine { name: decision.engine_name.clone(), version: decision.engine_version.clone(), build_digest: None });
    facts.input = serde_json::to_value(&check.question).ok();
    facts.explanation = Some(decision.explanation.clone());
    facts
}

/// `sha-256:…` of an identifier that must not stand in the record itself.
pub(crate) fn hash(text: &str) -> String {
    json::sha256_label(text.as_bytes())
}
