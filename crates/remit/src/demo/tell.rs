//! Telling the story: one numbered step at a time, on standard output, and the table at the end.

use serde_json::{Value, json};

/// What a step came to.
#[derive(Clone, Debug, Default)]
pub(crate) struct Told {
    /// Lines that show what happened.
    pub(crate) shown: Vec<String>,
    /// Whether it went as a safe system makes it go.
    pub(crate) held: bool,
    /// `allowed`, a refusal's code, or a check's result.
    pub(crate) result: String,
    /// Number of the record that proves it.
    pub(crate) record: Option<u64>,
}

/// The narrator.
#[derive(Debug)]
pub(crate) struct Teller {
    json: bool,
    total: usize,
    rows: Vec<(String, Told)>,
}

impl Teller {
    pub(crate) fn new(json: bool, total: usize) -> Self {
        Self { json, total, rows: Vec::new() }
    }

    /// A heading between groups of steps.
    pub(crate) fn chapter(&self, title: &str) {
        if !self.json {
            outln!("\n── {title} {}", "─".repeat(100_usize.saturating_sub(title.chars().count())));
        }
    }

    /// Tells one step.
    pub(crate) fn step(&mut self, title: &str, told: Told) {
        let number = self.rows.len() + 1;
        if self.json {
            outln!(
                "{}",
                json!({"step": number, "title": title, "held": told.held, "result": told.result, "record": told.record, "shown": told.shown})
            );
        } else {
            outln!("\n[{number:>2}/{}] {title}", self.total);
            for line in &told.shown {
                outln!("        {line}");
            }
            let record = told.record.map(|index| format!("  · record {index}")).unwrap_or_default();
            outln!("     {} {}{record}", if told.held { "✓" } else { "✗ NOT AS IT SHOULD BE:" }, told.result);
        }
        self.rows.push((title.to_owned(), told));
    }

    /// Whether every step so far held, and none was left out.
    pub(crate) fn all_held(&self) -> bool {
        self.rows.len() == self.total && self.rows.iter().all(|(_, told)| told.held)
    }

    /// Records and codes of the steps, for checking them against the ledger.
    pub(crate) fn recorded(&self) -> impl Iterator<Item = (u64, &str)> {
        self.rows.iter().filter_map(|(_, told)| told.record.map(|index| (index, told.result.as_str())))
    }

    /// The record of a refusal by argument, which `explain` has most to say of; any other if there is none.
    pub(crate) fn refused(&self) -> Option<u64> {
        let mut all = self.recorded().collect::<Vec<_>>();
        all.sort_by_key(|(_, result)| *result != "argument_not_granted");
        all.first().map(|(index, _)| *index)
    }

    /// The table that sums it all up.
    pub(crate) fn summary(&self) {
        if self.json {
            outln!("{}", json!({"held": self.all_held(), "steps": self.rows.len()}));
            return;
        }
        outln!("\n    step{:<88}result{:<18}record", "", "");
        for (number, (title, told)) in self.rows.iter().enumerate() {
            let record = told.record.map(|index| index.to_string()).unwrap_or_default();
            outln!("{} {:>2} {title:<88} {:<24} {record:>5}", if told.held { "✓" } else { "✗" }, number + 1, told.result);
        }
    }
}

/// A token's claims as people read them: the ones that matter, one a line.
pub(crate) fn claims(token: &str) -> Vec<String> {
    let Ok(seen) = remit_token::inspect_unverified(token) else { return vec!["(not a JWT)".to_owned()] };
    let claims: Value = serde_json::to_value(&seen.claims).unwrap_or_default();
    let mut lines = Vec::new();
    for name in ["sub", "act", "aud", "scope", "cnf", "exp", "txn"] {
        if let Some(value) = claims.get(name) {
            lines.push(format!("{name:<22}{value}"));
        }
    }
    for grant in claims.get("authorization_details").and_then(Value::as_array).into_iter().flatten() {
        let mut grant = grant.clone();
        if let Some(members) = grant.as_object_mut() {
            members.retain(|name, _| name != "type" && name != "locations");
        }
        lines.push(format!("{:<22}{grant}", "authorization_details"));
    }
    lines
}
