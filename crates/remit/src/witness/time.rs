//! The time by which cosignatures are made and judged.

use remit_clock::Clock;

/// The time in seconds since 1970; `None` when the clock cannot be read or is at its beginning. Cosignatures are neither made nor
/// judged by such a time.
pub(super) fn seconds(clock: &Clock) -> Option<u64> {
    u64::try_from(clock.unix().0).ok().filter(|now| *now > 0)
}
