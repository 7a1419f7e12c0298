//! A cache of rows of recently issued or read tokens, so that using a token does not cost a read each time.
//!
//! A row of `tokens` never changes: it is there from the commit that issued it until an erasure takes it or, well after its
//! expiry, the sweep does. Standing is no part of a row: callers look at the snapshot for revocations, as with a row
//! just read.
//!
//! An erasure ends the chains it takes out, and empties this memory before it is answered. What is kept afterwards is
//! therefore looked up among the revocations: a row that was read before the erasure is not kept after it.

use crate::{batch::StoredToken, world::snapshot::Snapshot};
use remit_cache::ByteBoundedCache;
use std::sync::Arc;

/// Bytes kept.
const ROOM: usize = 32 << 20;

#[derive(Debug)]
pub(crate) struct TokenCache(ByteBoundedCache<String, Arc<StoredToken>>);

impl Default for TokenCache {
    fn default() -> Self {
        Self(ByteBoundedCache::new(ROOM))
    }
}

impl TokenCache {
    pub(crate) fn get(&self, jti: &str) -> Option<Arc<StoredToken>> {
        self.0.get(jti)
    }

    /// Keeps a token; `now` says what is true after it was kept.
    pub(crate) fn put(&self, token: &Arc<StoredToken>, now: impl FnOnce() -> Arc<Snapshot>) {
        self.0.put(token.jti.clone(), Arc::clone(token), bytes(token));
        if now().is_revoked(&token.jti, [], &token.chain.id) {
            self.0.remove(&token.jti);
        }
    }

    pub(crate) fn forget(&self) {
        self.0.clear();
    }
}

/// Bytes a token takes in memory, roughly.
fn bytes(token: &StoredToken) -> usize {
    let hops = token.chain.hops.iter().map(|hop| {
        let texts = [&hop.delegator.iss, &hop.delegator.sub, &hop.delegate.iss, &hop.delegate.sub, &hop.jti];
        let texts: usize = texts.iter().map(|text| text.len()).sum();
        size_of_val(hop)
            + texts
            + hop.jkt.as_ref().map_or(0, String::len)
            + hop.edge.jws().len()
            + hop.purpose.as_ref().map_or(0, String::len)
            + hop.authority.bytes()
    });
    let texts = [&token.jti, &token.jti, &token.client, &token.audience, &token.chain.root.iss, &token.chain.root.sub];
    let texts: usize = texts.iter().map(|text| text.len()).sum();
    let jkt = token.jkt.as_ref().map_or(0, String::len);
    size_of::<StoredToken>() + texts + jkt + token.authority.bytes() + hops.sum::<usize>()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::world::row::{Kind, PLAIN, Row};
    use remit_model::{Authority, Chain, EdgeProof, Hop, Principal, TenantId, UnixTime};

    fn token(jti: String, edge: usize) -> Arc<StoredToken> {
        let alice = Principal::human("https://as.example", "alice");
        let mut chain = Chain::new(format!("txn of {jti}"), alice.clone());
        chain.hops.push(Hop {
            delegator: alice.clone(),
            delegate: alice,
            jkt: None,
            x5t: None,
            authority: Authority::none(),
            purpose: None,
            expires: UnixTime(60),
            jti: String::new(),
            edge: EdgeProof::IdToken("x".repeat(edge)),
            signed: None,
        });
        let (client, jkt, audience) = (String::new(), None, String::new());
        let (issued, expires) = (UnixTime(0), UnixTime(60));
        let authority = Authority::none();
        Arc::new(StoredToken {
            jti,
            chain,
            authority,
            parent: None,
            client,
            jkt,
            audience,
            issued,
            expires,
            family: None,
            keys: Vec::new(),
        })
    }

    fn world() -> Arc<Snapshot> {
        Arc::new(Snapshot::empty(TenantId::main()))
    }

    #[test]
    fn what_was_read_before_an_erasure_is_not_kept_after_it() {
        let (recent, read) = (TokenCache::default(), token("a".to_owned(), 10));
        recent.put(&read, world);
        assert!(recent.get("a").is_some());
        let mut erased = Snapshot::clone(&world());
        let (kind, until) = (Kind::RevokedChain, Some(UnixTime(99)));
        erased.fold(Row { kind, key: "txn of a".into(), body: Some(PLAIN.into()), revision: 1, until }).unwrap();
        recent.forget();
        assert!(recent.get("a").is_none());
        recent.put(&read, || Arc::new(erased));
        assert!(recent.get("a").is_none(), "a read that began before");
    }

    #[test]
    fn large_tokens_take_no_more_room_than_many_small_ones() {
        for edge in [10, 100_000] {
            let recent = TokenCache::default();
            for n in 0..2_000 {
                recent.put(&token(format!("{n}"), edge), world);
            }
            let (count, weight) = recent.0.size();
            assert!(weight <= ROOM && count * edge <= weight, "{count} of {edge}");
            assert!(recent.get("1999").is_some());
        }
    }
}
