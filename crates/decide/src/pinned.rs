//! Which policy sets the ledger has, so that each is handed to it once and every decision can be replayed.
//!
//! SPEC: CE-04. A replay needs the policies and the schema of a decision, by digest. INVARIANT: no record names a policy
//! set that is not in the ledger: the bytes go into the same batch as the first record that names them.

use remit_policy::Bundle;
use remit_store::{Batch, Change};
use std::{
    collections::HashSet,
    sync::{Mutex, PoisonError},
};

/// The policy sets that this process knows to be in the ledger.
#[derive(Debug, Default)]
pub struct Pinned(Mutex<HashSet<String>>);

impl Pinned {
    /// Adds the policies and their schema to a batch, unless the ledger has them.
    pub fn pin(&self, bundle: &Bundle, batch: Batch) -> Batch {
        let known = self.0.lock().unwrap_or_else(PoisonError::into_inner).contains(bundle.digest());
        if known {
            return batch;
        }
        batch.change(Change::PutObject(bundle.pinned())).change(Change::PutObject(bundle.schema().as_bytes().to_vec()))
    }

    /// Remembers that a batch with this policy set was committed.
    pub fn kept(&self, digest: &str) {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if !kept.contains(digest) {
            kept.insert(digest.to_owned());
        }
    }
}
