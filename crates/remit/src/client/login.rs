//! A person's sign-in for an agent: authorization code with PKCE and a loopback redirect (RFC 8252), bound to the agent's
//! key.

use super::{
    agent_client::{AgentClient, Granted, TokenSource},
    agent_profile::AgentProfile,
    sign_in::SignIn,
};
use crate::{
    args::{LoginRequest, LoginServer},
    stdout::print_json,
};
use anyhow::{Context as _, Result, bail};
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use remit_clock::Ambient;
use remit_model::json::sha256;
use serde_json::json;
use std::{collections::BTreeMap, time::Duration};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
};
use url::Url;

/// How long the person may take.
const PATIENCE: Duration = Duration::from_mins(5);
/// Longest wait for the browser to send its request.
const BROWSER_WAIT: Duration = Duration::from_secs(5);
/// Longest request line taken from the browser, in bytes.
const REQUEST_LIMIT: usize = 16 << 10;

/// Runs `remit login`: one sign-in, kept for `remit connect --login`.
///
/// # Errors
/// The person does not sign in or refuses, or the server does.
pub(crate) async fn run(args: &LoginServer, ambient: &Ambient) -> Result<()> {
    AgentProfile::keeps_its_key(&args.agent)?;
    let profile = AgentProfile::of(&args.agent, &ambient.entropy)?;
    let resource = profile.resource(&args.server);
    let sign_in = SignIn::beside(&profile.key_file, &args.server, &resource);
    let login = Login::begin(&profile, &resource, &args.request, ambient).await?;
    eprintln!("Sign in and consent here:\n\n  {}\n", login.url);
    let granted = login.finish(Some(&sign_in)).await?;
    if args.json {
        let scope = granted.answer.get("scope");
        return print_json(&json!({"agent": profile.client_id, "resource": resource, "scope": scope}));
    }
    outln!("{} may now act for you at {resource}: `remit connect {} --login`", profile.client_id, args.server);
    Ok(())
}

/// A sign-in that waits for the person's browser.
#[derive(Debug)]
pub(crate) struct Login {
    /// Where the person signs in and consents.
    pub(crate) url: Url,
    client: AgentClient,
    listener: TcpListener,
    redirect: String,
    verifier: String,
    state: String,
}

impl Login {
    /// Opens a loopback port and builds the authorization request.
    ///
    /// # Errors
    /// No loopback port is free, or the authorization details cannot be read.
    pub(crate) async fn begin(profile: &AgentProfile, resource: &str, request: &LoginRequest, ambient: &Ambient) -> Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await.context("cannot listen for the browser's answer")?;
        let redirect = format!("http://127.0.0.1:{}/callback", listener.local_addr()?.port());
        let (verifier, state) = (ambient.entropy.token(32), ambient.entropy.token(16));
        let challenge = URL_SAFE_NO_PAD.encode(sha256(verifier.as_bytes()));
        let mut url = Url::parse(&format!("{}/oauth/authorize", profile.url))?;
        url.query_pairs_mut().extend_pairs([
            ("response_type", "code"),
            ("client_id", &profile.client_id),
            ("redirect_uri", &redirect),
            ("resource", resource),
            ("code_challenge", &challenge),
            ("code_challenge_method", "S256"),
            ("state", &state),
            ("dpop_jkt", profile.key.public().thumbprint()),
        ]);
        if let Some(details) = request.details()? {
            url.query_pairs_mut().append_pair("authorization_details", &details);
        } else {
            let server = resource.rsplit('/').next().unwrap_or_default();
            let scope = request.scope.clone().unwrap_or_else(|| format!("{server}:*"));
            url.query_pairs_mut().append_pair("scope", &scope);
        }
        if let Some(purpose) = &request.purpose {
            url.query_pairs_mut().append_pair("purpose", purpose);
        }
        let source = TokenSource::Itself { resource: resource.to_owned(), scope: None };
        let client = profile.client(source, ambient);
        Ok(Self { url, client, listener, redirect, verifier, state })
    }

    /// Waits for the person, redeems the code and keeps the refresh token. The browser is told how it ended.
    ///
    /// # Errors
    /// The person took too long or refused, or the code was refused.
    pub(crate) async fn finish(self, keep: Option<&SignIn>) -> Result<Granted> {
        let waiting = tokio::time::timeout(PATIENCE, callback(&self.listener, &self.state));
        let (answer, mut browser) = waiting.await.context("no one signed in within five minutes")??;
        let granted = self.redeem(&answer, keep).await;
        let text = match &granted {
            Ok(_) => "Done. You can close this window.".to_owned(),
            Err(error) => format!("The agent did not get the authority: {error:#}"),
        };
        respond(&mut browser, "200 OK", &text).await;
        granted
    }

    async fn redeem(&self, answer: &BTreeMap<String, String>, keep: Option<&SignIn>) -> Result<Granted> {
        if answer.get("iss") != Some(&self.client.issuer) {
            bail!("the answer does not come from {}", self.client.issuer); // SPEC: RFC 9207 §2.4
        }
        let code = match (answer.get("code"), answer.get("error")) {
            (Some(code), None) => code,
            (_, Some(error)) => {
                bail!("no authority was given: {error}: {}", answer.get("error_description").map_or("", String::as_str))
            }
            (None, None) => bail!("the browser's answer holds neither a code nor an error"),
        };
        let fields = [
            ("grant_type", "authorization_code"),
            ("code", code),
            ("code_verifier", &self.verifier),
            ("redirect_uri", &self.redirect),
        ];
        let granted = self.client.token(&fields).await?.map_err(|refusal| anyhow::anyhow!("the code was refused: {refusal}"))?;
        if let Some(sign_in) = keep {
            let token = granted.refresh_token.as_deref().context("the server gave no refresh token")?;
            let lock = sign_in.lock().await?;
            sign_in.keep(token, &lock)?;
        }
        Ok(granted)
    }
}

/// Waits for the redirect that carries our `state`; anything else on the port gets a 404.
async fn callback(listener: &TcpListener, state: &str) -> Result<(BTreeMap<String, String>, TcpStream)> {
    loop {
        let (mut socket, _) = listener.accept().await?;
        let mut request = Vec::new();
        let mut chunk = [0; 1024];
        while !request.windows(4).any(|end| end == b"\r\n\r\n") && request.len() < REQUEST_LIMIT {
            match tokio::time::timeout(BROWSER_WAIT, socket.read(&mut chunk)).await {
                Ok(Ok(read @ 1..)) => request.extend_from_slice(chunk.get(..read).unwrap_or_default()),
                _ => break,
            }
        }
        let line = String::from_utf8_lossy(&request).lines().next().unwrap_or_default().to_owned();
        let target = line.split(' ').nth(1).unwrap_or_default();
        let answer: BTreeMap<String, String> = Url::parse(&format!("http://127.0.0.1{target}"))
            .map(|url| url.query_pairs().into_owned().collect())
            .unwrap_or_default();
        if target.starts_with("/callback?") && answer.get("state").map(String::as_str) == Some(state) {
            return Ok((answer, socket));
        }
        respond(&mut socket, "404 Not Found", "Nothing here.").await;
    }
}

async fn respond(socket: &mut TcpStream, status: &str, text: &str) {
    let page = format!(
        "HTTP/1.1 {status}\r\ncontent-type: text/plain; charset=utf-8\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{text}",
        text.len()
    );
    let _ = tokio::time::timeout(BROWSER_WAIT, socket.write_all(page.as_bytes())).await;
}
