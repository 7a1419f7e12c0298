//! Sessions of the older era: a name for a conversation, never an authority.
//!
//! SPEC: MG-13, MG-16, N-MG-14, N-MG-18: a session belongs to the party that opened it, by the chain it held; every
//! request is identified anew. The map is bounded and forgets idle sessions.

use crate::{
    mcp::{
        envelope::Response,
        owner::Owner,
        revision::{ClientProfile, Revision},
        upstream::link::Link,
    },
    road::identify::Caller,
};
use remit_ledger::Draft;
use remit_model::refusal::{Code, Refusal};
use serde_json::{Value, json};
use std::{
    collections::HashMap,
    fmt,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
};
use tokio::sync::{Notify, mpsc, oneshot};

/// Most sessions of one owner.
const OWNER_LIMIT: usize = 64;
/// Most unanswered questions of the upstream to one client.
const ASKED_LIMIT: usize = 64;

/// One session.
#[derive(Debug)]
pub(crate) struct Session {
    pub(crate) id: String,
    owner: Owner,
    server: String,
    pub(crate) revision: Revision,
    pub(crate) client: ClientProfile,
    used: AtomicU64,
    /// Requests under way, by the JSON text of their id.
    running: Mutex<HashMap<String, Running>>,
    /// Some call of this session showed only part of its answer.
    restricted: AtomicBool,
    /// Questions passed on to the client: our id to the upstream's id and link.
    asked: Mutex<HashMap<String, (Value, Arc<Link>)>>,
    next: AtomicU64,
    closing: Mutex<Option<CloseRecord>>,
}

#[derive(Debug)]
struct Running {
    /// Notified to cancel.
    cancelled: Arc<Notify>,
    /// The grants that allowed it show only part of its answer.
    restricted: bool,
}

/// What is recorded when a session ends because it was idle.
struct CloseRecord {
    draft: Draft,
    why: &'static str,
    /// The session's place in the queue of ends: whenever it ends, there is room.
    to: mpsc::OwnedPermit<SessionEnd>,
}

impl fmt::Debug for CloseRecord {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Closing").field("why", &self.why).finish_non_exhaustive()
    }
}

/// For the task that records how sessions ended.
pub(crate) enum SessionEnd {
    Record(Box<Draft>),
    /// Answered when everything before it is recorded.
    Flush(oneshot::Sender<()>),
}

impl Session {
    /// The session is open on record: `draft` is what will be recorded of its end, once no request of it runs any more.
    pub(crate) fn opened(&self, draft: Draft, to: mpsc::OwnedPermit<SessionEnd>) {
        *lock(&self.closing) = Some(CloseRecord { draft, why: "idle", to });
    }

    /// Why it ends; the first reason counts.
    pub(crate) fn ends(&self, why: &'static str) {
        if let Some(closing) = lock(&self.closing).as_mut().filter(|closing| closing.why == "idle") {
            closing.why = why;
        }
    }

    /// Notes a request under way, for as long as the guard lives. `restricted`: the grants that allowed it show only part of its
    /// answer.
    pub(crate) fn running(self: &Arc<Self>, id: &Value, restricted: bool) -> ActiveRequest {
        let cancelled = Arc::new(Notify::new());
        let key = id.to_string();
        self.restricted.fetch_or(restricted, Ordering::Relaxed);
        lock(&self.running).insert(key.clone(), Running { cancelled: Arc::clone(&cancelled), restricted });
        ActiveRequest { session: Arc::clone(self), key, cancelled }
    }

    /// Cancels a request the client no longer wants.
    pub(crate) fn cancel(&self, id: &Value) {
        if let Some(running) = lock(&self.running).get(&id.to_string()) {
            running.cancelled.notify_one();
        }
    }

    /// Whether a message that belongs to no request may hold what is withheld from the caller: the grants that allowed the calls
    /// of the session decide. A question belongs to a call under way; anything else may come late.
    pub(crate) fn shows_only_fields(&self, question: bool) -> bool {
        let running = lock(&self.running);
        if question && !running.is_empty() {
            return running.values().any(|call| call.restricted);
        }
        self.restricted.load(Ordering::Relaxed)
    }

    /// Gives a question of the upstream an id of ours; `None` when too many are open.
    pub(crate) fn ask(&self, upstream_id: &Value, link: &Arc<Link>) -> Option<String> {
        let mut asked = lock(&self.asked);
        if asked.len() >= ASKED_LIMIT {
            return None;
        }
        let id = format!("remit-{}", self.next.fetch_add(1, Ordering::Relaxed));
        asked.insert(id.clone(), (upstream_id.clone(), Arc::clone(link)));
        Some(id)
    }

