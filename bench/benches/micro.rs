//! `cargo bench --bench micro`: the single steps of a call, timed.

use criterion::{Criterion, criterion_group, criterion_main};
use remit_model::Authority;
use std::hint::black_box;

fn authority(c: &mut Criterion) {
    let none = Authority::none();
    c.bench_function("authority/meet nothing", |b| b.iter(|| black_box(&none).meet(black_box(&none))));
}

criterion_group!(steps, authority);
criterion_main!(steps);
