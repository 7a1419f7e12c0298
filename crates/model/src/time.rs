//! Time as a value. Nothing here reads a clock: crate `clock` does, and callers pass the `Moment` on.
//!
//! A wall clock is only worth its error bound, so the two never part (record.md §1.5).

use serde::{Deserialize, Serialize};
use std::fmt;

/// Whole seconds since the Unix epoch, the unit of `exp`, `iat` and `not_after`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, Default)]
#[serde(transparent)]
pub struct UnixTime(pub i64);

impl UnixTime {
    /// This time plus `seconds`, saturating.
    #[must_use]
    pub fn plus(self, seconds: i64) -> Self {
        Self(self.0.saturating_add(seconds))
    }

    /// Seconds from `earlier` to this time; negative when this time is before it.
    pub fn since(self, earlier: Self) -> i64 {
        self.0.saturating_sub(earlier.0)
    }

    /// As RFC 3339 in UTC, `2027-01-01T00:00:00Z`; plain seconds outside the years 0 to 9999.
    pub fn utc(self) -> String {
        let (days, second) = (self.0.div_euclid(86_400), self.0.rem_euclid(86_400));
        let Some((year, month, day)) = civil(days).filter(|(year, ..)| (0..=9999).contains(year)) else {
            return format!("{} seconds since 1970", self.0);
        };
        let (hour, minute) = (second / 3600, second / 60 % 60);
        format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{:02}Z", second % 60)
    }
}

/// Year, month and day of a count of days since 1970-01-01 in the proleptic Gregorian calendar.
///
/// Years are counted from March, so that the leap day comes last, in eras of 400 years (146 097 days).
fn civil(days: i64) -> Option<(i64, i64, i64)> {
    let shifted = days.checked_add(719_468)?;
    let (era, day_of_era) = (shifted.div_euclid(146_097), shifted.rem_euclid(146_097));
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month + 2) / 5 + 1;
    let (month, carry) = if month < 10 { (month + 3, 0) } else { (month - 9, 1) };
    Some((year_of_era + era * 400 + carry, month, day))
}

impl fmt::Display for UnixTime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// What the kernel says of its wall clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ClockStatus {
    /// A time daemon keeps the clock.
    Synchronized,
    /// The clock was synchronised and now runs by itself; its error grows.
    FreeRunning,
    /// The clock is not kept, or the kernel cannot be asked.
    Unknown,
    /// The clock was stepped and has not settled.
    Disrupted,
}

/// Where the wall clock's time comes from, where that is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TimeSource {
    PtpPhc,
    NtpNts,
    Ntp,
    Cloud,
    None,
}

/// One reading of the clocks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Moment {
    /// Nanoseconds since the Unix epoch.
    pub wall_ns: u64,
    /// Half-width of the interval the true time lies in; `u64::MAX` when unknown.
    pub error_bound_ns: u64,
    pub status: ClockStatus,
    pub source: TimeSource,
    /// Nanoseconds since boot: orders events inside one host and boot.
    pub mono_ns: u64,
    /// Identity of this boot.
    pub boot_id: [u8; 16],
}

impl Moment {
    /// A moment with a known wall time and nothing else, for tests and pure functions.
    pub fn at(seconds: i64) -> Self {
        let wall_ns = u64::try_from(seconds).unwrap_or(0).saturating_mul(1_000_000_000);
        Self {
            wall_ns,
            error_bound_ns: u64::MAX,
            status: ClockStatus::Unknown,
            source: TimeSource::None,
            mono_ns: wall_ns,
            boot_id: [0; 16],
        }
    }

    /// The whole second of the wall time.
    pub fn unix(&self) -> UnixTime {
        UnixTime(i64::try_from(self.wall_ns / 1_000_000_000).unwrap_or(i64::MAX))
    }
}
