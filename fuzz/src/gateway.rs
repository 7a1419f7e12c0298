//! Bodies of the targets for `remit-gateway`, and for the bridge that reads the same formats. They panic where a property does
//! not hold.

#[path = "../../crates/gateway/src/mcp/arguments.rs"]
mod arguments;
#[path = "../../crates/remit/src/client/connect/sse.rs"]
mod bridge_events;
#[path = "../../crates/remit/src/client/connect/lines.rs"]
mod bridge_lines;
#[path = "../../crates/gateway/src/mcp/envelope.rs"]
#[expect(dead_code, reason = "the gateway's other uses are not here")]
mod envelope;
#[path = "../../crates/gateway/src/mcp/upstream/sse.rs"]
mod events;
#[path = "../../crates/gateway/src/authzen/wire.rs"]
#[expect(dead_code, reason = "the gateway's other uses are not here")]
mod wire;

use remit_model::{
    fields,
    json::{self, Limits},
};
use serde_json::{Map, Value};
use std::{
    future::Future,
    pin::pin,
    task::{Context, Poll, Waker},
};

/// Longest event of [`streams`].
const LIMIT: usize = 1 << 16;

/// An AuthZEN request: whatever is understood is a whole question, which is understood alike when it is put by itself.
pub fn authzen(bytes: &[u8]) {
    let Ok(body) = json::parse(bytes, &Limits::REQUEST) else { return };
    if let Ok(asked) = wire::Asked::one(&body) {
        assert!(matches!(asked, wire::Asked::One(_)), "one question is answered as one");
    }
    match wire::Asked::many(&body) {
        Ok(wire::Asked::One(one)) => whole(&one),
        Ok(wire::Asked::Many(many, _)) => {
            let listed = body.get("evaluations").and_then(Value::as_array).map_or(0, Vec::len);
            assert!(many.len() == listed && listed <= wire::EVALUATIONS, "{listed} evaluations, {} answers", many.len());
            many.iter().flatten().for_each(whole);
        }
        Err(_) => {}
    }
}

fn whole(read: &wire::Evaluation) {
    let Ok(wire::Asked::One(again)) = wire::Asked::one(&read.whole) else { panic!("not understood alone: {}", read.whole) };
    assert_eq!(again.as_ref(), read, "understood otherwise alone");
    let stated = |entity: &str, member: &str| read.whole.pointer(&format!("/{entity}/{member}")).and_then(Value::as_str);
    assert_eq!(stated("subject", "type"), Some(read.subject.kind.as_str()));
    assert_eq!(stated("subject", "id"), Some(read.subject.id.as_str()));
    assert_eq!(stated("action", "name"), Some(read.action.as_str()));
    assert_eq!(stated("resource", "id"), Some(read.resource.id.as_str()));
    assert!(read.arguments.is_object());
}

/// `[schema, value, fields]`: what a complete validator accepts by the tool's schema, we do not refuse, and its projection is
/// accepted by the schema that we list.
pub fn schemas(bytes: &[u8]) {
    let Ok(Value::Array(parts)) = json::parse(bytes, &Limits::REQUEST) else { return };
    let [schema, value, pointers] = parts.as_slice() else { return };
    let Some(pointers) = pointers.as_array() else { return };
    let pointers: Vec<String> = pointers.iter().filter_map(Value::as_str).map(str::to_owned).collect();
    let shown = fields::project(value.clone(), &pointers);
    part_of(&shown.value, value);
    assert_eq!(fields::project(shown.value.clone(), &pointers).value, shown.value, "a second projection takes more away");
    if let Some(text) = fields::project_text(&value.to_string(), &pointers, &Limits::REQUEST) {
        let read: Value = serde_json::from_str(&text.text).expect("a projected text is JSON");
        assert_eq!(read, shown.value, "the text shows another part");
        assert_eq!((text.masked, text.returned), (shown.masked, shown.returned), "the text reports otherwise");
    }
    part_of(&fields::without(value.clone(), &pointers).value, value);
    let listed = fields::shown_schema(schema, std::slice::from_ref(&pointers));
    let verdict = arguments::check(schema, value);
    if !value.is_object() || !followable(schema, 0) {
        return;
    }
    let Ok(validator) = jsonschema::validator_for(schema) else { return };
    if validator.is_valid(value) {
        assert_eq!(verdict, Ok(()), "valid arguments are refused");
        let validator = jsonschema::validator_for(&listed).expect("the listed schema of a good schema is good");
        assert!(validator.is_valid(&shown.value), "listed {listed}\nshown {}", shown.value);
    }
}

/// Panics unless every part of `shown` stands at the same place in `value`, or is `null` there.
fn part_of(shown: &Value, value: &Value) {
    match (shown, value) {
        (Value::Object(shown), Value::Object(value)) => {
            shown.iter().for_each(|(name, member)| part_of(member, value.get(name).expect("a member that was not there")));
        }
        (Value::Array(shown), Value::Array(value)) => {
            assert!(shown.len() <= value.len(), "more items than there were");
            shown.iter().zip(value).for_each(|(shown, value)| part_of(shown, value));
        }
        (Value::Null, _) => {}
        (shown, value) => assert_eq!(shown, value, "a value that was not there"),
    }
}

