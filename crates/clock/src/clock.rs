//! Reads the clocks of this machine, or a clock that a test moves by hand.
//!
//! A reading carries the status and the error bound that the kernel states (`discipline.rs`). After a step of the wall clock
//! the status is `disrupted` and the bound the largest until the clock has settled (`step_watch.rs`).

use crate::{
    discipline::{self, Accuracy, Discipline},
    step_watch::{StepWatch, Steps},
};
use nix::time::{ClockId, clock_gettime};
use remit_model::time::{ClockStatus, Moment, TimeSource, UnixTime};
use std::{
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

/// A source of [`Moment`]s; cheap to clone, clones read the same clock.
#[derive(Clone)]
pub struct Clock(Arc<Inner>);

struct Inner {
    source: Source,
    state: Mutex<State>,
}

/// What a clock remembers between readings.
struct State {
    watch: StepWatch,
    discipline: Discipline,
}

enum Source {
    System { boot_id: [u8; 16] },
    Manual(Mutex<Moment>),
}

impl Clock {
    /// How long a clock that was stepped counts as disrupted.
    pub const SETTLE: Duration = Duration::from_secs(30);

    /// The clocks of this machine. A step of the wall clock settles after [`Clock::SETTLE`].
    pub fn system() -> Self {
        Self::system_settling(Self::SETTLE)
    }

    /// The clocks of this machine. A step of the wall clock settles after `settle`.
    pub fn system_settling(settle: Duration) -> Self {
        Self::watched(Source::System { boot_id: boot_id() }, settle)
    }

    /// A clock that stands at `start` until [`Clock::advance`] moves it.
    pub fn manual(start: Moment) -> Self {
        Self::watched(Source::Manual(Mutex::new(start)), Self::SETTLE)
    }

    fn watched(source: Source, settle: Duration) -> Self {
        let watch = StepWatch::new(u64::try_from(settle.as_nanos()).unwrap_or(u64::MAX));
        Self(Arc::new(Inner { source, state: Mutex::new(State { watch, discipline: Discipline::new() }) }))
    }

    /// The time, with the status and the error bound that hold for it; `disrupted` while a step has not settled.
    pub fn now(&self) -> Moment {
        match &self.0.source {
            Source::System { boot_id } => {
                let read = system(*boot_id);
                let mut state = self.state();
                let Accuracy { status, error_bound_ns } = state.discipline.at(read.mono_ns, discipline::read);
                state.watch.observe(Moment { status, error_bound_ns, ..read })
            }
            Source::Manual(moment) => {
                let read = *moment.lock().unwrap_or_else(PoisonError::into_inner);
                self.state().watch.observe(read)
            }
        }
    }

    /// The steps of the wall clock that were noticed so far.
    pub fn steps(&self) -> Steps {
        self.state().watch.steps
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The whole second of [`Clock::now`].
    pub fn unix(&self) -> UnixTime {
        self.now().unix()
    }

    /// Moves a manual clock forward; the system's clock is not ours to move.
    pub fn advance(&self, by: Duration) {
        if let Source::Manual(moment) = &self.0.source {
            let by = u64::try_from(by.as_nanos()).unwrap_or(u64::MAX);
            let mut moment = moment.lock().unwrap_or_else(PoisonError::into_inner);
            moment.wall_ns = moment.wall_ns.saturating_add(by);
            moment.mono_ns = moment.mono_ns.saturating_add(by);
        }
    }

    /// Replaces what a manual clock shows, for tests of stepped or disrupted clocks.
    pub fn set(&self, to: Moment) {
        if let Source::Manual(moment) = &self.0.source {
            *moment.lock().unwrap_or_else(PoisonError::into_inner) = to;
        }
    }
}

impl fmt::Debug for Clock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0.source {
            Source::System { .. } => f.write_str("Clock(system)"),
            Source::Manual(_) => f.write_str("Clock(manual)"),
        }
    }
}

/// Readings of two clocks within this many nanoseconds count as one.
const TOGETHER_NS: u64 = 50_000_000;

