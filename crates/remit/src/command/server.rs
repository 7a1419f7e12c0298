//! `remit server …`: what the configured upstreams offer.

use crate::{
    args::{ServerCommand, ServerName},
    config::{
        self,
        names::{REFUSED, propose},
    },
    server::wire,
};
use anyhow::Result;
use remit_gateway::Settings;
use remit_model::{
    display,
    resource::{ToolClass, is_model_name},
};
use serde_json::{Value, json};
use std::{collections::BTreeSet, fmt::Write as _, path::Path};

/// Runs the command.
///
/// # Errors
/// When the configuration has a problem or the upstream does not answer.
pub(crate) async fn run(command: &ServerCommand) -> Result<()> {
    let ServerCommand::Tools(ServerName { name, config: args }) = command;
    let tools = ask(name, &args.config).await?;
    if args.json {
        outln!("{}", json!({"server": name, "tools": tools.iter().map(Offered::to_json).collect::<Vec<_>>()}));
    } else {
        out!("{}", yaml(name, &tools));
    }
    for tool in tools.iter().filter(|tool| tool.alias.is_some()) {
        eprintln!("warning: `{}`: {REFUSED}", display::escape(&tool.name));
    }
    Ok(())
}

/// The tools of a configured server, asked of its upstream.
async fn ask(name: &str, file: &Path) -> Result<Vec<Offered>> {
    let loaded = config::load(file).map_err(|problems| config::report(&problems))?;
    let route = wire::route(&loaded, name).await?;
    let settings = Settings::new(&loaded.config.server.public_url);
    let offered = remit_gateway::tools(&route, settings).await.map_err(|refusal| anyhow::anyhow!("{refusal}"))?;
    Ok(described(&offered))
}

/// A tool as the operator could describe it.
#[derive(Debug)]
struct Offered {
    name: String,
    class: ToolClass,
    /// The hints that the class follows.
    because: &'static str,
    /// Proposed where models refuse the name.
    alias: Option<String>,
    title: Option<String>,
}

impl Offered {
    fn to_json(&self) -> Value {
        json!({"name": self.name, "class": self.class, "alias": self.alias, "title": self.title})
    }
}

/// Every tool that has a name that can be configured, in the order of names.
fn described(offered: &[Value]) -> Vec<Offered> {
    let name = |tool: &Value| tool.get("name").and_then(Value::as_str).filter(|name| display::is_name(name)).map(str::to_owned);
    let mut named: Vec<_> = offered.iter().filter_map(|tool| Some((name(tool)?, tool))).collect();
    named.sort_by(|(one, _), (other, _)| one.cmp(other));
    named.dedup_by(|(one, _), (other, _)| one == other);
    let mut taken: BTreeSet<String> = named.iter().map(|(name, _)| name.clone()).collect();
    let mut describe = |(name, tool): (String, &Value)| {
        let (class, because) = class(tool.get("annotations").unwrap_or(&Value::Null));
        let alias = (!is_model_name(&name)).then(|| propose(&name, &mut taken));
        let said = tool.get("title").or_else(|| tool.pointer("/annotations/title")).and_then(Value::as_str);
        Offered { name, class, because, alias, title: said.filter(|title| display::is_name(title)).map(str::to_owned) }
    };
    named.into_iter().map(&mut describe).collect()
}

/// SPEC: MCP `ToolAnnotations`: `readOnlyHint` is false and `destructiveHint` true where they are not given. What is not said at
/// all is not taken for a word: `execute` is the class of an undescribed tool.
fn class(annotations: &Value) -> (ToolClass, &'static str) {
    let hint = |name: &str| annotations.get(name).and_then(Value::as_bool);
    match (hint("readOnlyHint"), hint("destructiveHint")) {
        (Some(true), _) => (ToolClass::Read, "readOnlyHint: true"),
        (_, Some(false)) => (ToolClass::Write, "destructiveHint: false"),
        (_, Some(true)) => (ToolClass::Delete, "destructiveHint: true"),
        (Some(false), None) => (ToolClass::Execute, "readOnlyHint: false"),
        (None, None) => (ToolClass::Execute, "no annotations"),
    }
}

/// JSON strings are YAML, so every name keeps its meaning.
fn yaml(server: &str, tools: &[Offered]) -> String {
    let mut text = format!("mcp_servers:\n  {server}:\n    tools:\n");
    for Offered { name, class, because, alias, title } in tools {
        // Writing into a string cannot fail.
        let _ = writeln!(text, "      {}:\n        class: {}  # {because}", json!(name), class.as_str());
        if let Some(alias) = alias {
            let _ = writeln!(text, "        alias: {alias}");
        }
        if let Some(title) = title {
            let _ = writeln!(text, "        title: {}", json!(title));
        }
    }
    if tools.is_empty() {
        text.push_str("      {}\n");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn an_upstream_is_asked_for_its_tools_and_what_cannot_be_asked_is_an_error() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir(dir.path().join("data")).unwrap();
        let file = dir.path().join("remit.yaml");
        let servers = "desk: {sample: helpdesk}, none: {command: [/does/not/exist]}";
        std::fs::write(&file, format!("storage: {{data_dir: data}}\nmcp_servers: {{{servers}}}\n")).unwrap();
        let tools = ask("desk", &file).await.unwrap();
        let class = |name: &str| tools.iter().find(|tool| tool.name == name).map(|tool| (tool.class, tool.alias.is_some()));
        assert_eq!(class("tickets_read"), Some((ToolClass::Read, false)));
        assert!(tools.iter().any(|tool| tool.class != ToolClass::Read));
        assert!(ask("other", &file).await.unwrap_err().to_string().contains("no server `other`"));
        assert!(ask("none", &file).await.unwrap_err().to_string().contains("not available"));
    }

    #[test]
    fn what_an_upstream_offers_becomes_yaml_with_classes_from_its_annotations() {
        let tool = |name: &str, annotations: Value| json!({"name": name, "annotations": annotations, "title": format!("The {name}: #1")});
        let offered = [
            tool("tickets.read", json!({"readOnlyHint": true})),
            tool("tickets_read", json!({"readOnlyHint": false, "destructiveHint": false})),
            tool("wipe", json!({"destructiveHint": true})),
            tool("a b", json!({"readOnlyHint": false})),
            json!({"name": "plain"}),
            tool("plain", json!({"readOnlyHint": true})),
            tool("bad\u{1b}[2J", json!({})),
            json!({"name": 7}),
        ];
        let text = yaml("desk", &described(&offered));
        assert_eq!(
            text,
            r#"mcp_servers:
  desk:
    tools:
      "a b":
        class: execute  # readOnlyHint: false
        alias: a_b
        title: "The a b: #1"
      "plain":
        class: execute  # no annotations
      "tickets.read":
        class: read  # readOnlyHint: true
        alias: tickets_read_2
        title: "The tickets.read: #1"
      "tickets_read":
        class: write  # destructiveHint: false
        title: "The tickets_read: #1"
      "wipe":
        class: delete  # destructiveHint: true
        title: "The wipe: #1"
"#
        );
    }
}
