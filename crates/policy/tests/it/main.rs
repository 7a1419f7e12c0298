//! The policy crate through its public face.
#![expect(clippy::unwrap_used, reason = "tests")]

mod bundle;
mod decisions;
mod known;
mod live;
mod starter;

use remit_model::{
    id::{PrincipalKind, ServerId, TenantId},
    resource::ToolClass,
    time::UnixTime,
};
use remit_policy::{Action, Bundle, Party, PolicyError, Question, ToolFacts};
use serde_json::{Value, json};
use std::collections::BTreeMap;

const ISSUER: &str = "http://127.0.0.1:8420";

fn bundle(text: &str) -> Result<Bundle, Vec<PolicyError>> {
    Bundle::parse(&[("p.cedar".to_owned(), text.to_owned())])
}

fn party(sub: &str) -> Party {
    let kind = if sub.starts_with("user:") { PrincipalKind::Human } else { PrincipalKind::Agent };
    let owner = (kind == PrincipalKind::Agent).then(|| "user:alice".to_owned());
    Party {
        kind,
        sub: sub.to_owned(),
        iss: ISSUER.to_owned(),
        owner,
        labels: BTreeMap::new(),
        binding: remit_model::Binding::default(),
    }
}

/// Alice's agents, first one to the caller, call a tool of the helpdesk.
fn call(actors: &[&str], tool: &str, class: ToolClass, arguments: Value) -> Question {
    Question {
        tenant: TenantId::main(),
        issuer: ISSUER.to_owned(),
        principal: party(actors.last().unwrap_or(&"user:alice")),
        on_behalf_of: party("user:alice"),
        chain: actors.iter().map(|actor| (*actor).to_owned()).collect(),
        txn: Some("txn-1".to_owned()),
        action: Action::Call,
        server: Some(ServerId::parse("helpdesk").unwrap()),
        tool: Some(ToolFacts { name: tool.to_owned(), class, classification: None }),
        arguments,
        authority_digest: "sha-256:00".to_owned(),
        purpose: None,
        now: UnixTime(1_795_321_800),
        auth_age: Some(60),
        acr: None,
        amr: Vec::new(),
        root_signed: false,
    }
}

fn refund(amount: impl Into<Value>) -> Question {
    call(&["agent:planner"], "refund_create", ToolClass::Payment, json!({ "amount": amount.into() }))
}
