//! The running authorization server: its parts, keys, limits and memory.

use crate::{
    clients::{
        key_cache,
        key_sets::KeySets,
        long_assertions::{self, LongAssertions},
        rules::ClientRules,
        workload::{WorkloadTrust, bundles::Bundles, issuers::WorkloadIssuers},
    },
    issuers::{AssertionAudience, TrustedIssuer, TrustedIssuers},
    offboarding::schedule::Schedule,
    signin::{
        devices::Devices,
        password,
        provider::{SignInMethods, discovery::Discovery},
        seal::Seal,
        sessions::Sessions,
        throttle::Throttle,
    },
};
use remit_clock::{Clock, Entropy};
use remit_decide::Pinned;
use remit_model::{Fault, Rate, RateLimits, Refusal, TenantId, UnixTime};
use remit_outbound::{Documents, Freshness, Limit, Outbound, Source};
use remit_store::Store;
use remit_token::{
    AcceptedKeys, KeySet, PrivateKey, SigningKeys, Skew, Verified,
    access::{self, AccessToken},
    dpop,
    webauthn::RelyingParty,
};
use std::{
    fmt,
    sync::{Arc, PoisonError, RwLock},
};

/// Bytes of verified tokens remembered.
const REMEMBERED_TOKENS: usize = 32 << 20;

/// How long a client's metadata document is used: an hour, and none that its host has taken away. A host that is down for six hours
/// takes its clients with it, not sooner.
const DOCUMENTS: Freshness = Freshness { least: 60, most: 3_600, retry: 10, stale: 6 * 3_600, withdrawn: true };
/// Documents that are asked for from one network, or at one host. SPEC: PAR-07
const FETCHES: Rate = Rate { per_second: 10, burst: 100 };

/// Registrations from one network: a program registers once or twice for each sign-in. SPEC: N-DR-01
const REGISTRATIONS: Rate = Rate { per_second: 1, burst: 20 };

/// Logout tokens from one network: an administrator may log a whole organisation out at once.
const LOGOUTS: Rate = Rate { per_second: 50, burst: 2_000 };

/// Calls of identity providers from one network: an administrator may off-board a whole organisation at once.
const PROVIDER_CALLS: Rate = Rate { per_second: 50, burst: 2_000 };

/// What an authorization server is made of.
#[derive(Debug)]
pub struct Parts {
    pub store: Store,
    pub policy: Arc<remit_policy::Live>,
    pub clock: Clock,
    pub entropy: Entropy,
    /// The issuer identifier: the public base URL without a trailing slash (MD-01, C-01).
    pub issuer: String,
    /// The private halves of the issuer's keys. Which of them signs is in the store. SPEC: JW-02, JW-03
    pub keys: SigningKeys,
    /// The protected resources tokens may be issued for.
    pub servers: Vec<Arc<remit_model::Server>>,
    /// Shared with the resource servers of the same origin.
    pub nonces: Arc<dpop::Nonces>,
    /// How it fetches from other machines.
    pub outbound: Outbound,
    /// Where people sign in.
    pub sign_in: SignInMethods,
    /// Who vouches for workloads.
    pub workload: WorkloadTrust,
    pub settings: Settings,
}

