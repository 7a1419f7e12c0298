//! From configuration to running parts. Nothing here decides anything: it opens, hands over and mounts.

use super::changed::changed;
use super::header_files::HeaderFiles;
use super::policy_cache::PolicyCache;
use super::proxies::{self, Proxies};
use super::reload;
use crate::witness::{self, WitnessSet};
use crate::{
    config::{self, Loaded, McpServer},
    keys,
};
use anyhow::{Context as _, Result};
use axum::{Router, middleware};
use remit_authority as authority;
use remit_clock::Ambient;
use remit_console::Console;
use remit_gateway::{self as gateway, Route, Upstream, UpstreamHeaders};
use remit_helpdesk::Desk;
use remit_ledger::{note::SigningKey, record::RecordType};
use remit_model::{Human, HumanStatus, Managed, Passkeys, Server, UnixTime};
use remit_outbound::{Outbound, Rules};
use remit_policy::{Bundle, Live};
use remit_store::{Batch, Change, Config as StoreConfig, Secret, Store, Witnessing};
use remit_token::{
    SigningKeys,
    dpop::{self, Nonces},
};
use serde_json::{Value, json};
use std::{
    collections::{BTreeMap, BTreeSet},
    path::PathBuf,
    sync::{Arc, OnceLock},
    time::Duration,
};
use tokio::net::TcpListener;

/// How many of the newest records are searched at start for the policy set that was in force.
const LOOK_BACK: u64 = 4_096;
const LOOK_BACK_STEP: u64 = 256;

/// A whole server, ready to be listened for.
#[derive(Debug)]
pub(crate) struct Running {
    pub(crate) router: Router,
    pub(crate) store: Store,
    pub(crate) policy: Arc<Live>,
    pub(crate) policies: PathBuf,
    pub(crate) known: Arc<PolicyCache>,
    /// The sample upstreams that run inside this process, by server name.
    pub(crate) desks: BTreeMap<String, Desk>,
    pub(crate) vkey: String,
    /// The upstreams' credentials, which [`header_files::watch`](super::header_files::watch) follows.
    pub(crate) header_files: Vec<HeaderFiles>,
    /// Which [`config_reload`](super::config_reload) tells where people sign in.
    pub(crate) authority: Arc<authority::Server>,
    gateway: Arc<gateway::Gateway>,
    console: Arc<Console>,
}

impl Running {
    /// The first step of a stop: streams end, so that nothing keeps the listener from draining but calls.
    pub(crate) fn end_streams(&self) {
        self.gateway.end_streams();
    }

    /// Ends what is open and closes the ledger; for when no request runs any more.
    pub(crate) async fn close(&self) -> Result<(), remit_store::StoreError> {
        self.gateway.close().await;
        self.console.close().await;
        self.store.close().await
    }
}

