//! What of an upstream's messages beside the result a caller with granted fields may see.
//!
//! The result itself is masked by [`remit_model::mask`].

use crate::mcp::envelope::{Incoming, Notification, RpcError};
use serde_json::Map;

/// What of a message on the way may be passed to someone who sees only some fields: that something moves, not what.
pub(crate) fn passing(message: Incoming, restricted: bool) -> Option<Incoming> {
    if !restricted {
        return Some(message);
    }
    let Incoming::Notification(mut note) = message else { return None };
    match note.method.as_str() {
        "notifications/progress" => {
            note.params.retain(|name, value| {
                matches!(name.as_str(), "progressToken") || (matches!(name.as_str(), "progress" | "total") && value.is_number())
            });
            Some(Incoming::Notification(note))
        }
        "notifications/tools/list_changed" | "notifications/prompts/list_changed" | "notifications/resources/list_changed" => {
            Some(Incoming::Notification(Notification { method: note.method, params: Map::new() }))
        }
        _ => None,
    }
}

/// An upstream's error, in its own words only for someone who may see everything.
pub(crate) fn error(error: RpcError, restricted: bool) -> RpcError {
    if restricted { RpcError::new(error.code, "the upstream server refused the request; its words are withheld") } else { error }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    #[test]
    fn messages_on_the_way_do_not_leak_what_the_answer_masks() {
        let progress = json!({"progressToken": "p", "progress": 1, "total": 2, "message": "reading ann@example.com"});
        let note = Notification { method: "notifications/progress".into(), params: progress.as_object().unwrap().clone() };
        let Some(Incoming::Notification(passed)) = passing(Incoming::Notification(note.clone()), true) else { panic!() };
        assert_eq!(Value::Object(passed.params), json!({"progressToken": "p", "progress": 1, "total": 2}));
        let log = Notification { method: "notifications/message".into(), ..note };
        assert_eq!(passing(Incoming::Notification(log.clone()), true), None);
        assert!(passing(Incoming::Notification(log), false).is_some());
        assert!(!error(RpcError::new(-32602, "no such customer ann@example.com"), true).message.contains("ann@"));
    }
}
