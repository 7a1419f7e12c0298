//! Fetched JSON documents, kept for as long as they may be used. SPEC: F-04, F-05

use crate::{Limit, Outbound, OutboundError, Source};
use http::HeaderMap;
use remit_clock::Clock;
use remit_model::UnixTime;
use serde_json::Value;
use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};
use tokio::sync::Mutex as AsyncMutex;

/// Documents kept at most. Beyond it the one that was asked for the longest time ago is forgotten.
const ROOM: usize = 1_024;
/// The same for documents that strangers name.
const STRANGERS: usize = 256;

/// How long a document is used, in seconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Freshness {
    /// It is used this long at least, whatever `Cache-Control` says.
    pub least: i64,
    /// And at most this long.
    pub most: i64,
    /// After a fetch, successful or not, the next one waits for this long.
    pub retry: i64,
    /// A document that cannot be fetched again is used for this much longer.
    pub stale: i64,
    /// Whether a document ends when its host says that it is not there.
    pub withdrawn: bool,
}

impl Default for Freshness {
    fn default() -> Self {
        Self { least: 60, most: 3_600, retry: 10, stale: 0, withdrawn: false }
    }
}

/// What will do.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Want {
    /// A kept document while it is fresh.
    Kept,
    /// A kept document when it cannot be fetched.
    Fetched,
    /// An answer of its server.
    Answer,
    /// An answer of its server to this very request.
    Anew,
}

/// A cache of documents by address. One fetch at a time for each address; the others wait for it.
#[derive(Debug)]
pub struct Documents {
    outbound: Outbound,
    clock: Clock,
    source: Source,
    limit: Limit,
    freshness: Freshness,
    kept: Mutex<HashMap<String, Arc<Slot>>>,
}

#[derive(Debug, Default)]
struct Slot {
    held: AsyncMutex<Held>,
    asked: Mutex<i64>,
}

#[derive(Debug, Default)]
struct Held {
    document: Option<Arc<Value>>,
    fresh_until: i64,
    /// When the latest fetch began, and why it failed if it did.
    tried: Option<(i64, Option<OutboundError>)>,
}

impl Documents {
    /// An empty cache of documents that `source` names.
    pub fn new(outbound: Outbound, clock: Clock, source: Source, limit: Limit, freshness: Freshness) -> Self {
        Self { outbound, clock, source, limit, freshness, kept: Mutex::default() }
    }

    /// The document at an address, fetched if it is not fresh any more.
    ///
    /// # Errors
    /// Why it cannot be fetched; within `retry` seconds of a failure the same error without another attempt.
    pub async fn get(&self, url: &str) -> Result<Arc<Value>, OutboundError> {
        self.read(url, &HeaderMap::new(), Want::Kept).await
    }

    /// The same with further request headers, for a server that shows the document to some alone.
    ///
    /// # Errors
    /// As [`Documents::get`].
    pub async fn get_with(&self, url: &str, headers: &HeaderMap) -> Result<Arc<Value>, OutboundError> {
        self.read(url, headers, Want::Kept).await
    }

    /// Whether [`Documents::get`] would ask the host now. Another request may be asking it already.
    pub fn would_fetch(&self, url: &str) -> bool {
        let UnixTime(now) = self.clock.unix();
        let Some(slot) = self.kept().get(url).map(Arc::clone) else { return true };
        let Ok(held) = slot.held.try_lock() else { return false };
        let fresh = held.document.is_some() && now < held.fresh_until;
        !fresh && !self.tried_just_now(&held, now)
    }

    fn tried_just_now(&self, held: &Held, now: i64) -> bool {
        held.tried.as_ref().is_some_and(|(at, _)| (*at..at.saturating_add(self.freshness.retry)).contains(&now))
    }

    /// The document, fetched again even if it is fresh, unless the latest fetch was less than `retry` seconds ago. For a key
    /// that the kept set does not have. SPEC: F-05, N-F-06
    ///
    /// # Errors
    /// As [`Documents::get`].
    pub async fn refresh(&self, url: &str) -> Result<Arc<Value>, OutboundError> {
        self.read(url, &HeaderMap::new(), Want::Fetched).await
    }

