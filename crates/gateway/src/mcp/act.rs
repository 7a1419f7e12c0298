//! What a request asks to do: one action with exact arguments, whatever the method.
//!
//! A tool call is the tool's own action. Everything else is `mcp:METHOD`, so that an authority can name it and a method
//! we have never heard of is refused unless someone granted it. SPEC: MG-05, MG-14.

use crate::{
    mcp::{envelope::Request, list::List},
    road::act::{Act, Kind},
};
use remit_model::{
    display,
    refusal::{Code, Refusal},
    resource::{Server, ToolClass},
};
use serde_json::{Map, Value, json};

/// Longest tool name. SPEC: MG-14.
const NAME_LIMIT: usize = 128;

/// What a method's parameters may hold where authority and policy look at named ones: anything else would reach the
/// upstream unseen by them. `None` for methods of which they see everything.
fn members(method: &str) -> Option<&'static [&'static str]> {
    Some(match method {
        "tools/call" | "prompts/get" => &["name", "arguments", "_meta", "inputResponses", "requestState"],
        "resources/read" => &["uri", "_meta", "inputResponses", "requestState"],
        "resources/subscribe" | "resources/unsubscribe" => &["uri", "_meta"],
        "tools/list" | "prompts/list" | "resources/list" | "resources/templates/list" => &["cursor", "_meta"],
        _ => return None,
    })
}

/// Methods that existed only before the stateless era.
pub(crate) fn is_legacy_only(method: &str) -> bool {
    matches!(method, "initialize" | "ping" | "logging/setLevel" | "resources/subscribe" | "resources/unsubscribe")
}

/// Methods whose call may need further input of the client. SPEC: MG-10.
pub(crate) fn may_ask(method: &str) -> bool {
    matches!(method, "tools/call" | "prompts/get" | "resources/read")
}

/// Reads what a request asks for.
///
/// # Errors
/// `request_malformed` when the parameters are not those of the method.
pub(crate) fn read(request: &Request, server: &Server) -> Result<Act, Refusal> {
    let params = &request.params;
    only(params, &request.method)?;
    if List::of(&request.method).is_some() {
        let arguments = params.get("cursor").map_or_else(|| json!({}), |cursor| json!({"cursor": cursor}));
        return Ok(other(&request.method, server, Kind::List, ToolClass::Read, arguments, "mcp.list"));
    }
    match request.method.as_str() {
        "tools/call" => tool(server, &text(params, "name")?, object(params, "arguments")?),
        "resources/read" | "resources/subscribe" | "resources/unsubscribe" => {
            let arguments = json!({"uri": text(params, "uri")?});
            Ok(other(&request.method, server, Kind::Gated, ToolClass::Read, arguments, "mcp.resource"))
        }
        "prompts/get" => {
            let arguments = json!({"name": text(params, "name")?, "arguments": object(params, "arguments")?});
            Ok(other(&request.method, server, Kind::Gated, ToolClass::Read, arguments, "mcp.prompt"))
        }
        "completion/complete" => Ok(other(&request.method, server, Kind::Gated, ToolClass::Read, rest(params), "mcp.completion")),
        "subscriptions/listen" => {
            Ok(other(&request.method, server, Kind::Listen, ToolClass::Read, rest(params), "mcp.subscription"))
        }
        _ => Ok(other(&request.method, server, Kind::Gated, ToolClass::Execute, rest(params), "mcp.method")),
    }
}

fn only(params: &Map<String, Value>, method: &str) -> Result<(), Refusal> {
    let Some(known) = members(method) else { return Ok(()) };
    match params.keys().find(|member| !known.contains(&member.as_str())) {
        Some(member) => Err(malformed(format!("`params.{}` is not accepted in `{method}`", display::excerpt(member, 64)))),
        None => Ok(()),
    }
}

/// Whether a tool of this name can be called; others are not listed. `mcp:` is how grants name the other methods of the protocol.
pub(crate) fn is_tool_name(name: &str) -> bool {
    !name.starts_with("mcp:") && name.len() <= NAME_LIMIT && display::is_name(name)
}

/// The act of calling a tool, by its own name or its alias.
///
/// # Errors
/// `request_malformed` when the tool's name is not one.
pub(crate) fn tool(server: &Server, name: &str, arguments: Value) -> Result<Act, Refusal> {
    let name = server.tool_named(name);
    if !is_tool_name(name) {
        let reason = format!("a tool's name is a displayable text of 1 to {NAME_LIMIT} bytes that does not begin with `mcp:`");
        return Err(malformed(reason));
    }
    let class = server.class_of(name);
    Ok(Act { action: name.to_owned(), kind: Kind::Gated, class, arguments, resource: ("mcp.tool", name.to_owned()) })
}

