//! Tokens whose signature was checked once, with what follows from them: the chain as principals, as a record states it,
//! and the authority it amounts to in the world as it is.
//!
//! What a token says never changes, so that is worked out once. What the world says of those it names is good for one
//! revision of the world and looked at again in the next: a revocation bites on the very next call.

use crate::road::{active, chain};
use remit_ledger::record::Party;
use remit_model::{
    Agent, Authority, Human, Memory,
    id::{Principal, PrincipalKind},
    refusal::Refusal,
};
use remit_store::Snapshot;
use remit_token::{
    Actor,
    access::AccessToken,
    dpop::{self, Proof},
};
use std::{
    ops::Deref,
    sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError},
};

/// A verified token and what follows from it. Reads like its claims.
#[derive(Debug)]
pub(crate) struct VerifiedToken {
    token: AccessToken,
    parties: Vec<Principal>,
    chain: Vec<Party>,
    /// How the holder's proofs begin.
    proof: OnceLock<dpop::Header>,
    standing: Mutex<Option<Standing>>,
}

/// What a token amounts to at one revision of the world, in which everyone it came through may act.
#[derive(Clone, Debug)]
pub(crate) struct Standing {
    pub(crate) revision: u64,
    pub(crate) effective: Arc<EffectiveAuthority>,
}

/// Token ∧ ceilings of every agent of the chain ∧ the human's entitlements.
#[derive(Debug)]
pub(crate) struct EffectiveAuthority {
    pub(crate) authority: Authority,
    pub(crate) digest: String,
    /// The acting party and the root as policies see them.
    pub(crate) principal: remit_policy::Party,
    pub(crate) on_behalf_of: remit_policy::Party,
    basis: Vec<Basis>,
}

/// One party of the chain as the world has it.
#[derive(Clone, Debug)]
enum Basis {
    Agent(Arc<Agent>),
    Human(Arc<Human>),
    Unknown,
}

impl VerifiedToken {
    pub(crate) fn new(token: AccessToken) -> Self {
        let mut parties: Vec<Principal> = token.act.iter().flat_map(Actor::chain).map(Actor::principal).collect();
        parties.push(Principal::local(&token.iss, &token.sub));
        parties.reverse();
        let chain = chain::of(&token, &parties);
        Self { token, parties, chain, proof: OnceLock::new(), standing: Mutex::default() }
    }

    /// The chain as principals: the subject first, the caller last.
    pub(crate) fn parties(&self) -> &[Principal] {
        &self.parties
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

    /// What the token amounts to now. SPEC: DC-07, DC-13.
    ///
    /// # Errors
    /// As [`active::chain_active`]; nothing is remembered of a refusal.
    pub(crate) fn standing(&self, snapshot: &Snapshot, issuer: &str) -> Result<Standing, Refusal> {
        let known = self.lock().clone();
        if let Some(known) = known.as_ref().filter(|known| known.revision == snapshot.revision()) {
            return Ok(known.clone());
        }
        active::chain_active(snapshot, self, &self.parties, issuer)?;
        let basis: Vec<Basis> = self.parties.iter().map(|party| Basis::of(snapshot, party)).collect();
        // Most changes of the world are about others.
        let effective = known.map(|known| known.effective).filter(|effective| same(&effective.basis, &basis));
        let effective = effective.unwrap_or_else(|| Arc::new(self.effective(snapshot, basis)));
        let standing = Standing { revision: snapshot.revision(), effective };
        *self.lock() = Some(standing.clone());
        Ok(standing)
    }

    /// Bytes it takes in memory with what it amounts to, roughly: the chain is there in three forms.
    pub(crate) fn bytes(compact: &str, effective: &EffectiveAuthority) -> usize {
        size_of::<Self>() + 2 * AccessToken::bytes(compact) + effective.authority.bytes()
    }

    fn effective(&self, snapshot: &Snapshot, basis: Vec<Basis>) -> EffectiveAuthority {
        let authority = active::within_limits(snapshot, self.authority.clone(), &self.parties).at_location(&self.aud);
        let root = Principal::local(&self.iss, &self.sub);
        let holder = self.parties.last().unwrap_or(&root);
        EffectiveAuthority {
            digest: authority.digest(),
            authority,
            principal: party(snapshot, holder),
            on_behalf_of: party(snapshot, &root),
            basis,
        }
    }

    fn lock(&self) -> MutexGuard<'_, Option<Standing>> {
        self.standing.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Deref for VerifiedToken {
    type Target = AccessToken;
    fn deref(&self) -> &AccessToken {
        &self.token
    }
}

impl Basis {
    fn of(snapshot: &Snapshot, party: &Principal) -> Self {
        match party.kind() {
            PrincipalKind::Human => active::person(snapshot, party).map_or(Self::Unknown, |human| Self::Human(Arc::clone(human))),
            PrincipalKind::Agent => {
                active::registered(snapshot, party).map_or(Self::Unknown, |agent| Self::Agent(Arc::clone(agent)))
            }
        }
    }
}

/// Whether nothing was written about any of them in between.
fn same(before: &[Basis], now: &[Basis]) -> bool {
    before.len() == now.len()
        && before.iter().zip(now).all(|pair| match pair {
            (Basis::Agent(before), Basis::Agent(now)) => Arc::ptr_eq(before, now),
            (Basis::Human(before), Basis::Human(now)) => Arc::ptr_eq(before, now),
            _ => false,
        })
}

/// A party as policies see it.
pub(crate) fn party(snapshot: &Snapshot, principal: &Principal) -> remit_policy::Party {
    let agent = active::registered(snapshot, principal);
    remit_policy::Party {
        kind: principal.kind(),
        sub: principal.sub.clone(),
        iss: principal.iss.clone(),
        owner: agent.map(|agent| agent.owner.clone()),
        labels: agent.map(|agent| agent.labels.clone()).unwrap_or_default(),
    }
}

/// The verified tokens at hand, by the SHA-256 of their text.
pub(crate) type Tokens = Memory<[u8; 32], Arc<VerifiedToken>>;

/// Room for them, in bytes.
pub(crate) const ROOM: usize = 128 << 20;
