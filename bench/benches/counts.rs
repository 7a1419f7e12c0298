//! `cargo bench --bench counts`: the instructions of the single steps of a call, counted under callgrind.

use gungraun::{library_benchmark, library_benchmark_group, main};
use remit_model::Authority;
use std::hint::black_box;

#[library_benchmark]
fn meet_nothing() -> Authority {
    let none = Authority::none();
    black_box(&none).meet(black_box(&none))
}

library_benchmark_group!(name = steps, benchmarks = meet_nothing);
main!(library_benchmark_groups = steps);
