//! Who hands what to whom: the evidence that a token exchange rests on.
//!
//! Implements RFC 8693 §2.1 and the anti-splice rules DC-05 (1) to (5), with TX-01, TX-02, TX-06, TX-08, TX-12. Two valid
//! tokens are not evidence; each way below ties parent, child and this request together by their keys. What may be
//! handed over is not decided here.

use crate::{
    grants::{
        attempt::Once,
        request::{ACCESS_TOKEN, TokenRequest},
        requested,
    },
    http::error::Rejection,
    tokens::{introspect::ids, record::hash},
};
use remit_decide::{
    Principals,
    active::{self, TokenIds},
};
use remit_model::{AgentId, Authentication, Code, Confirmation, EdgeProof, Fault, Principal, Refusal, UnixTime, json};
use remit_store::{Issued, JtiKind, Precondition, StoredToken};
use remit_token::{
    Delegation, Skew,
    access::AccessToken,
    dpop::{self, NonceRule, Proof},
    inspect_unverified, statement,
};
use serde_json::Value;
use std::sync::Arc;

const JWT: &str = "urn:ietf:params:oauth:token-type:jwt";
/// Most tokens above one token: a holder cannot narrow its own token without end. SPEC: X-10
const ANCESTORS_LIMIT: usize = 32;

/// What the exchange does to the chain.
#[derive(Debug)]
pub(crate) enum ExchangeKind {
    /// The holder narrows its own token; the chain is copied unchanged. SPEC: DC-03
    Narrow,
    /// One hop more.
    Delegate(Box<ProvenDelegation>),
}

/// To whom authority goes, and how the delegator showed that it wants that.
#[derive(Debug)]
pub(crate) struct ProvenDelegation {
    pub(crate) delegate: Principal,
    /// The delegate's own key, or its certificate.
    pub(crate) bound_to: Confirmation,
    pub(crate) edge: EdgeProof,
    /// What the delegator signed about content, when it did.
    pub(crate) stated: Option<Delegation>,
    /// End of the credential that showed the delegate. SPEC: TX-05
    pub(crate) shown_until: Option<UnixTime>,
}

impl ExchangeKind {
    pub(crate) fn purpose(&self) -> Option<&str> {
        self.stated().and_then(|stated| stated.purpose.as_deref())
    }

    /// The end the delegator stated.
    pub(crate) fn expires(&self) -> Option<UnixTime> {
        self.stated().map(|stated| stated.expires)
    }

    /// `end`, and no later than the credential that showed the delegate. SPEC: TX-05
    pub(crate) fn cap(&self, end: UnixTime) -> UnixTime {
        match self {
            Self::Narrow => end,
            Self::Delegate(to) => to.shown_until.map_or(end, |until| end.min(until)),
        }
    }

    fn stated(&self) -> Option<&Delegation> {
        match self {
            Self::Narrow => None,
            Self::Delegate(to) => to.stated.as_ref(),
        }
    }
}

