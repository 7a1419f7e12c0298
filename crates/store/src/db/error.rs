//! Database errors, in terms that no engine owns.

use std::{error::Error, fmt, sync::Arc};

/// What went wrong, as far as a caller acts on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum DbErrorKind {
    /// The disk, or the quota on it, is full.
    Full,
    /// Another connection holds a lock for too long.
    Busy,
    /// A row with this key exists already, or a row it refers to does not.
    Clash,
    /// The file is not what was written.
    Damaged,
    /// The system refused to read or write.
    Io,
    /// Anything else.
    Other,
}

/// A failed statement or connection.
#[derive(Clone)]
pub struct DbError {
    kind: DbErrorKind,
    source: Arc<dyn Error + Send + Sync>,
}

impl DbError {
    pub(crate) fn new(kind: DbErrorKind, source: impl Error + Send + Sync + 'static) -> Self {
        Self { kind, source: Arc::new(source) }
    }

    /// What went wrong.
    pub fn kind(&self) -> DbErrorKind {
        self.kind
    }

    /// Whether the disk is full.
    pub fn is_full(&self) -> bool {
        self.kind == DbErrorKind::Full
    }

    pub(crate) fn is_clash(&self) -> bool {
        self.kind == DbErrorKind::Clash
    }
}

impl PartialEq for DbError {
    fn eq(&self, other: &Self) -> bool {
        self.kind == other.kind && self.source.to_string() == other.source.to_string()
    }
}

impl Eq for DbError {}

impl fmt::Display for DbError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.source.fmt(f)
    }
}

impl fmt::Debug for DbError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "DbError({:?}: {})", self.kind, self.source)
    }
}

impl Error for DbError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.source.source()
    }
}
