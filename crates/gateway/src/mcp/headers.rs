//! The headers that repeat what the body says. The body decides; a header that disagrees refuses the request.
//!
//! SPEC: MG-04, MG-05, MG-06 (MCP 2026-07-28 "Standard Request Headers"); N-MG-03, N-MG-06, N-MG-16.

use crate::mcp::{
    envelope::Message,
    revision::{ClientProfile, META_CAPABILITIES, META_LOG_LEVEL, META_VERSION, Revision, claims_modern},
};
use axum::http::HeaderMap;
use base64::{
    Engine,
    engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig},
};
use remit_model::{
    display,
    refusal::{Code, Refusal},
};
use serde_json::{Map, Value};

const VERSION: &str = "mcp-protocol-version";
const METHOD: &str = "mcp-method";
const NAME: &str = "mcp-name";
const PARAM_PREFIX: &str = "mcp-param-";
const BASE64_OPEN: &str = "=?base64?";
const BASE64_CLOSE: &str = "?=";

const BASE64: GeneralPurpose = GeneralPurpose::new(
    &base64::alphabet::STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::RequireCanonical),
);

/// Parameter headers of one tool: name, and path into the arguments.
pub(crate) type Declared = Vec<(String, Vec<String>)>;

/// Which era a message belongs to.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Era {
    /// Stateless: the request carries everything, headers agree with it.
    Modern(ClientProfile),
    /// A session; the version is what the header says, if it says one.
    Legacy(Option<Revision>),
}

/// Finds the era of a message and checks every header that mirrors it.
///
/// # Errors
/// `header_body_mismatch`, `protocol_meta_missing`, `protocol_version_unsupported`.
pub(crate) fn check(headers: &HeaderMap, message: &Message) -> Result<Era, Refusal> {
    let version = one(headers, VERSION)?;
    let (method, params) = match message {
        Message::Request(request) => (request.method.as_str(), &request.params),
        Message::Notification(note) => (note.method.as_str(), &note.params),
        Message::Response(_) => return legacy(version),
    };
    let mirrored = mirrors(headers, method, params)?;
    let claim = params.get("_meta").and_then(|meta| meta.get(META_VERSION));
    if claim.is_none() && !version.is_some_and(claims_modern) {
        return legacy(version);
    }
    if let Message::Notification(_) = message {
        // Notifications carry no envelope in this era; a version header alone makes them modern.
        return Ok(Era::Modern(ClientProfile::silent()));
    }
    let Some(claim) = claim.and_then(Value::as_str) else {
        return Err(Refusal::new(Code::ProtocolMetaMissing, format!("`_meta` must carry `{META_VERSION}` as a string")));
    };
    if version != Some(claim) {
        return Err(mismatch("`MCP-Protocol-Version` must be present and equal to the version in `_meta`"));
    }
    if Revision::parse(claim).is_none_or(|revision| !revision.is_modern()) {
        return Err(Refusal::new(
            Code::ProtocolVersionUnsupported,
            format!("protocol version `{}` is not supported", display::excerpt(claim, 40)),
        ));
    }
    if !mirrored.method {
        return Err(mismatch("`Mcp-Method` is missing"));
    }
    if name_source(method).is_some() && !mirrored.name {
        return Err(mismatch("`Mcp-Name` is missing"));
    }
    face(params).map(Era::Modern)
}

fn legacy(version: Option<&str>) -> Result<Era, Refusal> {
    match version.map(|version| (version, Revision::parse(version))) {
        None => Ok(Era::Legacy(None)),
        Some((_, Some(revision))) if !revision.is_modern() => Ok(Era::Legacy(Some(revision))),
        Some((version, _)) => Err(Refusal::new(
            Code::ProtocolVersionUnsupported,
            format!("protocol version `{}` is not supported here", display::excerpt(version, 40)),
        )),
    }
}

