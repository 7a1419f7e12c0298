//! Reading the ledger's records while the server runs.

use crate::{Console, access, admin::Admin, error::No};
use axum::{
    Json, Router,
    extract::{Path, Query, State},
    routing::get,
};
use remit_model::{Code, Refusal};
use remit_store::StoredRecord;
use serde::Deserialize;
use serde_json::{Value, json};
use std::sync::Arc;

/// Most records of one answer.
const PAGE: u32 = 500;

pub(crate) fn routes() -> Router<Arc<Console>> {
    Router::new().route("/admin/v1/records", get(page)).route("/admin/v1/records/{id}", get(one))
}

#[derive(Debug, Deserialize)]
struct Window {
    /// First index; without it, the latest records.
    from: Option<u64>,
    limit: Option<u32>,
}

async fn page(admin: Admin, State(console): State<Arc<Console>>, Query(window): Query<Window>) -> Result<Json<Value>, No> {
    let size = console.store.len();
    let limit = window.limit.unwrap_or(50).min(PAGE);
    let from = window.from.unwrap_or_else(|| size.saturating_sub(u64::from(limit)));
    let records = console.store.records(from, limit).await?;
    access::read(&console, admin, "log.records", from, records.len() as u64).await?;
    let records = records.iter().map(view).collect::<Result<Vec<_>, _>>()?;
    Ok(Json(json!({"size": size, "records": records})))
}

async fn one(admin: Admin, State(console): State<Arc<Console>>, Path(id): Path<String>) -> Result<Json<Value>, No> {
    let found = match id.parse::<u64>() {
        Ok(index) => console.store.record(index).await?,
        Err(_) => console.store.record_by_id(&id).await?,
    };
    let record = found.ok_or_else(|| Refusal::new(Code::NotFound, "there is no such record; give its id or its index"))?;
    access::read(&console, admin, "log.record", record.index, 1).await?;
    Ok(Json(view(&record)?))
}

fn view(stored: &StoredRecord) -> Result<Value, No> {
    let record: Value = serde_json::from_slice(&stored.bytes).map_err(|error| No::Broken(remit_model::Fault::new(error)))?;
    Ok(
        json!({"index": stored.index, "record": record, "side": stored.side.as_ref().and_then(|side| serde_json::from_slice::<Value>(&side.to_bytes()).ok())}),
    )
}
