//! How often each client may ask: a steady rate, and room for a burst above it.
//!
//! The generic cell rate algorithm (ITU-T I.371): one time per client says when all its requests so far would have been
//! due at the steady rate. The time is a parameter. It decides nothing else and knows no protocol. SPEC: TK-11, MG-21.

use crate::{
    bounds,
    refusal::{Code, Refusal},
};
use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
};

const SECOND_NS: u64 = 1_000_000_000;

/// A steady rate, and how many requests may come at once on top of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate {
    /// Requests per second; 0 means that there is no limit.
    pub per_second: u32,
    /// Requests that may come at once, at least 1.
    pub burst: u32,
}

impl Rate {
    /// No limit.
    pub const UNLIMITED: Self = Self { per_second: 0, burst: 0 };
}

/// The limits of all clients at one kind of endpoint. Remembers at most [`bounds::RATE_CLIENTS`] of them.
#[derive(Debug)]
pub struct RateLimits {
    rate: Rate,
    /// For each client, when the requests it made would have been due.
    due_ns: Mutex<HashMap<Box<str>, u64>>,
}

/// A client has made too many requests.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OverLimit {
    rate: Rate,
    /// When the next request will be served.
    pub retry_after_s: u32,
}

impl RateLimits {
    pub fn new(rate: Rate) -> Self {
        Self { rate, due_ns: Mutex::default() }
    }

    /// Counts a request of this client at this time (nanoseconds of a clock that only runs). A refused request counts
    /// nothing, so a client that waits is served again.
    ///
    /// # Errors
    /// The client has used up its rate and its burst.
    pub fn take(&self, client: &str, now_ns: u64) -> Result<(), OverLimit> {
        let Some(every_ns) = SECOND_NS.checked_div(self.rate.per_second.into()) else { return Ok(()) };
        let room_ns = every_ns.saturating_mul(self.rate.burst.max(1).into());
        let mut clients = self.due_ns.lock().unwrap_or_else(PoisonError::into_inner);
        let known = clients.get_mut(client);
        let due_ns = known.as_ref().map_or(now_ns, |due_ns| (**due_ns).max(now_ns)).saturating_add(every_ns);
        let ahead_ns = due_ns.saturating_sub(now_ns);
        if ahead_ns > room_ns {
            let wait = ahead_ns.saturating_sub(room_ns).div_ceil(SECOND_NS);
            return Err(OverLimit { rate: self.rate, retry_after_s: u32::try_from(wait).unwrap_or(u32::MAX).max(1) });
        }
        if let Some(known) = known {
            *known = due_ns;
        } else {
            make_room(&mut clients, now_ns);
            clients.insert(client.into(), due_ns);
        }
        Ok(())
    }

    /// How many clients are remembered now.
    pub fn remembered(&self) -> usize {
        self.due_ns.lock().unwrap_or_else(PoisonError::into_inner).len()
    }
}

impl OverLimit {
    /// What the client is told.
    pub fn refusal(&self) -> Refusal {
        let Rate { per_second, burst } = self.rate;
        let reason = format!("more than {per_second} requests a second, and {burst} at once; wait {} s", self.retry_after_s);
        Refusal { retry_after_s: Some(self.retry_after_s), ..Refusal::new(Code::RateLimited, reason) }
    }
}

/// A client whose requests are all due by now is as good as new. When there are too many others, those go that are nearest to it.
fn make_room(clients: &mut HashMap<Box<str>, u64>, now_ns: u64) {
    let most = bounds::RATE_CLIENTS.size();
    if clients.len() < most {
        return;
    }
    clients.retain(|_, due_ns| *due_ns > now_ns);
    if clients.len() < most {
        return;
    }
    let mut due: Vec<u64> = clients.values().copied().collect();
    let (_, quarter, _) = due.select_nth_unstable(most / 4);
    let quarter = *quarter;
    clients.retain(|_, due_ns| *due_ns > quarter);
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: u64 = 7_000 * SECOND_NS;

    fn served(limits: &RateLimits, client: &str, times: u32, now_ns: u64) -> u32 {
        (0..times).filter(|_| limits.take(client, now_ns).is_ok()).count().try_into().unwrap()
    }

    #[test]
    fn tk_11_one_client_over_its_limit_does_not_slow_another() {
        let limits = RateLimits::new(Rate { per_second: 10, burst: 20 });
        assert_eq!(served(&limits, "greedy", 1_000, NOW), 20);
        assert_eq!(served(&limits, "modest", 5, NOW), 5);
        let over = limits.take("greedy", NOW).unwrap_err();
        assert_eq!((over.retry_after_s, over.refusal().code), (1, Code::RateLimited));
        assert_eq!(over.refusal().reason, "more than 10 requests a second, and 20 at once; wait 1 s");
    }

    #[test]
    fn tk_11_the_limit_restores_at_the_steady_rate_up_to_the_burst() {
        let limits = RateLimits::new(Rate { per_second: 10, burst: 20 });
        served(&limits, "greedy", 1_000, NOW);
        assert_eq!(served(&limits, "greedy", 1_000, NOW + SECOND_NS / 2), 5);
        assert_eq!(served(&limits, "greedy", 1_000, NOW + 3_600 * SECOND_NS), 20);
        // A slow rate says how long the wait is.
        let slow = RateLimits::new(Rate { per_second: 1, burst: 1 });
        assert_eq!(served(&slow, "greedy", 3, NOW), 1);
        assert_eq!(slow.take("greedy", NOW).unwrap_err().retry_after_s, 1);
        assert_eq!(served(&slow, "greedy", 3, NOW + SECOND_NS), 1);
    }

    #[test]
    fn many_clients_take_bounded_memory_and_one_at_its_limit_stays_there() {
        let limits = RateLimits::new(Rate { per_second: 1, burst: 100 });
        let most = bounds::RATE_CLIENTS.size();
        served(&limits, "greedy", 1_000, NOW);
        for n in 0..2 * most {
            limits.take(&format!("client-{n}"), NOW).unwrap();
            assert!(limits.remembered() <= most);
        }
        assert!(limits.take("greedy", NOW).is_err());
        served(&limits, "late", 1, NOW + 3_600 * SECOND_NS);
        assert!(limits.remembered() <= most);
    }

    #[test]
    fn without_a_rate_nothing_is_limited_or_remembered() {
        let limits = RateLimits::new(Rate::UNLIMITED);
        assert_eq!((served(&limits, "any", 10_000, NOW), limits.remembered()), (10_000, 0));
    }
}
