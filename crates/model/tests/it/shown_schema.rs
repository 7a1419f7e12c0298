//! The schema that is listed accepts what is shown: by property, against a complete validator.

use proptest::{prelude::*, sample::subsequence};
use remit_model::{
    fields::{project, shown_schema},
    json::Limits,
    mask,
};
use serde_json::{Map, Value, json};

const FIELDS: &[&str] = &[
    "/a",
    "/b",
    "/c",
    "/a/a",
    "/a/b",
    "/b/*",
    "/b/*/a",
    "/b/0",
    "/b/1/c",
    "/c/*/b/*/a",
    "/result",
    "/result/*/a",
    "/result/b",
    "/other",
    "/*/a",
    "/a/*/*",
    "",
];

/// A schema and a value that it accepts. `{"hoist": S}` stands for a definition S that is referred to.
fn pair() -> impl Strategy<Value = (Value, Value)> {
    let leaf = prop_oneof![
        "[a-c]{0,3}".prop_map(|text| (json!({"type": "string", "minLength": text.len()}), json!(text))),
        (-9_i64..9).prop_map(|number| (json!({"type": "integer", "minimum": number}), json!(number))),
        any::<bool>().prop_map(|flag| (json!({"const": flag}), json!(flag))),
        prop::sample::select(vec!["x", "y"]).prop_map(|text| (json!({"enum": ["x", "y"]}), json!(text))),
        Just((json!({"type": ["null", "string"]}), Value::Null)),
        Just((json!(true), json!({"a": 1}))),
        Just((json!({}), json!([1, {"b": 2}]))),
    ];
    leaf.prop_recursive(4, 40, 4, |inner| {
        let members = prop::collection::btree_map(prop::sample::select(vec!["a", "b", "c", "other", "x"]), inner.clone(), 0..4);
        prop_oneof![
            4 => (members, any::<[bool; 3]>()).prop_map(object),
            3 => (inner.clone(), 0_usize..4, any::<bool>()).prop_map(|((schema, value), count, unique)| {
                let items = vec![value; if unique { count.min(1) } else { count }];
                (json!({"type": "array", "items": schema, "minItems": items.len(), "uniqueItems": unique}), json!(items))
            }),
            1 => (inner.clone(), inner.clone()).prop_map(|((first, a), (second, b))| {
                (json!({"type": "array", "prefixItems": [first, second], "items": false, "contains": {}}), json!([a, b]))
            }),
            2 => inner.clone().prop_map(|(schema, value)| (json!({"hoist": schema}), value)),
            1 => inner.clone().prop_map(|(schema, value)| (json!({"allOf": [schema, {"title": "both"}]}), value)),
            1 => inner.clone().prop_map(|(schema, value)| (json!({"anyOf": [{"type": "null", "const": 7}, schema]}), value)),
            1 => inner.clone().prop_map(|(schema, value)| (json!({"oneOf": [{"const": "no such thing"}, schema]}), value)),
            1 => inner.prop_map(|(schema, value)| (json!({"if": schema, "then": {}, "else": false, "not": {"const": "never"}}), value)),
        ]
    })
}

/// An object of these members, some of them required, what is left closed or spoken of by `additionalProperties`.
fn object(
    (members, [required, closed, spoken]): (std::collections::BTreeMap<&str, (Value, Value)>, [bool; 3]),
) -> (Value, Value) {
    let (mut properties, mut value, mut additional) = (Map::new(), Map::new(), None);
    for (name, (schema, member)) in &members {
        if *name == "x" && spoken {
            additional = Some(schema.clone());
        } else {
            properties.insert((*name).to_owned(), schema.clone());
        }
        value.insert((*name).to_owned(), member.clone());
    }
    let mut schema = json!({"type": "object", "properties": properties, "minProperties": value.len()});
    if required {
        schema["required"] = members.keys().copied().collect();
        schema["dependentRequired"] = json!({"a": members.keys().copied().collect::<Vec<_>>()});
    }
    if let Some(additional) = additional {
        schema["additionalProperties"] = additional;
    } else if closed {
        schema["additionalProperties"] = json!(false);
    }
    (schema, Value::Object(value))
}

