//! The result: one row a figure, as JSON and as a table for people.

use crate::rounds::Figures;
use anyhow::{Context as _, Result};
use serde::Serialize;
use std::{fmt::Write as _, fs, path::Path};

const BEGIN: &str = "<!-- figures of the last full run: begin -->";
const END: &str = "<!-- figures of the last full run: end -->";

/// What a figure must be.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Goal {
    AtLeast(f64),
    AtMost(f64),
}

/// One measured figure. `ratio` is product ÷ floor of the same rounds where there is a floor; the goal is about the
/// ratio then, and about the product otherwise.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Row {
    pub(crate) name: String,
    pub(crate) unit: &'static str,
    pub(crate) product: f64,
    pub(crate) floor: Option<f64>,
    pub(crate) ratio: Option<f64>,
    /// Lowest and highest round, of the ratio or else of the product.
    pub(crate) spread: (f64, f64),
    pub(crate) goal: Option<String>,
    pub(crate) met: Option<bool>,
}

#[derive(Debug, Serialize)]
pub(crate) struct Table {
    machine: String,
    scale: &'static str,
    rows: Vec<Row>,
}

impl Table {
    pub(crate) fn new(scale: &'static str) -> Self {
        Self { machine: machine(), scale, rows: Vec::new() }
    }

    /// A figure that stands alone.
    pub(crate) fn alone(&mut self, name: &str, unit: &'static str, product: &Figures, goal: Option<Goal>) {
        let median = product.median();
        self.push(name, unit, (median, None, None), product.spread(), goal, median);
    }

    /// A figure beside what the machine could do at best.
    pub(crate) fn against(&mut self, name: &str, unit: &'static str, product: &Figures, floor: &Figures, goal: Option<Goal>) {
        let ratio = product.over(floor);
        let median = ratio.median();
        self.push(name, unit, (product.median(), Some(floor.median()), Some(median)), ratio.spread(), goal, median);
    }

    fn push(
        &mut self,
        name: &str,
        unit: &'static str,
        (product, floor, ratio): (f64, Option<f64>, Option<f64>),
        spread: (f64, f64),
        goal: Option<Goal>,
        judged: f64,
    ) {
        let met = goal.map(|goal| match goal {
            Goal::AtLeast(bound) => judged >= bound,
            Goal::AtMost(bound) => judged <= bound,
        });
        let goal = goal.map(|goal| match goal {
            Goal::AtLeast(bound) => format!("≥ {}", figure(bound)),
            Goal::AtMost(bound) => format!("≤ {}", figure(bound)),
        });
        let row = Row { name: name.to_owned(), unit, product, floor, ratio, spread, goal, met };
        eprintln!("bench:   {name}: {} {unit}", figure(product));
        self.rows.push(row);
    }

    pub(crate) fn json(&self) -> Result<String> {
        Ok(serde_json::to_string_pretty(self)? + "\n")
    }

    pub(crate) fn markdown(&self) -> String {
        let mut text = format!("Machine: {}. Run: {}.\n\n", self.machine, self.scale);
        text.push_str("| what | unit | product | floor | ratio | spread | goal | met |\n|---|---|---:|---:|---:|---|---|---|\n");
        for row in &self.rows {
            let optional = |value: Option<f64>| value.map(figure).unwrap_or_default();
            let _ = writeln!(
                text,
                "| {} | {} | {} | {} | {} | {} to {} | {} | {} |",
                row.name,
                row.unit,
                figure(row.product),
                optional(row.floor),
                optional(row.ratio),
                figure(row.spread.0),
                figure(row.spread.1),
                row.goal.as_deref().unwrap_or_default(),
                row.met.map(|met| if met { "yes" } else { "**missed**" }).unwrap_or_default(),
            );
        }
        text
    }

    /// Replaces what stands between the two marks of a page.
    pub(crate) fn write_into(&self, file: &Path) -> Result<()> {
        let page = fs::read_to_string(file).with_context(|| format!("cannot read {}", file.display()))?;
        let (before, rest) = page.split_once(BEGIN).context("the page has no place for the figures")?;
        let (_, after) = rest.split_once(END).context("the page has no end of the figures")?;
        Ok(fs::write(file, format!("{before}{BEGIN}\n\n{}\n{END}{after}", self.markdown()))?)
    }
}

/// Three significant digits are more than these machines deserve.
fn figure(value: f64) -> String {
    match value.abs() {
        large if large >= 1_000.0 => {
            let digits = format!("{value:.0}");
            let mut text = String::new();
            for (at, digit) in digits.chars().enumerate() {
                if at > 0 && (digits.len() - at).is_multiple_of(3) && !text.ends_with('-') {
                    text.push(',');
                }
                text.push(digit);
            }
            text
        }
        middle if middle >= 10.0 => format!("{value:.1}"),
        _ => format!("{value:.3}"),
    }
}

/// Processor and cores, as the system tells them.
fn machine() -> String {
    let info = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = info.lines().find_map(|line| line.strip_prefix("model name")?.split_once(": ").map(|(_, name)| name.to_owned()));
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    format!("{cores} × {}", model.unwrap_or_else(|| "unknown processor".to_owned()))
}
