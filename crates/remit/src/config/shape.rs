//! Refuses a list where the configuration's schema has a mapping.
//!
//! Serde reads a list into a struct by the order of its fields, so `rate_limits: [[5]]` would set a value that the file does not
//! name. The schema knows which values are mappings. Everything else about shapes is left to serde.

use super::tree::Node;
use serde_json::Value;

/// Every list in the place of a mapping, with its line and its path.
pub(crate) fn lists_for_mappings(root: &Node, schema: &Value) -> Vec<(u64, String)> {
    let mut found = Vec::new();
    walk(root, &[schema], schema, "", &mut found);
    found
}

fn walk(node: &Node, schemas: &[&Value], root: &Value, path: &str, found: &mut Vec<(u64, String)>) {
    let mut alternatives = Vec::new();
    for schema in schemas {
        resolve(schema, root, &mut alternatives);
    }
    if node.is_list() {
        let mapping = alternatives.iter().any(|schema| schema.get("properties").is_some());
        if mapping && !alternatives.iter().any(|schema| schema.get("items").is_some()) {
            found.push((node.line, format!("{path}: must be a mapping, not a list")));
            return;
        }
        let inner: Vec<_> = alternatives.iter().filter_map(|schema| schema.get("items")).collect();
        for item in node.items() {
            walk(item, &inner, root, path, found);
        }
    }
    for (name, member) in node.members() {
        let named = alternatives.iter().filter_map(|schema| schema.get("properties")?.get(name));
        let mut inner: Vec<_> = named.collect();
        if inner.is_empty() {
            inner.extend(alternatives.iter().filter_map(|schema| schema.get("additionalProperties")));
        }
        let path = if path.is_empty() { name.clone() } else { format!("{path}.{name}") };
        walk(member, &inner, root, &path, found);
    }
}

/// The schemas that a value may follow, behind references and alternatives.
fn resolve<'s>(schema: &'s Value, root: &'s Value, into: &mut Vec<&'s Value>) {
    if let Some(target) = schema.get("$ref").and_then(Value::as_str).and_then(|text| root.pointer(text.trim_start_matches('#'))) {
        resolve(target, root, into);
    }
    for key in ["anyOf", "oneOf", "allOf"] {
        for inner in schema.get(key).and_then(Value::as_array).into_iter().flatten() {
            resolve(inner, root, into);
        }
    }
    into.push(schema);
}
