//! One request under way: what it holds, and what it gives back when it ends.

use super::{connection::Connection, registry::Registry};
use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};
use tokio::time::Instant;

/// A request under way, from its head to the last byte of its answer.
pub(crate) struct Ticket {
    id: u64,
    connection: Arc<Connection>,
    registry: Arc<Registry>,
    fits: bool,
    /// Bytes of the body that are held.
    held: AtomicUsize,
}

impl Ticket {
    /// Counts the request in.
    pub(crate) fn new(connection: &Arc<Connection>, registry: &Arc<Registry>, reading: bool) -> Self {
        let (connection, registry) = (Arc::clone(connection), Arc::clone(registry));
        let (id, fits) = (connection.begin(reading), registry.begin());
        Self { id, fits, connection, registry, held: AtomicUsize::new(0) }
    }

    /// Whether there is room for it.
    pub(crate) fn fits(&self) -> bool {
        self.fits
    }

    pub(crate) fn body_came(&self) {
        self.connection.body_came(self.id);
    }

    /// Counts bytes of the body that are held from now on; whether they may be.
    pub(crate) fn hold(&self, bytes: usize) -> bool {
        self.held.fetch_add(bytes, Ordering::Relaxed);
        let (all, own) = (self.registry.hold(bytes), self.connection.hold(bytes));
        all && own
    }

    /// The body was read and worked on.
    pub(crate) fn release(&self) {
        let bytes = self.held.swap(0, Ordering::Relaxed);
        self.registry.release(bytes);
        self.connection.release(bytes);
    }

    pub(crate) fn sent(&self, at: Option<Instant>) {
        self.connection.sent(self.id, at);
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        self.release();
        self.connection.end(self.id, Instant::now());
        self.registry.end();
    }
}
