//! `trusted_issuers`: issuers whose tokens say who a person is, for agents that bring them.

use remit_authority::{AssertionAudience, TrustedIssuer};
use remit_model::{AgentId, Authority, PrincipalKind, Server};
use remit_token::{Algorithm, foreign::Kind};
use schemars::JsonSchema;
use serde::Deserialize;
use std::collections::{BTreeMap, BTreeSet};
use url::Url;

/// Longest life of a foreign token, and how long ago it may have been issued, in seconds.
const SECONDS_LIMIT: u32 = 86_400;

/// One issuer.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct TrustedIssuerSection {
    /// Its issuer identifier, exactly as its tokens have it in `iss`.
    pub(crate) issuer: String,
    /// Where its keys are.
    pub(crate) jwks_uri: String,
    /// The kinds of token that it is trusted for: `access_token`, `jwt_grant`, `id_jag`.
    pub(crate) accept: BTreeSet<TokenKind>,
    /// Algorithms of its signatures; all that Remit verifies when left out.
    #[serde(default)]
    pub(crate) algorithms: Vec<String>,
    /// Audiences of its access tokens and JWT grants that mean this server, besides `server.public_url`.
    #[serde(default)]
    pub(crate) audiences: Vec<String>,
    /// Longest life of its tokens, in seconds.
    #[serde(default = "lifetime")]
    pub(crate) max_lifetime_s: u32,
    /// How long ago a token may have been issued, in seconds.
    #[serde(default = "age")]
    pub(crate) max_age_s: u32,
    /// Its clients that are agents here: client id to agent.
    #[serde(default)]
    pub(crate) clients: BTreeMap<String, String>,
    /// Its people with an account here: `sub` to the name of the account.
    #[serde(default)]
    pub(crate) people: BTreeMap<String, String>,
    /// The name of the identity provider that is the same issuer: people who signed in through it have an account already.
    #[serde(default)]
    pub(crate) provider: Option<String>,
    /// What a scope of its tokens hands over here: its scope to scopes of this server, such as `helpdesk:tickets_read`.
    #[serde(default)]
    pub(crate) scopes: BTreeMap<String, String>,
    /// Exchange each of its access tokens once only. JWT grants and ID-JAGs are always redeemed once.
    #[serde(default)]
    pub(crate) single_use: bool,
}

/// A kind of token.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum TokenKind {
    /// The subject token of a token exchange.
    AccessToken,
    /// A JWT authorization grant (RFC 7523), as in identity chaining.
    JwtGrant,
    /// An identity assertion JWT authorization grant; the section `id_jag` switches it on.
    IdJag,
}

/// Another authorization server, for which agents get ID-JAGs here.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct AssertionAudienceSection {
    /// Its issuer identifier: the `audience` of the request and of the assertion.
    pub(crate) issuer: String,
    /// Agents that get assertions for it: agent to its client id there.
    pub(crate) clients: BTreeMap<String, String>,
    /// Resources behind it; an assertion is bound to one of them.
    #[serde(default)]
    pub(crate) resources: BTreeSet<String>,
    /// Scopes there that an assertion may name.
    pub(crate) scopes: BTreeSet<String>,
    /// It understands `act`: name the agent in it.
    #[serde(default)]
    pub(crate) act: bool,
}

impl AssertionAudienceSection {
    /// What is wrong with the section, each with its key.
    pub(super) fn problems(&self, public_url: &str, id_jag: bool) -> Vec<String> {
        let mut problems = Vec::new();
        if !id_jag {
            problems.push("issuer: needs the top-level key `id_jag: draft-04`".to_owned());
        }
        // SPEC: IJ-07
        if self.issuer == public_url {
            problems.push("issuer: this server redeems no assertion of its own".to_owned());
        }
        let resources = self.resources.iter().map(|url| ("resources", url));
        for (key, url) in std::iter::once(("issuer", &self.issuer)).chain(resources) {
            if !Url::parse(url).is_ok_and(|url| url.host().is_some() && url.fragment().is_none()) {
                problems.push(format!("{key}: `{url}` is not a URL without fragment, such as https://as.example"));
            }
        }
        for agent in self.clients.keys() {
            if let Err(refusal) = AgentId::parse(agent) {
                problems.push(format!("clients: {}", refusal.reason));
            }
        }
        if self.scopes.is_empty() {
            problems.push("scopes: name at least one".to_owned());
        }
        let text = |scope: &String| !scope.is_empty() && scope.bytes().all(|b| b.is_ascii_graphic() && b != b'"' && b != b'\\');
        for scope in self.scopes.iter().filter(|scope| !text(scope) || *scope == "*") {
            problems.push(format!("scopes: `{scope}` is not a scope; name each one that an assertion may have"));
        }
        problems
    }

