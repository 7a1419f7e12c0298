//! The JSON-RPC envelope, read so that it has one meaning only.
//!
//! SPEC: JSON-RPC 2.0; MCP "Messages": no batches (N-MG-05), no `null` id (N-MG-17), no duplicate members (N-MG-04).

use crate::road::rejection::UpstreamError;
use remit_model::{
    json,
    refusal::{Code, Refusal},
};
use serde_json::{Map, Value, value::RawValue};
use std::collections::HashMap;

/// Longest request id, in bytes of its JSON text.
const ID_LIMIT: usize = 256;
/// Longest method name, in bytes.
const METHOD_LIMIT: usize = 128;

/// One JSON-RPC message.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Message {
    Request(Request),
    Notification(Notification),
    Response(Response),
}

#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Request {
    /// A string or an integer.
    pub(crate) id: Value,
    pub(crate) method: String,
    pub(crate) params: Map<String, Value>,
}

#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Notification {
    pub(crate) method: String,
    pub(crate) params: Map<String, Value>,
}

#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Response {
    pub(crate) id: Value,
    pub(crate) outcome: Result<Value, RpcError>,
}

/// A JSON-RPC error object.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct RpcError {
    pub(crate) code: i64,
    pub(crate) message: String,
    pub(crate) data: Option<Value>,
}

/// What an upstream may send besides the answer.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Incoming {
    Notification(Notification),
    /// A request of the server to the client: sampling, elicitation, roots (2025 era).
    Request(Request),
}

/// Reads one message of a client from bytes.
///
/// # Errors
/// `request_malformed`, `request_too_large`, `json_duplicate_member`, `json_too_deep`.
pub(crate) fn parse(bytes: &[u8], limits: &json::Limits) -> Result<Message, Refusal> {
    read(json::parse(unmarked(bytes), limits)?)
}

/// Reads one message of an upstream from bytes. What is not Unicode in its texts becomes U+FFFD.
///
/// # Errors
/// Those of [`parse`].
pub(crate) fn parse_incoming(bytes: &[u8], limits: &json::Limits) -> Result<Message, Refusal> {
    read(json::parse_repaired(unmarked(bytes), limits)?)
}

/// Some clients and servers on Windows write a byte order mark first.
fn unmarked(bytes: &[u8]) -> &[u8] {
    bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes)
}

/// The id and the method of a request that [`parse`] refuses, so that its refusal can be answered under its id: without it a
/// client waits for ever. `None` when it has none, or when it is not JSON at all.
pub(crate) fn refused_request(bytes: &[u8]) -> Option<Request> {
    // What is inside the parameters is skipped, whatever its texts, its depth and its names are.
    let members: HashMap<String, &RawValue> = serde_json::from_slice(unmarked(bytes)).ok()?;
    let member = |name: &str| serde_json::from_str::<Value>(members.get(name)?.get()).ok();
    let Some(Value::String(method)) = member("method") else { return None };
    match call(Map::from_iter([("id".to_owned(), member("id")?)]), method) {
        Ok(Message::Request(request)) => Some(request),
        _ => None,
    }
}

/// Reads one message from a value.
pub(crate) fn read(value: Value) -> Result<Message, Refusal> {
    let Value::Object(mut message) = value else {
        return Err(malformed("a message is one JSON object; batches are not accepted"));
    };
    if message.get("jsonrpc").and_then(Value::as_str) != Some("2.0") {
        return Err(malformed("`jsonrpc` must be \"2.0\""));
    }
    match message.remove("method") {
        Some(Value::String(method)) => call(message, method),
        Some(_) => Err(malformed("`method` must be a string")),
        None => response(message).map(Message::Response),
    }
}

fn call(mut message: Map<String, Value>, method: String) -> Result<Message, Refusal> {
    if message.contains_key("result") || message.contains_key("error") {
        return Err(malformed("a message is either a request or a response"));
    }
    if method.is_empty() || method.len() > METHOD_LIMIT || !method.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err(malformed(format!("a method name is 1 to {METHOD_LIMIT} visible ASCII characters")));
    }
    let params = match message.remove("params") {
        None | Some(Value::Null) => Map::new(),
        Some(Value::Object(params)) => params,
        Some(_) => return Err(malformed("`params` must be an object")),
    };
    if params.get("_meta").is_some_and(|meta| !meta.is_object()) {
        return Err(malformed("`_meta` must be an object"));
    }
    Ok(match message.remove("id") {
        None => Message::Notification(Notification { method, params }),
        Some(id) => Message::Request(Request { id: identifier(id)?, method, params }),
    })
}

fn response(mut message: Map<String, Value>) -> Result<Response, Refusal> {
    let id = identifier(message.remove("id").unwrap_or_default())?;
    let outcome = match (message.remove("result"), message.remove("error")) {
        (Some(result), None) => Ok(result),
        (None, Some(Value::Object(error))) => Err(RpcError::read(error)?),
        _ => return Err(malformed("a response has either `result` or an `error` object")),
    };
    Ok(Response { id, outcome })
}

fn identifier(id: Value) -> Result<Value, Refusal> {
    match &id {
        Value::String(text) if text.len() <= ID_LIMIT => Ok(id),
        Value::Number(number) if number.is_i64() || number.is_u64() => Ok(id),
        _ => Err(malformed(format!("`id` must be an integer or a string of at most {ID_LIMIT} bytes"))),
    }
}

