//! The memory of accepted proofs: bounded, sharded, and closed when full. SPEC: RFC 9449 §11.1, DP-09.
//!
//! A shard keeps proofs by the time that they say they were made at, in slots of a quarter window: a slot is forgotten when
//! every proof in it has become too old to be accepted anyway. So a proof is remembered for as long as it is good, and for
//! a quarter window more at most.

use super::proof::Proof;
use remit_model::{Code, Refusal, UnixTime, json::sha256};
use std::{
    collections::{BTreeMap, HashSet},
    fmt,
    hash::{BuildHasher as _, RandomState},
    sync::{Mutex, MutexGuard, PoisonError},
};

const SHARDS: usize = 64;
/// Slots in one window.
const SLOTS: i64 = 4;

/// Remembers proofs by the hash of key thumbprint and `jti`.
pub struct ReplaySet {
    shards: Vec<Mutex<Shard>>,
    /// Chooses the shard of a proof. It is secret, so that a sender cannot fill one shard on purpose.
    place: RandomState,
    /// Entries of one shard.
    limit: usize,
    window: i64,
}

#[derive(Default)]
struct Shard {
    /// Proofs by their `iat`, in units of a slot's length.
    slots: BTreeMap<i64, HashSet<u128>>,
    count: usize,
    /// Proofs made before this may be forgotten, so they are refused. Only a clock that runs back brings it into play.
    floor: UnixTime,
}

impl ReplaySet {
    /// Room for `capacity` proofs (at about 30 bytes) and a window of `window_secs` either side of now. A proof made now
    /// stays for a window and a quarter: 300 s and a million proofs serve 2,700 proofs a second.
    pub fn new(capacity: usize, window_secs: i64) -> Self {
        Self {
            shards: (0..SHARDS).map(|_| Mutex::default()).collect(),
            place: RandomState::new(),
            limit: (capacity / SHARDS).max(1),
            window: window_secs.max(1),
        }
    }

    /// Remembers a verified proof, once.
    ///
    /// # Errors
    /// As [`insert`](Self::insert).
    pub fn remember(&self, proof: &Proof, now: UnixTime) -> Result<(), Refusal> {
        self.insert(proof.jkt(), &proof.jti, proof.iat, now)
    }

    /// Remembers one proof, once.
    ///
    /// # Errors
    /// `dpop_proof_replayed`; `dpop_proof_invalid` when `iat` is outside the window; `rate_limited` when there is no room: a proof that cannot be remembered is not accepted.
    pub fn insert(&self, jkt: &str, jti: &str, iat: UnixTime, now: UnixTime) -> Result<(), Refusal> {
        let (mut shard, entry, length) = self.unused(jkt, jti, iat, now)?;
        if shard.count >= self.limit {
            return Err(Refusal::new(Code::RateLimited, "the memory of used proofs is full; try again later"));
        }
        shard.slots.entry(iat.0.div_euclid(length)).or_default().insert(entry);
        shard.count += 1;
        Ok(())
    }

    /// Whether a verified proof may still be used, without remembering it.
    ///
    /// # Errors
    /// As [`insert`](Self::insert), except `rate_limited`.
    pub fn look(&self, proof: &Proof, now: UnixTime) -> Result<(), Refusal> {
        self.unused(proof.jkt(), &proof.jti, proof.iat, now).map(drop)
    }

    /// The proof's shard, in which it is not, its entry there, and the length of a slot.
    fn unused(&self, jkt: &str, jti: &str, iat: UnixTime, now: UnixTime) -> Result<(MutexGuard<'_, Shard>, u128, i64), Refusal> {
        if iat.since(now).abs() > self.window {
            return Err(Refusal::new(Code::DpopProofInvalid, "the proof's `iat` is outside the window that is remembered"));
        }
        let hash = sha256(format!("{}:{jkt}{jti}", jkt.len()).as_bytes());
        let entry = hash.iter().take(16).fold(0_u128, |entry, byte| (entry << 8) | u128::from(*byte));
        let place = usize::from(self.place.hash_one(entry).to_le_bytes()[0]);
        let Some(shard) = self.shards.get(place % SHARDS) else {
            return Err(Refusal::new(Code::RateLimited, "there is no memory for used proofs"));
        };
        let mut shard = lock(shard);
        let length = (self.window / SLOTS).max(1);
        shard.forget(now.plus(-self.window), length);
        if iat < shard.floor {
            return Err(Refusal::new(Code::DpopProofInvalid, "the proof is older than what this server remembers"));
        }
        if shard.slots.values().any(|slot| slot.contains(&entry)) {
            return Err(Refusal::new(Code::DpopProofReplayed, "this proof was used before"));
        }
        Ok((shard, entry, length))
    }
}

impl Shard {
    /// INVARIANT: a slot goes only when its last second is before `oldest`, the earliest `iat` that is still accepted.
    fn forget(&mut self, oldest: UnixTime, length: i64) {
        while let Some(slot) = self.slots.first_entry() {
            let end = UnixTime(slot.key().saturating_add(1).saturating_mul(length));
            if end > oldest {
                return;
            }
            self.count = self.count.saturating_sub(slot.remove().len());
            self.floor = self.floor.max(end);
        }
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
