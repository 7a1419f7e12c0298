//! `remit audit explain`: one record in plain words.

use super::{
    show,
    source::{OneRecord, find},
};
use crate::stdout::print_json;
use anyhow::Result;
use remit_insight::explain_at;
use remit_model::display;

pub(super) fn run(args: &OneRecord) -> Result<()> {
    let reader = args.source.open()?;
    let as_json = args.source.config.json;
    let Some(wanted) = &args.record else {
        show::latest(&reader, as_json)?;
        if !as_json {
            outln!("Explain one of them by its number: `remit audit explain NUMBER`.");
        }
        return Ok(());
    };
    let (index, record) = find(&reader, wanted)?;
    let explanation = explain_at(&reader, index)?;
    if as_json {
        return print_json(&serde_json::to_value(&explanation)?);
    }
    outln!("Record {index} ({})", display::escape(record.record_id()));
    out!("{explanation}");
    if reader.keys().is_none() {
        outln!("Sealed values are withheld. To read them: `-c remit.yaml` of the server, or `--keys FILE` with a disclosure.");
    }
    Ok(())
}
