//! What the ledger is told about a request: who asked, what was decided, what came of it.
//!
//! Every request to the token endpoint leaves exactly one record, refusals included. SPEC: TX-12, record.md §1.11. Names and
//! tokens go to committed values or hashes, never into the plain record.

use crate::{
    clients::credential::ClientCredential,
    grants::{
        attempt::Attempt,
        outcome::{Facts, Grant},
    },
    policy_check::PolicyCheck,
};
use remit_decide::facts;
use remit_ledger::record::{
    DecisionFacts, DecisionResult, Draft, Edge, EffectConfirmed, GrantFacts, GrantKind, OutcomeStatus, Party, ProducerKind,
    Protocol, RecordType, Resource, TokenFacts,
};
use remit_model::{Refusal, TenantId, ToolClass, json};
use remit_token::{Restrictions, access};
use serde_json::{Map, Value, json};

/// A request as the ledger sees it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Entry<'a> {
    pub(crate) tenant: &'a TenantId,
    pub(crate) attempt: &'a Attempt,
    pub(crate) facts: &'a Facts,
    pub(crate) check: Option<&'a PolicyCheck>,
}

impl Entry<'_> {
    /// The record of a refusal.
    pub(crate) fn refused(&self, refusal: &Refusal) -> Draft {
        let mut decision = match self.check {
            Some(check) if !check.asked.decision.permits() => decision_facts(check),
            _ => DecisionFacts::refused(refusal),
        };
        decision.reason_code = Some(refusal.code.as_str().to_owned());
        let mut draft = self.open(RecordType::Decision).decision(decision);
        draft.outcome.status = OutcomeStatus::Denied;
        draft.outcome.code = Some(refusal.code.as_str().to_owned());
        draft.ext("token", Value::Object(self.plain()))
    }

    /// The record of a token that is issued.
    pub(crate) fn issued(&self, grant: &Grant, claims: &access::Claims, restrictions: &Restrictions, kid: &str) -> Draft {
        let digest = grant.authority.digest();
        let mut plain = self.plain();
        plain.insert("jti_hash".to_owned(), json!(hash(&grant.jti)));
        if let Some(parent) = grant.ancestors.first() {
            plain.insert("parent_jti_hash".to_owned(), json!(hash(parent)));
        }
        plain.insert("kid".to_owned(), json!(kid));
        plain.insert("audience".to_owned(), json!(grant.target.uri()));
        plain.insert("scope".to_owned(), json!(claims.scope));
        plain.insert("authority_digest".to_owned(), json!(digest));
        plain.insert("issued".to_owned(), json!(grant.issued));
        plain.insert("expires".to_owned(), json!(grant.expires));
        let mut draft = self
            .open(grant.record_type)
            .decision(self.allowed())
            .outcome(OutcomeStatus::Success, EffectConfirmed::Observed)
            .resource(Resource::new("access_token", None))
            .ext("token", Value::Object(plain))
            .commit("/delegation/chain", serde_json::to_value(&grant.chain).unwrap_or(Value::Null))
            .commit("/token/access", claims_value(claims, restrictions));
        if let Some(subject) = &self.facts.subject {
            draft = draft.commit("/token/subject", subject.clone());
        }
        if let Some(sign_in) = &self.facts.sign_in {
            draft = draft.commit("/token/sign_in", sign_in.clone());
        }
        if let Some(last) = draft.chain.last_mut() {
            last.token = Some(TokenFacts {
                jti: Some(grant.jti.clone()),
                issuer: Some(last.issuer.clone()),
                audience: vec![grant.target.uri().to_owned()],
                scope: claims.scope.split(' ').filter(|token| !token.is_empty()).map(str::to_owned).collect(),
                expires: Some(grant.expires),
                issued: Some(grant.issued),
                authorization_details_hash: Some(digest),
                unbound: grant.confirmation.is_none(),
            });
        }
        draft
    }

    /// A record of something else that happened at these endpoints: a sign-in, a consent, a revocation.
    pub(crate) fn happened(&self, record_type: RecordType) -> Draft {
        self.open(record_type)
            .decision(self.allowed())
            .outcome(OutcomeStatus::Success, EffectConfirmed::Observed)
            .ext("token", Value::Object(self.plain()))
    }

    fn allowed(&self) -> DecisionFacts {
        self.check.map_or_else(|| DecisionFacts::new(DecisionResult::Allow), decision_facts)
    }

    fn plain(&self) -> Map<String, Value> {
        let mut plain = self.facts.plain.clone();
        if let Some(grant_type) = self.attempt.grant_type {
            plain.insert("grant_type".to_owned(), json!(grant_type));
        }
        if let Some(shown) = self.credential() {
            plain.insert("credential".to_owned(), shown.facts());
        }
        plain
    }

    fn credential(&self) -> Option<&ClientCredential> {
        self.attempt.caller.as_ref()?.credential.as_ref()
    }

    fn open(&self, record_type: RecordType) -> Draft {
        let Self { attempt, facts, .. } = self;
        let mut draft = Draft::new(self.tenant.clone(), ProducerKind::AuthzServer, record_type)
            .action(attempt.at.action(), ToolClass::Identity)
            .protocol(Protocol::Http)
            .chain(self.parties());
        attempt.origin.note(&mut draft);
        draft.txn = facts.chain.as_ref().map(|chain| chain.id.clone());
        draft.owner = attempt.caller.as_ref().and_then(|caller| caller.owner.clone());
        draft.human_in_loop = facts.human_in_loop;
        if let Some(committed) = self.credential().and_then(ClientCredential::committed) {
            draft = draft.commit("/token/credential", committed);
        }
        match &facts.purpose {
            Some(purpose) => draft.purpose(purpose.clone()),
            None => draft,
        }
    }

    /// The chain as known, with what the caller showed on this request.
    fn parties(&self) -> Vec<Party> {
        let mut parties = self.facts.chain.as_ref().map(facts::delegated).unwrap_or_default();
        let Some(caller) = &self.attempt.caller else { return parties };
        if !parties.iter().any(|party| party.subject == caller.principal.sub && party.issuer == caller.principal.iss) {
            parties.extend(facts::parties([&caller.principal]));
        }
        for (depth, party) in parties.iter_mut().enumerate() {
            if party.subject != caller.principal.sub || party.issuer != caller.principal.iss {
                continue;
            }
            party.auth = caller.auth.clone();
            party.proof.clone_from(&caller.proof);
            if party.jkt.is_none() && party.x5t.is_none() {
                party.bound(caller.confirmation.as_ref());
            }
            // An autonomous agent's root is proved by what it authenticated with.
            if let (0, Some(shown)) = (depth, &caller.credential) {
                party.edge = Some(Edge::Proof(shown.kept.clone()));
                party.grant = GrantFacts { kind: GrantKind::ClientCredentials, ..GrantFacts::default() };
            }
        }
        parties
    }
}

