//! Binds an upstream's `requestState`, or the name of a call that waits for input, to the caller, the chain, the method and the
//! exact arguments it was given for.
//!
//! SPEC: MG-10, N-MG-08: the client carries the state, so it may change it, swap it, keep it or hand it on. Ours is an
//! HMAC under a key of this process, ends after some minutes, and is good for one continuation.

use crate::{
    mcp::{mcp_call::McpCall, owner::Owner},
    road::act::Act,
};
use aws_lc_rs::hmac;
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use remit_clock::Entropy;
use remit_model::{
    Principal, json,
    refusal::{Code, Refusal},
    time::UnixTime,
};
use serde_json::{Value, json as js};
use std::{
    collections::HashMap,
    fmt,
    sync::{Mutex, PoisonError},
};

/// How long a client may take to come back.
pub(crate) const LIFETIME_SECS: i64 = 600;
/// Used states remembered; more at once are refused.
const CAPACITY: usize = 100_000;
/// Those of one acting party, so that one alone does not fill the memory.
const SHARE: usize = 1_000;
/// Longest state taken back, in bytes.
const STATE_LIMIT: usize = 256 * 1024;

/// Seals the upstream's states for the client, and opens them when they come back.
pub(crate) struct RequestState {
    key: hmac::Key,
    /// The nonces of used states by acting party, with their ends.
    used: Mutex<HashMap<Principal, HashMap<String, UnixTime>>>,
}

impl fmt::Debug for RequestState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("RequestState(..)")
    }
}

/// What a retry brings back from the upstream's own state; `None` for a first request.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum ReturnedState {
    First,
    /// The upstream gave no state of its own.
    Bare,
    Upstream(Value),
    /// A call waits for the answer under this name (`suspended.rs`).
    Suspended(String),
}

impl ReturnedState {
    /// Whether the request goes on with an earlier one.
    pub(crate) fn is_retry(&self) -> bool {
        *self != Self::First
    }
}

/// What a sealed state stands for.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Sealed<'a> {
    /// The state of the upstream, if it gave one.
    Upstream(Option<&'a Value>),
    /// The name of a waiting call.
    Suspended(&'a str),
}

impl RequestState {
    pub(crate) fn new(secret: &[u8; 32]) -> Self {
        Self { key: hmac::Key::new(hmac::HMAC_SHA256, secret), used: Mutex::default() }
    }

    pub(crate) fn seal(&self, call: &McpCall, act: &Act, state: Sealed<'_>, now: UnixTime, entropy: &Entropy) -> String {
        let (upstream, waiting) = match state {
            Sealed::Upstream(state) => (state, None),
            Sealed::Suspended(name) => (None, Some(name)),
        };
        let payload = js!({"s": upstream, "w": waiting, "e": now.plus(LIFETIME_SECS), "n": entropy.token(16)}).to_string();
        let tag = hmac::sign(&self.key, &message(call, act, &payload));
        format!("{}.{}", URL_SAFE_NO_PAD.encode(&payload), URL_SAFE_NO_PAD.encode(tag))
    }

    /// Opens the state of a retry.
    ///
    /// # Errors
    /// `request_malformed`: not ours, changed, for something else, too old, or used before. `rate_limited`: too many were used.
    pub(crate) fn open(&self, call: &McpCall, act: &Act, now: UnixTime) -> Result<ReturnedState, Refusal> {
        let params = &call.request.params;
        let sealed = match (params.get("requestState"), params.contains_key("inputResponses")) {
            (None, false) => return Ok(ReturnedState::First),
            (Some(Value::String(sealed)), _) if sealed.len() <= STATE_LIMIT => sealed,
            _ => return Err(refused("a retry must carry the `requestState` it was given")),
        };
        let payload =
            self.payload(call, act, sealed).ok_or_else(|| refused("the `requestState` was not given for this request"))?;
        let expires = payload.get("e").and_then(Value::as_i64).map(UnixTime).filter(|expires| now < *expires);
        let (Some(expires), Some(nonce)) = (expires, payload.get("n").and_then(Value::as_str)) else {
            return Err(refused("the `requestState` is too old"));
        };
        if let Some(name) = payload.get("w").and_then(Value::as_str) {
            // Nothing to remember: the name is gone once its call goes on.
            return Ok(ReturnedState::Suspended(name.to_owned()));
        }
        self.use_up(call.caller.token.holder(), nonce, expires, now)?;
        Ok(match payload.get("s") {
            None | Some(Value::Null) => ReturnedState::Bare,
            Some(state) => ReturnedState::Upstream(state.clone()),
        })
    }

    fn payload(&self, call: &McpCall, act: &Act, sealed: &str) -> Option<Value> {
        let (payload, tag) = sealed.split_once('.')?;
        let payload = String::from_utf8(URL_SAFE_NO_PAD.decode(payload).ok()?).ok()?;
        let tag = URL_SAFE_NO_PAD.decode(tag).ok()?;
        hmac::verify(&self.key, &message(call, act, &payload), &tag).ok()?;
        serde_json::from_str(&payload).ok()
    }

    fn use_up(&self, holder: &Principal, nonce: &str, expires: UnixTime, now: UnixTime) -> Result<(), Refusal> {
        let mut used = self.used.lock().unwrap_or_else(PoisonError::into_inner);
        let full = |used: &HashMap<Principal, HashMap<String, UnixTime>>| {
            used.get(holder).is_some_and(|own| own.len() >= SHARE) || used.values().map(HashMap::len).sum::<usize>() >= CAPACITY
        };
        if full(&used) {
            used.retain(|_, own| {
                own.retain(|_, expires| now < *expires);
                !own.is_empty()
            });
        }
        if full(&used) {
            return Err(Refusal::new(Code::RateLimited, "too many continued requests; try again later"));
        }
        match used.entry(holder.clone()).or_default().insert(nonce.to_owned(), expires) {
            None => Ok(()),
            Some(_) => Err(refused("the `requestState` was used before")),
        }
    }
}

fn message(call: &McpCall, act: &Act, payload: &str) -> Vec<u8> {
    let bound = js!([
        "remit request state v1",
        format!("{:?}", Owner::of(&call.caller)),
        call.mount.server.location,
        call.request.method,
        act.action,
        json::digest(&act.arguments),
        payload,
    ]);
    json::canonical(&bound)
}

fn refused(reason: &str) -> Refusal {
    Refusal::new(Code::RequestMalformed, reason)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_party_that_uses_up_its_share_leaves_the_others_theirs() {
        let states = RequestState::new(&[7; 32]);
        let [planner, helper] = ["agent:planner", "agent:helper"].map(|sub| Principal::local("https://remit.example", sub));
        let (now, end) = (UnixTime(0), UnixTime(LIFETIME_SECS));
        for number in 0..SHARE {
            states.use_up(&planner, &number.to_string(), end, now).unwrap();
        }
        assert_eq!(states.use_up(&planner, "more", end, now).unwrap_err().code, Code::RateLimited);
        states.use_up(&helper, "first", end, now).unwrap();
        assert_eq!(states.use_up(&helper, "first", end, now).unwrap_err().code, Code::RequestMalformed);
        states.use_up(&planner, "later", end.plus(LIFETIME_SECS), end).unwrap();
    }
}
