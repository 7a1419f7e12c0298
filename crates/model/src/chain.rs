//! The chain of custody: the hops from the human (or root workload) to the caller.
//!
//! RFC 8693 §4.1 gives nested `act`; the rules that make a chain safe are ours: it only grows at the end, is never
//! truncated or reordered (DC-03), has a depth limit and no cycles (DC-08), and every hop only narrows (DC-07).

use crate::{
    authority::Authority,
    confirmation::Confirmation,
    id::{Principal, PrincipalKind},
    refusal::{Code, Refusal},
    time::UnixTime,
};
use serde::{Deserialize, Serialize};

/// Most actors a chain may have unless configured otherwise. SPEC: DC-08.
pub const DEFAULT_DEPTH: usize = 4;
pub use crate::authority::HARD_DEPTH;

/// What the delegator's own key signed, so that a hop can be checked without trusting us.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", content = "jws", rename_all = "snake_case")]
pub enum EdgeProof {
    /// A human's root hop: the identity provider's signed ID token.
    IdToken(String),
    /// An autonomous agent's root: the client assertion it authenticated with (RFC 7523).
    ClientAssertion(String),
    /// An autonomous agent's root: the token by which an issuer vouches for it. One that can be used until it ends is kept
    /// without its signature.
    WorkloadToken(String),
    /// An autonomous agent's root: the certificate by which it authenticated, then those that it sent with it: the DER of each
    /// in base64url, joined by `.`. TLS leaves no signature to keep: that the agent had the key is the server's statement.
    ClientCertificate(String),
    /// The delegator's DPoP proof at the token endpoint while it exchanged for a named child.
    DpopAtToken(String),
    /// A delegation statement (`typ: delegation+jwt`) signed with the delegator's DPoP key.
    Statement(String),
    /// The delegator's DPoP proof on its call to the child's endpoint.
    DpopAtCall(String),
    /// A human's root hop: a token that a trusted issuer made about the person, for this agent.
    ForeignToken(String),
}

impl EdgeProof {
    /// The signed text in compact serialisation (RFC 7515 §3.1); for a certificate, its text.
    pub fn jws(&self) -> &str {
        match self {
            Self::IdToken(jws)
            | Self::ClientAssertion(jws)
            | Self::WorkloadToken(jws)
            | Self::ClientCertificate(jws)
            | Self::DpopAtToken(jws)
            | Self::Statement(jws)
            | Self::DpopAtCall(jws)
            | Self::ForeignToken(jws) => jws,
        }
    }

    /// The name the record and the documentation use.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::IdToken(_) => "id_token",
            Self::ClientAssertion(_) => "client_assertion",
            Self::WorkloadToken(_) => "workload_token",
            Self::ClientCertificate(_) => "client_certificate",
            Self::DpopAtToken(_) => "dpop_at_token",
            Self::Statement(_) => "statement",
            Self::DpopAtCall(_) => "dpop_at_call",
            Self::ForeignToken(_) => "foreign_token",
        }
    }
}

/// One delegation: `delegator` hands `delegate` a part of what it holds.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Hop {
    pub delegator: Principal,
    pub delegate: Principal,
    /// RFC 7638 thumbprint of the delegate's proof key; `None` where a person delegates to an agent whose tokens are bound to
    /// no key.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub jkt: Option<String>,
    /// Thumbprint of the delegate's certificate (`x5t#S256`), where its tokens are bound to one instead of a key. RFC 8705 §3.1
    #[serde(rename = "x5t#S256", default, skip_serializing_if = "Option::is_none")]
    pub x5t: Option<String>,
    /// What the delegate holds after this hop.
    pub authority: Authority,
    pub purpose: Option<String>,
    pub expires: UnixTime,
    /// `jti` of the token this hop produced.
    pub jti: String,
    pub edge: EdgeProof,
    /// What the person signed with a passkey when they agreed to this hop: the `sha-256:…` of the consent document. The
    /// assertion itself is in the record of the approval. Only a first hop has it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub signed: Option<String>,
}

/// The whole custody of one authority. Its id is minted at the root and travels as `txn`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Chain {
    pub id: String,
    /// Whose authority it is; never changes along the chain (DC-02).
    pub root: Principal,
    pub hops: Vec<Hop>,
}

impl Hop {
    /// What the delegate's tokens are bound to; `None` where that is nothing.
    pub fn confirmation(&self) -> Option<Confirmation> {
        Confirmation::of(self.jkt.as_deref(), self.x5t.as_deref())
    }
}

impl Chain {
    /// The chain of a task that no agent has been delegated yet. `id` is the `txn` of its tokens.
    pub fn new(id: String, root: Principal) -> Self {
        Self { id, root, hops: Vec::new() }
    }

