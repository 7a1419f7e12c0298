//! What happened under a label: the tokens that were issued with it, the tokens taken from those, and their use.
//!
//! Only the record of one token holds its label. The records of the token's use name it by the digest of its `jti`, and
//! those of tokens taken from it name it as their parent.

use super::{
    error::SearchError,
    index::{Index, Query},
    terms::Dimension,
};
use remit_ledger::{Reader, Record};
use std::collections::BTreeSet;

/// The alternatives that find every record under these labels: for the `all` of a [`Query`].
///
/// # Errors
/// [`SearchError`] when the index or a record cannot be read.
pub fn labelled(index: &Index, reader: &Reader, labels: &[String]) -> Result<Vec<String>, SearchError> {
    let mut terms: Vec<String> = labels.iter().map(|label| Dimension::Label.term(label)).collect();
    let mut tokens = BTreeSet::new();
    let mut found = records(index, reader, &terms)?;
    while let Some(record) = found.pop() {
        let Some(jti_hash) = issued(&record).filter(|jti_hash| !tokens.contains(*jti_hash)) else { continue };
        let token = Dimension::Token.term(jti_hash);
        tokens.insert(jti_hash.to_owned());
        let taken_from = |record: &Record| record.text("/ext/token/parent_jti_hash") == Some(jti_hash);
        found.extend(records(index, reader, std::slice::from_ref(&token))?.into_iter().filter(taken_from));
        terms.push(token);
    }
    Ok(terms)
}

/// The token that this record issued.
fn issued(record: &Record) -> Option<&str> {
    record.text("/ext/token/authority_digest").and(record.text("/ext/token/jti_hash"))
}

fn records(index: &Index, reader: &Reader, any: &[String]) -> Result<Vec<Record>, SearchError> {
    let hits = index.search(&Query { all: vec![any.to_vec()], limit: usize::MAX, ..Query::default() })?;
    // What the index names beyond the log is found out when the hits are compared with the records.
    let known = hits.records.into_iter().filter(|index| *index < reader.len());
    known.map(|index| reader.record(index).map_err(SearchError::from)).collect()
}
