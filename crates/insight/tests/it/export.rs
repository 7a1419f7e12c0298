//! Export formats over records whose values try to break out of them, and over what must not leave. SPEC: N-EX-01, N-EX-03.

use crate::world::World;
use remit_insight::export::{Item, Names, cef, csv, jsonl, ocsf, otlp, scitt};
use remit_ledger::{Record, record::Trace};
use remit_model::resource::ToolClass::Payment;
use serde_json::{Value, json};

const HOSTILE: &str = "=cmd|'/C calc'!A0\\\r\n<110>1 - CEF:0|x|act=forged";
const SECRET: &str = "4111111111111111";

/// A call with hostile names, a trace and a secret among its arguments.
fn hostile() -> (Record, Vec<u8>, Option<remit_ledger::Side>) {
    let mut world = World::new();
    let planner = world.login(|_| {});
    let index = world.call(&planner, "refund_create", Payment, &json!({"card": SECRET}), |draft| {
        draft.action.name = HOSTILE.into();
        draft.outcome.code = Some(HOSTILE.into());
        draft.trace = Some(Trace {
            trace_id: "4BF92F3577B34DA6A3CE929D0E0E4736".into(),
            span_id: "00f067aa0ba902b7".into(),
            flags: "01".into(),
        });
    });
    let opened = world.publish().reader();
    let entry = opened.entry(index).unwrap();
    let side = opened.side(index).unwrap();
    (Record::parse(&entry).unwrap(), entry, side)
}

fn item(record: &Record, names: Names) -> Item<'_> {
    Item { record, index: 7, origin: "log.example/main", size: 9, leaf: "sha-256:00".into(), names }
}

#[test]
fn a_hostile_name_stays_inside_its_field_in_every_format() {
    let (record, ..) = hostile();
    let item = item(&record, Names::default());
    let syslog = String::from_utf8(cef::line(&item)).unwrap();
    assert_eq!(syslog.matches('\n').count(), 1, "one event, one line");
    assert!(syslog.contains("act=\\=cmd|'/C calc'!A0\\\\\\r\\n<110>1 - CEF:0|x|act\\=forged"), "{syslog}");
    let header: Vec<&str> = syslog.split("CEF:0|Remit|Remit|").nth(1).unwrap().split("|rt=").collect();
    assert_eq!(header.len(), 2, "the header's fields are escaped: {syslog}");
    let table = String::from_utf8(csv::line(&item)).unwrap();
    assert!(table.contains("\"'=cmd|"), "{table}");
    for line in [jsonl::line(&item), ocsf::line(&item, ocsf::Edition::Current), otlp::request(std::slice::from_ref(&item))] {
        assert_eq!(line.split(|byte| *byte == b'\n').count(), 2, "one line, ended");
        serde_json::from_slice::<Value>(&line).unwrap();
    }
}

#[test]
fn n_ex_01_no_value_from_beside_the_log_leaves() {
    let (record, ..) = hostile();
    let item = item(&record, Names::default());
    let all = [
        jsonl::line(&item),
        csv::line(&item),
        cef::line(&item),
        ocsf::line(&item, ocsf::Edition::Current),
        ocsf::line(&item, ocsf::Edition::Next),
        otlp::request(std::slice::from_ref(&item)),
    ];
    for line in all {
        let text = String::from_utf8(line).unwrap();
        assert!(!text.contains(SECRET) && !text.contains("user:"), "{text}");
    }
}

#[test]
fn names_are_written_only_where_they_were_disclosed() {
    let (record, _, side) = hostile();
    let names = Names::of(&side.unwrap(), record.chain().len());
    let name = names.chain.first().unwrap().clone().unwrap();
    let item = item(&record, names);
    let event: Value = serde_json::from_slice(&ocsf::line(&item, ocsf::Edition::Current)).unwrap();
    assert_eq!(event["actor"]["user"]["name"], name.as_str());
    assert!(String::from_utf8(csv::line(&item)).unwrap().contains(&name));
}

#[test]
fn a_log_record_joins_the_trace_of_its_request() {
    let (record, ..) = hostile();
    let request: Value = serde_json::from_slice(&otlp::request(&[item(&record, Names::default())])).unwrap();
    let log = &request["resourceLogs"][0]["scopeLogs"][0]["logRecords"][0];
    assert_eq!((&log["traceId"], &log["spanId"]), (&json!("4bf92f3577b34da6a3ce929d0e0e4736"), &json!("00f067aa0ba902b7")));
    assert_eq!(log["flags"], 1);
    assert!(otlp::request(&[]).is_empty());
}

/// The published record with another clock.
fn with_clock(record: &Record, status: &str, bound: u64) -> Record {
    let mut value = record.value().clone();
    for (member, text) in [("/time/clock_status", status.to_owned()), ("/time/error_bound_ns", bound.to_string())] {
        *value.pointer_mut(member).unwrap() = json!(text);
    }
    Record::parse(&remit_model::json::canonical(&value)).unwrap()
}

#[test]
fn n_rc_time_leaves_with_its_error_bound_in_every_format() {
    let (record, ..) = hostile();
    for (status, bound, accuracy) in [
        ("synchronized", 1_500_001, Some("1501")),
        ("synchronized", u64::MAX, None),
        ("unknown", u64::MAX, None),
        ("disrupted", u64::MAX, None),
    ] {
        let record = with_clock(&record, status, bound);
        let item = item(&record, Names::default());
        let text = |line: Vec<u8>| String::from_utf8(line).unwrap();
        let synced = u8::from(status == "synchronized");
        let micros = accuracy.map(|micros| format!(" syncAccuracy=\"{micros}\"")).unwrap_or_default();
        let quality = format!(" [timeQuality tzKnown=\"1\" isSynced=\"{synced}\"{micros}]");
        assert!(text(cef::line(&item)).contains(&quality), "{quality}");
        let cells = format!(",{status},{}\r\n", if bound == u64::MAX { String::new() } else { bound.to_string() });
        assert!(text(csv::line(&item)).ends_with(&cells), "{cells}");
        let otlp = text(otlp::request(std::slice::from_ref(&item)));
        assert!(otlp.contains(&format!("\"remit.time.clock_status\",\"value\":{{\"stringValue\":\"{status}\"}}")), "{otlp}");
        assert_eq!(otlp.contains("remit.time.error_bound_ns"), bound < u64::MAX, "a bound that is none is not exported");
        for line in [text(jsonl::line(&item)), text(ocsf::line(&item, ocsf::Edition::Current))] {
            assert!(line.contains(&format!("\"error_bound_ns\":\"{bound}\"")), "{line}");
        }
    }
}

#[test]
fn a_statement_is_not_made_without_a_signature() {
    let (record, entry, _) = hostile();
    let item = item(&record, Names::default());
    assert_eq!(scitt::statement(&item, &entry, "kid", |_| None), None);
    let statement =
        scitt::statement(&item, &entry, "kid", |asked| asked.starts_with(b"\x84\x6aSignature1").then(|| vec![0; 64])).unwrap();
    assert!(statement.starts_with(b"\xd2\x84"), "tag 18, four parts");
}
