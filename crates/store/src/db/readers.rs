//! A small pool of read connections, used off the async threads.

use super::{
    error::DbError,
    sqlite::{DbReader, Source},
};
use crate::batch::ReadError;
use std::sync::{Arc, Mutex, PoisonError};
use tokio::sync::Semaphore;

/// Connections open at most; a point read takes tens of microseconds, so few serve many.
const CONNECTIONS: usize = 4;

#[derive(Clone, Debug)]
pub(crate) struct Readers(Arc<Pool>);

#[derive(Debug)]
struct Pool {
    source: Source,
    idle: Mutex<Vec<DbReader>>,
    places: Semaphore,
}

impl Readers {
    pub(crate) fn new(source: Source) -> Self {
        Self(Arc::new(Pool { source, idle: Mutex::default(), places: Semaphore::new(CONNECTIONS) }))
    }

    /// Runs one read on a blocking thread.
    pub(crate) async fn read<T: Send + 'static>(
        &self,
        query: impl FnOnce(&DbReader) -> Result<T, ReadError> + Send + 'static,
    ) -> Result<T, ReadError> {
        let pool = self.0.clone();
        let _place = pool.places.acquire().await.map_err(|_| ReadError::Stopped)?;
        let worker = pool.clone();
        tokio::task::spawn_blocking(move || {
            let reader = worker.take()?;
            let result = query(&reader);
            if result.is_ok() {
                worker.give_back(reader);
            }
            result
        })
        .await
        .map_err(|_| ReadError::Stopped)?
    }
}

impl Pool {
    fn take(&self) -> Result<DbReader, DbError> {
        let idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner).pop();
        idle.map_or_else(|| self.source.reader(), Ok)
    }

    fn give_back(&self, reader: DbReader) {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner).push(reader);
    }
}
