//! The first half of the story: authority is handed over, narrows, and is used.

use super::{
    tell::{Teller, Told, claims},
    world::{CALLBACK, World},
};
use crate::client::{ACCESS_TOKEN, AgentClient, Granted, Narrower, TOKEN_EXCHANGE, narrow, server_refusal};
use anyhow::{Context as _, Result};
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use bytes::Bytes;
use http::{Method, StatusCode};
use http_body_util::BodyExt as _;
use remit_model::json::sha256;
use serde_json::{Value, json};

/// The tokens the first half leaves for the second.
#[derive(Debug)]
pub(super) struct Tokens {
    pub(super) planner: Granted,
    pub(super) summarizer: Granted,
}

pub(super) async fn tell(tell: &mut Teller, world: &mut World) -> Result<Tokens> {
    tell.chapter("A human hands a narrow part of her authority to an agent");
    let planner = sign_in(tell, world).await?;
    list(tell, world, &planner).await?;
    read(tell, world, &planner).await?;
    refund(tell, world, &planner).await?;
    tell.chapter("The agent hands a narrower part to a sub-agent");
    let identity = world
        .summarizer
        .itself(&world.issuer, None, None, None)
        .await?
        .map_err(|told| anyhow::anyhow!("no identity token for the summarizer: {told}"))?;
    tell.step(
        "The summarizer proves who it is: its own key and identity token, no authority yet",
        Told { shown: claims(&identity.access_token), held: true, result: "identified".into(), record: world.latest().await? },
    );
    let summarizer = exchange(tell, world, &planner, &identity).await?;
    sub_read(tell, world, &summarizer).await?;
    Ok(Tokens { planner, summarizer })
}

/// What Alice gives the planner: reading, and refunds up to 50 EUR; the summarizer may get a part of it.
fn planner_grants(helpdesk: &str) -> Value {
    json!([
        {"type": "tool_access", "locations": [helpdesk], "actions": ["tickets_list", "tickets_read"],
         "arguments": {"/id": {"prefix": "T-"}}, "fields": ["/id", "/subject", "/status", "/priority", "/customer/name", "/messages"],
         "delegate": {"to": ["agent:summarizer"], "depth": 1}},
        {"type": "tool_access", "locations": [helpdesk], "actions": ["refund_create"],
         "arguments": {"/amount": {"max": 50}, "/currency": {"in": ["EUR"]}}, "limits": {"calls": 3},
         "delegate": {"to": ["agent:summarizer"], "depth": 1}},
    ])
}

/// What the planner gives the summarizer: reading one ticket, without the customer.
pub(super) fn summarizer_grants(helpdesk: &str) -> Value {
    json!([{"type": "tool_access", "locations": [helpdesk], "actions": ["tickets_read"],
            "arguments": {"/id": {"eq": "T-1001"}}, "fields": ["/id", "/subject", "/messages"]}])
}

async fn sign_in(tell: &mut Teller, world: &mut World) -> Result<Granted> {
    let (verifier, state) = (world.ambient.entropy.token(32), world.ambient.entropy.token(16));
    let mut url = url::Url::parse(&format!("{}/oauth/authorize", world.issuer))?;
    url.query_pairs_mut().extend_pairs([
        ("response_type", "code"),
        ("client_id", "agent:planner"),
        ("redirect_uri", CALLBACK),
        ("resource", &world.helpdesk),
        ("authorization_details", &planner_grants(&world.helpdesk).to_string()),
        ("code_challenge", &URL_SAFE_NO_PAD.encode(sha256(verifier.as_bytes()))),
        ("code_challenge_method", "S256"),
        ("state", &state),
        ("dpop_jkt", world.planner.key().public().thumbprint()),
    ]);
    let given = world.human.consent(url.as_str(), CALLBACK).await?;
    let code = given.get("code").with_context(|| format!("no code came back: {given:?}"))?;
    let answered = given.get("state") == Some(&state) && given.get("iss") == Some(&world.issuer);
    let read: Vec<String> = world.human.read.iter().map(|line| format!("the page says: {line}")).collect();
    let granted = world
        .planner
        .token(&[("grant_type", "authorization_code"), ("code", code), ("code_verifier", &verifier), ("redirect_uri", CALLBACK)])
        .await?;
    let granted = granted.map_err(|told| anyhow::anyhow!("the code was refused: {told}"))?;
    tell.step(
        "Alice signs in, reads what is asked, and consents",
        Told { shown: read, held: answered, result: "consented".into(), record: None },
    );
    let record = world.latest().await?;
    let bound = granted.answer.get("token_type").is_some_and(|value| value == "DPoP");
    tell.step(
        "The planner gets a token that only its own key can use",
        Told { shown: claims(&granted.access_token), held: bound, result: "issued".into(), record },
    );
    Ok(granted)
}

