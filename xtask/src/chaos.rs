//! `cargo xtask chaos`: the chaos test of `remit-e2e` at full size.
//!
//! Ten thousand requests and ten kills unless `--requests`, `--kills` or `--seed` say otherwise. The ordinary test does the
//! same with a few hundred.

use crate::{generated, run, setup};
use anyhow::{Context, Result, bail};
use std::{
    collections::hash_map::RandomState,
    hash::{BuildHasher as _, Hasher as _},
};

const TEST: &str = "chaos::";

/// Runs the test; `words` are the command's options.
pub(crate) fn run(words: &[&str]) -> Result<()> {
    let seed = RandomState::new().build_hasher().finish() >> 32;
    let (mut requests, mut kills, mut seed) = (10_000, 10, seed);
    let mut words = words.iter();
    while let Some(word) = words.next() {
        let value = words.next().with_context(|| format!("{word} needs a number"))?;
        let value: u64 = value.parse().with_context(|| format!("{word} {value}"))?;
        match *word {
            "--requests" => requests = value,
            "--kills" => kills = value,
            "--seed" => seed = value,
            other => bail!("there is no option {other}; the options are --requests, --kills and --seed"),
        }
    }
    println!("chaos: {requests} requests, {kills} kills; again with --seed {seed}");
    setup::all()?;
    let binary = generated::binary()?.display().to_string();
    let python = setup::python().display().to_string();
    let numbers = [requests, kills, seed].map(|number| number.to_string());
    let [requests, kills, seed] = numbers.each_ref().map(String::as_str);
    let variables = [
        ("REMIT_BIN", binary.as_str()),
        ("REMIT_E2E_PYTHON", python.as_str()),
        ("REMIT_CHAOS_REQUESTS", requests),
        ("REMIT_CHAOS_KILLS", kills),
        ("REMIT_CHAOS_SEED", seed),
    ];
    let arguments = ["test", "--package", "remit-e2e", "--test", "it", "--locked", "--", TEST, "--nocapture"];
    run::run_in(&run::root(), &run::cargo(), &arguments, &variables)
}
