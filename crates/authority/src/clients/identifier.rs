//! What a `client_id` may look like, and which agent it names.
//!
//! There are three forms: `agent:NAME`, which an administrator registered; an https URL, whose document describes the client
//! (draft-ietf-oauth-client-id-metadata-document); and `client:NAME:…`, which our registration endpoint gave out (RFC 7591).
//! The name of an agent that registered itself is a function of its `client_id`, so it is found without a search.
//! SPEC: CM-01, CM-06.

use remit_model::{Agent, AgentId, Code, Refusal, id::NAME_LIMIT, json};
use remit_store::Snapshot;
use std::{fmt::Write as _, sync::Arc};
use url::Url;

/// How a `client_id` begins that the registration endpoint gave out. No URL begins so, and no subject of ours.
const DYNAMIC: &str = "client:";
/// Longest `client_id`, in bytes.
const LIMIT: usize = 2_048;

/// A `client_id` by its form. Whether there is such a client is another question.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ClientId<'a> {
    /// `agent:NAME`.
    Agent(&'a str),
    /// The URL of a metadata document.
    Document(&'a str),
    /// What the registration endpoint gave out: a readable name, and the sealed registration.
    Dynamic { name: &'a str, sealed: &'a str },
}

impl<'a> ClientId<'a> {
    /// `None` for a text of no form that we know.
    pub(crate) fn read(text: &'a str) -> Option<Self> {
        if text.len() > LIMIT {
            return None;
        }
        if text.starts_with("https://") {
            return Some(Self::Document(text));
        }
        match text.strip_prefix(DYNAMIC) {
            Some(rest) => rest.split_once(':').map(|(name, sealed)| Self::Dynamic { name, sealed }),
            None => Some(Self::Agent(text)),
        }
    }
}

/// The `client_id` of a registration with this readable name. SPEC: CM-06
pub(crate) fn dynamic(name: &str, sealed: &str) -> String {
    format!("{DYNAMIC}{name}:{sealed}")
}

/// The name of the agent with this `client_id`, whether it is registered or not.
pub(crate) fn agent_id(client_id: &str) -> Option<AgentId> {
    match ClientId::read(client_id)? {
        ClientId::Agent(subject) => AgentId::from_subject(subject).ok(),
        ClientId::Document(url) => own_name(Url::parse(url).ok()?.host_str()?, client_id),
        ClientId::Dynamic { name, .. } => own_name(name, client_id),
    }
}

/// The registered agent with this very `client_id`. An agent that registered itself has no other.
pub(crate) fn registered(snapshot: &Snapshot, client_id: &str) -> Option<Arc<Agent>> {
    let agent = snapshot.agent(&agent_id(client_id)?)?;
    (agent.client_id() == client_id).then(|| Arc::clone(agent))
}

/// The `client_id` of the agent with this subject, as tokens state it.
pub(crate) fn client_id_of(snapshot: &Snapshot, subject: &str) -> String {
    let agent = AgentId::from_subject(subject).ok().and_then(|id| snapshot.agent(&id));
    agent.map_or_else(|| subject.to_owned(), |agent| agent.client_id())
}

/// The part of a name for people, then 64 bits of the identifier's digest.
fn own_name(readable: &str, client_id: &str) -> Option<AgentId> {
    let mut name = slug(readable);
    name.push('-');
    for byte in json::sha256(client_id.as_bytes()).iter().take(8) {
        let _ = write!(name, "{byte:02x}");
    }
    AgentId::parse(&name).ok()
}

/// At most the last 40 letters, digits, dots and hyphens of a name, beginning with a letter or digit.
pub(crate) fn slug(name: &str) -> String {
    const ROOM: usize = NAME_LIMIT - 24;
    let plain = |c: char| if c.is_ascii_alphanumeric() || c == '.' { c.to_ascii_lowercase() } else { '-' };
    let all: Vec<char> = name.chars().map(plain).collect();
    let cut: String = all.iter().skip(all.len().saturating_sub(ROOM)).collect();
    let tidy = cut.trim_matches(['-', '.']);
    if tidy.is_empty() { "client".to_owned() } else { tidy.to_owned() }
}

/// Checks the URL of a metadata document. SPEC: CM-01, N-CM-04
///
/// # Errors
/// `client_unknown`, with what is wrong.
pub(crate) fn document_url(text: &str) -> Result<Url, Refusal> {
    let wrong = |reason: &str| Refusal::new(Code::ClientUnknown, format!("this `client_id` is no URL of a document: {reason}"));
    if !text.bytes().all(|b| b.is_ascii_graphic() && b != b'\\') {
        return Err(wrong("it has a character that no URL has"));
    }
    let url = Url::parse(text).map_err(|_| wrong("it cannot be read"))?;
    if url.scheme() != "https" || !text.starts_with("https://") {
        return Err(wrong("it must begin with https://"));
    }
    if !url.username().is_empty() || url.password().is_some() || text.contains('@') || text.contains('#') {
        return Err(wrong("it must have no user name, password or fragment"));
    }
    let rest = text.strip_prefix("https://").unwrap_or_default();
    if rest.starts_with(['/', '?']) {
        return Err(wrong("it has no host"));
    }
    let path = rest.split('?').next().and_then(|place| place.split_once('/')).map_or("", |(_, path)| path);
    if path.is_empty() {
        return Err(wrong("it must have a path"));
    }
    let dots = |segment: &str| matches!(segment.to_ascii_lowercase().replace("%2e", ".").as_str(), "." | "..");
    if path.split('/').any(dots) {
        return Err(wrong("its path must have no `.` or `..`"));
    }
    Ok(url)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn n_cm_04_only_an_https_url_with_a_path_is_a_document() {
        for fine in [
            "https://client.example/oauth.json",
            "https://client.example:8443/a",
            "https://client.example:443/a",
            "https://client.example/a?v=2",
            "https://client.example/a/",
        ] {
            assert!(document_url(fine).is_ok(), "{fine}");
        }
        for bad in [
            "https://client.example",
            "https://client.example/",
            "https://client.example?x=/a",
            "http://client.example/a",
            "https://user@client.example/a",
            "https://user:pw@client.example/a",
            "https://client.example/a#part",
            "https://client.example/a/../b",
            "https://client.example/./a",
            "https://client.example/%2e%2E/a",
            "https://client.example\\a/b",
            "https://client.example/a b",
            "https:///a",
            "HTTPS://client.example/a",
            "https:client.example/a",
        ] {
            assert_eq!(document_url(bad).unwrap_err().code, Code::ClientUnknown, "{bad}");
        }
    }

    #[test]
    fn cm_01_two_spellings_of_a_url_are_two_clients() {
        let id = |url: &str| agent_id(url).unwrap();
        assert_ne!(id("https://client.example/a"), id("https://client.example:443/a"));
        assert_ne!(id("https://client.example/a"), id("https://CLIENT.example/a"));
        assert_eq!(id("https://client.example/a"), id("https://client.example/a"));
        assert!(id("https://client.example/a").as_str().starts_with("client.example-"));
    }

    #[test]
    fn cm_06_an_identifier_of_ours_is_neither_a_url_nor_a_subject() {
        let minted = dynamic(&slug("https://evil.example/x"), "AAAA");
        assert!(minted.starts_with("client:"), "{minted}");
        assert!(matches!(ClientId::read(&minted), Some(ClientId::Dynamic { sealed: "AAAA", .. })));
        assert!(AgentId::from_subject(&minted).is_err());
    }

    #[test]
    fn every_name_becomes_an_agents_name_and_nothing_longer() {
        for name in ["Codex", "", "---", "...", "\u{65e5}\u{672c}", "x.y", &"a".repeat(300), "Gemini CLI!", "[2606:4700::1111]"] {
            let id = own_name(name, "client:x:y").unwrap();
            assert!(id.as_str().len() <= NAME_LIMIT, "{id}");
        }
        assert_eq!(slug("Gemini CLI"), "gemini-cli");
        for text in ["", "client:", "client:x", "user:alice", &"x".repeat(LIMIT + 1), "agent:", "agent:NOPE"] {
            assert_eq!(agent_id(text), None, "{text}");
        }
    }
}