/// Opens the store, reads keys and policies, starts sample upstreams and mounts every route.
pub(crate) async fn start(loaded: &Loaded, ambient: &Ambient) -> Result<Running> {
    let config = &loaded.config;
    let issuer = config.server.public_url.clone();
    let keys = keys::read(&loaded.at(&config.server.keys_dir)).context("no keys; `remit init` makes them")?;
    let admin = keys::read_secret(&loaded.at(&config.server.admin_token_file))?;
    let (policies, program) = (loaded.at(&config.policies.dir), build_digest());
    let known = Arc::new(PolicyCache::new(&loaded.at(&config.storage.data_dir), Secret::new(keys.pepper), &program));
    let bundle = reload::read(&policies, &known.read())
        .with_context(|| format!("the policies in {} have mistakes", policies.display()))?;
    let origin = config.ledger.origin.clone().unwrap_or_else(|| config::log_origin(host(&issuer)));
    let ledger_dir = loaded.at(&config.ledger.dir);
    let witnesses = witnesses(loaded, ambient, &origin, &keys.log)?;
    let witnessing = witnessing(witnesses.as_ref(), &origin, &keys.log, &ledger_dir).await?;
    let opening = StoreConfig {
        data_dir: loaded.at(&config.storage.data_dir),
        ledger_dir: ledger_dir.clone(),
        tenant: loaded.tenant.clone(),
        producer_id: format!("spiffe://{}/main/remit", host(&issuer).split(':').next().unwrap_or("remit")),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        build_digest: program,
        record_key: Secret::new(keys.record),
        log_origin: origin.clone(),
        log_key: Secret::new(keys.log),
        pepper: Secret::new(keys.pepper),
        vault: Secret::new(keys.vault),
        retention: config.ledger.retention(),
        issuer_jwks: keys.issuer.set().to_jwks(),
        clock: ambient.clock.clone(),
        entropy: ambient.entropy.clone(),
        publish_every: Duration::from_millis(config.ledger.publish_every_ms),
        queue: StoreConfig::QUEUE,
        queue_wait: StoreConfig::QUEUE_WAIT,
        heartbeat: Duration::from_secs(config.ledger.heartbeat_s),
        spool_bytes: config.ledger.spool_bytes,
    };
    let outbound = outbound(loaded)?;
    let store = Store::open_witnessed(opening, witnessing)?;
    signing_key_at_hand(&store, &keys.issuer, ambient)?;
    if let Some(witnesses) = &witnesses {
        tokio::spawn(witness::watch(store.clone(), witnesses.enough(), witnesses.grace()));
    }
    let servers: Vec<Arc<Server>> = loaded.servers().into_iter().map(Arc::new).collect();
    register(loaded, &servers, &store, ambient.clock.unix()).await?;
    let before = pinned_before(&store).await?;
    let bundle = pin(&store, bundle, before.as_deref(), &known).await?;
    let policy = Arc::new(Live::new(bundle, ambient.clock.unix()));
    let Upstreams { routes, desks, header_files } = upstreams(loaded, &servers).await?;
    let shown: Vec<&Server> = servers.iter().map(AsRef::as_ref).collect();
    let clients = config.clients.rules(&shown).map_err(|refusal| anyhow::anyhow!("clients: {refusal}"))?;
    let sign_in = config::sign_in_methods(&loaded.base, &config.identity_providers, &shown)?;
    let Mounted { router, authority, gateway, console } =
        mount(loaded, ambient, &store, &policy, keys.issuer, &servers, routes, &admin, outbound, clients, sign_in);
    let router = match Proxies::of(&config.server.trusted_proxies, config.server.client_certificate_header) {
        Some(proxies) => router.layer(middleware::from_fn_with_state(Arc::new(proxies), proxies::forwarded)),
        None => router,
    };
    let vkey = keys::vkey(&loaded.at(&config.server.keys_dir), &origin)?;
    Ok(Running { router, store, policy, policies, known, desks, vkey, header_files, authority, gateway, console })
}

/// The parts behind the routes.
struct Mounted {
    router: Router,
    authority: Arc<authority::Server>,
    gateway: Arc<gateway::Gateway>,
    console: Arc<Console>,
}

/// Refuses to start without the private key that signs; warns of one that signs later.
fn signing_key_at_hand(store: &Store, signing: &SigningKeys, ambient: &Ambient) -> Result<()> {
    let (world, now) = (store.snapshot(), ambient.clock.unix());
    let help = "put its file back into keys_dir, or see docs/keys.md";
    signing.signing(world.issuer_keys(), now).map_err(|fault| anyhow::anyhow!("no token can be signed: {fault}; {help}"))?;
    if let Some(next) = world.issuer_keys().next(now)
        && let Err(fault) = signing.key(&next.kid)
    {
        tracing::error!(kid = next.kid, %fault, "the key that signs from {} is missing; {help}", next.signs_from.utc());
    }
    Ok(())
}

/// How other machines are fetched from.
pub(crate) fn outbound(loaded: &Loaded) -> Result<Outbound> {
    let section = &loaded.config.outbound;
    let trusted = match &section.ca_file {
        Some(file) => {
            std::fs::read(loaded.at(file)).with_context(|| format!("outbound.ca_file: cannot read {}", file.display()))?
        }
        None => Vec::new(),
    };
    Outbound::new(Rules { allow: section.allow.clone(), trusted }).context("outbound.ca_file")
}