fn malformed(reason: impl Into<String>) -> Refusal {
    Refusal::new(Code::RequestMalformed, reason)
}

impl Request {
    pub(crate) fn to_value(&self) -> Value {
        let (id, method) = (self.id.clone(), Value::String(self.method.clone()));
        rpc([("id", id), ("method", method), ("params", Value::Object(self.params.clone()))])
    }
}

impl Notification {
    pub(crate) fn to_value(&self) -> Value {
        rpc([("method", Value::String(self.method.clone())), ("params", Value::Object(self.params.clone()))])
    }
}

impl Response {
    pub(crate) fn to_value(&self) -> Value {
        match &self.outcome {
            Ok(result) => rpc([("id", self.id.clone()), ("result", result.clone())]),
            Err(error) => rpc([("id", self.id.clone()), ("error", error.to_value())]),
        }
    }
}

impl From<UpstreamError> for RpcError {
    fn from(error: UpstreamError) -> Self {
        let UpstreamError { code, message, data } = error;
        Self { code, message, data }
    }
}

impl From<RpcError> for UpstreamError {
    fn from(error: RpcError) -> Self {
        let RpcError { code, message, data } = error;
        Self { code, message, data }
    }
}

impl RpcError {
    pub(crate) fn new(code: i64, message: impl Into<String>) -> Self {
        Self { code, message: message.into(), data: None }
    }

    fn read(mut error: Map<String, Value>) -> Result<Self, Refusal> {
        let code = error.get("code").and_then(Value::as_i64).ok_or_else(|| malformed("an error has an integer `code`"))?;
        let Some(Value::String(message)) = error.remove("message") else {
            return Err(malformed("an error has a string `message`"));
        };
        Ok(Self { code, message, data: error.remove("data") })
    }

    pub(crate) fn to_value(&self) -> Value {
        match &self.data {
            Some(data) => object([("code", self.code.into()), ("message", self.message.clone().into()), ("data", data.clone())]),
            None => object([("code", self.code.into()), ("message", self.message.clone().into())]),
        }
    }
}

/// A JSON-RPC message of these very values.
pub(crate) fn rpc<const N: usize>(rest: [(&str, Value); N]) -> Value {
    object([("jsonrpc", Value::from("2.0"))].into_iter().chain(rest))
}

/// An object of these very values. The macro `json!` would write numbers anew: `1E5` as `1e+5`.
fn object<'n>(members: impl IntoIterator<Item = (&'n str, Value)>) -> Value {
    Value::Object(members.into_iter().map(|(name, value)| (name.to_owned(), value)).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: json::Limits = json::Limits::REQUEST;

    fn refused(text: &str) {
        assert!(parse(text.as_bytes(), &LIMITS).is_err(), "{text}");
    }

    #[test]
    fn n_mg_05_a_batch_is_refused() {
        refused(r#"[{"jsonrpc":"2.0","id":1,"method":"ping"}]"#);
        refused("[]");
    }

    #[test]
    fn n_mg_17_a_null_id_is_refused() {
        refused(r#"{"jsonrpc":"2.0","id":null,"method":"ping"}"#);
        refused(r#"{"jsonrpc":"2.0","id":null,"result":{}}"#);
        refused(r#"{"jsonrpc":"2.0","result":{}}"#);
        refused(r#"{"jsonrpc":"2.0","id":1.5,"method":"ping"}"#);
        refused(r#"{"jsonrpc":"2.0","id":{"a":1},"method":"ping"}"#);
    }

    #[test]
    fn other_shapes_are_refused() {
        for text in [
            r#"{"id":1,"method":"ping"}"#,
            r#"{"jsonrpc":"1.0","id":1,"method":"ping"}"#,
            r#"{"jsonrpc":"2.0","id":1,"method":7}"#,
            r#"{"jsonrpc":"2.0","id":1,"method":""}"#,
            r#"{"jsonrpc":"2.0","id":1,"method":"a b"}"#,
            r#"{"jsonrpc":"2.0","id":1,"method":"ping","params":[1]}"#,
            r#"{"jsonrpc":"2.0","id":1,"method":"ping","params":{"_meta":1}}"#,
            r#"{"jsonrpc":"2.0","id":1,"method":"ping","result":{}}"#,
            r#"{"jsonrpc":"2.0","id":1,"result":{},"error":{"code":1,"message":""}}"#,
            r#"{"jsonrpc":"2.0","id":1,"error":{"code":"1","message":""}}"#,
            "7",
            "",
        ] {
            refused(text);
        }
    }

    #[test]
    fn the_three_kinds_are_told_apart_and_round_trip() {
        for (text, kind) in [
            (r#"{"jsonrpc":"2.0","id":"a","method":"tools/list","params":{"x":1}}"#, 0),
            (r#"{"jsonrpc":"2.0","method":"notifications/initialized","params":{}}"#, 1),
            (r#"{"jsonrpc":"2.0","id":3,"result":{"ok":true}}"#, 2),
            (r#"{"jsonrpc":"2.0","id":3,"error":{"code":-32601,"message":"rejection","data":{"a":1}}}"#, 2),
        ] {
            let (found, value) = match parse(text.as_bytes(), &LIMITS).unwrap() {
                Message::Request(request) => (0, request.to_value()),
                Message::Notification(note) => (1, note.to_value()),
                Message::Response(response) => (2, response.to_value()),
            };
            assert_eq!(found, kind);
            assert_eq!(value, serde_json::from_str::<Value>(text).unwrap());
        }
    }
}
