//! `bench/baseline.json`: what things are known to cost, why, and who said so when.

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};
use std::{collections::BTreeMap, fmt, fmt::Write as _, fs, path::Path};

/// How far a figure that is not exact may be from the baseline, either way, in per cent.
const TOLERANCE: f64 = 3.0;
/// Counts that are bounded by the tolerance rather than exact: tables grow now and then.
const BOUNDED: [&str; 2] = ["allocations", "instructions"];

/// What one run counted.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Measured {
    /// Instructions of one repetition of a step.
    pub(crate) steps: BTreeMap<String, u64>,
    /// Of one operation, by kind.
    pub(crate) operations: BTreeMap<String, BTreeMap<String, f64>>,
    /// Policies that a decision looked at.
    pub(crate) considered: BTreeMap<String, u64>,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Baseline {
    /// Instructions of single steps, signatures excluded; within 3 % either way.
    instructions: BTreeMap<String, u64>,
    /// Counts of whole requests, exact but for allocations and instructions.
    operations: BTreeMap<String, BTreeMap<String, Expected>>,
    /// Policies that a decision looks at, among so many; exact.
    policies_considered: BTreeMap<String, u64>,
    /// Every change of this file.
    log: Vec<Entry>,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Expected {
    count: f64,
    /// Why it is this many.
    why: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    date: String,
    reason: String,
}

impl Baseline {
    pub(crate) fn read(file: &Path) -> Result<Self> {
        let text = fs::read_to_string(file).with_context(|| format!("{} cannot be read", file.display()))?;
        Self::parse(&text).with_context(|| format!("{} is not a baseline", file.display()))
    }

    fn parse(text: &str) -> Result<Self> {
        Ok(serde_json::from_str(text)?)
    }

    pub(crate) fn write(&self, file: &Path) -> Result<()> {
        Ok(fs::write(file, serde_json::to_string_pretty(self)? + "\n")?)
    }

    /// What is otherwise than it should be, one sentence each.
    pub(crate) fn compare(&self, measured: &Measured) -> Vec<String> {
        let mut findings = Vec::new();
        for (name, before, after) in both(&self.instructions, &measured.steps) {
            findings.extend(difference(name, "instructions", before.copied().map(real), after.copied().map(real), TOLERANCE));
        }
        for (name, before, after) in both(&self.operations, &measured.operations) {
            let (none, nothing) = (BTreeMap::new(), BTreeMap::new());
            for (kind, before, after) in both(before.unwrap_or(&none), after.unwrap_or(&nothing)) {
                let tolerance = if BOUNDED.contains(&kind.as_str()) { TOLERANCE } else { 0.0 };
                findings.extend(difference(name, kind, before.map(|expected| expected.count), after.copied(), tolerance));
                if before.is_some_and(|expected| expected.why.trim().is_empty()) {
                    findings.push(format!("{name}: the baseline does not say why its {kind} are that many"));
                }
            }
        }
        for (name, before, after) in both(&self.policies_considered, &measured.considered) {
            findings.extend(difference(name, "policies considered", before.copied().map(real), after.copied().map(real), 0.0));
        }
        if self.log.iter().any(|entry| entry.reason.trim().is_empty()) || self.log.is_empty() {
            findings.push("the baseline's log has no reason".to_owned());
        }
        findings
    }

    /// All figures, before and after.
    pub(crate) fn beside(&self, measured: &Measured) -> String {
        let mut text = String::new();
        for (name, before, after) in both(&self.instructions, &measured.steps) {
            line(&mut text, name, "instructions", before.copied().map(real), after.copied().map(real));
        }
        for (name, before, after) in both(&self.operations, &measured.operations) {
            let (none, nothing) = (BTreeMap::new(), BTreeMap::new());
            for (kind, before, after) in both(before.unwrap_or(&none), after.unwrap_or(&nothing)) {
                line(&mut text, name, kind, before.map(|expected| expected.count), after.copied());
            }
        }
        for (name, before, after) in both(&self.policies_considered, &measured.considered) {
            line(&mut text, name, "policies considered", before.copied().map(real), after.copied().map(real));
        }
        text
    }

    /// Takes over what was measured. What was said of why a count is that many stays.
    pub(crate) fn take(&mut self, measured: &Measured, date: &str, reason: &str) {
        self.instructions.clone_from(&measured.steps);
        self.policies_considered.clone_from(&measured.considered);
        let before = std::mem::take(&mut self.operations);
        for (name, counts) in &measured.operations {
            let known = before.get(name);
            let expected = counts.iter().map(|(kind, count)| {
                let why = known.and_then(|known| known.get(kind)).map(|expected| expected.why.clone()).unwrap_or_default();
                let count = if BOUNDED.contains(&kind.as_str()) { count.round() } else { *count };
                (kind.clone(), Expected { count, why })
            });
            self.operations.insert(name.clone(), expected.collect());
        }
        self.log.push(Entry { date: date.to_owned(), reason: reason.to_owned() });
    }
}

impl fmt::Display for Measured {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} steps, {} operations", self.steps.len(), self.operations.len())
    }
}

