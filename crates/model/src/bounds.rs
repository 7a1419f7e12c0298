//! Every bound on what a stranger can make this process hold or wait for, in one place.
//!
//! A stranger is any peer before it has proved anything, and an upstream at any time. The code that enforces a bound reads
//! its value here; `docs/bounds.md` is this table. SPEC: X-10, MG-21.

use crate::refusal::{Code, Refusal};
use std::{error::Error, fmt, time::Duration};

/// What a bound counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unit {
    Count,
    Bytes,
    Seconds,
    Percent,
}

/// One bound.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bound {
    /// Its name in the documentation and the log.
    pub name: &'static str,
    value: u64,
    pub unit: Unit,
    /// What is bounded.
    pub what: &'static str,
    /// What the stranger is told.
    pub told: &'static str,
}

impl Bound {
    pub(crate) const fn new(name: &'static str, value: u64, unit: Unit, what: &'static str, told: &'static str) -> Self {
        Self { name, value, unit, what, told }
    }

    /// The value in its unit.
    pub const fn value(&self) -> u64 {
        self.value
    }

    /// A number of things or of bytes.
    #[expect(clippy::cast_possible_truncation, reason = "every value fits 32 bits: a test holds it")]
    pub const fn size(&self) -> usize {
        self.value as usize
    }

    /// A time.
    pub const fn time(&self) -> Duration {
        Duration::from_secs(self.value)
    }
}

impl fmt::Display for Bound {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.unit {
            Unit::Count => write!(f, "{}", self.value),
            Unit::Seconds => write!(f, "{} s", self.value),
            Unit::Percent => write!(f, "{} %", self.value),
            Unit::Bytes if self.value.is_multiple_of(1 << 20) => write!(f, "{} MiB", self.value >> 20),
            Unit::Bytes if self.value.is_multiple_of(1 << 10) => write!(f, "{} KiB", self.value >> 10),
            Unit::Bytes => write!(f, "{} bytes", self.value),
        }
    }
}

/// An input went beyond a bound.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Exceeded(pub &'static Bound);

impl fmt::Display for Exceeded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} (at most {})", self.0.what, self.0)
    }
}

impl Error for Exceeded {}

