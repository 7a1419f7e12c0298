//! Randomness: the operating system's, or a seeded stream that a test can repeat.

use aws_lc_rs::digest::{SHA256, digest};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use remit_model::time::Moment;
use std::{
    fmt,
    sync::{Arc, Mutex, PoisonError},
};
use uuid::Uuid;
use zeroize::Zeroizing;

/// A source of random bytes; cheap to clone, clones draw from the same source.
#[derive(Clone)]
pub struct Entropy(Arc<Source>);

enum Source {
    System,
    Seeded(Mutex<Stream>),
}

/// SHA-256 over (seed, counter): repeatable, not secret.
struct Stream {
    seed: u64,
    counter: u64,
}

impl Entropy {
    /// The randomness of the operating system. The process stops if the system gives none.
    pub fn system() -> Self {
        Self(Arc::new(Source::System))
    }

    /// The same seed gives the same bytes. For tests and simulations only.
    pub fn seeded(seed: u64) -> Self {
        Self(Arc::new(Source::Seeded(Mutex::new(Stream { seed, counter: 0 }))))
    }

    /// Fills `bytes` with randomness.
    pub fn fill(&self, bytes: &mut [u8]) {
        match self.0.as_ref() {
            Source::System => system(bytes),
            Source::Seeded(stream) => stream.lock().unwrap_or_else(PoisonError::into_inner).fill(bytes),
        }
    }

    /// `N` random bytes.
    pub fn bytes<const N: usize>(&self) -> [u8; N] {
        let mut bytes = [0; N];
        self.fill(&mut bytes);
        bytes
    }

    /// An unguessable identifier of `bytes` random bytes, base64url without padding.
    pub fn token(&self, bytes: usize) -> String {
        let mut buffer = vec![0; bytes];
        self.fill(&mut buffer);
        URL_SAFE_NO_PAD.encode(buffer)
    }

    /// A time-ordered identifier: RFC 9562 §5.7.
    pub fn uuid_v7(&self, now: &Moment) -> Uuid {
        let millis = (now.wall_ns / 1_000_000).to_be_bytes();
        let mut bytes: [u8; 16] = self.bytes();
        for (to, from) in bytes.iter_mut().zip(millis.iter().skip(2)) {
            *to = *from;
        }
        let [.., version, _, variant, _, _, _, _, _, _, _] = &mut bytes;
        *version = (*version & 0x0f) | 0x70;
        *variant = (*variant & 0x3f) | 0x80;
        Uuid::from_bytes(bytes)
    }
}

impl fmt::Debug for Entropy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0.as_ref() {
            Source::System => f.write_str("Entropy(system)"),
            Source::Seeded(_) => f.write_str("Entropy(seeded)"),
        }
    }
}

/// Draws randomness in blocks, for callers that need many small pieces. A seeded source is asked piece by piece.
#[derive(Debug)]
pub struct EntropyPool {
    source: Entropy,
    block: Zeroizing<Vec<u8>>,
    /// Bytes at the front of the block that were given out.
    given: usize,
}

impl EntropyPool {
    const BLOCK: usize = 4096;

    /// An empty pool over `source`; the first use draws the first block.
    pub fn of(source: Entropy) -> Self {
        Self { source, block: Zeroizing::new(vec![0; Self::BLOCK]), given: Self::BLOCK }
    }

    /// Fills `bytes` with randomness that was not given out before.
    pub fn fill(&mut self, bytes: &mut [u8]) {
        if matches!(self.source.0.as_ref(), Source::Seeded(_)) || bytes.len() > Self::BLOCK {
            return self.source.fill(bytes);
        }
        if self.given + bytes.len() > Self::BLOCK {
            self.source.fill(&mut self.block);
            self.given = 0;
        }
        for (to, from) in bytes.iter_mut().zip(self.block.iter_mut().skip(self.given)) {
            // INVARIANT: a byte leaves the pool once. Its place is zeroed, so that a later read of the memory does not reveal it.
            *to = std::mem::take(from);
        }
        self.given += bytes.len();
    }
}

impl Stream {
    fn fill(&mut self, bytes: &mut [u8]) {
        for chunk in bytes.chunks_mut(32) {
            let mut input = [0; 16];
            for (to, from) in input.iter_mut().zip(self.seed.to_be_bytes().into_iter().chain(self.counter.to_be_bytes())) {
                *to = from;
            }
            self.counter = self.counter.wrapping_add(1);
            for (to, from) in chunk.iter_mut().zip(digest(&SHA256, &input).as_ref()) {
                *to = *from;
            }
        }
    }
}

#[expect(clippy::disallowed_methods, reason = "the one place that draws randomness")]
fn system(bytes: &mut [u8]) {
    if aws_lc_rs::rand::fill(bytes).is_err() {
        // Without randomness every key and code would be guessable: stop at once rather than go on.
        tracing::error!("the operating system gives no randomness");
        std::process::abort();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seeded_entropy_repeats_and_system_entropy_does_not() {
        assert_eq!(Entropy::seeded(7).token(40), Entropy::seeded(7).token(40));
        assert_ne!(Entropy::seeded(7).token(40), Entropy::seeded(8).token(40));
        assert_ne!(Entropy::system().token(32), Entropy::system().token(32));
        assert_eq!(Entropy::system().token(32).len(), 43);
    }

    #[test]
    fn a_pool_gives_nothing_twice_and_a_seeded_one_gives_what_its_source_would() {
        let mut pool = EntropyPool::of(Entropy::system());
        let mut seen = std::collections::BTreeSet::new();
        for _ in 0..3 * EntropyPool::BLOCK / 16 {
            let mut piece = [0; 16];
            pool.fill(&mut piece);
            assert!(seen.insert(piece), "a piece was given out twice");
        }
        let mut large = vec![0; 2 * EntropyPool::BLOCK];
        pool.fill(&mut large);
        assert!(large.chunks(16).all(|piece| piece.iter().any(|byte| *byte != 0)));
        let (source, mut pool) = (Entropy::seeded(7), EntropyPool::of(Entropy::seeded(7)));
        for length in [16, 12, 32, 1] {
            let (mut one, mut two) = (vec![0; length], vec![0; length]);
            source.fill(&mut one);
            pool.fill(&mut two);
            assert_eq!(one, two);
        }
    }

    #[test]
    fn uuid_v7_carries_time_version_and_variant() {
        let id = Entropy::seeded(1).uuid_v7(&Moment::at(1_700_000_000));
        assert_eq!(id.get_version_num(), 7);
        assert_eq!(id.get_variant(), uuid::Variant::RFC4122);
        assert!(id.to_string().starts_with("018bcfe5-6800-7"));
        assert!(Entropy::seeded(1).uuid_v7(&Moment::at(1)) < Entropy::seeded(1).uuid_v7(&Moment::at(2)));
    }
}
