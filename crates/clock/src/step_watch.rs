//! Notices when the wall clock is stepped: between two readings it must advance as far as the monotonic clock does.

use remit_model::time::{ClockStatus, Moment};

/// The least difference that is a step. Clocks that are slewed stay far below it between two readings.
const STEP_NS: u128 = 500_000_000;

/// Steps seen so far.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Steps {
    /// How many steps were noticed.
    pub count: u64,
    /// How far the last step set the clock, in nanoseconds; negative when backwards.
    pub last_ns: i64,
}

/// Remembers the last reading and the steps seen.
#[derive(Debug)]
pub(crate) struct StepWatch {
    settle_ns: u64,
    last: Option<Moment>,
    disrupted_until: u64,
    pub(crate) steps: Steps,
}

impl StepWatch {
    pub(crate) fn new(settle_ns: u64) -> Self {
        Self { settle_ns, last: None, disrupted_until: 0, steps: Steps::default() }
    }

    /// Compares a reading with the last one; marks it when the clock was stepped and has not settled yet.
    pub(crate) fn observe(&mut self, mut now: Moment) -> Moment {
        if let Some(last) = self.last.filter(|last| last.boot_id == now.boot_id && last.mono_ns <= now.mono_ns) {
            let step = offset(&now) - offset(&last);
            if step.unsigned_abs() >= STEP_NS {
                self.steps.count = self.steps.count.saturating_add(1);
                self.steps.last_ns = i64::try_from(step).unwrap_or(if step < 0 { i64::MIN } else { i64::MAX });
                self.disrupted_until = now.mono_ns.saturating_add(self.settle_ns);
            }
        }
        // Readings of two threads may arrive in the other order; the later one stays and is compared with.
        if self.last.is_none_or(|last| last.mono_ns <= now.mono_ns) {
            self.last = Some(now);
        }
        if now.mono_ns < self.disrupted_until {
            now.status = ClockStatus::Disrupted;
            now.error_bound_ns = u64::MAX;
        }
        now
    }
}

fn offset(moment: &Moment) -> i128 {
    i128::from(moment.wall_ns) - i128::from(moment.mono_ns)
}