    /// Everyone in the chain, the root first.
    pub fn parties(&self) -> impl Iterator<Item = &Principal> {
        std::iter::once(&self.root).chain(self.hops.iter().map(|hop| &hop.delegate))
    }

    /// Who holds the authority now: the last delegate, or the root.
    pub fn holder(&self) -> &Principal {
        self.hops.last().map_or(&self.root, |hop| &hop.delegate)
    }

    /// The digest of the consent document that the root person's passkey signed, if one did.
    pub fn root_signature(&self) -> Option<&str> {
        self.hops.first()?.signed.as_deref()
    }

    /// The actors, outermost (current) first, as RFC 8693 nests them.
    pub fn actors(&self) -> impl Iterator<Item = &Principal> {
        self.hops.iter().rev().map(|hop| &hop.delegate)
    }

    /// Adds one hop at the end. SPEC: DC-03, DC-07, DC-08, DC-10.
    ///
    /// The root's own authority is not part of the chain: the issuer of the first hop checks it against the root's
    /// entitlements. Every further hop hands on what its parent may hand to this delegate, and no more.
    ///
    /// # Errors
    /// `chain_too_deep`, `chain_cycle`, `chain_spliced` (the delegator is not the current holder), `widens_*`,
    /// `delegation_not_allowed` or `delegate_not_named`.
    pub fn extend(mut self, hop: Hop, depth_limit: usize) -> Result<Self, Refusal> {
        let limit = depth_limit.min(HARD_DEPTH);
        if self.hops.len() >= limit {
            let reason = format!("the chain already has {} actors; the limit is {limit}", self.hops.len());
            return Err(Refusal::new(Code::ChainTooDeep, reason));
        }
        self.custody(&hop)?;
        if let Some(parent) = self.hops.last() {
            narrows(parent, &hop)?;
        }
        self.hops.push(hop);
        Ok(self)
    }

    /// Checks a chain that was read from elsewhere by building it again, hop by hop.
    ///
    /// # Errors
    /// Those of [`extend`](Self::extend).
    pub fn check(&self, depth_limit: usize) -> Result<(), Refusal> {
        let empty = Self::new(self.id.clone(), self.root.clone());
        self.hops.iter().cloned().try_fold(empty, |chain, hop| chain.extend(hop, depth_limit)).map(|_| ())
    }

    /// Whether the hop continues exactly this chain, with a delegate that is not in it yet.
    fn custody(&self, hop: &Hop) -> Result<(), Refusal> {
        if hop.delegator != *self.holder() {
            let reason = format!("`{}` does not hold this authority and cannot delegate it", hop.delegator.sub);
            return Err(Refusal::new(Code::ChainSpliced, reason));
        }
        if self.hops.iter().any(|earlier| earlier.jti == hop.jti) {
            return Err(Refusal::new(Code::ChainSpliced, format!("token `{}` is already in the chain", hop.jti)));
        }
        if hop.delegate.kind() == PrincipalKind::Human {
            let reason = format!("`{}` is a person; authority can be delegated to agents only", hop.delegate.sub);
            return Err(Refusal::new(Code::DelegationNotAllowed, reason));
        }
        if hop.delegate.is_same(&self.root) || self.hops.iter().any(|earlier| hop.delegate.is_same(&earlier.delegate)) {
            return Err(Refusal::new(Code::ChainCycle, format!("`{}` is already in the chain", hop.delegate.sub)));
        }
        Ok(())
    }
}

/// Whether a hop hands on no more than its parent hop may hand to this delegate.
fn narrows(parent: &Hop, hop: &Hop) -> Result<(), Refusal> {
    if hop.expires > parent.expires {
        let (asked, held) = (hop.expires.utc(), parent.expires.utc());
        let reason = format!("the delegation would end at {asked}, after its parent's end at {held}");
        return Err(Refusal::new(Code::WidensLifetime, reason));
    }
    // Delegates are named by subject, which says something only together with the issuer that names them.
    if hop.delegate.iss != hop.delegator.iss {
        let reason = format!("`{}` is of another issuer than `{}`", hop.delegate.sub, hop.delegator.sub);
        return Err(Refusal::new(Code::DelegateNotNamed, reason));
    }
    hop.authority.within(&parent.authority)?;
    let handed = parent.authority.delegable_to(&hop.delegate)?;
    hop.authority.within(&handed).map_err(|no| match no.code {
        Code::WidensDelegation => no,
        _ => Refusal::new(Code::DelegateNotNamed, format!("part of this may not be delegated to `{}`", hop.delegate.sub)),
    })
}
