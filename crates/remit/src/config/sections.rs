//! The sections of `remit.yaml`: every key with its meaning and default.

use super::{
    capture::{Capture, RetentionClass, ToolCapture},
    clients::ClientsSection,
    issuers::{AssertionAudienceSection, IdJagVersion, TrustedIssuerSection},
    providers::OidcProvider,
    subject::Subject,
    witnesses::WitnessesSection,
    workload::{SpiffeSection, WorkloadIssuerSection},
};
use remit_ledger::record::Retention;
use remit_model::{Rate, ToolClass, ToolRule};
use schemars::JsonSchema;
use serde::Deserialize;
use std::{collections::BTreeMap, num::NonZeroU16, path::PathBuf};

/// The whole of `remit.yaml`.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Config {
    #[serde(default)]
    pub(crate) server: ServerSection,
    #[serde(default)]
    pub(crate) storage: StorageSection,
    #[serde(default)]
    pub(crate) ledger: LedgerSection,
    /// Where people sign in.
    #[serde(default)]
    pub(crate) identity_providers: Vec<IdentityProvider>,
    #[serde(default)]
    pub(crate) agents: AgentsSection,
    /// Upstream MCP servers by name; each is reached at `/mcp/NAME` and is its own OAuth resource.
    #[serde(default)]
    pub(crate) mcp_servers: BTreeMap<String, McpServer>,
    #[serde(default)]
    pub(crate) policies: PoliciesSection,
    #[serde(default)]
    pub(crate) authzen: AuthzenSection,
    #[serde(default)]
    pub(crate) outbound: OutboundSection,
    /// Issuers whose tokens say who a person is, by a name of the operator's choice: agents exchange or redeem these tokens.
    #[serde(default)]
    pub(crate) trusted_issuers: BTreeMap<String, TrustedIssuerSection>,
    /// Redeem and issue ID-JAGs, in this version of the draft. Without it none is accepted or issued.
    #[serde(default)]
    pub(crate) id_jag: Option<IdJagVersion>,
    /// Other authorization servers, by a name of the operator's choice, for which agents get ID-JAGs here.
    #[serde(default)]
    pub(crate) assertion_audiences: BTreeMap<String, AssertionAudienceSection>,
    /// Issuers whose tokens prove workloads, by name: Kubernetes clusters, CI systems, clouds.
    #[serde(default)]
    pub(crate) workload_issuers: BTreeMap<String, WorkloadIssuerSection>,
    #[serde(default)]
    pub(crate) spiffe: SpiffeSection,
    #[serde(default)]
    pub(crate) clients: ClientsSection,
    #[serde(default)]
    pub(crate) observe: ObserveSection,
}

/// The listener and the server's own names.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct ServerSection {
    /// Address and port to listen on. Without `tls`, plain HTTP is served, so anything but loopback needs a TLS proxy in front.
    pub(crate) listen: String,
    /// Serve TLS with a certificate of its own.
    pub(crate) tls: Option<TlsSection>,
    /// The URL clients use, without a trailing slash; it is the OAuth issuer and the base of every resource
    /// identifier. Must be https unless its host is loopback.
    pub(crate) public_url: String,
    /// Where the commands reach the admin API, if it is not the address listened on.
    pub(crate) admin_url: Option<String>,
    /// Folder of the server's private keys, made by `remit init`.
    pub(crate) keys_dir: PathBuf,
    /// File that holds the admin API's bearer credential.
    pub(crate) admin_token_file: PathBuf,
    /// Further `Host` values to accept besides the one of `public_url` (a proxy's internal name, say).
    pub(crate) allowed_hosts: Vec<String>,
    /// `Origin` values of browser-based MCP clients to accept besides our own.
    pub(crate) allowed_origins: Vec<String>,
    /// Proxies in front of the server that say which address a request came from.
    pub(crate) trusted_proxies: TrustedProxies,
    /// Whether the trusted proxies say which certificate a client proved to them, in `Client-Cert` and `Client-Cert-Chain`
    /// (RFC 9440). They must set or remove both headers on every request.
    pub(crate) client_certificate_header: bool,
}