/// The witnesses, and the latest checkpoint that they have seen.
async fn witnessing(
    witnesses: Option<&Arc<WitnessSet>>,
    origin: &str,
    seed: &[u8; 32],
    ledger: &std::path::Path,
) -> Result<Witnessing> {
    let mut witnessing = Witnessing::default();
    if let Some(witnesses) = witnesses {
        let key = SigningKey::from_seed(origin, seed).map_err(|fault| anyhow::anyhow!("{fault}"))?;
        witnessing.seen = witnesses.seen(&key, ledger).await?;
        witnessing.witnesses = Some(witnesses.clone());
    }
    Ok(witnessing)
}

/// The witnesses that the configuration names.
fn witnesses(loaded: &Loaded, ambient: &Ambient, origin: &str, seed: &[u8; 32]) -> Result<Option<Arc<WitnessSet>>> {
    let Some(section) = &loaded.config.ledger.witnesses else { return Ok(None) };
    let key = SigningKey::from_seed(origin, seed).map_err(|fault| anyhow::anyhow!("{fault}"))?;
    let settings = witness::Settings {
        policy: section.policy(&loaded.base, key.public()).context("ledger.witnesses")?,
        timeout: Duration::from_millis(section.timeout_ms),
        grace: Duration::from_secs(section.grace_s),
        required_at_start: section.required_at_start,
    };
    Ok(Some(Arc::new(WitnessSet::new(settings, ambient.clock.clone())?)))
}

#[expect(clippy::too_many_arguments, reason = "the one place where every part is handed what it needs")]
fn mount(
    loaded: &Loaded,
    ambient: &Ambient,
    store: &Store,
    policy: &Arc<Live>,
    signing: SigningKeys,
    servers: &[Arc<Server>],
    routes: Vec<Route>,
    admin: &str,
    outbound: Outbound,
    clients: authority::ClientRules,
    sign_in: authority::provider::SignInMethods,
) -> Mounted {
    let config = &loaded.config;
    let issuer = config.server.public_url.clone();
    let nonces = Arc::new(nonces(ambient, store));
    let authority = Arc::new(authority::Server::new(authority::Parts {
        store: store.clone(),
        policy: Arc::clone(policy),
        clock: ambient.clock.clone(),
        entropy: ambient.entropy.clone(),
        issuer: issuer.clone(),
        keys: signing.clone(),
        servers: servers.to_vec(),
        nonces: Arc::clone(&nonces),
        outbound,
        sign_in,
        workload: config::workload_trust(&config.workload_issuers, &config.spiffe, &loaded.base),
        settings: authority_settings(config, clients),
    }));
    let settings = gateway_settings(loaded, store, servers, &routes);
    let gateway = gateway::Gateway::new(gateway::Parts {
        store: store.clone(),
        policy: Arc::clone(policy),
        clock: ambient.clock.clone(),
        entropy: ambient.entropy.clone(),
        routes,
        nonces,
        settings,
    });
    let console = Arc::new(Console {
        tenant: store.tenant().clone(),
        issuer,
        store: store.clone(),
        policy: Arc::clone(policy),
        clock: ambient.clock.clone(),
        entropy: ambient.entropy.clone(),
        workload_issuers: config.workload_issuers.iter().map(|(name, section)| section.rules(name)).collect(),
        trust_domains: config.spiffe.trust_domains.keys().cloned().collect(),
        servers: servers.to_vec(),
        signing,
        admin_digest: Console::digest(admin),
        ledger_dir: store.ledger_dir().to_owned(),
        gathered: remit_console::Gathered::default(),
        earlier_keys: OnceLock::new(),
        danger_bearer: bearer_allowed(config),
        client_certificates: config.server.sees_client_certificates(),
    });
    let router = Router::new()
        .merge(authority::router(Arc::clone(&authority)))
        .merge(gateway::router(Arc::clone(&gateway)))
        .merge(remit_console::router(Arc::clone(&console)));
    Mounted { router, authority, gateway, console }
}

