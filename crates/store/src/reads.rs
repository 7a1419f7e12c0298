//! Point reads: rows that a request asks for, opened with the keys of those they are about.

use crate::{
    batch::{KeyedHash, ReadError, StoredCode, StoredProviderSession, StoredRecord, StoredRefresh, StoredToken},
    db::sqlite::{DbReader, StoredRow},
    vault::{
        Vault,
        rows::{context, open_row},
    },
};
use remit_ledger::Side;
use remit_model::UnixTime;
use serde::de::DeserializeOwned;

/// Most records one read hands out.
const PAGE: u32 = 1_000;

pub(crate) fn code(reader: &DbReader, hash: &KeyedHash, vault: &Vault) -> Result<Option<StoredCode>, ReadError> {
    let Some(row) = reader.code(hash)? else { return Ok(None) };
    let Some((subject, payload)) = open("of a code", vault, &context::code(hash), &row.payload)? else { return Ok(None) };
    Ok(Some(StoredCode {
        hash: *hash,
        client: row.client,
        subject,
        payload,
        expires: row.expires,
        used: row.used,
        failures: row.failures,
    }))
}

pub(crate) fn refresh(reader: &DbReader, hash: &KeyedHash, vault: &Vault) -> Result<Option<StoredRefresh>, ReadError> {
    let Some(row) = reader.refresh(hash)? else { return Ok(None) };
    let opened = open("of a refresh token", vault, &context::refresh(hash), &row.payload)?;
    let Some((subject, payload)) = opened else { return Ok(None) };
    Ok(Some(StoredRefresh {
        hash: *hash,
        family: row.family,
        client: row.client,
        subject,
        jkt: Some(row.jkt).filter(|jkt| !jkt.is_empty()),
        payload,
        expires: row.expires,
        generation: row.generation,
        current: row.current,
    }))
}

pub(crate) fn token(reader: &DbReader, jti: &str, vault: &Vault) -> Result<Option<StoredToken>, ReadError> {
    let Some(body) = reader.token(jti)? else { return Ok(None) };
    open("of a token", vault, &context::token(jti), &body)
}

pub(crate) fn provider_session(
    reader: &DbReader,
    human: &str,
    vault: &Vault,
) -> Result<Option<StoredProviderSession>, ReadError> {
    let Some((payload, expires)) = reader.provider_session(human)? else { return Ok(None) };
    opened_session(vault, human.to_owned(), &payload, expires)
}

/// Every one that has not ended, each with whether something that its person handed out can still act.
pub(crate) fn provider_sessions(
    reader: &DbReader,
    now: UnixTime,
    vault: &Vault,
) -> Result<Vec<(StoredProviderSession, bool)>, ReadError> {
    let rows = reader.provider_sessions(now)?.into_iter();
    rows.filter_map(|(human, payload, expires, acts)| {
        opened_session(vault, human, &payload, expires).map(|session| session.map(|session| (session, acts))).transpose()
    })
    .collect()
}

fn opened_session(
    vault: &Vault,
    human: String,
    payload: &str,
    expires: UnixTime,
) -> Result<Option<StoredProviderSession>, ReadError> {
    let opened = open("of a provider's session", vault, &context::provider_session(&human), payload)?;
    Ok(opened.map(|(subject, payload)| StoredProviderSession { human, subject, payload, expires }))
}

/// Those of these tokens that are stored, in no order, in one read.
pub(crate) fn tokens(reader: &DbReader, jtis: &[String], vault: &Vault) -> Result<Vec<StoredToken>, ReadError> {
    let rows = reader.tokens(jtis)?;
    rows.iter().filter_map(|(jti, body)| open("of a token", vault, &context::token(jti), body).transpose()).collect()
}

pub(crate) fn record_by_id(reader: &DbReader, id: &str, vault: &Vault) -> Result<Option<StoredRecord>, ReadError> {
    reader.record_by_id(id)?.map(|row| record(row, vault)).transpose()
}

/// Records `from..from + limit`, as far as they exist; at most a page.
pub(crate) fn records(reader: &DbReader, from: u64, limit: u32, vault: &Vault) -> Result<Vec<StoredRecord>, ReadError> {
    reader.records(from, limit.min(PAGE))?.into_iter().map(|row| record(row, vault)).collect()
}

/// A record with its side values opened, as far as their keys still exist.
fn record(row: StoredRow, vault: &Vault) -> Result<StoredRecord, ReadError> {
    let StoredRow { index, record_id, bytes, side } = row;
    let unreadable = |error| ReadError::row("of side values", error);
    let mut side = side.map(|bytes| Side::parse(&bytes)).transpose().map_err(unreadable)?;
    if let Some(side) = &mut side {
        side.open(&record_id, &vault.keyring()).map_err(unreadable)?;
    }
    Ok(StoredRecord { index, record_id, bytes, side })
}

/// A sealed row's body; `None` when its subject was erased, and the row is as good as gone.
fn open<T: DeserializeOwned>(what: &'static str, vault: &Vault, context: &str, row: &str) -> Result<Option<T>, ReadError> {
    open_row(vault, context, row).map_err(|fault| ReadError::row(what, fault))
}
