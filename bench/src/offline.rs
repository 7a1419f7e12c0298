//! The auditor's side: records verified and decisions replayed in a second, on one core.

use crate::{
    Scale, append,
    rounds::{self, Figures},
    table::{Goal, Table},
};
use anyhow::{Result, anyhow, ensure};
use remit_insight::replay;
use remit_ledger::{Reader, Trust, verify};
use remit_store::Store;
use remit_testkit::corpus;
use std::path::Path;

/// Appends in flight while the ledger is made.
const IN_FLIGHT: u64 = 256;

pub(crate) fn run(folder: &Path, scale: &Scale, table: &mut Table) -> Result<()> {
    let config = append::config(folder);
    let ledger = config.ledger_dir.clone();
    let runtime = append::runtime()?;
    let records = scale.records;
    runtime.block_on(async move {
        let store = Store::open(config)?;
        for _ in 0..records.div_ceil(IN_FLIGHT) {
            let appends: Vec<_> = (0..IN_FLIGHT)
                .map(|_| {
                    let store = store.clone();
                    tokio::spawn(async move { store.apply(append::batch()).await })
                })
                .collect();
            for append in appends {
                append.await??;
            }
        }
        store.close().await?;
        anyhow::Ok(())
    })?;
    let mut rate = Figures::default();
    for _ in 0..scale.rounds {
        let start = rounds::now();
        let report = verify(&ledger, &Trust::default());
        ensure!(report.ok(), "the ledger does not verify: {report}");
        #[expect(clippy::cast_precision_loss, reason = "small")]
        rate.push(report.records as f64 / start.elapsed().as_secs_f64());
    }
    table.alone("verify: every hash, signature, tile and commitment", "records/s/core", &rate, None);
    decisions(&folder.join("decisions"), scale, table)
}

/// Decisions of every kind, written as a ledger and made again from it: all must agree.
fn decisions(folder: &Path, scale: &Scale, table: &mut Table) -> Result<()> {
    corpus::write(folder, 1, scale.decisions).map_err(|fault| anyhow!("{fault}"))?;
    let reader = Reader::open(folder)?;
    let mut rate = Figures::default();
    let began = rounds::now();
    let report = replay(&reader);
    ensure!(report.ok() && report.agree == report.decisions && report.agree > 0, "the replay does not agree: {report}");
    #[expect(clippy::cast_precision_loss, reason = "a rate")]
    rate.push(report.decisions as f64 / began.elapsed().as_secs_f64());
    let name = format!("decision replay: all {} decisions agree", report.agree);
    table.alone(&name, "decisions/s/core", &rate, Some(Goal::AtLeast(50_000.0)));
    Ok(())
}
