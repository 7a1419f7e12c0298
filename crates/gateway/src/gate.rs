//! The gateway's state: what it was given, and the bounded memory it keeps.

use crate::{
    identify::Gatekeeper,
    mcp::{headers, method::List, session::Sessions},
    seal::Seals,
    settings::{Captures, Route, Settings},
    upstream::{Key, Pool},
};
use remit_model::{resource::Server, time::UnixTime};
use remit_policy::Live;
use remit_store::{
    Quota, Store,
    rim::{Clock, Entropy},
};
use remit_token::KeySet;
use serde_json::Value;
use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError, Weak},
    time::Duration,
};

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
}

/// Parameter headers of one tool: name, and path into the arguments.
type Declared = Vec<(String, Vec<String>)>;

/// One server and the links to its upstream.
#[derive(Debug)]
pub(crate) struct Mount {
    pub(crate) server: Arc<Server>,
    pub(crate) pool: Pool,
    pub(crate) captures: Captures,
    pub(crate) reads_in_outage: bool,
    declared: Mutex<HashMap<String, Declared>>,
}

impl Gateway {
    /// Puts the parts together, inside a Tokio runtime. Nothing is opened before the first request needs it.
    pub fn new(parts: Parts) -> Arc<Self> {
        let Parts { store, policy, clock, entropy, keys, routes, mut settings } = parts;
        settings.recheck = settings.recheck.max(Duration::from_millis(1));
        let settings = Arc::new(settings);
        let mounts = routes.into_iter().map(|route| {
            let pool = Pool::new(route.upstream.clone(), Arc::clone(&settings));
            let Route { server, captures, reads_in_outage, .. } = route;
            (server.id.to_string(), Arc::new(Mount { server, pool, captures, reads_in_outage, declared: Mutex::default() }))
        });
        let gate = Arc::new(Self {
            gatekeeper: Gatekeeper::new(keys, &entropy.bytes(), &settings, clock.unix()),
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

    /// Closes idle sessions and links every so often, for as long as the gateway lives.
    async fn sweep(gate: Weak<Self>) {
        let mut tick = tokio::time::interval(SWEEP);
        loop {
            tick.tick().await;
            let Some(gate) = gate.upgrade() else { return };
            let now_ns = gate.clock.now().mono_ns;
            for session in gate.sessions.sweep(now_ns) {
                gate.forget(&session.id);
            }
            for mount in gate.mounts.values() {
                mount.pool.sweep(now_ns.saturating_sub(nanos(gate.settings.session_idle)));
            }
        }
    }

    /// Ends a session everywhere.
    pub(crate) fn forget(&self, session: &str) {
        self.sessions.close(session);
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
    pub(crate) fn declared(&self, tool: &str) -> Declared {
        self.declared.lock().unwrap_or_else(PoisonError::into_inner).get(tool).cloned().unwrap_or_default()
    }

    /// Learns declarations from a list on its way through.
    pub(crate) fn learn(&self, list: List, result: &Value) {
        let Some(tools) = result.get("tools").and_then(Value::as_array).filter(|_| list == List::Tools) else { return };
        let mut declared = self.declared.lock().unwrap_or_else(PoisonError::into_inner);
        for tool in tools {
            let Some(name) = tool.get("name").and_then(Value::as_str) else { continue };
            let found = tool.get("inputSchema").map(headers::declared_params).unwrap_or_default();
            if found.is_empty() {
                declared.remove(name);
            } else if declared.len() < DECLARED_LIMIT || declared.contains_key(name) {
                declared.insert(name.to_owned(), found);
            }
        }
    }
}

fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}