/// Verified evidence.
#[derive(Debug)]
pub(crate) struct Evidence {
    pub(crate) parent: Arc<StoredToken>,
    pub(crate) ancestors: Vec<String>,
    /// Of the person at the root.
    pub(crate) authentication: Option<Authentication>,
    /// What the parent's token is for.
    pub(crate) purpose: Option<String>,
    pub(crate) kind: ExchangeKind,
    /// Plain facts for the record. SPEC: TX-12
    pub(crate) facts: Vec<(&'static str, Value)>,
    pub(crate) once: Vec<Once>,
    /// What must hold at the commit besides the standing of the chain.
    pub(crate) requires: Vec<Precondition>,
}

/// SPEC: TX-01, N-TX-04
pub(crate) async fn gather(request: &TokenRequest<'_>) -> Result<Evidence, Rejection> {
    let form = &request.form;
    let subject = form.required("subject_token")?;
    let kind = form.required("subject_token_type")?;
    let actor = match (form.one("actor_token"), form.one("actor_token_type")) {
        (Some(actor), Some(ACCESS_TOKEN)) => Some(actor),
        (Some(_), Some(_)) => {
            return Err(Refusal::new(Code::ActorTokenInvalid, "an `actor_token` must be an access token").into());
        }
        (None, None) => None,
        _ => return Err(malformed("`actor_token` and `actor_token_type` come together or not at all").into()),
    };
    match (kind, actor, form.one("subject_token_proof")) {
        (ACCESS_TOKEN, Some(actor), None) => named(request, request.proven()?, subject, actor).await,
        (ACCESS_TOKEN, None, Some(shown)) => called(request, subject, shown).await,
        (ACCESS_TOKEN, None, None) => narrowed(request, subject).await,
        (JWT, None, None) => stated(request, request.proven()?, subject).await,
        (ACCESS_TOKEN | JWT, _, _) => Err(malformed("the exchange carries two kinds of evidence; send one").into()),
        _ => Err(Refusal::new(Code::TokenTypeWrong, "`subject_token_type` must be access_token or jwt").into()),
    }
}

/// Way one: the parent calls, proves its key, and names a child that showed itself to us. SPEC: DC-05
async fn named(request: &TokenRequest<'_>, proof: &Proof, subject: &str, actor: &str) -> Result<Evidence, Rejection> {
    let (token, parent) = own(request, subject).await?;
    held_by_caller(request, &token)?;
    let invalid = |reason: &str| Refusal::new(Code::ActorTokenInvalid, reason);
    let actor = request
        .server
        .verify(actor, request.now)
        .map_err(|refusal| invalid(&format!("the actor token is not acceptable: {}", refusal.reason)))?;
    // (1) the actor token names its actor at the top level and carries no `act`. SPEC: N-DC-03
    if actor.act.is_some() {
        return Err(invalid("the actor token must be the sub-agent's own, without `act`").into());
    }
    let delegate = Principal::local(&actor.iss, &actor.sub);
    if AgentId::from_subject(&delegate.sub).is_err() {
        return Err(invalid("only an agent can be the actor").into());
    }
    // (5) it belongs to no other flow: it is addressed to us and carries no authority that could be spliced in. SPEC: N-DC-01
    if actor.aud != request.server.issuer || !actor.authority.is_none() || !actor.ancestors.is_empty() {
        return Err(Refusal::new(
            Code::ChainSpliced,
            "the actor token belongs to another chain; the sub-agent must show itself with a token for this issuer that carries no authority",
        )
        .into());
    }
    active::token(principals(request), &ids(&actor)).map_err(|_| invalid("the actor token was revoked"))?;
    // (2) the child has a key of its own. SPEC: N-DC-12
    let bound_to = actor.confirmation().ok_or_else(|| invalid("the actor token is not bound to a key"))?;
    if Some(&bound_to) == holder_of(&parent).as_ref() {
        return Err(invalid("the sub-agent must have a key of its own").into());
    }
    let stated = proof.delegation.clone();
    if let Some(stated) = &stated {
        let fits = stated.delegate == delegate.sub && Some(stated.jkt.as_str()) == bound_to.jkt() && stated.parent == token.jti;
        if !fits {
            return Err(edge("the delegation in the proof names another parent, sub-agent or key").into());
        }
    }
    Ok(Evidence {
        kind: ExchangeKind::Delegate(Box::new(ProvenDelegation {
            delegate,
            bound_to,
            edge: EdgeProof::DpopAtToken(proof.compact().to_owned()),
            stated,
            shown_until: Some(actor.exp),
        })),
        facts: vec![
            ("proved_by", "dpop_at_token".into()),
            ("actor_jti_hash", hash(&actor.jti).into()),
            subject_hash(&token),
            ("actor_token_hash", json::label(actor.digest()).into()),
        ],
        once: Vec::new(),
        requires: vec![still_good(&actor)],
        ancestors: ancestors(&token)?,
        authentication: token.authentication(),
        purpose: token.purpose.clone(),
        parent,
    })
}

/// The actor token is still not revoked at the commit.
fn still_good(actor: &AccessToken) -> Precondition {
    Precondition::Active {
        parties: Vec::new(),
        tokens: vec![actor.jti.clone()],
        txn: actor.txn.clone(),
        since: None,
        keys: actor.keys().to_vec(),
        issued: Box::new(Issued { criteria: actor.criteria().to_vec(), at: actor.iat }),
    }
}

/// Way two: the child calls, with a statement that the parent signed with its proof key.
async fn stated(request: &TokenRequest<'_>, proof: &Proof, compact: &str) -> Result<Evidence, Rejection> {
    let server = request.server;
    let expect = statement::Expect { issuer: &server.issuer, bound_to: None };
    let statement = statement::verify(compact, &expect, request.now, Skew::NONE)?;
    let delegation = statement.delegation();
    let unknown = || edge("the statement names a token that is not known here");
    let parent = server.store.token(&delegation.parent).await.map_err(Fault::new)?.ok_or_else(unknown)?;
    signs(&parent)?;
    if Some(statement.jkt()) != parent.jkt.as_deref() || statement.delegator() != parent.chain.holder().sub {
        return Err(
            Refusal::new(Code::ChainSpliced, "the statement is not signed by the holder of the token that it delegates").into()
        );
    }
    let delegate = Principal::agent(&server.issuer, &request.client.agent.id);
    if delegation.delegate != delegate.sub || delegation.jkt != proof.jkt() {
        return Err(Refusal::new(Code::ChainSpliced, "the statement names another sub-agent or another key").into());
    }
    own_key(request, &parent)?;
    if parent.expires <= request.now {
        return Err(Refusal::new(Code::TokenExpired, "the parent's token has expired").into());
    }
    let ancestors = walk(request, &parent).await?;
    let criteria = parent.criteria();
    let ids = TokenIds {
        jti: &parent.jti,
        ancestors: &ancestors,
        txn: &parent.chain.id,
        keys: &parent.keys,
        criteria: &criteria,
        issued: parent.issued,
    };
    active::token(principals(request), &ids)?;
    Ok(Evidence {
        authentication: signed_in(&parent),
        purpose: parent.chain.hops.last().and_then(|hop| hop.purpose.clone()),
        ancestors,
        facts: vec![
            ("proved_by", "statement".into()),
            ("statement_jti_hash", hash(statement.jti()).into()),
            ("subject_token_hash", hash(compact).into()),
        ],
        requires: Vec::new(),
        once: vec![Once {
            kind: JtiKind::Statement,
            key: format!("{} {}", statement.jkt(), statement.jti()),
            until: delegation.expires,
        }],
        kind: ExchangeKind::Delegate(Box::new(ProvenDelegation {
            delegate,
            bound_to: Confirmation::Key(proof.jkt().to_owned()),
            edge: EdgeProof::Statement(compact.to_owned()),
            stated: Some(delegation.clone()),
            shown_until: None,
        })),
        parent,
    })
}

/// Way three: the parent called the child with a token for the child's endpoint; the child brings token and proof.
async fn called(request: &TokenRequest<'_>, subject: &str, shown: &str) -> Result<Evidence, Rejection> {
    let (token, parent) = own(request, subject).await?;
    // (3) the token was addressed to this very agent. SPEC: TX-02, N-TX-07
    // A proof of a call to one of our own resources belongs to that call, whatever an agent's row says of its endpoint.
    let ours = |uri: &str| uri == request.server.issuer || request.server.servers.iter().any(|server| server.location == uri);
    let endpoint = requested::endpoint(&request.client.agent).filter(|endpoint| *endpoint == token.aud && !ours(endpoint));
    let endpoint = endpoint.ok_or_else(|| {
        Refusal::new(Code::TokenAudienceWrong, "the subject token is not addressed to this agent's registered endpoint")
    })?;
    own_key(request, &parent)?;
    signs(&parent)?;
    let own = request.confirmation().ok_or_else(|| edge("the sub-agent proves no key of its own"))?;
    let unbound = || edge("the subject token is bound to no key, so nothing shows that its holder called");
    let bound_to = parent.jkt.as_deref().ok_or_else(unbound)?;
    let window = request.server.settings.dpop_window;
    let expect = dpop::Expect {
        method: "POST",
        url: endpoint,
        access_token: Some(token.digest()),
        bound_to: Some(bound_to),
        known: None,
        nonce: NonceRule::Ignored,
        replay: None,
        now: request.now,
        window_secs: window,
    };
    let seen = dpop::verify(&[shown], &expect)
        .map_err(|refusal| edge(&format!("`subject_token_proof` is not the parent's proof of its call: {}", refusal.reason)))?;
    Ok(Evidence {
        kind: ExchangeKind::Delegate(Box::new(ProvenDelegation {
            delegate: Principal::agent(&request.server.issuer, &request.client.agent.id),
            bound_to: own,
            edge: EdgeProof::DpopAtCall(seen.compact().to_owned()),
            stated: None,
            shown_until: None,
        })),
        facts: vec![("proved_by", "dpop_at_call".into()), subject_hash(&token)],
        // SPEC: N-DC-18: one call proves one hop.
        requires: Vec::new(),
        once: vec![Once {
            kind: JtiKind::DpopAtCall,
            key: format!("{} {}", seen.jkt(), seen.jti),
            until: seen.iat.plus(2 * window),
        }],
        ancestors: ancestors(&token)?,
        authentication: token.authentication(),
        purpose: token.purpose.clone(),
        parent,
    })
}

async fn narrowed(request: &TokenRequest<'_>, subject: &str) -> Result<Evidence, Rejection> {
    let (token, parent) = own(request, subject).await?;
    held_by_caller(request, &token)?;
    Ok(Evidence {
        kind: ExchangeKind::Narrow,
        facts: vec![("proved_by", "holder".into()), subject_hash(&token)],
        once: Vec::new(),
        requires: Vec::new(),
        ancestors: ancestors(&token)?,
        authentication: token.authentication(),
        purpose: token.purpose.clone(),
        parent,
    })
}

/// Which token it was, by the hash it was looked up with.
fn subject_hash(token: &AccessToken) -> (&'static str, Value) {
    ("subject_token_hash", json::label(token.digest()).into())
}

/// A token of ours that still counts, with what the store knows of it: the store is authoritative. SPEC: DC-01, TX-02
async fn own(request: &TokenRequest<'_>, compact: &str) -> Result<(Arc<AccessToken>, Arc<StoredToken>), Rejection> {
    let token = request.server.verify(compact, request.now)?;
    active::token(principals(request), &ids(&token))?;
    let unknown = || Refusal::new(Code::TokenRevoked, "the subject token is not known here any more");
    let stored = request.server.store.token(&token.jti).await.map_err(Fault::new)?.ok_or_else(unknown)?;
    Ok((token, stored))
}

fn principals<'r>(request: &'r TokenRequest<'_>) -> Principals<'r> {
    Principals::new(&request.server.issuer, &request.snapshot)
}

/// What the parent's token is bound to.
fn holder_of(parent: &StoredToken) -> Option<Confirmation> {
    parent.jkt.as_deref().map(Confirmation::parse)
}

/// Whether the holder of the parent's token has a key whose signature can be kept. SPEC: DC-05
fn signs(parent: &StoredToken) -> Result<(), Refusal> {
    match holder_of(parent) {
        Some(Confirmation::Certificate(_)) => {
            let reason = format!(
                "the token that would be delegated is bound to a certificate: nothing that `{}` signs with its key proves a hop; an agent \
                 that delegates is registered with `binding: dpop`",
                parent.chain.holder().sub
            );
            Err(Refusal::new(Code::DelegationUnsigned, reason))
        }
        _ => Ok(()),
    }
}

/// (2) The caller is the holder, and proves the holder's key or certificate. SPEC: TX-06, N-TX-09, RFC 8705 §3
fn held_by_caller(request: &TokenRequest<'_>, token: &AccessToken) -> Result<(), Refusal> {
    if token.actor() != request.client.id() {
        return Err(Refusal::new(Code::ChainSpliced, "the subject token is held by another agent"));
    }
    match (token.confirmation(), request.confirmation()) {
        (Some(bound_to), Some(proved)) if bound_to == proved => Ok(()),
        (_, Some(Confirmation::Certificate(_))) => {
            Err(Refusal::new(Code::CertificateMismatch, "the subject token is not bound to the certificate of the connection"))
        }
        _ => Err(Refusal::new(Code::DpopKeyMismatch, "the subject token is bound to another proof key")),
    }
}

/// SPEC: DC-10, N-DC-12
fn own_key(request: &TokenRequest<'_>, parent: &StoredToken) -> Result<(), Refusal> {
    if request.confirmation() == holder_of(parent) { Err(edge("the sub-agent must have a key of its own")) } else { Ok(()) }
}

fn ancestors(token: &AccessToken) -> Result<Vec<String>, Refusal> {
    if token.ancestors.len() + 1 >= ANCESTORS_LIMIT { Err(too_many()) } else { Ok(token.ancestors.clone()) }
}

async fn walk(request: &TokenRequest<'_>, parent: &StoredToken) -> Result<Vec<String>, Rejection> {
    let mut ancestors = Vec::new();
    let mut next = parent.parent.clone();
    while let Some(jti) = next {
        if ancestors.len() + 1 >= ANCESTORS_LIMIT {
            return Err(too_many().into());
        }
        next = request.server.store.token(&jti).await.map_err(Fault::new)?.and_then(|token| token.parent.clone());
        ancestors.push(jti);
    }
    Ok(ancestors)
}

/// The same, read back from the ID token we keep as the proof of the first hop.
fn signed_in(parent: &StoredToken) -> Option<Authentication> {
    match &parent.chain.hops.first()?.edge {
        EdgeProof::IdToken(jws) => serde_json::from_value(inspect_unverified(jws).ok()?.claims.into()).ok(),
        _ => None,
    }
}

fn too_many() -> Refusal {
    Refusal::new(Code::ChainTooDeep, format!("a token has at most {ANCESTORS_LIMIT} tokens above it"))
}

fn edge(reason: &str) -> Refusal {
    Refusal::new(Code::EdgeProofInvalid, reason)
}

fn malformed(reason: &str) -> Refusal {
    Refusal::new(Code::RequestMalformed, reason)
}
