//! The nodes of the chain of custody, as a draft states them.

use remit_model::{Confirmation, EdgeProof, Principal, PrincipalKind, UnixTime};
use serde::Serialize;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum PartyKind {
    Human,
    Agent,
    Subagent,
    Workload,
    Service,
    ExternalAgent,
}

/// One node of the chain of custody.
#[derive(Clone, Debug)]
pub struct Party {
    pub kind: PartyKind,
    pub issuer: String,
    /// Plain subject; recorded as a pseudonym (`subject_ref`) and committed under `/chain/N/subject`.
    pub subject: String,
    pub agent: Option<AgentFacts>,
    pub auth: Auth,
    pub token: Option<TokenFacts>,
    /// RFC 7638 thumbprint of the key this party proved.
    pub jkt: Option<String>,
    /// `x5t#S256` of the certificate this party proved, where its tokens are bound to one.
    pub x5t: Option<String>,
    /// The DPoP proof seen, compact; only its hash is recorded.
    pub proof: Option<String>,
    pub grant: GrantFacts,
    /// How this party came by its authority, signed by the delegator; `None` at index 0 or when not at hand.
    pub edge: Option<Edge>,
}

impl Party {
    /// A party of which only the kind, the issuer and the subject are known.
    pub fn new(kind: PartyKind, issuer: impl Into<String>, subject: impl Into<String>) -> Self {
        Self {
            kind,
            issuer: issuer.into(),
            subject: subject.into(),
            agent: None,
            auth: Auth::default(),
            token: None,
            jkt: None,
            x5t: None,
            proof: None,
            grant: GrantFacts::default(),
            edge: None,
        }
    }

    /// The party with what its token is bound to.
    pub fn bound(&mut self, to: Option<&Confirmation>) {
        self.jkt = to.and_then(Confirmation::jkt).map(str::to_owned);
        self.x5t = to.and_then(Confirmation::x5t).map(str::to_owned);
    }

    /// The party that a principal is.
    pub fn of(principal: &Principal) -> Self {
        let kind = match principal.kind() {
            PrincipalKind::Human => PartyKind::Human,
            PrincipalKind::Agent => PartyKind::Agent,
        };
        Self::new(kind, &principal.iss, &principal.sub)
    }
}

/// The delegator's signature over one hop.
#[derive(Clone, Debug)]
pub enum Edge {
    /// The proof itself: hashed into the record, committed under `/chain/N/edge`.
    Proof(EdgeProof),
    /// Only its hash (`sha-256:…`) is at hand; the delegation record holds the proof.
    Hash(String),
}

/// Fields in the order of their names, as a record's canonical form has them.
#[derive(Clone, Debug, Default, Serialize)]
pub struct AgentFacts {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub charter_digest: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub framework: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub instance_uid: Option<String>,
    pub uid: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
}

/// How a party proved who it is. `password` and `none` are ours: the honest names for what they are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum AuthMethod {
    Passkey,
    Mfa,
    Sso,
    SpiffeSvid,
    Wit,
    ClientAssertion,
    /// A certificate that is registered for the agent (RFC 8705 §2.2).
    ClientCertificate,
    /// Legacy shared key.
    ApiKey,
    Password,
    /// Known only from an upstream token, or not authenticated at all.
    #[default]
    None,
}

impl AuthMethod {
    /// What the authentication class and methods of a token (`acr`, `amr`; RFC 8176) come to. Any other
    /// class than those of passkeys is an identity provider's.
    pub fn of(acr: Option<&str>, amr: &[String]) -> Self {
        let has = |name: &str| amr.iter().any(|method| method == name);
        // The classes of passkeys are ours too; then the methods tell.
        if acr.is_some_and(|class| !matches!(class, "phr" | "phrh")) {
            return Self::Sso;
        }
        match (has("pwd"), has("hwk") || has("swk")) {
            (true, true) => Self::Mfa,
            (false, true) => Self::Passkey,
            (true, false) => Self::Password,
            (false, false) => Self::None,
        }
    }
}

#[derive(Clone, Debug, Default)]
pub struct Auth {
    pub method: AuthMethod,
    pub time: Option<UnixTime>,
    pub acr: Option<String>,
    pub amr: Vec<String>,
}

/// Facts of the token a party held. The token itself is never recorded; `jti` is hashed.
#[derive(Clone, Debug, Default)]
pub struct TokenFacts {
    pub jti: Option<String>,
    pub issuer: Option<String>,
    pub audience: Vec<String>,
    pub scope: Vec<String>,
    pub expires: Option<UnixTime>,
    pub issued: Option<UnixTime>,
    /// `sha-256:…` of the canonical authority.
    pub authorization_details_hash: Option<String>,
    /// The token was bound to no key, so that a copy of it worked. Recorded as `binding: danger_bearer`.
    pub unbound: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum GrantKind {
    #[default]
    Login,
    TokenExchange,
    Ciba,
    ClientCredentials,
    IdJag,
    TxnToken,
}

/// The grant by which a party came into the chain. An empty id means none (a party that only presented itself).
#[derive(Clone, Debug, Default)]
pub struct GrantFacts {
    pub id: String,
    pub kind: GrantKind,
    pub parent_jti: Option<String>,
}
