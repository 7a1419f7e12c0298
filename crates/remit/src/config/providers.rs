//! `identity_providers`: the keys of an OpenID Connect provider.

use remit_authority::provider::Check;
use schemars::JsonSchema;
use serde::Deserialize;
use std::{collections::BTreeMap, path::PathBuf};

/// An OpenID Connect provider.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct OidcProvider {
    /// Its name here, at most 20 of `a-z`, `0-9` and `-`. People come back to `PUBLIC_URL/oauth/callback/NAME`: register that
    /// redirect URI at the provider.
    pub(crate) name: String,
    /// What the sign-in page calls it.
    #[serde(default)]
    pub(crate) title: Option<String>,
    /// Its issuer identifier, exactly as its metadata states it.
    pub(crate) issuer: String,
    /// The client that Remit is at the provider.
    pub(crate) client_id: String,
    /// File with the client's secret.
    #[serde(default)]
    pub(crate) client_secret_file: Option<PathBuf>,
    /// File with the client's private key (PKCS#8, Ed25519 or P-256) for `private_key_jwt`.
    #[serde(default)]
    pub(crate) client_key_file: Option<PathBuf>,
    /// To whom the client's assertions are addressed: `issuer` or `token_endpoint`.
    #[serde(default)]
    pub(crate) assertion_audience: Audience,
    /// Scopes that are asked for.
    #[serde(default = "scopes")]
    pub(crate) scopes: Vec<String>,
    /// How people must have authenticated there.
    #[serde(default)]
    pub(crate) require: Require,
    /// People sign in there for each consent, even while they are signed in here: then its ID token is evidence of what was asked for.
    #[serde(default)]
    pub(crate) prove_each_consent: bool,
    /// What people may do, by their claims.
    #[serde(default)]
    pub(crate) entitlements: Vec<Rule>,
    /// Seconds between two questions to the provider whether a person may still act, while something that they handed out can;
    /// 1 to 3600. What a disabled person handed out ends within this time.
    #[serde(default = "check_every")]
    pub(crate) check_every_s: u32,
    /// Lets in only people of whom the provider gives a refresh token, so that it can be asked about them. If left out, this holds
    /// where `scopes` has `offline_access`.
    #[serde(default)]
    pub(crate) check_required: Option<bool>,
    /// How it tells of security events: OpenID Shared Signals Framework 1.0.
    #[serde(default)]
    pub(crate) events: Option<Events>,
    /// How it provisions people: SCIM 2.0 at `PUBLIC_URL/scim/v2/NAME`.
    #[serde(default)]
    pub(crate) scim: Option<Scim>,
}

/// How a provider provisions people.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Scim {
    /// File with the secret with which the provider authenticates: `Authorization: Bearer SECRET`.
    pub(crate) token_file: PathBuf,
    /// Which attribute of a SCIM user is the person's `sub` in ID tokens.
    #[serde(default)]
    pub(crate) subject: ScimAttribute,
}

/// An attribute of a SCIM user.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
pub(crate) enum ScimAttribute {
    #[default]
    #[serde(rename = "externalId")]
    ExternalId,
    #[serde(rename = "userName")]
    UserName,
}

/// How security events of a provider arrive: pushed, polled for, or both.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Events {
    /// The transmitter's issuer identifier, exactly as its metadata states it; the provider's own if left out.
    #[serde(default)]
    pub(crate) issuer: Option<String>,
    /// The audience of its tokens; `PUBLIC_URL/ssf/events/NAME` if left out.
    #[serde(default)]
    pub(crate) audience: Option<String>,
    /// File with the secret with which the transmitter authenticates when it pushes to `PUBLIC_URL/ssf/events/NAME` (RFC 8935):
    /// `Authorization: Bearer SECRET`.
    #[serde(default)]
    pub(crate) push_token_file: Option<PathBuf>,
    /// Where the transmitter is polled (RFC 8936).
    #[serde(default)]
    pub(crate) poll_url: Option<String>,
    /// File with the access token for polling.
    #[serde(default)]
    pub(crate) poll_token_file: Option<PathBuf>,
    /// Seconds between two polls; 1 to 3600.
    #[serde(default = "poll_every")]
    pub(crate) poll_every_s: u32,
}

fn poll_every() -> u32 {
    30
}

/// To whom an assertion of ours is addressed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Audience {
    #[default]
    Issuer,
    TokenEndpoint,
}

/// How people must have authenticated. It is asked for, and it is checked.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Require {
    /// One of these authentication context classes.
    pub(crate) acr: Vec<String>,
    /// Every one of these methods (RFC 8176).
    pub(crate) amr: Vec<String>,
    /// At most so many seconds ago.
    pub(crate) max_age_s: Option<u32>,
}

/// What people with certain claims may do.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Rule {
    /// Claims of the ID token that all must be there: equal to the value, or a list with the value in it. Without any, the
    /// rule is for everyone whom the provider lets in.
    #[serde(default)]
    pub(crate) when: BTreeMap<String, String>,
    /// What they may do, and so the most they can hand to an agent, as scopes.
    #[serde(default)]
    pub(crate) scope: Vec<String>,
    /// The same, or narrower, as RFC 9396 authorization details.
    #[serde(default)]
    pub(crate) authorization_details: Option<serde_json::Value>,
}

impl OidcProvider {
    /// Whether only people are let in of whom the provider gives a refresh token. Who asks for one (OpenID Connect Core §11) means to
    /// get it: a person can take the scope out of the request.
    pub(crate) fn requires_check(&self) -> bool {
        self.check_required.unwrap_or_else(|| self.scopes.iter().any(|scope| scope == "offline_access"))
    }
}

fn check_every() -> u32 {
    Check::EVERY
}

fn scopes() -> Vec<String> {
    ["openid", "profile"].map(str::to_owned).to_vec()
}