/// Every name of either, with what each says of it.
fn both<'m, A, B>(
    before: &'m BTreeMap<String, A>,
    after: &'m BTreeMap<String, B>,
) -> impl Iterator<Item = (&'m String, Option<&'m A>, Option<&'m B>)> {
    let only_after = after.iter().filter(|(name, _)| !before.contains_key(*name)).map(|(name, value)| (name, None, Some(value)));
    before.iter().map(|(name, value)| (name, Some(value), after.get(name))).chain(only_after)
}

fn difference(name: &str, what: &str, before: Option<f64>, after: Option<f64>, tolerance: f64) -> Option<String> {
    match (before, after) {
        (Some(before), Some(after)) => {
            let change = change(before, after);
            let within = (after - before).abs() <= before.abs() * tolerance / 100.0;
            (!within)
                .then(|| format!("{name}: {} {what}, were {} ({change}; {tolerance} % is allowed)", shown(after), shown(before)))
        }
        (Some(_), None) => Some(format!("{name}: {what} are in the baseline and were not counted")),
        (None, Some(after)) => Some(format!("{name}: {} {what} are not in the baseline", shown(after))),
        (None, None) => None,
    }
}

fn line(text: &mut String, name: &str, what: &str, before: Option<f64>, after: Option<f64>) {
    let figure = |value: Option<f64>| value.map_or_else(|| "-".to_owned(), shown);
    let change = before.zip(after).map(|(before, after)| change(before, after)).unwrap_or_default();
    let _ = writeln!(text, "{name:<32} {what:<20} {:>12} -> {:>12}  {change}", figure(before), figure(after));
}

fn change(before: f64, after: f64) -> String {
    if (before - after).abs() < f64::EPSILON {
        String::from("same")
    } else if before == 0.0 {
        String::from("from nothing")
    } else {
        format!("{:+.1} %", (after / before - 1.0) * 100.0)
    }
}

fn shown(value: f64) -> String {
    if value.fract() == 0.0 { format!("{value:.0}") } else { format!("{value:.2}") }
}

