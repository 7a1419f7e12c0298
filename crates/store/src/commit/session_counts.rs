//! Counts that make silence and gaps visible: by session, since the last heartbeat, over the epoch.
//! SPEC: record.md §1.9 (1), (3), (4).

use crate::db::{error::DbError, group::OpenSessions, sqlite::Db};
use remit_ledger::record::{Draft, RecordType, Turn};
use rpds::{HashTrieMapSync, HashTrieSetSync};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use std::sync::Arc;

/// Records by type.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Counts {
    /// Index of the first record counted.
    from: u64,
    records: u64,
    /// In the order of `RecordType::ALL`.
    types: [u64; RecordType::ALL.len()],
}

impl Counts {
    fn add(&mut self, kind: RecordType) {
        self.records = self.records.saturating_add(1);
        let at = RecordType::ALL.iter().position(|known| *known == kind);
        if let Some(count) = at.and_then(|at| self.types.get_mut(at)) {
            *count = count.saturating_add(1);
        }
    }

    fn types(&self) -> Value {
        let named = RecordType::ALL.iter().zip(self.types).filter(|(_, count)| *count > 0);
        Value::Object(named.map(|(kind, count)| (kind.as_str().to_owned(), json!(count.to_string()))).collect::<Map<_, _>>())
    }

    fn to_value(&self) -> Value {
        json!({"from": self.from.to_string(), "records": self.records.to_string(), "types": self.types()})
    }
}

/// A session that is open.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Session {
    counts: Counts,
    /// Index of its latest record.
    latest: u64,
    /// `record_id` of the record that opened it.
    opened: Option<String>,
}

/// Records after which the open sessions are written down again: a start after a crash reads so many, whatever the
/// size of the log.
const KEEP_EVERY: u64 = 8_192;

/// All counts of the running epoch. Cloning is cheap.
#[derive(Clone, Debug, Default)]
pub(crate) struct SessionCounts {
    /// The first index that the sessions written down do not count.
    kept: u64,
    since: Counts,
    epoch: Counts,
    sessions: HashTrieMapSync<Arc<str>, Arc<Session>>,
    /// Sessions that are written down, open or not.
    written: HashTrieSetSync<Arc<str>>,
}

impl SessionCounts {
    /// The place of a draft in its session and the counts it states; `index` is the one it will have.
    pub(crate) fn enter(&mut self, draft: &Draft, index: u64) -> Turn {
        let mut turn = Turn { session_seq: None, ..Turn::of(draft) };
        let kind = draft.record_type;
        let control = if kind == RecordType::LogControl { draft.action.name.as_str() } else { "" };
        match (kind, control) {
            (_, "start") => {
                self.epoch = Counts { from: index, ..Counts::default() };
                self.since = Counts { from: index.saturating_add(1), ..Counts::default() };
            }
            (RecordType::Heartbeat, _) | (_, "stop") => {
                turn.ext.insert("counts".to_owned(), self.since.to_value());
                if control == "stop" {
                    turn.ext.insert("epoch".to_owned(), self.epoch.to_value());
                }
                self.since = Counts { from: index.saturating_add(1), ..Counts::default() };
            }
            _ => self.since.add(kind),
        }
        self.epoch.add(kind);
        if let Some(id) = &draft.session.id {
            let mut session = self.sessions.get(id.as_str()).map_or_else(Session::default, |known| Session::clone(known));
            turn.session_seq = Some(session.counts.records);
            self.join(id, &mut session, kind, index);
            if kind == RecordType::SessionClose {
                let counts = json!({"records": session.counts.records.to_string(), "types": session.counts.types()});
                turn.ext.insert("session".to_owned(), counts);
            }
        }
        turn
    }

    fn join(&mut self, id: &str, session: &mut Session, kind: RecordType, index: u64) {
        if session.counts.records == 0 {
            session.counts.from = index;
        }
        session.counts.add(kind);
        session.latest = index;
        if kind == RecordType::SessionClose {
            self.sessions.remove_mut(id);
        } else {
            self.sessions.insert_mut(Arc::from(id), Arc::new(session.clone()));
        }
    }

    /// Remembers which record opened a session.
    pub(crate) fn sealed(&mut self, session: Option<&str>, kind: RecordType, record_id: &str) {
        let Some(id) = session.filter(|_| kind == RecordType::SessionOpen) else { return };
        if let Some(known) = self.sessions.get(id) {
            let session = Session { opened: Some(record_id.to_owned()), ..Session::clone(known) };
            self.sessions.insert_mut(Arc::from(id), Arc::new(session));
        }
    }

    /// Sessions that are open, with the record that opened each.
    pub(crate) fn open(&self) -> Vec<(String, Option<String>)> {
        let mut open: Vec<_> =
            self.sessions.iter().map(|(id, session)| (session.counts.from, id.to_string(), session.opened.clone())).collect();
        open.sort();
        open.into_iter().map(|(_, id, opened)| (id, opened)).collect()
    }

    /// Whether the open sessions should be written down after this record, `next` being the index that follows.
    pub(crate) fn is_due(&self, draft: &Draft, next: u64) -> bool {
        let ends = draft.record_type == RecordType::LogControl && draft.action.name == "stop";
        ends || draft.record_type == RecordType::Heartbeat || next.saturating_sub(self.kept) >= KEEP_EVERY
    }

    /// The open sessions as of the record before `next`, to be written down, so that a start after a crash need only read
    /// from there.
    pub(crate) fn keep(&mut self, next: u64) -> OpenSessions {
        let closed = self.written.iter().filter(|id| !self.sessions.contains_key(&***id));
        let gone: Vec<Arc<str>> = closed.cloned().collect();
        for id in &gone {
            self.written.remove_mut(id);
        }
        let mut changed = Vec::new();
        for (id, session) in self.sessions.iter().filter(|(_, session)| session.latest >= self.kept) {
            // A session is three numbers and a name: it always has a form.
            if let Ok(body) = serde_json::to_string(session.as_ref()) {
                self.written.insert_mut(Arc::clone(id));
                changed.push((Arc::clone(id), body));
            }
        }
        self.kept = next;
        OpenSessions { gone, changed, upto: next }
    }

    /// The sessions that were open when the last process ended: those written down, and what the records since say.
    pub(crate) fn load(db: &Db) -> Result<Self, DbError> {
        let (written, kept) = db.sessions()?;
        let mut counts = Self { kept, ..Self::default() };
        for (id, body) in written {
            let id = Arc::<str>::from(id);
            counts.written.insert_mut(Arc::clone(&id));
            if let Ok(session) = serde_json::from_str::<Session>(&body) {
                counts.sessions.insert_mut(id, Arc::new(session));
            }
        }
        db.records_from(kept, |index, bytes| {
            let Ok(seen) = serde_json::from_slice::<Seen>(bytes) else { return };
            let kind = RecordType::ALL.iter().find(|kind| kind.as_str() == seen.record_type);
            if let (Some(id), Some(kind)) = (seen.session.and_then(|session| session.id), kind) {
                let mut session = counts.sessions.get(id.as_str()).map_or_else(Session::default, |known| Session::clone(known));
                counts.join(&id, &mut session, *kind, index);
                counts.sealed(Some(&id), *kind, &seen.record_id);
            }
        })?;
        Ok(counts)
    }
}

/// What of a stored record the counts need.
#[derive(Deserialize)]
struct Seen {
    record_id: String,
    record_type: String,
    session: Option<SeenSession>,
}

#[derive(Deserialize)]
struct SeenSession {
    id: Option<String>,
}