async fn list(tell: &mut Teller, world: &World, token: &Granted) -> Result<()> {
    let said = Mcp::of(&world.planner, &token.access_token, &world.helpdesk).send("tools/list", json!({})).await?;
    let names: Vec<&str> = said
        .body
        .pointer("/result/tools")
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
        .filter_map(|tool| tool.get("name").and_then(Value::as_str))
        .collect();
    let mut sorted = names.clone();
    sorted.sort_unstable();
    let held = sorted == ["refund_create", "tickets_list", "tickets_read"];
    tell.step(
        "The planner lists the tools and sees only those it could call",
        Told { shown: vec![names.join(", ")], held, result: format!("{} of 7 tools", names.len()), record: None },
    );
    Ok(())
}

async fn read(tell: &mut Teller, world: &World, token: &Granted) -> Result<()> {
    let said =
        Mcp::of(&world.planner, &token.access_token, &world.helpdesk).tool("tickets_read", json!({"id": "T-1001"})).await?;
    let ticket = said.structured();
    let held = ticket.pointer("/customer/name").is_some_and(Value::is_string) && ticket.pointer("/customer/email").is_none();
    let record = world.latest().await?;
    tell.step(
        "The planner reads a ticket: the customer's name is granted, the rest is masked",
        Told { shown: shown(&ticket), held, result: "allowed".into(), record },
    );
    Ok(())
}

async fn refund(tell: &mut Teller, world: &World, token: &Granted) -> Result<()> {
    let asked =
        json!({"ticket_id": "T-1001", "amount": 20, "currency": "EUR", "reason": "charged twice", "idempotency_key": "demo-1"});
    let said = Mcp::of(&world.planner, &token.access_token, &world.helpdesk).tool("refund_create", asked).await?;
    let held = said.body.pointer("/result/isError").and_then(Value::as_bool) != Some(true) && world.ran("refund_create") == 1;
    let record = world.latest().await?;
    tell.step(
        "The planner refunds 20 EUR; the intent was on disk before the money moved",
        Told { shown: shown(&said.structured()), held, result: "allowed".into(), record },
    );
    Ok(())
}

async fn exchange(tell: &mut Teller, world: &World, planner: &Granted, identity: &Granted) -> Result<Granted> {
    let details = summarizer_grants(&world.helpdesk).to_string();
    let to = Narrower { resource: &world.helpdesk, details: Some(&details), ..Narrower::default() };
    let given = narrow(&world.planner, &planner.access_token, Some(identity), &to).await?;
    let given = given.map_err(|told| anyhow::anyhow!("the exchange was refused: {told}"))?;
    let seen = remit_token::inspect_unverified(&given.access_token)
        .map(|seen| serde_json::to_value(&seen.claims).unwrap_or_default())
        .unwrap_or_default();
    let chain = [
        seen.get("sub").and_then(Value::as_str),
        seen.pointer("/act/act/sub").and_then(Value::as_str),
        seen.pointer("/act/sub").and_then(Value::as_str),
    ];
    let held = chain == [Some("user:alice"), Some("agent:planner"), Some("agent:summarizer")]
        && seen.pointer("/cnf/jkt").and_then(Value::as_str) == Some(world.summarizer.key().public().thumbprint());
    let mut shown = vec![
        format!("request: grant_type={TOKEN_EXCHANGE}"),
        format!("         subject_token=(planner's), actor_token=(summarizer's), types {ACCESS_TOKEN}"),
    ];
    shown.extend(claims(&given.access_token));
    shown.push(format!("{:<22}{}", "chain", chain.map(Option::unwrap_or_default).join(" → ")));
    let record = world.latest().await?;
    tell.step(
        "Token exchange (RFC 8693): the chain grows by one, the authority shrinks, the key changes",
        Told { shown, held, result: "narrowed".into(), record },
    );
    Ok(given)
}