#[expect(clippy::cast_precision_loss, reason = "far below 2^53")]
fn real(value: u64) -> f64 {
    value as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    fn measured(instructions: u64, verifications: f64, allocations: f64) -> Measured {
        let counts = [("verifications", verifications), ("allocations", allocations)];
        Measured {
            steps: [("meet".to_owned(), instructions), ("within".to_owned(), 500)].into(),
            operations: [("exchange".to_owned(), counts.map(|(kind, count)| (kind.to_owned(), count)).into())].into(),
            considered: [("of 10".to_owned(), 10)].into(),
        }
    }

    fn baseline() -> Baseline {
        let mut baseline = Baseline::default();
        baseline.take(&measured(10_000, 4.0, 1_000.0), "2026-11-22", "the first figures");
        for expected in baseline.operations.values_mut().flat_map(BTreeMap::values_mut) {
            "because".clone_into(&mut expected.why);
        }
        baseline
    }

    #[test]
    fn what_is_as_it_was_passes_and_so_does_two_per_cent() {
        assert_eq!(baseline().compare(&measured(10_000, 4.0, 1_000.0)), Vec::<String>::new());
        for (instructions, allocations) in [(10_200, 1_020.0), (9_800, 980.0), (10_300, 970.0)] {
            assert_eq!(baseline().compare(&measured(instructions, 4.0, allocations)), Vec::<String>::new());
        }
    }

    #[test]
    fn four_per_cent_fails_in_either_direction_and_says_what_was_before() {
        for (instructions, change) in [(10_400, "+4.0 %"), (9_600, "-4.0 %")] {
            let findings = baseline().compare(&measured(instructions, 4.0, 1_000.0));
            let [finding] = findings.as_slice() else { panic!("{findings:?}") };
            assert!(finding.starts_with(&format!("meet: {instructions} instructions, were 10000 ({change}")), "{finding}");
        }
        let findings = baseline().compare(&measured(10_000, 4.0, 1_040.0));
        assert!(matches!(findings.as_slice(), [one] if one.contains("1040 allocations, were 1000")), "{findings:?}");
    }

    #[test]
    fn one_signature_more_or_less_fails() {
        for verifications in [5.0, 3.0, 0.0, 4.03] {
            let findings = baseline().compare(&measured(10_000, verifications, 1_000.0));
            assert!(matches!(findings.as_slice(), [one] if one.contains("verifications, were 4")), "{findings:?}");
        }
    }

    #[test]
    fn policies_considered_are_exact() {
        let mut more = measured(10_000, 4.0, 1_000.0);
        more.considered.insert("of 10".to_owned(), 11);
        assert_eq!(baseline().compare(&more).len(), 1);
    }

    #[test]
    fn missing_and_extra_names_fail() {
        let full = measured(10_000, 4.0, 1_000.0);
        let without = |change: fn(&mut Measured)| {
            let mut measured = full.clone();
            change(&mut measured);
            baseline().compare(&measured)
        };
        for change in [
            (|measured| measured.steps.retain(|name, _| name != "meet")) as fn(&mut Measured),
            |measured| measured.operations.values_mut().for_each(|counts| counts.retain(|kind, _| kind != "verifications")),
            |measured| measured.considered.clear(),
            |measured| measured.steps.extend([("new".to_owned(), 1)]),
            |measured| measured.operations.extend([("new".to_owned(), [("syncs".to_owned(), 1.0)].into())]),
        ] {
            assert_eq!(without(change).len(), 1);
        }
        assert_eq!(without(|measured| measured.operations.clear()).len(), 2);
    }

    #[test]
    fn a_count_without_a_why_fails() {
        let mut silent = baseline();
        silent.operations.get_mut("exchange").unwrap().get_mut("verifications").unwrap().why.clear();
        let findings = silent.compare(&measured(10_000, 4.0, 1_000.0));
        assert!(matches!(findings.as_slice(), [one] if one.contains("does not say why")), "{findings:?}");
    }

    #[test]
    fn taking_figures_keeps_what_was_said_and_adds_the_reason() {
        let mut next = baseline();
        next.take(&measured(9_000, 3.0, 900.4), "2026-11-23", "verified tokens are remembered");
        assert_eq!(next.compare(&measured(9_000, 3.0, 900.0)), Vec::<String>::new());
        assert_eq!(next.log.len(), 2);
        assert_eq!(next.operations["exchange"]["verifications"].why, "because");
        let text = serde_json::to_string_pretty(&next).unwrap();
        assert_eq!(Baseline::parse(&text).unwrap(), next);
    }

    #[test]
    fn a_malformed_file_says_where() {
        let good = serde_json::to_string(&baseline()).unwrap();
        assert!(Baseline::parse(&good).is_ok());
        for bad in [
            "",
            "{}",
            "[]",
            &good.replace("10000", "\"many\""),
            &good.replace("10000", "-1"),
            &good.replace("\"log\"", "\"lag\""),
            &good.replace("\"why\"", "\"how\""),
            good.strip_suffix('}').unwrap_or_default(),
        ] {
            let error = Baseline::parse(bad).expect_err(bad).to_string();
            assert!(error.contains("line"), "{error}");
        }
        let missing = Baseline::read(Path::new("no/such/file")).expect_err("it is not there");
        assert!(format!("{missing:#}").contains("no/such/file"), "{missing:#}");
    }
}
