//! One connection: what is known of it, and which bound it has broken.

use super::address::Address;
use remit_model::bounds::{self, Bound};
use std::{
    collections::BTreeMap,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};
use tokio::{sync::Notify, time::Instant};

/// Longest time between two looks at a connection: what breaks a bound after a look is seen by the next one.
const LOOK: Duration = Duration::from_secs(5);

/// A connection under supervision.
#[derive(Debug)]
pub(crate) struct Connection {
    pub(crate) id: u64,
    pub(crate) address: Address,
    facts: Mutex<Facts>,
    shed: Notify,
}

/// Why a connection is closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Cut {
    /// The head of a request does not come.
    Head,
    /// No request for a long time.
    Idle,
    /// The client does not read what it asked for.
    Unread,
    /// It made room for another.
    Shed,
    /// The server stops.
    Stop,
}

impl Cut {
    pub(crate) fn bound(self) -> &'static Bound {
        match self {
            Self::Head => &bounds::HEAD_TIME,
            Self::Idle => &bounds::IDLE_TIME,
            Self::Unread => &bounds::SEND_TIME,
            Self::Shed => &bounds::CONNECTIONS,
            Self::Stop => &bounds::DRAIN_TIME,
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Protocol {
    /// Less than the HTTP/2 preface was read, and nothing else.
    Unknown {
        matched: usize,
    },
    Http1,
    Http2,
}

/// What an HTTP/2 client says first. SPEC: RFC 9113 §3.4.
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

#[derive(Debug)]
struct Facts {
    protocol: Protocol,
    /// Since when no request is under way: the opening, or the end of the last one.
    quiet_since: Instant,
    /// When the first byte of the next head came, HTTP/1 only.
    head_since: Option<Instant>,
    /// Requests under way.
    requests: BTreeMap<u64, Request>,
    next: u64,
    /// Requests that were answered.
    served: u64,
    /// Bytes of request bodies that are held.
    held: usize,
    /// Bytes written so far, and since when and which count the socket takes no more.
    written: u64,
    blocked: Option<(Instant, u64)>,
}

#[derive(Clone, Copy, Debug)]
struct Request {
    /// Its body has not come whole.
    reading: bool,
    /// When a part of the answer was handed over; `None` once the next one was asked for.
    sent: Option<Instant>,
}

impl Connection {
    pub(crate) fn new(id: u64, address: Address, now: Instant) -> Self {
        let facts = Facts {
            protocol: Protocol::Unknown { matched: 0 },
            quiet_since: now,
            head_since: None,
            requests: BTreeMap::new(),
            next: 0,
            served: 0,
            held: 0,
            written: 0,
            blocked: None,
        };
        Self { id, address, facts: Mutex::new(facts), shed: Notify::new() }
    }

    fn facts(&self) -> MutexGuard<'_, Facts> {
        self.facts.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// When to look again, or the bound that is broken.
    pub(crate) fn look(&self, now: Instant) -> Result<Instant, Cut> {
        self.facts().look(now)
    }

    /// Has the connection closed to make room.
    pub(crate) fn shed(&self) {
        self.shed.notify_one();
    }

    /// Resolves when it has to make room.
    pub(crate) async fn must_go(&self) {
        self.shed.notified().await;
    }

    /// How fit the connection is to make room: those that never had an answer first, then those quiet for longest.
    /// `None` while it serves.
    pub(crate) fn spare(&self) -> Option<(bool, Instant)> {
        let facts = self.facts();
        facts.requests.values().all(|request| request.reading).then_some((facts.served > 0, facts.quiet_since))
    }

    pub(crate) fn read(&self, bytes: &[u8], now: Instant) {
        self.facts().read(bytes, now);
    }

    /// The socket took this many bytes.
    pub(crate) fn wrote(&self, count: usize, now: Instant) {
        let mut facts = self.facts();
        facts.written = facts.written.saturating_add(u64::try_from(count).unwrap_or(u64::MAX));
        if let Some((_, from)) = facts.blocked
            && facts.written.saturating_sub(from) >= bounds::SEND_BYTES.value()
        {
            facts.blocked = Some((now, facts.written));
        }
    }

    /// The socket takes no more for now, or took all there was.
    pub(crate) fn blocked(&self, blocked: bool, now: Instant) {
        let mut facts = self.facts();
        let from = facts.written;
        facts.blocked = if blocked { facts.blocked.or(Some((now, from))) } else { None };
    }

    /// A request begins; its number.
    pub(crate) fn begin(&self, reading: bool) -> u64 {
        let mut facts = self.facts();
        let id = facts.next;
        facts.next = id.wrapping_add(1);
        facts.head_since = None;
        facts.requests.insert(id, Request { reading, sent: None });
        id
    }

    /// The body of a request has come, or is not read any more.
    pub(crate) fn body_came(&self, id: u64) {
        if let Some(request) = self.facts().requests.get_mut(&id) {
            request.reading = false;
        }
    }

    /// More bytes of a request's body are held; whether that many may be.
    pub(crate) fn hold(&self, bytes: usize) -> bool {
        let mut facts = self.facts();
        facts.held = facts.held.saturating_add(bytes);
        facts.held <= bounds::BODIES_CONNECTION.size()
    }

    pub(crate) fn release(&self, bytes: usize) {
        let mut facts = self.facts();
        facts.held = facts.held.saturating_sub(bytes);
    }

    /// A part of the answer was handed over, or the next one is asked for.
    pub(crate) fn sent(&self, id: u64, at: Option<Instant>) {
        if let Some(request) = self.facts().requests.get_mut(&id) {
            request.sent = at;
        }
    }

    /// A request has ended, answered or not.
    pub(crate) fn end(&self, id: u64, now: Instant) {
        let mut facts = self.facts();
        facts.requests.remove(&id);
        facts.served = facts.served.saturating_add(1);
        if facts.requests.is_empty() {
            facts.quiet_since = now;
            facts.head_since = None;
        }
    }
}

impl Facts {
    fn read(&mut self, bytes: &[u8], now: Instant) {
        if let Protocol::Unknown { matched } = self.protocol {
            let due = PREFACE.get(matched..).unwrap_or_default();
            let seen = bytes.get(..due.len().min(bytes.len())).unwrap_or_default();
            self.protocol = match (due.starts_with(seen), matched + seen.len() == PREFACE.len()) {
                (false, _) => Protocol::Http1,
                (true, true) => Protocol::Http2,
                (true, false) => Protocol::Unknown { matched: matched + seen.len() },
            };
        }
        if self.protocol == Protocol::Http1 && self.requests.is_empty() && self.served > 0 {
            self.head_since.get_or_insert(now);
        }
    }

    fn look(&self, now: Instant) -> Result<Instant, Cut> {
        // A first head is due from the connection on, a later one from its first byte.
        let first = (self.protocol != Protocol::Http2 && self.served == 0).then_some(self.quiet_since);
        let quiet = self.requests.is_empty();
        let oldest = self.requests.values().filter_map(|request| request.sent).min();
        let due = [
            (first.or(self.head_since).filter(|_| quiet), bounds::HEAD_TIME, Cut::Head),
            (Some(self.quiet_since).filter(|_| quiet), bounds::IDLE_TIME, Cut::Idle),
            (self.blocked.map(|(since, _)| since), bounds::SEND_TIME, Cut::Unread),
            (oldest, bounds::SEND_TIME, Cut::Unread),
        ];
        let mut next = now + LOOK;
        for (since, bound, cut) in due {
            let Some(until) = since.map(|since| since + bound.time()) else { continue };
            if until <= now {
                return Err(cut);
            }
            next = next.min(until);
        }
        Ok(next)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn connection(now: Instant) -> Connection {
        Connection::new(0, Address::of([192, 0, 2, 1].into()), now)
    }

    fn after(seconds: u64, from: Instant) -> Instant {
        from + Duration::from_secs(seconds)
    }

    #[tokio::test]
    async fn a_client_that_sends_nothing_or_part_of_a_head_is_cut() {
        let now = Instant::now();
        for first in [&b""[..], b"P", b"PRI * HT", &PREFACE[..23], b"GET / HTTP/1.1\r\nHost:"] {
            let connection = connection(now);
            for byte in first {
                connection.read(&[*byte], now);
            }
            assert!(connection.look(after(9, now)).is_ok());
            assert_eq!(connection.look(after(10, now)), Err(Cut::Head), "{first:?}");
        }
    }

    #[tokio::test]
    async fn an_idle_connection_is_cut_whatever_frames_it_sends() {
        let now = Instant::now();
        let connection = connection(now);
        connection.read(PREFACE, now);
        for second in 0..120 {
            connection.read(b"\0\0\x08\x06\0\0\0\0\0........", after(second, now));
            assert!(connection.look(after(second, now)).is_ok());
        }
        assert_eq!(connection.look(after(120, now)), Err(Cut::Idle));
    }

    #[tokio::test]
    async fn between_two_requests_only_a_begun_head_is_in_a_hurry() {
        let now = Instant::now();
        let connection = connection(now);
        connection.read(b"GET / HTTP/1.1\r\n\r\n", now);
        let request = connection.begin(false);
        assert!(connection.look(after(3_600, now)).is_ok());
        let end = after(3_600, now);
        connection.end(request, end);
        assert!(connection.look(after(100, end)).is_ok());
        connection.read(b"G", after(100, end));
        assert!(connection.look(after(109, end)).is_ok());
        assert_eq!(connection.look(after(110, end)), Err(Cut::Head));
    }

    #[tokio::test]
    async fn a_client_that_reads_too_slowly_is_cut_and_one_that_reads_is_not() {
        let now = Instant::now();
        let connection = connection(now);
        connection.read(PREFACE, now);
        let request = connection.begin(false);
        connection.sent(request, Some(now));
        assert_eq!(connection.look(after(30, now)), Err(Cut::Unread));
        connection.sent(request, None);
        connection.blocked(true, now);
        // A trickle is no progress.
        connection.wrote(bounds::SEND_BYTES.size() - 1, after(20, now));
        connection.blocked(true, after(20, now));
        assert_eq!(connection.look(after(30, now)), Err(Cut::Unread));
        connection.wrote(1, after(29, now));
        assert!(connection.look(after(58, now)).is_ok());
        connection.blocked(false, after(58, now));
        assert!(connection.look(after(3_600, now)).is_ok());
    }
}
