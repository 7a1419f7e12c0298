//! The JSON Schema of what a projection shows, made from the schema of the whole.
//!
//! Whatever the schema accepts, the relaxed schema accepts after [`super::project`]: constraints on what is shown whole stay,
//! those that a missing or emptied part could break go, members that are never shown are not listed. A schema that cannot be
//! followed (foreign references, inner `$id`, anchors, too large) becomes one that accepts every object. Knows the keywords of
//! drafts 7 to 2020-12; it validates nothing itself.

use super::paths::{parse, step};
use crate::{
    authority::field::{FieldPath, Token},
    json::pointer,
};
use serde_json::{Map, Value, json};
use std::collections::BTreeSet;

/// Most schema nodes of one result.
const NODE_LIMIT: usize = 20_000;
/// Most definitions that references are expanded to.
const DEFINITION_LIMIT: usize = 256;
/// Deepest nesting of a schema.
const DEPTH_LIMIT: usize = 64;

/// The schema of the projections of what `schema` describes. `alternatives` are the sets of fields that a caller may be shown,
/// as their grants say; a call may show any one of them, or several together. An empty list shows everything.
pub fn shown_schema(schema: &Value, alternatives: &[Vec<String>]) -> Value {
    let alternatives: Vec<Vec<FieldPath>> = alternatives.iter().map(|fields| parse(fields)).collect();
    if alternatives.is_empty() {
        return schema.clone();
    }
    let exact = alternatives.iter().all(|fields| Some(fields) == alternatives.first());
    let tails: Vec<&[Token]> = alternatives.iter().flatten().map(|path| path.0.as_slice()).collect();
    let mut relaxer = Relaxer { root: schema, exact, known: Vec::new(), definitions: Map::new(), nodes: 0 };
    let seen = relaxer.seen(tails);
    let relaxed = relaxer.node(schema, &seen, false, 0);
    match relaxed {
        Ok(Value::Object(mut members)) => {
            if !relaxer.definitions.is_empty() {
                members.insert("$defs".to_owned(), Value::Object(relaxer.definitions));
            }
            Value::Object(members)
        }
        Ok(_) | Err(Unfollowable) => json!({"type": "object"}),
    }
}

/// The schema has something that cannot be followed, or is too large.
#[derive(Debug)]
struct Unfollowable;

/// What of a value is shown.
#[derive(Clone, Debug, PartialEq)]
enum Seen<'t> {
    Whole,
    /// What these rests of field pointers look into.
    Part(Vec<&'t [Token]>),
    /// Any part of it, up to all of it: the caller's grants differ.
    Any,
}

