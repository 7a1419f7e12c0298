//! Refusals of callers that proved nothing, or ask too often: a few are recorded one by one, the others are counted and
//! summarised.
//!
//! Every refusal is in the ledger, but a caller that can repeat one at will must not be able to fill the disk with it. The whole process has one budget of single records. What is beyond it is counted by kind (action and code),
//! and the counts are recorded at most once a minute. SPEC: X-10, TK-11.

use remit_clock::Clock;
use remit_ledger::record::{Draft, EffectConfirmed, OutcomeStatus, ProducerKind, RecordType};
use remit_model::{Code, TenantId, ToolClass, bounds, time::Moment};
use serde_json::{Value, json};
use std::{
    net::IpAddr,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

const SECOND_NS: u64 = 1_000_000_000;
/// No refusal waits for a summary.
const NONE: u64 = u64::MAX;

/// The budget of single records, and what is counted beyond it.
#[derive(Debug)]
pub(crate) struct Unproven {
    state: Mutex<State>,
    /// When the first refusal of the next summary was counted, on the clock that only runs.
    waiting_since_ns: AtomicU64,
}

#[derive(Debug, Default)]
struct State {
    /// Time that is saved up: a single record costs `records.unproven.every`.
    saved_ns: u64,
    at_ns: u64,
    kinds: Vec<Kind>,
    /// Those beyond the kinds there is room for.
    others: u64,
}

/// Refusals of one action for one reason.
#[derive(Clone, Debug)]
struct Kind {
    action: String,
    code: Code,
    count: u64,
    first_ns: u64,
    last_ns: u64,
    /// The address of the first, as a sample.
    address: Option<IpAddr>,
}

/// Refusals that were counted, on their way into the ledger.
#[derive(Debug)]
pub(crate) struct Summary {
    kinds: Vec<Kind>,
    others: u64,
}

impl Unproven {
    pub(crate) fn new(now: &Moment) -> Self {
        let state = State { saved_ns: room_ns(), at_ns: now.mono_ns, ..State::default() };
        Self { state: Mutex::new(state), waiting_since_ns: AtomicU64::new(NONE) }
    }

    /// Whether this refusal may have a record of its own. Otherwise it is counted in the next summary.
    pub(crate) fn take(&self, action: &str, code: Code, address: Option<IpAddr>, clock: &Clock) -> bool {
        let now = clock.now();
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let saved = state.saved_ns.saturating_add(now.mono_ns.saturating_sub(state.at_ns)).min(room_ns());
        state.at_ns = now.mono_ns;
        state.saved_ns = saved.checked_sub(cost_ns()).unwrap_or(saved);
        if saved >= cost_ns() {
            return true;
        }
        state.count(action, code, address, now.wall_ns);
        let _ = self.waiting_since_ns.compare_exchange(NONE, now.mono_ns, Ordering::Relaxed, Ordering::Relaxed);
        false
    }

    /// What was counted, when it is time for a summary.
    pub(crate) fn due(&self, now: &Moment) -> Option<Summary> {
        let since = self.waiting_since_ns.load(Ordering::Relaxed);
        let waited = since != NONE && now.mono_ns.saturating_sub(since) >= nanos(bounds::UNPROVEN_SUMMARY.value());
        if waited { self.all() } else { None }
    }

    /// Whatever was counted.
    pub(crate) fn all(&self) -> Option<Summary> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        self.waiting_since_ns.store(NONE, Ordering::Relaxed);
        let (kinds, others) = (std::mem::take(&mut state.kinds), std::mem::take(&mut state.others));
        (!kinds.is_empty()).then_some(Summary { kinds, others })
    }
}

impl State {
    fn count(&mut self, action: &str, code: Code, address: Option<IpAddr>, now_ns: u64) {
        if let Some(kind) = self.kinds.iter_mut().find(|kind| kind.code == code && kind.action == action) {
            kind.count = kind.count.saturating_add(1);
            kind.last_ns = kind.last_ns.max(now_ns);
        } else if self.kinds.len() < bounds::UNPROVEN_KINDS.size() {
            self.kinds.push(Kind { action: action.to_owned(), code, count: 1, first_ns: now_ns, last_ns: now_ns, address });
        } else {
            self.others = self.others.saturating_add(1);
        }
    }
}

