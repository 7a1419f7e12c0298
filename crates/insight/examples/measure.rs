//! Measures the decision replay and the search index:
//! `measure replay DIR DECISIONS` writes a corpus unless DIR holds one, and replays it;
//! `measure search FILE RECORDS` fills an index with made-up records and asks it.

use remit_insight::{
    corpus, replay,
    search::{Dimension, Index, Query},
};
use remit_ledger::Reader;
use std::{env, error::Error, path::Path, time::Instant};

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = env::args().skip(1).collect();
    match arguments.iter().map(String::as_str).collect::<Vec<_>>().as_slice() {
        ["replay", dir, count] => decisions(Path::new(dir), count.parse()?),
        ["search", file, count] => records(Path::new(file), count.parse()?),
        _ => Err("use: measure replay DIR DECISIONS | measure search FILE RECORDS".into()),
    }
}

#[expect(clippy::disallowed_methods, reason = "it measures time")]
fn now() -> Instant {
    Instant::now()
}

fn rate(count: u64, since: Instant) -> String {
    let seconds = since.elapsed().as_secs_f64();
    format!("{count} in {seconds:.2} s, {:.0} a second", count as f64 / seconds)
}

fn decisions(dir: &Path, count: u64) -> Result<(), Box<dyn Error>> {
    if !dir.join("checkpoint").exists() {
        let began = now();
        let refused = corpus::write(dir, 1, count).map_err(|fault| fault.to_string())?;
        println!("written: {}, {refused} not permitted", rate(count, began));
    }
    let reader = Reader::open(dir)?;
    let began = now();
    let report = replay(&reader);
    println!("replayed: {}", rate(report.decisions, began));
    print!("{report}");
    if report.ok() && report.agree == report.decisions { Ok(()) } else { Err("the replay does not agree".into()) }
}

fn records(file: &Path, count: u64) -> Result<(), Box<dyn Error>> {
    let mut index = Index::open(file)?;
    if index.size() < count {
        let began = now();
        for number in index.size()..count {
            index.add(number, time_of(number), row(number))?;
        }
        index.save("made-up", "")?;
        println!("indexed: {}, {} MB", rate(count, began), std::fs::metadata(file)?.len() / 1_000_000);
    }
    let one = |dimension: Dimension, value: &str| vec![dimension.term(value)];
    let (human, tool) = (one(Dimension::Human, "h17"), one(Dimension::Tool, "tool17"));
    let middle = time_of(count / 2);
    for (name, all, since, until) in [
        ("one person", vec![human.clone()], None, None),
        ("a person and a tool", vec![human.clone(), tool.clone()], None, None),
        ("a tool and a code", vec![tool.clone(), one(Dimension::Code, "policy_denied")], None, None),
        ("one task", vec![one(Dimension::Task, "t4711")], None, None),
        ("a field", vec![one(Dimension::Field, "/customer/email")], None, None),
        ("a tool in an hour", vec![tool], Some(middle), Some(middle + 3_600_000_000_000)),
        ("nothing that exists", vec![one(Dimension::Policy, "none")], None, None),
        ("everything", Vec::new(), None, None),
    ] {
        let began = now();
        let hits = index.search(&Query { all, since, until, limit: 50 })?;
        println!("{name}: {} found in {:.1} ms", hits.total, began.elapsed().as_secs_f64() * 1000.0);
    }
    Ok(())
}

fn time_of(number: u64) -> u64 {
    1_790_000_000_000_000_000 + number * 25_000_000
}

/// Terms as a record of a call has them: about ten, some common, some nearly its own.
fn row(number: u64) -> Vec<String> {
    let spread = number.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 20;
    let tool = spread % 40;
    let mut terms = vec![
        Dimension::Human.term(&format!("h{}", spread % 5_000)),
        Dimension::Agent.term(&format!("a{}", spread % 997)),
        Dimension::Tool.term(&format!("tool{tool}")),
        Dimension::Tool.term(&format!("helpdesk/tool{tool}")),
        Dimension::Resource.term("mcp.tool"),
        Dimension::Resource.term(&format!("ticket:r{}", spread % 1_000_003)),
        Dimension::Task.term(&format!("t{}", number / 12)),
        Dimension::Type.term("decision"),
        Dimension::Policy.term(&format!("policy-{}", spread % 60)),
    ];
    if spread % 11 == 0 {
        terms.push(Dimension::Code.term("policy_denied"));
    }
    if spread % 7 == 0 {
        terms.push(Dimension::Field.term("/customer/email"));
    }
    terms
}
