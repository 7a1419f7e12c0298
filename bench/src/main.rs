//! `cargo xtask bench`: how fast the ledger is, against what the machine could do at best in the same minute.
//!
//! Machines are noisy and absolute figures swing; what counts is the ratio of product to floor, measured in interleaved
//! rounds of one run, as medians. A goal that is missed is shown as missed.

mod append;
mod floor;
mod growth;
mod offline;
mod roads;
mod rounds;
mod search;
mod table;

use anyhow::{Context as _, Result, bail};
use std::{
    path::{Path, PathBuf},
    time::Duration,
};
use table::Table;

/// The floor programs allocate as the product does.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// How long and how large.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Scale {
    pub(crate) rounds: usize,
    pub(crate) round: Duration,
    /// Records of the ledger that is verified and replayed.
    pub(crate) records: u64,
    /// Decisions that are made again.
    pub(crate) decisions: u64,
    /// The large ledger of the growth measurement, and of the search index.
    pub(crate) large: u64,
    /// Registered agents: the first number is what the others are held against.
    pub(crate) agents: &'static [usize],
    /// Hops of a chain: the others are held against the first.
    pub(crate) hops: &'static [usize],
}

impl Scale {
    pub(crate) fn is_quick(&self) -> bool {
        self.round < FULL.round
    }
}

const QUICK: Scale = Scale {
    rounds: 3,
    round: Duration::from_millis(700),
    records: 2_000,
    decisions: 5_000,
    large: 200_000,
    agents: &[10, 10_000],
    hops: &[1, 4, 8],
};
const FULL: Scale = Scale {
    rounds: 7,
    round: Duration::from_secs(2),
    records: 50_000,
    decisions: 1_000_000,
    large: 10_000_000,
    agents: &[10, 1_000, 10_000, 100_000],
    hops: &[1, 2, 3, 4, 5, 6, 7, 8],
};

const USAGE: &str = "remit-bench [--quick] [--only append,roads,peers,growth,offline,search] [--out FILE.json] [--table FILE.md]";

type Suite = fn(&Path, &Scale, &mut Table) -> Result<()>;

/// What was asked for.
#[derive(Debug, Default)]
struct Asked {
    quick: bool,
    only: Option<String>,
    out: Option<PathBuf>,
    table: Option<PathBuf>,
}

fn main() -> Result<()> {
    let words: Vec<String> = std::env::args().skip(1).collect();
    if roads::words::run(&words)? {
        return Ok(());
    }
    let asked = asked()?;
    let scale = if asked.quick { QUICK } else { FULL };
    let folder = tempfile::tempdir().context("no temporary folder")?;
    let mut table = Table::new(if asked.quick { "quick" } else { "full" });
    let suites: [(&str, Suite); 6] = [
        ("append", append::run),
        ("roads", roads::suite::run),
        ("peers", roads::peers::run),
        ("growth", growth::run),
        ("offline", offline::run),
        ("search", search::run),
    ];
    for (name, suite) in suites {
        if asked.only.as_deref().is_none_or(|only| only.split(',').any(|one| one == name)) {
            eprintln!("bench: {name}");
            let folder = folder.path().join(name);
            std::fs::create_dir_all(&folder)?;
            suite(&folder, &scale, &mut table).with_context(|| format!("suite {name}"))?;
            // The next suite starts on the same free disk.
            std::fs::remove_dir_all(&folder)?;
        }
    }
    print!("{}", table.markdown());
    if let Some(file) = &asked.out {
        std::fs::write(file, table.json()?)?;
    }
    if let Some(file) = &asked.table {
        table.write_into(file)?;
    }
    Ok(())
}

fn asked() -> Result<Asked> {
    let mut asked = Asked::default();
    let mut words = std::env::args().skip(1);
    while let Some(word) = words.next() {
        match word.as_str() {
            "--quick" => asked.quick = true,
            "--only" => asked.only = Some(words.next().context(USAGE)?),
            "--out" => asked.out = Some(words.next().context(USAGE)?.into()),
            "--table" => asked.table = Some(words.next().context(USAGE)?.into()),
            _ => bail!(USAGE),
        }
    }
    Ok(asked)
}