impl Exceeded {
    /// The bound that ended the reading of a body, if one of this table did.
    pub fn find<'a>(error: &'a (dyn Error + 'static)) -> Option<&'a Self> {
        let mut next = Some(error);
        while let Some(error) = next {
            if let Some(found) = error.downcast_ref() {
                return Some(found);
            }
            next = error.source();
        }
        None
    }

    /// What the caller is told.
    pub fn refusal(&self) -> Refusal {
        match *self.0 {
            BODY_TIME => Refusal::new(Code::RequestMalformed, format!("the body did not come within {BODY_TIME}")),
            BODY_PROGRESS => {
                let window = BODY_WINDOW;
                Refusal::new(Code::RequestMalformed, format!("the body came slower than {BODY_PROGRESS} in {window}"))
            }
            _ => Refusal::new(Code::RateLimited, "too much is under way; try again later"),
        }
    }
}

/// What a caller is told whose body could not be read to its end.
pub fn body_refusal(error: &(dyn Error + 'static), most: usize) -> Refusal {
    let too_large = || Refusal::new(Code::RequestTooLarge, format!("a request has at most {most} bytes"));
    Exceeded::find(error).map_or_else(too_large, Exceeded::refusal)
}

const CLOSED: &str = "the connection is closed";
const TOLD_MALFORMED: &str = "`request_malformed`, then the connection is closed";

pub const CONNECTIONS: Bound = Bound::new(
    "connections",
    10_000,
    Unit::Count,
    "Connections at once. Beyond it, the address with the most connections that wait for their client loses the oldest of them",
    CLOSED,
);
pub const DESCRIPTORS: Bound = Bound::new(
    "descriptors",
    75,
    Unit::Percent,
    "Share of the process's file descriptors that connections may use, if that is fewer; the rest is for upstreams and files",
    CLOSED,
);
pub const ADDRESS_SHARE: Bound = Bound::new(
    "connections.address",
    50,
    Unit::Percent,
    "Share of the connections that one address (IPv6: one /64) may have; beyond it, the address loses its own oldest one",
    CLOSED,
);
pub const SPARE: Bound = Bound::new(
    "connections.spare",
    64,
    Unit::Count,
    "Connections beyond the cap while none can be closed: only health and the admin API answer on them",
    "503 `busy` with `Retry-After: 1`",
);
pub const HEAD_TIME: Bound =
    Bound::new("head.time", 10, Unit::Seconds, "From the connection, or from a head's first byte, to the head's end", CLOSED);
pub const HANDSHAKE_TIME: Bound =
    Bound::new("handshake.time", 5, Unit::Seconds, "A TLS handshake, from the connection to its end", CLOSED);
pub const HEAD_BYTES: Bound = Bound::new("head.bytes", 64 << 10, Unit::Bytes, "A request's head", "431, or the stream is reset");
pub const IDLE_TIME: Bound = Bound::new(
    "idle.time",
    120,
    Unit::Seconds,
    "A connection without a request, whatever PINGs or other frames come meanwhile",
    "GOAWAY on HTTP/2, then the connection is closed",
);
pub const BODY_TIME: Bound =
    Bound::new("body.time", 30, Unit::Seconds, "A request's body, from its head to its end", TOLD_MALFORMED);
pub const BODY_PROGRESS: Bound =
    Bound::new("body.progress", 1 << 10, Unit::Bytes, "Least that a body brings in each `body.window`", TOLD_MALFORMED);
pub const BODY_WINDOW: Bound =
    Bound::new("body.window", 10, Unit::Seconds, "The time in which `body.progress` has to come", TOLD_MALFORMED);
pub const UNREAD_TIME: Bound = Bound::new(
    "unread.time",
    1,
    Unit::Seconds,
    "How long the answer to a request that is refused by its head waits for the request's body",
    "`Connection: close`",
);
pub const UNREAD_BYTES: Bound = Bound::new(
    "unread.bytes",
    64 << 10,
    Unit::Bytes,
    "What is read of such a body, and thrown away, so that the client can use its connection again",
    "`Connection: close`",
);
pub const BODIES_BYTES: Bound = Bound::new(
    "bodies.bytes",
    256 << 20,
    Unit::Bytes,
    "All request bodies that are being read or served, together",
    "`rate_limited`",
);
pub const BODIES_CONNECTION: Bound =
    Bound::new("bodies.connection", 16 << 20, Unit::Bytes, "The same for one connection", "`rate_limited`");
pub const REQUESTS: Bound = Bound::new(
    "requests",
    16_384,
    Unit::Count,
    "Requests under way at once, open streams included",
    "503 `busy` with `Retry-After: 1`",
);
pub const STREAMS: Bound =
    Bound::new("requests.connection", 100, Unit::Count, "Requests under way on one HTTP/2 connection", "REFUSED_STREAM");
pub const SEND_TIME: Bound = Bound::new(
    "send.time",
    30,
    Unit::Seconds,
    "A client may take this long to accept `send.bytes` of an answer that is ready",
    CLOSED,
);
pub const SEND_BYTES: Bound =
    Bound::new("send.bytes", 16 << 10, Unit::Bytes, "What a client has to accept of an answer within `send.time`", CLOSED);
pub const DRAIN_TIME: Bound =
    Bound::new("drain.time", 10, Unit::Seconds, "Requests under way after SIGTERM; streams end at once", CLOSED);

pub const UNPROVEN_RECORDS: Bound = Bound::new(
    "refusals.unproven",
    100,
    Unit::Count,
    "Refusals of callers that proved nothing that may be recorded one by one in a burst; the process has one budget for all of them",
    "the refusal is counted in the next summary",
);
pub const PROVIDER_QUESTIONS: Bound = Bound::new(
    "provider.questions",
    64,
    Unit::Count,
    "Questions to identity providers, whether a person may still act, that are under way at once; each ends within 10 s",
    "nothing: the next question waits",
);
pub const UNPROVEN_EVERY: Bound = Bound::new(
    "refusals.unproven.every",
    10,
    Unit::Seconds,
    "Time after which the budget of `refusals.unproven` grows by one",
    "the refusal is counted in the next summary",
);
pub const UNPROVEN_SUMMARY: Bound = Bound::new(
    "refusals.summary",
    60,
    Unit::Seconds,
    "Least time from the first refusal that is only counted to the record that sums them up",
    "nothing",
);
pub const UNPROVEN_KINDS: Bound = Bound::new(
    "refusals.kinds",
    32,
    Unit::Count,
    "Kinds of refusals (action and code) that one summary tells apart; the rest is counted together",
    "nothing",
);

pub const LONG_ASSERTIONS: Bound = Bound::new(
    "assertions.long",
    10_000,
    Unit::Count,
    "Used client assertions of one client that end more than 330 seconds ahead: each is remembered until its end",
    "`rate_limited` with `Retry-After`",
);
pub const RATE_CLIENTS: Bound = Bound::new(
    "rate_limits.clients",
    16_384,
    Unit::Count,
    "Clients whose requests are counted for `agents.rate_limits`, at each kind of endpoint; beyond it, the quarter that is nearest to a full burst starts afresh",
    "nothing",
);

/// A security event token.
pub const SECURITY_EVENT: Bound = Bound::new(
    "security_event.bytes",
    16 << 10,
    Unit::Bytes,
    "A security event token, pushed or polled",
    "`token_malformed` or `request_too_large`",
);
/// Security events in one answer.
pub const SECURITY_EVENTS: Bound = Bound::new(
    "security_events.poll",
    50,
    Unit::Count,
    "Security events that are asked for, and taken, with one poll",
    "the others wait for the next poll",
);
/// The answer to a poll.
pub const SECURITY_EVENTS_BYTES: Bound = Bound::new(
    "security_events.poll.bytes",
    1 << 20,
    Unit::Bytes,
    "A transmitter's answer to a poll for security events",
    "nothing of it is taken; a line in the log",
);
/// Polls in a row.
pub const SECURITY_EVENTS_ROUNDS: Bound = Bound::new(
    "security_events.rounds",
    20,
    Unit::Count,
    "Polls in a row while a transmitter says that it has more",
    "the next ones wait for the interval",
);
/// Calls of identity providers.
pub const PROVIDER_CALLS: Bound = Bound::new(
    "provider.calls",
    2_000,
    Unit::Count,
    "Pushed security events and SCIM requests from one network in a burst; it grows by 50 a second",
    "`rate_limited` with `Retry-After`",
);

/// A SCIM request.
pub const SCIM_BODY: Bound = Bound::new("scim.body", 64 << 10, Unit::Bytes, "The body of a SCIM request", "`request_too_large`");
/// A SCIM filter.
pub const SCIM_FILTER: Bound =
    Bound::new("scim.filter", 512, Unit::Bytes, "The filter of a SCIM request", "`request_malformed` (`invalidFilter`)");
/// Operations of a SCIM PATCH.
pub const SCIM_OPERATIONS: Bound =
    Bound::new("scim.operations", 64, Unit::Count, "Operations of one SCIM PATCH", "`request_malformed` (`invalidSyntax`)");
/// Users on a SCIM page.
pub const SCIM_PAGE: Bound =
    Bound::new("scim.page", 200, Unit::Count, "Users on one page of a SCIM list", "the next page has them");
/// People whom one provider provisions.
pub const SCIM_PEOPLE: Bound = Bound::new(
    "scim.people",
    50_000,
    Unit::Count,
    "People whom one identity provider has provisioned, deleted ones included",
    "`client_not_allowed`",
);

/// Every bound, in the order of the documentation.
pub const ALL: &[Bound] = &[
    CONNECTIONS,
    DESCRIPTORS,
    ADDRESS_SHARE,
    SPARE,
    HEAD_TIME,
    HANDSHAKE_TIME,
    HEAD_BYTES,
    IDLE_TIME,
    BODY_TIME,
    BODY_PROGRESS,
    BODY_WINDOW,
    UNREAD_TIME,
    UNREAD_BYTES,
    BODIES_BYTES,
    BODIES_CONNECTION,
    REQUESTS,
    STREAMS,
    SEND_TIME,
    SEND_BYTES,
    DRAIN_TIME,
    PROVIDER_QUESTIONS,
    UNPROVEN_RECORDS,
    UNPROVEN_EVERY,
    UNPROVEN_SUMMARY,
    UNPROVEN_KINDS,
    RATE_CLIENTS,
    LONG_ASSERTIONS,
    SECURITY_EVENT,
    SECURITY_EVENTS,
    SECURITY_EVENTS_BYTES,
    SECURITY_EVENTS_ROUNDS,
    PROVIDER_CALLS,
    SCIM_BODY,
    SCIM_FILTER,
    SCIM_OPERATIONS,
    SCIM_PAGE,
    SCIM_PEOPLE,
];

/// These bounds as a table for `docs/bounds.md`.
pub fn markdown(bounds: &[Bound]) -> String {
    let row = |bound: &Bound| format!("| `{}` | {bound} | {} | {} |\n", bound.name, bound.what, bound.told);
    let rows: Vec<_> = bounds.iter().map(row).collect();
    format!("| Name | Value | What is bounded | Beyond it |\n|---|---|---|---|\n{}", rows.concat())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_bound_is_listed_once_and_fits() {
        let declared =
            include_str!("bounds.rs").lines().filter(|line| line.starts_with("pub const ") && line.contains(": Bound")).count();
        assert_eq!(declared, ALL.len());
        for (at, bound) in ALL.iter().enumerate() {
            assert!(bound.value() > 0 && u32::try_from(bound.value()).is_ok(), "{}", bound.name);
            assert!(ALL.iter().skip(at + 1).all(|other| other.name != bound.name), "{}", bound.name);
        }
    }

    #[derive(Debug)]
    struct Wrapped(Exceeded);

    impl fmt::Display for Wrapped {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("cannot read")
        }
    }

    impl Error for Wrapped {
        fn source(&self) -> Option<&(dyn Error + 'static)> {
            Some(&self.0)
        }
    }

    #[test]
    fn a_body_that_is_late_is_told_the_bound_and_one_that_is_too_large_the_size() {
        let told = |error: &(dyn Error + 'static)| {
            let refusal = body_refusal(error, 9);
            (refusal.code, refusal.reason)
        };
        let late = told(&Wrapped(Exceeded(&BODY_TIME)));
        assert_eq!(late, (Code::RequestMalformed, "the body did not come within 30 s".to_owned()));
        let large = told(&fmt::Error);
        assert_eq!(large, (Code::RequestTooLarge, "a request has at most 9 bytes".to_owned()));
    }

    #[test]
    fn the_page_of_bounds_is_current() {
        let page = include_str!("../../../docs/bounds.md");
        assert!(page.contains(&markdown(ALL)), "docs/bounds.md is not current; its table is:\n{}", markdown(ALL));
    }
}
