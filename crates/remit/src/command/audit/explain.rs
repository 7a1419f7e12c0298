//! `remit audit explain`: one record in plain words.

use super::source::{OneRecord, find};
use crate::stdout::print_json;
use anyhow::{Result, bail};
use remit_insight::explain_at;
use remit_model::display;

pub(super) fn run(args: &OneRecord) -> Result<()> {
    let reader = args.source.open()?;
    let Some(wanted) = &args.record else { bail!("name a record: its id or its number") };
    let (index, record) = find(&reader, wanted)?;
    let explanation = explain_at(&reader, index)?;
    if args.source.config.json {
        return print_json(&serde_json::to_value(&explanation)?);
    }
    outln!("Record {index} ({})", display::escape(record.record_id()));
    out!("{explanation}");
    Ok(())
}
