//! A decision for another enforcement point, straight on: token and proof, the question, what the subject holds, one
//! policy evaluation, one durable record.

use super::{Claims, Facts, Floor, jose::b64};
use crate::roads::{
    plain::{self, Answer},
    world::TOOLS,
};
use anyhow::{Context as _, Result, ensure};
use hyper::{StatusCode, header::HeaderMap};
use serde::Deserialize;
use serde_json::{Value, json};

#[derive(Deserialize)]
struct Question {
    subject: Entity,
    action: Action,
    resource: Entity,
    #[serde(default)]
    context: Value,
}

#[derive(Deserialize)]
struct Entity {
    r#type: String,
    id: String,
}

#[derive(Deserialize)]
struct Action {
    name: String,
}

/// One verification of the proof, one of a token not seen before.
pub(super) async fn evaluate(floor: &Floor, headers: &HeaderMap, body: &[u8]) -> Result<Answer> {
    let authorization = headers.get("authorization").context("no token")?.to_str()?;
    let (claims, digest) = floor.token(authorization.strip_prefix("DPoP ").context("no token")?)?;
    let jkt = floor.proof(headers, &format!("{}/evaluation", floor.desk), Some(&b64(&digest)))?;
    ensure!(jkt == claims.cnf.jkt && claims.aud == floor.desk, "another party's token");
    let may_ask = claims.authorization_details.iter().any(|detail| detail.actions.iter().any(|action| action == "evaluate"));
    ensure!(may_ask, "no business of this client");
    let question: Question = serde_json::from_slice(body)?;
    let permitted = decide(floor, &question)?;
    floor.ledger.append(facts(floor, &claims, &question, body)?).await?;
    Ok(plain::json(StatusCode::OK, if permitted { r#"{"decision":true}"# } else { r#"{"decision":false}"# }))
}

/// Every agent may call every tool that is granted to anybody, as far as the policies go.
fn decide(floor: &Floor, question: &Question) -> Result<bool> {
    let Question { subject, action, resource, .. } = question;
    let Some(tool) = resource.id.strip_prefix("bench/") else { return Ok(false) };
    let known = subject.r#type == "agent" && floor.agents.contains_key(&subject.id);
    let read = action.name == "call" && resource.r#type == "tool";
    if !known || !read || !TOOLS.contains(&tool) {
        return Ok(false);
    }
    let class = if tool == "change" { "write" } else { "read" };
    floor.policies.call(&subject.id, tool, class, 0, floor.now())
}

/// What was asked, and the question that was decided.
fn facts(floor: &Floor, claims: &Claims, question: &Question, body: &[u8]) -> Result<Facts> {
    let decided = json!({
        "action": question.action.name, "tool": question.resource.id, "principal": question.subject.id, "txn": claims.txn,
        "arguments": question.context.get("arguments"), "depth": 0, "server": floor.resource,
    });
    Ok(Facts {
        values: vec![("/decision/input", serde_json::to_vec(&decided)?), ("/evaluation/request", body.to_vec())],
        state: Vec::new(),
    })
}

#[cfg(test)]
mod tests {
    use super::super::jose;
    use super::*;
    use crate::roads::{
        client::{Client, Spoilt},
        world::{ASKER, Ports, World},
    };
    use remit_clock::Clock;
    use std::{collections::HashSet, path::PathBuf};

    #[test]
    fn a_question_carries_a_proof_for_the_decision_point_and_a_spoilt_one_does_not() {
        let world = World { dir: PathBuf::new(), ports: Ports { server: 1, upstream: 2 } };
        let client = Client::of(&world).unwrap();
        let (url, ath) = (format!("{}/evaluation", world.desk()), b64(&jose::sha256(b"a.to.ken")));
        let shown = |spoilt| {
            let request = client.evaluation(client.agent(ASKER).unwrap(), "a.to.ken", "small", spoilt).unwrap();
            let text = String::from_utf8(request).unwrap();
            let header = text.lines().find_map(|line| line.strip_prefix("dpop: ")).unwrap().to_owned();
            let body = text.split_once("\r\n\r\n").unwrap().1.to_owned();
            (jose::proof(&header, &url, Some(&ath), Clock::system().unix().0, &mut HashSet::new()), body)
        };
        let (proved, body) = shown(Spoilt::No);
        assert_eq!(proved.unwrap(), client.agent(ASKER).unwrap().key.public().thumbprint());
        let question: Question = serde_json::from_str(&body).unwrap();
        assert_eq!((question.subject.id.as_str(), question.resource.id.as_str()), ("agent:hop1", "bench/small"));
        assert_eq!(question.context.get("arguments"), Some(&json!({"id": "T-1001", "verbose": true})));
        for spoilt in [Spoilt::Signature, Spoilt::Proof] {
            assert!(shown(spoilt).0.is_err(), "{spoilt:?}");
        }
    }
}
