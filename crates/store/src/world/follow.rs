//! Follows the world that another process writes.
//!
//! A follower reads the rows whose revision it has not seen, in their order, and folds them. When rows that it never saw are
//! gone without a trace (`min_revision`), it loads everything again. It serves no requests and writes nothing.

use super::{
    row::RowError,
    snapshot::{GRACE_SECONDS, Snapshot},
};
use crate::{
    batch::ReadError,
    db::sqlite::{DbReader, Source},
};
use arc_swap::ArcSwap;
use remit_model::{id::TenantId, time::UnixTime};
use std::{fmt, path::Path, sync::Arc};

/// A snapshot that is brought up to date from a database which another process writes.
pub struct Follower {
    reader: DbReader,
    snapshot: ArcSwap<Snapshot>,
}

/// What a look at the database brought.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Followed {
    /// Nothing new.
    UpToDate,
    /// So many rows were folded.
    Folded(usize),
    /// Too much was missed: everything was loaded again. What callers remember of people must be forgotten, because an
    /// erasure leaves no other trace.
    Reloaded,
}

impl Follower {
    /// Loads the world of a tenant from a data directory.
    ///
    /// # Errors
    /// The database cannot be read, or does not know the tenant.
    pub fn open(data_dir: &Path, tenant: TenantId) -> Result<Self, ReadError> {
        let reader = Source::at(data_dir, &tenant)?.reader()?;
        let follower = Self { reader, snapshot: ArcSwap::from_pointee(Snapshot::empty(tenant)) };
        follower.read(None, UnixTime(i64::MIN))?;
        Ok(follower)
    }

    /// What is true as of the last look.
    pub fn snapshot(&self) -> Arc<Snapshot> {
        self.snapshot.load_full()
    }

    /// Looks at the database and takes in what is new. Revocations that ended by `now` are forgotten as the writer forgets
    /// them: without a row that says so.
    ///
    /// # Errors
    /// The database cannot be read; the snapshot stays as it was.
    pub fn follow(&self, now: UnixTime) -> Result<Followed, ReadError> {
        let revision = self.snapshot.load().revision();
        self.read(Some(revision), now.plus(-GRACE_SECONDS))
    }

    fn read(&self, revision: Option<u64>, expired: UnixTime) -> Result<Followed, ReadError> {
        let (head, rows, all) = self.reader.world_since(revision)?;
        let before = self.snapshot.load_full();
        let mut next = if all { Snapshot::empty(before.tenant().clone()) } else { Snapshot::clone(&before) };
        let count = rows.len();
        for row in rows {
            next.fold(row).map_err(unreadable)?;
        }
        next.set_revision(head.revision);
        next.expire_before(expired);
        self.snapshot.store(Arc::new(next));
        Ok(match (all, count) {
            (true, _) => Followed::Reloaded,
            (false, 0) => Followed::UpToDate,
            (false, count) => Followed::Folded(count),
        })
    }
}

fn unreadable(error: RowError) -> ReadError {
    match error {
        RowError::Database(error) => ReadError::Database(error),
        error => ReadError::row("of the world", error),
    }
}

impl fmt::Debug for Follower {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Follower").field("snapshot", &self.snapshot.load()).finish_non_exhaustive()
    }
}
