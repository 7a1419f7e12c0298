//! One batch of a group, weighed against everything before it: what it would change, and what it would write.
//!
//! Nothing here touches the base. A batch that is refused half-way is dropped, and nothing has to be undone.

use crate::{
    batch::{ApplyError, JtiKind, KeyedHash, StoredCode, StoredProviderSession, StoredRefresh, StoredToken},
    db::group::{BudgetFact, CodeFact, Facts, FamilyFact, RefreshFact, WriteSet},
    world::{
        row::{Kind, Row, RowError},
        snapshot::Snapshot,
    },
};
use remit_model::time::UnixTime;
use std::sync::Arc;

/// What is true before a batch: the world, and the facts its group asked for, with every admitted batch taken in.
#[derive(Debug)]
pub(crate) struct Base {
    pub(crate) snapshot: Snapshot,
    pub(crate) facts: Facts,
}

/// A batch on the scales.
#[derive(Debug)]
pub(crate) struct Weighing<'b, 'a> {
    base: &'b Base,
    pub(super) now: UnixTime,
    /// What this batch changes of the facts; it hides those of the base.
    facts: Facts,
    /// The world with this batch's rows, once it has any.
    snapshot: Option<Snapshot>,
    pub(super) writes: WriteSet,
    pub(super) private: Vec<Private<'a>>,
    /// An account went without a tombstone: snapshots before this batch cannot follow.
    untraced: bool,
}

/// A row that names a person, before it is sealed under their key.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Private<'a> {
    Code(&'a StoredCode),
    /// The first refresh token of a family, or one of a later generation.
    Refresh(&'a StoredRefresh, u64),
    Token(&'a StoredToken),
    ProviderSession(&'a StoredProviderSession),
    /// Nothing is kept of this person any more.
    NoProviderSession(&'a str),
}

/// What a batch that passed changes.
#[derive(Debug)]
pub(crate) struct Outcome {
    facts: Facts,
    snapshot: Option<Snapshot>,
    pub(crate) writes: WriteSet,
}

impl<'b> Weighing<'b, '_> {
    pub(crate) fn new(base: &'b Base, now: UnixTime) -> Self {
        Self {
            base,
            now,
            facts: Facts::default(),
            snapshot: None,
            writes: WriteSet::default(),
            private: Vec::new(),
            untraced: false,
        }
    }

    /// The world as this batch leaves it.
    pub(crate) fn snapshot(&self) -> &Snapshot {
        self.snapshot.as_ref().unwrap_or(&self.base.snapshot)
    }

    /// The revision of this batch's rows: one more than before it.
    fn revision(&self) -> u64 {
        self.base.snapshot.revision().saturating_add(1)
    }

    /// Changes the world. The row is what the commit writes and what every snapshot folds.
    pub(super) fn put(&mut self, kind: Kind, key: &str, body: Option<&str>, until: Option<UnixTime>) -> Result<(), ApplyError> {
        let row = Row { kind, key: Arc::from(key), body: body.map(Arc::from), revision: self.revision(), until };
        let world = self.snapshot.get_or_insert_with(|| self.base.snapshot.clone());
        world.fold(row.clone()).map_err(|error| refused_row(&error))?;
        self.writes.world.push(row);
        Ok(())
    }

    /// Takes out an account without a tombstone, which would name its person.
    pub(super) fn forget_human(&mut self, name: &str) {
        self.leave_no_trace().forget_human(name);
        self.writes.forgotten.push(Arc::from(name));
    }

    /// Makes followers load everything again, and forget what they remember of people.
    pub(super) fn leave_no_trace(&mut self) -> &mut Snapshot {
        let revision = self.revision();
        self.untraced = true;
        let world = self.snapshot.get_or_insert_with(|| self.base.snapshot.clone());
        world.set_revision(revision);
        world
    }

    pub(super) fn knows_once(&self, kind: JtiKind, key: &str) -> bool {
        let known = |facts: &Facts| !facts.once.is_empty() && facts.once.contains(&(kind, key.to_owned()));
        known(&self.facts) || known(&self.base.facts)
    }

    pub(super) fn remember_once(&mut self, kind: JtiKind, key: &str, until: UnixTime) {
        self.facts.once.insert((kind, key.to_owned()));
        self.writes.once.push((kind, key.to_owned(), until));
    }

    pub(super) fn budget(&self, key: &str) -> BudgetFact {
        let known = self.facts.budgets.get(key).or_else(|| self.base.facts.budgets.get(key));
        // One that was never counted is forgotten when its first count says so.
        known.copied().unwrap_or(BudgetFact { spent: 0, until: Some(UnixTime(i64::MIN)) })
    }

    pub(super) fn put_budget(&mut self, key: &str, budget: BudgetFact) {
        self.facts.budgets.insert(key.to_owned(), budget);
        self.writes.budgets.insert(key.to_owned(), budget);
    }

    pub(super) fn code(&self, hash: &KeyedHash) -> Option<CodeFact> {
        self.facts.codes.get(hash).or_else(|| self.base.facts.codes.get(hash)).copied()
    }

    pub(super) fn put_code(&mut self, hash: KeyedHash, code: CodeFact) {
        self.facts.codes.insert(hash, code);
    }

    pub(super) fn refresh(&self, hash: &KeyedHash) -> Option<&RefreshFact> {
        self.facts.refresh.get(hash).or_else(|| self.base.facts.refresh.get(hash))
    }

    pub(super) fn put_refresh(&mut self, hash: KeyedHash, token: RefreshFact) {
        self.facts.refresh.insert(hash, token);
    }

    pub(super) fn family(&self, name: &str) -> Option<FamilyFact> {
        self.facts.families.get(name).or_else(|| self.base.facts.families.get(name)).copied()
    }

    pub(super) fn put_family(&mut self, name: &str, family: FamilyFact) {
        self.facts.families.insert(name.to_owned(), family);
    }

    pub(super) fn knows_token(&self, jti: &str) -> bool {
        self.facts.tokens.contains(jti) || self.base.facts.tokens.contains(jti)
    }

    pub(super) fn put_token(&mut self, jti: &str) {
        self.facts.tokens.insert(jti.to_owned());
    }

    /// Live chains that begin with a subject, and when the last token of each expires.
    pub(super) fn chains(&self, subject: &str) -> Vec<(String, UnixTime)> {
        self.base.facts.chains.get(subject).cloned().unwrap_or_default()
    }

    /// What the batch changes, once nothing can refuse it any more.
    pub(crate) fn finish(mut self) -> Outcome {
        if let Some(world) = &self.snapshot {
            let revision = world.revision();
            self.writes.head = Some((revision, if self.untraced { revision } else { 0 }));
        }
        Outcome { facts: self.facts, snapshot: self.snapshot, writes: self.writes }
    }
}

impl Base {
    /// Takes in what an admitted batch changes; later batches see it. Gives back what it writes.
    pub(crate) fn take(&mut self, outcome: Outcome) -> WriteSet {
        let Outcome { facts, snapshot, writes } = outcome;
        if let Some(world) = snapshot {
            self.snapshot = world;
        }
        self.facts.codes.extend(facts.codes);
        self.facts.refresh.extend(facts.refresh);
        self.facts.families.extend(facts.families);
        self.facts.budgets.extend(facts.budgets);
        self.facts.once.extend(facts.once);
        self.facts.tokens.extend(facts.tokens);
        writes
    }
}

/// A row that would not be taken back in is a batch that cannot be.
pub(super) fn refused_row(error: &RowError) -> ApplyError {
    ApplyError::Invalid(error.to_string())
}
