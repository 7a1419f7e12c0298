//! One client: an agent's program with a person at its side, its keys, its tokens and its newest nonce.

use super::{
    answered::Answered,
    cast::{Agent, REDIRECT, asked},
    dice::Dice,
    wire::{Reply, Wire, encode, fields, parameter, with_headers},
};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use http_body_util::Full;
use remit_model::{UnixTime, json::sha256};
use remit_token::{
    PrivateKey,
    dpop::{self, ProofFor},
    inspect_unverified,
};
use serde_json::{Value, json};
use std::{
    sync::Arc,
    time::{SystemTime, UNIX_EPOCH},
};

const VERIFIER: &str = "0123456789012345678901234567890123456789abc";
/// Tokens that a client remembers.
const REMEMBERED: usize = 24;

/// What every client shares.
pub(crate) struct Stage {
    pub(crate) issuer: String,
    pub(crate) helpdesk: String,
    pub(crate) password: String,
    pub(crate) admin: String,
    pub(crate) answered: Answered,
}

/// A token with what belongs to it.
#[derive(Clone)]
pub(crate) struct Held {
    pub(crate) token: String,
    pub(crate) jti: String,
}

/// A token request as it was sent, without what authenticates the client.
#[derive(Clone)]
pub(crate) struct Form {
    pub(crate) fields: Vec<(String, String)>,
    pub(crate) proof: String,
}

pub(crate) struct Client {
    pub(crate) stage: Arc<Stage>,
    pub(crate) wire: Wire,
    pub(crate) dice: Dice,
    pub(crate) name: String,
    pub(crate) planner: Agent,
    pub(crate) summarizer: Agent,
    pub(crate) scribe: Agent,
    /// The planner's tokens.
    pub(crate) held: Vec<Held>,
    /// The summarizer's.
    pub(crate) handed: Vec<Held>,
    pub(crate) refresh: Vec<String>,
    pub(crate) forms: Vec<Form>,
    nonce: Option<String>,
    cookie: Option<String>,
    count: u64,
}

/// Who of the three sends a request.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Who {
    Planner,
    Summarizer,
    Scribe,
}

impl Client {
    pub(crate) fn new(stage: &Arc<Stage>, wire: Wire, number: u64, seed: u64) -> Self {
        Self {
            stage: Arc::clone(stage),
            wire,
            dice: Dice::seeded(seed.wrapping_add(number.wrapping_mul(0x5851_f42d_4c95_7f2d))),
            name: format!("{seed:x}-{number}"),
            planner: Agent::new("planner", number),
            summarizer: Agent::new("summarizer", number),
            scribe: Agent::new("scribe", number),
            held: Vec::new(),
            handed: Vec::new(),
            refresh: Vec::new(),
            forms: Vec::new(),
            nonce: None,
            cookie: None,
            count: 0,
        }
    }

    pub(crate) fn agent(&self, who: Who) -> &Agent {
        match who {
            Who::Planner => &self.planner,
            Who::Summarizer => &self.summarizer,
            Who::Scribe => &self.scribe,
        }
    }

    /// A text that no other request has.
    pub(crate) fn fresh(&mut self) -> String {
        self.count += 1;
        format!("{}-{:06}-{:016x}", self.name, self.count, self.dice.next())
    }

    /// Notes what every answer tells: the nonce, the record it names, and that nothing broke.
    pub(crate) fn note(&mut self, reply: &Reply) {
        if let Some(nonce) = reply.header("dpop-nonce") {
            self.nonce = Some(nonce.to_owned());
        }
        let code = reply.text("/remit_code").or_else(|| reply.text("/error/data/code"));
        assert!(!reply.status.is_server_error() && code != Some("internal"), "{} {}", reply.status, reply.text);
        for pointer in ["/remit_record", "/record", "/error/data/record", "/result/_meta/remit~1record"] {
            if let Some(record) = reply.text(pointer) {
                self.stage.answered.record(record);
            }
        }
        self.stage.answered.count(if reply.status.is_success() || reply.status.is_redirection() { "granted" } else { "refused" });
    }

    pub(crate) fn proof(&mut self, who: Who, proof: &Proof<'_>) -> String {
        let (jti, nonce) = (self.fresh(), self.nonce.clone());
        let made = ProofFor {
            method: "POST",
            url: proof.url,
            now: now().plus(proof.ahead),
            jti: &jti,
            nonce: nonce.as_deref().filter(|_| !proof.without_nonce),
            access_token: proof.token,
            delegation: None,
        };
        dpop::create(&self.agent(who).dpop, &made).unwrap()
    }

