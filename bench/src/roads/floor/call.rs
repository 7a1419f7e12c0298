//! A tool call, straight on: token and proof, the message, the grant, one policy evaluation, one hop, one durable record.

use super::{Claims, Facts, Floor, jose::b64};
use crate::roads::plain::{self, Answer, Body, Upstream, whole};
use anyhow::{Context as _, Result, ensure};
use futures_util::stream;
use http_body_util::{BodyExt as _, StreamBody};
use hyper::{
    Response, StatusCode,
    body::{Bytes, Frame, Incoming},
    header::HeaderMap,
};
use serde::Deserialize;
use serde_json::{Value, json};
use std::{collections::VecDeque, rc::Rc};

#[derive(Deserialize)]
struct Message {
    jsonrpc: String,
    id: Value,
    method: String,
    params: Params,
}

#[derive(Deserialize)]
struct Params {
    name: String,
    arguments: Value,
}

/// One verification of the proof, one of a token not seen before.
pub(super) async fn call(floor: &Rc<Floor>, headers: &HeaderMap, body: Bytes, link: &Upstream) -> Result<Answer> {
    let authorization = headers.get("authorization").context("no token")?.to_str()?;
    let (claims, digest) = floor.token(authorization.strip_prefix("DPoP ").context("no token")?)?;
    let jkt = floor.proof(headers, &floor.resource, Some(&b64(&digest)))?;
    ensure!(jkt == claims.cnf.jkt && claims.aud == floor.resource, "another party's token");
    let message: Message = serde_json::from_slice(&body)?;
    ensure!(message.jsonrpc == "2.0" && message.method == "tools/call", "not a call");
    let tool = message.params.name.as_str();
    let detail = claims.authorization_details.iter().find(|detail| detail.actions.iter().any(|action| action == tool));
    let facts = facts(&claims, &message)?;
    let Some(detail) = detail else {
        floor.ledger.append(facts).await?;
        let error = json!({"jsonrpc": "2.0", "id": message.id, "error": {"code": -31403, "message": "not granted"}});
        return Ok(plain::json(StatusCode::OK, error.to_string()));
    };
    let class = if tool == "change" { "write" } else { "read" };
    ensure!(floor.policies.call(claims.holder(), tool, class, claims.depth(), floor.now())?, "policy says no");
    if class == "write" {
        floor.ledger.append(facts.clone()).await?;
    }
    let answer = link.post(floor.upstream, headers, body.clone()).await?;
    let streams = answer.headers().get("content-type").is_some_and(|kind| kind.as_bytes().starts_with(b"text/event-stream"));
    if streams {
        return Ok(relay(Rc::clone(floor), answer, facts));
    }
    let mut answer = answer.into_body().collect().await?.to_bytes();
    if detail.fields.is_some() {
        answer = masked(&answer)?.into();
    }
    floor.ledger.append(facts).await?;
    Ok(plain::json(StatusCode::OK, answer))
}

/// The arguments, and the question that was decided.
fn facts(claims: &Claims, message: &Message) -> Result<Facts> {
    let question = json!({
        "action": "call", "tool": message.params.name, "arguments": message.params.arguments, "principal": claims.holder(),
        "txn": claims.txn, "chain": claims.act, "depth": claims.depth(), "server": claims.aud,
    });
    Ok(Facts {
        values: vec![
            ("/decision/input", serde_json::to_vec(&question)?),
            ("/request/arguments", serde_json::to_vec(&message.params.arguments)?),
        ],
        state: Vec::new(),
    })
}

/// Keeps `id` and `subject` of every row.
fn masked(answer: &[u8]) -> Result<Vec<u8>> {
    let mut answer: Value = serde_json::from_slice(answer)?;
    let rows = answer.pointer_mut("/result/structuredContent/rows").and_then(Value::as_array_mut).context("no rows")?;
    for members in rows.iter_mut().filter_map(Value::as_object_mut) {
        members.retain(|name, _| name == "id" || name == "subject");
    }
    Ok(serde_json::to_vec(&answer)?)
}

/// Every piece goes on as it comes; the one with the result waits until the record is durable.
fn relay(floor: Rc<Floor>, answer: Response<Incoming>, facts: Facts) -> Answer {
    let (head, body) = answer.into_parts();
    let (sender, receiver) = tokio::sync::mpsc::channel::<Bytes>(8);
    tokio::task::spawn_local(async move {
        let (mut body, mut facts) = (body, VecDeque::from([facts]));
        while let Some(Ok(frame)) = body.frame().await {
            let Ok(bytes) = frame.into_data() else { continue };
            let last = bytes.windows(9).any(|part| part == b"\"result\":");
            if let (true, Some(facts)) = (last, facts.pop_front())
                && floor.ledger.append(facts).await.is_err()
            {
                return;
            }
            if sender.send(bytes).await.is_err() {
                return;
            }
        }
    });
    let pieces = stream::unfold(receiver, |mut receiver| async move {
        let bytes = receiver.recv().await?;
        Some((Ok(Frame::data(bytes)), receiver))
    });
    let body: Body = StreamBody::new(pieces).boxed_unsync();
    let mut relayed = Response::new(body);
    if let Some(kind) = head.headers.get("content-type") {
        relayed.headers_mut().insert("content-type", kind.clone());
    }
    if head.status != StatusCode::OK {
        *relayed.body_mut() = whole(Bytes::new());
    }
    relayed
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_granted_fields_stay() {
        let before = json!({"id": 1, "result": {"structuredContent": {"rows": [{"id": "a", "subject": "b", "iban": "c"}]}}});
        let after: Value = serde_json::from_slice(&masked(before.to_string().as_bytes()).unwrap()).unwrap();
        assert_eq!(after, json!({"id": 1, "result": {"structuredContent": {"rows": [{"id": "a", "subject": "b"}]}}}));
        assert!(masked(b"{}").is_err());
    }
}
