//! Which budgets a permitted call draws on: those of the caller's own grants, and of every grant above them.
//!
//! What is counted under a name lasts as long as the grant, so that a limit holds over all who hold a part of it:
//! delegating, narrowing a token, refreshing it or getting another one does not multiply it. Pure: the tokens above are
//! handed in, and the store counts.

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

/// How long a budget's count outlives the token it was first drawn with, in seconds.
const KEPT: i64 = 90 * 24 * 3600;

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
/// chain, and the ceiling of every party.
pub fn sources(world: Principals<'_>, who: &Presented<'_>, effective: &Effective, ancestry: &Ancestry) -> Vec<Source> {
    let txn = who.token.map_or("", |token| token.txn);
    let own = Source { name: format!("{txn}/{}", who.holder().sub), authority: effective.authority.clone() };
    let mut sources = vec![own];
    for parent in &ancestry.above {
        let chain = &parent.chain;
        let parties = std::iter::once(&chain.root).chain(chain.hops.iter().map(|hop| &hop.delegate));
        // As the parent's own calls count it, so that both draw on one budget.
        let most = within_ceilings(world, parties, &parent.authority);
        let authority = who.location.map_or_else(|| most.clone(), |location| most.at_location(location));
        sources.push(Source { name: format!("{txn}/{}", chain.holder().sub), authority });
    }
    // A hop is made once; what a refresh gives out later is under it, however narrow it is asked for.
    let hops = ancestry.own.iter().flat_map(|own| &own.chain.hops);
    sources.extend(hops.map(|hop| Source { name: format!("{txn}/hop/{}", hop.jti), authority: hop.authority.clone() }));
    sources.extend(who.parties().map(|party| ceiling(world, party)));
    sources
}

fn ceiling(world: Principals<'_>, party: &Principal) -> Source {
    let authority = world.find(party).map(Registered::ceiling).cloned().unwrap_or_default();
    Source { name: format!("most/{}/{}", party.iss, party.sub), authority }
}

/// What the permitted call draws on the budgets of every source: of each grant that is used, and of one grant above it in
/// every other source, leaving out those that are used up. `expires` is when the caller's token ends.
///
/// # Errors
/// The digest of a grant of the caller's that nothing above can pay for any more.
pub fn draws(
    effective: &Effective,
    sources: &[Source],
    call: &Call<'_>,
    permit: &Permit,
    exhausted: &BTreeSet<(usize, String)>,
    expires: UnixTime,
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
                let key = format!("{}/{}/{}", source.name, charge.grant, charge.unit);
                let budget = Budget { key: key.clone(), add: charge.add, limit: charge.limit, until: Some(expires.plus(KEPT)) };
                draws.entry(key).or_insert(Draw { from: (number, charge.grant), budget });
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