#[expect(clippy::disallowed_methods, reason = "the one place that reads the wall clock")]
fn system(boot_id: [u8; 16]) -> Moment {
    let mut before = since_boot();
    let (mut wall, mut after) = (SystemTime::now(), since_boot());
    // The two clocks are compared with each other; a reading that was interrupted in between would look like a step.
    for _ in 0..3 {
        if after.saturating_sub(before) < TOGETHER_NS {
            break;
        }
        before = after;
        (wall, after) = (SystemTime::now(), since_boot());
    }
    let wall = wall.duration_since(UNIX_EPOCH).unwrap_or_default();
    Moment {
        wall_ns: u64::try_from(wall.as_nanos()).unwrap_or(u64::MAX),
        error_bound_ns: u64::MAX,
        status: ClockStatus::Unknown,
        source: TimeSource::None,
        mono_ns: after,
        boot_id,
    }
}

#[cfg(any(target_os = "linux", target_os = "android"))]
const SINCE_BOOT: ClockId = ClockId::CLOCK_BOOTTIME;
#[cfg(not(any(target_os = "linux", target_os = "android")))]
const SINCE_BOOT: ClockId = ClockId::CLOCK_MONOTONIC;

/// Nanoseconds since boot. A system without this clock gives 0: time then never passes, so no waiting period ends early.
fn since_boot() -> u64 {
    clock_gettime(SINCE_BOOT).map_or(0, |time| {
        let seconds = u64::try_from(time.tv_sec()).unwrap_or(0);
        seconds.saturating_mul(1_000_000_000).saturating_add(u64::try_from(time.tv_nsec()).unwrap_or(0))
    })
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
    fn a_stepped_clock_is_disrupted_until_it_has_settled() {
        for step in [3_600_000_000_000_i64, -3_600_000_000_000] {
            let clock = Clock::manual(Moment::at(1_000_000));
            clock.advance(Duration::from_mins(1));
            let now = clock.now();
            assert_eq!((now.status, clock.steps().count), (ClockStatus::Unknown, 0), "time that passes is no step");
            clock.set(Moment { wall_ns: now.wall_ns.saturating_add_signed(step), ..now });
            assert_eq!((clock.now().status, clock.now().error_bound_ns), (ClockStatus::Disrupted, u64::MAX));
            assert_eq!(clock.steps(), Steps { count: 1, last_ns: step });
            clock.advance(Duration::from_secs(29));
            assert_eq!(clock.now().status, ClockStatus::Disrupted, "it must settle first");
            clock.advance(Duration::from_secs(2));
            assert_eq!(clock.now().status, ClockStatus::Unknown);
        }
    }

    #[test]
    fn slewing_and_late_readings_of_other_threads_are_no_steps() {
        let mut watch = StepWatch::new(30_000_000_000);
        let start = Moment::at(1_000);
        for n in 0..1_000_u64 {
            // 500 ppm is the most a clock is slewed.
            let mono_ns = start.mono_ns + n * 60_000_000_000;
            watch.observe(Moment { wall_ns: mono_ns + n * 30_000_000, mono_ns, ..start });
        }
        watch.observe(Moment { wall_ns: 5, ..start });
        assert_eq!(watch.steps.count, 0);
    }

    #[test]
    fn the_system_clock_claims_no_accuracy_that_the_kernel_does_not_state() {
        let clock = Clock::system();
        let (first, second) = (clock.now(), clock.now());
        assert!(second.mono_ns > 0 && second.mono_ns >= first.mono_ns);
        assert_eq!(first.boot_id, second.boot_id);
        for now in [first, second] {
            let stated = Accuracy::of(discipline::read());
            assert_eq!(now.status, stated.status);
            assert!(now.status == ClockStatus::Synchronized || now.error_bound_ns == u64::MAX);
        }
    }

    #[test]
    fn a_step_overrides_what_the_kernel_states_until_it_has_settled() {
        let synchronised = Moment { status: ClockStatus::Synchronized, error_bound_ns: 2_000_000, ..Moment::at(1_000_000) };
        let clock = Clock::manual(synchronised);
        assert_eq!((clock.now().status, clock.now().error_bound_ns), (ClockStatus::Synchronized, 2_000_000));
        clock.set(Moment { wall_ns: synchronised.wall_ns - 600_000_000, ..synchronised });
        assert_eq!((clock.now().status, clock.now().error_bound_ns), (ClockStatus::Disrupted, u64::MAX));
        clock.advance(Clock::SETTLE);
        assert_eq!((clock.now().status, clock.now().error_bound_ns), (ClockStatus::Synchronized, 2_000_000));
    }
}