/// Lifetimes and limits, in seconds unless said otherwise.
#[derive(Clone, Debug, PartialEq)]
#[expect(clippy::struct_excessive_bools, reason = "each is a switch of its own")]
pub struct Settings {
    /// Longest life of an access token.
    pub access_token: i64,
    /// Whether agents that are registered with `binding: danger_bearer` get tokens, which are bound to no key.
    pub danger_bearer: bool,
    /// Whether certificates of clients are seen here, so that tokens can be bound to them (RFC 8705).
    pub client_certificates: bool,
    /// Longest life of such a token.
    pub bearer_token: i64,
    /// Life of an authorization code. SPEC: AZ-13
    pub code: i64,
    /// Longest a human's consent lasts, and so the absolute end of refresh tokens. SPEC: RT-04
    pub consent: i64,
    /// A refresh token unused for this long is dead. SPEC: RT-04
    pub refresh_idle: i64,
    /// For how long a rotated refresh token gets its client the same successor again. SPEC: RT-02
    pub refresh_retry: i64,
    /// How long a browser stays signed in.
    pub session: i64,
    /// Most actors in a chain. SPEC: DC-08
    pub chain_depth: usize,
    /// Whether every DPoP proof must carry a nonce of ours. SPEC: DP-07
    pub require_nonce: bool,
    /// A DPoP proof's `iat` may differ from our clock by this much. SPEC: DP-08
    pub dpop_window: i64,
    /// Room in the memory of used proofs. SPEC: DP-09
    pub remembered_proofs: usize,
    /// Tolerated clock skew of client assertions. SPEC: J-06
    pub skew: i64,
    /// Client assertions of more than five minutes that one client may have in use. SPEC: TK-04
    pub long_assertions: u64,
    /// Failed sign-ins for one name from one source before it must wait.
    pub login_attempts: u32,
    /// How long it must wait then.
    pub login_window: i64,
    /// Wrong redemptions of one code before it is dead. SPEC: N-AC-02
    pub code_attempts: u32,
    /// Requests of one client. SPEC: TK-11
    pub rate: Rate,
    /// Clients that no administrator registered.
    pub clients: ClientRules,
    /// Whether programs without a browser may have a person decide elsewhere: RFC 8628.
    pub device_flow: bool,
    /// Whether every authorization request must be pushed. SPEC: PAR-06
    pub require_pushed_requests: bool,
    /// Issuers that are trusted to say who a person is. SPEC: JB-01
    pub trusted_issuers: Vec<TrustedIssuer>,
    /// Whether ID-JAGs (draft-ietf-oauth-identity-assertion-authz-grant-04) are redeemed.
    pub id_jag: bool,
    /// Other authorization servers for which ID-JAGs are issued.
    pub assertion_audiences: Vec<AssertionAudience>,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            access_token: 600,
            danger_bearer: false,
            client_certificates: false,
            bearer_token: 600,
            code: 60,
            consent: 86_400,
            refresh_idle: 8 * 3_600,
            refresh_retry: 30,
            session: 8 * 3_600,
            chain_depth: remit_model::chain::DEFAULT_DEPTH,
            require_nonce: false,
            dpop_window: dpop::WINDOW_SECS,
            remembered_proofs: 1 << 21,
            skew: 30,
            long_assertions: long_assertions::LIMIT,
            login_attempts: 5,
            login_window: 900,
            code_attempts: 5,
            rate: Rate::UNLIMITED,
            clients: ClientRules::default(),
            device_flow: false,
            require_pushed_requests: false,
            trusted_issuers: Vec::new(),
            id_jag: false,
            assertion_audiences: Vec::new(),
        }
    }
}

