//! One hop's signature, by the delegator's own key, and what the log says about keys.

use super::error::CustodyError;
use remit_ledger::Record;
use remit_model::{Binding, ClientProfile, Confirmation, EdgeProof, Hop, Principal, UnixTime};
use remit_token::{Delegation, KeySet, Skew, dpop, id_token, statement};
use serde_json::Value;
use std::collections::HashMap;

/// How far a proof's own time may be from its record's: the window a server may be configured with, and its skew.
pub(super) const WINDOW_SECS: i64 = 660;

/// How long after an ID token without `jti` a record may rest on the same one as an earlier record: a code's life.
const SAME_CONSENT_SECS: i64 = 60;

/// How long after an agent's keys or binding were replaced a record may still rest on the ones before: the request was under
/// way.
const ROTATION_SECS: i64 = 60;

/// Public keys as the log states them up to here. A key that was replaced signs nothing any more: its old holder
/// could otherwise vouch for new hops.
#[derive(Default)]
pub(super) struct Keys {
    /// Of our issuer: those that the latest record about them states, and until when some of them are accepted.
    issuer: Option<KeySet>,
    ends: HashMap<String, UnixTime>,
    /// By agent subject: the latest registration or rotation.
    agents: HashMap<String, Registered>,
    /// By agent subject: that before the latest change, and when it was.
    replaced: HashMap<String, (Registered, UnixTime)>,
}

/// How an agent proves itself, as the log states it.
#[derive(Clone, Default)]
pub(super) struct Registered {
    pub(super) keys: KeySet,
    pub(super) client: ClientProfile,
}

/// A hop and what earlier records say about its delegator.
pub(super) struct Link<'a> {
    pub(super) hop: &'a Hop,
    pub(super) issuer: &'a str,
    /// The delegator's own token, and what it is bound to. A person has neither.
    pub(super) parent_jti: Option<&'a str>,
    pub(super) delegator: Option<&'a str>,
    /// What the delegator's token is for, when its values are with this copy.
    pub(super) parent_audience: Option<&'a str>,
    pub(super) subject_token_hash: Option<&'a str>,
    pub(super) at: UnixTime,
    /// The hop's authority as it was committed.
    pub(super) shown: Option<&'a Value>,
    /// What was committed to check a token of another issuer with.
    pub(super) subject: Option<Value>,
}

impl Keys {
    /// A start record states the issuer's keys, and so does a change of them. SPEC: JW-02
    pub(super) fn learn_issuer(&mut self, record: &Record) -> Result<(), CustodyError> {
        let stated = record.ext("keys").filter(|_| record.is_start() || record.record_type() == "config_change");
        let Some(jwks) = stated.and_then(|keys| keys.get("issuer")) else { return Ok(()) };
        if jwks.is_null() {
            return Ok(());
        }
        self.issuer = None;
        self.ends.clear();
        let keys = KeySet::from_jwks(jwks).map_err(CustodyError::IssuerKeys)?;
        self.issuer = Some(keys);
        let ends = stated.and_then(|keys| keys.get("issuer_until")).and_then(Value::as_object);
        for (kid, end) in ends.into_iter().flatten() {
            let end = end.as_str().and_then(|end| end.parse().ok()).ok_or(CustodyError::IssuerKeyEnd)?;
            self.ends.insert(kid.clone(), UnixTime(end));
        }
        Ok(())
    }

    /// The issuer's keys as they are accepted at this time.
    fn issuer(&self, at: UnixTime) -> Result<KeySet, CustodyError> {
        let keys = self.issuer.as_ref().ok_or(CustodyError::NoIssuerKeys)?;
        // Under the names that the log states: a token names its key by one of them.
        Ok(keys.keeping(|kid| self.ends.get(kid).is_none_or(|end| at < *end)))
    }

