//! What-if: which past decisions other policies would have made differently. SPEC: record.md §1.8 (R4).
//!
//! The recorded question is put to a candidate bundle. Only what policies decide is compared: a call that they permitted
//! and that a spent budget refused does not flip because the candidate permits it too.

use crate::{
    recorded_question::{Stop, question},
    replay::by_policies,
};
use remit_ledger::{Reader, Record, dir::ReadError};
use remit_model::display;
use remit_policy::{Bundle, Decision, Effect};
use serde::Serialize;
use serde_json::Value;
use std::{collections::BTreeMap, fmt};

/// Most records of one group that are listed; all are counted.
const LISTED: usize = 1000;

/// What a candidate bundle would have changed.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct WhatIf {
    /// Digest of the candidate policy set.
    pub candidate: String,
    /// Decisions in the period that policies took part in.
    pub decisions: u64,
    /// Decided by the candidate as they were.
    pub same: u64,
    /// Decided otherwise.
    pub flipped: u64,
    /// The flips, grouped; the largest group first.
    pub flips: Vec<Flip>,
    /// The question is withheld or erased.
    pub undisclosed: u64,
    /// Asked under another schema than the candidate's, by schema digest; not compared.
    pub other_schema: BTreeMap<String, u64>,
    /// Records whose question cannot be read or is not the committed one: run the decision replay.
    pub unreadable: Vec<u64>,
}

/// Decisions that flip in the same way.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Flip {
    /// The tool, as `server/name`, or the action where there is no tool.
    pub what: String,
    /// Recorded result.
    pub was: String,
    /// The candidate's: `allow`, `deny`, `step_up` or `error_fail_closed`.
    pub becomes: String,
    /// The rules that determine the candidate's decision; empty when nothing permits.
    pub rules: Vec<String>,
    pub count: u64,
    /// Which records they are, at most the first 1000.
    pub records: Vec<u64>,
    /// The newest record of the group.
    pub example: Example,
}

/// One decision of a group.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Example {
    pub index: u64,
    pub record_id: String,
    /// What was said then and what the candidate says, from the policies' annotations.
    pub explanation: String,
}

/// Puts every recorded question since `since_ns` (nanoseconds since 1970) to the candidate.
///
/// # Errors
/// When a record cannot be read.
pub fn what_if(reader: &Reader, candidate: &Bundle, since_ns: Option<u64>) -> Result<WhatIf, ReadError> {
    let mut report = WhatIf { candidate: candidate.digest().to_owned(), ..WhatIf::default() };
    let mut groups: BTreeMap<(String, String, String, Vec<String>), Flip> = BTreeMap::new();
    for index in 0..reader.len() {
        let record = reader.record(index)?;
        if since_ns.is_some_and(|since| record.wall_ns() < since) {
            continue;
        }
        let Some(recorded) = record.decision().filter(|decision| decision.get("policy_set_digest").is_some()) else { continue };
        report.decisions += 1;
        let schema = text(recorded, "schema_digest");
        if schema != candidate.schema_digest() {
            *report.other_schema.entry(schema.to_owned()).or_default() += 1;
            continue;
        }
        let asked = match question(reader, index, &record, recorded) {
            Ok(asked) => asked,
            Err(Stop::Undisclosed) => {
                report.undisclosed += 1;
                continue;
            }
            Err(Stop::Alarm(_)) => {
                report.unreadable.push(index);
                continue;
            }
        };
        let decision = candidate.decide(&asked);
        if decision.effect == by_policies(recorded) {
            report.same += 1;
            continue;
        }
        report.flipped += 1;
        let flip = flip(index, &record, recorded, &decision);
        let key = (flip.what.clone(), flip.was.clone(), flip.becomes.clone(), flip.rules.clone());
        let group = groups.entry(key).or_insert_with(|| Flip { count: 0, records: Vec::new(), ..flip.clone() });
        group.count += 1;
        if group.records.len() < LISTED {
            group.records.push(index);
        }
        group.example = flip.example;
    }
    report.flips = groups.into_values().collect();
    report.flips.sort_by(|a, b| b.count.cmp(&a.count).then_with(|| a.what.cmp(&b.what)));
    Ok(report)
}

fn flip(index: u64, record: &Record, recorded: &Value, decision: &Decision) -> Flip {
    let server = record.text("/tool/server_id").map(|server| format!("{server}/")).unwrap_or_default();
    let tool = record.text("/tool/name").filter(|name| !name.is_empty()).map(|name| format!("{server}{name}"));
    let becomes = match decision.effect {
        Effect::Permit => "allow",
        Effect::StepUp => "step_up",
        Effect::Deny if decision.errors.is_empty() => "deny",
        Effect::Deny => "error_fail_closed",
    };
    let named = decision.policies.iter().map(|policy| format!("{} ({})", policy.id, policy.effect.name()));
    let failed = decision.errors.iter().map(|error| format!("{} (error)", error.id));
    let then = Some(text(recorded, "explanation")).filter(|said| !said.is_empty()).unwrap_or("no explanation was recorded.");
    Flip {
        what: tool.unwrap_or_else(|| record.action().to_owned()),
        was: text(recorded, "result").to_owned(),
        becomes: becomes.to_owned(),
        rules: named.chain(failed).collect(),
        count: 1,
        records: vec![index],
        example: Example {
            index,
            record_id: record.record_id().to_owned(),
            explanation: format!("Then: {then} With these policies: {}", decision.explanation),
        },
    }
}

fn text<'v>(value: &'v Value, name: &str) -> &'v str {
    value.get(name).and_then(Value::as_str).unwrap_or_default()
}

impl fmt::Display for WhatIf {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{} of {} decisions would come out differently", self.flipped, self.decisions)?;
        for flip in &self.flips {
            let rules = if flip.rules.is_empty() {
                "no policy permits it".to_owned()
            } else {
                display::escape(&flip.rules.join(", ")).into_owned()
            };
            writeln!(
                f,
                "{:>8} × {}: {} → {}, by {rules}",
                flip.count,
                display::escape(&flip.what),
                display::escape(&flip.was),
                flip.becomes
            )?;
            writeln!(f, "{:>8}   for example record {}. {}", "", flip.example.index, display::escape(&flip.example.explanation))?;
        }
        if self.undisclosed > 0 {
            writeln!(f, "note {} decisions were not compared: their questions are not with this copy", self.undisclosed)?;
        }
        for (schema, count) in &self.other_schema {
            writeln!(
                f,
                "note {count} decisions were not compared: they were asked under schema {}, not the candidate's",
                display::escape(schema)
            )?;
        }
        if let Some(first) = self.unreadable.first() {
            let count = self.unreadable.len();
            writeln!(
                f,
                "note {count} questions are not what was committed, the first in record {first}: run the decision replay"
            )?;
        }
        Ok(())
    }
}