#[derive(Debug)]
struct Relaxer<'s, 't> {
    root: &'s Value,
    /// Every call shows the same fields.
    exact: bool,
    /// References that were expanded, and how: the target, what is seen of it, whether it may be `null`.
    known: Vec<(String, Seen<'t>, bool)>,
    definitions: Map<String, Value>,
    nodes: usize,
}

impl<'t> Relaxer<'_, 't> {
    fn seen(&self, tails: Vec<&'t [Token]>) -> Seen<'t> {
        match tails.iter().any(|tail| tail.is_empty()) {
            false => Seen::Part(tails),
            true if self.exact => Seen::Whole,
            true => Seen::Any,
        }
    }

    /// The relaxed schema. `nullable`: a projection may put `null` in the place of the value.
    fn node(&mut self, schema: &Value, seen: &Seen<'t>, nullable: bool, depth: usize) -> Result<Value, Unfollowable> {
        self.nodes += 1;
        if self.nodes > NODE_LIMIT || depth > DEPTH_LIMIT {
            return Err(Unfollowable);
        }
        let Value::Object(members) = schema else { return Ok(schema.clone()) };
        let alien = |name: &String| matches!(name.as_str(), "$anchor" | "$dynamicRef" | "$dynamicAnchor" | "$recursiveRef");
        // An inner `$id` changes what references are relative to.
        if members.keys().any(alien) || (members.contains_key("$id") && !std::ptr::eq(schema, self.root)) {
            return Err(Unfollowable);
        }
        match seen {
            Seen::Whole => self.whole(members, depth),
            Seen::Part(_) | Seen::Any => self.part(members, seen, nullable, depth),
        }
    }

    /// As it is, but with references to the definitions of the relaxed schema.
    fn whole(&mut self, members: &Map<String, Value>, depth: usize) -> Result<Value, Unfollowable> {
        let mut kept = Map::new();
        for (name, value) in members {
            let value = match name.as_str() {
                "$ref" => self.reference(value, &Seen::Whole, false, depth)?,
                "$defs" | "definitions" => continue,
                // Values, not schemas.
                "const" | "enum" | "default" | "examples" => value.clone(),
                "properties" | "patternProperties" | "dependentSchemas" => match value {
                    Value::Object(schemas) => {
                        let whole = |(name, schema): (&String, &Value)| {
                            Ok((name.clone(), self.node(schema, &Seen::Whole, false, depth + 1)?))
                        };
                        Value::Object(schemas.iter().map(whole).collect::<Result<_, _>>()?)
                    }
                    other => other.clone(),
                },
                _ => match value {
                    Value::Object(_) => self.node(value, &Seen::Whole, false, depth + 1)?,
                    Value::Array(schemas) => {
                        let whole = |schema: &Value| self.node(schema, &Seen::Whole, false, depth + 1);
                        Value::Array(schemas.iter().map(whole).collect::<Result<_, _>>()?)
                    }
                    other => other.clone(),
                },
            };
            kept.insert(name.clone(), value);
        }
        Ok(Value::Object(kept))
    }

    /// What stays true of a part: every keyword that is not named here goes.
    fn part(
        &mut self,
        members: &Map<String, Value>,
        seen: &Seen<'t>,
        nullable: bool,
        depth: usize,
    ) -> Result<Value, Unfollowable> {
        let mut kept = Map::new();
        for (name, value) in members {
            let value = match (name.as_str(), value) {
                ("title" | "description" | "$schema" | "$id", _) => value.clone(),
                (name, _) if name.starts_with("x-") => value.clone(),
                ("type", _) => types(value, nullable),
                ("$ref", _) => self.reference(value, seen, nullable, depth)?,
                ("properties", Value::Object(properties)) => self.properties(properties, seen, depth)?,
                ("items", Value::Object(_)) => match self.item(seen) {
                    Some(item) if !members.contains_key("prefixItems") => self.node(value, &item, true, depth + 1)?,
                    _ => continue,
                },
                ("allOf" | "anyOf", Value::Array(schemas)) => self.each(schemas, seen, nullable, depth)?,
                _ => continue,
            };
            kept.insert(name.clone(), value);
        }
        if let Some(Value::Array(schemas)) = members.get("oneOf") {
            // A part may fit several.
            let any = json!({"anyOf": self.each(schemas, seen, nullable, depth)?});
            match kept.get_mut("allOf") {
                Some(Value::Array(all)) => all.push(any),
                _ => drop(kept.insert("allOf".to_owned(), json!([any]))),
            }
        }
        self.additional(members, seen, depth, &mut kept)?;
        Ok(Value::Object(kept))
    }

    fn properties(&mut self, properties: &Map<String, Value>, seen: &Seen<'t>, depth: usize) -> Result<Value, Unfollowable> {
        let mut kept = Map::new();
        for (name, schema) in properties {
            if let Some(inner) = self.member(seen, name) {
                kept.insert(name.clone(), self.node(schema, &inner, false, depth + 1)?);
            }
        }
        Ok(Value::Object(kept))
    }

    /// `additionalProperties`: for the shown members it speaks of; `false` as long as `properties` names all there are.
    fn additional(
        &mut self,
        members: &Map<String, Value>,
        seen: &Seen<'t>,
        depth: usize,
        kept: &mut Map<String, Value>,
    ) -> Result<(), Unfollowable> {
        let Some(additional) = members.get("additionalProperties") else { return Ok(()) };
        if members.contains_key("patternProperties") {
            return Ok(());
        }
        if *additional == Value::Bool(false) {
            kept.insert("additionalProperties".to_owned(), Value::Bool(false));
            return Ok(());
        }
        match seen {
            Seen::Whole => {}
            Seen::Any => {
                let relaxed = self.node(additional, &Seen::Any, false, depth + 1)?;
                kept.insert("additionalProperties".to_owned(), relaxed);
            }
            Seen::Part(tails) => {
                let named = members.get("properties").and_then(Value::as_object);
                let names = tails.iter().filter_map(|tail| match tail.first() {
                    Some(Token::Name(name)) if named.is_none_or(|named| !named.contains_key(name)) => Some(name.clone()),
                    _ => None,
                });
                for name in names.collect::<BTreeSet<_>>() {
                    let Some(inner) = self.member(seen, &name) else { continue };
                    let relaxed = self.node(additional, &inner, false, depth + 1)?;
                    if let Value::Object(properties) = kept.entry("properties").or_insert_with(|| json!({})) {
                        properties.insert(name, relaxed);
                    }
                }
            }
        }
        Ok(())
    }

    fn each(&mut self, schemas: &[Value], seen: &Seen<'t>, nullable: bool, depth: usize) -> Result<Value, Unfollowable> {
        let each = |schema: &Value| self.node(schema, seen, nullable, depth + 1);
        Ok(Value::Array(schemas.iter().map(each).collect::<Result<_, _>>()?))
    }

    /// What is seen of a member; `None` when it is never shown.
    fn member(&self, seen: &Seen<'t>, name: &str) -> Option<Seen<'t>> {
        match seen {
            Seen::Whole | Seen::Any => Some(seen.clone()),
            Seen::Part(tails) => {
                let inner = step(tails, |token| matches!(token, Token::Name(allowed) if allowed == name));
                (!inner.is_empty()).then(|| self.seen(inner))
            }
        }
    }

    /// What is seen of every item alike; `None` when single items are seen differently, or none.
    fn item(&self, seen: &Seen<'t>) -> Option<Seen<'t>> {
        match seen {
            Seen::Whole | Seen::Any => Some(seen.clone()),
            Seen::Part(tails) => {
                let single = tails.iter().any(|tail| matches!(tail.first(), Some(Token::Index(_))));
                let inner = step(tails, |token| *token == Token::Item);
                (!single && !inner.is_empty()).then(|| self.seen(inner))
            }
        }
    }

    /// A reference inside the schema, to the relaxed form of its target.
    fn reference(&mut self, to: &Value, seen: &Seen<'t>, nullable: bool, depth: usize) -> Result<Value, Unfollowable> {
        let to = to.as_str().and_then(|to| to.strip_prefix('#')).ok_or(Unfollowable)?;
        // A pointer in a URI fragment may be percent-encoded; hardly any is.
        if to.contains('%') {
            return Err(Unfollowable);
        }
        let target = pointer::get(self.root, to).ok_or(Unfollowable)?;
        let name = |number: usize| format!("shown{number}");
        let wanted = (to.to_owned(), seen.clone(), nullable);
        if let Some(number) = self.known.iter().position(|known| *known == wanted) {
            return Ok(json!(format!("#/$defs/{}", name(number))));
        }
        let number = self.known.len();
        if number >= DEFINITION_LIMIT {
            return Err(Unfollowable);
        }
        self.known.push(wanted);
        let mut relaxed = self.node(target, seen, nullable, depth + 1)?;
        if let Value::Object(members) = &mut relaxed {
            for outside in ["$id", "$schema", "$defs", "definitions"] {
                members.shift_remove(outside);
            }
        }
        self.definitions.insert(name(number), relaxed);
        Ok(json!(format!("#/$defs/{}", name(number))))
    }
}

fn types(value: &Value, nullable: bool) -> Value {
    let mut types: Vec<Value> = match value {
        Value::Array(types) => types.clone(),
        one => vec![one.clone()],
    };
    if !nullable {
        return value.clone();
    }
    if !types.iter().any(|one| one == "null") {
        types.push(json!("null"));
    }
    Value::Array(types)
}
