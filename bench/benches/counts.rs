//! What single steps and whole requests cost in figures that no clock touches: `cargo xtask bench --counts`.
//!
//! This program only does the work, under valgrind's callgrind. Around each step it calls [`cut`], at which callgrind
//! writes down what it counted so far and begins again, so that one run gives one count for every step. What it prints
//! says which part is which, how often the step ran in it, and its name.
#![expect(clippy::unwrap_used, reason = "a benchmark that cannot make its material has nothing to say")]

mod fixtures;
mod operations;

use fixtures::Step;
use std::hint::black_box;

/// How often a step runs before it is counted: by then every cache that fills once is full.
const WARM: usize = 4;
/// How often it is counted: tables grow now and then, and hash seeds differ.
const TIMES: usize = 32;
/// Policies, ten of which matter to the caller.
const POLICIES: usize = 1_000;

fn main() {
    let words: Vec<String> = std::env::args().skip(1).filter(|word| !word.starts_with("--")).collect();
    let only = words.get(1).map_or("", String::as_str);
    match words.first().map(String::as_str) {
        Some(operations::upstream::WORD) => operations::upstream::serve(),
        Some("steps") => count(fixtures::steps(POLICIES), only),
        Some("operations") => count(operations::all(), only),
        // No instructions, so it needs no valgrind, under which ten thousand policies take a minute to read.
        Some("considered") => {
            for agents in [10, 10_000] {
                println!("considered\t{agents}\t{}", operations::considered(agents));
            }
        }
        _ => eprintln!("counts steps|operations [PART OF A NAME], under callgrind; counts considered, alone"),
    }
}

fn count(steps: Vec<Step>, only: &str) {
    let mut part = 0;
    let mut steps: Vec<Step> = steps.into_iter().filter(|step| step.name.contains(only)).collect();
    for step in &mut steps {
        step.prepare(WARM)();
        let run = step.prepare(TIMES);
        cut();
        run();
        cut();
        part += 2;
        println!("part\t{part}\t{TIMES}\t{}", step.name);
    }
}

/// Where callgrind is told to cut (`--dump-before`).
#[inline(never)]
fn cut() {
    black_box(());
}
