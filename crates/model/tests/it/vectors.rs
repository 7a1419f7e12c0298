//! Pairs of authorities with the verdict of the order, for verifiers that share no code with this crate: `e2e/corpus`
//! asks `verify.py` about each. `REMIT_WRITE_VECTORS=1` writes the file anew.

use crate::{
    oracle::argument_detail,
    support::{closed, detail, read},
};
use proptest::{prelude::*, strategy::ValueTree as _, test_runner::TestRunner};
use serde_json::json;
use std::{env, fs, path::Path};

const PAIRS: usize = 400;

#[test]
fn the_vectors_of_the_order_are_current() {
    let mut runner = TestRunner::deterministic();
    let strategy = prop_oneof![1 => detail().boxed(), 3 => closed(argument_detail()).boxed()];
    let pair = (strategy.clone(), strategy);
    let mut lines = String::new();
    for _ in 0..PAIRS {
        let (a, b) = pair.new_tree(&mut runner).unwrap().current();
        let (left, right) = (read(std::slice::from_ref(&a)), read(std::slice::from_ref(&b)));
        let met = left.meet(&right);
        let line = json!({
            "a": [a], "b": [b], "a_canonical": left.to_value(), "meet": met.to_value(),
            "a_within_b": left.within(&right).is_ok(), "b_within_a": right.within(&left).is_ok(),
            "a_within_meet": left.within(&met).is_ok(), "b_within_meet": right.within(&met).is_ok(),
        });
        lines += &line.to_string();
        lines.push('\n');
    }
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../e2e/corpus/authority.jsonl");
    if env::var_os("REMIT_WRITE_VECTORS").is_some() {
        fs::write(&path, &lines).unwrap();
    }
    let held = fs::read_to_string(&path).unwrap_or_default();
    assert!(held == lines, "{} is not current: run this test with REMIT_WRITE_VECTORS=1", path.display());
}
