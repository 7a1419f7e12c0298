//! Registered principals: agents with an owner, a status and a ceiling; humans with entitlements.

use crate::{
    authority::Authority,
    id::{AgentId, PrincipalKind},
    passkey::Passkeys,
    time::UnixTime,
};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::{collections::BTreeMap, fmt};

/// Whether an agent may act at all. Checked on every call, for every agent of the chain (DC-13).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AgentStatus {
    Active,
    /// Stopped for the time being; its tokens, and those of its descendants, are refused.
    Quarantined,
    /// Gone for good; its name is never reused.
    Retired,
}

/// On whose authority an agent may act.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Acts {
    /// On what others delegate to it, and on its own up to its ceiling. Rows of older builds that say nothing mean this; a new
    /// registration has to say it.
    #[default]
    Either,
    /// Only where a person is at the root of the chain.
    OnBehalf,
}

/// How an agent is registered as an OAuth client: how it proves itself, and what its tokens are bound to.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ClientProfile {
    /// What every access token of this agent is bound to.
    pub binding: Binding,
    /// How it came to be registered.
    pub registration: Registration,
    /// Ways to authenticate besides the inline `keys`.
    pub credentials: Vec<Credential>,
    /// What the audience of its client assertions may be.
    pub assertion_audience: AssertionAudience,
    /// Whether its authorization requests must be pushed: RFC 9126 §6.
    pub require_pushed_requests: bool,
    /// With [`Binding::DangerBearer`]: whether it may also call what changes something.
    pub danger_bearer_writes: bool,
}

/// What an access token is bound to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Binding {
    /// A key that the client proves with each request: DPoP, RFC 9449.
    #[default]
    Dpop,
    /// The certificate of the TLS connection: RFC 8705.
    Mtls,
    /// Nothing. Who holds the token can use it.
    DangerBearer,
}

/// How an agent came to be registered.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "by")]
pub enum Registration {
    /// An administrator registered it.
    #[default]
    Administrator,
    /// It registered itself at the registration endpoint, and a person let it in: RFC 7591.
    Dynamic {
        /// The `client_id` that it was given.
        client_id: String,
    },
    /// Its `client_id` is the URL of its metadata document (draft-ietf-oauth-client-id-metadata-document).
    MetadataDocument {
        /// The `client_id`.
        url: String,
    },
}

/// One way in which an agent proves itself at the token endpoint without a key that is registered here.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "type", deny_unknown_fields)]
pub enum Credential {
    /// `private_key_jwt` with the keys at this URL (RFC 7591 `jwks_uri`).
    JwksUri { uri: String },
    /// A JWT-SVID or X.509-SVID whose SPIFFE ID is this one, or lies below it when it ends in `/*` (SP-04).
    Spiffe { id: String },
    /// `self_signed_tls_client_auth`: the certificate with this `x5t#S256` (RFC 8705 §2.2).
    Certificate { thumbprint: String },
    /// A projected service-account token of this cluster (KS-01, KS-02).
    Kubernetes {
        /// The name of the cluster in the configuration.
        cluster: String,
        namespace: String,
        service_account: String,
        /// The account's UID: names are reused, UIDs are not.
        uid: String,
    },
    /// A token of an issuer that the configuration trusts for workloads, such as a CI system (OF-01).
    Federated {
        /// The name of the issuer in the configuration.
        issuer: String,
        /// Claims, each of which the token must carry with exactly this value.
        claims: BTreeMap<String, String>,
    },
}

/// What the audience of a client assertion may be.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AssertionAudience {
    /// Our issuer identifier alone (J-09).
    #[default]
    Issuer,
    /// Also the URL of the token endpoint, for a client that cannot be changed. Each use is named in the record.
    TokenEndpoint,
}

impl Binding {
    /// The word for it in the configuration, in records and in policies.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Dpop => "dpop",
            Self::Mtls => "mtls",
            Self::DangerBearer => "danger_bearer",
        }
    }
}

impl Agent {
    /// Its OAuth `client_id`: its subject, unless it registered itself under another one.
    pub fn client_id(&self) -> String {
        match &self.client.registration {
            Registration::Administrator => self.id.subject(),
            Registration::Dynamic { client_id } => client_id.clone(),
            Registration::MetadataDocument { url } => url.clone(),
        }
    }

    /// Whether it has no means to authenticate, and so identifies itself by `client_id` alone (RFC 6749 §2.1).
    pub fn is_public(&self) -> bool {
        self.keys.is_empty() && self.client.credentials.is_empty()
    }

    /// Whether its access tokens are bound to the certificate of the connection.
    pub fn is_mtls(&self) -> bool {
        self.client.binding == Binding::Mtls
    }

    /// Whether its access tokens are bound to nothing, so that they serve everyone who holds them.
    pub fn is_bearer(&self) -> bool {
        self.client.binding == Binding::DangerBearer
    }
}