/// The certificate of the listener. Both files are read again when they change.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct TlsSection {
    /// PEM file of the server's certificate, followed by those that lead to its authority.
    pub(crate) certificate_file: PathBuf,
    /// PEM file of its private key, closed to others.
    pub(crate) key_file: PathBuf,
    /// Whether clients are asked for a certificate of their own.
    #[serde(default)]
    pub(crate) client_certificates: ClientCertificates,
}

/// Whether the listener asks clients for certificates.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum ClientCertificates {
    /// No.
    #[default]
    None,
    /// Yes, and a client may go without. Whether one is trusted is decided for each agent.
    Optional,
}

impl ServerSection {
    /// Whether the certificates of clients are seen: by the listener itself, or as trusted proxies state them.
    pub(crate) fn sees_client_certificates(&self) -> bool {
        self.client_certificate_header || self.tls.as_ref().is_some_and(TlsSection::asks)
    }
}

impl TlsSection {
    /// Whether clients are asked for certificates.
    pub(crate) fn asks(&self) -> bool {
        self.client_certificates == ClientCertificates::Optional
    }
}

/// Proxies whose word about a client's address is taken.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct TrustedProxies {
    /// Their addresses, or ranges of them such as `10.0.0.0/8`. By default no proxy is trusted.
    pub(crate) addresses: Vec<String>,
    /// The header that they set. Another one is passed on as the client sent it, so only this one is read.
    pub(crate) header: ForwardedHeader,
}

/// A header that names the client's address.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum ForwardedHeader {
    /// A list of addresses.
    #[default]
    XForwardedFor,
    /// RFC 7239.
    Forwarded,
}

impl ForwardedHeader {
    /// The name of the header.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::XForwardedFor => "x-forwarded-for",
            Self::Forwarded => "forwarded",
        }
    }
}

impl Default for ServerSection {
    fn default() -> Self {
        Self {
            listen: "127.0.0.1:8420".into(),
            tls: None,
            public_url: "http://127.0.0.1:8420".into(),
            admin_url: None,
            keys_dir: "keys".into(),
            admin_token_file: "keys/admin.token".into(),
            allowed_hosts: Vec::new(),
            allowed_origins: Vec::new(),
            trusted_proxies: TrustedProxies::default(),
            client_certificate_header: false,
        }
    }
}

/// Durable state.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct StorageSection {
    /// Folder of the SQLite database.
    pub(crate) data_dir: PathBuf,
}

impl Default for StorageSection {
    fn default() -> Self {
        Self { data_dir: "data".into() }
    }
}

/// The classes there are without any configuration.
const CLASSES: &[(&str, u32)] = &[("standard", 400), ("payment", 2555), ("capture", 30)];

/// The tamper-evident ledger.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct LedgerSection {
    /// Folder that receives entries, tiles and checkpoints; copying it is all an auditor needs.
    pub(crate) dir: PathBuf,
    /// The log's name in checkpoints (C2SP tlog-checkpoint origin); by default the public URL without its scheme.
    pub(crate) origin: Option<String>,
    /// Longest time, in milliseconds, between a record and the signed checkpoint that covers it.
    pub(crate) publish_every_ms: u64,
    /// How long the values beside the records are kept, by class. There are `standard` (400 days), `payment` (2555) and
    /// `capture` (30) without a word; a class named here replaces one of them or is a further one.
    pub(crate) retention: BTreeMap<String, RetentionClass>,
    /// Others who are shown every new checkpoint and sign it; without them tampering is evident only to outsiders.
    pub(crate) witnesses: Option<WitnessesSection>,
    /// Seconds between heartbeat records, which an idle server writes too; 0 writes none.
    pub(crate) heartbeat_s: u64,
    /// Bytes reserved on disk for records that the database cannot take while the disk is full; 0 reserves none.
    pub(crate) spool_bytes: u64,
    /// Seconds for which nothing may change after the wall clock was stepped.
    pub(crate) clock_settle_s: u64,
    /// Refuse changes while the kernel does not say that the wall clock is synchronised.
    pub(crate) clock_required: bool,
    /// What goes on while logging itself is in trouble. Changes never do.
    pub(crate) on_outage: OnOutage,
}

