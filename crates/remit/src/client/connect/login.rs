//! Sign-in on behalf of a human: authorization code with PKCE and a loopback redirect (RFC 8252), bound to the agent's key.

use crate::{
    args::Connect,
    client::{AgentClient, AgentProfile, TokenSource, keep_refresh},
    keys,
};
use anyhow::{Context as _, Result, bail};
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use remit_clock::Ambient;
use remit_model::json::sha256;
use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
    time::Duration,
};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpListener,
};
use url::Url;

/// How long the human may take.
const PATIENCE: Duration = Duration::from_mins(5);
/// Longest request line taken from the browser, in bytes.
const REQUEST_LIMIT: usize = 16 << 10;

/// A refresh token, from an earlier sign-in if it still serves, else from a new one.
pub(super) async fn source(who: &AgentProfile, resource: &str, args: &Connect, ambient: &Ambient) -> Result<TokenSource> {
    let keep = who.key_file.with_extension(format!("{}.refresh", args.server));
    let source = |token: String| TokenSource::Refresh {
        token: Arc::new(Mutex::new(token)),
        resource: resource.to_owned(),
        keep: Some(keep.clone()),
    };
    if keep.exists() {
        let token = keys::read_secret(&keep)?;
        let probe = AgentClient::new(
            who.web.clone(),
            &who.url,
            &who.client_id,
            Arc::clone(&who.key),
            source(token.clone()),
            ambient.clone(),
        );
        if let Ok(granted) =
            probe.token(&[("grant_type", "refresh_token"), ("refresh_token", &token), ("resource", resource)]).await?
        {
            let next = granted.refresh_token.unwrap_or(token);
            keep_refresh(&keep, &next)?;
            return Ok(source(next));
        }
        tracing::info!("the earlier sign-in has ended; a new one is needed");
    }
    let token = sign_in(who, resource, args.scope.as_deref(), ambient).await?;
    keep_refresh(&keep, &token)?;
    Ok(source(token))
}

async fn sign_in(who: &AgentProfile, resource: &str, scope: Option<&str>, ambient: &Ambient) -> Result<String> {
    let listener = TcpListener::bind("127.0.0.1:0").await.context("cannot listen for the browser's answer")?;
    let redirect = format!("http://127.0.0.1:{}/callback", listener.local_addr()?.port());
    let (verifier, state) = (ambient.entropy.token(32), ambient.entropy.token(16));
    let challenge = URL_SAFE_NO_PAD.encode(sha256(verifier.as_bytes()));
    let mut url = Url::parse(&format!("{}/oauth/authorize", who.url))?;
    url.query_pairs_mut().extend_pairs([
        ("response_type", "code"),
        ("client_id", &who.client_id),
        ("redirect_uri", &redirect),
        ("resource", resource),
        ("code_challenge", &challenge),
        ("code_challenge_method", "S256"),
        ("state", &state),
        ("dpop_jkt", who.key.public().thumbprint()),
    ]);
    let server = resource.rsplit('/').next().unwrap_or_default();
    url.query_pairs_mut().append_pair("scope", scope.unwrap_or(&format!("{server}:*")));
    eprintln!("Sign in and consent here:\n\n  {url}\n");
    let answer =
        tokio::time::timeout(PATIENCE, callback(&listener, &state)).await.context("nobody signed in within five minutes")??;
    if answer.get("iss").map(String::as_str) != Some(who.url.as_str()) {
        bail!("the answer does not come from {}", who.url); // SPEC: RFC 9207 §2.4
    }
    let code = match (answer.get("code"), answer.get("error")) {
        (Some(code), None) => code,
        (_, Some(error)) => {
            bail!("no authority was given: {error}: {}", answer.get("error_description").map_or("", String::as_str))
        }
        (None, None) => bail!("the browser's answer holds neither a code nor an error"),
    };
    let caller = AgentClient::new(
        who.web.clone(),
        &who.url,
        &who.client_id,
        Arc::clone(&who.key),
        TokenSource::Itself { resource: resource.to_owned(), scope: None },
        ambient.clone(),
    );
    let fields =
        [("grant_type", "authorization_code"), ("code", code), ("code_verifier", &verifier), ("redirect_uri", &redirect)];
    let granted = caller.token(&fields).await?.map_err(|told| anyhow::anyhow!("the code was refused: {told}"))?;
    granted.refresh_token.context("the server gave no refresh token")
}

/// Waits for the redirect that carries our `state`; anything else on the port is answered and passed over.
async fn callback(listener: &TcpListener, state: &str) -> Result<BTreeMap<String, String>> {
    loop {
        let (mut socket, _) = listener.accept().await?;
        let mut request = Vec::new();
        let mut chunk = [0; 1024];
        while !request.windows(4).any(|end| end == b"\r\n\r\n") && request.len() < REQUEST_LIMIT {
            match tokio::time::timeout(Duration::from_secs(5), socket.read(&mut chunk)).await {
                Ok(Ok(read @ 1..)) => request.extend_from_slice(chunk.get(..read).unwrap_or_default()),
                _ => break,
            }
        }
        let line = String::from_utf8_lossy(&request).lines().next().unwrap_or_default().to_owned();
        let target = line.split(' ').nth(1).unwrap_or_default();
        let answer: BTreeMap<String, String> = Url::parse(&format!("http://127.0.0.1{target}"))
            .map(|url| url.query_pairs().into_owned().collect())
            .unwrap_or_default();
        let ours = target.starts_with("/callback?") && answer.get("state").map(String::as_str) == Some(state);
        let (status, text) =
            if ours { ("200 OK", "Done. You can close this window.") } else { ("404 Not Found", "Nothing here.") };
        let page = format!(
            "HTTP/1.1 {status}\r\ncontent-type: text/plain\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{text}",
            text.len()
        );
        let _ = socket.write_all(page.as_bytes()).await;
        if ours {
            return Ok(answer);
        }
    }
}
