//! Shows of the result of an MCP method only the fields that were granted.
//!
//! Field pointers address the structured part of an answer: `structuredContent`, or text that is itself JSON where there is
//! none. Text that repeats the structured part is written anew from what is shown of it, so that both show the same. Where
//! only some fields are granted, whatever has no fields (prose, images, files, links) is withheld with a visible
//! marker: fail closed. With no field restriction nothing is touched. It is a pure function, so that a replay over a
//! captured result shows exactly what the caller was shown. It deliberately knows nothing of transports.

use crate::{
    fields,
    json::{self, Limits},
};
use serde_json::{Map, Value, json};

/// Stands where something was withheld.
pub const WITHHELD: &str = "[withheld: only some fields of this answer are granted, and this part has no fields]";

/// Added where an object or a list lost everything that was in it, so that it does not look empty.
pub const EMPTIED: &str = "[withheld: parts of this answer are shown empty because nothing in them is granted]";

/// Which rules mask an answer; a record says which were used.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Rules {
    /// Text and structured part are masked apart. Records that name no rules were made by these.
    First,
    /// Text with an integer beyond 64 bits or half a surrogate pair has no fields.
    Second,
    #[default]
    Third,
}

impl Rules {
    /// As a record states them: `ext.masking`.
    pub fn number(self) -> u8 {
        match self {
            Self::First => 1,
            Self::Second => 2,
            Self::Third => 3,
        }
    }

    /// The rules that a record names.
    pub fn numbered(number: u64) -> Option<Self> {
        [Self::First, Self::Second, Self::Third].into_iter().find(|rules| u64::from(rules.number()) == number)
    }
}

/// The member in which FastMCP puts results that are not objects.
const WRAPPER: &str = "result";

/// Stands for the address of a part that the caller did not ask for by that address.
pub const WITHHELD_URI: &str = "urn:remit:withheld";

/// A result as the caller may see it.
#[derive(Clone, Debug, PartialEq)]
pub struct Shown {
    pub value: Value,
    /// Pointers of what is left, array indexes collapsed to `*`, sorted, without repeats.
    pub returned: Vec<String>,
    /// Pointers of what was taken away, in the same form.
    pub masked: Vec<String>,
    /// Pointers of what policies withheld because of its class, in the same form.
    pub classified: Vec<String>,
    /// Parts that have no fields and were withheld whole.
    pub withheld: usize,
}

/// What policies withhold of an answer because of the classes of its fields.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Withheld {
    /// Pointers to fields that are withheld.
    pub fields: Vec<String>,
    /// Where every field is withheld that has no class of its own: pointers to those that stay.
    pub only: Option<Vec<String>>,
}

impl Withheld {
    /// Whether everything may be read.
    pub fn is_nothing(&self) -> bool {
        self.fields.is_empty() && self.only.is_none()
    }
}

impl Shown {
    /// Everything, because nothing restricts the fields.
    pub fn whole(value: Value) -> Self {
        Self { value, returned: Vec::new(), masked: Vec::new(), classified: Vec::new(), withheld: 0 }
    }
}

/// Masks the result of the MCP method `method`. `asked` is the `uri` the caller named itself, `fields` what was granted
/// (JSON Pointers with `*` for items; `None` restricts nothing), `classes` what policies withhold of that, `limits` those
/// for text that is itself JSON.
pub fn project(
    method: &str,
    asked: Option<&str>,
    result: Value,
    fields: Option<&[String]>,
    classes: &Withheld,
    limits: &Limits,
) -> Shown {
    project_by(Rules::default(), method, asked, result, fields, classes, limits)
}

/// The same by the rules that a record names, to show again what was shown.
pub fn project_by(
    rules: Rules,
    method: &str,
    asked: Option<&str>,
    result: Value,
    fields: Option<&[String]>,
    classes: &Withheld,
    limits: &Limits,
) -> Shown {
    if fields.is_none() && classes.is_nothing() {
        return Shown::whole(result);
    }
    let mut masker = Masker { rules, fields, classes, asked, limits, shown: Shown::whole(Value::Null), emptied: false };
    let value = match (method, result) {
        ("tools/call", Value::Object(result)) => masker.tool_result(result),
        ("resources/read", Value::Object(result)) => masker.contents(result),
        ("prompts/get", Value::Object(result)) => masker.prompt(result),
        (_, result) => masker.value(result),
    };
    let mut shown = masker.shown;
    shown.value = value;
    for pointers in [&mut shown.returned, &mut shown.masked, &mut shown.classified] {
        pointers.sort();
        pointers.dedup();
    }
    shown
}

