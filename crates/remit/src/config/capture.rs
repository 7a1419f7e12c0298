//! `mcp_servers.NAME.capture` and `.tools.TOOL.capture`: how much of the calls is kept beside the log.

use super::{LedgerSection, McpServer};
use remit_gateway::{self as gateway, CAPTURE_LIMIT};
use remit_ledger::record::Retention;
use schemars::JsonSchema;
use serde::Deserialize;
use std::collections::BTreeMap;

/// How much of the bodies is kept.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Level {
    /// The arguments, because they are part of the decision; of a result only its size.
    #[default]
    None,
    /// SHA-256 of the result before and after masking.
    Digest,
    /// The result before and after masking.
    Full,
}

/// What is kept of the calls of a server's tools.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Capture {
    /// `none` (the default), `digest` or `full`.
    pub(crate) level: Level,
    /// A class of `ledger.retention`: how long the values beside the records of such calls are kept.
    pub(crate) retention: Option<String>,
    /// A body larger than this is kept as its digest, and the record says so; at most 393216 bytes.
    pub(crate) max_bytes: Option<usize>,
}

/// What is kept of the calls of one tool; it replaces what the server says.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct ToolCapture {
    /// `none`, `digest` or `full`; by default the server's.
    pub(crate) level: Option<Level>,
    /// A class of `ledger.retention`; by default the server's.
    pub(crate) retention: Option<String>,
    /// A body larger than this is kept as its digest; by default the server's.
    pub(crate) max_bytes: Option<usize>,
    /// Read what the tool changes before and after the call, and keep both.
    pub(crate) before_after: Option<BeforeAfter>,
}

/// A read of the thing that a tool changes, made by Remit in its own name at the same upstream.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct BeforeAfter {
    /// A tool of the same server, listed under `tools` with class `read`.
    pub(crate) tool: String,
    /// The read's arguments: JSON Pointer into them, and the JSON Pointer into the change's arguments it is taken from.
    pub(crate) arguments: BTreeMap<String, String>,
    /// Refuse the change when its state before cannot be read.
    #[serde(default)]
    pub(crate) required: bool,
}

/// How the gateway is told.
///
/// # Errors
/// Every reason why this is no rule, each with its place.
pub(crate) fn captures(server: &McpServer, ledger: &LedgerSection) -> Result<gateway::Captures, Vec<String>> {
    let mut problems = Vec::new();
    let own = server.capture.clone().unwrap_or_default();
    let default = rule("capture", own.level, own.retention.as_deref(), own.max_bytes, ledger, &mut problems);
    let mut tools = BTreeMap::new();
    for (name, tool) in &server.tools {
        let Some(capture) = &tool.capture else { continue };
        let place = format!("tools.{name}.capture");
        let level = capture.level.unwrap_or(own.level);
        let retention = capture.retention.as_ref().or(own.retention.as_ref());
        let bytes = capture.max_bytes.or(own.max_bytes);
        let mut rule = rule(&place, level, retention.map(String::as_str), bytes, ledger, &mut problems);
        if let Some(plan) = &capture.before_after {
            let read = server.tools.get(&plan.tool).is_some_and(|tool| !tool.rule().class.mutates());
            if !read {
                problems.push(format!("{place}.before_after.tool: list `{}` under `tools` with class `read`", plan.tool));
            }
            if level == Level::None {
                problems.push(format!("{place}.before_after: the level must be `digest` or `full`"));
            }
            if !tool.rule().class.mutates() {
                problems.push(format!("{place}.before_after: `{name}` only reads, so it changes nothing"));
            }
            if let Some(pointer) = plan.arguments.iter().flat_map(|(to, from)| [to, from]).find(|text| !text.starts_with('/')) {
                problems.push(format!("{place}.before_after.arguments: `{pointer}` is not a JSON Pointer such as `/id`"));
            }
            rule.before_after = Some(gateway::BeforeAfter {
                tool: plan.tool.clone(),
                arguments: plan.arguments.clone(),
                required: plan.required,
            });
        }
        tools.insert(name.clone(), rule);
    }
    if problems.is_empty() { Ok(gateway::Captures { default, tools }) } else { Err(problems) }
}

