//! How an agent authenticates besides a key that is registered here: the options of `remit agent add` and `update`.

use clap::{Args, ValueEnum};
use serde_json::{Value, json};

/// The options.
#[derive(Debug, Args)]
pub(crate) struct CredentialArgs {
    /// The agent signs with keys that it publishes at this URL (https, or loopback)
    #[arg(long, value_name = "URL")]
    pub(crate) jwks_uri: Option<String>,
    /// What the agent's client assertions may name as their audience besides the issuer: for clients that cannot be changed
    #[arg(long, value_enum, value_name = "AUDIENCE")]
    pub(crate) assertion_audience: Option<AudienceArg>,
}

/// What the audience of a client assertion may be.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub(crate) enum AudienceArg {
    /// The issuer alone
    Issuer,
    /// Also the URL of the token endpoint
    TokenEndpoint,
}

impl CredentialArgs {
    /// The credentials as the admin API takes them; empty when none is named.
    pub(crate) fn credentials(&self) -> Vec<Value> {
        let published = self.jwks_uri.iter().map(|uri| json!({"type": "jwks_uri", "uri": uri}));
        published.collect()
    }

    /// The audience as the admin API takes it.
    pub(crate) fn audience(&self) -> Option<&'static str> {
        self.assertion_audience.map(|audience| match audience {
            AudienceArg::Issuer => "issuer",
            AudienceArg::TokenEndpoint => "token_endpoint",
        })
    }
}

/// A credential as the admin API shows it, in words.
pub(crate) fn words(credential: &Value) -> String {
    let text = |name: &str| credential.get(name).and_then(Value::as_str).unwrap_or_default();
    match text("type") {
        "jwks_uri" => format!("keys published at {}", text("uri")),
        other => other.to_owned(),
    }
}
