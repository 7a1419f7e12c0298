//! JSON Lines: the record as it is, with its place in the log in `log` (which `record_hash` does not cover).

use super::Item;
use serde_json::{Value, json};

/// One line with its newline.
pub fn line(item: &Item<'_>) -> Vec<u8> {
    let mut record = item.record.value().clone();
    let mut log = json!({"origin": item.origin, "index": item.index.to_string(), "checkpoint_size": item.size.to_string()});
    let names = &item.names;
    if names.owner.is_some() || names.chain.iter().any(Option::is_some) {
        let disclosed = json!({"chain": names.chain, "owner": names.owner});
        log.as_object_mut().and_then(|members| members.insert("disclosed".to_owned(), disclosed));
    }
    if let Value::Object(members) = &mut record {
        members.insert("log".to_owned(), log);
    }
    let mut line = record.to_string().into_bytes();
    line.push(b'\n');
    line
}
