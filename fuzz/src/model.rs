//! Bodies of the targets for `remit-model`. They panic where a law does not hold.

use remit_model::{
    Authority, Call, Part, Sentence, UnixTime, display, fields,
    json::{self, Limits},
};
use serde_json::{Value, json};

/// Strict JSON accepts only what serde_json reads as the same value, and its canonical form is a fixed point.
pub fn json(bytes: &[u8]) {
    if let (Ok(strict), Ok(mended)) = (json::parse(bytes, &Limits::RESPONSE), json::parse_repaired(bytes, &Limits::RESPONSE)) {
        assert_eq!(strict, mended, "what needs no mending stays");
    }
    let Ok(value) = json::parse(bytes, &Limits::REQUEST) else { return };
    let plain: Value = serde_json::from_slice(bytes).expect("what we accept is JSON");
    assert!(json::is_same(&value, &plain), "another reader sees another value");
    let canonical = json::canonical(&value);
    if let Ok(again) = json::parse(&canonical, &Limits::REQUEST) {
        assert_eq!(json::canonical(&again), canonical, "the canonical form is not stable");
    }
}

/// Whatever parses as authorization details obeys the algebra; the two halves of the array are two authorities.
pub fn authority(bytes: &[u8]) {
    let Ok(Value::Array(details)) = json::parse(bytes, &Limits::TOKEN) else { return };
    let (left, right) = details.split_at(details.len() / 2);
    let read = |details: &[Value]| Authority::parse(&Value::Array(details.to_vec()));
    let (Ok(a), Ok(b)) = (read(left), read(right)) else { return };
    for one in [&a, &b] {
        assert_eq!(Authority::parse(&one.to_value()).as_ref(), Ok(one), "the canonical form reads back");
        assert_eq!(one.describe().len(), one.grants().len());
        assert_eq!(&one.meet(one), one, "meet is idempotent");
    }
    let met = a.meet(&b);
    assert_eq!(met, b.meet(&a), "meet is commutative");
    assert!(met.within(&a).is_ok() && met.within(&b).is_ok(), "a meet is below both");
    assert_eq!(a.within(&b).is_ok(), met == a, "the order is that of the meet");
}

/// Where [`call`] asks.
const LOCATION: &str = "https://gw.example/mcp/helpdesk";
const NOW: UnixTime = UnixTime(1_800_000_000);

/// `[details, details, action, arguments]`: a call is permitted by a meet only where both sides permit it, and a wider
/// authority permits whatever a narrower one does.
pub fn call(bytes: &[u8]) {
    let Ok(Value::Array(parts)) = json::parse(bytes, &Limits::TOKEN) else { return };
    let [left, right, Value::String(action), arguments] = parts.as_slice() else { return };
    let (Ok(a), Ok(b)) = (Authority::parse(left), Authority::parse(right)) else { return };
    let call = Call { location: LOCATION, action, arguments, now: NOW };
    let met = a.meet(&b);
    let [by_a, by_b, by_met] = [&a, &b, &met].map(|authority| authority.permits(&call));
    if let Ok(permit) = &by_met {
        assert!(by_a.is_ok() && by_b.is_ok(), "a meet permits more");
        for by in [&by_a, &by_b].into_iter().flatten() {
            if let Some(wide) = &by.fields {
                let narrow = permit.fields.as_ref().expect("a meet shows everything where one side does not");
                let inside = |field: &String| wide.iter().any(|wide| fields::covers(wide, field));
                assert!(narrow.iter().all(inside), "a meet shows more: {narrow:?} of {wide:?}");
            }
        }
    }
    if a.within(&b).is_ok() && by_a.is_ok() {
        assert!(by_b.is_ok(), "a narrower authority permits more");
    }
    for (authority, permit) in [(&a, &by_a), (&b, &by_b), (&met, &by_met)] {
        assert_eq!(permit.is_ok(), authority.at_location(LOCATION).permits(&call).is_ok(), "its part here decides otherwise");
        assert!(permit.is_err() || authority.could_call(LOCATION, action, NOW), "a call that could not be made is permitted");
        assert!(authority.until(NOW.plus(60)).within(authority).is_ok(), "ending it earlier widens it");
        if let Err(refusal) = permit {
            let most = 2048;
            assert!(
                refusal.reason.len() <= most && !refusal.reason.contains(display::hides),
                "the reason is {:?}",
                refusal.reason
            );
        }
    }
}

/// What stands where an agent can write may come out only as a value. The marker finds it again.
const MARK: &str = "M4RK";

/// A text that an agent chose, everywhere in a grant: what a person reads keeps it in its place. The text by itself:
/// whatever passes a door is seen as it is.
pub fn words(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    displayed(&text);
    let hostile = format!("{MARK}{text}");
    let pointer = format!("/{}", json::pointer::escape(&hostile));
    let details = json!([{
        "type": "tool_access",
        "actions": [hostile],
        "arguments": {pointer.as_str(): {"in": [hostile, "b"]}, "/p": {"prefix": hostile}, "/q": {"eq": hostile}},
        "fields": [pointer],
    }, {
        "type": "tool_access", "locations": [format!("https://a.example/{hostile}")], "only": [pointer],
        "delegate": {"to": [format!("agent:{hostile}")], "depth": 1},
    }]);
    for detail in details.as_array().into_iter().flatten() {
        let Ok(authority) = Authority::parse(&json!([detail])) else { continue };
        authority.describe().iter().for_each(in_place);
        for clauses in authority.clauses() {
            in_place(&clauses.subject);
            clauses.limits.iter().for_each(in_place);
        }
    }
}

fn in_place(sentence: &Sentence) {
    for part in sentence.flat() {
        match part {
            Part::Words(words) => assert!(!words.contains(MARK), "among our words: {words}"),
            Part::Value(value) | Part::Action(value) | Part::Resource(value) => {
                let shown = Part::shown(&value);
                assert!(!shown.contains(display::hides), "a page shows {shown:?}");
            }
            Part::List { .. } => panic!("a flat sentence has a list"),
        }
    }
    let line = sentence.to_string();
    assert!(!line.contains(display::hides), "a terminal prints {line:?}");
    let (mut inside, mut letters) = (false, line.chars());
    let mut ours = String::new();
    while let Some(letter) = letters.next() {
        match letter {
            '`' => inside = !inside,
            '\\' if inside => drop(letters.next()),
            letter if !inside => ours.push(letter),
            _ => {}
        }
    }
    assert!(!inside && !ours.contains(MARK), "a value ends its quotes: {line}");
}

/// The one definition of a displayable text agrees with itself.
fn displayed(text: &str) {
    let shown = display::escape(text);
    assert!(!shown.contains(display::hides), "still hidden in {shown:?}");
    assert_eq!(display::escape(&shown), shown, "a second escape changes it");
    assert_eq!(display::check("it", text, usize::MAX).is_ok(), shown == text, "{text:?} passes one door and not the other");
    assert!(!display::is_name(text) || (text.trim() == text && !text.is_empty() && shown == text));
    let excerpt = display::excerpt(text, 16);
    assert!(excerpt.ends_with('…') || excerpt == shown);
    let document = json!({text: text}).to_string();
    let escaped = display::escape_json(&document);
    assert!(!escaped.contains(display::hides));
    assert_eq!(serde_json::from_str::<Value>(&escaped).ok(), serde_json::from_str(&document).ok(), "JSON of another value");
    let pointer = format!("/{}", json::pointer::escape(text));
    assert_eq!(json!({text: 7}).pointer(&pointer), Some(&json!(7)), "a pointer to another place");
}
