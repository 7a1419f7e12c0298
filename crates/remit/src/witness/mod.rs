//! Witnesses: the small server that a second party runs, and our asking of those that others run.
//!
//! Implements C2SP tlog-witness. SPEC: LG-18 to LG-21. The rule itself is `ledger::witness`; here are sockets, files and time.

mod ask;
mod server;
mod store;

pub(crate) use ask::{Circle, Settings, watch};
use remit_clock::Clock;
pub(crate) use server::{Witness, run};

/// The time in seconds since 1970; `None` when the clock cannot be read or stands at its beginning. Nobody is to sign or
/// judge a cosignature by such a time.
fn seconds(clock: &Clock) -> Option<u64> {
    u64::try_from(clock.unix().0).ok().filter(|now| *now > 0)
}
