//! What a chain of principals may do now: the authority it was given ∧ every agent's ceiling ∧ the person's entitlements.
//!
//! SPEC: DC-07, DC-13. A token never changes; the registry does. [`EffectiveCache`] therefore keeps the result for one
//! revision of the registry, and over a change that concerns none of the principals. A revocation takes effect on the
//! next call.

use crate::{
    active::{self, TokenIds},
    bearer,
    principal::{Principals, Registered},
};
use remit_model::{Agent, Authority, Human, Principal, Refusal};
use remit_policy::Party;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Who asks, and the authority they hold.
#[derive(Clone, Copy, Debug)]
pub struct Presented<'a> {
    /// Whose authority it is.
    pub root: &'a Principal,
    /// The agents it was delegated to, in order; the last one acts. Empty when the root acts for itself.
    pub actors: &'a [Principal],
    /// What the token carries; `None` for a principal that asks by name and so has what it may have at most.
    pub held: Option<&'a Authority>,
    /// The resource it is for; `None` when it is not about one resource.
    pub location: Option<&'a str>,
    /// The token, where there is one.
    pub token: Option<TokenIds<'a>>,
    /// The token is bound to no key.
    pub unbound: bool,
}

impl<'a> Presented<'a> {
    /// Everyone in the chain, the root first.
    pub fn parties(&self) -> impl Iterator<Item = &'a Principal> {
        std::iter::once(self.root).chain(self.actors)
    }

    /// The principal that acts.
    pub fn holder(&self) -> &'a Principal {
        self.actors.last().unwrap_or(self.root)
    }
}

/// What a chain may do at one revision of the registry, and how policies see it.
#[derive(Debug)]
pub struct Effective {
    /// The authority.
    pub authority: Authority,
    /// Its digest.
    pub digest: String,
    /// The acting principal.
    pub principal: Party,
    /// The root of the chain.
    pub on_behalf_of: Party,
    basis: Vec<Basis>,
}

/// An [`Effective`] with the revision it was found in.
#[derive(Clone, Debug)]
pub struct Current {
    /// The snapshot's revision.
    pub revision: u64,
    /// What the chain may do.
    pub effective: Arc<Effective>,
}

/// One principal of the chain as it is registered.
#[derive(Clone, Debug)]
enum Basis {
    Agent(Arc<Agent>),
    Human(Arc<Human>),
}

/// Remembers what one token amounts to.
#[derive(Debug, Default)]
pub struct EffectiveCache(Mutex<Option<Current>>);

impl EffectiveCache {
    /// What the token amounts to now.
    ///
    /// # Errors
    /// As [`effective`]; nothing is remembered of a refusal.
    pub fn current(&self, world: Principals<'_>, presented: &Presented<'_>) -> Result<Current, Refusal> {
        let known = self.lock().clone();
        let revision = world.snapshot.revision();
        if let Some(known) = known.as_ref().filter(|known| known.revision == revision) {
            return Ok(known.clone());
        }
        let basis = basis(world, presented)?;
        // Most changes of the registry are about others.
        let kept = known.map(|known| known.effective).filter(|effective| unchanged(&effective.basis, &basis));
        let effective = kept.unwrap_or_else(|| Arc::new(work_out(world, presented, basis)));
        let current = Current { revision, effective };
        *self.lock() = Some(current.clone());
        Ok(current)
    }

    fn lock(&self) -> MutexGuard<'_, Option<Current>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What a chain may do now.
///
/// # Errors
/// As [`presented`].
pub fn effective(world: Principals<'_>, presented: &Presented<'_>) -> Result<Effective, Refusal> {
    let basis = basis(world, presented)?;
    Ok(work_out(world, presented, basis))
}

/// `authority` as far as every one of this chain, the root first, may have it now.
///
/// # Errors
/// As [`active::chain`].
pub fn bounded<'p>(
    world: Principals<'_>,
    parties: impl IntoIterator<Item = &'p Principal>,
    authority: &Authority,
) -> Result<Authority, Refusal> {
    let chain = active::chain(world, parties)?;
    Ok(chain.iter().fold(authority.clone(), |most, party| most.meet(party.ceiling())))
}

/// `authority` within the ceilings of these principals, whether or not they may act. A principal that is not registered
/// may have nothing.
pub fn within_ceilings<'p>(
    world: Principals<'_>,
    parties: impl IntoIterator<Item = &'p Principal>,
    authority: &Authority,
) -> Authority {
    parties.into_iter().fold(authority.clone(), |most, party| match world.find(party) {
        Some(found) => most.meet(found.ceiling()),
        None => Authority::none(),
    })
}

/// What the chain may do, whether or not everyone in it may act.
pub(crate) fn holding(world: Principals<'_>, presented: &Presented<'_>) -> Authority {
    let most = match presented.held {
        Some(held) => within_ceilings(world, presented.parties(), held),
        // A principal that asks by name holds its ceiling; nothing above it can bound that further.
        None => world.find(presented.holder()).map(|found| found.ceiling().clone()).unwrap_or_default(),
    };
    presented.location.map_or_else(|| most.clone(), |location| most.at_location(location))
}

/// Finds everyone in the chain of a token, the root first, and checks that the token counts and that they may act.
///
/// # Errors
/// As [`active::token`] and [`active::chain`], and `dpop_key_mismatch` for a token that is bound to no key although its holder's must be.
pub fn presented<'w>(world: Principals<'w>, presented: &Presented<'_>) -> Result<Vec<Registered<'w>>, Refusal> {
    if let Some(ids) = &presented.token {
        active::token(world, ids)?;
    }
    let found = active::chain(world, presented.parties())?;
    bearer::held(found.last(), presented.unbound)?;
    Ok(found)
}

fn basis(world: Principals<'_>, presented: &Presented<'_>) -> Result<Vec<Basis>, Refusal> {
    Ok(self::presented(world, presented)?.into_iter().map(Basis::from).collect())
}

fn work_out(world: Principals<'_>, presented: &Presented<'_>, basis: Vec<Basis>) -> Effective {
    let authority = holding(world, presented);
    Effective {
        digest: authority.digest(),
        authority,
        principal: world.party(presented.holder()),
        on_behalf_of: world.party(presented.root),
        basis,
    }
}

impl From<Registered<'_>> for Basis {
    fn from(found: Registered<'_>) -> Self {
        match found {
            Registered::Agent(agent) => Self::Agent(Arc::clone(agent)),
            Registered::Human(human) => Self::Human(Arc::clone(human)),
        }
    }
}

/// Whether none of the registrations was written in between.
fn unchanged(before: &[Basis], now: &[Basis]) -> bool {
    before.len() == now.len()
        && before.iter().zip(now).all(|pair| match pair {
            (Basis::Agent(before), Basis::Agent(now)) => Arc::ptr_eq(before, now),
            (Basis::Human(before), Basis::Human(now)) => Arc::ptr_eq(before, now),
            _ => false,
        })
}
