//! Reads the clocks of this machine, or a clock that a test moves by hand.
//!
//! The wall clock is never claimed better than we can know: without `unsafe` the kernel's NTP discipline
//! (`adjtimex(2)`) is out of reach, so the status is `unknown` and the error bound the largest (record.md §1.5, §1.11).

use remit_model::time::{ClockStatus, Moment, TimeSource, UnixTime};
use std::{
    fmt,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

/// A source of [`Moment`]s; cheap to clone, clones read the same clock.
#[derive(Clone)]
pub struct Clock(Arc<Source>);

enum Source {
    System { boot_id: [u8; 16] },
    Manual(Mutex<Moment>),
}

impl Clock {
    /// The clocks of this machine.
    pub fn system() -> Self {
        Self(Arc::new(Source::System { boot_id: boot_id() }))
    }

    /// A clock that stands at `start` until [`Clock::advance`] moves it.
    pub fn manual(start: Moment) -> Self {
        Self(Arc::new(Source::Manual(Mutex::new(start))))
    }

    pub fn now(&self) -> Moment {
        match self.0.as_ref() {
            Source::System { boot_id } => system(*boot_id),
            Source::Manual(moment) => *moment.lock().unwrap_or_else(PoisonError::into_inner),
        }
    }

    /// The whole second of [`Clock::now`].
    pub fn unix(&self) -> UnixTime {
        self.now().unix()
    }

    /// Moves a manual clock forward; the system's clock is not ours to move.
    pub fn advance(&self, by: Duration) {
        if let Source::Manual(moment) = self.0.as_ref() {
            let by = u64::try_from(by.as_nanos()).unwrap_or(u64::MAX);
            let mut moment = moment.lock().unwrap_or_else(PoisonError::into_inner);
            moment.wall_ns = moment.wall_ns.saturating_add(by);
            moment.mono_ns = moment.mono_ns.saturating_add(by);
        }
    }

    /// Replaces what a manual clock shows, for tests of stepped or disrupted clocks.
    pub fn set(&self, to: Moment) {
        if let Source::Manual(moment) = self.0.as_ref() {
            *moment.lock().unwrap_or_else(PoisonError::into_inner) = to;
        }
    }
}

impl fmt::Debug for Clock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0.as_ref() {
            Source::System { .. } => f.write_str("Clock(system)"),
            Source::Manual(_) => f.write_str("Clock(manual)"),
        }
    }
}

#[expect(clippy::disallowed_methods, reason = "the rim: the one place that reads the wall clock")]
fn system(boot_id: [u8; 16]) -> Moment {
    let wall = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Moment {
        wall_ns: u64::try_from(wall.as_nanos()).unwrap_or(u64::MAX),
        error_bound_ns: u64::MAX,
        status: ClockStatus::Unknown,
        source: TimeSource::None,
        mono_ns: since_boot(),
        boot_id,
    }
}

#[cfg(any(target_os = "linux", target_os = "android"))]
const SINCE_BOOT: rustix::time::ClockId = rustix::time::ClockId::Boottime;
#[cfg(not(any(target_os = "linux", target_os = "android")))]
const SINCE_BOOT: rustix::time::ClockId = rustix::time::ClockId::Monotonic;

fn since_boot() -> u64 {
    let time = rustix::time::clock_gettime(SINCE_BOOT);
    let seconds = u64::try_from(time.tv_sec).unwrap_or(0);
    seconds.saturating_mul(1_000_000_000).saturating_add(u64::try_from(time.tv_nsec).unwrap_or(0))
}

/// Identity of this boot; all zero where the system does not say.
fn boot_id() -> [u8; 16] {
    std::fs::read_to_string("/proc/sys/kernel/random/boot_id")
        .ok()
        .and_then(|text| uuid::Uuid::parse_str(text.trim()).ok())
        .map_or([0; 16], uuid::Uuid::into_bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_manual_clock_moves_only_by_hand() {
        let clock = Clock::manual(Moment::at(1_000));
        let other = clock.clone();
        assert_eq!(clock.now(), clock.now());
        other.advance(Duration::from_secs(5));
        assert_eq!(clock.unix(), UnixTime(1_005));
    }

    #[test]
    fn the_system_clock_claims_no_accuracy_it_cannot_know() {
        let clock = Clock::system();
        let (first, second) = (clock.now(), clock.now());
        assert!(second.mono_ns >= first.mono_ns);
        assert_eq!(first.boot_id, second.boot_id);
        assert_eq!((first.status, first.error_bound_ns), (ClockStatus::Unknown, u64::MAX));
    }
}