/// The act of asking a server for its tools.
pub(crate) fn list_tools(server: &Server) -> Act {
    other("tools/list", server, Kind::List, ToolClass::Read, json!({}), "mcp.list")
}

fn other(method: &str, server: &Server, kind: Kind, class: ToolClass, arguments: Value, resource: &'static str) -> Act {
    let action = format!("mcp:{method}");
    let class = server.tools.get(&action).map_or(class, |rule| rule.class);
    let id = ["uri", "name"].iter().find_map(|key| arguments.get(key)?.as_str()).unwrap_or(method).to_owned();
    Act { action, kind, class, arguments, resource: (resource, id) }
}

fn text(params: &Map<String, Value>, name: &str) -> Result<String, Refusal> {
    let text = params.get(name).and_then(Value::as_str).map(str::to_owned);
    text.ok_or_else(|| malformed(format!("`params.{name}` must be a string")))
}

fn object(params: &Map<String, Value>, name: &str) -> Result<Value, Refusal> {
    match params.get(name) {
        None | Some(Value::Null) => Ok(json!({})),
        Some(value @ Value::Object(_)) => Ok(value.clone()),
        Some(_) => Err(malformed(format!("`params.{name}` must be an object"))),
    }
}

/// The parameters without what is about the exchange itself.
fn rest(params: &Map<String, Value>) -> Value {
    Value::Object(params.iter().filter(|(key, _)| *key != "_meta").map(|(key, value)| (key.clone(), value.clone())).collect())
}

fn malformed(reason: impl Into<String>) -> Refusal {
    Refusal::new(Code::RequestMalformed, reason)
}

#[cfg(test)]
mod tests {
    use super::*;
    use remit_model::{id::ServerId, resource::ToolRule};

    fn act(method: &str, params: &Value) -> Result<Act, Refusal> {
        let rule = ToolRule { class: ToolClass::Read, ..ToolRule::default() };
        let server = Server {
            id: ServerId::parse("s").unwrap(),
            title: "S".into(),
            location: "https://gw.example/mcp/s".into(),
            tools: [("tickets_read".to_owned(), rule)].into(),
        };
        read(&Request { id: json!(1), method: method.into(), params: params.as_object().unwrap().clone() }, &server)
    }

    #[test]
    fn a_tool_call_is_the_tools_own_action_and_an_unclassified_tool_changes_things() {
        let read = act("tools/call", &json!({"name": "tickets_read", "arguments": {"id": 1}})).unwrap();
        assert_eq!((read.action.as_str(), read.class, &read.arguments), ("tickets_read", ToolClass::Read, &json!({"id": 1})));
        assert!(act("tools/call", &json!({"name": "refund"})).unwrap().class.mutates());
    }

    #[test]
    fn names_and_arguments_that_peers_accept_are_accepted() {
        for name in ["a b", "a:b", "Übersicht", "x.y/z-1"] {
            assert_eq!(act("tools/call", &json!({"name": name})).unwrap().action, name);
        }
        assert_eq!(act("tools/call", &json!({"name": "t", "arguments": null})).unwrap().arguments, json!({}));
    }

    #[test]
    fn what_policy_cannot_see_is_not_accepted_in_a_tool_call() {
        for params in [
            json!({}),
            json!({"name": 1}),
            json!({"name": ""}),
            json!({"name": "mcp:resources/read"}),
            json!({"name": "a\nb"}),
            json!({"name": "a\u{202e}b"}),
            json!({"name": "x".repeat(129)}),
            json!({"name": "t", "arguments": [1]}),
            json!({"name": "t", "task": {"ttl": 1}}),
            json!({"name": "t", "Arguments": {}}),
        ] {
            assert_eq!(act("tools/call", &params).unwrap_err().code, Code::RequestMalformed, "{params}");
        }
    }

    #[test]
    fn what_policy_cannot_see_is_not_accepted_elsewhere_either() {
        for (method, params) in [
            ("prompts/get", json!({"name": "p", "user": "root"})),
            ("resources/read", json!({"uri": "file:///a", "path": "/b"})),
            ("resources/subscribe", json!({"uri": "file:///a", "uris": ["file:///b"]})),
            ("tools/list", json!({"as": "root"})),
        ] {
            assert_eq!(act(method, &params).unwrap_err().code, Code::RequestMalformed, "{method}");
        }
    }

    #[test]
    fn other_methods_are_actions_of_their_own() {
        let read = act("resources/read", &json!({"uri": "file:///a", "_meta": {"x": 1}})).unwrap();
        assert_eq!((read.action.as_str(), &read.arguments), ("mcp:resources/read", &json!({"uri": "file:///a"})));
        assert_eq!(act("tasks/result", &json!({"taskId": "1"})).unwrap().class, ToolClass::Execute);
        assert_eq!(act("tools/list", &json!({})).unwrap().kind, Kind::List);
    }
}
