//! Calls that wait in the middle: an upstream of the older era asked something, and the stateless client has to come back
//! with the answer.
//!
//! SPEC: MCP 2026-07-28 "Multi round-trip requests"; MG-10. A waiting call holds the upstream's open exchange, so it lives in this
//! process only. The map is bounded by owner, in number and in time; each question is bounded in bytes (`question.rs`). What the
//! client carries is `request_state.rs`: it names the waiting call and is bound to the caller and the arguments.

use crate::{
    mcp::{
        mcp_call::McpCall,
        owner::Owner,
        request_state,
        upstream::link::{Exchange, Link},
    },
    road::{identify, identify::Caller},
    settings::Settings,
};
use remit_clock::Entropy;
use remit_model::{
    refusal::{Code, Refusal},
    time::UnixTime,
};
use remit_store::Snapshot;
use serde_json::{Value, json};
use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

/// Most waiting calls of one owner, and of all.
const OWNER_LIMIT: usize = 16;
const LIMIT: usize = 512;
/// The name of the question in `inputRequests`; a session's upstream is asked one at a time.
const KEY: &str = "question";

/// A call that waits for the client's answer. Dropping it cancels the upstream's request.
#[derive(Debug)]
pub(crate) struct SuspendedCall {
    pub(crate) link: Arc<Link>,
    pub(crate) exchange: Exchange,
    /// The call's id in the ledger, from its first round.
    pub(crate) call: String,
    /// The upstream's own id of its question.
    pub(crate) question_id: Value,
    /// The question as the client is asked it.
    pub(crate) question: Value,
}

impl SuspendedCall {
    /// What the client is answered, apart from the state.
    pub(crate) fn input_required(&self) -> Value {
        json!({"resultType": "input_required", "inputRequests": {KEY: self.question}})
    }
}

/// The client's answer, if its retry brings one.
pub(crate) fn answer(retry: &McpCall) -> Option<Value> {
    retry.request.params.get("inputResponses")?.get(KEY).filter(|answer| answer.is_object()).cloned()
}

/// The waiting calls of the process.
#[derive(Debug, Default)]
pub(crate) struct SuspendedCalls {
    map: Mutex<HashMap<String, Entry>>,
    next: AtomicU64,
}

#[derive(Debug)]
struct Entry {
    call: SuspendedCall,
    caller: Caller,
    owner: Owner,
    expires: UnixTime,
    /// Later calls have higher ones.
    number: u64,
}

impl SuspendedCalls {
    /// Whether one more call of this caller may wait.
    pub(crate) fn has_room(&self, caller: &Caller) -> bool {
        let map = self.lock();
        let owner = Owner::of(caller);
        map.len() < LIMIT || map.values().any(|entry| entry.owner == owner)
    }

    /// Lets a call wait; an owner with too many loses its oldest. Returns the name by which it is found again.
    pub(crate) fn put(&self, call: SuspendedCall, caller: &Caller, now: UnixTime, entropy: &Entropy) -> String {
        let id = entropy.token(16);
        let owner = Owner::of(caller);
        let expires = now.plus(request_state::LIFETIME_SECS);
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        let entry = Entry { call, caller: caller.clone(), owner: owner.clone(), expires, number };
        let mut map = self.lock();
        let own: Vec<_> =
            map.iter().filter(|(_, entry)| entry.owner == owner).map(|(id, entry)| (entry.number, id.clone())).collect();
        let full = own.len() >= OWNER_LIMIT || map.len() >= LIMIT;
        let oldest = own.iter().min().filter(|_| full).and_then(|(_, oldest)| map.remove(oldest));
        map.insert(id.clone(), entry);
        drop(map);
        drop(oldest);
        id
    }

    /// Takes a waiting call out.
    ///
    /// # Errors
    /// `upstream_unavailable` when it does not wait any more.
    pub(crate) fn take(&self, id: &str, caller: &Caller, now: UnixTime) -> Result<SuspendedCall, Refusal> {
        let found = self.lock().remove(id);
        // INVARIANT: the state that named it was bound to the owner already.
        let found = found.filter(|entry| now < entry.expires && entry.owner == Owner::of(caller));
        found.map(|entry| entry.call).ok_or_else(|| {
            Refusal::new(Code::UpstreamUnavailable, "the call that asked for this input has ended; call the tool again")
        })
    }

    /// Gives up calls that waited too long or whose caller may not act any more.
    pub(crate) fn sweep(&self, settings: &Settings, snapshot: &Snapshot, now: UnixTime) {
        let over = |entry: &Entry| now >= entry.expires || identify::recheck(&entry.caller, settings, snapshot).is_err();
        let given_up: Vec<Entry> = {
            let mut map = self.lock();
            let ids: Vec<String> = map.iter().filter(|(_, entry)| over(entry)).map(|(id, _)| id.clone()).collect();
            ids.iter().filter_map(|id| map.remove(id)).collect()
        };
        if !given_up.is_empty() {
            tracing::info!(count = given_up.len(), "calls that waited for a client's input were given up");
        }
    }

    /// Gives up all of them, for a stop.
    pub(crate) fn clear(&self) {
        let all = std::mem::take(&mut *self.lock());
        drop(all);
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, Entry>> {
        self.map.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
