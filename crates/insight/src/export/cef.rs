//! Common Event Format 0 as the message of an RFC 5424 syslog line.
//!
//! The header escapes `\` and `|`, the extension `\` and `=`; line breaks become `\n`, and other control characters
//! blanks, so that no value can begin a second event.

use super::Item;
use std::fmt::Write as _;

/// Facility 13, "log audit". SPEC: RFC 5424 §6.2.1.
const FACILITY: u32 = 13;
/// Largest `sequenceId`. SPEC: RFC 5424 §7.3.1.
const SEQUENCE_LIMIT: u64 = 2_147_483_647;

/// One line with its newline.
pub fn line(item: &Item<'_>) -> Vec<u8> {
    let (severity, weight) = match item.record.outcome() {
        "success" => (6, 3),
        "denied" => (4, 7),
        "unknown" | "partial" => (5, 5),
        _ => (4, 6),
    };
    let wall = item.text("/time/wall");
    // At most six digits of fraction. SPEC: RFC 5424 §6.2.3.
    let time = wall.split_once('.').map_or_else(
        || wall.to_owned(),
        |(whole, fraction)| format!("{whole}.{}Z", fraction.trim_end_matches('Z').get(..6).unwrap_or("0")),
    );
    let host = item.record.producer_id().split_once("://").map_or("-", |(_, rest)| rest.split('/').next().unwrap_or("-"));
    let sequence =
        if (1..=SEQUENCE_LIMIT).contains(&item.index) { format!("[meta sequenceId=\"{}\"]", item.index) } else { String::new() };
    let mut line = format!(
        "<{}>1 {time} {} remit {} {} {}{sequence} ",
        FACILITY * 8 + severity,
        name(host, 255),
        name(&item.record.epoch().to_string(), 128),
        name(item.record.record_type(), 32),
        time_quality(item)
    );
    let version = header(item.text("/producer/version"));
    let id = header(&format!("{}:{}", item.record.record_type(), item.record.action()));
    let _ = write!(line, "CEF:0|Remit|Remit|{version}|{id}|{}|{weight}|", header(&item.summary()));
    let pairs = extension(item);
    let named = |key: &str| pairs.iter().any(|(name, value)| *name == key && !value.is_empty());
    // A label stands only beside its value.
    let kept = pairs.iter().filter(|(key, value)| !value.is_empty() && key.strip_suffix("Label").is_none_or(named));
    let pairs: Vec<String> = kept.map(|(key, value)| format!("{key}={}", value_of(value))).collect();
    line.push_str(&pairs.join(" "));
    line.push('\n');
    line.into_bytes()
}

/// How good the time is; `syncAccuracy` is in microseconds. SPEC: RFC 5424 §7.1.
fn time_quality(item: &Item<'_>) -> String {
    let synchronised = item.text("/time/clock_status") == "synchronized";
    let accuracy = item.record.error_bound_ns().filter(|_| synchronised);
    let accuracy = accuracy.map(|bound| format!(" syncAccuracy=\"{}\"", bound.div_ceil(1_000))).unwrap_or_default();
    format!("[timeQuality tzKnown=\"1\" isSynced=\"{}\"{accuracy}]", u8::from(synchronised))
}

fn extension(item: &Item<'_>) -> Vec<(&'static str, String)> {
    let text = |pointer: &str| item.text(pointer).to_owned();
    let caller = |pointer: &str| item.caller_text(pointer).unwrap_or_default().to_owned();
    vec![
        ("rt", (item.record.wall_ns() / 1_000_000).to_string()),
        ("externalId", text("/record_id")),
        ("act", text("/action/name")),
        ("outcome", text("/outcome/status")),
        ("reason", item.code().unwrap_or_default().to_owned()),
        ("app", text("/protocol")),
        ("suid", text("/chain/0/subject_ref")),
        ("suser", item.names.at(0).unwrap_or_default().to_owned()),
        ("sproc", caller("/agent/uid")),
        ("destinationServiceName", text("/tool/server_id")),
        ("cs1Label", "recordHash".to_owned()),
        ("cs1", text("/record_hash")),
        ("cs2Label", "logOrigin".to_owned()),
        ("cs2", item.origin.to_owned()),
        ("cs3Label", "delegationChain".to_owned()),
        ("cs3", text("/txn")),
        ("cs4Label", "policy".to_owned()),
        ("cs4", text("/decision/policies/0/id")),
        ("cs5Label", "traceId".to_owned()),
        ("cs5", text("/trace/trace_id")),
        ("cs6Label", "resource".to_owned()),
        ("cs6", text("/resource/0/id_ref")),
        ("cn1Label", "logIndex".to_owned()),
        ("cn1", item.index.to_string()),
        ("cn2Label", "chainDepth".to_owned()),
        ("cn2", item.record.chain().len().to_string()),
        ("msg", item.summary()),
    ]
}

/// A syslog header field: printable ASCII without blanks, `-` when empty.
fn name(text: &str, limit: usize) -> String {
    let kept: String = text.chars().filter(char::is_ascii_graphic).take(limit).collect();
    if kept.is_empty() { "-".to_owned() } else { kept }
}

fn header(text: &str) -> String {
    text.chars().fold(String::new(), |mut safe, letter| {
        match letter {
            '\\' | '|' => safe.extend(['\\', letter]),
            letter if letter.is_control() || is_break(letter) => safe.push(' '),
            letter => safe.push(letter),
        }
        safe
    })
}

fn value_of(text: &str) -> String {
    text.chars().fold(String::new(), |mut safe, letter| {
        match letter {
            '\\' | '=' => safe.extend(['\\', letter]),
            '\n' => safe.push_str("\\n"),
            '\r' => safe.push_str("\\r"),
            letter if letter.is_control() || is_break(letter) => safe.push(' '),
            letter => safe.push(letter),
        }
        safe
    })
}

/// Line and paragraph separators, at which some readers cut lines.
fn is_break(letter: char) -> bool {
    matches!(letter, '\u{2028}' | '\u{2029}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_value_can_end_its_field_or_its_line() {
        assert_eq!(header("a|b\\c\nCEF:0|x"), "a\\|b\\\\c CEF:0\\|x");
        assert_eq!(value_of("a=b\\c\r\nact=x\u{2028}y\u{85}z"), "a\\=b\\\\c\\r\\nact\\=x y z");
        assert_eq!(name("a b\u{7}ü", 255), "ab");
        assert_eq!(name("\n", 255), "-");
    }
}