/// Moves what is marked into `$defs`.
fn hoist(schema: &mut Value, found: &mut Map<String, Value>) {
    match schema {
        Value::Object(members) => {
            members.values_mut().for_each(|member| hoist(member, found));
            if let Some(definition) = members.remove("hoist") {
                let name = format!("d{}", found.len());
                found.insert(name.clone(), definition);
                *schema = json!({"$ref": format!("#/$defs/{name}")});
            }
        }
        Value::Array(items) => items.iter_mut().for_each(|item| hoist(item, found)),
        _ => {}
    }
}

/// The schema of a tool's structured content, and a value of it: an object at the top.
fn tool() -> impl Strategy<Value = (Value, Value)> {
    let members = prop::collection::btree_map(prop::sample::select(vec!["a", "b", "c", "result", "x"]), pair(), 0..4);
    (members, any::<[bool; 3]>()).prop_map(|parts| {
        let (mut schema, value) = object(parts);
        let mut definitions = Map::new();
        hoist(&mut schema, &mut definitions);
        schema["$defs"] = Value::Object(definitions);
        (schema, value)
    })
}

fn fields() -> impl Strategy<Value = Vec<String>> {
    subsequence(FIELDS.to_vec(), 0..5).prop_map(|fields| fields.into_iter().map(ToOwned::to_owned).collect())
}

fn accepts(schema: &Value, value: &Value) -> Result<(), TestCaseError> {
    let validator = jsonschema::validator_for(schema).map_err(|error| TestCaseError::fail(format!("{error}: {schema}")))?;
    let verdict = validator.validate(value).map_err(|error| format!("{error} at {}", error.instance_path()));
    prop_assert!(verdict.is_ok(), "{:?}\nshown {value}\nlisted {schema}", verdict);
    Ok(())
}

