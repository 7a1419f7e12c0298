//! The gateway's state: what it was given, and the bounded memory it keeps.

use crate::{
    identify::Gatekeeper,
    mcp::{
        headers,
        method::List,
        session::{Last, Sessions},
    },
    seal::Seals,
    settings::{Captures, Route, Settings},
    upstream::{Key, Pool},
};
use remit_clock::{Clock, Entropy};
use remit_model::{TenantId, json, resource::Server, time::UnixTime};
use remit_policy::Live;
use remit_store::{Batch, Quota, Store};
use remit_token::KeySet;
use serde_json::Value;
use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError, Weak},
    time::Duration,
};
use tokio::sync::{mpsc, oneshot};

/// Tools of one server whose parameter headers are remembered.
const DECLARED_LIMIT: usize = 4096;
/// How often idle sessions and links are looked for.
const SWEEP: Duration = Duration::from_secs(30);

/// Everything the gateway works with.
#[derive(Debug)]
pub struct Parts {
    pub store: Store,
    pub policy: Arc<Live>,
    pub clock: Clock,
    pub entropy: Entropy,
    /// Public keys of the issuer of access tokens.
    pub keys: KeySet,
    pub routes: Vec<Route>,
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
    pub(crate) sessions: Sessions,
    pub(crate) seals: Seals,
    pub(crate) mounts: HashMap<String, Arc<Mount>>,
    quota: Quota,
    pub(crate) closing: mpsc::UnboundedSender<Last>,
}

/// Parameter headers of one tool: name, and path into the arguments.
pub(crate) type Declared = Vec<(String, Vec<String>)>;

/// One server and the links to its upstream.
#[derive(Debug)]
pub(crate) struct Mount {
    pub(crate) server: Arc<Server>,
    pub(crate) pool: Pool,
    pub(crate) captures: Captures,
    pub(crate) reads_in_outage: bool,
    declared: Mutex<HashMap<String, Arc<Declared>>>,
    described: Mutex<HashMap<String, Described>>,
}

/// SHA-256 of a tool's definition and of its input schema, as the upstream last stated them.
pub(crate) type Described = (String, Option<String>);

impl Gateway {
    /// Puts the parts together, inside a Tokio runtime. Nothing is opened before the first request needs it.
    pub fn new(parts: Parts) -> Arc<Self> {
        let Parts { store, policy, clock, entropy, keys, routes, mut settings } = parts;
        settings.recheck = settings.recheck.max(Duration::from_millis(1));
        let settings = Arc::new(settings);
        let mounts = routes.into_iter().map(|route| {
            let pool = Pool::new(route.upstream.clone(), Arc::clone(&settings));
            let Route { server, captures, reads_in_outage, .. } = route;
            (
                server.id.to_string(),
                Arc::new(Mount {
                    server,
                    pool,
                    captures,
                    reads_in_outage,
                    declared: Mutex::default(),
                    described: Mutex::default(),
                }),
            )
        });
        let (closing, ended) = mpsc::unbounded_channel();
        tokio::spawn(Self::record_ends(store.clone(), settings.tenant.clone(), ended));
        let gate = Arc::new(Self {
            closing,
            gatekeeper: Gatekeeper::new(keys, &entropy.bytes(), &settings, clock.unix(), &store),
            sessions: Sessions::new(settings.sessions, nanos(settings.session_idle)),
            seals: Seals::new(&entropy.bytes()),
            mounts: mounts.collect(),
            quota: Quota::per_second(settings.anonymous_records),
            store,
            policy,
            clock,
            entropy,
            settings,
        });
        tokio::spawn(Self::sweep(Arc::downgrade(&gate)));
        gate
    }

    /// Records how sessions ended, in the order in which they did.
    async fn record_ends(store: Store, tenant: TenantId, mut ended: mpsc::UnboundedReceiver<Last>) {
        while let Some(last) = ended.recv().await {
            match last {
                Last::Record(draft) => {
                    if let Err(error) = store.apply(Batch::new(tenant.clone()).note().record(*draft)).await {
                        tracing::error!(%error, "the end of a session could not be recorded");
                    }
                }
                Last::Flush(done) => drop(done.send(())),
            }
        }
    }

    /// Ends all sessions and waits until that is recorded; for a stop, once no request runs any more.
    pub async fn close(&self) {
        for session in self.sessions.close_all("stop") {
            self.forget(&session, "stop");
        }
        let (done, flushed) = oneshot::channel();
        if self.closing.send(Last::Flush(done)).is_ok() {
            let _ = flushed.await;
        }
    }

    /// How many verified tokens are remembered now.
    pub fn remembered_tokens(&self) -> usize {
        self.gatekeeper.remembered()
    }

    /// Closes idle sessions and links every so often, for as long as the gateway lives.
    async fn sweep(gate: Weak<Self>) {
        let mut tick = tokio::time::interval(SWEEP);
        loop {
            tick.tick().await;
            let Some(gate) = gate.upgrade() else { return };
            let now_ns = gate.clock.now().mono_ns;
            for session in gate.sessions.sweep(now_ns) {
                gate.forget(&session.id, "idle");
            }
            for mount in gate.mounts.values() {
                mount.pool.sweep(now_ns.saturating_sub(nanos(gate.settings.session_idle)));
            }
        }
    }

    /// Ends a session everywhere.
    pub(crate) fn forget(&self, session: &str, why: &'static str) {
        self.sessions.close(session, why);
        for mount in self.mounts.values() {
            mount.pool.drop_link(&Key::Session(session.to_owned()));
        }
    }

    /// Whether one more refusal of nobody in particular may be written to the ledger this second.
    pub(crate) fn may_record_anonymous(&self, now: UnixTime) -> bool {
        self.quota.take(now)
    }
}

impl Mount {
    /// The parameter headers a tool declares, as far as its list was seen.
    pub(crate) fn declared(&self, tool: &str) -> Option<Arc<Declared>> {
        self.declared.lock().unwrap_or_else(PoisonError::into_inner).get(tool).cloned()
    }

    /// What the upstream last said a tool is, as far as its list was seen.
    pub(crate) fn described(&self, tool: &str) -> Option<Described> {
        self.described.lock().unwrap_or_else(PoisonError::into_inner).get(tool).cloned()
    }

    /// Learns declarations from a list on its way through.
    pub(crate) fn learn(&self, list: List, result: &Value) {
        let Some(tools) = result.get("tools").and_then(Value::as_array).filter(|_| list == List::Tools) else { return };
        let mut described = self.described.lock().unwrap_or_else(PoisonError::into_inner);
        let mut declared = self.declared.lock().unwrap_or_else(PoisonError::into_inner);
        for tool in tools {
            let Some(name) = tool.get("name").and_then(Value::as_str) else { continue };
            if described.len() < DECLARED_LIMIT || described.contains_key(name) {
                let digest = |value: &Value| json::sha256_label(&json::canonical(value));
                described.insert(name.to_owned(), (digest(tool), tool.get("inputSchema").map(digest)));
            }
            let found = tool.get("inputSchema").map(headers::declared_params).unwrap_or_default();
            if found.is_empty() {
                declared.remove(name);
            } else if declared.len() < DECLARED_LIMIT || declared.contains_key(name) {
                declared.insert(name.to_owned(), Arc::new(found));
            }
        }
    }
}

fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}