impl Default for LedgerSection {
    fn default() -> Self {
        Self {
            dir: "ledger".into(),
            origin: None,
            publish_every_ms: 500,
            retention: BTreeMap::new(),
            witnesses: None,
            heartbeat_s: 60,
            spool_bytes: 8 << 20,
            clock_settle_s: 30,
            clock_required: false,
            on_outage: OnOutage::default(),
        }
    }
}

impl LedgerSection {
    /// The class of this name; `None` when there is none.
    pub(crate) fn retention_class(&self, name: &str) -> Option<Retention> {
        let configured = self.retention.get(name).map(|class| class.keep_days);
        let known = CLASSES.iter().find(|(class, _)| *class == name).map(|(_, days)| *days);
        let keep_days = configured.or(known)?;
        Some(Retention { class: name.to_owned(), keep_days, legal_hold: false })
    }

    /// Days by class: the built-in ones, and what the file says of them and of others.
    pub(crate) fn retention(&self) -> BTreeMap<String, u32> {
        let mut days = remit_store::Config::retention();
        days.extend(self.retention.iter().map(|(class, stated)| (class.clone(), stated.keep_days)));
        days
    }
}

/// What goes on while logging itself is in trouble.
#[derive(Clone, Copy, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct OnOutage {
    /// Calls that change nothing.
    pub(crate) reads: Reads,
}

/// Whether reads are served while logging is in trouble.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Reads {
    /// Refuse them with the code of the trouble.
    #[default]
    Refuse,
    /// Serve them as long as they can still be recorded, in the reserved space if need be.
    Serve,
}

/// One source of people.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(tag = "type", rename_all = "snake_case", deny_unknown_fields)]
pub(crate) enum IdentityProvider {
    /// Accounts kept in this file, with Argon2 password hashes.
    Local {
        /// The accounts.
        accounts: Vec<Account>,
    },
    /// An OpenID Connect provider of the organisation.
    Oidc(Box<OidcProvider>),
}

/// What a password needs beside it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum SecondFactor {
    /// One of the person's passkeys.
    Passkey,
}

/// A local account.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Account {
    /// Sign-in name; the subject is `user:NAME`.
    pub(crate) name: String,
    /// Shown on pages and in reports.
    #[serde(default)]
    pub(crate) display_name: Option<String>,
    /// File with the Argon2 PHC string (`remit init` writes one).
    pub(crate) password_hash_file: PathBuf,
    /// `passkey`: the password alone does not sign this person in. Without it a passkey may be used, and need not.
    #[serde(default)]
    pub(crate) second_factor: Option<SecondFactor>,
    /// What this person may do, and so the most they can hand to an agent: scope shorthand such as `helpdesk:*`.
    #[serde(default)]
    pub(crate) entitlements: Vec<String>,
    /// The same, or narrower, as RFC 9396 authorization details.
    #[serde(default)]
    pub(crate) authorization_details: Option<serde_json::Value>,
    /// A disabled account's delegations stop at once.
    #[serde(default)]
    pub(crate) disabled: bool,
}