/// A registered non-human principal; also the OAuth client `agent:NAME`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Agent {
    pub id: AgentId,
    /// Shown on consent pages and in reports.
    pub display_name: String,
    /// Subject of the accountable human, for instance `user:alice`.
    pub owner: String,
    pub status: AgentStatus,
    /// Public JWKs for `private_key_jwt` (RFC 7523); empty means the agent cannot authenticate by itself.
    pub keys: Vec<Value>,
    /// Exact redirect URIs for the authorization code grant (AZ-02).
    pub redirect_uris: Vec<String>,
    /// Authorization that no token of this agent may exceed, whatever a delegator hands it.
    pub ceiling: Authority,
    pub labels: BTreeMap<String, String>,
    /// Whether it may also act without a person. Rows that do not say are of agents that may.
    #[serde(default)]
    pub acts: Acts,
    /// How it is registered as an OAuth client. Rows that do not say are of agents that an operator registered.
    #[serde(default)]
    pub client: ClientProfile,
    pub registered: UnixTime,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum HumanStatus {
    Active,
    Disabled,
}

/// Where a local account is changed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Managed {
    /// In the configuration, which lists it.
    #[default]
    Configuration,
    /// With commands, through the admin API.
    Command,
}

/// A person who can sign in and delegate.
#[derive(Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Human {
    /// Local name; the subject is `user:NAME`.
    pub name: String,
    pub display_name: String,
    pub status: HumanStatus,
    /// Argon2 PHC string; never shown.
    pub password_hash: Option<String>,
    /// What this person may do, and so the most they can hand on.
    pub entitlements: Authority,
    /// Who they are at an identity provider; none for a local account.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub identity: Option<Identity>,
    /// Whatever rests on an authentication before this time has ended, and stays so. It never moves back.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ended_before: Option<UnixTime>,
    /// How they sign in and sign otherwise than by password.
    #[serde(default, skip_serializing_if = "Passkeys::is_empty")]
    pub passkeys: Passkeys,
    /// Where the account is changed. Rows that do not say are of accounts that the configuration lists.
    #[serde(default)]
    pub managed: Managed,
}

/// A person as an identity provider knows them. The pair of issuer and subject identifies them; nothing else does.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Identity {
    /// The provider's issuer identifier.
    pub issuer: String,
    /// Their `sub` there.
    pub subject: String,
    /// The account is disabled because the configuration has no such provider any more.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub withdrawn: bool,
    /// What the provider says of them through SCIM; none for who only signs in.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub provisioned: Option<Box<Provisioned>>,
}

/// A person as their identity provider provisions them. RFC 7643 §4.1
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Provisioned {
    pub user_name: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub external_id: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub display_name: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub formatted: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub given_name: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub family_name: Option<String>,
    pub active: bool,
    /// The provider deleted them: they are not shown to it any more.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub deleted: bool,
    /// The account is disabled because of that, and not by an administrator.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub disables: bool,
    pub created: UnixTime,
    pub changed: UnixTime,
}

impl fmt::Debug for Provisioned {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Provisioned").field("active", &self.active).field("deleted", &self.deleted).finish_non_exhaustive()
    }
}

impl Identity {
    /// Whether the provider has deactivated or deleted this person.
    pub fn is_deactivated(&self) -> bool {
        self.provisioned.as_ref().is_some_and(|kept| !kept.active || kept.deleted)
    }

    /// The local name of this person: the provider's name here, and a digest of issuer and subject. An auditor computes the
    /// digest from the provider's ID token, so a name proves to whom it belongs.
    pub fn local_name(&self, provider: &str) -> String {
        format!("{provider}-{}", self.digest())
    }

    /// Whether a local name is the one of this identity, whatever the provider was called.
    pub fn is_named(&self, name: &str) -> bool {
        name.rsplit_once('-').is_some_and(|(_, digest)| digest == self.digest())
    }

    /// 160 bits of the SHA-256 of the canonical `[issuer, subject]`, in hexadecimal.
    fn digest(&self) -> String {
        let pair = serde_json::json!([self.issuer, self.subject]);
        let digest = crate::json::digest(&pair);
        digest.trim_start_matches("sha-256:").chars().take(40).collect()
    }
}

impl fmt::Debug for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Identity").field("issuer", &self.issuer).finish_non_exhaustive()
    }
}

impl Human {
    /// The subject that names this person in tokens and records: `user:NAME`.
    pub fn subject(&self) -> String {
        PrincipalKind::Human.subject(&self.name)
    }
}

impl fmt::Debug for Human {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Human").field("name", &self.name).field("status", &self.status).finish_non_exhaustive()
    }
}

/// Whether a scheme can belong to an installed program: none that a browser, or the system's own programs, act upon. One
/// without a dot is accepted when it is registered, though RFC 8252 §7.1 asks for one: some clients have no other.
pub fn is_private_scheme(scheme: &str) -> bool {
    const TAKEN: [&str; 29] = [
        "about",
        "blob",
        "chrome",
        "content",
        "data",
        "dav",
        "facetime",
        "file",
        "filesystem",
        "ftp",
        "geo",
        "http",
        "https",
        "imap",
        "intent",
        "jar",
        "javascript",
        "ldap",
        "mailto",
        "market",
        "news",
        "res",
        "sms",
        "ssh",
        "tel",
        "vbscript",
        "view-source",
        "ws",
        "wss",
    ];
    let proper = scheme.len() >= 3 && scheme.starts_with(|c: char| c.is_ascii_alphabetic());
    let letters = scheme.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b"+.-".contains(&b));
    proper && letters && !TAKEN.contains(&scheme) && !scheme.starts_with("ms-") && !scheme.starts_with("chrome-")
}
