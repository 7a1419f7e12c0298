//! The desk: its database, and its list of the requests that reached it.

use crate::{error::DeskError, seed};
use http::HeaderMap;
use rusqlite::Connection;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use std::{
    collections::{BTreeMap, VecDeque},
    fmt,
    fs::File,
    io::Write as _,
    path::Path,
    sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError},
};

/// How many of the latest requests [`Desk::received`] remembers.
const REMEMBERED: usize = 4096;

/// The helpdesk's database and its account of what reached it; cheap to clone, all clones are one desk.
#[derive(Clone)]
pub struct Desk {
    inner: Arc<Inner>,
}

struct Inner {
    database: Mutex<Connection>,
    account: Mutex<Account>,
    /// The desk's own log of calls, when it keeps one.
    log: OnceLock<Mutex<File>>,
}

#[derive(Default)]
struct Account {
    calls: BTreeMap<String, u64>,
    received: VecDeque<Received>,
}

/// One request as it arrived: what a gateway let through, and with which headers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Received {
    /// A tool's name for `tools/call`, else the MCP method, or the HTTP method and path of a REST request.
    pub action: String,
    /// Names in lower case, in the order they came.
    pub headers: Vec<(String, String)>,
}

impl Received {
    /// The value of a request header, by its name in lower case.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }
}

impl Desk {
    /// A desk in memory with the sample data; gone when the last clone is dropped.
    ///
    /// # Errors
    /// [`DeskError::Storage`].
    pub fn seeded() -> Result<Self, DeskError> {
        Self::over(Connection::open_in_memory()?)
    }

    /// A desk in a file, which gets the sample data when it is new and keeps what happened when it is not.
    ///
    /// # Errors
    /// [`DeskError::Storage`].
    pub fn open(path: &Path) -> Result<Self, DeskError> {
        Self::over(Connection::open(path)?)
    }

    fn over(connection: Connection) -> Result<Self, DeskError> {
        seed::prepare(&connection)?;
        Ok(Self { inner: Arc::new(Inner { database: Mutex::new(connection), account: Mutex::default(), log: OnceLock::new() }) })
    }

    /// How often each action reached this desk, refused calls not among them if the gateway did its work.
    pub fn calls(&self) -> BTreeMap<String, u64> {
        self.account().calls.clone()
    }

    /// How often one action reached this desk.
    pub fn calls_of(&self, action: &str) -> u64 {
        self.account().calls.get(action).copied().unwrap_or(0)
    }

    /// The latest requests, oldest first.
    pub fn received(&self) -> Vec<Received> {
        self.account().received.iter().cloned().collect()
    }

    /// Keeps a log of its own from now on: for every tool call a line of JSON with the tool's `name`, the `digest` of the
    /// request (SHA-256 of the JCS of name and arguments) and as `call` what the caller named it in `_meta`. A second log
    /// is not begun.
    ///
    /// # Errors
    /// The file cannot be opened for appending.
    pub fn log_to(&self, file: &Path) -> Result<(), std::io::Error> {
        let log = File::options().create(true).append(true).open(file)?;
        let _ = self.inner.log.set(Mutex::new(log));
        Ok(())
    }

    /// Writes a tool call down before it runs.
    pub(crate) fn log(&self, name: &str, params: &Value) -> Result<(), std::io::Error> {
        let Some(log) = self.inner.log.get() else { return Ok(()) };
        let arguments = params.get("arguments").filter(|arguments| !arguments.is_null()).cloned().unwrap_or_else(|| json!({}));
        let request = serde_json_canonicalizer::to_vec(&json!({ "name": name, "arguments": arguments })).unwrap_or_default();
        let mut hex = String::new();
        for byte in Sha256::digest(&request) {
            let _ = fmt::Write::write_fmt(&mut hex, format_args!("{byte:02x}"));
        }
        let call = params.get("_meta").and_then(|meta| meta.get("remit/record")).and_then(Value::as_str);
        let line = json!({ "call": call, "digest": format!("sha-256:{hex}"), "name": name });
        let mut log = log.lock().unwrap_or_else(PoisonError::into_inner);
        writeln!(log, "{line}")
    }

    pub(crate) fn note(&self, action: &str, headers: &HeaderMap) {
        let headers = headers
            .iter()
            .map(|(name, value)| (name.as_str().to_owned(), String::from_utf8_lossy(value.as_bytes()).into_owned()))
            .collect();
        let mut account = self.account();
        *account.calls.entry(action.to_owned()).or_default() += 1;
        if account.received.len() == REMEMBERED {
            account.received.pop_front();
        }
        account.received.push_back(Received { action: action.to_owned(), headers });
    }

    pub(crate) fn database(&self) -> MutexGuard<'_, Connection> {
        // A panic under the lock leaves at most an open transaction, which SQLite rolls back when its guard drops.
        self.inner.database.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn account(&self) -> MutexGuard<'_, Account> {
        // A thread that panicked between two counter updates leaves counters that are still counters.
        self.inner.account.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Desk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Desk").field("calls", &self.account().calls).finish_non_exhaustive()
    }
}