fn rule(
    place: &str,
    level: Level,
    retention: Option<&str>,
    max_bytes: Option<usize>,
    ledger: &LedgerSection,
    problems: &mut Vec<String>,
) -> gateway::Capture {
    let mut rule = gateway::Capture {
        level: match level {
            Level::None => gateway::CaptureLevel::None,
            Level::Digest => gateway::CaptureLevel::Digest,
            Level::Full => gateway::CaptureLevel::Full,
        },
        ..gateway::Capture::default()
    };
    if let Some(bytes) = max_bytes {
        if !(1..=CAPTURE_LIMIT).contains(&bytes) {
            problems.push(format!("{place}.max_bytes: must be 1 to {CAPTURE_LIMIT}"));
        }
        rule.max_bytes = bytes;
    }
    if let Some(class) = retention {
        rule.retention = ledger.retention_class(class);
        if rule.retention.is_none() {
            problems.push(format!("{place}.retention: there is no class `{class}` in ledger.retention"));
        }
    }
    rule
}

/// One retention class.
#[derive(Clone, Copy, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct RetentionClass {
    /// Days that the values beside a record of this class are kept.
    pub(crate) keep_days: u32,
}

/// The classes there are without any configuration.
const CLASSES: &[(&str, u32)] = &[("standard", 400), ("payment", 2555), ("capture", 30)];

impl LedgerSection {
    /// The class of this name; `None` when there is none.
    pub(crate) fn retention_class(&self, name: &str) -> Option<Retention> {
        let configured = self.retention.get(name).map(|class| class.keep_days);
        let known = CLASSES.iter().find(|(class, _)| *class == name).map(|(_, days)| *days);
        let keep_days = configured.or(known)?;
        Some(Retention { class: name.to_owned(), keep_days, legal_hold: false })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(yaml: serde_json::Value) -> Result<gateway::Captures, Vec<String>> {
        captures(&serde_json::from_value(yaml).unwrap(), &LedgerSection::default())
    }

    #[test]
    fn without_a_word_only_the_arguments_are_kept() {
        let captures = read(serde_json::json!({"url": "http://127.0.0.1:1"})).unwrap();
        assert_eq!(captures.default.level, gateway::CaptureLevel::None);
        assert!(captures.tools.is_empty() && captures.default.retention.is_none());
    }

    #[test]
    fn a_tool_replaces_what_its_server_says_and_inherits_the_rest() {
        let captures = read(serde_json::json!({
            "capture": {"level": "digest", "retention": "capture", "max_bytes": 1000},
            "tools": {
                "get": {"class": "read"},
                "pay": {"class": "payment", "capture": {"level": "full", "retention": "payment",
                    "before_after": {"tool": "get", "arguments": {"/id": "/order"}, "required": true}}},
                "list": {"class": "read", "capture": {"level": "none"}},
            }
        }))
        .unwrap();
        let pay = &captures.tools["pay"];
        assert_eq!((pay.level, pay.max_bytes), (gateway::CaptureLevel::Full, 1000));
        assert_eq!(pay.retention.as_ref().map(|class| class.keep_days), Some(2555));
        assert!(pay.before_after.as_ref().unwrap().required);
        assert_eq!(captures.tools["list"].retention.as_ref().map(|class| class.keep_days), Some(30));
        assert!(!captures.tools.contains_key("get"));
    }

    #[test]
    fn rules_that_could_not_work_are_refused_together() {
        let problems = read(serde_json::json!({
            "capture": {"retention": "for ever", "max_bytes": 0},
            "tools": {
                "pay": {"capture": {"before_after": {"tool": "get", "arguments": {"id": "/order"}}}},
                "get": {"class": "read", "capture": {"level": "full", "before_after": {"tool": "pay", "arguments": {}}}},
            }
        }))
        .unwrap_err();
        for expected in [
            "capture.retention: there is no class `for ever`",
            "capture.max_bytes: must be 1 to",
            "tools.pay.capture.before_after: the level must be",
            "`id` is not a JSON Pointer",
            "before_after.tool: list `pay`",
            "`get` only reads",
        ] {
            assert!(problems.iter().any(|problem| problem.contains(expected)), "{expected}: {problems:?}");
        }
        assert!(
            read(serde_json::json!({"tools": {"pay": {"capture": {"before_after": {"tool": "get", "arguments": {}}}}}})).is_err()
        );
    }
}
