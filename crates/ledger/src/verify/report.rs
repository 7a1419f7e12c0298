//! The report of a verification: checks, failures, remarks and evidence.

use crate::hash::Hash;
use serde::Serialize;
use std::{collections::BTreeMap, fmt};

/// Lines kept for one kind of failing check; the rest are counted.
const LINES_LIMIT: usize = 100;

/// One line: a check that holds for the whole log, or a failure at one record.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Check {
    pub name: &'static str,
    pub ok: bool,
    pub detail: String,
    /// The record it failed at.
    pub index: Option<u64>,
}

/// The outcome of a verification.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Report {
    /// One passing line for each check that holds throughout, one line for each failure.
    pub checks: Vec<Check>,
    /// Records read.
    pub records: u64,
    /// Entries the checkpoint covers.
    pub size: u64,
    /// Root recomputed from the entries; `None` when not all could be read.
    pub root: Option<Hash>,
    /// Whether the checkpoint was checked under a key the caller brought. If not, the log was only compared with itself.
    pub independent: bool,
    /// Indices of intents without an effect: their outcome is unknown. Not a failure.
    pub unknown_outcomes: Vec<u64>,
    /// Records whose side values are not with this copy.
    pub undisclosed: u64,
    /// Signed heads of this log that exclude each other: their signer showed two histories.
    pub evidence: Vec<String>,
    /// Things worth knowing that are no failure (a wall clock set back).
    pub notes: Vec<String>,
    #[serde(skip)]
    passed: BTreeMap<&'static str, String>,
    #[serde(skip)]
    failed: BTreeMap<&'static str, usize>,
}

impl Report {
    /// Whether every check held.
    pub fn ok(&self) -> bool {
        self.checks.iter().all(|check| check.ok)
    }

    /// The failing lines.
    pub fn failures(&self) -> impl Iterator<Item = &Check> {
        self.checks.iter().filter(|check| !check.ok)
    }

    pub(super) fn pass(&mut self, name: &'static str) {
        self.passed.insert(name, "holds".to_owned());
    }

    pub(super) fn pass_with(&mut self, name: &'static str, detail: String) {
        self.passed.insert(name, detail);
    }

    pub(super) fn fail(&mut self, name: &'static str, index: Option<u64>, detail: impl fmt::Display) {
        let count = self.failed.entry(name).or_default();
        *count += 1;
        if *count <= LINES_LIMIT {
            self.checks.push(Check { name, ok: false, detail: detail.to_string(), index });
        }
    }

    pub(super) fn note(&mut self, note: String) {
        if self.notes.len() < LINES_LIMIT {
            self.notes.push(note);
        }
    }

    /// Adds the lines of the checks that never failed, and how many failures were not listed.
    pub(super) fn close(&mut self) {
        for (&name, &count) in &self.failed {
            if count > LINES_LIMIT {
                let detail = format!("and {} more", count - LINES_LIMIT);
                self.checks.push(Check { name, ok: false, detail, index: None });
            }
        }
        let held = self.passed.iter().filter(|(name, _)| !self.failed.contains_key(*name));
        let held: Vec<Check> =
            held.map(|(&name, detail)| Check { name, ok: true, detail: detail.clone(), index: None }).collect();
        self.checks.splice(0..0, held);
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for check in &self.checks {
            let mark = if check.ok { "ok  " } else { "FAIL" };
            match check.index {
                Some(index) => writeln!(f, "{mark} {} record {index}: {}", check.name, check.detail)?,
                None => writeln!(f, "{mark} {}: {}", check.name, check.detail)?,
            }
        }
        if !self.independent {
            writeln!(f, "note not independent: no verifier key was given, so the log was only checked against itself")?;
        }
        for note in &self.notes {
            writeln!(f, "note {note}")?;
        }
        Ok(())
    }
}
