//! Who takes part: agents with keys of their own, registered through the admin API.

use super::wire::{Reply, Wire};
use http_body_util::Full;
use remit_token::{Algorithm, PrivateKey, assertion};
use serde_json::{Value, json};

/// Where the summarizer is called by other agents; nothing listens there.
pub(crate) const ENDPOINT: &str = "https://summarizer.example/tasks";
pub(crate) const REDIRECT: &str = "http://127.0.0.1/cb";

/// An agent and its keys.
pub(crate) struct Agent {
    pub(crate) sub: String,
    pub(crate) auth: PrivateKey,
    pub(crate) dpop: PrivateKey,
}

impl Agent {
    /// The same agent always has the same key to authenticate with; proofs are made with a key of this holder.
    pub(crate) fn new(name: &str, holder: u64) -> Self {
        let key = |what: &str| {
            let seed = remit_model::json::sha256(format!("{what} {name}").as_bytes());
            PrivateKey::from_seed(Algorithm::Ed25519, &seed).unwrap()
        };
        Self { sub: format!("agent:{name}"), auth: key("auth"), dpop: key(&format!("dpop {holder}")) }
    }

    pub(crate) fn authenticated(&self, issuer: &str, jti: &str, now: remit_model::UnixTime) -> Vec<(String, String)> {
        let assertion = assertion::create(&self.auth, &self.sub, issuer, jti, now).unwrap();
        super::wire::fields(&[("client_assertion_type", assertion::ASSERTION_TYPE), ("client_assertion", &assertion)])
    }

    pub(crate) fn registration(&self, ceiling: &Value) -> Value {
        let labels = if self.sub == "agent:summarizer" { json!({ "endpoint": ENDPOINT }) } else { json!({}) };
        json!({
            "name": self.sub.trim_start_matches("agent:"), "owner": "user:alice", "keys": [self.auth.public().to_jwk()],
            "redirect_uris": [REDIRECT], "authorization_details": ceiling, "labels": labels, "acts": "either",
        })
    }
}

/// A request to the admin API, with a body or without one.
pub(crate) async fn admin(wire: &Wire, token: &str, path: &str, body: Option<&Value>) -> Option<Reply> {
    let request = wire.request("POST", &format!("/admin/v1/{path}")).header("authorization", format!("Bearer {token}"));
    let body = body.map_or_else(Full::default, |body| Full::from(body.to_string()));
    wire.send(request.header("content-type", "application/json").body(body).unwrap()).await
}

/// The most that the agents may do: enough for every honest request, and for many that are not.
pub(crate) fn ceiling(helpdesk: &str) -> Value {
    json!([
        { "type": "tool_access", "locations": [helpdesk], "actions": ["tickets_read", "tickets_list"],
          "delegate": { "to": ["*"], "depth": 3 } },
        { "type": "tool_access", "locations": [helpdesk], "actions": ["refund_create"], "arguments": { "/amount": { "max": 50 } } },
    ])
}

/// What a person is asked to consent to.
pub(crate) fn asked(helpdesk: &str) -> Value {
    json!([
        { "type": "tool_access", "locations": [helpdesk], "actions": ["tickets_read", "tickets_list"],
          "delegate": { "to": ["agent:summarizer", "agent:scribe"], "depth": 2 } },
        { "type": "tool_access", "locations": [helpdesk], "actions": ["refund_create"], "arguments": { "/amount": { "max": 50 } } },
    ])
}

/// A part of it that may be handed on.
pub(crate) fn part(helpdesk: &str) -> Value {
    json!([{ "type": "tool_access", "locations": [helpdesk], "actions": ["tickets_read"], "fields": ["/id", "/subject"] }])
}
