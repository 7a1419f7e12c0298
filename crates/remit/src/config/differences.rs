//! What differs between two configurations: what a running server can take over, and what needs a restart.

use serde_json::Value;
use std::collections::BTreeSet;

/// What a running server takes over; a section or a key of one.
const RELOADABLE: [&str; 2] = ["identity_providers", "observe.log"];

/// The changed keys that a running server takes over.
pub(crate) fn reloadable(before: &Value, now: &Value) -> Vec<String> {
    changed(before, now).into_iter().filter(|key| RELOADABLE.contains(&key.as_str())).collect()
}

/// The changed keys that take effect at the next start.
pub(crate) fn needs_restart(before: &Value, now: &Value) -> Vec<String> {
    changed(before, now).into_iter().filter(|key| !RELOADABLE.contains(&key.as_str())).collect()
}

/// The keys whose values differ, as `section.key`, or the section where it has no keys.
fn changed(before: &Value, now: &Value) -> BTreeSet<String> {
    let none = Value::Null;
    let mut found = BTreeSet::new();
    for section in names(before, now) {
        let pair = (before.get(section).unwrap_or(&none), now.get(section).unwrap_or(&none));
        let keys = names(pair.0, pair.1);
        if pair.0 == pair.1 {
            continue;
        }
        if keys.is_empty() {
            found.insert(section.clone());
        }
        found.extend(keys.into_iter().filter(|key| pair.0.get(key) != pair.1.get(key)).map(|key| format!("{section}.{key}")));
    }
    found
}

fn names<'a>(one: &'a Value, other: &'a Value) -> BTreeSet<&'a String> {
    one.as_object().into_iter().chain(other.as_object()).flat_map(serde_json::Map::keys).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::sections::Config;
    use serde_json::json;

    #[test]
    fn what_can_be_taken_over_and_what_needs_a_restart_are_told_apart() {
        let before = json!({"server": {"listen": "a"}, "identity_providers": [1], "mcp_servers": {"one": {"url": "u"}}});
        let now = json!({
            "server": {"listen": "b"}, "identity_providers": [2], "mcp_servers": {"one": {"url": "u"}, "two": {}},
            "observe": {"log": "debug"}
        });
        assert_eq!(reloadable(&before, &now), ["identity_providers", "observe.log"]);
        assert_eq!(needs_restart(&before, &now), ["mcp_servers.two", "server.listen"]);
        assert!(changed(&before, &before).is_empty());
        assert_eq!(needs_restart(&json!({"mcp_servers": {"one": 1}}), &json!({})), ["mcp_servers.one"]);
    }

    #[test]
    fn what_is_reloadable_is_a_key_there_is() {
        let schema = serde_json::to_value(schemars::schema_for!(Config)).unwrap();
        for key in RELOADABLE {
            let section = key.split('.').next().unwrap();
            assert!(schema["properties"].get(section).is_some(), "{key}");
        }
    }
}