    /// The same with further request headers.
    ///
    /// # Errors
    /// As [`Documents::get`].
    pub async fn refresh_with(&self, url: &str, headers: &HeaderMap) -> Result<Arc<Value>, OutboundError> {
        self.read(url, headers, Want::Fetched).await
    }

    /// As [`Documents::refresh`], for the question whether its server answers: when the latest fetch failed, a kept document
    /// does not do.
    ///
    /// # Errors
    /// As [`Documents::get`].
    pub async fn answered(&self, url: &str) -> Result<Arc<Value>, OutboundError> {
        self.read(url, &HeaderMap::new(), Want::Answer).await
    }

    /// As [`Documents::refresh`], but never the kept document: for who has to know whether the document was asked for now.
    ///
    /// # Errors
    /// As [`Documents::get`], and when the latest fetch was less than `retry` seconds ago.
    pub async fn anew(&self, url: &str) -> Result<Arc<Value>, OutboundError> {
        self.read(url, &HeaderMap::new(), Want::Anew).await
    }

    async fn read(&self, url: &str, headers: &HeaderMap, want: Want) -> Result<Arc<Value>, OutboundError> {
        self.outbound.check(url, self.source)?;
        let UnixTime(now) = self.clock.unix();
        let slot = self.slot(url, now);
        let mut held = slot.held.lock().await;
        if let Some(document) = held.document.as_ref().filter(|_| want == Want::Kept && now < held.fresh_until) {
            return Ok(Arc::clone(document));
        }
        if let Some((_, failed)) = held.tried.as_ref().filter(|_| self.tried_just_now(&held, now)) {
            match (want, failed) {
                (Want::Answer | Want::Anew, Some(error)) => return Err(error.clone()),
                (Want::Anew, None) => return Err(just_fetched(url)),
                _ => {}
            }
            return self.usable(&held, now).ok_or_else(|| failed.clone().unwrap_or_else(|| just_fetched(url)));
        }
        match self.outbound.get_json_with(url, self.source, self.limit, headers).await {
            Ok((document, answer)) => {
                let Freshness { least, most, .. } = self.freshness;
                let document = Arc::new(document);
                let keep = answer.max_age().unwrap_or(most).clamp(least, most);
                *held = Held { document: Some(Arc::clone(&document)), fresh_until: now + keep, tried: Some((now, None)) };
                Ok(document)
            }
            Err(error) => {
                // Who takes a document away says that it counts no more; who cannot be asked says nothing.
                if self.freshness.withdrawn && matches!(error, OutboundError::Gone { .. }) {
                    held.document = None;
                }
                held.tried = Some((now, Some(error.clone())));
                self.usable(&held, now).filter(|_| !matches!(want, Want::Answer | Want::Anew)).ok_or(error)
            }
        }
    }

    /// The kept document, as long as it may be used though it cannot be fetched again.
    fn usable(&self, held: &Held, now: i64) -> Option<Arc<Value>> {
        held.document.clone().filter(|_| now < held.fresh_until.saturating_add(self.freshness.stale))
    }

    fn room(&self) -> usize {
        if self.source == Source::Stranger { STRANGERS } else { ROOM }
    }

    fn slot(&self, url: &str, now: i64) -> Arc<Slot> {
        let mut kept = self.kept();
        if !kept.contains_key(url) && kept.len() >= self.room() {
            let oldest = kept.iter().min_by_key(|(_, slot)| *lock(&slot.asked)).map(|(url, _)| url.clone());
            oldest.and_then(|oldest| kept.remove(&oldest));
        }
        let slot = Arc::clone(kept.entry(url.to_owned()).or_default());
        *lock(&slot.asked) = now;
        slot
    }

    fn kept(&self) -> MutexGuard<'_, HashMap<String, Arc<Slot>>> {
        lock(&self.kept)
    }
}

/// A panic while one of these locks is held leaves nothing half done.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn just_fetched(url: &str) -> OutboundError {
    OutboundError::unusable(url, "it was fetched a moment ago")
}
