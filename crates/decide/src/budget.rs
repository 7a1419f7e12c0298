//! Which budgets a permitted call draws on: those of the caller's own grants, and of every grant above them.
//!
//! A limit holds over everyone who holds a part of an authority, because each part draws on the whole: delegating, narrowing,
//! refreshing or getting another token does not multiply it. Parts have budgets of their own besides, so two narrowings of one
//! token are both usable. Pure: the tokens above are handed in, and the store counts.

use crate::{
    effective::{Effective, Presented, within_ceilings},
    principal::{Principals, Registered},
};
use remit_model::{Authority, Call, Grant, Permit, Principal, UnixTime, authority::Charge};
use remit_store::{Budget, StoredToken};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

/// The caller's own authority among the sources.
pub const OWN: usize = 0;

/// How long a budget's count outlives the authority that it limits, in seconds: longer than any clock is wrong.
const KEPT: i64 = 24 * 3600;

/// The stored tokens that a caller's authority came through.
#[derive(Clone, Debug, Default)]
pub struct Ancestry {
    /// The caller's own token.
    pub own: Option<Arc<StoredToken>>,
    /// Every token above it, the parent first.
    pub above: Vec<Arc<StoredToken>>,
}

/// An authority that the caller's is a part of, and the name under which its budgets are counted.
#[derive(Debug)]
pub struct Source {
    name: String,
    authority: Authority,
    /// When the authority ends and its counts may be forgotten; never, for what a principal may do at all.
    until: Option<UnixTime>,
}

/// What a call draws on one budget.
#[derive(Debug)]
pub struct Draw {
    /// Number of the source, and digest of the grant in it.
    pub from: (usize, String),
    /// The budget, for the store to count.
    pub budget: Budget,
}

/// The authorities whose budgets count: the caller's own first; then those of the tokens above it, of every hop of its
/// chain, and the ceiling of every party. `expires` is when the caller's token ends.
pub fn sources(
    world: Principals<'_>,
    who: &Presented<'_>,
    effective: &Effective,
    ancestry: &Ancestry,
    expires: UnixTime,
) -> Vec<Source> {
    let (jti, txn) = who.token.map_or(("", ""), |token| (token.jti, token.txn));
    let own = Source { name: format!("token/{jti}"), authority: effective.authority.clone(), until: Some(expires.plus(KEPT)) };
    let mut sources = vec![own];
    for parent in &ancestry.above {
        // As the parent's own calls count it, so that both draw on one budget.
        let most = within_ceilings(world, parent.chain.parties(), &parent.authority);
        let authority = who.location.map_or_else(|| most.clone(), |location| most.at_location(location));
        sources.push(Source { name: format!("token/{}", parent.jti), authority, until: Some(parent.expires.plus(KEPT)) });
    }
    // A hop is made once; what a refresh gives out later is under it, however narrow it is asked for.
    let hops = ancestry.own.iter().flat_map(|own| &own.chain.hops);
    sources.extend(hops.map(|hop| Source {
        name: format!("{txn}/hop/{}", hop.jti),
        authority: hop.authority.clone(),
        until: Some(hop.expires.max(expires).plus(KEPT)),
    }));
    sources.extend(who.parties().map(|party| ceiling(world, party)));
    sources
}

fn ceiling(world: Principals<'_>, party: &Principal) -> Source {
    let authority = world.find(party).map(Registered::ceiling).cloned().unwrap_or_default();
    Source { name: format!("most/{}/{}", party.iss, party.sub), authority, until: None }
}

/// What the permitted call draws on the budgets of every source: of each grant that is used, and of one grant above it in
/// every other source, leaving out those that are used up.
///
/// # Errors
/// The digest of a grant of the caller's that nothing above can pay for any more.
pub fn draws(
    effective: &Effective,
    sources: &[Source],
    call: &Call<'_>,
    permit: &Permit,
    exhausted: &BTreeSet<(usize, String)>,
) -> Result<Vec<Draw>, String> {
    let mut used: BTreeMap<&str, Vec<Charge>> = BTreeMap::new();
    for charge in &permit.charges {
        used.entry(&charge.grant).or_default().push(charge.clone());
    }
    let mut draws: BTreeMap<String, Draw> = BTreeMap::new();
    for (digest, charges) in used {
        let own = effective.authority.grants().iter().find(|grant| grant.digest() == digest);
        let own = Authority::from_grants(own.cloned());
        for (number, source) in sources.iter().enumerate() {
            let charges = match number {
                OWN => charges.clone(),
                _ => above(&own, number, source, call, exhausted).ok_or_else(|| digest.to_owned())?,
            };
            for charge in charges {
                // INVARIANT: never the digest of the grant: alternatives of one meaning share a budget.
                let key = format!("{}/{}/{}", source.name, charge.budget, charge.unit);
                let budget = Budget { key: key.clone(), add: charge.add, limit: charge.limit, until: source.until };
                let drawn = draws.entry(key).or_insert_with(|| Draw { from: (number, charge.grant), budget });
                drawn.budget.limit = drawn.budget.limit.min(charge.limit);
            }
        }
    }
    Ok(draws.into_values().collect())
}

/// What one grant of the source above `own` is charged: nothing if one without a budget covers it.
fn above(
    own: &Authority,
    number: usize,
    source: &Source,
    call: &Call<'_>,
    exhausted: &BTreeSet<(usize, String)>,
) -> Option<Vec<Charge>> {
    let mut grants: Vec<&Grant> = source.authority.grants().iter().collect();
    grants.sort_by_key(|grant| grant.is_limited());
    grants.into_iter().find_map(|grant| {
        let alone = Authority::from_grants([grant.clone()]);
        let covers = own.within(&alone).is_ok() && !exhausted.contains(&(number, grant.digest()));
        covers.then(|| alone.permits(call).ok()).flatten().map(|permit| permit.charges)
    })
}