/// Whether the complete validator may see this schema: it has no bound on patterns, and follows references for ever.
fn followable(schema: &Value, depth: usize) -> bool {
    let keyword = |name: &str| {
        matches!(
            name,
            "$schema"
                | "$id"
                | "id"
                | "$anchor"
                | "$dynamicRef"
                | "$dynamicAnchor"
                | "$recursiveRef"
                | "$recursiveAnchor"
                | "$vocabulary"
                | "$ref"
                | "pattern"
                | "patternProperties"
                | "format"
                | "contentEncoding"
        )
    };
    match schema {
        Value::Object(members) => {
            depth < 16 && members.iter().all(|(name, member)| !keyword(name) && followable(member, depth + 1))
        }
        Value::Array(items) => items.iter().all(|item| followable(item, depth + 1)),
        _ => true,
    }
}

/// The first byte says how the rest is cut: an event stream, lines and messages mean the same in any pieces.
pub fn streams(bytes: &[u8]) {
    let Some((&step, stream)) = bytes.split_first() else { return };
    let step = usize::from(step).max(1);
    let read = |step: usize| -> Result<Vec<events::Event>, events::TooLarge> {
        let mut reader = events::Reader::new(LIMIT);
        let pieces: Result<Vec<_>, _> = stream.chunks(step).map(|piece| reader.push(piece)).collect();
        assert!(reader.retry().is_none_or(|_| stream.windows(5).any(|word| word == b"retry")));
        pieces.map(|pieces| pieces.concat())
    };
    let pieces = read(step);
    assert_eq!(pieces, read(usize::MAX), "an event stream cut otherwise");
    assert!(pieces.is_err() || pieces == Ok(reference(stream)), "another reader sees other events");
    let bridge = |step: usize| {
        let mut events = bridge_events::Events::default();
        stream.chunks(step).filter_map(|piece| events.feed(piece).ok()).flatten().collect::<Vec<_>>()
    };
    assert_eq!(bridge(step), bridge(usize::MAX), "the bridge reads an event stream cut otherwise");
    lines(stream);
}

/// Events as the standard has them: the whole text at once, line by line. SPEC: WHATWG HTML §9.2.6
fn reference(stream: &[u8]) -> Vec<events::Event> {
    let mut lines: Vec<Vec<u8>> = vec![Vec::new()];
    let mut rest = stream.strip_prefix(b"\xef\xbb\xbf").unwrap_or(stream);
    while let Some((first, after)) = rest.split_first() {
        rest = if *first == b'\r' { after.strip_prefix(b"\n").unwrap_or(after) } else { after };
        match first {
            b'\r' | b'\n' => lines.push(Vec::new()),
            byte => lines.last_mut().expect("one line at least").push(*byte),
        }
    }
    lines.pop();
    let (mut found, mut data, mut id) = (Vec::new(), Vec::new(), None);
    for line in lines {
        let colon = line.iter().position(|byte| *byte == b':').unwrap_or(line.len());
        let (field, value) = line.split_at(colon);
        let value = value.strip_prefix(b":").unwrap_or(value);
        let value = value.strip_prefix(b" ").unwrap_or(value).to_vec();
        match field {
            [] if line.is_empty() && (!data.is_empty() || id.is_some()) => {
                found.push(events::Event { data: std::mem::take(&mut data).join(&b'\n'), id: id.take() });
            }
            b"data" => data.push(value),
            b"id" if !value.contains(&0) => id = String::from_utf8(value).ok(),
            _ => {}
        }
    }
    found
}

/// Lines of JSON-RPC. A message reads back as it was written, and the id of a broken one is that of the whole.
fn lines(stream: &[u8]) {
    let (mut input, mut line, mut read) = (stream, Vec::new(), Vec::new());
    while now(bridge_lines::next(&mut input, &mut line)).expect("memory can be read") {
        read.push(line.clone());
    }
    let mut split: Vec<&[u8]> = stream.split(|byte| *byte == b'\n').collect();
    split.pop_if(|last| last.is_empty());
    assert_eq!(read, split, "lines");
    for line in read {
        let found = bridge_lines::request_id(&line);
        if let Ok(message) = envelope::parse(&line, &Limits::REQUEST) {
            again(&message);
        }
        if let Ok(Value::Object(members)) = json::parse(&line, &Limits::REQUEST)
            && !line.contains(&b'\\')
        {
            assert!(same_id(found.as_ref(), stated_id(&members).as_ref()), "the id of {}", String::from_utf8_lossy(&line));
        }
    }
}

/// Ids that are numbers are compared by value: the two readers spell an exponent differently.
fn same_id(found: Option<&Value>, stated: Option<&Value>) -> bool {
    match (found, stated) {
        (Some(Value::Number(found)), Some(Value::Number(stated))) => found == stated || found.as_f64() == stated.as_f64(),
        _ => found == stated,
    }
}

fn stated_id(members: &Map<String, Value>) -> Option<Value> {
    let answer = members.contains_key("result") || members.contains_key("error");
    members.get("id").filter(|id| !answer && (id.is_string() || id.is_number())).cloned()
}

fn again(message: &envelope::Message) {
    let written = match message {
        envelope::Message::Request(request) => request.to_value(),
        envelope::Message::Notification(notification) => notification.to_value(),
        envelope::Message::Response(response) => response.to_value(),
    };
    let read = envelope::read(written.clone()).expect("what we write, we read");
    let twice = match read {
        envelope::Message::Request(request) => request.to_value(),
        envelope::Message::Notification(notification) => notification.to_value(),
        envelope::Message::Response(response) => response.to_value(),
    };
    assert_eq!(twice, written, "a message is written otherwise than read");
}

/// The value of a future that never waits.
fn now<T>(future: impl Future<Output = T>) -> T {
    match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(value) => value,
        Poll::Pending => panic!("memory was waited for"),
    }
}
