//! The search index: filled with made-up records of about ten terms each, and asked.

use crate::{
    Scale,
    rounds::{self, Figures},
    table::{Goal, Table},
};
use anyhow::{Result, ensure};
use remit_insight::search::{Dimension, Index, Query};
use std::path::Path;

/// Nanoseconds between two made-up records, and of an hour.
const STEP: u64 = 25_000_000;
const HOUR: u64 = 3_600_000_000_000;

pub(crate) fn run(folder: &Path, scale: &Scale, table: &mut Table) -> Result<()> {
    let count = scale.large;
    let mut index = Index::open(&folder.join("index.db"))?;
    let began = rounds::now();
    for number in 0..count {
        index.add(number, time_of(number), row(number))?;
    }
    index.save("made-up", "")?;
    let mut filled = Figures::default();
    #[expect(clippy::cast_precision_loss, reason = "a rate")]
    filled.push(count as f64 / began.elapsed().as_secs_f64());
    table.alone(&format!("search index: records taken in, of {count}"), "records/s", &filled, None);
    for (name, query) in queries(count) {
        let mut times = Figures::default();
        for _ in 0..scale.rounds {
            let began = rounds::now();
            let hits = index.search(&query)?;
            times.push(began.elapsed().as_secs_f64() * 1_000.0);
            ensure!((hits.total > 0) != (name == "nothing that exists"), "{name}: {} found", hits.total);
        }
        table.alone(&format!("search among {count}: {name}"), "ms", &times, Some(Goal::AtMost(1_000.0)));
    }
    Ok(())
}

fn queries(count: u64) -> Vec<(&'static str, Query)> {
    let one = |dimension: Dimension, value: &str| vec![dimension.term(value)];
    let query = |all, since, until| Query { all, since, until, limit: 50 };
    let (human, tool) = (one(Dimension::Human, "h17"), one(Dimension::Tool, "tool17"));
    let middle = time_of(count / 2);
    vec![
        ("one person", query(vec![human.clone()], None, None)),
        ("a person and a tool", query(vec![human, tool.clone()], None, None)),
        ("a tool and a code", query(vec![tool.clone(), one(Dimension::Code, "policy_denied")], None, None)),
        ("one task", query(vec![one(Dimension::Task, "t4711")], None, None)),
        ("a field", query(vec![one(Dimension::Field, "/customer/email")], None, None)),
        ("a tool within an hour", query(vec![tool], Some(middle), Some(middle + HOUR))),
        ("nothing that exists", query(vec![one(Dimension::Policy, "none")], None, None)),
        ("everything", query(Vec::new(), None, None)),
    ]
}

fn time_of(number: u64) -> u64 {
    1_790_000_000_000_000_000 + number * STEP
}

/// Terms as a record of a call has them: some common, some nearly its own.
fn row(number: u64) -> Vec<String> {
    let spread = number.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 20;
    let tool = spread % 40;
    let mut terms = vec![
        Dimension::Human.term(&format!("h{}", (spread >> 8) % 1_000)),
        Dimension::Agent.term(&format!("a{}", spread % 997)),
        Dimension::Tool.term(&format!("tool{tool}")),
        Dimension::Tool.term(&format!("helpdesk/tool{tool}")),
        Dimension::Resource.term("mcp.tool"),
        Dimension::Resource.term(&format!("ticket:r{}", spread % 1_000_003)),
        Dimension::Task.term(&format!("t{}", number / 12)),
        Dimension::Type.term("decision"),
        Dimension::Policy.term(&format!("policy-{}", spread % 60)),
    ];
    if spread.is_multiple_of(11) {
        terms.push(Dimension::Code.term("policy_denied"));
    }
    if spread.is_multiple_of(7) {
        terms.push(Dimension::Field.term("/customer/email"));
    }
    terms
}