/// What the configuration says to the authorization server.
fn authority_settings(config: &config::Config, clients: authority::ClientRules) -> authority::Settings {
    authority::Settings {
        access_token: config.agents.access_token_lifetime.into(),
        danger_bearer: bearer_allowed(config),
        client_certificates: config.server.sees_client_certificates(),
        bearer_token: config.agents.danger_bearer_lifetime.into(),
        chain_depth: config.agents.chain_depth.into(),
        require_nonce: config.agents.require_dpop_nonce,
        consent: i64::from(config.agents.delegation_days) * 86_400,
        rate: config.agents.rate_limits.tokens.rate(),
        clients,
        require_pushed_requests: config.agents.require_pushed_requests,
        trusted_issuers: config.trusted_issuers.values().map(config::TrustedIssuerSection::trusted).collect(),
        id_jag: config.id_jag.is_some(),
        device_flow: config.agents.device_flow,
        assertion_audiences: config.assertion_audiences.values().map(config::AssertionAudienceSection::audience).collect(),
        ..authority::Settings::default()
    }
}

fn bearer_allowed(config: &config::Config) -> bool {
    config.agents.danger_bearer == config::DangerBearer::Allowed
}

/// What the configuration says to the gateway as a whole.
fn gateway_settings(loaded: &Loaded, store: &Store, servers: &[Arc<Server>], routes: &[Route]) -> gateway::Settings {
    let config = &loaded.config;
    let mut settings = gateway::Settings::new(&config.server.public_url);
    settings.tenant = store.tenant().clone();
    settings.hosts.extend(config.server.allowed_hosts.iter().cloned());
    settings.origins.extend(config.server.allowed_origins.iter().cloned());
    settings.danger_bearer = bearer_allowed(config);
    settings.client_certificates = config.server.sees_client_certificates();
    settings.nonce_required = config.agents.require_dpop_nonce;
    settings.clock_required = config.ledger.clock_required;
    settings.rate = config.agents.rate_limits.calls.rate();
    settings.guard = guard(routes);
    let point = servers.iter().find(|server| config.authzen.enabled && server.id.as_str() == gateway::AUTHZEN);
    settings.authzen = point.map(|server| {
        let reads_in_outage = config.ledger.on_outage.reads == config::Reads::Serve;
        gateway::Authzen { server: Arc::clone(server), reads_in_outage }
    });
    settings
}

/// The nonces of this process, for both kinds of endpoint. What an earlier process accepted is not remembered.
fn nonces(ambient: &Ambient, store: &Store) -> Nonces {
    let nonces = Nonces::new(&ambient.entropy.bytes(), dpop::nonce::PERIOD_SECS);
    if store.is_continued() { nonces.after_restart(ambient.clock.unix(), dpop::WINDOW_SECS) } else { nonces }
}

/// Records which configuration is in force, and brings its accounts into the store.
async fn register(loaded: &Loaded, servers: &[Arc<Server>], store: &Store, now: UnixTime) -> Result<()> {
    // Its digest alone: with the file at hand one can tell whether it was this one.
    let batch = Batch::new(store.tenant().clone())
        .record(changed(store.tenant(), RecordType::ConfigChange, "config.load").ext("config", json!({"digest": loaded.digest})));
    let listed = accounts(loaded, &servers.iter().map(AsRef::as_ref).collect::<Vec<_>>())?;
    store
        .apply(authority::accounts::sync(
            batch,
            &store.snapshot(),
            &loaded.config.server.public_url,
            listed,
            &issuers(loaded),
            now,
        ))
        .await?;
    Ok(())
}

fn listed_accounts(loaded: &Loaded) -> impl Iterator<Item = &config::Account> {
    config::accounts(&loaded.config.identity_providers)
}

/// The issuers of the identity providers that the configuration lists.
pub(crate) fn issuers(loaded: &Loaded) -> BTreeSet<String> {
    config::oidc(&loaded.config.identity_providers).map(|provider| provider.issuer.clone()).collect()
}

/// The names of the accounts that the configuration lists.
pub(crate) fn account_names(loaded: &Loaded) -> BTreeSet<String> {
    listed_accounts(loaded).map(|account| account.name.clone()).collect()
}

