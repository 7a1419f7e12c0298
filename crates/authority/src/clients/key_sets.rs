//! Key sets that other machines publish, fetched, read and kept for as long as they may be used.
//!
//! SPEC: F-03 to F-05, RFC 7517 §5. A set with one key that is private, symmetric or malformed is not used at all (N-F-05).

use axum::http::HeaderMap;
use remit_clock::Clock;
use remit_outbound::{Documents, Freshness, Limit, Outbound, OutboundError, Source};
use remit_token::KeySet;
use serde_json::Value;
use std::{
    collections::HashMap,
    fmt,
    sync::{Arc, Mutex, PoisonError},
};

/// Sets kept parsed at most; beyond it all are parsed again.
const ROOM: usize = 1_024;
/// A key that is gone from its set is accepted for ten minutes more at most, and while the set cannot be fetched, for an hour.
const FRESHNESS: Freshness = Freshness { least: 60, most: 600, retry: 10, stale: 3_000, withdrawn: false };

/// The key sets, by address and by who named the address.
pub(crate) struct KeySets {
    operator: Documents,
    stranger: Documents,
    parsed: Mutex<HashMap<String, Parsed>>,
}

/// A document, and the keys that it says.
struct Parsed {
    document: Arc<Value>,
    keys: Arc<KeySet>,
}

impl KeySets {
    pub(crate) fn new(outbound: &Outbound, clock: &Clock) -> Self {
        let documents = |source| Documents::new(outbound.clone(), clock.clone(), source, Limit::KEYS, FRESHNESS);
        Self { operator: documents(Source::Operator), stranger: documents(Source::Stranger), parsed: Mutex::default() }
    }

    /// The set at an address. If it has not the `wanted` key it is fetched again, unless that happened a moment ago.
    ///
    /// # Errors
    /// Why there is no set: it cannot be fetched, or is none.
    pub(crate) async fn find(
        &self,
        uri: &str,
        source: Source,
        wanted: impl Fn(&KeySet) -> bool,
    ) -> Result<Arc<KeySet>, OutboundError> {
        self.find_with(uri, source, &HeaderMap::new(), wanted).await
    }

    /// Whether [`KeySets::find`] would ask the host of a stranger's set now, whichever key is wanted.
    pub(crate) fn would_fetch(&self, uri: &str) -> bool {
        self.stranger.would_fetch(uri)
    }

    /// The same with further request headers.
    ///
    /// # Errors
    /// As [`KeySets::find`].
    pub(crate) async fn find_with(
        &self,
        uri: &str,
        source: Source,
        headers: &HeaderMap,
        wanted: impl Fn(&KeySet) -> bool,
    ) -> Result<Arc<KeySet>, OutboundError> {
        let documents = match source {
            Source::Operator => &self.operator,
            Source::Stranger => &self.stranger,
        };
        let keys = self.parse(uri, documents.get_with(uri, headers).await?)?;
        if wanted(&keys) {
            return Ok(keys);
        }
        self.parse(uri, documents.refresh_with(uri, headers).await?)
    }

    fn parse(&self, uri: &str, document: Arc<Value>) -> Result<Arc<KeySet>, OutboundError> {
        let mut parsed = self.parsed.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = parsed.get(uri).filter(|known| Arc::ptr_eq(&known.document, &document)) {
            return Ok(Arc::clone(&known.keys));
        }
        let read = KeySet::from_jwks(&document);
        let keys = read.map_err(|refusal| OutboundError::Unusable { url: uri.to_owned(), reason: refusal.reason })?;
        if parsed.len() >= ROOM {
            parsed.clear();
        }
        let keys = Arc::new(keys);
        parsed.insert(uri.to_owned(), Parsed { document, keys: Arc::clone(&keys) });
        Ok(keys)
    }
}

impl fmt::Debug for KeySets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KeySets").finish_non_exhaustive()
    }
}
