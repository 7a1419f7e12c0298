//! The bundle in force, replaced while the server runs. A bad replacement leaves the last good one in force, and
//! says so.

use crate::{bundle::Bundle, error::PolicyError};
use arc_swap::ArcSwap;
use remit_model::time::UnixTime;
use serde::Serialize;
use std::sync::Arc;

/// The current bundle; reading it takes no lock.
#[derive(Debug)]
pub struct Live {
    state: ArcSwap<State>,
}

#[derive(Debug)]
struct State {
    bundle: Arc<Bundle>,
    status: Status,
}

/// How fresh the bundle in force is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Status {
    pub digest: String,
    pub policies: usize,
    pub loaded_at: UnixTime,
    /// Why the newest replacement was not taken; `None` when the newest one is in force.
    pub last_error: Option<Failure>,
}

/// A replacement that was refused.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Failure {
    pub at: UnixTime,
    pub errors: Vec<PolicyError>,
}

impl Status {
    /// Seconds the bundle has been in force.
    pub fn age(&self, now: UnixTime) -> i64 {
        now.since(self.loaded_at).max(0)
    }
}

impl Live {
    /// Puts a first bundle in force at `now`.
    pub fn new(bundle: Bundle, now: UnixTime) -> Self {
        Self { state: ArcSwap::from_pointee(State::fresh(bundle, now)) }
    }

    /// The bundle in force. A decision uses one bundle from beginning to end.
    pub fn current(&self) -> Arc<Bundle> {
        Arc::clone(&self.state.load().bundle)
    }

    /// What is in force, since when, and what was wrong with the last attempt to replace it.
    pub fn status(&self) -> Status {
        self.state.load().status.clone()
    }

    /// Puts a new bundle in force, or keeps the last good one. Returns whether the set of policies changed.
    pub fn replace(&self, loaded: Result<Bundle, Vec<PolicyError>>, now: UnixTime) -> bool {
        let before = self.state.load_full();
        let next = match loaded {
            Ok(bundle) if bundle.digest() == before.status.digest => {
                State { bundle: Arc::clone(&before.bundle), status: Status { last_error: None, ..before.status.clone() } }
            }
            Ok(bundle) => State::fresh(bundle, now),
            Err(errors) => State {
                bundle: Arc::clone(&before.bundle),
                status: Status { last_error: Some(Failure { at: now, errors }), ..before.status.clone() },
            },
        };
        let changed = next.status.digest != before.status.digest;
        self.state.store(Arc::new(next));
        changed
    }
}

impl State {
    fn fresh(bundle: Bundle, now: UnixTime) -> Self {
        let status = Status { digest: bundle.digest().to_owned(), policies: bundle.len(), loaded_at: now, last_error: None };
        Self { bundle: Arc::new(bundle), status }
    }
}
