//! What an upstream may ask a client before it answers: sampling, elicitation, roots.
//!
//! SPEC: MCP "Sampling", "Elicitation", "Roots"; MG-11. A client is asked only what it declared, in the mode it declared.

use crate::mcp::{envelope::Request, revision::ClientProfile};
use serde_json::{Map, Value, json};

/// Largest question that a call may wait for, in bytes of its JSON text.
const QUESTION_LIMIT: usize = 64 * 1024;

/// Whether the client declared that it can answer this request of an upstream.
pub(crate) fn can_answer(client: &ClientProfile, method: &str, params: Option<&Value>) -> bool {
    let param = |name: &str| params.and_then(|params| params.get(name));
    // A task belongs to a capability that does not cross the gateway.
    if param("task").is_some() {
        return false;
    }
    let declared = |name: &str| client.capabilities.get(name);
    match method {
        "elicitation/create" => declared("elicitation").is_some_and(|modes| {
            let form = modes.get("form").is_some() || modes.get("url").is_none();
            match param("mode").map(Value::as_str) {
                None | Some(Some("form")) => form,
                Some(Some("url")) => modes.get("url").is_some(),
                _ => false,
            }
        }),
        "sampling/createMessage" => {
            declared("sampling").is_some_and(|sampling| param("tools").is_none() || sampling.get("tools").is_some())
        }
        "roots/list" => declared("roots").is_some(),
        _ => false,
    }
}

/// What a stateless client can answer, as the `capabilities` of a session: a few known members, so that one owner needs few
/// sessions.
pub(crate) fn session_capabilities(client: &ClientProfile) -> Value {
    let known = [("elicitation", ["form", "url"].as_slice()), ("sampling", &["tools", "context"]), ("roots", &[])];
    let declared = known.iter().filter_map(|(name, modes)| {
        let of = client.capabilities.get(*name)?;
        let modes = modes.iter().filter(|mode| of.get(**mode).is_some()).map(|mode| ((*mode).to_owned(), json!({})));
        Some(((*name).to_owned(), Value::Object(modes.collect())))
    });
    Value::Object(declared.collect::<Map<_, _>>())
}

/// A question of a session's upstream as it goes into `inputRequests`; `None` when it is too large to be kept.
pub(crate) fn input_request(question: &Request) -> Option<Value> {
    let mut params = question.params.clone();
    if let Some(Value::Object(meta)) = params.get_mut("_meta") {
        // Progress of an input request has nowhere to go.
        meta.remove("progressToken");
        if meta.is_empty() {
            params.remove("_meta");
        }
    }
    let request = json!({"method": question.method, "params": params});
    (request.to_string().len() <= QUESTION_LIMIT).then_some(request)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn client(capabilities: Value) -> ClientProfile {
        ClientProfile { capabilities, log_level: None }
    }

    #[test]
    fn mg_11_only_declared_modes_are_asked() {
        let ask = "elicitation/create";
        let url = json!({"mode": "url", "url": "https://x.example"});
        for (declared, form, by_url) in [
            (json!({}), false, false),
            (json!({"elicitation": {}}), true, false),
            (json!({"elicitation": {"form": {}}}), true, false),
            (json!({"elicitation": {"url": {}}}), false, true),
            (json!({"elicitation": {"form": {}, "url": {}}}), true, true),
        ] {
            let client = client(declared.clone());
            assert_eq!(can_answer(&client, ask, Some(&json!({"message": "?"}))), form, "{declared}");
            assert_eq!(can_answer(&client, ask, Some(&json!({"mode": "form"}))), form, "{declared}");
            assert_eq!(can_answer(&client, ask, Some(&url)), by_url, "{declared}");
            assert!(!can_answer(&client, ask, Some(&json!({"mode": "voice"}))));
            assert!(!can_answer(&client, ask, Some(&json!({"mode": 1}))));
            assert!(!can_answer(&client, ask, Some(&json!({"task": {}}))));
        }
        let sampling = client(json!({"sampling": {}}));
        assert!(can_answer(&sampling, "sampling/createMessage", None));
        assert!(!can_answer(&sampling, "sampling/createMessage", Some(&json!({"tools": []}))));
        assert!(!can_answer(&sampling, "roots/list", None));
        assert!(!can_answer(&sampling, "secrets/list", None));
    }

    #[test]
    fn a_session_is_told_the_known_members_only() {
        let declared = json!({"elicitation": {"form": {"x": 1}, "voice": {}}, "sampling": {"tools": {}}, "roots": {"listChanged": true},
            "tasks": {}, "experimental": {"n": 1}});
        let expected = json!({"elicitation": {"form": {}}, "sampling": {"tools": {}}, "roots": {}});
        assert_eq!(session_capabilities(&client(declared)), expected);
    }

    #[test]
    fn a_question_that_is_too_large_is_not_kept() {
        let ask = |text: String| {
            let params = json!({"message": text, "_meta": {"progressToken": 3}}).as_object().unwrap().clone();
            Request { id: json!(1), method: "elicitation/create".into(), params }
        };
        let kept = input_request(&ask("sure?".into())).unwrap();
        assert_eq!(kept, json!({"method": "elicitation/create", "params": {"message": "sure?"}}));
        assert_eq!(input_request(&ask("x".repeat(QUESTION_LIMIT))), None);
    }
}
