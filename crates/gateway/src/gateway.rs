//! The gateway's state: what it was given, and the bounded memory it keeps.

use crate::{
    mcp::{
        request_state::RequestState,
        session::{SessionEnd, Sessions},
        suspended::SuspendedCalls,
        upstream::{pool::LinkKey, process_group::ProcessGroups},
    },
    mount::Mount,
    road::identify::Gatekeeper,
    settings::{Route, Settings},
};
use remit_clock::{Clock, Entropy};
use remit_model::{RateLimits, Refusal, TenantId};
use remit_policy::Live;
use remit_store::{Batch, Store};
use remit_token::dpop::Nonces;
use std::{
    collections::HashMap,
    sync::{Arc, Weak},
    time::Duration,
};
use tokio::{
    sync::{mpsc, oneshot, watch},
    time::timeout,
};

/// How often idle sessions and links are looked for.
const SWEEP: Duration = Duration::from_secs(30);

/// How long a stop waits for the last requests of sessions, whose clients have gone.
const SESSIONS_WAIT: Duration = Duration::from_secs(2);

/// How long a stop waits for stdio servers to end: each of the three steps, and some room.
const CLOSE_WAIT: Duration = Duration::from_secs(6);

/// Everything the gateway works with.
#[derive(Debug)]
pub struct Parts {
    pub store: Store,
    pub policy: Arc<Live>,
    pub clock: Clock,
    pub entropy: Entropy,
    pub routes: Vec<Route>,
    /// Shared with the authorization server of the same origin.
    pub nonces: Arc<Nonces>,
    pub settings: Settings,
}

/// The enforcement point; one for the process, shared by all requests.
#[derive(Debug)]
pub struct Gateway {
    pub(crate) store: Store,
    pub(crate) policy: Arc<Live>,
    pub(crate) clock: Clock,
    pub(crate) entropy: Entropy,
    pub(crate) settings: Arc<Settings>,
    pub(crate) gatekeeper: Gatekeeper,
    rates: RateLimits,
    pub(crate) sessions: Sessions,
    pub(crate) request_state: RequestState,
    pub(crate) suspended: SuspendedCalls,
    pub(crate) mounts: HashMap<String, Arc<Mount>>,
    /// Every stdio server's processes.
    groups: ProcessGroups,
    /// The queue of ends to be recorded. Each open session has a place in it, and there is one more for a flush.
    pub(crate) closing: mpsc::Sender<SessionEnd>,
    /// Turns true when the process begins to stop: open streams end.
    stopping: watch::Sender<bool>,
}

impl Gateway {
    /// Puts the parts together, inside a Tokio runtime. Nothing is opened before the first request needs it.
    pub fn new(parts: Parts) -> Arc<Self> {
        let Parts { store, policy, clock, entropy, routes, nonces, mut settings } = parts;
        settings.recheck = settings.recheck.max(Duration::from_millis(1));
        let settings = Arc::new(settings);
        let groups = ProcessGroups::new(settings.guard.clone());
        let mount = |route: Route| (route.server.id.to_string(), Arc::new(Mount::new(route, &settings, &groups)));
        let mounts = routes.into_iter().map(mount).collect();
        // Sessions whose last request still runs have left the map; they keep their places.
        let (closing, ended) = mpsc::channel(settings.sessions.saturating_mul(2).max(1));
        tokio::spawn(Self::record_ends(store.clone(), settings.tenant.clone(), ended));
        let gateway = Arc::new(Self {
            closing,
            stopping: watch::Sender::new(false),
            rates: RateLimits::new(settings.rate),
            gatekeeper: Gatekeeper::new(nonces, &settings, &store),
            sessions: Sessions::new(settings.sessions, nanos(settings.session_idle)),
            request_state: RequestState::new(&entropy.bytes()),
            suspended: SuspendedCalls::default(),
            mounts,
            groups,
            store,
            policy,
            clock,
            entropy,
            settings,
        });
        tokio::spawn(Self::sweep(Arc::downgrade(&gateway)));
        gateway
    }

    /// Records how sessions ended, in the order in which they did.
    async fn record_ends(store: Store, tenant: TenantId, mut ended: mpsc::Receiver<SessionEnd>) {
        while let Some(last) = ended.recv().await {
            match last {
                SessionEnd::Record(draft) => {
                    if let Err(error) = store.apply(Batch::new(tenant.clone()).note().record(*draft)).await {
                        tracing::error!(%error, "the end of a session could not be recorded");
                    }
                }
                SessionEnd::Flush(done) => drop(done.send(())),
            }
        }
    }

    /// Ends open streams, now and from now on; the first step of a stop. What belongs to a call goes on.
    pub fn end_streams(&self) {
        self.stopping.send_replace(true);
    }

    /// Resolves when the process begins to stop.
    pub(crate) fn stopping(&self) -> impl Future<Output = ()> + Send + use<> {
        let mut stopping = self.stopping.subscribe();
        async move {
            // Without a gateway there is nothing to stream from either.
            let _ = stopping.wait_for(|stopping| *stopping).await;
        }
    }

    /// Ends all sessions and waits until that is recorded; for a stop, once no request is waited for any more.
    pub async fn close(&self) {
        self.end_streams();
        for session in self.sessions.close_all("stop") {
            self.forget(&session, "stop");
        }
        // A session ends with its last request; all places are free when the end of every one is on its way.
        let places = self.closing.max_capacity();
        if let Ok(Ok(mut places)) = timeout(SESSIONS_WAIT, self.closing.reserve_many(places)).await {
            let (done, flushed) = oneshot::channel();
            if let Some(place) = places.next() {
                place.send(SessionEnd::Flush(done));
                let _ = flushed.await;
            }
        } else {
            let sessions = places.saturating_sub(self.closing.capacity());
            tracing::warn!(sessions, "sessions still have requests under way; their ends are recorded without those");
        }
        self.suspended.clear();
        for mount in self.mounts.values() {
            mount.pool.close_all();
        }
        if !self.groups.all_ended(CLOSE_WAIT).await {
            tracing::warn!(running = self.groups.running(), "stdio servers were still ending; the guard ends them");
        }
    }

    /// Counts a request of this client. SPEC: MG-21
    ///
    /// # Errors
    /// `rate_limited`.
    pub(crate) fn count_request(&self, client: &str) -> Result<(), Refusal> {
        self.rates.take(client, self.clock.now().mono_ns).map_err(|over| over.refusal())
    }

    /// How many verified tokens are remembered now.
    pub fn remembered_tokens(&self) -> usize {
        self.gatekeeper.remembered()
    }

    /// Closes idle sessions and links, and gives up calls that waited too long, every so often, for as long as the gateway lives.
    async fn sweep(gateway: Weak<Self>) {
        let mut tick = tokio::time::interval(SWEEP);
        loop {
            tick.tick().await;
            let Some(gateway) = gateway.upgrade() else { return };
            let now_ns = gateway.clock.now().mono_ns;
            for session in gateway.sessions.sweep(now_ns) {
                gateway.forget(&session.id, "idle");
            }
            gateway.suspended.sweep(&gateway.settings, &gateway.store.snapshot(), gateway.clock.unix());
            for mount in gateway.mounts.values() {
                mount.pool.sweep(now_ns.saturating_sub(nanos(gateway.settings.session_idle)));
            }
        }
    }

    /// Ends a session everywhere.
    pub(crate) fn forget(&self, session: &str, why: &'static str) {
        self.sessions.close(session, why);
        for mount in self.mounts.values() {
            mount.pool.drop_link(&LinkKey::Session(session.to_owned()));
        }
    }
}

fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}
