//! SPIFFE trust bundles: the keys of each trust domain, refreshed as the bundle asks, and the last good one kept for a while.
//!
//! Implements SPIFFE Trust Domain and Bundle §4 and SPIFFE Federation §5 (`https_web`, or a file); rules SP-02, SP-03, SP-05. Each trust
//! domain has its own bundle and no other (N-SP-01). It deliberately does not implement `https_spiffe`.

use super::{BundleSource, TrustDomain};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use remit_clock::Clock;
use remit_model::{UnixTime, json};
use remit_outbound::{Limit, Outbound, Source};
use remit_token::{KeySet, certificate};
use serde_json::Value;
use std::{
    collections::BTreeMap,
    fs::File,
    io::Read as _,
    path::Path,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};
use tokio::sync::Mutex as AsyncMutex;

/// Seconds after which a bundle that asks for nothing is fetched again, and the least and most that it may ask for.
const REFRESH: i64 = 300;
const REFRESH_RANGE: (i64, i64) = (10, 3_600);
/// Seconds between attempts, however many tokens name a key that is not there. SPEC: F-05
const RETRY: i64 = 10;

/// The bundles of every trust domain that the operator trusts.
#[derive(Debug)]
pub(crate) struct Bundles {
    outbound: Outbound,
    clock: Clock,
    domains: BTreeMap<String, (TrustDomain, Slot)>,
}

/// What is held of one trust domain. The lock of it is never held while anything is awaited or verified.
#[derive(Debug, Default)]
struct Slot {
    held: Mutex<Held>,
    /// Whose turn it is to fetch.
    turn: AsyncMutex<()>,
}

impl Slot {
    /// A panic while the lock is held leaves nothing half done.
    fn lock(&self) -> MutexGuard<'_, Held> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn held(&self) -> Held {
        self.lock().clone()
    }
}

#[derive(Clone, Debug, Default)]
struct Held {
    bundle: Option<Bundle>,
    /// When it was last fetched with success, and when it was last tried.
    fetched: i64,
    tried: Option<i64>,
}

#[derive(Clone, Debug)]
struct Bundle {
    keys: Arc<KeySet>,
    /// Certificates of the authorities that sign X.509-SVIDs, in DER.
    authorities: Arc<Vec<Vec<u8>>>,
    sequence: u64,
    refresh: i64,
}

impl Bundles {
    pub(crate) fn new(domains: Vec<TrustDomain>, outbound: Outbound, clock: Clock) -> Self {
        let domains = domains.into_iter().map(|domain| (domain.name.clone(), (domain, Slot::default()))).collect();
        Self { outbound, clock, domains }
    }

    /// Whether no trust domain is configured.
    pub(crate) fn is_empty(&self) -> bool {
        self.domains.is_empty()
    }

    /// The trust domain of this name.
    pub(crate) fn domain(&self, name: &str) -> Option<&TrustDomain> {
        self.domains.get(name).map(|(domain, _)| domain)
    }

    /// The keys of a trust domain, fetched again when the bundle asks for it or has not the `wanted` key.
    ///
    /// # Errors
    /// There is no bundle, or the last good one is too old; for the log.
    pub(crate) async fn keys(&self, domain: &str, wanted: impl Fn(&KeySet) -> bool) -> Result<Arc<KeySet>, String> {
        self.bundle(domain, |bundle| wanted(&bundle.keys)).await.map(|bundle| bundle.keys)
    }

    /// The authorities of a trust domain for X.509-SVIDs, fetched again when the bundle asks for it or they are not `wanted`.
    ///
    /// # Errors
    /// There is no bundle, or the last good one is too old; for the log.
    pub(crate) async fn authorities(
        &self,
        domain: &str,
        wanted: impl Fn(&[Vec<u8>]) -> bool,
    ) -> Result<Arc<Vec<Vec<u8>>>, String> {
        self.bundle(domain, |bundle| wanted(&bundle.authorities)).await.map(|bundle| bundle.authorities)
    }

