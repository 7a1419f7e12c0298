//! An agent at work: its key, its tokens, and a DPoP proof on everything it sends (RFC 9449).
//!
//! `remit connect`, `remit token` and the demo all speak through this; it is an ordinary OAuth client and uses nothing
//! but the server's public endpoints.

use super::{
    http_client::HttpClient,
    sign_in::{SignIn, SignInNeeded},
};
use crate::bounded_read;
use anyhow::{Context as _, Result, bail};
use bytes::Bytes;
use http::{Method, StatusCode};
use hyper::body::Incoming;
use remit_clock::Ambient;
use remit_token::{Delegation, PrivateKey, assertion, dpop, inspect_unverified};
use serde_json::Value;
use std::{
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

/// Seconds before its end at which a token is renewed.
const RENEW_BEFORE: i64 = 30;
/// Longest token file, in bytes.
const TOKEN_LIMIT: usize = 64 << 10;
/// Waits before a refresh whose answer did not come is tried again.
const REFRESH_AGAIN_AFTER: [Duration; 2] = [Duration::from_millis(250), Duration::from_secs(2)];
pub(crate) const ASSERTION_TYPE: &str = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";
/// `client_assertion_type` of a JWT-SVID (draft-ietf-oauth-spiffe-client-auth).
const JWT_SPIFFE: &str = "urn:ietf:params:oauth:client-assertion-type:jwt-spiffe";
pub(crate) const TOKEN_EXCHANGE: &str = "urn:ietf:params:oauth:grant-type:token-exchange";
pub(crate) const ACCESS_TOKEN: &str = "urn:ietf:params:oauth:token-type:access_token";
pub(crate) const JWT: &str = "urn:ietf:params:oauth:token-type:jwt";

/// What a successful token request gave.
#[derive(Clone, Debug)]
pub(crate) struct Granted {
    pub(crate) access_token: String,
    pub(crate) refresh_token: Option<String>,
    pub(crate) expires_at: i64,
    /// The whole answer, for people who debug.
    pub(crate) answer: Value,
}

/// A refusal as the server told it.
#[derive(Clone, Debug, Default)]
pub(crate) struct ServerRefusal {
    pub(crate) status: u16,
    /// The OAuth error, when it is one.
    pub(crate) error: String,
    pub(crate) code: String,
    pub(crate) reason: String,
    pub(crate) record: Option<String>,
}

impl std::fmt::Display for ServerRefusal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}: {}", self.code, self.reason)?;
        self.record.as_ref().map_or(Ok(()), |record| write!(f, " (record {record})"))
    }
}

/// How a caller comes by a token when it has none.
#[derive(Clone, Debug)]
pub(crate) enum TokenSource {
    /// As itself (RFC 6749 section 4.4), for this resource and these scopes.
    Itself { resource: String, scope: Option<String> },
    /// With the refresh token of a person's sign-in.
    SignIn(SignIn),
    /// With the access token that another agent handed over in this file, which is read again when the token has ended.
    Handed(PathBuf),
}

/// One agent and its key.
#[derive(Clone, Debug)]
pub(crate) struct AgentClient {
    pub(crate) http: HttpClient,
    pub(crate) issuer: String,
    pub(crate) client_id: String,
    key: Arc<PrivateKey>,
    /// The file with the token by which an issuer vouches for the agent; without it the agent signs assertions with its key.
    workload_token: Option<PathBuf>,
    ambient: Ambient,
    source: TokenSource,
    held: Arc<tokio::sync::Mutex<Option<Granted>>>,
    /// The latest nonce of the server; its token endpoint and its resources share them.
    nonce: Arc<Mutex<Option<String>>>,
}

impl AgentClient {
    pub(crate) fn new(
        http: HttpClient,
        issuer: &str,
        client_id: &str,
        key: Arc<PrivateKey>,
        source: TokenSource,
        ambient: Ambient,
    ) -> Self {
        Self {
            http,
            issuer: issuer.to_owned(),
            client_id: client_id.to_owned(),
            key,
            workload_token: None,
            ambient,
            source,
            held: Arc::default(),
            nonce: Arc::default(),
        }
    }

