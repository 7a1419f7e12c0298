//! The memory of accepted proofs: bounded, sharded, and closed when full. SPEC: RFC 9449 §11.1, DP-09.
//!
//! Each shard keeps two generations. A proof is good for at most twice the window after it was made, so a generation is
//! dropped only when every proof in it has become too old to be accepted anyway.

use remit_model::{Code, Refusal, UnixTime, json::sha256};
use std::{
    collections::HashSet,
    fmt,
    sync::{Mutex, MutexGuard, PoisonError},
};

const SHARDS: usize = 64;

/// Remembers proofs by the hash of key thumbprint and `jti`.
pub struct ReplaySet {
    shards: Vec<Mutex<Shard>>,
    /// Entries per generation of one shard.
    limit: usize,
    window: i64,
}

#[derive(Default)]
struct Shard {
    /// When the current generation began; `None` before the first proof.
    began: Option<UnixTime>,
    current: HashSet<u128>,
    previous: HashSet<u128>,
    /// Proofs made before this may be forgotten, so they are refused. Only a clock that runs back brings it into play.
    floor: UnixTime,
}

impl ReplaySet {
    /// Room for `capacity` proofs (at about 30 bytes) and a window of `window_secs` either side of now. Half of the room is
    /// for the current generation, which lasts twice the window: 300 s and a million proofs serve 800 proofs a second.
    pub fn new(capacity: usize, window_secs: i64) -> Self {
        Self {
            shards: (0..SHARDS).map(|_| Mutex::default()).collect(),
            limit: (capacity / (2 * SHARDS)).max(1),
            window: window_secs.max(1),
        }
    }

    /// Remembers one proof, once.
    ///
    /// # Errors
    /// `dpop_proof_replayed`; `dpop_proof_invalid` when `iat` is outside the window; `rate_limited` when there is no room: a proof that cannot be remembered is not accepted.
    pub fn insert(&self, jkt: &str, jti: &str, iat: UnixTime, now: UnixTime) -> Result<(), Refusal> {
        if iat.since(now).abs() > self.window {
            return Err(Refusal::new(Code::DpopProofInvalid, "the proof's `iat` is outside the window that is remembered"));
        }
        let hash = sha256(format!("{}:{jkt}{jti}", jkt.len()).as_bytes());
        let entry = hash.iter().take(16).fold(0_u128, |entry, byte| (entry << 8) | u128::from(*byte));
        let last = hash.last().copied().unwrap_or_default();
        let Some(shard) = self.shards.get(usize::from(last) % SHARDS) else {
            return Err(Refusal::new(Code::RateLimited, "there is no memory for used proofs"));
        };
        let mut shard = lock(shard);
        shard.rotate(now, self.window);
        if iat < shard.floor {
            return Err(Refusal::new(Code::DpopProofInvalid, "the proof is older than what this server remembers"));
        }
        if shard.current.contains(&entry) || shard.previous.contains(&entry) {
            return Err(Refusal::new(Code::DpopProofReplayed, "this proof was used before"));
        }
        if shard.current.len() >= self.limit {
            return Err(Refusal::new(Code::RateLimited, "the memory of used proofs is full; try again later"));
        }
        shard.current.insert(entry);
        Ok(())
    }
}

impl Shard {
    fn rotate(&mut self, now: UnixTime, window: i64) {
        // INVARIANT: a proof accepted at `t` was made at most `window` later and is acceptable until `t + 2 * window`; it
        // stays at least `span` seconds.
        let span = 2 * window + 1;
        let began = *self.began.get_or_insert(now);
        if now.since(began) < span {
            return;
        }
        let forgotten_until = if now.since(began) >= 2 * span {
            self.previous = HashSet::new();
            self.current = HashSet::new();
            began.plus(span)
        } else {
            self.previous = std::mem::take(&mut self.current);
            began
        };
        self.began = Some(now);
        self.floor = self.floor.max(forgotten_until.plus(window + 1));
    }
}

fn lock(shard: &Mutex<Shard>) -> MutexGuard<'_, Shard> {
    // A panic while holding the lock cannot leave a half-made entry: inserting is the last step.
    shard.lock().unwrap_or_else(PoisonError::into_inner)
}

impl fmt::Debug for ReplaySet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ReplaySet").field("limit", &self.limit).field("window", &self.window).finish_non_exhaustive()
    }
}
