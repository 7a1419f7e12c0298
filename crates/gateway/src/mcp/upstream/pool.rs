//! The open links to one upstream: bounded, each used by one legacy session or one chain of delegation, idle ones closed.

use super::{http_client::Dialer, link::Link, message::LinkFailure, process_group::ProcessGroups};
use crate::{
    mcp::{owner::Owner, revision::ClientProfile},
    settings::{Route, Settings, Upstream},
};
use remit_model::refusal::{Code, Refusal};
use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU8, Ordering},
    },
    time::Duration,
};
use tokio::sync::OnceCell;

/// Whose link it is. Callers of different chains never share what an upstream keeps for a session.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum LinkKey {
    /// A stateless upstream: one link for all.
    Shared,
    /// A legacy client session.
    Session(String),
    /// A stateless client: the party and the chain its authority came by.
    Owner(Owner),
}

/// Links to one upstream.
#[derive(Debug)]
pub(crate) struct Pool {
    /// The server's name in the configuration, for the log.
    name: String,
    upstream: Upstream,
    /// How long opening a link may take.
    start_timeout: Duration,
    groups: ProcessGroups,
    settings: Arc<Settings>,
    dialer: Dialer,
    slots: Mutex<HashMap<LinkKey, Slot>>,
    /// 0 unknown, 1 legacy, 2 stateless: learnt from the first link.
    era: AtomicU8,
}

#[derive(Debug)]
struct Slot {
    cell: Arc<OnceCell<Arc<Link>>>,
    /// Monotonic nanoseconds of the last use.
    used: u64,
}

impl Pool {
    pub(crate) fn new(route: &Route, settings: Arc<Settings>, groups: ProcessGroups) -> Self {
        Self {
            name: route.server.id.to_string(),
            upstream: route.upstream.clone(),
            start_timeout: route.start_timeout.unwrap_or(settings.connect_timeout),
            groups,
            dialer: Dialer::new(&settings),
            settings,
            slots: Mutex::default(),
            era: AtomicU8::new(0),
        }
    }

    /// The link of this key, opened if need be. Two callers with one key share one opening.
    pub(crate) async fn link(&self, key: &LinkKey, client: Option<&ClientProfile>, now_ns: u64) -> Result<Arc<Link>, Refusal> {
        let key = if self.is_stateless() { &LinkKey::Shared } else { key };
        let cell = self.slot(key, now_ns)?;
        let opened = cell.get_or_try_init(|| self.open(client)).await;
        match opened {
            Ok(link) => {
                let link = Arc::clone(link);
                if link.is_shared() && *key != LinkKey::Shared {
                    self.share(key);
                }
                Ok(link)
            }
            Err(broken) => {
                self.forget(key);
                Err(broken.refusal(&self.name))
            }
        }
    }

    /// Whether the upstream is known to keep nothing of its callers.
    pub(crate) fn is_stateless(&self) -> bool {
        matches!(self.upstream, Upstream::Http { .. }) && self.era.load(Ordering::Relaxed) == 2
    }

    async fn open(&self, client: Option<&ClientProfile>) -> Result<Arc<Link>, LinkFailure> {
        let known = match self.era.load(Ordering::Relaxed) {
            0 => None,
            era => Some(era == 2),
        };
        let limit = self.start_timeout;
        let silent = ClientProfile::silent();
        let means = (&self.dialer, &self.groups);
        let opening = Link::open(&self.name, &self.upstream, means, &self.settings, client.unwrap_or(&silent), known);
        let late = || LinkFailure::Unavailable(format!("the link was not open after {} s (start_timeout_s)", limit.as_secs()));
        let link = tokio::time::timeout(limit, opening).await.unwrap_or_else(|_| Err(late()))?;
        self.era.store(if link.is_modern() { 2 } else { 1 }, Ordering::Relaxed);
        Ok(Arc::new(link))
    }

    /// A slot for the key; the longest unused idle link makes room when the pool is full.
    fn slot(&self, key: &LinkKey, now_ns: u64) -> Result<Arc<OnceCell<Arc<Link>>>, Refusal> {
        let mut slots = self.lock();
        let usable = |slot: &Slot| slot.cell.get().is_none_or(|link| link.is_open());
        if let Some(slot) = slots.get_mut(key).filter(|slot| usable(slot)) {
            slot.used = now_ns;
            return Ok(Arc::clone(&slot.cell));
        }
        slots.retain(|_, slot| usable(slot));
        if slots.len() >= self.settings.links {
            let idle = slots
                .iter()
                .filter(|(_, slot)| slot.cell.get().is_some_and(|link| Arc::strong_count(link) == 1))
                .min_by_key(|(_, slot)| slot.used)
                .map(|(key, _)| key.clone());
            match idle.and_then(|key| slots.remove(&key)) {
                Some(slot) => close_later(&slot),
                None => return Err(Refusal::new(Code::RateLimited, "too many sessions with this upstream are in use")),
            }
        }
        let slot = slots.entry(key.clone()).or_insert_with(|| Slot { cell: Arc::default(), used: now_ns });
        Ok(Arc::clone(&slot.cell))
    }

    /// Closes links nobody has used since this time.
    pub(crate) fn sweep(&self, before_ns: u64) {
        let mut slots = self.lock();
        let idle: Vec<_> = slots
            .iter()
            .filter(|(_, slot)| slot.used < before_ns && slot.cell.get().is_some_and(|link| Arc::strong_count(link) == 1))
            .map(|(key, _)| key.clone())
            .collect();
        for slot in idle.iter().filter_map(|key| slots.remove(key)) {
            close_later(&slot);
        }
    }

    /// Closes the link of a key.
    pub(crate) fn drop_link(&self, key: &LinkKey) {
        if let Some(slot) = self.lock().remove(key) {
            close_later(&slot);
        }
    }

    /// Closes every link, for a stop.
    pub(crate) fn close_all(&self) {
        for (_, slot) in self.lock().drain() {
            close_later(&slot);
        }
    }

    /// A stateless upstream turned up under one caller's key: from now on it is everybody's.
    fn share(&self, key: &LinkKey) {
        let mut slots = self.lock();
        if let Some(slot) = slots.remove(key) {
            slots.entry(LinkKey::Shared).or_insert(slot);
        }
    }

    /// Forgets what was learnt about an upstream that no longer behaves so.
    pub(crate) fn forget(&self, key: &LinkKey) {
        self.lock().remove(key);
        self.era.store(0, Ordering::Relaxed);
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<LinkKey, Slot>> {
        self.slots.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn close_later(slot: &Slot) {
    if let Some(link) = slot.cell.get().cloned() {
        tokio::spawn(async move { link.close().await });
    }
}
