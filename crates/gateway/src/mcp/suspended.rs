//! Calls that wait in the middle: an upstream of the older era asked something, and the stateless client has to come back
//! with the answer.
//!
//! SPEC: MCP 2026-07-28 "Multi round-trip requests"; MG-10. A waiting call holds the upstream's open exchange, so it lives in this
//! process only and keeps the link to the upstream in use. The map is bounded by acting party, in number and in time; each question is bounded in bytes (`question.rs`). What the
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
    Principal,
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

/// Most waiting calls of one acting party, over all of its keys and chains.
const HOLDER_LIMIT: usize = 16;
/// Most of all of them. Each keeps a link in use, so it is never more than half of the links to one upstream either.
const LIMIT: usize = 128;
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

impl Entry {
    fn waits_for(&self, caller: &Caller, now: UnixTime) -> bool {
        now < self.expires && self.owner == Owner::of(caller)
    }
}

/// Where one more waiting call goes.
#[derive(Debug, PartialEq)]
enum Room {
    Free,
    /// In place of the oldest waiting call of the same party, of this name.
    InPlaceOf(String),
    None,
}

/// The name, the acting party and the number of a waiting call.
type Held<'a> = (&'a str, &'a Principal, u64);

fn held(map: &HashMap<String, Entry>) -> Vec<Held<'_>> {
    map.iter().map(|(id, entry)| (id.as_str(), entry.caller.token.holder(), entry.number)).collect()
}

/// Most waiting calls, where an upstream has this many links at most.
fn limit(links: usize) -> usize {
    LIMIT.min(links / 2)
}

fn room(held: &[Held<'_>], holder: &Principal, limit: usize) -> Room {
    let own = || held.iter().filter(|(_, of, _)| *of == holder);
    if own().count() < HOLDER_LIMIT && held.len() < limit {
        return Room::Free;
    }
    let oldest = own().min_by_key(|(.., number)| *number);
    oldest.map_or(Room::None, |(id, ..)| Room::InPlaceOf((*id).to_owned()))
}

fn ended() -> Refusal {
    Refusal::new(Code::UpstreamUnavailable, "the call that asked for this input has ended; call the tool again")
}

impl SuspendedCalls {
    /// Whether one more call of this caller may wait. `links` is the most links to one upstream.
    pub(crate) fn has_room(&self, caller: &Caller, links: usize) -> bool {
        room(&held(&self.lock()), caller.token.holder(), limit(links)) != Room::None
    }

    /// Lets a call wait; an acting party with too many loses its oldest. Returns the name by which it is found again.
    ///
    /// # Errors
    /// `rate_limited` when there is no room, and none of the party's own calls to give up for it.
    pub(crate) fn put(
        &self,
        call: SuspendedCall,
        caller: &Caller,
        links: usize,
        now: UnixTime,
        entropy: &Entropy,
    ) -> Result<String, Refusal> {
        let id = entropy.token(16);
        let expires = now.plus(request_state::LIFETIME_SECS);
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        let entry = Entry { call, caller: caller.clone(), owner: Owner::of(caller), expires, number };
        let mut map = self.lock();
        // Other calls may have begun to wait since `has_room` was asked.
        let room = room(&held(&map), caller.token.holder(), limit(links));
        let oldest = match room {
            Room::Free => None,
            Room::InPlaceOf(oldest) => map.remove(&oldest),
            Room::None => return Err(Refusal::new(Code::RateLimited, "too many calls wait for input; try again later")),
        };
        map.insert(id.clone(), entry);
        drop(map);
        drop(oldest);
        Ok(id)
    }

    /// Takes a waiting call out.
    ///
    /// # Errors
    /// `upstream_unavailable` when it does not wait any more.
    pub(crate) fn take(&self, id: &str, caller: &Caller, now: UnixTime) -> Result<SuspendedCall, Refusal> {
        let mut map = self.lock();
        // INVARIANT: the state that named it was bound to the owner already.
        let found = map.get(id).is_some_and(|entry| entry.waits_for(caller, now)).then(|| map.remove(id)).flatten();
        drop(map);
        found.map(|entry| entry.call).ok_or_else(ended)
    }

    /// What a waiting call asked its client, apart from the state. The call waits on, for as long as it would have.
    ///
    /// # Errors
    /// `upstream_unavailable` when it does not wait any more.
    pub(crate) fn asked(&self, id: &str, caller: &Caller, now: UnixTime) -> Result<Value, Refusal> {
        let map = self.lock();
        let found = map.get(id).filter(|entry| entry.waits_for(caller, now));
        found.map(|entry| entry.call.input_required()).ok_or_else(ended)
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_map_takes_no_call_of_a_party_that_has_none_to_give_up() {
        let [planner, helper] = ["agent:planner", "agent:helper"].map(|sub| Principal::local("https://remit.example", sub));
        let held = [("b", &planner, 2), ("a", &planner, 1)];
        assert_eq!(room(&held, &helper, 3), Room::Free);
        assert_eq!(room(&held, &helper, 2), Room::None);
        assert_eq!(room(&held, &planner, 2), Room::InPlaceOf("a".into()));
        assert_eq!(room(&[], &planner, limit(1)), Room::None);
        let own: Vec<_> = (0..16).map(|number| ("x", &planner, number)).collect();
        assert_eq!(room(&own, &planner, 128), Room::InPlaceOf("x".into()));
        assert_eq!(room(&own, &helper, 128), Room::Free);
    }

    #[test]
    fn waiting_calls_never_take_more_than_half_of_the_links() {
        assert_eq!([0, 1, 8, 256, 10_000].map(limit), [0, 0, 4, 128, 128]);
    }
}