/// The accounts that the configuration lists, with their scopes read against these servers.
///
/// # Errors
/// A password hash that cannot be read, and entitlements that make no sense.
pub(crate) fn accounts(loaded: &Loaded, servers: &[&Server]) -> Result<Vec<Human>> {
    listed_accounts(loaded)
        .map(|account| {
            Ok(Human {
                name: account.name.clone(),
                display_name: account.display_name.clone().unwrap_or_else(|| account.name.clone()),
                status: if account.disabled { HumanStatus::Disabled } else { HumanStatus::Active },
                password_hash: Some(keys::read_secret(&loaded.at(&account.password_hash_file))?),
                entitlements: config::entitlements(account, servers)
                    .map_err(|refusal| anyhow::anyhow!("account {}: {refusal}", account.name))?,
                identity: None,
                ended_before: None,
                passkeys: Passkeys { demanded: account.second_factor.is_some(), enrolled: Vec::new() },
                managed: Managed::Configuration,
            })
        })
        .collect()
}

/// The digest of the policy set that was last put in force, as far as the newest records tell.
async fn pinned_before(store: &Store) -> Result<Option<String>> {
    let mut end = store.len();
    let least = end.saturating_sub(LOOK_BACK);
    while end > least {
        let from = end.saturating_sub(LOOK_BACK_STEP).max(least);
        let records = store.records(from, u32::try_from(end.saturating_sub(from)).unwrap_or(u32::MAX)).await?;
        let read = records.iter().rev().filter_map(|stored| serde_json::from_slice::<Value>(&stored.bytes).ok());
        let mut digests = read.filter(|record| record["record_type"] == "policy_change");
        if let Some(digest) = digests.find_map(|record| record.pointer("/ext/policy/digest")?.as_str().map(str::to_owned)) {
            return Ok(Some(digest));
        }
        end = from;
    }
    Ok(None)
}

/// Pins a policy set in the ledger, so that its decisions can be replayed, and records that it is in force, and after
/// which.
pub(crate) async fn pin(store: &Store, bundle: Bundle, before: Option<&str>, known: &Arc<PolicyCache>) -> Result<Bundle> {
    let mut facts = json!({"digest": bundle.digest(), "schema": bundle.schema_digest(), "policies": bundle.len()});
    if let (Some(before), Some(members)) = (before, facts.as_object_mut()) {
        members.insert("previous".to_owned(), json!(before));
    }
    let mut batch = Batch::new(store.tenant().clone()).change(Change::PutObject(remit_policy::SCHEMA.as_bytes().to_vec()));
    // The batch that recorded the same set before pinned it, too.
    if before != Some(bundle.digest()) {
        let pinned = bundle.pinned();
        let most = remit_ledger::dir::OBJECT_LIMIT;
        anyhow::ensure!(pinned.len() <= most, "the policies have {} bytes; the ledger pins sets of up to {most}", pinned.len());
        batch = batch.change(Change::PutObject(pinned));
    }
    store.apply(batch.record(changed(store.tenant(), RecordType::PolicyChange, "policy.load").ext("policy", facts))).await?;
    if bundle.checked() == 0 {
        return Ok(bundle);
    }
    let known = Arc::clone(known);
    Ok(tokio::task::spawn_blocking(move || {
        known.write(&bundle);
        bundle
    })
    .await?)
}

/// The one route of a configured server, for a command that talks to its upstream without the gateway.
///
/// # Errors
/// When there is no such server, or its upstream cannot be set up.
pub(crate) async fn route(loaded: &Loaded, name: &str) -> Result<Route> {
    let named = |server: &Server| server.id.as_str() == name && loaded.config.mcp_servers.contains_key(name);
    let server = loaded.servers().into_iter().find(named);
    let server = server.with_context(|| format!("`mcp_servers` has no server `{name}`"))?;
    let Upstreams { routes, .. } = upstreams(loaded, &[Arc::new(server)]).await?;
    routes.into_iter().next().with_context(|| format!("`mcp_servers.{name}` has no upstream"))
}

/// What the configured servers are made of.
#[derive(Default)]
struct Upstreams {
    routes: Vec<Route>,
    desks: BTreeMap<String, Desk>,
    header_files: Vec<HeaderFiles>,
}

