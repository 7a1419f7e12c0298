//! Replays the seeds of the fuzz targets, so that an input that once failed is tried on every run.

#[path = "../../../../fuzz/src/model.rs"]
#[expect(unreachable_pub, reason = "public in the fuzz crate")]
mod target;

use std::path::Path;

fn replay(name: &str, target: fn(&[u8])) {
    let seeds = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/seeds").join(name);
    let mut replayed = 0;
    for seed in std::fs::read_dir(seeds).unwrap() {
        target(&std::fs::read(seed.unwrap().path()).unwrap());
        replayed += 1;
    }
    assert!(replayed > 0, "{name} has no seeds");
}

#[test]
fn seeds_of_strict_json() {
    replay("model_json", target::json);
}

#[test]
fn seeds_of_authority() {
    replay("model_authority", target::authority);
}