    /// The same agent, which proves itself with the token in this file.
    #[must_use]
    pub(crate) fn vouched_by(self, file: PathBuf) -> Self {
        Self { workload_token: Some(file), ..self }
    }

    pub(crate) fn key(&self) -> &PrivateKey {
        &self.key
    }

    /// A DPoP proof for one request.
    pub(crate) fn proof(&self, method: &Method, url: &str, access_token: Option<&str>) -> Result<String> {
        self.proof_of(method, url, access_token, None)
    }

    /// A DPoP proof that also signs what is handed to whom, when the request hands something on.
    fn proof_of(
        &self,
        method: &Method,
        url: &str,
        access_token: Option<&str>,
        delegation: Option<&Delegation>,
    ) -> Result<String> {
        let nonce = self.nonce.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let jti = self.ambient.entropy.token(16);
        let request = dpop::ProofFor {
            method: method.as_str(),
            url,
            now: self.ambient.clock.unix(),
            jti: &jti,
            nonce: nonce.as_deref(),
            access_token,
            delegation,
        };
        let proof = dpop::create(&self.key, &request);
        proof.map_err(|fault| anyhow::anyhow!("cannot sign a DPoP proof: {fault}"))
    }

    /// What proves that the client is this agent, with its `client_assertion_type`. A platform replaces its token before it ends, so
    /// the file is read each time.
    fn assertion(&self) -> Result<(&'static str, String)> {
        if let Some(file) = &self.workload_token {
            return vouched(file);
        }
        let (now, jti) = (self.ambient.clock.unix(), self.ambient.entropy.token(16));
        let assertion = assertion::create(&self.key, &self.client_id, &self.issuer, &jti, now);
        let assertion = assertion.map_err(|fault| anyhow::anyhow!("cannot sign a client assertion: {fault}"))?;
        Ok((ASSERTION_TYPE, assertion))
    }

    /// Asks the token endpoint, authenticated with a client assertion and bound to this agent's key.
    pub(crate) async fn token(&self, fields: &[(&str, &str)]) -> Result<Result<Granted, ServerRefusal>> {
        self.hand_on(fields, None).await
    }

    /// The same, with the delegation signed into the DPoP proof, so that the hop's evidence names child and authority.
    pub(crate) async fn hand_on(
        &self,
        fields: &[(&str, &str)],
        delegation: Option<&Delegation>,
    ) -> Result<Result<Granted, ServerRefusal>> {
        let url = format!("{}/oauth/token", self.issuer);
        for attempt in 0..2 {
            let now = self.ambient.clock.unix();
            let (kind, assertion) = self.assertion()?;
            let proof = self.proof_of(&Method::POST, &url, None, delegation)?;
            let mut form = fields.to_vec();
            form.extend([
                ("client_id", self.client_id.as_str()),
                ("client_assertion_type", kind),
                ("client_assertion", &assertion),
            ]);
            let answer = self.http.form(&url, &[("dpop", &proof)], &form).await?;
            self.remember_nonce(answer.header("dpop-nonce"));
            let body = answer.json()?;
            if answer.status == StatusCode::OK {
                return Ok(Ok(granted(body, now.0)?));
            }
            if attempt == 0 && body.get("error").is_some_and(|value| value == "use_dpop_nonce") {
                continue;
            }
            return Ok(Err(server_refusal(answer.status, &body)));
        }
        bail!("the server asks for a new nonce again and again")
    }

    /// A first token for this agent itself.
    pub(crate) async fn itself(
        &self,
        resource: &str,
        scope: Option<&str>,
        details: Option<&str>,
        label: Option<&str>,
    ) -> Result<Result<Granted, ServerRefusal>> {
        let mut fields = vec![("grant_type", "client_credentials"), ("resource", resource)];
        fields.extend(scope.map(|scope| ("scope", scope)));
        fields.extend(details.map(|details| ("authorization_details", details)));
        fields.extend(label.map(|label| ("label", label)));
        self.token(&fields).await
    }

    /// Sends a request with a token that is renewed when it must be, and one retry for a nonce or an ended token.
    pub(crate) async fn call(
        &self,
        method: Method,
        url: &str,
        headers: &[(String, String)],
        body: Bytes,
    ) -> Result<http::Response<Incoming>> {
        let token = self.current(None).await?;
        let answer = self.call_with(&token, method.clone(), url, headers, body.clone()).await?;
        if answer.status() != StatusCode::UNAUTHORIZED {
            return Ok(answer);
        }
        let token = self.current(Some(&token)).await?;
        self.call_with(&token, method, url, headers, body).await
    }

