//! Replays the seeds of the fuzz target, near misses of them, and garbage.

#[path = "../../../../fuzz/src/insight.rs"]
#[expect(unreachable_pub, reason = "public in the fuzz crate")]
mod target;

use proptest::prelude::*;
use std::path::Path;

#[test]
fn seeds_of_upstream_logs() {
    let seeds = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/seeds/insight_upstream");
    let mut replayed = 0;
    for seed in std::fs::read_dir(seeds).unwrap() {
        let seed = std::fs::read(seed.unwrap().path()).unwrap();
        target::upstream(&seed);
        for at in 0..seed.len() {
            target::upstream(&seed[..at]);
            let mut flipped = seed.clone();
            flipped[at] ^= 1 << (at % 8);
            target::upstream(&flipped);
        }
        replayed += 1;
    }
    assert!(replayed >= 3, "{replayed} seeds");
}

proptest! {
    #[test]
    fn garbage_breaks_nothing(text in "([{}\\[\\]:,\" \n\r\\\\]|\"digest\"|\"call\"|\"name\"|null|[a-z0-9]){0,40}") {
        target::upstream(text.as_bytes());
    }
}
