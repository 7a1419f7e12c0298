//! Lists show a caller what it could use, and nothing else. Filtering is not enforcement: every use is checked again.
//!
//! SPEC: MG-08.

use crate::mcp::{
    act,
    list::List,
    list_view::ListView,
    tool_listing::{self, Finding},
};
use remit_model::{Authority, display, resource::Server};
use serde_json::{Value, json};

/// Marks a listed tool that the caller's grants do not cover.
const META_REQUESTABLE: &str = "remit/requestable";

/// Takes out of a list what this authority could never use, and states every tool as this caller may use it. Returns where the
/// upstream's word contradicted the operator's.
pub(crate) fn filter(result: &mut Value, list: List, view: &ListView<'_>) -> Vec<Finding> {
    let Some(Value::Array(items)) = result.get_mut(list.member()) else { return Vec::new() };
    let could = |authority: &Authority, action: &str| authority.could_call(&view.server.location, action, view.now);
    match list {
        List::Tools => {}
        List::Prompts => items.retain(|prompt| name(prompt).is_some() && could(view.authority, "mcp:prompts/get")),
        List::Resources | List::Templates => items.retain(|_| could(view.authority, "mcp:resources/read")),
    }
    let mut findings = Vec::new();
    if list == List::Tools {
        items.retain_mut(|tool| {
            let Some(name) = name(tool).filter(|name| is_listable(name, view.server)).map(str::to_owned) else { return false };
            let granted = could(view.authority, &name);
            if !granted && !view.requestable.is_some_and(|authority| could(authority, &name)) {
                return false;
            }
            findings.extend(tool_listing::classify(tool, &name, view.server));
            if granted {
                tool_listing::narrow(tool, &name, view);
            } else {
                mark(tool, view.for_itself);
            }
            rename(tool, &name, view.server);
            true
        });
    }
    findings
}

/// Whether a call by this name would mean this tool: not when the operator gave the name to another one.
fn is_listable(name: &str, server: &Server) -> bool {
    act::is_tool_name(name) && server.tool_named(name) == name
}

/// Lists a tool by its alias.
fn rename(tool: &mut Value, name: &str, server: &Server) {
    let alias = server.alias_of(name);
    if let (true, Value::Object(members)) = (alias != name, tool) {
        members.insert("name".to_owned(), json!(alias));
    }
}

fn mark(tool: &mut Value, for_itself: bool) {
    let Value::Object(members) = tool else { return };
    if let Value::Object(meta) = members.entry("_meta").or_insert_with(|| json!({})) {
        meta.insert(META_REQUESTABLE.to_owned(), json!(true));
    }
    let said = members.get("description").and_then(Value::as_str).unwrap_or_default();
    let who = if for_itself { "an operator allows it" } else { "a person grants it" };
    let description = format!("[Not granted: a call is refused until {who}.] {said}");
    members.insert("description".to_owned(), json!(description.trim_end()));
}

/// The item's name, if people and terminals can be shown it.
fn name(item: &Value) -> Option<&str> {
    item.get("name").and_then(Value::as_str).filter(|name| display::is_name(name))
}

#[cfg(test)]
mod tests {
    use super::*;
    use remit_model::{Server, UnixTime, id::ServerId};

    #[test]
    fn a_name_that_cannot_be_displayed_is_not_listed() {
        let everything = Authority::parse(&json!([{"type": "tool_access"}])).unwrap();
        let long = "x".repeat(5_000);
        let named = |name: &str| json!({"name": name});
        let hostile = ["", " x", "a\u{1b}[2J", "a\0b", "a\nb", "a\u{202e}b", "a\u{200b}b", &long].map(named);
        for (list, member) in [(List::Tools, "tools"), (List::Prompts, "prompts")] {
            let mut result = json!({member: [named("fine"), named("caf\u{e9} 2")]});
            result[member].as_array_mut().unwrap().extend(hostile.clone());
            let server = Server {
                id: ServerId::parse("s").unwrap(),
                title: "S".into(),
                location: "https://gw.example/".into(),
                tools: std::collections::BTreeMap::new(),
            };
            let view =
                ListView { server: &server, authority: &everything, requestable: None, for_itself: false, now: UnixTime(1) };
            filter(&mut result, list, &view);
            assert_eq!(result[member], json!([named("fine"), named("caf\u{e9} 2")]));
        }
    }
}