    /// Where a client's answer goes; `None` for an answer to nothing.
    pub(crate) fn answered(&self, response: Response) -> Option<(Response, Arc<Link>)> {
        let (id, link) = lock(&self.asked).remove(response.id.as_str()?)?;
        Some((Response { id, ..response }, link))
    }
}

impl Drop for Session {
    /// SPEC: record.md §1.9 (3): the last request of a session is recorded before its close.
    fn drop(&mut self) {
        if let Some(closing) = lock(&self.closing).take() {
            let draft = closing.draft.ext("closed", json!({"why": closing.why}));
            drop(closing.to.send(SessionEnd::Record(Box::new(draft))));
        }
    }
}

/// A request under way.
#[derive(Debug)]
pub(crate) struct ActiveRequest {
    session: Arc<Session>,
    key: String,
    pub(crate) cancelled: Arc<Notify>,
}

impl Drop for ActiveRequest {
    fn drop(&mut self) {
        lock(&self.session.running).remove(&self.key);
    }
}

/// All sessions of the process.
#[derive(Debug)]
pub(crate) struct Sessions {
    map: Mutex<HashMap<String, Arc<Session>>>,
    limit: usize,
    idle_ns: u64,
}

/// What a new session begins with.
#[derive(Debug)]
pub(crate) struct Opening {
    pub(crate) id: String,
    pub(crate) server: String,
    pub(crate) revision: Revision,
    pub(crate) client: ClientProfile,
}

impl Sessions {
    pub(crate) fn new(limit: usize, idle_ns: u64) -> Self {
        Self { map: Mutex::default(), limit, idle_ns }
    }

    /// Opens a session; an owner with too many loses its oldest. Returns the sessions that made room.
    pub(crate) fn open(
        &self,
        opening: Opening,
        caller: &Caller,
        now_ns: u64,
    ) -> Result<(Arc<Session>, Vec<Arc<Session>>), Refusal> {
        let owner = Owner::of(caller);
        let mut map = lock(&self.map);
        let mut gone = sweep(&mut map, now_ns.saturating_sub(self.idle_ns));
        let own: Vec<_> = map
            .values()
            .filter(|session| session.owner == owner)
            .map(|s| (s.used.load(Ordering::Relaxed), s.id.clone()))
            .collect();
        if own.len() >= OWNER_LIMIT
            && let Some((_, oldest)) = own.iter().min()
        {
            gone.extend(map.remove(oldest));
        }
        if map.len() >= self.limit {
            return Err(Refusal::new(Code::RateLimited, "too many sessions are open; try again later"));
        }
        let Opening { id, server, revision, client } = opening;
        let session = Arc::new(Session {
            id: id.clone(),
            owner,
            server,
            revision,
            client,
            used: AtomicU64::new(now_ns),
            running: Mutex::default(),
            restricted: AtomicBool::new(false),
            asked: Mutex::default(),
            next: AtomicU64::new(1),
            closing: Mutex::default(),
        });
        map.insert(id, Arc::clone(&session));
        Ok((session, gone))
    }

    /// The session of this id, if it is this caller's.
    ///
    /// # Errors
    /// `session_unknown`, `session_foreign`.
    pub(crate) fn find(&self, id: &str, server: &str, caller: &Caller, now_ns: u64) -> Result<Arc<Session>, Refusal> {
        let session = lock(&self.map).get(id).cloned();
        let session = session
            .filter(|session| {
                session.server == server && now_ns.saturating_sub(session.used.load(Ordering::Relaxed)) <= self.idle_ns
            })
            .ok_or_else(|| Refusal::new(Code::SessionUnknown, "there is no such session; initialize again"))?;
        if session.owner != Owner::of(caller) {
            return Err(Refusal::new(Code::SessionForeign, "this session was opened by another party or for another delegation"));
        }
        session.used.store(now_ns, Ordering::Relaxed);
        Ok(session)
    }

    pub(crate) fn close(&self, id: &str, why: &'static str) {
        let closed = lock(&self.map).remove(id);
        if let Some(session) = closed {
            session.ends(why);
        }
    }

    /// Ends all sessions.
    pub(crate) fn close_all(&self, why: &'static str) -> Vec<String> {
        let sessions = std::mem::take(&mut *lock(&self.map));
        for session in sessions.values() {
            session.ends(why);
        }
        sessions.into_keys().collect()
    }

    /// Takes out idle sessions.
    pub(crate) fn sweep(&self, now_ns: u64) -> Vec<Arc<Session>> {
        sweep(&mut lock(&self.map), now_ns.saturating_sub(self.idle_ns))
    }
}

fn sweep(map: &mut HashMap<String, Arc<Session>>, before_ns: u64) -> Vec<Arc<Session>> {
    let idle: Vec<_> =
        map.values().filter(|session| session.used.load(Ordering::Relaxed) < before_ns).map(|s| s.id.clone()).collect();
    idle.iter().filter_map(|id| map.remove(id)).collect()
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
