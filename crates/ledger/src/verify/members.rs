//! The words and forms that docs/ledger-format.md section 4 allows, for members that a hash alone would let through:
//! otherwise a holder of the record key could write anything and sign it.

use crate::{hash::Hash, record::Record};
use serde_json::Value;

/// Pointer (`*` is every item of an array) and the words that may stand there.
const WORDS: &[(&str, &[&str])] = &[
    (
        "/record_type",
        &[
            "intent",
            "decision",
            "effect",
            "token",
            "lease",
            "approval",
            "delegation",
            "policy_change",
            "config_change",
            "session_open",
            "session_close",
            "redaction",
            "log_access",
            "log_control",
            "heartbeat",
            "reconcile",
            "sandbox",
        ],
    ),
    ("/env", &["prod", "stage", "sandbox", "replay"]),
    ("/producer/kind", &["gateway", "authz_server", "broker", "sandbox", "sdk", "resource"]),
    ("/time/clock_status", &["synchronized", "free_running", "unknown", "disrupted"]),
    ("/time/source", &["ptp_phc", "ntp_nts", "ntp", "cloud", "none"]),
    ("/protocol", &["mcp", "http", "a2a", "grpc", "sql", "ssh", "llm", "internal"]),
    ("/action/class", &["read", "write", "delete", "execute", "admin", "identity", "payment"]),
    ("/human_in_loop", &["none", "notified", "approved", "edited", "break_glass"]),
    ("/outcome/status", &["success", "failure", "denied", "timeout", "cancelled", "partial", "unknown", "escalated"]),
    ("/outcome/effect_confirmed", &["observed", "acked", "dispatched_only", "none"]),
    ("/chain/*/kind", &["human", "agent", "subagent", "workload", "service", "external_agent"]),
    (
        "/chain/*/auth/method",
        &[
            "passkey",
            "mfa",
            "sso",
            "spiffe_svid",
            "wit",
            "client_assertion",
            "client_certificate",
            "api_key(legacy)",
            "password",
            "none",
        ],
    ),
    ("/chain/*/grant/type", &["login", "token_exchange", "ciba", "client_credentials", "id_jag", "txn_token"]),
    ("/resource/*/classification", &["public", "internal", "confidential", "pii", "phi", "pci", "secret"]),
    ("/decision/result", &["allow", "deny", "step_up", "mask", "quota", "error_fail_closed"]),
];

/// Pointers to hash texts; what is missing or null there is no fault.
const HASHES: &[&str] = &[
    "/producer/build_digest",
    "/request/hash",
    "/response/hash",
    "/request/diff_hash",
    "/decision/policy_set_digest",
    "/decision/schema_digest",
    "/decision/entities_digest",
    "/decision/input_hash",
    "/chain/*/edge_proof",
    "/chain/*/token/jti_hash",
    "/chain/*/token/authorization_details_hash",
    "/chain/*/cnf/proof_hash",
    "/chain/*/grant/parent_jti_hash",
];

/// Why a member has a form that does not occur there; `None` when all is well.
pub(super) fn misformed(record: &Record) -> Option<String> {
    let value = record.value();
    for (pointer, words) in WORDS {
        let known = |found: &Value| found.as_str().is_some_and(|word| words.contains(&word));
        if !places(value, pointer).into_iter().all(known) {
            return Some(format!("`{pointer}` is a word that does not occur there"));
        }
    }
    for pointer in HASHES {
        let is_hash = |found: &Value| found.is_null() || found.as_str().is_some_and(|text| Hash::parse(text).is_some());
        if !places(value, pointer).into_iter().all(is_hash) {
            return Some(format!("`{pointer}` is not a hash text"));
        }
    }
    let text = |at: &Value, pointer: &str| at.pointer(pointer).is_some_and(Value::is_string);
    let producer = Hash::of(&[record.producer_id().as_bytes()]).to_string();
    let producer = producer.trim_start_matches("sha-256:");
    let uid = record.text("/chain_uid").and_then(|uid| uid.strip_prefix("chain:"));
    let node = record.text("/time/hlc").and_then(|hlc| hlc.rsplit('.').next());
    if uid != producer.get(..32) || node != producer.get(..8) {
        return Some("`chain_uid` or `time.hlc` is of another producer".to_owned());
    }
    for (at, party) in record.chain().iter().enumerate() {
        let named =
            ["/kind", "/subject_ref", "/issuer", "/auth/method", "/grant/type"].iter().all(|pointer| text(party, pointer));
        if !named || (at > 0) != party.get("edge_proof").is_some() {
            return Some(format!("`chain/{at}` lacks a member, or has an `edge_proof` where it must not"));
        }
    }
    let resources = value.get("resource").and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
    if resources.len() > crate::record::RESOURCE_LIMIT
        || !resources.iter().all(|one| text(one, "/type") && text(one, "/classification"))
    {
        return Some("`resource` lacks a member or is too long".to_owned());
    }
    let held = value.pointer("/retention/legal_hold").is_some_and(Value::is_boolean);
    (!held).then(|| "`retention/legal_hold` is not a boolean".to_owned())
}

/// Every value that a pointer with `*` for any item addresses.
fn places<'v>(value: &'v Value, pointer: &str) -> Vec<&'v Value> {
    let mut found = vec![value];
    for token in pointer.split('/').skip(1) {
        found = match token {
            "*" => found.into_iter().filter_map(Value::as_array).flatten().collect(),
            name => found.into_iter().filter_map(|value| value.get(name)).collect(),
        };
    }
    found
}
