//! What a client authenticated with: for the rules, which it may bound, and for the record, which names it.

use remit_model::{AssertionAudience, UnixTime, json};
use remit_token::assertion::ClientAssertion;
use serde_json::{Map, Value};

/// How a client proved who it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Method {
    /// A client assertion by a key that is registered for the agent (RFC 7523).
    PrivateKeyJwt,
    /// A client assertion by a key that the agent publishes (RFC 7591 `jwks_uri`).
    JwksUri,
}

impl Method {
    /// The name that records use.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::PrivateKeyJwt => "private_key_jwt",
            Self::JwksUri => "jwks_uri",
        }
    }
}

/// A verified credential of a client.
#[derive(Clone, Debug)]
pub(crate) struct ClientCredential {
    pub(crate) method: Method,
    /// Who signed: the client itself, or the issuer that vouches for it.
    pub(crate) issuer: String,
    /// Of whom.
    pub(crate) subject: String,
    /// The credential as it was sent.
    pub(crate) compact: String,
    /// The identifier that makes it good for one request, and until when that is remembered.
    pub(crate) once: Option<(String, UnixTime)>,
    pub(crate) audience: AssertionAudience,
    /// The public key that verified it, where no registration in the log states it.
    pub(crate) key: Option<Value>,
}

impl ClientCredential {
    /// What an agent's own client assertion proves.
    ///
    /// `remembered` is how long after its end the assertion could still be accepted, in seconds.
    pub(crate) fn own(method: Method, assertion: &ClientAssertion, remembered: i64, key: Option<Value>) -> Self {
        let once = format!("{} {}", assertion.client_id(), assertion.jti());
        Self {
            method,
            issuer: assertion.client_id().to_owned(),
            subject: assertion.client_id().to_owned(),
            compact: assertion.compact().to_owned(),
            once: Some((once, assertion.expires().plus(remembered))),
            audience: assertion.audience(),
            key,
        }
    }

    /// What the record of a request states in plain: the kind of credential and its hash, and what is unusual about it. The
    /// credential itself and its subject are committed values.
    pub(crate) fn facts(&self) -> Value {
        let mut facts = Map::new();
        facts.insert("kind".to_owned(), self.method.name().into());
        facts.insert("hash".to_owned(), json::sha256_label(self.compact.as_bytes()).into());
        if self.audience == AssertionAudience::TokenEndpoint {
            facts.insert("audience".to_owned(), "token_endpoint".into());
        }
        Value::Object(facts)
    }

    /// What the record commits to besides, for a credential whose key no registration states.
    pub(crate) fn committed(&self) -> Option<Value> {
        let key = self.key.as_ref()?;
        Some(serde_json::json!({"issuer": self.issuer, "subject": self.subject, "key": key}))
    }
}
