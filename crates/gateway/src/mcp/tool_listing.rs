//! One tool as a caller sees it listed: what the operator says it does, what may go in, what can come out.
//!
//! `annotations` come from the operator's class, `inputSchema` is narrowed by the grants where that is simple, and
//! `outputSchema` accepts what the grants' fields show. All of it informs the client; none of it enforces anything.

use crate::mcp::list_view::ListView;
use remit_model::{
    Grant,
    decimal::Decimal,
    display, fields,
    resource::{Server, ToolClass},
};
use serde_json::{Map, Value, json};

/// A hint of the upstream that contradicts the operator's class of the tool.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Finding {
    pub(crate) tool: String,
    pub(crate) hint: &'static str,
    /// What the upstream says of it, as JSON text.
    pub(crate) said: String,
    pub(crate) class: &'static str,
}

/// States what the operator says the tool does. A tool that the operator does not describe keeps the upstream's hints.
pub(crate) fn classify(tool: &mut Value, name: &str, server: &Server) -> Vec<Finding> {
    let (Some(rule), Value::Object(members)) = (server.tools.get(name), tool) else { return Vec::new() };
    let annotations = members.entry("annotations").or_insert_with(|| json!({}));
    if !annotations.is_object() {
        *annotations = json!({});
    }
    let Value::Object(annotations) = annotations else { return Vec::new() };
    let mut findings = Vec::new();
    for (hint, value) in hints(rule.class) {
        let before = annotations.insert(hint.to_owned(), json!(value));
        if let Some(before) = before.filter(|before| *before != json!(value)) {
            let said = display::excerpt(&before.to_string(), 64);
            findings.push(Finding { tool: name.to_owned(), hint, said, class: rule.class.as_str() });
        }
    }
    findings
}

/// SPEC: MCP `ToolAnnotations`. Whether a `write` destroys something only the upstream knows.
fn hints(class: ToolClass) -> Vec<(&'static str, bool)> {
    match class {
        ToolClass::Read => vec![("readOnlyHint", true), ("destructiveHint", false)],
        ToolClass::Write => vec![("readOnlyHint", false)],
        ToolClass::Delete | ToolClass::Execute | ToolClass::Admin | ToolClass::Identity | ToolClass::Payment => {
            vec![("readOnlyHint", false), ("destructiveHint", true)]
        }
    }
}

/// Narrows the schemas to what the caller's grants allow and show.
pub(crate) fn narrow(tool: &mut Value, name: &str, view: &ListView<'_>) {
    let Value::Object(members) = tool else { return };
    let grants: Vec<&Grant> = view.authority.grants_for(&view.server.location, name, view.now).collect();
    if let ([grant], Some(Value::Object(schema))) = (grants.as_slice(), members.get_mut("inputSchema")) {
        narrow_input(schema, grant);
    }
    let shown: Vec<Option<Vec<String>>> = grants.iter().map(|grant| grant.fields()).collect();
    // What policies withhold of a classified answer, they decide by the call.
    let rule = view.server.tools.get(name);
    let classified = rule.is_some_and(|rule| rule.classification.is_some() || !rule.fields.is_empty());
    let restricted = classified || shown.iter().any(Option::is_some);
    if let (true, Some(schema)) = (restricted, members.get_mut("outputSchema")) {
        let mut alternatives: Vec<_> = shown.into_iter().map(|fields| fields.unwrap_or_else(|| vec![String::new()])).collect();
        alternatives.extend(classified.then(Vec::new));
        *schema = fields::shown_schema(schema, &alternatives);
    }
}

/// Only what a keyword says exactly, for top-level arguments that the schema names; what else the grant demands is left to the
/// check of the call.
fn narrow_input(schema: &mut Map<String, Value>, grant: &Grant) {
    let Some(Value::Object(properties)) = schema.get_mut("properties") else { return };
    // The grant as it is written: constraints this code does not know are left alone.
    let Ok(written) = serde_json::to_value(grant) else { return };
    for (pointer, constraint) in written.get("arguments").and_then(Value::as_object).into_iter().flatten() {
        let name = pointer.strip_prefix('/').filter(|name| !name.contains(['/', '~']));
        let Some(Value::Object(property)) = name.and_then(|name| properties.get_mut(name)) else { continue };
        for (keyword, value) in [("eq", "const"), ("in", "enum")] {
            if let Some(allowed) = constraint.get(keyword) {
                property.insert(value.to_owned(), allowed.clone());
            }
        }
        if let Some(most) = constraint.get("max").and_then(decimal) {
            bound(property, "maximum", constraint.get("max"), |said| most < said);
        }
        if let Some(least) = constraint.get("min").and_then(decimal) {
            bound(property, "minimum", constraint.get("min"), |said| least > said);
        }
    }
}

/// Puts a bound in the place of a looser one.
fn bound(property: &mut Map<String, Value>, keyword: &str, granted: Option<&Value>, tighter: impl Fn(Decimal) -> bool) {
    let said = property.get(keyword).and_then(decimal);
    if let (true, Some(granted)) = (said.is_none_or(tighter), granted) {
        property.insert(keyword.to_owned(), granted.clone());
    }
}

fn decimal(value: &Value) -> Option<Decimal> {
    if let Value::Number(number) = value { Decimal::of(number) } else { None }
}