/// Limits that hold for every agent.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct AgentsSection {
    /// Lifetime of an access token in seconds, at most 3600.
    pub(crate) access_token_lifetime: u32,
    /// Whether agents may be registered with `binding: danger_bearer`: their access tokens are bound to no key, so that each
    /// party that gets hold of one can use it.
    pub(crate) danger_bearer: DangerBearer,
    /// Lifetime of such a token in seconds, at most 3600.
    pub(crate) danger_bearer_lifetime: u32,
    /// Most actors in one delegation chain, at most 8.
    pub(crate) chain_depth: u8,
    /// Demand a server nonce in every DPoP proof (RFC 9449 section 8).
    pub(crate) require_dpop_nonce: bool,
    /// Days until a delegation through sign-in ends for good, however often it is refreshed.
    pub(crate) delegation_days: u16,
    /// Let programs without a browser show a code to a person, who decides on another device (RFC 8628).
    pub(crate) device_flow: bool,
    /// Demand that every authorization request is pushed first (RFC 9126).
    pub(crate) require_pushed_requests: bool,
    /// How often one client may ask.
    pub(crate) rate_limits: RateLimitsSection,
}

impl Default for AgentsSection {
    fn default() -> Self {
        Self {
            access_token_lifetime: 600,
            danger_bearer: DangerBearer::default(),
            danger_bearer_lifetime: 600,
            chain_depth: 4,
            require_dpop_nonce: false,
            delegation_days: 30,
            device_flow: false,
            require_pushed_requests: false,
            rate_limits: RateLimitsSection::default(),
        }
    }
}

/// Whether access tokens may be bound to no key.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum DangerBearer {
    #[default]
    Refused,
    Allowed,
}

/// How often one client may ask. A client over its limit gets 429 with `Retry-After`; others are not slowed by it.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct RateLimitsSection {
    /// Requests to the token, introspection, revocation and userinfo endpoints.
    pub(crate) tokens: RateSection,
    /// Requests to MCP servers and evaluations, of all servers together.
    pub(crate) calls: RateSection,
}

/// A steady rate and what may come at once.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct RateSection {
    /// Requests per second of one client over a longer time; 0 sets no limit.
    pub(crate) per_second: u32,
    /// Requests of one client that may come at once, at least 1.
    pub(crate) burst: u32,
}

impl Default for RateSection {
    fn default() -> Self {
        Self { per_second: 1_000, burst: 10_000 }
    }
}

impl RateSection {
    pub(crate) fn rate(&self) -> Rate {
        Rate { per_second: self.per_second, burst: self.burst }
    }
}

/// An upstream MCP server: exactly one of `url`, `command` and `sample`.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct McpServer {
    /// Shown on consent pages.
    pub(crate) title: Option<String>,
    /// Streamable HTTP endpoint of the upstream.
    pub(crate) url: Option<String>,
    /// Headers sent to the upstream, each from a file: its own credential, never the caller's token.
    pub(crate) header_files: BTreeMap<String, PathBuf>,
    /// A stdio server to start: program and arguments.
    pub(crate) command: Option<Vec<String>>,
    /// Environment of the stdio server. Nothing else of ours is inherited but `PATH` and `HOME`.
    pub(crate) env: BTreeMap<String, String>,
    /// Working folder of the stdio server.
    pub(crate) cwd: Option<PathBuf>,
    /// Seconds that the upstream may take to start or to accept a connection, and to answer the first message.
    pub(crate) start_timeout_s: Option<NonZeroU16>,
    /// A built-in sample upstream: `helpdesk`.
    pub(crate) sample: Option<String>,
    /// How a refused tool call is answered: `result`, `error` or `step_up`.
    pub(crate) denials: Denials,
    /// List the tools that an agent does not hold but could ask a person for, marked as such.
    pub(crate) list_requestable: bool,
    /// Overrides `ledger.on_outage` for this server.
    pub(crate) on_outage: Option<OnOutage>,
    /// What each tool does; a tool not named here is taken for one that changes things.
    pub(crate) tools: BTreeMap<String, Tool>,
    /// How much of the calls is kept beside the log.
    pub(crate) capture: Option<Capture>,
}

/// How a refused tool call is answered once its caller is known.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Denials {
    /// A tool result with `isError: true`, so that the model reads the reason and what would be enough.
    #[default]
    Result,
    /// A JSON-RPC error.
    Error,
    /// HTTP 403 `insufficient_scope` where a wider token would be enough, so that the client asks the person for it; otherwise a
    /// tool result.
    StepUp,
}

