//! A sharded cache of two generations, bounded by total bytes rather than by the number of entries.
//!
//! A value that is used moves to the younger generation; when that is full, the older one is dropped. The caller states
//! roughly how many bytes a value takes. No decision depends on the cache: a lost value only costs the work again.

use std::{
    borrow::Borrow,
    collections::HashMap,
    fmt,
    hash::{BuildHasher as _, Hash, RandomState},
    sync::{Mutex, MutexGuard, PoisonError},
};

/// Parts, each under a lock of its own.
const SHARDS: usize = 16;
/// What an entry weighs besides what it holds.
const ENTRY: usize = 128;

/// A bounded memory. Values are cheap to clone.
pub struct Memory<K, V> {
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

impl<K: Eq + Hash, V: Clone> Memory<K, V> {
    /// Room for `bytes`.
    pub fn new(bytes: usize) -> Self {
        let shards = std::array::from_fn(|_| Mutex::new(Shard { current: Generation::new(), previous: Generation::new() }));
        Self { shards, place: RandomState::new(), room: bytes / (2 * SHARDS) }
    }

    /// The value kept under `key`. A value that is asked for stays longer.
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

    /// Keeps something that takes `bytes` with everything it holds; what is too large for the memory is not kept.
    pub fn put(&self, key: K, value: V, bytes: usize) {
        let bytes = bytes.saturating_add(ENTRY);
        if bytes <= self.room {
            let mut shard = self.shard(&key);
            shard.previous.take(&key);
            shard.put(key, value, bytes, self.room);
        }
    }

    /// Forgets the value kept under `key`.
    pub fn remove<Q: Eq + Hash + ?Sized>(&self, key: &Q)
    where
        K: Borrow<Q>,
    {
        let mut shard = self.shard(key);
        shard.current.take(key);
        shard.previous.take(key);
    }

    /// Forgets everything.
    pub fn clear(&self) {
        for shard in &self.shards {
            let mut shard = lock(shard);
            (shard.current, shard.previous) = (Generation::new(), Generation::new());
        }
    }

    /// How many entries there are, and what they weigh.
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

// What is remembered names people.
impl<K, V> fmt::Debug for Memory<K, V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Memory").field("room", &self.room).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ROOM: usize = 1 << 20;

    #[test]
    fn a_flood_stays_within_its_bytes_and_what_is_used_stays() {
        for bytes in [10, 1_000, 20_000] {
            let memory = Memory::new(ROOM);
            memory.put("used".to_owned(), 0, bytes);
            for n in 0..20_000 {
                memory.put(format!("{n}"), n, bytes);
                assert_eq!(memory.get("used"), Some(0), "after {n} of {bytes}");
            }
            let (count, weight) = memory.size();
            assert!(weight <= ROOM && count * bytes <= weight, "{count} of {bytes} weigh {weight}");
            assert!(weight >= ROOM / 4, "{count} of {bytes} weigh {weight}");
        }
    }

    #[test]
    fn what_is_too_large_pushes_nothing_out() {
        let memory = Memory::new(ROOM);
        memory.put(1, "small", 10);
        memory.put(2, "large", ROOM / 16);
        memory.put(3, "larger", usize::MAX);
        assert_eq!((memory.get(&1), memory.get(&2), memory.get(&3)), (Some("small"), None, None));
    }

    #[test]
    fn the_same_name_again_is_one_entry_and_nothing_is_left_of_what_was_forgotten() {
        let memory = Memory::new(ROOM);
        for n in 0..1_000 {
            memory.put("a".to_owned(), n, 1_000);
        }
        assert_eq!((memory.get("a"), memory.size().0), (Some(999), 1));
        memory.remove("a");
        assert_eq!((memory.get("a"), memory.size()), (None, (0, 0)));
        memory.put("b".to_owned(), 1, 10);
        memory.clear();
        assert_eq!((memory.get("b"), memory.size()), (None, (0, 0)));
    }
}