async fn sub_read(tell: &mut Teller, world: &World, token: &Granted) -> Result<()> {
    let said =
        Mcp::of(&world.summarizer, &token.access_token, &world.helpdesk).tool("tickets_read", json!({"id": "T-1001"})).await?;
    let ticket = said.structured();
    let held = ticket.get("subject").is_some_and(Value::is_string)
        && ticket.get("customer").is_none_or(|customer| customer.as_object().is_some_and(serde_json::Map::is_empty));
    let record = world.latest().await?;
    tell.step(
        "The summarizer reads the same ticket and sees no customer at all",
        Told { shown: shown(&ticket), held, result: "allowed".into(), record },
    );
    Ok(())
}

fn shown(value: &Value) -> Vec<String> {
    let text = value.to_string();
    let cut: String = text.chars().take(300).collect();
    vec![if cut.len() < text.len() { format!("{cut}…") } else { cut }]
}

/// One agent at one server, speaking MCP 2026-07-28.
#[derive(Debug)]
pub(super) struct Mcp<'a> {
    caller: &'a AgentClient,
    token: &'a str,
    server: &'a str,
}

/// What came back.
#[derive(Debug)]
pub(super) struct Said {
    pub(super) status: StatusCode,
    pub(super) body: Value,
}

impl<'a> Mcp<'a> {
    pub(super) fn of(caller: &'a AgentClient, token: &'a str, server: &'a str) -> Self {
        Self { caller, token, server }
    }

    pub(super) async fn tool(&self, name: &str, arguments: Value) -> Result<Said> {
        self.send("tools/call", json!({"name": name, "arguments": arguments})).await
    }

    pub(super) async fn send(&self, method: &str, params: Value) -> Result<Said> {
        let (headers, body) = request(method, params);
        let answer = self.caller.call_with(self.token, Method::POST, self.server, &headers, body).await?;
        Said::of(answer).await
    }
}

/// Headers and body of one MCP 2026-07-28 request.
pub(super) fn request(method: &str, mut params: Value) -> (Vec<(String, String)>, Bytes) {
    let mut headers: Vec<(String, String)> = [
        ("content-type", "application/json"),
        ("accept", "application/json, text/event-stream"),
        ("mcp-protocol-version", "2026-07-28"),
        ("mcp-method", method),
    ]
    .map(|(name, value)| (name.to_owned(), value.to_owned()))
    .into();
    if let Some(name) = params.get("name").and_then(Value::as_str) {
        headers.push(("mcp-name".to_owned(), name.to_owned()));
    }
    if let Some(members) = params.as_object_mut() {
        let meta = json!({"io.modelcontextprotocol/protocolVersion": "2026-07-28", "io.modelcontextprotocol/clientCapabilities": {}, "io.modelcontextprotocol/clientInfo": {"name": "remit-demo", "version": env!("CARGO_PKG_VERSION")}});
        members.insert("_meta".to_owned(), meta);
    }
    (headers, json!({"jsonrpc": "2.0", "id": 1, "method": method, "params": params}).to_string().into())
}

impl Said {
    pub(super) async fn of(answer: http::Response<hyper::body::Incoming>) -> Result<Self> {
        let (head, body) = answer.into_parts();
        let bytes = body.collect().await.context("cannot read the answer")?.to_bytes();
        let text = String::from_utf8_lossy(&bytes);
        let last = text.lines().rev().find_map(|line| line.strip_prefix("data:")).unwrap_or(&text);
        let body = serde_json::from_str(last.trim()).unwrap_or(Value::Null);
        Ok(Self { status: head.status, body })
    }

    pub(super) fn structured(&self) -> Value {
        self.body.pointer("/result/structuredContent").cloned().unwrap_or_else(|| self.body.clone())
    }

    pub(super) fn refusal(&self) -> crate::client::ServerRefusal {
        server_refusal(self.status, &self.body)
    }
}
