//! What is read: the facts of a group, single rows, pages of the log.

use super::rows::{Log, signed, unsigned, world_row};
use crate::{
    batch::{JtiKind, KeyedHash},
    db::{
        error::DbError,
        group::{BudgetFact, CodeFact, Facts, FamilyFact, Head, Needs, RefreshFact},
        sql,
    },
    world::row::Row,
};
use remit_ledger::Hash;
use remit_model::time::UnixTime;
use rusqlite::{CachedStatement, Connection, OptionalExtension as _, params};
use std::ops::ControlFlow;

/// Point look-ups: without a round trip, asking by one key a few times is cheaper than one statement over a list.
pub(super) fn facts(conn: &Connection, tenant: &str, needs: &Needs<'_>) -> rusqlite::Result<Facts> {
    let mut facts = Facts::default();
    for code in &needs.codes {
        let found = conn.prepare_cached(sql::CODE)?.query_row(params![tenant, code], |row| {
            Ok(CodeFact { expires: UnixTime(row.get(2)?), used: row.get::<_, Option<String>>(3)?.is_some() })
        });
        facts.codes.extend(found.optional()?.map(|fact| (**code, fact)));
    }
    for hash in &needs.refresh {
        let found = conn.prepare_cached(sql::REFRESH)?.query_row(params![tenant, hash], |row| {
            let (family, generation) = (row.get::<_, String>(0)?, unsigned(row.get(5)?));
            let expires = UnixTime(row.get(4)?);
            let known = FamilyFact { generation: unsigned(row.get(6)?), revoked: row.get(7)?, until: UnixTime(row.get(8)?) };
            Ok((RefreshFact { family, generation, expires }, known))
        });
        if let Some((token, family)) = found.optional()? {
            facts.families.insert(token.family.clone(), family);
            facts.refresh.insert(**hash, token);
        }
    }
    for name in &needs.families {
        let found = conn.prepare_cached(sql::FAMILY)?.query_row(params![tenant, name], |row| {
            Ok(FamilyFact { generation: unsigned(row.get(0)?), revoked: row.get(1)?, until: UnixTime(row.get(2)?) })
        });
        facts.families.extend(found.optional()?.map(|fact| ((*name).to_owned(), fact)));
    }
    for key in &needs.budgets {
        let found = conn.prepare_cached(sql::BUDGET)?.query_row(params![tenant, key], |row| {
            Ok(BudgetFact { spent: row.get(0)?, until: row.get::<_, Option<i64>>(1)?.map(UnixTime) })
        });
        facts.budgets.extend(found.optional()?.map(|fact| ((*key).to_owned(), fact)));
    }
    for (kind, key) in &needs.once {
        if conn.prepare_cached(sql::KNOWS_ONCE)?.exists(params![tenant, kind.as_str(), key])? {
            facts.once.insert((*kind, (*key).to_owned()));
        }
    }
    for jti in &needs.tokens {
        if conn.prepare_cached(sql::TOKEN)?.exists(params![tenant, jti])? {
            facts.tokens.insert((*jti).to_owned());
        }
    }
    for subject in &needs.subjects {
        let mut select = conn.prepare_cached(sql::CHAINS)?;
        let chains = select.query_map(params![tenant, subject], |row| Ok((row.get(0)?, UnixTime(row.get(1)?))))?;
        facts.chains.insert((*subject).to_owned(), chains.collect::<Result<_, _>>()?);
    }
    Ok(facts)
}

/// An authorization code as it is stored.
pub(crate) struct CodeRow {
    pub(crate) client: String,
    pub(crate) payload: String,
    pub(crate) expires: UnixTime,
    pub(crate) used: Option<String>,
    pub(crate) failures: u32,
}

/// A refresh token as it is stored, with its family.
pub(crate) struct RefreshRow {
    pub(crate) family: String,
    pub(crate) client: String,
    pub(crate) jkt: String,
    pub(crate) payload: String,
    pub(crate) expires: UnixTime,
    pub(crate) generation: u64,
    /// It is the newest of a family that is not revoked.
    pub(crate) current: bool,
}

/// A record as it is stored.
pub(crate) struct StoredRow {
    pub(crate) index: u64,
    pub(crate) record_id: String,
    pub(crate) bytes: Vec<u8>,
    pub(crate) side: Option<Vec<u8>>,
}

/// A connection that can only read.
#[derive(Debug)]
pub(crate) struct DbReader {
    conn: Connection,
    log: Log,
}

impl DbReader {
    pub(super) fn new(conn: Connection, log: Log) -> Self {
        Self { conn, log }
    }