fn face(params: &Map<String, Value>) -> Result<ClientProfile, Refusal> {
    let meta = params.get("_meta").unwrap_or(&Value::Null);
    match meta.get(META_CAPABILITIES) {
        Some(capabilities @ Value::Object(_)) => {
            Ok(ClientProfile { capabilities: capabilities.clone(), log_level: meta.get(META_LOG_LEVEL).cloned() })
        }
        _ => Err(Refusal::new(Code::ProtocolMetaMissing, format!("`_meta` must carry `{META_CAPABILITIES}` as an object"))),
    }
}

struct Mirrored {
    method: bool,
    name: bool,
}

/// Whatever the era, a mirror that is there must tell the truth (N-MG-06).
fn mirrors(headers: &HeaderMap, method: &str, params: &Map<String, Value>) -> Result<Mirrored, Refusal> {
    let mut mirrored = Mirrored { method: false, name: false };
    if let Some(header) = one(headers, METHOD)? {
        if header != method {
            return Err(mismatch("`Mcp-Method` is not the method in the body"));
        }
        mirrored.method = true;
    }
    if let (Some(header), Some(source)) = (one(headers, NAME)?, name_source(method)) {
        let body = params.get(source).and_then(Value::as_str);
        if body.is_none() || Some(decode(header)?.as_str()) != body {
            return Err(mismatch(format!("`Mcp-Name` is not `params.{source}` of the body")));
        }
        mirrored.name = true;
    }
    Ok(mirrored)
}

/// The body field that `Mcp-Name` repeats.
pub(crate) fn name_source(method: &str) -> Option<&'static str> {
    match method {
        "tools/call" | "prompts/get" => Some("name"),
        "resources/read" => Some("uri"),
        "tasks/get" | "tasks/update" | "tasks/cancel" => Some("taskId"),
        _ => None,
    }
}

/// Compares `Mcp-Param-*` headers with the arguments they are declared to mirror. Undeclared ones are ignored.
pub(crate) fn check_params(headers: &HeaderMap, declared: &[(String, Vec<String>)], arguments: &Value) -> Result<(), Refusal> {
    for (name, path) in declared {
        let header = one(headers, &format!("{PARAM_PREFIX}{}", name.to_ascii_lowercase()))?;
        let body = path.iter().try_fold(arguments, |value, key| value.get(key)).filter(|value| !value.is_null());
        let agree = match (header, body) {
            (None, None) => true,
            (Some(header), Some(body)) => same(&decode(header)?, body),
            _ => false,
        };
        if !agree {
            return Err(mismatch(format!("`Mcp-Param-{name}` does not mirror the arguments")));
        }
    }
    Ok(())
}

fn same(header: &str, body: &Value) -> bool {
    match body {
        Value::String(text) => header == text,
        Value::Bool(value) => header == if *value { "true" } else { "false" },
        // SPEC: MG-04: integers compare numerically.
        Value::Number(number) => header.parse::<i64>().ok() == number.as_i64() && number.is_i64() || header == number.to_string(),
        _ => false,
    }
}

/// The value an argument has in a header, for our own requests to an upstream; `None` when it cannot have one.
pub(crate) fn param_text(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Bool(_) | Value::Number(_) => Some(value.to_string()),
        _ => None,
    }
}

/// The declarations `x-mcp-header` of a tool's input schema: header name and path into the arguments.
pub(crate) fn declared_params(schema: &Value) -> Declared {
    fn walk(schema: &Value, path: &mut Vec<String>, found: &mut Declared, depth: usize) {
        let Some(properties) = schema.get("properties").and_then(Value::as_object) else { return };
        for (key, property) in properties.iter().take(256) {
            path.push(key.clone());
            if let Some(name) = property.get("x-mcp-header").and_then(Value::as_str)
                && !name.is_empty()
                && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'))
            {
                found.push((name.to_owned(), path.clone()));
            } else if depth < 8 {
                walk(property, path, found, depth + 1);
            }
            path.pop();
        }
    }
    let mut found = Vec::new();
    walk(schema, &mut Vec::new(), &mut found, 0);
    found
}

