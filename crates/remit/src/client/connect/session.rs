//! What the bridge remembers of a stateful (2025-era) MCP session, so that it can begin the session again.

use bytes::Bytes;
use serde_json::{Value, json};

/// A session as the client believes it to be, and as the server knows it.
#[derive(Debug, Default)]
pub(super) struct Session {
    /// The id that the server gave it; none before `initialize`, and none in a protocol without sessions.
    id: Option<String>,
    /// The negotiated protocol version.
    version: Option<String>,
    /// Counts the sessions at the server, so that of several failed messages only one begins a new session.
    generation: u64,
    /// The client's `initialize` request.
    initialize: Option<Value>,
    /// Whether the client said `notifications/initialized`.
    initialized: bool,
    /// Whether the bridge answered `initialize` itself and the server has no session yet.
    pending: bool,
}

impl Session {
    /// Notes the client's `initialize`.
    pub(super) fn asked(&mut self, initialize: &Value) {
        *self = Self { initialize: Some(initialize.clone()), generation: self.generation + 1, ..Self::default() };
    }

    /// Notes that the client is ready; gives back whether the server is to be told.
    pub(super) fn ready(&mut self) -> bool {
        self.initialized = true;
        !self.pending
    }

    /// Notes that the bridge answered `initialize`, because no token could be had.
    pub(super) fn answered_here(&mut self) {
        self.pending = true;
    }

    /// Notes a session that the server has begun.
    pub(super) fn begun(&mut self, id: Option<&str>, version: Option<&str>) {
        self.id = id.map(str::to_owned);
        if let Some(version) = version {
            self.version = Some(version.to_owned());
        }
        self.pending = false;
    }

    /// Notes the version of an `initialize` answer that came as an event.
    pub(super) fn agreed(&mut self, version: &str) {
        self.version.get_or_insert_with(|| version.to_owned());
    }

    /// Begins the next generation, before `initialize` is sent again.
    pub(super) fn renew(&mut self) {
        self.generation += 1;
        self.id = None;
    }

    pub(super) fn generation(&self) -> u64 {
        self.generation
    }

    pub(super) fn is_pending(&self) -> bool {
        self.pending
    }

    pub(super) fn has_id(&self) -> bool {
        self.id.is_some()
    }

    pub(super) fn is_initialized(&self) -> bool {
        self.initialized
    }

    /// The client's `initialize` under another id, for a session that the server has forgotten.
    pub(super) fn replay(&self) -> Option<(Value, Bytes)> {
        let mut message = self.initialize.clone()?;
        let id = json!(format!("remit-connect-{}", self.generation));
        message.as_object_mut()?.insert("id".to_owned(), id.clone());
        Some((id, Bytes::from(message.to_string())))
    }

    /// The headers of a message that belongs to the session.
    pub(super) fn headers(&self, of_message: &[(String, String)]) -> Vec<(String, String)> {
        let named = of_message.iter().any(|(name, _)| name == "mcp-protocol-version");
        let version = self.version.clone().filter(|_| !named);
        let id = self.id.clone().map(|id| ("mcp-session-id".to_owned(), id));
        id.into_iter().chain(version.map(|version| ("mcp-protocol-version".to_owned(), version))).collect()
    }

    /// Takes the id away, because the client leaves; gives back the headers that end the session.
    pub(super) fn leave(&mut self) -> Option<Vec<(String, String)>> {
        self.id.as_ref()?;
        let headers = self.headers(&[]);
        self.id = None;
        self.generation += 1;
        Some(headers)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_replayed_initialize_is_the_clients_under_an_id_of_the_bridge() {
        let mut session = Session::default();
        assert!(session.replay().is_none(), "a client of 2026-07-28 never initializes");
        session.asked(&json!({"jsonrpc": "2.0", "id": 0, "method": "initialize", "params": {"capabilities": {"roots": {}}}}));
        session.begun(Some("s-1"), Some("2025-11-25"));
        let before = session.generation();
        session.renew();
        assert!(session.generation() > before && !session.has_id());
        let (id, message) = session.replay().unwrap();
        let message: Value = serde_json::from_slice(&message).unwrap();
        assert_eq!((&message["id"], &message["params"]["capabilities"]), (&id, &json!({"roots": {}})));
        assert_ne!(id, json!(0));
    }

    #[test]
    fn a_session_is_left_once() {
        let mut session = Session::default();
        session.asked(&json!({}));
        session.begun(Some("s-1"), Some("2025-11-25"));
        assert_eq!(session.leave().unwrap().len(), 2);
        assert!(session.leave().is_none());
    }
}
