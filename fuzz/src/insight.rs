//! Bodies of the targets for `remit-insight`. They panic where a law does not hold.

use remit_insight::upstream_log;
use serde_json::json;

/// An upstream's log: one call for each line that is not blank, and what is read is written so that it is read again.
pub fn upstream(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let Ok(calls) = upstream_log(text) else { return };
    assert_eq!(calls.len(), text.lines().filter(|line| !line.trim().is_empty()).count(), "a line was passed over");
    let line = |call: &remit_insight::UpstreamCall| json!({"call": call.call, "digest": call.digest, "name": call.name});
    let written: Vec<String> = calls.iter().map(|call| line(call).to_string()).collect();
    // Writing may escape more than was escaped before, and a line has a longest length.
    if written.iter().all(|line| line.len() <= text.len().min(64 << 10)) {
        assert_eq!(upstream_log(&written.join("\n")).ok(), Some(calls), "written otherwise than read");
    }
}
