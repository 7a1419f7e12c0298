//! What the kernel says of its wall clock's error. SPEC: adjtimex(2).
//!
//! A time daemon tells the kernel, at each correction, how far the clock may be off; the kernel adds 500 ppm of the time since.
//! Reading that back (`modes` = 0) needs no privilege. It is read at most once a second; in between the bound grows at the
//! kernel's own rate.
//!
//! The bound is the daemon's claim, not a measurement of ours. Where the daemon claims nothing, the bound is the largest. The
//! kernel does not know which source the daemon follows (NTP, PTP), so no record states one. AWS ClockBound is not read.

use remit_model::time::ClockStatus;

/// How long one reading of the kernel is used, in nanoseconds.
const FRESH_NS: u64 = 1_000_000_000;
/// 500 ppm, the most that the kernel lets a clock drift or be slewed: one nanosecond in this many.
const DRIFT: u64 = 2_000;
/// The kernel adds the drift of a second when that second ends, so a reading can lack this much.
const UNCOUNTED_NS: u64 = FRESH_NS / DRIFT;

/// `time_status` bits of the kernel. SPEC: linux/timex.h.
const STA_PLL: i64 = 0x0001;
const STA_UNSYNC: i64 = 0x0040;
/// The clock state of `adjtimex` for a clock that is not synchronised.
const TIME_ERROR: i64 = 5;

/// One answer of `adjtimex`, as far as it is used here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct KernelReading {
    /// What the call returned: `TIME_OK` (0) to `TIME_ERROR` (5).
    pub(crate) state: i64,
    /// `STA_…` bits.
    pub(crate) flags: i64,
    /// Microseconds that the clock is off at most.
    pub(crate) max_error_us: i64,
    /// Microseconds that the daemon estimates the clock to be off.
    pub(crate) estimated_error_us: i64,
}

/// A clock's status with the half-width of the interval that the true time lies in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Accuracy {
    pub(crate) status: ClockStatus,
    pub(crate) error_bound_ns: u64,
}

impl Accuracy {
    pub(crate) const UNKNOWN: Self = Self { status: ClockStatus::Unknown, error_bound_ns: u64::MAX };

    /// The accuracy at the moment of a reading; `None` where the kernel did not answer.
    pub(crate) fn of(reading: Option<KernelReading>) -> Self {
        let Some(reading) = reading.filter(|reading| reading.state != TIME_ERROR && reading.flags & STA_UNSYNC == 0) else {
            return Self::UNKNOWN;
        };
        Self { status: ClockStatus::Synchronized, error_bound_ns: bound_ns(reading).unwrap_or(u64::MAX) }
    }

    /// The accuracy `elapsed_ns` later, as far as it can be known without another reading.
    fn after(self, elapsed_ns: u64) -> Self {
        Self { error_bound_ns: self.error_bound_ns.saturating_add(elapsed_ns.div_ceil(DRIFT)), ..self }
    }
}

/// The error bound of a synchronised clock; `None` where the daemon states none.
///
/// The larger of the two errors counts: phc2sys keeps `maxerror` at zero and leaves `esterror` at the kernel's 16 seconds.
/// With the kernel's own loop (`STA_PLL`) an estimate of zero comes from a daemon that fills in zeros, as systemd-timesyncd
/// does, and states nothing.
fn bound_ns(reading: KernelReading) -> Option<u64> {
    if reading.flags & STA_PLL != 0 && reading.estimated_error_us == 0 {
        return None;
    }
    let error_us = u64::try_from(reading.max_error_us.max(reading.estimated_error_us)).ok()?;
    Some(error_us.checked_mul(1_000)?.saturating_add(UNCOUNTED_NS))
}

/// The last reading of the kernel.
#[derive(Debug)]
pub(crate) struct Discipline {
    read_ns: Option<u64>,
    accuracy: Accuracy,
}

impl Discipline {
    pub(crate) fn new() -> Self {
        Self { read_ns: None, accuracy: Accuracy::UNKNOWN }
    }

    /// The accuracy at `mono_ns`; asks `read` when the last answer is older than a second.
    pub(crate) fn at(&mut self, mono_ns: u64, read: impl FnOnce() -> Option<KernelReading>) -> Accuracy {
        if self.read_ns.is_none_or(|read_ns| mono_ns.saturating_sub(read_ns) >= FRESH_NS) {
            self.accuracy = Accuracy::of(read());
            self.read_ns = Some(mono_ns);
        }
        self.accuracy.after(mono_ns.saturating_sub(self.read_ns.unwrap_or(mono_ns)))
    }
}

