//! `keys.db`: what is in it, and how a key comes in and is destroyed.

use crate::{config::StoreError, private};
use aws_lc_rs::{
    aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey},
    hkdf,
};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use remit_clock::Entropy;
use remit_ledger::{
    Keyring,
    vault::{Key, KeyId, SubjectKey},
};
use remit_model::time::UnixTime;
use rusqlite::{Connection, OpenFlags, OptionalExtension, Row, params};
use std::{
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
    sync::{Mutex, PoisonError},
    time::Duration,
};

pub(super) const NAME: &str = "keys.db";
/// A file of this name beside the database says that the operator knows the keys are gone for good.
const LOST: &str = "keys.db.lost";
const BUSY: Duration = Duration::from_secs(5);
/// What is wrapped to recognise the seed by.
const CHECK: &[u8; 32] = &[0x52; 32];

/// What the vault knows of a subject's keys.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum KeyStatus {
    /// There never was a key: nothing of theirs was recorded.
    Unknown,
    Live(KeyId),
    /// Destroyed at this time, and nothing was recorded since.
    Destroyed(UnixTime),
}

pub(super) struct File {
    conn: Connection,
    wrap: LessSafeKey,
    pub(super) id: String,
    /// Device and inode of the file that is open: another file of the same name is not it.
    inode: (u64, u64),
}

impl File {
    pub(super) fn open(path: &Path, seed: &[u8; 32], bound: Option<&str>, entropy: &Entropy) -> Result<Self, StoreError> {
        if bound.is_some() && !path.exists() && !path.with_file_name(LOST).exists() {
            return Err(StoreError::KeysMissing { path: path.to_owned(), lost: path.with_file_name(LOST) });
        }
        let conn = connect(path)?;
        let wrap = wrap_key(seed)?;
        let check: Option<Vec<u8>> = value(&conn, "check")?;
        let id = if let Some(check) = check {
            if unwrap(&wrap, "check", &check).is_none_or(|secret| secret.expose() != CHECK) {
                return Err(StoreError::VaultSeed { path: path.to_owned() });
            }
            value(&conn, "id")?.ok_or_else(|| StoreError::Corrupt("the key store has no name".to_owned()))?
        } else {
            let id = URL_SAFE_NO_PAD.encode(entropy.bytes::<16>());
            let check = seal(&wrap, "check", CHECK, entropy)?;
            let tx = conn.unchecked_transaction()?;
            for (name, value) in [("check", check.as_slice()), ("id", id.as_bytes())] {
                tx.execute("INSERT INTO vault (name, value) VALUES (?1, ?2)", params![name, value])?;
            }
            tx.commit()?;
            id.into_bytes()
        };
        let id = String::from_utf8(id).map_err(|_| StoreError::Corrupt("the key store's name".to_owned()))?;
        if bound.is_some_and(|bound| bound != id) && !path.with_file_name(LOST).exists() {
            return Err(StoreError::KeysForeign { path: path.to_owned() });
        }
        let inode = inode(path).ok_or_else(|| StoreError::Corrupt("the key store vanished while it was opened".to_owned()))?;
        Ok(Self { conn, wrap, id, inode })
    }

    /// Whether the file that is open is no longer the one at its place.
    pub(super) fn missing(&self, path: &Path) -> bool {
        inode(path) != Some(self.inode)
    }

    pub(super) fn live(&self, reference: &str) -> Result<Option<Key>, StoreError> {
        self.conn
            .prepare_cached("SELECT key_id, wrapped FROM keys WHERE subject_ref = ?1 AND wrapped IS NOT NULL")?
            .query_row([reference], |row| self.key(row))
            .optional()
            .map_err(StoreError::from)
    }

    pub(super) fn secret(&self, id: &KeyId) -> Result<Option<SubjectKey>, StoreError> {
        secret(&self.conn, &self.wrap, id).map_err(StoreError::from)
    }

    pub(super) fn all(&self) -> Result<Vec<Key>, StoreError> {
        let mut select = self.conn.prepare("SELECT key_id, wrapped FROM keys WHERE wrapped IS NOT NULL")?;
        let keys = select.query_map([], |row| self.key(row))?.collect::<Result<_, _>>()?;
        Ok(keys)
    }

    pub(super) fn owner(&self, id: &KeyId) -> Result<Option<String>, StoreError> {
        self.conn
            .prepare_cached("SELECT subject_ref FROM keys WHERE key_id = ?1")?
            .query_row([id.as_str()], |row| row.get(0))
            .optional()
            .map_err(StoreError::from)
    }

    pub(super) fn status(&self, reference: &str) -> Result<KeyStatus, StoreError> {
        if let Some(key) = self.live(reference)? {
            return Ok(KeyStatus::Live(key.id));
        }
        let destroyed: Option<i64> =
            self.conn.query_row("SELECT max(destroyed_s) FROM keys WHERE subject_ref = ?1", [reference], |row| row.get(0))?;
        Ok(destroyed.map_or(KeyStatus::Unknown, |at| KeyStatus::Destroyed(UnixTime(at))))
    }

    pub(super) fn add(&mut self, keys: &[(String, Key)], now: UnixTime, entropy: &Entropy) -> Result<(), StoreError> {
        let tx = self.conn.transaction()?;
        // CRASH: all of these keys are there or none is. The records that need them are not committed yet.
        for (reference, key) in keys {
            let wrapped = seal(&self.wrap, key.id.as_str(), key.secret.expose(), entropy)?;
            tx.prepare_cached("INSERT INTO keys (key_id, subject_ref, wrapped, made_s) VALUES (?1, ?2, ?3, ?4)")?
                .execute(params![key.id.as_str(), reference, wrapped, now.0])?;
        }
        tx.commit()?;
        Ok(())
    }

