//! Who and what a world consists of. Change a member with `Agent { status, ..agent("planner", ceiling) }`.

use crate::NOW;
use remit_model::{Agent, AgentId, AgentStatus, Authority, Human, HumanStatus, Managed, Server, ServerId, ToolRule, json};
use remit_token::{Algorithm, PrivateKey};
use std::collections::BTreeMap;

/// The ES256 key of this number.
pub fn key(seed: u8) -> PrivateKey {
    PrivateKey::from_seed(Algorithm::Es256, &[seed; 32]).unwrap()
}

/// The key of this name.
pub fn key_named(algorithm: Algorithm, name: &str) -> PrivateKey {
    PrivateKey::from_seed(algorithm, &json::sha256(name.as_bytes())).unwrap()
}

/// An active agent of Alice's without keys.
pub fn agent(name: &str, ceiling: Authority) -> Agent {
    Agent {
        id: AgentId::parse(name).unwrap(),
        display_name: name.to_owned(),
        owner: "user:alice".to_owned(),
        status: AgentStatus::Active,
        keys: Vec::new(),
        redirect_uris: Vec::new(),
        ceiling,
        labels: BTreeMap::new(),
        acts: remit_model::Acts::default(),
        client: remit_model::ClientProfile::default(),
        registered: NOW,
    }
}

/// An active person who cannot sign in with a password.
pub fn human(name: &str, entitlements: Authority) -> Human {
    Human {
        name: name.to_owned(),
        display_name: name.to_owned(),
        status: HumanStatus::Active,
        password_hash: None,
        entitlements,
        identity: None,
        ended_before: None,
        passkeys: remit_model::Passkeys::default(),
        managed: Managed::default(),
    }
}

/// An MCP server with its tools, titled by its name.
pub fn server(name: &str, location: &str, tools: impl IntoIterator<Item = (String, ToolRule)>) -> Server {
    Server {
        id: ServerId::parse(name).unwrap(),
        title: name.to_owned(),
        location: location.to_owned(),
        tools: tools.into_iter().collect(),
    }
}
