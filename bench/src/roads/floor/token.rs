//! The token endpoint and introspection, straight on.

use super::{
    Claims, Confirmation, Detail, Facts, Floor,
    jose::{b64, sha256},
};
use crate::roads::plain::{self, Answer};
use anyhow::{Context as _, Result, bail, ensure};
use aws_lc_rs::rand::{SecureRandom as _, SystemRandom};
use hyper::{StatusCode, header::HeaderMap};
use percent_encoding::percent_decode_str;
use serde::Deserialize;
use serde_json::{Value, json};
use std::collections::HashMap;

const LIFETIME: i64 = 3_600;

#[derive(Deserialize)]
struct Assertion {
    iss: String,
    sub: String,
    aud: String,
    jti: String,
    exp: i64,
}

type Form = HashMap<String, String>;

fn form(body: &[u8]) -> Result<Form> {
    let pairs = std::str::from_utf8(body)?.split('&').filter_map(|pair| pair.split_once('='));
    pairs.map(|(name, value)| Ok((name.to_owned(), percent_decode_str(value).decode_utf8()?.into_owned()))).collect()
}

fn field<'f>(form: &'f Form, name: &str) -> Result<&'f str> {
    form.get(name).map(String::as_str).with_context(|| format!("no {name}"))
}

/// One verification; the assertion is used up.
fn client(floor: &Floor, form: &Form) -> Result<String> {
    let subject = field(form, "client_id")?;
    let key = floor.agents.get(subject).context("an unknown client")?;
    let claims: Assertion = key.claims(field(form, "client_assertion")?)?;
    ensure!(claims.iss == subject && claims.sub == subject && claims.aud == floor.issuer, "another party's assertion");
    ensure!(claims.exp > floor.now(), "an old assertion");
    ensure!(floor.used.borrow_mut().insert(sha256(format!("{subject} {}", claims.jti).as_bytes())), "a used assertion");
    Ok(subject.to_owned())
}

/// Client assertion and proof: two verifications. Credentials: one signature. An exchange: subject and actor token, each
/// verified once and then remembered, one policy evaluation, one signature.
pub(super) async fn grant(floor: &Floor, headers: &HeaderMap, body: &[u8]) -> Result<Answer> {
    let form = form(body)?;
    let client = client(floor, &form)?;
    let jkt = floor.proof(headers, &format!("{}/oauth/token", floor.issuer), None)?;
    let now = floor.now();
    let claims = if field(&form, "grant_type")? == "client_credentials" {
        Claims { sub: client.clone(), cnf: Confirmation { jkt }, exp: now + LIFETIME, txn: random()?, ..Claims::default() }
    } else {
        exchange(floor, &form, &client, &jkt, now)?
    };
    let wanted = field(&form, "scope")?.split(' ').map(|scope| scope.strip_prefix("bench:").map(str::to_owned));
    let actions = wanted.collect::<Option<Vec<_>>>().context("an unknown scope")?;
    if let Some(parent) = claims.authorization_details.first() {
        ensure!(actions.iter().all(|action| parent.actions.contains(action)), "too wide a scope");
    }
    let detail = Detail {
        r#type: "tool_access".to_owned(),
        locations: vec![floor.resource.clone()],
        actions,
        fields: None,
        delegate: None,
    };
    let claims = Claims {
        iss: floor.issuer.clone(),
        aud: floor.resource.clone(),
        client_id: client,
        scope: field(&form, "scope")?.to_owned(),
        jti: random()?,
        iat: now,
        authorization_details: vec![detail],
        ..claims
    };
    let token = floor.signer.sign(&claims)?;
    let shown = serde_json::to_vec(&claims)?;
    let asked = json!({"grant_type": field(&form, "grant_type")?, "scope": claims.scope, "resource": claims.aud});
    let proof = headers.get("dpop").map(|value| value.as_bytes().to_vec()).unwrap_or_default();
    let evidence = field(&form, "client_assertion")?.as_bytes().to_vec();
    floor
        .ledger
        .append(Facts {
            values: vec![
                ("/claims", shown.clone()),
                ("/request", serde_json::to_vec(&asked)?),
                ("/proof", proof),
                ("/evidence", evidence),
            ],
            state: shown,
        })
        .await?;
    let answer = json!({
        "access_token": token, "token_type": "DPoP", "expires_in": claims.exp - now, "scope": claims.scope,
        "authorization_details": claims.authorization_details,
    });
    Ok(plain::json(StatusCode::OK, answer.to_string()))
}

fn exchange(floor: &Floor, form: &Form, client: &str, jkt: &str, now: i64) -> Result<Claims> {
    let (subject, _) = floor.token(field(form, "subject_token")?)?;
    let (actor, _) = floor.token(field(form, "actor_token")?)?;
    ensure!(subject.holder() == client && subject.cnf.jkt == jkt, "another party's token");
    ensure!(actor.act.is_none() && actor.aud == floor.issuer && actor.cnf.jkt != jkt, "no actor");
    ensure!(subject.authorization_details.iter().all(|detail| detail.delegate.is_some()), "not to be handed on");
    let exp = (now + LIFETIME).min(subject.exp).min(actor.exp);
    ensure!(floor.policies.delegate(client, &actor.sub, exp - now, subject.depth(), now)?, "policy says no");
    let mut act = json!({"sub": actor.sub, "iss": floor.issuer});
    if let (Some(members), Some(before)) = (act.as_object_mut(), &subject.act) {
        members.insert("act".to_owned(), before.clone());
    }
    let ancestors = std::iter::once(&subject.jti).chain(&subject.ancestors).cloned().collect();
    Ok(Claims {
        sub: subject.sub.clone(),
        cnf: Confirmation { jkt: actor.cnf.jkt.clone() },
        exp,
        act: Some(act),
        txn: subject.txn.clone(),
        ancestors,
        authorization_details: subject.authorization_details.clone(),
        ..Claims::default()
    })
}

/// One verification of the client, one of a token not seen before. What is used up becomes durable; there is no record.
pub(super) async fn introspect(floor: &Floor, body: &[u8]) -> Result<Answer> {
    let form = form(body)?;
    let client = client(floor, &form)?;
    floor.ledger.state(client.as_bytes().to_vec()).await?;
    let Ok((claims, _)) = floor.token(field(&form, "token")?) else {
        return Ok(plain::json(StatusCode::OK, r#"{"active":false}"#));
    };
    if claims.client_id != client && claims.holder() != client {
        bail!("no business of this client");
    }
    let mut answer = json!({"active": true});
    if let (Some(members), Value::Object(known)) = (answer.as_object_mut(), serde_json::to_value(&*claims)?) {
        members.extend(known);
    }
    Ok(plain::json(StatusCode::OK, answer.to_string()))
}

/// For the measurement alone: what must be refused from now on.
pub(super) fn revoke(floor: &Floor, body: &[u8]) -> Result<Answer> {
    let claims: Claims = floor.own.claims(field(&form(body)?, "token")?)?;
    floor.revoked.borrow_mut().insert(claims.jti);
    Ok(plain::json(StatusCode::OK, "{}"))
}

fn random() -> Result<String> {
    let mut bytes = [0; 16];
    SystemRandom::new().fill(&mut bytes)?;
    Ok(b64(&bytes))
}
