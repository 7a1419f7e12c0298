//! Checks that arguments have the types that the tool's `inputSchema` states, so that what authority and policy read is what the
//! server reads: many servers turn a string into the list or object that they expect.
//!
//! Checks types alone, along `properties`, items, references inside the schema and `allOf`/`anyOf`/`oneOf`. It is not a validator:
//! patterns, formats and bounds are the server's business, and the complete validators have no bound on the work that a hostile
//! schema makes. What cannot be followed within the budget passes.

use remit_model::{
    decimal::Decimal,
    refusal::{Code, Refusal},
};
use serde_json::{Map, Value};

/// Most schema nodes that one call is checked against.
const BUDGET: usize = 20_000;
/// Most references and combinations inside one another.
const DEPTH: usize = 64;

/// Checks the arguments of a call.
///
/// # Errors
/// `argument_malformed`; the reason names the place and both types, never the value.
pub(crate) fn check(schema: &Value, arguments: &Value) -> Result<(), Refusal> {
    let mut checker = Checker { root: schema, budget: BUDGET };
    checker.node(schema, arguments, "", 0).map_err(|miss| Refusal::new(Code::ArgumentMalformed, miss))
}

struct Checker<'s> {
    root: &'s Value,
    budget: usize,
}

impl Checker<'_> {
    fn node(&mut self, schema: &Value, value: &Value, at: &str, depth: usize) -> Result<(), String> {
        let Value::Object(members) = schema else { return Ok(()) };
        if self.budget == 0 || depth > DEPTH {
            return Ok(());
        }
        self.budget -= 1;
        if let Some(stated) = members.get("type")
            && !is_one_of(value, stated)
        {
            let stated = stated.as_str().map_or_else(|| stated.to_string(), str::to_owned);
            let place = if at.is_empty() { "the arguments are".to_owned() } else { format!("`{at}` is") };
            return Err(format!("{place} {}, and the tool's schema says {stated}", name(value)));
        }
        if let Some(target) = members.get("$ref").and_then(Value::as_str).and_then(|to| to.strip_prefix('#')) {
            let root = self.root;
            if let Some(target) = root.pointer(target) {
                self.node(target, value, at, depth + 1)?;
            }
        }
        self.inside(members, value, at, depth)?;
        for schema in list(members.get("allOf")) {
            self.node(schema, value, at, depth + 1)?;
        }
        for any in ["anyOf", "oneOf"] {
            let mut misses = Vec::new();
            for schema in list(members.get(any)) {
                match self.node(schema, value, at, depth + 1) {
                    Ok(()) => {
                        misses.clear();
                        break;
                    }
                    Err(miss) => misses.push(miss),
                }
            }
            if let Some(miss) = misses.into_iter().next() {
                return Err(miss);
            }
        }
        Ok(())
    }

    fn inside(&mut self, members: &Map<String, Value>, value: &Value, at: &str, depth: usize) -> Result<(), String> {
        match value {
            Value::Object(values) => {
                let properties = members.get("properties");
                for (name, value) in values {
                    let stated = properties.and_then(|properties| properties.get(name));
                    let others = members.get("additionalProperties").filter(|_| !members.contains_key("patternProperties"));
                    if let Some(schema) = stated.or(others) {
                        let name = name.replace('~', "~0").replace('/', "~1");
                        self.node(schema, value, &format!("{at}/{name}"), depth + 1)?;
                    }
                }
            }
            Value::Array(values) => {
                let first = list(members.get("prefixItems"));
                for (number, value) in values.iter().enumerate() {
                    if let Some(schema) = first.get(number).or_else(|| members.get("items")) {
                        self.node(schema, value, &format!("{at}/{number}"), depth + 1)?;
                    }
                }
            }
            _ => {}
        }
        Ok(())
    }
}

fn list(schemas: Option<&Value>) -> &[Value] {
    schemas.and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default()
}