/// A running authorization server for one tenant.
pub struct Server {
    pub(crate) store: Store,
    pub(crate) policy: Arc<remit_policy::Live>,
    pub(crate) clock: Clock,
    pub(crate) entropy: Entropy,
    pub(crate) tenant: TenantId,
    pub(crate) issuer: String,
    keys: SigningKeys,
    accepted: AcceptedKeys,
    /// Our own tokens as they come back: to be exchanged, shown as an actor's, asked about.
    tokens: Arc<Verified>,
    pub(crate) key_cache: key_cache::KeyCache,
    /// Keys of no client, one of each kind that clients use: what an unknown client's assertion is checked with. SPEC: X-11
    pub(crate) nobodys_keys: KeySet,
    pub(crate) servers: Vec<Arc<remit_model::Server>>,
    pub(crate) settings: Settings,
    pub(crate) sessions: Arc<Sessions>,
    pub(crate) seal: Seal,
    pub(crate) throttle: Throttle,
    pub(crate) devices: Devices,
    rates: RateLimits,
    pub(crate) passwords: password::Passwords,
    /// The site of passkeys; none where the issuer's address rules them out.
    pub(crate) passkeys: Option<RelyingParty>,
    pub(crate) nonces: Arc<dpop::Nonces>,
    pub(crate) replays: dpop::ReplaySet,
    /// The same for clients that have no key to authenticate with.
    pub(crate) public_replays: dpop::ReplaySet,
    pub(crate) pinned: Pinned,
    pub(crate) outbound: Outbound,
    /// Documents of identity providers.
    pub(crate) discovery: Discovery,
    sign_in: RwLock<Arc<SignInMethods>>,
    /// Metadata documents of clients.
    pub(crate) documents: Documents,
    /// How often documents are asked for from one network, or at one host.
    pub(crate) fetches: RateLimits,
    /// How often clients register from one network.
    pub(crate) registrations: RateLimits,
    /// Keys that agents publish.
    pub(crate) key_sets: KeySets,
    pub(crate) workload_issuers: WorkloadIssuers,
    pub(crate) bundles: Bundles,
    pub(crate) long_assertions: LongAssertions,
    pub(crate) issuers: TrustedIssuers,
    /// Whom providers are asked about.
    pub(crate) asking: Arc<Schedule>,
    /// How often providers call from one network.
    pub(crate) logouts: RateLimits,
    /// How often providers push security events from one network.
    pub(crate) provider_calls: RateLimits,
}

impl Server {
    /// Whether some issuer or trust domain vouches for workloads.
    pub(crate) fn vouches(&self) -> bool {
        !self.workload_issuers.is_empty() || !self.bundles.is_empty()
    }

    /// Puts the parts together. The server forgets what it remembers about a person when the store erases them.
    pub fn new(parts: Parts) -> Self {
        let Parts { store, policy, clock, entropy, issuer, keys, servers, nonces, outbound, sign_in, workload, settings } = parts;
        let tokens = Arc::new(Verified::new(REMEMBERED_TOKENS));
        let sessions = Arc::new(Sessions::default());
        let asking = Arc::new(Schedule::default());
        let (remembered, signed_in, asked) = (Arc::clone(&tokens), Arc::clone(&sessions), Arc::clone(&asking));
        store.when_erased(move |world| {
            remembered.clear();
            signed_in.keep(|name| world.human(name).is_some());
            asked.keep(|name| world.human(name).is_some());
        });
        Self {
            tenant: store.tenant().clone(),
            accepted: AcceptedKeys::default(),
            tokens,
            key_cache: key_cache::KeyCache::default(),
            nobodys_keys: key_cache::nobodys(),
            passwords: password::Passwords::new(&entropy),
            nonces,
            replays: dpop::ReplaySet::new(settings.remembered_proofs, settings.dpop_window),
            public_replays: dpop::ReplaySet::new(settings.remembered_proofs, settings.dpop_window),
            sessions,
            seal: Seal::of(&store),
            passkeys: RelyingParty::of(&issuer),
            throttle: Throttle::default(),
            devices: Devices::default(),
            rates: RateLimits::new(settings.rate),
            pinned: Pinned::default(),
            documents: Documents::new(outbound.clone(), clock.clone(), Source::Stranger, Limit::CLIENT, DOCUMENTS),
            fetches: RateLimits::new(FETCHES),
            registrations: RateLimits::new(REGISTRATIONS),
            key_sets: KeySets::new(&outbound, &clock),
            workload_issuers: WorkloadIssuers::new(workload.issuers, &outbound, &clock),
            bundles: Bundles::new(workload.domains, outbound.clone(), clock.clone()),
            long_assertions: LongAssertions::new(settings.long_assertions),
            issuers: TrustedIssuers::new(settings.trusted_issuers.clone(), outbound.clone(), clock.clone()),
            discovery: Discovery::new(&outbound, &clock),
            provider_calls: RateLimits::new(PROVIDER_CALLS),
            sign_in: RwLock::new(Arc::new(sign_in)),
            asking,
            logouts: RateLimits::new(LOGOUTS),
            outbound,
            store,
            policy,
            clock,
            entropy,
            issuer,
            keys,
            servers,
            settings,
        }
    }

