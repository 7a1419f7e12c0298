//! Requests and answers as they stand in the body. SPEC: AU-03, AU-04, AU-05.

use remit_model::refusal::{Code, Refusal};
use remit_store::Receipt;
use serde_json::{Map, Value, json};

/// Most evaluations of one request. SPEC: N-AU-12.
pub(super) const EVALUATIONS: usize = 100;
/// Most bytes that defaults add to the evaluations of one request.
const INHERITED: usize = 1 << 20;
/// Longest type, id or name, in bytes.
const TEXT: usize = 1024;
const ENTITIES: [&str; 4] = ["subject", "action", "resource", "context"];

/// One question, read and understood.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Evaluation {
    pub(super) subject: Entity,
    pub(super) action: String,
    pub(super) resource: Entity,
    /// `context.arguments`: what the act would be done with.
    pub(super) arguments: Value,
    /// The question as it was put, defaults filled in: `subject`, `action`, `resource` and, if there is one, `context`.
    pub(super) whole: Value,
}

#[derive(Clone, Debug, PartialEq)]
pub(super) struct Entity {
    pub(super) kind: String,
    pub(super) id: String,
}

/// What a request asks.
#[derive(Debug)]
pub(super) enum Asked {
    One(Box<Evaluation>),
    /// Each on its own: one that cannot be read is denied, and the others are answered.
    Many(Vec<Result<Evaluation, Refusal>>, Until),
}

/// When a list of evaluations is answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Until {
    All,
    FirstDeny,
    FirstPermit,
}

impl Until {
    /// Whether nothing more is evaluated after this decision.
    pub(super) fn ends(self, permitted: bool) -> bool {
        match self {
            Self::All => false,
            Self::FirstDeny => !permitted,
            Self::FirstPermit => permitted,
        }
    }
}

impl Asked {
    /// Reads the body of `/evaluation`.
    ///
    /// # Errors
    /// `request_malformed`.
    pub(super) fn one(body: &Value) -> Result<Self, Refusal> {
        Evaluation::read(object(body, "the body")?, None).map(Box::new).map(Self::One)
    }

    /// Reads the body of `/evaluations`. Without any in the list it is one evaluation, and is answered as one.
    ///
    /// # Errors
    /// `request_malformed`, `request_too_large`.
    pub(super) fn many(body: &Value) -> Result<Self, Refusal> {
        let top = object(body, "the body")?;
        let until = until(top)?;
        let items = match top.get("evaluations") {
            None => return Self::one(body),
            Some(Value::Array(items)) if items.is_empty() => return Self::one(body),
            Some(Value::Array(items)) => items,
            Some(_) => return Err(malformed("`evaluations` must be an array")),
        };
        if items.len() > EVALUATIONS {
            let reason = format!("{} evaluations were asked for; at most {EVALUATIONS} are made at once", items.len());
            return Err(Refusal::new(Code::RequestTooLarge, reason));
        }
        for name in ENTITIES {
            top.get(name).map(|value| check(name, value)).transpose()?;
        }
        inherited(top, items)?;
        let read = |item: &Value| Evaluation::read(object(item, "an evaluation")?, Some(top));
        Ok(Self::Many(items.iter().map(read).collect(), until))
    }
}

/// Refuses a small request that defaults would make a large one.
fn inherited(top: &Map<String, Value>, items: &[Value]) -> Result<(), Refusal> {
    let mut bytes = 0_usize;
    for (name, default) in ENTITIES.iter().filter_map(|name| Some((*name, top.get(*name)?))) {
        let heirs = items.iter().filter(|item| item.get(name).is_none()).count();
        bytes = bytes.saturating_add(default.to_string().len().saturating_mul(heirs));
    }
    if bytes > INHERITED {
        let reason = format!("with their defaults the evaluations are over {INHERITED} bytes; ask for fewer at a time");
        return Err(Refusal::new(Code::RequestTooLarge, reason));
    }
    Ok(())
}

