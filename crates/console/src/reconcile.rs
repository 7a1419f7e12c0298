//! Records the result of a reconciliation.

use crate::{
    Console,
    admin::{Admin, record},
    error::No,
};
use axum::{
    Json, Router,
    body::Bytes,
    extract::{DefaultBodyLimit, State},
    routing::post,
};
use remit_ledger::record::RecordType;
use remit_model::{Code, Refusal, display, json};
use remit_store::Batch;
use serde_json::{Value, json as object};
use std::sync::Arc;

/// Largest request body, in bytes.
const BODY_LIMIT: usize = 4 << 10;

/// Every count a summary may state; each is a u64 text.
const COUNTS: [&str; 11] = [
    "size",
    "tokens_matched",
    "token_service_only",
    "gateway_only",
    "intents_matched",
    "unknown_outcome",
    "effect_only",
    "upstream_matched",
    "ledger_only",
    "upstream_only",
    "upstream_unknown",
];

pub(crate) fn routes() -> Router<Arc<Console>> {
    Router::new().route("/admin/v1/reconcile", post(write)).layer(DefaultBodyLimit::max(BODY_LIMIT))
}

/// Counts and a digest only: a summary has no room for a name or a value.
async fn write(admin: Admin, State(console): State<Arc<Console>>, body: Bytes) -> Result<Json<Value>, No> {
    let summary = json::parse(&body, &json::Limits { bytes: BODY_LIMIT, ..json::Limits::default() })?;
    check(&summary)?;
    let mut draft = admin.change(&console, "ledger.reconcile").ext("reconcile", summary);
    draft.record_type = RecordType::Reconcile;
    let record = record(&console, Batch::new(console.tenant.clone()).record(draft)).await?;
    Ok(Json(object!({"record": record})))
}

fn check(summary: &Value) -> Result<(), Refusal> {
    let wrong = |why: String| Refusal::new(Code::RequestMalformed, why);
    let members = summary.as_object().ok_or_else(|| wrong("a summary is a JSON object".to_owned()))?;
    for (name, value) in members {
        let text = value.as_str().unwrap_or_default();
        let good = match name.as_str() {
            "upstream_log" => {
                text.strip_prefix("sha-256:").is_some_and(|hex| hex.len() == 64 && hex.bytes().all(|b| b.is_ascii_hexdigit()))
            }
            name => COUNTS.contains(&name) && text.parse::<u64>().is_ok_and(|count| count.to_string() == text),
        };
        if !good {
            return Err(wrong(format!(
                "`{}` is not a count of a reconciliation, or its value is no u64 text",
                display::excerpt(name, 64)
            )));
        }
    }
    if members.contains_key("size") { Ok(()) } else { Err(wrong("`size` is missing".to_owned())) }
}

#[cfg(test)]
mod tests {
    use super::check;
    use serde_json::json;

    #[test]
    fn a_summary_is_counts_and_nothing_else() {
        assert!(
            check(&json!({"size": "12", "upstream_only": "0", "upstream_log": format!("sha-256:{}", "a".repeat(64))})).is_ok()
        );
        for wrong in [
            json!([]),
            json!({}),
            json!({"size": 12}),
            json!({"size": "012"}),
            json!({"size": "-1"}),
            json!({"size": "1", "note": "alice was here"}),
            json!({"size": "1", "upstream_log": "sha-256:alice"}),
        ] {
            assert!(check(&wrong).is_err(), "{wrong}");
        }
    }
}