    /// Sends a request with this very token, and once more when the server wants its nonce in the proof.
    pub(crate) async fn call_with(
        &self,
        token: &str,
        method: Method,
        url: &str,
        headers: &[(String, String)],
        body: Bytes,
    ) -> Result<http::Response<Incoming>> {
        let answer = self.send(token, method.clone(), url, headers, body.clone()).await?;
        let mut challenges = answer.headers().get_all("www-authenticate").iter().filter_map(|value| value.to_str().ok());
        if answer.status() == StatusCode::UNAUTHORIZED && challenges.any(|value| value.contains("use_dpop_nonce")) {
            return self.send(token, method, url, headers, body).await;
        }
        Ok(answer)
    }

    async fn send(
        &self,
        token: &str,
        method: Method,
        url: &str,
        headers: &[(String, String)],
        body: Bytes,
    ) -> Result<http::Response<Incoming>> {
        let proof = if is_bound(token) { Some(self.proof(&method, url, Some(token))?) } else { None };
        let authorization = format!("{} {token}", if proof.is_some() { "DPoP" } else { "Bearer" });
        let mut all = vec![("authorization", authorization.as_str())];
        all.extend(proof.iter().map(|proof| ("dpop", proof.as_str())));
        all.extend(headers.iter().map(|(name, value)| (name.as_str(), value.as_str())));
        let answer = self.http.open(method, url, &all, body).await?;
        self.remember_nonce(answer.headers().get("dpop-nonce").and_then(|value| value.to_str().ok()));
        Ok(answer)
    }

    /// A token that still holds; a new one when the held one ends soon or is `refused`.
    async fn current(&self, refused: Option<&str>) -> Result<String> {
        // One request for a token at a time: parallel calls of this process wait for it and use what it brings.
        let mut held = self.held.lock().await;
        let now = self.ambient.clock.unix().0;
        let good = |granted: &&Granted| {
            granted.expires_at - RENEW_BEFORE > now && refused.is_none_or(|token| token != granted.access_token)
        };
        if let Some(granted) = held.as_ref().filter(good) {
            return Ok(granted.access_token.clone());
        }
        let granted = match &self.source {
            TokenSource::Itself { resource, scope } => {
                let granted = self.itself(resource, scope.as_deref(), None, None).await?;
                granted.map_err(|refusal| anyhow::anyhow!("no token for {}: {refusal}", self.client_id))?
            }
            TokenSource::SignIn(sign_in) => self.refresh(sign_in).await?,
            TokenSource::Handed(file) => handed(file, now, refused)?,
        };
        let token = granted.access_token.clone();
        *held = Some(granted);
        Ok(token)
    }

    /// Exchanges the kept refresh token for an access token and the next refresh token.
    async fn refresh(&self, sign_in: &SignIn) -> Result<Granted> {
        // INVARIANT: no two processes use one refresh token; the second would look like a thief.
        let lock = sign_in.lock().await?;
        let current = sign_in.read(&lock)?;
        let fields = [("grant_type", "refresh_token"), ("refresh_token", &current), ("resource", &sign_in.resource)];
        let mut answer = self.token(&fields).await;
        for wait in REFRESH_AGAIN_AFTER {
            // An answer may be lost after the server has used the token; it gives the same key the same successor again.
            if answer.is_ok() {
                break;
            }
            tokio::time::sleep(wait).await;
            answer = self.token(&fields).await;
        }
        match answer? {
            Ok(granted) => {
                // The old one is used up from here on, so the new one is kept before anything else is done.
                sign_in.keep(granted.refresh_token.as_deref().unwrap_or(&current), &lock)?;
                Ok(granted)
            }
            Err(refusal) if refusal.error == "invalid_grant" => {
                tracing::info!("the sign-in has ended: {refusal}");
                sign_in.forget(&lock);
                Err(SignInNeeded.into())
            }
            Err(refusal) => bail!("no token for {}: {refusal}", self.client_id),
        }
    }