    pub(crate) fn code(&self, hash: &KeyedHash) -> Result<Option<CodeRow>, DbError> {
        let found = self.prepare(sql::CODE)?.query_row(params![self.tenant(), hash], |row| {
            Ok(CodeRow {
                client: row.get(0)?,
                payload: row.get(1)?,
                expires: UnixTime(row.get(2)?),
                used: row.get(3)?,
                failures: row.get(4)?,
            })
        });
        Ok(found.optional()?)
    }

    pub(crate) fn refresh(&self, hash: &KeyedHash) -> Result<Option<RefreshRow>, DbError> {
        let found = self.prepare(sql::REFRESH)?.query_row(params![self.tenant(), hash], |row| {
            let (generation, newest) = (row.get::<_, i64>(5)?, row.get::<_, i64>(6)?);
            Ok(RefreshRow {
                family: row.get(0)?,
                client: row.get(1)?,
                jkt: row.get(2)?,
                payload: row.get(3)?,
                expires: UnixTime(row.get(4)?),
                generation: unsigned(generation),
                current: !row.get::<_, bool>(7)? && generation == newest,
            })
        });
        Ok(found.optional()?)
    }

    pub(crate) fn token(&self, jti: &str) -> Result<Option<String>, DbError> {
        Ok(self.prepare(sql::TOKEN)?.query_row(params![self.tenant(), jti], |row| row.get(0)).optional()?)
    }

    /// Name and body of those of these tokens that are stored.
    pub(crate) fn tokens(&self, jtis: &[String]) -> Result<Vec<(String, String)>, DbError> {
        let wanted = serde_json::Value::from(jtis).to_string();
        let sql = "SELECT jti, body FROM tokens WHERE tenant = ?1 AND jti IN (SELECT value FROM json_each(?2))";
        let mut select = self.prepare(sql)?;
        let rows = select.query_map(params![self.tenant(), wanted], |row| Ok((row.get(0)?, row.get(1)?)))?;
        Ok(rows.collect::<Result<_, _>>()?)
    }

    /// Payload and end of what a person's provider can be asked with.
    pub(crate) fn provider_session(&self, human: &str) -> Result<Option<(String, UnixTime)>, DbError> {
        let found = self
            .prepare(sql::PROVIDER_SESSION)?
            .query_row(params![self.tenant(), human], |row| Ok((row.get(0)?, UnixTime(row.get(1)?))));
        Ok(found.optional()?)
    }

    /// All of them that have not ended at `now`: name, payload, end, and whether something handed out can still act.
    pub(crate) fn provider_sessions(&self, now: UnixTime) -> Result<Vec<(String, String, UnixTime, bool)>, DbError> {
        let mut select = self.prepare(sql::PROVIDER_SESSIONS)?;
        let rows = select
            .query_map(params![now.0, self.tenant()], |row| Ok((row.get(0)?, row.get(1)?, UnixTime(row.get(2)?), row.get(3)?)))?;
        Ok(rows.collect::<Result<_, _>>()?)
    }

    /// What was counted under this key.
    pub(crate) fn was_used(&self, kind: JtiKind, key: &str) -> Result<bool, DbError> {
        Ok(self.prepare(sql::KNOWS_ONCE)?.exists(params![self.tenant(), kind.as_str(), key])?)
    }

    pub(crate) fn spent(&self, key: &str) -> Result<i64, DbError> {
        let found = self.prepare(sql::BUDGET)?.query_row(params![self.tenant(), key], |row| row.get(0)).optional()?;
        Ok(found.unwrap_or_default())
    }

    pub(crate) fn object(&self, name: &str) -> Result<Option<Vec<u8>>, DbError> {
        Ok(self.prepare(sql::OBJECT)?.query_row(params![self.tenant(), name], |row| row.get(0)).optional()?)
    }

    /// Objects whose files are not in the ledger directory yet.
    pub(crate) fn new_objects(&self) -> Result<Vec<(String, Vec<u8>)>, DbError> {
        let mut select = self.prepare(sql::NEW_OBJECTS)?;
        let rows = select.query_map([self.tenant()], |row| Ok((row.get(0)?, row.get(1)?)))?;
        Ok(rows.collect::<Result<_, _>>()?)
    }

    pub(crate) fn record_by_id(&self, id: &str) -> Result<Option<StoredRow>, DbError> {
        let found = self
            .prepare(
                "SELECT r.place, r.record_id, r.bytes, s.body FROM records AS r LEFT JOIN sides AS s ON s.place = r.place
                 WHERE r.tenant = ?1 AND r.record_id = ?2",
            )?
            .query_row(params![self.tenant(), id], |row| self.stored(row));
        Ok(found.optional()?)
    }

