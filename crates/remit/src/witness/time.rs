//! The time by which cosignatures are made and judged.

use remit_clock::Clock;

/// The time in seconds since 1970; `None` when the clock cannot be read or stands at its beginning. Nobody is to sign or
/// judge a cosignature by such a time.
pub(super) fn seconds(clock: &Clock) -> Option<u64> {
    u64::try_from(clock.unix().0).ok().filter(|now| *now > 0)
}
