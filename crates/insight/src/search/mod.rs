//! Search: an index beside the ledger, made from the ledger alone and thrown away without loss.

mod error;
mod index;
mod labels;
mod segment;
mod terms;

pub use error::SearchError;
pub use index::{CaughtUp, Hits, Index, Query};
pub use labels::labelled;
pub use segment::SEGMENT;
pub use terms::{Dimension, terms};