    /// Records `from..from + limit`, as far as they exist.
    pub(crate) fn records(&self, from: u64, limit: u32) -> Result<Vec<StoredRow>, DbError> {
        let mut select = self.prepare(
            "SELECT r.place, r.record_id, r.bytes, s.body FROM records AS r LEFT JOIN sides AS s ON s.place = r.place
             WHERE r.place >= ?1 AND r.place < ?2 ORDER BY r.place LIMIT ?3",
        )?;
        let rows = select.query_map(params![self.log.place(from), self.log.end(), limit], |row| self.stored(row))?;
        Ok(rows.collect::<Result<_, _>>()?)
    }

    /// The leaf hashes of the first `size` records in order, until `each` has seen enough.
    pub(crate) fn leaves(&self, size: u64, mut each: impl FnMut(Hash) -> ControlFlow<()>) -> Result<(), DbError> {
        let mut select = self.conn.prepare("SELECT leaf_hash FROM records WHERE place >= ?1 AND place < ?2 ORDER BY place")?;
        let mut rows = select.query([self.log.base, self.log.place(size)])?;
        while let Some(row) = rows.next()? {
            if each(Hash(row.get(0)?)).is_break() {
                break;
            }
        }
        Ok(())
    }

    /// The root of a head that was signed not long ago.
    pub(crate) fn signed_root(&self, size: u64) -> Result<Option<Hash>, DbError> {
        let found = self.prepare(sql::CHECKPOINT)?.query_row(params![self.tenant(), signed(size)], |row| row.get(0));
        Ok(found.optional()?.map(Hash))
    }

    /// Side values whose time has come, by index.
    pub(crate) fn due_sides(&self, now: UnixTime, limit: u32) -> Result<Vec<(u64, Vec<u8>)>, DbError> {
        let mut select =
            self.prepare("SELECT place, body FROM sides WHERE tenant = ?1 AND until_s < ?2 ORDER BY until_s LIMIT ?3")?;
        let rows =
            select.query_map(params![self.tenant(), now.0, limit], |row| Ok((self.log.index(row.get(0)?), row.get(1)?)))?;
        Ok(rows.collect::<Result<_, _>>()?)
    }

    /// Whether side values that mention `one` mention any of the others as well. Reads all of them.
    pub(crate) fn sides_mention(&self, one: &str, others: &[String]) -> Result<bool, DbError> {
        let mut select = self.conn.prepare("SELECT body FROM sides WHERE tenant = ?1 AND instr(body, ?2) > 0")?;
        let mut rows = select.query(params![self.tenant(), one.as_bytes()])?;
        while let Some(row) = rows.next()? {
            let body = String::from_utf8_lossy(row.get_ref(0)?.as_blob().map_err(rusqlite::Error::from)?);
            if others.iter().any(|other| body.contains(other.as_str())) {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Where the log stands, and the rows that a snapshot of this revision lacks, in the order of their revisions. For a
    /// snapshot that can no longer follow: every row there is, and `true`.
    pub(crate) fn world_since(&self, revision: Option<u64>) -> Result<(Head, Vec<Row>, bool), DbError> {
        // One read transaction: the rows belong to the head.
        let tx = self.conn.unchecked_transaction()?;
        let (newest, min_revision) =
            tx.prepare_cached(sql::HEAD)?.query_row([self.tenant()], |row| Ok((unsigned(row.get(0)?), unsigned(row.get(1)?))))?;
        let head = Head { next_index: 0, revision: newest, min_revision };
        let since = revision.filter(|revision| *revision >= min_revision);
        let rows = match since {
            Some(revision) if revision >= newest => Vec::new(),
            Some(revision) => {
                let mut select = tx.prepare_cached(sql::WORLD_SINCE)?;
                let rows = select.query_map(params![self.tenant(), signed(revision)], world_row)?;
                rows.filter_map(Result::transpose).collect::<Result<_, _>>()?
            }
            None => {
                let mut select = tx.prepare_cached(sql::WORLD)?;
                let rows = select.query_map([self.tenant()], world_row)?;
                rows.filter_map(Result::transpose).collect::<Result<_, _>>()?
            }
        };
        tx.commit()?;
        Ok((head, rows, since.is_none()))
    }

    fn stored(&self, row: &rusqlite::Row<'_>) -> rusqlite::Result<StoredRow> {
        Ok(StoredRow { index: self.log.index(row.get(0)?), record_id: row.get(1)?, bytes: row.get(2)?, side: row.get(3)? })
    }

    fn prepare(&self, sql: &str) -> Result<CachedStatement<'_>, DbError> {
        Ok(self.conn.prepare_cached(sql)?)
    }

    fn tenant(&self) -> &str {
        self.log.tenant.as_str()
    }
}
