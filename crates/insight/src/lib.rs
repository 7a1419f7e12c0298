//! From records to answers: what a record says in plain words, whether its decisions hold when decided again, and
//! whether every delegation was really signed by the one who delegated.
//!
//! Implements record.md §1.8 level R2 (decision replay) and the chain-of-custody step of the verification order in
//! §1.11. Everything here reads a ledger directory and nothing else: no server, no database, no clock. The integrity
//! of the log itself (tree, signatures, sequence) is [`remit_ledger::verify()`]'s part; run it first.
//!
//! Words come from the record, from policy annotations and from the algebra's refusals. No text is made by a model.
//!
//! ```no_run
//! use remit_insight::explain_at;
//! use remit_ledger::Reader;
//! use std::path::Path;
//!
//! let reader = Reader::open(Path::new("ledger"))?;
//! print!("{}", explain_at(&reader, 0)?);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod counterfactual;
mod custody;
mod execution;
mod explain;
pub mod export;
mod parse_time;
mod reconcile;
mod record_json;
mod recorded_question;
mod replay;
pub mod search;
mod side_values;
pub mod timeline;
mod what_if;

pub use custody::{Broken, CustodyReport, OutsideKey, PINNED_LIMIT, PinnedKeys, RootProof, custody, custody_with};
pub use execution::{ExecutionReport, execution};
pub use explain::{Explanation, explain, explain_at};
pub use parse_time::{MomentError, moment_ns, rfc_3339};
pub use reconcile::{
    Alone, Calls, Finding, Intents, Reconciliation, Scope, Tokens, UpstreamCall, UpstreamLogError, reconcile, request_digest,
    upstream_log,
};
pub use replay::{Mismatch, ReplayReport, replay};
pub use what_if::{Flip, WhatIf, what_if};
