//! Tokens as they were issued or read a short while ago, so that a token that is used does not cost a read each time.
//!
//! A row of `tokens` never changes: it is there from the commit that issued it until an erasure takes it or, well after its
//! expiry, the sweep does. An erasure empties this memory before it is answered, and what a read began before that is not
//! kept. Standing is no part of a row: whoever asks looks at the snapshot for revocations, as with a row just read.

use crate::batch::StoredToken;
use std::{
    collections::HashMap,
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

/// Tokens and hops of chains kept in each of two generations; at a few kilobytes for each this is some ten megabytes.
const ROOM: usize = 8_192;

#[derive(Default)]
pub(crate) struct Recent(Mutex<State>);

#[derive(Default)]
struct State {
    /// Grows whenever something was forgotten on purpose.
    epoch: u64,
    current: Generation,
    previous: Generation,
}

#[derive(Default)]
struct Generation {
    tokens: HashMap<String, Arc<StoredToken>>,
    weight: usize,
}

/// When a look began: what was read since may be kept only if nothing was forgotten meanwhile.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Since(u64);

impl Recent {
    pub(crate) fn since(&self) -> Since {
        Since(self.state().epoch)
    }

    pub(crate) fn get(&self, jti: &str) -> Option<Arc<StoredToken>> {
        let mut state = self.state();
        if let Some(token) = state.current.tokens.get(jti) {
            return Some(Arc::clone(token));
        }
        let token = state.previous.tokens.remove(jti)?;
        state.put(Arc::clone(&token));
        Some(token)
    }

    pub(crate) fn put(&self, since: Since, token: Arc<StoredToken>) {
        let mut state = self.state();
        if state.epoch == since.0 {
            state.put(token);
        }
    }

    /// Forgets everything, and everything that is being read at this moment.
    pub(crate) fn forget(&self) {
        let mut state = self.state();
        *state = State { epoch: state.epoch.wrapping_add(1), ..State::default() };
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn put(&mut self, token: Arc<StoredToken>) {
        if self.current.weight >= ROOM {
            self.previous = std::mem::take(&mut self.current);
        }
        self.current.weight = self.current.weight.saturating_add(1 + token.chain.hops.len());
        self.current.tokens.insert(token.jti.clone(), token);
    }
}

// Tokens name people; only their number is shown.
impl fmt::Debug for Recent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = self.state();
        f.debug_struct("Recent").field("tokens", &(state.current.tokens.len() + state.previous.tokens.len())).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use remit_model::{Authority, Chain, Principal, UnixTime};

    fn token(jti: String) -> Arc<StoredToken> {
        let chain = Chain::new("txn".to_owned(), Principal::human("https://as.example", "alice"));
        let (client, jkt, audience) = (String::new(), String::new(), String::new());
        let (issued, expires) = (UnixTime(0), UnixTime(60));
        let authority = Authority::none();
        Arc::new(StoredToken { jti, chain, authority, parent: None, client, jkt, audience, issued, expires, family: None })
    }

    #[test]
    fn what_was_read_before_everything_was_forgotten_is_not_kept() {
        let recent = Recent::default();
        let before = recent.since();
        recent.put(before, token("a".to_owned()));
        assert!(recent.get("a").is_some());
        recent.forget();
        recent.put(before, token("a".to_owned()));
        assert!(recent.get("a").is_none(), "neither kept, nor put back by a read that began before");
        recent.put(recent.since(), token("a".to_owned()));
        assert!(recent.get("a").is_some());
    }

    #[test]
    fn a_flood_stays_bounded_and_what_is_used_stays() {
        let recent = Recent::default();
        for n in 0..10 * ROOM {
            recent.put(recent.since(), token(format!("{n}")));
            if n % 1_000 == 0 {
                assert!(recent.get("0").is_some(), "after {n}");
            }
        }
        let state = recent.state();
        assert!(state.current.tokens.len() + state.previous.tokens.len() <= 2 * ROOM + 2);
    }
}