    /// A token request as an ordinary client makes it: with the newest nonce, and once more when a nonce is asked for.
    pub(crate) async fn token(&mut self, who: Who, form: &[(&str, &str)], ahead: i64) -> Option<Reply> {
        let url = format!("{}/oauth/token", self.stage.issuer);
        for _ in 0..2 {
            let proof = self.proof(who, &Proof { url: &url, token: None, ahead, without_nonce: false });
            let sent = Form { fields: fields(form), proof };
            let reply = self.post(who, &sent).await?;
            if who == Who::Planner {
                push(&mut self.forms, sent);
            }
            if reply.text("/remit_code") != Some("dpop_nonce_required") {
                return Some(reply);
            }
        }
        None
    }

    /// Sends a form with a fresh client assertion. A token in the answer is noted, with the proof that got it.
    pub(crate) async fn post(&mut self, who: Who, sent: &Form) -> Option<Reply> {
        let jti = self.fresh();
        let mut form = self.agent(who).authenticated(&self.stage.issuer, &jti, now());
        form.extend(sent.fields.iter().cloned());
        let reply = self.wire.post_form("/oauth/token", &form, &[("dpop", &sent.proof)]).await?;
        self.note(&reply);
        if let Some(held) = held(&reply) {
            self.stage.answered.token(&held.jti, &sent.proof);
        }
        Some(reply)
    }

    /// Keeps the planner's tokens of an answer.
    pub(crate) fn keep(&mut self, reply: &Reply) {
        if let Some(held) = held(reply) {
            push(&mut self.held, held);
        }
        if let Some(refresh) = reply.text("/refresh_token") {
            push(&mut self.refresh, refresh.to_owned());
        }
    }

    /// The parameters of an authorization request.
    pub(crate) fn authorization(&mut self) -> Vec<(String, String)> {
        let challenge = URL_SAFE_NO_PAD.encode(sha256(VERIFIER.as_bytes()));
        let details = asked(&self.stage.helpdesk).to_string();
        fields(&[
            ("response_type", "code"),
            ("client_id", "agent:planner"),
            ("redirect_uri", REDIRECT),
            ("state", "s"),
            ("code_challenge", &challenge),
            ("code_challenge_method", "S256"),
            ("resource", &self.stage.helpdesk),
            ("authorization_details", &details),
            ("purpose", "chaos"),
        ])
    }

    /// Leads the person through sign-in and consent; what the program is sent back with.
    pub(crate) async fn consent(&mut self, parameters: &[(String, String)], decision: &str) -> Option<String> {
        let mut page = self.browse("GET", &format!("/oauth/authorize?{}", encode(parameters)), &[]).await?;
        if page.text.contains("type=\"password\"") {
            let password = self.stage.password.clone();
            let form = [("username", "alice"), ("password", &password), ("request", &hidden(&page)?)];
            page = self.browse("POST", "/oauth/login", &fields(&form)).await?;
        }
        let form = fields(&[("decision", decision), ("request", &hidden(&page)?)]);
        let decided = self.browse("POST", "/oauth/consent", &form).await?;
        let location = decided.header("location")?.to_owned();
        if let Some(record) = parameter(&location, "remit_record") {
            self.stage.answered.record(&record);
        }
        Some(location)
    }

    pub(crate) async fn code(&mut self) -> Option<String> {
        let parameters = self.authorization();
        let location = self.consent(&parameters, "allow").await?;
        let code = parameter(&location, "code");
        if code.is_some() {
            self.stage.answered.consent();
        }
        code
    }

    pub(crate) async fn redeem(&mut self, code: &str, verifier: Option<&str>) -> Option<Reply> {
        let form = [
            ("grant_type", "authorization_code"),
            ("code", code),
            ("redirect_uri", REDIRECT),
            ("code_verifier", verifier.unwrap_or(VERIFIER)),
        ];
        let reply = self.token(Who::Planner, &form, 0).await?;
        self.keep(&reply);
        Some(reply)
    }