/// Asks the kernel; `None` where the system has no such call, or a sandbox forbids it.
#[cfg(all(target_os = "linux", target_pointer_width = "64"))]
pub(crate) fn read() -> Option<KernelReading> {
    let mut answer = rtime_clock::adjtime::Timex::new();
    let state = rtime_clock::adjtime::adjtimex(&mut answer).ok()?;
    Some(KernelReading {
        state: state.into(),
        flags: answer.0.status.into(),
        max_error_us: answer.0.maxerror,
        estimated_error_us: answer.0.esterror,
    })
}

#[cfg(not(all(target_os = "linux", target_pointer_width = "64")))]
pub(crate) fn read() -> Option<KernelReading> {
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    const CHRONYD: KernelReading = KernelReading { state: 0, flags: 0, max_error_us: 1_500, estimated_error_us: 40 };

    fn bound(reading: KernelReading) -> (ClockStatus, u64) {
        let accuracy = Accuracy::of(Some(reading));
        (accuracy.status, accuracy.error_bound_ns)
    }

    #[test]
    fn a_synchronised_clock_is_bounded_by_its_maximum_error_and_the_drift_not_yet_counted() {
        assert_eq!(bound(CHRONYD), (ClockStatus::Synchronized, 2_000_000));
        let ntpd = KernelReading { flags: STA_PLL, ..CHRONYD };
        assert_eq!(bound(ntpd), (ClockStatus::Synchronized, 2_000_000));
        let leap_second = KernelReading { state: 3, ..CHRONYD };
        assert_eq!(bound(leap_second).0, ClockStatus::Synchronized);
    }

    #[test]
    fn a_clock_that_is_not_synchronised_or_not_readable_is_unknown() {
        let unknown = (ClockStatus::Unknown, u64::MAX);
        assert_eq!(bound(KernelReading { flags: STA_UNSYNC, ..CHRONYD }), unknown);
        assert_eq!(bound(KernelReading { flags: STA_UNSYNC | STA_PLL, ..CHRONYD }), unknown);
        assert_eq!(bound(KernelReading { state: TIME_ERROR, ..CHRONYD }), unknown);
        assert_eq!(Accuracy::of(None), Accuracy::UNKNOWN);
    }

    #[test]
    fn a_daemon_that_states_no_error_bounds_nothing() {
        let timesyncd = KernelReading { flags: STA_PLL, max_error_us: 0, estimated_error_us: 0, ..CHRONYD };
        assert_eq!(bound(timesyncd), (ClockStatus::Synchronized, u64::MAX));
        let phc2sys = KernelReading { max_error_us: 0, estimated_error_us: 16_000_000, ..CHRONYD };
        assert_eq!(bound(phc2sys), (ClockStatus::Synchronized, 16_000_500_000), "never finer than the larger claim");
        for absurd in [-1, i64::MAX, i64::MIN] {
            let reading = KernelReading { max_error_us: absurd, estimated_error_us: -1, ..CHRONYD };
            assert_eq!(bound(reading), (ClockStatus::Synchronized, u64::MAX), "{absurd}");
        }
    }

    #[test]
    fn the_bound_grows_by_500_ppm_and_the_kernel_is_asked_once_a_second() {
        let (mut discipline, mut asked) = (Discipline::new(), 0);
        let mut at = |mono_ns: u64| {
            let accuracy = discipline.at(mono_ns, || {
                asked += 1;
                Some(CHRONYD)
            });
            (accuracy.error_bound_ns, asked)
        };
        assert_eq!(at(5_000_000_000), (2_000_000, 1));
        assert_eq!(at(5_000_000_001), (2_000_001, 1), "rounded up");
        assert_eq!(at(5_999_999_999), (2_500_000, 1));
        assert_eq!(at(4_000_000_000), (2_000_000, 1), "a reading that another thread took earlier");
        assert_eq!(at(6_000_000_000), (2_000_000, 2));
    }

    #[test]
    fn a_lost_daemon_is_noticed_within_a_second() {
        let mut discipline = Discipline::new();
        assert_eq!(discipline.at(0, || Some(CHRONYD)).status, ClockStatus::Synchronized);
        assert_eq!(discipline.at(1_000_000_000, || None), Accuracy::UNKNOWN);
        assert_eq!(discipline.at(1_500_000_000, || Some(CHRONYD)), Accuracy::UNKNOWN, "the last answer is still in use");
        assert_eq!(discipline.at(2_000_000_000, || Some(CHRONYD)).status, ClockStatus::Synchronized);
    }

    #[test]
    fn the_kernel_answers_in_the_same_words_each_time() {
        if let (Some(first), Some(second)) = (read(), read()) {
            assert_eq!(Accuracy::of(Some(first)).status, Accuracy::of(Some(second)).status);
        }
    }
}