/// The claims as the ledger keeps them beside the log; the token itself is never kept.
fn claims_value(claims: &access::Claims, restrictions: &Restrictions) -> Value {
    let mut value = json!({
        "iss": claims.iss, "sub": claims.sub, "aud": claims.aud, "client_id": claims.client_id, "scope": claims.scope,
        "jti": claims.jti, "iat": claims.iat, "exp": claims.exp, "auth_time": claims.auth_time, "acr": claims.acr, "amr": claims.amr,
        "cnf": claims.confirmation().map(|confirmation| confirmation.to_value()), "act": claims.act, "authorization_details": claims.authority,
        "txn": claims.txn, "urn:remit:ancestors": claims.ancestors, "urn:remit:ancestor_keys": claims.ancestor_keys,
        "urn:remit:purpose": claims.purpose,
    });
    if let (Some(signed), Some(members)) = (&claims.signed, value.as_object_mut()) {
        members.insert("urn:remit:signed".to_owned(), json!(signed));
    }
    if let Some(members) = value.as_object_mut() {
        members.extend(restrictions.claims());
    }
    value
}

fn decision_facts(check: &PolicyCheck) -> DecisionFacts {
    facts::decision(&check.asked.question, &check.asked.decision, check.latency_ns)
}

/// `sha-256:…` of an identifier that must not stand in the record itself.
pub(crate) fn hash(text: &str) -> String {
    json::sha256_label(text.as_bytes())
}