impl Summary {
    /// How many refusals it counts.
    pub(crate) fn count(&self) -> u64 {
        self.kinds.iter().fold(self.others, |sum, kind| sum.saturating_add(kind.count))
    }

    /// The record of it. The addresses are committed to, as personal values are.
    pub(crate) fn record(&self, tenant: &TenantId) -> Draft {
        let kinds: Vec<Value> = self.kinds.iter().map(Kind::facts).collect();
        let first = self.kinds.iter().map(|kind| kind.first_ns).min().unwrap_or_default();
        let last = self.kinds.iter().map(|kind| kind.last_ns).max().unwrap_or_default();
        let mut facts = json!({
            "count": self.count().to_string(),
            "first_ns": first.to_string(),
            "last_ns": last.to_string(),
            "kinds": kinds,
        });
        if let (Value::Object(members), true) = (&mut facts, self.others > 0) {
            members.insert("others".to_owned(), json!(self.others.to_string()));
        }
        let samples: Vec<Value> = self.kinds.iter().map(|kind| json!(kind.address.map(|address| address.to_string()))).collect();
        let draft = Draft::new(tenant.clone(), ProducerKind::AuthzServer, RecordType::LogControl)
            .action("refusals.summarised", ToolClass::Admin)
            .outcome(OutcomeStatus::Success, EffectConfirmed::Observed)
            .ext("refusals", facts);
        if self.kinds.iter().any(|kind| kind.address.is_some()) {
            draft.commit("/refusals/samples", Value::Array(samples))
        } else {
            draft
        }
    }
}

impl Kind {
    fn facts(&self) -> Value {
        json!({
            "action": self.action,
            "code": self.code,
            "count": self.count.to_string(),
            "first_ns": self.first_ns.to_string(),
            "last_ns": self.last_ns.to_string(),
        })
    }
}

fn nanos(seconds: u64) -> u64 {
    seconds.saturating_mul(SECOND_NS)
}

fn cost_ns() -> u64 {
    nanos(bounds::UNPROVEN_EVERY.value())
}

fn room_ns() -> u64 {
    cost_ns().saturating_mul(bounds::UNPROVEN_RECORDS.value())
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: i64 = 1_800_000_000;

    #[test]
    fn a_burst_has_records_of_its_own_and_a_flood_only_now_and_then() {
        let clock = Clock::manual(Moment::at(NOW));
        let unproven = Unproven::new(&clock.now());
        let taken = |calls: u64| (0..calls).filter(|_| unproven.take("one", Code::TokenMissing, None, &clock)).count() as u64;
        assert_eq!(taken(1_000), bounds::UNPROVEN_RECORDS.value());
        clock.set(Moment::at(NOW + 9));
        assert_eq!(taken(10), 0);
        clock.set(Moment::at(NOW + 20));
        assert_eq!(taken(10), 2);
        clock.set(Moment::at(NOW + 86_400));
        assert_eq!(taken(1_000), bounds::UNPROVEN_RECORDS.value(), "no more is saved up than the room");
    }

    #[test]
    fn every_refusal_is_recorded_or_counted_and_memory_is_bounded() {
        let clock = Clock::manual(Moment::at(NOW));
        let unproven = Unproven::new(&clock.now());
        let mut alone = 0;
        for n in 0..5_000_u64 {
            let action = format!("action-{}", n % 300);
            alone += u64::from(unproven.take(&action, Code::TokenMissing, Some([192, 0, 2, 1].into()), &clock));
        }
        assert!(unproven.due(&clock.now()).is_none(), "it is not time");
        clock.set(Moment::at(NOW + 60));
        let summary = unproven.due(&clock.now()).unwrap();
        assert_eq!((summary.kinds.len(), alone + summary.count()), (bounds::UNPROVEN_KINDS.size(), 5_000));
        assert!(unproven.due(&clock.now()).is_none() && unproven.all().is_none(), "nothing is counted twice");
    }
}
