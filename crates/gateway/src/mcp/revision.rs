//! The two eras of the protocol, and how a message of one is written in the other.
//!
//! 2025-11-25 and 2025-06-18 open a session with `initialize`; 2026-07-28 is stateless and says everything in each
//! request's `_meta`. Requests and results are otherwise the same, so adapting is adding or removing a few members.

use crate::mcp::{envelope::RpcError, rpc_code};
use serde_json::{Map, Value, json};

/// The call's id in the ledger: its intent's `record_id`, or the `ext.call` of its record.
pub(crate) const META_RECORD: &str = "remit/record";
/// Number of that record in the log.
pub(crate) const META_INDEX: &str = "remit/index";
/// Stable code of a refused call.
pub(crate) const META_CODE: &str = "remit/code";
/// Why a call was refused, without what would be enough.
pub(crate) const META_REASON: &str = "remit/reason";
pub(crate) const META_VERSION: &str = "io.modelcontextprotocol/protocolVersion";
pub(crate) const META_CLIENT: &str = "io.modelcontextprotocol/clientInfo";
pub(crate) const META_CAPABILITIES: &str = "io.modelcontextprotocol/clientCapabilities";
pub(crate) const META_LOG_LEVEL: &str = "io.modelcontextprotocol/logLevel";
pub(crate) const META_SUBSCRIPTION: &str = "io.modelcontextprotocol/subscriptionId";
const META_SERVER: &str = "io.modelcontextprotocol/serverInfo";

/// A revision of MCP that we speak.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Revision {
    V2025June,
    V2025November,
    V2026July,
}

impl Revision {
    pub(crate) const ALL: [Self; 3] = [Self::V2026July, Self::V2025November, Self::V2025June];
    pub(crate) const LEGACY_LATEST: Self = Self::V2025November;

    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::V2025June => "2025-06-18",
            Self::V2025November => "2025-11-25",
            Self::V2026July => "2026-07-28",
        }
    }

    pub(crate) fn parse(version: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|revision| revision.as_str() == version)
    }

    /// Whether it is of the stateless era.
    pub(crate) fn is_modern(self) -> bool {
        self == Self::V2026July
    }
}

/// The two ways to speak MCP: with a session that `initialize` opens, or statelessly.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Era {
    /// 2025-11-25 and before.
    Session,
    /// 2026-07-28.
    Stateless,
}

/// Whether a version string, known or not, belongs to the stateless era: revisions are dates and sort as text.
pub(crate) fn claims_modern(version: &str) -> bool {
    version.len() == 10 && version >= Revision::V2026July.as_str()
}

pub(crate) fn supported() -> Vec<&'static str> {
    Revision::ALL.into_iter().map(Revision::as_str).collect()
}

/// Who we say we are, to clients and upstreams.
pub(crate) fn implementation() -> Value {
    json!({"name": "remit-gateway", "version": env!("CARGO_PKG_VERSION")})
}

/// What a client declared about itself, in either era. Unverified: never identity (MG-06).
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct ClientProfile {
    pub(crate) capabilities: Value,
    pub(crate) log_level: Option<Value>,
}

impl ClientProfile {
    /// A client that can answer nothing the upstream might ask.
    pub(crate) fn silent() -> Self {
        Self { capabilities: json!({}), log_level: None }
    }

    pub(crate) fn declares(&self, capability: &str) -> bool {
        self.capabilities.get(capability).is_some()
    }
}

/// Members of `_meta` that the protocol itself needs from the client. SPEC: MG-15: trace context, without baggage.
const META_PASSED: [&str; 4] = ["progressToken", "traceparent", "tracestate", "io.modelcontextprotocol/related-task"];

/// Takes the envelope of the stateless era out of a request's parameters; what stays is what the method is about. Also takes out
/// of `_meta` what the protocol does not need, since neither authority nor policy looks at it. Returns how many of those there
/// were.
pub(crate) fn strip_envelope(params: &mut Map<String, Value>) -> usize {
    let Some(Value::Object(meta)) = params.get_mut("_meta") else { return 0 };
    for key in [META_VERSION, META_CLIENT, META_CAPABILITIES, META_LOG_LEVEL] {
        meta.remove(key);
    }
    let before = meta.len();
    meta.retain(|name, _| META_PASSED.contains(&name.as_str()));
    let dropped = before - meta.len();
    if meta.is_empty() {
        params.remove("_meta");
    }
    dropped
}

/// Tells the upstream which record its own log can be compared with.
pub(crate) fn name_call(params: &mut Map<String, Value>, id: &str) {
    if let Value::Object(meta) = params.entry("_meta").or_insert_with(|| json!({})) {
        meta.insert(META_RECORD.to_owned(), json!(id));
    }
}

