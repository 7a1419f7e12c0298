//! Lists show a caller what it could use, and nothing else. Filtering is not enforcement: every use is checked again.
//!
//! SPEC: MG-08.

use crate::mcp::list::List;
use remit_model::{Authority, time::UnixTime};
use serde_json::Value;

/// Takes out of a list what this authority could never use. Returns how many items were hidden.
pub(crate) fn filter(result: &mut Value, list: List, authority: &Authority, location: &str, now: UnixTime) -> usize {
    let Some(Value::Array(items)) = result.get_mut(list.member()) else { return 0 };
    let before = items.len();
    let any_of = |action: &str| authority.could_call(location, action, now);
    match list {
        List::Tools => items.retain(|tool| tool.get("name").and_then(Value::as_str).is_some_and(any_of)),
        List::Prompts => items.retain(|_| any_of("mcp:prompts/get")),
        List::Resources | List::Templates => items.retain(|_| any_of("mcp:resources/read")),
    }
    before - items.len()
}