    pub(crate) async fn browse(&mut self, method: &str, path: &str, form: &[(String, String)]) -> Option<Reply> {
        let cookie = self.cookie.clone();
        let cookies: Vec<(&str, &str)> = cookie.as_deref().map(|cookie| ("cookie", cookie)).into_iter().collect();
        let request = with_headers(self.wire.request(method, path), &cookies);
        let request = if method == "GET" {
            request.body(Full::default())
        } else {
            request.header("content-type", "application/x-www-form-urlencoded").body(Full::from(encode(form)))
        };
        let reply = self.wire.send(request.unwrap()).await?;
        self.note(&reply);
        for cookie in reply.headers.get_all("set-cookie") {
            let pair = cookie.to_str().unwrap().split(';').next().unwrap_or_default();
            let kept: Vec<&str> = self.cookie.as_deref().unwrap_or_default().split("; ").collect();
            let name = pair.split('=').next().unwrap_or_default();
            let others = kept.into_iter().filter(|old| !old.is_empty() && old.split('=').next() != Some(name));
            self.cookie = Some(others.chain([pair]).collect::<Vec<_>>().join("; "));
        }
        Some(reply)
    }

    /// A tool call of MCP 2026-07-28. A done one is noted by its JSON-RPC id.
    pub(crate) async fn call(&mut self, who: Who, token: &str, tool: &str, arguments: &Value, odd: Odd) -> Option<Reply> {
        let (id, url) = (self.fresh(), self.stage.helpdesk.clone());
        let meta =
            json!({ "io.modelcontextprotocol/protocolVersion": "2026-07-28", "io.modelcontextprotocol/clientCapabilities": {} });
        let params = json!({ "name": tool, "arguments": arguments, "_meta": meta });
        let body = json!({ "jsonrpc": "2.0", "id": id, "method": "tools/call", "params": params }).to_string();
        let mut proof = String::new();
        for turn in 0..2 {
            if odd != Odd::SameProof || turn == 0 {
                proof = self.proof(who, &Proof { url: &url, token: Some(token), ahead: 0, without_nonce: false });
            }
            let scheme = if odd == Odd::Bearer { "Bearer" } else { "DPoP" };
            let body = if odd == Odd::Cut { body.get(..body.len() / 2).unwrap_or_default() } else { &body };
            let request = self.wire.request("POST", "/mcp/helpdesk").header("authorization", format!("{scheme} {token}"));
            let headers = [
                ("dpop", proof.as_str()),
                ("content-type", "application/json"),
                ("accept", "application/json, text/event-stream"),
                ("mcp-protocol-version", "2026-07-28"),
                ("mcp-method", "tools/call"),
                ("mcp-name", tool),
            ];
            let reply = self.wire.send(with_headers(request, &headers).body(Full::from(body.to_owned())).unwrap()).await?;
            self.note(&reply);
            let done = reply.body.get("result").is_some_and(|result| result.get("isError") != Some(&json!(true)));
            if done {
                self.stage.answered.call(&id);
                self.stage.answered.count("calls done");
            }
            if reply.status != hyper::StatusCode::UNAUTHORIZED && odd != Odd::SameProof {
                return Some(reply);
            }
            assert!(turn == 0 || odd != Odd::SameProof || !done, "a proof was accepted twice");
        }
        None
    }
}

/// What is wrong with a tool call besides what it asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Odd {
    No,
    Bearer,
    SameProof,
    Cut,
}

/// A proof of possession that is to be made.
pub(crate) struct Proof<'a> {
    pub(crate) url: &'a str,
    pub(crate) token: Option<&'a str>,
    /// Seconds by which it is dated ahead.
    pub(crate) ahead: i64,
    pub(crate) without_nonce: bool,
}

/// The access token of an answer.
pub(crate) fn held(reply: &Reply) -> Option<Held> {
    let token = reply.text("/access_token")?.to_owned();
    let jti = inspect_unverified(&token).ok()?.claims.get("jti")?.as_str()?.to_owned();
    Some(Held { token, jti })
}

/// Remembers the newest things; older ones go.
fn push<T>(all: &mut Vec<T>, one: T) {
    if all.len() >= REMEMBERED {
        all.remove(0);
    }
    all.push(one);
}

pub(crate) fn keep_newest<T>(all: &mut Vec<T>, one: Option<T>) {
    if let Some(one) = one {
        push(all, one);
    }
}

fn hidden(page: &Reply) -> Option<String> {
    let (_, rest) = page.text.split_once("name=\"request\" value=\"")?;
    Some(rest.split_once('"')?.0.to_owned())
}

pub(crate) fn now() -> UnixTime {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    UnixTime(i64::try_from(since.as_secs()).unwrap())
}

/// The key of another client's, for proofs that do not fit.
pub(crate) fn foreign_key() -> PrivateKey {
    Agent::new("stranger", 999).dpop
}
