/// Stands in until remit-ledger has its own.
#[derive(Clone, Debug)]
pub struct Draft;