/// One value of a header, or none; more than one is refused, so that no two readers can pick differently.
fn one<'h>(headers: &'h HeaderMap, name: &str) -> Result<Option<&'h str>, Refusal> {
    let mut values = headers.get_all(name).iter();
    let Some(value) = values.next() else { return Ok(None) };
    if values.next().is_some() {
        return Err(mismatch(format!("`{name}` is present more than once")));
    }
    value.to_str().map(Some).map_err(|_| mismatch(format!("`{name}` has characters that no header may have")))
}

/// Reads `=?base64?…?=`; the markers are exact, anything else stands for itself.
pub(crate) fn decode(header: &str) -> Result<String, Refusal> {
    let Some(inner) = header.strip_prefix(BASE64_OPEN).and_then(|rest| rest.strip_suffix(BASE64_CLOSE)) else {
        return Ok(header.to_owned());
    };
    BASE64
        .decode(inner)
        .ok()
        .and_then(|bytes| String::from_utf8(bytes).ok())
        .ok_or_else(|| mismatch("a base64 header value is not valid"))
}

/// Writes a value so that it survives being a header.
pub(crate) fn encode(value: &str) -> String {
    let marked = value.starts_with(BASE64_OPEN) && value.ends_with(BASE64_CLOSE);
    let plain = !value.is_empty() && value.trim() == value && value.bytes().all(|byte| matches!(byte, 9 | 32..=126));
    if plain && !marked { value.to_owned() } else { format!("{BASE64_OPEN}{}{BASE64_CLOSE}", BASE64.encode(value)) }
}