struct Masker<'a> {
    rules: Rules,
    fields: Option<&'a [String]>,
    classes: &'a Withheld,
    asked: Option<&'a str>,
    limits: &'a Limits,
    shown: Shown,
    /// Some object or array lost everything that was in it.
    emptied: bool,
}

/// Which part of the structured content a text repeats.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Repeats {
    All,
    /// What FastMCP wrapped.
    Wrapped,
    /// One item of the list that FastMCP wrapped.
    Item(usize),
}

impl Masker<'_> {
    /// Grants first, then the classes: what a grant does not show is not reported as withheld by a policy.
    fn value(&mut self, mut value: Value) -> Value {
        let mut returned = Vec::new();
        if let Some(granted) = self.fields {
            let projection = fields::project(value, granted);
            (value, returned) = (projection.value, projection.returned);
            self.shown.masked.extend(projection.masked);
            self.emptied |= projection.emptied;
        }
        if let Some(only) = &self.classes.only {
            let projection = fields::project(value, only);
            (value, returned) = (projection.value, projection.returned);
            self.shown.classified.extend(projection.masked);
            self.emptied |= projection.emptied;
        }
        if !self.classes.fields.is_empty() {
            let projection = fields::without(value, &self.classes.fields);
            (value, returned) = (projection.value, projection.returned);
            self.shown.classified.extend(projection.masked);
            self.emptied |= projection.emptied;
        }
        self.shown.returned.extend(returned);
        value
    }

    /// Only the members we know; anything else could carry what the fields leave out.
    fn tool_result(&mut self, mut result: Map<String, Value>) -> Value {
        let mut kept = Map::new();
        let (content, structured) = (result.remove("content"), result.remove("structuredContent"));
        let wraps = |repeats: &Option<Repeats>| matches!(repeats, Some(Repeats::Wrapped | Repeats::Item(_)));
        let repeats = match (&content, &structured) {
            (Some(Value::Array(blocks)), Some(structured)) if self.rules >= Rules::Second => self.repeats(blocks, structured),
            _ => Vec::new(),
        };
        let wrapped = structured.as_ref().and_then(|whole| whole.get(WRAPPER)).filter(|_| repeats.iter().any(wraps)).cloned();
        let structured = structured.map(|structured| self.value(structured));
        if let Some(content) = content {
            let mut blocks = self.blocks(content, &repeats, structured.as_ref(), wrapped.as_ref());
            if let (true, Value::Array(blocks)) = (self.emptied && self.rules >= Rules::Second, &mut blocks) {
                blocks.push(json!({"type": "text", "text": EMPTIED}));
            }
            kept.insert("content".to_owned(), blocks);
        }
        kept.extend(structured.map(|structured| ("structuredContent".to_owned(), structured)));
        kept.extend(result.remove_entry("isError").filter(|(_, value)| value.is_boolean()));
        kept.extend(result.remove_entry("resultType").filter(|(_, value)| value == "complete"));
        Value::Object(kept)
    }

    fn contents(&mut self, mut result: Map<String, Value>) -> Value {
        let contents = match result.remove("contents") {
            Some(Value::Array(contents)) => contents.iter().map(|content| self.resource(content)).collect(),
            _ => Vec::new(),
        };
        json!({"contents": contents})
    }

    fn prompt(&mut self, mut result: Map<String, Value>) -> Value {
        let messages = match result.remove("messages") {
            Some(Value::Array(messages)) => messages,
            _ => Vec::new(),
        };
        let messages: Vec<Value> = messages
            .iter()
            .map(|message| {
                let content = self.block(message.get("content").unwrap_or(&Value::Null));
                let role = message.get("role").and_then(Value::as_str).filter(|role| matches!(*role, "user" | "assistant"));
                json!({"role": role.unwrap_or("user"), "content": content})
            })
            .collect();
        json!({"messages": messages})
    }

    /// For each block, which part of the structured content it repeats.
    fn repeats(&self, blocks: &[Value], structured: &Value) -> Vec<Option<Repeats>> {
        let text = |block: &Value| {
            let text = block.get("text").and_then(Value::as_str).map(str::to_owned);
            text.filter(|_| block.get("type").and_then(Value::as_str) == Some("text"))
        };
        let whole = structured.to_string();
        let wrapped = structured.as_object().filter(|members| members.len() == 1).and_then(|members| members.get(WRAPPER));
        let items = wrapped.and_then(Value::as_array).filter(|items| items.len() == blocks.len());
        let repeats = |(number, text): (usize, &str)| {
            if text == whole {
                return Some(Repeats::All);
            }
            let document = self.document(text);
            let repeats = |value: &Value| document.as_ref().is_some_and(|document| json::is_same(document, value));
            let same = |value: &Value| value.as_str() == Some(text) || repeats(value);
            if repeats(structured) {
                Some(Repeats::All)
            } else if wrapped.is_some_and(same) {
                Some(Repeats::Wrapped)
            } else {
                items.and_then(|items| items.get(number)).is_some_and(same).then_some(Repeats::Item(number))
            }
        };
        blocks.iter().enumerate().map(|(number, block)| text(block).and_then(|text| repeats((number, &text)))).collect()
    }

    /// `structured` is what is shown of the structured content, `wrapped` the whole of what FastMCP wrapped.
    fn blocks(
        &mut self,
        content: Value,
        repeats: &[Option<Repeats>],
        structured: Option<&Value>,
        wrapped: Option<&Value>,
    ) -> Value {
        let Value::Array(blocks) = content else { return Value::Array(vec![self.withhold()]) };
        let each = blocks.iter().enumerate().map(|(number, block)| match repeats.get(number).copied().flatten() {
            Some(repeats) => self.repeated(repeats, structured, wrapped),
            None => self.block(block),
        });
        each.collect()
    }

    /// The text that repeats a part of the structured content, of what is shown of that part.
    fn repeated(&mut self, repeats: Repeats, structured: Option<&Value>, wrapped: Option<&Value>) -> Value {
        let inside = || structured?.get(WRAPPER);
        let (shown, whole) = match repeats {
            Repeats::All => (structured, None),
            Repeats::Wrapped => (inside(), wrapped),
            Repeats::Item(number) => (inside().and_then(|items| items.get(number)), wrapped.and_then(|items| items.get(number))),
        };
        match shown {
            Some(Value::String(text)) => json!({"type": "text", "text": text}),
            // A `null` in the place of something else was masked.
            Some(shown) if !shown.is_null() || whole.is_none_or(Value::is_null) => {
                json!({"type": "text", "text": shown.to_string()})
            }
            _ => self.withhold(),
        }
    }

    fn block(&mut self, block: &Value) -> Value {
        match block.get("type").and_then(Value::as_str) {
            Some("text") => match block.get("text").and_then(Value::as_str).and_then(|text| self.text(text)) {
                Some(text) => json!({"type": "text", "text": text}),
                None => self.withhold(),
            },
            Some("resource") => {
                json!({"type": "resource", "resource": self.resource(block.get("resource").unwrap_or(&Value::Null))})
            }
            _ => self.withhold(),
        }
    }

    /// A resource's contents: its text only by fields, its address only where the caller asked for it by that address.
    fn resource(&mut self, resource: &Value) -> Value {
        let earlier = std::mem::take(&mut self.emptied);
        let text = resource.get("text").and_then(Value::as_str).and_then(|text| self.text(text));
        // There is no other place to say that a document which is shown empty was not.
        let text = text.filter(|text| self.rules == Rules::First || !self.emptied || !matches!(text.as_str(), "{}" | "[]"));
        self.emptied |= earlier;
        let text = text.unwrap_or_else(|| {
            self.shown.withheld += 1;
            WITHHELD.to_owned()
        });
        let uri = resource.get("uri").and_then(Value::as_str).filter(|uri| self.asked == Some(*uri)).unwrap_or(WITHHELD_URI);
        json!({"uri": uri, "mimeType": "application/json", "text": text})
    }

    /// Text that is one JSON object or array, masked; `None` for anything else.
    fn text(&mut self, text: &str) -> Option<String> {
        let granted = match self.fields {
            Some(granted) if self.classes.is_nothing() && self.rules >= Rules::Third => granted,
            _ => {
                let value = self.document(text).filter(|value| value.is_object() || value.is_array())?;
                return Some(self.value(value).to_string());
            }
        };
        let shown = fields::project_text(text, granted, self.limits)?;
        self.shown.returned.extend(shown.returned);
        self.shown.masked.extend(shown.masked);
        self.emptied |= shown.emptied;
        Some(shown.text)
    }

    /// The document that a text is.
    fn document(&self, text: &str) -> Option<Value> {
        if self.rules >= Rules::Third {
            return json::parse_repaired(text.as_bytes(), self.limits).ok();
        }
        json::parse(text.as_bytes(), self.limits).ok().filter(has_small_numbers)
    }

    fn withhold(&mut self) -> Value {
        self.shown.withheld += 1;
        json!({"type": "text", "text": WITHHELD})
    }
}

