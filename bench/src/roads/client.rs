//! What a client of the world sends: forms with an assertion and a proof, tool calls with a token and a proof.
//!
//! Everything is signed here, before a round begins; the load generator only writes bytes.

use super::{
    http,
    world::{self, Agent, World},
};
use anyhow::{Context as _, Result, anyhow};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use remit_clock::{Clock, Entropy};
use remit_token::{assertion, dpop};
use serde_json::{Value, json};

pub(crate) const ACCESS_TOKEN: &str = "urn:ietf:params:oauth:token-type:access_token";
pub(crate) const TOKEN_EXCHANGE: &str = "urn:ietf:params:oauth:grant-type:token-exchange";
const ASSERTION_TYPE: &str = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";
const REVISION: &str = "2026-07-28";
/// Bytes of every `jti`.
const JTI: usize = 12;

/// How a request is spoilt, so that it must be refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Spoilt {
    No,
    /// One letter of the last signature is another.
    Signature,
    /// The proof is about another token, or another URL where there is no token.
    Proof,
}

#[derive(Debug)]
pub(crate) struct Client {
    pub(crate) agents: Vec<Agent>,
    pub(crate) issuer: String,
    host: String,
    resource: String,
    desk: String,
    clock: Clock,
    entropy: Entropy,
}

impl Client {
    pub(crate) fn of(world: &World) -> Result<Self> {
        Ok(Self {
            agents: world::agents()?,
            issuer: world.issuer(),
            host: world.host(),
            resource: world.resource(),
            desk: world.desk(),
            clock: Clock::system(),
            entropy: Entropy::system(),
        })
    }

    /// The same agents at the token endpoint of another issuer.
    pub(crate) fn at(self, port: u16) -> Self {
        let host = format!("127.0.0.1:{port}");
        Self { issuer: format!("http://{host}"), host, ..self }
    }

    pub(crate) fn agent(&self, number: usize) -> Result<&Agent> {
        self.agents.get(number).context("no such agent")
    }

    pub(crate) fn resource(&self) -> &str {
        &self.resource
    }

    /// The decision point.
    pub(crate) fn desk(&self) -> &str {
        &self.desk
    }

    fn proof(&self, agent: &Agent, url: &str, token: Option<&str>, spoilt: Spoilt) -> Result<String> {
        let jti = self.entropy.token(JTI);
        let other = format!("{url}/elsewhere");
        let (url, token) = match (spoilt, token) {
            (Spoilt::Proof, Some(_)) => (url, Some("another token")),
            (Spoilt::Proof, None) => (other.as_str(), None),
            _ => (url, token),
        };
        let request = dpop::ProofFor {
            method: "POST",
            url,
            now: self.clock.unix(),
            jti: &jti,
            nonce: None,
            access_token: token,
            delegation: None,
        };
        let proof = dpop::create(&agent.key, &request).map_err(|fault| anyhow!("{fault}"))?;
        Ok(if spoilt == Spoilt::Signature { flipped(&proof) } else { proof })
    }