    /// An agent's registration states its keys and its credentials, and so do later changes of either.
    pub(super) fn learn_agent(&mut self, record: &Record, at: UnixTime) -> Result<(), CustodyError> {
        let Some(config) = record.ext("config") else { return Ok(()) };
        let Some(agent) = config.get("agent").and_then(Value::as_str) else { return Ok(()) };
        let (jwks, client) = (config.get("keys").and_then(Value::as_array), config.get("client"));
        if jwks.is_none() && client.is_none() {
            return Ok(());
        }
        let before = self.agents.remove(agent);
        let mut now = before.clone().unwrap_or_default();
        if let Some(before) = before {
            self.replaced.insert(agent.to_owned(), (before, at));
        }
        if let Some(jwks) = jwks {
            // Older builds registered the same key twice; it counts once.
            let mut distinct: Vec<Value> = Vec::new();
            for jwk in jwks {
                if !distinct.contains(jwk) {
                    distinct.push(jwk.clone());
                }
            }
            now.keys = KeySet::from_keys(&distinct).map_err(CustodyError::AgentKeys)?;
        }
        if let Some(client) = client {
            now.client = serde_json::from_value(client.clone()).map_err(CustodyError::AgentClient)?;
        }
        self.agents.insert(agent.to_owned(), now);
        Ok(())
    }

    /// The registrations that may count at a time: the latest, and for a moment the one before.
    pub(super) fn registered(&self, agent: &str, at: UnixTime) -> Result<Vec<&Registered>, CustodyError> {
        let known = self.agents.get(agent).ok_or(CustodyError::Unregistered)?;
        let before = self.replaced.get(agent).filter(|(_, changed)| at.since(*changed) <= ROTATION_SECS);
        Ok(std::iter::once(known).chain(before.map(|(before, _)| before)).collect())
    }

    /// Whether the tokens of this agent have this binding at a moment, as far as its registration goes.
    pub(super) fn is(&self, binding: Binding, agent: &Principal, at: UnixTime) -> bool {
        let registered = self.registered(&agent.sub, at).unwrap_or_default();
        registered.iter().any(|registered| registered.client.binding == binding)
    }

    /// Whether it proves this hop alone.
    fn id_token(&self, jws: &str, link: &Link<'_>) -> Result<bool, CustodyError> {
        let hop = link.hop;
        let expect = id_token::Expect { issuer: &hop.delegator.iss, client_id: &hop.delegate.sub, nonce: None };
        let keys = self.issuer(link.at)?;
        let token = id_token::verify(jws, &keys, &expect, link.at, Skew::MAX).map_err(CustodyError::Signature)?;
        if token.sub != hop.delegator.sub {
            return Err(CustodyError::OtherPerson);
        }
        let authority = link.shown.cloned().unwrap_or_else(|| hop.authority.to_value());
        let shown = id_token::consent_digest(&hop.delegate.sub, &authority, hop.expires, hop.purpose.as_deref());
        if token.consent.as_deref() != Some(&shown) {
            return Err(CustodyError::OtherConsent);
        }
        match token.jti.as_deref() {
            Some(jti) if jti != hop.jti => Err(CustodyError::OtherDelegation),
            Some(_) => Ok(true),
            // Older builds signed no `jti`: two equal consents redeemed within one second gave the same ID token.
            None => Ok(link.at.since(token.iat) > SAME_CONSENT_SECS),
        }
    }
}

/// An edge proof that holds.
pub(super) struct Proved {
    /// What the signature does not cover, when that is worth knowing.
    pub(super) note: Option<&'static str>,
    /// Whether it may prove this hop alone.
    pub(super) once: bool,
    /// A second proof that the hop rests on, which proves this hop alone too.
    pub(super) holder: Option<String>,
}

/// Checks the hop's edge proof.
pub(super) fn verify(link: &Link<'_>, keys: &Keys) -> Result<Proved, CustodyError> {
    match &link.hop.edge {
        EdgeProof::IdToken(jws) => keys.id_token(jws, link).map(|once| Proved { note: None, once, holder: None }),
        _ => by_agent(link).map(|note| Proved { note, once: true, holder: None }),
    }
}

