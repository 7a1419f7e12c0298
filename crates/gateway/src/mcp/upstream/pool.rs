//! The open links to one upstream: bounded, each used by one legacy session or one chain of delegation, idle ones closed.

use super::{http_client::Dialer, link::Link, message::LinkFailure, process_group::ProcessGroups};
use crate::{
    mcp::{
        owner::Owner,
        revision::{ClientProfile, Era},
    },
    settings::{Route, Settings, Upstream},
};
use remit_model::refusal::{Code, Refusal};
use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
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
    /// A stateless client: the party, the chain its authority came by, and the JSON text of what it can be asked.
    Owner(Owner, String),
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
    /// What was learnt of the eras that the upstream speaks.
    known: Mutex<Known>,
}

/// Whether the upstream speaks an era; `None` until it was tried.
#[derive(Clone, Copy, Debug, Default)]
struct Known {
    session: Option<bool>,
    stateless: Option<bool>,
}

impl Known {
    fn of(&mut self, era: Era) -> &mut Option<bool> {
        match era {
            Era::Session => &mut self.session,
            Era::Stateless => &mut self.stateless,
        }
    }
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
            known: Mutex::default(),
        }
    }

    /// The link of this key, opened if need be, and the key it is kept under. Two callers with one key share one opening.
    ///
    /// A client session is linked in its own era when the upstream speaks it: sampling, elicitation and subscriptions are
    /// said differently in the other one.
    pub(crate) async fn link(&self, key: LinkKey, client: &ClientProfile, now_ns: u64) -> Result<(LinkKey, Arc<Link>), Refusal> {
        let key = if self.is_shared(&key) { LinkKey::Shared } else { key };
        let cell = self.slot(&key, now_ns)?;
        let opened = cell.get_or_try_init(|| self.open(&key, client)).await;
        match opened {
            Ok(link) => {
                let link = Arc::clone(link);
                if link.is_shared() && key != LinkKey::Shared {
                    self.share(&key);
                    return Ok((LinkKey::Shared, link));
                }
                Ok((key, link))
            }
            Err(broken) => {
                self.lock().remove(&key);
                self.unlearn();
                Err(broken.refusal(&self.name))
            }
        }
    }

    /// Whether callers with this key share one link, because the upstream keeps nothing of them.
    fn is_shared(&self, key: &LinkKey) -> bool {
        let known = *self.known();
        let stateless = match key {
            LinkKey::Shared => true,
            LinkKey::Owner(..) => known.stateless == Some(true),
            LinkKey::Session(_) => known.stateless == Some(true) && known.session == Some(false),
        };
        stateless && matches!(self.upstream, Upstream::Http { .. })
    }

    async fn open(&self, key: &LinkKey, client: &ClientProfile) -> Result<Arc<Link>, LinkFailure> {
        let eras = match key {
            LinkKey::Session(_) => [Era::Session, Era::Stateless],
            LinkKey::Owner(..) | LinkKey::Shared => [Era::Stateless, Era::Session],
        };
        let mut known = *self.known();
        let eras: Vec<Era> = eras.into_iter().filter(|era| *known.of(*era) != Some(false)).collect();
        let limit = self.start_timeout;
        let means = (&self.dialer, &self.groups);
        let opening = Link::open(&self.name, &self.upstream, means, &self.settings, client, &eras);
        let late = || LinkFailure::Unavailable(format!("the link was not open after {} s (start_timeout_s)", limit.as_secs()));
        let link = tokio::time::timeout(limit, opening).await.unwrap_or_else(|_| Err(late()))?;
        let spoken = if link.is_modern() { Era::Stateless } else { Era::Session };
        let mut known = self.known();
        // Those before it were tried and not spoken.
        for era in eras.into_iter().take_while(|era| *era != spoken) {
            *known.of(era) = Some(false);
        }
        *known.of(spoken) = Some(true);
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

    /// Closes links that were not used since this time.
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

    /// Drops a link that the upstream does not know any more, and what was learnt about an upstream that no longer behaves
    /// so. A link that another caller has opened in its place stays.
    pub(crate) fn forget(&self, key: &LinkKey, link: &Arc<Link>) {
        let mut slots = self.lock();
        if slots.get(key).is_some_and(|slot| slot.cell.get().is_some_and(|kept| Arc::ptr_eq(kept, link))) {
            slots.remove(key);
        }
        drop(slots);
        self.unlearn();
    }

    fn unlearn(&self) {
        *self.known() = Known::default();
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
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
