//! From `capture` sections to the gateway's capture rules, or every reason why one cannot work.

use super::{
    capture::Level,
    sections::{LedgerSection, McpServer},
};
use remit_gateway::{self as gateway, CAPTURE_LIMIT};
use std::collections::BTreeMap;

/// The capture rules of one server.
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
