//! Caches each agent's parsed JWKS and the parsed header of its last DPoP proof.
//!
//! An entry is used only while the registered keys are the same, a header only for a proof with the same header. Signatures,
//! claims and status are checked each time. It holds nothing about people: keys belong to agents.

use remit_model::{Agent, AgentId, Refusal};
use remit_token::{
    Algorithm, KeySet, PrivateKey,
    dpop::{Header, Proof},
};
use serde_json::Value;
use std::{
    collections::HashMap,
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

/// Agents remembered at most; beyond it all are forgotten, and read again.
const ROOM: usize = 4_096;

#[derive(Default)]
pub(crate) struct KeyCache(Mutex<HashMap<AgentId, Entry>>);

struct Entry {
    /// The keys as they were registered when they were read.
    registered: Vec<Value>,
    keys: Arc<KeySet>,
    header: Option<Arc<Header>>,
}

/// One key of each kind that clients use, of no client. What they verify is refused all the same. SPEC: X-11
pub(crate) fn nobodys() -> KeySet {
    let keys: Vec<PrivateKey> = [Algorithm::Es256, Algorithm::Ed25519]
        .into_iter()
        .filter_map(|algorithm| PrivateKey::from_seed(algorithm, &[1; 32]).ok())
        .collect();
    KeySet::of(keys.iter().map(PrivateKey::public))
}

impl KeyCache {
    /// The keys that this agent authenticates with.
    pub(crate) fn keys(&self, agent: &Agent) -> Result<Arc<KeySet>, Refusal> {
        if let Some(entry) = self.entries().get(&agent.id).filter(|entry| entry.registered == agent.keys) {
            return Ok(Arc::clone(&entry.keys));
        }
        let keys = Arc::new(KeySet::from_keys(&agent.keys)?);
        let mut entries = self.entries();
        if entries.len() >= ROOM {
            entries.clear();
        }
        let entry = Entry { registered: agent.keys.clone(), keys: Arc::clone(&keys), header: None };
        entries.insert(agent.id.clone(), entry);
        Ok(keys)
    }

    /// The header of the latest proof of this agent, if it has authenticated lately.
    pub(crate) fn header(&self, agent: &AgentId) -> Option<Arc<Header>> {
        self.entries().get(agent)?.header.clone()
    }

    /// Keeps the header of a proof that verified.
    pub(crate) fn keep_header(&self, agent: &AgentId, proof: &Proof) {
        if let Some(entry) = self.entries().get_mut(agent) {
            entry.header = proof.header().map(Arc::new);
        }
    }

    fn entries(&self) -> MutexGuard<'_, HashMap<AgentId, Entry>> {
        // A panic while holding the lock cannot leave half an entry.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for KeyCache {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KeyCache").field("agents", &self.entries().len()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use remit_model::{AgentStatus, Authority, UnixTime};
    use serde_json::json;
    use std::collections::BTreeMap;

    fn jwk(seed: u8) -> Value {
        PrivateKey::from_seed(Algorithm::Ed25519, &[seed; 32]).unwrap().public().to_jwk()
    }

    fn agent(name: &str, keys: Vec<Value>) -> Agent {
        Agent {
            id: AgentId::parse(name).unwrap(),
            display_name: String::new(),
            owner: "user:olga".to_owned(),
            status: AgentStatus::Active,
            keys,
            redirect_uris: Vec::new(),
            ceiling: Authority::none(),
            labels: BTreeMap::new(),
            acts: remit_model::Acts::default(),
            client: remit_model::ClientProfile::default(),
            registered: UnixTime(0),
        }
    }

    #[test]
    fn keys_are_read_once_as_long_as_they_are_the_registered_ones() {
        let cache = KeyCache::default();
        let first = agent("a", vec![jwk(1)]);
        let keys = cache.keys(&first).unwrap();
        let stopped = Agent { status: AgentStatus::Quarantined, ..first.clone() };
        assert!(Arc::ptr_eq(&keys, &cache.keys(&stopped).unwrap()));
        let again = agent("a", vec![jwk(2)]);
        assert_eq!(cache.keys(&again).unwrap().to_jwks(), KeySet::from_keys(&again.keys).unwrap().to_jwks());
        assert_eq!(cache.keys(&first).unwrap().to_jwks(), keys.to_jwks(), "each by its own");
    }

    #[test]
    fn keys_that_cannot_be_read_are_refused_each_time() {
        let cache = KeyCache::default();
        cache.keys(&agent("a", vec![jwk(1)])).unwrap();
        let broken = agent("a", vec![json!({"kty": "OKP", "crv": "Ed25519", "x": "?"})]);
        for _ in 0..2 {
            assert!(cache.keys(&broken).is_err());
        }
    }

    #[test]
    fn a_flood_of_agents_stays_bounded() {
        let cache = KeyCache::default();
        for n in 0..2 * ROOM {
            cache.keys(&agent(&format!("a{n}"), Vec::new())).unwrap();
        }
        assert!((1..=ROOM).contains(&cache.entries().len()));
    }
}
