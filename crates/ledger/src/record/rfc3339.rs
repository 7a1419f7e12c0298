//! Times as a record writes them. SPEC: RFC 3339.

use jiff::{Timestamp, fmt::temporal::DateTimePrinter};

/// RFC 3339 in UTC with nine digits of fraction.
pub(super) fn rfc3339_ns(wall_ns: u64) -> String {
    let printer = DateTimePrinter::new().precision(Some(9));
    Timestamp::from_nanosecond(i128::from(wall_ns)).map(|at| printer.timestamp_to_string(&at)).unwrap_or_default()
}
