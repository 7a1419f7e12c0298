//! One token exchange (RFC 8693): narrows a token, for the agent itself or for a sub-agent it names.

use super::agent_client::{ACCESS_TOKEN, AgentClient, Granted, ServerRefusal, TOKEN_EXCHANGE};
use anyhow::{Context as _, Result};
use remit_model::{Authority, UnixTime};
use remit_token::{Delegation, inspect_unverified};
use serde_json::Value;

/// What a narrower token is asked for.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Narrower<'a> {
    pub(crate) resource: &'a str,
    pub(crate) scope: Option<&'a str>,
    pub(crate) details: Option<&'a str>,
    /// What to call the token in the ledger.
    pub(crate) label: Option<&'a str>,
}

/// One exchange (RFC 8693): narrows a token, for itself or for a named child.
pub(crate) async fn narrow(
    caller: &AgentClient,
    subject: &str,
    child: Option<&Granted>,
    to: &Narrower<'_>,
) -> Result<Result<Granted, ServerRefusal>> {
    let Narrower { resource, scope, details, label } = *to;
    let mut fields = vec![
        ("grant_type", TOKEN_EXCHANGE),
        ("subject_token", subject),
        ("subject_token_type", ACCESS_TOKEN),
        ("resource", resource),
    ];
    if let Some(child) = child {
        fields.extend([("actor_token", child.access_token.as_str()), ("actor_token_type", ACCESS_TOKEN)]);
    }
    fields.extend(scope.map(|scope| ("scope", scope)));
    fields.extend(details.map(|details| ("authorization_details", details)));
    fields.extend(label.map(|label| ("label", label)));
    let delegation = child.zip(details).map(|(child, details)| signed(subject, child, details)).transpose()?;
    caller.hand_on(&fields, delegation.as_ref()).await
}

/// What the parent signs when it says exactly what it hands on.
fn signed(subject: &str, child: &Granted, details: &str) -> Result<Delegation> {
    let claims = |token: &str| {
        inspect_unverified(token).map(|seen| Value::Object(seen.claims)).map_err(|refusal| anyhow::anyhow!("{refusal}"))
    };
    let (parent, child) = (claims(subject)?, claims(&child.access_token)?);
    let text = |claims: &Value, pointer: &str| claims.pointer(pointer).and_then(Value::as_str).map(str::to_owned);
    Ok(Delegation {
        delegate: text(&child, "/sub").context("the child's token has no subject")?,
        jkt: text(&child, "/cnf/jkt").context("the child's token is bound to no key")?,
        parent: text(&parent, "/jti").context("the parent's token has no jti")?,
        authority: Authority::parse(&serde_json::from_str(details)?).map_err(|refusal| anyhow::anyhow!("{refusal}"))?,
        expires: UnixTime(parent.pointer("/exp").and_then(Value::as_i64).context("the parent's token has no end")?),
        purpose: None,
    })
}
