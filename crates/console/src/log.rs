//! The ledger over HTTP: C2SP tlog-tiles below `/log`.
//!
//! Checkpoints and hash tiles say nothing about anyone and are public; entry bundles hold the records and need the admin
//! credential (LG-12). Salts and values (`side`) and pinned objects are not served at all.

use crate::{Console, access, admin::Admin, error::No};
use axum::{
    Router,
    extract::{Path, State},
    response::{IntoResponse, Response},
    routing::get,
};
use http::header;
use remit_ledger::tile::{Level, Tile};
use remit_model::{Code, Fault, Refusal};
use std::{path::Path as FilePath, sync::Arc};

pub(crate) fn routes() -> Router<Arc<Console>> {
    Router::new()
        .route("/log/checkpoint", get(checkpoint))
        .route("/log/tile/entries/{*path}", get(entries))
        .route("/log/tile/{*path}", get(hashes))
}

/// SPEC: LG-06.
async fn checkpoint(State(console): State<Arc<Console>>) -> Result<Response, No> {
    console.store.count_public_read("checkpoint");
    let bytes = read(&console.ledger_dir.join("checkpoint")).await?;
    Ok(([(header::CONTENT_TYPE, "text/plain; charset=utf-8"), (header::CACHE_CONTROL, "max-age=1")], bytes).into_response())
}

/// SPEC: LG-07.
async fn hashes(State(console): State<Arc<Console>>, Path(path): Path<String>) -> Result<Response, No> {
    let tile = Tile::parse(&format!("tile/{path}")).map_err(|_| missing())?;
    // The router compares paths before it decodes them: `%65ntries` is routed here, and is `entries` by now.
    if tile.level == Level::Entries {
        return Err(missing().into());
    }
    console.store.count_public_read("tile");
    serve(&console, tile, "public, max-age=31536000, immutable").await
}

/// SPEC: LG-09, LG-12.
async fn entries(admin: Admin, State(console): State<Arc<Console>>, Path(path): Path<String>) -> Result<Response, No> {
    let tile = Tile::parse(&format!("tile/entries/{path}")).map_err(|_| missing())?;
    let from = tile.number.saturating_mul(256);
    access::bundle(&console, admin, from, from.saturating_add(u64::from(tile.width))).await?;
    serve(&console, tile, "private, max-age=31536000, immutable").await
}

/// INVARIANT: a path on disk is made from a parsed tile alone (N-LG-15), so none can leave the folder.
async fn serve(console: &Console, tile: Tile, cache: &'static str) -> Result<Response, No> {
    let bytes = read(&console.ledger_dir.join(tile.path())).await?;
    Ok(([(header::CONTENT_TYPE, "application/octet-stream"), (header::CACHE_CONTROL, cache)], bytes).into_response())
}

async fn read(file: &FilePath) -> Result<Vec<u8>, No> {
    match tokio::fs::read(file).await {
        Ok(bytes) => Ok(bytes),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Err(missing().into()),
        Err(error) => Err(No::Broken(Fault::new(error))),
    }
}

fn missing() -> Refusal {
    Refusal::new(Code::NotFound, "the log has no such tile")
}
