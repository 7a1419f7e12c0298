//! What tokens can be revoked by besides their own identifiers: everything of an agent, for a resource, or bound to a key that
//! was issued before a time. SPEC: RV-05
//!
//! A criterion is a text, so that a token states the ones that fit it and a registry looks them up. A token fits the criteria of
//! its whole chain; what is exchanged from it was issued later, but only while it counted.

use crate::{authority::Authority, id::AgentId};

/// Stands for every resource, in authority that names none.
const ANYWHERE: &str = "*";

/// Whatever has this agent in its chain.
pub fn agent(id: &AgentId) -> String {
    id.subject()
}

/// Whatever is for this resource, or may be handed on there.
pub fn resource(location: &str) -> String {
    format!("resource {location}")
}

/// Whatever may be handed on at any resource.
pub fn any_resource() -> String {
    resource(ANYWHERE)
}

/// Whatever is bound to this key or certificate, or descends from what is. It is named by the text of its
/// [`Confirmation`](crate::Confirmation): an RFC 7638 thumbprint, or `x5t#S256:` and a certificate's.
pub fn key(confirmation: &str) -> String {
    format!("key {confirmation}")
}

/// The criteria that fit a token: its agents' subjects, the keys and certificates of its chain, the resource that it is for, and its authority.
pub fn of<'a>(
    agents: impl IntoIterator<Item = &'a str>,
    keys: impl IntoIterator<Item = &'a str>,
    audience: Option<&'a str>,
    authority: &Authority,
) -> Vec<String> {
    let mut all: Vec<String> = agents.into_iter().map(str::to_owned).collect();
    all.extend(keys.into_iter().map(key));
    all.extend(audience.map(resource));
    for grant in authority.grants() {
        match grant.locations() {
            Some(locations) => all.extend(locations.iter().map(|location| resource(location))),
            None => all.push(any_resource()),
        }
    }
    all.sort_unstable();
    all.dedup();
    all
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn rv_05_a_token_fits_its_agents_its_keys_and_every_resource_that_it_reaches() {
        let grant = |locations| json!([{"type": "tool_access", "locations": locations, "actions": ["read"]}]);
        let authority = Authority::parse(&grant(json!(["https://b.example/", "https://a.example/"]))).unwrap();
        let all = of(["agent:x", "agent:y", "agent:x"], ["k"], Some("https://a.example/"), &authority);
        assert_eq!(all, ["agent:x", "agent:y", "key k", "resource https://a.example/", "resource https://b.example/"]);
        assert!(of([], [], None, &Authority::none()).is_empty());
        // No kind of criterion can be mistaken for another.
        let id = AgentId::parse("key").unwrap();
        assert_ne!(agent(&id), key("agent:key"));
        assert_ne!(resource("k"), key("k"));
    }
}