/// The proof of an agent that delegates.
fn by_agent(link: &Link<'_>) -> Result<Option<&'static str>, CustodyError> {
    let hop = link.hop;
    match &hop.edge {
        EdgeProof::DpopAtToken(jws) => {
            let proof = proof(link, jws)?;
            let endpoint = format!("{}/oauth/token", link.issuer);
            if proof.htm != "POST" || !dpop::htu_matches(&proof.htu, &endpoint) {
                return Err(CustodyError::NotTokenEndpoint);
            }
            match &proof.delegation {
                Some(stated) => covers(stated, link).map(|()| None),
                None => Ok(Some("the delegator's proof does not itself name the delegate")),
            }
        }
        EdgeProof::Statement(jws) => {
            let bound_to = delegator_jkt(link)?;
            let expect = statement::Expect { issuer: link.issuer, bound_to: Some(bound_to) };
            let statement = statement::verify(jws, &expect, link.at, Skew::MAX).map_err(CustodyError::Signature)?;
            if statement.delegator() != hop.delegator.sub {
                return Err(CustodyError::OtherDelegator);
            }
            covers(statement.delegation(), link).map(|()| None)
        }
        EdgeProof::DpopAtCall(jws) => {
            let proof = proof(link, jws)?;
            // The delegator's token was for the delegate's endpoint, and so was the call it proved.
            if proof.htm != "POST" || link.parent_audience.is_some_and(|endpoint| !dpop::htu_matches(&proof.htu, endpoint)) {
                return Err(CustodyError::NotCall);
            }
            let ath = proof.ath.as_deref().ok_or(CustodyError::NoToken)?;
            if link.subject_token_hash != Some(label(ath)?.as_str()) {
                return Err(CustodyError::OtherToken);
            }
            Ok(Some("the delegator's proof names the delegate only by its endpoint"))
        }
        EdgeProof::IdToken(_)
        | EdgeProof::ForeignToken(_)
        | EdgeProof::ClientAssertion(_)
        | EdgeProof::WorkloadToken(_)
        | EdgeProof::ClientCertificate(_) => Err(CustodyError::Assertion),
    }
}

/// A recorded DPoP proof, by the delegator's key and of the record's time.
fn proof(link: &Link<'_>, jws: &str) -> Result<dpop::Proof, CustodyError> {
    let proof = dpop::verify_recorded(jws, delegator_jkt(link)?).map_err(CustodyError::Signature)?;
    if proof.iat.since(link.at).abs() > WINDOW_SECS {
        return Err(CustodyError::ProofTime { proof: proof.iat, record: link.at });
    }
    Ok(proof)
}

fn delegator_jkt<'a>(link: &Link<'a>) -> Result<&'a str, CustodyError> {
    let bound_to = link.delegator.ok_or(CustodyError::NoDelegatorKey)?;
    // SPEC: DC-05: TLS leaves no signature of the delegator's.
    if Confirmation::parse(bound_to).x5t().is_some() { Err(CustodyError::DelegatorSignsNothing) } else { Ok(bound_to) }
}

/// What was delegated is within what the delegator signed, to the one it names.
fn covers(stated: &Delegation, link: &Link<'_>) -> Result<(), CustodyError> {
    let hop = link.hop;
    if stated.delegate != hop.delegate.sub
        || Some(&stated.jkt) != hop.jkt.as_ref()
        || Some(stated.parent.as_str()) != link.parent_jti
    {
        return Err(CustodyError::OtherDelegate);
    }
    if stated.purpose.is_some() && stated.purpose != hop.purpose {
        return Err(CustodyError::OtherPurpose);
    }
    if hop.expires > stated.expires {
        return Err(CustodyError::OtherEnd { signed: stated.expires, stated: hop.expires });
    }
    hop.authority
        .within(&stated.authority)
        .map_err(|wider| CustodyError::Wider { bound: "wider than the delegator signed for", wider })
}

/// `sha-256:…` of a base64url `ath`.
fn label(ath: &str) -> Result<String, CustodyError> {
    use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
    let bytes = URL_SAFE_NO_PAD.decode(ath).map_err(|_| CustodyError::AthEncoding)?;
    let digest = remit_ledger::Hash::from_slice(&bytes).ok_or(CustodyError::AthLength)?;
    Ok(digest.to_string())
}
