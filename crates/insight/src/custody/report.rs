//! The report of the custody check.

use super::pinned::OutsideKey;
use remit_model::EdgeProof;
use remit_token::sign_in::Kind;
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
    /// First hops of people, by what proves them besides this server's own ID token. A root with a passkey's signature is counted
    /// in `signed_roots`, and here by its sign-in.
    pub people: BTreeMap<RootProof, u64>,
    /// The keys of other issuers that evidence rests on.
    pub keys: Vec<OutsideKey>,
    /// Decisions at a gateway whose token was traced to the record that issued it.
    pub uses: u64,
    /// Token records whose committed values are not with this copy.
    pub undisclosed: u64,
    /// One line for each record that fails.
    pub failures: Vec<Broken>,
    /// What a signature does not show, with the number of hops and roots it is true of.
    pub notes: BTreeMap<&'static str, u64>,
}

/// What proves the first hop of a person.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum RootProof {
    /// The ID token of the person's identity provider: they signed in for this request.
    Provider,
    /// The ID token of an earlier sign-in of theirs.
    EarlierSignIn,
    /// The token of a trusted issuer.
    Issuer,
    /// This server's statement alone.
    Server,
    /// The record states a sign-in, and its evidence is not with this copy.
    NotChecked,
}

impl From<Kind> for RootProof {
    fn from(kind: Kind) -> Self {
        match kind {
            Kind::Requested => Self::Provider,
            Kind::Earlier => Self::EarlierSignIn,
        }
    }
}

impl RootProof {
    /// In words, after a number of roots.
    fn words(self) -> &'static str {
        match self {
            Self::Provider => "proved by the person's identity provider, for what was asked",
            Self::EarlierSignIn => {
                "of a person who had signed in at their identity provider for something else (signed in, not asked)"
            }
            Self::Issuer => "proved by a token of a trusted issuer",
            Self::Server => "of a person by this server's statement alone",
            Self::NotChecked => "with a sign-in at an identity provider that was not checked: it is withheld",
        }
    }
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

    pub(super) fn root(&mut self, proof: RootProof) {
        *self.people.entry(proof).or_default() += 1;
    }

    /// By what the roots of people are proved, and by which keys of others: one line each.
    pub fn root_lines(&self) -> Vec<String> {
        let signed = (self.signed_roots > 0).then(|| format!("roots {} signed with the person's passkey", self.signed_roots));
        let people = self.people.iter().map(|(proof, count)| format!("roots {count} {}", proof.words()));
        let key = |key: &OutsideKey| {
            let pinned = match key.pinned {
                None => "not compared: give the issuer's keys with --pinned-keys",
                Some(true) => "as pinned",
                Some(false) => "NOT PINNED",
            };
            format!("key   {} of {} in {} records, {pinned}", key.thumbprint, key.issuer, key.records)
        };
        signed.into_iter().chain(people).chain(self.keys.iter().map(key)).collect()
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
