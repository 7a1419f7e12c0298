//! Points in time as people write them.

use jiff::{SignedDuration, Span, SpanRelativeTo, Timestamp, civil::Date, tz::TimeZone};
use remit_model::UnixTime;

/// A text that is no point in time.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is neither a duration such as `30d` nor a time such as `2026-11-22T08:00:00Z` or `2026-11-22`")]
pub struct MomentError(pub String);

/// Nanoseconds since 1970 of `text`: a duration before `now_ns` (`30d`, `12h`, `90m`), an RFC 3339 time, or a date,
/// which begins at midnight UTC. A day has 24 hours.
///
/// # Errors
/// [`MomentError`] for any other text, and for a time outside the years that a clock can show.
pub fn moment_ns(text: &str, now_ns: u64) -> Result<u64, MomentError> {
    let wrong = || MomentError(text.to_owned());
    let nanoseconds = if let Ok(time) = text.parse::<Timestamp>() {
        time.as_nanosecond()
    } else if let Ok(date) = text.parse::<Date>() {
        date.to_zoned(TimeZone::UTC).map_err(|_| wrong())?.timestamp().as_nanosecond()
    } else {
        let span: Span = text.parse().map_err(|_| wrong())?;
        let back: SignedDuration = span.to_duration(SpanRelativeTo::days_are_24_hours()).map_err(|_| wrong())?;
        i128::from(now_ns) - back.as_nanos()
    };
    u64::try_from(nanoseconds.max(0)).map_err(|_| wrong())
}

/// A time as RFC 3339, to the second, in UTC.
pub fn rfc_3339(time: UnixTime) -> String {
    Timestamp::from_second(time.0).map_or_else(|_| time.0.to_string(), |time| time.to_string())
}

#[cfg(test)]
mod tests {
    use super::moment_ns;

    const NOW: u64 = 1_795_321_800_000_000_000;

    #[test]
    fn durations_times_and_dates() {
        assert_eq!(moment_ns("30d", NOW), Ok(NOW - 30 * 86_400_000_000_000));
        assert_eq!(moment_ns("90m", NOW), Ok(NOW - 5_400_000_000_000));
        assert_eq!(moment_ns("2026-11-22T04:30:00Z", 0), Ok(NOW));
        assert_eq!(moment_ns("2026-11-22T05:30:00.5+01:00", 0), Ok(NOW + 500_000_000));
        assert_eq!(moment_ns("2026-11-22", 0), Ok(NOW - 16_200_000_000_000));
        assert_eq!(moment_ns("10000d", 5), Ok(0));
    }

    #[test]
    fn anything_else_is_refused() {
        for text in ["", "yesterday", "30", "1 month", "2026-13-01", "30d;", "18446744073709551616ns"] {
            assert!(moment_ns(text, NOW).is_err(), "{text}");
        }
    }
}