async fn upstreams(loaded: &Loaded, servers: &[Arc<Server>]) -> Result<Upstreams> {
    let mut all = Upstreams::default();
    for server in servers {
        let name = server.id.as_str();
        let Some(settings) = loaded.config.mcp_servers.get(name) else { continue };
        let upstream = if settings.sample.is_some() {
            let (url, desk) = sample(loaded, name).await?;
            all.desks.insert(name.to_owned(), desk);
            Upstream::Http { url, headers: UpstreamHeaders::default() }
        } else if let Some(url) = &settings.url {
            let files = HeaderFiles::open(loaded, name, &settings.header_files);
            let files = files.with_context(|| format!("mcp_servers.{name}"))?;
            let headers = files.headers();
            all.header_files.push(files);
            Upstream::Http { url: url.clone(), headers }
        } else {
            child(loaded, settings).with_context(|| format!("mcp_servers.{name}"))?
        };
        let captures = config::captures(settings, &loaded.config.ledger)
            .map_err(|problems| anyhow::anyhow!("mcp_servers.{name}.{}", problems.join("; ")))?;
        let reads = settings.on_outage.unwrap_or(loaded.config.ledger.on_outage).reads;
        let reads_in_outage = reads == config::Reads::Serve;
        let start_timeout = settings.start_timeout_s.map(|seconds| Duration::from_secs(seconds.get().into()));
        all.routes.push(Route {
            server: Arc::clone(server),
            upstream,
            captures,
            reads_in_outage,
            start_timeout,
            denials: settings.denials.into(),
            list_requestable: settings.list_requestable,
        });
    }
    Ok(all)
}

/// This very program, as the guard of stdio servers where there are any; their orphans become ours to wait for.
fn guard(routes: &[Route]) -> Option<PathBuf> {
    if !routes.iter().any(|route| matches!(route.upstream, Upstream::Stdio { .. })) {
        return None;
    }
    // A launcher that ends before its server leaves the server to process 1, which may reap nothing.
    if let Err(error) = rustix::process::set_child_subreaper(Some(rustix::process::getpid())) {
        tracing::warn!(%error, "orphans of stdio servers are left to process 1");
    }
    // The running program, even after an upgrade has replaced its file.
    Some(PathBuf::from("/proc/self/exe"))
}

/// A stdio server: its program and environment.
fn child(loaded: &Loaded, settings: &McpServer) -> Result<Upstream> {
    let (program, args) = settings.command.as_deref().and_then(<[String]>::split_first).context("neither url nor command")?;
    let mut env = settings.env.clone();
    for name in ["PATH", "HOME"] {
        #[expect(clippy::disallowed_methods, reason = "a child needs to find its programs; nothing else is inherited")]
        let value = std::env::var(name);
        if let Ok(value) = value {
            env.entry(name.to_owned()).or_insert(value);
        }
    }
    let cwd = settings.cwd.as_ref().map(|dir| loaded.at(dir));
    Ok(Upstream::Stdio { command: program.into(), args: args.to_vec(), env, cwd })
}

/// Runs the built-in helpdesk on a loopback port of its own: the gateway reaches it as it reaches any upstream.
async fn sample(loaded: &Loaded, name: &str) -> Result<(String, Desk)> {
    let file = loaded.at(&loaded.config.storage.data_dir).join(format!("sample-{name}.db"));
    let desk = Desk::open(&file).with_context(|| format!("cannot open {}", file.display()))?;
    let log = file.with_extension("jsonl");
    desk.log_to(&log).with_context(|| format!("cannot write {}", log.display()))?;
    let listener = TcpListener::bind("127.0.0.1:0").await.context("no loopback port for the sample upstream")?;
    let url = format!("http://{}/mcp", listener.local_addr()?);
    let router = remit_helpdesk::router(desk.clone());
    tokio::spawn(async move {
        if let Err(error) = axum::serve(listener, router).await {
            tracing::error!(%error, "the sample upstream stopped");
        }
    });
    Ok((url, desk))
}

/// Host and port of a URL.
fn host(url: &str) -> &str {
    url.split_once("://").map_or(url, |(_, rest)| rest)
}

/// The running program's SHA-256, so that a record says exactly what wrote it.
fn build_digest() -> String {
    let program = std::env::current_exe().and_then(std::fs::read);
    program.map_or_else(|_| "unknown".to_owned(), |bytes| remit_model::json::sha256_label(&bytes))
}
