//! What the bridge answers while no person has signed in: `initialize` at once, and calls with the way to sign in.
//!
//! MCP clients wait only seconds for `initialize`, and a person takes longer than that to sign in.

use crate::{
    args::LoginRequest,
    client::{agent_profile::AgentProfile, login::Login, sign_in::SignIn},
};
use anyhow::Result;
use remit_clock::Ambient;
use serde_json::{Value, json};
use std::sync::{Arc, Mutex, PoisonError};

/// Revisions of MCP with `initialize`, newest first.
const REVISIONS: [&str; 4] = ["2025-11-25", "2025-06-18", "2025-03-26", "2024-11-05"];
/// The tool that the bridge lists until a person has signed in.
const SIGN_IN: &str = "sign_in";
/// JSON-RPC: the method is not known.
const METHOD_NOT_FOUND: i32 = -32_601;
/// The request needs a sign-in (application range, MG-07).
const NEEDS_SIGN_IN: i32 = -31_501;

/// Starts sign-ins, one at a time, and says where the person signs in.
#[derive(Clone, Debug)]
pub(super) struct SignInPrompt {
    profile: Arc<AgentProfile>,
    server: String,
    sign_in: SignIn,
    request: LoginRequest,
    ambient: Ambient,
    /// Where the person signs in, while that is waited for.
    url: Arc<Mutex<Option<String>>>,
}

impl SignInPrompt {
    pub(super) fn new(profile: &AgentProfile, server: &str, sign_in: SignIn, request: LoginRequest, ambient: Ambient) -> Self {
        let profile = Arc::new(profile.clone());
        Self { profile, server: server.to_owned(), sign_in, request, ambient, url: Arc::default() }
    }

    /// Begins a sign-in unless one is waited for, and gives back where the person signs in.
    ///
    /// # Errors
    /// No loopback port is free, or the authorization details cannot be read.
    pub(super) async fn begin(&self) -> Result<String> {
        if let Some(url) = self.url.lock().unwrap_or_else(PoisonError::into_inner).clone() {
            return Ok(url);
        }
        let login = Login::begin(&self.profile, &self.sign_in.resource, &self.request, &self.ambient).await?;
        let url = login.url.to_string();
        eprintln!("Sign in and consent here:\n\n  {url}\n");
        *self.url.lock().unwrap_or_else(PoisonError::into_inner) = Some(url.clone());
        let (sign_in, waiting) = (self.sign_in.clone(), Arc::clone(&self.url));
        tokio::spawn(async move {
            if let Err(error) = login.finish(Some(&sign_in)).await {
                tracing::warn!("the sign-in failed: {error:#}");
            }
            *waiting.lock().unwrap_or_else(PoisonError::into_inner) = None;
        });
        Ok(url)
    }

    /// The answer to a request that cannot be sent without a sign-in; `None` for what is no request.
    pub(super) async fn answer(&self, head: &Value) -> Option<Value> {
        let (id, method) = (head.get("id")?, head.get("method")?.as_str()?);
        let how = match self.begin().await {
            Ok(url) => format!("open {url} in a browser, sign in and allow the request; then try again"),
            Err(error) => format!("run `remit login {}`; the sign-in could not be started here: {error:#}", self.server),
        };
        let why = format!("Sign-in needed: {} acts for a person at {}. To sign in, {how}.", self.profile.client_id, self.server);
        Some(answer(id, method, head, &why))
    }
}

fn answer(id: &Value, method: &str, head: &Value, why: &str) -> Value {
    let result = match method {
        "initialize" => json!({
            "protocolVersion": revision(head),
            "capabilities": {"tools": {"listChanged": true}},
            "serverInfo": {"name": "remit", "version": env!("CARGO_PKG_VERSION")},
            "instructions": why,
        }),
        "ping" => json!({}),
        "tools/list" => json!({"tools": [{
            "name": SIGN_IN,
            "description": "Says where the person signs in. The server's own tools are listed after that.",
            "inputSchema": {"type": "object", "additionalProperties": false},
            "annotations": {"readOnlyHint": true},
        }]}),
        "tools/call" => {
            let code = json!({"remit/code": "login_required"});
            json!({"content": [{"type": "text", "text": why}], "isError": true, "_meta": code})
        }
        // A client that speaks both eras goes on with `initialize`.
        "server/discover" => return error(id, METHOD_NOT_FOUND, why),
        _ => return error(id, NEEDS_SIGN_IN, why),
    };
    json!({"jsonrpc": "2.0", "id": id, "result": result})
}

fn error(id: &Value, code: i32, why: &str) -> Value {
    json!({"jsonrpc": "2.0", "id": id, "error": {"code": code, "message": why}})
}

fn revision(head: &Value) -> &str {
    let asked = head.pointer("/params/protocolVersion").and_then(Value::as_str);
    let newest = REVISIONS.first().copied().unwrap_or_default();
    asked.filter(|asked| REVISIONS.contains(asked)).unwrap_or(newest)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(method: &str, params: &Value) -> Value {
        let head = json!({"jsonrpc": "2.0", "id": 3, "method": method, "params": params});
        answer(&head["id"], method, &head, "Sign-in needed: open https://gw.example/x")
    }

    #[test]
    fn initialize_is_answered_in_the_clients_revision_or_the_newest() {
        for (asked, given) in [("2025-06-18", "2025-06-18"), ("2031-01-01", "2025-11-25")] {
            let answer = of("initialize", &json!({"protocolVersion": asked}));
            assert_eq!((&answer["id"], &answer["result"]["protocolVersion"]), (&json!(3), &json!(given)));
        }
    }

    #[test]
    fn a_call_is_a_tool_error_that_says_where_to_sign_in_and_anything_else_an_error() {
        let call = of("tools/call", &json!({"name": "anything"}));
        assert_eq!(call["result"]["isError"], true);
        assert!(call["result"]["content"][0]["text"].as_str().unwrap().contains("https://gw.example/x"));
        assert_eq!(of("server/discover", &json!({}))["error"]["code"], METHOD_NOT_FOUND);
        for method in ["resources/list", "prompts/get", "completion/complete"] {
            assert_eq!(of(method, &json!({}))["error"]["code"], NEEDS_SIGN_IN, "{method}");
        }
    }
}