    /// As the authorization server takes it.
    pub(crate) fn audience(&self) -> AssertionAudience {
        let client = |(agent, id): (&String, &String)| Some((AgentId::parse(agent).ok()?, id.clone()));
        AssertionAudience {
            issuer: self.issuer.clone(),
            clients: self.clients.iter().filter_map(client).collect(),
            resources: self.resources.clone(),
            scopes: self.scopes.clone(),
            act: self.act,
        }
    }
}

/// The version of the ID-JAG draft that is spoken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
pub(crate) enum IdJagVersion {
    /// draft-ietf-oauth-identity-assertion-authz-grant-04
    #[serde(rename = "draft-04")]
    Draft04,
}

fn lifetime() -> u32 {
    3_600
}

fn age() -> u32 {
    3_600
}

impl TrustedIssuerSection {
    /// What is wrong with the section, each with its key.
    pub(super) fn problems(&self, servers: &[&Server], id_jag: bool) -> Vec<String> {
        let mut problems = Vec::new();
        let address = |text: &str| Url::parse(text).ok().filter(|url| url.host().is_some() && url.username().is_empty());
        if address(&self.issuer).is_none() {
            problems.push(format!("issuer: `{}` is not a URL, such as https://idp.example", self.issuer));
        }
        let local = |url: &Url| url.host_str().is_some_and(|host| matches!(host, "127.0.0.1" | "[::1]" | "localhost"));
        if !address(&self.jwks_uri).is_some_and(|url| url.scheme() == "https" || (url.scheme() == "http" && local(&url))) {
            problems.push(format!("jwks_uri: `{}` is not an https URL, or http on loopback", self.jwks_uri));
        }
        if self.accept.is_empty() {
            problems.push("accept: name at least one of access_token, jwt_grant and id_jag".to_owned());
        }
        if self.accept.contains(&TokenKind::IdJag) && !id_jag {
            problems.push("accept: `id_jag` needs the top-level key `id_jag: draft-04`".to_owned());
        }
        for name in self.algorithms.iter().filter(|name| !Algorithm::ACCEPTED.contains(&name.as_str())) {
            problems.push(format!("algorithms: `{name}` is not one of {}", Algorithm::ACCEPTED.join(", ")));
        }
        for (key, seconds) in [("max_lifetime_s", self.max_lifetime_s), ("max_age_s", self.max_age_s)] {
            if !(1..=SECONDS_LIMIT).contains(&seconds) {
                problems.push(format!("{key}: must be 1 to {SECONDS_LIMIT}"));
            }
        }
        for agent in self.clients.values() {
            if let Err(refusal) = AgentId::parse(agent) {
                problems.push(format!("clients: {}", refusal.reason));
            }
        }
        for (theirs, here) in &self.scopes {
            if let Err(refusal) = Authority::from_scope(here, servers) {
                problems.push(format!("scopes.{theirs}: {}", refusal.reason));
            }
        }
        problems
    }

    /// As the authorization server takes it.
    pub(crate) fn trusted(&self) -> TrustedIssuer {
        let client = |(id, agent): (&String, &String)| Some((id.clone(), AgentId::parse(agent).ok()?));
        let person =
            |(sub, name): (&String, &String)| (sub.clone(), PrincipalKind::Human.name_in(name).unwrap_or(name).to_owned());
        TrustedIssuer {
            issuer: self.issuer.clone(),
            jwks_uri: self.jwks_uri.clone(),
            kinds: self.accept.iter().map(|kind| kind.kind()).collect(),
            algorithms: self.algorithms.clone(),
            audiences: self.audiences.clone(),
            lifetime: self.max_lifetime_s.into(),
            age: self.max_age_s.into(),
            clients: self.clients.iter().filter_map(client).collect(),
            people: self.people.iter().map(person).collect(),
            provider: self.provider.clone(),
            scopes: self.scopes.clone(),
            single_use: self.single_use,
        }
    }
}

impl TokenKind {
    fn kind(self) -> Kind {
        match self {
            Self::AccessToken => Kind::AccessToken,
            Self::JwtGrant => Kind::JwtGrant,
            Self::IdJag => Kind::IdJag,
        }
    }
}