/// Every member name and string of a value.
fn words(value: &Value, found: &mut Vec<String>) {
    match value {
        Value::Object(members) => members.values().for_each(|member| words(member, found)),
        Value::Array(items) => items.iter().for_each(|item| words(item, found)),
        Value::Null => {}
        leaf => found.push(leaf.to_string()),
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn the_listed_schema_accepts_what_is_shown((schema, value) in tool(), fields in fields()) {
        accepts(&schema, &value)?;
        let shown = project(value, &fields).value;
        accepts(&shown_schema(&schema, &[fields]), &shown)?;
    }

    #[test]
    fn it_accepts_what_any_of_several_grants_shows((schema, value) in tool(), sets in prop::collection::vec(fields(), 1..4), take in 0_usize..7) {
        let listed = shown_schema(&schema, &sets);
        let together: Vec<String> =
            sets.iter().enumerate().filter(|(number, _)| (take + 1) >> number & 1 == 1).flat_map(|(_, set)| set.clone()).collect();
        for fields in sets.iter().chain([&together]).filter(|fields| !fields.is_empty() || sets.contains(fields)) {
            accepts(&listed, &project(value.clone(), fields).value)?;
        }
    }

    #[test]
    fn both_forms_show_the_same_and_nothing_that_is_withheld((_, value) in tool(), fields in fields(), wrap in any::<bool>(), pretty in any::<bool>()) {
        let (structured, repeated) = if wrap { (json!({"result": value}), value) } else { (value.clone(), value) };
        let text = if pretty { format!("{repeated:#}") } else { repeated.to_string() };
        let result = json!({"content": [{"type": "text", "text": text}], "structuredContent": structured});
        let shown = mask::project("tools/call", None, result, Some(&fields), &mask::Withheld::default(), &Limits::RESPONSE);
        let projected = project(structured, &fields);
        prop_assert_eq!(&shown.value["structuredContent"], &projected.value);
        prop_assert_eq!((&shown.returned, &shown.masked), (&projected.returned, &projected.masked));
        let expected = if wrap { projected.value.get("result") } else { Some(&projected.value) };
        let written = shown.value["content"][0]["text"].as_str().unwrap();
        if let Some(expected) = expected {
            prop_assert_eq!(&serde_json::from_str::<Value>(written).unwrap(), expected);
        } else {
            prop_assert_eq!(written, mask::WITHHELD);
        }
        let says = shown.value["content"].as_array().unwrap().iter().any(|block| block["text"] == mask::EMPTIED);
        prop_assert_eq!(says, projected.emptied);
    }
}

#[test]
fn recursive_schemas_are_followed() {
    let schema = json!({"type": "object", "$ref": "#/$defs/node", "$defs": {"node": {"type": "object", "required": ["id", "mail"],
        "properties": {"id": {"type": "integer"}, "mail": {"type": "string"}, "next": {"$ref": "#/$defs/node"},
            "children": {"type": "array", "items": {"$ref": "#/$defs/node"}}}, "additionalProperties": false}}});
    let leaf = json!({"id": 3, "mail": "c@"});
    let value = json!({"id": 1, "mail": "a@", "next": {"id": 2, "mail": "b@", "children": [leaf, leaf]}, "children": [leaf]});
    for fields in [&["/id", "/next/children/*/id"][..], &["/next", "/id"], &["/children/0/id"], &[]] {
        let fields: Vec<String> = fields.iter().map(|&field| field.to_owned()).collect();
        let listed = shown_schema(&schema, std::slice::from_ref(&fields));
        let shown = project(value.clone(), &fields).value;
        assert!(jsonschema::validator_for(&listed).unwrap().is_valid(&shown), "{fields:?}: {shown}\n{listed}");
        let mut found = Vec::new();
        words(&shown, &mut found);
        assert!(fields.contains(&"/next".to_owned()) || !found.iter().any(|word| word.contains('@')), "{shown}");
    }
    let root = json!({"type": "object", "required": ["id"], "properties": {"id": {}, "up": {"$ref": "#"}}});
    let listed = shown_schema(&root, &[vec!["/up/up/x".to_owned()]]);
    assert!(jsonschema::validator_for(&listed).unwrap().is_valid(&json!({"up": {"up": {}}})), "{listed}");
}

#[test]
fn a_schema_that_cannot_be_followed_accepts_every_object() {
    let wide: Value = Value::Object((0..30_000).map(|n| (format!("k{n}"), json!({"type": "string"}))).collect());
    let deep = (0..100).fold(json!({}), |inner, _| json!({"properties": {"a": inner}}));
    let chain = |n: usize| json!({"allOf": [{"$ref": format!("#/$defs/{n}")}, {"$ref": format!("#/$defs/{n}")}]});
    let many: Value = Value::Object((0..1000).map(|n| (n.to_string(), chain(n + 1))).collect());
    for schema in [
        json!({"$ref": "https://schemas.example/ticket.json"}),
        json!({"$ref": "#/$defs/missing"}),
        json!({"$ref": "other.json#/a"}),
        json!({"properties": {"a": {"$id": "https://x.example/", "$ref": "#/$defs/a"}}}),
        json!({"$anchor": "here", "$ref": "#here"}),
        json!({"$dynamicRef": "#node"}),
        json!({"properties": {"a": {"properties": wide}}}),
        json!({"properties": {"a": deep}}),
        json!({"allOf": [{"$ref": "#/$defs/0"}], "$defs": many}),
        json!(7),
    ] {
        let fields = vec!["/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a".to_owned(), "/a/b".to_owned()];
        let deep = vec![format!("{0}{0}{0}", fields[0])];
        let listed =
            [shown_schema(&schema, &[fields]), shown_schema(&schema, &[deep]), shown_schema(&schema, &[vec![String::new()]])];
        assert!(listed.contains(&json!({"type": "object"})), "{}", listed[0].to_string().chars().take(200).collect::<String>());
    }
}

#[test]
fn members_that_are_never_shown_are_not_listed() {
    let schema = json!({"type": "object", "required": ["id", "mail"], "additionalProperties": false,
        "properties": {"id": {"type": "string", "minLength": 1}, "mail": {"type": "string"}}});
    let listed = shown_schema(&schema, &[vec!["/id".to_owned()]]);
    let expected =
        json!({"type": "object", "additionalProperties": false, "properties": {"id": {"type": "string", "minLength": 1}}});
    assert_eq!(listed, expected);
    assert_eq!(shown_schema(&schema, &[]), schema, "without restriction it is what the server says");
}
