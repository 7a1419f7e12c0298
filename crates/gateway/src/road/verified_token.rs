//! Tokens whose signature was checked once, with what follows from them: the chain as principals, as a record states it,
//! and the authority it amounts to now.
//!
//! What a token says never changes, so that is worked out once. What it amounts to is good for one revision of the registry
//! and looked at again in the next: a revocation takes effect on the very next call.

use crate::road::chain;
use remit_cache::ByteBoundedCache;
use remit_decide::{Current, Effective, EffectiveCache, Presented, Principals, active::TokenIds};
use remit_ledger::record::Party;
use remit_model::{
    Authentication, UnixTime,
    id::{AgentId, Principal, PrincipalKind},
    refusal::Refusal,
};
use remit_store::{Issued, Party as Standing, Precondition};
use remit_token::{
    Actor,
    access::AccessToken,
    dpop::{self, Proof},
};
use std::{
    ops::Deref,
    sync::{Arc, OnceLock},
};

/// A verified token and what follows from it. Reads like its claims.
#[derive(Debug)]
pub(crate) struct VerifiedToken {
    token: AccessToken,
    root: Principal,
    /// The agents that the authority came through, the caller last; none when the root acts for itself.
    actors: Vec<Principal>,
    chain: Vec<Party>,
    authentication: Option<Authentication>,
    /// How the holder's proofs begin.
    proof: OnceLock<dpop::Header>,
    effective: EffectiveCache,
}

impl VerifiedToken {
    pub(crate) fn new(token: AccessToken) -> Self {
        let root = Principal::local(&token.iss, &token.sub);
        let mut actors: Vec<Principal> = token.act.iter().flat_map(Actor::chain).map(Actor::principal).collect();
        actors.reverse();
        let chain = chain::of(&token, &root, &actors);
        let authentication = token.authentication();
        Self { token, root, actors, chain, authentication, proof: OnceLock::new(), effective: EffectiveCache::default() }
    }

    /// The principal that calls.
    pub(crate) fn holder(&self) -> &Principal {
        self.actors.last().unwrap_or(&self.root)
    }

    /// Whether the caller is an agent on its own account: no person signed in for it, and its registered ceiling is all it may have.
    pub(crate) fn is_for_itself(&self) -> bool {
        self.actors.is_empty() && self.root.kind() == PrincipalKind::Agent
    }

    /// How the person at the root authenticated.
    pub(crate) fn authentication(&self) -> Option<&Authentication> {
        self.authentication.as_ref()
    }

    /// The token as the decision point looks at it.
    pub(crate) fn presented(&self) -> Presented<'_> {
        Presented {
            root: &self.root,
            actors: &self.actors,
            held: Some(&self.token.authority),
            location: Some(&self.token.aud),
            token: Some(self.ids()),
            unbound: !self.token.is_bound(),
        }
    }

    fn ids(&self) -> TokenIds<'_> {
        TokenIds {
            jti: &self.token.jti,
            ancestors: &self.token.ancestors,
            txn: &self.token.txn,
            keys: self.token.keys(),
            criteria: self.token.criteria(),
            issued: self.token.iat,
        }
    }

    /// What was found of it before.
    pub(crate) fn known(&self) -> &EffectiveCache {
        &self.effective
    }

    /// What the token amounts to now. SPEC: DC-07, DC-13.
    ///
    /// # Errors
    /// As [`remit_decide::effective::effective`]; nothing is remembered of a refusal.
    pub(crate) fn current(&self, world: Principals<'_>) -> Result<Current, Refusal> {
        self.effective.current(world.since(self.token.auth_time), &self.presented())
    }

    /// Whether the token was not revoked and everyone in its chain may act. SPEC: DC-13.
    ///
    /// # Errors
    /// As [`remit_decide::effective::presented`].
    pub(crate) fn still_active(&self, world: Principals<'_>) -> Result<(), Refusal> {
        remit_decide::effective::presented(world.since(self.token.auth_time), &self.presented()).map(drop)
    }

    /// That nothing of [`Self::still_active`] has changed when a batch is committed.
    pub(crate) fn active_at_commit(&self) -> Precondition {
        let issuer = self.token.iss.as_str();
        // INVARIANT: a principal of another issuer is registered nowhere and was refused before.
        let party = |principal: &Principal| {
            let name = principal.name_at(issuer)?;
            Some(match principal.kind() {
                PrincipalKind::Human => Standing::Human(name.to_owned()),
                PrincipalKind::Agent => Standing::Agent(AgentId::parse(name).ok()?),
            })
        };
        Precondition::Active {
            parties: self.presented().parties().filter_map(party).collect(),
            tokens: std::iter::once(&self.token.jti).chain(&self.token.ancestors).cloned().collect(),
            txn: self.token.txn.clone(),
            since: Some(self.token.auth_time.unwrap_or(UnixTime(i64::MIN))),
            keys: self.token.keys().to_vec(),
            issued: Box::new(Issued { criteria: self.token.criteria().to_vec(), at: self.token.iat }),
        }
    }

    /// The chain as a record states it, without the proof of this request.
    pub(crate) fn chain(&self) -> &[Party] {
        &self.chain
    }

    /// The header of the first proof that came with it and was accepted.
    pub(crate) fn proof_header(&self) -> Option<&dpop::Header> {
        self.proof.get()
    }

    pub(crate) fn remember(&self, proof: &Proof) {
        if self.proof.get().is_none()
            && let Some(header) = proof.header()
        {
            let _ = self.proof.set(header);
        }
    }

    /// Bytes it takes in memory with what it amounts to, roughly: the chain is there in three forms.
    pub(crate) fn bytes(compact: &str, effective: &Effective) -> usize {
        size_of::<Self>() + 2 * AccessToken::bytes(compact) + effective.authority.bytes()
    }
}

impl Deref for VerifiedToken {
    type Target = AccessToken;
    fn deref(&self) -> &AccessToken {
        &self.token
    }
}

/// The verified tokens at hand, by the SHA-256 of their text.
pub(crate) type Tokens = ByteBoundedCache<[u8; 32], Arc<VerifiedToken>>;

/// Room for them, in bytes.
pub(crate) const ROOM: usize = 128 << 20;
