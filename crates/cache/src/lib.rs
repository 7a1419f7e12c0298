//! A sharded two-generation cache, bounded by total bytes rather than entry count.
//!
//! An entry that is used moves to the younger generation; when that is full, the older one is dropped. The caller states the
//! size of an entry, roughly. Nothing may depend on an entry being there: a miss only costs the work again.
//!
//! ```
//! use remit_cache::ByteBoundedCache;
//!
//! let cache = ByteBoundedCache::new(1 << 20);
//! cache.put("key", 7, 16);
//! assert_eq!(cache.get("key"), Some(7));
//! cache.put("large", 8, 1 << 20);
//! assert_eq!(cache.get("large"), None);
//! ```

use std::{
    borrow::Borrow,
    collections::HashMap,
    fmt,
    hash::{BuildHasher as _, Hash, RandomState},
    sync::{Mutex, MutexGuard, PoisonError},
};

/// Number of shards, each under its own lock.
const SHARDS: usize = 16;
/// Bytes counted for an entry besides those that its caller states.
const ENTRY: usize = 128;

/// A cache of `K` to `V`, bounded in bytes. Values are cloned on a hit, so they should be cheap to clone (`Arc`).
pub struct ByteBoundedCache<K, V> {
    shards: [Mutex<Shard<K, V>>; SHARDS],
    place: RandomState,
    /// Bytes of one generation of one shard.
    room: usize,
}

struct Shard<K, V> {
    current: Generation<K, V>,
    previous: Generation<K, V>,
}

struct Generation<K, V> {
    entries: HashMap<K, (V, usize)>,
    bytes: usize,
}

impl<K: Eq + Hash, V: Clone> ByteBoundedCache<K, V> {
    /// An empty cache for at most `bytes`. An entry may take a thirty-second of it.
    pub fn new(bytes: usize) -> Self {
        let shards = std::array::from_fn(|_| Mutex::new(Shard { current: Generation::new(), previous: Generation::new() }));
        Self { shards, place: RandomState::new(), room: bytes / (2 * SHARDS) }
    }

    /// The value of `key`, if it is still there; it then counts as used.
    pub fn get<Q: Eq + Hash + ?Sized>(&self, key: &Q) -> Option<V>
    where
        K: Borrow<Q>,
    {
        let mut shard = self.shard(key);
        if let Some((value, _)) = shard.current.entries.get(key) {
            return Some(value.clone());
        }
        let (key, value, bytes) = shard.previous.take(key)?;
        shard.put(key, value.clone(), bytes, self.room);
        Some(value)
    }

    /// Keeps a value that takes `bytes` with everything it holds, key included. A value that is too large is not kept.
    pub fn put(&self, key: K, value: V, bytes: usize) {
        let bytes = bytes.saturating_add(ENTRY);
        if bytes <= self.room {
            let mut shard = self.shard(&key);
            shard.previous.take(&key);
            shard.put(key, value, bytes, self.room);
        }
    }

    /// Removes one entry.
    pub fn remove<Q: Eq + Hash + ?Sized>(&self, key: &Q)
    where
        K: Borrow<Q>,
    {
        let mut shard = self.shard(key);
        shard.current.take(key);
        shard.previous.take(key);
    }

    /// Removes every entry.
    pub fn clear(&self) {
        for shard in &self.shards {
            let mut shard = lock(shard);
            (shard.current, shard.previous) = (Generation::new(), Generation::new());
        }
    }

    /// The number of entries, and their size in bytes.
    pub fn size(&self) -> (usize, usize) {
        let size = |(count, bytes), shard: &Mutex<Shard<K, V>>| {
            let shard = lock(shard);
            let generations = [&shard.current, &shard.previous];
            generations.iter().fold((count, bytes), |(count, bytes), each| (count + each.entries.len(), bytes + each.bytes))
        };
        self.shards.iter().fold((0, 0), size)
    }

    fn shard<Q: Hash + ?Sized>(&self, key: &Q) -> MutexGuard<'_, Shard<K, V>> {
        let [only, rest @ ..] = &self.shards;
        let place = usize::from(self.place.hash_one(key).to_le_bytes()[0]);
        lock(rest.get(place % SHARDS).unwrap_or(only))
    }
}

impl<K: Eq + Hash, V> Shard<K, V> {
    fn put(&mut self, key: K, value: V, bytes: usize, room: usize) {
        self.current.take(&key);
        if self.current.bytes + bytes > room {
            self.previous = std::mem::replace(&mut self.current, Generation::new());
        }
        self.current.bytes += bytes;
        self.current.entries.insert(key, (value, bytes));
    }
}

impl<K: Eq + Hash, V> Generation<K, V> {
    fn new() -> Self {
        Self { entries: HashMap::new(), bytes: 0 }
    }

    fn take<Q: Eq + Hash + ?Sized>(&mut self, key: &Q) -> Option<(K, V, usize)>
    where
        K: Borrow<Q>,
    {
        let (key, (value, bytes)) = self.entries.remove_entry(key)?;
        self.bytes = self.bytes.saturating_sub(bytes);
        Some((key, value, bytes))
    }
}

fn lock<T>(shard: &Mutex<T>) -> MutexGuard<'_, T> {
    // A panic while holding the lock cannot leave half an entry that matters: nothing is decided here.
    shard.lock().unwrap_or_else(PoisonError::into_inner)
}

// Keys and values may name people.
impl<K, V> fmt::Debug for ByteBoundedCache<K, V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ByteBoundedCache").field("room", &self.room).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ROOM: usize = 1 << 20;

    #[test]
    fn a_flood_stays_within_its_bytes_and_what_is_used_stays() {
        for bytes in [10, 1_000, 20_000] {
            let cache = ByteBoundedCache::new(ROOM);
            cache.put("used".to_owned(), 0, bytes);
            for n in 0..20_000 {
                cache.put(format!("{n}"), n, bytes);
                assert_eq!(cache.get("used"), Some(0), "after {n} of {bytes}");
            }
            let (count, weight) = cache.size();
            assert!(weight <= ROOM && count * bytes <= weight, "{count} of {bytes} weigh {weight}");
            assert!(weight >= ROOM / 4, "{count} of {bytes} weigh {weight}");
        }
    }

    #[test]
    fn what_is_too_large_pushes_nothing_out() {
        let cache = ByteBoundedCache::new(ROOM);
        cache.put(1, "small", 10);
        cache.put(2, "large", ROOM / 16);
        cache.put(3, "larger", usize::MAX);
        assert_eq!((cache.get(&1), cache.get(&2), cache.get(&3)), (Some("small"), None, None));
    }

    #[test]
    fn the_same_name_again_is_one_entry_and_nothing_is_left_of_what_was_forgotten() {
        let cache = ByteBoundedCache::new(ROOM);
        for n in 0..1_000 {
            cache.put("a".to_owned(), n, 1_000);
        }
        assert_eq!((cache.get("a"), cache.size().0), (Some(999), 1));
        cache.remove("a");
        assert_eq!((cache.get("a"), cache.size()), (None, (0, 0)));
        cache.put("b".to_owned(), 1, 10);
        cache.clear();
        assert_eq!((cache.get("b"), cache.size()), (None, (0, 0)));
    }
}
