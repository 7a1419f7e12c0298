//! Lists show a caller what it could use, and nothing else. Filtering is not enforcement: every use is checked again.
//!
//! SPEC: MG-08.

use crate::mcp::list::List;
use remit_model::{Authority, display, time::UnixTime};
use serde_json::Value;

/// Takes out of a list what this authority could never use. Returns how many items were hidden.
pub(crate) fn filter(result: &mut Value, list: List, authority: &Authority, location: &str, now: UnixTime) -> usize {
    let Some(Value::Array(items)) = result.get_mut(list.member()) else { return 0 };
    let before = items.len();
    let any_of = |action: &str| authority.could_call(location, action, now);
    match list {
        List::Tools => items.retain(|tool| name(tool).is_some_and(any_of)),
        List::Prompts => items.retain(|prompt| name(prompt).is_some() && any_of("mcp:prompts/get")),
        List::Resources | List::Templates => items.retain(|_| any_of("mcp:resources/read")),
    }
    before - items.len()
}

/// The item's name, if people and terminals can be shown it.
fn name(item: &Value) -> Option<&str> {
    item.get("name").and_then(Value::as_str).filter(|name| display::is_name(name))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_name_that_cannot_be_displayed_is_not_listed() {
        let everything = Authority::parse(&json!([{"type": "tool_access"}])).unwrap();
        let long = "x".repeat(5_000);
        let named = |name: &str| json!({"name": name});
        let hostile = ["", " x", "a\u{1b}[2J", "a\0b", "a\nb", "a\u{202e}b", "a\u{200b}b", &long].map(named);
        for (list, member) in [(List::Tools, "tools"), (List::Prompts, "prompts")] {
            let mut result = json!({member: [named("fine"), named("caf\u{e9} 2")]});
            result[member].as_array_mut().unwrap().extend(hostile.clone());
            let hidden = filter(&mut result, list, &everything, "https://gw.example/", UnixTime(1));
            assert_eq!((hidden, &result[member]), (hostile.len(), &json!([named("fine"), named("caf\u{e9} 2")])));
        }
    }
}