fn is_one_of(value: &Value, stated: &Value) -> bool {
    let is = |stated: &str| match stated {
        "null" => value.is_null(),
        "boolean" => value.is_boolean(),
        "string" => value.is_string(),
        "array" => value.is_array(),
        "object" => value.is_object(),
        "number" => value.is_number(),
        "integer" => is_whole(value),
        // A word we do not know says nothing.
        _ => true,
    };
    match stated {
        Value::String(stated) => is(stated),
        Value::Array(stated) => stated.iter().any(|stated| stated.as_str().is_none_or(is)),
        _ => true,
    }
}

/// SPEC: JSON Schema 2020-12 §6.1.1: a number without a fraction is an integer, however it is written.
fn is_whole(value: &Value) -> bool {
    let Value::Number(number) = value else { return false };
    Decimal::of(number).is_some_and(|decimal| decimal.is_whole())
}

fn name(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "a boolean",
        Value::Number(_) => "a number",
        Value::String(_) => "a string",
        Value::Array(_) => "a list",
        Value::Object(_) => "an object",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_string_is_not_taken_for_the_list_or_object_that_the_schema_states() {
        let schema = json!({"type": "object", "properties": {"cc": {"type": "array", "items": {"type": "string"}},
            "to": {"$ref": "#/$defs/party"}, "when": {"anyOf": [{"type": "object"}, {"type": "null"}]},
            "deep": {"allOf": [{"properties": {"x": {"type": ["array", "null"]}}}]}, "one": {"oneOf": [{"type": "array"}]}},
            "additionalProperties": {"type": "number"}, "$defs": {"party": {"type": "object"}}});
        for good in [
            json!({"cc": ["a"], "to": {}, "when": null, "deep": {"x": null}, "one": [], "other": 1}),
            json!({"deep": "no object, and no one says it must be"}),
            json!({}),
        ] {
            assert_eq!(check(&schema, &good), Ok(()), "{good}");
        }
        for (bad, at) in [
            (json!({"cc": "[\"eve@evil\"]"}), "/cc"),
            (json!({"cc": [["a"]]}), "/cc/0"),
            (json!({"to": "{\"a\":1}"}), "/to"),
            (json!({"when": "{}"}), "/when"),
            (json!({"deep": {"x": "[]"}}), "/deep/x"),
            (json!({"one": "[]"}), "/one"),
            (json!({"other": "5"}), "/other"),
            (json!([]), "the arguments"),
        ] {
            let refusal = check(&schema, &bad).unwrap_err();
            assert_eq!(refusal.code, Code::ArgumentMalformed);
            assert!(refusal.reason.contains(at) && !refusal.reason.contains("evil"), "{}", refusal.reason);
        }
    }

    #[test]
    fn integers_are_numbers_without_a_fraction() {
        let schema = json!({"properties": {"n": {"type": "integer"}}});
        for good in [json!(1), json!(-1), json!(2.0), json!(u64::MAX)] {
            assert_eq!(check(&schema, &json!({"n": good})), Ok(()));
        }
        assert!(check(&schema, &json!({"n": 1.5})).is_err());
    }

    #[test]
    fn hostile_schemas_end() {
        let itself = json!({"$ref": "#"});
        assert_eq!(check(&itself, &json!({})), Ok(()));
        let chain = |n: usize| json!({"allOf": [{"$ref": format!("#/$defs/{n}")}, {"$ref": format!("#/$defs/{n}")}]});
        let many: Value = Value::Object((0..64).map(|n| (n.to_string(), chain(n + 1))).collect());
        assert_eq!(check(&json!({"$ref": "#/$defs/0", "$defs": many}), &json!({"a": [1, 2, 3]})), Ok(()));
        let wide: Vec<Value> = (0..50_000).map(|_| json!({"type": "null"})).collect();
        let _ = check(&json!({"anyOf": wide}), &json!({}));
        for odd in
            [json!({"type": 5}), json!({"type": [5]}), json!({"properties": 1, "items": 2, "allOf": {}}), json!(false), json!(1)]
        {
            assert_eq!(check(&odd, &json!({"a": [1]})), Ok(()), "{odd}");
        }
    }
}