impl From<Denials> for remit_gateway::Denials {
    fn from(denials: Denials) -> Self {
        match denials {
            Denials::Result => Self::Result,
            Denials::Error => Self::Error,
            Denials::StepUp => Self::StepUp,
        }
    }
}

/// What the operator says about a tool.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Tool {
    /// `read`, `write`, `delete`, `execute`, `admin`, `identity` or `payment`.
    pub(crate) class: Class,
    /// `public`, `internal`, `confidential`, `pii`, `phi`, `pci` or `secret`: the class of every field of the answer that
    /// has none of its own. Policies decide about each class as `read_field`.
    pub(crate) classification: Option<String>,
    /// The class of single fields of the answer, by JSON Pointer with `*` for array items.
    pub(crate) fields: BTreeMap<String, String>,
    /// In words, for the consent page.
    pub(crate) title: Option<String>,
    /// The name by which clients see and call the tool: letters, digits, `_` and `-`, 64 at most.
    pub(crate) alias: Option<String>,
    /// Whom a call of the tool is about; what is recorded of the call can then be forgotten with them.
    pub(crate) subject: Option<Subject>,
    /// How much of this tool's calls is kept beside the log; replaces what the server says.
    pub(crate) capture: Option<ToolCapture>,
}

/// What a tool does to the world.
#[derive(Clone, Copy, Debug, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Class {
    Read,
    Write,
    Delete,
    #[default]
    Execute,
    Admin,
    Identity,
    Payment,
}

impl Tool {
    pub(crate) fn rule(&self) -> ToolRule {
        let class = match self.class {
            Class::Read => ToolClass::Read,
            Class::Write => ToolClass::Write,
            Class::Delete => ToolClass::Delete,
            Class::Execute => ToolClass::Execute,
            Class::Admin => ToolClass::Admin,
            Class::Identity => ToolClass::Identity,
            Class::Payment => ToolClass::Payment,
        };
        let subject = self.subject.as_ref().map(Subject::rule);
        let (classification, fields) = (self.classification.clone(), self.fields.clone());
        ToolRule { class, classification, fields, title: self.title.clone(), subject, alias: self.alias.clone() }
    }
}

/// Cedar policies.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct PoliciesSection {
    /// Folder of `*.cedar` files, reloaded when they change; the last good set is kept. Without a policy nothing is
    /// allowed.
    pub(crate) dir: PathBuf,
}

impl Default for PoliciesSection {
    fn default() -> Self {
        Self { dir: "policies".into() }
    }
}

/// Decisions for other enforcement points: the AuthZEN Authorization API.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct AuthzenSection {
    /// Answer evaluations at `/access/v1`. The caller needs a token for `PUBLIC_URL/access/v1` that grants
    /// `access:evaluate`.
    pub(crate) enabled: bool,
}

/// Fetching from other machines: keys, metadata and client documents.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct OutboundSection {
    /// `HOST:PORT` pairs that may be fetched from although a stranger names them and they are private, or without TLS.
    pub(crate) allow: Vec<String>,
    /// PEM file of certificate authorities that are trusted besides those of the system.
    pub(crate) ca_file: Option<PathBuf>,
}

/// What the operator sees.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct ObserveSection {
    /// Log filter: `error`, `warn`, `info`, `debug`, or `target=level` pairs. Logs go to stderr.
    pub(crate) log: String,
}

impl Default for ObserveSection {
    fn default() -> Self {
        Self { log: "info".into() }
    }
}

/// The JSON Schema of the configuration.
pub(crate) fn schema_value() -> serde_json::Value {
    schemars::schema_for!(Config).into()
}

/// The JSON Schema of `remit.yaml`, pretty-printed.
pub(crate) fn schema() -> String {
    let mut text = serde_json::to_string_pretty(&schemars::schema_for!(Config)).unwrap_or_default();
    text.push('\n');
    text
}
