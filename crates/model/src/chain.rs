//! The chain of custody: the hops from the human (or root workload) to the caller.
//!
//! RFC 8693 §4.1 gives nested `act`; the rules that make a chain safe are ours: it only grows at the end, is never
//! truncated or reordered (DC-03), has a depth limit and no cycles (DC-08), and every hop only narrows (DC-07).

use crate::{
    authority::Authority,
    id::Principal,
    refusal::{Code, Refusal},
    time::UnixTime,
};
use serde::{Deserialize, Serialize};

/// Most actors a chain may have unless configured otherwise. SPEC: DC-08.
pub const DEFAULT_DEPTH: usize = 4;
/// No configuration may exceed this.
pub const HARD_DEPTH: usize = 8;

/// What the delegator's own key signed, so that a hop can be checked without trusting us.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", content = "jws", rename_all = "snake_case")]
pub enum EdgeProof {
    /// A human's root hop: the identity provider's signed ID token.
    IdToken(String),
    /// An autonomous agent's root: the client assertion it authenticated with (RFC 7523).
    ClientAssertion(String),
    /// The delegator's DPoP proof at the token endpoint while it exchanged for a named child.
    DpopAtToken(String),
    /// A delegation statement (`typ: delegation+jwt`) signed with the delegator's DPoP key.
    Statement(String),
    /// The delegator's DPoP proof on its call to the child's endpoint.
    DpopAtCall(String),
}

impl EdgeProof {
    pub fn jws(&self) -> &str {
        match self {
            Self::IdToken(jws)
            | Self::ClientAssertion(jws)
            | Self::DpopAtToken(jws)
            | Self::Statement(jws)
            | Self::DpopAtCall(jws) => jws,
        }
    }

    /// The name the record and the documentation use.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::IdToken(_) => "id_token",
            Self::ClientAssertion(_) => "client_assertion",
            Self::DpopAtToken(_) => "dpop_at_token",
            Self::Statement(_) => "statement",
            Self::DpopAtCall(_) => "dpop_at_call",
        }
    }
}

/// One delegation: `delegator` hands `delegate` a part of what it holds.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Hop {
    pub delegator: Principal,
    pub delegate: Principal,
    /// RFC 7638 thumbprint of the delegate's proof key.
    pub jkt: String,
    /// What the delegate holds after this hop.
    pub authority: Authority,
    pub purpose: Option<String>,
    pub expires: UnixTime,
    /// `jti` of the token this hop produced.
    pub jti: String,
    pub edge: EdgeProof,
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

impl Chain {
    pub fn new(id: String, root: Principal) -> Self {
        Self { id, root, hops: Vec::new() }
    }

    /// Who holds the authority now: the last delegate, or the root.
    pub fn holder(&self) -> &Principal {
        self.hops.last().map_or(&self.root, |hop| &hop.delegate)
    }

    /// The actors, outermost (current) first, as RFC 8693 nests them.
    pub fn actors(&self) -> impl Iterator<Item = &Principal> {
        self.hops.iter().rev().map(|hop| &hop.delegate)
    }

    /// Adds one hop at the end. SPEC: DC-03, DC-07, DC-08.
    ///
    /// # Errors
    /// `chain_too_deep`, `chain_cycle`, `chain_spliced` (the delegator is not the current holder), or a `widens_*` code.
    pub fn extend(mut self, hop: Hop, depth_limit: usize) -> Result<Self, Refusal> {
        if self.hops.len() >= depth_limit.min(HARD_DEPTH) {
            return Err(Refusal::new(
                Code::ChainTooDeep,
                format!("the chain already has {} actors; the limit is {}", self.hops.len(), depth_limit.min(HARD_DEPTH)),
            ));
        }
        if hop.delegator != *self.holder() {
            return Err(Refusal::new(
                Code::ChainSpliced,
                format!("`{}` does not hold this authority, so it cannot hand it on", hop.delegator.sub),
            ));
        }
        if hop.delegate == self.root || self.hops.iter().any(|earlier| earlier.delegate == hop.delegate) {
            return Err(Refusal::new(Code::ChainCycle, format!("`{}` is already in the chain", hop.delegate.sub)));
        }
        if let Some(parent) = self.hops.last() {
            if hop.expires > parent.expires {
                return Err(Refusal::new(
                    Code::WidensLifetime,
                    format!("the delegation would end at {}, after its parent's end {}", hop.expires, parent.expires),
                ));
            }
            hop.authority.within(&parent.authority)?;
        }
        self.hops.push(hop);
        Ok(self)
    }
}
