//! The MCP server behind the gateway: stateless, revision 2026-07-28, answers ready as text.

use super::plain::{self, Answer, json};
use anyhow::Result;
use bytes::Bytes;
use futures_util::stream;
use http_body_util::{BodyExt as _, StreamBody};
use hyper::{
    Request, Response, StatusCode,
    body::{Frame, Incoming},
    header::{CONTENT_TYPE, HeaderValue},
};
use serde::Deserialize;
use serde_json::{Value, json};
use std::rc::Rc;

/// Rows of the large answer; about 10 KB.
const ROWS: usize = 50;
/// Events before the answer that streams.
const EVENTS: usize = 10;

#[derive(Deserialize)]
struct Message {
    #[serde(default)]
    id: Value,
    method: String,
    #[serde(default)]
    params: Params,
}

#[derive(Default, Deserialize)]
struct Params {
    #[serde(default)]
    name: String,
}

pub(crate) fn serve(port: u16) -> Result<()> {
    let large: Rc<str> = result(&large()).into();
    plain::serve(port, move || {
        let large = Rc::clone(&large);
        move |request: Request<Incoming>| {
            let large = Rc::clone(&large);
            async move {
                let body = request.into_body().collect().await?.to_bytes();
                answer(&serde_json::from_slice(&body)?, &large)
            }
        }
    })
}

fn answer(message: &Message, large: &str) -> Result<Answer> {
    let id = &message.id;
    let whole = |result: &str| Ok(json(StatusCode::OK, format!(r#"{{"jsonrpc":"2.0","id":{id},"result":{result}}}"#)));
    match (message.method.as_str(), message.params.name.as_str()) {
        ("server/discover", _) => whole(
            &json!({"supportedVersions": ["2026-07-28"], "capabilities": {"tools": {}}, "resultType": "complete"}).to_string(),
        ),
        ("tools/list", _) => whole(r#"{"tools":[],"resultType":"complete"}"#),
        ("tools/call", "large") => whole(large),
        ("tools/call", "stream") => Ok(streamed(id)),
        ("tools/call", _) => whole(&result(&json!({"id": "T-1001", "status": "open"}))),
        _ => Ok(json(
            StatusCode::NOT_FOUND,
            json!({"jsonrpc": "2.0", "id": id, "error": {"code": -32601, "message": "unknown"}}).to_string(),
        )),
    }
}

fn result(structured: &Value) -> String {
    json!({"content": [], "structuredContent": structured, "isError": false, "resultType": "complete"}).to_string()
}

/// Fifty rows of six fields.
pub(crate) fn large() -> Value {
    let row = |number: usize| {
        json!({
            "id": format!("T-{number:04}"), "subject": format!("Printer {number} is on fire again"), "status": "open",
            "email": format!("customer-{number}@shop.example"), "iban": format!("DE00 1000 2000 3000 {number:04}"),
            "customer": {"name": format!("Customer Number {number}"), "phone": "+49 30 0000000"},
        })
    };
    json!({"rows": (0..ROWS).map(row).collect::<Vec<_>>()})
}

fn streamed(id: &Value) -> Answer {
    let note = |number: usize| {
        let params =
            json!({"level": "info", "logger": "bench", "data": format!("step {number} of {EVENTS}: looked at one more shelf")});
        json!({"jsonrpc": "2.0", "method": "notifications/message", "params": params}).to_string()
    };
    let last = format!(r#"{{"jsonrpc":"2.0","id":{id},"result":{}}}"#, result(&json!({"id": "T-1001", "status": "open"})));
    let events = (0..EVENTS).map(note).chain([last]).map(|data| Ok(Frame::data(Bytes::from(format!("data: {data}\n\n")))));
    let body = StreamBody::new(stream::iter(events.collect::<Vec<_>>())).boxed_unsync();
    let mut answer = Response::new(body);
    answer.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("text/event-stream"));
    answer
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_large_answer_is_ten_kilobytes() {
        let length = large().to_string().len();
        assert!((9_500..11_500).contains(&length), "{length}");
    }
}