    /// The issuer identifier.
    pub fn issuer(&self) -> &str {
        &self.issuer
    }

    /// How many verified tokens are remembered now.
    pub fn remembered_tokens(&self) -> usize {
        self.tokens.size().0
    }

    /// A token of ours, unexpired, whatever it is for. Whether it still counts is for the snapshot to say.
    pub(crate) fn verify(&self, compact: &str, now: UnixTime) -> Result<Arc<AccessToken>, Refusal> {
        self.verify_within(compact, now, Skew::NONE)
    }

    /// As [`Server::verify`], for as long after its end as the resource servers accept it.
    pub(crate) fn verify_with_leeway(&self, compact: &str, now: UnixTime) -> Result<Arc<AccessToken>, Refusal> {
        self.verify_within(compact, now, Skew::seconds(self.settings.skew))
    }

    fn verify_within(&self, compact: &str, now: UnixTime, skew: Skew) -> Result<Arc<AccessToken>, Refusal> {
        let expect = access::Expect { issuer: &self.issuer, audience: None };
        let token = self.tokens.verify(compact, &self.published_keys(now), &expect, now, skew)?;
        // An erasure ends the chains of whom it forgets: then nothing of theirs is remembered that came back after it. Nor is
        // anything that a revoked key signed.
        let world = self.store.snapshot();
        if world.is_revoked(&token.jti, [], &token.txn) || token.keys().iter().any(|kid| world.issuer_keys().is_revoked(kid)) {
            self.tokens.remove(&token);
        }
        Ok(token)
    }

    /// The public keys whose tokens are accepted now, with those that sign later. SPEC: JW-02
    pub(crate) fn published_keys(&self, now: UnixTime) -> Arc<KeySet> {
        self.accepted.at(self.store.snapshot().issuer_keys(), now)
    }

    /// The key that signs now.
    ///
    /// # Errors
    /// It is not at hand: nothing can be signed until its file is back.
    pub(crate) fn signing_key(&self, now: UnixTime) -> Result<Arc<PrivateKey>, Fault> {
        self.keys.signing(self.store.snapshot().issuer_keys(), now)
    }

    /// Counts a request of this client. SPEC: TK-11
    ///
    /// # Errors
    /// `rate_limited`.
    pub(crate) fn count_request(&self, client: &str) -> Result<(), Refusal> {
        self.rates.take(client, self.clock.now().mono_ns).map_err(|over| over.refusal())
    }

    /// Where people sign in.
    pub(crate) fn sign_in_methods(&self) -> Arc<SignInMethods> {
        Arc::clone(&self.sign_in.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Offers other ways to sign in from now on. Who is signed in stays so.
    pub fn set_sign_in_methods(&self, methods: SignInMethods) {
        *self.sign_in.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(methods);
    }

    pub(crate) fn now(&self) -> UnixTime {
        self.clock.unix()
    }

    /// The `jti` of a new token: a name, no secret. Tokens of the same moment lie together in the database, however many there
    /// are. RFC 9562 §5.7.
    pub(crate) fn token_id(&self) -> String {
        self.entropy.uuid_v7(&self.clock.now()).to_string()
    }

    /// An absolute URL of ours, built from configuration and never from a request header. SPEC: MD-01
    pub(crate) fn url(&self, path: &str) -> String {
        format!("{}{path}", self.issuer)
    }
}

impl fmt::Debug for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Server").field("issuer", &self.issuer).field("tenant", &self.tenant).finish_non_exhaustive()
    }
}