fn mismatch(reason: impl Into<String>) -> Refusal {
    Refusal::new(Code::HeaderBodyMismatch, reason)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mcp::envelope::Request;
    use axum::http::{HeaderName, HeaderValue};
    use serde_json::json;

    fn headers(pairs: &[(&str, &str)]) -> HeaderMap {
        pairs.iter().map(|(name, value)| (name.parse::<HeaderName>().unwrap(), HeaderValue::from_str(value).unwrap())).collect()
    }

    fn call(name: &str) -> Message {
        let params = json!({"name": name, "_meta": {META_VERSION: "2026-07-28", META_CAPABILITIES: {}}});
        Message::Request(Request { id: json!(1), method: "tools/call".into(), params: params.as_object().unwrap().clone() })
    }

    fn code(pairs: &[(&str, &str)], message: &Message) -> Option<Code> {
        check(&headers(pairs), message).err().map(|refusal| refusal.code)
    }

    const V: (&str, &str) = ("mcp-protocol-version", "2026-07-28");
    const M: (&str, &str) = ("mcp-method", "tools/call");

    #[test]
    fn n_mg_03_the_name_header_must_be_the_name_in_the_body() {
        assert_eq!(code(&[V, M, ("mcp-name", "dangerous")], &call("dangerous")), None);
        assert_eq!(code(&[V, M, ("mcp-name", "safe")], &call("dangerous")), Some(Code::HeaderBodyMismatch));
        assert_eq!(code(&[V, M], &call("dangerous")), Some(Code::HeaderBodyMismatch));
        assert_eq!(code(&[V, ("mcp-name", "dangerous")], &call("dangerous")), Some(Code::HeaderBodyMismatch));
        assert_eq!(
            code(&[V, M, ("mcp-name", "dangerous"), ("mcp-name", "dangerous")], &call("dangerous")),
            Some(Code::HeaderBodyMismatch)
        );
        assert_eq!(
            code(&[V, ("mcp-method", "tools/list"), ("mcp-name", "dangerous")], &call("dangerous")),
            Some(Code::HeaderBodyMismatch)
        );
    }

    #[test]
    fn n_mg_03_base64_counts_only_with_exact_markers() {
        assert_eq!(code(&[V, M, ("mcp-name", "=?base64?c2FmZQ==?=")], &call("safe")), None);
        assert_eq!(code(&[V, M, ("mcp-name", "=?BASE64?c2FmZQ==?=")], &call("safe")), Some(Code::HeaderBodyMismatch));
        assert_eq!(code(&[V, M, ("mcp-name", "=?BASE64?c2FmZQ==?=")], &call("=?BASE64?c2FmZQ==?=")), None);
        assert_eq!(code(&[V, M, ("mcp-name", "=?base64?c2FmZQ?=")], &call("safe")), Some(Code::HeaderBodyMismatch));
        assert_eq!(code(&[V, M, ("mcp-name", "=?base64?/w==?=")], &call("safe")), Some(Code::HeaderBodyMismatch));
    }

    #[test]
    fn mg_06_version_and_envelope_must_agree() {
        let name = ("mcp-name", "t");
        assert_eq!(code(&[M, name], &call("t")), Some(Code::HeaderBodyMismatch), "no version header");
        let old = ("mcp-protocol-version", "2025-11-25");
        assert_eq!(code(&[old, M, name], &call("t")), Some(Code::HeaderBodyMismatch), "N-MG-06");
        let bare = Message::Request(Request { id: json!(1), method: "tools/list".into(), params: Map::new() });
        assert_eq!(code(&[V, ("mcp-method", "tools/list")], &bare), Some(Code::ProtocolMetaMissing));
        let future = json!({"_meta": {META_VERSION: "2027-01-01", META_CAPABILITIES: {}}});
        let future =
            Message::Request(Request { id: json!(1), method: "ping".into(), params: future.as_object().unwrap().clone() });
        assert_eq!(
            code(&[("mcp-protocol-version", "2027-01-01"), ("mcp-method", "ping")], &future),
            Some(Code::ProtocolVersionUnsupported)
        );
        let no_capabilities = json!({"_meta": {META_VERSION: "2026-07-28"}});
        let no_capabilities = Message::Request(Request {
            id: json!(1),
            method: "ping".into(),
            params: no_capabilities.as_object().unwrap().clone(),
        });
        assert_eq!(code(&[V, ("mcp-method", "ping")], &no_capabilities), Some(Code::ProtocolMetaMissing));
    }

    #[test]
    fn n_mg_06_mirrored_headers_are_checked_in_the_old_era_too() {
        let body = Message::Request(Request {
            id: json!(1),
            method: "tools/call".into(),
            params: json!({"name": "dangerous"}).as_object().unwrap().clone(),
        });
        let old = ("mcp-protocol-version", "2025-11-25");
        assert_eq!(code(&[old], &body), None);
        assert_eq!(code(&[old, M, ("mcp-name", "safe")], &body), Some(Code::HeaderBodyMismatch));
        assert_eq!(code(&[("mcp-protocol-version", "1999-01-01")], &body), Some(Code::ProtocolVersionUnsupported));
    }

    #[test]
    fn n_mg_16_declared_parameters_are_compared_and_others_ignored() {
        let schema = json!({"properties": {"region": {"type": "string", "x-mcp-header": "Region"},
            "n": {"type": "object", "properties": {"count": {"x-mcp-header": "Count"}}}, "bad": {"x-mcp-header": "a\r\nb"}}});
        let declared = declared_params(&schema);
        assert_eq!(declared.len(), 2);
        let arguments = json!({"region": "line\r\nbreak", "n": {"count": 42}});
        let region = encode("line\r\nbreak");
        assert!(region.starts_with("=?base64?"));
        let good = headers(&[("mcp-param-region", &region), ("mcp-param-count", "042"), ("mcp-param-other", "x")]);
        assert_eq!(check_params(&good, &declared, &arguments), Ok(()));
        let bad = headers(&[("mcp-param-region", "line"), ("mcp-param-count", "42")]);
        assert!(check_params(&bad, &declared, &arguments).is_err());
        assert!(check_params(&headers(&[("mcp-param-count", "42")]), &declared, &arguments).is_err());
        assert!(HeaderValue::from_str("line\r\nbreak").is_err(), "a raw line break never gets this far");
    }
}
