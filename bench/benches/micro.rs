//! `cargo bench --bench micro`: the single steps of a call, timed.
#![expect(clippy::unwrap_used, reason = "a benchmark that cannot make its material has nothing to say")]

mod fixtures;

use criterion::{Criterion, criterion_group, criterion_main};
use std::time::{Duration, Instant};

/// Inputs made at once: enough that reading the clock does not count, few enough to stay in memory.
const CHUNK: usize = 64;
/// Policies, ten of which matter to the caller.
const POLICIES: usize = 10_000;

fn steps(c: &mut Criterion) {
    for mut step in fixtures::steps(POLICIES) {
        c.bench_function(step.name, |b| {
            b.iter_custom(|times| {
                let mut spent = Duration::ZERO;
                let mut left = usize::try_from(times).unwrap_or(usize::MAX);
                while left > 0 {
                    let run = step.prepare(left.min(CHUNK));
                    let began = now();
                    run();
                    spent += began.elapsed();
                    left = left.saturating_sub(CHUNK);
                }
                spent
            });
        });
    }
}

#[expect(clippy::disallowed_methods, reason = "measuring time is what this program is for")]
fn now() -> Instant {
    Instant::now()
}

criterion_group!(all, steps);
criterion_main!(all);