    async fn bundle(&self, domain: &str, wanted: impl Fn(&Bundle) -> bool) -> Result<Bundle, String> {
        let (domain, slot) = self.domains.get(domain).ok_or_else(|| "the trust domain is not configured".to_owned())?;
        let UnixTime(now) = self.clock.unix();
        let usable = |held: &Held| now < held.fetched.saturating_add(domain.max_stale);
        let suits = |held: &Held| held.bundle.as_ref().is_some_and(&wanted);
        let is_old = |held: &Held| held.bundle.as_ref().is_none_or(|one| now >= held.fetched.saturating_add(one.refresh));
        let mut held = slot.held();
        let mut suited = suits(&held);
        if !suited || is_old(&held) {
            // Whom the present bundle suits does not wait for what another request fetches, perhaps for a stranger.
            let turn = if suited && usable(&held) { slot.turn.try_lock().ok() } else { Some(slot.turn.lock().await) };
            if let Some(_turn) = turn {
                let present = slot.held();
                if present.fetched != held.fetched {
                    suited = suits(&present);
                }
                let waits = present.tried.is_some_and(|tried| (tried..tried.saturating_add(RETRY)).contains(&now));
                if (!suited || is_old(&present)) && !waits {
                    slot.lock().tried = Some(now);
                    match self.fetch(domain).await.and_then(|bundle| newer(present.bundle.as_ref(), bundle)) {
                        Ok(bundle) => {
                            let mut held = slot.lock();
                            (held.bundle, held.fetched) = (Some(bundle), now);
                        }
                        Err(why) => tracing::warn!(trust_domain = domain.name, why, "the trust bundle is not refreshed"),
                    }
                }
                held = slot.held();
            }
        }
        match &held.bundle {
            Some(bundle) if usable(&held) => Ok(bundle.clone()),
            Some(_) => Err(format!("the bundle of {} is older than {} seconds", domain.name, domain.max_stale)),
            None => Err(format!("there is no bundle of {}", domain.name)),
        }
    }

    async fn fetch(&self, domain: &TrustDomain) -> Result<Bundle, String> {
        let document = match &domain.bundle {
            BundleSource::Url(url) => {
                let fetched = self.outbound.get_json(url, Source::Operator, Limit::METADATA).await;
                fetched.map_err(|error| error.to_string())?.0
            }
            BundleSource::File(file) => read(file)?,
        };
        parse(&document)
    }
}

fn read(file: &Path) -> Result<Value, String> {
    let cannot = |reason: String| format!("cannot read {}: {reason}", file.display());
    let Limit(limit) = Limit::METADATA;
    let mut bytes = Vec::new();
    let most = u64::try_from(limit).unwrap_or(u64::MAX);
    let read = File::open(file).and_then(|file| file.take(most).read_to_end(&mut bytes));
    read.map_err(|error| cannot(error.to_string()))?;
    let limits = json::Limits { bytes: limit, ..json::Limits::default() };
    json::parse(&bytes, &limits).map_err(|refusal| cannot(refusal.reason))
}

/// A bundle with a lower sequence number than one that was seen is an old one. SPEC: SP-05
fn newer(before: Option<&Bundle>, bundle: Bundle) -> Result<Bundle, String> {
    match before {
        Some(before) if bundle.sequence < before.sequence => {
            Err(format!("its sequence number went back from {} to {}", before.sequence, bundle.sequence))
        }
        _ => Ok(bundle),
    }
}

/// The keys for JWT-SVIDs and the authorities for X.509-SVIDs, each for its own kind alone. SPEC: SP-02, SP-03, N-SP-08
fn parse(document: &Value) -> Result<Bundle, String> {
    let keys = document.get("keys").and_then(Value::as_array).ok_or("it is no bundle: it has no array `keys`")?;
    let for_x509 = keys.iter().filter(|key| key.get("use").and_then(Value::as_str) == Some("x509-svid"));
    let authorities: Vec<Vec<u8>> = for_x509.filter_map(authority).collect();
    let keys = KeySet::from_bundle(keys).map_err(|refusal| refusal.reason)?;
    let number = |name: &str| match document.get(name) {
        None => Ok(None),
        Some(value) => value.as_u64().map(Some).ok_or_else(|| format!("`{name}` is not a whole number")),
    };
    let refresh = number("spiffe_refresh_hint")?.and_then(|hint| i64::try_from(hint).ok()).unwrap_or(REFRESH);
    let (least, most) = REFRESH_RANGE;
    let sequence = number("spiffe_sequence")?.unwrap_or(0);
    Ok(Bundle { keys: Arc::new(keys), authorities: Arc::new(authorities), sequence, refresh: refresh.clamp(least, most) })
}

/// The certificate of one authority: the only one of its `x5c`. An entry without it vouches for nothing.
/// SPEC: SPIFFE X509-SVID §6.2
fn authority(key: &Value) -> Option<Vec<u8>> {
    let [Value::String(text)] = key.get("x5c")?.as_array()?.as_slice() else { return None };
    STANDARD.decode(text).ok().filter(|der| certificate::validity(der).is_some())
}
