//! What the server answered, and whether its ledger says so too.

use remit_ledger::{Reader, Record};
use remit_model::json::sha256_label;
use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
    sync::Mutex,
};

/// Everything that an answer promised, by the name the ledger has for it.
#[derive(Debug, Default)]
pub(crate) struct Answered(Mutex<Told>);

#[derive(Debug, Default)]
struct Told {
    /// `jti` of tokens that were issued, each with the proof it was asked for with.
    tokens: BTreeMap<String, String>,
    /// Tokens whose revocation was answered.
    revoked: BTreeSet<String>,
    /// Records that answers named.
    records: BTreeSet<String>,
    /// JSON-RPC ids of tool calls that were answered as done.
    calls: BTreeSet<String>,
    /// Consents that were answered with a code.
    consents: usize,
    /// Answers by what they were, for the figures.
    figures: BTreeMap<String, u64>,
}

impl Answered {
    fn with<T>(&self, change: impl FnOnce(&mut Told) -> T) -> T {
        change(&mut self.0.lock().unwrap())
    }

    pub(crate) fn token(&self, jti: &str, proof: &str) {
        self.with(|told| {
            let earlier: Vec<&String> = told.tokens.iter().filter(|(_, used)| *used == proof).map(|(jti, _)| jti).collect();
            assert!(earlier.is_empty(), "one proof was accepted twice: for {earlier:?} and for {jti}");
            told.tokens.insert(jti.to_owned(), proof.to_owned());
        });
    }

    pub(crate) fn revoked(&self, jti: &str) {
        self.with(|told| told.revoked.insert(jti.to_owned()));
    }

    pub(crate) fn record(&self, id: &str) {
        self.with(|told| told.records.insert(id.to_owned()));
    }

    pub(crate) fn call(&self, id: &str) {
        self.with(|told| told.calls.insert(id.to_owned()));
    }

    pub(crate) fn consent(&self) {
        self.with(|told| told.consents += 1);
    }

    pub(crate) fn count(&self, what: &str) {
        self.with(|told| *told.figures.entry(what.to_owned()).or_default() += 1);
    }

    /// How often something was answered.
    pub(crate) fn counted(&self, what: &str) -> u64 {
        self.with(|told| told.figures.get(what).copied().unwrap_or_default())
    }

    /// Compares with the published ledger; what was answered and is not in it.
    pub(crate) fn missing(&self, ledger: &Path) -> Vec<String> {
        let written = Written::read(ledger);
        self.with(|told| {
            let hash = |jti: &String| sha256_label(jti.as_bytes());
            let token = |jti: &&String| !written.issued.contains(&hash(jti));
            let revoked = |jti: &&String| !written.revoked.contains(&hash(jti));
            let mut missing: Vec<String> = told.tokens.keys().filter(token).map(|jti| format!("token {jti}")).collect();
            missing.extend(told.revoked.iter().filter(revoked).map(|jti| format!("revocation of {jti}")));
            missing.extend(told.records.difference(&written.records).map(|id| format!("record {id}")));
            missing.extend(told.calls.difference(&written.calls).map(|id| format!("call {id}")));
            if told.consents > written.approvals {
                missing.push(format!("{} consents, but {} approvals", told.consents, written.approvals));
            }
            missing
        })
    }

    pub(crate) fn figures(&self) -> String {
        self.with(|told| {
            let figures: Vec<String> = told.figures.iter().map(|(what, times)| format!("{what} {times}")).collect();
            let (tokens, calls, records) = (told.tokens.len(), told.calls.len(), told.records.len());
            format!("{tokens} tokens, {calls} calls and {records} records answered; {}", figures.join(", "))
        })
    }
}

/// What a ledger holds of it.
#[derive(Default)]
struct Written {
    records: BTreeSet<String>,
    issued: BTreeSet<String>,
    revoked: BTreeSet<String>,
    calls: BTreeSet<String>,
    approvals: usize,
}

impl Written {
    fn read(ledger: &Path) -> Self {
        let reader = Reader::open(ledger).unwrap();
        let mut written = Self::default();
        for index in 0..reader.len() {
            written.add(&reader.record(index).unwrap());
        }
        written
    }

    fn add(&mut self, record: &Record) {
        self.records.insert(record.record_id().to_owned());
        self.approvals += usize::from(record.record_type() == "approval");
        if let Some(jti) = record.text("/ext/token/jti_hash") {
            let into = if record.text("/ext/token/revoked").is_some() { &mut self.revoked } else { &mut self.issued };
            into.insert(jti.to_owned());
        }
        // A call that had an effect is done once its outcome is recorded; one that only read, once it is recorded.
        if record.outcome() == "success"
            && record.record_type() != "intent"
            && let Some(id) = record.text("/mcp/request_id")
        {
            self.calls.insert(id.to_owned());
        }
    }
}