fn until(top: &Map<String, Value>) -> Result<Until, Refusal> {
    let Some(options) = top.get("options") else { return Ok(Until::All) };
    match object(options, "`options`")?.get("evaluations_semantic") {
        None => Ok(Until::All),
        Some(Value::String(text)) if text == "execute_all" => Ok(Until::All),
        Some(Value::String(text)) if text == "deny_on_first_deny" => Ok(Until::FirstDeny),
        Some(Value::String(text)) if text == "permit_on_first_permit" => Ok(Until::FirstPermit),
        Some(_) => Err(malformed(
            "`options.evaluations_semantic` must be `execute_all`, `deny_on_first_deny` or `permit_on_first_permit`",
        )),
    }
}

impl Evaluation {
    /// Reads one evaluation; an entity it leaves out is that of `defaults`, whole.
    fn read(own: &Map<String, Value>, defaults: Option<&Map<String, Value>>) -> Result<Self, Refusal> {
        let mut whole = Map::new();
        for name in ENTITIES {
            if let Some(value) = own.get(name).or_else(|| defaults?.get(name)) {
                check(name, value)?;
                whole.insert(name.to_owned(), value.clone());
            } else if name != "context" {
                return Err(malformed(format!("`{name}` is missing")));
            }
        }
        let text = |entity: &str, member: &str| -> String {
            let value = whole.get(entity).and_then(|entity| entity.get(member)).and_then(Value::as_str);
            value.unwrap_or_default().to_owned()
        };
        let arguments = whole.get("context").and_then(|context| context.get("arguments")).cloned();
        Ok(Self {
            subject: Entity { kind: text("subject", "type"), id: text("subject", "id") },
            action: text("action", "name"),
            resource: Entity { kind: text("resource", "type"), id: text("resource", "id") },
            arguments: arguments.unwrap_or_else(|| json!({})),
            whole: Value::Object(whole),
        })
    }
}

/// Shape alone; members that are not known are ignored.
fn check(name: &str, value: &Value) -> Result<(), Refusal> {
    let members = object(value, &format!("`{name}`"))?;
    let (texts, nested): (&[&str], &str) = match name {
        "context" => (&[], "arguments"),
        "action" => (&["name"], "properties"),
        _ => (&["type", "id"], "properties"),
    };
    for text in texts {
        match members.get(*text) {
            Some(Value::String(value)) if value.len() <= TEXT => {}
            Some(Value::String(_)) => return Err(malformed(format!("`{name}.{text}` is longer than {TEXT} bytes"))),
            Some(_) => return Err(malformed(format!("`{name}.{text}` must be a string"))),
            None => return Err(malformed(format!("`{name}.{text}` is missing"))),
        }
    }
    members.get(nested).map(|value| object(value, &format!("`{name}.{nested}`"))).transpose().map(drop)
}

fn object<'v>(value: &'v Value, what: &str) -> Result<&'v Map<String, Value>, Refusal> {
    value.as_object().ok_or_else(|| malformed(format!("{what} must be an object")))
}

fn malformed(reason: impl Into<String>) -> Refusal {
    Refusal::new(Code::RequestMalformed, reason)
}

/// The answer to one evaluation, with where it was recorded. `error` is the HTTP status of one that was not evaluated.
pub(super) fn answer(result: &Result<(), Refusal>, error: Option<u16>, receipt: Option<&Receipt>) -> Value {
    let mut context = Map::new();
    match (result, error) {
        (Ok(()), _) => {}
        (Err(refusal), Some(status)) => {
            context.insert("error".to_owned(), json!({"status": status, "message": refusal.to_string()}));
        }
        (Err(refusal), None) => {
            context.insert("code".to_owned(), json!(refusal.code));
            context.insert("reason".to_owned(), json!(refusal.reason));
        }
    }
    if let Some(receipt) = receipt {
        context.insert("record".to_owned(), json!(receipt.record_id));
    }
    json!({"decision": result.is_ok(), "context": context})
}