    pub(super) fn destroy(&mut self, ids: &[KeyId], now: UnixTime) -> Result<(), StoreError> {
        let tx = self.conn.transaction()?;
        // INVARIANT: the row of a destroyed key stays, without its key, so that an old backup cannot pass it off as new.
        for id in ids {
            tx.execute(
                "UPDATE keys SET wrapped = NULL, destroyed_s = ?2 WHERE key_id = ?1 AND wrapped IS NOT NULL",
                params![id.as_str(), now.0],
            )?;
        }
        tx.commit()?;
        Ok(())
    }

    fn key(&self, row: &Row<'_>) -> rusqlite::Result<Key> {
        let id = row.get_ref(0)?.as_str()?.to_owned();
        let secret = unwrap(&self.wrap, &id, row.get_ref(1)?.as_blob()?).ok_or(rusqlite::Error::InvalidQuery)?;
        Ok(Key { id: KeyId::parse(&id).ok_or(rusqlite::Error::InvalidQuery)?, secret })
    }
}

/// The keys of a data directory, read-only, beside a server that runs or not.
///
/// # Errors
/// The file cannot be opened, or was made with another `vault.seed`.
pub fn keyring(data_dir: &Path, vault: &[u8; 32]) -> Result<Keyring, StoreError> {
    let path: PathBuf = data_dir.join(NAME);
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let conn = Connection::open_with_flags(&path, flags)?;
    conn.busy_timeout(BUSY)?;
    let wrap = wrap_key(vault)?;
    let check: Option<Vec<u8>> = value(&conn, "check")?;
    if check.and_then(|check| unwrap(&wrap, "check", &check)).is_none_or(|secret| secret.expose() != CHECK) {
        return Err(StoreError::VaultSeed { path });
    }
    let conn = Mutex::new(conn);
    Ok(Keyring::from_fn(move |id| {
        let conn = conn.lock().unwrap_or_else(PoisonError::into_inner);
        secret(&conn, &wrap, id).ok().flatten()
    }))
}

fn connect(path: &Path) -> Result<Connection, StoreError> {
    private::create(path).map_err(StoreError::io(path))?;
    let conn = Connection::open(path)?;
    conn.busy_timeout(BUSY)?;
    // What is deleted is overwritten, in the file and in the journal, and every commit is on disk before it returns.
    conn.pragma_update(None, "secure_delete", true)?;
    conn.pragma_update(None, "journal_mode", "TRUNCATE")?;
    conn.pragma_update(None, "synchronous", "FULL")?;
    conn.pragma_update(None, "trusted_schema", false)?;
    let version: i64 = conn.pragma_query_value(None, "user_version", |row| row.get(0))?;
    match version {
        0 => {
            let tx = conn.unchecked_transaction()?;
            tx.execute_batch(include_str!("../db/migrations/keys_0001.sql"))?;
            tx.pragma_update(None, "user_version", 1)?;
            tx.commit()?;
        }
        1 => {}
        found => return Err(StoreError::SchemaTooNew { found, known: 1 }),
    }
    Ok(conn)
}

fn secret(conn: &Connection, wrap: &LessSafeKey, id: &KeyId) -> rusqlite::Result<Option<SubjectKey>> {
    let wrapped: Option<Option<Vec<u8>>> = conn
        .prepare_cached("SELECT wrapped FROM keys WHERE key_id = ?1")?
        .query_row([id.as_str()], |row| row.get(0))
        .optional()?;
    Ok(wrapped.flatten().and_then(|wrapped| unwrap(wrap, id.as_str(), &wrapped)))
}

fn value(conn: &Connection, name: &str) -> rusqlite::Result<Option<Vec<u8>>> {
    conn.query_row("SELECT value FROM vault WHERE name = ?1", [name], |row| row.get(0)).optional()
}

fn wrap_key(seed: &[u8; 32]) -> Result<LessSafeKey, StoreError> {
    let extracted = hkdf::Salt::new(hkdf::HKDF_SHA256, &[]).extract(seed);
    let expanded = extracted.expand(&[b"remit vault wrap"], &AES_256_GCM);
    let expanded = expanded.map_err(|_| StoreError::Corrupt("the wrapping key was refused".to_owned()))?;
    Ok(LessSafeKey::new(UnboundKey::from(expanded)))
}

fn seal(wrap: &LessSafeKey, name: &str, secret: &[u8; 32], entropy: &Entropy) -> Result<Vec<u8>, StoreError> {
    let nonce: [u8; NONCE_LEN] = entropy.bytes();
    let mut sealed = secret.to_vec();
    wrap.seal_in_place_append_tag(Nonce::assume_unique_for_key(nonce), Aad::from(name.as_bytes()), &mut sealed)
        .map_err(|_| StoreError::Corrupt("a key could not be wrapped".to_owned()))?;
    Ok([&nonce[..], &sealed].concat())
}

/// `None` when it was wrapped by another key, or for another name.
fn unwrap(wrap: &LessSafeKey, name: &str, wrapped: &[u8]) -> Option<SubjectKey> {
    let (nonce, sealed) = wrapped.split_first_chunk::<NONCE_LEN>()?;
    let mut plain = zeroize::Zeroizing::new(sealed.to_vec());
    let nonce = Nonce::assume_unique_for_key(*nonce);
    let opened = wrap.open_in_place(nonce, Aad::from(name.as_bytes()), &mut plain).ok()?;
    Some(SubjectKey::new(<[u8; 32]>::try_from(&*opened).ok()?))
}

fn inode(path: &Path) -> Option<(u64, u64)> {
    std::fs::metadata(path).ok().map(|meta| (meta.dev(), meta.ino()))
}