    /// A form for an endpoint of the authority, authenticated and, where the endpoint wants it, proved.
    pub(crate) fn form(&self, agent: &Agent, path: &str, fields: &[(&str, &str)], spoilt: Spoilt) -> Result<Vec<u8>> {
        let (jti, subject) = (self.entropy.token(JTI), agent.subject());
        let assertion = assertion::create(&agent.key, &subject, &self.issuer, &jti, self.clock.unix());
        let mut assertion = assertion.map_err(|fault| anyhow!("{fault}"))?;
        let proved = path.ends_with("/token");
        if spoilt == Spoilt::Signature && !proved {
            assertion = flipped(&assertion);
        }
        let own = [("client_id", subject.as_str()), ("client_assertion_type", ASSERTION_TYPE), ("client_assertion", &assertion)];
        let mut body = String::with_capacity(4096);
        for (name, value) in fields.iter().chain(&own) {
            if !body.is_empty() {
                body.push('&');
            }
            body.extend([name, "="]);
            // Tokens are plain letters already; encoding them again would only cost time.
            if value.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte)) {
                body.push_str(value);
            } else {
                body.extend(utf8_percent_encode(value, NON_ALPHANUMERIC));
            }
        }
        let mut headers = vec![("content-type", "application/x-www-form-urlencoded")];
        let proof = proved.then(|| self.proof(agent, &format!("{}{path}", self.issuer), None, spoilt)).transpose()?;
        headers.extend(proof.as_deref().map(|proof| ("dpop", proof)));
        Ok(http::request("POST", path, &self.host, &headers, &body))
    }

    /// A call of one tool.
    pub(crate) fn call(&self, agent: &Agent, token: &str, tool: &str, spoilt: Spoilt) -> Result<Vec<u8>> {
        let proof = self.proof(agent, &self.resource, Some(token), spoilt)?;
        let authorization = format!("DPoP {token}");
        let headers = [
            ("authorization", authorization.as_str()),
            ("dpop", &proof),
            ("content-type", "application/json"),
            ("accept", "application/json, text/event-stream"),
            ("mcp-protocol-version", REVISION),
            ("mcp-method", "tools/call"),
            ("mcp-name", tool),
        ];
        Ok(http::request("POST", "/mcp/bench", &self.host, &headers, &call_body(tool)))
    }

    /// A question to the decision point: may another agent call this tool?
    pub(crate) fn evaluation(&self, agent: &Agent, token: &str, tool: &str, spoilt: Spoilt) -> Result<Vec<u8>> {
        let proof = self.proof(agent, &format!("{}/evaluation", self.desk), Some(token), spoilt)?;
        let authorization = format!("DPoP {token}");
        let headers = [("authorization", authorization.as_str()), ("dpop", &proof), ("content-type", "application/json")];
        let subject = self.agent(1)?.subject();
        let question = json!({
            "subject": {"type": "agent", "id": subject}, "action": {"name": "call"},
            "resource": {"type": "tool", "id": format!("bench/{tool}")}, "context": {"arguments": arguments()},
        });
        Ok(http::request("POST", "/access/v1/evaluation", &self.host, &headers, &question.to_string()))
    }

    /// Sends a token request to the server of this world and reads the token.
    pub(crate) fn token(&self, world: &World, agent: &Agent, fields: &[(&str, &str)]) -> Result<String> {
        let answer = http::once(world.address(), &self.form(agent, "/oauth/token", fields, Spoilt::No)?)?;
        token_of(&answer.json(200)?)
    }
}

/// The token of an answer of the token endpoint.
pub(crate) fn token_of(answer: &Value) -> Result<String> {
    answer.get("access_token").and_then(Value::as_str).map(str::to_owned).context("no access token")
}

/// The message that calls a tool, as MCP 2026-07-28 has it.
pub(crate) fn call_body(tool: &str) -> String {
    let meta = json!({
        "io.modelcontextprotocol/protocolVersion": REVISION,
        "io.modelcontextprotocol/clientCapabilities": {},
        "io.modelcontextprotocol/clientInfo": {"name": "remit-bench", "version": "1"},
    });
    let params = json!({"name": tool, "arguments": arguments(), "_meta": meta});
    json!({"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": params}).to_string()
}

/// What tools are called with.
fn arguments() -> Value {
    json!({"id": "T-1001", "verbose": true})
}

/// The same token with another letter within its signature.
fn flipped(compact: &str) -> String {
    let Some((signed, signature)) = compact.rsplit_once('.') else { return String::new() };
    let mut letters: Vec<char> = signature.chars().collect();
    if let Some(letter) = letters.get_mut(10) {
        *letter = if *letter == 'A' { 'B' } else { 'A' };
    }
    format!("{signed}.{}", letters.into_iter().collect::<String>())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flipped_signature_has_one_other_letter_and_the_same_text() {
        let (before, after) = ("aaa.bbb.0123456789ABCDEF", flipped("aaa.bbb.0123456789ABCDEF"));
        assert_eq!(after, "aaa.bbb.0123456789BBCDEF");
        assert_eq!(flipped(&after), before);
    }
}
