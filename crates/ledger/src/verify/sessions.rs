//! Completeness: gapless numbers per session, the counts a log states of itself, and silence. SPEC: record.md §1.9.

use super::Report;
use crate::record::Record;
use serde_json::Value;
use std::collections::{BTreeMap, HashMap};

/// Silence is worth a note when it lasts longer than this many announced intervals.
const SILENT_INTERVALS: u64 = 3;

/// What is remembered of sessions and of each producer's counts.
#[derive(Default)]
pub(super) struct Completeness {
    sessions: HashMap<String, Session>,
    producers: HashMap<String, Running>,
    closed: u64,
}

#[derive(Default)]
struct Session {
    first: u64,
    counts: Counts,
}

/// One producer's epoch so far.
#[derive(Default)]
struct Running {
    since: Counts,
    epoch: Counts,
    every_ns: u64,
    mono_ns: u64,
    boot_id: String,
}

#[derive(Default)]
struct Counts {
    from: u64,
    records: u64,
    types: BTreeMap<String, u64>,
}

impl Counts {
    fn from(from: u64) -> Self {
        Self { from, ..Self::default() }
    }

    fn add(&mut self, kind: &str) {
        self.records = self.records.saturating_add(1);
        let count = self.types.entry(kind.to_owned()).or_default();
        *count = count.saturating_add(1);
    }

    /// Whether a record's statement is exactly this.
    fn is(&self, stated: &Value, with_from: bool) -> bool {
        let text = |number: u64| Value::String(number.to_string());
        let types: serde_json::Map<_, _> = self.types.iter().map(|(kind, count)| (kind.clone(), text(*count))).collect();
        let from = if with_from { Some(text(self.from)) } else { None };
        stated.get("records") == Some(&text(self.records))
            && stated.get("types") == Some(&Value::Object(types))
            && (from.is_none() || stated.get("from") == from.as_ref())
    }
}

impl Completeness {
    pub(super) fn check(&mut self, index: u64, record: &Record, report: &mut Report) {
        self.check_session(index, record, report);
        self.check_counts(index, record, report);
    }

    /// SPEC: record.md §1.9 (1), (3).
    fn check_session(&mut self, index: u64, record: &Record, report: &mut Report) {
        let Some(id) = record.text("/session/id") else {
            if record.text("/session_seq").is_some() {
                report.fail("sessions", Some(index), "session_seq without a session");
            }
            return;
        };
        let session = self.sessions.entry(id.to_owned()).or_insert_with(|| Session { first: index, ..Session::default() });
        let due = session.counts.records;
        if record.number("/session_seq") != Some(due) {
            let found = record.text("/session_seq").unwrap_or("none").to_owned();
            report.fail("sessions", Some(index), format!("session_seq {found} where {due} is due"));
        }
        session.counts.add(record.record_type());
        if record.record_type() == "session_close" {
            if !record.ext("session").is_some_and(|stated| session.counts.is(stated, false)) {
                report.fail("sessions", Some(index), "the counts at the session's close are not those of its records");
            }
            self.sessions.remove(id);
            self.closed = self.closed.saturating_add(1);
        }
    }

    /// SPEC: record.md §1.9 (4).
    fn check_counts(&mut self, index: u64, record: &Record, report: &mut Report) {
        let running = self.producers.entry(record.producer_id().to_owned()).or_default();
        let (mono_ns, boot_id) =
            (record.number("/time/mono_ns").unwrap_or_default(), record.text("/time/boot_id").unwrap_or_default());
        if record.is_start() {
            *running = Running { since: Counts::from(index.saturating_add(1)), epoch: Counts::from(index), ..Running::default() };
        } else if running.boot_id == boot_id {
            let silence = mono_ns.saturating_sub(running.mono_ns);
            if running.every_ns > 0 && silence > running.every_ns.saturating_mul(SILENT_INTERVALS) {
                let seconds = silence / 1_000_000_000;
                report.note(format!("record {index}: {seconds} s of silence before it, longer than the announced heartbeat"));
            }
        }
        let every = record.ext("heartbeat").and_then(|facts| facts.get("every_ns")).and_then(Value::as_str);
        if let Some(every) = every.filter(|_| record.is_start() || record.record_type() == "heartbeat") {
            running.every_ns = every.parse().unwrap_or(0);
        }
        (running.mono_ns, running.boot_id) = (mono_ns, boot_id.to_owned());
        let stops = record.record_type() == "log_control" && record.action() == "stop";
        if stops || record.record_type() == "heartbeat" {
            // A stop may state nothing; a heartbeat is there for its counts.
            let stated = record.ext("counts").map_or(stops, |stated| running.since.is(stated, true));
            let whole = !stops || record.ext("epoch").is_none_or(|stated| running.epoch.is(stated, true));
            if !(stated && whole) {
                report.fail("counts", Some(index), "the counts it states are not those of the records before it");
            }
            running.since = Counts::from(index.saturating_add(1));
        } else if !record.is_start() {
            running.since.add(record.record_type());
        }
        running.epoch.add(record.record_type());
    }

    pub(super) fn finish(self, report: &mut Report) {
        report.pass_with("sessions", format!("{} closed, {} open at the end", self.closed, self.sessions.len()));
        report.pass("counts");
        let mut open: Vec<_> = self.sessions.into_values().map(|session| session.first).collect();
        open.sort_unstable();
        for first in open {
            report.note(format!("the session that begins at record {first} was never closed"));
        }
    }
}