/// Whether integers fit 64 bits and other numbers a double.
fn has_small_numbers(value: &Value) -> bool {
    match value {
        Value::Number(number) => number.is_i64() || number.is_u64() || number.is_f64(),
        Value::Array(items) => items.iter().all(has_small_numbers),
        Value::Object(members) => members.values().all(has_small_numbers),
        Value::Null | Value::Bool(_) | Value::String(_) => true,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn show(method: &str, result: Value, fields: &[&str]) -> Shown {
        let fields: Vec<String> = fields.iter().map(|&field| field.to_owned()).collect();
        project(method, Some("asked:1"), result, Some(&fields), &Withheld::default(), &Limits::RESPONSE)
    }

    fn classified(result: Value, granted: Option<&[&str]>, fields: &[&str], only: Option<&[&str]>) -> Shown {
        let owned = |fields: &[&str]| fields.iter().map(|&field| field.to_owned()).collect::<Vec<_>>();
        let classes = Withheld { fields: owned(fields), only: only.map(owned) };
        project("tools/call", None, result, granted.map(owned).as_deref(), &classes, &Limits::RESPONSE)
    }

    #[test]
    fn exactly_the_fields_of_a_forbidden_class_are_withheld_from_both_forms() {
        let ticket = json!({"id": "T-1", "customer": {"name": "Ann", "email": "ann@example.com"}, "notes": [{"by": "Ann"}, 1]});
        let result = || json!({"content": [{"type": "text", "text": ticket.to_string()}], "structuredContent": ticket});
        let shown = classified(result(), None, &["/customer/email", "/notes/*/by"], None);
        let expected = json!({"id": "T-1", "customer": {"name": "Ann"}, "notes": [{}, 1]});
        assert_eq!(shown.value["structuredContent"], expected);
        assert_eq!(serde_json::from_str::<Value>(shown.value["content"][0]["text"].as_str().unwrap()).unwrap(), expected);
        assert_eq!(shown.classified, ["/customer/email", "/notes/*/by"]);
        assert_eq!(shown.returned, ["/customer/name", "/id", "/notes/*"]);
        assert!(shown.masked.is_empty(), "no grant took anything away");
        // A grant that shows less comes first; the policy is not blamed for what it leaves out.
        let shown = classified(result(), Some(&["/id", "/customer"]), &["/customer/email"], None);
        assert_eq!(shown.value["structuredContent"], json!({"id": "T-1", "customer": {"name": "Ann"}}));
        assert_eq!((shown.masked, shown.classified), (vec!["/notes".to_owned()], vec!["/customer/email".to_owned()]));
    }

    #[test]
    fn where_the_answers_own_class_is_forbidden_only_fields_of_another_class_stay() {
        let ticket = json!({"id": "T-1", "customer": {"name": "Ann", "email": "ann@example.com"}});
        let result = || json!({"content": [{"type": "text", "text": ticket.to_string()}], "structuredContent": ticket});
        let shown = classified(result(), None, &[], Some(&["/customer/name"]));
        assert_eq!(shown.value["structuredContent"], json!({"customer": {"name": "Ann"}}));
        assert_eq!(shown.classified, ["/customer/email", "/id"]);
        let shown = classified(result(), None, &["/customer/name"], Some(&[]));
        assert!(!shown.value.to_string().contains("Ann") && !shown.value.to_string().contains("T-1"), "{}", shown.value);
    }

    #[test]
    fn what_has_no_fields_is_withheld_with_a_forbidden_class() {
        let secret = "ann@example.com";
        for block in [
            json!({"type": "text", "text": format!("The e-mail is {secret}")}),
            json!({"type": "text", "text": format!("\"{secret}\"")}),
            json!({"type": "text", "text": format!("{{\"email\":1,\"email\":\"{secret}\"}}")}),
            json!({"type": "image", "data": secret, "mimeType": "image/png"}),
            json!({"type": "resource", "resource": {"uri": "x", "text": secret}}),
        ] {
            let shown = classified(json!({"content": [block], "_meta": {"x": secret}}), None, &["/email"], None);
            assert!(!shown.value.to_string().contains(secret), "{}", shown.value);
            assert_eq!(shown.withheld, 1);
        }
    }

    #[test]
    fn structured_content_and_json_text_show_only_granted_fields() {
        let ticket = json!({"id": "T-1", "customer": {"name": "Ann", "email": "ann@example.com"}});
        let result =
            json!({"content": [{"type": "text", "text": ticket.to_string()}], "structuredContent": ticket, "isError": false});
        let shown = show("tools/call", result, &["/id", "/customer/name"]);
        let expected = json!({"id": "T-1", "customer": {"name": "Ann"}});
        assert_eq!(shown.value["structuredContent"], expected);
        assert_eq!(serde_json::from_str::<Value>(shown.value["content"][0]["text"].as_str().unwrap()).unwrap(), expected);
        assert_eq!(shown.masked, ["/customer/email"]);
        assert_eq!(shown.returned, ["/customer/name", "/id"]);
        assert!(!shown.value.to_string().contains("example.com"));
    }

    #[test]
    fn what_has_no_fields_is_withheld_with_a_marker() {
        let secret = "ann@example.com";
        for block in [
            json!({"type": "text", "text": format!("The e-mail is {secret}")}),
            json!({"type": "text", "text": format!("\"{secret}\"")}),
            json!({"type": "text", "text": format!("{{\"id\":1,\"id\":\"{secret}\"}}")}),
            json!({"type": "image", "data": secret, "mimeType": "image/png"}),
            json!({"type": "audio", "data": secret}),
            json!({"type": "resource_link", "uri": secret, "name": secret}),
            json!({"type": "resource", "resource": {"uri": "x", "blob": secret}}),
            json!({"type": "resource", "resource": {"uri": "x", "text": secret}}),
            json!({"type": "new-kind", "x": secret}),
            json!({"text": secret}),
            json!(secret),
        ] {
            let shown = show("tools/call", json!({"content": [block], "_meta": {"x": secret}, "extra": secret}), &["/id"]);
            assert!(!shown.value.to_string().contains(secret), "{}", shown.value);
            assert!(shown.value.to_string().contains("withheld"));
            assert_eq!(shown.withheld, 1);
        }
        let shown = show("tools/call", json!({"content": secret}), &["/id"]);
        assert!(!shown.value.to_string().contains(secret));
    }

    #[test]
    fn resources_prompts_and_unknown_results_are_masked_too() {
        let text = r#"{"id":1,"mail":"ann@example.com"}"#;
        let read =
            show("resources/read", json!({"contents": [{"uri": "u", "text": text}, {"uri": "u", "blob": "YW5u"}]}), &["/id"]);
        assert_eq!(read.value["contents"][0]["text"], r#"{"id":1}"#);
        assert_eq!(read.value["contents"][1]["text"], WITHHELD);
        let prompt = show(
            "prompts/get",
            json!({"description": "ann@", "messages": [{"role": "user", "content": {"type": "text", "text": "ann@"}}]}),
            &["/id"],
        );
        assert!(!prompt.value.to_string().contains("ann@"));
        let other = show("tasks/result", json!({"id": 1, "mail": "ann@"}), &["/id"]);
        assert_eq!(other.value, json!({"id": 1}));
    }

    #[test]
    fn what_no_field_names_does_not_leave_beside_the_fields() {
        let secret = "ann@example.com";
        for result in [
            json!({"content": [], "isError": secret, "resultType": secret}),
            json!({"content": [], "isError": {"mail": secret}}),
            json!({"content": [{"type": "resource", "resource": {"uri": format!("customer:{secret}"), "text": "{\"id\":1}"}}]}),
            json!({"content": [{"type": "resource", "resource": {"uri": {"mail": secret}, "text": "{\"id\":1}"}}]}),
            json!({"content": [{"type": "text", "text": "{\"id\":1}", "annotations": {"x": secret}, "_meta": {"x": secret}}]}),
        ] {
            let shown = show("tools/call", result, &["/id"]);
            assert!(!shown.value.to_string().contains(secret), "{}", shown.value);
        }
        let message = json!({"role": {"mail": secret}, "content": {"type": "text", "text": "{\"id\":1}"}});
        assert!(!show("prompts/get", json!({"messages": [message]}), &["/id"]).value.to_string().contains(secret));
        let listed = json!({"contents": [{"uri": "asked:1", "text": "{\"id\":1}"}, {"uri": secret, "text": "{\"id\":1}"}]});
        let read = show("resources/read", listed, &["/id"]).value;
        assert_eq!((&read["contents"][0]["uri"], &read["contents"][1]["uri"]), (&json!("asked:1"), &json!(WITHHELD_URI)));
    }

    /// A result as FastMCP makes it of a list: one text for the list, or one for each item.
    fn fast_mcp(list: &Value, each: bool) -> Value {
        let text = |value: &Value| json!({"type": "text", "text": value.to_string()});
        let content = if each { list.as_array().unwrap().iter().map(text).collect() } else { vec![text(list)] };
        json!({"content": content, "structuredContent": {"result": list}})
    }

    fn texts(shown: &Shown) -> Vec<&str> {
        shown.value["content"].as_array().unwrap().iter().map(|block| block["text"].as_str().unwrap()).collect()
    }

    #[test]
    fn text_and_structured_part_show_the_same_of_a_wrapped_list() {
        let list = json!([{"id": 1, "name": "Ann"}, {"id": 2, "name": "Bob"}]);
        let fields = ["/id", "/name", "/result/*/id"];
        let shown = show("tools/call", fast_mcp(&list, false), &fields);
        assert_eq!(shown.value["structuredContent"], json!({"result": [{"id": 1}, {"id": 2}]}));
        assert_eq!(texts(&shown), [r#"[{"id":1},{"id":2}]"#]);
        assert_eq!((shown.returned, shown.masked), (vec!["/result/*/id".to_owned()], vec!["/result/*/name".to_owned()]));
        let shown = show("tools/call", fast_mcp(&list, true), &fields);
        assert_eq!(texts(&shown), [r#"{"id":1}"#, r#"{"id":2}"#]);
        assert!(!shown.value.to_string().contains("Ann"));
    }

    #[test]
    fn a_wrapped_scalar_is_shown_in_both_forms_or_in_neither() {
        for (value, text) in [(json!("hello"), "hello"), (json!(5), "5"), (json!("7"), "7"), (json!(null), "null")] {
            let result = json!({"content": [{"type": "text", "text": text}], "structuredContent": {"result": value}});
            let shown = show("tools/call", result.clone(), &["/result"]);
            assert_eq!((&shown.value["structuredContent"]["result"], texts(&shown)), (&value, vec![text]));
            let shown = show("tools/call", result, &["/id"]);
            assert_eq!(shown.value["structuredContent"], json!({}));
            assert_eq!(texts(&shown), [WITHHELD, EMPTIED]);
        }
    }

    #[test]
    fn what_lost_everything_says_so() {
        let list = json!([{"id": 1}]);
        let shown = show("tools/call", fast_mcp(&list, false), &["/id"]);
        assert_eq!(texts(&shown), [WITHHELD, EMPTIED]);
        let text = |value: Value| json!({"content": [{"type": "text", "text": value.to_string()}]});
        for empty in [json!({"a": {"b": 1}, "id": 1}), json!({"a": [1], "id": 1})] {
            assert_eq!(texts(&show("tools/call", text(empty), &["/a/c", "/id"])).last(), Some(&EMPTIED));
        }
        for full in [json!({"a": [], "id": 1}), json!({"id": {}}), json!({})] {
            assert!(!texts(&show("tools/call", text(full), &["/a/*/c", "/id"])).contains(&EMPTIED));
        }
        let contents = json!({"contents": [{"uri": "u", "text": "{\"a\":1}"}, {"uri": "u", "text": "{}"}]});
        let read = show("resources/read", contents, &["/id"]).value;
        assert_eq!((&read["contents"][0]["text"], &read["contents"][1]["text"]), (&json!(WITHHELD), &json!("{}")));
    }

    #[test]
    fn text_that_repeats_the_structured_part_is_found_however_it_is_written() {
        let ticket = json!({"id": "T-1", "amount": 1.5, "mail": "ann@example.com"});
        for text in [ticket.to_string(), format!("{ticket:#}"), r#"{"mail":"ann@example.com","id":"T-1","amount":1.50}"#.into()] {
            let result = json!({"content": [{"type": "text", "text": text}], "structuredContent": ticket});
            let shown = show("tools/call", result, &["/id", "/amount"]);
            assert_eq!(texts(&shown), [r#"{"id":"T-1","amount":1.5}"#], "{text}");
        }
        let other = json!({"content": [{"type": "text", "text": r#"{"id":"T-2","mail":"b@"}"#}], "structuredContent": ticket});
        assert_eq!(texts(&show("tools/call", other, &["/id"])), [r#"{"id":"T-2"}"#], "another document is masked by itself");
    }

    #[test]
    fn records_of_the_first_rules_are_shown_again_by_them() {
        let list = json!([{"id": 1, "name": "Ann"}]);
        let fields = ["/result".to_owned(), "/*/id".to_owned()];
        let limits = &Limits::RESPONSE;
        let first =
            project_by(Rules::First, "tools/call", None, fast_mcp(&list, false), Some(&fields), &Withheld::default(), limits);
        assert_eq!(first.value["content"][0]["text"], r#"[{"id":1}]"#);
        let second = project("tools/call", None, fast_mcp(&list, false), Some(&fields), &Withheld::default(), limits);
        assert_eq!(second.value["content"][0]["text"], list.to_string());
        assert_eq!(Rules::numbered(3), Some(Rules::default()));
    }

    #[test]
    fn records_of_the_second_rules_are_shown_again_by_them() {
        let fields = ["/id".to_owned()];
        for (text, third) in [
            (r#"{"id":18446744073709551616}"#, r#"{"id":18446744073709551616}"#),
            (r#"{"id":"\ud83d"}"#, "{\"id\":\"\u{fffd}\"}"),
            (r#"{"id":1e400}"#, r#"{"id":1e400}"#),
        ] {
            let result = json!({"content": [{"type": "text", "text": text}]});
            for (rules, expected) in [(Rules::Second, WITHHELD), (Rules::Third, third)] {
                let limits = &Limits::RESPONSE;
                let shown = project_by(rules, "tools/call", None, result.clone(), Some(&fields), &Withheld::default(), limits);
                assert_eq!(texts(&shown)[0], expected);
            }
        }
    }

    #[test]
    fn without_field_restriction_nothing_is_touched() {
        let result = json!({"content": [{"type": "text", "text": "hello"}], "extra": 1});
        assert_eq!(project("tools/call", None, result.clone(), None, &Withheld::default(), &Limits::RESPONSE).value, result);
    }
}
