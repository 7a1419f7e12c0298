//! The report of the custody check.

use remit_model::EdgeProof;
use serde::Serialize;
use std::{collections::BTreeMap, fmt};

/// The outcome of a custody check.
#[derive(Clone, Debug, Default, Serialize)]
pub struct CustodyReport {
    /// Different chains that tokens were issued for.
    pub chains: usize,
    /// Records that issued a token.
    pub tokens: u64,
    /// Hops whose signature by the delegator was checked.
    pub hops: u64,
    /// The same by the kind of proof.
    pub proofs: BTreeMap<&'static str, u64>,
    /// Agents on their own account whose assertion was checked.
    pub roots: u64,
    /// First hops whose person signed with a passkey what was delegated, checked.
    pub signed_roots: u64,
    /// Decisions at a gateway whose token was traced to the record that issued it.
    pub uses: u64,
    /// Token records whose committed values are not with this copy.
    pub undisclosed: u64,
    /// One line for each record that fails.
    pub failures: Vec<Broken>,
    /// What a signature does not show, with the number of hops and roots it is true of.
    pub notes: BTreeMap<&'static str, u64>,
}

/// A record whose custody does not hold.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Broken {
    pub index: u64,
    pub detail: String,
}

impl CustodyReport {
    /// Whether every link that could be checked holds.
    pub fn ok(&self) -> bool {
        self.failures.is_empty()
    }

    pub(super) fn fail(&mut self, index: u64, detail: String) {
        self.failures.push(Broken { index, detail });
    }

    pub(super) fn hop(&mut self, edge: &EdgeProof, note: Option<&'static str>) {
        self.hops += 1;
        *self.proofs.entry(edge.kind()).or_default() += 1;
        if let Some(note) = note {
            self.note(note);
        }
    }

    pub(super) fn note(&mut self, note: &'static str) {
        *self.notes.entry(note).or_default() += 1;
    }
}

impl fmt::Display for CustodyReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mark = if self.ok() { "ok  " } else { "FAIL" };
        write!(
            f,
            "{mark} custody: {} hops signed by their delegators, {} tokens, {} uses traced",
            self.hops, self.tokens, self.uses
        )?;
        if self.signed_roots > 0 {
            write!(f, ", {} roots signed with a passkey", self.signed_roots)?;
        }
        if self.undisclosed > 0 {
            write!(f, ", {} undisclosed", self.undisclosed)?;
        }
        writeln!(f)?;
        for failure in &self.failures {
            writeln!(f, "FAIL custody record {}: {}", failure.index, failure.detail)?;
        }
        self.notes.iter().try_for_each(|(note, count)| writeln!(f, "note {note} ({count} hops)"))
    }
}