    fn remember_nonce(&self, nonce: Option<&str>) {
        if let Some(nonce) = nonce {
            *self.nonce.lock().unwrap_or_else(PoisonError::into_inner) = Some(nonce.to_owned());
        }
    }
}

/// The token in a file by which an issuer vouches for the agent, and its kind.
fn vouched(file: &Path) -> Result<(&'static str, String)> {
    let text = String::from_utf8(bounded_read::read(file, TOKEN_LIMIT)?);
    let text = text.with_context(|| format!("{}: the token is not text", file.display()))?;
    let token = match text.trim() {
        // What `spire-agent api fetch jwt -output json` prints.
        printed if printed.starts_with('[') => {
            let printed: Value =
                serde_json::from_str(printed).with_context(|| format!("{}: this is not JSON", file.display()))?;
            let svid = printed.pointer("/0/svids/0/svid").and_then(Value::as_str);
            svid.with_context(|| format!("{}: there is no SVID in `svids`", file.display()))?.to_owned()
        }
        token => token.to_owned(),
    };
    let claims = inspect_unverified(&token).map_err(|refusal| anyhow::anyhow!("{}: {refusal}", file.display()))?.claims;
    let svid = claims.get("sub").and_then(Value::as_str).is_some_and(|sub| sub.starts_with("spiffe://"));
    Ok((if svid { JWT_SPIFFE } else { ASSERTION_TYPE }, token))
}

/// Whether a proof belongs to the token: not to that of an agent that is registered with `binding: danger_bearer`. A token that we
/// cannot read is sent with one, and the server says what is wrong with it.
fn is_bound(token: &str) -> bool {
    inspect_unverified(token).map_or(true, |token| token.claims.contains_key("cnf"))
}

/// The token in a file, as long as it holds.
fn handed(file: &Path, now: i64, refused: Option<&str>) -> Result<Granted> {
    let text = String::from_utf8(bounded_read::read(file, TOKEN_LIMIT)?).context("the token is not text")?;
    let token = text.trim();
    let claims = inspect_unverified(token).map_err(|refusal| anyhow::anyhow!("{}: {refusal}", file.display()))?.claims;
    let expires_at = claims.get("exp").and_then(Value::as_i64).unwrap_or_default();
    if expires_at <= now || refused == Some(token) {
        bail!("the token in {} has ended or was refused; the agent that delegates must hand over another", file.display());
    }
    Ok(Granted { access_token: token.to_owned(), refresh_token: None, expires_at, answer: Value::Null })
}

fn granted(answer: Value, now: i64) -> Result<Granted> {
    let text = |name: &str| answer.get(name).and_then(Value::as_str).map(str::to_owned);
    Ok(Granted {
        access_token: text("access_token").context("the answer has no access_token")?,
        refresh_token: text("refresh_token"),
        expires_at: now + answer.get("expires_in").and_then(Value::as_i64).unwrap_or(0),
        answer,
    })
}

/// Reads a refusal from an OAuth error, an admin error, a JSON-RPC error, or the result of a refused tool call.
pub(crate) fn server_refusal(status: StatusCode, body: &Value) -> ServerRefusal {
    let text = |value: Option<&Value>| value.and_then(Value::as_str).map(str::to_owned);
    let data = body.pointer("/error/data");
    let meta = body.pointer("/result/_meta");
    let of = |name: &str| {
        let tool = || meta.and_then(|meta| meta.get(format!("remit/{name}")));
        text(data.and_then(|data| data.get(name)).or_else(tool))
    };
    let code = text(body.get("remit_code")).or_else(|| of("code")).or_else(|| text(body.get("error")));
    let reason = text(body.get("error_description"))
        .or_else(|| of("reason"))
        .or_else(|| text(body.get("reason")))
        .or_else(|| text(body.pointer("/error/message")));
    let record = text(body.get("remit_record")).or_else(|| of("record")).or_else(|| text(body.get("record")));
    ServerRefusal {
        status: status.as_u16(),
        error: text(body.get("error")).unwrap_or_default(),
        code: code.unwrap_or_else(|| "unknown".into()),
        reason: reason.unwrap_or_else(|| body.to_string()),
        record,
    }
}