/// Puts our own envelope into a request for an upstream of the stateless era.
pub(crate) fn add_envelope(params: &mut Map<String, Value>, client: Option<&ClientProfile>) {
    let meta = params.entry("_meta").or_insert_with(|| json!({}));
    if let Value::Object(meta) = meta {
        meta.insert(META_VERSION.to_owned(), json!(Revision::V2026July.as_str()));
        meta.insert(META_CLIENT.to_owned(), implementation());
        let declared = client.map(|client| &client.capabilities).filter(|capabilities| capabilities.is_object());
        meta.insert(META_CAPABILITIES.to_owned(), declared.cloned().unwrap_or_else(|| json!({})));
        if let Some(level) = client.and_then(|client| client.log_level.as_ref()) {
            meta.insert(META_LOG_LEVEL.to_owned(), level.clone());
        }
    }
}

/// Methods whose results carry a cache hint in the stateless era.
pub(crate) fn is_cacheable(method: &str) -> bool {
    matches!(
        method,
        "tools/list" | "prompts/list" | "resources/list" | "resources/templates/list" | "resources/read" | "server/discover"
    )
}

/// Says a result in the words of the client's era. Every cache hint becomes private: what one caller was shown is
/// filtered for that caller. SPEC: MG-09.
pub(crate) fn adapt_result(method: &str, mut result: Value, client: Revision) -> Value {
    let Value::Object(members) = &mut result else { return result };
    if client.is_modern() {
        members.entry("resultType").or_insert_with(|| json!("complete"));
        if is_cacheable(method) {
            if !members.get("ttlMs").is_some_and(Value::is_u64) {
                members.insert("ttlMs".to_owned(), json!(0));
            }
            members.insert("cacheScope".to_owned(), json!("private"));
        }
        if let Some(Value::Array(tools)) = members.get_mut("tools") {
            for tool in tools.iter_mut().filter_map(Value::as_object_mut) {
                tool.remove("execution");
            }
        }
    } else {
        for key in ["resultType", "ttlMs", "cacheScope"] {
            members.remove(key);
        }
        if let Some(Value::Object(meta)) = members.get_mut("_meta") {
            meta.remove(META_SERVER);
            if meta.is_empty() {
                members.remove("_meta");
            }
        }
    }
    result
}

/// Says an upstream's error in the words of the client's era, without codes that the newer revision reserves. SPEC: MG-07.
pub(crate) fn adapt_error(mut error: RpcError, client: Revision) -> RpcError {
    if client.is_modern() {
        error.code = match error.code {
            -32002 => -32602,
            // The capabilities that the upstream saw are the client's own.
            rpc_code::CAPABILITY_MISSING => error.code,
            // Left over from older servers, reserved and not ours to pass on, or (-32022 and -32020) about our own
            // exchange with the upstream and not about the client's with us.
            -32099..=-32000 => rpc_code::UPSTREAM,
            code => code,
        };
    }
    error
}

#[cfg(test)]
mod tests {
    use super::*;

    fn object(value: &Value) -> Map<String, Value> {
        value.as_object().unwrap().clone()
    }

    #[test]
    fn the_envelope_is_taken_out_and_put_in_without_touching_the_rest() {
        let mut params =
            object(&json!({"name": "t", "_meta": {META_VERSION: "2026-07-28", META_CAPABILITIES: {}, META_CLIENT: {},
            META_LOG_LEVEL: "debug", "baggage": "user=alice", "traceparent": "00-1", "progressToken": 4}}));
        assert_eq!(strip_envelope(&mut params), 1, "baggage");
        assert_eq!(Value::Object(params.clone()), json!({"name": "t", "_meta": {"traceparent": "00-1", "progressToken": 4}}));
        add_envelope(&mut params, Some(&ClientProfile { capabilities: json!({"roots": {}}), log_level: None }));
        assert_eq!(params["_meta"][META_CAPABILITIES], json!({"roots": {}}));
        assert_eq!(params["_meta"][META_VERSION], "2026-07-28");
        assert_eq!(params["_meta"]["progressToken"], 4);
    }

    #[test]
    fn mg_09_a_filtered_list_is_private_in_the_new_era_and_says_nothing_in_the_old() {
        let upstream =
            json!({"tools": [{"name": "a", "execution": {}}], "cacheScope": "public", "ttlMs": 9, "resultType": "complete"});
        let modern = adapt_result("tools/list", upstream.clone(), Revision::V2026July);
        assert_eq!(modern, json!({"tools": [{"name": "a"}], "cacheScope": "private", "ttlMs": 9, "resultType": "complete"}));
        let legacy = adapt_result("tools/list", upstream, Revision::V2025November);
        assert_eq!(legacy, json!({"tools": [{"name": "a", "execution": {}}]}));
    }

    #[test]
    fn mg_07_reserved_codes_are_not_passed_on() {
        for code in [-32000, -32001, -32019, -32050, -32020] {
            assert_eq!(adapt_error(RpcError::new(code, "x"), Revision::V2026July).code, rpc_code::UPSTREAM);
        }
        assert_eq!(adapt_error(RpcError::new(-32021, "x"), Revision::V2026July).code, -32021);
        assert_eq!(adapt_error(RpcError::new(-32002, "x"), Revision::V2026July).code, -32602);
        assert_eq!(adapt_error(RpcError::new(-32602, "x"), Revision::V2026July).code, -32602);
        assert_eq!(adapt_error(RpcError::new(-32002, "x"), Revision::V2025June).code, -32002);
    }
}
